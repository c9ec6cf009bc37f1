"""Backpropagation written by hand, in matrices, with NumPy: forward, deltas, outer products.

It is what the engine saves one from writing, and shares no code with it. Samples are columns. `magnitudes`
is the same matrix code with every factor replaced by its absolute value: what rounding is measured against.
"""

import math
import random

import numpy as np
from hypothesis import strategies as st

import tinygrad_bp as tg

ERFC = np.vectorize(math.erfc)  # 1 + erf(z) would lose the tail
# name in the table: (value, slope) at z
ACTIVATIONS = {
    "identity": (lambda z: z, np.ones_like),
    "relu": (lambda z: np.maximum(z, 0.0), lambda z: (z > 0) * 1.0),
    "leaky_relu": (lambda z: np.where(z > 0, z, 0.01 * z), lambda z: np.where(z > 0, 1.0, 0.01)),
    "elu": (lambda z: np.where(z > 0, z, np.expm1(z)), lambda z: np.where(z > 0, 1.0, np.exp(z))),
    "tanh": (np.tanh, lambda z: 1.0 / np.cosh(z) ** 2),
    "sigmoid": (lambda z: 1.0 / (1.0 + np.exp(-z)), lambda z: 0.25 / np.cosh(z / 2) ** 2),
    "softplus": (lambda z: np.logaddexp(0.0, z), lambda z: 1.0 / (1.0 + np.exp(-z))),
    "silu": (lambda z: z / (1 + np.exp(-z)), lambda z: (1 + np.exp(-z) * (1 + z)) / (1 + np.exp(-z)) ** 2),
    "gelu": (
        lambda z: z * ERFC(-z / math.sqrt(2)) / 2,
        lambda z: ERFC(-z / math.sqrt(2)) / 2 + z * np.exp(-z * z / 2) / math.sqrt(2 * math.pi),
    ),
    "sin": (np.sin, np.cos),
    "atan": (np.arctan, lambda z: 1.0 / (1.0 + z * z)),
}
# where the slope itself is a sum that can cancel, the magnitudes of its terms
SLOPE_SIZES = {
    "silu": lambda z: (1 + np.exp(-z) * (1 + abs(z))) / (1 + np.exp(-z)) ** 2,
    "gelu": lambda z: ERFC(-z / math.sqrt(2)) / 2 + abs(z) * np.exp(-z * z / 2) / math.sqrt(2 * math.pi),
}


def forward(weights, biases, acts, x):
    """The outputs of all layers, and the sums that went into their activations; samples are columns."""
    outputs, sums = [x], []
    for w, b, act in zip(weights, biases, acts):
        sums.append(w @ outputs[-1] + b)
        outputs.append(ACTIVATIONS[act][0](sums[-1]))
    return outputs, sums


def gradients(weights, acts, outputs, sums, error):
    """d loss / d weights and biases of each layer, given error = d loss / d output."""
    dws, dbs = [], []
    for i in reversed(range(len(weights))):
        delta = error * ACTIVATIONS[acts[i]][1](sums[i])
        dws.insert(0, delta @ outputs[i].T)
        dbs.insert(0, delta.sum(axis=1, keepdims=True))
        error = weights[i].T @ delta
    return dws, dbs


def magnitudes(weights, acts, outputs, sums, error):
    """The sums of the magnitudes of the terms that `gradients` adds up."""
    dws, dbs = [], []
    for i in reversed(range(len(weights))):
        slope = SLOPE_SIZES.get(acts[i], ACTIVATIONS[acts[i]][1])
        delta = error * abs(slope(sums[i]))
        dws.insert(0, delta @ abs(outputs[i]).T)
        dbs.insert(0, delta.sum(axis=1, keepdims=True))
        error = abs(weights[i]).T @ delta
    return dws, dbs


RELUS = ["relu", "relu", "relu", "identity"]  # of the quadratic network


def matrix_losses(weights, biases, xs, ys, rate, steps):
    """The losses of gradient descent on the quadratic network, and where its parameters end."""
    x, y, losses = np.array([xs]), np.array([ys]), []
    for _ in range(steps):
        outputs, sums = forward(weights, biases, RELUS, x)
        losses.append(0.5 * ((outputs[-1] - y) ** 2).sum())
        dws, dbs = gradients(weights, RELUS, outputs, sums, outputs[-1] - y)
        weights = [w - rate * d for w, d in zip(weights, dws)]
        biases = [b - rate * d for b, d in zip(biases, dbs)]
    return losses, weights, biases


def matrices(model):
    """The numbers of an MLP's parameters as matrices."""
    weights = [np.array([[w.data for w in n.w] for n in layer.neurons]) for layer in model.layers]
    biases = [np.array([[n.b.data if n.b else 0.0] for n in layer.neurons]) for layer in model.layers]
    return weights, biases


@st.composite
def networks(draw):
    """A random MLP, a batch of inputs, and its activations by layer."""
    nin, *nouts = draw(st.lists(st.integers(1, 6), min_size=2, max_size=5))
    act, out_act = draw(st.sampled_from(sorted(ACTIVATIONS))), draw(st.sampled_from(sorted(ACTIVATIONS)))
    rng = random.Random(draw(st.integers(0, 2**32)))
    model = tg.MLP(
        nin,
        nouts,
        act=act,
        out_act=out_act,
        bias=draw(st.booleans()),
        weights=draw(st.sampled_from([tg.nn.uniform(), tg.nn.he(), tg.nn.xavier(), tg.nn.normal(0.5)])),
        biases=tg.nn.normal(0.5),
        rng=rng,
    )
    samples = draw(st.integers(1, 6))
    xs = [[rng.gauss(0.0, 1.5) for _ in range(nin)] for _ in range(samples)]
    return model, xs, [act] * (len(nouts) - 1) + [out_act], rng
