"""Steps on graphs: one way in which `fit` trains; the other, in compiled code, is in stretches.py.

Both leave the same: parameters moved, `.grad` of the last step, the loss before it; or NonFiniteError, and
the parameters as they were before that step.  What went wrong in compiled code is found out on graphs.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from tinygrad_bp.batches import Batches
from tinygrad_bp.diagnosis import non_finite
from tinygrad_bp.engine import Value
from tinygrad_bp.errors import NonFiniteError, describe
from tinygrad_bp.losses import Loss, SequenceLoss
from tinygrad_bp.modes import entered, named
from tinygrad_bp.nn import Dropout, Module, drawing_from
from tinygrad_bp.optim import Optimizer
from tinygrad_bp.undo import finish, undoing

Sample = tuple[list[float], Any]


@dataclass
class Task:
    """What is trained, on what, how."""

    model: Callable[[Any], Any]
    samples: list[Sample]
    loss: Loss
    optimizer: Optimizer
    reduce: str
    penalty: Callable[[], Value] | None
    batches: Batches
    taken: list[float] = field(
        default_factory=list
    )  # the losses of the last call of take(), also if that was interrupted
    chance: str = "0"  # what the random numbers of its steps depend on, beside the number of the step
    drawn: int = 0  # how many random numbers the loss of a sample takes, at most

    def loss_of_sample(self, x: list[float], y: Any) -> Value:
        """The loss of the prediction for x."""
        return self.loss(self.model(x), y)

    def rows(self, samples: list[Sample]) -> list[tuple[Any, ...]]:
        """The samples as `loss_of_row` takes them, all of one shape.

        Sequences are filled up to the longest with copies of their last place, and get a weight for each
        place: one over their length, and 0 for the copies.
        """
        longest = max(len(x) for x, _ in samples)
        if not isinstance(self.loss, SequenceLoss) or all(len(x) == longest for x, _ in samples):
            return [*samples]
        rows = []
        for x, y in samples:
            n, more = len(x), longest - len(x)
            rows.append((x + x[-1:] * more, y + y[-1:] * more, [1.0 / n] * n + [0.0] * more))
        return rows

    def loss_of_row(self, x: list[float], y: Any, weights: list[float] | None = None) -> Value:
        """The same as `loss_of_sample`, for one of the rows."""
        if weights is None:
            return self.loss_of_sample(x, y)
        assert isinstance(self.loss, SequenceLoss)
        return self.loss.weighted(self.model(x), y, weights)

    def loss_of_drawn(self, *row_and_numbers: Any) -> Value:
        """The same, with the random numbers that it takes."""
        *row, numbers = row_and_numbers
        with drawing_from(numbers):
            return self.loss_of_row(*row)

    def draw(self, samples: int, step: int) -> Sequence[list[float] | None]:
        """The random numbers of a step, even between 0 and 1, for each of its samples: the same ones
        whenever this step is taken."""
        if not self.drawn:
            return [None] * samples
        counts = type(self.optimizer).step is Optimizer.step  # else nobody says that it counts its steps
        number = random.Random(f"{self.chance}, step {self.optimizer.t if counts else step}").random
        return [[number() for _ in range(self.drawn)] for _ in range(samples)]

    def share(self, batch: list[int]) -> float:
        """What a sample's loss counts."""
        return 1.0 / len(batch) if self.reduce == "mean" else 1.0


