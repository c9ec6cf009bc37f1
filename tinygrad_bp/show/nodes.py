"""A graph as inert records: what drawing, explaining and stepping all read, and nothing they have to compute.

`read` walks a graph once, without recursion, and gives its nodes and edges with everything a picture shows:
labels, signs, numbers, gradients, local partials, which neuron a node belongs to, and whether a unit is dead.
Operands come before results, and ids count them: n0, n1, ... boxes.py finds the neurons; layout.py places
the nodes, drawing.py draws them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from heapq import heapify, heappop, heappush
from typing import Any

from tinygrad_bp.engine import Value, edges as live_edges, newest_first, sweep
from tinygrad_bp.errors import DrawError
from tinygrad_bp.nn import Module
from tinygrad_bp.ops import add as PLUS, dot as DOT, mul as TIMES, sum as SUM
from tinygrad_bp.show.boxes import Box, applications, boxes, place
from tinygrad_bp.show.records import (
    Edge,
    Node,
    Picture,
    grad_of,
    is_stale,
    mark_of,
    partials_of,
    shown,
    sign_of,
)

ROUNDED = 1e-9  # of a gradient: it was added up in another order
LEVELS = ("scalar", "node", "neuron", "layer")
BOXED = ("neuron", "layer")
OPENED = (DOT, SUM)
OPEN = 150  # nodes: up to here a graph is shown as it was recorded
LARGEST = 2000  # nodes: beyond it a drawing is no help
MOST = 20_000  # nodes that are drawn whatever is asked for: they take seconds and 200 MB


def read(
    root: Value,
    detail: str | None = None,
    depth: int | None = None,
    max_nodes: int = LARGEST,
    name: str = "draw",
) -> Picture:
    """The graph that ends in root, as a Picture; `name` is the function that the messages speak of.

    `detail` is "scalar" (a dot is opened into × and +), "node" (as recorded), "neuron" or "layer" (one box
    for each); by default "node", and above 150 nodes "neuron". `depth` keeps what is at most so many edges
    from root. Raises TypeError for a root that is no Value, ValueError for an unknown level, DrawError for a
    graph above `max_nodes`.

    >>> a = Value(2.0, label="a"); picture = read(a * a + 1.0)
    >>> [(node.id, node.label or node.sign, node.data) for node in picture.nodes]
    [('n0', 'a', 2.0), ('n1', '×', 4.0), ('n2', '', 1.0), ('n3', '+', 5.0)]
    >>> [tuple(edge) for edge in picture.edges if edge.target == "n1"]
    [('n0', 'n1', 0, 2.0), ('n0', 'n1', 1, 2.0)]
    """
    _check(root, detail, depth, max_nodes, name)
    near = None if depth is None else _within(root, depth)
    total = count(root) if near is None else len(near)
    if total > min(max_nodes, MOST) * (50 if detail in BOXED else 1):
        raise _too_large(total, "nodes", max_nodes, name, detail)
    if near is None:
        inner = newest_first([root], may_be_stale=True)[::-1]
    else:
        inner = sorted((v for v, left in near.items() if left and v.inputs), key=lambda v: v.number)
    level = detail or ("node" if total <= OPEN else "neuron")
    if detail == "scalar":
        terms = sum(len(v.inputs) for v in inner if v.op in OPENED)
        if total + terms > min(max_nodes, MOST):
            raise _too_large(total + terms, "nodes with every dot opened", max_nodes, name, detail)
    reader = _Reader(root, inner, level)
    if level in BOXED:
        reader.all_boxes(level)
    else:
        for v in reader.inner:
            opened = level == "scalar" and v.op in OPENED and len(v.inputs) > 1
            reader.opened(v) if opened else reader.recorded(v)
    if len(reader.nodes) > min(max_nodes, MOST):
        raise _too_large(len(reader.nodes), f"boxes and nodes at detail={level!r}", max_nodes, name, detail)
    return Picture(reader.nodes, reader.edges, reader.ids[root], level, total, reader.stale, reader.other)


def _check(root: Any, detail: Any, depth: Any, max_nodes: Any, name: str) -> None:
    if not isinstance(root, Value):
        raise TypeError(f"{name} takes the Value a graph ends in, not {not_a_value(root)}")
    if detail is not None and detail not in LEVELS:
        raise ValueError(f"{name}: unknown detail {detail!r}; there are {', '.join(map(repr, LEVELS))}")
    for what, number in (("depth", depth), ("max_nodes", max_nodes)):
        if number is not None and (not isinstance(number, int) or number < 1):
            raise ValueError(f"{name}: {what} is a whole number from 1 up, not {number!r}")


def not_a_value(thing: Any) -> str:
    """What a message says of what stands in a Value's place: what it is, and what to give instead.

    >>> not_a_value(3.0)
    '3.0 of type float: wrap it, Value(x)'
    """
    kind = type(thing).__name__
    if isinstance(thing, Module):
        return f"a model of type {kind}: call it, and take model(x) or a loss of it"
    if isinstance(thing, (list, tuple)):
        mend = "take one of them, or their sum"
    elif isinstance(thing, (int, float)):
        mend = "wrap it, Value(x)"
    else:
        mend = "take a loss, as in loss = (model(x) - y) ** 2"
    return f"{thing!r:.60} of type {kind}: {mend}"


def _too_large(total: int, nodes: str, limit: int, name: str, detail: str | None) -> DrawError:
    coarser = {None: "layer", "scalar": "neuron", "node": "neuron", "neuron": "layer"}
    ways = [f"{name}(root, depth=6)"]
    if detail in coarser and total <= 50 * min(limit, MOST):
        ways.append(f"detail={coarser[detail]!r}")
    if total <= MOST:
        ways.append(f"max_nodes={total}")
    most = f"{limit:,}" if limit <= MOST else f"the {MOST:,} that can be drawn"
    most += f" (at most {MOST:,} can be drawn)" if limit <= MOST < total else ""
    either = f"{', '.join(ways[:-1])} or {ways[-1]}" if len(ways) > 1 else ways[0]
    return DrawError(f"graph has {total:,} {nodes}, more than {most}: {either}")


def count(root: Value) -> int:
    """How many nodes the graph that ends in root has, in linear time."""
    seen = {root}
    todo = [root]
    while todo:
        for x in todo.pop().inputs:
            if x not in seen:
                seen.add(x)
                todo.append(x)
    return len(seen)


def _within(root: Value, depth: int) -> dict[Value, int]:
    """Every node at most `depth` edges from root, with how much of the depth is left there."""
    near = {root: depth}
    ring = [root]
    for left in range(depth - 1, -1, -1):
        ring = list(dict.fromkeys(x for v in ring for x in v.inputs if x not in near))
        near.update(dict.fromkeys(ring, left))
    return near


# --- from Values to records ---------------------------------------------------------------------------------


class _Reader:
    """Nodes and edges in the making: operands before results, numbered as they come."""

    def __init__(self, root: Value, inner: Sequence[Value], level: str) -> None:
        self.nodes: list[Node] = []
        self.edges: list[Edge] = []
        self.ids: dict[Value, str] = {}  # of a dot that is opened: its last part's; in a box: the box's
        self.inner = inner or [root]  # a root may be a leaf
        self.known = set(self.inner)  # whose operands are shown
        self.stale = list(dict.fromkeys(x for v in inner for x in v.inputs if x.number > v.number))
        self.other = {} if self.stale else _from_another_pass(root)
        found = applications(inner)
        self.boxes = boxes(found, level) if level in BOXED else []
        self.places = {x: place(x.label) for v in inner for x in v.inputs if not x.op and x.label}
        self.places.update((v, app.place) for app in found for v in app.members)

    def node(self, v: Value, **more: Any) -> str:
        """A node for v, or for a part or a box of which v is the value; its id."""
        node = Node(
            id=f"n{len(self.nodes)}",
            kind="operation" if v.op else "leaf",
            value=v,
            label=v.label,
            sign=sign_of(v),
            data=v._data,
            grad=grad_of(v),
            group=self.places.get(v, ()),
            mark=f"{shown(self.other[v])} from another pass" if v in self.other else mark_of(v),
            cut=bool(v.inputs) and v not in self.known,
        )
        self.nodes.append(replace(node, **more))
        self.ids[v] = node.id
        return node.id

    def sources(self, operands: Iterable[Value]) -> list[str]:
        return [self.ids.get(x) or self.node(x) for x in operands]

    def link(self, sources: Iterable[str], target: str, partials: Iterable[float | None]) -> None:
        for slot, (source, partial) in enumerate(zip(sources, partials)):
            self.edges.append(Edge(source, target, slot, partial))

    def recorded(self, v: Value) -> None:
        sources = self.sources(v.inputs)
        self.link(sources, self.node(v), partials_of(v))

    def opened(self, v: Value) -> None:
        """A dot or a sum as × and +, in the order in which the engine adds."""
        sources, numbers = self.sources(v.inputs), [x._data for x in v.inputs]
        n = len(v.inputs) // 2 if v.op is DOT else 0
        terms = list(zip(sources, numbers))[2 * n :]  # of a dot, the bias
        only = n == 1 and not terms
        for w, x in zip(range(n), range(n, 2 * n)):
            product = numbers[w] * numbers[x]
            part = self.part(v, TIMES.sign, product, last=only)
            slopes = [None, None] if is_stale(v) else [numbers[x], numbers[w]]
            self.link([sources[w], sources[x]], part, slopes)
            terms.append((part, product))
        for i in range(1, len(terms)):
            (before, total), (term, number) = terms[i - 1 : i + 1]
            part = self.part(v, PLUS.sign, total + number, last=i == len(terms) - 1)
            self.link([before, term], part, [None, None] if is_stale(v) else [1.0, 1.0])
            terms[i] = (part, total + number)

    def part(self, v: Value, sign: str, data: float, last: bool) -> str:
        """One × or + of a dot or a sum, with its adjoint; the last is the result itself."""
        if last:
            return self.node(v, kind="part", sign=sign)
        return self.node(v, kind="part", sign=sign, data=data, label="", mark="")

    def box(self, box: Box, used: set[Value], inside: set[Value], level: str) -> None:
        """One node for the box, with what it takes from outside as its operands."""
        members = {*box.members}
        results = [v for v in box.members if v in used]
        result, single = results[-1], len(results) == 1
        taken = dict.fromkeys(x for v in box.members for x in v.inputs if x not in members)
        outside = [x for x in taken if x not in inside]
        slopes = _through(box.members, result) if single and not self.stale else {}
        signs = ", ".join(dict.fromkeys(sign_of(v) for v in results))
        marks = [mark for mark in map(mark_of, box.members) if mark]
        mark = marks[0] if marks else ""
        sources = self.sources(outside)
        target = self.node(
            result,
            kind="box",
            label=box.place[level == "neuron"],
            sign=signs if single else f"{len(results)} {signs}",
            data=result._data if single else None,
            grad=grad_of(result) if single else None,
            group=box.place if level == "neuron" else box.place[:1],
            mark=mark if single or not mark else f"{mark} in {len(marks)} of {len(results)}",
            size=len(members) + len(taken) - len(outside),
        )
        self.ids.update(dict.fromkeys(results, target))
        partials: dict[str, float | None] = {}
        for x, source in zip(outside, sources):  # two results of a layer come from one node
            slope = slopes.get(x, 0.0) if slopes else None
            known = partials.get(source, 0.0)
            partials[source] = None if slope is None or known is None else known + slope
        self.link(partials, target, partials.values())

    def all_boxes(self, level: str) -> None:
        """Every box as one node, and what is in none as it was recorded."""
        home: dict[Value, Any] = {v: box for box in self.boxes for v in box.members}
        order = _in_order(self.inner, home)
        if not {*self.boxes} <= {*order}:  # a box that reaches itself stays open
            home = {v: box for v, box in home.items() if box in {*order}}
            order = _in_order(self.inner, home)
        used = {x for v in self.inner for x in v.inputs if home.get(v, v) is not home.get(x, x)}
        used.add(self.inner[-1])
        inside = {x for v in home for x in v.inputs if not x.op and self.places.get(x)}
        inside -= {x for v in self.inner if v not in home for x in v.inputs}
        for thing in order:
            if isinstance(thing, Box):
                self.box(thing, used, inside, level)
            else:
                self.recorded(thing)


def _from_another_pass(root: Value) -> dict[Value, float]:
    """The leaves whose `.grad` is not what the last pass from root gives them, and what is beyond it.

    A second backward() without zero_grad() adds up, as does a missing one between two steps.
    """
    inner = newest_first([root])
    leaves = dict.fromkeys(x for v in reversed(inner) for x in v.inputs if not x.inputs and grad_of(x))
    seed = grad_of(root)
    given = sweep({root: seed}) if leaves and seed is not None else {}
    rests = {x: x.grad - given.get(x, 0.0) for x in leaves}
    return {x: rest for x, rest in rests.items() if abs(rest) > ROUNDED * abs(x.grad)}


def _in_order(inner: Sequence[Value], home: dict[Value, Any]) -> list[Any]:
    """Boxes and single operations, operands first, else oldest first; but no box that reaches itself."""
    things = list(dict.fromkeys(home.get(v, v) for v in inner))
    number = {thing: i for i, thing in enumerate(things)}
    consumers: list[set[int]] = [set() for _ in things]
    waiting = [0] * len(things)
    for v in inner:
        target = number[home.get(v, v)]
        for x in v.inputs:
            source = number.get(home.get(x, x), target)
            if source != target and target not in consumers[source]:
                consumers[source].add(target)
                waiting[target] += 1
    ready = [i for i, n in enumerate(waiting) if not n]
    heapify(ready)
    order = []
    while ready:
        i = heappop(ready)
        order.append(things[i])
        for target in consumers[i]:
            waiting[target] -= 1
            if not waiting[target]:
                heappush(ready, target)
    return order


def _through(members: Sequence[Value], result: Value) -> dict[Value, float]:
    """The partials of a box's one result by everything its members take: the sweep, within the box."""
    adjoint = {result: 1.0}
    for v in reversed(members):
        if v in adjoint:
            for x, d in live_edges(v):
                adjoint[x] = adjoint.get(x, 0.0) + d * adjoint[v]
    return adjoint
