"""Value and the reverse sweep: the whole of backpropagation.

A Value is a number that remembers its operation and its operands.  That is all a graph is: no closures, no
sets, nothing that points back at its consumers.  `backward` visits the nodes newest first, so that every node
is met after all of its consumers, and hands each operand its share: adjoint x local partial.  The partials
stand in ops.py, the table; nothing here knows what a tanh is.  Read ops.py next, or nn.py to see it used.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count
from math import isfinite
from operator import attrgetter
from typing import Any

from tinygrad_bp.errors import NonFiniteError, cannot_set, describe, describe_result, stale
from tinygrad_bp.floats import NO_GRAD, Number, to_float
from tinygrad_bp.modes import USUAL, mode, no_grad, trap
from tinygrad_bp.operators import Operators, attach
from tinygrad_bp.ops import Op, dot as DOT, ne as NE, sum as SUM, where as WHERE

__all__ = ["Value", "dot", "no_grad", "trap"]

tick = count(1).__next__  # the clock that creation numbers are read from


class Value(Operators):
    """A number in a graph: a leaf made by you, or the result of an operation on other Values.

    Takes any one real number. Raises TypeError for what is none, ValueError for an int beyond the floats.

    >>> x = Value(3.0); y = x * x + 1.0; y.backward(); (y.data, x.grad)
    (10.0, 6.0)
    """

    __slots__ = ("_data", "grad", "inputs", "label", "number", "op")

    def __init__(self, data: Number, label: str = "") -> None:
        if isinstance(data, Value):
            raise TypeError(f"{describe(data)} is a Value already: use it, or v.detach() for a new leaf")
        self._data = to_float(data)
        self.grad = NO_GRAD
        self.op: Any = None  # an Op; None and () make it a leaf
        self.inputs: tuple[Value, ...] = ()
        self.number = tick()  # a leaf's is renewed when its data is set
        self.label = str(label)

    @property
    def data(self) -> float:
        """The number itself. A leaf's can be set; graphs that were built on the old one are stale then."""
        return self.item()

    @data.setter
    def data(self, data: Number) -> None:
        if self.op or isinstance(data, Value):
            raise cannot_set(self, data)
        self._data = to_float(data)
        self.number = tick()  # now newer than its consumers: that is how `newest_first` knows

    def backward(self, seed: Number = 1.0, retain_graph: bool = True) -> None:
        """Add d self / d leaf, times seed, to each leaf's `.grad`; set inner nodes' `.grad` to their adjoint.

        The graph stays: a second call adds the same again to the leaves; `retain_graph` is ignored. Raises
        StaleGraphError if a leaf was set after the graph was built on it.

        >>> x = Value(3.0); y = x * x; y.backward(); y.backward(); x.grad
        12.0
        """
        for v, g in sweep({self: to_float(seed)}).items():
            v.grad = g if v.inputs else (v.grad or 0.0) + g  # None is how PyTorch clears it

    def zero_grad(self) -> None:
        """Set `.grad` to 0.0 in every node this one depends on, itself included."""
        self.grad = NO_GRAD
        for v in newest_first([self], may_be_stale=True):
            for x in (v, *v.inputs):
                x.grad = NO_GRAD

    def apply_op(self, op: Op, operands: Iterable[Any]) -> "Value":
        """What an operation of the table does when a Value is among its operands."""
        inputs = tuple([x if isinstance(x, Value) else Value(x) for x in operands])
        return node(op, inputs, op.value(*[x._data for x in inputs]))


# --- building: an operation on Values makes a node ----------------------------------------------------------


def node(op: Any, inputs: Any, data: float, new: Any = object.__new__, mode: Any = mode.get) -> Value:
    v: Value = new(Value)
    if mode() is not USUAL:
        op, inputs = mode().apply(op, inputs, data)
    v._data = data
    v.grad = NO_GRAD
    v.op = op
    v.inputs = inputs
    v.number = tick()
    v.label = ""
    return v


attach(node, Value)  # operators and methods, from the table


def dot(ws: Sequence[Any], xs: Sequence[Any], bias: Any = None) -> Value:
    """bias + w0*x0 + w1*x1 + ..., as one node; summed from the left, beginning with the bias.

    Raises ValueError if there are not as many weights as inputs.

    >>> dot([Value(1.0), Value(2.0)], [3.0, 4.0], bias=5.0).data
    16.0
    """
    if len(ws) != len(xs):
        raise ValueError(f"dot: {len(ws)} weights for {len(xs)} inputs; there must be as many of both")
    inputs = (*ws, *xs) if bias is None else (*ws, *xs, bias)
    try:
        o = 0.0 if bias is None else bias._data
        for w, x in zip(ws, xs):
            o += w._data * x._data
    except AttributeError:  # plain numbers among them
        return DOT(*inputs)  # type: ignore[no-any-return]
    return node(DOT, inputs, o)


# --- the sweep ----------------------------------------------------------------------------------------------


