"""Value and the backward sweep: the whole of backpropagation.

A Value is a number that remembers the operation that made it, and its operands. That is all a graph is; no
node knows its consumers. `backward` visits the nodes newest first, so every node comes after all nodes that
use it, and gives each operand its share of the gradient: adjoint x local partial. The partials are in ops.py,
the table of operations; nothing in this file knows what a tanh is.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from operator import attrgetter
from typing import Any

from tinygrad_bp.errors import NonFiniteError, cannot_set, describe, overflows, stale
from tinygrad_bp.floats import NO_GRAD, Number, to_float
from tinygrad_bp.modes import USUAL, mode, no_grad, trap
from tinygrad_bp.operators import Operators, attach
from tinygrad_bp.ops import Op, add as ADD, dot as DOT, mul as MUL

__all__ = ["Value", "dot", "no_grad", "trap"]

WINDOW, WIDEST = 1 << 7, 1 << 16  # creation numbers that `sweep` looks at together, at first and at most
CUT = float(
    "0.0"
)  # the adjoint of a node that only cut edges lead to: a zero of its own, which nothing multiplies

tick = count(1).__next__  # the clock that creation numbers are read from


class Value(Operators):
    """A number in a graph: a leaf that you make, or the result of an operation on other Values.

    Takes any one real number. Raises TypeError for anything else, ValueError for an int beyond the floats.

    >>> x = Value(3.0); y = x * x + 1.0; y.backward(); (y.data, x.grad)
    (10.0, 6.0)
    """

    __slots__ = ("_data", "_x", "_y", "grad", "label", "number", "op")

    def __init__(self, data: Number, label: str = "", *op: str) -> None:
        if isinstance(data, Value):
            raise TypeError(f"{describe(data)} is a Value already: use it, or v.detach() for a new leaf")
        self._data = to_float(data)
        self.grad = NO_GRAD
        self.op: Any = None  # an Op, or None for a leaf
        self._x: Any = ()  # two operands are kept as _x and _y, any other number of them as a tuple in _x:
        self._y: Any = None  # so most nodes need no tuple
        self.number = tick()  # a leaf gets a new number when its data is set
        self.label = label if type(label) is str else self._adopt(label, *op)

    @property
    def inputs(self) -> tuple["Value", ...]:
        """The operands; () of a leaf."""
        return self._x if self._y is None else (self._x, self._y)

    @property
    def data(self) -> float:
        """The number itself. A leaf's can be set: graphs that were built on the old one are stale then."""
        return self.item()

    @data.setter
    def data(self, data: Number) -> None:
        if self.op or isinstance(data, Value):
            raise cannot_set(self, data)
        self._data = to_float(data)
        self.number = tick()  # newer than its consumers: that is how `newest_first` knows

    def backward(self, seed: Number = 1.0, retain_graph: bool = True) -> None:
        """Add d self / d leaf, times seed, to each leaf's `.grad`; set inner nodes' `.grad` to their adjoint.

        The graph stays: a second call adds the same again to the leaves; `retain_graph` is ignored. Raises
        StaleGraphError if a leaf was set after the graph was built on it.

        >>> x = Value(3.0); y = x * x; y.backward(); y.backward(); x.grad
        12.0
        """
        for nodes, gs in walk({self: to_float(seed)}):
            for v, g in zip(nodes, gs):
                if v is None or (g is CUT and not v.op):
                    continue
                v.grad = g if v.op else (v.grad or 0.0) + g  # None is how PyTorch clears it

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
    """The result of an operation: what Value.__init__ makes, with an operation and operands."""
    v: Value = new(Value)
    if mode() is not USUAL:
        op, inputs = mode().apply(op, inputs, data)
    v._data = data
    v.grad = NO_GRAD
    v.op = op
    v._x, v._y = inputs if len(inputs) == 2 else (inputs, None)
    v.number = tick()
    v.label = ""
    return v


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
    seen = {v for v in roots if v.op is not None}
    todo = list(seen)
    inner = []
    while todo:
        v = todo.pop()
        inner.append(v)
        for x in v._x if v._y is None else (v._x, v._y):
            if x.op is None:
                if x.number > v.number and not may_be_stale:
                    raise stale(x, v)
            elif x not in seen:
                seen.add(x)
                todo.append(x)
    inner.sort(key=attrgetter("number"), reverse=True)
    return inner


