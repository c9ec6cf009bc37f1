"""The audit of an MLP: its layers as stages of the search, its gradients in any form people have."""

from collections.abc import Sequence
from math import isfinite
from typing import Any

from tinygrad_bp.check.audit import layers
from tinygrad_bp.check.audit.layers import Tape, flat, record, transposed
from tinygrad_bp.check.audit.reading import NOT_PLAIN, Given, read_data, read_gradients
from tinygrad_bp.check.audit.report import Audit
from tinygrad_bp.check.audit.search import Quantity, Search
from tinygrad_bp.check.audit.verdicts import judged
from tinygrad_bp.diagnosis import non_finite
from tinygrad_bp.engine import Value
from tinygrad_bp.errors import NonFiniteError
from tinygrad_bp.losses import Loss, cross_entropy, mse, squared_error
from tinygrad_bp.modes import entered
from tinygrad_bp.nn import MLP
from tinygrad_bp.ops import sum as SUM
from tinygrad_bp.transforms import gradients


def audit_network(
    model: MLP, data: Any, loss: Loss, mine: Any, *,
    reduce: str, lr: float | None, before: Any, tolerance: float, reveal: bool,
) -> Audit:  # fmt: skip
    """`audit(model, data, loss, mine)`."""
    xs, ys = read_data(data)
    readings = read_gradients(mine, model, len(xs))
    earlier = None if before is None else read_gradients(before, model, len(xs), "before")[-1]
    known = engine_gradients(model, xs, ys, loss)
    tape, weights, biases = tape_of(model, xs, ys, loss, reduce)
    places = {path: i for i, (path, _) in enumerate(model.named_parameters())}
    audits = []
    for given in readings:
        quantities = quantities_of(given, weights, biases, tape, earlier)
        search = Search(tape, quantities, tolerance, {"lr": lr, "before": before})
        _check_plain(model, xs, ys, loss, reduce, search, known)
        audits.append(judged(search, given.notes, advice(model, xs), reveal))
        audits[-1].entries.sort(key=lambda entry: places[entry.label])
        if audits[-1]:
            break
    return min(audits, key=_plainness)


def _plainness(audit: Audit) -> tuple[bool, int, int]:
    """Of two ways to read the matrices: the one that is explained, by fewer mistakes, in fewer words."""
    sizes = [(len(texts), len("".join(texts))) for texts in audit.explanations]
    return (not audit and not sizes, *min(sizes, default=(0, 0)))


def tape_of(
    model: MLP, xs: Sequence[Any], ys: Sequence[Any], loss: Loss, reduce: str
) -> tuple[Tape, list[list[list[Value]]], list[list[Value] | None]]:
    """The run of the whole batch, layer by layer, and the leaves that stand for the parameters."""
    weights = [[[Value(v._data) for v in n.w] for n in layer.neurons] for layer in model.layers]
    biases: list[list[Value] | None] = [
        None if layer.neurons[0].b is None else [Value(n.b._data if n.b else 0.0) for n in layer.neurons]
        for layer in model.layers
    ]
    with record() as tape, entered(record=True, trap=False):
        rows: Any = [list(row) for row in xs]
        for k, layer in enumerate(model.layers):
            rows = layers.affine(rows, weights[k], biases[k])
            if layer.neurons[0].act is not None:
                rows = layers.activation(rows, act=layer.neurons[0].act)
            for stage in tape.stages[-2:]:
                stage.place = stage.place or f"in layer {k}"
        tape.loss = loss_of(rows, ys, loss, float(len(xs)) if reduce == "mean" else 1.0)
        tape.stages[-1].place = "from the loss on"
    return tape, weights, biases


