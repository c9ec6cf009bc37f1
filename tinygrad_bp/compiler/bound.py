"""Bound: a kernel with its data, ready to be called again and again.

What callers see of every backend that runs: values and gradients for the Values as they are now, stretches
of training, and calls that read and write plain buffers.  `Generated` in backends/python.py and `Native` in
backends/llvm/frame.py implement it.
"""

import time
from abc import ABC, abstractmethod
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from tinygrad_bp.batches import shuffled
from tinygrad_bp.compiler.columns import Columns
from tinygrad_bp.compiler.kernel import Kernel
from tinygrad_bp.compiler.rule import Rule, Update
from tinygrad_bp.floats import to_float

SECONDS = 0.2  # a call may run so long before progress is shown and Ctrl-C takes effect
MOST_STEPS = 1 << 17  # in one call: each has a rate, a loss, and a place in the lists
A_STEP, AN_OPERATION = 1e-6, 1e-9  # seconds, estimated: they limit the first call


def checked_pace(where: str, lr: Any, momentum: Any) -> tuple[float, float]:
    """Learning rate and momentum as floats. Raises ValueError for numbers out of range."""
    pace = to_float(lr), to_float(momentum)
    if not pace[0] >= 0.0 or not 0.0 <= pace[1] < 1.0:
        raise ValueError(
            f"{where}: lr is from 0 up and momentum from 0 to below 1, not {lr!r} and {momentum!r}"
        )
    return pace


class Pacing:
    """How many steps a call takes, so that it lasts about SECONDS: first by the operations of a step, then
    by the seconds that the last call took."""

    def __init__(self, operations: float) -> None:
        self.count = max(1, min(MOST_STEPS, int(SECONDS / 2 / (A_STEP + AN_OPERATION * operations))))

    def take(self, bound: "Bound", stretch: "Stretch") -> None:
        """Take the steps, and learn from them how many a call may take."""
        start, count = time.perf_counter(), len(stretch.rates)
        bound.take(stretch)
        seconds = time.perf_counter() - start
        self.count = max(1, min(MOST_STEPS, 8 * count, int(count * SECONDS / max(seconds, 1e-6))))


@dataclass(frozen=True)
class Use:
    """What a kernel is bound for: how many threads share a batch, how many samples a batch has at most (None:
    all), and for steps the update, and a penalty that each step adds."""

    threads: int = 1
    batch: int | None = None
    update: Update | None = None
    penalty: "Bound | None" = None


@dataclass
class Stretch:
    """Some steps to take in one call, by one rule.

    The samples are named where the update is `listed`; the loss is scaled by 1 over the samples of
    its batch if `mean`. What the rule remembers is read from `memory`, and set there afterwards; so are the
    losses of the steps that were taken.
    """

    update: Update
    rates: "array[float]"  # of each step
    shared: Sequence[float]  # what the rule takes from the optimizer
    memory: list[list[float]] = field(default_factory=list)
    taken: int = 0  # steps before
    which: int = 0  # of the update's rules
    mean: bool = False
    samples: "array[int] | None" = None  # the numbers of the samples of all batches, one after the other
    lengths: "array[int] | None" = None  # how many each batch has
    losses: "array[float]" = field(default_factory=lambda: array("d"))  # before each step that was taken
    stopped: bool = False  # a step was not taken, since a number was not finite

    def lists(self) -> Iterator["array[int]"] | None:
        """The batches one by one; None where each is all samples."""
        if self.samples is None or self.lengths is None:
            return None
        numbers = iter(self.samples)
        return (array("q", islice(numbers, length)) for length in self.lengths)

    def sizes(self, most: int) -> list[int]:
        """The sizes of batches that occur. Raises ValueError for batches that are too large, or too few."""
        if self.samples is None or self.lengths is None:
            return []
        found = [*{*self.lengths}]
        if len(self.lengths) != len(self.rates) or sum(self.lengths) != len(self.samples):
            raise ValueError("a stretch needs a batch for each step")
        if not 0 < min(found) <= max(found) <= most:
            raise ValueError(f"a batch has {max(found)} samples, and is bound for 1 to {most}")
        return found

    def stranger(self, count: int) -> IndexError:
        """The error where a list names a sample that is not there, of so many."""
        return IndexError(f"a batch names a sample beyond the last, number {count - 1}")

    @property
    def rule(self) -> Rule:
        return self.update.rules[self.which]


class Bound(ABC):
    """A kernel and its data. One thread at a time may call it.

    `params` holds the parameters (of a function: `inputs` its arguments), `grads` the derivatives of the last
    call: views of doubles, that `evaluate` and `descend` work on, and nothing else.
    """

    params: Any  # memoryviews of doubles
    grads: Any
    evaluate: Any  # () -> float: value and gradient
    descend: Any  # () -> float: a step of gradient descent, and the loss before it; nan if it was not taken
    velocity: Any  # doubles, one for each parameter

    def __init__(self, kernel: Kernel, columns: Columns, penalty: "Bound | None" = None) -> None:
        self.kernel, self.columns, self.penalty = kernel, columns, penalty
        self.inputs = columns.flat
        self._pace = 0.0, 0.0

    @property
    def pace(self) -> tuple[float, float]:
        """Learning rate and momentum of `descend`; momentum begins at rest."""
        return self._pace

    @pace.setter
    def pace(self, pace: tuple[float, float]) -> None:
        pace = checked_pace("pace", *pace)
        if pace[1] and not self._pace[1]:
            self.velocity[:] = array("d", bytes(8 * self.kernel.params))
        self._pace = pace
        self.paced()

    @abstractmethod
    def paced(self) -> None:
        """The pace was set."""

    def need_params(self, what: str) -> None:
        """Raises TypeError for a function bound without parameters."""
        if not self.kernel.rolled.summed:
            raise TypeError(
                f"{what}: {self.kernel.name} has no parameters to descend on: compile(f, params).bind(...)"
            )

    @abstractmethod
    def run(self) -> "array[float]":
        """The sums over the samples, or the outputs of each, for the Values as they are now."""

    @abstractmethod
    def run_one(self, sample: int) -> "array[float]":
        """The sums over one sample of the data, without the penalty, for the Values as they are now, by the
        code that trains."""

    @abstractmethod
    def take(self, stretch: Stretch) -> None:
        """Take steps from the Values as they are now; stops at a number that is not finite.

        Afterwards, also after an exception, Values and memory are those of the last whole step, and `grads`
        its gradient.
        """

    def shuffle(self, seeds: "array[int]", n: int) -> "array[int]":
        """What `shuffled` gives, maybe in less time, for the batches of an update that is listed."""
        return shuffled(seeds, n)

    @abstractmethod
    def release(self) -> None:
        """Leave the memory to the next call; this object is not to be used again."""

    def __call__(self) -> tuple[float, "array[float]"]:
        """Value and gradient for the Values as they are now, the gradient as an array of its own."""
        result = self.run()
        return result.pop(), result

    @abstractmethod
    def read(self) -> None:
        """Take the parameters, and whatever else f uses, from the Values."""

    def write(self) -> None:
        """Set the Values to the parameters."""
        self.kernel.write_back(self.params.tolist())
