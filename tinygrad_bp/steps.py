"""The two ways in which `fit` takes a step: on graphs, sample by sample, or in compiled code.

Both leave the same: parameters moved, `.grad` of the last step, the loss before it; or NonFiniteError, and
the parameters as they were before that step.  What went wrong in compiled code is found out on graphs.
"""

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from typing import Any

from tinygrad_bp.diagnosis import non_finite
from tinygrad_bp.engine import Value
from tinygrad_bp.errors import CompileError, NonFiniteError, describe
from tinygrad_bp.losses import Loss
from tinygrad_bp.nn import Module
from tinygrad_bp.optim import SGD, Optimizer
from tinygrad_bp.rows import whole_number
from tinygrad_bp.undo import undoing

Sample = tuple[list[float], Any]

WORTH_COMPILING = 200_000  # samples x steps x parameters: about as much eager work as compiling takes
SECONDS = 0.2  # that compiled code may run before progress is shown and Ctrl-C is heard


@dataclass
class Task:
    """What is trained, on what, how."""

    model: Callable[[list[float]], Any]
    samples: list[Sample]
    loss: Loss
    optimizer: Optimizer
    reduce: str
    penalty: Callable[[], Value] | None

    def loss_of_sample(self, x: list[float], y: Any) -> Value:
        """The loss of the prediction for x."""
        return self.loss(self.model(x), y)

    def share(self, batch: list[int]) -> float:
        """What a sample's loss counts."""
        return 1.0 / len(batch) if self.reduce == "mean" else 1.0


def chosen(engine: str, task: Task, steps: int, batch_size: int, threads: int = 1) -> "Eager | Compiled":
    """The engine of that name; "auto" compiles where it pays, and where it can't goes without and warns."""
    if engine not in ("auto", "eager", "compiled"):
        raise ValueError(f"fit: engine is 'auto', 'eager' or 'compiled', not {engine!r}")
    threads = whole_number(threads, 1, "fit: threads is a whole number from 1 up")
    work = steps * batch_size * len(task.optimizer.parameters)
    if engine == "eager" or (engine == "auto" and work < WORTH_COMPILING):
        return Eager(task)
    try:
        return Compiled(task, threads)
    except (CompileError, TypeError) as error:
        if engine == "compiled":
            raise
        reason = " ".join(str(error).split())
        warnings.warn(
            f"fit uses the eager engine, since compiling failed: {reason}", RuntimeWarning, stacklevel=3
        )
        return Eager(task)


class Eager:
    """Build the graph of each sample's loss, run it backward, drop it; then move the parameters."""

    name = "eager"

    def __init__(self, task: Task) -> None:
        self.task = task

    def take(self, batch: list[int], step: int, at_most: int) -> list[float]:
        """One step on these samples; its loss."""
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
        return [total]

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


class Compiled:
    """The loss of a batch as one kernel, the penalty as another; plain descent on all samples stays in it."""

    def __init__(self, task: Task, threads: int = 1) -> None:
        self.task, self.eager = task, Eager(task)
        parameters = task.optimizer.parameters
        from tinygrad_bp.compiler import compile  # large: loaded where it is used

        self.losses = compile(task.loss_of_sample, parameters, example=task.samples[0], threads=threads)
        self.penalty = compile(task.penalty, parameters, example=()) if task.penalty else None
        self.steps_at_once = 1

    @property
    def name(self) -> str:
        """Machine code or generated Python."""
        return str(self.losses.how)

    def take(self, batch: list[int], step: int, at_most: int) -> list[float]:
        """Up to `at_most` steps on these samples; their losses."""
        columns = [list(column) for column in zip(*[self.task.samples[i] for i in batch])]
        if at_most > 1 and type(self.task.optimizer) is SGD and not self.penalty:
            return self._descend(columns, batch, step, at_most - 1)  # the last step leaves its .grad
        total, grads = self.losses.value_and_grad(*columns)
        share = self.task.share(batch)
        total, grads = share * total, [share * g for g in grads]
        if self.penalty:
            more, slopes = self.penalty.value_and_grad()
            total, grads = total + more, [g + s for g, s in zip(grads, slopes)]
        if not all(map(isfinite, (total, *grads))):
            self._explain(batch, step)
        if isinstance(self.task.model, Module):
            self.task.model.zero_grad()
        for p, g in zip(self.task.optimizer.parameters, grads):
            p.grad = g
        move(self.task.optimizer, step)
        return [total]

    def verify(self, i: int, undo: Callable[[], None]) -> None:
        """Compare compiled code with the engine, on one sample and on the penalty.

        Raises CompileError, and calls `undo`, where they differ beyond rounding.
        """
        from tinygrad_bp.compiler.verify import verify

        parameters, sample = self.task.optimizer.parameters, self.task.samples[i]
        try:
            computed = self.losses.value_and_grad(*[[x] for x in sample])
            verify(f"fit: the loss of sample {i}", self.task.loss_of_sample, parameters, sample, *computed)
            if self.task.penalty and self.penalty:
                verify("fit: the penalty", self.task.penalty, parameters, (), *self.penalty.value_and_grad())
        except CompileError:
            undo()
            raise

    def _descend(self, columns: list[Any], batch: list[int], step: int, at_most: int) -> list[float]:
        sgd: Any = self.task.optimizer
        count, start = min(self.steps_at_once, at_most), time.perf_counter()
        share, bound = self.task.share(batch), self.losses.bind(*columns)
        run = bound.train(count, sgd.lr, sgd.momentum, share, sgd.velocity)
        bound.release()
        if run.stopped:
            self._explain(batch, step + run.done)
        seconds = max(time.perf_counter() - start, 1e-6)
        self.steps_at_once = max(1, min(2 * count, int(count * SECONDS / seconds)))
        return list(run.losses)

    def _explain(self, batch: list[int], step: int) -> None:
        """Compiled code met inf or nan: take the step on graphs, which says where."""
        undo = undoing(self.task.optimizer)
        self.eager.take(batch, step, 1)
        undo()
        raise stopped(
            step, "compiled code", "a sum is beyond the floats, but for rounding: scale the loss down"
        )


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
