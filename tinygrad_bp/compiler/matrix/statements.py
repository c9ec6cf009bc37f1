"""Statements: a loop nest as one formula over whole variables.

An operand of a nest is the list of its addresses at every point, so table nests and loops are read alike.  A
sum of products over parameters is a matrix product where its addresses fill a grid; and what the lowering
wrote out, the larger of two, a choice by the sign of an activation, is put back together.  Read
emit_matrix.py next, which orders and names the statements.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tinygrad_bp import ops
from tinygrad_bp.compiler.matrix.layout import Block, Grid
from tinygrad_bp.compiler.roll import Nest, addresses_of, leaf_spaces, points_of
from tinygrad_bp.compiler.schedule import Apply, Kind, Literal, Space
from tinygrad_bp.compiler.terms import INNER, TOTAL
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
    """At each point, the sum of a list; or of products of two, `ws` with `xs`."""

    ws: Listed | None
    xs: Listed


@dataclass(frozen=True)
class Stored:
    """A variable that holds a value at each point."""

    block: Block


Formula = Number | Operand | Applied | Total | Stored


@dataclass(eq=False)
class Statement:
    """Compute a variable, or with `grid` a part of the gradient, by a formula."""

    kind: Kind
    formula: Formula
    block: Block
    rows: int
    factors: tuple[Operand, Operand] | None = None  # it is the product of these over the samples
    uses: list[Block] = field(default_factory=list)


def formula_of(nest: Nest, points: Sequence[tuple[int, ...]], table: Sequence[int]) -> Formula:
    """What a nest computes at these points."""
    leaves: list[Any] = []
    for k, (space, run) in enumerate(zip(leaf_spaces(nest), nest.runs)):
        column = [point[k + 1] for point in points]
        if run is None:
            leaves.append(Operand(space, tuple(column)))
        else:
            known: dict[int, tuple[int, ...]] = {}
            for first in column:
                if first not in known:
                    known[first] = tuple(addresses_of(run, first, nest.length, table))
            leaves.append(Listed(space, tuple(known[first] for first in column)))
    stack: list[Formula] = []
    rest = leaves[::-1]
    for token in nest.shape:
        if isinstance(token, Literal):
            stack.append(Number(token.number))
        elif not isinstance(token, Apply):
            stack.append(rest.pop())
        elif token.op in (INNER, TOTAL):
            lists = [rest.pop() for _ in range(1 + (token.op is INNER))]
            total = Total(lists[0] if len(lists) == 2 else None, lists[-1])
            stack.append(simplified(Applied(ops.add, (stack.pop(), _in_order(total)))))
        else:
            operands = tuple(stack[len(stack) - token.operands :])
            del stack[len(stack) - token.operands :]
            stack.append(simplified(Applied(token.op, operands)))
    return stack[-1]


def _in_order(total: Total) -> Total:
    """Parameters first, samples second."""
    if total.ws and total.ws.space is Space.ROWS and total.xs.space is Space.SCALARS:
        return Total(total.xs, total.ws)
    return total


def points_by(nest: Nest, table: Sequence[int]) -> list[tuple[int, ...]]:
    """All points of a nest."""
    return list(points_of(nest, table))


# --- put back together -------------------------------------------------------------------------------------


def simplified(f: Applied) -> Formula:
    """The same, shorter; only signs of zeros and what overflows on the way may differ."""
    x, *others = f.operands
    if f.op is ops.add:
        return _sum_of(x, others[0])
    if f.op is ops.mul and isinstance(others[0], Number) and isinstance(x, Applied) and x.op is ops.mul:
        scale = x.operands[1]  # (x * 2) * 0.5 is x
        if isinstance(scale, Number) and scale.value * others[0].value == 1.0 and _is_power_of_2(scale.value):
            return x.operands[0]
    if f.op is ops.where:
        return _choice(f)
    return f


def _is_power_of_2(x: float) -> bool:
    return x.hex().lstrip("-").startswith("0x1.0000000000000p")


def _choice(f: Applied) -> Formula:
    """where(x >= y, x, where(x is nan, x, y)) is the larger; a factor that is 1 where it counts goes."""
    c, x, y = f.operands
    if isinstance(c, Applied) and c.op is ops.ge and isinstance(y, Applied) and y.op is ops.where:
        unlike, same, other = y.operands
        if unlike == Applied(ops.ne, (x, x)) and same == x:
            if c.operands == (x, other):
                return Applied(ops.max, (x, other))
            if c.operands == (other, x):
                return Applied(ops.min, (x, other))
    if isinstance(c, Applied) and c.op is ops.ne and c.operands[1] == Number(0.0):
        c = c.operands[0]  # where asks for no more
    if isinstance(x, Applied) and x.op is ops.mul and c in x.operands and is_flag(c):
        x = x.operands[x.operands[0] == c]
    return Applied(ops.where, (c, x, y))


def is_flag(f: Formula) -> bool:
    """Whether it is 0 or 1 (or nan)."""
    return isinstance(f, Applied) and f.op in (ops.gt, ops.ge, ops.eq, ops.ne, ops.step)


def _sum_of(x: Formula, y: Formula) -> Formula:
    """x + y, with products of parameters and samples in arithmetic progression as one sum of products."""
    zero = Number(0.0)
    if x == zero or y == zero:
        return y if x == zero else x
    if isinstance(y, Total) and not _has_total(x):
        return Applied(ops.add, (y, x))  # W @ X + b
    product = as_total(y)
    if product is None:
        return Applied(ops.add, (x, y))
    before = as_total(x)
    if before is not None and (joined := _joined(before, product)):
        return joined
    if isinstance(x, Applied) and x.op is ops.add:
        left, right = x.operands
        before = as_total(left)
        if before is not None and (joined := _joined(before, product)):
            return Applied(ops.add, (joined, right))
        before = as_total(right)
        if before is not None and (joined := _joined(before, product)):
            return Applied(ops.add, (left, joined))
    if isinstance(x, Operand) and x.space is Space.SCALARS:
        return Applied(ops.add, (y, x))
    return Applied(ops.add, (x, y))


def _has_total(f: Formula) -> bool:
    return isinstance(f, Total) or (isinstance(f, Applied) and any(map(_has_total, f.operands)))


def as_total(f: Formula) -> Total | None:
    """One product as a sum of one."""
    if isinstance(f, Total):
        return f if f.ws else None
    if not (isinstance(f, Applied) and f.op is ops.mul):
        return None
    x, y = f.operands
    if not (isinstance(x, Operand) and isinstance(y, Operand)):
        return None
    return _in_order(Total(_one_each(x), _one_each(y)))


def _one_each(x: Operand) -> Listed:
    return Listed(x.space, tuple((a,) for a in x.addresses))


def _joined(before: Total, product: Total) -> Total | None:
    """Both sums as one, if they read the same memories."""
    assert before.ws and product.ws
    if (before.ws.space, before.xs.space) != (product.ws.space, product.xs.space):
        return None
    if len(product.xs.lists[0]) > 1 or before.ws.space is before.xs.space:
        return None
    return Total(_appended(before.ws, product.ws), _appended(before.xs, product.xs))


def _appended(x: Listed, y: Listed) -> Listed:
    return Listed(x.space, tuple(a + b for a, b in zip(x.lists, y.lists)))


# --- looking inside ----------------------------------------------------------------------------------------


def parts(f: Formula) -> Iterator[Formula]:
    """The formula and all it is made of."""
    yield f
    if isinstance(f, Applied):
        for x in f.operands:
            yield from parts(x)


def products(f: Formula) -> Iterator[Total]:
    """The sums of products in a formula, and its single products of a parameter with samples."""
    for part in parts(f):
        total = as_total(part)
        if total and total.ws and (total.ws.space is not total.xs.space or isinstance(part, Total)):
            yield total


def is_layer(f: Formula) -> bool:
    """W @ X, or W @ X + b: one value a neuron, before its activation."""
    if isinstance(f, Applied) and f.op is ops.add:
        f, shift = f.operands
        if not (isinstance(shift, Operand) and shift.space is Space.SCALARS):
            return False
    total = as_total(f)
    return total is not None and (total.ws is not None and total.ws.space is Space.SCALARS)


def varies(f: Formula) -> bool:
    """Whether it is not the same at every point."""
    if isinstance(f, Operand):
        return len(set(f.addresses)) > 1
    if isinstance(f, Total):
        return len(set(f.xs.lists)) > 1 or (f.ws is not None and len(set(f.ws.lists)) > 1)
    return isinstance(f, Applied) and any(map(varies, f.operands))


def factors_over_samples(f: Formula) -> tuple[Operand, Operand] | None:
    """x, y of a product of two operands that differ between samples."""
    if isinstance(f, Applied) and f.op is ops.mul:
        x, y = f.operands
        if isinstance(x, Operand) and isinstance(y, Operand) and x.space is y.space is Space.ROWS:
            return x, y
    return None


def product_grid(
    targets: Sequence[int], x: Operand, y: Operand
) -> tuple[tuple[int, ...], tuple[int, ...], Grid] | None:
    """Rows of x, rows of y and the grid of targets, if these are all pairs of them."""
    down, across = list(dict.fromkeys(x.addresses)), list(dict.fromkeys(y.addresses))
    if len(down) * len(across) != len(targets):
        return None
    found = {(a, b): target for target, a, b in zip(targets, x.addresses, y.addresses)}
    if len(found) != len(targets):
        return None
    return tuple(down), tuple(across), tuple(tuple(found[a, b] for b in across) for a in down)
