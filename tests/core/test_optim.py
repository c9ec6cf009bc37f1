"""Optimizers: plain steps and momentum against the formula, what they leave alone, and what they refuse.

A step never clears a gradient, moves nothing but its own parameters, and either moves all or none.
"""

import math
import random

import pytest

from tinygrad_bp import MLP, Value
from tinygrad_bp.optim import SGD, Optimizer


def with_gradients(*pairs):
    parameters = [Value(number) for number, _ in pairs]
    for p, (_, slope) in zip(parameters, pairs):
        p.grad = slope
    return parameters


def test_a_step_goes_against_the_gradient():
    ps = with_gradients((1.0, 2.0), (-3.0, -0.5), (5.0, 0.0))
    SGD(ps, lr=0.1).step()
    assert [p.data for p in ps] == [1.0 - 0.1 * 2.0, -3.0 + 0.1 * 0.5, 5.0]


def test_momentum_follows_the_formula():
    """v ← μ v + g, p ← p − lr v, with v = 0 at first: for each parameter apart."""
    ps = [Value(1.0), Value(-2.0)]
    sgd = SGD(ps, lr=0.05, momentum=0.9)
    expected, velocity = [1.0, -2.0], [0.0, 0.0]
    for step in range(20):
        for i, p in enumerate(ps):
            p.grad = math.sin(3.0 * step + i) + p.data
            velocity[i] = 0.9 * velocity[i] + math.sin(3.0 * step + i) + expected[i]
            expected[i] -= 0.05 * velocity[i]
        sgd.step()
        assert [p.data for p in ps] == pytest.approx(expected, rel=1e-12)


def test_momentum_is_faster_down_a_valley():
    def height(momentum):
        x, y = Value(1.0), Value(1.0)
        sgd = SGD([x, y], lr=0.02, momentum=momentum)
        for _ in range(60):
            sgd.zero_grad()
            loss = x * x / 2.0 + 20.0 * y * y
            loss.backward()
            sgd.step()
        return loss.data

    assert height(0.8) < height(0.0) / 10.0


def test_a_step_keeps_gradients_and_zero_grad_clears_them():
    ps = with_gradients((1.0, 2.0), (3.0, 4.0))
    sgd = SGD(ps, lr=0.1)
    sgd.step()
    assert [p.grad for p in ps] == [2.0, 4.0]
    sgd.zero_grad()
    assert [p.grad for p in ps] == [0.0, 0.0]


def test_a_parameter_left_out_is_frozen():
    kept, moved = with_gradients((1.0, 2.0), (1.0, 2.0))
    SGD([moved], lr=0.1).step()
    assert (kept.data, moved.data) == (1.0, 0.8)
    SGD(moved, lr=0.1).step()  # one parameter needs no list
    assert moved.data == pytest.approx(0.6)


def test_the_rate_may_be_changed_meanwhile():
    (p,) = with_gradients((1.0, 1.0))
    sgd = SGD(iter([p]), lr=0.5)
    sgd.step()
    sgd.lr = 0.25
    sgd.step()
    assert p.data == 0.25


def test_a_step_makes_the_graph_stale():
    """So that a second backward through the old graph cannot pass unnoticed."""
    p = Value(1.0)
    loss = p * p
    loss.backward()
    SGD([p], lr=0.1).step()
    with pytest.raises(Exception, match="calling your function again"):
        loss.backward()


def test_a_subclass_says_how_to_step():
    class Sign(Optimizer):
        def step(self):
            for p in self.parameters:
                p.data -= math.copysign(self.lr, p.grad)

    (p,) = with_gradients((1.0, -7.0))
    Sign([p], lr=0.25).step()
    assert p.data == 1.25
    with pytest.raises(TypeError, match="Optimizer does not say how to step"):
        Optimizer([p], lr=0.1).step()


# --- errors -------------------------------------------------------------------------------------------------


def test_no_parameters():
    with pytest.raises(ValueError, match=r"SGD was given no parameters: pass model\.parameters\(\)"):
        SGD([])


@pytest.mark.parametrize("wrong", [[1.0], [Value(1.0) * 2.0], [Value(1.0), None], ["w"]])
def test_what_is_no_parameter(wrong):
    with pytest.raises(TypeError, match=r"SGD moves leaf Values, and .* pass model\.parameters\(\)"):
        SGD(wrong)


@pytest.mark.parametrize("wrong", [MLP(1, [1], rng=random.Random(0)), None, 3.0])
def test_what_holds_no_parameters(wrong):
    with pytest.raises(TypeError, match=r"pass model\.parameters\(\)"):
        SGD(wrong)


def test_a_parameter_given_twice():
    """It would move twice as far."""
    p, q = Value(1.0, label="p"), Value(2.0)
    with pytest.raises(ValueError, match="twice"):
        SGD([p, q, p])


@pytest.mark.parametrize("lr", [-0.1, math.nan, math.inf, -math.inf])
def test_a_rate_that_is_none(lr):
    with pytest.raises(ValueError, match="SGD: lr "):
        SGD([Value(1.0)], lr=lr)


@pytest.mark.parametrize("lr", ["fast", None, [0.1]])
def test_a_rate_that_is_no_number(lr):
    with pytest.raises(TypeError, match="lr"):
        SGD([Value(1.0)], lr=lr)


@pytest.mark.parametrize("momentum", [-0.1, 1.0, 1.5, math.nan])
def test_a_momentum_that_is_none(momentum):
    with pytest.raises(ValueError, match="SGD: momentum is "):
        SGD([Value(1.0)], momentum=momentum)
