"""autograd (HIPS): NumPy code, differentiated as it runs."""

from importlib.metadata import version
from typing import Any

import autograd
import autograd.numpy as np
from timing import Contender
from works import LR, POINT, Net, flat, formula

NAME = "autograd (HIPS)"
VERSION = f"autograd {version('autograd')}"


def contenders(net: Net, threads: int) -> list[Contender]:
    layers = [(np.array(w), np.array(b)) for w, b in net.start()]
    x, y = np.array(net.inputs), np.array(net.targets)
    own = (np.arange(net.samples), y.astype(int))
    acts = {
        "relu": lambda z: np.maximum(z, 0.0),
        "sigmoid": lambda z: 1.0 / (1.0 + np.exp(-z)),
        None: lambda z: z,
    }
    functions = [acts[net.act]] * (len(layers) - 1) + [acts[net.out_act]]

    def loss(layers: Any) -> Any:
        h = x
        for (w, b), act in zip(layers, functions):
            h = act(np.dot(h, w.T) + b)
        if net.loss == "cross entropy":
            z = h - np.max(h, axis=1, keepdims=True)
            return np.sum(np.log(np.sum(np.exp(z), axis=1)) - z[own])
        if net.loss == "hinge":
            return np.sum(np.maximum(1.0 - y * h[:, 0], 0.0))
        return 0.5 * np.sum((h[:, 0] - y) ** 2)

    slope, both = autograd.grad(loss), autograd.value_and_grad(loss)

    def step() -> None:
        for layer, grads in zip(layers, slope(layers)):
            for p, g in zip(layer, grads):
                p -= LR * g

    def gradient() -> list[float]:
        value, grads = both(layers)
        return [float(value), *flat(grads)]

    return [Contender(NAME, step, 1, gradient, lambda: flat(layers))]


def formula_contenders() -> list[Contender]:
    both = autograd.value_and_grad(lambda point: formula(np, *point))

    def gradient() -> list[float]:
        value, grads = both(POINT)
        return [float(value), *map(float, grads)]

    return [Contender(NAME, lambda: both(POINT), gradient=gradient)]
