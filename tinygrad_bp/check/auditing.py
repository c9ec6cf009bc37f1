"""audit: is a hand-written backprop right, and if not, which mistake was made?

`audit(model, data, loss, mine)` compares entry by entry with the engine's gradient; where they differ it
makes the mistakes of the table in mistakes.py, one by one and then in pairs, in a backprop of its own
(backprop.py), until the same wrong numbers come out (search.py).  `audit(loss, mine)` takes any graph, and
tries factors, transposition and left-over gradients only (factors.py).
"""

from collections.abc import Sequence
from dataclasses import replace
from math import inf, isfinite
from typing import Any, overload

from tinygrad_bp.check.backprop import Matrix, backprop, flip, forward
from tinygrad_bp.check.factors import audit_graph
from tinygrad_bp.check.reading import NOT_PLAIN, read_data, read_gradients
from tinygrad_bp.check.report import Audit, Entry, explained, wrapped
from tinygrad_bp.check.search import Search
from tinygrad_bp.diagnosis import non_finite
from tinygrad_bp.engine import Value
from tinygrad_bp.errors import NonFiniteError
from tinygrad_bp.floats import to_float
from tinygrad_bp.losses import Loss
from tinygrad_bp.modes import entered
from tinygrad_bp.nn import MLP
from tinygrad_bp.transforms import gradients

__all__ = ["Audit", "audit"]

TWO_AND_THIRTY_BITS = 1e-4  # how well such a gradient agrees, with something to spare


@overload
def audit(loss: Value, mine: Any, /, *, before: Any = None, tolerance: float = 1e-8) -> Audit: ...
@overload
def audit(
    model: MLP, data: Any, loss: Loss, mine: Any, /, *,
    reduce: str = "sum", lr: float | None = None, before: Any = None, tolerance: float = 1e-8,
) -> Audit: ...  # fmt: skip
def audit(
    *what: Any,
    reduce: str = "sum",
    lr: float | None = None,
    before: Any = None,
    tolerance: float = 1e-8,
) -> Audit:
    """Whether the gradients `mine` are right, as a report that is true if they are and names the mistake.

    `audit(model, data, loss, mine)`: an MLP, data = (xs, ys), a loss and `reduce` as `fit` takes them; `mine`
    is a flat list in the order of parameters(), a dict by their paths, or matrices by layer: [dW1, db1, dW2,
    db2], [(dW1, db1), ...], {"W1": ..., "b1": ...}, without biases [dW1, dW2]; lists, or arrays of any
    library. dW is (out, in), as the neurons are; if all of them fit only as (in, out) they are read so. A
    number, row or column that NumPy would stretch in `W -= lr * dW` is stretched. Given `lr`, weights used
    after their update are tried too; given `before`, the gradients of the step before in a form like `mine`,
    left-over ones. A search takes seconds for hundreds of weights, minutes for twenty thousand: audit your
    code on a small network.

    `audit(loss, mine)`: any Value, and a dict of gradients by the labels of leaves ("w", or "w" for "w.0",
    "w.1" ...), or a list of pairs (Values, gradients) of the same nesting.

    Entries agree to `tolerance`, measured by the largest of their matrix. Raises ValueError or TypeError for
    wrong shapes and for what is no finite number, naming the entry.

    >>> model = MLP(1, [1], act=None, weights=lambda rng, nin, nout: 2.0)
    >>> from tinygrad_bp.losses import squared_error
    >>> audit(model, ([1.0, 3.0], [1.0, 1.0]), squared_error, [16.0, 6.0])
    right: all 2 entries are the engine's
    >>> audit(model, ([1.0, 3.0], [1.0, 1.0]), squared_error, [16.0, 5.0]).worst[0]
    Entry(label='layers.0.neurons.0.b', mine=5.0, engine=6.0, agrees=False)
    """
    tolerance = _above_zero(tolerance, "tolerance")
    if len(what) == 2 and isinstance(what[0], Value):
        if lr is not None or reduce != "sum":
            raise TypeError("audit: lr and reduce are for audit(model, data, loss, mine)")
        return audit_graph(*what, before=before, tolerance=tolerance)
    if len(what) != 4 or not isinstance(what[0], MLP) or not callable(what[2]):
        given = ", ".join(type(it).__name__ for it in what)
        raise TypeError(
            f"audit takes (model, data, loss, mine) for an MLP or (loss, mine) for a Value, not ({given})"
        )
    if reduce not in ("sum", "mean"):
        raise ValueError(f"audit: reduce is 'sum' or 'mean', not {reduce!r}")
    model, data, loss, mine = what
    rate = None if lr is None else _above_zero(lr, "lr")
    xs, ys = read_data(data)
    readings = read_gradients(mine, model, len(xs))
    earlier = None if before is None else read_gradients(before, model, len(xs), "before")[-1]
    engine = engine_gradients(model, xs, ys, loss, reduce)
    net = forward(model, xs)
    searches = [Search(net, ys, loss, reduce, g, tolerance, rate, earlier, engine) for g in readings]
    _check_plain(searches[0])
    return min(map(_judged, searches), key=_plainness)


