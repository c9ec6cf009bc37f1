"""What is drawn of a graph: its nodes and edges as plain records, boxes for neurons and layers, and names.

`read` visits a graph once, without recursion.  Its records hold everything that a picture shows: labels,
signs, numbers, gradients, local partials, whether a unit is dead.  Drawings, explanations and the stepper all
read these, so they say the same of a node.
"""

import re
from bisect import bisect
from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from heapq import heapify, heappop, heappush
from math import hypot
from typing import Any, NamedTuple
from unicodedata import category, combining, east_asian_width, lookup, normalize

from tinygrad_bp.engine import Value, edges as live_edges, newest_first, sweep
from tinygrad_bp.errors import DrawError
from tinygrad_bp.floats import NO_GRAD
from tinygrad_bp.nn import CALLS, MODULES, Module
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
    name: str = ""  # as it is shown: the label, or a name of the scheme
    mark: str = ""  # "dead ReLU", "saturated", "dead ReLU in 3 of 16"; mostly ''
    norm: float | None = None  # of a box with several results: the length of their gradients together
    size: int = 1  # how many nodes of the graph it stands for
    cut: bool = False  # its operands are not shown: it is as deep as `depth` allows


class Edge(NamedTuple):
    """From an operand to the operation that uses it."""

    source: str
    target: str
    slot: int  # which operand it is, from 0
    partial: (
        float | None
    )  # None: there is no partial to show: a step, a stale operation, a box with several results
    weight: float | None = None  # of an edge into a neuron, where weights are asked for
    flow: float | None = None  # how much gradient comes down it, where that is not partial x gradient


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


# --- what is shown of one Value -----------------------------------------------------------------------------


