"""The primitives on vectors: one table, keyed by the row of the table of operations.

An instruction where the processor has one; else the C library's function of the same name, called for each
lane. Comparisons that LLVM calls ordered ("ogt") are false for nan, unordered ones ("ugt") true.  No
fast-math flag is set anywhere: what is written is what is computed.  Read blocks.py next.
"""

from collections.abc import Callable, Sequence
from math import factorial, inf

from tinygrad_bp import ops
from tinygrad_bp.compiler.llvm.text import Text
from tinygrad_bp.compiler.lower import erfc
from tinygrad_bp.compiler.terms import COPY
from tinygrad_bp.errors import CompileError
from tinygrad_bp.ops import Op

ZERO, ONE = 0.0, 1.0


def applied(text: Text, op: Op, operands: Sequence[str]) -> str:
    """Write an operation; its result. Raises CompileError for one that only Python can compute."""
    if op in SPELLED:
        return SPELLED[op](text, *operands)
    if op in IN_THE_C_LIBRARY:
        return _each_lane(text, op.name, operands)
    raise CompileError(f"the operation {op.name!r} is a Python function, and has no machine code")


def _instruction(name: str) -> Callable[..., str]:
    return lambda text, x, y: text.let(f"{name} {text.type} {x}, {y}")


def _intrinsic(name: str) -> Callable[..., str]:
    return lambda text, x: text.intrinsic(name, [x])


def choose(text: Text, mask: str, x: str, y: str) -> str:
    return text.let(f"select {text.mask} {mask}, {text.type} {x}, {text.type} {y}")


def compare(text: Text, how: str, x: str, y: str) -> str:
    return text.let(f"fcmp {how} {text.type} {x}, {y}")


def _comparison(how: str) -> Callable[..., str]:
    return lambda text, x, y: choose(text, compare(text, how, x, y), text.constant(ONE), text.constant(ZERO))


def _where(text: Text, condition: str, x: str, y: str) -> str:
    return choose(text, compare(text, "une", condition, text.constant(ZERO)), x, y)


def _nan_if(text: Text, o: str, d: str) -> str:
    return choose(text, compare(text, "uno", o, o), o, d)


def _relu(text: Text, x: str) -> str:
    return choose(text, compare(text, "ugt", x, text.constant(ZERO)), x, text.constant(ZERO))


def _step(text: Text, x: str) -> str:
    above = choose(text, compare(text, "uno", x, x), x, text.constant(ONE))
    return choose(text, compare(text, "ugt", x, text.constant(ZERO)), above, text.constant(ZERO))


def _each_lane(text: Text, name: str, operands: Sequence[str]) -> str:
    """A function of the C library, lane by lane; `nobuiltin` keeps LLVM from rewriting pow and exp."""
    text.declared.setdefault(
        name, f"declare double @{name}({', '.join(['double'] * len(operands))}) nobuiltin"
    )
    if text.width == 1:
        arguments = ", ".join(f"double {x}" for x in operands)
        return text.let(f"call double @{name}({arguments}) nobuiltin")
    wide = f"each.{name}"
    if wide not in text.declared:
        text.declared[wide] = ""  # taken
        text.declared[wide] = _lane_loop(text, wide, name, len(operands))
    arguments = ", ".join(f"{text.type} {x}" for x in operands)
    return text.let(f"call {text.type} @{wide}({arguments})")


def _lane_loop(text: Text, wide: str, name: str, operands: int) -> str:
    inner = Text(text.width, text.declared)
    result = "poison"
    for lane in range(text.width):
        xs = [inner.let(f"extractelement {text.type} %x{k}, i32 {lane}") for k in range(operands)]
        y = inner.let(f"call double @{name}({', '.join(f'double {x}' for x in xs)}) nobuiltin")
        result = inner.let(f"insertelement {text.type} {result}, double {y}, i32 {lane}")
    inner.do(f"ret {text.type} {result}")
    parameters = ", ".join(f"{text.type} %x{k}" for k in range(operands))
    return f"define internal {text.type} @{wide}({parameters}) noinline nounwind {{\n{inner.body()}\n}}"


# --- the exponential, without leaving the vector ---

