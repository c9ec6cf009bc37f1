"""Roll: from statements to loop nests, where addresses run in arithmetic progression.

That is how matrix products are found: the neurons of a layer are like-shaped dots, and from one to the next
the address of the weights moves by a row.  A group of statements that follows no progression becomes one loop
over a table of addresses if it is large, and nests of a single point if not.  Every group stores its results
in a row of places of their own, in order.

    16 statements that read weights 0, 1 and bias 2; weights 3, 4 and bias 5; ...
    one nest: 16 trips, strides 3 for weights and bias, 0 for the inputs, 1 for the result
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, groupby, product, repeat
from operator import sub

from tinygrad_bp import ops
from tinygrad_bp.compiler.schedule import Apply, Kind, Leaf, Schedule, Shape, Space, Statement
from tinygrad_bp.compiler.terms import CONSTANT, SAMPLE, Term

LINE = 8  # numbers in a line of the cache, where a large group's results begin
Point = tuple[int, ...]  # addresses: of the result, then of each operand (of a list: its first, or its table)


@dataclass(frozen=True)
class Run:
    """How a list of operands lies in memory: at a stride from the first, or (None) as a table says."""

    space: Space
    stride: int | None
    length: int


@dataclass
class Nest:
    """Loops around one statement: at counters i, j its addresses are base + i * strides + j * strides.

    With a `table`, the only loop is over its entries, and base and strides say where in the table a point's
    addresses are.
    """

    kind: Kind
    shape: Shape
    runs: tuple[Run | None, ...]  # of each operand: how a list lies, None for a single one
    base: Point
    loops: list[tuple[int, Point]]  # (trips, strides), outermost first
    table: bool = False

    @property
    def points(self) -> int:
        """How many statements it stands for."""
        n = 1
        for trips, _ in self.loops:
            n *= trips
        return n

    @property
    def length(self) -> int:
        """Of its lists; 0 without any."""
        return max((run.length for run in self.runs if run), default=0)

    @property
    def takes(self) -> bool:
        """Whether its list is there to take one entry, and not to be added up."""
        return any(isinstance(token, Apply) and token.op is ops.take for token in self.shape)


@dataclass
class Rolled:
    """A program as loops, with nothing left of the user's graph: all that the emitters need."""

    nests: list[Nest]
    inputs: int
    outputs: list[tuple[Space, int]]  # where they are; for sums, there is one accumulator for each
    summed: bool
    leaves: int  # scalars that are read at each call: parameters, then captured values
    constants: list[float]  # scalars that follow them
    scalars: int  # scalars in all
    rows: int  # rows in all
    table: list[int]