def shown(x: float | None, digits: int = 4) -> str:
    """A number as pictures write it, in about four digits; – if x is None.

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
# One scheme for all pictures and texts, counted from 1: w⁽¹⁾₂₃, b⁽¹⁾₂, z⁽¹⁾₂, a⁽¹⁾₂, x₃.  Labels win.

DIGITS = "0123456789"
SUPERSCRIPTS, SUBSCRIPTS = str.maketrans(DIGITS + "()", "⁰¹²³⁴⁵⁶⁷⁸⁹⁽⁾"), str.maketrans(DIGITS, "₀₁₂₃₄₅₆₇₈₉")
BEYOND = 0x20000  # the characters from here on are rare, and not typeset
LONGEST_NAME = 60  # cells of a label in a formula
SIX = 6  # digits of a number in a derivation


class Name(NamedTuple):
    """What a node is called, in plain text and in LaTeX; a loose name is an expression, such as x1w1 + b."""

    text: str
    tex: str
    loose: bool = False
    number: bool = False  # of a constant, which has no other name

    def primed(self) -> "Name":
        return Name(f"{self.text}′", f"{self.tex}'", self.loose)


def numbered(letter: str, layer: int = 0, indices: Sequence[int] = (), call: int = 0) -> Name:
    """A name of the scheme; layers, indices and calls count from 1; 0 leaves one out.

    >>> numbered("w", 1, (2, 3)).text, numbered("w", 1, (2, 3)).tex, numbered("b", 0, (12, 3), 2).text
    ('w⁽¹⁾₂₃', 'w^{(1)}_{23}', 'b₁₂,₃[2]')
    """
    below = ("," if max(indices, default=0) > 9 else "").join(map(str, indices))
    tex = _letters(letter) + (f"^{{({layer})}}" if layer else "") + (f"_{{{below}}}" if below else "")
    raised = f"({layer})".translate(SUPERSCRIPTS) if layer else ""
    often = f"[{call}]" if call else ""
    return Name(letter + raised + below.translate(SUBSCRIPTS) + often, tex + often)


def names(values: Iterable[Value], root: Value | None = None) -> dict[Value, Name]:
    """A name for each of these nodes, which come in the order in which they were made; no two share one.

    A node is called by its label, or else by the scheme. Any other leaf is a constant, and called by its
    number; the root is L, and any other result v1, v2, ... A name that is taken gets a prime.

    >>> a = Value(2.0, label="a"); b = a * 3.0; c = b + a
    >>> [name.text for name in names([a, *b.inputs[1:], b, c]).values()]
    ['a', '3', 'v1', 'v2']
    """
    values = list(values)
    known = scheme([v for v in values if v.inputs])
    labels = {name.text for name in known.values()}
    given: dict[Value, Name] = {}
    used: set[str] = set()
    count = 0
    for v in values:
        if v in known:
            name = known[v]
            while name.text in used:
                name = name.primed()
        elif v.label:
            name = named(v.label)
            while name.text in used:
                name = name.primed()
        elif not v.inputs:
            number = shown(v.item() + 0.0, SIX)
            given[v] = Name(number, number, number=True)
            continue
        elif v is root and "L" not in labels:
            name = Name("L", "L")
        else:
            count += 1
            while f"v{count}" in labels:
                count += 1
            name = named(f"v{count}")
        used.add(name.text)
        given[v] = name
    return given


def scheme(inner: Sequence[Value]) -> dict[Value, Name]:
    """The names of labelled nodes, of parameters, and of what goes into neurons and comes out of them."""
    leaves = {x for v in inner for x in v.inputs if not x.inputs}
    paths = parameter_paths(leaves)
    found = {v: named(v.label) for v in (*leaves, *inner) if v.label and v.label != paths.get(v)}
    for x, path in paths.items():
        found.setdefault(x, parameter_name(path))
    applied = [app for app in applications(inner, neuron_places(paths)) if app.operands()]
    calls = Counter(app.place for app in applied)
    done: Counter[Place] = Counter()
    for app in applied:
        done[app.place] += 1
        call = done[app.place] if calls[app.place] > 1 else 0
        at = re.search(r"(?:layers\.(\d+)\.)?neurons\.(\d+)$", app.place[1])
        if not at:
            continue
        layer, neuron = int(at[1] or -1) + 1, int(at[2]) + 1
        members = sorted(app.members, key=lambda v: v.number)
        if app.activated:
            found.setdefault(members.pop(), numbered("a", layer, (neuron,), call))
        found.setdefault(members[-1], numbered("z", layer, (neuron,), call))
        for v in members:
            n = len(v.inputs) // 2
            for i, x in enumerate(v.inputs[n : 2 * n] if v.op is DOT else (), 1):
                if not x.inputs and x not in paths:
                    found.setdefault(x, numbered("x", 0, (i,), call))
    return found


def parameter_name(path: str) -> Name:
    """A parameter by the scheme, or by its path where that has no layer and no neuron in it.

    >>> [parameter_name(path).text for path in ("layers.0.neurons.3.w.1", "neurons.11.b", "w.1", "shift")]
    ['w⁽¹⁾₄₂', 'b₁₂', 'w₂', 'shift']
    """
    at = re.search(r"(?:(?:layers\.(\d+)\.)?neurons\.(\d+)\.)?([A-Za-z]+)(?:\.(\d+))?$", path)
    if not at or (at[2] is None and at.start()):
        return named(path)
    return numbered(at[3], int(at[1] or -1) + 1, [int(index) + 1 for index in at.group(2, 4) if index])


def named(label: str) -> Name:
    r"""A label as a name; LaTeX of a letter with indices or an accent stays LaTeX, all else is letters there.

    >>> named("x1").tex, named("loss").tex, named(r"w_{11}").text, named(r"\hat{y}").text, named("a+b").loose
    ('x_{1}', '\\mathrm{loss}', 'w₁₁', 'ŷ', True)
    """
    text = clipped(visible(label), LONGEST_NAME)
    latex = LATEX.fullmatch(label) if {*label} & {*"\\{"} and label.count("{") == label.count("}") else None
    if latex:
        accent, letter, greek, *indices = latex.groups()
        letter = normalize("NFC", (greek_letter(greek) if greek else letter) + ACCENTS[accent])
        below, above = (_index(mark, indices) for mark in "_^")
        return Name(letter + above.translate(SUPERSCRIPTS) + below.translate(SUBSCRIPTS), label)
    found = re.fullmatch(r"([^\W\d_]+)[_.]?(\d+)(′*)", text)
    if found:
        plain = found[1] + found[2].translate(SUBSCRIPTS) + found[3] if "." in text else text
        return Name(plain, f"{_letters(found[1] + found[3])}_{{{found[2]}}}")
    return Name(text, _letters(text), bool(re.search(r"[-+*/·×÷=<>−]", text)))


GREEK = (
    "alpha|beta|gamma|delta|epsilon|zeta|eta|theta|iota|kappa|lambda|mu|nu|xi|pi|rho|sigma|tau|phi|chi|psi"
)
GREEK += "|omega"
ACCENTS = {None: "", "hat": "\u0302", "bar": "\u0304", "tilde": "\u0303", "dot": "\u0307", "vec": "\u20d7"}
_LETTER = rf"(?:([A-Za-z])|\\({GREEK}))"
LATEX = re.compile(
    rf"(?:\\(hat|bar|tilde|dot|vec)\{{(?=[^{{}}]*\}}))?{_LETTER}\}}?"
    r"(?:([_^])(?:\{([\w,() ]{1,12})\}|(\w)))?(?:([_^])(?:\{([\w,() ]{1,12})\}|(\w)))?"
)


def greek_letter(word: str) -> str:
    """The letter of a LaTeX command, such as alpha."""
    return lookup(f"GREEK SMALL LETTER {word.replace('lambda', 'lamda').upper()}")


def _index(mark: str, indices: Sequence[str | None]) -> str:
    """What stands behind the mark, _ or ^, in the six groups of LATEX for indices."""
    for i in (0, 3):
        if indices[i] == mark:
            index = indices[i + 1] or indices[i + 2] or ""
            return index if set(index) <= {*DIGITS, *",()"} else f"{mark}{index}"
    return ""


def _letters(word: str) -> str:
    safe = "".join(ESCAPED.get(c, c if c.isprintable() and ord(c) < BEYOND else "?") for c in word)
    if len(safe) == 1 and safe.isalpha():
        return safe
    return rf"\mathrm{{{safe or '?'}}}"


ESCAPED = {c: "\\" + c for c in " _%${}"}
ESCAPED |= {"\\": r"\backslash{}", "#": "♯", "&": "+", "^": "ˆ", "~": "˜", '"': "”", "`": "‘"}
ESCAPED |= {"<": "‹", ">": "›", "|": "¦", "*": "∗"}  # Markdown would read these


# --- parameters: whose they are -----------------------------------------------------------------------------


def parameter_paths(leaves: Collection[Value]) -> dict[Value, str]:
    """The paths of those leaves that a module owns, from the outermost module that there is.

    A module that is gone has left its paths in the labels of its parameters.

    >>> from tinygrad_bp import Neuron
    >>> neuron = Neuron(2); neuron.w[1].label = "own name"; parameter_paths({neuron.w[1]}).values()
    dict_values(['w.1'])
    """
    holders, owned = _holders(leaves)
    paths: dict[Value, str] = {}
    for x, module, path in owned:
        path = f"{outer}.{path}" if (outer := _path(module, holders)) else path
        if len(path) > len(paths.get(x, "")):
            paths[x] = path
    for x in leaves:
        if x.label and place(x.label):
            paths.setdefault(x, x.label)
    return paths


Holders = dict[int, tuple[Module, str]]  # by the id of a module: which one it is in, and by what name


def _holders(leaves: Collection[Value]) -> tuple[Holders, list[tuple[Value, Module, str]]]:
    """The holder of each module, and those of the leaves that modules own, with their names there."""
    holders: Holders = {}
    owned: list[tuple[Value, Module, str]] = []
    for module in list(MODULES.values()):
        for name, part in _parts(vars(module)):
            if isinstance(part, Value):
                if part in leaves:
                    owned.append((part, module, name))
            elif part is not module:
                holders.setdefault(id(part), (module, name))
    return holders, owned


def _path(module: Module, holders: Holders) -> str:
    """The path of a module in the outermost one that holds it."""
    names: list[str] = []
    seen: set[int] = set()
    while id(module) in holders and id(module) not in seen:
        seen.add(id(module))
        module, name = holders[id(module)]
        names.insert(0, name)
    return ".".join(names)


def _parts(part: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The Values and Modules among the attributes of a module, also in lists and dicts, with their names."""
    if isinstance(part, (Value, Module)):
        yield path, part
    elif isinstance(part, (dict, list, tuple)):
        for name, inside in [*part.items()] if isinstance(part, dict) else enumerate(part):
            yield from _parts(inside, f"{path}.{name}" if path else str(name))


