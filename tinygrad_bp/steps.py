"""Steps on graphs: one way in which `fit` trains; the other, in compiled code, is in stretches.py.

Both leave the same: parameters moved, `.grad` of the last step, the loss before it; or NonFiniteError, and
the parameters as they were before that step.  What went wrong in compiled code is found out on graphs.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from tinygrad_bp.batches import Batches
from tinygrad_bp.diagnosis import non_finite
from tinygrad_bp.engine import Value
from tinygrad_bp.errors import NonFiniteError, describe
from tinygrad_bp.losses import Loss
from tinygrad_bp.modes import entered
from tinygrad_bp.nn import Module
from tinygrad_bp.optim import Optimizer
from tinygrad_bp.undo import finish, undoing

Sample = tuple[list[float], Any]


@dataclass
class Task:
    """What is trained, on what, how."""

    model: Callable[[list[float]], Any]
    samples: list[Sample]
    loss: Loss
    optimizer: Optimizer
    reduce: str
    penalty: Callable[[], Value] | None
    batches: Batches
    taken: list[float] = field(
        default_factory=list
    )  # the losses of the last call of take(), also if that was interrupted

    def loss_of_sample(self, x: list[float], y: Any) -> Value:
        """The loss of the prediction for x."""
        return self.loss(self.model(x), y)

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
        for i in batch:
            x, y = task.samples[i]
            total += _backward(task.loss(task.model(x), y), share, f"sample {i}", step)
        if task.penalty:
            total += _backward(task.penalty(), 1.0, "the penalty", step)
        if not isfinite(total):
            raise stopped(step, "the sum of the losses", f"it is {total}: scale the data or the loss down")
        if not all(isfinite(p.grad) for p in task.optimizer.parameters):
            self._blame_gradient(batch, step)
        move(task.optimizer, step)
        return total

    def loss_of(self, samples: list[Sample]) -> float:
        """The loss on other samples, summed or averaged as that of a batch, without the penalty."""
        share = 1.0 / len(samples) if self.task.reduce == "mean" else 1.0
        with entered(record=False):
            return share * sum([self.task.loss_of_sample(x, y).data for x, y in samples])

    def verify(self, i: int, undo: Callable[[], None]) -> None:
        """Nothing is to be compared here."""

    def _blame_gradient(self, batch: list[int], step: int) -> None:
        """Every loss was finite and yet a gradient is not: build them again, one by one, to find where."""
        task = self.task
        for i in batch:
            x, y = task.samples[i]
            report = non_finite(task.loss(task.model(x), y))
            if report:
                raise stopped(step, f"sample {i}", report)
        report = non_finite(task.penalty()) if task.penalty else ""
        report = report or "it is beyond the floats: scale the data or the loss down"
        raise stopped(step, "the sum of the gradients", report)


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
