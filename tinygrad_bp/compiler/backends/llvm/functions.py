"""The primitives on vectors: one table, keyed by the row of the table of operations.

An instruction where the processor has one; a function on vectors from exponentials.py; else the C library's
function of the same name, called for each lane.  Comparisons that LLVM calls ordered ("ogt") are false for
nan, unordered ones ("ugt") true.  No fast-math flag is set anywhere: what is written is what is computed.
Read exponentials.py next.
"""

from collections.abc import Callable, Sequence

from tinygrad_bp import ops
from tinygrad_bp.compiler.backends.llvm import exponentials
from tinygrad_bp.compiler.backends.llvm.text import Text, choose, compare
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
    ops.exp: exponentials.exp,
    ops.log: exponentials.log,
    ops.log1p: exponentials.log1p,
    ops.tanh: exponentials.tanh,
    ops.relu: _relu,
    ops.step: _step,
    COPY: lambda text, x: x,
}
IN_THE_C_LIBRARY = frozenset({
    ops.expm1, ops.pow, ops.fmod, ops.hypot, ops.erf, erfc,
    ops.sin, ops.cos, ops.tan, ops.asin, ops.acos, ops.atan, ops.atan2,
    ops.sinh, ops.cosh, ops.asinh, ops.acosh, ops.atanh,
})  # fmt: skip
