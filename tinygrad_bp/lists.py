"""Functions of lists, made of operations of the table: softmax, log_softmax, mean and take.

They take numbers or Values and return floats or Values, as the operations do.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from tinygrad_bp.modes import check_number
from tinygrad_bp.ops import div, expdiff, logsumexp, sub, sum as SUM, take as TAKE
from tinygrad_bp.rows import is_row


def softmax(xs: Iterable[Any]) -> list[Any]:
    """exp(x) / Σ exp, for each of the numbers: a list that sums to 1. No x overflows.

    Raises ValueError for an empty list.

    >>> softmax([1000.0, 1000.0])
    [0.5, 0.5]
    """
    logits = _given("softmax", xs)
    o = logsumexp(*logits)
    es = [expdiff(x, o) for x in logits]
    total = SUM(*es)  # 1 but for the rounding of o
    return [div(e, total) for e in es]


def log_softmax(xs: Iterable[Any]) -> list[Any]:
    """x − ln Σ exp, for each of the numbers. For a loss, `losses.cross_entropy` loses fewer digits.

    Raises ValueError for an empty list.

    >>> [round(p, 6) for p in log_softmax([0.0, 0.0])]
    [-0.693147, -0.693147]
    """
    logits = _given("log_softmax", xs)
    o = logsumexp(*logits)
    return [sub(x, o) for x in logits]


def mean(xs: Iterable[Any]) -> Any:
    """The sum of the numbers over their count.

    Raises ValueError for an empty list.

    >>> mean([1.0, 2.0, 6.0])
    3.0
    """
    numbers = _given("mean", xs)
    return div(SUM(*numbers), float(len(numbers)))


def take(rows: Sequence[Any], index: Any) -> Any:
    """The row at an index, or the number, counted from 0: an embedding, where rows are lists of parameters.

    The index is data: a number, or an input of a compiled function, and it gets no gradient. The row that is
    taken gets it all. Raises ValueError for an index that is no whole number or has no row, for data that
    is bound to compiled code too, and for rows of unequal lengths.

    >>> from tinygrad_bp import compile
    >>> table = [[0.5, 1.5], [2.5, 3.5]]
    >>> take(table, 1), compile(lambda i: take(table, i)).map([1, 0])
    ([2.5, 3.5], [[2.5, 3.5], [0.5, 1.5]])
    """
    entries = _given("take", rows)
    if is_row(index):
        raise TypeError("take: the index is one number, not a list: write [take(rows, i) for i in indices]")
    n = len(entries)
    wrong = f"take: the index is a whole number from 0 to {n - 1}, not {{:g}}"
    check_number(index, lambda i: i in range(n), wrong)
    if not is_row(entries[0]):
        return TAKE(index, *entries) if hasattr(index, "apply_op") else entries[int(index)]
    for k, row in enumerate(entries):
        if not is_row(row) or len(row) != len(entries[0]):
            size = f"{len(row)} numbers" if is_row(row) else "one number"
            raise ValueError(f"take: row {k} has {size}, row 0 has {len(entries[0])}; give all as many")
    if hasattr(index, "apply_op"):
        return [TAKE(index, *column) for column in zip(*entries)]
    return [*entries[int(index)]]


def _given(name: str, xs: Any) -> list[Any]:
    if not isinstance(xs, Iterable) or isinstance(xs, str):
        raise TypeError(f"{name} takes a list of numbers or Values, not {xs!r}: write {name}([x, y])")
    numbers = list(xs)
    if not numbers:
        raise ValueError(f"{name} needs at least one number, and the list is empty")
    return numbers
