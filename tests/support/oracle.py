"""What every operation and every program should answer, kept apart from the package that is judged.

`RULES` holds the textbook value and partial derivatives of each operation, written once and evaluated in two
number systems: `EXACT` (mpmath, 300 bits: the truth) and `rough_numbers` (doubles, every result moved by a
few units of rounding). `judge` turns the truth and six rough runs of a program into a tolerance for each
number in it: how far off a careful computation in doubles may be. Nothing here imports tinygrad_bp.
Read next: `programs.py`, which draws the programs, and `test_programs.py`, which holds the engine to them.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import mpmath

BITS = 300
UNIT = 2.0**-53  # the relative error of one rounding
RUNS = 6
BALANCED = [ups for ups in itertools.product((False, True), repeat=RUNS) if sum(ups) == RUNS // 2]
# fmt: off
SHARED = ("exp", "expm1", "log", "log1p", "sqrt", "hypot", "sin", "cos", "tan", "asin", "acos", "atan",
          "atan2", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "erf", "erfc", "pi")
# fmt: on

# ---- the two number systems --------------------------------------------------------------------------------


def exact_numbers(bits: int = BITS, blur: Callable[[Any], Any] = lambda x: x) -> SimpleNamespace:
    """Real numbers, to 300 bits (a context of its own: the global mpmath precision stays as it was)."""
    mp = mpmath.MPContext()
    mp.prec = bits
    return SimpleNamespace(
        **{name: getattr(mp, name) for name in SHARED},
        context=mp,
        number=mp.mpf,
        power=mp.power,
        floor=mp.floor,
        ceil=mp.ceil,
        round=mp.nint,
        fmod=lambda x, y: x - y * (mp.floor(x / y) if x / y >= 0 else mp.ceil(x / y)),
        remainder=lambda x, y: x - y * mp.floor(x / y),
        gauss=lambda x, scale: mp.exp(-x * x * scale),
        normal_cdf=lambda x: mp.erfc(-x / mp.sqrt(2)) / 2,
        blur=blur,
    )


def halves(x: float) -> tuple[float, float]:
    """x as a sum of two doubles of 26 bits each, whose products are exact (Veltkamp)."""
    high = x * 134217729.0
    high -= high - x
    return high, x - high


def gauss(x: float, scale: float) -> float:
    """exp(-x*x*scale), scale a power of two; the rounding of x*x alone would cost x*x units of rounding."""
    if x * x * scale > 745.0:
        return 0.0
    high, low = halves(x)
    return math.exp(-high * high * scale) * math.exp(-low * (x + high) * scale)


ROOT_HALF, ROOT_HALF_REST = 0.7071067811865476, -4.833646656726457e-17  # sqrt(1/2) to 106 bits


def normal_cdf(x: float) -> float:
    """erfc(-x/sqrt 2)/2 with the rounding of the argument put right to first order."""
    t = -x * ROOT_HALF
    (a, b), (c, d) = halves(-x), halves(ROOT_HALF)
    lost = ((a * c - t) + a * d + b * c) + b * d - x * ROOT_HALF_REST
    return 0.5 * math.erfc(t) - gauss(t, 1.0) / math.sqrt(math.pi) * lost


def rough_blur(seed: str, number: int) -> Callable[[float], float]:
    """Moves results by one to four units of rounding: each up in half of the runs, down in the others.

    An exactly rounded operation may be off by one unit, a good elementary function at worst by about four.
    The runs agree on the halves: with coins of their own, one number in 32 would always move the same way.
    """
    ways, far = random.Random(seed).random, random.Random(f"{seed} run {number}").random

    def blur(x: float) -> float:
        up = BALANCED[int(ways() * len(BALANCED))][number]
        return x + x * (1.0 + 3.0 * far()) * (UNIT if up else -UNIT)

    return blur


def rough_numbers(blur: Callable[[float], float]) -> SimpleNamespace:
    """Doubles, whose results pass through `blur`."""
    return SimpleNamespace(
        **{name: getattr(math, name) for name in SHARED},
        number=float,
        power=math.pow,
        floor=math.floor,
        ceil=math.ceil,
        round=round,
        fmod=math.fmod,
        remainder=lambda x, y: x % y,
        gauss=gauss,
        normal_cdf=normal_cdf,
        blur=blur,
    )


EXACT = exact_numbers()
PLAIN = rough_numbers(lambda x: x)

# ---- formulas too long for the table (m is the number system) ----------------------------------------------


def whole(m: Any, q: Any) -> Any:
    """q without its fractional part."""
    return m.floor(q) if q >= 0 else m.ceil(q)


def sigmoid(m: Any, x: Any) -> Any:
    return 1 / (1 + m.exp(-x)) if x >= 0 else m.exp(x) / (1 + m.exp(x))


def dsigmoid(m: Any, x: Any) -> Any:
    return sigmoid(m, x) * sigmoid(m, -x)


def softplus(m: Any, x: Any) -> Any:
    return max(x, 0) + m.log1p(m.exp(-abs(x)))


def sech2(m: Any, x: Any) -> Any:
    return 1 / m.cosh(x) / m.cosh(x)


def shares(o: Any, xs: Any) -> tuple:
    """What each gets of the adjoint of the largest: ties share."""
    ties = sum(x == o for x in xs)
    return tuple((x == o) / ties for x in xs)


def least(*slopes: Any) -> Any:
    """The element of least norm between the slopes on the two sides of a kink."""
    return 0 if min(slopes) < 0 < max(slopes) else min(slopes, key=abs)


def halved(m: Any, xs: tuple) -> tuple[tuple, tuple, Any]:
    """The operands of dot: weights, inputs and the bias that an odd count ends with."""
    n = len(xs) // 2
    return xs[:n], xs[n : 2 * n], xs[-1] if len(xs) % 2 else m.number(0)


def dot(m: Any, *xs: Any) -> Any:
    weights, inputs, bias = halved(m, xs)
    return sum((m.blur(w * x) for w, x in zip(weights, inputs)), m.blur(bias))


def dot_partials(m: Any, o: Any, *xs: Any) -> tuple:
    weights, inputs, _ = halved(m, xs)
    return (*inputs, *weights, *[1] * (len(xs) % 2))


def logsumexp(m: Any, *xs: Any) -> Any:
    shift = max(xs)
    return m.blur(shift) + m.blur(m.log(sum(m.exp(m.blur(x - shift)) for x in xs)))


def softmax(m: Any, o: Any, *xs: Any) -> tuple:
    shift = max(xs)
    terms = [m.exp(m.blur(x - shift)) for x in xs]
    return tuple(term / sum(terms) for term in terms)


def atan2_partials(m: Any, o: Any, y: Any, x: Any) -> tuple:
    r = m.hypot(x, y)
    return x / r / r, -y / r / r


def powc_partials(m: Any, o: Any, x: Any, n: Any) -> tuple:
    return ((n * o / x if x else n * m.power(x, n - 1)) if n else 0,)


def pow_x_partials(m: Any, o: Any, x: Any, y: Any) -> tuple:
    p = m.power(x, y)
    return y * (y - 1) * (p / x) / x, m.blur(p / x) + m.blur(p / x * y * m.log(x))


def half_turns(m: Any, wave: Any, x: Any) -> Any:
    """The sine or cosine of pi x, by the part of x that is not whole."""
    n = int(m.floor(x + 0.5))
    return (-1) ** n * wave(m.pi * (x - n))


def sinc(m: Any, x: Any) -> Any:
    return half_turns(m, m.sin, x) / (m.pi * x) if x else m.number(1)


def sinc_slope(m: Any, x: Any) -> Any:
    return half_turns(m, m.cos, x) * m.blur(1 / x) - m.blur(sinc(m, x) / x) if x else m.number(0)


def sinc_known(x: float) -> float:
    """Away from its zeros, which are lost in the rounding of pi, and from 0, where slopes cancel."""
    return abs(x - round(x)) - 1e-3 if 1e-3 < abs(x) < 50.0 else -1.0


def erf_partials(m: Any, o: Any, x: Any) -> tuple:
    return (2 / m.sqrt(m.pi) * m.gauss(x, 1),)


def silu_partials(m: Any, o: Any, x: Any) -> tuple:
    return (m.blur(sigmoid(m, x)) + m.blur(x * dsigmoid(m, x)),)


def gelu_partials(m: Any, o: Any, x: Any) -> tuple:
    return (m.blur(m.normal_cdf(x)) + m.blur(x * m.gauss(x, 0.5) / m.sqrt(2 * m.pi)),)


# ---- where a row may be asked: distances (in doubles) to the border of the domain, and to the next kink ----


FAR = 300.0  # exp(-FAR) is a normal double, and so is its square


def above(x: float) -> float:
    return FAR + x


def around(x: float) -> float:
    return FAR - abs(x)


def gap(x: float, y: float) -> float:
    return abs(x - y)


def known_place(index: float, *xs: float) -> float:
    """Where an index is one for certain: a number without any error."""
    return 1e-300 if index % 1.0 == 0.0 and 0.0 <= index < len(xs) else -1.0


def gaps(*xs: float) -> float:
    """The least distance between two; programs take an operand twice as an exact tie."""
    ys = sorted({*xs})
    return min([b - a for a, b in itertools.pairwise(ys)], default=0.0)


def powers(x: float, y: float) -> float:
    return min(x, FAR - abs(y * math.log(x))) if x > 0 else x


def whole_powers(x: float, n: float) -> float:
    if n != int(n) or x > 0:
        return powers(x, n)
    return powers(-x, n) if x else n


def quotient_kink(q: float, y: float, toward_zero: bool) -> float:
    """How far x may move before the whole part of q = x/y jumps; none where q is large."""
    if abs(q) > 1e4:
        return 0.0
    distance = 1.0 - abs(q) if toward_zero and abs(q) < 1.0 else abs(q - round(q))
    return abs(y) * (distance - 1e-6) / (1.0 + abs(q))


# ---- the table ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rule:
    """One operation: (m, *operands, *constants) -> value; (m, value, *operands, *constants) -> partials."""

    operands: int | None  # None: any number
    value: Callable[..., Any]
    partials: Callable[..., tuple] | None  # None: zero everywhere
    domain: Callable[..., float] | None = None  # > 0 inside; also keeps partials from underflowing
    kink: Callable[..., float] | None = None
    exact: bool = False  # the value is an operand or a small integer: there is nothing to round
    sums: bool = False  # the error of the value is that of the sum of magnitudes
    constants: int = 0


def choice(operands: int, value: Any, partials: Any, kink: Any, constants: int = 0) -> Rule:
    """A row whose value is exact and which has a kink or a jump."""
    return Rule(operands, value, partials, kink=kink, exact=True, constants=constants)


# fmt: off
RULES: dict[str, Rule] = {
    # arithmetic
    "identity":  Rule(1, lambda m, x: x,                   lambda m, o, x: (1,), exact=True),
    "neg":       Rule(1, lambda m, x: -x,                  lambda m, o, x: (-1,), exact=True),
    "add":       Rule(2, lambda m, x, y: x + y,            lambda m, o, x, y: (1, 1)),
    "sub":       Rule(2, lambda m, x, y: x - y,            lambda m, o, x, y: (1, -1)),
    "mul":       Rule(2, lambda m, x, y: x * y,            lambda m, o, x, y: (y, x)),
    "div":       Rule(2, lambda m, x, y: x / y,            lambda m, o, x, y: (1 / y, -o / y),
                      lambda x, y: abs(y)),
    "fmod":      Rule(2, lambda m, x, y: m.fmod(x, y),     lambda m, o, x, y: (1, -whole(m, x / y)),
                      lambda x, y: quotient_kink(x / y, y, True)),
    "remainder": Rule(2, lambda m, x, y: m.remainder(x, y), lambda m, o, x, y: (1, -m.floor(x / y)),
                      lambda x, y: quotient_kink(x / y, y, False)),
    "sum":       Rule(None, lambda m, *xs: sum(map(m.blur, xs)), lambda m, o, *xs: (1,) * len(xs), sums=True),
    "dot":       Rule(None, dot,                           dot_partials, sums=True),
    "logsumexp": Rule(None, logsumexp,                     softmax,
                      lambda *xs: FAR - (max(xs) - min(xs)), sums=True),
    # powers and exponentials
    "pow":       Rule(2, lambda m, x, y: m.power(x, y),    lambda m, o, x, y: (y * (o / x), o * m.log(x)),
                      powers),
    "powc":      Rule(1, lambda m, x, n: m.power(x, n),    powc_partials, whole_powers, constants=1),
    "pow_x":     Rule(2, lambda m, x, y: y * (m.power(x, y) / x), pow_x_partials, powers),
    "sqrt":      Rule(1, lambda m, x: m.sqrt(x),           lambda m, o, x: (0.5 / o,), lambda x: x),
    "hypot":     Rule(2, lambda m, x, y: m.hypot(x, y),    lambda m, o, x, y: (x / (o or 1), y / (o or 1))),
    "exp":       Rule(1, lambda m, x: m.exp(x),            lambda m, o, x: (o,), above),
    "expm1":     Rule(1, lambda m, x: m.expm1(x),          lambda m, o, x: (m.exp(x),), above),
    "log":       Rule(1, lambda m, x: m.log(x),            lambda m, o, x: (1 / x,), lambda x: x),
    "log1p":     Rule(1, lambda m, x: m.log1p(x),          lambda m, o, x: (1 / (1 + x),), lambda x: 1 + x),
    "xlogx":     Rule(1, lambda m, x: x * m.log(x),        lambda m, o, x: (m.blur(m.log(x)) + m.blur(1),),
                      lambda x: x),
    # circular and hyperbolic functions
    "sin":       Rule(1, lambda m, x: m.sin(x),            lambda m, o, x: (m.cos(x),)),
    "cos":       Rule(1, lambda m, x: m.cos(x),            lambda m, o, x: (-m.sin(x),)),
    "tan":       Rule(1, lambda m, x: m.tan(x),            lambda m, o, x: (1 + o * o,),
                      lambda x: abs(math.cos(x))),
    "asin":      Rule(1, lambda m, x: m.asin(x),           lambda m, o, x: (1 / m.sqrt((1 - x) * (1 + x)),),
                      lambda x: 1 - abs(x)),
    "acos":      Rule(1, lambda m, x: m.acos(x),           lambda m, o, x: (-1 / m.sqrt((1 - x) * (1 + x)),),
                      lambda x: 1 - abs(x)),
    "atan":      Rule(1, lambda m, x: m.atan(x),           lambda m, o, x: (1 / (1 + x * x),)),
    "atan2":     Rule(2, lambda m, y, x: m.atan2(y, x),    atan2_partials,
                      lambda y, x: math.hypot(x, y) if x > 0 else abs(y)),
    "sinh":      Rule(1, lambda m, x: m.sinh(x),           lambda m, o, x: (m.cosh(x),)),
    "cosh":      Rule(1, lambda m, x: m.cosh(x),           lambda m, o, x: (m.sinh(x),)),
    "tanh":      Rule(1, lambda m, x: m.tanh(x),           lambda m, o, x: (sech2(m, x),), around),
    "sech2":     Rule(1, sech2,                            lambda m, o, x: (-2 * m.tanh(x) * o,), around),
    "asinh":     Rule(1, lambda m, x: m.asinh(x),          lambda m, o, x: (1 / m.hypot(1, x),)),
    "acosh":     Rule(1, lambda m, x: m.acosh(x),
                      lambda m, o, x: (1 / m.sqrt(x - 1) / m.sqrt(x + 1),), lambda x: x - 1),
    "atanh":     Rule(1, lambda m, x: m.atanh(x),          lambda m, o, x: (1 / ((1 - x) * (1 + x)),),
                      lambda x: 1 - abs(x)),
    # activations
    "sigmoid":   Rule(1, sigmoid,                          lambda m, o, x: (dsigmoid(m, x),), around),
    "dsigmoid":  Rule(1, dsigmoid,                         lambda m, o, x: (-m.tanh(x / 2) * o,), around),
    "softplus":  Rule(1, softplus,                         lambda m, o, x: (sigmoid(m, x),), above),
    "silu":      Rule(1, lambda m, x: x * sigmoid(m, x),   silu_partials, above),
    "gelu":      Rule(1, lambda m, x: x * m.normal_cdf(x), gelu_partials, lambda x: 20 + x),
    "erf":       Rule(1, lambda m, x: m.erf(x),            erf_partials, lambda x: 16 - abs(x)),
    "softsign":  Rule(1, lambda m, x: x / (1 + abs(x)),    lambda m, o, x: (1 / (1 + abs(x)) ** 2,)),
    "erfc":      Rule(1, lambda m, x: m.erfc(x), lambda m, o, x: (-2 / m.sqrt(m.pi) * m.gauss(x, 1),),
                      lambda x: 16 - abs(x)),
    "sinc":      Rule(1, sinc,                             lambda m, o, x: (sinc_slope(m, x),), sinc_known),
    "elu":       Rule(1, lambda m, x, a: x if x > 0 else a * m.expm1(x),
                      lambda m, o, x, a: (1 if x > 0 else a * m.exp(x) if x < 0 else least(1, a),),
                      lambda x, a: above(x), kink=lambda x, a: abs(x), constants=1),
    "leaky_relu": Rule(1, lambda m, x, s: x if x > 0 else s * x,
                      lambda m, o, x, s: (1 if x > 0 else s if x < 0 else least(1, s),),
                      kink=lambda x, s: abs(x), constants=1),
    # choices and jumps
    "relu":      choice(1, lambda m, x: max(x, 0),           lambda m, o, x: (1 if x > 0 else 0,), abs),
    "abs":       choice(1, lambda m, x: abs(x),              lambda m, o, x: ((x > 0) - (x < 0),), abs),
    "max":       choice(None, lambda m, *xs: max(xs),        lambda m, o, *xs: shares(o, xs), gaps),
    "min":       choice(None, lambda m, *xs: min(xs),        lambda m, o, *xs: shares(o, xs), gaps),
    "clamp":     choice(1, lambda m, x, low, high: min(max(x, low), high),
                      lambda m, o, x, low, high: (1 if low <= x <= high else 0,),
                      lambda x, low, high: min(abs(x - low), abs(x - high)), 2),
    "hardtanh":  choice(1, lambda m, x, low, high: min(max(x, low), high),
                      lambda m, o, x, low, high: (1 if low <= x <= high else 0,),
                      lambda x, low, high: min(abs(x - low), abs(x - high)), 2),
    "clip":      choice(1, lambda m, x, low, high: min(max(x, low), high),
                      lambda m, o, x, low, high: (1 if low <= x <= high else 0,),
                      lambda x, low, high: min(abs(x - low), abs(x - high)), 2),
    "where":     choice(3, lambda m, c, x, y: x if c else y,
                      lambda m, o, c, x, y: (0, int(c != 0), int(c == 0)),
                      lambda c, x, y: abs(c)),
    "take":      Rule(None, lambda m, i, *xs: xs[int(i + 0.5)],
                      lambda m, o, i, *xs: (0, *[int(i == k) for k in range(len(xs))]),
                      known_place, exact=True),
    "floor":     choice(1, lambda m, x: m.floor(x),          None, lambda x: abs(x - round(x))),
    "ceil":      choice(1, lambda m, x: m.ceil(x),           None, lambda x: abs(x - round(x))),
    "round":     choice(1, lambda m, x: m.round(x),          None, lambda x: abs(x - math.floor(x) - 0.5)),
    "sign":      choice(1, lambda m, x: (x > 0) - (x < 0),   None, abs),
    "step":      choice(1, lambda m, x: int(x > 0),          None, abs),
    "gt":        choice(2, lambda m, x, y: int(x > y),       None, gap),
    "ge":        choice(2, lambda m, x, y: int(x >= y),      None, gap),
    "eq":        choice(2, lambda m, x, y: int(x == y),      None, gap),
    "ne":        choice(2, lambda m, x, y: int(x != y),      None, gap),
}
# fmt: on


# ---- programs: one forward and one reverse sweep, in either number system ----------------------------------


def value_of(m: Any, name: str, operands: list, constants: tuple) -> Any:
    rule = RULES[name]
    value = m.number(rule.value(m, *operands, *constants))
    return value if rule.exact else m.blur(value)


def partials_of(m: Any, name: str, value: Any, operands: list, constants: tuple) -> list:
    rule = RULES[name]
    if rule.partials is None:
        return [0] * len(operands)
    partials = rule.partials(m, value, *operands, *constants)
    return list(partials) if rule.exact else [m.blur(d) for d in partials]


def sweep(program: Any, m: Any, wrong: dict[str, float] | None = None) -> tuple[list, list]:
    """Every node's value and adjoint; `wrong` multiplies the partials of the named operations."""
    values = [m.number(x) for x in program.inputs]
    constants = [tuple(m.number(c) for c in step.constants) for step in program.steps]
    for step, fixed in zip(program.steps, constants):
        values.append(value_of(m, step.name, [values[i] for i in step.operands], fixed))
    adjoints = [m.number(0) for _ in values]
    adjoints[-1] = m.number(1)
    first = len(program.inputs)
    for node in reversed(range(first, len(values))):
        step, g = program.steps[node - first], adjoints[node]
        if not g:
            continue
        operands = [values[i] for i in step.operands]
        partials = partials_of(m, step.name, values[node], operands, constants[node - first])
        factor = wrong.get(step.name, 1) if wrong else 1
        for i, d in zip(step.operands, partials):
            if d:
                adjoints[i] += m.blur(g * d * factor)
    return values, adjoints


