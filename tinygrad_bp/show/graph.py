"""What is drawn of a graph: its nodes and edges as plain records, boxes for neurons and layers, and names.

`read` visits a graph once, without recursion.  Its records hold everything that a picture shows: labels,
signs, numbers, gradients, local partials, whether a unit is dead.  Drawings, explanations and the stepper all
read these, so they say the same of a node.
"""

import re
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from heapq import heapify, heappop, heappush
from typing import Any, NamedTuple
from unicodedata import category, combining, east_asian_width

from tinygrad_bp.engine import Value, edges as live_edges, newest_first, sweep
from tinygrad_bp.errors import DrawError
from tinygrad_bp.floats import NO_GRAD
from tinygrad_bp.nn import Module
from tinygrad_bp.ops import TABLE, add as PLUS, dot as DOT, mul as TIMES, sum as SUM

Place = tuple[str, ...]  # the layer and the neuron, by their paths; () is nowhere
LONGEST = 26  # cells of a label in a box
TURNS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # controls that reorder what follows
FLAT = 0.01  # a smooth unit with a slope below this is saturated


@dataclass(frozen=True)
class Node:
    """A node of the picture: a leaf, an operation, a part of an opened dot or sum, or a box of many."""

    id: str
    kind: str  # "leaf", "operation", "part" or "box"
    value: Value  # of a part the dot it is of, of a box the newest that others use
    label: str
    sign: str  # as the operation is drawn; '' for leaves
    data: float | None  # None for a box with several results
    grad: float | None  # None where no backward pass has set it, and for a box with several results
    group: Place = ()  # ("layers.0", "layers.0.neurons.3"), or ()
    mark: str = ""  # "dead ReLU", "saturated", "dead ReLU in 3 of 16"; mostly ''
    size: int = 1  # how many nodes of the graph it stands for
    cut: bool = False  # its operands are not shown: it is as deep as `depth` allows


class Edge(NamedTuple):
    """From an operand to the operation that uses it."""

    source: str
    target: str
    slot: int  # which operand it is, from 0
    partial: float | None  # None where there is none: a step, a stale operation, a box with several results


@dataclass(frozen=True)
class Picture:
    """What `read` gives: nodes with operands before results, their edges, and the leaves set too late."""

    nodes: list[Node]
    edges: list[Edge]
    root: str
    detail: str
    total: int  # nodes of the graph that were found, shown or not
    stale: list[Value]
    other: dict[Value, float]  # leaves whose `.grad` is more than this pass gives, and what the rest is


# --- text ---------------------------------------------------------------------------------------------------


def visible(text: str) -> str:
    r"""Text in which nothing is illegal in XML, breaks the line or turns its direction: that becomes \uXXXX.

    >>> print(visible("a\x00b\nc"))
    a\u0000b\u000ac
    """
    return "".join([f"\\u{ord(c):04x}" if _hidden(c) else c for c in text])


def _hidden(c: str) -> bool:
    if c.isprintable():
        return False
    return category(c) in ("Cc", "Cs", "Zl", "Zp") or c in TURNS or ord(c) & 0xFFFE == 0xFFFE


def cells(text: str) -> int:
    """How many columns a terminal would give the text: emoji and CJK two, combining marks none."""
    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)


def clipped(text: str, longest: int = LONGEST) -> str:
    """The text, or its beginning and an ellipsis."""
    if cells(text) <= longest:
        return text
    end, room = 0, longest - 1
    while room >= cells(text[end]):
        room -= cells(text[end])
        end += 1
    return text[:end] + "…"


# --- what is told of one Value ------------------------------------------------------------------------------


def shown(x: float | None, digits: int = 4) -> str:
    """A number as pictures write it, in about four digits; – where there is none.

    >>> [shown(x) for x in (0.9993292997, -12.0, 48213.7, 2e-7, float("nan"), None)]
    ['0.9993', '-12', '48214', '2e-7', 'nan', '–']
    """
    if x is None:
        return "–"
    if 10.0**digits <= abs(x) < 1e7:
        return f"{x:.0f}"
    number, power, exponent = f"{x:.{digits}g}".partition("e")
    return f"{number}e{int(exponent)}" if power else number


def grad_of(v: Value) -> float | None:
    """The gradient of v; None as long as no backward pass has set it."""
    return None if v.grad is NO_GRAD or v.grad is None else float(v.grad)


def sign_of(v: Value) -> str:
    """The operation of v as it is drawn, with its constants; '' for a leaf."""
    return (v.op.sign or repr(v.op)[4:-1]) if v.op else ""


def partials_of(v: Value) -> tuple[float | None, ...]:
    """The local partial by each operand; None where the path ends, or an operand was set too late."""
    if not v.op or v.op.slopes is None or is_stale(v):
        return (None,) * len(v.inputs)
    return tuple(v.op.slopes(v._data, *[x._data for x in v.inputs]))


