"""Formulas: what a loop nest computes, with operands that are lists of addresses, one at every point.

So loops and tables of addresses are read alike.  The summands of a product of matrices are put in the order
in which the samples' rows lie; a sum over the samples of products of all pairs from two lists is a matrix,
`D @ A.T`.

    a nest of 16 points, each inner(0, w..., x...) + b  ->  Total(ws, xs) + Operand(b)  ->  W1 @ X + b1
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tinygrad_bp import ops
from tinygrad_bp.compiler.backends.matrix.variables import Grid, Variable, Variables
from tinygrad_bp.compiler.lower import FLAGS
from tinygrad_bp.compiler.roll import Nest, addresses_of, leaf_spaces
from tinygrad_bp.compiler.schedule import Kind, Space
from tinygrad_bp.compiler.spelling import fold
from tinygrad_bp.compiler.terms import COPY
from tinygrad_bp.ops import Op


@dataclass(frozen=True)
class Number:
    """A constant."""

    value: float


@dataclass(frozen=True)
class Operand:
    """At each point a list of addresses; of an operand that is no list, a list of one."""

    space: Space
    lists: Grid

    @property
    def addresses(self) -> tuple[int, ...]:
        """All of them, one point after the other."""
        return tuple(a for row in self.lists for a in row)

    def ranked(self, ranks: Sequence[Sequence[int]]) -> "Operand":
        """Each list in another order."""
        lists = zip(self.lists, ranks)
        return Operand(self.space, tuple(tuple(row[k] for k in rank) for row, rank in lists))


@dataclass(frozen=True)
class Applied:
    """An operation on formulas."""

    op: Op
    operands: tuple["Formula", ...]


@dataclass(frozen=True)
class Total:
    """At each point, the sum of a list; or of products of two, `ws` with `xs`: parameters first."""

    ws: Operand | None
    xs: Operand


Formula = Number | Operand | Applied | Total


def is_flag(f: Formula) -> bool:
    """Whether it is 0 or 1 (or nan)."""
    return isinstance(f, Applied) and f.op in FLAGS


def parts(f: Formula) -> Iterator[Formula]:
    """The formula and all it is made of."""
    yield f
    inner = f.operands if isinstance(f, Applied) else (f.ws, f.xs) if isinstance(f, Total) else ()
    for x in inner:
        if x:
            yield from parts(x)


def operands(f: Formula) -> Iterator[Operand]:
    """All that it reads."""
    return (part for part in parts(f) if isinstance(part, Operand))


def products(f: Formula) -> Iterator[tuple[Grid, Operand]]:
    """Its products of parameters with samples."""
    for part in parts(f):
        if isinstance(part, Total) and part.ws and part.ws.space is not part.xs.space:
            yield part.ws.lists, part.xs


def is_layer(f: Formula) -> bool:
    """W @ X, or W @ X + b, or W @ X + b + V @ Y: one value a neuron, before its activation."""
    if isinstance(f, Applied) and f.op is ops.add:
        f, more = f.operands
        return is_layer(f) and (is_layer(more) or (isinstance(more, Operand) and more.space is Space.SCALARS))
    return isinstance(f, Total) and f.ws is not None and f.ws.space is Space.SCALARS


def differs(f: Formula) -> bool:
    """Whether it is not the same for all samples."""
    copies = any(isinstance(part, Applied) and part.op is COPY for part in parts(f))
    return copies or any(x.space is Space.ROWS for x in operands(f))


def varies(f: Formula) -> bool:
    """Whether it is not the same at every point."""
    return any(len(set(x.lists)) > 1 for x in operands(f))


# --- statements ---------------------------------------------------------------------------------------------

Addresses = tuple[int, ...]
Points = Sequence[Addresses]


@dataclass(eq=False)
class ArrayStatement:
    """Compute a variable, or a part of the gradient, at so many points."""

    kind: Kind
    formula: Formula
    block: Variable
    rows: int
    factors: tuple[Addresses, Addresses] | None = None  # it is the product of these rows of samples
    more: Grid | None = None  # and for each sample these scalars


def formula_of(nest: Nest, points: Points, table: Sequence[int], variables: Variables) -> Formula:
    """What a nest computes at these points."""
    return fold(nest.shape, _FormulaReader(nest, points, table, variables))


@dataclass
class _FormulaReader:
    """Makes formulas of a statement's parts."""

    nest: Nest
    points: Points
    table: Sequence[int]
    variables: Variables

    def operand(self, k: int) -> Operand:
        run, column = self.nest.runs[k], [point[k + 1] for point in self.points]
        if run is None:
            return Operand(leaf_spaces(self.nest)[k], tuple((address,) for address in column))
        known = {first: tuple(addresses_of(run, first, self.table)) for first in {*column}}
        return Operand(run.space, tuple(known[first] for first in column))

    def number(self, x: float) -> Number:
        return Number(x)

    def applied(self, op: Op, operands: Sequence[Formula]) -> Formula:
        return Applied(op, tuple(operands))

    def taken(self, index: Formula, k: int) -> Formula:
        raise AssertionError("for arrays, lowering wrote it as a product")

    def accumulated(self, start: Formula, lists: Sequence[int]) -> Formula:
        *ws, xs = sorted(map(self.operand, lists), key=lambda x: x.space is Space.ROWS)  # parameters first
        total = self.in_order(ws[0] if ws else None, xs)
        return total if start == Number(0.0) else Applied(ops.add, (total, start))

    def in_order(self, ws: Operand | None, xs: Operand) -> Total:
        """The sum, its summands in the order in which the variables have what is summed or multiplied."""
        if ws and ws.space is xs.space:
            return Total(ws, xs)
        order = {}
        for address in {*xs.addresses}:
            block, row, _ = self.variables.place(xs.space, address)
            order[address] = min(block.grid)[0], row
        ranked = [sorted(range(len(row)), key=lambda k: order[row[k]]) for row in xs.lists]
        return Total(ws and ws.ranked(ranked), xs.ranked(ranked))


