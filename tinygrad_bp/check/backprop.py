"""Backpropagation through an MLP in plain lists, with a switch for every classic mistake.

Without switches it is the textbook's: slopes times errors are deltas, deltas times inputs are gradients, and
the weights carry the deltas down as errors of the layer below.  `made` holds the names of the mistakes to
make in a layer, rows of the table in mistakes.py; each is made at the line where people make it.  As in NumPy
code, a sample is a column, and a matrix of one row or column is stretched to fit.  Read search.py next.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import mul
from typing import Any

from tinygrad_bp.engine import Value
from tinygrad_bp.nn import MLP
from tinygrad_bp.ops import OPS, Op, exp as EXP, identity as IDENTITY, sigmoid as SIGMOID, tanh as TANH
from tinygrad_bp.transforms import gradients

Matrix = list[list[float]]
Function = Callable[[float], float]
Made = Collection[str]

# the derivative of an activation a(z), written in a itself: what many codes use
SLOPE_BY_OUTPUT: dict[Any, Function] = {SIGMOID: lambda a: a * (1 - a), TANH: lambda a: 1 - a * a, EXP: float}
# with many samples in one matrix the shapes would not allow these, or there would be no last one
SAMPLE_BY_SAMPLE = {"row against column", "inputs contracted with delta", "last sample only"}


class MisfitError(Exception):
    """Two shapes that NumPy would refuse: the mistake cannot have been made here."""


@dataclass
class Plain:
    """A layer in plain lists: its weights, its activation, and what went in and out, a column a sample."""

    w: Matrix  # (out, in)
    has_bias: bool
    act: Function
    slope: Function
    slope_by_output: Function | None
    xs: Matrix
    sums: Matrix  # w · x + b, before the activation
    outs: Matrix

    @cached_property
    def slopes(self) -> Matrix:
        return each(self.slope, self.sums)


def forward(model: MLP, rows: Sequence[Sequence[float]]) -> list[Plain]:
    """The layers of the model, with what they make of the samples.

    >>> from tinygrad_bp import nn
    >>> model = MLP(2, [1], act=None, weights=nn.zeros(), biases=lambda rng, nin, nout: 3.0)
    >>> forward(model, [[1.0, 2.0]])[0].outs
    [[3.0]]
    """
    net, xs = [], flip(rows)
    for layer in model.layers:
        w = [[v.data for v in neuron.w] for neuron in layer.neurons]
        b = [[0.0 if neuron.b is None else neuron.b.data] for neuron in layer.neurons]
        act, slope, slope_by_output = on_floats(layer.neurons[0].act)
        sums = plus(matmul(w, xs), stretched(b, len(b), len(rows)))
        has_bias = layer.neurons[0].b is not None
        net.append(Plain(w, has_bias, act, slope, slope_by_output, xs, sums, each(act, sums)))
        xs = net[-1].outs
    return net


def on_floats(act: Any) -> tuple[Function, Function, Function | None]:
    """An activation's value and derivative on floats, and the derivative by its output if usual."""
    name = getattr(act, "__name__", "")
    row = IDENTITY if act is None else OPS[name].at() if getattr(Value, name, None) is act else act
    if isinstance(row, Op) and row.slopes is not None:
        slopes = row.slopes
        return row.value, lambda z: slopes(row.value(z), z)[0], SLOPE_BY_OUTPUT.get(row)

    def slope(z: float) -> float:
        x = Value(z)
        return float(gradients(act(x), x))

    return (lambda z: float(act(Value(z)).data)), slope, None


