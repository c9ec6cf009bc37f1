"""Zeros of both signs, subnormals, infinities and nan in random programs: is every answer of the right class?

The class of a number is nan, inf, -inf, zero or finite.  `IEEE` holds each operation once more, with NumPy's
functions, which answer as IEEE 754 and C say, and the textbook's partials with the policies P2 to P4 of
docs/semantics.md.  Each node is held to what IEEE says of its operands as they are, and each adjoint to what
its consumers' adjoints say, so one fault is reported once.  3,000 programs; SPECIALS=100000 draws more.
Read next: `test_semantics.py`, where the edges stand one by one.
"""

from __future__ import annotations

import math
import os
import random
from collections import defaultdict

import numpy as np
import pytest
from support.oracle import RULES
from support.programs import CONSTANTS, Program, Step, run

from tinygrad_bp import Value
from tinygrad_bp.engine import sweep
from tinygrad_bp.graph_sweep import sweep_graph
from tinygrad_bp.ops import OPS

PROGRAMS = int(os.environ.get("SPECIALS", "3000"))
CHUNKS = 6
TINY, SMALL, LARGE = 5e-324, 1e-290, 1e290
SPECIALS = (0.0, -0.0, TINY, -TINY, 1e-310, math.inf, -math.inf, math.nan)
NAMES = [name for name in RULES if name != "pow_x"]  # a helper of pow's; its edges are the ones of pow
nan, f = math.nan, np.float64

# ---- the reference: name -> (value, partials from the result, which edges are cut where exactly 0) --------


def unless_nan(o, *partials):
    return [nan if o != o else d for d in partials]


def power(x, y):
    return np.power([x, x], [y, y])[0]  # one exponent for all, and NumPy takes a root where it is 0.5


def power_slope(o, x, y):
    """o y/x, whose range is wider than that of y x**(y-1), unless o or x says nothing any more."""
    if y == 0 or o != o:
        return y and nan
    if x == 0 or o == 0 or math.isinf(o):
        return y * power(x, y - 1)
    return min(y * (o / x), o * (y / x), key=abs)  # either may overflow on the way


def laps(o, x, y):
    return -np.rint((x - o) / y) if math.isfinite(y) else f(o != x)  # o is x, or x + y


def softmax(o, *xs):
    terms = [np.exp(x - o) if x != o or x < 0 else f(1) for x in xs]
    return [term / sum(terms) for term in terms]


def halved(xs):
    n = len(xs) // 2
    return xs[:n], xs[n : 2 * n], xs[2 * n :]


def dot(*xs):
    weights, inputs, bias = halved(xs)
    return sum((w * x for w, x in zip(weights, inputs)), *bias or [f(0)])


def dot_slopes(o, *xs):
    weights, inputs, bias = halved(xs)
    return [*inputs, *weights, *(1.0 for _ in bias)]


def sigmoid(x):
    e = np.exp(-abs(x))
    return (1 if x >= 0 else e) / (1 + e)


def dsigmoid(x):
    e = np.exp(-abs(x))
    return e / (1 + e) ** 2


def bell(x, rate):
    return np.exp(-rate * x * x)


def normal_cdf(x):
    return f(math.erfc(-x / math.sqrt(2)) / 2)


def bent(o, x, left, at_0):
    return unless_nan(o, 1.0 if x > 0 else left if x < 0 else min(max(at_0, 0.0), 1.0))


def shares(o, *xs):
    return unless_nan(o, *(f(x == o) / max(sum(y == o for y in xs), 1) for x in xs))


def within(o, x, low, high):
    return unless_nan(o, f(low <= x <= high))


def sinc(x):
    """NumPy's, but 0 at whole numbers."""
    return np.sinc(x) if x == 0 or x % 1 else (-1) ** (x % 2) * 0 / x


def sinc_slope(o, x):
    return [f(-3.3) * x if abs(x) < 1e-9 else (np.cos(np.pi * x) - o) / x]


def over_square(x, y):
    h = np.hypot(x, y)
    return x / h / h


def entry(index, *xs):
    return next((x for k, x in enumerate(xs) if index == k), f(math.nan))


def ends(f):
    return f, None


