"""NumPy by hand: forward, backward and update as one writes them, samples side by side in columns."""

from typing import Any

import numpy as np
from timing import Contender
from works import LR, Net, flat

NAME = "NumPy by hand"
VERSION = f"NumPy {np.__version__}"

Layers = list[tuple[Any, Any]]


def contenders(net: Net, threads: int) -> list[Contender]:
    layers: Layers = [(np.array(w), np.array(b)[:, None]) for w, b in net.start()]
    x, y = np.array(net.inputs).T.copy(), np.array([net.targets])

    def step() -> None:
        _, grads = gradients(net, layers, x, y)
        for (w, b), (dw, db) in zip(layers, grads):
            w -= LR * dw
            b -= LR * db

    def gradient() -> list[float]:
        loss, grads = gradients(net, layers, x, y)
        return [loss, *columns(grads)]

    call = two_sigmoids(layers, x, y) if net.sizes == (2, 2, 1) and net.out_act == "sigmoid" else step
    return [Contender(NAME, call, 1, gradient, lambda: columns(layers))]


def columns(layers: Layers) -> list[float]:
    return flat((w.tolist(), b[:, 0].tolist()) for w, b in layers)


def sigmoid(z: Any) -> Any:
    return 1.0 / (1.0 + np.exp(-z))


def gradients(net: Net, layers: Layers, x: Any, y: Any) -> tuple[float, Layers]:
    """The loss and its gradient by each layer's weights and biases."""
    acts = [net.act] * (len(layers) - 1) + [net.out_act]
    outputs = [x]
    for (w, b), act in zip(layers, acts):
        z = w.dot(outputs[-1]) + b
        outputs.append(np.maximum(z, 0.0) if act == "relu" else sigmoid(z) if act == "sigmoid" else z)
    loss, d = slope(net.loss, outputs[-1], y)
    grads: Layers = []
    for i in reversed(range(len(layers))):
        if acts[i] == "relu":
            d = d * (outputs[i + 1] > 0.0)
        elif acts[i] == "sigmoid":
            d = d * outputs[i + 1] * (1.0 - outputs[i + 1])
        grads.append((d.dot(outputs[i].T), d.sum(axis=1, keepdims=True)))
        if i:
            d = layers[i][0].T.dot(d)
    return loss, grads[::-1]


def slope(kind: str, o: Any, y: Any) -> tuple[float, Any]:
    """The loss over all samples, and its derivative by the net's outputs."""
    if kind == "squared error":
        d = o - y
        return 0.5 * np.vdot(d, d), d
    if kind == "hinge":
        margin = 1.0 - y * o
        return np.maximum(margin, 0.0).sum(), np.where(margin > 0.0, -y, 0.0)
    own = y[0].astype(int), np.arange(y.size)
    z = o - o.max(axis=0)
    e = np.exp(z)
    total = e.sum(axis=0)
    d = e / total
    d[own] -= 1.0
    return (np.log(total) - z[own]).sum(), d


def two_sigmoids(layers: Layers, x: Any, y: Any) -> Any:
    """The step of a net with one hidden layer, written out: a loop over two layers would cost more."""
    (w1, b1), (w2, b2) = layers

    def step() -> None:
        h = 1.0 / (1.0 + np.exp(-(w1.dot(x) + b1)))
        o = 1.0 / (1.0 + np.exp(-(w2.dot(h) + b2)))
        d2 = (o - y) * o * (1.0 - o)
        d1 = w2.T.dot(d2) * h * (1.0 - h)
        for p, g in ((w2, d2.dot(h.T)), (b2, d2), (w1, d1.dot(x.T)), (b1, d1)):
            p -= LR * g

    return step
