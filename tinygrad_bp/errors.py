"""What can go wrong, by name.

Every message says what happened, to which operation, value or file, and how to mend it.  Bad arguments are
Python's own TypeError and ValueError; what only a library of graphs can say is one of these.  Each can be
caught as TinygradError.
"""

from collections.abc import Iterable
from typing import Any


class TinygradError(Exception):
    """Any error that this package names itself."""


class GraphError(TinygradError):
    """The graph cannot do what was asked of it."""


class StaleGraphError(GraphError):
    """A leaf was given a new value after an operation had used the old one."""


class NonFiniteError(TinygradError, ArithmeticError):
    """A value or an adjoint became inf or nan where that was not to pass."""


class CompileError(TinygradError):
    """A function cannot be compiled as it is written."""


class DrawError(TinygradError):
    """A graph cannot be drawn as asked."""


class CheckpointError(TinygradError):
    """Saved parameters cannot be read, or do not fit the model."""


class MissingExtraError(TinygradError, ImportError):
    """An optional dependency is not installed; the message names the extra that brings it."""

    def __init__(self, purpose: str, package: str, extra: str) -> None:
        super().__init__(f"{purpose} needs {package}, not installed here: pip install 'tinygrad_bp[{extra}]'")


def told(v: Any) -> str:
    """A value as the messages name it: its number, and its label if it has one."""
    return f"{v._data!r} (label {v.label!r})" if v.label else f"{v._data!r}"


def complaint(op: Any, inputs: Iterable[Any], answer: float) -> str:
    """That an operation answered inf or nan, on which operands, and the table's hint how to mend it."""
    hint = f": {op.hint}" if op.hint else ""
    name = repr(op)[4:-1]  # with its constants: powc(2)
    return f"{name} of {', '.join(map(told, inputs))} is {answer}{hint}"


def stale(x: Any, v: Any) -> StaleGraphError:
    return StaleGraphError(
        f"the leaf {told(x)} was set after {v.op.name!r} had used its old value: "
        "rebuild by calling your function again, then differentiate"
    )
