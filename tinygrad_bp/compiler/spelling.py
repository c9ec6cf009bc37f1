"""Spelling: how every backend reads a statement, and how each primitive is written in it.

`fold` walks the shape of a statement; a backend implements the five methods of a `Speller`, and is given the
operands of each operation as it wrote them itself.  `PRIMITIVES` has one record for each operation that
lowering leaves.  A new primitive needs a line there, and in LLVM, if neither an instruction nor the C library
has it, a function in llvm/functions.py.

    x * y - 1  in Python "((x * y) - 1.0)", in LLVM "fmul", "fsub", for arrays "x * y - 1"
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, TypeVar

from tinygrad_bp import ops
from tinygrad_bp.compiler.schedule import Apply, Leaf, Literal, Shape
from tinygrad_bp.compiler.terms import COPY, INNER
from tinygrad_bp.ops import Op

T = TypeVar("T")


class Speller(Protocol[T]):
    """What a backend makes of each part of a statement."""

    def operand(self, k: int) -> T:
        """Operand number k."""

    def number(self, x: float) -> T:
        """A constant."""

    def applied(self, op: Op, operands: Sequence[T]) -> T:
        """A primitive on its operands."""

    def taken(self, index: T, k: int) -> T:
        """The entry at an index of the list that is operand number k; nan where there is none."""

    def accumulated(self, start: T, lists: Sequence[int]) -> T:
        """The start plus the sum of a list, or of the products of two, given as numbers of operands."""


def fold(shape: Shape, speller: Speller[T], first: int = 0) -> T:
    """What a speller makes of a shape, whose first operand is number `first`.

    A shape is in postfix order: the one of x * y - 1 is x, y, mul, 1, sub.
    """
    stack: list[T] = []
    k = first
    for token in shape:
        if isinstance(token, Literal):
            stack.append(speller.number(token.number))
        elif isinstance(token, Leaf):
            stack.append(speller.operand(k))
            k += 1
        elif token.op is ops.take:
            stack[-1] = speller.taken(stack[-1], k)
            k += 1
        elif token.length:
            lists = [k, k + 1] if token.op is INNER else [k]
            stack[-1] = speller.accumulated(stack[-1], lists)
            k += len(lists)
        else:
            operands = stack[len(stack) - token.operands :]
            del stack[len(stack) - token.operands :]
            stack.append(speller.applied(token.op, operands))
    return stack[-1]


def start_of(shape: Shape) -> tuple[Shape, int]:
    """The part of a shape that its accumulation starts from, and the number of that part's first operand."""
    end = next(at for at, token in enumerate(shape) if isinstance(token, Apply) and token.length)
    begin, wanted = end, 1
    while wanted:
        begin -= 1
        token = shape[begin]
        wanted += (token.operands if isinstance(token, Apply) else 0) - 1
    return shape[begin:end], sum(isinstance(token, Leaf) for token in shape[:begin])


class Primitive(NamedTuple):
    """How each backend writes an operation; {0}, {1} are the operands.

    In Python a pattern, or CALLED: the row's function on floats.  In LLVM an instruction ("fadd"), a
    comparison ("fcmp ogt"), an intrinsic ("llvm.fabs"), the C library's function of the same name for each
    lane (LIBM), or instructions of ours (OURS, in functions.py).  For arrays a pattern in the names of the
    array API standard.  EXPANDED: lowering has a formula for it, but not for arrays.
    """

    python: str
    llvm: str
    array: str


CALLED, LIBM, OURS, EXPANDED = "", "libm", "ours", "expanded"