IEEE = {
    "identity": (lambda x: x, lambda o, x: [1.0]),
    "neg": (np.negative, lambda o, x: [-1.0]),
    "add": (np.add, lambda o, x, y: [1.0, 1.0]),
    "sub": (np.subtract, lambda o, x, y: [1.0, -1.0]),
    "mul": (np.multiply, lambda o, x, y: [y, x]),
    "div": (np.divide, lambda o, x, y: [1 / y, -o / y]),
    "fmod": (np.fmod, lambda o, x, y: unless_nan(o, 1.0, laps(o, x, y))),
    "remainder": (np.remainder, lambda o, x, y: unless_nan(o, 1.0, laps(o, x, y))),
    "sum": (lambda *xs: sum(xs), lambda o, *xs: [1.0] * len(xs)),
    "dot": (dot, dot_slopes),
    "logsumexp": (lambda *xs: np.logaddexp.reduce(xs), softmax),
    "pow": (
        power,
        lambda o, x, y: [power_slope(o, x, y), 0.0 if x == 0 and y >= 0 else o * np.log(x)],
    ),
    "powc": (power, lambda o, x, n: [power_slope(o, x, n)]),
    "sqrt": (np.sqrt, lambda o, x: [0.5 / abs(o)]),
    "hypot": (np.hypot, lambda o, x, y: [x / (o or 1.0), y / (o or 1.0)]),
    "exp": (np.exp, lambda o, x: [o]),
    "expm1": (np.expm1, lambda o, x: [np.exp(x)]),
    "log": (np.log, lambda o, x: unless_nan(o, 1 / (x + 0.0))),
    "log1p": (np.log1p, lambda o, x: unless_nan(o, 1 / (1 + x))),
    "xlogx": (lambda x: x and x * np.log(x), lambda o, x: [np.log(x) + 1]),
    "sin": (np.sin, lambda o, x: [np.cos(x)]),
    "cos": (np.cos, lambda o, x: [-np.sin(x)]),
    "tan": (np.tan, lambda o, x: [1 + o * o]),
    "asin": (np.arcsin, lambda o, x: unless_nan(o, 1 / np.sqrt((1 - x) * (1 + x)))),
    "acos": (np.arccos, lambda o, x: unless_nan(o, -1 / np.sqrt((1 - x) * (1 + x)))),
    "atan": (np.arctan, lambda o, x: [1 / (1 + x * x)]),
    "atan2": (np.arctan2, lambda o, y, x: [over_square(x, y), over_square(-y, x)]),
    "sinh": (np.sinh, lambda o, x: [np.cosh(x)]),
    "cosh": (np.cosh, lambda o, x: [np.sinh(x)]),
    "tanh": (np.tanh, lambda o, x: [1 / np.cosh(x) ** 2]),
    "sech2": (lambda x: 1 / np.cosh(x) ** 2, lambda o, x: [-2 * np.tanh(x) * o]),
    "asinh": (np.arcsinh, lambda o, x: [1 / np.hypot(1, x)]),
    "acosh": (np.arccosh, lambda o, x: unless_nan(o, 1 / np.sqrt(x - 1) / np.sqrt(x + 1))),
    "atanh": (np.arctanh, lambda o, x: unless_nan(o, 1 / ((1 - x) * (1 + x)))),
    "sigmoid": (sigmoid, lambda o, x: [dsigmoid(x)]),
    "dsigmoid": (dsigmoid, lambda o, x: [-np.tanh(x / 2) * o]),
    "softplus": (lambda x: np.logaddexp(0, x), lambda o, x: [sigmoid(x)]),
    "silu": (lambda x: x * sigmoid(x), lambda o, x: [sigmoid(x) + x * dsigmoid(x)]),
    "gelu": (lambda x: x * normal_cdf(x), lambda o, x: [normal_cdf(x) + x * bell(x, 0.5) / 2.5066]),
    "erf": (lambda x: f(math.erf(x)), lambda o, x: [2 / np.sqrt(np.pi) * bell(x, 1)]),
    "softsign": (
        lambda x: np.sign(x) if np.isinf(x) else x / (1 + abs(x)),
        lambda o, x: [1 / (1 + abs(x)) / (1 + abs(x))],
    ),
    "erfc": (lambda x: f(math.erfc(x)), lambda o, x: [-2 / np.sqrt(np.pi) * bell(x, 1)]),
    "sinc": (sinc, sinc_slope),
    "elu": (lambda x, a: x if x > 0 else a * np.expm1(x), lambda o, x, a: bent(o, x, a * np.exp(x), a)),
    "leaky_relu": (lambda x, s: x if x > 0 else s * x, lambda o, x, s: bent(o, x, s, s)),
    "relu": (lambda x: np.maximum(x, 0), lambda o, x: unless_nan(o, f(x > 0))),
    "abs": (np.abs, lambda o, x: [np.sign(x)]),
    "max": (lambda *xs: np.maximum.reduce(xs), shares),
    "min": (lambda *xs: np.minimum.reduce(xs), shares),
    "clamp": (np.clip, within),
    "hardtanh": (np.clip, within),
    "clip": (np.clip, within),
    "where": (
        lambda c, x, y: x if c else y,
        lambda o, c, x, y: [0.0, *((*unless_nan(o, 1.0), 0.0) if c else (0.0, *unless_nan(o, 1.0)))],
    ),
    "take": (entry, lambda o, index, *xs: [0.0, *(f(index == k) for k in range(len(xs)))]),
    "floor": ends(np.floor),
    "ceil": ends(np.ceil),
    "round": ends(np.rint),
    "sign": ends(np.sign),
    "step": ends(lambda x: np.heaviside(x, 0)),
    "gt": ends(lambda x, y: x > y),
    "ge": ends(lambda x, y: x >= y),
    "eq": ends(lambda x, y: x == y),
    "ne": ends(lambda x, y: x != y),
}
# P4: their partials of exactly 0 are no edges
SELECTS = {"relu", "max", "min", "clip", "clamp", "hardtanh", "where", "take"}


