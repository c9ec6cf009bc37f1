"""verify: does compiled code give what the engine gives?  One sample is differentiated both ways.

Tracing cannot see everything that a function of Python may do; `fit` therefore calls this after its first
steps and at its end.  To tell a fault from rounding, the engine's own graph is evaluated again with small
errors in every node: a difference far larger than these cause is a fault.
"""

import random
from collections.abc import Callable, Sequence
from math import fabs, isfinite
from typing import Any

from tinygrad_bp.engine import Value, newest_first, sweep
from tinygrad_bp.errors import CompileError
from tinygrad_bp.modes import entered
from tinygrad_bp.transforms import gradients

CLOSE = 1e-11  # relative to a derivative, or to a thousandth of the largest: so close is right
RUNS = 16  # of the experiment
ULP = 2.0**-52


def verify(
    name: str,
    f: Callable[..., Value],
    params: Sequence[Value],
    arguments: Sequence[Any],
    value: float,
    grads: Sequence[float],
) -> None:
    """Compare f's value and derivatives by `params`, from compiled code, with the engine's.

    Touches no `.grad`. Raises CompileError naming the worst parameter where they differ beyond rounding.

    >>> w = Value(3.0, label="w")
    >>> verify("loss", lambda x: w * w * x, [w], [2.0], 18.0, [12.0])
    >>> verify("loss", lambda x: w * w * x, [w], [2.0], 18.0, [11.0])
    Traceback (most recent call last):
    tinygrad_bp.errors.CompileError: loss: compiled code gives 11.0 for the derivative by 'w', and the ...
    """
    with entered(record=True):
        out = f(*arguments)
        adjoint = sweep({out: 1.0})
        ours = [out.data, *[adjoint.get(p, 0.0) for p in params]]
    theirs = [value, *grads]
    largest = max([fabs(x) for x in ours[1:] if isfinite(x)], default=0.0)
    differ = [i for i, (x, y) in enumerate(zip(ours, theirs)) if x != y]
    worst = [i for i in differ if not _is_close(ours[i], theirs[i], largest if i else 0.0)]
    if not worst:
        return
    spread = _spread(out, params)
    worst = [i for i in worst if not fabs(ours[i] - theirs[i]) <= 64.0 * spread[i] and isfinite(spread[i])]
    if not worst:
        return
    i = max(worst, key=lambda i: fabs(ours[i] - theirs[i]))
    p = params[i - 1]
    what = f"for the derivative by {p.label or f'parameter {i - 1}'!r}" if i else "as value"
    more = f", and {len(worst) - 1} more numbers differ" if len(worst) > 1 else ""
    raise CompileError(
        f"{name}: compiled code gives {theirs[i]!r} {what}, and the engine {ours[i]!r}{more}: "
        "the function does something that tracing cannot see, such as to use a number that changes, or the "
        'type of its argument; go on with engine="eager"'
    )


def _is_close(x: float, y: float, largest: float) -> bool:
    return (x != x and y != y) or fabs(x - y) <= CLOSE * max(fabs(x), 1e-3 * largest)


def _spread(out: Value, params: Sequence[Value]) -> list[float]:
    """How far rounding can move the value and the derivatives: the largest deviation in some noisy runs."""
    roots = [out, *gradients(out, list(params), create_graph=True)]
    nodes = newest_first(roots)[::-1]
    rng = random.Random(0)
    spread = [0.0] * len(roots)
    for _ in range(RUNS):
        numbers: dict[Value, float] = {}
        for v in nodes:
            xs = [numbers.get(x, x._data) for x in v.inputs]
            number = v.op.value(*xs)
            slopes = v.op.slopes(number, *xs) if v.op.slopes else ()
            noise = 4.0 * ULP * (fabs(number) + sum(fabs(d * x) for d, x in zip(slopes, xs)))
            numbers[v] = number + rng.uniform(-noise, noise) if isfinite(noise) else number
        spread = [max(s, fabs(numbers.get(v, v._data) - v._data)) for s, v in zip(spread, roots)]
    return spread
