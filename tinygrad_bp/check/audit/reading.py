"""Reading what a user hands in: gradients in the shapes that people have them, and data.

Arrays of any library are known by their `tolist`.  Everything becomes plain lists of floats; whatever cannot
be read is an error that says which entry of which parameter.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from tinygrad_bp.check.audit.layers import transposed as flip
from tinygrad_bp.floats import to_float
from tinygrad_bp.nn import MLP
from tinygrad_bp.rows import read_samples

Matrix = list[list[float]]

FORMS = (
    "the gradients of an MLP are a flat list in the order of parameters(), a dict by their paths, or "
    "matrices by layer: [dW1, db1, dW2, db2], [(dW1, db1), (dW2, db2)], {'W1': ..., 'b1': ...}, or, "
    "without biases, [dW1, dW2]"
)
NOT_PLAIN = (
    "audit: this model is not a plain MLP, whose layers are act(w · x + b) with one activation each and "
    "parameters of their own: compare with audit(loss, mine)"
)

Part = tuple[tuple[Any, str], tuple[Any, str] | None]  # of a layer: weights and biases, and where they stood


@dataclass
class Given:
    """Gradients by layer; where it matters in the wrong shape: (in, out), or a bias for each sample."""

    ws: list[Matrix] = field(default_factory=list)
    bs: list[Matrix | None] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def plain(tree: Any, place: str) -> Any:
    """Nested lists of finite floats."""
    if tree is None:
        raise TypeError(f"audit: {place} is None: nothing has filled it yet")
    if hasattr(tree, "tolist"):
        tree = tree.tolist()
    if isinstance(tree, (list, tuple)):
        if not tree:
            raise ValueError(f"audit: {place} is empty; there must be at least one number")
        return [plain(branch, f"{place}[{i}]") for i, branch in enumerate(tree)]
    try:
        number = to_float(tree)
    except ValueError as error:
        raise ValueError(f"audit: {place}: {error}") from None
    except TypeError:
        hint = ": hand in its .grad" if hasattr(tree, "grad") else ""
        raise TypeError(f"audit: {place} is {tree!r}, not a number or a list of numbers{hint}") from None
    if not isfinite(number):
        raise ValueError(f"audit: {place} is {number}: find where it began, before asking what it means")
    return number


def shape(tree: Any, place: str) -> tuple[int, ...]:
    """The shape of nested lists, (2, 3); raises ValueError where they are ragged."""
    if not isinstance(tree, list):
        return ()
    if not tree:
        return (0,)
    shapes = [shape(branch, f"{place}[{i}]") for i, branch in enumerate(tree)]
    for i, found in enumerate(shapes):
        if found != shapes[0]:
            raise ValueError(
                f"audit: {place} is ragged: {place}[{i}] has the shape {found}, {place}[0] {shapes[0]}"
            )
    return (len(tree), *shapes[0])


# --- the gradients of an MLP --------------------------------------------------------------------------------


def read_gradients(tree: Any, model: MLP, samples: int, noun: str = "mine") -> list[Given]:
    """The gradients of all layers, from any of FORMS, in one or both of the ways in which they can be meant.

    Matrices are (out, in) as the neurons are, or all (in, out).  If some are square and the others fit only
    as (in, out), both may be: then the others may be transposed by mistake.  A number, row or column that
    NumPy would stretch in `W -= lr * dW` is stretched.
    """
    parts = _parts(tree, model, noun)
    sizes = [(len(layer.neurons), len(layer.neurons[0].w)) for layer in model.layers]
    found = [shape(w, place) for (w, place), _ in parts]
    turned = found == [(i, o) for o, i in sizes] != sizes
    # all matrices are not transposed by mistake, but square ones do not show how they are meant
    ways = (False, True) if turned and any(o == i for o, i in sizes) else (turned,)
    readings = []
    for way in ways:
        given = Given(notes=["the weight matrices are (in, out), and are read so"] if way else [])
        for k, ((w, w_place), bias) in enumerate(parts):
            given.ws.append(flip(w) if way else _weights(w, w_place, k, sizes[k], given.notes))
            given.bs.append(bias and _biases(*bias, k, sizes[k][0], samples, given.notes))
        readings.append(given)
    return readings


def _parts(tree: Any, model: MLP, noun: str) -> list[Part]:
    """For each layer its weights and its biases, each with where it stood."""
    paths = [path for path, _ in model.named_parameters()]
    if paths != [path for k in range(len(model.layers)) for path in _paths(model, k)]:
        raise ValueError(NOT_PLAIN)
    layers, has_bias = len(model.layers), model.layers[0].neurons[0].b is not None
    each = 2 if has_bias else 1
    if isinstance(tree, Mapping):
        names = _matrix_names(tree, layers * each)
        if not names:
            return _by_path(tree, model, paths, noun)
        flat = [(plain(tree[name], f"{noun}[{name!r}]"), f"{noun}[{name!r}]") for name in names]
    else:
        if tree is None:
            plain(tree, noun)
        entries = tree.tolist() if hasattr(tree, "tolist") else tree
        if not isinstance(entries, (list, tuple)):
            raise TypeError(f"audit: {noun} is {tree!r}: {FORMS}")
        if len(entries) == len(paths) != layers * each:
            return _by_path(dict(zip(paths, entries)), model, paths, noun)
        entries = plain(entries, noun)
        flat = [(entry, f"{noun}[{i}]") for i, entry in enumerate(entries)]
        if has_bias and len(flat) == layers and all(isinstance(e, list) and len(e) == 2 for e, _ in flat):
            flat = [(entry[i], f"{place}[{i}]") for entry, place in flat for i in (0, 1)]
    if len(flat) != layers * each:
        raise ValueError(
            f"audit: {noun} has {len(flat)} entries, for {layers} layers {'with' if has_bias else 'without'} "
            f"biases and {len(paths)} parameters: {FORMS}"
        )
    return [(flat[i], flat[i + 1] if has_bias else None) for i in range(0, len(flat), each)]


def _paths(model: MLP, k: int) -> Iterator[str]:
    """Of a layer, as it is when all its neurons are alike and none of the parameters is tied."""
    first = model.layers[k].neurons[0]
    for j in range(len(model.layers[k].neurons)):
        yield from (f"layers.{k}.neurons.{j}.w.{i}" for i in range(len(first.w)))
        if first.b is not None and model.layers[0].neurons[0].b is not None:
            yield f"layers.{k}.neurons.{j}.b"


def _matrix_names(tree: Mapping[Any, Any], count: int) -> list[Any]:
    """The keys W1, b1, W2 ... in the order of the layers; none if the keys are others."""
    matches = [(key, re.fullmatch(r"d?([wWbB])_?(\d+)", str(key))) for key in tree]
    places = [(int(match[2]), match[1] in "bB", key) for key, match in matches if match]
    return [key for *_, key in sorted(places)] if len(places) == len(tree) == count else []


def _by_path(tree: Mapping[Any, Any], model: MLP, paths: Sequence[str], noun: str) -> list[Part]:
    wrong = [f"{path!r} is missing" for path in paths if path not in tree]
    wrong += [f"{path!r} is unknown" for path in tree if path not in paths]
    if wrong:
        more = f"; and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise ValueError(f"audit: {noun} does not fit the model: {'; '.join(wrong[:3])}{more}: {FORMS}")
    numbers = {}
    for path in paths:
        numbers[path] = plain(tree[path], f"{noun}[{path!r}]")
        if isinstance(numbers[path], list):
            found = shape(numbers[path], f"{noun}[{path!r}]")
            raise ValueError(f"audit: {noun}[{path!r}] has the shape {found}, and is one number")
    parts: list[Part] = []
    for k, layer in enumerate(model.layers):
        homes = [f"layers.{k}.neurons.{j}" for j in range(len(layer.neurons))]
        w = [[numbers[f"{home}.w.{i}"] for i in range(len(layer.neurons[0].w))] for home in homes]
        b = [numbers[f"{home}.b"] for home in homes] if layer.neurons[0].b is not None else None
        parts.append(((w, f"layers.{k} w"), (b, f"layers.{k} b") if b else None))
    return parts


def _weights(w: Any, place: str, k: int, size: tuple[int, int], notes: list[str]) -> Matrix:
    out, inputs = size
    found = shape(w, place)
    if found == size or found == (inputs, out):
        return [list(row) for row in w]
    if found == (inputs,) and out == 1:
        return [w]
    if found == (out,) and inputs == 1:
        return [[number] for number in w]
    wanted = f"the weight gradients of layer {k} are {size}, out and in"
    return _stretched(w, found, size, place, wanted, notes)


def _biases(b: Any, place: str, k: int, out: int, samples: int, notes: list[str]) -> Matrix:
    found = shape(b, place)
    if found == (out,):
        return [[number] for number in b]
    if found == (out, 1):
        return [list(row) for row in b]
    if found == (1, out):
        return list(flip(b))
    if found in ((samples, out), (out, samples)):
        notes.append(f"{place} has a number for each of the {samples} samples: their sums stand in the table")
        return flip(b) if found == (samples, out) else [list(row) for row in b]
    if found == (samples,) and out == 1:
        notes.append(f"{place} has a number for each of the {samples} samples: their sum stands in the table")
        return [list(b)]
    wanted = f"the bias gradients of layer {k} are ({out},)"
    if found in ((samples,), (samples, 1), (1, samples)) and samples > 1:
        wanted += ": this is one number for each sample; sum over the samples, the other axis"
    return _stretched(b, found, (out, 1), place, wanted, notes)


def _stretched(
    tree: Any, found: tuple[int, ...], size: tuple[int, int], place: str, wanted: str, notes: list[str]
) -> Matrix:
    rows = tree if len(found) == 2 else [tree] if len(found) == 1 else [[tree]]
    height, width = size
    if len(found) > 2 or len(rows) not in (1, height) or len(rows[0]) not in (1, width):
        raise ValueError(f"audit: {place} has the shape {found}, and {wanted}")
    stretch = [row if len(row) == width else row * width for row in rows]
    stretch = stretch if len(stretch) == height else stretch * height
    if size != (1, 1):
        notes.append(f"{place} of shape {found} is stretched to {size}, as `W -= lr * dW` would do")
    return stretch


# --- data ---------------------------------------------------------------------------------------------------


def read_data(data: Any) -> tuple[list[list[float]], list[Any]]:
    """(xs, ys) as `fit` takes them: rows of numbers, a number being a row of one; and targets."""
    rows, targets = zip(*read_samples(data, "audit"))
    return [*rows], [*targets]
