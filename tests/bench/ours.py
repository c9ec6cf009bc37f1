"""Our own way to do each work: what a user writes.  The files in peers/ are its counterparts."""

from array import array
from collections.abc import Callable
from typing import Any

from timing import Contender
from works import LR, POINT, Net, formula

import tinygrad_bp as tg

NAME = "tinygrad_bp"
VERSION = tg.__version__


def model_of(net: Net) -> tg.MLP:
    """The net as a model that starts where everybody starts."""
    model = tg.MLP(net.sizes[0], net.sizes[1:], act=net.act, out_act=net.out_act, weights=lambda *_: 0.0)
    for layer, (weights, biases) in zip(model.layers, net.start()):
        for neuron, row, bias in zip(layer.neurons, weights, biases):
            for w, x in zip([*neuron.w, neuron.b], [*row, bias]):
                w.data = x
    return model


def loss_of(net: Net, model: Any) -> Callable[[Any, Any], Any]:
    losses = {
        "squared error": tg.losses.squared_error,
        "hinge": tg.losses.hinge,
        "cross entropy": tg.losses.cross_entropy,
    }
    each = losses[net.loss]
    return lambda x, y: each(model(x), y)


def columns_of(net: Net) -> list[Any]:
    """Inputs and targets as doubles in a row, used where they lie."""
    xs = memoryview(array("d", [x for row in net.inputs for x in row]))
    return [xs.cast("B").cast("d", (net.samples, net.sizes[0])), array("d", net.targets)]


def contenders(net: Net, threads: int) -> list[Contender]:
    model, data = model_of(net), columns_of(net)
    params = model.parameters()
    step = tg.compile(loss_of(net, model), params, threads=threads)
    bound = step.bind(*data, lr=LR)

    def gradient() -> list[float]:
        value, grads = step.value_and_grad(*data)
        return [value, *grads]

    return [
        Contender(
            "tinygrad_bp, looped inside",
            lambda: step.train(*data, lr=LR, steps=net.steps),
            net.steps,
            gradient,
            lambda: [p.data for p in params],
            looped=True,
        ),
        Contender(
            "tinygrad_bp, bound call",
            bound.descend,
            1,
            lambda: [bound.evaluate(), *bound.grads],
            lambda: list(bound.params),
        ),
    ]


def formula_contenders() -> list[Contender]:
    """The value and gradient of the formula: compiled, and by the engine itself."""

    def f(x: Any, y: Any) -> Any:
        return formula(tg, x, y)

    bound = tg.compile(f).bind(*POINT)

    def eager() -> Any:
        return tg.value_and_grad(f)(*POINT)

    return [
        Contender(
            "tinygrad_bp, bound call", bound.evaluate, gradient=lambda: [bound.evaluate(), *bound.grads]
        ),
        Contender("tinygrad_bp, the engine", eager, gradient=lambda: [eager()[0], *eager()[1]]),
    ]