# --- sums over the samples ---------------------------------------------------------------------------------


def summed(kind: Kind, formula: Formula, targets: Sequence[int]) -> ArrayStatement:
    """A part of the gradient: a column, or a matrix where it is the product of two lists."""
    column = ArrayStatement(kind, formula, Variable(tuple((t,) for t in targets)), len(targets))
    found = _factors(formula)
    if not found:
        return column
    x, y, more = found
    down, across = tuple(dict.fromkeys(x.addresses)), tuple(dict.fromkeys(y.addresses))
    place = {pair: i for i, pair in enumerate(zip(x.addresses, y.addresses))}
    if len(place) != len(targets) or len(down) * len(across) != len(targets):
        return column
    grid = tuple(tuple(targets[place[a, b]] for b in across) for a in down)
    pair = down, across
    added = tuple(tuple(more.addresses[place[a, b]] for b in across) for a in down) if more else None
    return ArrayStatement(kind, formula, Variable(grid), len(targets), pair, added)


def _factors(f: Formula) -> tuple[Operand, Operand, Operand | None] | None:
    """x, y of x * y, or of x * y + c with c the same for all samples."""
    more = None
    if isinstance(f, Applied) and f.op is ops.add:
        for k in (0, 1):
            c = f.operands[k]
            if isinstance(c, Operand) and c.space is Space.SCALARS:
                more, f = c, f.operands[1 - k]
                break
    if isinstance(f, Applied) and f.op is ops.mul:
        x, y = f.operands
        if isinstance(x, Operand) and isinstance(y, Operand) and x.space is y.space is Space.ROWS:
            return x, y, more
    return None


# --- order -------------------------------------------------------------------------------------------------


def ordered(statements: Sequence[ArrayStatement], variables: Variables, loss: int) -> list[ArrayStatement]:
    """What the loss needs, the loss; then for each part of the gradient what it needs besides, and itself."""
    made = [s for s in statements if s.kind in (Kind.ONCE, Kind.SAMPLE)]
    number = {s.block: i for i, s in enumerate(made)}

    def late(s: ArrayStatement) -> tuple[bool, int, Grid]:
        last = max([number.get(block, -1) for block in _read(s, variables)], default=-1)
        return s.block.grid != ((loss,),), last, s.block.grid

    sums = sorted([s for s in statements if s.kind in (Kind.SUM, Kind.COUNT)], key=late)
    first: dict[Variable, int] = {}  # the sum that needs it first
    for i in reversed(range(len(sums))):
        first.update(dict.fromkeys(_read(sums[i], variables), i))
    before: list[list[ArrayStatement]] = [[] for _ in range(len(sums) + 1)]  # last ones first
    for s in reversed(made):
        i = first.get(s.block, len(sums))
        before[i].append(s)
        for block in _read(s, variables):
            first[block] = min(i, first.get(block, i))
    return [x for i, group in enumerate(before) for x in (*group[::-1], *sums[i : i + 1])]


def _read(s: ArrayStatement, variables: Variables) -> set[Variable]:
    """The variables that a statement reads."""
    return {variables.place(x.space, a)[0] for x in operands(s.formula) for a in {*x.addresses}}
