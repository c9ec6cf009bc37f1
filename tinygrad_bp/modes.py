"""What becomes of a new node: three switches that `with` statements set for the code inside them.

They compose when nested, and each thread and each asyncio task has its own.  `engine.py` reads them.
"""

import linecache
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from math import isfinite
from types import FrameType
from typing import Any, NamedTuple

from tinygrad_bp.errors import CompileError, NonFiniteError, describe_result
from tinygrad_bp.floats import to_float


class Watch:
    """What a function did while it was traced: the Values it used, and what it requires of its data."""

    def __init__(self) -> None:
        self.used: list[Any] = []
        self.checks: list[tuple[Any, Callable[[float], object]]] = []  # a Value, and a check of its number


class Mode(NamedTuple):
    """Is a new node recorded in the graph, is inf or nan an error, is a function being traced."""

    record: bool = True
    trap: bool = False
    tracing: Watch | None = None  # numbers are placeholders, and looking at one would freeze the choice made

    def apply(self, op: Any, inputs: Any, data: float) -> tuple[Any, Any]:
        """What a new node keeps of its operation and operands. Raises NonFiniteError inside `trap()`."""
        if self.trap and not isfinite(data):
            raise NonFiniteError(describe_result(op, inputs, data))
        if self.tracing:
            self.tracing.used.extend(inputs)
        return (op, inputs) if self.record else (None, ())


USUAL = Mode()
LIBRARY = os.__file__.rpartition("os.py")[0]  # where Python's own modules are
mode: ContextVar[Mode] = ContextVar("mode", default=USUAL)


@contextmanager
def entered(**changes: Any) -> Iterator[None]:
    now = mode.get()._replace(**changes)
    if now.tracing:
        now = now._replace(trap=False)  # a placeholder may be anything
        if not now.record:
            forbid("no_grad() keeps the number and forgets where it came from", STAY)
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


CHOOSE = "choose inside the graph, tg.where(tg.gt(x, 0), a, b); the largest of numbers is tg.max(xs)"
INDEX = "the row at an index is tg.take(rows, v), or tg.dot(one_hot, column) for each column"
STAY = (
    "the largest of numbers is tg.max(xs), and tg.logsumexp(xs) and tg.softmax(xs) subtract it themselves; "
    "the row at an index is tg.take(rows, v); v without its gradient is tg.stop_gradient(v)"
)


def forbid(action: str, instead: str = CHOOSE) -> None:
    """While a function is traced, refuse what would freeze a placeholder's number; names the user's line."""
    if not mode.get().tracing:
        return
    frame = users_frame(sys._getframe(1)) or sys._getframe(1)
    place = describe_line(frame.f_code.co_filename, frame.f_lineno)
    raise CompileError(f"{place}\n  {action}, and compiled code would keep that for all data: {instead}")


def users_frame(frame: FrameType | None) -> FrameType | None:
    """This frame, or the nearest one that called it, in code of neither this package nor Python's library."""
    while frame and not _is_users(frame.f_globals.get("__name__", ""), frame.f_code.co_filename):
        frame = frame.f_back
    return frame


def _is_users(module: str, file: str) -> bool:
    library = file.startswith((LIBRARY, "<frozen ")) and "site-packages" not in file
    return not module.startswith("tinygrad_bp.") and not library


def describe_line(file: str, number: int) -> str:
    """A line of a file as messages show it: "file, line 3: its text"."""
    return f"{file}, line {number}: {linecache.getline(file, number).strip() or '(no source)'}"


def note_use(v: Any) -> None:
    """While a function is traced: it read a Value in a way that leaves no node, as a copy or a text does."""
    watch = mode.get().tracing
    if watch:
        watch.used.append(v)


def require(v: Any, check: Callable[[float], object]) -> None:
    """While a function is traced: `check` raises an error for numbers of the data that v must not be."""
    watch = mode.get().tracing
    if watch:
        watch.checks.append((v, check))


@contextmanager
def named(place: str) -> Iterator[None]:
    """Inside, the message of a ValueError begins with this place; also of what is checked later.

    >>> with named("place 3"): raise ValueError("it is not there")
    Traceback (most recent call last):
    ValueError: place 3: it is not there
    """
    watch = mode.get().tracing
    begin = len(watch.checks) if watch else 0
    try:
        yield
    except ValueError as error:
        raise type(error)(f"{place}: {error}") from error
    if watch:
        watch.checks[begin:] = [(v, _named(place, check)) for v, check in watch.checks[begin:]]


def _named(place: str, check: Callable[[float], object]) -> Callable[[float], object]:
    def run(number: float) -> None:
        with named(place):
            check(number)

    return run


def check_number(x: Any, is_allowed: Callable[[float], bool], wrong: str) -> None:
    """Raise ValueError, `wrong` with the number in it, for a number that is not allowed.

    Of a Value while a function is traced, the data's numbers are checked, when they are bound.
    """

    def check(number: Any) -> None:
        number = to_float(number)
        if not is_allowed(number):
            raise ValueError(wrong.format(number))

    apply_check(x, check)


def apply_check(x: Any, check: Callable[[Any], object]) -> None:
    """Check a number; of a Value while a function is traced, the data's numbers, when they are bound."""
    if not hasattr(x, "apply_op"):
        check(x)
    elif mode.get().tracing:
        require(x, check)
    else:
        check(x.data)
