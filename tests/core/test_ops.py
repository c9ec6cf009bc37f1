"""The table of operations, held row by row to what it says of itself.

Values and partials are compared with the exact values of tests/support/rows.py, in mpmath at 400 bits and
more, over the whole range of the floats: random operands of mixed magnitudes, and the edges.  A partial's
truth is the numerical derivative of the exact value, so no derivative is written down twice.  Derivatives to
order 3, the attributes (kink, selects, singular, tex) and operations declared by users follow.
"""

import copy
import math
import pickle
import random
import sys
from functools import partial
from math import inf

import pytest
from support.rows import BITS, ROWS, instances, line_to_add, mp, mpf, names

from tinygrad_bp import Value, ops
from tinygrad_bp.graph_sweep import sweep_graph
from tinygrad_bp.ops import OPS, TABLE, op

SLOPED, RECORDED = [name for name in sorted(TABLE) if OPS[name].partials], names()
HUGE, TINY, NORMAL = sys.float_info.max, 5e-324, sys.float_info.min


# --- operands -----------------------------------------------------------------------------------------------

EDGES = [0.0, 1.0, 0.5, 2.0, 1e-8, 1e8, 1e-300, NORMAL, HUGE, math.pi / 2, 745.0, 20.0, 40.0]


def random_number(rng, low, high):
    """A float between low and high: near, far, of any magnitude, or at an edge."""
    while True:
        x = rng.choice((
            rng.uniform(-3.0, 3.0),
            rng.uniform(-3.0, 3.0),
            rng.uniform(-750.0, 750.0),
            rng.choice((-1, 1)) * 10.0 ** rng.uniform(-20.0, 20.0),
            rng.choice((-1, 1)) * 10.0 ** rng.uniform(-307.0, 308.0),
            rng.choice((-1, 1)) * rng.choice(EDGES),
            rng.choice((low, high)) * (1.0 + rng.randrange(-9, 10) * 2.0**-52),
            rng.choice((low, high)) + rng.choice((-1, 1)) * 10.0 ** rng.uniform(-20.0, 0.0),
            float(rng.randrange(-9, 10)),
        ))  # fmt: skip
        if low <= x <= high and math.isfinite(x):
            return x


def random_operands(row, rng):
    count = rng.randint(1, 6) if row.operands is None else row.operands
    domain = row.domain or ((-inf, inf),) * count
    xs = [random_number(rng, *interval) for interval in domain]
    return [float(rng.randrange(count)), xs[0], *xs[1:]] if row.name == "take" else xs


def cases(name, count):
    """Rows with their constants, and operands; powers of negative numbers too, which have whole exponents."""
    rng = random.Random(name)
    for i in range(count):
        row = rng.choice(instances(name))
        xs = random_operands(row, rng)
        if name in ("pow", "pow_x") and i % 10 == 0:
            xs = [-xs[0], float(rng.randrange(-5, 6))]
        if name in ("powc", "powc_x") and row.constant_values[0] % 1.0 == 0 and i % 3 == 0:
            xs = [-xs[0]]
        yield row, xs


def bits_for(*xs):
    """Enough to hold the sum of the greatest and the least of these to 400 bits, and tanh(400) - 1."""
    sizes = [abs(x) for x in xs if x] or [1.0]
    return int(mp.log(max(1.0, *sizes), 2) - mp.log(min(1.0, *sizes), 2)) + BITS + 1400


def exact(row, xs):
    """The true value, or None where there is none (a pole, 0 * inf, 0 ** -1)."""
    try:
        with mp.workprec(bits_for(*xs)):
            value = ROWS[row.name].exact(*map(mpf, xs), *map(mpf, row.constant_values))
    except (ZeroDivisionError, ValueError):
        return None
    if row.name == "atan2" and xs[0] == 0:
        return None  # mpmath knows no -0.0
    if row.operands is None and sum(map(abs, xs)) > HUGE / 1e9:
        return None  # may overflow on the way
    return value if mp.isfinite(value) else None


def exact_partial(row, xs, i):
    """d value / d x_i, by a central difference so narrow, in so many bits, that it errs below 2**-200."""
    sizes = [abs(x) for x in xs if x] or [1.0]
    step = mpf(2) ** -150 * min(1.0, *sizes) / max(1.0, *sizes)
    with mp.workprec(bits_for(step, *xs)):
        sides = [[mpf(x) + s * (i == k) for k, x in enumerate(xs)] for s in (-step, step)]
        low, high = (ROWS[row.name].exact(*side, *map(mpf, row.constant_values)) for side in sides)
        return (high - low) / (2 * step)


