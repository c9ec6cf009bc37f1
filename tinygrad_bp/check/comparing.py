"""One comparison: a slope along a direction by difference quotients, beside the analytic one.

The quotients are those of `quotients.py`.  What they may be off by is known: the roundings of all nodes of
the graph, carried on by their adjoints.  Where the two slopes differ, other steps are tried, and a kink is
looked for.  `differences.py` asks for it.
"""

from collections.abc import Callable, Sequence
from math import copysign, hypot, inf, isfinite, nan
from typing import NamedTuple

from tinygrad_bp.check.outcome import JUMP, KINK, RIGHT, UNSURE, WRONG, Row
from tinygrad_bp.check.quotients import (
    FIRST,
    HALVINGS,
    TRUSTED,
    UNIT,
    Estimate,
    Function,
    judge,
    jump,
    nan_for_error,
    one_sided,
    quotients,
)
from tinygrad_bp.check.subject import Sides, Subject
from tinygrad_bp.engine import Value, edges, sweep

STEP = 1e-5  # times max(1, |x|): the truncation error is some 1e-10, the rounding error some 1e-11
METHODS = {  # the first step, and the rows of the table of quotients
    "central": (STEP, 1),
    "five-point": (100.0 * STEP, 2),
    "richardson": (FIRST / 4.0, HALVINGS),
}


OfNumbers = Callable[[Sequence[float]], float]


class Direction(NamedTuple):
    """Where to move the inputs: by t times `moves`; what is a usual distance, and a short one."""

    name: str
    moves: dict[int, float]
    size: float = 1.0
    small: float = 1.0


class Comparison:
    """Compares slopes of one subject, by one method."""

    def __init__(self, subject: Subject, method: str, rtol: float, here: Sides) -> None:
        self.subject, self.rtol, self.here = subject, rtol, here
        self.first, self.rows = METHODS[method]
        self.known: dict[str, bool] = {}  # by direction: is there a kink

    def row(
        self,
        name: str,
        way: Direction,
        analytic: float,
        noise: float,
        f: OfNumbers,
        of_gradient: bool = False,
    ) -> Row:
        """The quotient of f along a direction beside the analytic slope; f may be off by `noise`.

        f is the function, or an entry of its gradient: that may have any slope at a kink.
        """

        def moved(t: float) -> float:
            return nan_for_error(f, self.at(way, t))

        if not of_gradient and (size := jump(moved, STEP * min(1.0, way.small), noise)):
            return Row(name, analytic, copysign(inf, size), JUMP, True)
        estimate = Estimate(nan, inf, inf)
        for estimate in quotients(moved, self.first * way.size, noise, self.rows):
            if estimate.error <= self.rtol / 100.0 * abs(estimate.slope):
                break
        row = Row(name, analytic, estimate.slope, RIGHT, self.kink_within(way))
        if not self.agrees(analytic, estimate):
            return self.closer(row, way, noise, moved, of_gradient)
        size = max(abs(analytic), abs(estimate.slope))
        unsure = estimate.rounding > self.rtol * size and analytic != estimate.slope
        return row._replace(verdict=UNSURE) if unsure else row

    def closer(self, row: Row, way: Direction, noise: float, moved: Function, of_gradient: bool) -> Row:
        """Steps of other lengths, on this side of every kink; and whether there is a kink right here."""

        def unbent(t: float) -> float:
            return nan if self.beyond_a_kink(way, t) else moved(t)

        scales = {1.0, way.size, way.small, way.small / 1024.0}
        estimate, verdict = judge(unbent, row.analytic, scales, noise, self.rtol)
        off_kinks = isfinite(estimate.error)
        if off_kinks:
            row = row._replace(numeric=estimate.slope)
        if verdict == "right":
            return row
        passes, bent, sure = self.at_kink(moved, STEP * min(1.0, way.small), row.analytic, noise)
        if bent or (row.kink and not off_kinks):
            row = row._replace(kink=True)
            if passes or of_gradient:
                return row._replace(verdict=KINK)
        on_kink = sure and any(side == 0.0 for _, side in self.here)
        return row._replace(verdict=WRONG if verdict == "wrong" or (on_kink and not off_kinks) else UNSURE)

    def at(self, way: Direction, t: float) -> list[float]:
        xs = list(self.subject.numbers)
        for i, move in way.moves.items():
            xs[i] += t * move
        return xs

    def agrees(self, analytic: float, e: Estimate) -> bool:
        allowed = self.rtol * max(abs(analytic), abs(e.slope))
        truncation = min(e.truncation, allowed) if isfinite(e.truncation) else 0.0
        return abs(analytic - e.slope) <= allowed + e.rounding + truncation

    def kink_within(self, way: Direction) -> bool:
        """Whether an operation sits on its kink, or changes sides within the step."""
        if way.name not in self.known:
            steps = (-STEP * way.size, STEP * way.size)
            self.known[way.name] = any(self.beyond_a_kink(way, t) for t in steps)
        return self.known[way.name]

    def beyond_a_kink(self, way: Direction, t: float) -> bool:
        try:
            return bool(self.here) and self.subject.sides(self.at(way, t)) != self.here
        except (ArithmeticError, ValueError):
            return False  # beyond the domain: there is no value either

    def at_kink(self, f: Function, h: float, analytic: float, noise: float) -> tuple[bool, bool, bool]:
        """Whether the slope can pass there; whether the slopes beside it stay apart; whether that is sure.

        At a kink of the function it has to lie between them; a jump of its gradient is a kink, too.
        """
        low, high = one_sided(f, h)
        near_low, near_high = one_sided(f, h / 8.0)
        size = max(abs(low), abs(high))
        allowed = self.rtol * size + 2.0 * noise / h
        bent = near_high - near_low > max((high - low) / 3.0, 1e-3 * size, 16.0 * allowed)
        jumps = max(abs(near_low), abs(near_high)) > max(4.0 * size, 16.0 * allowed)
        steady = abs(near_low - low) + abs(near_high - high) + 16.0 * allowed <= TRUSTED * size
        return jumps or low - allowed <= analytic <= high + allowed, bent or jumps, steady


def noise_of(roots: Sequence[Value]) -> float:
    """How far off the sum of the roots may be: the roundings of all nodes, each carried on by its adjoint.

    They are added as independent errors are, by their squares.
    """
    adjoint = sweep(dict.fromkeys(roots, 1.0))
    terms = [0.0]
    for v, g in adjoint.items():
        size = abs(v._data) + sum(abs(x._data * d) for x, d in (edges(v) if v.inputs else ()))
        terms.append(g * size if isfinite(g * size) else 0.0)
    return 4.0 * UNIT * hypot(*terms)
