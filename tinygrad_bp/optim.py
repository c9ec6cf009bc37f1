"""Optimizers: they move parameters along their gradients.

`step()` never clears a gradient, so that it can be printed afterwards; `zero_grad()` does.  A parameter that
is left out of the list stays as it is: that is how one freezes it.
"""

from collections.abc import Iterable
from math import inf
from typing import Any

from tinygrad_bp.engine import Value
from tinygrad_bp.floats import NO_GRAD, to_float


class Optimizer:
    """The parameters, the rate, and how to clear gradients; a subclass says how to step."""

    def __init__(self, parameters: Iterable[Value], lr: float) -> None:
        name = type(self).__name__
        if not isinstance(parameters, (Value, Iterable)):
            raise TypeError(f"{name} takes a list of Values, not {parameters!r}: pass model.parameters()")
        self.parameters = [parameters] if isinstance(parameters, Value) else list(parameters)
        if not self.parameters:
            raise ValueError(f"{name} was given no parameters: pass model.parameters()")
        if len(set(map(id, self.parameters))) < len(self.parameters):
            raise ValueError(f"{name} was given a parameter twice, and would move it twice: name each once")
        for p in self.parameters:
            if not isinstance(p, Value) or p.op is not None:
                raise TypeError(f"{name} moves leaf Values, and {p!r} is none: pass model.parameters()")
        self.lr = _positive(lr, "lr", self)

    def zero_grad(self) -> None:
        """Set `.grad` of every parameter to 0.0."""
        for p in self.parameters:
            p.grad = NO_GRAD

    def step(self) -> None:
        """Move every parameter by its gradient."""
        raise TypeError(f"{type(self).__name__} does not say how to step: use a subclass such as SGD")


class SGD(Optimizer):
    """Gradient descent, with momentum if asked: v ← momentum·v + grad, p ← p − lr·v (Polyak 1964).

    Raises ValueError for a negative rate or a momentum outside [0, 1).

    >>> p = Value(1.0); sgd = SGD([p], lr=0.1); p.grad = 2.0; sgd.step(); p.data
    0.8
    """

    def __init__(self, parameters: Iterable[Value], lr: float = 0.01, momentum: float = 0.0) -> None:
        super().__init__(parameters, lr)
        self.momentum = _positive(momentum, "momentum", self)
        if self.momentum >= 1.0:
            raise ValueError(f"SGD: momentum is from 0 up to, not including, 1, not {momentum!r}")
        self.velocity = [0.0] * len(self.parameters)

    def step(self) -> None:
        for i, p in enumerate(self.parameters):
            g = p.grad or 0.0  # None is how PyTorch clears it
            self.velocity[i] = v = self.momentum * self.velocity[i] + g if self.momentum else g
            p.data = p.data - self.lr * v


def _positive(x: Any, name: str, owner: object) -> float:
    told = f"{type(owner).__name__}: {name} is a number from 0 up, not {x!r}"
    try:
        number = to_float(x)
    except TypeError:
        raise TypeError(told) from None
    if not 0.0 <= number < inf:
        raise ValueError(told)
    return number
