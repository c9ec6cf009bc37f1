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


class Bound(ABC):
    """A kernel and its data. One thread at a time may call it.

    `params` holds the parameters (of a function: `inputs` its arguments), `grads` the derivatives of the last
    call: views of doubles, that `evaluate` and `descend` work on, and nothing else.
    """

    params: Any  # memoryviews of doubles
    grads: Any
    evaluate: Any  # () -> float: value and gradient
    descend: Any  # () -> float: a step of gradient descent, and the loss before it; nan if it was not taken

    def __init__(self, kernel: Kernel, columns: Columns) -> None:
        self.kernel, self.columns = kernel, columns
        self.inputs = columns.flat
        self._pace = 0.0, 0.0

    @property
    def pace(self) -> tuple[float, float]:
        """Learning rate and momentum of `descend`."""
        return self._pace

    @pace.setter
    def pace(self, pace: tuple[float, float]) -> None:
        self._pace = pace

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

    def read(self) -> None:
        """Take the parameters from the Values."""
        self.params[:] = array("d", self.kernel.numbers()[: self.kernel.params])

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
        self.params = memoryview(array("d", kernel.numbers()[: kernel.params]))
        self.grads = memoryview(array("d", bytes(8 * max(0, len(kernel.rolled.outputs) - 1))))
        self.velocity = [0.0] * kernel.params

    def release(self) -> None:
        """Nothing is kept."""

    def run(self) -> "array[float]":
        return self._run(self.kernel.numbers())

    def _run(self, numbers: list[float]) -> "array[float]":
        results = self.runner(numbers, self.columns.samples())
        return array("d", results if self.kernel.rolled.summed else [x for row in results for x in row])

    def evaluate(self) -> float:
        result = self._run([*self.params, *self.kernel.numbers()[self.kernel.params :]])
        value = result.pop()
        self.grads[:] = result
        return value

    def descend(self) -> float:
        value = self.evaluate()
        if not (isfinite(value) and all(map(isfinite, self.grads))):
            return nan
        lr, momentum = self._pace
        self.velocity = [momentum * v + g for v, g in zip(self.velocity, self.grads)]
        self.params[:] = array("d", [p - lr * v for p, v in zip(self.params, self.velocity)])
        return value

    def train(
        self, steps: int, lr: float, momentum: float, scale: float = 1.0, velocity: Any = None
    ) -> Training:
        kernel, samples = self.kernel, self.columns.samples()
        numbers = kernel.numbers()
        kept = list(velocity or [0.0] * kernel.params)
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
        if momentum and velocity is not None:
            velocity[:] = kept
        done = len(losses) - 1
        return Training(kernel, losses if done < steps else losses[:steps], done)
