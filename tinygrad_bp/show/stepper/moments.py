"""A graph as the stepper's page takes it: its shape once, and the numbers of each moment it was run at.

The shape is names, formulas, places and edges; the numbers are values, local partials, and the engine's
gradients, with which the page compares its own sums.  In a large graph, each neuron is a group that starts
closed.
"""

import re
from collections.abc import Sequence
from typing import Any

from tinygrad_bp.compiler.backends.page import page_rule
from tinygrad_bp.engine import Value, newest_first, sweep
from tinygrad_bp.errors import DrawError
from tinygrad_bp.ops import TABLE, Op
from tinygrad_bp.show.graph import (
    OPEN,
    Name,
    Node,
    Picture,
    applications,
    boxes,
    clipped,
    count,
    names,
    neuron_places,
    numbered,
    parameter_paths,
    read,
    shown,
    visible,
)
from tinygrad_bp.show.layout import arrange
from tinygrad_bp.show.symbols import ADDED, ATOM, Symbol, formula, partials

MOST_STEPPED = 5000  # nodes of a graph that a page can hold
MOST_BOXES = 2000  # nodes and closed neurons that it can show
MOST_OF_LABEL = 400  # letters that the page has of a label
HEIGHT, NARROWEST, LONGEST_IN_BOX = 66.0, 92.0, 26  # of a box, in pixels; of a name, in letters
BESIDE, BELOW = 20.0, 8.0  # room on each side of a box, for the tags on its edges, and under it for its mark
FRAME, HEAD = 16.0, 30.0  # around an opened neuron, and above

Json = dict[str, Any]
Form = list[str | int]


def shape(root: Value, open_to: int = OPEN) -> Json:
    """All that stays while the graph is run on other numbers; above `open_to` nodes, neurons start closed.

    Raises TypeError for a root that is not a Value, StaleGraphError if a leaf was set after it was used,
    DrawError for a graph that is too large to be stepped through.

    >>> a = Value(2.0, label="a"); found = shape(a * a)
    >>> [node["name"] for node in found["nodes"]], [(edge["src"], edge["dst"]) for edge in found["edges"]]
    (['a', 'L'], [(0, 1), (0, 1)])
    """
    picture = _readable(root)
    values = [node.value for node in picture.nodes]
    index = {v: i for i, v in enumerate(values)}
    forms, rules = _Forms(), _Rules()
    called = _names(values, root)
    nodes = []
    for node, v in zip(picture.nodes, values):
        name, tex = called[v][:2]
        label = clipped(visible(v.label), MOST_OF_LABEL)
        more: Json = {"label": label} if label and label != name else {}
        more |= {"form": forms.of(v), **rules.of(v)} if v.op else {}
        more |= {"loose": True} if called[v].loose else {}
        more |= {"flat": True} if v.op and v.op.slopes is None else {}
        nodes.append({"id": node.id, "name": name, "tex": tex, "op": node.sign, "group": -1, **more})
    edges: list[Json] = []
    for v in values:
        slopes = forms.of_partials(v) if v.op else []
        for slot, (x, form) in enumerate(zip(v.inputs, slopes)):
            edges.append({"src": index[x], "dst": index[v], "slot": slot, "form": form})
    groups, size = _placed(root, open_to < picture.total, nodes, edges, index)
    order = sorted((v for v in values if v.op), key=lambda v: v.number)
    return {
        "nodes": nodes, "edges": edges, "groups": groups, "size": size, "forms": forms.forms,
        "rules": rules.rules,
        "order": [index[v] for v in order], "root": index[root],
    }  # fmt: skip


def numbers(root: Value) -> Json:
    """Values, gradients and local partials, in the order of `shape`; a cut edge has none.

    >>> a = Value(3.0); numbers(a * 2.0)
    {'data': [3.0, 2.0, 6.0], 'grads': [2.0, 3.0, 1.0], 'partials': [2.0, 3.0], 'marks': {}}
    """
    picture = read(root, "node", max_nodes=MOST_STEPPED, name="stepper")
    adjoint = sweep({root: 1.0})
    values = {node.id: node.value for node in picture.nodes}
    return {
        "data": [v.item() for v in values.values()],
        "grads": [adjoint.get(v, 0.0) for v in values.values()],
        "partials": [
            None
            if edge.partial is None or (values[edge.target].op.selects and not edge.partial)
            else edge.partial
            for edge in picture.edges
        ],
        "marks": {i: mark for i, node in enumerate(picture.nodes) if (mark := _mark(node, picture))},
    }


