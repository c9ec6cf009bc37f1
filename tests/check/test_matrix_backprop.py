"""The engine against backpropagation written by hand, in matrices, with NumPy.

Random networks must get the same gradient from both, for every parameter, and the published quadratic
network the same history of losses. A gradient is compared relative to the sum of the magnitudes of its terms.
"""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from support.matrix_backprop import (
    ACTIVATIONS,
    forward,
    gradients,
    magnitudes,
    matrices,
    matrix_losses,
    networks,
)

import tinygrad_bp as tg


def assert_gradients_agree(model, dws, dbs, dws_size, dbs_size):
    for i, layer in enumerate(model.layers):
        for j, neuron in enumerate(layer.neurons):
            for k, w in enumerate(neuron.w):
                assert abs(w.grad - dws[i][j, k]) <= 1e-12 * dws_size[i][j, k], w.label
            if neuron.b is not None:
                assert abs(neuron.b.grad - dbs[i][j, 0]) <= 1e-12 * dbs_size[i][j, 0], neuron.b.label


# --- random networks ----------------------------------------------------------------------------------------


def as_list(out):
    return out if isinstance(out, list) else [out]


@given(networks())
@settings(deadline=None, max_examples=150)
def test_squared_error_has_the_gradient_of_matrix_backprop(network):
    model, xs, acts, rng = network
    targets = [[rng.gauss(0.0, 1.0) for _ in model.layers[-1].neurons] for _ in xs]
    sum(tg.losses.squared_error(as_list(model(x)), t) for x, t in zip(xs, targets)).backward()

    weights, biases = matrices(model)
    t = np.array(targets).T
    outputs, sums = forward(weights, biases, acts, np.array(xs).T)
    expected = gradients(weights, acts, outputs, sums, outputs[-1] - t)
    size = magnitudes(weights, acts, outputs, sums, abs(outputs[-1]) + abs(t))
    assert_gradients_agree(model, *expected, *size)


@given(networks())
@settings(deadline=None, max_examples=75)
def test_cross_entropy_has_the_gradient_of_matrix_backprop(network):
    model, xs, acts, rng = network
    classes = len(model.layers[-1].neurons)
    targets = [rng.randrange(classes) for _ in xs]
    mean = sum(tg.losses.cross_entropy(as_list(model(x)), t) for x, t in zip(xs, targets)) / len(xs)
    mean.backward()

    weights, biases = matrices(model)
    outputs, sums = forward(weights, biases, acts, np.array(xs).T)
    powers = np.exp(outputs[-1] - outputs[-1].max(axis=0))
    probabilities = powers / powers.sum(axis=0)
    t = np.eye(classes)[targets].T
    expected = gradients(weights, acts, outputs, sums, (probabilities - t) / len(xs))
    size = magnitudes(weights, acts, outputs, sums, (probabilities + t) / len(xs))
    assert_gradients_agree(model, *expected, *size)


@given(networks())
@settings(deadline=None, max_examples=50)
def test_outputs_agree_with_matrix_products(network):
    model, xs, acts, _ = network
    weights, biases = matrices(model)
    outputs, _ = forward(weights, biases, acts, np.array(xs).T)
    for x, column in zip(xs, outputs[-1].T):
        assert [v.data for v in as_list(model(x))] == pytest.approx(list(column), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("act", sorted(ACTIVATIONS))
def test_the_matrix_code_itself_agrees_with_difference_quotients(act):
    """Otherwise both sides could be wrong alike."""
    draw = np.random.default_rng(7)
    weights = [draw.normal(size=(3, 2)), draw.normal(size=(2, 3))]
    biases = [draw.normal(size=(3, 1)), draw.normal(size=(2, 1))]
    x, t, acts = draw.normal(size=(2, 5)), draw.normal(size=(2, 5)), [act, act]

    def loss():
        return 0.5 * ((forward(weights, biases, acts, x)[0][-1] - t) ** 2).sum()

    outputs, sums = forward(weights, biases, acts, x)
    expected = gradients(weights, acts, outputs, sums, outputs[-1] - t)
    for numbers, slopes in zip(weights + biases, expected[0] + expected[1]):
        for place in np.ndindex(numbers.shape):
            start, ends = numbers[place], []
            for numbers[place] in (start + 1e-6, start - 1e-6):
                ends.append(loss())
            numbers[place] = start
            assert slopes[place] == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-6, abs=1e-8)


# --- the published quadratic network ------------------------------------------------------------------------


def published(seed):
    """The network of the text, and its points."""
    model = tg.MLP(
        1,
        [100, 100, 100, 1],
        weights=tg.nn.normal(0.2),
        biases=tg.nn.normal(1.0),
        rng=random.Random(seed),
    )
    return model, *tg.data.quadratic()


def assert_same_training(seed, every, steps):
    """Every so many-th point, at a rate scaled alike, so that a step is about as long as with all points."""
    model, xs, ys = published(seed)
    xs, ys, rate = xs[::every], ys[::every], 1e-5 * every
    expected, weights, biases = matrix_losses(*matrices(model), xs, ys, rate, steps)
    sgd = tg.optim.SGD(model.parameters(), lr=rate)
    history = tg.fit(model, (xs, ys), tg.losses.squared_error, sgd, steps=steps, progress=False)
    assert history.losses == pytest.approx(expected, rel=1e-9, abs=0.0)
    assert history.losses[-1] < history.losses[0]
    for trained, by_hand in zip(matrices(model), (weights, biases)):
        for ours, theirs in zip(trained, by_hand):
            assert abs(ours - theirs).max() <= 1e-9 * abs(theirs).max()


def test_quadratic_network_on_20_of_its_points_for_50_iterations():
    assert_same_training(seed=0, every=12, steps=50)


def test_quadratic_network_on_all_points_for_two_iterations():
    assert_same_training(seed=1, every=1, steps=2)


@pytest.mark.slow
def test_quadratic_network_on_all_points_for_50_iterations():
    assert_same_training(seed=2, every=1, steps=50)


def test_quadratic_network_starts_where_the_text_does():
    """With the text's own code the first loss is mostly between 17,000 and 42,000, its median 22,000."""
    losses = []
    for seed in range(20):
        model, xs, ys = published(seed)
        losses += matrix_losses(*matrices(model), xs, ys, 1e-5, 1)[0]
    assert 19_000 < np.median(losses) < 27_000
    assert 8_000 < min(losses) < max(losses) < 80_000
