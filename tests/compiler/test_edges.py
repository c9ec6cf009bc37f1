"""Every row of the table, at every edge, compiled: what the engine answers is what compiled code answers.

All rows of one arity are one function that returns values and partials, and the edges are its samples: one
module of machine code for each. Same class (nan, inf, sign of zero), and as near as three units in the last
place for values; partials are several operations and have a few more.
"""

import itertools

import pytest
from support.edges import EDGES, INF, NAN, differ, everything, rows

import tinygrad_bp as tg
from tinygrad_bp import Value
from tinygrad_bp.compiler import compile

ULPS = 24.0  # of a partial, which is up to ten operations


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
                if sign and differ(got, truth, 3.0 if value else ULPS):
                    wrong.append((row, xs, "value" if value else f"partial {k}", got, truth))
    assert not wrong, f"{len(wrong)}: {wrong[:12]}"
