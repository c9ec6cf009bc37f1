"""fit: the training loop, and the history it returns.

A step is taken on a batch of samples, by one of the two engines in steps.py: on graphs, one sample at a
time, or in compiled code.  On a terminal a line shows how it goes; in a pipe nothing is printed.
"""

import os
import random
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tinygrad_bp.batches import Batches
from tinygrad_bp.checkpoint import Saved, check_room, restore, save
from tinygrad_bp.engine import Value
from tinygrad_bp.errors import CheckpointError, CompileError
from tinygrad_bp.losses import Loss, SequenceLoss
from tinygrad_bp.modes import entered
from tinygrad_bp.nn import Module
from tinygrad_bp.optim import Optimizer
from tinygrad_bp.rows import read_samples, whole_number
from tinygrad_bp.steps import Eager, Task, mode_of, try_longest
from tinygrad_bp.undo import undoing

if TYPE_CHECKING:
    from tinygrad_bp.show.playground.recording import Recording
    from tinygrad_bp.stretches import Compiled


@dataclass
class History:
    """What a training run leaves: the loss of every step, taken before the step, and the seconds it took."""

    losses: list[float] = field(default_factory=list, repr=False)
    seconds: float = 0.0
    engine: str = "eager"  # or "machine code", or "generated Python"
    recording: "Recording | None" = field(default=None, repr=False)  # of fit(..., record=k): for tg.stepper

    validation: list[tuple[int, float]] = field(
        default_factory=list, repr=False
    )  # after how many steps, the loss

    @property
    def rate(self) -> float:
        """Steps a second."""
        return len(self.losses) / self.seconds if self.seconds else 0.0


@dataclass
class State:
    """Where a training run is, for `fit(..., callback=f)`: after `step` steps, with the loss before the last
    one and the loss on the validation set."""

    step: int
    loss: float
    validation: float | None
    history: History = field(repr=False)
    model: Any = field(repr=False)
    optimizer: Optimizer = field(repr=False)


