"""A training as data for the page: programs, numbers, and the graph of one sample.

The loss of a sample, its gradient and the optimizer's rule are compiled as they are for machine code, and
written for the page's interpreter.  Doubles travel in base64, to the last bit.
"""

import random
import struct
from base64 import b64encode
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import sqrt
from typing import Any

from tinygrad_bp.compiler import compile
from tinygrad_bp.compiler.backends.page import emit_page
from tinygrad_bp.compiler.fuse import fuse
from tinygrad_bp.compiler.roll import roll
from tinygrad_bp.compiler.rule import NORM, RATE, STEP, rule_of
from tinygrad_bp.compiler.schedule import schedule
from tinygrad_bp.compiler.tracing import trace
from tinygrad_bp.engine import Value
from tinygrad_bp.losses import Loss
from tinygrad_bp.optim import Optimizer
from tinygrad_bp.rows import flat, structure_of
from tinygrad_bp.show.graph import count, parameter_name, parameter_paths, place, read
from tinygrad_bp.show.stepper.moments import MOST_STEPPED, shape

MOST_DRAWN = 1200  # nodes of a sample's graph: with more, the page is without it
OPEN = 40  # nodes of it, beside the figures: with more, neurons start closed
SCHEDULED = 2000  # rates of a schedule that travel with the page; the last one stays
MOST_CLASSES = 6  # different targets of as many colours

Json = dict[str, Any]


@dataclass
class Trained:
    """What is trained, on what: as `fit` has it."""

    model: Callable[[list[float]], Any]
    samples: list[tuple[list[float], Any]]
    loss: Loss
    parameters: Sequence[Value]
    reduce: str = "sum"
    penalty: Callable[[], Value] | None = None

    def loss_of_sample(self, x: list[float], y: Any) -> Value:
        """The loss of the prediction for x."""
        return self.loss(self.model(x), y)


def page_data(trained: Trained) -> Json:
    """The programs of a training and its data.

    Raises CompileError for a loss that depends on the numbers, and for an operation that the page lacks.
    """
    xs, ys = [x for x, _ in trained.samples], [y for _, y in trained.samples]
    parameters = trained.parameters
    grads = compile(trained.loss_of_sample, parameters).for_page(xs, ys)
    each = compile(trained.loss_of_sample).for_page(xs, ys)
    answers = compile(trained.model).for_page(xs)
    penalty = compile(trained.penalty, parameters).for_page() if trained.penalty else None
    rows = [[*flat(x), *flat(y)] for x, y in trained.samples]
    return {
        **parameter_data(trained),
        "columns": [packed(column) for column in zip(*rows)],
        "targets": len(rows[0]) - len(xs[0]),
        "classes": _classes(ys),
        "grads": _with_leaves(grads, parameters),
        "each": _with_leaves(each, parameters),
        "model": _with_leaves(answers, parameters),
        "penalty": _with_leaves(penalty, parameters) if penalty else None,
        **_graph(trained),
    }


def parameter_data(trained: Trained) -> Json:
    """How many samples there are, what the parameters are called, and in what layers they are."""
    paths = parameter_paths({*trained.parameters})
    layers: dict[str, dict[str, list[int]]] = {}
    for i, p in enumerate(trained.parameters):
        layer, neuron = place(paths.get(p, "")) or ("", "")
        layers.setdefault(layer, {}).setdefault(neuron, []).append(i)
    names = [p.label if p not in paths else parameter_name(paths[p]).text for p in trained.parameters]
    return {
        "count": len(trained.samples),
        "mean": trained.reduce == "mean",
        "names": [name or f"p{i}" for i, name in enumerate(names, 1)],
        "layers": [[*neurons.values()] for neurons in layers.values()],
    }


def rule_data(optimizer: Optimizer) -> Json:
    """An optimizer's rule as a program over all parameters, with its numbers and what it remembers."""
    rule = rule_of(optimizer)
    given = {RATE: "lr", STEP: "t", NORM: "norm"}
    shared = rule.shared(optimizer)
    return {
        "program": emit_page(roll(schedule(fuse(rule.program)))),
        "leaves": [],
        "name": rule.name,
        "sources": [given.get(s, x) if isinstance(s, str) else x for s, x in zip(rule.sources, shared)],
        "memory": [packed(numbers) for numbers in optimizer.remembered()],
        "taken": optimizer.t,
        "rates": _rates(optimizer),
    }


