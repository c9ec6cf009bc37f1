"""Rows: numbers in nested lists, the shape of data and of results, and the one place where data is read.

`read` takes a number or a row of numbers of any kind that holds them in order, and refuses what would lose
something on the way: keys for values, the order, the mask, the imaginary part, the unit.
"""

import operator
from collections.abc import Iterator, Mapping, Set
from math import isfinite
from typing import Any

from tinygrad_bp.floats import to_float

Structure = Any  # None is a number, a tuple the structures of a row's entries

DEEPEST = 32  # lists in lists
KINDS = {  # of arrays, by the letter of their dtype: what to write instead
    "c": "complex numbers: write x.real, x.imag or abs(x)",
    "M": "dates: write (x - start) / np.timedelta64(1, 's'), or another unit",
    "m": "lengths of time: write x / np.timedelta64(1, 's'), or another unit",
    "U": "texts: write x.astype(float)",
    "S": "bytes: write x.astype(float)",
    "V": "records: write one column of numbers for each field",
}


def refuse_no_row(x: Any, place: str) -> None:
    """Raise TypeError for something that holds several things, and is not a row of numbers."""
    wrong = _why_no_row(x)
    if wrong:
        raise TypeError(f"{place} {wrong}")


def _why_no_row(x: Any) -> str:
    if type(x) in (list, tuple):
        return ""
    kind = type(x).__name__
    dtype = getattr(getattr(x, "dtype", None), "kind", "")
    if isinstance(x, (bytes, bytearray)):
        return f"is {kind}, not numbers: write list(x) for the numbers of its bytes"
    if isinstance(x, Mapping):
        return f"is a {kind}, which would give its keys: write list(x.values())"
    if isinstance(x, Set):
        return f"is a {kind}, which has no order: write sorted(x)"
    if isinstance(x, Iterator):
        return f"is a {kind}, which can be read only once: write list(x)"
    if hasattr(x, "to_numpy") and not hasattr(x, "tolist"):
        return f"is a {kind}, which would give the names of its columns: write x.to_numpy()"
    if dtype in KINDS:
        return f"holds {KINDS[dtype]}"
    mask = getattr(x, "mask", None)
    if hasattr(x, "filled") and getattr(mask, "any", bool)():
        return "is a masked array, and its mask would be lost: write x.filled(value), or leave samples out"
    return ""


def read(x: Any, place: str, depth: int = 0) -> Any:
    """x as floats, in nested lists for rows; a whole number may be a class, and stays an int.

    Raises TypeError and ValueError, which begin with the place, for what is not a number or a row of them.

    >>> read([1, (2.5, True)], "xs[0]")
    [1, [2.5, 1.0]]
    """
    if type(x) is float or type(x) is int:
        return x if type(x) is float else _number(x, place)
    refuse_no_row(x, place)
    if hasattr(x, "tolist") and hasattr(x, "dtype"):
        x = x.tolist()  # also of no dimension: a number then; and a matrix has no rows that are rows
    if not is_row(x):
        return _number(x, place)
    if depth == DEEPEST:
        raise ValueError(f"{place}: lists are nested deeper than {DEEPEST}: give numbers, or rows of numbers")
    return [read(entry, f"{place}[{i}]", depth + 1) for i, entry in enumerate(x)]


