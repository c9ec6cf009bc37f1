"""Steps in compiled code: the other way in which `fit` trains, a stretch of many steps in one call.

The loss of a batch, the penalty and the rule of the optimizer are traced and compiled; batches are lists of
sample numbers, drawn ahead.  What is left after a stretch is what steps.py leaves after as many steps.
"""

import warnings
from array import array
from collections.abc import Callable, Sequence
from math import isfinite
from typing import Any

from tinygrad_bp.compiler import compile
from tinygrad_bp.compiler.bound import Pacing, Stretch
from tinygrad_bp.compiler.columns import Columns
from tinygrad_bp.compiler.rule import Update, rule_of
from tinygrad_bp.compiler.verify import verify
from tinygrad_bp.engine import Value, newest_first
from tinygrad_bp.errors import CompileError
from tinygrad_bp.floats import NO_GRAD
from tinygrad_bp.nn import Module, drawing_from
from tinygrad_bp.optim import Optimizer
from tinygrad_bp.rows import fill, flat, structure_of
from tinygrad_bp.steps import Eager, Sample, Task, mode_of, move, stopped
from tinygrad_bp.undo import finish, undoing


class Compiled:
    """The loss of a batch is one program, the penalty another, the rule of the optimizer a third: a call
    takes a stretch of steps. An optimizer with a `step()` of its own takes them one by one, in Python."""

    def __init__(self, task: Task, threads: int = 1) -> None:
        self.task, self.eager, self.threads = task, Eager(task), threads
        parameters = task.optimizer.parameters
        try:
            self.rows, self.numbers = task.rows(task.samples), Numbers(len(task.samples), task.drawn)
            loss = task.loss_of_drawn if task.drawn else task.loss_of_row
            self.losses = compile(loss, parameters, example=self._row(0), threads=threads)
            self.penalty = compile(task.penalty, parameters, example=()) if task.penalty else None
            self.data = Columns("fit", [*map(list, zip(*self.rows)), *self.numbers.columns])
            if len(self.rows[0]) > 2:
                refuse_looking_ahead(task.model, task.samples)
        except (ArithmeticError, AttributeError, ValueError) as error:  # on graphs it may be right
            raise CompileError(f"{type(error).__name__}: {error}") from error
        self.left_alone: list[Value] = []  # parameters that the optimizer does not move
        if isinstance(task.model, Module):
            moved = {*parameters}
            self.left_alone = [p for p in task.model.parameters() if p not in moved]
        self.update: Update | None = None  # that `bound` is made for
        self.own_step = type(task.optimizer).step is not Optimizer.step
        if self.own_step:
            warn_of_own_step(type(task.optimizer))
        else:
            self._bind()  # a rule that cannot be compiled says so before anything is done

    def _bind(self) -> None:
        """Data, program and rule together; again where a bool or a text of the optimizer was changed."""
        batches = self.task.batches
        update = Update((rule_of(self.task.optimizer),), bool(self.penalty), not batches.whole)
        if update == self.update:
            return
        penalty = self.penalty.prepare(Columns("the penalty", []), Update(())) if self.penalty else None
        bound = self.losses.prepare(self.data, update, batches.size, penalty)
        self.update, self.bound = update, bound
        self.pacing = Pacing(batches.size * bound.kernel.code.operations)

    @property
    def name(self) -> str:
        """Machine code or generated Python."""
        return str(self.losses.how)

    def take(self, step: int, at_most: int) -> list[float]:
        """Up to `at_most` steps; their losses."""
        if self.own_step:
            return self._one_step(step)
        self._bind()
        assert self.update
        task, optimizer, batches = self.task, self.task.optimizer, self.task.batches
        rates = self._rates(1 if task.drawn else min(self.pacing.count, at_most))
        stretch = Stretch(
            self.update, rates, self.update.rules[0].shared(optimizer), optimizer.remembered(), optimizer.t,
            mean=self.task.reduce == "mean",
        )  # fmt: skip
        mark, before = batches.mark(), optimizer.t

        def leave() -> None:
            self.task.taken = stretch.losses.tolist()
            done = len(self.task.taken)
            optimizer.t = before + done
            if done < len(rates):
                batches.go_back(mark, done)
            if done:
                self._leave_gradient(self.bound.grads.tolist())

        try:
            if not batches.whole:
                stretch.samples, stretch.lengths = batches.take_many(len(rates), self.bound.shuffle)
            self.numbers.write(stretch.samples or range(batches.n), task, step)
            self.pacing.take(self.bound, stretch)
        finally:
            finish(leave)
        if stretch.stopped and not self.task.taken:  # else the next call begins with the step that stopped
            self._explain(step)
        return self.task.taken

    def _rates(self, count: int) -> "array[float]":
        """The rates of the next steps, up to the first that the schedule does not give."""
        optimizer = self.task.optimizer
        if not callable(optimizer.lr):
            return array("d", [optimizer.rate()]) * count
        rates = array("d", [optimizer.rate()])
        try:
            for k in range(1, count):
                rates.append(optimizer.rate(optimizer.t + k))
        except (TypeError, ValueError):
            pass  # that step is not taken now; when it is the first, its error is raised
        return rates

    def _leave_gradient(self, gradient: list[float]) -> None:
        for p in self.left_alone:
            p.grad = NO_GRAD
        for p, g in zip(self.task.optimizer.parameters, gradient):
            p.grad = g

    def _one_step(self, step: int) -> list[float]:
        """A step with the optimizer's own `step()`."""
        task = self.task
        task.taken, mark = [], task.batches.mark()
        try:
            batch = task.batches.take()
            self.numbers.write(batch, task, step)
            total, grads = self.losses.value_and_grad(*map(list, zip(*[self._row(i) for i in batch])))
            share = task.share(batch)
            total, grads = share * total, [share * g for g in grads]
            if self.penalty:
                more, slopes = self.penalty.value_and_grad()
                total, grads = total + more, [g + s for g, s in zip(grads, slopes)]
            if not all(map(isfinite, (total, *grads))):
                task.batches.go_back(mark, 0)
                self._explain(step)
            self._leave_gradient(grads)
            move(task.optimizer, step)
            task.taken = [total]
        finally:
            finish(lambda: task.batches.go_back(mark, len(task.taken)))
        return task.taken

    def _row(self, i: int) -> tuple[Any, ...]:
        """What the compiled loss takes of a sample."""
        return (*self.rows[i], *self.numbers.of(i))

    def loss_of(self, samples: list[Sample]) -> float:
        """The loss on other samples, summed or averaged as that of a batch, without the penalty."""
        share = 1.0 / len(samples) if self.task.reduce == "mean" else 1.0
        losses = (
            compile(self.task.loss_of_row, self.task.optimizer.parameters) if self.task.drawn else self.losses
        )
        with mode_of(self.task.model, training=False):
            return share * float(losses.value(*map(list, zip(*self.task.rows(samples)))))

    def verify(self, i: int, undo: Callable[[], None]) -> None:
        """Compare compiled code with the engine, on one sample and on the penalty.

        Raises CompileError, and calls `undo`, where they differ beyond rounding.
        """
        parameters, sample = self.task.optimizer.parameters, self.task.samples[i]
        try:
            gradient = self.bound.run_one(i).tolist() if self.update else None
            computed = (
                (gradient.pop(), gradient)
                if gradient
                else self.losses.value_and_grad(*[[x] for x in self._row(i)])
            )
            if not all(map(isfinite, [computed[0], *computed[1]])):
                return  # the next step will say why
            with drawing_from(*self.numbers.of(i)):
                verify(
                    f"fit: the loss of sample {i}", self.task.loss_of_sample, parameters, sample, *computed
                )
            if self.task.penalty and self.penalty:
                verify("fit: the penalty", self.task.penalty, parameters, (), *self.penalty.value_and_grad())
        except CompileError:
            undo()
            raise

    def _explain(self, step: int) -> None:
        """Compiled code met inf or nan: take the step on graphs, which says where."""
        undo, mark = undoing(self.task.optimizer), self.task.batches.mark()
        self.eager.take(step, 1)
        undo()
        self.task.taken = []
        self.task.batches.go_back(mark, 0)
        raise stopped(
            step, "compiled code", "a sum is beyond the floats, but for rounding: scale the loss down"
        )


