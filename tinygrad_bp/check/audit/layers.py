"""The layers of a course as plain functions on scalars: `affine(x, w, b)`, `batch_norm(x, gamma, beta)` ...

Arguments are nested lists of numbers or Values, and so is the result; x of a batch is a list of rows.  Under
`record`, every call is written down as a `Stage`: a graph of its own with its arguments as leaves, whose
derivatives can be taken as they are, or as those of another function, which is what a mistake amounts to.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from inspect import signature
from itertools import chain
from operator import mul
from typing import Any, NamedTuple

from tinygrad_bp.engine import Value, dot, newest_first, sweep
from tinygrad_bp.floats import to_float
from tinygrad_bp.modes import entered
from tinygrad_bp.ops import (
    OPS,
    Op,
    exp as EXP,
    identity as IDENTITY,
    logsumexp as LOGSUMEXP,
    max as MAX,
    relu as RELU,
    sigmoid as SIGMOID,
    sum as SUM,
    tanh as TANH,
)
from tinygrad_bp.transforms import gradients

Tree = Any  # nested lists of numbers or Values
Numbers = Any  # nested lists of floats
Layered = Callable[..., Tree]


# --- trees --------------------------------------------------------------------------------------------------


def each(f: Callable[..., Any], *trees: Tree) -> Tree:
    """f of the leaves at the same place, in the nesting of the first tree.

    >>> each(lambda x, y: x * y, [[1, 2], [3, 4]], [[1, 0], [0, 1]])
    [[1, 0], [0, 4]]
    """
    first = trees[0]
    if not isinstance(first, (list, tuple)):
        return f(*trees)
    if first and not isinstance(first[0], (list, tuple)):
        return list(map(f, *trees))
    return [each(f, *branches) for branches in zip(*trees)]


def flat(tree: Tree) -> list[Any]:
    if not isinstance(tree, (list, tuple)):
        return [tree]
    if not tree or not isinstance(tree[0], (list, tuple)):
        return list(tree)
    if not tree[0] or not isinstance(tree[0][0], (list, tuple)):
        return list(chain.from_iterable(tree))
    return [leaf for branch in tree for leaf in flat(branch)]


def filled(tree: Tree, leaves: Iterator[Any]) -> Tree:
    return each(lambda _: next(leaves), tree)


def shape_of(tree: Tree) -> tuple[int, ...]:
    """(2, 3) of two rows of three; raises ValueError where rows differ in length."""
    if not isinstance(tree, (list, tuple)):
        return ()
    shapes = {shape_of(branch) for branch in tree}
    if len(shapes) > 1:
        raise ValueError(f"ragged: rows of the shapes {', '.join(map(str, sorted(shapes)))}")
    return (len(tree), *next(iter(shapes), ()))


def transposed(rows: Tree) -> Tree:
    return [list(column) for column in zip(*rows)]


def number(x: Any) -> float:
    return x._data if isinstance(x, Value) else float(x)


def held(tree: Tree) -> Numbers:
    """The numbers alone: no gradient flows through them."""
    return each(number, tree)


def straight(value: Any, slope: Any) -> Any:
    """A Value with the number of the first and the derivative of the second."""
    return slope + (number(value) - number(slope))


def _dot(ws: Sequence[Any], xs: Sequence[Any], b: Any = None) -> Any:
    if any(isinstance(v, Value) for v in (*ws, *xs, b)):
        return dot(ws, xs, b)
    return sum(map(mul, ws, xs)) + (b or 0.0)


def _sum(xs: Sequence[Any]) -> Any:
    return SUM(*xs)


# --- stages -------------------------------------------------------------------------------------------------


class Stage:
    """One call of a layer: its arguments, its result, and its derivatives.

    `numbers` are the arguments as floats by name, `out` is the result as floats, `places` the caller's Values
    behind each argument that has any. `rest` holds constants, such as a stride.
    """

    def __init__(self, kind: str, f: Layered, arguments: dict[str, Any], rest: dict[str, Any]) -> None:
        self.kind, self.f, self.rest = kind, f, rest
        self.places = {name: flat(tree) for name, tree in arguments.items() if _has_values(tree)}
        self.numbers = {name: held(tree) for name, tree in arguments.items()}
        self.name, self.place, self.index, self.tape = kind, "", 0, self.tape_of()
        self.graph: tuple[dict[str, Tree], Tree] | None = None  # made when it is asked for
        self.out: Numbers = QUICK[kind].value(self) if kind in QUICK else held(self._graph()[1])
        self.outer = each(Value, self.out)  # what the caller goes on with
        self.moment = Value(0.0).number  # everything older than this call's results has a smaller number

    @staticmethod
    def tape_of() -> "Tape":
        tape = TAPE.get()
        assert tape is not None
        return tape

    @property
    def learned(self) -> list[str]:
        """The arguments that are differentiated by, but for the first: weights and the like."""
        return [name for name in self.places if name != self.first]

    @property
    def first(self) -> str:
        return next(iter(self.numbers))

    @property
    def batch(self) -> int:
        return len(self.numbers[self.first])

    def _graph(self) -> tuple[dict[str, Tree], Tree]:
        if self.graph is None:
            self.graph = self._run(self.f, {})
        return self.graph

    def _run(self, f: Layered, instead: dict[str, Numbers]) -> tuple[dict[str, Tree], Tree]:
        """A graph of its own: fresh leaves for what is differentiated by, and the result."""
        numbers = {**self.numbers, **instead}
        leaves = {name: each(Value, tree) for name, tree in numbers.items() if name in self.places}
        token = TAPE.set(None)  # a layer within a layer is a part of it
        try:
            with entered(record=True, trap=False):
                return leaves, f(**{**numbers, **leaves}, **self.rest)
        finally:
            TAPE.reset(token)

    def pull(self, upstream: Numbers, f: Layered | None = None, **instead: Numbers) -> dict[str, Numbers]:
        """The derivatives by each argument of upstream · result; of f, or at other numbers, if asked."""
        if f is None and self.kind in QUICK:
            found = QUICK[self.kind].pull(self, {**self.numbers, **instead}, upstream)
            return {name: found[name] for name in self.places}
        leaves, result = self._run(f or self.f, instead) if f or instead else self._graph()
        with entered(record=True, trap=False):
            seeds: dict[Value, float] = {}
            for v, g in zip(flat(result), flat(upstream)):
                if isinstance(v, Value):
                    seeds[v] = seeds.get(v, 0.0) + g
            adjoint = sweep(seeds)
        return {name: each(lambda v: adjoint.get(v, 0.0), tree) for name, tree in leaves.items()}


class Tape:
    """The stages of one run, in the order of their calls, and the loss."""

    def __init__(self) -> None:
        self.stages: list[Stage] = []
        self.loss = Value(0.0)

    def add(self, kind: str, f: Layered, arguments: dict[str, Any], rest: dict[str, Any]) -> Tree:
        stage = Stage(kind, f, arguments, rest)
        stage.name = f"{kind} {1 + sum(other.kind == kind for other in self.stages)}"
        stage.index = len(self.stages)
        self.stages.append(stage)
        return stage.outer

    def steps(self) -> list[Stage | Value]:
        """Stages, and nodes between them, newest first."""
        roots = [self.loss, *(v for s in self.stages for vs in s.places.values() for v in vs)]
        nodes: list[Any] = [(v.number, v) for v in newest_first(v for v in roots if isinstance(v, Value))]
        nodes += [(stage.moment, stage) for stage in self.stages]
        return [step for _, step in sorted(nodes, key=lambda pair: -pair[0])]


TAPE: ContextVar[Tape | None] = ContextVar("TAPE", default=None)


@contextmanager
def record() -> Iterator[Tape]:
    """Within, calls of layers are written down."""
    tape = Tape()
    token = TAPE.set(tape)
    try:
        yield tape
    finally:
        TAPE.reset(token)


def layer(f: Layered) -> Layered:
    """Make a function of nested lists a layer, which `audit` knows by the function's name.

    Parameters with a default are constants, but for `b`, a bias that may be None.
    """
    parameters = signature(f).parameters
    constants = [n for n, p in parameters.items() if p.default is not p.empty and n != "b"]

    @wraps(f)
    def call(*args: Any, **named: Any) -> Tree:
        given = {**dict(zip(parameters, args)), **named}
        tape = TAPE.get()
        if tape is None:
            return f(**given)
        rest = {n: given.pop(n) for n in constants if n in given}
        given = {n: _lists(tree) for n, tree in given.items() if tree is not None}
        return tape.add(f.__name__, f, given, rest)

    return call


def _lists(tree: Any) -> Any:
    tree = tree.tolist() if hasattr(tree, "tolist") else tree
    if isinstance(tree, (list, tuple)):
        return [_lists(branch) for branch in tree]
    return tree if isinstance(tree, Value) else to_float(tree)


def _has_values(tree: Tree) -> bool:
    return any(isinstance(v, Value) for v in flat(tree))


# --- feed-forward -------------------------------------------------------------------------------------------


@layer
def affine(x: Tree, w: Tree, b: Tree = None) -> Tree:
    """x wᵀ + b: rows x of (n, in), w of (out, in), b of (out,).

    >>> affine([[1.0, 2.0]], [[3.0, 4.0]], [5.0])
    [[16.0]]
    """
    return [[_dot(w[j], row, None if b is None else b[j]) for j in range(len(w))] for row in x]


@layer
def relu(x: Tree) -> Tree:
    """max(0, x) of each number."""
    return each(RELU, x)


@layer
def tanh(x: Tree) -> Tree:
    """tanh of each number."""
    return each(TANH, x)


@layer
def sigmoid(x: Tree) -> Tree:
    """1 / (1 + e⁻ˣ) of each number."""
    return each(SIGMOID, x)


@layer
def activation(x: Tree, act: Any = IDENTITY) -> Tree:
    """Any function of one Value, of each number."""
    return each(act, x)


@layer
def dropout(x: Tree, mask: Tree, keep: float = 0.5) -> Tree:
    """x where the mask is 1, divided by `keep`, the chance to be kept; 0 elsewhere."""
    return each(lambda v, m: v * (m / keep), x, mask)


@layer
def batch_norm(x: Tree, gamma: Tree, beta: Tree, eps: float = 1e-5) -> Tree:
    """gamma (x − mean) / √(variance + eps) + beta, over the rows, for each column (Ioffe & Szegedy 2015)."""
    columns = [normalised(column, eps) for column in zip(*x)]
    return [[g * v + b for v, g, b in zip(row, gamma, beta)] for row in zip(*columns)]


@layer
def layer_norm(x: Tree, gamma: Tree, beta: Tree, eps: float = 1e-5) -> Tree:
    """The same over the numbers of each row (Ba et al. 2016)."""
    return [[g * v + b for v, g, b in zip(normalised(row, eps), gamma, beta)] for row in x]


def normalised(
    xs: Sequence[Any], eps: float, mean: Any = None, scale: Any = None, by: float | None = None
) -> list[Any]:
    """(x − mean) / √(variance + eps), of these or with a mean and a scale that are given."""
    n = float(by or len(xs))
    mean = _sum(xs) / n if mean is None else mean
    centred = [x - mean for x in xs]
    if scale is None:
        scale = (_sum([c * c for c in centred]) / n + eps) ** -0.5
    return [c * scale for c in centred]


# --- images -------------------------------------------------------------------------------------------------


def padded(images: Tree, by: int) -> Tree:
    """Images (n, channels, height, width) in a frame of zeros."""
    if not by:
        return images
    width = len(images[0][0][0]) + 2 * by
    blank = [[0.0] * width] * by
    return [
        [[*blank, *([0.0] * by + [*row] + [0.0] * by for row in channel), *blank] for channel in image]
        for image in images
    ]


@layer
def convolution(x: Tree, w: Tree, b: Tree = None, padding: int = 0, stride: int = 1) -> Tree:
    """Sums of windows times kernels: x (n, channels, height, width), w (filters, channels, height, width)."""
    kh, kw = len(w[0][0]), len(w[0][0][0])
    kernels = [flat(kernel) for kernel in w]
    out = []
    for image in padded(x, padding):
        windows = [
            [
                [v for channel in image for row in channel[i : i + kh] for v in row[j : j + kw]]
                for j in range(0, len(image[0][0]) - kw + 1, stride)
            ]
            for i in range(0, len(image[0]) - kh + 1, stride)
        ]
        out.append(
            [
                [[_dot(k, window, b[f] if b is not None else None) for window in line] for line in windows]
                for f, k in enumerate(kernels)
            ]
        )
    return out


def windows_of(channel: Tree, size: int) -> Tree:
    """The windows side by side, each a flat list."""
    return [
        [
            [v for row in channel[i : i + size] for v in row[j : j + size]]
            for j in range(0, len(channel[0]) - size + 1, size)
        ]
        for i in range(0, len(channel) - size + 1, size)
    ]


@layer
def max_pool(x: Tree, size: int = 2) -> Tree:
    """The largest number of each window of size × size, side by side."""
    return pooled(x, size, largest)


def largest(window: Sequence[Any]) -> Any:
    top = window[0]
    for v in window[1:]:
        top = MAX(top, v)
    return top


@layer
def average_pool(x: Tree, size: int = 2) -> Tree:
    """The mean of each window of size × size, side by side."""
    return pooled(x, size, lambda window: _sum(window) / float(len(window)))


def pooled(x: Tree, size: int, f: Callable[[list[Any]], Any]) -> Tree:
    return [
        [[[f(window) for window in line] for line in windows_of(channel, size)] for channel in image]
        for image in x
    ]


# --- sequences ----------------------------------------------------------------------------------------------


@layer
def rnn(x: Tree, h0: Tree, wx: Tree, wh: Tree, b: Tree) -> Tree:
    """hₜ = tanh(wx xₜ + wh hₜ₋₁ + b): x (steps, n, in), h0 (n, units); the result is (steps, n, units)."""
    h, out = h0, []
    for rows in x:
        h = [
            [TANH(_dot(u, row, c) + _dot(v, state)) for u, v, c in zip(wx, wh, b)]
            for row, state in zip(rows, h)
        ]
        out.append(h)
    return out


@layer
def lstm(x: Tree, h0: Tree, c0: Tree, wx: Tree, wh: Tree, b: Tree) -> Tree:
    """Hochreiter & Schmidhuber's cell with a forget gate; the rows of wx, wh, b are i, f, g, o by units."""
    h, c, out = h0, c0, []
    for rows in x:
        states = []
        for row, state, cell in zip(rows, h, c):
            z = [_dot(u, row, a) + _dot(v, state) for u, v, a in zip(wx, wh, b)]
            k = len(z) // 4
            i, f, o = ([SIGMOID(v) for v in z[m * k : m * k + k]] for m in (0, 1, 3))
            g = [TANH(v) for v in z[2 * k : 3 * k]]
            new = [p * q + r * s for p, q, r, s in zip(f, cell, i, g)]
            states.append(([p * TANH(q) for p, q in zip(o, new)], new))
        h, c = [s for s, _ in states], [s for _, s in states]
        out.append(h)
    return out


