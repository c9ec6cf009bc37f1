"""Statements: a loop nest as one formula over whole variables.

The summands of a product of matrices are put in the order in which the samples' rows lie, whatever order the
sweep met them in; a weight that is a plain 1 is none.  A sum over the samples of products of all pairs from
two lists is a matrix, `D @ A.T`.  Read naming.py next.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tinygrad_bp import ops
from tinygrad_bp.compiler.backends.matrix.formulas import (
    Applied,
    Formula,
    Listed,
    Number,
    Operand,
    Stored,
    Total,
    gathered,
    parameters_first,
    parts,
    simplified,
)
from tinygrad_bp.compiler.backends.matrix.layout import Block, Grid, Layout
from tinygrad_bp.compiler.roll import Nest, addresses_of, leaf_spaces
from tinygrad_bp.compiler.schedule import Kind, Space
from tinygrad_bp.compiler.spelling import fold
from tinygrad_bp.ops import Op

Points = Sequence[tuple[int, ...]]


@dataclass(eq=False)
class Statement:
    """Compute a variable, or a part of the gradient, at so many points."""

    kind: Kind
    formula: Formula
    block: Block
    rows: int
    factors: tuple[Operand, Operand] | None = None  # it is their product, summed over the samples
    more: Grid | None = None  # and for each sample these scalars


def formula_of(nest: Nest, points: Points, table: Sequence[int], layout: Layout) -> Formula:
    """What a nest computes at these points."""
    reader = _Reader(nest, points, table, layout)
    formula = fold(nest.shape, reader)
    return gathered(formula, reader.near) if len(points) == 1 else formula


@dataclass
class _Reader:
    """Makes formulas of a statement's parts."""

    nest: Nest
    points: Points
    table: Sequence[int]
    layout: Layout

    def near(self, space: Space, a: int, b: int) -> bool:
        return self.layout.place(space, a)[0] is self.layout.place(space, b)[0]

    def operand(self, k: int) -> Operand:
        return Operand(leaf_spaces(self.nest)[k], tuple(point[k + 1] for point in self.points))

    def listed(self, k: int) -> Listed:
        run = self.nest.runs[k]
        assert run
        column = [point[k + 1] for point in self.points]
        known = {first: tuple(addresses_of(run, first, self.nest.length, self.table)) for first in {*column}}
        return Listed(run.space, tuple(known[first] for first in column))

    def number(self, x: float) -> Number:
        return Number(x)

    def applied(self, op: Op, operands: Sequence[Formula]) -> Formula:
        return simplified(Applied(op, tuple(operands)), self.near)

    def accumulated(self, start: Formula, lists: Sequence[int]) -> Formula:
        *ws, xs = [self.listed(k) for k in lists]
        total = parameters_first(Total(ws[0] if ws else None, xs))
        return self.applied(ops.add, [start, _in_order(total, self.layout)])


def _in_order(total: Total, layout: Layout) -> Formula:
    """Parameters times samples, as the samples lie; what has the weight 1 is a term of its own."""
    ws, xs = total.ws, total.xs
    if ws is None or ws.space is xs.space:
        return total
    order: dict[int, tuple[int, int]] = {}
    for address in {a for row in xs.lists for a in row}:
        block, row, _ = layout.place(xs.space, address)
        order[address] = (min(block.grid)[0], row)
    ones = {a for a, value in layout.constants.items() if value == 1.0}
    products, plain = [], []
    for pair in zip(ws.lists, xs.lists):
        entries = sorted(zip(*pair), key=lambda entry: order[entry[1]])
        products.append([entry for entry in entries if entry[0] not in ones])
        plain.append([x for w, x in entries if w in ones])
    alone = {len(row) for row in plain}
    if alone not in ({0}, {1}) or not products[0]:
        return total
    inner = Total(*(Listed(side.space, tuple(tuple(entry[k] for entry in row) for row in products))
                    for k, side in enumerate((ws, xs))))  # fmt: skip
    if alone == {0}:
        return inner
    return Applied(ops.add, (inner, Operand(Space.ROWS, tuple(row[0] for row in plain))))


# --- sums over the samples ---------------------------------------------------------------------------------


def summed(kind: Kind, formula: Formula, targets: Sequence[int]) -> Statement:
    """A part of the gradient: a column, or a matrix where it is the product of two lists."""
    column = Statement(kind, formula, Block(tuple((t,) for t in targets)), len(targets))
    found = _factors(formula)
    if not found:
        return column
    x, y, more = found
    down, across = tuple(dict.fromkeys(x.addresses)), tuple(dict.fromkeys(y.addresses))
    place = {pair: i for i, pair in enumerate(zip(x.addresses, y.addresses))}
    if len(place) != len(targets) or len(down) * len(across) != len(targets):
        return column
    grid = tuple(tuple(targets[place[a, b]] for b in across) for a in down)
    pair = (Operand(Space.ROWS, down), Operand(Space.ROWS, across))
    added = tuple(tuple(more.addresses[place[a, b]] for b in across) for a in down) if more else None
    return Statement(kind, formula, Block(grid), len(targets), pair, added)


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


def ordered(statements: Sequence[Statement], layout: Layout, loss: int) -> list[Statement]:
    """What the loss needs, the loss; then for each part of the gradient what it needs besides, and itself."""
    made = [s for s in statements if s.kind in (Kind.ONCE, Kind.SAMPLE)]
    number = {s.block: i for i, s in enumerate(made)}
    needs = [sorted(number[block] for block in _read(s, layout) if block in number) for s in made]
    sums = []
    for s in statements:
        if s.kind in (Kind.SUM, Kind.COUNT):
            first = [number[block] for block in _read(s, layout) if block in number]
            late = (s.block.grid != ((loss,),), max(first, default=-1), s.block.grid)
            sums.append((late, first, s))
    found: list[Statement] = []
    done: set[int] = set()
    for _, first, s in sorted(sums, key=lambda entry: entry[0]):
        new: set[int] = set()
        todo = [i for i in first if i not in done]
        while todo:
            i = todo.pop()
            if i not in new:
                new.add(i)
                todo += [k for k in needs[i] if k not in done]
        done |= new
        found += [made[i] for i in sorted(new)] + [s]
    return found + [s for i, s in enumerate(made) if i not in done]


def _read(s: Statement, layout: Layout) -> set[Block]:
    """The variables that a statement reads."""
    found = set()
    for f in parts(s.formula):
        if isinstance(f, Stored):
            found.add(f.block)
        for x in (f,) if isinstance(f, Operand) else (f.ws, f.xs) if isinstance(f, Total) else ():
            if isinstance(x, Operand):
                found |= {layout.place(x.space, a)[0] for a in set(x.addresses)}
            elif x:
                found |= {layout.place(x.space, a)[0] for row in set(x.lists) for a in row}
    return found
