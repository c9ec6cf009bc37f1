"""Difference quotients: one table of them, for every check.

Each row of the table halves the step of the one before.  Its first entry is the central difference, with an
error of order h²; each further entry takes away the next even power of h (Richardson).  What an entry may be
off by is estimated from its neighbours (truncation), and is at least what the rounding of f becomes when it
is divided by h.  `partials.py` uses them for single operations, `differences.py` for whole functions.
"""

from collections.abc import Callable, Iterable, Iterator
from math import inf, isfinite, nan
from sys import float_info
from typing import Any, NamedTuple

Function = Callable[[float], float]  # of how far the input is moved

UNIT = float_info.epsilon / 2.0  # the relative error of one rounding
FIRST = 0.3712849  # the first step, in units of the scale: not round, so that it matches no period of f
HALVINGS = 12
OTHER = 0.6180339  # a second opinion takes steps of this length, relative
TRUSTED = 1e-3  # relative: a quotient worse than this has not begun to converge, and proves nothing


class Estimate(NamedTuple):
    """A slope, and how far off it may be for two reasons."""

    slope: float
    rounding: float
    truncation: float  # inf where there is nothing yet to compare with

    @property
    def error(self) -> float:
        return self.rounding + self.truncation


NONE = Estimate(0.0, inf, inf)


def quotients(f: Function, h: float, noise: float, rows: int) -> Iterator[Estimate]:
    """The slope of f at 0, row by row of the table: the best entry of each row.

    `noise` is how far off a value of f may be, absolutely. Where f is nan or infinite on one side there is no
    quotient, and the table begins anew below.

    >>> from math import sin
    >>> for slope, _, truncation in quotients(lambda t: sin(1.0 + t), 0.1, 1e-16, 3):
    ...     print(f"{slope:.12f}, off by {truncation:.0e}")
    0.539402252170, off by inf
    0.540302193339, off by 9e-04
    0.540302305866, off by 1e-07
    """
    above: list[float] = []  # the row before
    for _ in range(rows):
        high, low = f(h), f(-h)
        row = [(high - low) / (2.0 * h)]
        if isfinite(row[0]):
            rounding = max(noise, 4.0 * UNIT * max(abs(high), abs(low))) / h
            best = Estimate(row[0], rounding, abs(row[0] - above[0]) if above else inf)
            for k, older in enumerate(above, 1):
                row.append(row[-1] + (row[-1] - older) / (4.0**k - 1.0))
                guess = max(abs(row[k] - row[k - 1]), abs(row[k] - older))
                if 2.0 * rounding + guess < best.error or k == 1:  # weights of both signs add up to below 2
                    best = Estimate(row[k], 2.0 * rounding, guess)
            yield best
        above = row if isfinite(row[0]) else []
        h *= 0.5


def judge(
    f: Function, d: float, scales: Iterable[float], noise: float, tolerance: float, reach: float = 1.0
) -> tuple[Estimate, str]:
    """The best quotient, and whether d is the slope of f: "right", "wrong" or "undecided".

    It is undecided where no quotient is good enough to tell. Steps are tried at each of the scales; above
    `reach` f may vary within one.

    >>> from math import sin
    >>> judge(sin, 1.0, [1.0], 1e-16, 1e-6)[1], judge(sin, 1.00001, [1.0], 1e-16, 1e-6)[1]
    ('right', 'wrong')
    """

    def good(e: Estimate, limit: float = tolerance / 4.0) -> bool:
        return e.error <= limit * abs(e.slope) or (e.slope == d and isfinite(e.truncation))

    scales = sorted(scales)
    estimate = _best(f, scales, noise, good, tolerance, reach)
    if not _off(d, estimate, tolerance):
        sure = good(estimate) or estimate.error <= tolerance / 4.0 * abs(d)
        return estimate, "right" if sure else "undecided"
    scales = [OTHER * scale for scale in scales]  # once more, with other steps
    again = _best(f, scales, noise, good, tolerance, OTHER * reach)
    same = abs(again.slope - estimate.slope) <= 2.0 * (again.error + estimate.error)
    return again, "wrong" if same and _off(d, again, tolerance) else "undecided"


def _off(d: float, e: Estimate, tolerance: float) -> bool:
    """Whether a quotient that can be trusted contradicts d."""
    flat = e.truncation <= e.rounding and isfinite(d) and e.error <= TRUSTED * abs(d)
    allowed = tolerance * max(abs(d), abs(e.slope)) + 2.0 * e.error if isfinite(d) else 0.0
    return (flat or e.error <= TRUSTED * abs(e.slope)) and not abs(d - e.slope) <= allowed


def _best(
    f: Function,
    scales: Iterable[float],
    noise: float,
    good: Callable[..., bool],
    tolerance: float,
    reach: float,
) -> Estimate:
    """The best quotient over steps of several scales; the smallest scale that gives a good one ends it.

    Over steps far beyond its reach any bounded function looks flat, and any smooth corner sharp: they are
    taken only if the others can not be trusted, and short steps must then say the same.
    """
    best = NONE
    for scale in scales:
        if scale > reach and best.error <= TRUSTED * abs(best.slope):
            break
        estimate = NONE
        for candidate in quotients(f, FIRST * scale, noise, HALVINGS):
            if candidate.error < estimate.error:
                estimate = candidate
            if good(estimate, tolerance / 50.0) or candidate.rounding > estimate.error:
                break  # shorter steps round more
        if scale > reach:
            short = [abs(side - estimate.slope) for side in one_sided(f, scale * 2.0**-14)]
            if not sum(short) <= TRUSTED * abs(estimate.slope):
                continue
        if best is NONE or estimate.error * abs(best.slope) < best.error * abs(estimate.slope):
            best = estimate
        if good(best):
            break
    return best


def nan_for_error(f: Callable[..., float], *xs: Any) -> float:
    """f(*xs), or nan where it raises as Python's own functions do outside their domain."""
    try:
        return f(*xs)
    except (ArithmeticError, ValueError):
        return nan


def one_sided(f: Function, h: float) -> tuple[float, float]:
    """The quotients to the left and to the right, the smaller first: between them lie the slopes at a kink.

    Both are nan where one is.
    """
    here = f(0.0)
    left, right = (here - f(-h)) / h, (f(h) - here) / h
    return (min(left, right), max(left, right)) if isfinite(right - left) else (nan, nan)


def jump(f: Function, h: float, noise: float) -> float:
    """How far f jumps at 0; 0.0 where it is continuous.

    Where the step is divided by 512, a slope divides the change of f by 512, a square root by 22, and a jump
    leaves it as it is. Steps go down from h, so that a small jump is told from a steep slope.

    >>> jump(lambda t: 3.0 if t > 0.0 else 0.0, 1e-5, 1e-16), jump(abs, 1e-5, 1e-16)
    (3.0, 0.0)
    """
    here = f(0.0)
    for t in (-h, h):
        far, near = f(t) - here, f(t / 512.0) - here
        while abs(near) > max(64.0 * noise, abs(far) / 400.0):
            if abs(far - near) <= 0.1 * abs(near):
                return near
            t /= 8.0
            far, near = f(t) - here, f(t / 512.0) - here
    return 0.0