@layer
def attention(q: Tree, k: Tree, v: Tree, causal: bool = False) -> Tree:
    """softmax(q kᵀ / √width) v, for rows of one sequence; causal: a row sees itself and those before it."""
    return [
        [_dot(ps, column) for column in zip(*v[: len(ps)])]
        for ps in (softmax(row) for row in scores_of(q, k, causal))
    ]


def scores_of(q: Tree, k: Tree, causal: bool) -> Tree:
    scale = 1.0 / math.sqrt(len(q[0]))
    seen = [k[: i + 1] if causal else k for i in range(len(q))]
    return [[_dot(row, other) * scale for other in others] for row, others in zip(q, seen)]


def softmax(zs: Sequence[Any]) -> list[Any]:
    total = LOGSUMEXP(*zs)
    return [EXP(z - total) for z in zs]


# --- losses -------------------------------------------------------------------------------------------------


@layer
def softmax_cross_entropy(z: Tree, y: Tree, over: float = 0.0) -> Any:
    """The mean over the rows of −Σ y log softmax(z): y has a row of probabilities for each, or a class.

    `over` is another number to divide the sum by, as in the next one.
    """
    return _sum([_surprise(row, target) for row, target in zip(z, y)]) / float(over or len(z))


def _surprise(zs: Sequence[Any], target: Any) -> Any:
    ys = one_hot(target, len(zs))
    return LOGSUMEXP(*zs) * sum(ys) - _dot(ys, zs)