PRIMITIVES: dict[Op, Primitive] = {
    #                       in Python,                  in LLVM,           for arrays
    ops.add:      Primitive("({0} + {1})",              "fadd",            "{0} + {1}"),
    ops.sub:      Primitive("({0} - {1})",              "fsub",            "{0} - {1}"),
    ops.mul:      Primitive("({0} * {1})",              "fmul",            "{0} * {1}"),
    ops.div:      Primitive(CALLED,                     "fdiv",            "{0} / {1}"),
    ops.neg:      Primitive("(-{0})",                   "fneg",            "-{0}"),
    ops.gt:       Primitive("{0} > {1}",                "fcmp ogt",        "{0} > {1}"),
    ops.ge:       Primitive("{0} >= {1}",               "fcmp oge",        "{0} >= {1}"),
    ops.eq:       Primitive("{0} == {1}",               "fcmp oeq",        "{0} == {1}"),
    ops.ne:       Primitive("{0} != {1}",               "fcmp une",        "{0} != {1}"),
    ops.where:    Primitive("({1} if {0} else {2})",    OURS,              "xp.where({0}, {1}, {2})"),
    ops.max:      Primitive(CALLED,                     OURS,              "xp.maximum({0}, {1})"),
    ops.min:      Primitive(CALLED,                     OURS,              "xp.minimum({0}, {1})"),
    ops.abs:      Primitive("abs({0})",                 "llvm.fabs",       "xp.abs({0})"),
    ops.sqrt:     Primitive(CALLED,                     "llvm.sqrt",       "xp.sqrt({0})"),
    ops.floor:    Primitive(CALLED,                     "llvm.floor",      "xp.floor({0})"),
    ops.ceil:     Primitive(CALLED,                     "llvm.ceil",       "xp.ceil({0})"),
    ops.round:    Primitive(CALLED,                     "llvm.roundeven",  "xp.round({0})"),
    ops.exp:      Primitive(CALLED,                     OURS,              "xp.exp({0})"),
    ops.log:      Primitive(CALLED,                     OURS,              "xp.log({0})"),
    ops.log2:     Primitive(CALLED,                     LIBM,              "xp.log2({0})"),
    ops.log10:    Primitive(CALLED,                     LIBM,              "xp.log10({0})"),
    ops.cbrt:     Primitive(CALLED,                     LIBM,              "cbrt(xp, {0})"),
    ops.log1p:    Primitive(CALLED,                     OURS,              "xp.log1p({0})"),
    ops.tanh:     Primitive(CALLED,                     OURS,              "xp.tanh({0})"),
    ops.expm1:    Primitive(CALLED,                     LIBM,              "xp.expm1({0})"),
    ops.pow:      Primitive(CALLED,                     LIBM,              "{0} ** {1}"),
    ops.hypot:    Primitive(CALLED,                     LIBM,              "xp.hypot({0}, {1})"),
    ops.erf:      Primitive(CALLED,                     LIBM,              "erf(xp, {0})"),
    ops.erfc:     Primitive(CALLED,                     LIBM,              "erfc(xp, {0})"),
    ops.sin:      Primitive(CALLED,                     LIBM,              "xp.sin({0})"),
    ops.cos:      Primitive(CALLED,                     LIBM,              "xp.cos({0})"),
    ops.tan:      Primitive(CALLED,                     LIBM,              "xp.tan({0})"),
    ops.asin:     Primitive(CALLED,                     LIBM,              "xp.asin({0})"),
    ops.acos:     Primitive(CALLED,                     LIBM,              "xp.acos({0})"),
    ops.atan:     Primitive(CALLED,                     LIBM,              "xp.atan({0})"),
    ops.atan2:    Primitive(CALLED,                     LIBM,              "xp.atan2({0}, {1})"),
    ops.sinh:     Primitive(CALLED,                     LIBM,              "xp.sinh({0})"),
    ops.cosh:     Primitive(CALLED,                     LIBM,              "xp.cosh({0})"),
    ops.asinh:    Primitive(CALLED,                     LIBM,              "xp.asinh({0})"),
    ops.acosh:    Primitive(CALLED,                     LIBM,              "xp.acosh({0})"),
    ops.atanh:    Primitive(CALLED,                     LIBM,              "xp.atanh({0})"),
    COPY:         Primitive("{0}", OURS, "xp.broadcast_to({0}, ({rows}, n))"),
    ops.sigmoid:  Primitive(EXPANDED,                   EXPANDED,          "1 / (1 + xp.exp(-{0}))"),
    ops.dsigmoid: Primitive(EXPANDED,                   EXPANDED,          "1 / (4 * xp.cosh({0} / 2) ** 2)"),
    ops.sech2:    Primitive(EXPANDED,                   EXPANDED,          "1 / xp.cosh({0}) ** 2"),
    ops.relu:     Primitive("(t if (t := {0}) > 0.0 or t != t else 0.0)", OURS, "xp.maximum({0}, 0.0)"),
    ops.step:     Primitive(
        "(1.0 if (t := {0}) > 0.0 else t if t != t else 0.0)", OURS,
        "xp.sign(xp.maximum({0}, 0.0))",
    ),
    ops.nan_if:   Primitive("({1} if (t := {0}) == t else nan)", OURS, "xp.where(xp.isnan({0}), {0}, {1})"),
    ops.fmod:     Primitive(CALLED, LIBM, "xp.copysign(xp.remainder(xp.abs({0}), xp.abs({1})), {0})"),
}  # fmt: skip
COMPARISONS = frozenset(op for op, primitive in PRIMITIVES.items() if primitive.llvm.startswith("fcmp"))
