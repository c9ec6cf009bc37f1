"""Rows: numbers in nested lists, the shape of data and of results."""

from collections.abc import Iterator
from typing import Any

Structure = Any  # None is a number, a tuple the structures of a row's entries


def structure_of(x: Any) -> Structure:
    """None for a number, a tuple of structures for a row."""
    if isinstance(x, (list, tuple)) or (hasattr(x, "__len__") and not isinstance(x, (str, bytes, bytearray))):
        return tuple([structure_of(entry) for entry in x])
    return None


def flat(x: Any) -> list[Any]:
    """The numbers of nested rows, in order."""
    if isinstance(x, (list, tuple)) or (hasattr(x, "__len__") and not isinstance(x, (str, bytes, bytearray))):
        return [number for entry in x for number in flat(entry)]
    return [x]


def fill(structure: Structure, numbers: Iterator[Any]) -> Any:
    """Nested lists of that structure, filled in order."""
    return next(numbers) if structure is None else [fill(part, numbers) for part in structure]


def size_of(structure: Structure) -> int:
    """How many numbers there are."""
    return 1 if structure is None else sum(map(size_of, structure))
