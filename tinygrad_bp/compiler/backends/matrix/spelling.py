"""Expressions in the array API standard (2023.12), of the patterns in the records of primitives.

How tightly each binds is known, so that only needed parentheses are printed.  An operation without a pattern
is a CompileError; the error function is a helper printed with the source.  Read statements.py next.
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


class Text(NamedTuple):
    """Source of an expression; `scalar` if it is a plain Python number, `flag` if it is a comparison."""

    text: str
    level: int = ATOM
    scalar: bool = False
    flag: bool = False

    def within(self, level: int) -> str:
        """With parentheses, if it binds less tightly than its place asks for."""
        return self.text if self.level >= level else f"({self.text})"


class Form(NamedTuple):
    """How tightly a pattern binds, and the least level of each operand."""

    level: int
    operands: tuple[int, ...]


FORMS = {  # the patterns that are no calls
    ops.add: Form(SUM, (SUM, PRODUCT)),
    ops.sub: Form(SUM, (SUM, PRODUCT)),
    ops.mul: Form(PRODUCT, (PRODUCT, SIGN)),
    ops.div: Form(PRODUCT, (PRODUCT, SIGN)),
    ops.neg: Form(SIGN, (SIGN,)),
    ops.pow: Form(POWER, (ATOM, ATOM)),
    ops.sigmoid: Form(PRODUCT, (SIGN,)),
    ops.dsigmoid: Form(PRODUCT, (SIGN,)),
    ops.sech2: Form(PRODUCT, (COMPARISON,)),
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


def literal(x: float) -> Text:
    """A number as Python source; whole ones without a point."""
    if x - x != 0.0:
        text = "xp.nan" if x != x else "xp.inf" if x > 0 else "-xp.inf"
        return Text(text, SIGN if x < 0 else ATOM, scalar=True)
    whole = x == int(x) and abs(x) < 1e6 and repr(x) != "-0.0"
    return Text(str(int(x)) if whole else repr(x), SIGN if repr(x)[0] == "-" else ATOM, scalar=True)


def spelled(op: Op, operands: Sequence[Text], rows: int) -> Text:
    """An operation on its operands, for so many rows. Raises CompileError for one without a spelling."""
    pattern = PRIMITIVES[op].array if op in PRIMITIVES else ""
    if op in FORMS:
        form = FORMS[op]
        texts = [x.within(level) for x, level in zip(operands, form.operands)]
        text = pattern.format(*texts)
        if op is ops.pow and all(re.fullmatch(r"[\w.]+", x) for x in texts):
            text = text.replace(" ", "")  # as formatters have it: x**2, but (x + y) ** 2
        return Text(text, form.level)
    if op in COMPARISONS:
        return number(compared(op, operands))
    if op is ops.where:
        return chosen(condition(operands[0]), operands[1], operands[2])
    if op in (ops.max, ops.min) and any(x.scalar for x in operands):  # the one call that takes a number
        x, y = sorted(operands, key=lambda operand: operand.scalar)
        return Text(f"xp.{op.name}imum({x.text}, {_with_point(y.text)})")
    arrays = [_array(x).text for x in operands]
    if pattern:
        return Text(pattern.format(*arrays, rows=rows))
    raise CompileError(
        f"the operation {op.name!r} is a Python function, and no array function computes it: "
        'give it a formula, tg.op(..., composite=True), or read source("python")'
    )


def _array(x: Text) -> Text:
    """Functions of the standard take arrays; `one` is an array of the parameters' type."""
    if not x.scalar:
        return x
    return Text("one") if x.text == "1" else Text(f"{x.within(PRODUCT)} * one", PRODUCT)


# --- choices -----------------------------------------------------------------------------------------------


def compared(op: Op, operands: Sequence[Text]) -> Text:
    """A comparison, as a condition."""
    x, y = (operand.within(SUM) for operand in operands)
    return Text(PRIMITIVES[op].array.format(x, y), COMPARISON, flag=True)


def both(x: Text, y: Text) -> Text:
    """Two conditions at once."""
    return Text(f"({x.text}) & ({y.text})", COMPARISON, flag=True)


def condition(x: Text) -> Text:
    """A number as a condition: any but 0 is true."""
    return x if x.flag else Text(f"{x.within(SUM)} != 0", COMPARISON, flag=True)


def number(flag: Text) -> Text:
    """A condition as a number: 1 or 0."""
    return Text(f"xp.where({flag.text}, one, 0.0)")


def chosen(flag: Text, x: Text, y: Text) -> Text:
    """One of two, by a condition."""
    if x.scalar and y.scalar:
        x = _array(x)
    texts = [_with_point(branch.text) if branch.scalar else branch.text for branch in (x, y)]
    return Text(f"xp.where({flag.text}, {texts[0]}, {texts[1]})")


def _with_point(text: str) -> str:
    return f"{text}.0" if text.lstrip("-").isdigit() else text
