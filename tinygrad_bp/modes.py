"""What becomes of a new node: three switches that `with` statements set for the code inside them.

They compose when nested, and each thread and each asyncio task has its own.  `engine.py` reads them.
"""

import linecache
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

from tinygrad_bp.errors import CompileError


class Mode(NamedTuple):
    """Is a new node recorded in the graph, is inf or nan an error, is a function being traced."""

    record: bool = True
    trap: bool = False
    tracing: bool = False  # then numbers are placeholders, and looking at one would freeze the choice made


USUAL = Mode()
mode: ContextVar[Mode] = ContextVar("mode", default=USUAL)


@contextmanager
def entered(**changes: bool) -> Iterator[None]:
    now = mode.get()._replace(**changes)
    if now.tracing:
        now = now._replace(trap=False)  # a placeholder may be anything
        if not now.record:
            forbid("no_grad() keeps the number and forgets where it came from")
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


def forbid(deed: str) -> None:
    """While a function is traced, refuse what would freeze a placeholder's number; names the user's line."""
    if not mode.get().tracing:
        return
    frame: Any = sys._getframe(1)
    while frame.f_back and frame.f_globals.get("__name__", "").startswith("tinygrad_bp."):
        frame = frame.f_back
    file, number = frame.f_code.co_filename, frame.f_lineno
    line = linecache.getline(file, number).strip() or "(no source)"
    raise CompileError(
        f"{file}, line {number}: {line}\n  {deed}, and compiled code would keep that for all data: "
        "choose inside the graph, tg.where(tg.gt(x, 0), a, b)"
    )
