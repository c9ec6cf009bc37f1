"""What becomes of a new node: two switches that `with` statements set for the code inside them.

They compose when nested, and each thread and each asyncio task has its own.  `engine.py` reads them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple


class Mode(NamedTuple):
    """Is a new node recorded in the graph, and is inf or nan an error."""

    record: bool = True
    trap: bool = False


USUAL = Mode()
mode: ContextVar[Mode] = ContextVar("mode", default=USUAL)


@contextmanager
def entered(**changes: bool) -> Iterator[None]:
    now = mode.get()._replace(**changes)
    token = mode.set(USUAL if now == USUAL else now)  # the engine asks `is USUAL`
    try:
        yield
    finally:
        mode.reset(token)


def no_grad() -> Any:
    """Inside, results remember nothing: they are leaves. A context manager, and a decorator.

    >>> from tinygrad_bp import Value
    >>> with no_grad(): y = Value(2.0) * 3.0
    >>> y.data, y.inputs
    (6.0, ())
    """
    return entered(record=False)


def trap() -> Any:
    """Inside, the first inf or nan, of a value or a share of the gradient, is an error naming its operation.

    >>> from tinygrad_bp import Value
    >>> with trap(): Value(0.0, label="p").log()  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    tinygrad_bp.errors.NonFiniteError: log of 0.0 (label 'p') is -inf: keep its operand above 0, ...
    """
    return entered(trap=True)