def _mark(node: Node, picture: Picture) -> str:
    """What is said below a node: of a leaf, that its `.grad` is not the gradient that the page steps to."""
    if node.value not in picture.other:
        return node.mark
    return f"grad {shown(node.grad)}: {node.mark}" if picture.nodes[-1].grad is not None else ""


def _readable(root: Value) -> Picture:
    if isinstance(root, Value):
        newest_first([root])  # raises StaleGraphError
        total = count(root)
        if total > MOST_STEPPED:
            raise DrawError(
                f"stepper: the graph has {total:,} nodes, and {MOST_STEPPED:,} are the most to step through: "
                "take the loss of one sample or a smaller network; tg.draw(loss, detail='layer') shows all"
            )
    return read(root, "node", max_nodes=MOST_STEPPED, name="stepper")


def _names(values: Sequence[Value], root: Value) -> dict[Value, Name]:
    """What each is called, as everywhere; constants are c₁, c₂, ..., since their numbers can change."""
    given = names(values, root)
    constants = [v for v in values if given[v].number]
    return given | {v: numbered("c", 0, (i,)) for i, v in enumerate(constants, 1)}


# --- formulas -----------------------------------------------------------------------------------------------


class _Forms:
    """Formulas with places for operands, each kept once: [0, " + ", 1], in text and in LaTeX."""

    def __init__(self) -> None:
        self.forms: list[tuple[Form, Form]] = []
        self.known: dict[str, int] = {}

    def of(self, v: Value) -> int:
        """The form of the operation that made v."""
        loose, tight = ([_place(i, bound) for i in range(len(v.inputs))] for bound in (ADDED, ATOM))
        return self.number(formula(v.op, loose), formula(v.op, tight))

    def of_partials(self, v: Value) -> list[int]:
        """The forms of the local partials of v, whose place is after its operands; -1: there is no form."""
        n = len(v.inputs)
        slopes = [
            partials(v.op, _place(n, bound), [_place(i, bound) for i in range(n)]) for bound in (ADDED, ATOM)
        ]
        if slopes[0] is None or slopes[1] is None:
            return [-1] * n
        return [self.number(loose, tight) for loose, tight in zip(*slopes)]

    def number(self, loose: Symbol, tight: Symbol) -> int:
        pair = _form(*[x.text.replace("-", "−") for x in (loose, tight)]), _form(loose.tex, tight.tex)
        key = repr(pair)
        if key not in self.known:
            self.known[key] = len(self.forms)
            self.forms.append(pair)
        return self.known[key]


class _Rules:
    """What the page computes with, each kept once; an operation that it cannot compute has none."""

    def __init__(self) -> None:
        self.rules: list[Json] = []
        self.known: dict[tuple[Op, int], int | None] = {}

    def of(self, v: Value) -> Json:
        key = v.op, len(v.inputs)
        if key not in self.known:
            rule = page_rule(*key)
            self.known[key] = None if rule is None else len(self.rules)
            self.rules += [] if rule is None else [rule]
        smooth = not v.op.selects and not v.op.singular and v.op.name in TABLE
        which = self.known[key]
        return {} if which is None else {"rule": which, **({"smooth": True} if smooth else {})}


def _place(i: int, bound: int) -> Symbol:
    """An operand to be filled in: a letter of the private use area, which no formula has of itself."""
    mark = chr(0xE000 + i) if i < 6400 else chr(0xF0000 + i - 6400)
    return Symbol(mark, mark, bound)


PLACE = re.compile("([\ue000-\uf8ff\U000f0000-\U000ffffd])")


def _form(loose: str, tight: str) -> Form:
    """Both wrote the same; where the loosely bound operand got brackets, the page has to add them."""
    form: Form = []
    end = 0
    for here, there in zip(PLACE.finditer(tight), PLACE.finditer(loose)):
        mark = here[0]
        i = ord(mark) - (0xE000 if mark < "\U000f0000" else 0xF0000 - 6400)
        wrapped = _around(loose, there) == f"({mark})" != _around(tight, here)
        form += [tight[end : here.start()], -1 - i if wrapped else i]
        end = here.end()
    return [part for part in (*form, tight[end:]) if part != ""]