def neuron_places(paths: Mapping[Value, str]) -> dict[Value, Place]:
    """The layer and the neuron of those parameters that a neuron has."""
    return {x: found for x, path in paths.items() if (found := place(path))}


# --- boxes: operations that are one neuron at work ----------------------------------------------------------


def place(path: str) -> Place:
    """The layer and the neuron of the parameter at this path; () if the path is that of no neuron.

    >>> place("layers.0.neurons.3.w.1"), place("neurons.2.b"), place("w.1"), place("total loss")
    (('layers.0', 'layers.0.neurons.3'), ('neurons', 'neurons.2'), (), ())
    """
    parts = path.split(".")
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
    places: Mapping[Value, Place]
    members: list[Value] = field(default_factory=list)
    parameters: set[Value] = field(default_factory=set)
    activated: bool = False  # the operation behind its sum is in it

    def operands(self) -> list[Value]:
        """What it takes from outside, but for parameters, which stand for themselves."""
        taken = [x for v in self.members for x in v.inputs if x not in self.parameters]
        members = {*self.members}
        return [x for x in taken if x not in members and x not in self.places]


def applications(inner: Sequence[Value], places: Mapping[Value, Place]) -> list[Application]:
    """The applications of neurons among these operations, which come oldest first.

    An operation on parameters of one neuron belongs to it, and so do those that add its products up and the
    activation after it. A neuron that is called on ten samples has ten applications.
    """
    consumers = Counter(x for v in inner for x in set(v.inputs))
    home: dict[Value, Application] = {}
    for v in inner:
        parameters = {x for x in v.inputs if x in places}
        owners = {places[x] for x in parameters}
        mates = list(dict.fromkeys(home[x] for x in v.inputs if x in home))
        if len(owners) == 1:
            (owner,) = owners
            mates = [mate for mate in mates if mate.place == owner]
            if not _fit(mates, parameters):
                mates = []
            app = _merged(mates, home) if mates else Application(owner, places)
            app.parameters |= parameters
        elif not owners and mates and all(x in home for x in v.inputs):
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
    title: str = ""  # of a call of a module: its type
    leaves: Sequence[Value] = ()  # its parameters, and the constants that were made in it