def loss_of(rows: Any, ys: Sequence[Any], loss: Loss, over: float) -> Any:
    """The layer that stands for a loss: known ones by name, so that their mistakes are known too."""
    width = len(rows[0])
    targets = [list(y) if hasattr(y, "__len__") else [y] for y in ys]
    if loss is cross_entropy:
        classes = [y if hasattr(y, "__len__") else float(y) for y in ys]
        return layers.softmax_cross_entropy(rows, classes, over=over)
    if loss in (squared_error, mse) and all(len(t) == width for t in targets):
        return layers.mean_squared_error(rows, targets, over=over * (2.0 if loss is squared_error else width))
    return layers.total_loss(rows, [0.0] * len(ys), loss=loss, targets=list(ys), over=over)


def quantities_of(
    given: Given, weights: Sequence[Any], biases: Sequence[Any], tape: Tape, earlier: Given | None
) -> list[Quantity]:
    """The weights and the biases of each layer, as they are compared."""
    found = []
    for k, w in enumerate(weights):
        mine, home = given.ws[k], f"layers.{k}.neurons."
        labels = [f"{home}{j}.w.{i}" for j in range(len(w)) for i in range(len(w[0]))]
        odd = "" if (len(mine), len(mine[0])) == (len(w), len(w[0])) else "transposed"
        mine = transposed(mine) if odd else mine
        left = flat(earlier.ws[k]) if earlier else None
        found.append(Quantity(f"w of layer {k}", flat(w), mine, before=left, labels=labels, odd=odd))
        own, b = given.bs[k], biases[k]
        if own is None or b is None:
            continue
        labels = [f"{home}{j}.b" for j in range(len(b))]
        odd = "bias of one sample for each" if len(own[0]) > 1 else ""
        before = [sum(row) for row in earlier.bs[k] or []] if earlier else None
        q = Quantity(f"b of layer {k}", list(b), [sum(row) for row in own], before=before, labels=labels)
        q.odd, q.raw = odd, own
        found.append(q)
    return found


def _check_plain(
    model: MLP, xs: Any, ys: Any, loss: Loss, reduce: str, search: Search, known: dict[Value, float]
) -> None:
    """The gradients of the stages are the engine's, or the model is something else than it says."""
    share = 1.0 / len(xs) if reduce == "mean" else 1.0
    order = [
        share * known[p]
        for layer in model.layers
        for p in [v for n in layer.neurons for v in n.w] + [n.b for n in layer.neurons if n.b is not None]
    ]
    own = [g for q in search.quantities for g in q.right]
    room = 1e-8 * max(map(abs, order), default=0.0)
    if len(own) != len(order) or any(abs(a - b) > room for a, b in zip(own, order)):
        raise ValueError(NOT_PLAIN)


def engine_gradients(model: MLP, xs: Sequence[Any], ys: Sequence[Any], loss: Loss) -> dict[Value, float]:
    """The gradient of the sum over the samples, by parameter; no `.grad` is touched."""
    parameters = model.parameters()
    with entered(record=True, trap=False):
        values = [loss(model(x), y) for x, y in zip(xs, ys)]
        for i, value in enumerate(values):
            if not isinstance(value, Value):
                raise TypeError(f"audit: the loss of sample {i} is {value!r}, not a Value")
        sums = gradients(SUM(*values), parameters)
        if not all(map(isfinite, sums)):
            each = [gradients(value, parameters) for value in values]
            i = next((i for i, gs in enumerate(each) if not all(map(isfinite, gs))), 0)
            report = non_finite(values[i]) or "the sum of the gradients is beyond the floats"
            raise NonFiniteError(f"audit: the engine's own gradient is not finite, at sample {i}: {report}")
    return dict(zip(parameters, sums))


def advice(model: MLP, xs: Sequence[Any]) -> str:
    """What makes mistakes look alike here, and would not elsewhere."""
    n = len(xs)
    widths = [len(model.layers[0].neurons[0].w), *(len(layer.neurons) for layer in model.layers)]
    alike = {
        "use more than one sample": n == 1,
        "use more than two samples": n == 2,
        "use another number of samples than a layer has units": n > 2 and n in widths,
        "give the layers different widths": len({*widths}) < len(widths),
        "use more than one output": widths[-1] == 1,
    }
    return ", ".join(text for text, so in alike.items() if so) or "use other data and other weights"