class Expected:
    """One number of a program: the truth, as a sum of two doubles, and how far off it an answer may be."""

    __slots__ = ("rest", "tolerance", "truth")

    def __init__(self, truth: Any, runs: list[float]):
        self.truth = float(truth)
        self.rest = float(truth - self.truth)
        worst = max(self.error(run) for run in runs)
        self.tolerance = 2.0 * worst + 4.0 * math.ulp(self.truth)

    def error(self, got: float) -> float:
        return abs((got - self.truth) - self.rest)

    def accepts(self, got: float) -> bool:
        return self.error(got) <= self.tolerance  # false for nan


def judge(program: Any) -> tuple[list[Expected], list[Expected]]:
    """What the values and the adjoints of all nodes should be."""
    truth = sweep(program, EXACT)
    runs = [sweep(program, rough_numbers(rough_blur(f"seed {program.seed}", k))) for k in range(RUNS)]
    columns = [zip(truth[part], *(run[part] for run in runs)) for part in (0, 1)]
    values, adjoints = ([Expected(true, answers) for true, *answers in column] for column in columns)
    return values, adjoints


def outside(program: Any, values: Mapping[int, float], gradients: Mapping[int, float]) -> list[str]:
    """What is wrong with these answers, worst first: a text for each number that is outside its tolerance."""
    wrong = []
    for kind, expected, answers in zip(("value", "gradient"), judge(program), (values, gradients)):
        for node, got in answers.items():
            number = expected[node]
            if not number.accepts(got):
                off = number.error(got)
                text = f"{kind} of {program.name(node)}: true {number.truth!r}, got {got!r}, "
                text += f"off by {off:.3g} where {number.tolerance:.3g} is allowed"
                wrong.append((-off / number.tolerance if off == off else -math.inf, text))
    return [text for _, text in sorted(wrong)]


