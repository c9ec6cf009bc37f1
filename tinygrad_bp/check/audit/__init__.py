"""audit: is a hand-written backward pass right, and if not, where is the fault and which mistake is it?

Gradients are compared entry by entry with the engine's, from the loss down (`search.py`), so that the first
layer with a fault is known.  Then the mistakes of the table in `mistakes.py` are made, one by one and in
pairs, until the same wrong numbers come out.  `layers.py` has the layers as plain functions on scalars.
"""

from collections.abc import Callable, Mapping, Sequence
from math import inf, isfinite
from typing import Any, overload

from tinygrad_bp.check.audit import layers as layers
from tinygrad_bp.check.audit.graphs import audit_graph
from tinygrad_bp.check.audit.layers import Tape, each, flat, record, shape_of
from tinygrad_bp.check.audit.networks import audit_network
from tinygrad_bp.check.audit.reading import plain
from tinygrad_bp.check.audit.report import Audit, Entry, Part
from tinygrad_bp.check.audit.search import Quantity, Search
from tinygrad_bp.check.audit.slips import audit_update
from tinygrad_bp.check.audit.verdicts import judged
from tinygrad_bp.diagnosis import non_finite
from tinygrad_bp.engine import Value
from tinygrad_bp.errors import NonFiniteError
from tinygrad_bp.floats import to_float
from tinygrad_bp.losses import Loss
from tinygrad_bp.modes import entered
from tinygrad_bp.nn import MLP

__all__ = ["Audit", "Entry", "Part", "audit", "audit_update", "layers"]


@overload
def audit(
    loss: Value, mine: Any, /, *, before: Any = None, tolerance: float = 1e-8, reveal: bool = True
) -> Audit: ...
@overload
def audit(
    model: MLP, data: Any, loss: Loss, mine: Any, /, *,
    reduce: str = "sum", lr: float | None = None, before: Any = None, tolerance: float = 1e-8,
    reveal: bool = True,
) -> Audit: ...  # fmt: skip
@overload
def audit(
    f: Callable[..., Any], inputs: Mapping[str, Any], mine: Mapping[str, Any], /, *,
    lr: float | None = None, before: Any = None, tolerance: float = 1e-8, reveal: bool = True,
) -> Audit: ...  # fmt: skip
def audit(
    *what: Any,
    reduce: str = "sum",
    lr: float | None = None,
    before: Any = None,
    tolerance: float = 1e-8,
    reveal: bool = True,
) -> Audit:
    """Whether the gradients `mine` are right, as a report that is true if they are and names the mistake.

    `audit(model, data, loss, mine)`: an MLP, data = (xs, ys), a loss and `reduce` as `fit` takes them; `mine`
    is a flat list in the order of parameters(), a dict by their paths, or matrices by layer: [dW1, db1, dW2,
    db2], [(dW1, db1), ...], {"W1": ..., "b1": ...}, without biases [dW1, dW2]; lists, or arrays of any
    library. dW is (out, in), as the neurons are; if all of them fit only as (in, out) they are read so. A
    number, row or column that NumPy would stretch in `W -= lr * dW` is stretched.

    `audit(f, inputs, mine)`: a function made of the layers in `tg.layers` that returns the loss, its inputs
    by name (numbers or nested lists), and gradients by the same names; those of "affine 1", "relu 1" ... are
    the errors at the results of these layers, in the order of their calls. A gradient that cannot be read
    (ragged, of another shape, nan) counts as wrong, and the rest is graded.

    `audit(loss, mine)`: any Value, and a dict of gradients by the labels of leaves ("w", or "w" for "w.0",
    "w.1" ...), or a list of pairs (Values, gradients) of the same nesting.

    Given `lr`, weights used after their update are tried too; given `before`, the gradients of the step
    before in a form like `mine`, left-over ones. Entries agree to `tolerance`, measured by the largest of
    their matrix. With reveal=False no number of the right gradients is printed. Raises ValueError or
    TypeError for wrong arguments, NonFiniteError if the engine's own gradient is not finite.

    >>> model = MLP(1, [1], act=None, weights=lambda rng, nin, nout: 2.0)
    >>> from tinygrad_bp.losses import squared_error
    >>> audit(model, ([1.0, 3.0], [1.0, 1.0]), squared_error, [16.0, 6.0])
    right: all 2 entries are the engine's
    >>> audit(model, ([1.0, 3.0], [1.0, 1.0]), squared_error, [16.0, 5.0]).worst[0]
    Entry(label='layers.0.neurons.0.b', mine=5.0, engine=6.0, agrees=False)
    >>> def f(x, w): return layers.mean_squared_error(layers.affine(x, w), [[1.0], [1.0]])
    >>> audit(f, {"x": [[1.0], [3.0]], "w": [[2.0]]}, {"w": [[32.0]]}).explanations[0][0][:30]
    'twice, in mean_squared_error 1'
    """
    tolerance = _above_zero(tolerance, "tolerance")
    if len(what) == 2 and isinstance(what[0], Value):
        if lr is not None or reduce != "sum":
            raise TypeError("audit: lr and reduce are for audit(model, data, loss, mine)")
        return audit_graph(*what, before=before, tolerance=tolerance, reveal=reveal)
    rate = None if lr is None else _above_zero(lr, "lr")
    if len(what) == 3 and callable(what[0]) and isinstance(what[1], Mapping):
        if not isinstance(what[2], Mapping):
            raise TypeError(f"audit(f, inputs, mine): mine is a dict of gradients by name, not {what[2]!r}")
        return audit_function(*what, lr=rate, before=before, tolerance=tolerance, reveal=reveal)
    if len(what) != 4 or not isinstance(what[0], MLP) or not callable(what[2]):
        given = ", ".join(type(it).__name__ for it in what)
        raise TypeError(
            "audit takes (model, data, loss, mine) for an MLP, (f, inputs, mine) for a function of layers, "
            f"or (loss, mine) for a Value, not ({given})"
        )
    if reduce not in ("sum", "mean"):
        raise ValueError(f"audit: reduce is 'sum' or 'mean', not {reduce!r}")
    return audit_network(*what, reduce=reduce, lr=rate, before=before, tolerance=tolerance, reveal=reveal)


