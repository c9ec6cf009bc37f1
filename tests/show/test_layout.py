"""The built-in layout: ranks, crossings, places and routes, on random graphs, trees and networks.

What is claimed is measured on the coordinates that come out: nodes do not overlap, edges run from border to
border without passing over a node, and nothing crosses that need not.
"""

import random
from itertools import combinations, pairwise
from math import comb

import pytest
from hypothesis import example, given, settings, strategies as st

from tinygrad_bp import MLP
from tinygrad_bp.show.graph import read
from tinygrad_bp.show.layout import RankOrder, arrange, ranks


def random_dag(seed, largest=40):
    rng = random.Random(seed)
    n = rng.randrange(1, largest)
    edges = [(rng.randrange(max(0, v - 9), v), v) for v in range(1, n) for _ in range(rng.randrange(3))]
    sizes = [(rng.uniform(20, 160), rng.uniform(20, 70)) for _ in range(n)]
    return sizes, edges


def random_tree(seed, largest=60):
    """Nodes with one consumer each but for the last; operands before results."""
    rng = random.Random(seed)
    n = rng.randrange(2, largest)
    return [(90.0, 40.0)] * n, [(v, rng.randrange(v + 1, n)) for v in range(n - 1)]


def drawn_crossings(layout, edges):
    """Pairs of edges between the same two columns that cross, by the places of their ends."""
    lines = [(*layout.centres[a], *layout.centres[b]) for a, b in edges]
    return sum(
        (x, u) == (p, r) and (y - q) * (v - s) < 0
        for (x, y, u, v), (p, q, r, s) in combinations(lines, 2)
    )  # fmt: skip


def points_on(route, pieces=12):
    """Points along the Bézier curves of a route."""
    for i in range(0, len(route) - 1, 3):
        a, b, c, d = route[i : i + 4]
        for k in range(pieces + 1):
            t = k / pieces
            w = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3)
            yield tuple(sum(wi * p[axis] for wi, p in zip(w, (a, b, c, d))) for axis in (0, 1))


# --- ranks --------------------------------------------------------------------------------------------------


@given(st.integers(0, 10**6))
def test_every_edge_runs_to_a_later_rank(seed):
    sizes, edges = random_dag(seed)
    rank = ranks(len(sizes), edges)
    assert all(rank[a] < rank[b] for a, b in edges)
    assert min(rank) >= 0


def test_what_can_wait_stands_beside_its_user():
    assert ranks(5, [(0, 1), (1, 2), (2, 4), (3, 4)]) == [0, 1, 2, 2, 3]
    assert ranks(5, [(0, 1), (1, 2), (3, 4), (4, 2)]) == [0, 1, 2, 0, 1]


def test_edges_in_a_circle_are_an_error():
    with pytest.raises(ValueError, match="the edges run in a circle, and a graph of operations has none"):
        arrange([(9, 9)] * 3, [(0, 1), (1, 2), (2, 1)])


# --- crossings ----------------------------------------------------------------------------------------------


@given(st.integers(0, 10**6))
def test_a_tree_is_drawn_without_a_crossing(seed):
    sizes, edges = random_tree(seed)
    assert drawn_crossings(arrange(sizes, edges), edges) == 0


@given(st.integers(0, 10**6))
@settings(max_examples=40)
def test_a_tree_stays_free_of_crossings_however_its_edges_are_listed(seed):
    sizes, edges = random_tree(seed, largest=25)
    random.Random(seed).shuffle(edges)
    assert drawn_crossings(arrange(sizes, edges), edges) == 0


@pytest.mark.parametrize(
    "shape", [(2, [4, 1]), (3, [3, 2]), (2, [8, 8, 1]), (2, [16, 16, 1]), (1, [5, 5, 5, 1])]
)
def test_a_network_has_the_crossings_that_its_layers_force(shape):
    """Between m and n neurons, all of them joined, C(m, 2) C(n, 2) pairs cross in any order."""
    nin, nouts = shape
    out = MLP(nin, nouts, rng=random.Random(0))([0.5] * nin)
    root = sum(out) if isinstance(out, list) else out
    picture = read(root, "neuron")
    index = {node.id: i for i, node in enumerate(picture.nodes)}
    edges = [(index[edge.source], index[edge.target]) for edge in picture.edges]
    forced = sum(comb(m, 2) * comb(n, 2) for m, n in pairwise([nin, *nouts]))
    assert drawn_crossings(arrange([(90, 40)] * len(index), edges), edges) == forced


def test_a_layered_graph_that_can_be_drawn_flat_is():
    """Grids of ladders: planar by construction, listed in random order."""
    for seed in range(30):
        rng = random.Random(seed)
        width, depth = rng.randrange(2, 6), rng.randrange(2, 6)
        names = list(range(width * depth))
        rng.shuffle(names)
        at = {(i, j): names[i * depth + j] for i in range(width) for j in range(depth)}
        edges = [(at[i, j], at[i, j + 1]) for i in range(width) for j in range(depth - 1)]
        edges += [(at[i, j], at[i + 1, j + 1]) for i in range(width - 1) for j in range(depth - 1)]
        rng.shuffle(edges)
        assert drawn_crossings(arrange([(30, 20)] * len(names), edges), edges) == 0


