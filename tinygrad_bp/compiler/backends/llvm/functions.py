"""Primitives on vectors, as their records in spelling.py say.

An instruction where the processor has one; a function on vectors from exponentials.py; else the C library's
function of the same name, called for each lane.  Comparisons that LLVM calls ordered ("ogt") are false for
nan, unordered ones ("ugt") true.  No fast-math flag is set anywhere: what is written is what is computed.
"""

from collections.abc import Callable, Sequence

from tinygrad_bp import ops
from tinygrad_bp.compiler.backends.llvm import exponentials
from tinygrad_bp.compiler.backends.llvm.text import Text, choose, compare
from tinygrad_bp.compiler.spelling import LIBM, OURS, PRIMITIVES
from tinygrad_bp.compiler.terms import COPY
from tinygrad_bp.errors import CompileError
from tinygrad_bp.ops import Op

ZERO, ONE = 0.0, 1.0


def applied(text: Text, op: Op, operands: Sequence[str]) -> str:
    """Write an operation; its result. Raises CompileError for one that only Python can compute."""
    if op not in PRIMITIVES:
        raise CompileError(f"the operation {op.name!r} is a Python function, and has no machine code")
    if op is ops.pow and operands[1] == text.constant(2.0):  # x * x rounds once, too
        return text.let(f"fmul {text.type} {operands[0]}, {operands[0]}")
    how = PRIMITIVES[op].llvm
    if how == OURS:
        return WRITTEN[op](text, *operands)
    if how == LIBM:
        return _each_lane(text, op.name, operands)
    if how.startswith("fcmp "):
        return choose(text, compare(text, how[5:], *operands), text.constant(ONE), text.constant(ZERO))
    if how.startswith("llvm."):
        return text.intrinsic(how[5:], operands)
    return text.let(f"{how} {text.type} {', '.join(operands)}")


def _where(text: Text, condition: str, x: str, y: str) -> str:
    return choose(text, compare(text, "une", condition, text.constant(ZERO)), x, y)


def _nan_if(text: Text, o: str, d: str) -> str:
    return choose(text, compare(text, "uno", o, o), o, d)


def _first_if(how: str) -> Callable[..., str]:
    """The first of two where it compares so, or is nan; else the second."""

    def write(text: Text, x: str, y: str) -> str:
        first = text.let(f"or {text.mask} {compare(text, how, x, y)}, {compare(text, 'uno', x, x)}")
        return choose(text, first, x, y)

    return write


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
    wide = f"each.{name}.{text.width}"
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


WRITTEN: dict[Op, Callable[..., str]] = {
    ops.where: _where,
    ops.nan_if: _nan_if,
    ops.max: _first_if("oge"),
    ops.min: _first_if("ole"),
    ops.relu: _relu,
    ops.step: _step,
    ops.exp: exponentials.exp,
    ops.log: exponentials.log,
    ops.log1p: exponentials.log1p,
    ops.tanh: exponentials.tanh,
    COPY: lambda text, x: x,
}