def unit(x):
    """The unit in the last place of a true number, which may be beyond the floats."""
    return mpf(math.ulp(min(abs(float(x)), HUGE)))


def error(got, true, magnitude=0, grain=0):
    """In units in the last place of the greatest of |true| and magnitude, or in grains if one is coarser.

    inf counts as the first number beyond the floats, 2**1024.
    """
    beyond = mpf(2) ** 1024
    true = max(-beyond, min(beyond, true))
    got = math.copysign(1.0, got) * beyond if math.isinf(got) else got
    return inf if got != got else float(abs(got - true) / max(grain, unit(max(abs(true), magnitude))))


# --- accuracy -----------------------------------------------------------------------------------------------


def test_every_row_has_a_record():
    missing = TABLE - ROWS.keys()
    lines = "\n".join(line_to_add(name) for name in sorted(missing))
    assert not missing, f"add to tests/support/rows.py, with its exact value for the dots:\n{lines}"
    assert not ROWS.keys() - TABLE, "these records have no row"


@pytest.mark.parametrize("name", RECORDED)
def test_value(name):
    errors = []
    for row, xs in cases(name, 300):
        true, got = exact(row, xs), row.value(*xs)
        if true is not None:
            operands = [*map(mpf, xs), *map(mpf, row.constant_values)]
            magnitude = ROWS[name].magnitude(*operands)
            grain = TINY * ROWS[name].grain(*operands)
            told = f"{row} of {xs}: {got!r}, truly {float(true)!r}"
            errors.append((error(got, true, magnitude, grain), told))
    assert max(errors)[0] <= ROWS[name].value_units, max(errors)


@pytest.mark.parametrize("name", names(sloped=True))
def test_partials(name):
    errors = []
    for row, xs in cases(name, 100 if OPS[name].operands else 30):
        o, operands = row.value(*xs), [*map(mpf, xs), *map(mpf, row.constant_values)]
        if not math.isfinite(o) or not smooth(row, xs):
            continue
        for i, got in enumerate(row.slopes(o, *xs)):
            true = exact_partial(row, xs, i)
            magnitude = ROWS[name].partial_magnitude(i, *operands)
            grain = TINY * ROWS[name].grain(*operands)
            if 0 < abs(o) < NORMAL:  # the rule is written on a result that has lost digits
                grain = max(grain, abs(TINY * true / o))
            told = f"partial {i} of {row} of {xs}: {got!r}, truly {float(true)!r}"
            errors.append((error(got, true, magnitude, grain), told))
    assert max(errors)[0] <= ROWS[name].partial_units, max(errors)


def smooth(row, xs):
    """Whether a numerical derivative exists at xs, by every operand."""
    if row.name in ("fmod", "remainder"):  # their jumps must not be too close together
        return row.value(*xs) != 0 and abs(xs[0]) < 1e20 * abs(xs[1])
    if row.name == "atan2" and math.hypot(*xs) == inf:
        return False
    if row.name in ("pow", "pow_x"):
        return xs[0] > 0 and 1e-7 < abs(xs[1]) < 1e100
    ends = [x in interval for x, interval in zip(xs, row.domain)]
    return not any(ends) and 0.0 not in row.kinks(*xs)


@pytest.mark.parametrize("exponent", [0.1, 0.1 + 2.0**-55, -0.3, 1e-7, 1e17, -1e17])
def test_the_slope_of_a_power_does_not_round_its_exponent(exponent):
    """Exponent - 1 is no float for these: 642 units in the last place with it."""
    x = 1e300 if abs(exponent) < 1 else 1.0 + 2.0**-50
    pair = [x, exponent]
    for row, xs in ((ops.powc.at(exponent), [x]), (ops.pow, pair), (ops.pow_x.at(1.0), pair)):
        for i, got in enumerate(row.slopes(row.value(*xs), *xs)):
            true = exact_partial(row, xs, i)
            assert error(got, true) <= 4.0, (row, i, got, true)


# --- second and third derivatives ---------------------------------------------------------------------------


def swept(y, *xs):
    """d y / d x1 d x2 ..., by one recorded sweep after the other."""
    for x in xs:
        y = sweep_graph({y: Value(1.0)}).get(x, Value(0.0))
    return y.data


