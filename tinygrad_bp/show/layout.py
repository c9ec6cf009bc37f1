"""Where the nodes of a graph go on paper: layers from left to right, few crossings, smooth edges.

The method of Sugiyama, Tagawa and Toda (1981): every node gets a rank, edges over several ranks get a lane in
each of them, the order within the ranks is swept until hardly an edge crosses another (columns.py), and then
every node moves next to its neighbours as far as the order allows.  Sizes and pairs of indices come in, plain
numbers go out: nothing here knows of Values, and nothing needs to be installed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tinygrad_bp.show.columns import Columns

Point = tuple[float, float]
Route = list[Point]  # a start, and three points for each cubic Bézier curve

NEAR, FAR = 9.0, 20.0  # between neighbours in a rank: with an operation in common, and without
LANE = 10.0  # beside an edge that passes through a rank
STEP, SLOPE, WIDEST = 40.0, 0.22, 210.0  # between ranks: at least, for each unit their edges climb, at most
STRAIGHT = (1.0, 2.0, 8.0)  # how much an edge wants to be level: with no lane, with one, between two
BEND = 0.36  # how far a curve stays level
DIRECTIONS = ("LR", "RL", "TB", "BT")


@dataclass
class Layout:
    """The size of the paper, the centre of every node, and the route of every edge as Bézier points."""

    width: float
    height: float
    centres: list[Point]
    routes: list[Route]


def arrange(sizes: Sequence[Point], edges: Sequence[tuple[int, int]], direction: str = "LR") -> Layout:
    """Place nodes of these sizes (width, height), joined by edges (source, target), in ranks.

    The ranks run in `direction`: "LR", "RL", "TB" or "BT". An edge ends at the border of its target, beside
    the others that do. Raises ValueError for another direction and for edges that run in a circle.

    >>> arrange([(60, 30), (60, 30)], [(0, 1)]).centres
    [(30.0, 15.0), (130.0, 15.0)]
    """
    if direction not in DIRECTIONS:
        raise ValueError(f"arrange: unknown direction {direction!r}; there are {', '.join(DIRECTIONS)}")
    if not sizes:
        return Layout(0.0, 0.0, [], [])
    upright = direction in ("TB", "BT")
    columns = Columns(len(sizes), edges)
    columns.order()
    paper = _Paper([(h, w) if upright else (w, h) for w, h in sizes], columns)
    paper.settle()
    layout = paper.layout()
    if direction in ("RL", "BT"):
        _mapped(layout, lambda p: (layout.width - p[0], p[1]))
    if upright:
        _mapped(layout, lambda p: (p[1], p[0]))
        layout.width, layout.height = layout.height, layout.width
    return layout


def _mapped(layout: Layout, to: Callable[[Point], Point]) -> None:
    layout.centres = [to(p) for p in layout.centres]
    layout.routes = [[to(p) for p in route] for route in layout.routes]


# --- coordinates --------------------------------------------------------------------------------------------


class _Paper:
    """Where the cells are: x by their column, y as near to their neighbours as the order allows."""

    def __init__(self, sizes: Sequence[Point], cells: Columns) -> None:
        self.sizes, self.cells = sizes, cells
        self.height = [h for _, h in sizes] + [0.0] * len(cells.lanes)
        self.y = [0.0] * len(self.height)

    def settle(self) -> None:
        """Move every cell towards its neighbours: those on one side first, then those on both."""
        for column in self.cells.columns:
            self._place(column, [(0.0, 1.0)] * len(column))
        for turn in range(16):
            rightward, both = turn % 2 == 0, turn >= 6
            for column in self.cells.columns if rightward else reversed(self.cells.columns):
                self._place(column, [self._wish(v, rightward or both, both or not rightward) for v in column])
        top = min(y - h / 2 for y, h in zip(self.y, self.height))
        self.y = [y - top for y in self.y]

    def _wish(self, v: int, left: bool, right: bool) -> tuple[float, float]:
        """The mean place of its neighbours on these sides, few before many, and how much that counts."""
        before, after = self.cells.before, self.cells.after
        total = weight = 0.0
        for side, back in [(before, after)] * left + [(after, before)] * right:
            for u in side[v]:
                lanes = (u >= self.cells.n) + (v >= self.cells.n)
                pull = STRAIGHT[lanes] / max(len(side[v]), len(back[u]))
                total += pull * self.y[u]
                weight += pull
        return (total / weight, weight) if weight else (self.y[v], 0.01)

    def _place(self, column: Sequence[int], wishes: Sequence[tuple[float, float]]) -> None:
        """The places nearest to all wishes that keep order and distance (pool adjacent violators)."""
        offsets = [0.0]
        for u, v in pairwise(column):
            offsets.append(offsets[-1] + (self.height[u] + self.height[v]) / 2 + self._gap(u, v))
        blocks: list[tuple[float, float, int]] = []  # a block's mean wish, its weight, and how many are in it
        for (wish, weight), offset in zip(wishes, offsets):
            mean, count = wish - offset, 1
            while blocks and blocks[-1][0] > mean:
                other, heavy, more = blocks.pop()
                mean = (mean * weight + other * heavy) / (weight + heavy)
                weight, count = weight + heavy, count + more
            blocks.append((mean, weight, count))
        places = [mean for mean, _, count in blocks for _ in range(count)]
        for v, place, offset in zip(column, places, offsets):
            self.y[v] = place + offset

    def _gap(self, u: int, v: int) -> float:
        if max(u, v) >= self.cells.n:
            return LANE
        return NEAR if not set(self.cells.after[u]).isdisjoint(self.cells.after[v]) else FAR

    def layout(self) -> Layout:
        """Columns beside each other, the further the more their edges climb, and the edges between them."""
        cells, n = self.cells, len(self.sizes)
        widths = [max((self.sizes[v][0] for v in column if v < n), default=0.0) for column in cells.columns]
        climb = [0.0] * len(widths)
        for v, users in enumerate(cells.after):
            for u in users:
                climb[cells.rank[u]] = max(climb[cells.rank[u]], abs(self.y[u] - self.y[v]))
        lefts, x = [], -STEP
        for rank, width in enumerate(widths):
            lefts.append(x + max(STEP, min(climb[rank] * SLOPE, WIDEST)))
            x = lefts[-1] + width
        centres = [(lefts[rank] + widths[rank] / 2, y) for rank, y in zip(cells.rank, self.y)]
        ports = self._ports()
        routes = []
        for way, port in zip(cells.ways, ports):
            (a, *lanes, b) = way
            route = [(centres[a][0] + self.sizes[a][0] / 2, self.y[a])]
            for u, v in pairwise(way):
                _straight(route, lefts[cells.rank[u]] + widths[cells.rank[u]])
                _curve(route, (lefts[cells.rank[v]], self.y[v] + (0.0 if v in lanes else port)))
            _straight(route, centres[b][0] - self.sizes[b][0] / 2)
            routes.append(route)
        height = max(y + h / 2 for y, h in zip(self.y, self.height))
        return Layout(x, height, centres[:n], routes)

    def _ports(self) -> list[float]:
        """For every edge, how far from the middle of its target it ends: spread in the order they come in."""
        arriving: dict[int, list[int]] = {}
        for e, way in enumerate(self.cells.ways):
            arriving.setdefault(way[-1], []).append(e)
        ports = [0.0] * len(self.cells.ways)
        for b, edges in arriving.items():
            edges.sort(key=lambda e: self.y[self.cells.ways[e][-2]])
            gap = min(0.6 * self.height[b] / len(edges), 9.0)
            for i, e in enumerate(edges):
                ports[e] = gap * (i - (len(edges) - 1) / 2)
        return ports


def _straight(route: Route, x: float) -> None:
    x0, y = route[-1]
    if x > x0 + 0.01:  # not for the last digits of a sum
        route += [(x0 + (x - x0) / 3, y), (x - (x - x0) / 3, y), (x, y)]


def _curve(route: Route, end: Point) -> None:
    """Level at both ends, and nearly straight between."""
    (x0, y0), (x1, y1) = route[-1], end
    bend = BEND * (x1 - x0)
    route += [(x0 + bend, y0), (x1 - bend, y1), end]


def path(route: Route) -> str:
    """A route as SVG writes it.

    >>> path([(0.0, 0.0), (5.0, 0.0), (5.0, 9.0), (10.0, 9.04)])
    'M0,0C5,0 5,9 10,9'
    """
    points = [f"{x:.1f},{y:.1f}".replace(".0,", ",").removesuffix(".0") for x, y in route]
    return "M" + points[0] + "".join("C" + " ".join(points[i : i + 3]) for i in range(1, len(points), 3))
