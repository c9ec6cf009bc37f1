"""Where the nodes of a graph go on paper: ranks from left to right, few crossings, smooth edges.

The method of Sugiyama, Tagawa and Toda (1981).  Every node gets a rank, and an edge over several ranks gets a
lane in each of them, shared with the other edges of its source.  The order within the ranks begins depth
first, which draws a tree without a crossing; then nodes move to the mean place of their neighbours, and
neighbours are exchanged.  At last every node moves next to its neighbours as far as the order allows.  Sizes
and pairs of indices come in, plain numbers go out: nothing here knows of Values.
"""

from bisect import bisect_right, insort
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from random import Random

MOST_LANES = 6000  # what is more runs straight
WORK = 14000  # cells and edges that may be looked at for a better order
MOST_ROUNDS = 20  # of exchanges in a sweep


def ranks(n: int, edges: Iterable[tuple[int, int]]) -> list[int]:
    """The longest way to each of n nodes, in edges; what can wait stands next to its users.

    Raises ValueError for edges that run in a circle.

    >>> ranks(4, [(0, 1), (1, 2), (3, 2)])
    [0, 1, 2, 1]
    """
    operands: list[set[int]] = [set() for _ in range(n)]
    users: list[set[int]] = [set() for _ in range(n)]
    for a, b in edges:
        operands[b].add(a)
        users[a].add(b)
    rank, missing = [0] * n, [len(xs) for xs in operands]
    order = [v for v in range(n) if not missing[v]]
    for v in order:  # it grows
        for u in users[v]:
            rank[u] = max(rank[u], rank[v] + 1)
            missing[u] -= 1
            if not missing[u]:
                order.append(u)
    if len(order) < n:
        raise ValueError("arrange: the edges run in a circle, and a graph of operations has none")
    for v in reversed(order):
        shared = sum(len(users[x]) > 1 for x in operands[v])  # their edges would become longer
        if users[v] and shared < len(users[v]):
            rank[v] = min(rank[u] for u in users[v]) - 1
    return rank


class RankOrder:
    """Cells in columns: a cell is a node, or the place where a long edge passes. Edges join neighbours."""

    def __init__(self, n: int, edges: Sequence[tuple[int, int]]) -> None:
        self.n = n  # cells from here on are lanes
        self.rank = ranks(n, edges)
        self.before: list[list[int]] = [[] for _ in range(n)]  # neighbours in the column to the left
        self.after: list[list[int]] = [[] for _ in range(n)]
        self.lanes: dict[tuple[int, int], int] = {}  # of an edge's source, in a rank: shared by its edges
        self.ways = [self._way(a, b) for a, b in edges]
        self.columns: list[list[int]] = [[] for _ in range(max(self.rank) + 1)]
        for v in self._depth_first():
            self.columns[self.rank[v]].append(v)

    def _way(self, a: int, b: int) -> list[int]:
        """The cells that an edge goes through, ends included."""
        way = [a]
        for rank in range(self.rank[a] + 1, self.rank[b]):
            cell = self.lanes.get((a, rank))
            if cell is None:
                if len(self.lanes) >= MOST_LANES:
                    break
                cell = self.lanes[a, rank] = len(self.rank)
                self.rank.append(rank)
                self.before.append([])
                self.after.append([])
                self._join(way[-1], cell)
            way.append(cell)
        if self.rank[way[-1]] == self.rank[b] - 1:
            self._join(way[-1], b)
        return [*way, b]

    def _join(self, a: int, b: int) -> None:
        self.after[a].append(b)
        self.before[b].append(a)

    def _depth_first(self) -> list[int]:
        """All cells, operands in their order from the last results on: a tree has no crossing then."""
        seen: set[int] = set()
        found = []
        ends = [v for v in range(len(self.rank)) if not self.after[v]]
        todo = [(v, False) for v in reversed(ends)]
        while todo:
            v, done = todo.pop()
            if done:
                found.append(v)
            elif v not in seen:
                seen.add(v)
                todo.append((v, True))
                todo.extend((x, False) for x in reversed(self.before[v]))
        return found

    # --- the order within a column --------------------------------------------------------------------------

    def order(self) -> None:
        """Sweep from the order depth first, then from shuffled ones as WORK allows; keep the best.

        The shuffles are the same on every run.
        """
        best, columns = self.crossings(), [column[:] for column in self.columns]
        rng, work = Random(0), WORK
        while best and work > 0:
            idle = turn = 0
            least = best + len(self.rank) ** 2
            while best and idle < 4 and work > 0:
                self._sweep(rightward=turn % 2 == 0, ties=turn % 4 > 1)
                rounds = self._transpose()
                now = self.crossings()
                idle = 0 if now < least else idle + 1
                least = min(now, least)
                if now < best:
                    best, columns = now, [column[:] for column in self.columns]
                turn += 1
                work -= (2 + rounds) * (len(self.rank) + sum(map(len, self.after)))
            for column in self.columns:
                rng.shuffle(column)
        self.columns = columns

    def _places(self) -> list[int]:
        places = [0] * len(self.rank)
        for column in self.columns:
            for i, v in enumerate(column):
                places[v] = i
        return places

    def crossings(self) -> int:
        """How many pairs of edges cross, between all neighbouring columns."""
        places, total = self._places(), 0
        for column in self.columns:
            passed: list[int] = []
            for v in column:
                ends = [places[u] for u in self.after[v]]
                total += sum(len(passed) - bisect_right(passed, end) for end in ends)
                for end in ends:
                    insort(passed, end)
        return total

    def _sweep(self, rightward: bool, ties: bool) -> None:
        """Every cell to the mean place of its neighbours in the column that was swept before."""
        places = self._places()
        neighbours = self.before if rightward else self.after
        for column in self.columns if rightward else reversed(self.columns):
            mean = {
                v: sum(places[u] for u in neighbours[v]) / len(neighbours[v]) for v in column if neighbours[v]
            }
            movers = iter(
                sorted((v for v in column[:: -1 if ties else 1] if v in mean), key=mean.__getitem__)
            )
            column[:] = [next(movers) if v in mean else v for v in column]  # the others keep their place
            for i, v in enumerate(column):
                places[v] = i

    def _transpose(self) -> int:
        """Exchange neighbours in a column as long as that takes crossings away; how many rounds that took."""
        places = self._places()
        rounds, better = 0, True
        while better and rounds < MOST_ROUNDS:
            rounds, better = rounds + 1, False
            for column in self.columns:
                left = {v: sorted([places[u] for u in self.before[v]]) for v in column}
                right = {v: sorted([places[u] for u in self.after[v]]) for v in column}
                for i in range(len(column) - 1):
                    a, b = column[i], column[i + 1]
                    now = _inversions(left[a], left[b]) + _inversions(right[a], right[b])
                    if now and _inversions(left[b], left[a]) + _inversions(right[b], right[a]) < now:
                        column[i], column[i + 1] = b, a
                        places[a], places[b] = i + 1, i
                        better = True
        return rounds


def _inversions(above: Sequence[int], below: Sequence[int]) -> int:
    """How many edges of two neighbours cross, the sorted ends of each given."""
    total = i = 0
    for end in above:
        while i < len(below) and below[i] < end:
            i += 1
        total += i
    return total


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
    columns = RankOrder(len(sizes), edges)
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

    def __init__(self, sizes: Sequence[Point], cells: RankOrder) -> None:
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
        """Columns side by side, the further apart the more their edges climb, and the edges between them."""
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