LOG2_E = 1.4426950408889634
LN2, LN2_REST = 6.93147180369123816490e-01, 1.90821492927058770002e-10  # log 2: 32 bits of it, and the rest
LARGEST, LEAST = 710.0, -746.0  # beyond these the answer is inf, or 0
SHIFT, SHIFT_BITS = 6755399441055744.0, 0x4338000000000000  # 1.5 * 2**52: adding it rounds to an integer


def _exp(text: Text, x: str) -> str:
    """e**x = 2**k * e**r, |r| <= log(2)/2, by 13 terms of the series: within a unit in the last place."""
    name = f"exp.{text.width}"
    if name not in text.declared:
        inner = Text(text.width, text.declared)
        inner.do(f"ret {text.type} {_exp_body(inner, '%x')}")
        head = f"define internal {text.type} @{name}({text.type} %x) inlinehint nounwind"
        text.declared[name] = f"{head} {{\n{inner.body()}\n}}"
    return text.let(f"call {text.type} @{name}({text.type} {x})")


def _exp_body(text: Text, x: str) -> str:
    def fma(a: str, b: str, c: str) -> str:
        return text.intrinsic("fma", [a, b, c])

    def integer(instruction: str, a: str, b: str) -> str:
        return text.let(f"{instruction} {text.ints} {a}, {b}")

    def times(a: str, b: str) -> str:
        return text.let(f"fmul {text.type} {a}, {b}")

    constant = text.constant
    shifted = fma(x, constant(LOG2_E), constant(SHIFT))  # its last bits are k, rounded
    k = text.let(f"fsub {text.type} {shifted}, {constant(SHIFT)}")
    r = fma(k, constant(-LN2_REST), fma(k, constant(-LN2), x))
    powers = [r]  # r, r**2, r**4, r**8
    for _ in range(3):
        powers.append(times(powers[-1], powers[-1]))
    terms = [constant(1.0 / factorial(n)) for n in range(2, 14)]  # Estrin's scheme: pairs, pairs of pairs
    for power in powers:
        paired = [fma(b, power, a) for a, b in zip(terms[::2], terms[1::2])]
        terms = paired + terms[len(paired) * 2 :]
    bits = text.let(f"bitcast {text.type} {shifted} to {text.ints}")
    whole = integer("sub", bits, text.integers(SHIFT_BITS))
    half = integer("ashr", whole, text.integers(1))
    factors = []  # 2**k in two steps: it may be no float itself
    for exponent in (half, integer("sub", whole, half)):
        biased = integer("shl", integer("add", exponent, text.integers(1023)), text.integers(52))
        factors.append(text.let(f"bitcast {text.ints} {biased} to {text.type}"))
    e = times(fma(fma(powers[1], terms[0], r), factors[0], factors[0]), factors[1])
    e = choose(text, compare(text, "ogt", x, constant(LARGEST)), constant(inf), e)
    return choose(text, compare(text, "olt", x, constant(LEAST)), constant(0.0), e)


SPELLED: dict[Op, Callable[..., str]] = {
    ops.add: _instruction("fadd"),
    ops.sub: _instruction("fsub"),
    ops.mul: _instruction("fmul"),
    ops.div: _instruction("fdiv"),
    ops.neg: lambda text, x: text.let(f"fneg {text.type} {x}"),
    ops.sqrt: _intrinsic(ops.sqrt.name),
    ops.abs: _intrinsic("fabs"),
    ops.floor: _intrinsic(ops.floor.name),
    ops.ceil: _intrinsic(ops.ceil.name),
    ops.round: _intrinsic("roundeven"),
    ops.gt: _comparison("ogt"),
    ops.ge: _comparison("oge"),
    ops.eq: _comparison("oeq"),
    ops.ne: _comparison("une"),
    ops.where: _where,
    ops.nan_if: _nan_if,
    ops.exp: _exp,
    ops.relu: _relu,
    ops.step: _step,
    COPY: lambda text, x: x,
}
IN_THE_C_LIBRARY = frozenset({
    ops.expm1, ops.log, ops.log1p, ops.pow, ops.fmod, ops.hypot, ops.erf, erfc,
    ops.sin, ops.cos, ops.tan, ops.asin, ops.acos, ops.atan, ops.atan2,
    ops.sinh, ops.cosh, ops.tanh, ops.asinh, ops.acosh, ops.atanh,
})  # fmt: skip
