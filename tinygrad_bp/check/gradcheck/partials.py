"""Every recorded node by itself: are the partials that its row gives the slopes of the row's value?

A node is small and smooth, and its floats are known to a few units in the last place, so its slopes come out
to ten digits and more: a partial that is wrong by one in a million is found, and its operation named.  Where
the quotients are not good enough to tell, the partial counts as undecided.
"""

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from inspect import signature
from math import copysign, isfinite, nan
from sys import float_info
from typing import Any

from tinygrad_bp.check.gradcheck.quotients import (
    UNIT,
    Estimate,
    Function,
    judge,
    jump,
    nan_for_error,
    one_sided,
)
from tinygrad_bp.engine import Value
from tinygrad_bp.errors import describe
from tinygrad_bp.ops import OPS, Op, stop_gradient as STOP_GRADIENT

LOCAL = 5e-7  # relative: what a partial may be off by; half of what is to be found, as quotients err too
SCALES = 4  # so many lengths of steps at most: 1, the operand, other operands


@dataclass
class Findings:
    """What was looked at, and each partial that is wrong, as a sentence."""

    nodes: int = 0
    operations: int = 0
    partials: int = 0
    undecided: int = 0  # no quotient was good enough to tell 1 + 1e-6 from 1
    wrong: dict[str, str] = field(default_factory=dict)  # by operation and operand: the first one found


def check_nodes(nodes: Iterable[Value], samples: int, rng: random.Random) -> Findings:
    """The partials of inner nodes: at most `samples` nodes of each operation, and operands of each node."""
    kinds: dict[Op, list[Value]] = defaultdict(list)
    for v in nodes:
        if v.op is not STOP_GRADIENT:  # which is to have a slope and no partial
            kinds[v.op].append(v)
    found = Findings(operations=len({op.name for op in kinds}))
    for op, members in kinds.items():
        for v in members if len(members) <= samples else rng.sample(members, samples):
            xs = [x._data for x in v.inputs]
            if not (isfinite(v._data) and all(map(isfinite, xs))):
                continue
            found.nodes += 1
            operands = range(len(xs)) if len(xs) <= samples else sorted(rng.sample(range(len(xs)), samples))
            for i, d, estimate, verdict in judged(op, xs, operands):
                found.partials += 1
                found.undecided += verdict == "undecided"
                if verdict == "wrong":
                    key = f"{op.name}, {i}"
                    found.wrong.setdefault(key, _sentence(op, i, d, estimate.slope, v.inputs))
    return found


def judged(
    op: Op, xs: Sequence[float], operands: Iterable[int] | None = None
) -> Iterator[tuple[int, float, Estimate, str]]:
    """(operand, its partial, the quotient, the verdict) of an operation at xs.

    The verdicts are "right", "wrong" and "undecided".

    >>> from tinygrad_bp.ops import sub
    >>> [(i, d, verdict) for i, d, _, verdict in judged(sub, [2.0, 3.0])]
    [(0, 1.0, 'right'), (1, -1.0, 'right')]
    """
    o = op.value(*xs)
    ds, others = _partials(op.slopes, o, xs), _partials(op.partials, o, xs)
    noise = 4.0 * UNIT * (abs(o) + sum(abs(x * d) for x, d in zip(xs, ds))) + float_info.min
    for i in range(len(xs)) if operands is None else operands:
        tries = [ds[i]] if _close(ds[i], others[i]) else [ds[i], others[i]]
        answers = [(d, *_verdict(op, xs, i, d, noise)) for d in tries]
        yield (i, *next((answer for answer in answers if answer[2] == "wrong"), answers[0]))


def _partials(rule: Any, o: float, xs: Sequence[float]) -> list[float]:
    """A row has its rule twice: for floats, and for whatever it is given; gradients of gradients use that."""
    return [float(d) for d in rule(o, *xs)] if rule else [0.0] * len(xs)


def _close(a: float, b: float) -> bool:
    return a == b or abs(a - b) <= 1e-9 * abs(a) or (a != a and b != b)


def _verdict(op: Op, xs: Sequence[float], i: int, d: float, noise: float) -> tuple[Estimate, str]:
    f, x = _moving(op, xs, i), abs(xs[i])
    if 0.0 in op.kinks(*xs):
        return _at_a_kink(f, 1e-6 * (x or min([1.0, *(abs(y) for y in xs if y)])), d, noise)
    scales = [scale for scale in dict.fromkeys([1.0, x, *map(abs, xs)]) if scale]
    return judge(f, d, scales[:SCALES], noise, LOCAL, min(1.0, x) if op.kink else 1.0)


def _moving(op: Op, xs: Sequence[float], i: int) -> Function:
    """The value as a function of how far operand i is moved; nan beyond a kink."""
    x, ys = xs[i], list(xs)
    sides = [copysign(1.0, y) if y else 0.0 for y in op.kinks(*xs)]

    def f(t: float) -> float:
        ys[i] = x + t
        if any(side and not y * side > 0.0 for y, side in zip(op.kinks(*ys), sides)):
            return nan
        return nan_for_error(op.value, *ys)

    return f


def _at_a_kink(f: Function, h: float, d: float, noise: float) -> tuple[Estimate, str]:
    """A partial there is right if it lies between the slopes to both sides: it is a subgradient.

    At a jump there is no slope to compare with.
    """
    low, high = one_sided(f, h)
    allowed = 1e-3 * max(abs(low), abs(high)) + 4.0 * noise / h
    estimate = Estimate((low + high) / 2.0, allowed, 0.0)
    if not isfinite(low) or jump(f, h, noise):
        return estimate, "undecided"
    return estimate, "right" if low - allowed <= d <= high + allowed else "wrong"


def _sentence(op: Op, i: int, d: float, numeric: float, inputs: Sequence[Value]) -> str:
    at = ", ".join(f"{operand(op, j)} = {describe(x)}" for j, x in enumerate(inputs[:4]))
    more = f", … {len(inputs) - 4} more" if len(inputs) > 4 else ""
    return (
        f"the partial of {repr(op)[4:-1]!r} by {operand(op, i)} is {d:.9g}, and the difference quotient "
        f"says {numeric:.9g} (at {at}{more})"
    )


def operand(op: Op, i: int) -> str:
    """The i-th operand by the name it has in the table."""
    row = OPS.get(op.name, op)  # an instance has forgotten names
    for f, first in ((row.partials, 1), (row.value, 0)):
        try:
            parameters = [*signature(f).parameters.values()] if f else []
        except ValueError:  # built into Python, without a signature
            continue
        names = [p.name for p in parameters if p.kind is not p.VAR_POSITIONAL]
        if row.operands and len(names) >= row.operands + first:
            return names[i + first]
    return f"operand {i}"
