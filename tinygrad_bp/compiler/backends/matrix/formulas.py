"""Formulas: what a loop nest computes, with operands that are lists of addresses, one at every point.

So loops and tables of addresses are read alike.  Making a formula also puts together what the lowering wrote
out: short sums of products, a choice by the sign of an activation.  The summands of a product of matrices are
put in the order in which the samples' rows lie; a sum over the samples of products of all pairs from two
lists is a matrix, `D @ A.T`.

    a nest of 16 points, each inner(b, w..., x...)  ->  Total(ws, xs) + Operand(b)  ->  W1 @ X + b1
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tinygrad_bp import ops
from tinygrad_bp.compiler.backends.matrix.variables import Grid, Variable, Variables
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
    """One address a point."""

    space: Space
    addresses: tuple[int, ...]


@dataclass(frozen=True)
class Listed:
    """A list of addresses a point."""

    space: Space
    lists: Grid

    def reversed(self) -> "Listed":
        """The lists from their ends."""
        return Listed(self.space, tuple(row[::-1] for row in self.lists))


@dataclass(frozen=True)
class Applied:
    """An operation on formulas."""

    op: Op
    operands: tuple["Formula", ...]


@dataclass(frozen=True)
class Total:
    """At each point, the sum of a list; or of products of two, `ws` with `xs`: parameters first."""

    ws: Listed | None
    xs: Listed


@dataclass(frozen=True)
class Stored:
    """A variable that holds a value at each point."""

    block: Variable


Formula = Number | Operand | Applied | Total | Stored
Near = Callable[[Space, int, int], bool]  # whether two addresses are in one variable


def simplified(f: Applied, near: Near) -> Formula:
    """The same, shorter; only signs of zeros and what overflows on the way may differ."""
    x, *others = f.operands
    if f.op is ops.add:
        return _sum_of(x, others[0], near)
    if f.op is ops.sub and x == Number(0.0):
        return Applied(ops.neg, (others[0],))
    if f.op is ops.mul and isinstance(others[0], Number) and isinstance(x, Applied) and x.op is ops.mul:
        scale = x.operands[1]  # (x * 2) * 0.5 is x
        if isinstance(scale, Number) and scale.value * others[0].value == 1.0 and _is_power(scale.value):
            return x.operands[0]
    if f.op is ops.where:
        return _choice(f)
    return f


def _is_power(x: float) -> bool:
    return x.hex().lstrip("-").startswith("0x1.0000000000000p")  # of 2


def _choice(f: Applied) -> Formula:
    """A choice, simpler: a factor that is 1 where it counts goes."""
    c, x, y = f.operands
    if isinstance(c, Applied) and c.op is ops.ne and c.operands[1] == Number(0.0):
        c = c.operands[0]  # where asks for no more
    if isinstance(x, Applied) and x.op is ops.mul and c in x.operands and is_flag(c):
        x = x.operands[x.operands[0] == c]
    return Applied(ops.where, (c, x, y))


def is_flag(f: Formula) -> bool:
    """Whether it is 0 or 1 (or nan)."""
    return isinstance(f, Applied) and f.op in (ops.gt, ops.ge, ops.eq, ops.ne, ops.step)


# --- sums --------------------------------------------------------------------------------------------------


def _sum_of(x: Formula, y: Formula, near: Near) -> Formula:
    """x + y; products of parameters with rows of one variable become one sum of products."""
    if x == Number(0.0):
        return y  # a sum starts there; but x + 0.0 is written to turn -0.0 into 0.0
    if isinstance(y, Total) and not _has_total(x):
        return Applied(ops.add, (y, x))  # W @ X + b
    product = as_total(y)
    if product is None:
        return Applied(ops.add, (x, y))
    if joined := _joined(x, product, near):
        return joined
    if isinstance(x, Applied) and x.op is ops.add:
        for k in (0, 1):
            if joined := _joined(x.operands[k], product, near):
                pair = (joined, x.operands[1]) if k == 0 else (x.operands[0], joined)
                return Applied(ops.add, pair)
    if isinstance(x, Operand) and x.space is Space.SCALARS and product.ws and not _is_inside(product):
        return Applied(ops.add, (y, x))
    return Applied(ops.add, (x, y))


def _has_total(f: Formula) -> bool:
    return any(isinstance(part, Total) for part in parts(f))


def _is_inside(product: Total) -> bool:
    """Whether both factors lie in one memory."""
    return product.ws is not None and product.ws.space is product.xs.space


def as_total(f: Formula) -> Total | None:
    """A sum of products, or one product as a sum of one."""
    if isinstance(f, Total):
        return f if f.ws else None
    if not (isinstance(f, Applied) and f.op is ops.mul):
        return None
    x, y = f.operands
    if not (isinstance(x, Operand) and isinstance(y, Operand)):
        return None
    return parameters_first(Total(_one_each(x), _one_each(y)))


def parameters_first(total: Total) -> Total:
    """Products written as parameter times sample."""
    if total.ws and total.ws.space is Space.ROWS and total.xs.space is Space.SCALARS:
        return Total(total.xs, total.ws)
    return total


def _one_each(x: Operand) -> Listed:
    return Listed(x.space, tuple((a,) for a in x.addresses))


def _joined(x: Formula, product: Total, near: Near) -> Total | None:
    """Both sums as one, if it reads one variable's rows."""
    before = as_total(x)
    if before is None or before.ws is None or product.ws is None or len(product.xs.lists[0]) > 1:
        return None
    if _is_inside(before) or _is_inside(product):
        return None
    if not near(Space.ROWS, before.xs.lists[0][-1], product.xs.lists[0][0]):
        return None
    return Total(_appended(before.ws, product.ws), _appended(before.xs, product.xs))