def _above_zero(x: Any, name: str) -> float:
    told = f"audit: {name} is a number above 0, not {x!r}"
    try:
        number = to_float(x)
    except TypeError:
        raise TypeError(told) from None
    if not 0.0 < number < inf:
        raise ValueError(told)
    return number


def engine_gradients(
    model: MLP, xs: Sequence[Any], ys: Sequence[Any], loss: Loss, reduce: str
) -> list[tuple[Matrix, Matrix | None]]:
    """By layer, the weights' (out, in) and the biases' (out, 1); no `.grad` is touched."""
    parameters = model.parameters()
    sums = [0.0] * len(parameters)
    for i, (x, y) in enumerate(zip(xs, ys)):
        with entered(record=True, trap=False):
            value = loss(model(x), y)
            if not isinstance(value, Value):
                raise TypeError(f"audit: the loss of sample {i} is {value!r}, not a Value")
            sums = [total + g for total, g in zip(sums, gradients(value, parameters))]
        if not all(map(isfinite, sums)):
            report = non_finite(value) or "the sum of the gradients is beyond the floats"
            raise NonFiniteError(f"audit: the engine's own gradient is not finite, at sample {i}: {report}")
    share = 1.0 / len(xs) if reduce == "mean" else 1.0
    by_parameter: dict[Any, float] = {p: share * g for p, g in zip(parameters, sums)}
    return [
        (
            [[by_parameter[v] for v in neuron.w] for neuron in layer.neurons],
            None if layer.neurons[0].b is None else [[by_parameter[n.b]] for n in layer.neurons],
        )
        for layer in model.layers
    ]


def _plainness(audit: Audit) -> tuple[bool, int, int]:
    """Of two ways to read the matrices: the one that is explained, by fewer mistakes, in fewer words."""
    sizes = [(len(told), len("".join(told))) for told in audit.explanations]
    return (not audit and not sizes, *min(sizes, default=(0, 0)))


def _judged(search: Search) -> Audit:
    """The report: the entries, then what explains those that differ."""
    entries, shapes_agree = _entries(search)
    audit = Audit(entries, notes=search.mine.notes, shapes_agree=shapes_agree)
    if audit:
        audit.verdict = f"right: all {len(entries)} entries are the engine's"
        return audit
    layers = len(search.net)
    found = search.explanations()
    if found:
        audit.explanations = [candidate.told(layers) for candidate in found]
        audit.verdict = explained(audit.explanations, advice(search))
    else:
        audit.verdict = f"not explained by any single mistake or pair tried\n{_nearest(search, audit)}"
    untried = "; ".join(search.untried())
    if untried and len(found) != 1:
        audit.verdict += "\n" + wrapped(untried, "not tried: ")
    return audit


def _check_plain(search: Search) -> None:
    """The backprop without mistakes is the engine's, or the model is something else than it says."""
    errors = [search.errors]
    for k in reversed(range(len(search.net))):
        db, dw, errors = backprop(search.net, k, errors, made=())
        for ours, theirs in zip((dw, db), search.engine[k]):
            if theirs is not None and not all(search.same(ours, theirs)):
                raise ValueError(NOT_PLAIN)