def smooth_points(row, rng):
    """Points of order one, and 0.0 and -0.0 in the place of each operand, wherever the row is smooth."""
    count = row.operands or 5
    for i in range(4):
        xs = [rng.uniform(0.2, 0.9) * rng.choice((1, 1, -1)) + (row.name == "acosh") for _ in range(count)]
        for zeroed in ([], [(i % count, 0.0)], [(i % count, -0.0)]):
            ys = [dict(zeroed).get(k, x) for k, x in enumerate(xs)]
            ys = [float(i), *ys[1:]] if row.name == "take" else ys
            if zeroed and row.name == "softsign":
                continue  # its slope has a kink there
            inside = all(low < y < high for y, (low, high) in zip(ys, row.domain))
            if inside and all(abs(side) > 0 for side in row.kinks(*ys)):
                yield ys


@pytest.mark.parametrize("name", names(sloped=True))
def test_derivatives_to_order_3(name):
    rng = random.Random(name)
    seen = 0
    for row in instances(name):
        constants = tuple(map(mpf, row.constant_values))
        for xs in smooth_points(row, rng):
            leaves = list(map(Value, xs))
            y = row(*leaves)
            for _ in range(4):
                by = [rng.randrange(len(xs)) for _ in range(rng.choice((1, 2, 3)))]
                orders = tuple(map(by.count, range(len(xs))))
                true = float(mp.diff(partial(exact_at, name, constants), xs, orders))
                got = swept(y, *(leaves[i] for i in by))
                assert got == pytest.approx(true, rel=1e-11, abs=1e-11), (row, xs, by)
                seen += 1
    assert seen >= 8


def exact_at(name, constants, *xs):
    return ROWS[name].exact(*xs, *constants)


ABOUT_0 = ["tanh", "sech2", "sigmoid", "dsigmoid", "softplus", "silu", "gelu", "erf", "gauss", "normal_cdf"]


@pytest.mark.parametrize("zero", [0.0, -0.0])
@pytest.mark.parametrize("name", ABOUT_0)
def test_third_derivative_at_zero(name, zero):
    """Where a rule written with |x| would answer 0."""
    x, row = Value(zero), instances(name)[0]
    for order in (1, 2, 3):
        true = mp.diff(partial(exact_at, name, tuple(map(mpf, row.constant_values))), 0, order)
        assert swept(row(x), *[x] * order) == pytest.approx(float(true), rel=1e-14, abs=1e-14)


# --- one rule, three readings -------------------------------------------------------------------------------


def same(xs, ys):
    return [x.hex() for x in xs] == [y.hex() for y in ys]


@pytest.mark.parametrize("name", sorted(TABLE))
def test_value_is_the_same_for_floats_through_the_operation_and_on_values(name):
    for row, xs in cases(name, 40):
        value = row.value(*xs)
        assert type(value) is float
        assert same([row(*xs), row(*map(Value, xs)).data, OPS[name](*xs, *row.constant_values)], [value] * 3)
        if row.formula:  # of a composite, in the table's operations
            assert same([row.formula(*xs), row.formula(*map(Value, xs)).data], [value] * 2)


@pytest.mark.parametrize("name", SLOPED)
def test_partials_are_the_same_for_floats_through_the_operations_and_on_values(name):
    for row, xs in cases(name, 40):
        o = row.value(*xs)
        slopes = row.slopes(o, *xs)
        assert len(slopes) == len(xs)
        assert same(slopes, row.partials(o, *xs)), (row, xs)
        on_values = row.partials(Value(o), *map(Value, xs))
        assert same(slopes, [d.data if isinstance(d, Value) else d for d in on_values]), (row, xs)


# --- what a row says of itself ------------------------------------------------------------------------------

GRID = [0.0, 1.0, 0.5, 2.0, 3.0, 0.3, 20.0, 711.0, 1e-8, 1e-200, 1e200, TINY, HUGE]
GRID += [-x for x in GRID]


@pytest.mark.parametrize("name", SLOPED)
def test_singular_is_said_where_a_partial_can_be_non_finite_and_nowhere_else(name):
    rng = random.Random(name)
    singular = False
    for row in instances(name):
        for _ in range(3000):
            xs = [rng.choice(GRID) for _ in range(row.operands or rng.randint(1, 4))]
            finite = all(map(math.isfinite, row.slopes(row.value(*xs), *xs)))
            assert finite or row.singular, (row, xs)
            singular = singular or not finite
    assert singular == OPS[name].singular