def read_samples(data: Any, name: str, sequences: bool = False) -> list[tuple[list[Any], Any]]:
    """Pairs of an input, which is a row, and a target, from data = (xs, ys); `name` is who takes them.

    If they are `sequences`, a row has a target for each entry, and rows may be of different lengths. Raises
    TypeError and ValueError, which name the sample, for what `read` refuses, for inputs of unequal lengths
    otherwise, and for numbers that are not finite.

    >>> read_samples(([0.5, 1.5], [0, 1]), "fit")
    [([0.5], 0), ([1.5], 1)]
    """
    if not isinstance(data, (tuple, list)) or len(data) != 2 or not all(hasattr(c, "__len__") for c in data):
        raise TypeError(f"{name}: data is a pair (xs, ys) of equally long lists, as data.moons() returns")
    columns = []
    for place, column in zip(("xs", "ys"), data):
        refuse_no_row(column, f"{name}: {place}")
        if not is_row(column):
            raise TypeError(f"{name}: {place} is a list with one entry a sample, not {column!r}")
        column = column.tolist() if hasattr(column, "dtype") else column
        columns.append([read(x, f"{name}: {place}[{i}]") for i, x in enumerate(column)])
        _refuse_non_finite(columns[-1], f"{name}: {place}")
    xs, ys = columns
    if len(xs) != len(ys):
        raise ValueError(f"{name}: {len(xs)} inputs for {len(ys)} targets; there must be as many of both")
    if not xs:
        raise ValueError(f"{name}: the dataset is empty; there must be at least one sample")
    rows = [x if isinstance(x, list) else [x] for x in xs]
    for i, row in enumerate(rows):
        if sequences:
            _refuse_no_sequence(row, ys[i], i, name)
        elif len(row) != len(rows[0]):
            raise ValueError(
                f"{name}: xs[{i}] has {len(row)} numbers, xs[0] {len(rows[0])}; give all as many, or, for "
                "sequences with a target for each entry, a losses.SequenceLoss"
            )
    return list(zip(rows, ys))


def _refuse_no_sequence(x: list[Any], y: Any, i: int, name: str) -> None:
    if not x:
        raise ValueError(f"{name}: xs[{i}] is empty; a sequence has at least one entry")
    if not isinstance(y, list) or len(y) != len(x):
        found = f"{len(y)}" if isinstance(y, list) else f"the number {y!r}"
        raise ValueError(
            f"{name}: xs[{i}] has {len(x)} entries, ys[{i}] {found}; a sequence has a target for each entry"
        )


def _refuse_non_finite(x: Any, place: str) -> None:
    if isinstance(x, list):
        for i, entry in enumerate(x):
            _refuse_non_finite(entry, f"{place}[{i}]")
    elif not isfinite(x):
        raise ValueError(f"{place} is {x}: remove the sample or fill the gap before training")


def _number(x: Any, place: str) -> Any:
    try:
        number = to_float(x)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{place}: {error}") from None
    return x if type(x) is int else number


def whole_number(x: Any, least: int, what: str) -> int:
    """x as an int; NumPy's whole numbers are accepted. Raises ValueError, for True too.

    >>> whole_number(3, 0, "fit: steps is a whole number from 0 up")
    3
    """
    truth = type(x).__name__ in (
        "bool",
        "bool_",
    )  # bools, of Python and NumPy; older NumPy takes its own as integers
    try:
        number = least - 1 if truth else operator.index(x)
    except TypeError:
        number = least - 1
    if number < least:
        raise ValueError(f"{what}, not {x!r}")
    return number


# --- structures ---------------------------------------------------------------------------------------------


def is_row(x: Any) -> bool:
    """Whether x holds numbers, rather than being one."""
    if isinstance(x, (list, tuple)):
        return True
    return hasattr(x, "__len__") and not isinstance(x, (str, bytes, bytearray)) and getattr(x, "ndim", 1) != 0


def structure_of(x: Any, place: str = "the result", depth: int = 0) -> Structure:
    """None for a number, a tuple of structures for a row. Raises ValueError for rows nested too deep."""
    if not is_row(x):
        return None
    if depth == DEEPEST:
        raise ValueError(f"{place}: lists are nested deeper than {DEEPEST}: give numbers, or rows of numbers")
    return tuple([structure_of(entry, place, depth + 1) for entry in x])


def flat(x: Any) -> list[Any]:
    """The numbers of nested rows, in order."""
    return [number for entry in x for number in flat(entry)] if is_row(x) else [x]


def fill(structure: Structure, numbers: Iterator[Any]) -> Any:
    """Nested lists of that structure, filled in order."""
    return next(numbers) if structure is None else [fill(part, numbers) for part in structure]


def size_of(structure: Structure) -> int:
    """How many numbers there are."""
    return 1 if structure is None else sum(map(size_of, structure))
