"""The function under check, as a function of a flat list of numbers; of one of its outputs at a time.

It is called on leaves of its own, once for each set of numbers, and gives back its result, its gradient and
on which side of its kink each operation is.  It is noted here if f changes its inputs.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from inspect import signature
from math import isfinite
from typing import Any, NamedTuple

from tinygrad_bp.check.gradcheck.partials import operand
from tinygrad_bp.engine import Value, newest_first
from tinygrad_bp.errors import printable
from tinygrad_bp.floats import to_float
from tinygrad_bp.modes import entered
from tinygrad_bp.ops import Op
from tinygrad_bp.transforms import gradients

Numbers = Sequence[float]
Sides = tuple[tuple[str, float], ...]


class Call(NamedTuple):
    """One call: its outputs, the one under check, whether that was a plain number, and the leaves."""

    outputs: list[Value]
    out: Value
    plain: bool
    leaves: list[Value]

    def nodes(self) -> list[Value]:
        return newest_first([self.out])

    def gradient(self) -> list[float]:
        return list(gradients(self.out, self.leaves))

    def sides(self) -> Sides:
        """On which side of its kink each operation is that has one, in the order of their creation."""
        found = []
        for v in reversed(self.nodes()):
            for side in v.op.kinks(*[x._data for x in v.inputs]):
                found.append((v.op.name, float((side > 0.0) - (side < 0.0))))
        return tuple(found)


class Subject:
    """f with its inputs, numbers or nested lists of them, and the parameters that it takes from outside."""

    def __init__(self, f: Callable[..., Any], inputs: tuple[Any, ...], params: Any) -> None:
        if not callable(f):
            raise TypeError(
                f"gradcheck takes a function, then its inputs: gradcheck(f, 2.0); not {f!r} first"
            )
        self.f, self.inputs = f, inputs
        self.name = f.name if isinstance(f, Op) else getattr(f, "__name__", type(f).__name__)
        self.params: list[Value] = _parameters(params)
        entries = [
            entry for name, x in zip(_argument_names(f, inputs), inputs) for entry in _entries(name, x)
        ]
        entries += [(printable(p.label) or f"params[{i}]", p._data) for i, p in enumerate(self.params)]
        if not entries:
            raise TypeError(
                f"gradcheck of {self.name}: there is nothing to differentiate by: give its inputs, "
                "gradcheck(f, 2.0, [1.0, 3.0]), or params=[...] for Values that it uses from outside"
            )
        self.names = [name for name, _ in entries]
        self.numbers = [x for _, x in entries]
        self.changed: list[str] = []  # what f did to its inputs
        self.outputs: list[str] = []  # their names, known after a call; "" where f returns one number
        self.place = 0  # of the output under check

    @contextmanager
    def at(self, xs: Numbers) -> Iterator[Call]:
        """f called at these numbers; parameters have them inside the `with`, where sweeps read them.

        Graphs made before stay valid. Raises TypeError for a result that is neither a number nor numbers in
        lists, tuples or dicts, and for one that has another structure than before.
        """
        count = len(xs) - len(self.params)
        leaves = [*map(Value, xs[:count]), *self.params]
        originals = [(p, p._data, p.number) for p in self.params]
        for p, x in zip(self.params, xs[count:]):
            p._data = x
        try:
            yield self._called(xs, leaves)
        finally:
            for p, x, number in originals:
                p._data, p.number = x, number

    def _called(self, xs: Numbers, leaves: list[Value]) -> Call:
        fresh = iter(leaves)
        arguments = [_filled(x, fresh) for x in self.inputs]
        before = repr([_shape(a) for a in arguments])
        with entered(record=True):
            result = self.f(*arguments)
        for name, x, leaf in zip(self.names, xs, leaves):
            if leaf._data != x:
                self.changed.append(f"{name} was {x!r} before the call, and {leaf._data!r} after it")
        if repr([_shape(a) for a in arguments]) != before:
            self.changed.append("a list among its arguments has other entries after the call")
        names, found = zip(*self._found("", result))
        if names != tuple(self.outputs or names):
            raise TypeError(
                f"gradcheck: {self.name} returned {len(found)} numbers, and {len(self.outputs)} before, or "
                "under other names: it has to return the same structure for all inputs"
            )
        self.outputs = [*names]
        outputs = [x if isinstance(x, Value) else Value(x) for x in found]
        return Call(outputs, outputs[self.place], not isinstance(found[self.place], Value), leaves)

    def _found(self, place: str, result: Any) -> Iterator[tuple[str, Any]]:
        """(name, number) of each output."""
        if isinstance(result, (list, tuple, dict)) and result:
            for key, part in result.items() if isinstance(result, dict) else enumerate(result):
                yield from self._found(f"{place or 'output'}[{key!r}]", part)
            return
        try:
            yield place, result if isinstance(result, Value) else to_float(result)
        except TypeError:
            kind = type(result).__name__
            what = f"a {kind} of {len(result)}" if hasattr(result, "__len__") else repr(result)
            raise TypeError(
                f"gradcheck needs a function that returns numbers, and {self.name} returned {what}"
                f"{f' as {place}' if place else ''}{': is a return missing?' if result is None else ''}"
            ) from None

    def value(self, xs: Numbers) -> float:
        with self.at(xs) as call:
            return call.out._data

    def gradient(self, xs: Numbers) -> list[float]:
        with self.at(xs) as call:
            return call.gradient()

    def sides(self, xs: Numbers) -> Sides:
        with self.at(xs) as call:
            return call.sides()


def _parameters(params: Any) -> list[Value]:
    found = [] if params is None else list(params) if isinstance(params, Iterable) else [params]
    for p in found:
        if not isinstance(p, Value) or p.op is not None:
            raise TypeError(f"gradcheck: params are leaf Values, not {p!r}: pass model.parameters()")
    return list(dict.fromkeys(found))  # each once


def _argument_names(f: Callable[..., Any], inputs: tuple[Any, ...]) -> list[str]:
    """The names of f's parameters, as far as they are known."""
    if isinstance(f, Op):
        return [operand(f, i) for i in range(len(inputs))]
    try:
        parameters = signature(f).parameters.values()
        known = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    except (TypeError, ValueError):
        known = []
    return [known[i] if i < len(known) else f"input {i}" for i in range(len(inputs))]


def _entries(name: str, x: Any) -> Iterator[tuple[str, float]]:
    """(name, number) of each number in an input."""
    if isinstance(x, (list, tuple)):
        if not x:
            raise TypeError(f"gradcheck: {name} is empty: give numbers, or (nested) lists of them")
        for i, entry in enumerate(x):
            yield from _entries(f"{name}[{i}]", entry)
        return
    if isinstance(x, Value):
        name, x = printable(x.label) or name, x._data
    try:
        number = to_float(x)
    except (TypeError, ValueError) as error:
        raise type(error)(f"gradcheck: {name} is {x!r}: {error}") from None
    if not isfinite(number):
        raise ValueError(f"gradcheck: {name} is {number!r}, where there are no slopes: give finite numbers")
    yield name, number


def _filled(tree: Any, leaves: Iterator[Value]) -> Any:
    if not isinstance(tree, (list, tuple)):
        return next(leaves)
    branches = [_filled(branch, leaves) for branch in tree]
    return branches if isinstance(tree, list) else tuple(branches)


def _shape(tree: Any) -> Any:
    return [_shape(branch) for branch in tree] if isinstance(tree, (list, tuple)) else id(tree)