class Numbers:
    """The random numbers that the losses of samples take, as a column of the data; no column if none are
    taken. They are written anew for each step."""

    def __init__(self, samples: int, each: int) -> None:
        self.each, self.array = each, array("d", bytes(8 * samples * each))
        view = memoryview(self.array).cast("B")
        self.columns: list[Any] = [view.cast("d", (samples, each))] if each else []

    def of(self, i: int) -> list[list[float]]:
        """Those of a sample, as a list with one entry, or none."""
        return [self.array[i * self.each : (i + 1) * self.each].tolist()] if self.each else []

    def write(self, batch: Sequence[int], task: Task, step: int) -> None:
        """Draw those of a step."""
        if self.each:
            for i, numbers in zip(batch, task.draw(len(batch), step)):
                self.array[i * self.each : (i + 1) * self.each] = array("d", numbers or [])


def refuse_looking_ahead(model: Any, samples: Sequence[Sample]) -> None:
    """Raise CompileError where a prediction depends on later places of a sequence: copies that fill one up
    would change it."""
    x, _ = max(samples, key=lambda sample: len(sample[0]))
    places = [fill(structure_of(entry), map(Value, flat(entry))) for entry in x]
    latest = {v: t for t, entry in enumerate(places) for v in flat(entry)}
    predictions = model(places)
    roots = [[v for v in flat(prediction) if isinstance(v, Value)] for prediction in predictions]
    for v in reversed(newest_first([v for root in roots for v in root])):
        latest[v] = max([latest.get(x, -1) for x in v.inputs])
    for t, root in enumerate(roots):
        seen = max([latest.get(v, -1) for v in root], default=-1)
        if seen > t:
            raise CompileError(
                f"the prediction at place {t} depends on the input at place {seen}, so sequences of "
                "different lengths cannot be filled up to one: make the model causal, train on one length, "
                'or pass engine="eager"'
            )


def warn_of_own_step(kind: type, warned: set[type] = set()) -> None:  # noqa: B006 - once in a process
    if kind in warned:
        return
    warned.add(kind)
    warnings.warn(
        f"fit moves the parameters in Python, since {kind.__name__} has a step() of its own: "
        "write update(self, p, g, t, lr, *memory) instead, and it is compiled",
        RuntimeWarning,
        stacklevel=5,
    )
