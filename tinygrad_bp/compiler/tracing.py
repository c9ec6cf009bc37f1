"""Tracing: call the user's function on placeholders, and keep the graph it builds.

Placeholders are Values with made-up numbers.  Code that looks at such a number would freeze one choice for
all data, so while tracing every comparison raises (see `modes.forbid`).  The function is called twice, on
different numbers, also of the parameters and of the Values that it uses from outside: where a number was
read and kept, the two graphs differ, and the error names the line.  Leaves that both graphs share were made
outside: they are captured, and read again at each call; other leaves are constants.
"""

import sys
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import compress, cycle
from math import isfinite
from operator import attrgetter, is_
from types import FrameType
from typing import Any

from tinygrad_bp.compiler.columns import Columns
from tinygrad_bp.compiler.locks import nudging
from tinygrad_bp.engine import Value, newest_first, tick
from tinygrad_bp.errors import CompileError
from tinygrad_bp.modes import INDEX, Watch, describe_line, entered, forbid, named, users_frame
from tinygrad_bp.rows import Structure, fill, flat, structure_of

Check = Callable[[float], object]  # raises an error for a number that a loss does not take


@dataclass
class Trace:
    """What a function does: its results over its inputs, both flat, and the leaves it took from outside."""

    outputs: list[Value]
    result: Structure
    inputs: list[Value]
    captured: list[Value]
    checks: list["DataCheck"]
    is_plain: bool  # a result is a plain number, which no Value has a share in


def trace(f: Callable[..., Any], structures: Sequence[Structure], params: Sequence[Value] = ()) -> Trace:
    """The graph of f, called with arguments of these structures.

    Raises CompileError where the graph depends on the data or on the numbers of Values, TypeError where f
    returns anything but numbers.
    """
    first = _Call(f, structures, first=0.40625, apart=0.0078125)
    second = _called_again(f, structures, [*params, *first.outside()])
    try:
        captured = _compare(first, second)
    except _Difference as difference:
        place = _find_line(f, structures, second)
        raise CompileError(f"{place}{name_of(f)}: the graph depends on {difference}") from None
    checks = _data_checks(first, params)
    return Trace(first.outputs, first.structure, first.inputs, captured, checks, first.is_plain)


class _Placeholder(Value):
    """A number of the data while f runs: it must not be looked up, as `weights.get(y)` does."""

    __slots__ = ()

    def __hash__(self) -> int:
        caller = sys._getframe(1)
        if users_frame(caller) is caller:
            forbid("this looks a Value up in a dict or set", INDEX)
        return object.__hash__(self)


_Placeholder.__name__ = "Value"  # as Python's own messages name it


class _Call:
    """One call of f on placeholders, and what it did."""

    def __init__(self, f: Callable[..., Any], structures: Sequence[Structure], first: float, apart: float):
        self.begin, self.watch = tick(), Watch()
        self.inputs: list[Value] = []

        def numbers() -> Iterator[Value]:
            while True:
                self.inputs.append(_Placeholder(first + apart * len(self.inputs)))
                yield self.inputs[-1]

        fresh = numbers()
        arguments = [fill(structure, fresh) for structure in structures]
        try:
            with entered(record=True, tracing=self.watch):
                result = f(*arguments)
        except LookupError as error:
            raise CompileError(
                f"{name_of(f)}: {type(error).__name__}: {error}, while it was traced on Values in place of "
                f"data: a number of the data is no index or key in compiled code: {INDEX}"
            ) from error
        finally:
            for x in self.inputs:
                x.__class__ = Value
        self.structure = structure_of(result)
        numbers_returned = flat(result)
        self.outputs = [_output(f, x) for x in numbers_returned]
        self.is_plain = not all(isinstance(x, Value) for x in numbers_returned)

    def outside(self) -> list[Value]:
        """The leaves that f used and did not make, in the order of their use."""
        begin = self.begin
        used = [v for v in dict.fromkeys([*self.watch.used, *self.outputs]) if v.number < begin]
        inner = newest_first([v for v in used if v.op], may_be_stale=True)
        if not inner:
            return used
        return [v for v in dict.fromkeys([*used, *(x for v in inner for x in v.inputs)]) if v.op is None]


def _output(f: Callable[..., Any], x: Any) -> Value:
    if isinstance(x, Value):
        return x
    try:
        return Value(x)
    except TypeError:
        raise TypeError(
            f"{name_of(f)} returned {x!r}: a compiled function returns Values, or lists of them"
        ) from None


# --- the second call ---------------------------------------------------------------------------------------


def _called_again(f: Callable[..., Any], structures: Sequence[Structure], leaves: list[Value]) -> _Call:
    """The second call, on other numbers. Where f fails for numbers of the other sign, the signs stay."""
    with suppress(ArithmeticError, ValueError), _nudged(leaves, -1.0625):
        return _Call(f, structures, first=-1.28125, apart=0.01171875)
    with _nudged(leaves, 1.0625):
        return _Call(f, structures, first=0.53125, apart=0.01171875)


STEPS = [(128 + i) / 4096.0 for i in range(128)]  # equal numbers become unequal


@contextmanager
def _nudged(leaves: Iterable[Value], factor: float) -> Iterator[None]:
    """Other numbers and gradients in these leaves for a while.

    Creation numbers stay, so no graph is stale. A number that someone else sets meanwhile is left alone.
    """
    with nudging:
        before = [(v, v._data, v.grad) for v in dict.fromkeys(leaves)]
        others = [factor * (x + s) if isfinite(x) else s for (_, x, _), s in zip(before, cycle(STEPS))]
        try:
            for (v, _, grad), other in zip(before, others):
                v._data = other
                v.grad = 0.71875 - (grad or 0.0)  # None is how PyTorch clears it
            yield
        finally:
            for (v, data, grad), other in zip(before, others):
                v.grad = grad
                if v._data is other:
                    v._data = data