def test_partials_of_what_selects_are_constant_between_the_kinks():
    rows = [name for name in sorted(TABLE) if OPS[name].selects]
    assert rows == ["clamp", "clip", "hardtanh", "max", "min", "relu", "take", "where"]
    for name in rows:
        for row, xs in cases(name, 200):
            ys = [x * (1.0 + 1e-9) for x in xs]
            ys = [xs[0], *ys[1:]] if name == "take" else ys
            if all(a * b > 0 for a, b in zip(row.kinks(*xs), row.kinks(*ys))):
                assert row.slopes(row.value(*xs), *xs) == row.slopes(row.value(*ys), *ys), (row, xs)


def test_the_kinks_of_max_are_where_another_number_becomes_the_largest():
    largest, least = OPS["max"].kinks, OPS["min"].kinks
    assert largest(1.0, 3.0, 2.0) == (-2.0, 1.0, -1.0) and least(1.0, 3.0, 2.0) == (1.0, -2.0, -1.0)
    assert largest(1.0, 1.0, 2.0) == (-1.0, -1.0, 1.0)  # a tie of what is not selected is none
    assert largest(2.0, 1.0, 2.0) == (0.0, -1.0, 0.0) and largest(5.0) == (inf,)


def test_no_power_selects():
    assert not any(OPS[name].selects for name in ("pow", "powc", "pow_x", "powc_x"))


def gap(row, xs, ys):
    """How far apart value and slopes are at xs and ys, relative to their size."""

    def answers(xs):
        o = row.value(*xs)
        return [max(-HUGE / 4, min(HUGE / 4, a)) for a in (o, *(row.slopes(o, *xs) if row.slopes else ()))]

    return max(abs(a - b) / (1.0 + abs(a) + abs(b)) for a, b in zip(answers(xs), answers(ys)))


def put(xs, i, x):
    return [*xs[:i], x, *xs[i + 1 :]]


def jumps(row, rng, count):
    """Where value or slope jumps: two points, one float apart in operand i."""
    ranges = [(max(low + 0.001, -4.0), min(high - 0.001, 4.0)) for low, high in row.domain]
    ranges = ranges or [(-4.0, 4.0)] * row.operands
    for _ in range(count):
        xs = [rng.choice((rng.uniform(*r), 0.0 if r[0] < 0 else r[0])) for r in ranges]
        i = rng.randrange(len(xs))
        low, high = ranges[i]
        ends = sorted((rng.uniform(low, high), 0.0 if low < 0 else high))
        a, b = (put(xs, i, x) for x in rng.choice((ends, (low, high))))
        while (middle := (a[i] + b[i]) / 2) not in (a[i], b[i]):
            m = put(xs, i, middle)
            a, b = (a, m) if gap(row, a, m) > gap(row, m, b) else (m, b)
        if gap(row, a, b) > 0.01:
            yield a, b, i


