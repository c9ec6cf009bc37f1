"""fit: the training loop, and the history it returns.

One step: clear the gradients; for each sample of the batch build the graph of its loss, run it backward and
drop it, so that memory holds one sample's graph at a time; then let the optimizer move the parameters.  On a
terminal a line shows how it goes; in a pipe nothing is printed.
"""

import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from tinygrad_bp.diagnosis import non_finite
from tinygrad_bp.engine import Value
from tinygrad_bp.errors import NonFiniteError, told
from tinygrad_bp.floats import to_float
from tinygrad_bp.losses import Loss
from tinygrad_bp.modes import entered
from tinygrad_bp.nn import Module
from tinygrad_bp.optim import Optimizer

Sample = tuple[list[float], Any]


@dataclass
class History:
    """What a training run leaves: the loss of every step, taken before the step, and the seconds it took."""

    losses: list[float] = field(default_factory=list, repr=False)
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Steps a second."""
        return len(self.losses) / self.seconds if self.seconds else 0.0


def fit(
    model: Callable[[list[float]], Any],
    data: tuple[Sequence[Any], Sequence[Any]],
    loss: Loss,
    optimizer: Optimizer,
    steps: int,
    batch_size: int | None = None,
    reduce: str = "sum",
    penalty: Callable[[], Value] | None = None,
    seed: int = 0,
    progress: bool = True,
) -> History:
    """Train `model` for `steps` steps on data = (xs, ys), and return the history of the loss.

    Each x is a number or a row of numbers, and the model is called with a list; each y is what
    `loss(prediction, y)` takes.  A batch is all samples, or `batch_size` of them, shuffled anew each epoch by
    `seed`; its loss is the sum or the mean ("sum", "mean") over its samples, plus `penalty()`, evaluated once
    a step.  Raises ValueError for data that is empty, of unequal lengths or not finite; NonFiniteError,
    naming the operation and the path to the loss, when a loss or gradient is not finite: the parameters are
    then as they were before that step.

    >>> from tinygrad_bp.losses import squared_error
    >>> from tinygrad_bp.nn import Neuron
    >>> from tinygrad_bp.optim import SGD
    >>> line = Neuron(1, nonlin=False, weights=lambda rng, nin, nout: 0.0)
    >>> sgd = SGD(line.parameters(), lr=0.1)
    >>> history = fit(line, ([0.0, 1.0, 2.0], [1.0, 3.0, 5.0]), squared_error, sgd, steps=300)
    >>> round(line.w[0].data, 3), round(line.b.data, 3), len(history.losses)
    (2.0, 1.0, 300)
    """
    samples = _samples(data)
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
    if not isinstance(steps, int) or steps < 0:
        raise ValueError(f"fit: steps is a whole number from 0 up, not {steps!r}")
    history = History()
    start = time.perf_counter()
    batches = _batches(len(samples), batch_size, random.Random(seed))
    on_terminal = sys.stderr is not None and sys.stderr.isatty()
    with entered(record=True), _Progress(steps, progress and on_terminal) as shown:
        for step, batch in zip(range(steps), batches):
            optimizer.zero_grad()
            if isinstance(model, Module):
                model.zero_grad()  # also of what the optimizer leaves alone
            total = 0.0
            share = 1.0 / len(batch) if reduce == "mean" else 1.0
            for i in batch:
                x, y = samples[i]
                total += _backward(loss(model(x), y), share, f"sample {i}", step)
            if penalty:
                total += _backward(penalty(), 1.0, "the penalty", step)
            if not isfinite(total):
                report = f"it is {total}: scale the data or the loss down"
                raise _stopped(step, "the sum of the losses", report)
            if not all(isfinite(p.grad) for p in optimizer.parameters):
                _blame_gradient(model, loss, {i: samples[i] for i in batch}, penalty, step)
            _take(optimizer, step)
            history.losses.append(total)
            history.seconds = time.perf_counter() - start
            shown.update(total, history.rate)
    return history


def _backward(loss: Any, share: float, what: str, step: int) -> float:
    """Run a loss backward, and return its share of the total."""
    if not isinstance(loss, Value):
        raise TypeError(f"fit: the loss of {what} is {loss!r}, not a Value: compute it from the prediction")
    if not isfinite(loss.data):
        raise _stopped(step, what, non_finite(loss))
    loss.backward(share)
    return share * loss.data


def _take(optimizer: Optimizer, step: int) -> None:
    """Move the parameters; take the move back if it leaves the floats."""
    before = [p.data for p in optimizer.parameters]
    memory = {name: [*kept] for name, kept in vars(optimizer).items() if isinstance(kept, list)}
    optimizer.step()
    for p in optimizer.parameters:
        if not isfinite(p.data):
            report = f"it would make a parameter {told(p)}: lower the learning rate"
            for q, number in zip(optimizer.parameters, before):
                q.data = number
            vars(optimizer).update(memory)
            raise _stopped(step, "the step itself", report)


def _blame_gradient(
    model: Any, loss: Loss, batch: dict[int, Sample], penalty: Callable[[], Value] | None, step: int
) -> None:
    """Every loss was finite and yet a gradient is not: build the losses again, one by one, to find where."""
    for i, (x, y) in batch.items():
        report = non_finite(loss(model(x), y))
        if report:
            raise _stopped(step, f"sample {i}", report)
    report = non_finite(penalty()) if penalty else ""
    report = report or "it is beyond the floats: scale the data or the loss down"
    raise _stopped(step, "the sum of the gradients", report)


def _stopped(step: int, what: str, report: str) -> NonFiniteError:
    return NonFiniteError(
        f"fit stopped in step {step}, at {what}: {report}\n"
        "  the parameters are as they were before this step; if they grew large, lower the learning rate"
    )


# --- data ---------------------------------------------------------------------------------------------------


def _samples(data: Any) -> list[Sample]:
    if not isinstance(data, (tuple, list)) or len(data) != 2 or not all(hasattr(c, "__len__") for c in data):
        raise TypeError("fit: data is a pair (xs, ys) of equally long lists, as data.moons() returns")
    xs, ys = data
    if len(xs) != len(ys):
        raise ValueError(f"fit: {len(xs)} inputs for {len(ys)} targets; there must be as many of both")
    if not len(xs):
        raise ValueError("fit: the dataset is empty; there must be at least one sample")
    rows = [_read(x if hasattr(x, "__len__") else [x], f"xs[{i}]") for i, x in enumerate(xs)]
    targets = [_read(y, f"ys[{i}]") for i, y in enumerate(ys)]
    for i, row in enumerate(rows):
        if len(row) != len(rows[0]):
            raise ValueError(f"fit: xs[{i}] has {len(row)} numbers, xs[0] {len(rows[0])}; give all as many")
    return list(zip(rows, targets))


def _read(entry: Any, place: str) -> Any:
    """A row of numbers as a list of floats, a number as a float; a whole number may be a class, and stays."""
    if hasattr(entry, "__len__") and not isinstance(entry, str):
        return [_read(a, f"{place}[{j}]") for j, a in enumerate(entry)]
    try:
        number = to_float(entry)
    except (TypeError, ValueError) as error:
        raise type(error)(f"fit: {place}: {error}") from None
    if not isfinite(number):
        raise ValueError(f"fit: {place} is {number}: remove the sample or fill the gap before training")
    return entry if type(entry) is int else number


def _batches(n: int, size: int | None, rng: random.Random) -> Iterator[list[int]]:
    """The numbers of the samples of each batch, without end; the last batch of an epoch may be smaller."""
    if size is not None and (not isinstance(size, int) or size < 1):
        raise ValueError(f"fit: batch_size is a whole number from 1 up, or None for all, not {size!r}")
    return _endless(n, size or n, rng)


def _endless(n: int, size: int, rng: random.Random) -> Iterator[list[int]]:
    order = list(range(n))
    while True:
        if size < n:
            rng.shuffle(order)
        for start in range(0, n, size):
            yield order[start : start + size]


# --- progress -----------------------------------------------------------------------------------------------


class _Progress:
    """A line on the terminal with step, loss and rate: by tqdm if installed, else by hand; or nothing."""

    def __init__(self, steps: int, shown: bool) -> None:
        self.steps, self.shown, self.done, self.drawn = steps, shown, 0, 0.0
        self.bar: Any = None
        if shown:
            try:
                from tqdm import tqdm
            except ImportError:
                return
            self.bar = tqdm(total=steps, unit="step")

    def __enter__(self) -> "_Progress":
        return self

    def update(self, loss: float, rate: float) -> None:
        self.done += 1
        now = time.monotonic()
        if self.bar:
            self.bar.set_postfix_str(f"loss {loss:.6g}", refresh=False)
            self.bar.update()
        elif self.shown and (now - self.drawn > 0.1 or self.done == self.steps):
            self.drawn = now
            sys.stderr.write(f"\rstep {self.done}/{self.steps}  loss {loss:.6g}  {rate:.3g} steps/s\x1b[K")
            sys.stderr.flush()

    def __exit__(self, *error: object) -> None:
        if self.bar:
            self.bar.close()
        elif self.shown and self.done:
            sys.stderr.write("\n")
