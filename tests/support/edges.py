"""The numbers where an operation can go wrong, the rows of the table with their constants, and a comparison.

`everything(arity)` is one function: the value and the partials of every row of that many operands.
"""

import math
from typing import Any

import tinygrad_bp as tg
from support.rows import instances
from tinygrad_bp.ops import OPS, TABLE, Op

INF, NAN = math.inf, math.nan
EDGES = [
    0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 3.0, -3.0, 0.1, -0.25, 0.75, 5.0, -5.0, 20.0, -20.0,
    40.0, -40.0, 50.0, -50.0, 710.0, -746.0, 1000.0, -1000.0, 1e-8, 1e-160, -1e-200, 1e-300, 5e-324,
    -5e-324, 1e150, 1e200, -1e200, 1e300, 1e308, INF, -INF, NAN, 0.9999999999999999,
    1.0000000000000002, math.pi / 2, 6.0,
]  # fmt: skip


def rows(arity: int) -> list[Op]:
    """The rows that take so many operands, and their instances."""
    found = []
    for name in sorted(TABLE):
        row = OPS[name]
        if row.operands == arity or (row.operands is None and arity == 2):
            found += instances(name, extreme=True)
    return found


def everything(arity: int) -> Any:
    """A function of `arity` numbers: for each row its value, then its partials."""

    def f(*xs: Any) -> list[Any]:
        outputs = []
        for row in rows(arity):
            o = row(*xs)
            outputs += [o, *tg.gradients(o, list(xs), create_graph=True)]
        return outputs

    return f


def differ(a: float, b: float, ulps: float) -> bool:
    """Whether two answers differ: in class, or by too much."""
    if a != a or b != b:
        return (a != a) != (b != b)
    if math.isinf(a) or math.isinf(b):
        return a != b
    if a == 0.0 or b == 0.0:
        return abs(a - b) > ulps * 5e-324 or (a == b and math.copysign(1.0, a) != math.copysign(1.0, b))
    return abs(a - b) > ulps * max(math.ulp(a), math.ulp(b))
