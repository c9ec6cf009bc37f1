"""The losses: values against NumPy and mpmath, gradients against formulas, stability at logits of ±1000.

Every loss is of one sample. Where one is a mean over outputs, a sum over two outputs would be twice it; the
tests with lists see to that.
"""

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import tinygrad_bp as tg
from tinygrad_bp import Value, losses

numbers = st.lists(st.floats(-5.0, 5.0), min_size=3, max_size=3)
REGRESSION = {
    "squared_error": lambda e: 0.5 * np.sum(e * e),
    "mse": lambda e: np.mean(e * e),
    "mae": lambda e: np.mean(abs(e)),
    "huber": lambda e: np.mean(np.where(abs(e) <= 1.0, 0.5 * e * e, abs(e) - 0.5)),
}
SLOPES = {
    "squared_error": lambda e: e,
    "mse": lambda e: 2.0 * e / 3.0,
    "mae": lambda e: np.sign(e) / 3.0,
    "huber": lambda e: np.clip(e, -1.0, 1.0) / 3.0,
}


@pytest.mark.parametrize("name", REGRESSION)
@given(ps=numbers, ts=numbers)
@settings(deadline=None, max_examples=60)
def test_regression_losses(name, ps, ts):
    loss, e = getattr(losses, name), np.array(ps) - np.array(ts)
    assert loss(list(map(Value, ps)), ts).data == pytest.approx(REGRESSION[name](e), rel=1e-14, abs=1e-300)
    slopes = tg.grad(lambda ps: loss(ps, ts))(ps)
    assert slopes == pytest.approx(list(SLOPES[name](e)), rel=1e-12, abs=1e-300)


@pytest.mark.parametrize("name", [*REGRESSION, "hinge", "bce_with_logits"])
def test_one_output_is_as_a_list_of_one(name):
    loss = getattr(losses, name)
    assert loss(Value(0.3), 1.0).data == loss([Value(0.3)], [1.0]).data == loss((Value(0.3),), (1.0,)).data
    assert loss(Value(0.3), Value(1.0)).data == loss(Value(0.3), 1).data
    two = loss([Value(0.3), Value(0.3)], [1.0, 1.0]).data
    assert two == pytest.approx(loss(Value(0.3), 1.0).data * (2.0 if name == "squared_error" else 1.0))


def test_huber_with_another_delta_meets_smoothly():
    for e in (-3.0, -0.5, 0.1, 0.5, 7.0):
        expected = 0.5 * e * e if abs(e) <= 0.5 else 0.5 * (abs(e) - 0.25)
        assert losses.huber(Value(e), 0.0, delta=0.5).data == pytest.approx(expected, rel=1e-15)
    assert tg.grad(lambda p: losses.huber(p, 0.0, 0.5))(0.5) == 0.5
    assert tg.grad(lambda p: losses.huber(p, 0.0, 0.5))(0.0) == 0.0


def test_huber_refuses_a_delta_that_is_none():
    for delta in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="huber: delta"):
            losses.huber(Value(1.0), 0.0, delta=delta)


@pytest.mark.parametrize(
    ("p", "t", "value", "slope"), [(0.25, 1, 0.75, -1), (2, 1, 0, 0), (0.5, -1, 1.5, 1), (1, 1, 0, 0)]
)
def test_hinge(p, t, value, slope):
    assert losses.hinge(Value(p), t).data == value
    assert tg.grad(lambda p: losses.hinge(p, t))(p) == slope


@given(st.floats(-800.0, 800.0), st.sampled_from([0.0, 1.0, 0.25, 0.9]))
@settings(deadline=None, max_examples=100)
def test_bce_with_logits_against_mpmath(z, t):
    with mpmath.workdps(400):
        s = 1 / (1 + mpmath.exp(-mpmath.mpf(z)))
        expected = float(-t * mpmath.log(s) - (1 - mpmath.mpf(t)) * mpmath.log(1 - s))
        slope, size = float(s - t), float(s + t)
    assert losses.bce_with_logits(Value(z), t).data == pytest.approx(expected, rel=1e-14, abs=1e-300)
    assert abs(tg.grad(lambda z: losses.bce_with_logits(z, t))(z) - slope) <= 1e-15 * size


@pytest.mark.parametrize(
    ("z", "t", "value", "slope"), [(1e3, 1, 0, 0), (-1e3, 0, 0, 0), (1e3, 0, 1e3, 1), (-1e3, 1, 1e3, -1)]
)
def test_bce_with_logits_is_stable(z, t, value, slope):
    assert losses.bce_with_logits(Value(z), t).data == value
    assert tg.grad(lambda z: losses.bce_with_logits(z, t))(z) == slope
    assert math.isfinite(tg.hessian(lambda z: losses.bce_with_logits(z, t))(z))


