"""What the tests know of each operation of the table: one record a row.

`exact` is a second definition in mpmath, at as many bits as it takes; `constants` are those that a row with
constants is tested with. The rest says where an answer may be off by more than three units in the last place
(of the value) or four (of a partial). A row without a record fails one test, which prints the line to add.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import mpmath

from tinygrad_bp.ops import OPS, TABLE, Op

BITS = 400
mp = mpmath.mp.clone()
mp.prec = BITS
mp.pretty = True
mpf = mp.mpf
INF = float("inf")


def nothing(*xs: Any) -> int:
    return 0


@dataclass(frozen=True)
class Row:
    """A record. Functions take the operands, then the constants; `partial_magnitude` first which partial."""

    exact: Callable[..., Any]
    constants: Sequence[tuple[float, ...]] = ()
    extreme: Sequence[tuple[float, ...]] = ()  # more constants, for the edges alone
    magnitude: Callable[..., Any] = nothing  # of a sum that cancels: its last place counts
    partial_magnitude: Callable[..., Any] = nothing
    grain: Callable[..., Any] = nothing  # what a number that can be subnormal is multiplied by
    value_units: float = 3.0  # libm reaches 2.1 in tanh and 2.4 in erfc
    partial_units: float = 4.0


def exact_sigmoid(x):
    return 1 / (1 + mp.exp(-x))


def exact_pow(x, y):
    if x < 0:
        return (-1) ** int(y % 2) * mp.power(-x, y)  # asked at whole y only
    if x == 0 and y < 0:
        raise ZeroDivisionError
    return mp.power(x, y) if x else mpf(y == 0)


def exact_pow_x(x, y, order=1):
    factor = mp.fprod(y - k for k in range(int(order)))
    return factor and factor * exact_pow(x, y - order)


def exact_dot(*xs):
    n = len(xs) // 2
    return mp.fsum([mp.fdot(xs[:n], xs[n : 2 * n]), *xs[2 * n :]])


def exact_logsumexp(*xs):
    top = max(xs)
    return top + mp.log(mp.fsum(mp.exp(x - top) for x in xs))


def exact_take(index, *xs):
    """Of a place near by, so that a difference quotient by the index is 0."""
    place = int(mp.nint(index))
    if abs(index - place) > 1e-9 or not 0 <= place < len(xs):
        raise ValueError
    return xs[place]


def exact_sinc(x):
    return mp.sinpi(x) / (mp.pi * x) if x else mpf(1)


def exact_sinc_x(x, order=1):
    """From the series where powers of x are small, in as many bits as cancel; else from the one before."""
    n = int(order)
    if abs(x) < 40:
        with mp.workprec(mp.prec + 400):
            terms = []
            for k in range((n + 1) // 2, 260):
                c = (-1) ** k * mp.pi ** (2 * k) * mp.ff(2 * k, n) / mp.factorial(2 * k + 1)
                terms.append(c * mp.power(x, 2 * k - n))
            return +mp.fsum(terms)
    before = exact_sinc_x(x, n - 1) if n > 1 else exact_sinc(x)
    wave = [mp.sinpi(x), mp.cospi(x), -mp.sinpi(x), -mp.cospi(x)][n % 4]
    return (mp.pi ** (n - 1) * wave - n * before) / x


def exact_cdf(x):
    return mp.erfc(-x / mp.sqrt(2)) / 2 if abs(x) < 1000 else mpf(x > 0)


def rest(xs):
    return sorted(xs)[:-1]


def whole(x):
    return mp.floor(x) if x >= 0 else mp.ceil(x)


SELU, ALPHA = mpf("1.0507009873554804934193349852946"), mpf("1.6732632423543772848170429916717")

ROWS: dict[str, Row] = {
    "identity": Row(lambda x: x),
    "add": Row(lambda x, y: x + y),
    "sub": Row(lambda x, y: x - y),
    "mul": Row(lambda x, y: x * y),
    "div": Row(lambda x, y: x / y),
    "neg": Row(lambda x: -x),
    "fmod": Row(lambda x, y: x - y * whole(x / y)),
    "remainder": Row(lambda x, y: x - y * mp.floor(x / y)),
    "sum": Row(lambda *xs: mp.fsum(xs), magnitude=lambda *xs: mp.fsum(map(abs, xs))),
    "dot": Row(exact_dot, magnitude=lambda *xs: exact_dot(*map(abs, xs))),
    "pow": Row(exact_pow, grain=lambda x, y: abs(y)),
    "pow_x": Row(
        exact_pow_x,
        constants=[(1.0,), (2.0,)],
        partial_magnitude=lambda i, x, y, n: (
            abs(exact_pow_x(x, y, n) * mp.log(x)) + n * exact_pow(x, y - n) if i else 0
        ),
        grain=lambda x, y, n: (abs(y) + n) ** (n + 1),
        value_units=4.0,
        partial_units=6.0,
    ),
    "powc": Row(
        exact_pow,
        constants=[(n,) for n in (-3.0, -1.0, -0.5, 0.0, 0.1, 0.5, 1.0, 1.5, 2.0, 3.0, 60.0)],
        extreme=[(1e300,)],
        grain=lambda x, y: abs(y),
    ),
    "powc_x": Row(
        exact_pow_x,
        constants=[(n, k) for n in (-2.0, -0.3, 0.1, 0.5, 1.0, 2.0, 2.5, 3.0) for k in (1.0, 2.0)],
        grain=lambda x, y, n: (abs(y) + n) ** (n + 1),
        value_units=4.0,
        partial_units=6.0,
    ),
    "square": Row(lambda x: x * x),
    "reciprocal": Row(lambda x: 1 / x),
    "cbrt": Row(lambda x: mp.cbrt(x) if x >= 0 else -mp.cbrt(-x)),
    "sqrt": Row(mp.sqrt),
    "hypot": Row(mp.hypot),
    "exp": Row(mp.exp),
    "exp2": Row(lambda x: mp.power(2, x)),
    "expm1": Row(mp.expm1),
    "log": Row(mp.log),
    "log2": Row(lambda x: mp.log(x, 2)),
    "log10": Row(lambda x: mp.log(x, 10)),
    "log1p": Row(mp.log1p),
    "logsumexp": Row(
        exact_logsumexp,
        magnitude=lambda *xs: abs(max(xs)) + mp.fsum((1 + abs(x)) * mp.exp(x - max(xs)) for x in rest(xs)),
        partial_magnitude=lambda i, *xs: (
            mp.exp(xs[i] - exact_logsumexp(*xs)) * (1 + abs(xs[i]) + abs(max(xs)))
        ),
    ),
    "logaddexp": Row(
        exact_logsumexp,
        magnitude=lambda x, y: abs(max(x, y)) + (1 + abs(min(x, y))) * mp.exp(-abs(x - y)),
        partial_magnitude=lambda i, *xs: (
            mp.exp(xs[i] - exact_logsumexp(*xs)) * (1 + abs(xs[i]) + abs(max(xs)))
        ),
    ),
    "expdiff": Row(
        lambda x, y: mp.exp(x - y),
        magnitude=lambda x, y: (1 + abs(x) + abs(y)) * mp.exp(x - y),
        partial_magnitude=lambda i, x, y: (1 + abs(x) + abs(y)) * mp.exp(x - y),
    ),
    "xlogx": Row(lambda x: x * mp.log(x) if x else mpf(0), partial_magnitude=lambda i, x: abs(mp.log(x)) + 1),
    "erf": Row(mp.erf),
    "erfc": Row(lambda x: mp.erfc(x) if abs(x) < 1000 else mpf(2 * (x < 0))),
    "gauss": Row(
        lambda x, rate: mp.exp(-rate * x * x),
        constants=[(1.0,), (0.5,), (0.3,), (1e-6,), (1e6,)],
        extreme=[(-0.1,)],
        partial_units=6.0,
    ),
    "normal_cdf": Row(exact_cdf, partial_units=6.0),
    "sin": Row(mp.sin),
    "cos": Row(mp.cos),
    "tan": Row(mp.tan),
    "asin": Row(mp.asin),
    "acos": Row(mp.acos),
    "atan": Row(mp.atan),
    "atan2": Row(mp.atan2),
    "sinh": Row(mp.sinh),
    "cosh": Row(mp.cosh),
    "tanh": Row(mp.tanh),
    "sech2": Row(lambda x: mp.sech(x) ** 2, value_units=4.0, partial_units=6.0),
    "sinc": Row(exact_sinc, value_units=4.0, partial_magnitude=lambda i, x: 1 / (1 + abs(x))),
    "sinc_x": Row(
        exact_sinc_x,
        constants=[(1.0,), (2.0,), (3.0,)],
        magnitude=lambda x, n: mp.pi**n / (1 + abs(x)),
        partial_magnitude=lambda i, x, n: mp.pi ** (n + 1) / (1 + abs(x)),
        value_units=4.0,
        partial_units=6.0,
    ),
    "asinh": Row(mp.asinh),
    "acosh": Row(mp.acosh),
    "atanh": Row(mp.atanh),
    "sigmoid": Row(exact_sigmoid),
    "dsigmoid": Row(lambda x: exact_sigmoid(x) * exact_sigmoid(-x), value_units=4.0, partial_units=6.0),
    "softsign": Row(lambda x: x / (1 + abs(x))),
    "logit": Row(lambda x: mp.log(x / (1 - x))),
    "logsigmoid": Row(lambda x: -mp.log1p(mp.exp(-abs(x))) + min(x, 0)),
    "selu": Row(lambda x: SELU * x if x > 0 else SELU * ALPHA * mp.expm1(x)),
    "softplus": Row(lambda x: mp.log1p(mp.exp(-abs(x))) + max(x, 0)),
    "silu": Row(
        lambda x: x * exact_sigmoid(x),
        partial_magnitude=lambda i, x: exact_sigmoid(x) * (1 + abs(x) * exact_sigmoid(-x)),
        grain=lambda x: abs(x),
    ),
    "gelu": Row(
        lambda x: x * exact_cdf(x),
        partial_magnitude=lambda i, x: exact_cdf(x) + abs(x) * mp.npdf(x),
        grain=lambda x: abs(x),
        value_units=3.5,
    ),
    "relu": Row(lambda x: max(x, mpf(0))),
    "leaky_relu": Row(
        lambda x, slope: x if x > 0 else slope * x, constants=[(0.01,), (0.3,), (-0.5,), (0.0,)]
    ),
    "elu": Row(lambda x, alpha: x if x > 0 else alpha * mp.expm1(x), constants=[(1.0,), (0.3,), (1.7,)]),
    "abs": Row(abs),
    "max": Row(lambda *xs: max(xs)),
    "min": Row(lambda *xs: min(xs)),
    "clamp": Row(
        lambda x, low, high: min(max(x, low), high), constants=[(-1.0, 1.0), (0.0, INF), (-INF, 0.25)]
    ),
    "hardtanh": Row(lambda x, low, high: min(max(x, low), high), constants=[(-1.0, 1.0), (0.0, 6.0)]),
    "clip": Row(
        lambda x, low, high: min(max(x, low), high), constants=[(-1.0, 1.0), (0.0, 1.0), (-0.25, 1e9)]
    ),
    "where": Row(lambda c, x, y: x if c else y),
    "take": Row(exact_take),
    "nan_if": Row(lambda o, d: d),
    "gt": Row(lambda x, y: mpf(x > y)),
    "ge": Row(lambda x, y: mpf(x >= y)),
    "eq": Row(lambda x, y: mpf(x == y)),
    "ne": Row(lambda x, y: mpf(x != y)),
    "sign": Row(mp.sign),
    "step": Row(lambda x: mpf(x > 0)),
    "stop_gradient": Row(lambda x: x),
    "floor": Row(mp.floor),
    "ceil": Row(mp.ceil),
    "round": Row(mp.nint),
}


def names(sloped: bool = False) -> list[str]:
    """The rows that have a record, or of these the ones with a derivative."""
    return sorted(name for name in TABLE & ROWS.keys() if OPS[name].partials or not sloped)


def instances(name: str, extreme: bool = False) -> list[Op]:
    """A row with the constants that it is tested with; without a record, with its defaults, or 1.5, 2.5."""
    row = OPS[name]
    if not row.constants:
        return [row]
    constants = [tuple(1.5 + i if c is None else c for i, c in enumerate(row.constants.values()))]
    if name in ROWS:
        constants = [*ROWS[name].constants, *(ROWS[name].extreme if extreme else ())]
    return [row.at(*c) for c in constants]


def line_to_add(name: str) -> str:
    """The record that a row lacks, with its value to be filled in."""
    row = OPS[name]
    operands = ["x", "y", "z"][: row.operands] if row.operands else ["*xs"]
    constants = [row.constant_values for row in instances(name)] if row.constants else []
    given = f", constants={constants}" if constants else ""
    return f'    "{name}": Row(lambda {", ".join([*operands, *row.constants])}: ...{given}),'