def fit(
    model: Callable[[Any], Any],
    data: tuple[Sequence[Any], Sequence[Any]],
    loss: Loss,
    optimizer: Optimizer,
    steps: int | None = None,
    batch_size: int | None = None,
    reduce: str = "sum",
    penalty: Callable[[], Value] | None = None,
    seed: int | None = 0,
    progress: bool = True,
    engine: str = "auto",
    threads: int = 1,
    record: int | None = None,
    sample: int = 0,
    checkpoint: str | os.PathLike[str] | None = None,
    resume: bool = False,
    validation: tuple[Sequence[Any], Sequence[Any]] | None = None,
    callback: Callable[[State], Any] | None = None,
    every: int | None = None,
    epochs: None = None,  # an error that says how many steps they are
) -> History:
    """Train `model` for `steps` steps on data = (xs, ys), and return the history of the loss.

    Each x is a number or a row of numbers, and the model is called with a list; each y is what
    `loss(prediction, y)` takes. With a `losses.SequenceLoss` an x is a sequence, of any length, and y has a
    target for each of its places.  A batch is all samples, or `batch_size` of them, shuffled anew each epoch
    by `seed`, or with `seed=None` by what the optimizer's last run has left; its loss is the sum or the mean
    ("sum", "mean") over its samples, plus `penalty()`, evaluated once a step.  The engine is "eager",
    "compiled", or "auto", which compiles where that is faster; compiled code divides large batches among
    `threads`, with the same bits.

    With `record=k` the history keeps the parameters at every k-th step for `tg.stepper(history)`, a page that
    plays the training and shows the graph of any sample, at first of number `sample`.

    With `checkpoint="run.json"` the model, the optimizer, the losses and the state of the batches are saved
    there every so many steps (`every`), or every ten seconds, at the end, and when the run is interrupted.
    With `resume=True` the run of the file goes on until it has `steps` steps in all, to the same bits as one
    that was not interrupted; where there is no file, it begins.

    After every `every` steps (None: after each), and after the last, the loss on `validation` = (xs, ys) is
    added to `history.validation`, and `callback(state)` is called with a State; if it returns True, the
    run ends. Between two such moments compiled code takes its steps in calls of about 0.2 seconds. After
    Ctrl-C the parameters are those of the last whole step.

    Raises ValueError for data that is empty, of unequal lengths or not finite; NonFiniteError, naming the
    operation and the path to the loss, when a loss or gradient is not finite: the parameters are then as they
    were before that step; CheckpointError for a file that cannot be written, or is of another run.

    >>> from tinygrad_bp.losses import squared_error
    >>> from tinygrad_bp.nn import Neuron
    >>> from tinygrad_bp.optim import SGD
    >>> line = Neuron(1, nonlin=False, weights=lambda rng, nin, nout: 0.0)
    >>> sgd = SGD(line.parameters(), lr=0.1)
    >>> history = fit(line, ([0.0, 1.0, 2.0], [1.0, 3.0, 5.0]), squared_error, sgd, steps=300)
    >>> round(line.w[0].data, 3), round(line.b.data, 3), len(history.losses)
    (2.0, 1.0, 300)
    """
    sequences = isinstance(loss, SequenceLoss)
    samples = read_samples(data, "fit", sequences)
    if not callable(loss) or not isinstance(optimizer, Optimizer):
        wrong = optimizer if callable(loss) else loss
        raise TypeError(
            f"fit takes a loss such as losses.mse and an optimizer such as optim.SGD, not {wrong!r}"
        )
    if isinstance(model, Module) and not {*model.parameters()} & {*optimizer.parameters}:
        raise ValueError(
            "fit: the optimizer moves no parameter of this model: make it from model.parameters()"
        )
    if penalty is not None and not callable(penalty):
        raise TypeError(f"fit: penalty is a function of nothing, not {penalty!r}: write lambda: ...")
    if reduce not in ("sum", "mean"):
        raise ValueError(f"fit: reduce is 'sum' or 'mean', not {reduce!r}")
    if batch_size is not None:
        what = "fit: batch_size is a whole number from 1 up, or None for all"
        batch_size = whole_number(batch_size, 1, what)
    if epochs is not None:
        a_pass = -(-len(samples) // (batch_size or len(samples)))
        raise TypeError(
            f"fit counts steps, not epochs: one epoch is {a_pass} steps here, "
            f"so write steps={a_pass} * {epochs!r}"
        )
    steps = whole_number(steps, 0, "fit: steps is a whole number from 0 up")
    if every is not None:
        every = whole_number(every, 1, "fit: every is a whole number of steps from 1 up")
    reports = every or 1
    if callback is not None and not callable(callback):
        raise TypeError(f"fit: callback is a function of the state, not {callback!r}")
    checked = read_samples(validation, "fit, validation", sequences) if validation is not None else []
    if checked and not sequences and len(checked[0][0]) != len(samples[0][0]):
        raise ValueError(
            f"fit: the inputs of validation have {len(checked[0][0])} numbers, those of data "
            f"{len(samples[0][0])}; give both as many"
        )
    history, recorder = History(), None
    if record is not None:
        from tinygrad_bp.show.playground.program import Trained  # large: loaded where it is used
        from tinygrad_bp.show.playground.recording import TrainingRecorder

        trained = Trained(model, samples, loss, optimizer.parameters, reduce, penalty)
        recorder = TrainingRecorder(trained, record, sample)
        history.recording = recorder.recording
    saver = None
    if checkpoint is not None:
        saver = _Saver(checkpoint, model, optimizer, history, steps, every)
    elif resume:
        raise ValueError('fit: resume goes with a file: fit(..., checkpoint="run.json")')
    elif every is not None and validation is None and callback is None:
        raise ValueError("fit: every is how often to save, validate or call back: pass one of the three")
    batches = optimizer.batches
    resumed = resume and saver and saver.load(len(samples), batch_size or len(samples))
    begin, start = len(history.losses), time.perf_counter() - history.seconds
    if not resumed:
        optimizer.batches = _batches(len(samples), batch_size, seed, batches)
    on_terminal = sys.stderr is not None and sys.stderr.isatty()
    with (
        nullcontext() if resumed else _unless_begun(optimizer, batches),
        entered(record=True),
        mode_of(model, training=True),
        saver or nullcontext(),
        _Progress(steps, progress and on_terminal, begin) as shown,
    ):
        assert optimizer.batches
        task = Task(model, samples, loss, optimizer, reduce, penalty, optimizer.batches)
        task.chance, task.drawn = str(seed), try_longest(task, samples, "fit")
        if checked:
            try_longest(task, checked, "fit, validation")
        chosen_engine = _choose_engine(engine, task, steps, threads)
        while (done := len(history.losses)) < steps:
            at_most = steps - done
            if recorder:
                with mode_of(model, training=False):
                    recorder.take(done)
                at_most = min(at_most, recorder.until_next(done))
            if saver:
                at_most = min(at_most, saver.until_next(done))
            if checked or callback:
                at_most = min(at_most, reports - done % reports)
            undo = undoing(optimizer) if done == begin or done + at_most >= steps else None
            task.taken = []
            try:
                chosen_engine.take(done, at_most)
            finally:
                history.losses += task.taken
            if undo and done == begin:
                chosen_engine.verify(0, undo)
            if undo and len(history.losses) == steps:
                chosen_engine.verify(len(samples) - 1, undo)
            history.seconds = time.perf_counter() - start
            history.engine = chosen_engine.name
            shown.update(len(history.losses) - done, history.losses[-1], history.rate)
            done = len(history.losses)
            if saver:
                saver.save_if_due(done)
            if (checked or callback) and (done % reports == 0 or done == steps):
                loss_there = chosen_engine.loss_of(checked) if checked else None
                if loss_there is not None:
                    history.validation.append((done, loss_there))
                state = State(done, history.losses[-1], loss_there, history, model, optimizer)
                if callback and callback(state) is True:
                    break
        if recorder:
            with mode_of(model, training=False):
                recorder.take(len(history.losses), last=True)
    return history


class _Saver:
    """Saves a run at its start and its end, when it is interrupted, and every so often in between."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        model: Any,
        optimizer: Optimizer,
        history: History,
        steps: int,
        every: int | None,
    ) -> None:
        if not isinstance(model, Module):
            raise TypeError(f"fit: a checkpoint is of a Module, such as an MLP, not of {model!r}")
        check_room(path, steps)
        self.path, self.model, self.optimizer, self.history = path, model, optimizer, history
        self.steps, self.every, self.last = steps, every, time.monotonic()
        self.begun = optimizer.t  # with this many losses less in the history

    def load(self, n: int, size: int) -> bool:
        """Go on from the file, if there is one, with batches of this size of n samples."""
        if not os.path.lexists(self.path):
            return False

        def accept(saved: Saved) -> None:
            batches = self.optimizer.batches
            if batches is None or (batches.n, batches.size) != (n, size):
                what = f"batches of {batches.size} of {batches.n} samples" if batches else "no batches"
                raise CheckpointError(f"its run has {what}, and this one batches of {size} of {n}")
            if len(saved.losses) > self.steps:
                raise CheckpointError(
                    f"its run has taken {len(saved.losses)} steps, and this one is to have {self.steps}"
                )

        saved = restore(self.path, self.model, self.optimizer, accept)
        self.history.losses, self.history.seconds = saved
        self.begun = self.optimizer.t - len(saved.losses)
        return True

    def __enter__(self) -> None:
        self.save()  # what cannot be saved says so before anything is done

    def until_next(self, done: int) -> int:
        """How many steps there are until the next save that goes by steps."""
        return self.every - done % self.every if self.every else self.steps

    def save_if_due(self, done: int) -> None:
        """Save, if it is time."""
        now = time.monotonic()
        if done % self.every == 0 if self.every else now - self.last > SECONDS_BETWEEN_SAVES:
            self.save()
            self.last = now

    def save(self) -> None:
        """Save now."""
        history = self.history
        save(self.path, self.model, self.optimizer, history.losses, history.seconds)

    def __exit__(self, kind: Any, *error: object) -> None:
        own_step = type(self.optimizer).step is not Optimizer.step
        whole = own_step or self.optimizer.t - self.begun == len(self.history.losses)
        if whole and not (kind and issubclass(kind, CompileError)):  # else a step was taken back
            self.save()


SECONDS_BETWEEN_SAVES = 10.0
WORTH_COMPILING = 200_000  # samples x steps x parameters: about as much eager work as compiling takes


def _choose_engine(engine: str, task: Task, steps: int, threads: int = 1) -> "Eager | Compiled":
    """The engine of that name; "auto" compiles where that is faster, and warns where it can't."""
    if engine not in ("auto", "eager", "compiled"):
        raise ValueError(f"fit: engine is 'auto', 'eager' or 'compiled', not {engine!r}")
    threads = whole_number(threads, 1, "fit: threads is a whole number from 1 up")
    work = steps * task.batches.size * len(task.optimizer.parameters)
    if engine == "eager" or (engine == "auto" and work < WORTH_COMPILING):
        return _checked(Eager(task))
    from tinygrad_bp.stretches import Compiled  # with the compiler, which is large: loaded where it is used

    try:
        return Compiled(task, threads)
    except (CompileError, TypeError) as error:
        if engine == "compiled":
            raise
        reason = " ".join(str(error).split())
        warnings.warn(
            f"fit uses the eager engine, since compiling failed: {reason}", RuntimeWarning, stacklevel=3
        )
        return _checked(Eager(task))


def _checked(engine: Eager) -> Eager:
    """The engine, if the model and the loss take every sequence; they say so before a step is taken."""
    task = engine.task
    if isinstance(task.loss, SequenceLoss):
        from tinygrad_bp.compiler.columns import Columns
        from tinygrad_bp.compiler.tracing import trace

        data = Columns("fit", [*map(list, zip(*task.rows(task.samples)))])
        with mode_of(task.model, training=False), suppress(CompileError):  # of a model that cannot be traced
            for check in trace(task.loss_of_row, data.structures, task.optimizer.parameters).checks:
                check.run(data)
    return engine


@contextmanager
def _unless_begun(optimizer: Optimizer, batches: Batches | None) -> Iterator[None]:
    """An optimizer that has taken no step inside, because of an error, has its batches of before."""
    begin = optimizer.t
    try:
        yield
    except BaseException:
        if optimizer.t == begin:
            optimizer.batches = batches
        raise


def _batches(n: int, size: int | None, seed: int | None, before: Batches | None) -> Batches:
    """Batches as `seed` shuffles them; without a seed those of before, or new ones from their generator."""
    size = size or n
    if size > n:
        raise ValueError(f"fit: a batch_size of {size} for {n} samples: at most {n}, or None for all")
    if seed is not None:
        return Batches(n, size, random.Random(seed))
    if before is None:
        return Batches(n, size, random.Random(0))
    return before if (before.n, before.size) == (n, size) else Batches(n, size, before.rng)


# --- progress -----------------------------------------------------------------------------------------------


class _Progress:
    """A line on the terminal with step, loss and rate: by tqdm if installed, else by hand; or nothing."""

    def __init__(self, steps: int, shown: bool, done: int = 0) -> None:
        self.steps, self.shown, self.done, self.drawn = steps, shown, done, 0.0
        self.bar: Any = None
        if shown:
            try:
                from tqdm import tqdm
            except ImportError:
                return
            self.bar = tqdm(total=steps, initial=done, unit="step")

    def __enter__(self) -> "_Progress":
        return self

    def update(self, steps: int, loss: float, rate: float) -> None:
        self.done += steps
        now = time.monotonic()
        if self.bar:
            self.bar.set_postfix_str(f"loss {loss:.6g}", refresh=False)
            self.bar.update(steps)
        elif self.shown and (now - self.drawn > 0.1 or self.done == self.steps):
            self.drawn = now
            sys.stderr.write(f"\rstep {self.done}/{self.steps}  loss {loss:.6g}  {rate:.3g} steps/s\x1b[K")
            sys.stderr.flush()

    def __exit__(self, *error: object) -> None:
        if self.bar:
            self.bar.close()
        elif self.shown and self.done:
            sys.stderr.write("\n")