@given(st.integers(0, 10**6))
def test_sweeping_never_makes_more_crossings(seed):
    sizes, edges = random_dag(seed)
    columns = RankOrder(len(sizes), edges)
    before = columns.crossings()
    columns.order()
    assert columns.crossings() <= before
    cells = sorted(cell for column in columns.columns for cell in column)
    assert cells == list(range(len(columns.rank)))


# --- places and routes --------------------------------------------------------------------------------------


@given(st.integers(0, 10**6))
def test_nodes_stand_in_columns_and_apart(seed):
    sizes, edges = random_dag(seed)
    layout = arrange(sizes, edges)
    boxes = [(x - w / 2, y - h / 2, x + w / 2, y + h / 2) for (x, y), (w, h) in zip(layout.centres, sizes)]
    assert all(
        a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1] for a, b in combinations(boxes, 2)
    )
    assert all(b[0] > -1e-6 and b[1] > -1e-6 for b in boxes)
    assert all(b[2] < layout.width + 1e-6 and b[3] < layout.height + 1e-6 for b in boxes)
    rank = ranks(len(sizes), edges)
    for i, j in combinations(range(len(sizes)), 2):
        if rank[i] == rank[j]:
            assert layout.centres[i][0] == layout.centres[j][0]


@given(st.integers(0, 10**6))
@example(424)
def test_edges_run_from_border_to_border_and_over_no_node(seed):
    sizes, edges = random_dag(seed)
    layout = arrange(sizes, edges)
    for (a, b), route in zip(edges, layout.routes):
        assert len(route) % 3 == 1
        (xa, ya), (xb, yb), (wa, _), (wb, hb) = layout.centres[a], layout.centres[b], sizes[a], sizes[b]
        assert route[0] == pytest.approx((xa + wa / 2, ya))
        assert route[-1][0] == pytest.approx(xb - wb / 2, abs=0.01)  # a tenth of what is written
        assert abs(route[-1][1] - yb) <= hb / 2
        assert route[-2][1] == route[-1][1]  # it arrives level, from afar enough to have a direction
        assert route[-1][0] - route[-2][0] > 0.003
        path = list(points_on(route))
        assert all(p[0] <= q[0] + 1e-9 for p, q in pairwise(path))
        for c, ((x, y), (w, h)) in enumerate(zip(layout.centres, sizes)):
            if c not in (a, b):
                assert not any(abs(px - x) < w / 2 - 1e-6 and abs(py - y) < h / 2 - 1e-6 for px, py in path)


def test_two_edges_between_the_same_nodes_end_apart():
    first, second = arrange([(60, 40)] * 2, [(0, 1), (0, 1)]).routes
    assert abs(first[-1][1] - second[-1][1]) > 5


def test_a_chain_is_a_straight_line():
    layout = arrange([(60, 30), (80, 40), (60, 20), (50, 30)], [(0, 1), (1, 2), (2, 3)])
    assert {y for _, y in layout.centres} == {20.0}
    assert {y for route in layout.routes for _, y in route} == {20.0}


def test_directions_are_turns_of_one_layout():
    sizes, edges = random_dag(5)
    right, left = arrange(sizes, edges), arrange(sizes, edges, "RL")
    assert [(right.width - x, y) for x, y in right.centres] == left.centres
    turned = [(h, w) for w, h in sizes]
    down, up = arrange(turned, edges, "TB"), arrange(turned, edges, "BT")
    assert (down.width, down.height) == (right.height, right.width) == (up.width, up.height)
    assert [(y, x) for x, y in down.centres] == right.centres
    assert [x for x, _ in up.centres] == [x for x, _ in down.centres]
    assert [y for _, y in up.centres] == pytest.approx([down.height - y for _, y in down.centres])
    with pytest.raises(ValueError, match="unknown direction 'XY'; there are LR, RL, TB, BT"):
        arrange(sizes, edges, "XY")


def test_the_same_graph_gets_the_same_layout():
    sizes, edges = random_dag(11)
    assert arrange(sizes, edges) == arrange(sizes, edges)


def test_nothing_and_one_node_have_a_layout():
    assert arrange([], []).centres == []
    assert arrange([(60, 30)], []).centres == [(30.0, 15.0)]


def test_long_edges_without_number_do_not_fill_the_ranks():
    """A running sum of 900 terms that are all used again at the end has 400,000 ranks to cross."""
    n = 900
    edges = [(v, v + 1) for v in range(n - 1)] + [(v, n - 1) for v in range(n - 2)]
    layout = arrange([(60, 30)] * n, edges)
    assert len(layout.routes) == len(edges)
    assert max(len(route) for route in layout.routes) < 6 * n