def _above_zero(x: Any, name: str) -> float:
    words = f"audit: {name} is a number above 0, not {x!r}"
    try:
        number = to_float(x)
    except TypeError:
        raise TypeError(words) from None
    if not 0.0 < number < inf:
        raise ValueError(words)
    return number


def audit_function(
    f: Callable[..., Any], inputs: Mapping[str, Any], mine: Mapping[str, Any], *,
    lr: float | None, before: Any, tolerance: float, reveal: bool,
) -> Audit:  # fmt: skip
    """`audit(f, inputs, mine)`."""
    trees = {name: plain(tree, f"inputs[{name!r}]") for name, tree in inputs.items()}
    asked = [name for name in mine if name in trees]
    values = {name: each(Value, tree) if name in asked else tree for name, tree in trees.items()}
    with record() as tape, entered(record=True, trap=False):
        loss = f(**values)
    if not isinstance(loss, Value):
        raise TypeError(f"audit: f returns the loss, one number made of its inputs, and it returned {loss!r}")
    tape.loss = loss
    quantities, parts = [], {}
    for name, tree in mine.items():
        try:
            quantities.append(_quantity(name, tree, values, tape, before))
        except (TypeError, ValueError) as error:
            if name not in trees and name not in {s.name for s in tape.stages}:
                raise
            parts[name] = Part(name, False, reason=str(error).removeprefix("audit: "))
    search = Search(tape, quantities, tolerance, {"lr": lr, "before": before})
    if not all(isfinite(g) for q in quantities for g in q.right):
        raise NonFiniteError(f"audit: the engine's own gradient is not finite: {non_finite(loss)}")
    report = judged(search, reveal=reveal)
    found = {part.name: part for part in report.parts} | parts
    report.parts = [found[name] for name in mine]
    if parts and not report.explanations and report.verdict.startswith("right"):
        report.verdict = "the other gradients are right"
    return report


def _quantity(name: str, tree: Any, values: Mapping[str, Any], tape: Tape, before: Any) -> Quantity:
    stage = next((s for s in tape.stages if s.name == name), None)
    if name not in values and stage is None:
        known = ", ".join([*values, *(s.name for s in tape.stages)])
        raise ValueError(f"audit: there is no input and no layer {name!r}; there are {known}")
    given = plain(tree, f"mine[{name!r}]")
    wanted = values.get(name, stage.outer if stage else None)
    shape, found = shape_of(wanted), shape_of(given)
    if shape != found:
        raise ValueError(f"audit: mine[{name!r}] has the shape {found}, and its input {shape}")
    earlier = before.get(name) if isinstance(before, Mapping) else None
    left = None if earlier is None else flat(plain(earlier, f"before[{name!r}]"))
    labels = [name + "".join(f"[{i}]" for i in place) for place in _places(shape)]
    return Quantity(name, flat(wanted), given, None if name in values else stage, before=left, labels=labels)


def _places(shape: Sequence[int]) -> list[tuple[int, ...]]:
    places: list[tuple[int, ...]] = [()]
    for size in shape:
        places = [(*place, i) for place in places for i in range(size)]
    return places