def _entries(search: Search) -> tuple[list[Entry], bool]:
    """All parameters in their order, and whether the matrices had the shapes of the parameters."""
    entries, shapes_agree = [], True
    for k, (dw, db) in enumerate(search.engine):
        w, b = search.mine.ws[k], search.mine.bs[k]
        if len(w) != len(dw) or len(w[0]) != len(dw[0]):
            w, shapes_agree = flip(w), False
        if b is not None and len(b[0]) > 1:
            b, shapes_agree = [[sum(row)] for row in b], False
        ws = search.same(dw, w)
        bs = search.same(db, b) if db and b else []
        nin = len(dw[0])
        for j in range(len(dw)):
            home = f"layers.{k}.neurons.{j}"
            for i in range(nin):
                entries.append(Entry(f"{home}.w.{i}", w[j][i], dw[j][i], ws[j * nin + i]))
            if db and b:
                entries.append(Entry(f"{home}.b", b[j][0], db[j][0], bs[j]))
    return entries, shapes_agree


def _nearest(search: Search, audit: Audit) -> str:
    """What comes closest: 32-bit arithmetic, no mistake at all, or a single mistake."""
    blunt = replace(search, tolerance=TWO_AND_THIRTY_BITS)
    if all(entry.agrees for entry in _entries(blunt)[0]):
        return wrapped(
            f"but to {TWO_AND_THIRTY_BITS:g} of the largest of its matrix every entry agrees: if your code "
            f"has 32-bit numbers, audit with tolerance={TWO_AND_THIRTY_BITS:g}"
        )
    count = sum(entry.mine != 0.0 for entry in audit.entries)
    if not count:
        return "every entry handed in is zero: is it what your backward pass filled?"
    regular = _regular(search, audit)
    if regular:
        return wrapped(regular)
    entries = "entries" if count == len(audit.entries) else "entries other than 0"
    agreeing, candidate = search.closest()
    told = candidate.told(len(search.net))
    if not agreeing:
        return "and no single mistake gives even one of the entries: is it the same loss, the same data?"
    if not told:
        return f"the closest: no mistake at all, and {agreeing} of {count} {entries} are as they should be"
    return "\n".join(
        [f"the closest, for {agreeing} of {count} {entries}:", *(wrapped(t, "  ") for t in told)]
    )


def _regular(search: Search, audit: Audit) -> str:
    """What is wrong with every entry alike, a factor or so much of the parameter itself; or ''."""
    c = _common_factor([(entry.mine, entry.engine) for entry in audit.entries], search.tolerance)
    if c:
        return (
            f"but every entry is {c:.6g} times the engine's: look for that number in the loss and in your "
            "code, as a learning rate or a number of samples"
        )
    own = [
        weight
        for layer, (_, db) in zip(search.net, search.engine)
        for row in layer.w
        for weight in (row + [0.0] if db else row)
    ]
    more = [entry.mine - entry.engine for entry in audit.entries]
    c = _common_factor([*zip(more, own)], search.tolerance)
    if c:
        return (
            f"but the gradient of every weight is the engine's plus {c:.6g} times the weight: weight "
            "decay, which the loss handed in does not have"
        )
    return ""


def _common_factor(pairs: Sequence[tuple[float, float]], tolerance: float) -> float:
    """c, if x = c y for all pairs (x, y); 0.0 if there is none, or nothing to compare."""
    largest, divisor = max(pairs, key=lambda pair: abs(pair[1]))
    c = largest / divisor if divisor and len(pairs) > 1 else 0.0
    return c if all(abs(x - c * y) <= tolerance * abs(largest) for x, y in pairs) else 0.0


def advice(search: Search) -> str:
    """What makes mistakes look alike here, and would not elsewhere."""
    n, widths = len(search.targets), [len(search.net[0].w[0]), *(len(layer.w) for layer in search.net)]
    alike = {
        "use more than one sample": n == 1,
        "use more than two samples": n == 2,
        "use another number of samples than a layer has units": n > 2 and n in widths,
        "give the layers different widths": len({*widths}) < len(widths),
        "use more than one output": widths[-1] == 1,
    }
    return ", ".join(text for text, so in alike.items() if so) or "use other data and other weights"
