"""Batches: which samples each step is taken on, as lists of their numbers.

An epoch takes every sample once, in an order that is shuffled anew; its last batch may be smaller.  Where the
batches are can be saved and restored, so that a run that is stopped and continued sees the same samples.
"""

import random
from array import array
from collections.abc import Callable
from typing import Any

Shuffle = Callable[["array[int]", int], "array[int]"]
LOW = (1 << 64) - 1  # 64 bits


def shuffled(seeds: "array[int]", n: int) -> "array[int]":
    """An order of 0 to n - 1 for each seed, one after the other.

    The shuffle is Durstenfeld's, inside out; its numbers are those of splitmix64 (Steele, Lea, Flood 2014).

    >>> shuffled(array("Q", [1, 2]), 3).tolist()
    [0, 1, 2, 0, 2, 1]
    """
    orders = array("q")
    for state in seeds:
        order = [0] * n
        for i in range(n):
            state = state + 0x9E3779B97F4A7C15 & LOW
            x = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & LOW
            x = (x ^ x >> 27) * 0x94D049BB133111EB & LOW
            j = (x >> 32) * (i + 1) >> 32
            order[i] = order[j]
            order[j] = i
        orders.extend(order)
    return orders


class Batches:
    """An endless series of lists of `size` out of `n` sample numbers, shuffled by a generator of its own.

    A batch of all samples is not shuffled.

    >>> batches = Batches(3, 2, random.Random(0))
    >>> [batches.take() for _ in range(4)]
    [[0, 1], [2], [2, 0], [1]]
    """

    def __init__(self, n: int, size: int, rng: random.Random) -> None:
        self.n, self.size, self.rng = n, size, rng
        self.order, self.at = array("q", range(n)), n  # the order of this epoch, and how much of it is taken

    @property
    def whole(self) -> bool:
        """Whether each batch is all samples."""
        return self.size >= self.n

    def take(self) -> list[int]:
        """The next batch."""
        return self.take_many(1)[0].tolist()

    def take_many(self, steps: int, shuffle: Shuffle = shuffled) -> tuple["array[int]", "array[int]"]:
        """The next batches, one after the other in one array, and how long each is."""
        an_epoch, rest = self._lengths(self.n), self._lengths(self.n - self.at)
        epochs = max(0, -(-(steps - len(rest)) // len(an_epoch)))
        orders = self.order[self.at :] + self._orders(epochs, shuffle)
        lengths = (rest + an_epoch * epochs)[:steps]
        numbers = orders[: sum(lengths)]
        if epochs:
            self.order = orders[-self.n :]
        self.at = self.n - (len(orders) - len(numbers))
        return numbers, lengths

    def _lengths(self, samples: int) -> "array[int]":
        """Of the batches of so many samples: the last may be smaller."""
        whole, rest = divmod(samples, self.size)
        return array("q", [self.size]) * whole + array("q", [rest] if rest else [])

    def _orders(self, epochs: int, shuffle: Shuffle) -> "array[int]":
        """The orders of the next epochs."""
        if self.whole:
            return self.order * epochs
        return shuffle(array("Q", [self.rng.getrandbits(64) for _ in range(epochs)]), self.n)

    def mark(self) -> Any:
        """Where the batches are, for `go_back`."""
        return self.rng.getstate(), self.order, self.at

    def go_back(self, mark: Any, steps: int) -> None:
        """To so many steps after a mark."""
        generator, self.order, self.at = mark
        self.rng.setstate(generator)
        if not self.whole:
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
        batches.order, batches.at = array("q", order), at
        return batches