def is_stale(v: Value) -> bool:
    """Whether an operand of v was set after v had used its old value."""
    return any(x.number > v.number for x in v.inputs)


def mark_of(v: Value) -> str:
    """Whether this unit lets no gradient through: "dead ReLU" if it selects, "saturated" if it is smooth.

    Saturated is a slope below 0.01 that is dying: at twice the operand it is a tenth of that, or less.
    """
    if not v.op or len(v.inputs) != 1 or v.op.slopes is None or is_stale(v):
        return ""
    x, op = v.inputs[0]._data, v.op
    slope = abs(op.slopes(v._data, x)[0])
    if op.selects:
        return f"dead {sign_of(v)}" if slope == 0.0 else ""
    if op.singular or op.name not in TABLE or not slope < FLAT or x == 0.0:  # your own may raise elsewhere
        return ""
    further = abs(op.slopes(op.value(2.0 * x), 2.0 * x)[0])
    return "saturated" if further <= slope / 10.0 else ""


# --- names --------------------------------------------------------------------------------------------------

SUPERSCRIPTS, SUBSCRIPTS = (str.maketrans("0123456789", digits) for digits in ("⁰¹²³⁴⁵⁶⁷⁸⁹", "₀₁₂₃₄₅₆₇₈₉"))
BEYOND = 0x20000  # the characters from here on are rare, and not typeset
LONGEST_NAME = 60  # cells of a label in a formula
SIX = 6  # digits of a number in a derivation


def names(values: Iterable[Value], root: Value | None = None) -> dict[Value, str]:
    """A name for each of these nodes, which come in the order in which they were made; no two share one.

    A node is called by its label. Without one, a leaf is a constant, and called by its number; the root is L,
    and any other result v1, v2, ... A label that is taken gets a prime.

    >>> a = Value(2.0, label="a"); b = a * 3.0; c = b + a
    >>> list(names([a, *b.inputs[1:], b, c]).values())
    ['a', '3', 'v1', 'v2']
    """
    values = list(values)
    taken = {clipped(visible(v.label), LONGEST_NAME) for v in values}
    given: dict[Value, str] = {}
    used: set[str] = set()
    count = 0
    for v in values:
        if v.label:
            name = clipped(visible(v.label), LONGEST_NAME)
            while name in used:
                name += "′"
        elif not v.inputs:
            given[v] = shown(v.item() + 0.0, SIX)
            continue
        elif v is root and "L" not in taken:
            name = "L"
        else:
            count += 1
            while (name := f"v{count}") in taken:
                count += 1
        used.add(name)
        given[v] = name
    return given


def tex_name(name: str) -> str:
    r"""A node's name in LaTeX; whatever a user writes is letters there, never a command.

    >>> tex_name("a"), tex_name("x1"), tex_name("loss"), tex_name("layers.0.neurons.3.w.1")
    ('a', 'x_{1}', '\\mathrm{loss}', 'w^{(0)}_{3,1}')
    """
    place = parameter(name)
    if place:
        letter, layer, indices = place
        return _letters(letter) + (f"^{{({layer})}}" if layer else "") + f"_{{{','.join(indices)}}}"
    found = re.fullmatch(r"([^\W\d_]+)_?(\d+)(′*)", name)
    if found:
        return f"{_letters(found[1] + found[3])}_{{{found[2]}}}"
    return _letters(name)


def short_name(name: str) -> str:
    """A node's name in plain text: a parameter as in the equations of its layer, any other as it is.

    >>> short_name("layers.0.neurons.3.w.1"), short_name("neurons.12.b"), short_name("total loss")
    ('w⁰₃,₁', 'b₁₂', 'total loss')
    """
    place = parameter(name)
    if not place:
        return name
    letter, layer, indices = place
    return letter + layer.translate(SUPERSCRIPTS) + ",".join(indices).translate(SUBSCRIPTS)


def parameter(name: str) -> tuple[str, str, list[str]] | None:
    """The letter, the layer and the indices of a parameter that a module named; None for other names."""
    found = re.fullmatch(r"(?:(?:layers\.(\d+)\.)?neurons\.(\d+)\.)?([A-Za-z]+)(?:\.(\d+))?", name)
    if not found or (found[2] is None and found[4] is None):
        return None
    return found[3], found[1] or "", [index for index in found.group(2, 4) if index]


def _letters(word: str) -> str:
    safe = "".join(ESCAPED.get(c, c if c.isprintable() and ord(c) < BEYOND else "?") for c in word)
    if len(safe) == 1 and safe.isalpha():
        return safe
    return rf"\mathrm{{{safe or '?'}}}"