@given(st.lists(st.floats(-300.0, 300.0), min_size=2, max_size=5), st.data())
@settings(deadline=None, max_examples=100)
def test_cross_entropy_against_mpmath(zs, drawn):
    k = drawn.draw(st.integers(0, len(zs) - 1))
    with mpmath.workdps(300):
        powers = [mpmath.exp(mpmath.mpf(z)) for z in zs]
        expected = float(-mpmath.log(powers[k] / sum(powers)))
        softmax = [float(p / sum(powers)) for p in powers]
    assert losses.cross_entropy(list(map(Value, zs)), k).data == pytest.approx(
        expected, rel=1e-13, abs=1e-300
    )
    slopes = tg.grad(lambda zs: losses.cross_entropy(zs, k))(zs)
    assert slopes == pytest.approx([p - (i == k) for i, p in enumerate(softmax)], rel=1e-12, abs=1e-15)


def test_cross_entropy_is_stable():
    sure = [Value(1000.0), Value(-1000.0), Value(0.0)]
    assert losses.cross_entropy(sure, 0).data == 0.0
    assert losses.cross_entropy(sure, 1).data == 2000.0
    assert tg.grad(lambda zs: losses.cross_entropy(zs, 1))([1000.0, -1000.0, 0.0]) == [1.0, -1.0, 0.0]
    tiny = losses.cross_entropy([Value(40.0), Value(0.0)], 0).data
    assert tiny == pytest.approx(math.exp(-40.0), rel=1e-15)  # log(softmax) would be 0 here


def test_cross_entropy_with_probabilities():
    zs, ps = [0.5, -1.0, 2.0], [0.2, 0.3, 0.5]
    expected = sum(p * losses.cross_entropy(list(map(Value, zs)), i).data for i, p in enumerate(ps))
    assert losses.cross_entropy(list(map(Value, zs)), ps).data == pytest.approx(expected, rel=1e-15)
    one_hot = losses.cross_entropy(list(map(Value, zs)), [0, 0, 1])
    assert one_hot.data == losses.cross_entropy(list(map(Value, zs)), 2).data


def test_targets_may_be_numpy_arrays_and_whole_floats():
    """Datasets are often arrays, and `fit` turns classes into floats."""
    zs = list(map(Value, [0.5, -1.0, 2.0]))
    assert losses.cross_entropy(zs, 2.0).data == losses.cross_entropy(zs, np.int64(2)).data
    assert losses.squared_error(zs, np.zeros(3)).data == losses.squared_error(zs, [0.0] * 3).data
    assert (
        losses.cross_entropy(zs, np.array([0.2, 0.3, 0.5])).data
        == losses.cross_entropy(zs, [0.2, 0.3, 0.5]).data
    )


# --- errors -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*REGRESSION, "hinge", "bce_with_logits"])
def test_unequal_numbers_of_predictions_and_targets(name):
    loss, three = getattr(losses, name), [Value(0.0)] * 3
    with pytest.raises(ValueError, match=f"{name}: 3 predictions for 2 targets; give as many of both"):
        loss(three, [1.0, 2.0])
    with pytest.raises(ValueError, match=f"{name}: 3 predictions for 1 targets"):
        loss(three, 1.0)
    with pytest.raises(ValueError, match=f"{name}: 0 predictions for 0 targets"):
        loss([], [])


@pytest.mark.parametrize("target", [3, -1, 0.5, math.nan, math.inf])
def test_a_target_that_is_no_class(target):
    with pytest.raises(ValueError, match="cross_entropy: the target is a class from 0 to 2, not "):
        losses.cross_entropy([Value(0.0)] * 3, target)


def test_cross_entropy_of_one_logit():
    with pytest.raises(TypeError, match="list of logits, one a class; for one use bce_with_logits"):
        losses.cross_entropy(Value(0.0), 0)


def test_cross_entropy_of_unequal_numbers():
    with pytest.raises(ValueError, match="cross_entropy: 3 predictions for 2 targets"):
        losses.cross_entropy([Value(0.0)] * 3, [0.5, 0.5])
    with pytest.raises((TypeError, ValueError), match="cross_entropy"):
        losses.cross_entropy([Value(0.0)] * 3, "a")


@pytest.mark.parametrize("name", [*REGRESSION, "hinge", "bce_with_logits"])
def test_a_target_that_is_no_number(name):
    for target in ("a", None):
        with pytest.raises(TypeError, match=r"real number|unsupported operand|a target|can't multiply"):
            getattr(losses, name)(Value(0.0), target)