def sweep(seeds: Mapping[Value, float]) -> dict[Value, float]:
    """The adjoint of every node under the seeded roots: the sum over its consumers of adjoint x partial."""
    adjoint: dict[Any, float] = {}
    for nodes, gs in walk(seeds):
        adjoint.update(zip(nodes, gs))
    adjoint.pop(None, None)
    return adjoint


def walk(seeds: Mapping[Value, float]) -> list[tuple[Iterable[Any], Iterable[float]]]:
    """Lists of nodes and of their adjoints; some places hold no node, but None.

    A list has a place for every creation number, newest first. A walk along it meets a node after all of its
    consumers, and each of those has added its share at the node's place. The list covers a window of numbers;
    what is older waits in a dict for the next window, which is twice as wide.
    """
    done: list[tuple[Iterable[Any], Iterable[float]]] = []
    waiting = defaultdict(float, seeds)
    size = WINDOW
    while newest := max([v.number for v in waiting if v.op], default=0):
        nodes: list[Any] = [None] * size
        gs = [CUT] * size
        for v in [v for v in waiting if 0 <= newest - v.number < size]:
            nodes[newest - v.number] = v
            gs[newest - v.number] = waiting.pop(v)
        for v, g in zip(nodes, gs):  # both are filled further down meanwhile
            if v is None or v.op is None:
                continue
            number, op = v.number, v.op
            if (op is not MUL and op is not ADD) or g is CUT:
                for x, share in zip(v.inputs, shares(v, g)):
                    if x.number > number:
                        raise stale(x, v)
                    if (k := newest - x.number) < size:
                        nodes[k] = x
                        if share is not CUT:
                            gs[k] += share
                    elif share is not CUT:
                        waiting[x] += share
                    elif x not in waiting:
                        waiting[x] = CUT
                continue
            x, y = v._x, v._y  # the same for x * y and x + y, most of any graph: written out, without calls
            to_x = to_y = g
            if op is MUL:
                to_x, to_y = y._data * g, x._data * g
            i, j = x.number, y.number
            if i > number or j > number:
                raise stale(x if i > number else y, v)
            if (k := newest - i) < size:
                nodes[k] = x
                gs[k] += to_x
            else:
                waiting[x] += to_x
            if (k := newest - j) < size:
                nodes[k] = y
                gs[k] += to_y
            else:
                waiting[y] += to_y
        done.append((nodes, gs))
        size = min(2 * size, WIDEST)
    done.append((waiting.keys(), waiting.values()))
    if mode.get().trap:
        adjoint = {v: g for nodes, gs in done for v, g in zip(nodes, gs) if v is not None}
        for _, text in overflows(adjoint, edges, {*seeds}):
            raise NonFiniteError(text)
    return done


def shares(v: Value, g: float) -> Sequence[float]:
    """What v gives to each operand: adjoint x partial, or CUT over a cut edge."""
    op: Op = v.op
    if g is CUT or op.slopes is None:
        return [CUT] * len(v.inputs)
    if op is DOT:  # as its rule, without the tuples
        n = len(v.inputs) // 2
        products = [x._data * g for x in v.inputs]
        return [*products[n : 2 * n], *products[:n], *[g] * (len(v.inputs) % 2)]
    ds = op.slopes(v._data, *[x._data for x in v.inputs])
    return [d * g if d or not op.selects else CUT for d in ds]


def edges(v: Value) -> list[tuple[Value, float]]:
    """The operands of v, each with the local partial, without cut edges.

    An edge is cut where an operation that `selects` has the partial 0: the operand was not chosen. It gets
    nothing then, where 0 x inf would be nan (P4 of docs/semantics.md).
    """
    return [(x, d) for x, d in zip(v.inputs, shares(v, 1.0)) if d is not CUT]


attach(node, Value, tick, edges)  # operators and methods, from the table