def calls_of(inner: Sequence[Value], of: Module | None = None) -> list[tuple[Module, int, list[Value]]]:
    """The calls of modules with a `forward` that made some of these operations, which come oldest first.

    They are the outermost calls, of all modules, or all calls of one; each with the number at its begin.
    """
    numbers, end = [v.number for v in inner], 0
    found: list[tuple[Module, int, list[Value]]] = []
    for call in sorted(CALLS):
        module = call.module()
        if module is None or (module is not of if of else call.begin < end):
            continue
        members = [*inner[bisect(numbers, call.begin) : bisect(numbers, call.end)]]
        if members:
            found.append((module, call.begin, members))
            end = call.end
    return found


def boxes(found: Sequence[Application], level: str, inner: Sequence[Value]) -> list[Box]:
    """One box for each call of a module with a `forward` among these operations; of the others one for each
    application of a neuron, or of a layer: its neurons that take the same operands.

    What takes parameters alone, as a penalty on weights does, is one box for each neuron or layer.
    """
    made: dict[Hashable, Box] = {}
    calls = calls_of(inner)
    holders = _holders(())[0] if calls else {}
    for k, (module, begin, members) in enumerate(calls):
        path, title, own = _path(module, holders), type(module).__name__, {*module.parameters()}
        taken = dict.fromkeys(x for v in members for x in v.inputs if not x.op)
        leaves = [x for x in taken if x in own or x.number > begin]
        made["call", k] = Box((path or title, path or title), members, title, leaves)
    boxed = {v for box in made.values() for v in box.members}
    for i, app in enumerate(found):
        if not boxed.isdisjoint(app.members):
            continue
        operands = frozenset(app.operands())
        key: Hashable = (app.place[level == "neuron"], operands)
        if level == "neuron" and operands:
            key = i
        made.setdefault(key, Box(app.place, [])).members.extend(app.members)
    for box in made.values():
        box.members.sort(key=lambda v: v.number)
    return list(made.values())