ESCAPED = {c: "\\" + c for c in " _%${}"}
ESCAPED |= {"\\": r"\backslash{}", "#": "♯", "&": "+", "^": "ˆ", "~": "˜", '"': "”", "`": "‘"}
ESCAPED |= {"<": "‹", ">": "›", "|": "¦", "*": "∗"}  # Markdown would read these


# --- boxes: operations that are one neuron at work ----------------------------------------------------------


def place(label: str) -> Place:
    """Whose parameter a leaf of this label is: its layer and its neuron; () for any other label.

    >>> place("layers.0.neurons.3.w.1"), place("neurons.2.b"), place("w.1"), place("total loss")
    (('layers.0', 'layers.0.neurons.3'), ('neurons', 'neurons.2'), (), ())
    """
    parts = label.split(".")
    while parts and parts[-1].isdecimal():
        parts.pop()
    if len(parts) < 2 or not all(part.isidentifier() or part.isdecimal() for part in parts):
        return ()
    owner = layer = parts[:-1]
    while layer and layer[-1].isdecimal():
        layer = layer[:-1]
    if 1 < len(layer) < len(owner):
        layer = layer[:-1]  # the list that the neurons are in
    return (".".join(layer or owner), ".".join(owner))


@dataclass(eq=False)
class Application:
    """A neuron at work on one sample: its operations, the parameters in them, and what comes from outside."""

    place: Place
    members: list[Value] = field(default_factory=list)
    parameters: set[Value] = field(default_factory=set)
    activated: bool = False  # the operation behind its sum is in it

    def operands(self) -> Iterable[Value]:
        """What it takes from outside, but for parameters, which stand for themselves."""
        taken = [x for v in self.members for x in v.inputs if x not in self.parameters]
        members = {*self.members}
        return [x for x in taken if x not in members and (x.op or not place(x.label))]


def applications(inner: Sequence[Value]) -> list[Application]:
    """The applications of neurons among these operations, which come oldest first."""
    consumers = Counter(x for v in inner for x in set(v.inputs))
    places = {x: place(x.label) for v in inner for x in v.inputs if x.op is None and x.label}
    home: dict[Value, Application] = {}
    for v in inner:
        parameters = {x for x in v.inputs if places.get(x)}
        owners = {places[x] for x in parameters}
        mates = list(dict.fromkeys(home[x] for x in v.inputs if x in home))
        if len(owners) == 1:
            (owner,) = owners
            mates = [mate for mate in mates if mate.place == owner]
            if not _fit(mates, parameters):
                mates = []
            app = _merged(mates, home) if mates else Application(owner)
            app.parameters |= parameters
        elif not owners and mates and all(x in home for x in v.inputs) and not v.label:
            if len(mates) > 1:  # w0 * x0 + w1 * x1, and not the sum over two samples
                if len({mate.place for mate in mates}) > 1 or not _fit(mates, set()):
                    continue
            elif len(v.inputs) > 1 or consumers[v.inputs[0]] > 1 or mates[0].activated:
                continue
            app = _merged(mates, home)
            app.activated = app.activated or len(v.inputs) == 1
        else:
            continue
        app.members.append(v)
        home[v] = app
    return list(dict.fromkeys(home.values()))


def _fit(mates: Sequence[Application], parameters: set[Value]) -> bool:
    """Whether these are parts of one application: not activated yet, and no parameter is in two of them."""
    largest, *others = sorted([parameters, *(mate.parameters for mate in mates)], key=len, reverse=True)
    rest = set().union(*others)
    alone = len(rest) == sum(map(len, others)) and rest.isdisjoint(largest)
    return alone and not any(mate.activated for mate in mates)


def _merged(mates: Sequence[Application], home: dict[Value, Application]) -> Application:
    """One application with what they all hold: the largest takes in the others."""
    largest, *others = sorted(mates, key=lambda mate: -len(mate.members))
    for other in others:
        for v in other.members:
            home[v] = largest
        largest.members += other.members
        largest.parameters |= other.parameters
    return largest


@dataclass(eq=False)
class Box:
    """Operations that are drawn as one, oldest first."""

    place: Place
    members: list[Value]


def boxes(found: Sequence[Application], level: str) -> list[Box]:
    """One box for each application of a neuron, or of a layer: its neurons that take the same operands.

    What takes parameters alone, as a penalty on weights does, is one box for each neuron or layer.
    """
    made: dict[Hashable, Box] = {}
    for i, app in enumerate(found):
        operands = frozenset(app.operands())
        key: Hashable = (app.place[level == "neuron"], operands)
        if level == "neuron" and operands:
            key = i
        made.setdefault(key, Box(app.place, [])).members.extend(app.members)
    for box in made.values():
        box.members.sort(key=lambda v: v.number)
    return list(made.values())


# --- from Values to records ---------------------------------------------------------------------------------

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