def one_hot(target: Any, classes: int) -> list[float]:
    """A row of probabilities: the target itself, or 1 at the class and 0 elsewhere."""
    if isinstance(target, (list, tuple)):
        return [number(t) for t in target]
    return [float(k == int(number(target))) for k in range(classes)]


@layer
def mean_squared_error(z: Tree, y: Tree, over: float = 0.0) -> Any:
    """The mean over all numbers of (z − y)²."""
    errors = [a - b for a, b in zip(flat(z), flat(y))]
    return _sum([e * e for e in errors]) / float(over or len(errors))


@layer
def total_loss(z: Tree, y: Tree, loss: Any = None, targets: Any = None, over: float = 1.0) -> Any:
    """The sum over the rows of any loss of one sample, divided by `over`; its targets are `targets`."""
    return _sum([loss(row[0] if len(row) == 1 else row, t) for row, t in zip(z, targets)]) / over


@layer
def weight_decay(w: Tree, strength: float = 0.01) -> Any:
    """strength / 2 times the sum of the squares, to be added to a loss."""
    return _sum([v * v for v in flat(w)]) * (strength / 2.0)


@layer
def weighted_sum(z: Tree, weights: Tree) -> Any:
    """Σ weights · z: the loss whose gradient by z is `weights`, as exercises hand them out."""
    return _dot(flat(weights), flat(z))


