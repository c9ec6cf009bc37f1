"""Columns: the data of a call, one sequence an argument, the i-th entry being sample i.

Whatever offers the buffer protocol with doubles in a row is used where it lies; everything else is copied
into an array of doubles, and every entry checked on the way.  Machine code gets addresses only from here, and
sizes with them.
"""

import ctypes
from array import array
from collections.abc import Sequence
from typing import Any

from tinygrad_bp.rows import Structure, flat, read, refuse_no_row, size_of, structure_of


class Columns:
    """Checked data: `count` samples, the structure of each argument, and for each an array of doubles.

    >>> Columns("f", [[1, 2], [[3.0, 4.0], [5.0, 6.0]]]).structures
    (None, (None, None))
    """

    def __init__(self, name: str, columns: Sequence[Any]) -> None:
        self.name = name
        counts = [_count(name, place, column) for place, column in enumerate(columns)]
        self.count = counts[0] if counts else 1  # a function of no arguments is evaluated once
        if any(n != self.count for n in counts):
            raise ValueError(
                f"{name}: the columns have {', '.join(map(str, counts))} entries; all must have as many"
            )
        if not self.count:
            raise ValueError(f"{name}: the batch is empty; there must be at least one sample")
        self.structures: tuple[Structure, ...] = tuple(
            _structure(name, place, column) for place, column in enumerate(columns)
        )
        self.widths = tuple(map(size_of, self.structures))
        self.numbers: list[Any] = []
        for place, column in enumerate(columns):
            numbers = _numbers(f"{name}, argument {place}", column, self.structures[place])
            if len(numbers) != self.count * self.widths[place]:
                raise ValueError(f"{name}: argument {place} changed while it was read")
            self.numbers.append(numbers)
        self.flat = memoryview(b"")  # all numbers one after the other, where that was asked for

    def together(self) -> "Columns":
        """The same, all numbers in one array."""
        flat = array("d", [x for numbers in self.numbers for x in numbers])
        self.flat, begin = memoryview(flat), 0
        for place, numbers in enumerate(self.numbers):
            self.numbers[place] = self.flat[begin : begin + len(numbers)]
            begin += len(numbers)
        return self

    @staticmethod
    def of_one_sample(name: str, arguments: Sequence[Any]) -> "Columns":
        """The data of a single call f(*arguments)."""
        return Columns(name, [[x] for x in arguments])

    def addresses(self) -> tuple[Any, list[Any]]:
        """A C array of where each column begins, and what must be kept as long as it is used."""
        views = [(ctypes.c_double * len(numbers)).from_buffer(numbers) for numbers in self.numbers]
        return (ctypes.c_void_p * max(1, len(views)))(*map(ctypes.addressof, views)), views

    def numbers_of(self, place: int) -> Any:
        """One of the numbers of each sample, by its place among all: a slice of its column."""
        for numbers, width in zip(self.numbers, self.widths):
            if place < width:
                return numbers[place::width]
            place -= width
        raise IndexError(place)

    def samples(self) -> list[list[float]]:
        """All inputs of each sample as one list: for generated Python."""
        lists = [numbers.tolist() for numbers in self.numbers]
        return [
            [x for numbers, width in zip(lists, self.widths) for x in numbers[i * width : (i + 1) * width]]
            for i in range(self.count)
        ]


def _count(name: str, place: int, column: Any) -> int:
    where = f"{name}: argument {place}"
    if isinstance(column, (str, bytes, bytearray)) or not hasattr(column, "__len__"):
        raise TypeError(f"{where} is a sequence with one entry a sample, not {column!r}")
    refuse_no_row(column, where)
    try:
        return len(column)
    except (TypeError, ValueError) as error:  # an array of no dimension; a buffer that was released
        raise type(error)(f"{where} cannot be read: {error}") from None


def _structure(name: str, place: int, column: Any) -> Structure:
    shape = getattr(column, "shape", None)
    if not isinstance(shape, tuple):
        return structure_of(next(iter(column)), f"{name}, argument {place}: entry 0")
    structure: Structure = None
    for size in reversed(shape[1:]):
        structure = (structure,) * size
    return structure


def _numbers(name: str, column: Any, structure: Structure) -> Any:
    """The numbers of a column as a writable buffer of doubles."""
    view = _buffer(column)
    if view is not None:
        return view
    column = column.tolist() if hasattr(column, "dtype") else column
    numbers = array("d")
    if structure is None:
        _extend(numbers, column, f"{name}: entry ")
        return numbers
    for i, row in enumerate(column):
        place = f"{name}: entry {i}"
        refuse_no_row(row, place)
        row = row.tolist() if hasattr(row, "dtype") else row
        found = structure_of(row, place)
        if found != structure:
            raise ValueError(f"{place} has {_describe(found)}, and entry 0 has {_describe(structure)}")
        _extend(numbers, flat(row), f"{place}[", "]")
    return numbers


def _extend(numbers: "array[float]", entries: Any, before: str, after: str = "") -> None:
    """Append numbers: Python's own at once, others one by one. An error names one as `before 3 after`."""
    if {*map(type, entries)} <= {float, int, bool}:
        count = len(numbers)
        try:
            numbers.extend(entries)
            return
        except OverflowError:  # an int beyond the floats: which one is found below
            del numbers[count:]
    for i, x in enumerate(entries):
        place = f"{before}{i}{after}"
        number = read(x, place)
        if isinstance(number, list):
            raise TypeError(f"{place}: one number, as in entry 0, and not a list of {len(number)}")
        numbers.append(number)


def _buffer(column: Any) -> Any:
    """Doubles in a row without a copy, other numbers of a buffer as an array; None for no buffer."""
    try:
        view = memoryview(column)
    except TypeError:
        return None
    if view.format == "d" and view.c_contiguous and not view.readonly and view.nbytes:
        return view.cast("B").cast("d")
    if view.ndim != 1:
        return None
    try:
        return array("d", view.tolist())
    except (NotImplementedError, TypeError):
        return None


def _describe(structure: Structure) -> str:
    return "a number" if structure is None else f"{size_of(structure)} numbers"
