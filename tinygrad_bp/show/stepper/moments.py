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
from tinygrad_bp.ops import TABLE, Op, dot as DOT
from tinygrad_bp.show.graph import (
    OPEN,
    Application,
    Name,
    Picture,
    applications,
    boxes,
    cells,
    clipped,
    count,
    grad_of,
    names,
    neuron_places,
    numbered,
    parameter_paths,
    read,
    visible,
)
from tinygrad_bp.show.layout import arrange
from tinygrad_bp.show.symbols import ADDED, ATOM, Symbol, formula, partials

OPEN_AT_FIRST = 60  # nodes: with more, the page begins with neurons closed
MOST_STEPPED = 5000  # nodes of a graph that a page can hold
MOST_BOXES = 2000  # nodes and closed neurons that it can show
MOST_OF_LABEL = 400  # letters that the page has of a label
HEIGHT, NARROWEST, LONGEST_IN_BOX = 66.0, 92.0, 26  # of a box, in pixels; of a name, in letters
BESIDE, BELOW = 20.0, 8.0  # room on each side of a box, for the tags on its edges, and under it for its mark
FRAME, HEAD = 16.0, 30.0  # around an opened neuron, and above
PORT = 12.0  # the height of a wire that comes into an opened neuron

Json = dict[str, Any]
Form = list[str | int]