# --- the same in floats -------------------------------------------------------------------------------------
# Affine layers and activations are most of a network, and their graphs most of the time: an audit takes these
# from plain lists.  A test holds them to the graphs.


class Quick(NamedTuple):
    """A layer and its derivatives on lists of floats."""

    value: Callable[[Stage], Numbers]
    pull: Callable[[Stage, dict[str, Numbers], Numbers], dict[str, Numbers]]


def _affine(stage: Stage) -> Numbers:
    x, w = stage.numbers["x"], stage.numbers["w"]
    b = stage.numbers.get("b") or [0.0] * len(w)
    return [[sum(map(mul, v, row), c) for v, c in zip(w, b)] for row in x]


def _affine_pull(stage: Stage, numbers: dict[str, Numbers], upstream: Numbers) -> dict[str, Numbers]:
    errors, inputs = list(zip(*upstream)), list(zip(*numbers["x"]))
    found: dict[str, Numbers] = {"b": [sum(column) for column in errors]}
    found["w"] = [[sum(map(mul, e, x)) for x in inputs] for e in errors]
    if "x" in stage.places:
        columns = list(zip(*numbers["w"]))
        found["x"] = [[sum(map(mul, row, column)) for column in columns] for row in upstream]
    return found


def on_floats(stage: Stage) -> tuple[Callable[[float], float], Callable[[float], float]]:
    """An activation and its derivative, on floats."""
    act = stage.rest.get("act", IDENTITY) if stage.kind == activation.__name__ else OPS[stage.kind]
    row: Any = OPS.get(getattr(act, "__name__", ""))
    row = row.at() if row is not None and getattr(Value, row.name, None) is act else act
    if isinstance(row, Op) and row.slopes is not None:
        return row.value, lambda z: float(row.slopes(row.value(z), z)[0])

    def slope(z: float) -> float:
        with entered(record=True, trap=False):
            x = Value(z)
            return float(gradients(act(x), x))

    return (lambda z: float(act(Value(z)).data)), slope


def _activated(stage: Stage) -> Numbers:
    return each(on_floats(stage)[0], stage.numbers["x"])


def _activated_pull(stage: Stage, numbers: dict[str, Numbers], upstream: Numbers) -> dict[str, Numbers]:
    slope = on_floats(stage)[1]
    return {"x": each(lambda z, g: g * slope(z) if g else 0.0, numbers["x"], upstream)}


QUICK = {affine.__name__: Quick(_affine, _affine_pull)} | {
    f.__name__: Quick(_activated, _activated_pull) for f in (relu, tanh, sigmoid, activation)
}
