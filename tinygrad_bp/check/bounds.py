"""Certified gradients: an interval for the value and for each gradient that holds the true real number.

The same rules of `ops.py` are read a fourth way, on intervals: every result is rounded outward, so that no
rounding can leave the true number outside.  COLUMN has the interval of each primitive; composite rows and
all partials follow from their formulas.  At a kink a gradient is the interval of all slopes around it
(Clarke 1983).  That an interval holds the truth rests on one assumption, ERRORS: how far the functions of
Python's `math` may be off; tests check it against Arb.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf, isfinite, nextafter, pi, ulp
from typing import Any

from tinygrad_bp import floats, ops
from tinygrad_bp.engine import Value, newest_first
from tinygrad_bp.floats import product
from tinygrad_bp.ops import Op

Ends = tuple[float, float]
Function = Callable[[float], float]

# How many units in the last place a function may be off: those of `math` as glibc documents them, those of
# floats.py as its own tests have it.
ERRORS = {
    row.name: units
    for units, rows in (
        (2.0, (ops.sinh, ops.cosh, ops.tanh, ops.asinh, ops.acosh, ops.atanh)),
        (2.0, (ops.log2, ops.log10, ops.cbrt)),
        (3.0, (ops.sigmoid, ops.dsigmoid, ops.sech2, ops.gauss, ops.normal_cdf)),
    )
    for row in rows
}
USUAL = 1.0
SMALLEST = 5e-324


@dataclass(frozen=True, eq=False)
class Interval:
    """All real numbers from low to high. An operation of the table returns the interval of all results.

    >>> x = Interval(1.0, 2.0)
    >>> y = x * x - x; (y.low <= 0.0, 2.0 <= y.high)
    (True, True)
    """

    low: float
    high: float

    def apply_op(self, op: Op, operands: tuple[Any, ...]) -> "Interval":
        """What an operation of the table does when an interval is among its operands."""
        xs = [as_interval(x) for x in operands]
        if op.formula is not None and op.name not in COLUMN:
            return as_interval(op.formula(*xs))
        if op.name not in COLUMN:
            raise TypeError(
                f"bounds: there is no interval rule for {op.name!r}: write its value in other operations "
                "(composite=True)"
            )
        if any(x.low != x.low or x.high != x.high for x in xs):
            return REAL
        low, high = COLUMN[op.name](*[(x.low, x.high) for x in xs], *op.constant_values)
        return Interval(low, high) if low <= high else REAL  # nan: outside of the domain

    def __contains__(self, x: Any) -> bool:
        return bool(self.low <= x <= self.high)

    @property
    def width(self) -> float:
        return self.high - self.low

    def known(self) -> str:
        """The middle, with the digits that are certain, and a question mark after them.

        >>> Interval(0.33333331, 0.33333335).known(), Interval(2.0, 2.0).known(), Interval(-1.0, 1.0).known()
        ('0.3333333?', '2.0', '?')
        """
        if self.low == self.high:
            return repr(self.low)
        if not (isfinite(self.low) and isfinite(self.high)) or self.low < 0.0 < self.high:
            return "?"
        for digits in range(17, 0, -1):
            low, high = (f"{x:.{digits - 1}e}" for x in (self.low, self.high))
            if low == high:
                mantissa, _, exponent = low.partition("e")
                near = f"{float(low):.{max(0, digits - 1 - int(exponent))}f}"
                return (near if -5 < int(exponent) < 16 else f"{mantissa}e{int(exponent)}") + "?"
        return "?"

    def __repr__(self) -> str:
        return f"[{self.low!r}, {self.high!r}]"

    # rules are written with operators
    def __add__(self, y: Any) -> "Interval":
        return self.apply_op(ops.add, (self, y))

    def __sub__(self, y: Any) -> "Interval":
        return self.apply_op(ops.sub, (self, y))

    def __mul__(self, y: Any) -> "Interval":
        return self.apply_op(ops.mul, (self, y))

    def __radd__(self, y: Any) -> "Interval":
        return self.apply_op(ops.add, (y, self))

    def __rsub__(self, y: Any) -> "Interval":
        return self.apply_op(ops.sub, (y, self))

    def __rmul__(self, y: Any) -> "Interval":
        return self.apply_op(ops.mul, (y, self))

    def __neg__(self) -> "Interval":
        return Interval(-self.high, -self.low)


REAL = Interval(-inf, inf)
ZERO = Interval(0.0, 0.0)


# Numbers in rules that are rounded already: the true one is beside them.
ROUNDED = {floats.TWO_OVER_SQRT_PI, ops.ONE_OVER_SQRT_2PI}


def as_interval(x: Any) -> Interval:
    if isinstance(x, Interval):
        return x
    number = float(x)
    if number in ROUNDED:
        return Interval(nextafter(number, -inf), nextafter(number, inf))
    return Interval(number, number)


# --- outward rounding ---------------------------------------------------------------------------------------


def down(x: float) -> float:
    return nextafter(x, -inf)


def up(x: float) -> float:
    return nextafter(x, inf)


def add(x: Ends, y: Ends) -> Ends:
    return sum_down(x[0], y[0]), -sum_down(-x[1], -y[1])


def sum_down(a: float, b: float) -> float:
    """a + b, rounded down: what the rounding lost says whether it has to move (Knuth's two-sum)."""
    s = a + b
    if not isfinite(s):
        return s if s != inf or a == inf or b == inf else down(inf)
    z = s - a
    lost = (a - (s - z)) + (b - z)
    return down(s) if lost < 0.0 or lost != lost else s


def times_down(a: float, b: float) -> float:
    """a b, rounded down; 0 times infinity is 0, as the bounds of an interval have it."""
    if a == 0.0 or b == 0.0:
        return 0.0
    p = a * b
    if not isfinite(p):
        return p if p < 0.0 or not (isfinite(a) and isfinite(b)) else down(inf)
    if 1e-280 < abs(p) < 1e280 and abs(a) < 1e280 and abs(b) < 1e280:
        return down(p) if product(a, b)[1] < 0.0 else p
    return down(p)


def mul(x: Ends, y: Ends) -> Ends:
    pairs = [(a, b) for a in x for b in y]
    return min(times_down(a, b) for a, b in pairs), max(-times_down(-a, b) for a, b in pairs)


def quotient_down(a: float, b: float) -> float:
    """a / b, rounded down: the remainder says on which side the truth is."""
    q = a / b if isfinite(a) or isfinite(b) else 0.0
    if not (1e-280 < abs(q) < 1e280 and 1e-280 < abs(a) < 1e280 and abs(b) < 1e280):
        return 0.0 if a == 0.0 else down(q)
    p, lost = product(q, b)
    rest = (a - p) - lost
    return down(q) if (rest < 0.0) == (b > 0.0) and rest else q


def div(x: Ends, y: Ends) -> Ends:
    if y[0] <= 0.0 <= y[1]:
        return -inf, inf
    pairs = [(a, b) for a in x for b in y]
    return min(quotient_down(a, b) for a, b in pairs), max(-quotient_down(-a, b) for a, b in pairs)


def wide(v: float, units: float = USUAL) -> Ends:
    """What a result of a function of `math` can stand for."""
    if not isfinite(v):
        return (down(inf), inf) if v == inf else (-inf, up(-inf)) if v == -inf else (-inf, inf)
    room = units * ulp(v)
    return sum_down(v, -room), -sum_down(-v, -room)


def units_of(f: Any) -> float:
    return ERRORS.get(f.__name__, USUAL)


def rising(
    f: Function,
    low: float = -inf,
    high: float = inf,
    exact: tuple[float, ...] = (),
    units: float | None = None,
) -> Any:
    """The column of a function that rises; low and high bound its values, at `exact` it is exact."""

    units = units_of(f) if units is None else units

    def ends(x: Ends) -> Ends:
        a = f(x[0]) if x[0] in exact else wide(f(x[0]), units)[0]
        b = f(x[1]) if x[1] in exact else wide(f(x[1]), units)[1]
        return max(a, low), min(b, high)

    return ends


def falling(f: Function, low: float = -inf, high: float = inf, units: float | None = None) -> Any:
    units = units_of(f) if units is None else units
    return lambda x: (max(wide(f(x[1]), units)[0], low), min(wide(f(x[0]), units)[1], high))


def hill(f: Function, low: float, high: float, units: float | None = None) -> Any:
    """A column of a function that is even and falls with |x|."""
    column = falling(f, low, high, units)
    return lambda x: column(magnitude(x))


def magnitude(x: Ends) -> Ends:
    if x[0] <= 0.0 <= x[1]:
        return 0.0, max(-x[0], x[1])
    return (x[0], x[1]) if x[0] > 0.0 else (-x[1], -x[0])


def steps(f: Function) -> Any:
    """A function that rises in steps, without rounding."""
    return lambda x, *c: (f(x[0], *c), f(x[1], *c))


EXP = rising(floats.exp, low=0.0, exact=(0.0,), units=USUAL)
LOG1P = rising(floats.log1p, exact=(0.0,), units=USUAL)


# --- the column ---------------------------------------------------------------------------------------------


def total(*xs: Ends) -> Ends:
    out = (0.0, 0.0)
    for x in xs:
        out = add(out, x)
    return out


def inner(*xs: Ends) -> Ends:
    n = len(xs) // 2
    out = xs[-1] if len(xs) % 2 else (0.0, 0.0)
    for w, x in zip(xs, xs[n : n + n]):
        out = add(out, mul(w, x))
    return out


def power(x: Ends, y: Ends) -> Ends:
    """x**y: rises or falls in each of the two, so the corners have the extremes."""
    if x[0] < 0.0 or (x[0] == 0.0 and y[0] <= 0.0):
        if y[0] == y[1] and y[0] == int(y[0]) and isfinite(y[0]):
            return whole_power(x, int(y[0]))
        return -inf, inf
    corners = [wide(floats.pow(a, b)) for a in x for b in y]
    return max(0.0, min(c[0] for c in corners)), max(c[1] for c in corners)


def whole_power(x: Ends, n: int) -> Ends:
    if n == 0:
        return 1.0, 1.0
    if n < 0 and x[0] <= 0.0 <= x[1]:
        return -inf, inf
    if n % 2 == 0:
        x = magnitude(x)
    ends = [wide(floats.pow(a, float(n))) if a else (0.0, 0.0) for a in x]
    low, high = min(e[0] for e in ends), max(e[1] for e in ends)
    return (max(low, 0.0) if n % 2 == 0 else low), high


def power_slope(x: Ends, y: Ends, order: float) -> Ends:
    """y (y − 1) ... x**(y − order)."""
    if y[0] == y[1] and y[0] in range(int(order)):
        return 0.0, 0.0
    out = power(x, add(y, (-order, -order)))
    for k in range(int(order)):
        out = mul(out, add(y, (-float(k), -float(k))))
    return out


def root(x: Ends) -> Ends:
    if x[0] < 0.0:
        return -inf, inf
    low, high = math.sqrt(x[0]), math.sqrt(x[1])
    if x[0] > 1e-280 and x[1] < 1e280:
        low = low if over(low, x[0]) <= 0.0 else down(low)
        return low, high if over(high, x[1]) >= 0.0 else up(high)
    return max(0.0, down(low)), up(high) if high else 0.0


def over(r: float, x: float) -> float:
    """r² − x, up to its sign."""
    p, lost = product(r, r)
    return (p - x) + lost


def length(x: Ends, y: Ends) -> Ends:
    (a, b), (c, d) = magnitude(x), magnitude(y)
    return max(0.0, wide(math.hypot(a, c))[0], a, c), wide(math.hypot(b, d))[1]


def domain(column: Any, low: float, high: float) -> Any:
    return lambda x: column(x) if low <= x[0] and x[1] <= high else (-inf, inf)


def log_sum(*xs: Ends) -> Ends:
    """It rises in each operand."""
    if not xs:
        return -inf, -inf
    return log_sum_of([x[0] for x in xs])[0], log_sum_of([x[1] for x in xs])[1]


def log_sum_of(xs: Sequence[float]) -> Ends:
    """The largest, and the logarithm of 1 + a sum of exponentials of differences."""
    top = max(xs)
    if not isfinite(top):
        return (top, top) if top == -inf else (down(inf), inf)
    rest = list(xs)
    rest.remove(top)
    terms = total(*[EXP(add((x, x), (-top, -top))) for x in rest])
    return add((top, top), LOG1P((max(terms[0], 0.0), terms[1])))


def wave(f: Function, peak: float) -> Any:
    """sin or cos: `peak` is where it is 1."""

    def ends(x: Ends) -> Ends:
        if not x[1] - x[0] < 2.0 * pi or max(-x[0], x[1]) > 1e8:
            return -1.0, 1.0
        a, b = wide(f(x[0])), wide(f(x[1]))
        low, high = max(-1.0, min(a[0], b[0])), min(1.0, max(a[1], b[1]))
        return (-1.0 if holds(x, peak + pi) else low), (1.0 if holds(x, peak) else high)

    return ends


def holds(x: Ends, place: float, period: float = 2.0 * pi) -> bool:
    """Whether place + k period may be within, for a whole k."""
    room = 1e-9
    return math.floor((x[1] + room - place) / period) > math.floor((x[0] - room - place) / period)


def tangent(x: Ends) -> Ends:
    if not isfinite(x[1] - x[0]):
        return -inf, inf
    if not x[1] - x[0] < pi or max(-x[0], x[1]) > 1e8 or holds(x, pi / 2.0, pi):
        # a pole near by: where the ends are on one side of it all the same, the values say so
        a, b = math.tan(x[0]), math.tan(x[1])
        if not (x[1] - x[0] < 1e-3 and a * b > 0.0 and a <= b and max(abs(a), abs(b)) < 1e6):
            return -inf, inf
    return wide(math.tan(x[0]))[0], wide(math.tan(x[1]))[1]


def angle(y: Ends, x: Ends) -> Ends:
    if x[0] <= 0.0 and y[0] <= 0.0 <= y[1] and (y[0] < 0.0 or x[1] >= 0.0):
        return -up(pi), up(pi)  # the cut, or the origin
    corners = [wide(math.atan2(b, a)) for b in y for a in x]
    return min(c[0] for c in corners), max(c[1] for c in corners)


def larger(*xs: Ends) -> Ends:
    return max(x[0] for x in xs), max(x[1] for x in xs)


def smaller(*xs: Ends) -> Ends:
    return min(x[0] for x in xs), min(x[1] for x in xs)


def clipped(x: Ends, low: float, high: float) -> Ends:
    return min(max(x[0], low), high), min(max(x[1], low), high)


def chosen(c: Ends, x: Ends, y: Ends) -> Ends:
    if c == (0.0, 0.0):
        return y
    return x if not c[0] <= 0.0 <= c[1] else (min(x[0], y[0]), max(x[1], y[1]))


def taken(index: Ends, *xs: Ends) -> Ends:
    places = [x for k, x in enumerate(xs) if index[0] <= k <= index[1]]
    return (min(x[0] for x in places), max(x[1] for x in places)) if places else (-inf, inf)


def truth(sure: bool, possible: bool) -> Ends:
    return float(sure), float(possible)


def equal(x: Ends, y: Ends) -> Ends:
    return truth(x == y and x[0] == x[1], x[0] <= y[1] and y[0] <= x[1])


def unequal(x: Ends, y: Ends) -> Ends:
    a, b = equal(x, y)
    return 1.0 - b, 1.0 - a


def sign_of(x: Ends) -> Ends:
    return floats.sign(x[0]) if x[0] else 0.0, floats.sign(x[1]) if x[1] else 0.0


def left_over(f: Callable[[float], float]) -> Any:
    """x − y · whole(x / y), where the whole part is certain."""

    def ends(x: Ends, y: Ends) -> Ends:
        q = div(x, y)
        if isfinite(q[0]) and isfinite(q[1]) and f(q[0]) == f(q[1]):
            n = f(q[0])
            return add(x, mul(y, (-n, -n)))
        size = magnitude(y)[1]
        return -size, size

    return ends


COLUMN: dict[str, Callable[..., Ends]] = {
    row.name: column
    for row, column in (
        (ops.identity, lambda x: x),
        (ops.neg, lambda x: (-x[1], -x[0])),
        (ops.add, add),
        (ops.sub, lambda x, y: add(x, (-y[1], -y[0]))),
        (ops.mul, mul),
        (ops.div, div),
        (ops.fmod, left_over(lambda q: float(math.trunc(q)))),
        (ops.remainder, left_over(lambda q: float(math.floor(q)))),
        (ops.sum, total),
        (ops.dot, inner),
        (ops.pow, power),
        (ops.powc, lambda x, c: power(x, (c, c))),
        (ops.pow_x, power_slope),
        (ops.powc_x, lambda x, c, order: power_slope(x, (c, c), order)),
        (ops.sqrt, root),
        (ops.hypot, length),
        (ops.exp, rising(floats.exp, units=USUAL, low=0.0, exact=(0.0,))),
        (ops.expm1, rising(floats.expm1, units=USUAL, low=-1.0, exact=(0.0,))),
        (ops.log, domain(rising(floats.log, units=USUAL, exact=(1.0,)), SMALLEST, inf)),
        (ops.log2, domain(rising(floats.log2, exact=(1.0,)), SMALLEST, inf)),
        (ops.log10, domain(rising(floats.log10, exact=(1.0,)), SMALLEST, inf)),
        (ops.cbrt, rising(floats.cbrt, exact=(0.0,))),
        (ops.log1p, domain(rising(floats.log1p, units=USUAL, exact=(0.0,)), nextafter(-1.0, 0.0), inf)),
        (ops.logsumexp, log_sum),
        (ops.erf, rising(math.erf, -1.0, 1.0, exact=(0.0,))),
        (ops.erfc, falling(math.erfc, 0.0, 2.0)),
        (
            ops.gauss,
            lambda x, rate: hill(lambda v: floats.gauss(v, rate), 0.0, 1.0, ERRORS[ops.gauss.name])(x),
        ),
        (ops.normal_cdf, rising(floats.normal_cdf, 0.0, 1.0)),
        (ops.sin, wave(math.sin, pi / 2.0)),
        (ops.cos, wave(math.cos, 0.0)),
        (ops.tan, tangent),
        (ops.asin, domain(rising(math.asin, exact=(0.0,)), -1.0, 1.0)),
        (ops.acos, domain(falling(math.acos, low=0.0), -1.0, 1.0)),
        (ops.atan, rising(math.atan, exact=(0.0,))),
        (ops.atan2, angle),
        (ops.sinh, rising(floats.sinh, exact=(0.0,))),
        (ops.cosh, lambda x: rising(floats.cosh, low=1.0, units=ERRORS[ops.cosh.name])(magnitude(x))),
        (ops.tanh, rising(math.tanh, -1.0, 1.0, exact=(0.0,))),
        (ops.sech2, hill(floats.sech2, 0.0, 1.0)),
        (ops.asinh, rising(math.asinh, exact=(0.0,))),
        (ops.acosh, domain(rising(floats.acosh, units=ERRORS[ops.acosh.name], low=0.0), 1.0, inf)),
        (ops.atanh, domain(rising(floats.atanh, exact=(0.0,)), nextafter(-1.0, 0.0), nextafter(1.0, 0.0))),
        (ops.sigmoid, rising(floats.sigmoid, 0.0, 1.0)),
        (ops.dsigmoid, hill(floats.dsigmoid, 0.0, 0.25)),
        (ops.relu, steps(floats.relu)),
        (ops.abs, magnitude),
        (ops.max, larger),
        (ops.min, smaller),
        (ops.clip, clipped),
        (ops.where, chosen),
        (ops.take, taken),
        (ops.nan_if, lambda o, d: o if o == (-inf, inf) else d),
        (ops.gt, lambda x, y: truth(x[0] > y[1], x[1] > y[0])),
        (ops.ge, lambda x, y: truth(x[0] >= y[1], x[1] >= y[0])),
        (ops.eq, equal),
        (ops.ne, unequal),
        (ops.sign, sign_of),
        (ops.step, steps(floats.step)),
        (ops.floor, steps(floats.floor)),
        (ops.ceil, steps(floats.ceil)),
        (ops.round, steps(floats.round)),
    )
}
SHARES = (ops.max.name, ops.min.name)  # between their operands a slope of 1 is shared out


def slopes(v: Value, o: Interval, xs: Sequence[Interval]) -> list[Interval]:
    """The partials of a node; at a kink all slopes around it."""
    op: Op = v.op
    if op.partials is None:
        return [ZERO] * len(xs)
    bent = any(0.0 in as_interval(side) for side in op.kinks(*xs))
    if bent and not (op is ops.where or op.singular):
        xs = [Interval(down(x.low), up(x.high)) for x in xs]  # to both sides
        o = o.apply_op(op, tuple(xs))
    ds = [as_interval(d) for d in op.partials(o, *xs)]
    if op.name in SHARES:
        ds = [Interval(max(d.low, 0.0), min(d.high, 1.0)) for d in ds]
    if op is ops.hypot:
        ds = [Interval(max(d.low, -1.0), min(d.high, 1.0)) for d in ds]
    return ds


# --- the sweep ----------------------------------------------------------------------------------------------


@dataclass(repr=False)
class Bounds:
    """Intervals: `value` of the loss, `gradients` by leaf; `bounds[leaf]` is one of them.

    Printed, each has the digits that are certain.
    """

    value: Interval
    gradients: dict[Value, Interval] = field(default_factory=dict)

    def __getitem__(self, leaf: Value) -> Interval:
        return self.gradients[leaf]

    def __repr__(self) -> str:
        rows = [("value", self.value), *((v.label or "?", d) for v, d in self.gradients.items() if v.label)]
        width = max(len(name) for name, _ in rows)
        lines = [f"  {name:{width}}  {it.known():24} {it!r}" for name, it in rows[:40]]
        more = [f"  … {len(rows) - 40} more"] if len(rows) > 40 else []
        unnamed = sum(not v.label for v in self.gradients)
        more += [f"  and {unnamed} leaves without a label"] if unnamed else []
        return "\n".join(["certain digits, and the interval:", *lines, *more])


def bounds(loss: Value) -> Bounds:
    """Intervals that hold the true value of a loss and its true gradients, for the leaves as they are.

    Leaves are taken as exact numbers. Where an interval is unbounded, nothing is known: near a pole, or at
    the border of a domain. Raises TypeError for what is not a Value, and for an operation of yours that is
    not written in others.

    >>> x = Value(0.1, label="x"); loss = (x * 3.0).tanh()
    >>> found = bounds(loss)
    >>> loss.data in found.value, found.value.width < 1e-15
    (True, True)
    >>> print(found)  # doctest: +ELLIPSIS
    certain digits, and the interval:
      value  0.29131261245159...
      x      2.745410...
    """
    if not isinstance(loss, Value):
        raise TypeError(f"bounds takes a Value, not {loss!r}")
    order = newest_first([loss])
    known: dict[Value, Interval] = {}

    def interval(v: Value) -> Interval:
        if v not in known:
            known[v] = Interval(v._data, v._data) if isfinite(v._data) else REAL
        return known[v]

    for v in reversed(order):
        xs = tuple(interval(x) for x in v.inputs)
        known[v] = Interval.apply_op(REAL, v.op, xs)
    adjoint: dict[Value, Interval] = {loss: Interval(1.0, 1.0)}
    for v in order:
        g = adjoint.get(v)
        if g is None:
            continue
        for x, d in zip(v.inputs, slopes(v, known[v], [interval(x) for x in v.inputs])):
            if (d.low, d.high) != (0.0, 0.0):  # P4: a cut edge is no edge
                share = d * g
                adjoint[x] = adjoint[x] + share if x in adjoint else share
    leaves = dict.fromkeys(x for v in order for x in v.inputs if x.op is None)
    return Bounds(interval(loss), {x: adjoint.get(x, ZERO) for x in leaves})