# ---- second derivatives: the slopes of exact gradients -----------------------------------------------------

MANY_BITS, NARROW = 600, 2.0**-200  # of a difference quotient: it errs by far less than a double


def gradient_at(program: Any, point: list, m: Any) -> list:
    moved = SimpleNamespace(inputs=point, steps=program.steps)
    return sweep(moved, m)[1][: len(point)]


def column(program: Any, i: int, numbers: Callable[[], SimpleNamespace]) -> list[Any] | None:
    """The derivatives of the gradient by input i; None on a kink, where the two sides do not agree.

    `numbers` is called for each side, so that both see the same errors of rounding where it makes any.
    """
    context = numbers().context
    point = [context.mpf(x) for x in program.inputs]
    step = context.mpf(NARROW) * (abs(point[i]) or 1)
    low, here, high = (
        gradient_at(program, [x + s * (k == i) for k, x in enumerate(point)], numbers())
        for s in (-step, 0, step)
    )
    left, right = ([(b - a) / step for a, b in zip(*ends)] for ends in ((low, here), (here, high)))
    sizes = [abs(a) + abs(b) for a, b in zip(left, right)]
    steady = all(abs(a - b) <= 1e-30 * size and size < 1e50 for a, b, size in zip(left, right, sizes))
    return [(a + b) / 2 for a, b in zip(left, right)] if steady else None


def judge_column(program: Any, i: int) -> list[Expected] | None:
    """What the second derivatives by input i should be.

    The tolerance comes from real numbers in which each result of the gradient is moved by units of rounding.
    """
    truth = column(program, i, lambda: exact_numbers(MANY_BITS))
    if truth is None:
        return None
    runs = []
    for k in range(RUNS // 2):
        seed = f"seed {program.seed} second {i}"
        run = column(program, i, lambda: exact_numbers(MANY_BITS, rough_blur(seed, k)))  # noqa: B023
        if run is None:
            return None
        runs.append(run)
    return [Expected(true, answers) for true, *answers in zip(truth, *runs)]
