"""The vector functions of machine code against 300-bit arithmetic: within two units in the last place.

In every lane the same: alone, in a single vector, in a batch; and the edges answer as the table of operations
does.
"""

import math
import random

import mpmath
import pytest

import tinygrad_bp as tg
from tinygrad_bp import floats
from tinygrad_bp.compiler import compile

pytest.importorskip("llvmlite")


def scattered(rng, low, high):
    """Of any size between two powers of two, and of any sign."""
    return rng.choice((-1.0, 1.0)) * math.ldexp(rng.uniform(0.5, 1.0), rng.randint(low, high))


FUNCTIONS = {
    "exp": (mpmath.exp, lambda rng: rng.uniform(-745.0, 709.7)),
    "log": (mpmath.log, lambda rng: abs(scattered(rng, -1073, 1024))),
    "log1p": (mpmath.log1p, lambda rng: scattered(rng, -1070, 0)),
    "tanh": (mpmath.tanh, lambda rng: scattered(rng, -60, 5)),
}
LEAST = {"log": 0.0, "log1p": -1.0}
EDGES = [0.0, 1.0, 5e-324, 2.2e-308, 1.0 - 2.0**-53, 1.0 + 2.0**-52, 709.782712893384, 709.7827128933841]
EDGES += [745.1332191019411, 745.1332191019412, 1e308, math.inf, math.nan]
EDGES += [-x for x in EDGES]


def points(name):
    """Over the whole domain, and many where each function is small."""
    rng = random.Random(7)
    wide = [FUNCTIONS[name][1](rng) for _ in range(4000)]
    near = [rng.uniform(-3.0, 3.0) for _ in range(4000)] + [
        1.0 + rng.uniform(-1e-3, 1e-3) for _ in range(1000)
    ]
    return [x for x in wide + near if name not in ("log", "log1p") or x > {"log": 0.0, "log1p": -1.0}[name]]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_two_units_in_the_last_place(name):
    xs = points(name)
    found = compile(getattr(tg, name)).map(xs)
    with mpmath.workprec(300):
        for x, y in zip(xs, found):
            true = FUNCTIONS[name][0](mpmath.mpf(x))
            unit = math.ulp(max(abs(float(true)), 5e-324))
            assert abs(true - mpmath.mpf(y)) <= 2.0 * unit, (name, x, y)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_lanes_are_all_the_same(name):
    xs, f = points(name)[::997], compile(getattr(tg, name))
    alone = [f(x) for x in xs]
    for n in (3, 5, 8, 9):
        assert f.map(xs[:n]) == alone[:n]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_edges(name):
    f = compile(getattr(tg, name))
    for x, y in zip(EDGES, f.map(EDGES)):
        expected = getattr(floats, name, getattr(math, name))(x)
        if math.isnan(expected):
            assert math.isnan(y), (name, x, y)
        elif math.isinf(expected) or expected == 0.0:
            assert y == expected and math.copysign(1.0, y) == math.copysign(1.0, expected), (name, x, y)
        else:
            assert abs(y - expected) <= 2 * math.ulp(expected), (name, x, y)
