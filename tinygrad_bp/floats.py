"""Functions on floats that never raise: inf, nan and signed zeros as in IEEE 754 where Python would raise.

`math.log(0)`, `2.0 ** 5000` and `1 / 0.0` raise, but a graph must not stop there: the user wants to see where
the inf came from. Every function here takes floats and returns a float, within 3 units in the last place of
the true value, by tests against 400-bit arithmetic. `ops.py` builds the table of operations from these; there
are no derivatives here.
"""

import math
import operator
from collections.abc import Callable
from math import copysign, inf, isfinite, nan
from numbers import Complex, Real
from sys import float_info
from typing import Any, SupportsFloat, SupportsIndex

Number = SupportsFloat | SupportsIndex
Unary = Callable[[float], float]

SMALLEST = float_info.min  # of the normal floats, which have all their digits
NO_GRAD = float("0.0")  # `.grad` until a backward pass sets it: a zero of its own, which drawings show as –


def to_float(x: Any) -> float:
    """One real number as a float: int, bool, Fraction, Decimal and NumPy scalars are accepted.

    Raises TypeError for anything but one real number, ValueError for an int beyond the floats.

    >>> to_float(True), to_float(3)
    (1.0, 3.0)
    """
    if type(x) is float:
        return x
    if type(x) is int and -1e308 < x < 1e308:
        return float(x)
    kind, is_text = type(x).__name__, isinstance(x, (str, bytes, bytearray))
    if isinstance(x, Complex) and not isinstance(x, Real):
        raise TypeError(f"a Value holds one real number, and {x!r} is complex: take x.real or abs(x)")
    if hasattr(x, "__len__") and not is_text:
        more = "loop over it, [Value(a) for a in x] or [v * a for a in x]"
        raise TypeError(f"a Value holds one real number, not a {kind}: {more}")
    if is_text or not (hasattr(x, "__float__") or hasattr(x, "__index__")):
        raise TypeError(f"a Value holds one real number, not {x!r} of type {kind}: convert it, float(x)")
    try:
        return float(x)
    except OverflowError:
        size = f"of {x.bit_length()} bits " if isinstance(x, int) else ""
        text = f"the {kind} {size}is beyond the floats, which end at 1.8e308: scale it down first"
        raise ValueError(text) from None


def _total(f: Unary) -> Unary:
    """A function of math that returns nan where it has no value (ValueError) and inf where it overflows."""

    def total(x: float) -> float:
        try:
            return f(x)
        except ValueError:
            return nan
        except OverflowError:
            return inf

    return total


# --- arithmetic ---------------------------------------------------------------------------------------------

identity, neg = operator.pos, operator.neg
add, sub, mul = operator.add, operator.sub, operator.mul


def div(x: float, y: float) -> float:
    try:
        return x / y
    except ZeroDivisionError:
        return nan if x == 0 or x != x else copysign(inf, x) * copysign(1.0, y)


def fmod(x: float, y: float) -> float:
    """The remainder of x / y with the sign of x."""
    return math.fmod(x, y) if y != 0 and isfinite(x) else nan


def remainder(x: float, y: float) -> float:
    """The remainder of x / y with the sign of y, as Python's %."""
    return x % y if y != 0 else nan


def pow(x: float, y: float) -> float:
    try:
        return math.pow(x, y)
    except OverflowError:
        pass  # too large: inf, negative where x is and y is odd
    except ValueError:
        if x != 0:
            return nan  # (-2) ** 0.5
    return copysign(inf, x) if y % 2 == 1 else inf  # also 0 ** -1


def cbrt(x: float) -> float:
    """The cube root, also of negative numbers: a power, improved by one step of Newton's method."""
    if x == 0 or not isfinite(x):
        return x
    if math.fabs(x) < SMALLEST:  # of 18 binary digits more, all are kept
        return cbrt(x * 2.0**54) * 2.0**-18
    root = copysign(math.fabs(x) ** (1.0 / 3.0), x)
    return root - (root * root * root - x) / (3.0 * root * root)


def pow_x(x: float, y: float, order: float = 1.0) -> float:
    """The `order`-th derivative of x**y by x: y (y-1) ... x**(y-order).

    Where y - order is rounded, an x far from 1 would lose hundreds of units in the last place; dividing x**y
    by x loses none, unless x**y itself has left the normal floats.
    """
    power = pow(x, y)
    if power != power:
        return power
    if y in range(int(order)):
        return 0.0  # a polynomial differentiated away
    rounded = y % 1.0 != 0 or math.fabs(y) > 2.0**53
    divide = rounded and x != 0 and SMALLEST <= math.fabs(power) < inf
    power = power if divide else pow(x, y - order)
    for k in range(int(order)):
        power = power * (y - k) / x if divide else power * (y - k)
    return power


def sum(*xs: float) -> float:
    """From the left, beginning with +0.0: the built-in sum rounds otherwise from Python 3.12 on."""
    total = 0.0
    for x in xs:
        total += x
    return total


def dot(*xs: float) -> float:
    """n weights, n inputs and, if the count is odd, a bias, which comes first in the sum."""
    n = len(xs) // 2
    total = xs[-1] if len(xs) % 2 else 0.0
    for w, x in zip(xs, xs[n : n + n]):
        total += w * x
    return total


# --- exponential and logarithm ------------------------------------------------------------------------------


exp, expm1, sqrt = map(_total, (math.exp, math.expm1, math.sqrt))
hypot, erf, erfc = math.hypot, math.erf, math.erfc