@pytest.mark.parametrize("name", [name for name in sorted(TABLE) if OPS[name].operands])
def test_kink_is_zero_or_changes_sign_where_value_or_slope_jumps(name):
    rng = random.Random(name)
    found = 0
    for row in instances(name):
        for a, b, i in jumps(row, rng, 80 // len(instances(name))):
            found += 1
            assert row.kink, (row, a, b)
            around = zip(row.kinks(*put(a, i, a[i] - 1e-9)), row.kinks(*put(b, i, b[i] + 1e-9)))
            crossed = any(low * high < 0 for low, high in around)
            assert crossed or 0 in (*row.kinks(*a), *row.kinks(*b)), (row, a, b)
    assert bool(found) == bool(OPS[name].kink)  # and none is claimed where nothing jumps


@pytest.mark.parametrize("name", sorted(TABLE))
def test_tex_names_every_operand_and_constant(name):
    row = OPS[name]
    operands = ["a", "b", "c"][: row.operands]
    constants = [f"k{i}" for i in range(len(row.constants))]
    text = row.tex.format(*operands, *constants, xs="a, b, c")
    named = ["b"] if name == "nan_if" else operands or ["a, b, c"]  # what only spreads a nan is not written
    assert all(x in text for x in named + constants), text
    assert text.count("{") == text.count("}")


@pytest.mark.parametrize("name", sorted(TABLE))
def test_a_row_is_a_function_of_the_module_and_a_method(name):
    row = OPS[name]
    assert getattr(ops, name) is row and name in ops.__all__ and row.name == name
    if row.operands in (1, 2):
        x = 1.5 if name == "acosh" else 0.5
        others = [0.25] * (row.operands - 1) + [1.0] * len(row.constants)
        assert getattr(Value(x), name)(*others).data == row(x, *others)


def test_an_operation_on_any_number_of_operands_is_a_method_too():
    x, y = Value(2.0), Value(3.0)
    assert (x.sum(y, 1.0).data, x.dot(y).data) == (6.0, 6.0)
    assert x.logsumexp(y).data == ops.logsumexp(2.0, 3.0)


def test_an_operation_says_what_it_is():
    assert repr(ops.tanh) == "<op tanh>"
    assert repr(ops.clip.at(0, 1)) == "<op clip(0, 1)>"
    dunders = [row.dunder for row in OPS.values() if row.dunder]
    assert len(set(dunders)) == len(dunders)


# --- calling ------------------------------------------------------------------------------------------------


def refuses(message, f, *xs, **named):
    with pytest.raises((TypeError, ValueError)) as caught:
        f(*xs, **named)
    assert str(caught.value) == message


def test_constants_are_cached_by_value():
    at = ops.leaky_relu.at
    assert at(0.5) is at(0.5) is at(slope=0.5) is not at(0.25)
    assert ops.leaky_relu.at() is at(0.01)
    zero, minus_zero, nan = at(0.0), at(-0.0), at(math.nan)
    assert zero is not minus_zero and at(math.nan) is nan
    assert math.copysign(1.0, minus_zero(-0.0)) == 1.0 and math.copysign(1.0, zero(-0.0)) == -1.0
    assert ops.tanh.at() is ops.tanh and zero.at() is zero


def test_an_instance_nobody_uses_is_forgotten():
    before = len(ops.powc.instances)
    kept = ops.powc.at(123.5)
    assert len(ops.powc.instances) == before + 1
    del kept
    assert len(ops.powc.instances) == before


def test_constants_come_by_order_by_name_or_by_default():
    assert ops.clip(5.0, 0.0, 1.0) == ops.clip(5.0, 0.0, high=1.0) == ops.clip(5.0, high=1.0, low=0.0) == 1.0
    assert ops.leaky_relu(-1.0) == -0.01
    assert Value(-1.0).leaky_relu(slope=0.5).data == -0.5
    assert Value(3.0).clip(0, 1).data == 1.0
    assert ops.gauss(1.0) == ops.gauss(1.0, 1.0) == math.exp(-1.0)


def test_wrong_constants_are_refused():
    refuses("clip needs its constant 'low': clip(x, low=...)", ops.clip, 1.0)
    refuses("clip needs its constant 'high': clip(x, high=...)", Value(1.0).clip, 0.0)
    refuses("<op leaky_relu> takes 1 constant, got 2", ops.leaky_relu, 1.0, 0.1, 0.2)
    refuses("<op clip> has no constant 'top': it has low, high", ops.clip, 1.0, 0.0, 1.0, top=2.0)
    refuses("<op tanh> has no constant 'slope': it has none", ops.tanh, 1.0, slope=2.0)
    refuses("<op leaky_relu(0.1)> takes 0 constants, got 1", ops.leaky_relu.at(0.1).at, 0.2)


def test_a_wrong_number_of_operands_is_refused():
    refuses("tanh takes 1 operand, got 2", ops.tanh, 1.0, 2.0)
    refuses("hypot takes 2 operands, got 1", ops.hypot, Value(1.0))
    refuses("where takes 3 operands, got 0", ops.where)
    refuses("leaky_relu takes 1 operand, got 0", ops.leaky_relu)


def test_any_number_of_operands_may_come_in_one_list():
    x = Value(2.0)
    assert ops.sum(1.0, 2.0, 3.0) == ops.sum([1.0, 2.0, 3.0]) == 6.0
    assert ops.sum([x, 1]).data == ops.sum(x, 1).data == 3.0
    assert ops.sum(k * x for k in range(3)).data == 6.0
    assert ops.logsumexp([0.0, 0.0]) == math.log(2.0)
    assert ops.sum([]) == 0.0 and ops.logsumexp([]) == -inf


def test_dot_has_weights_then_inputs_then_a_bias():
    assert ops.dot(1.0, 2.0, 3.0, 4.0) == 11.0
    assert ops.dot(1.0, 2.0, 3.0, 4.0, 0.5) == 11.5
    assert ops.dot(1.0, 1.0, 1e-16, 1e-16, 1.0) == 1.0  # the bias comes first in the sum


def test_a_row_stays_one_object_when_copied_or_pickled():
    for row in (ops.tanh, ops.leaky_relu, ops.leaky_relu.at(0.5), ops.clip.at(-0.0, 1)):
        assert pickle.loads(pickle.dumps(row)) is row
        assert copy.deepcopy(row) is row


# --- operations declared by users ---------------------------------------------------------------------------


@pytest.fixture
def declared():
    """Declares operations for one test."""
    before = dict(OPS)
    yield op
    OPS.clear()
    OPS.update(before)


def test_a_declared_operation_is_a_function_and_a_method_and_has_all_derivatives(declared):
    cube = declared("cube", lambda x: x * x * x, lambda o, x: (3.0 * x * x,))
    x = Value(2.0)
    assert cube(2.0) == 8.0 and cube.operands == 1
    for y in (cube(x), x.cube(), OPS["cube"](x)):
        assert y.data == 8.0 and y.op is cube
        x.grad = 0.0
        y.backward()
        assert x.grad == 12.0
    assert [swept(cube(x), *[x] * n) for n in (1, 2, 3, 4)] == [12.0, 12.0, 6.0, 0.0]
    assert declared("cube", lambda x: x**3, lambda o, x: (3 * x**2,)) is OPS["cube"] is not cube


def test_a_declared_operation_may_use_the_table_and_have_constants(declared):
    swish = declared("swish", lambda x, b: x * ops.sigmoid(b * x),
                     lambda o, x, b: (ops.sigmoid(b * x) + b * x * ops.dsigmoid(b * x),),
                     composite=True, constants={"b": 1.0})  # fmt: skip
    x = Value(0.7)
    assert swish(0.7) == ops.silu(0.7)
    assert swept(x.swish(), x, x, x) == pytest.approx(swept(x.silu(), x, x, x), rel=1e-14)
    assert swish.at(2.0).formula(0.7) == x.swish(b=2.0).data == swish(0.7, 2.0)


def test_a_declared_operation_may_take_several_operands_or_any_number(declared):
    fma = declared("fma", lambda x, y, z: x * y + z, lambda o, x, y, z: (y, x, 1.0))
    xs = [Value(2.0), Value(3.0), Value(4.0)]
    fma(*xs).backward()
    assert [x.grad for x in xs] == [3.0, 2.0, 1.0]
    mean = declared("mean", lambda *xs: sum(xs) / len(xs), lambda o, *xs: (1.0 / len(xs),) * len(xs))
    y = mean(xs)
    y.backward()
    assert y.data == 3.0 and xs[0].grad == 3.0 + 1 / 3
    flat = declared("third", lambda x: x // 3.0, None)
    assert flat(Value(7.0)).data == 2.0 and flat.operands == 1


def test_a_bad_declaration_is_refused(declared):
    message = "the table has an operation 'tanh' already: choose another name"
    refuses(message, declared, "tanh", lambda x: x, None)
    message = "an operation is also a method, so its name must be a Python name: not 'my op'"
    refuses(message, declared, "my op", lambda x: x, None)
    wrong = declared("wrong", lambda x, y: x * y, lambda o, x, y: (y,))
    message = "the rule of 'wrong' must return a tuple of 2 partials, got (3.0,)"
    refuses(message, wrong(Value(2.0), 3.0).backward)
    bare = declared("bare", lambda x: 2.0 * x, lambda o, x: 2.0)
    refuses("the rule of 'bare' must return a tuple of 1 partial, got 2.0", bare(Value(2.0)).backward)
    for taken in ("data", "grad", "backward", "item"):
        message = f"Value has an attribute {taken!r} already: choose another name"
        refuses(message, declared, taken, lambda x: x, None)
    message = "'short': the rule takes o, and then what the value takes: lambda o, x: ..."
    refuses(message, declared, "short", lambda x: x * x, lambda x: (2.0 * x,))
    assert OPS["tanh"] is ops.tanh and not {"data", "short", "my op"} & OPS.keys()