def _appended(x: Listed, y: Listed) -> Listed:
    return Listed(x.space, tuple(a + b for a, b in zip(x.lists, y.lists)))


# --- looking inside ----------------------------------------------------------------------------------------


def parts(f: Formula) -> Iterator[Formula]:
    """The formula and all it is made of."""
    yield f
    for x in f.operands if isinstance(f, Applied) else ():
        yield from parts(x)


def products(f: Formula) -> Iterator[Total]:
    """The sums of products in a formula, and its single products of a parameter with samples."""
    for part in parts(f):
        total = as_total(part)
        if total and (isinstance(part, Total) or not _is_inside(total)):
            yield total


def is_layer(f: Formula) -> bool:
    """W @ X, or W @ X + b, or W @ X + b + V @ Y: one value a neuron, before its activation."""
    if isinstance(f, Applied) and f.op is ops.add:
        f, more = f.operands
        if not (isinstance(more, Operand) and more.space is Space.SCALARS):
            return is_layer(f) and is_layer(more)
        return is_layer(f)
    total = as_total(f)
    return total is not None and total.ws is not None and total.ws.space is Space.SCALARS


def differs(f: Formula) -> bool:
    """Whether it is not the same for all samples."""
    if isinstance(f, Operand):
        return f.space is Space.ROWS
    if isinstance(f, Total):
        return Space.ROWS in (f.xs.space, f.ws and f.ws.space)
    if isinstance(f, Stored) or (isinstance(f, Applied) and f.op is COPY):
        return True
    return any(differs(part) for part in list(parts(f))[1:])


def varies(f: Formula) -> bool:
    """Whether it is not the same at every point."""
    if isinstance(f, Operand):
        return len(set(f.addresses)) > 1
    if isinstance(f, Total):
        return len(set(f.xs.lists)) > 1 or (f.ws is not None and len(set(f.ws.lists)) > 1)
    return isinstance(f, Applied) and any(map(varies, f.operands))


# --- statements ---------------------------------------------------------------------------------------------

Points = Sequence[tuple[int, ...]]


@dataclass(eq=False)
class ArrayStatement:
    """Compute a variable, or a part of the gradient, at so many points."""

    kind: Kind
    formula: Formula
    block: Variable
    rows: int
    factors: tuple[Operand, Operand] | None = None  # it is their product, summed over the samples
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

    def near(self, space: Space, a: int, b: int) -> bool:
        return self.variables.place(space, a)[0] is self.variables.place(space, b)[0]

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
        return self.applied(ops.add, [start, _in_order(total, self.variables)])


def _in_order(total: Total, variables: Variables) -> Formula:
    """Parameters times samples, as the samples lie; what has the weight 1 is a term of its own."""
    ws, xs = total.ws, total.xs
    if ws is None or ws.space is xs.space:
        return total
    order: dict[int, tuple[int, int]] = {}
    for address in {a for row in xs.lists for a in row}:
        block, row, _ = variables.place(xs.space, address)
        order[address] = (min(block.grid)[0], row)
    ones = {a for a, value in variables.constants.items() if value == 1.0}
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
    pair = (Operand(Space.ROWS, down), Operand(Space.ROWS, across))
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
    needs = [sorted(number[block] for block in _read(s, variables) if block in number) for s in made]
    sums = []
    for s in statements:
        if s.kind in (Kind.SUM, Kind.COUNT):
            first = [number[block] for block in _read(s, variables) if block in number]
            late = (s.block.grid != ((loss,),), max(first, default=-1), s.block.grid)
            sums.append((late, first, s))
    found: list[ArrayStatement] = []
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


def _read(s: ArrayStatement, variables: Variables) -> set[Variable]:
    """The variables that a statement reads."""
    found = set()
    for f in parts(s.formula):
        if isinstance(f, Stored):
            found.add(f.block)
        for x in (f,) if isinstance(f, Operand) else (f.ws, f.xs) if isinstance(f, Total) else ():
            if isinstance(x, Operand):
                found |= {variables.place(x.space, a)[0] for a in set(x.addresses)}
            elif x:
                found |= {variables.place(x.space, a)[0] for row in set(x.lists) for a in row}
    return found