def log(x: float) -> float:
    return math.log(x) if x > 0 else -inf if x == 0 else nan


def log2(x: float) -> float:
    return math.log2(x) if x > 0 else -inf if x == 0 else nan


def log10(x: float) -> float:
    return math.log10(x) if x > 0 else -inf if x == 0 else nan


def log1p(x: float) -> float:
    return math.log1p(x) if x > -1 else -inf if x == -1 else nan


def logsumexp(*xs: float) -> float:
    """log(exp(x0) + exp(x1) + ...), shifted by the largest, so nothing overflows; -inf for no operands."""
    top = -inf
    for x in xs:
        top = max(top, x)
    if not isfinite(top):
        return top
    place = xs.index(top)
    rest = 0.0
    for x in (*xs[:place], *xs[place + 1 :]):
        rest += math.exp(x - top)
    return top + math.log1p(rest)


def gauss(x: float, rate: float = 1.0) -> float:
    """exp(-rate x**2), corrected for the rounding of x * x (up to 505 units in the last place)."""
    square, lost = product(x, x)
    power, rest = product(rate, square)
    if not math.fabs(power + rest) < 1000.0:  # also where a product overflowed
        return exp(-rate * x * x)
    return exp(-power) * (1.0 - (rest + rate * lost))


def product(x: float, y: float) -> tuple[float, float]:
    """x * y, and what its rounding lost (Veltkamp's split into halves, Dekker's product)."""
    xy = x * y
    a = x * 134217729.0  # 2**27 + 1
    a -= a - x
    b = y * 134217729.0
    b -= b - y
    return xy, ((a * b - xy) + a * (y - b) + (x - a) * b) + (x - a) * (y - b)


# --- circular and hyperbolic --------------------------------------------------------------------------------


sin, cos, tan = map(_total, (math.sin, math.cos, math.tan))
asin, acos, acosh, cosh = map(_total, (math.asin, math.acos, math.acosh, math.cosh))
atan, atan2, tanh, asinh = math.atan, math.atan2, math.tanh, math.asinh


def sinh(x: float) -> float:
    try:
        return math.sinh(x)
    except OverflowError:
        return copysign(inf, x)


def atanh(x: float) -> float:
    return math.atanh(x) if -1 < x < 1 else copysign(inf, x) if x in (-1.0, 1.0) else nan


def sech2(x: float) -> float:
    """1 / cosh(x)**2, the slope of tanh: 1 - tanh(x)**2 would be 0 from x = 20 on."""
    return 4.0 * dsigmoid(2.0 * x)


# --- activations --------------------------------------------------------------------------------------------


def sigmoid(x: float) -> float:
    e = math.exp(-math.fabs(x))
    return (1.0 if x >= 0 else e) / (1.0 + e)


def dsigmoid(x: float) -> float:
    """The slope of sigmoid: s * (1 - s) would be 0 from x = 37 on."""
    e = math.exp(-math.fabs(x))
    return e / ((1.0 + e) * (1.0 + e))


def relu(x: float) -> float:
    return x if x > 0 or x != x else 0.0


SQRT_HALF, SQRT_HALF_REST = 0.7071067811865476, -4.833646656726457e-17  # sqrt(1/2), in two pieces
TWO_OVER_SQRT_PI = 1.1283791670955126


def normal_cdf(x: float) -> float:
    """The chance that a standard normal variable is below x: erfc(-x / sqrt(2)) / 2.

    In the tail erfc magnifies the rounding of its operand x**2 times: what it lost comes in by erfc's slope.
    """
    if not -40.0 < x < 40.0:
        return nan if x != x else 1.0 if x > 0 else 0.0
    z, rest = product(-x, SQRT_HALF)
    rest -= x * SQRT_HALF_REST
    return 0.5 * (math.erfc(z) - TWO_OVER_SQRT_PI * math.exp(-z * z) * rest)


# --- selection and steps ------------------------------------------------------------------------------------


def max(x: float = -inf, *ys: float) -> float:
    for y in ys:
        x = x if x >= y or x != x else y
    return x


def min(x: float = inf, *ys: float) -> float:
    for y in ys:
        x = x if x <= y or x != x else y
    return x


def clip(x: float, low: float, high: float) -> float:
    return low if x < low else high if x > high else x


def where(condition: float, x: float, y: float) -> float:
    return x if condition else y  # nan counts as true, since it is not 0


def take(index: float = nan, *xs: float) -> float:
    """The number at an index, counted from 0; nan where there is none."""
    return xs[int(index)] if 0.0 <= index < len(xs) and index % 1.0 == 0.0 else nan


def nan_if(o: float, d: float) -> float:
    """d, or nan where o is nan: a result of nan makes its partials nan (policy P3)."""
    return nan if o != o else d


def gt(x: float, y: float) -> float:
    return 1.0 if x > y else 0.0


def ge(x: float, y: float) -> float:
    return 1.0 if x >= y else 0.0


def eq(x: float, y: float) -> float:
    return 1.0 if x == y else 0.0


def ne(x: float, y: float) -> float:
    return 1.0 if x != y else 0.0


abs = math.fabs


def sign(x: float) -> float:
    return copysign(1.0, x) if x < 0 or x > 0 else x


def step(x: float) -> float:
    return x if x != x else 1.0 if x > 0 else 0.0


def _whole(f: Callable[[float], int]) -> Unary:
    return lambda x: copysign(float(f(x)), x) if isfinite(x) else x


floor, ceil, round = _whole(math.floor), _whole(math.ceil), _whole(float.__round__)  # halves to the even
