"""Expressions in the array API standard (2023.12), of the patterns in the records of primitives.

How tightly each binds is known, so that only needed parentheses are printed.  An operation without a pattern
is a CompileError.  The error function, which the standard lacks, is printed with what calls it: Chebyshev
series, computed in 50 digits, of exp(x * x) * erfc(x) / t by t = 2 / (2 + x) for x >= 0, where it is smooth
to infinity, and of erf(x) / x by x * x below 1.
"""

import re
from collections.abc import Sequence
from textwrap import fill
from typing import NamedTuple

from tinygrad_bp import ops
from tinygrad_bp.compiler.spelling import COMPARISONS, PRIMITIVES
from tinygrad_bp.errors import CompileError
from tinygrad_bp.ops import Op

COMPARISON, SUM, PRODUCT, SIGN, POWER, ATOM = range(6)  # how tightly an expression binds


class ArrayText(NamedTuple):
    """Source of an expression; `scalar` if it is a plain Python number, `flag` if it is a comparison."""

    text: str
    level: int = ATOM
    scalar: bool = False
    flag: bool = False

    def within(self, level: int) -> str:
        """With parentheses, if it binds less tightly than its place asks for."""
        return self.text if self.level >= level else f"({self.text})"


class Binding(NamedTuple):
    """How tightly a pattern binds, and the least level of each operand."""

    level: int
    operands: tuple[int, ...]


FORMS = {  # the patterns that are no calls
    ops.add: Binding(SUM, (SUM, PRODUCT)),
    ops.sub: Binding(SUM, (SUM, PRODUCT)),
    ops.mul: Binding(PRODUCT, (PRODUCT, SIGN)),
    ops.div: Binding(PRODUCT, (PRODUCT, SIGN)),
    ops.neg: Binding(SIGN, (SIGN,)),
    ops.pow: Binding(POWER, (ATOM, ATOM)),
    ops.sigmoid: Binding(PRODUCT, (SIGN,)),
    ops.dsigmoid: Binding(PRODUCT, (SIGN,)),
    ops.sech2: Binding(PRODUCT, (COMPARISON,)),
}


def filled(text: str, first: str = "", following: str = "    ") -> list[str]:
    """Source on lines of at most 100 characters, with these indents, broken at spaces alone."""
    lines = fill(
        text,
        100 - len(following),
        initial_indent=first,
        subsequent_indent=following,
        break_on_hyphens=False,
        break_long_words=False,
    )
    return lines.splitlines()


def literal(x: float) -> ArrayText:
    """A number as Python source; whole ones without a point."""
    if x - x != 0.0:
        text = "xp.nan" if x != x else "xp.inf" if x > 0 else "-xp.inf"
        return ArrayText(text, SIGN if x < 0 else ATOM, scalar=True)
    whole = x == int(x) and abs(x) < 1e6 and repr(x) != "-0.0"
    return ArrayText(str(int(x)) if whole else repr(x), SIGN if repr(x)[0] == "-" else ATOM, scalar=True)


def spelled(op: Op, operands: Sequence[ArrayText], rows: int) -> ArrayText:
    """An operation on its operands, for so many rows. Raises CompileError for one without a spelling."""
    pattern = PRIMITIVES[op].array if op in PRIMITIVES else ""
    if op in FORMS:
        form = FORMS[op]
        texts = [x.within(level) for x, level in zip(operands, form.operands)]
        text = pattern.format(*texts)
        if op is ops.pow and all(re.fullmatch(r"[\w.]+", x) for x in texts):
            text = text.replace(" ", "")  # as formatters have it: x**2, but (x + y) ** 2
        return ArrayText(text, form.level)
    if op in COMPARISONS:
        return number(compared(op, operands))
    if op is ops.where:
        return chosen(condition(operands[0]), operands[1], operands[2])
    if op in (ops.max, ops.min) and any(x.scalar for x in operands):  # the one call that takes a number
        x, y = sorted(operands, key=lambda operand: operand.scalar)
        return ArrayText(f"xp.{op.name}imum({x.text}, {_with_point(y.text)})")
    arrays = [_array(x).text for x in operands]
    if pattern:
        return ArrayText(pattern.format(*arrays, rows=rows))
    raise CompileError(
        f"the operation {op.name!r} is a Python function, and no array function computes it: "
        'give it a formula, tg.op(..., composite=True), or read source("python")'
    )


