"""micrograd 0.1.0 as its users run it: a Value a number, the graph built again in every step.

It has no functions but relu; `Functions` adds those that a work needs the way its author does in his lecture.
"""

import gc
import math
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import micrograd.engine
import micrograd.nn
from micrograd.engine import Value
from timing import Contender
from works import LR, POINT, Net, formula

NAME = "micrograd"
VERSION = f"micrograd {version('micrograd')}"
MOST = 1e6  # operations in a step: more would take minutes


def lifted(f: Callable[[float], float], slope: Callable[[float, float], float]) -> Callable[[Any], Any]:
    """f as an operation of micrograd; its slope is a function of the result and the operand."""

    def operation(x: Any) -> Any:
        out = Value(f(x.data), (x,), f.__name__)

        def _backward() -> None:
            x.grad += slope(out.data, x.data) * out.grad

        out._backward = _backward
        return out

    return operation


class Functions:
    sin = staticmethod(lifted(math.sin, lambda o, x: math.cos(x)))
    cos = staticmethod(lifted(math.cos, lambda o, x: -math.sin(x)))
    exp = staticmethod(lifted(math.exp, lambda o, x: o))
    log = staticmethod(lifted(math.log, lambda o, x: 1.0 / x))
    tanh = staticmethod(lifted(math.tanh, lambda o, x: 1.0 - o * o))
    sqrt = staticmethod(lifted(math.sqrt, lambda o, x: 0.5 / o))


sigmoid = lifted(lambda x: 1.0 / (1.0 + math.exp(-x)), lambda o, x: o * (1.0 - o))


def contenders(net: Net, threads: int) -> list[Contender]:
    if net.loss == "cross entropy" or net.operations() > MOST or threads > 1:
        return []
    acts = {"relu": Value.relu, "sigmoid": sigmoid, None: lambda z: z}
    functions = [acts[net.act]] * (len(net.sizes) - 2) + [acts[net.out_act]]
    model = micrograd.nn.MLP(net.sizes[0], list(net.sizes[1:]))
    for layer, (weights, biases) in zip(model.layers, net.start()):
        for neuron, row, bias in zip(layer.neurons, weights, biases):
            neuron.nonlin = False  # the activation is applied here
            neuron.b.data = bias
            for w, x in zip(neuron.w, row):
                w.data = x
    params = [p for layer in model.layers for neuron in layer.neurons for p in (*neuron.w, neuron.b)]

    def loss() -> Any:
        losses = []
        for x, y in zip(net.inputs, net.targets):
            h = [Value(v) for v in x]
            for layer, act in zip(model.layers, functions):
                h = [act(neuron(h)) for neuron in layer.neurons]
            losses.append((1.0 - h[0] * y).relu() if net.loss == "hinge" else (h[0] - y) ** 2 * 0.5)
        return sum(losses[1:], losses[0])

    def swept() -> Any:
        value = loss()
        model.zero_grad()
        value.backward()
        return value

    def step() -> None:
        swept()
        for p in params:
            p.data -= LR * p.grad

    def gradient() -> list[float]:
        value = swept()
        return [value.data, *(p.grad for p in params)]

    return [
        Contender(NAME, step, 1, gradient, lambda: [p.data for p in params], collecting, least=3)
        for collecting in (True, False)
    ]


def formula_contenders() -> list[Contender]:
    def call() -> list[float]:
        x, y = map(Value, POINT)
        value = formula(Functions, x, y)
        value.backward()
        return [value.data, x.grad, y.grad]

    return [Contender(NAME, call, gradient=call)]


def chain(n: int) -> Any:
    """Multiply n times, and sweep back; a RecursionError leaves nothing behind."""
    x, y = Value(1.0), Value(1.0000001)
    for _ in range(n):
        x = x * y
    try:
        x.backward()
    finally:
        del x
        gc.collect()
