"""Schedules: learning rates that change from step to step.

A schedule is a function of the number of steps that were taken before, from 0 up, and returns the rate of the
next one: `Adam(parameters, lr=cosine(0.01, steps=1000))`.  Your own function works too.
"""

import math
from collections.abc import Callable

from tinygrad_bp.floats import to_float

Schedule = Callable[[int], float]


def constant(rate: float) -> Schedule:
    """The same rate at every step.

    >>> constant(0.1)(7)
    0.1
    """
    rate = _rate(rate, "constant")
    return lambda step: rate


def step_decay(rate: float, every: int, factor: float = 0.1) -> Schedule:
    """The rate times `factor` after each `every` steps.

    >>> [step_decay(1.0, every=2, factor=0.5)(step) for step in range(5)]
    [1.0, 1.0, 0.5, 0.5, 0.25]
    """
    rate, factor, every = _rate(rate, "step_decay"), _rate(factor, "step_decay"), _steps(every, "step_decay")
    return lambda step: rate * factor ** (step // every)


def linear(rate: float, steps: int, end: float = 0.0) -> Schedule:
    """From `rate` to `end` along a straight line of so many steps, then `end`.

    >>> [linear(1.0, steps=4)(step) for step in (0, 1, 4, 9)]
    [1.0, 0.75, 0.0, 0.0]
    """
    rate, end, steps = _rate(rate, "linear"), _rate(end, "linear"), _steps(steps, "linear")
    return lambda step: rate + (end - rate) * min(step, steps) / steps


def cosine(rate: float, steps: int, end: float = 0.0) -> Schedule:
    """From `rate` to `end` along half a period of the cosine, then `end` (Loshchilov, Hutter 2017).

    >>> [round(cosine(1.0, steps=4)(step), 3) for step in range(6)]
    [1.0, 0.854, 0.5, 0.146, 0.0, 0.0]
    """
    rate, end, steps = _rate(rate, "cosine"), _rate(end, "cosine"), _steps(steps, "cosine")
    return lambda step: end + (rate - end) * (1.0 + math.cos(math.pi * min(step, steps) / steps)) / 2.0


def warm_up(schedule: Schedule | float, steps: int) -> Schedule:
    """From a small rate up to the schedule's first in so many steps, then the schedule from its step 0.

    >>> [warm_up(linear(1.0, steps=2), steps=4)(step) for step in range(8)]
    [0.25, 0.5, 0.75, 1.0, 1.0, 0.5, 0.0, 0.0]
    """
    after: Schedule = schedule if callable(schedule) else constant(schedule)
    steps = _steps(steps, "warm_up")
    return lambda step: after(step - steps) if step >= steps else after(0) * (step + 1) / steps


def _rate(x: float, name: str) -> float:
    number = to_float(x)
    if not 0.0 <= number < math.inf:
        raise ValueError(f"{name}: a rate is a number from 0 up, not {x!r}")
    return number


def _steps(n: int, name: str) -> int:
    if type(n) is not int or n < 1:
        raise ValueError(f"{name}: steps are counted by a whole number from 1 up, not {n!r}")
    return n