def _array(x: ArrayText) -> ArrayText:
    """Functions of the standard take arrays; `one` is an array of the parameters' type."""
    if not x.scalar:
        return x
    return ArrayText("one") if x.text == "1" else ArrayText(f"{x.within(PRODUCT)} * one", PRODUCT)


# --- choices -----------------------------------------------------------------------------------------------


def compared(op: Op, operands: Sequence[ArrayText]) -> ArrayText:
    """A comparison, as a condition."""
    x, y = (operand.within(SUM) for operand in operands)
    return ArrayText(PRIMITIVES[op].array.format(x, y), COMPARISON, flag=True)


def both(x: ArrayText, y: ArrayText) -> ArrayText:
    """Two conditions at once."""
    return ArrayText(f"({x.text}) & ({y.text})", COMPARISON, flag=True)


def condition(x: ArrayText) -> ArrayText:
    """A number as a condition: any but 0 is true."""
    return x if x.flag else ArrayText(f"{x.within(SUM)} != 0", COMPARISON, flag=True)


def number(flag: ArrayText) -> ArrayText:
    """A condition as a number: 1 or 0."""
    return ArrayText(f"xp.where({flag.text}, one, 0.0)")


def chosen(flag: ArrayText, x: ArrayText, y: ArrayText) -> ArrayText:
    """One of two, by a condition."""
    if x.scalar and y.scalar:
        x = _array(x)
    texts = [_with_point(branch.text) if branch.scalar else branch.text for branch in (x, y)]
    return ArrayText(f"xp.where({flag.text}, {texts[0]}, {texts[1]})")


def _with_point(text: str) -> str:
    return f"{text}.0" if text.lstrip("-").isdigit() else text


# --- functions that the standard lacks ----------------------------------------------------------------------

SERIES = '''\
def series(coefficients, u):
    """A Chebyshev series at u, from -1 to 1 (Clenshaw's recurrence)."""
    b, c = 0.0 * u, 0.0 * u
    for a in coefficients[:0:-1]:
        b, c = a + 2.0 * u * b - c, b
    return coefficients[0] + u * b - c'''

ERFC = '''\
ERFC = [
    0.5770337386164697, 0.3554369212704985, 0.06509515882878653, 0.003671142395836639,
    -0.0011128447433526325, -0.0001607582991537808, 3.278031574173137e-05, 5.442441645505016e-06,
    -1.5154665553171482e-06, -1.4297608181169865e-07, 8.234608827419493e-08,
    -1.2962846852306563e-09, -4.154721631015199e-09, 6.347058278362811e-10, 1.4320822812256225e-10,
    -6.160390105204585e-11, 2.0612138554721698e-12, 3.5714931488477042e-12, -8.586422843251795e-13,
    -6.145600213790647e-14, 7.418725748596632e-14, -1.2895042755032477e-14, -2.358726385710482e-15,
    1.572934938168442e-15, -2.27829662395317e-16, -6.312330450771045e-17, 3.591676353195951e-17,
]


def erfc(xp, x):
    """1 - erf(x), with all its digits where it is small."""
    size = xp.abs(x)
    t = 2.0 / (2.0 + size)
    tail = t * xp.exp(-size * size) * series(ERFC, 2.0 * t - 1.0)
    return xp.where(x < 0, 2.0 - tail, tail)'''

ERF = '''\
ERF = [
    0.9754769393826541, -0.14226120510371365, 0.010035582187599796, -0.0005768764699767485,
    2.741993125219606e-05, -1.1043175507344507e-06, 3.8488755420345036e-08, -1.1808582533875466e-09,
    3.2334215826050907e-11, -7.991015947004549e-13, 1.7990725113961456e-14, -3.718635487818693e-16,
]


def erf(xp, x):
    """The error function."""
    small = xp.where(xp.abs(x) < 1, x, 0.0 * x)
    return xp.where(xp.abs(x) < 1, small * series(ERF, 2.0 * small * small - 1.0), 1.0 - erfc(xp, x))'''

CBRT = '''\
def cbrt(xp, x):
    """The cube root; a step of Newton's method gives the digits that 1 / 3, rounded, has not."""
    size = xp.abs(x)
    root = size ** (1 / 3)
    near = root - (root - size / (root * root)) / 3.0
    return xp.sign(x) * xp.where((size > 0) & (size < xp.inf), near, root)'''

HELPERS = {ops.erfc: (SERIES, ERFC), ops.erf: (SERIES, ERFC, ERF), ops.cbrt: (CBRT,)}