class Eager:
    """Build the graph of each sample's loss, run it backward, drop it; then move the parameters."""

    name = "eager"

    def __init__(self, task: Task) -> None:
        self.task = task

    def take(self, step: int, at_most: int) -> list[float]:
        """One step, and its loss. If it fails, its batch is the next one again."""
        batches, self.task.taken = self.task.batches, []
        mark = batches.mark()
        try:
            self.task.taken = [self.step_on(batches.take(), step)]
        finally:
            finish(lambda: batches.go_back(mark, len(self.task.taken)))
        return self.task.taken

    def step_on(self, batch: list[int], step: int) -> float:
        """A step on these samples."""
        task = self.task
        task.optimizer.zero_grad()
        if isinstance(task.model, Module):
            task.model.zero_grad()  # also of what the optimizer leaves alone
        total, share = 0.0, task.share(batch)
        for i, loss in self.losses(batch, step):
            total += _backward(loss, share, f"sample {i}", step)
        if task.penalty:
            total += _backward(task.penalty(), 1.0, "the penalty", step)
        if not isfinite(total):
            raise stopped(step, "the sum of the losses", f"it is {total}: scale the data or the loss down")
        if not all(isfinite(p.grad) for p in task.optimizer.parameters):
            self._blame_gradient(batch, step)
        move(task.optimizer, step)
        return total

    def losses(self, batch: list[int], step: int) -> Iterator[tuple[int, Value]]:
        """The number of each sample and its loss."""
        for i, numbers in zip(batch, self.task.draw(len(batch), step)):
            with named(f"fit: sample {i}"), drawing_from(numbers):
                loss = self.task.loss_of_sample(*self.task.samples[i])
            yield i, loss

    def loss_of(self, samples: list[Sample]) -> float:
        """The loss on other samples, summed or averaged as that of a batch, without the penalty."""
        share = 1.0 / len(samples) if self.task.reduce == "mean" else 1.0
        with entered(record=False), mode_of(self.task.model, training=False):
            return share * sum([self.task.loss_of_sample(x, y).data for x, y in samples])

    def verify(self, i: int, undo: Callable[[], None]) -> None:
        """Nothing is to be compared here."""

    def _blame_gradient(self, batch: list[int], step: int) -> None:
        """Every loss was finite and yet a gradient is not: build them again, one by one, to find where."""
        task = self.task
        for i, loss in self.losses(batch, step):
            report = non_finite(loss)
            if report:
                raise stopped(step, f"sample {i}", report)
        report = non_finite(task.penalty()) if task.penalty else ""
        report = report or "it is beyond the floats: scale the data or the loss down"
        raise stopped(step, "the sum of the gradients", report)


@contextmanager
def mode_of(model: Any, training: bool) -> Iterator[None]:
    """Inside, the modules of the model are in this mode; afterwards each is in its own again."""
    modules = [module for _, module in model.modules()] if isinstance(model, Module) else []
    before = [module.training for module in modules]
    for module in modules:
        module.training = training
    try:
        yield
    finally:
        for module, own in zip(modules, before):
            module.training = own


def try_longest(task: Task, samples: Sequence[Sample], name: str) -> int:
    """Compute the loss of the longest sample, and say how many random numbers it takes.

    Raises ValueError, which names the sample, where the model or the loss does so.
    """
    drops = isinstance(task.model, Module) and any(isinstance(x, Dropout) for _, x in task.model.modules())
    if not drops and not isinstance(task.loss, SequenceLoss):
        return 0
    longest = max(range(len(samples)), key=lambda i: len(samples[i][0]))
    taken: list[float] = []

    def numbers() -> Iterator[float]:
        while True:
            taken.append(0.5)
            yield 0.5

    with named(f"{name}: sample {longest}"), entered(record=False), drawing_from(numbers()):
        task.loss_of_sample(*samples[longest])
    return len(taken)


def move(optimizer: Optimizer, step: int) -> None:
    """Move the parameters; take the move back if it leaves the floats."""
    undo = undoing(optimizer)
    try:
        optimizer.step()
    except BaseException:  # Ctrl-C, too: no parameter moves without the others
        undo()
        raise
    for p in optimizer.parameters:
        if not isfinite(p.data):
            report = f"it would make a parameter {describe(p)}: lower the learning rate"
            undo()
            raise stopped(step, "the step itself", report)


def stopped(step: int, what: str, report: str) -> NonFiniteError:
    return NonFiniteError(
        f"fit stopped in step {step}, at {what}: {report}\n"
        "  the parameters are as they were before this step; if they grew large, lower the learning rate"
    )


def _backward(loss: Any, share: float, what: str, step: int) -> float:
    """Run a loss backward, and return its share of the total."""
    if not isinstance(loss, Value):
        raise TypeError(f"fit: the loss of {what} is {loss!r}, not a Value: compute it from the prediction")
    if not isfinite(loss.data):
        raise stopped(step, what, non_finite(loss))
    loss.backward(share)
    return share * loss.data
