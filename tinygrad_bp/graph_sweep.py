"""The backward sweep as a graph: gradients that can be differentiated again, and compiled.

`sweep` in engine.py multiplies and adds floats. Here the same products and sums are made of Values, so every
adjoint is a node: the dot product of the adjoints of its consumers and the local partials.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import chain, islice
from typing import Any, NamedTuple

from tinygrad_bp.engine import Value, dot, newest_first
from tinygrad_bp.ops import dot as DOT, ne as NE, sum as SUM, take as TAKE, where as WHERE


class WeightRow(NamedTuple):
    """The adjoints of a dot's weights, not multiplied out: of each, g times the operand beside it."""

    weights: tuple[Value, ...]
    operands: tuple[Value, ...]
    g: Value


def sweep_graph(seeds: Mapping[Value, Value], rows: list[WeightRow] | None = None) -> dict[Value, Value]:
    """The adjoint of every node under the seeded roots, as Values that can be differentiated again.

    What makes this longer than `sweep` are cut edges (policy P4 of docs/semantics.md). The branch that
    `where`, `max`, `relu` ... did not choose gets no gradient, not even 0 x inf = nan, so `sweep` skips an
    edge whose partial is 0 if the operation `selects`. A graph can be run again on other numbers, which may
    choose the other branch, so it must not skip: it has to contain the choice.

    - On an edge of an operation that selects, the share is `where(d != 0, d * g, 0)`.
    - Below such an edge a node may be *live* (some path of uncut edges leads to it from a root) or not. A 0
      that arrives over a cut edge would become nan in 0 x inf further down, so each share there needs the
      condition too. `paths[x]` collects the conditions of the paths to x, one for each consumer (None: always
      uncut), and x is live where any of them holds.
    - Only where a partial can be infinite or nan does this matter. `fragile` is the set of nodes with such an
      operation at or below them; all others multiply plainly, and a ReLU network costs nothing extra.

    With `rows`, leaves that are the weights of one dot and nothing else are left out of the result, and
    `rows` gets them by the dot: of a neuron `dot([w0, w1, w2], [x0, x1, x2], b)` whose adjoint is g, one
    (w0 w1 w2, x0 x1 x2, g) in place of three products.

    >>> x = Value(3.0); first = sweep_graph({x**3: Value(1.0)})[x]; sweep_graph({first: Value(1.0)})[x].data
    18.0
    """
    order = newest_first(seeds)
    fragile = above_singular(order) if any(v.op.selects for v in order) else set()
    alone = used_once(order, seeds) if rows is not None else set()
    shares: Any = defaultdict(lambda: ([], []), {root: ([1.0], [seed]) for root, seed in seeds.items()})
    paths: Any = defaultdict(list, {root: [None] for root in seeds})
    adjoint: dict[Value, Value] = {}
    flags: dict[Any, Any] = {}
    for v in order:
        if v not in shares or v.op.partials is None:
            continue
        g = adjoint[v] = gather(*shares.pop(v))
        live = either(paths.pop(v, [None]))
        if v.op is TAKE:  # 1 by the row that is taken: the same flags for all columns of a table
            key = v.inputs[0], len(v.inputs)
            ds = flags[key] = flags.get(key) or v.op.partials(v, *v.inputs)
        else:
            ds = v.op.partials(v, *v.inputs)
        edges = zip(v.inputs, ds)
        n = len(v.inputs) // 2
        if v.op is DOT and live is None and rows is not None and alone.issuperset(v.inputs[:n]):
            rows.append(WeightRow(v.inputs[:n], v.inputs[n : 2 * n], g))
            edges = islice(edges, n, None)  # type: ignore[assignment]
        if live is None and not v.op.selects and fragile.isdisjoint(v.inputs):  # nothing is cut here: most
            for x, d in edges:
                if type(d) is not float or d != 0.0:
                    ds, gs = shares[x]
                    ds.append(d)
                    gs.append(g)
            continue
        for x, d in edges:
            if type(d) is float and d == 0.0:
                continue  # the rule itself says that there is no edge
            share, path = g, live
            if v.op is TAKE and live is None:
                path = d if x in fragile else None
            elif v.op.selects and type(d) is not float:
                path = NE(d, 0.0) if live is None else live * NE(d, 0.0)
            if path is not None:
                d, share = 1.0, WHERE(path, d * g, 0.0)
            shares[x][0].append(d)
            shares[x][1].append(share)
            if x in fragile:
                paths[x].append(path)
    return adjoint | {x: gather(*share) for x, share in shares.items()}


def used_once(order: Sequence[Value], seeds: Mapping[Value, Value]) -> set[Value]:
    """The leaves that are one operand of one node, and no root."""
    uses = Counter(chain(seeds, chain.from_iterable([v.inputs for v in order])))
    return {x for x, n in uses.items() if n == 1 and x.op is None}


def above_singular(order: Sequence[Value]) -> set[Value]:
    """The nodes that have an operation with infinite or nan partials at or below them."""
    fragile: set[Value] = set()
    for v in reversed(order):
        if v.op.singular or not fragile.isdisjoint(v.inputs):
            fragile.add(v)
    return fragile


def either(paths: Sequence[Any]) -> Any:
    """Whether any of the paths is live, as a node that is not 0 then; None where one always is."""
    if any(path is None for path in paths):
        return None
    return paths[0] if len(paths) == 1 else SUM(*paths)


def gather(ds: Sequence[Any], gs: Sequence[Value]) -> Value:
    """The dot product of ds and gs, in its plainest form."""
    if len(gs) == 1:
        return gs[0] if type(ds[0]) is float and ds[0] == 1.0 else ds[0] * gs[0]
    if all(type(d) is float and d == 1.0 for d in ds):
        return SUM(*gs)
    return dot(ds, gs)
