"""The errors of this package, and the words that their messages share.

A message says what happened, to which operation, value or file, and how to fix it.  Bad arguments raise
Python's own TypeError and ValueError; what only a library of graphs can report is one of the classes below,
and all of these can be caught as TinygradError.
"""

from collections.abc import Iterable, Iterator
from math import isfinite
from typing import Any

LONGEST_NAME = 80  # characters of a label that are printed


class TinygradError(Exception):
    """The base of all errors of this package."""


class GraphError(TinygradError):
    """The graph does not allow what was asked."""


class StaleGraphError(GraphError):
    """A leaf was given a new value after an operation had used the old one."""


class NonFiniteError(TinygradError, ArithmeticError):
    """A value or an adjoint is inf or nan, inside `trap()` or in `fit`."""


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


def printable(text: Any, longest: int = LONGEST_NAME) -> str:
    """Text of the user's as one short line: control characters are escaped, the middle of long text left out.

    Labels, paths and names pass through here before they are printed: a terminal obeys an ESC sequence.

    >>> print(printable("w\\x1b[2J"), printable("ab" * 1000, longest=9))
    w\\x1b[2J abab…abab
    """
    text = str(text)
    if len(text) > longest:
        half = longest // 2
        text = f"{text[:half]}…{text[-half:]}"
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def describe(v: Any) -> str:
    """A Value in a message: its number, and its label if it has one."""
    return f"{v._data!r} (label '{printable(v.label)}')" if v.label else f"{v._data!r}"


def describe_result(op: Any, inputs: Iterable[Any], result: float) -> str:
    """An operation that gave inf or nan: its operands, and the table's hint on how to fix it."""
    hint = f": {op.hint}" if op.hint else ""
    name = repr(op)[4:-1]  # with its constants: powc(2)
    return f"{name} of {', '.join(map(describe, inputs))} is {result}{hint}"


def overflows(adjoint: Any, edges: Any, reached: set[Any]) -> Iterator[tuple[Any, str]]:
    """The nodes that make inf or nan of a finite adjoint, newest first, each with what to say about it."""
    for v, g in adjoint.items():
        for x, d in edges(v) if v.op and v in reached else []:
            reached.add(x)
            if isfinite(g) and not isfinite(d * g):
                yield v, f"the partial by {describe(x)} of {describe_result(v.op, v.inputs, d)}"


def stale(x: Any, v: Any) -> StaleGraphError:
    """The error for a leaf x that was set after its consumer v had been computed."""
    return StaleGraphError(
        f"the leaf {describe(x)} was set after {v.op.name!r} had used its old value: "
        "rebuild by calling your function again, then differentiate"
    )


def cannot_set(v: Any, data: Any) -> Exception:
    """The error for `v.data = data` where v is no leaf, or data is a Value."""
    if v.op:
        return AttributeError(f"{describe(v)} is the result of {v.op.name!r}: set leaves and rebuild")
    return TypeError(f"v.data is a plain number, and {describe(data)} is a Value: write v.data = w.data")


def misspelled(owner: str, name: str, names: Iterable[str]) -> str:
    """That owner has no such name, and the names that it may be a misspelling of.

    >>> misspelled("tinygrad_bp", "tahn", ["tan", "tanh", "exp"])
    "tinygrad_bp has no 'tahn': did you mean 'tan' or 'tanh'?"
    """
    from difflib import get_close_matches  # slow to import, and seldom needed

    known = {n.lower(): n for n in names}
    near = [repr(known[n]) for n in get_close_matches(name.lower(), known, n=2)]
    hint = f": did you mean {' or '.join(near)}?" if near else ""
    return f"{owner} has no {printable(name)!r}{hint}"
