"""Certified intervals: the truth is never outside, and the intervals are narrow.

The truth of single functions is Arb's, in balls with proved radii (python-flint); of random programs, that of
the 300-bit oracle. PROGRAMS in the environment sets how many, SEED where they begin.
"""

import math
import os
import random
import statistics
from collections import defaultdict

import flint
import pytest
from support.oracle import EXACT, sweep
from support.programs import random_program, run

import tinygrad_bp as tg
from tinygrad_bp import Value, bounds
from tinygrad_bp.check.bounds import COLUMN, Interval
from tinygrad_bp.engine import edges, newest_first
from tinygrad_bp.ops import OPS, TABLE

PROGRAMS = int(os.environ.get("PROGRAMS", "2000"))
SEED = int(os.environ.get("SEED", "0")) * 10_000_000

ARB = {
    "add": lambda x, y: x + y, "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y, "div": lambda x, y: x / y,
    "sqrt": lambda x: x.sqrt(), "hypot": lambda x, y: (x * x + y * y).sqrt(), "exp": lambda x: x.exp(),
    "expm1": lambda x: x.expm1(), "log": lambda x: x.log(), "log1p": lambda x: x.log1p(),
    "erf": lambda x: x.erf(), "sin": lambda x: x.sin(), "cos": lambda x: x.cos(), "tan": lambda x: x.tan(),
    "asin": lambda x: x.asin(), "acos": lambda x: x.acos(), "atan": lambda x: x.atan(),
    "atan2": lambda y, x: flint.arb.atan2(y, x), "sinh": lambda x: x.sinh(), "cosh": lambda x: x.cosh(),
    "tanh": lambda x: x.tanh(), "sech2": lambda x: 1 / x.cosh() ** 2, "asinh": lambda x: x.asinh(),
    "acosh": lambda x: x.acosh(), "atanh": lambda x: x.atanh(), "sigmoid": lambda x: 1 / (1 + (-x).exp()),
    "dsigmoid": lambda x: 1 / ((1 + (-x).exp()) * (1 + x.exp())), "pow": lambda x, y: (y * x.log()).exp(),
    "gauss": lambda x: (-x * x).exp(), "normal_cdf": lambda x: (-x / flint.arb(2).sqrt()).erfc() / 2,
    "logsumexp": lambda x, y: (x.exp() + y.exp()).log(), "softplus": lambda x: (1 + x.exp()).log(),
    "log2": lambda x: x.log() / flint.arb(2).log(), "log10": lambda x: x.log() / flint.arb(10).log(),
    "cbrt": lambda x: x.root(3) if x > 0 else -(-x).root(3),
    "silu": lambda x: x / (1 + (-x).exp()), "gelu": lambda x: x * (-x / flint.arb(2).sqrt()).erfc() / 2,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _precise():
    bits, flint.ctx.prec = flint.ctx.prec, 300
    yield
    flint.ctx.prec = bits


def holds(interval, truth):
    """Whether the interval holds a ball of Arb: its ends are exact in doubles."""
    return not (flint.arb(interval.low) > truth or flint.arb(interval.high) < truth)


def drawn(op, rng):
    xs = []
    for i in range(op.operands or 2):
        low, high = op.domain[i] if i < len(op.domain) else (-math.inf, math.inf)
        size = 10.0 ** rng.uniform(-6, 1.3)
        x = size if low == 0.0 else 1.0 + size if low == 1.0 else rng.choice((-1.0, 1.0)) * size
        xs.append(min(max(x, math.nextafter(low, math.inf)), math.nextafter(high, -math.inf)))
    return xs


@pytest.mark.parametrize("name", ARB)
def test_a_function_at_a_point_holds_the_truth(name):
    op, rng, widths = OPS[name].at(), random.Random(name), []
    for _ in range(400):
        xs = drawn(op, rng)
        found = op(*[Interval(x, x) for x in xs])
        truth = ARB[name](*map(flint.arb, xs))
        assert holds(found, truth), (name, xs)
        widths.append(found.width / math.ulp(float(truth.mid())))
    assert statistics.median(widths) <= 16


@pytest.mark.parametrize("name", ARB)
def test_a_function_of_an_interval_holds_what_is_between(name):
    op, rng = OPS[name].at(), random.Random(name)
    for _ in range(200):
        pairs = [sorted(pair) for pair in zip(drawn(op, rng), drawn(op, rng))]
        found = op(*[Interval(*pair) for pair in pairs])
        for _ in range(4):
            xs = [min(max(rng.uniform(*pair), pair[0]), pair[1]) for pair in pairs]
            truth = ARB[name](*map(flint.arb, xs))
            assert not truth.is_finite() or holds(found, truth), (name, pairs, xs)


def test_every_operation_has_an_interval():
    for name in TABLE:
        assert name in COLUMN or OPS[name].formula, f"{name}: add its column to check/bounds.py"


def sizes(root, leaves):
    """What the widths are measured by: the sums of magnitudes that make the value and the gradients."""
    size = defaultdict(float, {root: 1.0})
    for v in newest_first([root]):
        for x, d in edges(v):
            size[x] += abs(d) * size[v]
    return [sum(g * abs(v.data) for v, g in size.items()), *(size[v] for v in leaves)]


def test_random_programs_hold_the_truth_and_are_narrow():
    print("programs from", SEED)
    widths, outside = [], []
    for seed in range(SEED, SEED + PROGRAMS):
        program = random_program(seed)
        leaves = [Value(x) for x in program.inputs]
        root = run(program, leaves, lambda name, xs, constants: OPS[name](*xs, *constants))[-1]
        found = bounds(root)
        values, adjoints = sweep(program, EXACT)
        pairs = [(found.value, values[-1])]
        pairs += [(found[v], adjoints[i]) for i, v in enumerate(leaves) if v in found.gradients]
        scales = sizes(root, [v for v in leaves if v in found.gradients])
        for (interval, truth), size in zip(pairs, scales):
            number = EXACT.context.mpf
            if not number(interval.low) <= truth <= number(interval.high):
                outside.append((seed, interval, truth))
            elif size and math.isfinite(interval.width):
                widths.append(interval.width / math.ulp(size))
    assert not outside
    assert statistics.median(widths) <= 30, statistics.median(widths)


@pytest.mark.parametrize(
    "f, x, slopes",
    [(tg.relu, 0.0, (0.0, 1.0)), (tg.abs, 0.0, (-1.0, 1.0)), (lambda x: tg.max(x, 1.0), 1.0, (0.0, 1.0)),
     (lambda x: tg.clip(x, 0.0, 1.0), 1.0, (0.0, 1.0)), (lambda x: tg.leaky_relu(x, 0.1), 0.0, (0.1, 1.0)),
     (lambda x: tg.hypot(x, 0.0), 0.0, (-1.0, 1.0))],
)  # fmt: skip
def test_at_a_kink_the_gradient_is_all_slopes_around_it(f, x, slopes):
    leaf = Value(x)
    found = bounds(f(leaf))[leaf]
    assert found.low <= slopes[0] and slopes[1] <= found.high
    assert found.low >= slopes[0] - 1e-15 and found.high <= slopes[1] + 1e-15


def test_numbers_in_rules_that_are_rounded_already():
    """2/√π and 1/√(2π) are in the slopes of erf, normal_cdf and gelu."""
    root = flint.arb.pi().sqrt()
    for f, truth in ((tg.erf, 2 / root), (tg.normal_cdf, 1 / (flint.arb(2).sqrt() * root))):
        x = Value(0.0)
        assert holds(bounds(f(x))[x], truth) and bounds(f(x))[x].width < 1e-14


def test_where_nothing_is_known_the_interval_is_unbounded():
    x = Value(0.0)
    for y in (1.0 / x, tg.log(x), tg.sqrt(x), tg.log(x - 1.0)):
        assert bounds(y)[x].width == math.inf
    assert bounds(tg.exp(Value(800.0))).value.high == math.inf


def test_cancellation_is_seen():
    x = Value(1e-9, label="x")
    found = bounds((1.0 + x) - 1.0)
    assert 1e-9 in found.value and found.value.width > 1e-17
    assert found[x].low == found[x].high == 1.0


def test_certain_digits_are_printed():
    x, y = Value(0.1, label="x"), Value(2.0)
    text = str(bounds(tg.sin(x) * y))
    assert text.splitlines()[0] == "certain digits, and the interval:"
    assert "value  0.199666833293656" in text and "and 1 leaves without a label" in text
    for low, high, known in ((1.25, 1.25, "1.25"), (1.0, 1.2, "1?"), (-2.0, 3.0, "?"), (0.0, math.inf, "?"),
                             (1.234e20, 1.2341e20, "1.234e20?"), (123.456, 123.457, "123.46?")):  # fmt: skip
        assert Interval(low, high).known() == known, (low, high)


def test_a_network_is_certified():
    model = tg.MLP(3, [4, 1], act="tanh", rng=random.Random(0))
    loss = tg.losses.squared_error(model([0.5, -1.0, 0.25]), 0.3)
    found = bounds(loss)
    loss.backward()
    for p in model.parameters():
        assert p.grad in found[p] or abs(p.grad - found[p].low) < 1e-15
        assert found[p].width < 1e-13


def test_what_cannot_be_bounded_is_refused():
    with pytest.raises(TypeError, match="bounds takes a Value, not 3"):
        bounds(3.0)
    cube = tg.op("cube_of_bounds", lambda x: x * x * x, lambda o, x: (3.0 * x * x,))
    with pytest.raises(TypeError, match="there is no interval rule for 'cube_of_bounds': write its value in"):
        bounds(cube(Value(2.0)))