def backprop(
    net: Sequence[Plain], k: int, errors: list[Matrix], made: Made, lr: float = 0.0, before: Any = None
) -> Iterator[Any]:
    """Layer k: its bias gradients (out, 1), weight gradients (out, in), and the errors of the layer below.

    One after the other, so that a search can leave at the first that is not what it looks for. `errors` are
    the derivatives of the loss by the layer's outputs: one matrix with a column a sample, or, after a mistake
    of code that takes sample by sample, a matrix for each. `before` is a pair, the gradients that the step
    before left. Raises MisfitError where NumPy would refuse the shapes.
    """
    here, units, n = net[k], len(net[k].w), len(net[k].xs[0])
    scale = factor(made, n, len(net[-1].w), abs(lr))
    one_by_one = len(errors) == n or not SAMPLE_BY_SAMPLE.isdisjoint(made)
    batches = apart if one_by_one else lambda matrix: [matrix]
    errors = errors if len(errors) == n else batches(errors[0])

    slopes = here.slopes
    if "derivative forgotten" in made:
        slopes = each(lambda z: 1.0, here.sums)
    if "derivative at the activation" in made:  # f'(a), where f'(z) is due
        slopes = each(here.slope, here.outs)
    if "output formula at the pre-activation" in made:  # z (1 - z), where a (1 - a) is due
        slopes = each(usable(here.slope_by_output), here.sums)
    if "derivative of the layer above" in made:
        slopes = net[usable(k + 1 if k + 1 < len(net) else None)].slopes
    if "derivative of the layer below" in made:
        slopes = net[usable(k - 1 if k else None)].slopes
    if "mask of the wrong side" in made:
        slopes = each(lambda z: here.slope(-z), here.sums)

    upstream = errors
    if "upstream left out" in made:
        upstream = batches(each(lambda z: 1.0, here.sums))
    if "row against column" in made:
        upstream = [flip(error) for error in upstream]
    deltas = [times(slope, error) for slope, error in zip(batches(slopes), upstream)]

    column = beside([[[sum(row)] for row in delta] for delta in deltas] if one_by_one else deltas)
    db = [[sum(row)] for row in column]
    if "bias of one sample for each" in made:
        db = column
    if "bias summed over the units" in made:
        db = stretched([[sum(row)] for row in flip(column)], units, 1)
    if "bias summed over everything" in made:
        db = [[sum(map(sum, column))]] * units
    if "last sample only" in made:
        db = [[row[-1]] for row in column]
    if "bias averaged" in made:
        db = scaled(1 / n, db)
    if "bias not averaged" in made:
        db = scaled(n, db)
    if "bias left at zero" in made:
        db = [[0.0]] * units
    db = scaled(scale, db)
    if "left-over gradients" in made and before[1] is not None:
        db = plus(db, before[1])
    yield db

    xs = here.xs
    if "outputs for inputs" in made:
        xs = here.outs
    if "pre-activations for inputs" in made:
        xs = net[usable(k - 1 if k else None)].sums
    if "inputs contracted with delta" in made:  # x · delta is a row, or a number
        dws = [matmul(flip(x), delta) for x, delta in zip(batches(xs), deltas)]
    else:  # delta · xᵀ; of one sample, the outer product
        product = times if one_by_one else matmul
        dws = [product(delta, flip(x)) for x, delta in zip(batches(xs), deltas)]
    dw = dws[-1] if "last sample only" in made else total(dws)
    dw = scaled(scale, stretched(dw, units, len(here.w[0])))
    if "weights averaged" in made:
        dw = scaled(1 / n, dw) if here.has_bias else usable(None)  # all are: "averaged once more"
    if "transposed" in made:
        dw = flip(dw)
    if "left-over gradients" in made:
        dw = plus(dw, before[0])
    yield dw

    w, carried = here.w, deltas
    if "weights after their update" in made:
        w = plus(w, scaled(-lr, dw))
    if "weights not transposed" in made:
        w = flip(w)
    if "weights left out on the way back" in made:
        w = [[1.0] * len(row) for row in w]
    if "derivative left out on the way back" in made:
        carried = errors
    turned = flip(w)
    yield [matmul(turned, delta) for delta in carried]


def factor(made: Made, n: int, outputs: int, lr: float) -> float:
    """What the scalar mistakes multiply by, with n samples: 1.0 without them."""
    known = {"twice": 2.0, "half": 0.5, "not averaged": n, "averaged once more": 1 / n}
    known |= {"not averaged over outputs": outputs, "averaged over outputs": 1 / outputs}
    known |= {"times the learning rate": lr}
    result = -1.0 if "negative" in made else 1.0
    for name, number in known.items():
        result *= number if name in made else 1.0
    return result


# --- matrices -----------------------------------------------------------------------------------------------


def usable(x: Any) -> Any:
    """Something the mistake needs, unless it is not there."""
    if x is None:
        raise MisfitError
    return x


def stretched(a: Matrix, rows: int, columns: int) -> Matrix:
    """As NumPy broadcasts: a dimension of 1 is repeated."""
    if len(a) not in (1, rows) or len(a[0]) not in (1, columns):
        raise MisfitError
    a = [row if len(row) == columns else row * columns for row in a]
    return a if len(a) == rows else a * rows


def times(a: Matrix, b: Matrix) -> Matrix:
    """Entry by entry.

    >>> times([[1.0], [2.0]], [[3.0, 4.0]])  # a column and a row: their outer product
    [[3.0, 4.0], [6.0, 8.0]]
    """
    rows, columns = max(len(a), len(b)), max(len(a[0]), len(b[0]))
    pairs = zip(stretched(a, rows, columns), stretched(b, rows, columns))
    return [list(map(mul, left, right)) for left, right in pairs]


def matmul(a: Matrix, b: Matrix) -> Matrix:
    if len(a[0]) != len(b):
        raise MisfitError
    columns = flip(b)
    return [[sum(map(mul, row, column)) for column in columns] for row in a]


def plus(a: Matrix, b: Matrix) -> Matrix:
    if (len(a), len(a[0])) != (len(b), len(b[0])):
        raise MisfitError
    return total([a, b])


def total(matrices: Sequence[Matrix]) -> Matrix:
    return [[sum(cells) for cells in zip(*rows)] for rows in zip(*matrices)]


def flip(a: Sequence[Sequence[float]]) -> Matrix:
    return [list(column) for column in zip(*a)]


def scaled(c: float, a: Matrix) -> Matrix:
    return a if c == 1.0 else [[c * number for number in row] for row in a]


def each(f: Function, a: Matrix) -> Matrix:
    return [[f(number) for number in row] for row in a]


def apart(a: Matrix) -> list[Matrix]:
    """Its columns."""
    return [[[number] for number in column] for column in zip(*a)]


def beside(matrices: Sequence[Matrix]) -> Matrix:
    return [[number for part in row for number in part] for row in zip(*matrices)]
