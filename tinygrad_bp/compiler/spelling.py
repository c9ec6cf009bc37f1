"""How a primitive is spelled in Python: one table, keyed by the row of the table of operations.

What is not here is called by name, as the row's own function on floats.  `{0}`, `{1}` are the operands.  A
comparison also has a plain condition, which `where` takes as it is.  Read emit_python.py next.
"""

import math
from collections.abc import Sequence
from typing import Any

from tinygrad_bp import floats, ops
from tinygrad_bp.compiler.lower import erfc
from tinygrad_bp.compiler.schedule import LONGEST, Apply, Literal, Shape
from tinygrad_bp.compiler.terms import COPY, INNER, TOTAL
from tinygrad_bp.ops import TABLE, Op

SPELLED: dict[Op, str] = {
    ops.add: "({0} + {1})",
    ops.sub: "({0} - {1})",
    ops.mul: "({0} * {1})",
    ops.neg: "(-{0})",
    ops.abs: "abs({0})",
    ops.relu: "(t if (t := {0}) > 0.0 or t != t else 0.0)",
    ops.step: "(1.0 if (t := {0}) > 0.0 else t if t != t else 0.0)",
    ops.where: "({1} if {0} else {2})",
    ops.nan_if: "({1} if (t := {0}) == t else nan)",
    COPY: "{0}",
}
CONDITIONS: dict[Op, str] = {
    ops.gt: "{0} > {1}",
    ops.ge: "{0} >= {1}",
    ops.eq: "{0} == {1}",
    ops.ne: "{0} != {1}",
}


class Names:
    """The functions that generated code calls, by name."""

    def __init__(self) -> None:
        self.ops: dict[str, Op] = {}

    def of(self, op: Op) -> str:
        """The name of an operation's float function, which the code is then given."""
        name = op.name if op.name in TABLE or op is erfc else f"{op.name}_of_yours"
        while self.ops.get(name, op) is not op:
            name += "_"
        self.ops[name] = op
        return name

    @property
    def functions(self) -> dict[str, Any]:
        return {name: op.value for name, op in self.ops.items()}

    def imports(self) -> list[str]:
        """The lines that make these functions known: imports, and look-ups of your own operations."""
        homes: dict[str, list[str]] = {"math": ["inf", "nan"], "operator": ["mul"]}
        yours = []
        for name, op in sorted(self.ops.items()):
            home = next((m for m in (floats, math) if getattr(m, name, None) is op.value), None)
            if home:
                homes.setdefault(home.__name__, []).append(name)
            else:
                constants = ", ".join(map(literal, op.constant_values))
                yours.append(f"{name} = OPS[{op.name!r}]{f'.at({constants})' if constants else ''}.value")
        if yours:
            homes["tinygrad_bp.ops"] = ["OPS"]
        lines = [f"from {home} import {', '.join(sorted(names))}" for home, names in homes.items()]
        return [*lines, *([""] if yours else []), *yours]


def literal(x: float) -> str:
    """A float as Python source, exact."""
    return repr(x) if x - x == 0.0 else "nan" if x != x else "inf" if x > 0 else "(-inf)"


def expression(shape: Shape, leaves: Sequence[Any], names: Names) -> str:
    """A statement's right-hand side, its operands given as text; a list's as one text, or as a list of
    texts."""
    stack: list[tuple[str, str]] = []  # as a number, and as a condition
    rest = list(leaves)[::-1]
    for token in shape:
        if isinstance(token, Apply):
            operands = stack[len(stack) - token.operands :]
            del stack[len(stack) - token.operands :]
            stack.append(_applied(token.op, operands, rest, names))
        else:
            text: str = literal(token.number) if isinstance(token, Literal) else rest.pop()
            stack.append((text, text))
    return stack[-1][0]


def _applied(op: Op, operands: list[tuple[str, str]], rest: list[Any], names: Names) -> tuple[str, str]:
    numbers = [number for number, _ in operands]
    if op in (INNER, TOTAL):
        text = _accumulated(numbers[0], [rest.pop() for _ in range(1 + (op is INNER))])
    elif op in CONDITIONS:
        condition = CONDITIONS[op].format(*numbers)
        return f"(1.0 if {condition} else 0.0)", condition
    elif op is ops.where:
        text = SPELLED[op].format(operands[0][1], *numbers[1:])
    elif op is ops.div and _is_safe_divisor(numbers[1]):
        text = f"({numbers[0]} / {numbers[1]})"
    elif op in SPELLED:
        text = SPELLED[op].format(*numbers)
    else:
        text = f"{names.of(op)}({', '.join(numbers)})"
    return text, text


def _accumulated(start: str, lists: list[Any]) -> str:
    if isinstance(lists[0], list):  # written out: from the left, as a chain
        summands = [" * ".join(pair) for pair in zip(*lists)]
        if len(summands) > LONGEST:  # Python's parser recurses along a chain, but not along a list
            return f"sum([{', '.join(summands)}], {start})"
        return f"({' + '.join([start, *summands])})"
    return f"sum({f'map(mul, {lists[0]}, {lists[1]})' if len(lists) == 2 else lists[0]}, {start})"


def _is_safe_divisor(text: str) -> bool:
    try:
        return float(text) != 0.0
    except ValueError:
        return False
