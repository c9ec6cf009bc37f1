"""Our own way to do each work: what a user writes.  The files in peers/ are its counterparts."""

import random
from array import array
from collections.abc import Callable
from functools import partial
from itertools import chain
from typing import Any

from timing import Contender
from works import CHECKED, CHECKED_AT, LR, POINT, Course, Net, formula

import tinygrad_bp as tg
from tinygrad_bp.batches import Batches

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


class Drawn(Batches):
    """Batches that were drawn before."""

    def __init__(self, course: Course) -> None:
        super().__init__(course.net.samples, course.batch, random.Random(0))
        self.numbers, self.taken = array("q", chain.from_iterable(course.lists)), 0

    def take_many(self, steps: int, shuffle: Any = None) -> tuple["array[int]", "array[int]"]:
        begin, self.taken = self.taken, self.taken + steps
        numbers = self.numbers[begin * self.size : self.taken * self.size]
        return numbers, array("q", [self.size]) * steps


def course_contenders(course: Course) -> list[Contender]:
    """What `fit` takes, without drawing and with it."""
    net, each = course.net, course.net.steps

    def trained(steps: int, drawn: bool = True, lr: float = LR) -> tuple[list[float], list[Any]]:
        model = model_of(net)
        kind = {"Adam": tg.optim.Adam, "SGD": tg.optim.SGD}[course.rule]
        optimizer = kind(model.parameters(), lr=lr)
        optimizer.batches = Drawn(course) if drawn and course.listed else None
        data = net.inputs, net.targets
        history = tg.fit(
            model, data, tg.losses.squared_error, optimizer, steps=steps, reduce="mean", engine="compiled",
            batch_size=course.batch, seed=None, progress=False,
        )  # fmt: skip
        return history.losses, model.parameters()

    def numbers() -> list[float]:
        losses, parameters = trained(CHECKED, lr=CHECKED_AT)
        return [*losses, *[p.data for p in parameters]]

    ways = {"tinygrad_bp, drawn before": True, "tinygrad_bp, with drawing": False}
    if not course.listed:
        ways = {"tinygrad_bp": True}
    return [
        Contender(name, partial(trained, each, drawn), each, numbers if drawn else None, looped=True,
                  twice=partial(trained, 2 * each, drawn))
        for name, drawn in ways.items()
    ]  # fmt: skip


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