def _around(text: str, found: "re.Match[str]") -> str:
    return text[max(found.start() - 1, 0) : found.end() + 1]


# --- places -------------------------------------------------------------------------------------------------


def _box_size(node: Json) -> tuple[float, float]:
    letters = min(len(node["name"]), LONGEST_IN_BOX) + len(node["op"])
    return max(NARROWEST, 8.0 * letters + 34.0), HEIGHT


def _placed(
    root: Value, closed: bool, nodes: list[Json], edges: list[Json], index: dict[Value, int]
) -> tuple[list[Json], Json]:
    """Put x, y, w, h into the nodes and routes into the edges; the groups, and the size of the whole."""
    groups = _grouped(root, nodes, index) if closed else []
    for g, group in enumerate(groups):
        inner = [edge for edge in edges if nodes[edge["src"]]["group"] == nodes[edge["dst"]]["group"] == g]
        w, h = _arranged([nodes[i] for i in group.pop("members")], inner, FRAME, HEAD, lambda i: nodes[i])
        group["inside"] = {"w": w, "h": h}
    open_nodes = [node for node in nodes if node["group"] < 0]

    def thing(i: int) -> Json:
        return nodes[i] if nodes[i]["group"] < 0 else groups[nodes[i]["group"]]

    outer = [edge for edge in edges if "route" not in edge]
    w, h = _arranged(open_nodes + groups, outer, 0.0, 0.0, thing)
    return groups, {"w": w, "h": h}


def _arranged(
    things: list[Json], edges: list[Json], beside: float, above: float, thing: Any
) -> tuple[float, float]:
    """Lay these things out, and the edges between them; the size of it, with room around."""
    place = {id(one): i for i, one in enumerate(things)}
    sizes = [_box_size(one) for one in things]
    layout = arrange(
        [(w + 2 * BESIDE, h + 2 * BELOW) for w, h in sizes],
        [(place[id(thing(edge["src"]))], place[id(thing(edge["dst"]))]) for edge in edges],
    )
    x0, y0 = beside - BESIDE, above - BELOW
    for one, (x, y), (w, h) in zip(things, layout.centres, sizes):
        one |= {"x": round(x + x0), "y": round(y + y0), "w": round(w), "h": round(h)}
    for edge, route in zip(edges, layout.routes):
        (first, y1), *between, (last, y2) = route
        route = [(first - BESIDE, y1), *between, (last + BESIDE, y2)]
        edge["route"] = [(round(x + x0), round(y + y0)) for x, y in route]
    return round(layout.width + 2 * x0), round(layout.height + y0 + beside - BELOW)


def _grouped(root: Value, nodes: list[Json], index: dict[Value, int]) -> list[Json]:
    """A group for each neuron at work: its operations, and those parameters that nothing else uses."""
    picture = read(root, "neuron", max_nodes=MOST_STEPPED, name="stepper")
    if len(picture.nodes) > MOST_BOXES:
        raise DrawError(
            f"stepper: the graph has {len(picture.nodes):,} nodes that belong to no neuron, or neurons, and "
            f"{MOST_BOXES:,} can be shown: take the loss of one sample, or a smaller network"
        )
    inner = [v for v in index if v.op]
    places = neuron_places(parameter_paths({*index}))
    home = {v: box for box in boxes(applications(inner, places), "neuron", inner) for v in box.members}
    shown = {node.value for node in picture.nodes}
    found = [node for node in picture.nodes if node.kind == "box"]  # not a neuron that would reach itself
    members: list[list[int]] = []
    for g, node in enumerate(found):
        own = home[node.value].members
        inside = [x for v in own for x in v.inputs if not x.op and x not in shown]
        members.append([])
        for i in (index[x] for x in (*inside, *own)):
            if nodes[i]["group"] < 0:
                nodes[i]["group"] = g
                members[g].append(i)
    return [
        {"name": box.name, "op": box.sign, "result": index[box.value], "members": member}
        for box, member in zip(found, members)
    ]