# ---- programs ----------------------------------------------------------------------------------------------


def special_program(seed: int) -> Program:
    """Up to a dozen operations on ordinary and special numbers; anything may meet anything."""
    rng = random.Random(f"specials {seed}")
    ordinary = (lambda: rng.uniform(-3.0, 3.0), lambda: float(rng.randrange(-3, 4)))
    inputs = [rng.choice(SPECIALS) if rng.random() < 0.6 else rng.choice(ordinary)() for _ in range(5)]
    steps = []
    for nodes in range(5, 5 + rng.randint(2, 12)):
        name = rng.choice(NAMES)
        count = RULES[name].operands or rng.randint(1, 5)
        operands = tuple(rng.randrange(nodes) for _ in range(count))
        steps.append(Step(name, operands, rng.choice(CONSTANTS.get(name, [()]))))
    return Program(seed, tuple(inputs), tuple(steps))


def kind(x: float) -> str:
    return (
        "nan"
        if x != x
        else "zero"
        if x == 0
        else "finite"
        if math.isfinite(x)
        else "inf"
        if x > 0
        else "-inf"
    )


def alike(got: float, expected: float, size: float = 0.0) -> bool:
    """Whether two numbers are of one class; at the borders of the doubles and where a sum cancels, nearly."""
    if kind(got) == kind(expected):
        return True
    sizes = sorted((abs(got), abs(expected)))
    return sizes[1] < max(SMALL, 1e-13 * size if size < math.inf else 0.0) or (
        got * expected > 0 and sizes[0] > LARGE
    )


def misclassified(program: Program) -> list[str]:
    """The nodes and adjoints, in the sweep of floats and the recorded one, that IEEE says are otherwise."""
    nodes = run(program, map(Value, program.inputs), lambda name, xs, constants: OPS[name](*xs, *constants))
    adjoints = sweep({nodes[-1]: 1.0})
    recorded = {v: g.data for v, g in sweep_graph({nodes[-1]: Value(1.0)}).items()}
    wrong, first = [], len(program.inputs)
    arrives, size, cut = defaultdict(float), defaultdict(float), set()
    arrives[len(nodes) - 1] = 1.0

    def check(what: str, i: int, got: float, expected: float, size: float = 0.0) -> None:
        if not alike(got, expected, size):
            wrong.append(f"{what} of {program.name(i)}: {expected!r} expected, got {got!r}")

    with np.errstate(all="ignore"):
        for i in reversed(range(len(nodes))):
            if i in arrives:
                check("adjoint", i, adjoints.get(nodes[i], 0.0), arrives[i], size[i])
            if i not in cut:
                check("recorded", i, recorded.get(nodes[i], 0.0), adjoints.get(nodes[i], 0.0), size[i])
            if i < first:
                continue
            step = program.steps[i - first]
            value, partials = IEEE[step.name]
            xs = [f(nodes[k].data) for k in step.operands]
            check("value", i, nodes[i].data, float(value(*xs, *step.constants)))
            if partials is None or i not in arrives:
                cut.update(step.operands if i in cut else ())
                continue
            g = adjoints[nodes[i]]
            for k, d in zip(step.operands, partials(f(nodes[i].data), *xs, *step.constants)):
                if d == 0 and step.name in SELECTS:
                    cut.add(k)
                    continue
                if i in cut:
                    cut.add(k)
                arrives[k] += float(d * g)
                size[k] += abs(float(d * g))
    return [f"{text}\n{program.source()}" for text in wrong]


def test_the_reference_has_every_operation():
    assert list(IEEE) == NAMES
    assert {name for name in NAMES if OPS[name].selects} == SELECTS
    assert {name for name in IEEE if IEEE[name][1] is None} == {n for n in NAMES if OPS[n].partials is None}


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_every_value_and_every_adjoint_is_of_the_right_class(chunk):
    wrong = []
    for seed in range(PROGRAMS * chunk // CHUNKS, PROGRAMS * (chunk + 1) // CHUNKS):
        wrong += misclassified(special_program(seed))
    assert not wrong, f"{len(wrong)} are of another class; the first:\n\n" + "\n\n".join(wrong[:3])


@pytest.mark.parametrize(
    "name, slopes",
    [
        ("log", lambda o, x: (1.0 / x if x else math.copysign(math.inf, x),)),  # no nan below 0, -inf at -0.0
        ("hypot", lambda o, x, y: (x / o, y / o) if o else (math.nan, math.nan)),
        ("max", lambda o, *xs: tuple(float(x == max(xs)) for x in xs)),  # a nan is forgotten
    ],
)
def test_a_rule_of_the_wrong_class_is_caught(monkeypatch, name, slopes):
    monkeypatch.setattr(OPS[name], "slopes", slopes)
    assert any(misclassified(special_program(seed)) for seed in range(1500))