# --- reading a graph ----------------------------------------------------------------------------------------

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
    weights: bool = False,
) -> Picture:
    """The graph that ends in root, as a Picture; `name` is the function that the messages speak of.

    `detail` is "scalar" (a dot is opened into × and +), "node" (as recorded), "neuron" or "layer" (one box
    for each); by default "node", and above 150 nodes "neuron". `depth` keeps what is at most so many edges
    from root. Raises TypeError for a root that is not a Value, ValueError for an unknown level, DrawError for
    a graph above `max_nodes`.

    >>> a = Value(2.0, label="a"); picture = read(a * a + 1.0)
    >>> [(node.id, node.label or node.sign, node.data) for node in picture.nodes]
    [('n0', 'a', 2.0), ('n1', '×', 4.0), ('n2', '', 1.0), ('n3', '+', 5.0)]
    >>> [edge[:4] for edge in picture.edges if edge.target == "n1"]
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
    reader = _Reader(root, inner, level, weights)
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
        fix = "take one of them, or their sum"
    elif isinstance(thing, (int, float)):
        fix = "wrap it, Value(x)"
    else:
        fix = "take a loss, as in loss = (model(x) - y) ** 2"
    return f"{thing!r:.60} of type {kind}: {fix}"


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

    def __init__(self, root: Value, inner: Sequence[Value], level: str, weights: bool) -> None:
        self.weights = weights and level == "neuron"
        self.nodes: list[Node] = []
        self.edges: list[Edge] = []
        self.ids: dict[Value, str] = {}  # of a dot that is opened: its last part's; in a box: the box's
        self.inner = inner or [root]  # a root may be a leaf
        self.known = set(self.inner)  # whose operands are shown
        self.stale = list(dict.fromkeys(x for v in inner for x in v.inputs if x.number > v.number))
        self.other = {} if self.stale else _from_another_pass(root)
        leaves = {x for v in inner for x in v.inputs if not x.inputs}
        owners = neuron_places(parameter_paths(leaves))
        found = applications(inner, owners)
        self.boxes = boxes(found, level, self.inner) if level in BOXED else []
        self.names = scheme(inner)
        self.places = dict(owners)
        self.places.update((v, app.place) for app in found for v in app.members)
        for box in self.boxes:
            if box.title:
                self.places.update((v, box.place) for v in (*box.members, *box.leaves))

    def node(self, v: Value, **more: Any) -> str:
        """A node for v, or for a part or a box of which v is the value; its id."""
        node = Node(
            id=f"n{len(self.nodes)}",
            kind="operation" if v.op else "leaf",
            value=v,
            label=v.label,
            name=self.names[v].text if v in self.names else clipped(visible(v.label), LONGEST_NAME),
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
        slopes = _through(box.members, {result: 1.0}) if single and not self.stale else {}
        grads = {v: g for v in results if (g := grad_of(v)) is not None}
        flows = _through(box.members, grads) if len(grads) == len(results) > 1 and not self.stale else {}
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
            norm=None if single or len(grads) < len(results) else hypot(*grads.values()),
            name=self.box_name(box, level, result if single else None),
            group=box.place if level == "neuron" else box.place[:1],
            mark=mark if single or not mark else f"{mark} in {len(marks)} of {len(results)}",
            size=len(members) + len(taken) - len(outside),
        )
        self.ids.update(dict.fromkeys(results, target))
        partials: dict[str, float | None] = {}
        carried: dict[str, list[float]] = {}
        for x, source in zip(outside, sources):  # two results of a layer come from one node
            slope = slopes.get(x, 0.0) if slopes else None
            known = partials.get(source, 0.0)
            partials[source] = None if slope is None or known is None else known + slope
            carried.setdefault(source, []).append(flows.get(x, 0.0))
        dots = [v for v in box.members if v.op is DOT and self.weights]
        pairs = [(x, w) for v in dots for w, x in zip(v.inputs, v.inputs[len(v.inputs) // 2 :])]
        weights = {self.ids[x]: w._data for x, w in pairs if x in self.ids}
        for slot, (source, partial) in enumerate(partials.items()):
            flow = hypot(*carried[source]) if flows else None
            self.edges.append(Edge(source, target, slot, partial, weights.get(source), flow))

    def box_name(self, box: Box, level: str, result: Value | None) -> str:
        """A neuron by the name of its result, a layer by its number, anything else by its path."""
        if box.title:
            return box.title
        layer = re.search(r"layers\.(\d+)$", box.place[0])
        if result is not None and result in self.names and (level == "neuron" or result.label):
            return self.names[result].text
        return f"layer {int(layer[1]) + 1}" if layer and level == "layer" else box.place[level == "neuron"]

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


def _through(members: Sequence[Value], seeds: Mapping[Value, float]) -> dict[Value, float]:
    """What a box hands on to everything its members take, for these gradients of its results."""
    adjoint = dict(seeds)
    for v in reversed(members):
        if v in adjoint:
            for x, d in live_edges(v):
                adjoint[x] = adjoint.get(x, 0.0) + d * adjoint[v]
    return adjoint
