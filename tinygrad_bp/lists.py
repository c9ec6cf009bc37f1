"""Functions of lists, made of operations of the table: softmax, log_softmax and mean.

They take numbers or Values and return floats or Values, as the operations do.
"""

from collections.abc import Iterable
from typing import Any

from tinygrad_bp.ops import div, expdiff, logsumexp, sub, sum as SUM


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


def _given(name: str, xs: Any) -> list[Any]:
    if not isinstance(xs, Iterable) or isinstance(xs, str):
        raise TypeError(f"{name} takes a list of numbers or Values, not {xs!r}: write {name}([x, y])")
    numbers = list(xs)
    if not numbers:
        raise ValueError(f"{name} needs at least one number, and the list is empty")
    return numbers
