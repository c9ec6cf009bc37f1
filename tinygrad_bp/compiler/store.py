"""What is kept for the process: code by the structure of the graph it was made from, in bounded number.

Two graphs of one structure have the same operations on the same operands in the same order, with the same
constants; only the numbers of their parameters and data differ, and those are read at each call.
"""

import hashlib
import struct
from array import array
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

from tinygrad_bp.engine import Value, newest_first

T = TypeVar("T")


class Store(Generic[T]):
    """Things by key, made when first asked for; of more than `most`, the one unused the longest goes.

    >>> store = Store(2)
    >>> [store.get(key, lambda: key * 2) for key in (1, 2, 1, 3)], [*store.kept]
    ([2, 4, 2, 6], [1, 3])
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.kept: OrderedDict[Hashable, T] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """What is kept under a key."""
        found = self.kept.pop(key, None)
        if found is None:
            found = make()
        self.kept[key] = found
        while len(self.kept) > self.most:
            self.kept.popitem(last=False)
        return found


def structure_key(outputs: Sequence[Value], inputs: Sequence[Value], leaves: Sequence[Value]) -> Hashable:
    """What two graphs of one structure have in common, and no others.

    >>> x, y = Value(1.0), Value(2.0)
    >>> structure_key([x * y], [x], [y]) == structure_key([y * x], [y], [x])
    True
    >>> structure_key([x * y], [x], [y]) == structure_key([x + y], [x], [y])
    False
    """
    place = _Places()
    for x in (*inputs, *leaves):
        place.setdefault(x, len(place))
    operations: dict[object, int] = {}  # in the order in which they are met: the rows themselves are the key
    numbers = array("q", [len(inputs), len(leaves)])
    for v in reversed(newest_first(outputs, may_be_stale=True)):
        if v in place or v.op is None:
            continue
        operands = [place[x] for x in v.inputs]
        place[v] = len(place)
        numbers.extend([operations.setdefault(v.op, len(operations)), len(operands), *operands])
    numbers.extend([place[x] for x in outputs])
    digest = hashlib.sha256(numbers.tobytes() + b"".join(place.constants)).digest()
    return digest, tuple(operations)


class _Places(dict[Value, int]):
    """Numbers for Values, in the order in which they are met. A new one is a leaf from nowhere else."""

    def __init__(self) -> None:
        self.constants: list[bytes] = []

    def __missing__(self, v: Value) -> int:
        self[v] = len(self)
        self.constants.append(struct.pack("<qd", self[v], v._data))
        return self[v]
