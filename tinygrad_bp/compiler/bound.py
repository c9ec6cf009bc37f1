"""Bound: a kernel with its data, ready to be called again and again; here, as generated Python.

What is common to all kinds of code stands first: values and gradients for the Values as they are now, steps
of gradient descent, and calls that read and write plain buffers.  Read frame.py next: machine code.
"""

from abc import ABC, abstractmethod
from array import array
from math import isfinite, nan
from typing import Any

from tinygrad_bp.compiler.columns import Columns
from tinygrad_bp.compiler.kernel import Kernel
from tinygrad_bp.errors import NonFiniteError
from tinygrad_bp.floats import to_float


def checked_pace(where: str, lr: Any, momentum: Any) -> tuple[float, float]:
    """Learning rate and momentum as floats. Raises ValueError for what is no descent."""
    pace = to_float(lr), to_float(momentum)
    if not pace[0] >= 0.0 or not 0.0 <= pace[1] < 1.0:
        raise ValueError(
            f"{where}: lr is from 0 up and momentum from 0 to below 1, not {lr!r} and {momentum!r}"
        )
    return pace


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

    def __init__(self, kernel: Kernel, columns: Columns) -> None:
        self.kernel, self.columns = kernel, columns
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
            self.velocity[:] = self.begun(None)
        self._pace = pace
        self.paced()

    @abstractmethod
    def paced(self) -> None:
        """The pace was set."""

    def begun(self, velocity: Any) -> "array[float]":
        """The velocity that a training begins with."""
        params = self.kernel.params
        numbers = array("d", bytes(8 * params) if velocity is None else velocity)
        if len(numbers) != params:
            raise ValueError(
                f"train: velocity has {len(numbers)} numbers; {self.kernel.name} has {params} parameters"
            )
        return numbers

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
    def train(
        self, steps: int, lr: float, momentum: float, scale: float = 1.0, velocity: Any = None
    ) -> "Training":
        """Take steps of gradient descent on `scale` times the sums; stops at a sum that is not finite.

        Momentum begins with `velocity`, a number for each parameter, and leaves there what it ends with.
        """

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


class Training:
    """What a run of training leaves: the loss before each step, and whether it stopped early."""

    def __init__(self, kernel: Kernel, losses: "array[float]", done: int) -> None:
        self.kernel, self.losses, self.done = kernel, losses[:done], done
        self.stopped = done < len(losses)

    def raise_if_stopped(self) -> None:
        """NonFiniteError, if a loss or a gradient was not finite."""
        if self.stopped:
            raise NonFiniteError(
                f"training {self.kernel.name} stopped in step {self.done}: the loss or a gradient is not "
                "finite; the parameters are as they were before that step: start again with a smaller "
                "learning rate"
            )


class Generated(Bound):
    """Generated Python on its data."""

    def __init__(self, kernel: Kernel, columns: Columns) -> None:
        super().__init__(kernel, columns)
        self.runner = kernel.runner()
        self.numbers = kernel.numbers()
        self.params = memoryview(array("d", self.numbers[: kernel.params]))
        self.grads = memoryview(array("d", bytes(8 * max(0, len(kernel.rolled.outputs) - 1))))
        self.velocity = self.begun(None)

    def release(self) -> None:
        """Nothing is kept."""

    def paced(self) -> None:
        """It is looked up at each step."""

    def __call__(self) -> tuple[float, "array[float]"]:
        value, self.grads[:] = super().__call__()
        return value, array("d", self.grads)

    def read(self) -> None:
        self.numbers = self.kernel.numbers()
        self.params[:] = array("d", self.numbers[: self.kernel.params])

    def run(self) -> "array[float]":
        self.numbers = self.kernel.numbers()
        return self._run(self.numbers)

    def _run(self, numbers: list[float]) -> "array[float]":
        results = self.runner(numbers, self.columns.samples())
        return array("d", results if self.kernel.rolled.summed else [x for row in results for x in row])

    def evaluate(self) -> float:
        result = self._run([*self.params, *self.numbers[self.kernel.params :]])
        value = result.pop()
        self.grads[:] = result
        return value

    def descend(self) -> float:
        self.need_params("descend")
        value = self.evaluate()
        if not (isfinite(value) and all(map(isfinite, self.grads))):
            return nan
        (lr, momentum), moves = self._pace, self.grads
        if momentum:
            moves = self.velocity = array("d", [momentum * v + g for v, g in zip(self.velocity, self.grads)])
        self.params[:] = array("d", [p - lr * v for p, v in zip(self.params, moves)])
        return value

    def train(
        self, steps: int, lr: float, momentum: float, scale: float = 1.0, velocity: Any = None
    ) -> Training:
        self.need_params("train")
        kernel, samples = self.kernel, self.columns.samples()
        numbers = kernel.numbers()
        kept = self.begun(velocity).tolist()
        losses = array("d")
        for _ in range(steps):
            *gradient, loss = [scale * x for x in self.runner(numbers, samples)]
            losses.append(loss)
            if not (isfinite(loss) and all(map(isfinite, gradient))):
                break
            kept = [momentum * v + g for v, g in zip(kept, gradient)] if momentum else gradient
            numbers[: kernel.params] = [p - lr * v for p, v in zip(numbers, kept)]
        else:
            losses.append(0.0)
        if steps:
            kernel.write_back(numbers)
            self.read()
        if momentum and velocity is not None:
            velocity[:] = kept
        done = len(losses) - 1
        return Training(kernel, losses if done < steps else losses[:steps], done)