def roll(plan: Schedule) -> Rolled:
    """Give every stored term its place, and make loops of statements that are alike."""
    program = plan.program
    place = _places_of_leaves(plan)
    free = {Space.ROWS: program.inputs, Space.SCALARS: len(program.leaves) + len(plan.constants)}
    tables = _Tables()
    nests: list[Nest] = []
    groups = [[*group] for _, group in groupby(plan.statements, key=lambda s: (s.kind, s.level, s.shape))]
    mixed = _mixed(groups)
    for number, statements in enumerate(groups):
        kind, shape = statements[0].kind, statements[0].shape
        if kind in (Kind.ONCE, Kind.SAMPLE):
            space = Space.ROWS if kind is Kind.SAMPLE else Space.SCALARS
            if space is Space.ROWS and len(statements) >= LINE and number not in mixed:
                free[space] = -(-free[space] // LINE) * LINE
            if _falls(statements, place):
                statements.reverse()
            for s in statements:
                place[s.target] = free[space]
                free[space] += 1
        nests += _nests(kind, shape, statements, place, tables)
    outputs = [] if program.summed else [_located(term, place) for term in program.outputs]
    if program.summed:
        outputs = [(Space.SCALARS, i) for i in range(program.count)]
    constants = [term.value for term in plan.constants]
    return Rolled(
        nests, program.inputs, outputs, program.summed, len(program.leaves), constants,
        free[Space.SCALARS], free[Space.ROWS], tables.entries,
    )  # fmt: skip


def _mixed(groups: Sequence[Sequence[Statement]]) -> set[int]:
    """Groups whose results a list takes together with others: they must follow each other in memory."""
    group_of = {s.target: i for i, group in enumerate(groups) for s in group if s.kind is Kind.SAMPLE}
    mixed: set[int] = set()
    for s in chain.from_iterable(groups):
        for leaf in s.leaves:
            if isinstance(leaf, list):
                first, last = (group_of.get(x, -1) for x in (leaf[0], leaf[-1]))
                if first != last:
                    mixed |= {first, last}
    return mixed


def _falls(statements: Sequence[Statement], place: dict[Term, int]) -> bool:
    """Whether the operands of the second statement lie before those of the first.

    A sweep backward meets the last neuron first; with its results in the order of the operands, all addresses
    of a nest run the same way.
    """
    for x, y in zip(*[s.leaves for s in statements[:2]]) if len(statements) > 1 else ():
        a, b = (place[leaf[0] if isinstance(leaf, list) else leaf] for leaf in (x, y))
        if a != b:
            return b < a
    return False


def _located(term: Term, place: dict[Term, int]) -> tuple[Space, int]:
    return (Space.ROWS if term.rate == SAMPLE else Space.SCALARS), place[term]


def _places_of_leaves(plan: Schedule) -> dict[Term, int]:
    """Inputs and parameters have theirs from the start, and constants come after the parameters."""
    place = {term: len(plan.program.leaves) + i for i, term in enumerate(plan.constants)}
    place.update([(x, x.value) for x in plan.program.order if not x.args and x.rate != CONSTANT])
    return place


class _Tables:
    """Addresses that follow no rule, one array of them; an equal sequence is stored once."""

    def __init__(self) -> None:
        self.entries: list[int] = []
        self.known: dict[Point, int] = {}

    def place(self, addresses: Sequence[int]) -> int:
        key = tuple(addresses)
        if key not in self.known:
            self.known[key] = len(self.entries)
            self.entries += key
        return self.known[key]


def _nests(
    kind: Kind, shape: Shape, statements: Sequence[Statement], place: dict[Term, int], tables: _Tables
) -> Iterator[Nest]:
    at = place.__getitem__
    targets = [s.target for s in statements]
    columns = [targets if isinstance(targets[0], int) else list(map(at, targets))]
    runs: list[Sequence[Run | None]] = []
    rows = _rows(kind, shape, statements, place)
    if rows:
        yield from rows
        return
    if any(s.row for s in statements):
        columns = _columns_of_rows(statements, place)
        runs = [[None] * len(columns[0])] * (len(columns) - 1)
    else:
        for leaves in zip(*[s.leaves for s in statements]):
            if isinstance(leaves[0], list):
                lying = [_run(list(map(at, leaf)), leaf[0].rate, tables) for leaf in leaves]
                runs.append([run for run, _ in lying])
                columns.append([first for _, first in lying])
            else:
                columns.append(list(map(at, leaves)))
                runs.append([None] * len(leaves))
    groups: dict[tuple[Run | None, ...], list[Point]] = {}
    for key, point in zip(zip(*runs) if runs else repeat(()), zip(*columns)):
        groups.setdefault(key, []).append(point)
    for key, points in groups.items():
        found = list(progressions(points))
        if len(found) > 4 and len(found) > len(points) // 16:  # irregular: one loop over a table
            first = tables.place([address for point in points for address in point])
            width = len(points[0])
            base = tuple(range(first, first + width))
            yield Nest(kind, shape, key, base, [(len(points), (width,) * width)], table=True)
        else:
            yield from (Nest(kind, shape, key, base, loops) for base, loops in found)


def _rows(kind: Kind, shape: Shape, statements: Sequence[Statement], place: Mapping[Term, int]) -> list[Nest]:
    """Nests of rows alone, all of one length, whose operands lie at one distance: none is written out."""
    lying: set[tuple[int, Point]] = set()
    points: list[Point] = []
    for s in statements:
        addresses = [
            [place[x] for x in leaf] if isinstance(leaf, list) else [place[leaf]] for leaf in s.leaves
        ]
        strides = [a[1] - a[0] if len(a) > 1 else 0 for a in addresses]
        if s.row < 2 or any(not _runs_at(a, stride) for a, stride in zip(addresses, strides)):
            return []
        lying.add((s.row, (1, *strides)))
        points.append((s.target, *[a[0] for a in addresses]))
    if len(lying) != 1:
        return []
    runs = (None,) * (len(points[0]) - 1)
    found = [Nest(kind, shape, runs, base, loops + [*lying]) for base, loops in progressions(points)]
    return found if len(found) <= 4 and all(len(nest.loops) == 2 for nest in found) else []


def _runs_at(addresses: list[int], stride: int) -> bool:
    """Whether each address is the one before and the stride."""
    first, n = addresses[0], len(addresses)
    return addresses == (list(range(first, first + stride * n, stride)) if stride else [first] * n)


def _columns_of_rows(statements: Sequence[Statement], place: Mapping[Term, int]) -> list[list[int]]:
    """The addresses of each target and of each operand, where some statements stand for a row of them."""
    at = place.__getitem__
    targets = chain.from_iterable([range(s.target, s.target + (s.row or 1)) for s in statements])
    columns = [[*targets]]
    for leaves in zip(*[s.leaves for s in statements]):
        addresses = [
            map(at, leaf) if isinstance(leaf, list) else repeat(at(leaf), s.row or 1)
            for s, leaf in zip(statements, leaves)
        ]
        columns.append([*chain.from_iterable(addresses)])
    return columns


def _run(addresses: list[int], rate: int, tables: _Tables) -> tuple[Run, int]:
    space = Space.ROWS if rate == SAMPLE else Space.SCALARS
    stride = addresses[1] - addresses[0] if len(addresses) > 1 else 0
    if _runs_at(addresses, stride):
        return _runs(space, stride, len(addresses)), addresses[0]
    return _runs(space, None, len(addresses)), tables.place(addresses)


@lru_cache(10_000)
def _runs(space: Space, stride: int | None, length: int) -> Run:
    return Run(space, stride, length)


def progressions(points: Sequence[Point]) -> Iterator[tuple[Point, list[tuple[int, Point]]]]:
    """The points, in order, as (first point, loops): runs of a constant step, and runs of such runs.

    >>> list(progressions([(0, 5), (1, 5), (2, 6), (3, 6)]))
    [((0, 5), [(2, (2, 1)), (2, (1, 0))])]
    """
    columns = list(zip(*points))
    steps = list(zip(*[map(sub, column[1:], column) for column in columns]))  # from each point to the next
    i = 0
    while i < len(points):
        n = 1
        while i + n <= len(steps) and steps[i + n - 1] == steps[i]:
            n += 1
        if n == 1:
            yield points[i], []
            i += 1
            continue
        hop: Point = ()
        within, rows = steps[i : i + n - 1], 1
        while steps[(j := i + rows * n) : j + n - 1] == within:
            hop = hop or _apart(points[j], points[i])
            if _apart(points[j], points[j - n]) != hop:
                break
            rows += 1
        loops = [(n, within[0])]
        if rows > 1:
            loops.insert(0, (rows, hop))
        yield points[i], loops
        i += rows * n


def _apart(p: Point, q: Point) -> Point:
    return tuple([x - y for x, y in zip(p, q)])


# --- addresses ---------------------------------------------------------------------------------------------


def leaf_spaces(nest: Nest) -> list[Space]:
    """The memory of each operand."""
    singles = iter([token.space for token in nest.shape if isinstance(token, Leaf)])
    return [run.space if run else next(singles) for run in nest.runs]


def points_of(nest: Nest, table: Sequence[int]) -> Iterator[Point]:
    """The addresses of every statement of a nest, in order."""
    for counters in product(*(range(trips) for trips, _ in nest.loops)):
        point = list(nest.base)
        for counter, (_, strides) in zip(counters, nest.loops):
            point = [a + counter * stride for a, stride in zip(point, strides)]
        yield tuple([table[a] for a in point] if nest.table else point)


def addresses_of(run: Run, first: int, table: Sequence[int]) -> Sequence[int]:
    """The addresses of a list's operands."""
    if run.stride is None:
        return table[first : first + run.length]
    return [first + run.stride * k for k in range(run.length)]