def newest_first(roots: Iterable[Value], may_be_stale: bool = False) -> list[Value]:
    """The inner nodes that the roots depend on, newest first: every node comes after all of its consumers."""
    seen = set(roots)
    todo = [v for v in seen if v.inputs]
    inner = []
    while todo:
        v = todo.pop()
        inner.append(v)
        number = v.number
        for x in v.inputs:
            if x.number > number and not may_be_stale:
                raise stale(x, v)
            if x not in seen:
                seen.add(x)
                if x.inputs:
                    todo.append(x)
    inner.sort(key=attrgetter("number"), reverse=True)
    return inner


def edges(v: Value) -> list[tuple[Value, float]]:
    """The operands of v, each with the local partial; a cut edge (P4) is none."""
    op: Op = v.op
    if op.slopes is None:
        return []
    ds = op.slopes(v._data, *[x._data for x in v.inputs])
    return [(x, d) for x, d in zip(v.inputs, ds) if d or not op.selects]


def sweep(seeds: Mapping[Value, float]) -> dict[Value, float]:
    """The adjoint of every node under the seeded roots: the sum over its consumers of adjoint x partial."""
    adjoint = defaultdict(float, seeds)
    order = newest_first(seeds)
    for v in order:
        if v not in adjoint:
            adjoint[v] = 0.0  # reached through cut edges only
            continue
        g, op = adjoint[v], v.op
        if op is DOT:  # what its rule says, without the tuples
            n = len(v.inputs) // 2
            ws, xs = v.inputs[:n], v.inputs[n : 2 * n]
            for w, x in zip(ws, xs):
                adjoint[w] += x._data * g
            for w, x in zip(ws, xs):
                adjoint[x] += w._data * g
            for x in v.inputs[2 * n :]:  # the bias
                adjoint[x] += g
        elif op.slopes:
            selects = op.selects
            for x, d in zip(v.inputs, op.slopes(v._data, *[x._data for x in v.inputs])):
                if d or not selects:  # P4: a cut edge is no edge
                    adjoint[x] += d * g
    for _, text in overflows(order, adjoint, {*seeds}) if mode.get().trap else []:
        raise NonFiniteError(text)
    return adjoint


def overflows(order: Any, adjoint: Any, reached: set[Value]) -> Iterator[tuple[Value, str]]:
    """The nodes that make inf or nan of a finite adjoint, newest first, each with what to say about it."""
    for v in order:
        for x, d in edges(v) if v in reached else []:
            reached.add(x)
            if isfinite(adjoint[v]) and not isfinite(d * adjoint[v]):
                yield v, f"the partial by {describe(x)} of {describe_result(v.op, v.inputs, d)}"


def sweep_graph(seeds: Mapping[Value, Value]) -> dict[Value, Value]:
    """The same sweep, recorded: an adjoint is a node, the dot of its consumers' adjoints and the partials.

    It can be differentiated again, and run on other numbers, so it must not freeze which edges are cut (P4):
    a partial that selects is a condition in the graph, and below it a node may be live or not.  Only a node
    that inf or nan can reach has to know, since 0 x inf is nan; everything else multiplies plainly.
    """
    order = newest_first(seeds)
    fragile = above_singular(order) if any(v.op.selects for v in order) else set()
    shares: Any = defaultdict(lambda: ([], []), {root: ([1.0], [seed]) for root, seed in seeds.items()})
    paths: Any = defaultdict(list, {root: [None] for root in seeds})  # consumers that are live (None: always)
    adjoint: dict[Value, Value] = {}
    for v in order:
        if v not in shares or v.op.partials is None:
            continue
        g = adjoint[v] = gather(*shares.pop(v))
        live = either(paths.pop(v, [None]))
        for x, d in zip(v.inputs, v.op.partials(v, *v.inputs)):
            if type(d) is float and d == 0.0:
                continue  # the rule itself says that there is no edge
            share, path = g, live
            if v.op.selects and type(d) is not float:
                path = NE(d, 0.0) if live is None else live * NE(d, 0.0)
            if path is not None:
                d, share = 1.0, WHERE(path, d * g, 0.0)
            shares[x][0].append(d)
            shares[x][1].append(share)
            if x in fragile:
                paths[x].append(path)
    return adjoint | {x: gather(*share) for x, share in shares.items()}


def above_singular(order: Sequence[Value]) -> set[Value]:
    """Those nodes whose own partials, or those of a node below, can be non-finite: so can their operands."""
    fragile: set[Value] = set()
    for v in reversed(order):
        if v.op.singular or not fragile.isdisjoint(v.inputs):
            fragile.add(v)
    return fragile


def either(paths: Sequence[Any]) -> Any:
    """Whether any of the paths is live, as a node that is not 0 then; None where one always is."""
    if any(path is None for path in paths):
        return None
    return paths[0] if len(paths) == 1 else SUM(*paths)


def gather(ds: Sequence[Any], gs: Sequence[Value]) -> Value:
    """The dot product of ds and gs, in its plainest form."""
    if len(gs) == 1:
        return gs[0] if type(ds[0]) is float and ds[0] == 1.0 else ds[0] * gs[0]
    if all(type(d) is float and d == 1.0 for d in ds):
        return SUM(*gs)
    return dot(ds, gs)
