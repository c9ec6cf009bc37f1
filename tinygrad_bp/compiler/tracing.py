"""Tracing: call the user's function on placeholders, and keep the graph it builds.

Placeholders are Values with made-up numbers.  Code that looks at such a number would freeze one choice for
all data, so while tracing every comparison raises (see `modes.forbid`), and the function is called twice, on
different numbers: the two graphs must be the same.  Leaves that both graphs share were made outside: they are
captured, and read again at each call; leaves that differ as objects but not in number are constants. Read
lower.py next.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tinygrad_bp.engine import Value
from tinygrad_bp.errors import CompileError
from tinygrad_bp.modes import entered

Structure = Any  # of an argument or a result: None is a number, a tuple the structures of a row's entries


@dataclass
class Trace:
    """What a function does: its results over its inputs, both flat, and the leaves it took from outside."""

    outputs: list[Value]
    result: Structure
    inputs: list[Value]
    captured: list[Value]


def trace(f: Callable[..., Any], structures: Sequence[Structure]) -> Trace:
    """The graph of f, called with arguments of these structures.

    Raises CompileError where the graph depends on the data, TypeError where f returns something else than
    numbers.
    """
    inputs, outputs, result = _called(f, structures, first=0.40625, apart=0.0078125)
    others, again, result_again = _called(f, structures, first=-1.28125, apart=0.01171875)
    if result != result_again:
        raise CompileError(
            f"{name_of(f)}: the graph depends on the data: its result has another structure for other data"
        )
    captured = _compared(name_of(f), zip(outputs, again), dict(zip(inputs, others)))
    return Trace(outputs, result, inputs, captured)


def _called(
    f: Callable[..., Any], structures: Sequence[Structure], first: float, apart: float
) -> tuple[list[Value], list[Value], Structure]:
    inputs: list[Value] = []

    def numbers() -> Iterator[Value]:
        while True:
            inputs.append(Value(first + apart * len(inputs)))
            yield inputs[-1]

    fresh = numbers()
    arguments = [fill(structure, fresh) for structure in structures]
    with entered(record=True, tracing=True):
        result = f(*arguments)
    outputs = [_output(f, x) for x in flat(result)]
    return inputs, outputs, structure_of(result)


def _output(f: Callable[..., Any], x: Any) -> Value:
    if isinstance(x, Value):
        return x
    try:
        return Value(x)
    except TypeError:
        raise TypeError(
            f"{name_of(f)} returned {x!r}: a compiled function returns Values, or lists of them"
        ) from None


def _compared(name: str, roots: Iterable[tuple[Value, Value]], partner: dict[Value, Value]) -> list[Value]:
    """Walk two graphs side by side; the leaves they have in common. Raises CompileError where they differ."""
    captured: dict[Value, None] = {}
    todo = list(roots)
    while todo:
        a, b = todo.pop()
        if a in partner:
            if partner[a] is not b:
                raise _depends(name, "an operation has other operands")
            continue
        partner[a] = b
        if a.op is None and b.op is None:
            if a is b:
                captured[a] = None
            elif a._data != b._data and not (a._data != a._data and b._data != b._data):
                raise _depends(name, f"a number is once {a._data!r} and once {b._data!r}")
        elif a.op is not b.op or len(a.inputs) != len(b.inputs):
            names = [v.op.name if v.op else "a leaf" for v in (a, b)]
            raise _depends(name, f"{names[0]!r} once and {names[1]!r} once, in one place")
        else:
            todo.extend(zip(a.inputs, b.inputs))
    return sorted(captured, key=lambda v: v.number)


def _depends(name: str, how: str) -> CompileError:
    return CompileError(
        f"{name}: the graph depends on the data, or on chance: {how}. "
        "Choose inside the graph, tg.where(tg.gt(x, 0), a, b), and draw random numbers outside"
    )


def name_of(f: Callable[..., Any]) -> str:
    """The function as messages name it."""
    return getattr(f, "__name__", type(f).__name__)


# --- nested rows -------------------------------------------------------------------------------------------


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