def starting_points(trained: Trained, count: int, seed: int) -> list[str]:
    """The parameters as they are, and others: each layer's weights drawn anew, evenly and as widely spread.

    Numbers that are all equal in a layer, as biases often are at the start, stay.
    """
    paths = parameter_paths({*trained.parameters})
    groups: dict[tuple[str, str], list[int]] = {}
    for i, p in enumerate(trained.parameters):
        path = paths.get(p, "")
        kind = path.rstrip("0123456789.").rpartition(".")[2]
        groups.setdefault(((place(path) or ("",))[0], kind), []).append(i)
    now = [p.data for p in trained.parameters]
    found, rng = [packed(now)], random.Random(seed)
    for _ in range(count - 1):
        other = [*now]
        for members in groups.values():
            numbers = [now[i] for i in members]
            width = sqrt(3.0 * sum(x * x for x in numbers) / len(numbers))  # of even numbers with that spread
            if len({*numbers}) > 1 or (len(numbers) == 1 and numbers[0]):
                for i in members:
                    other[i] = rng.uniform(-width, width)
        found.append(packed(other))
    return found


def packed(numbers: Iterable[float]) -> str:
    """Doubles in base64."""
    numbers = [*map(float, numbers)]
    return b64encode(struct.pack(f"<{len(numbers)}d", *numbers)).decode()


def packed_generator(rng: random.Random) -> str:
    """The state of a generator, as its 625 whole numbers."""
    return b64encode(struct.pack("<625I", *rng.getstate()[1])).decode()


def _with_leaves(made: tuple[Json, list[Value]], parameters: Sequence[Value]) -> Json:
    """A program; for each Value that it reads, the number of the parameter in a list, or its own number."""
    program, leaves = made
    index = {p: i for i, p in enumerate(parameters)}
    return {"program": program, "leaves": [[index[v]] if v in index else v.data for v in leaves]}


def _rates(optimizer: Optimizer) -> list[float]:
    if not callable(optimizer.lr):
        return [optimizer.rate()]
    rates = [optimizer.rate()]
    with suppress(TypeError, ValueError):  # the schedule may end before
        for k in range(1, SCHEDULED):
            rates.append(optimizer.rate(optimizer.t + k))
    while len(rates) > 1 and rates[-2] == rates[-1]:
        rates.pop()
    return rates


def _classes(ys: Sequence[Any]) -> list[float]:
    """The different targets where they are few whole numbers, so that they stand for classes."""
    if any(isinstance(y, list) for y in ys):
        return []
    found = sorted({*map(float, ys)})
    few = 2 <= len(found) <= MOST_CLASSES and 2 * len(found) <= len(ys)
    return found if few and all(y.is_integer() for y in found) else []


def _graph(trained: Trained) -> Json:
    """The graph of any sample: its shape, and what each of its leaves is: a parameter, a column, a number."""
    x, y = trained.samples[0]
    found = trace(trained.loss_of_sample, (structure_of(x), structure_of(y)), trained.parameters)
    root, width = found.outputs[0], len(flat(x))
    if count(root) > MOST_DRAWN:
        return {"graphs": [], "leaves": []}
    for letter, inputs in (("x", found.inputs[:width]), ("y", found.inputs[width:])):
        for i, v in enumerate(inputs, 1):
            v.label = f"{letter}.{i}" if len(inputs) > 1 else letter
    graph = shape(root, OPEN)
    nodes = [node.value for node in read(root, "node", max_nodes=MOST_STEPPED, name="playground").nodes]
    columns = {v: j for j, v in enumerate(found.inputs)}
    numbers = {p: i for i, p in enumerate(trained.parameters)}
    leaves: list[Any] = []
    for v, node in zip(nodes, graph["nodes"]):
        if v in columns:
            node.pop("label", None)
        leaves.append(
            None
            if v.op
            else ["p", numbers[v]]
            if v in numbers
            else ["x", columns[v]]
            if v in columns
            else v.data
        )
    return {"graphs": [graph], "leaves": leaves}
