"""Batches: which samples each step is taken on, as lists of their numbers.

An epoch takes every sample once, in an order that is shuffled anew; its last batch may be smaller.  Where the
batches are can be saved and restored, so that a run that is stopped and continued sees the same samples.
"""

import random
from array import array
from typing import Any


class Batches:
    """Lists of sample numbers without end, `size` at a time of `n`, shuffled by a generator of their own.

    A batch of all samples is not shuffled.

    >>> batches = Batches(3, 2, random.Random(0))
    >>> [batches.take() for _ in range(4)]
    [[2, 1], [0], [0, 2], [1]]
    """

    def __init__(self, n: int, size: int, rng: random.Random) -> None:
        self.n, self.size, self.rng = n, size, rng
        self.order, self.at = list(range(n)), n  # the order of this epoch, and how much of it is taken

    @property
    def whole(self) -> bool:
        """Whether each batch is all samples."""
        return self.size >= self.n

    def take(self) -> list[int]:
        """The next batch."""
        self._begin()
        begin, self.at = self.at, min(self.at + self.size, self.n)
        return self.order[begin : self.at]

    def take_many(self, steps: int) -> tuple["array[int]", "array[int]"]:
        """The next batches, one after the other in one array, and how long each is."""
        numbers, lengths = array("q"), array("q")
        while len(lengths) < steps:
            self._begin()
            batches = min(steps - len(lengths), -(-(self.n - self.at) // self.size))
            begin, self.at = self.at, min(self.at + batches * self.size, self.n)
            numbers.extend(self.order[begin : self.at])
            lengths.extend(array("q", [self.size]) * batches)
            lengths[-1] -= begin + batches * self.size - self.at  # the last of an epoch may be smaller
        return numbers, lengths

    def _begin(self) -> None:
        """A new epoch, where the last one is used up."""
        if self.at < self.n:
            return
        self.at = 0
        if not self.whole:
            draw = self.rng.random
            keys = [draw() for _ in range(self.n)]
            self.order = sorted(range(self.n), key=keys.__getitem__)  # a third of shuffle's time

    def mark(self) -> Any:
        """Where the batches are, for `go_back`."""
        return self.rng.getstate(), self.order, self.at

    def go_back(self, mark: Any, steps: int) -> None:
        """To so many steps after a mark."""
        generator, self.order, self.at = mark
        self.rng.setstate(generator)
        self.take_many(steps)

    def state(self) -> dict[str, Any]:
        """Where the batches are: numbers and lists, so that JSON can hold them."""
        version, numbers, rest = self.rng.getstate()
        generator = [version, list(numbers), rest]
        return {"size": self.size, "order": [*self.order], "at": self.at, "generator": generator}

    @staticmethod
    def of(state: Any) -> "Batches":
        """Batches that go on from a state. Raises ValueError for what is not one."""
        try:
            order, size, at = [*state["order"]], state["size"], state["at"]
            version, numbers, rest = state["generator"]
            rng = random.Random()
            rng.setstate((version, tuple(numbers), rest))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"this is not a state of batches: {error}") from None
        n = len(order)
        counts = all(type(x) is int for x in (size, at, *order)) and size >= 1 and 0 <= at <= n
        if not counts or sorted(order) != [*range(n)]:
            raise ValueError("this is not a state of batches: its order does not hold each sample once")
        batches = Batches(n, size, rng)
        batches.order, batches.at = order, at
        return batches
