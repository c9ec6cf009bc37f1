"""undo: everything that a step may change, remembered before it and put back if it is refused.

An optimizer written by a user keeps what it likes: counters, lists of lists, dicts by parameter, objects.
All of it is found from the optimizer, by its attributes and the contents of containers, and comes back as it
was, in the same objects.
"""

from array import array
from collections import OrderedDict, deque
from collections.abc import Callable
from random import Random
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

from tinygrad_bp.engine import Value

ATOMS = {
    float,
    int,
    bool,
    str,
    bytes,
    complex,
    type(None),
    type,
    FunctionType,
    BuiltinFunctionType,
    ModuleType,
}
Kept = tuple[Any, Callable[[Any, Any], None], Any]  # an object, how to set its contents, and these


def undoing(*roots: Any) -> Callable[[], None]:
    """A function that puts back the state of these objects, and of all that they hold, as it is now.

    Of a Value this is its data, and not its `.grad`. What has no attributes and is no container of Python's
    (a file, an iterator) is left as it is.

    >>> state = {"t": 3, "m": [[0.0], (1, {"a": [2]})]}
    >>> undo = undoing(state)
    >>> state["t"] += 1; state["m"][1][1]["a"].append(5); state["new"] = 1; undo(); state
    {'t': 3, 'm': [[0.0], (1, {'a': [2]})]}
    """
    kept: dict[int, Kept] = {}
    todo = [*roots]
    while todo:
        x = todo.pop()
        if type(x) in ATOMS or id(x) in kept:
            continue
        put, contents, inside = _look(x)
        kept[id(x)] = x, put, contents
        kinds = {*map(type, inside)}
        if kinds == {Value}:  # thousands of parameters, at once
            kept[id(inside)] = inside, _put_numbers, [v._data for v in inside]
        elif not kinds <= ATOMS:
            todo.extend(inside)

    def undo() -> None:
        for x, put, contents in kept.values():
            put(x, contents)

    return undo


def finish(work: Callable[[], None]) -> None:
    """Do something completely, also when Ctrl-C is pressed meanwhile, which takes effect afterwards.

    The work may be started twice.
    """
    try:
        work()
    except KeyboardInterrupt:
        work()
        raise


def _look(x: Any) -> tuple[Callable[[Any, Any], None], Any, list[Any]]:
    """How to put the contents of x back, the contents, and what is to be looked at in turn."""
    if isinstance(x, Value):
        return _put_numbers_of_one, x._data, []
    if isinstance(x, dict):
        return _put_items, dict(x), [*x.keys(), *x.values(), *_attributes(x).values()]
    if isinstance(x, (list, deque)):
        return _put_entries, [*x], [*x, *_attributes(x).values()]
    if isinstance(x, set):
        return _put_members, set(x), [*x]
    if isinstance(x, (tuple, frozenset)):
        return _put_nothing, None, [*x]
    if isinstance(x, (array, bytearray)):
        return _put_slice, x[:], []
    if isinstance(x, Random):
        return Random.setstate, x.getstate(), []
    if hasattr(x, "__array__") and hasattr(x, "copy"):  # NumPy's, and the like
        return _put_array, x.copy(), []
    attributes = _attributes(x)
    return _put_attributes, attributes, [*attributes.values()]


def _attributes(x: Any) -> dict[str, Any]:
    names = [name for kind in type(x).__mro__ for name in _slots(kind) if hasattr(x, name)]
    return {**getattr(x, "__dict__", {}), **{name: getattr(x, name) for name in names}}


def _slots(kind: type) -> tuple[str, ...]:
    slots = kind.__dict__.get("__slots__", ())
    names = (slots,) if isinstance(slots, str) else tuple(slots)
    return tuple(name for name in names if name not in ("__dict__", "__weakref__"))


def _put_numbers(values: list[Value], numbers: list[float]) -> None:
    for v, number in zip(values, numbers):
        if v._data is not number:
            v.data = number  # with a new creation number: graphs built on the refused one are stale


def _put_numbers_of_one(v: Value, number: float) -> None:
    _put_numbers([v], [number])


def _put_items(x: Any, items: dict[Any, Any]) -> None:
    kind = OrderedDict if isinstance(x, OrderedDict) else dict  # an order is not dict's to keep
    kind.clear(x)
    for key, value in items.items():
        kind.__setitem__(x, key, value)


def _put_entries(x: Any, entries: list[Any]) -> None:
    x.clear()
    x.extend(entries)


def _put_members(x: Any, members: set[Any]) -> None:
    x.clear()
    x.update(members)


def _put_slice(x: Any, numbers: Any) -> None:
    x[:] = numbers


def _put_array(x: Any, numbers: Any) -> None:
    x[...] = numbers


def _put_attributes(x: Any, attributes: dict[str, Any]) -> None:
    for name in [name for name in getattr(x, "__dict__", ()) if name not in attributes]:
        del x.__dict__[name]
    for name, value in attributes.items():
        if getattr(x, name, None) is not value:
            object.__setattr__(x, name, value)


def _put_nothing(x: Any, contents: None) -> None:
    """A tuple cannot change; what it holds is put back by itself."""
