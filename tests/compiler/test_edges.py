"""Every row of the table, at every edge, compiled: what the engine answers is what compiled code answers.

All rows of one arity are one function that returns values and partials, and the edges are its samples: one
module of machine code for each. Same class (nan, inf, sign of zero), and as near as three units in the last
place for values; partials are several operations and have a few more.
"""

import itertools
import math
from typing import Any

import pytest

import tinygrad_bp as tg
from tinygrad_bp import Value
from tinygrad_bp.compiler import compile
from tinygrad_bp.ops import OPS, TABLE, Op

INF, NAN = math.inf, math.nan
EDGES = [
    0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 3.0, -3.0, 0.1, -0.25, 0.75, 5.0, -5.0, 20.0, -20.0,
    40.0, -40.0, 50.0, -50.0, 710.0, -746.0, 1000.0, -1000.0, 1e-8, 1e-160, -1e-200, 1e-300, 5e-324,
    -5e-324, 1e150, 1e200, -1e200, 1e300, 1e308, INF, -INF, NAN, 0.9999999999999999,
    1.0000000000000002, math.pi / 2, 6.0,
]  # fmt: skip
CONSTANTS: dict[str, list[tuple[float, ...]]] = {
    "powc": [(2.0,), (3.0,), (0.0,), (1.0,), (-1.0,), (0.5,), (-0.5,), (-2.0,), (2.5,), (1e300,)],
    "powc_x": [(2.0, 1.0), (0.5, 1.0), (3.0, 2.0), (1.0, 2.0), (-1.5, 2.0)],
    "pow_x": [(1.0,), (2.0,)],
    "clip": [(0.0, 1.0), (-1.0, 1.0)],
    "leaky_relu": [(0.01,), (-0.5,)],
    "elu": [(1.0,), (1.7,)],
    "gauss": [(1.0,), (0.5,), (-0.1,)],
}
ULPS = 24.0  # of a partial, which is up to ten operations


def rows(arity: int) -> list[Op]:
    """The rows that take so many operands, and their instances."""
    found = []
    for name in sorted(TABLE):
        row = OPS[name]
        if row.operands == arity or (row.operands is None and arity == 2):
            found += [row.at(*c) for c in CONSTANTS[name]] if row.constants else [row]
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


def told_apart(a: float, b: float, ulps: float) -> bool:
    """Whether two answers differ: in class, or by too much."""
    if a != a or b != b:
        return (a != a) != (b != b)
    if math.isinf(a) or math.isinf(b):
        return a != b
    if a == 0.0 or b == 0.0:
        return abs(a - b) > ulps * 5e-324 or (a == b and math.copysign(1.0, a) != math.copysign(1.0, b))
    return abs(a - b) > ulps * max(math.ulp(a), math.ulp(b))


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("arity", [1, 2, 3])
def test_every_row_at_every_edge(arity: int, native: bool) -> None:
    if native:
        pytest.importorskip("llvmlite")
    f = everything(arity)
    h = compile(f)
    if not native:
        h._kernel("map", (None,) * arity).reason = "a test asks for Python"
    edges = EDGES if arity < 3 else [0.0, -0.0, 1.0, -2.0, INF, NAN]
    samples = list(itertools.product(edges, repeat=arity))
    wrong = []
    for xs, answer in zip(samples, h.map(*map(list, zip(*samples)))):
        leaves = [*map(Value, xs)]
        places = iter(answer)
        for row in rows(arity):
            o = row(*leaves)
            for k, truth in enumerate([o.data, *tg.gradients(o, leaves)]):
                got = next(places)
                value = k == 0
                sign = value or not (truth == 0.0 == got)  # P4: the sign of a zero adjoint is not kept
                if sign and told_apart(got, truth, 3.0 if value else ULPS):
                    wrong.append((row, xs, "value" if value else f"partial {k}", got, truth))
    assert not wrong, f"{len(wrong)}: {wrong[:12]}"