# --- comparing ---------------------------------------------------------------------------------------------


class _Difference(Exception):
    """Where two graphs part, and the node of the second that shows it, which has a line."""

    def __init__(self, how: str, node: Value | None = None) -> None:
        super().__init__(how)
        self.node = node


CHOICE = "choose inside the graph, tg.where(tg.gt(x, 0), a, b), and draw random numbers outside"
FROZEN = (
    "when data and parameters are others, and compiled code would keep it: stay in the graph, as "
    "tg.gradients(..., create_graph=True) does; read numbers and .grad, copy, and draw random numbers outside"
)


def _compare(first: _Call, second: _Call) -> list[Value]:
    """Walk two graphs side by side; the leaves they have in common. Raises _Difference."""
    if first.structure != second.structure:
        raise _Difference(f"the data: its result has another structure for other data: {CHOICE}")
    partner = dict(zip(first.inputs, second.inputs))
    shared: dict[Value, Value] = {}  # leaves that are in one place in both, with what uses them
    todo = [(a, b, b) for a, b in zip(first.outputs, second.outputs)]
    while todo:
        a, b, consumer = todo.pop()
        node = b if b.number > second.begin else consumer
        if a in partner:
            if partner[a] is not b:
                raise _Difference(f"the data, or on chance: an operation has other operands: {CHOICE}", node)
            continue
        partner[a] = b
        if a is b and a.op is None:
            shared[a] = consumer
        elif a.op is None and b.op is None:
            if a._data != b._data and not (a._data != a._data and b._data != b._data):
                numbers = f"a number is {a._data!r} at first, and {b._data!r}"
                raise _Difference(f"the data, or on chance: {numbers} {FROZEN}", node)
        elif a.op is not b.op or len(a.inputs) != len(b.inputs):
            names = [v.op.name if v.op else "a leaf" for v in (a, b)]
            found = f"{names[0]!r} once and {names[1]!r} once, in one place"
            raise _Difference(f"the data, or on chance: {found}: {CHOICE}", node)
        else:
            same = [*map(is_, a.inputs, b.inputs)]  # most are: parameters
            shared.update(dict.fromkeys([x for x in compress(a.inputs, same) if x.op is None], b))
            todo.extend([(x, y, b) for x, y in zip(a.inputs, b.inputs) if x is not y or x.op is not None])
    for x, consumer in shared.items():
        if partner.get(x, x) is not x:
            raise _Difference(f"the data, or on chance: an operation has other operands: {CHOICE}", consumer)
    return sorted(shared, key=attrgetter("number"))


def _find_line(f: Callable[..., Any], structures: Sequence[Structure], other: _Call) -> str:
    """The line of f that makes its graph differ from the other call's: "file, line 3: text", or nothing.

    f is called once more; each of its lines notes the clock that numbers the nodes when it begins.
    """
    marks: list[tuple[int, str, int]] = []

    def mark(frame: FrameType | None) -> None:
        frame = users_frame(frame)
        if frame:
            marks.append((tick(), frame.f_code.co_filename, frame.f_lineno))

    def follow(frame: FrameType, event: str, argument: object) -> Any:
        if users_frame(frame) is not frame:
            return None
        mark(frame.f_back if event == "return" else frame)
        return follow

    before = sys.gettrace()
    try:
        sys.settrace(follow)
        call = _Call(f, structures, first=0.40625, apart=0.0078125)
    except Exception:  # it is known already that f is not as it should be
        return ""
    finally:
        sys.settrace(before)
    try:
        _compare(other, call)
    except _Difference as difference:
        place = 0 if difference.node is None else bisect_left(marks, (difference.node.number,))
        if place:
            _, file, line = marks[place - 1]
            return f"{describe_line(file, line)}\n  "
    return ""


class DataCheck:
    """What a loss requires of its targets, for compiled code: a check of a number computed from the data."""

    def __init__(self, v: Value, inputs: Sequence[Value], check: Check) -> None:
        self.root, self.check = v, check
        self.nodes = newest_first([v])[::-1]
        self.leaves = [x for node in self.nodes for x in node.inputs if x.op is None] or [v]
        self.places = {x: place for place, x in enumerate(inputs) if x in self.leaves}

    def run(self, data: Columns) -> None:
        """Raise the error of the check for the first sample that it does not allow."""
        columns = [data.numbers_of(place) for place in self.places.values()]
        numbers = {x: x._data for x in self.leaves}
        seen = set()
        for i, sample in enumerate(zip(*columns)):
            if sample in seen:
                continue
            seen.add(sample)
            numbers.update(zip(self.places, sample))
            for v in self.nodes:
                numbers[v] = v.op.value(*[numbers[x] for x in v.inputs])
            with named(f"{data.name}: sample {i}"):
                self.check(numbers[self.root])


def _data_checks(call: _Call, params: Sequence[Value]) -> list[DataCheck]:
    """The checks of numbers that an eager run has as floats: of the data and constants alone."""
    checks = [DataCheck(v, call.inputs, check) for v, check in call.watch.checks]
    return [c for c in checks if c.places and all(x.number > call.begin for x in c.leaves)]


def name_of(f: Callable[..., Any]) -> str:
    """The function as messages name it."""
    return getattr(f, "__name__", type(f).__name__)