def shape(root: Value, open_to: int = OPEN_AT_FIRST) -> Json:
    """All that stays while the graph is run on other numbers; above `open_to` nodes, neurons are closed.

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
        nodes.append({"id": node.id, "name": name, "tex": tex, "op": node.sign, **more})
    edges: list[Json] = []
    for v in values:
        slopes = forms.of_partials(v) if v.op else []
        for slot, (x, form) in enumerate(zip(v.inputs, slopes)):
            edges.append({"src": index[x], "dst": index[v], "slot": slot, "form": form})
    views, first = _views(root, open_to, nodes, edges, index)
    order = sorted((v for v in values if v.op), key=lambda v: v.number)
    return {
        "nodes": nodes, "edges": edges, "views": views, "first": first, "forms": forms.forms,
        "rules": rules.rules, "order": [index[v] for v in order], "root": index[root],
    }  # fmt: skip


def numbers(root: Value) -> Json:
    """Values, gradients and local partials, in the order of `shape`; a cut edge has none.

    Others are leaves whose `.grad` is not the gradient that the page steps to, with what is beyond it.

    >>> a = Value(3.0); numbers(a * 2.0)
    {'data': [3.0, 2.0, 6.0], 'grads': [2.0, 3.0, 1.0], 'partials': [2.0, 3.0], 'others': {}}
    """
    picture = read(root, "node", max_nodes=MOST_STEPPED, name="stepper")
    adjoint = sweep({root: 1.0})
    values = {node.id: node.value for node in picture.nodes}
    others = picture.other if grad_of(root) is not None else {}
    return {
        "data": [v.item() for v in values.values()],
        "grads": [adjoint.get(v, 0.0) for v in values.values()],
        "partials": [
            None
            if edge.partial is None or (values[edge.target].op.selects and not edge.partial)
            else edge.partial
            for edge in picture.edges
        ],
        "others": {i: (v.grad, others[v]) for i, v in enumerate(values.values()) if v in others},
    }


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


def _box_size(thing: Json) -> tuple[float, float]:
    letters = min(cells(thing["name"]), LONGEST_IN_BOX) + len(thing["op"])
    return max(NARROWEST, 8.0 * letters + 34.0), HEIGHT


def _views(
    root: Value, open_to: int, nodes: list[Json], edges: list[Json], index: dict[Value, int]
) -> tuple[list[Json], int]:
    """Where everything is at each level that the graph has, and the level that the page begins with.

    The levels are its numbers, its neurons and its layers. A closed neuron has a place, and its nodes have
    theirs inside of it.
    """
    neurons = _grouped(root, "neuron", index)
    found = [_view("scalars", [], nodes, edges)] if len(nodes) <= OPEN or not neurons else []
    if neurons:
        found.append(_view("neurons", neurons, nodes, edges))
        found.append(_view("layers", _grouped(root, "layer", index), nodes, edges))
    return found, int(len(found) == 3 and len(nodes) > open_to)


def _view(level: str, groups: list[Json], nodes: list[Json], edges: list[Json]) -> Json:
    """The places of nodes, groups and edges; a node in a group has its place in that group, once opened."""
    home = {i: g for g, group in enumerate(groups) for i in group["members"]}
    boxes_shown = len(nodes) - len(home) + len(groups)
    if boxes_shown > MOST_BOXES:
        raise DrawError(
            f"stepper: the graph has {boxes_shown:,} nodes that belong to no neuron, or neurons, and "
            f"{MOST_BOXES:,} can be shown: take the loss of one sample, or a smaller network"
        )
    ends = [(edge["src"], edge["dst"]) for edge in edges]
    routes: list[Json] = [{} for _ in edges]
    placed: list[Json] = [{} for _ in nodes]
    shown = []
    for g, group in enumerate(groups):
        members = group["members"]
        shown.append({key: group[key] for key in group if key != "members"})
        if level == "layers":  # to open one is to go to its neurons
            for i in members:
                placed[i] = {"group": g}
            continue
        place = {i: k for k, i in enumerate(members)}
        within = [e for e, (a, b) in enumerate(ends) if home.get(b) == g]
        inner = [e for e in within if home.get(ends[e][0]) == g]
        ports = [e for e in within if home.get(ends[e][0]) != g]  # where a wire from outside comes in
        sizes = [_box_size(nodes[i]) for i in members]
        links = [(place[ends[e][0]], place[ends[e][1]]) for e in inner]
        links += [(len(members) + k, place[ends[e][1]]) for k, e in enumerate(ports)]
        boxes, ways, size = _arranged(sizes, len(ports), links, FRAME, HEAD)
        for i, box in zip(members, boxes):
            placed[i] = {**box, "group": g}
        for e, way in zip(inner, ways):
            routes[e]["route"] = way
        for e, way in zip(ports, ways[len(inner) :]):
            routes[e]["enter"] = way
        shown[-1]["inside"] = size
    things = [i for i in range(len(nodes)) if i not in home]
    at: dict[int, int] = {i: k for k, i in enumerate(things)}
    at |= {i: len(things) + g for i, g in home.items()}
    outer = [e for e, (a, b) in enumerate(ends) if at[a] != at[b]]
    sizes = [_box_size(thing) for thing in (*[nodes[i] for i in things], *groups)]
    boxes, ways, size = _arranged(sizes, 0, [(at[ends[e][0]], at[ends[e][1]]) for e in outer], 0.0, 0.0)
    for i, box in zip(things, boxes):
        placed[i] = {**box, "group": -1}
    for group, box in zip(shown, boxes[len(things) :]):
        group |= box
    for e, way in zip(outer, ways):
        routes[e]["route"] = way
    return {"level": level, "nodes": placed, "edges": routes, "groups": shown, "size": size}


def _arranged(
    sizes: list[tuple[float, float]], ports: int, links: list[tuple[int, int]], beside: float, above: float
) -> tuple[list[Json], list[Any], Json]:
    """The places of boxes, the ways of the links between them, and the size of it, with room around.

    After the boxes come ports, from which wires lead on; they have only a height.
    """
    room = [(w + 2 * BESIDE, h + 2 * BELOW) for w, h in sizes] + [(1.0, PORT)] * ports
    layout = arrange(room, links)
    x0, y0 = beside - BESIDE, above - BELOW
    boxes = [
        {"x": round(x + x0), "y": round(y + y0), "w": round(w), "h": round(h)}
        for (x, y), (w, h) in zip(layout.centres, sizes)
    ]
    ways = []
    for (a, _), ((first, y1), *between, (last, y2)) in zip(links, layout.routes):
        start = first if a >= len(sizes) else first - BESIDE
        route = [(start, y1), *between, (last + BESIDE, y2)]
        ways.append([(round(x + x0), round(y + y0)) for x, y in route])
    size = {"w": round(layout.width + 2 * x0), "h": round(layout.height + y0 + beside - BELOW)}
    return boxes, ways, size


def _grouped(root: Value, level: str, index: dict[Value, int]) -> list[Json]:
    """A group for each neuron or layer at work: its operations, and parameters that nothing else uses."""
    picture = read(root, level, max_nodes=MOST_STEPPED, name="stepper")
    inner = [v for v in index if v.op]
    found = applications(inner, neuron_places(parameter_paths({*index})))
    home = {v: box for box in boxes(found, level, inner) for v in box.members}
    sums = [pair for app in found if (pair := _sum_and_result(app, index))]
    shown = {node.value for node in picture.nodes}
    taken: set[int] = set()
    groups: list[Json] = []
    for node in picture.nodes:
        if node.kind != "box":  # it stands for itself, or it is a neuron that would reach itself
            continue
        box = home[node.value]
        members = box.members
        leaves = [x for v in members for x in v.inputs if not x.op and x not in shown]
        numbers = [i for i in dict.fromkeys(index[x] for x in (*leaves, *members)) if i not in taken]
        taken |= (inside := {*numbers})
        layer = re.search(r"(?:^|\.)layers\.(\d+)", box.place[0])
        groups.append({
            "name": node.name, "op": node.sign, "result": index[node.value], "members": numbers,
            "layer": int(layer[1]) + 1 if layer else 0,
            "neurons": [pair for pair in sums if inside.issuperset(pair) and not box.title],
        })  # fmt: skip
    return groups


def _sum_and_result(app: Application, index: dict[Value, int]) -> tuple[int, int] | None:
    """The weighted sum of a neuron at work, and what its activation makes of it; None without such a sum."""
    members = sorted(app.members, key=lambda v: v.number)
    if not app.operands() or len(members) != 1 + app.activated or members[0].op is not DOT:
        return None
    return index[members[0]], index[members[-1]]
