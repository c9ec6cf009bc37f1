"""What the plots show, as plain numbers: gradients and activations by layer, weights as matrices, errors.

plotting.py draws these.  Nothing here needs matplotlib, and nothing changes the model.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tinygrad_bp.engine import Value
from tinygrad_bp.modes import entered
from tinygrad_bp.nn import MLP, Module
from tinygrad_bp.show.records import grad_of
from tinygrad_bp.transforms import grad

Matrix = list[list[float]]


def gradients_by_layer(model: Module) -> dict[str, list[float]]:
    """|gradient| of the parameters of each layer; what no gradient reached has 0.

    Raises ValueError if no backward pass has set any.

    >>> model = MLP(1, [1], weights=lambda rng, nin, nout: 1.0); model([-3.0]).backward()
    >>> gradients_by_layer(model)
    {'layers.0': [3.0, 1.0]}
    """
    found = [(path, grad_of(p)) for path, p in model.named_parameters()]
    if all(g is None for _, g in found):
        raise ValueError("the parameters have no gradients yet: call loss.backward() first")
    layers: dict[str, list[float]] = {}
    for path, g in found:
        layers.setdefault(re.split(r"\.?neurons", path)[0] or "layer", []).append(abs(g or 0.0))
    return layers


def activations_by_layer(model: MLP, xs: Sequence[Sequence[float]]) -> list[Matrix]:
    """What comes out of each layer: a row for each of the samples.

    Raises TypeError for a model without layers, ValueError for no samples.

    >>> activations_by_layer(MLP(1, [1], weights=lambda rng, nin, nout: 2.0), [[1.0], [3.0]])
    [[[2.0], [6.0]]]
    """
    if not isinstance(model, MLP):
        raise TypeError(f"activations are those of an MLP, not of a {type(model).__name__}: it has layers")
    if not len(xs):
        raise ValueError("activations: no samples; pass rows of numbers, as the model takes them")
    outputs: list[Matrix] = [[] for _ in model.layers]
    with entered(record=False):
        for x in xs:
            row: Any = x
            for layer, rows in zip(model.layers, outputs):
                row = numbers(layer(row))
                rows.append(row)
    return outputs


def weight_matrix(state: Mapping[str, float], layer: int) -> Matrix:
    """The weights of a layer from `model.state_dict()`: a row for each neuron.

    >>> weight_matrix({"layers.0.neurons.0.w.0": 1.0, "layers.0.neurons.0.b": 2.0}, 0)
    [[1.0]]
    """
    rows: dict[str, list[float]] = {}
    for path, w in state.items():
        found = re.fullmatch(rf"(?:layers\.{layer}\.)?neurons\.(\d+)\.w\.\d+", path)
        if found:
            rows.setdefault(found[1], []).append(w)
    if not rows:
        raise ValueError(f"no weights of layers.{layer} in the state: pass model.state_dict()")
    return list(rows.values())


def field(model: Callable[[list[float]], Any], across: Sequence[float], up: Sequence[float]) -> list[Matrix]:
    """The outputs of a model of two inputs on a grid: rows of it go up."""
    with entered(record=False):
        return [[numbers(model([a, b])) for a in across] for b in up]


def quotient_errors(f: Callable[[Any], Any], x: float, steps: Sequence[float]) -> list[tuple[float, float]]:
    """The relative errors of the one-sided and the central difference quotient, at each step h."""
    exact = grad(f)(float(x))
    errors = []
    with entered(record=False):
        for h in steps:
            below, here, above = (numbers(f(Value(x + d)))[0] for d in (-h, 0.0, h))
            slopes = (above - here) / h, (above - below) / (2.0 * h)
            one, two = (abs(slope - exact) / (abs(exact) or 1.0) for slope in slopes)
            errors.append((one, two))
    return errors


def numbers(output: Any) -> list[float]:
    """A model's output as floats."""
    outputs = output if isinstance(output, (list, tuple)) else [output]
    return [v.data if isinstance(v, Value) else float(v) for v in outputs]


def spread(xs: Sequence[float], n: int) -> list[float]:
    """n numbers over the range of the xs, and somewhat beyond.

    >>> spread([0.0, 10.0], 3)
    [-1.5, 5.0, 11.5]
    """
    low, high = min(xs), max(xs)
    margin = 0.15 * (high - low) or 1.0
    return [low - margin + (high - low + 2.0 * margin) * i / (n - 1) for i in range(n)]
