"""Ranks, and the order within them: the half of a layout that decides which edges cross.

Every node gets a rank; an edge over several ranks gets a lane in each of them, shared with the other edges of
its source.  The order begins depth first, which draws a tree without a crossing; then cells move to the mean
place of their neighbours, and neighbours are exchanged.  layout.py gives it all coordinates.
"""

from bisect import bisect_right, insort
from collections.abc import Iterable, Sequence
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


class Columns:
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
