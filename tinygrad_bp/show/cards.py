"""What stands on a node and how strong it looks, the same in SVG (svg_text.py) and in DOT (dot_text.py).

A card has a head (the operation and the label), rows of numbers and a mark.  Colour and width follow the
gradient's magnitude beside the largest of the picture; its sign is printed.  User text passes `visible` and
`clipped` here, and then the escapes of the language it is written in.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, sqrt

from tinygrad_bp.engine import Value
from tinygrad_bp.show.records import Edge, Node, Picture, cells, clipped, shown, visible

INK, FAINT_INK = "#1f2933", "#64717f"
RAMP = ((0x7F, 0x8C, 0x99), (0xDD, 0x8A, 0x2B), (0xD1, 0x2F, 0x4B))  # legible on white and on black
FILLS = {
    "leaf": "#ffffff",
    "parameter": "#e9f1fa",
    "operation": "#fdf6e7",
    "part": "#fdf6e7",
    "box": "#eaf5ee",
}
DEAD_FILL, STALE_FILL = "#e3e6ea", "#ffe9b8"
LONGEST_TIP = 400  # cells of a label in a tooltip
MOST_NAMED = 4  # leaves in the line about a stale graph


@dataclass(frozen=True)
class Card:
    """A node as it is drawn."""

    id: str
    kind: str
    sign: str
    title: str
    rows: tuple[tuple[str, str], ...]
    mark: str
    tip: str
    fill: str
    color: str
    width: float
    dashed: bool


@dataclass(frozen=True)
class Arrow:
    """An edge as it is drawn: as strong as what it carries back."""

    source: str
    target: str
    tip: str
    color: str
    width: float
    dashed: bool


# --- text ---------------------------------------------------------------------------------------------------


def number(x: float | None) -> str:
    return shown(x).replace("-", "−")


# --- strength -----------------------------------------------------------------------------------------------


def strength(g: float | None, top: float) -> float:
    """How strong a gradient looks beside the largest of the picture, from 0 to 1; inf and nan are 1."""
    if g is None:
        return 0.0
    if not isfinite(g):
        return 1.0
    return sqrt(min(abs(g) / top, 1.0)) if top else 0.0


def color(t: float) -> str:
    """From grey over amber to red.

    >>> color(0.0), color(1.0)
    ('#7f8c99', '#d12f4b')
    """
    i, t = (0, 2 * t) if t < 0.5 else (1, 2 * t - 1)
    return "#" + "".join(f"{round(a + t * (b - a)):02x}" for a, b in zip(RAMP[i], RAMP[i + 1]))


# --- from records to cards ----------------------------------------------------------------------------------


def cards(picture: Picture) -> tuple[list[Card], list[Arrow]]:
    """Everything that is drawn, in the order of the picture."""
    gradients = [abs(node.grad) for node in picture.nodes if node.grad is not None and isfinite(node.grad)]
    top = max(gradients, default=0.0)
    stale = {id(v) for v in picture.stale}
    nodes = {node.id: node for node in picture.nodes}
    arrows = [_arrow(edge, nodes[edge.source], nodes[edge.target], top) for edge in picture.edges]
    return [_card(node, top, id(node.value) in stale) for node in picture.nodes], arrows


def _card(node: Node, top: float, changed: bool) -> Card:
    t = strength(node.grad, top)
    single = node.kind != "box" or node.data is not None
    rows = (
        (("data", number(node.data)), ("grad", number(node.grad))) if single else (("nodes", str(node.size)),)
    )
    mark = "changed" if changed else node.mark
    kind = "parameter" if node.kind == "leaf" and node.group else node.kind
    dead = node.mark.startswith("dead") and " in " not in node.mark
    return Card(
        id=node.id,
        kind=node.kind,
        sign=("… " if node.cut else "") + visible(node.sign),
        title=clipped(visible(node.label)),
        rows=rows,
        mark=mark,
        tip=_tip(node, changed),
        fill=STALE_FILL if changed else DEAD_FILL if dead else FILLS[kind],
        color=color(t),
        width=round(1.0 + 2.2 * t, 2),
        dashed=changed or dead,
    )


def _tip(node: Node, changed: bool) -> str:
    """All that is known of a node, its label in full."""
    what = f"{node.id} {node.kind}" + (f" {visible(node.sign)}" if node.sign else "")
    facts = [what + (f" of {node.size} nodes" if node.size > 1 else "")]
    facts += [clipped(visible(node.label), LONGEST_TIP)] if node.label else []
    facts += [f"data {node.data!r}"] if node.data is not None else []
    facts += [f"grad {'–' if node.grad is None else repr(node.grad)}"] if node.data is not None else []
    facts += [visible(node.mark)] if node.mark else []
    facts += ["set after the graph was built"] if changed else []
    return "\n".join(facts)


def _arrow(edge: Edge, source: Node, target: Node, top: float) -> Arrow:
    known = edge.partial is not None and target.grad is not None
    share = edge.partial * target.grad if known else None  # type: ignore[operator]
    t = strength(share, top)
    tip = f"{source.id} → {target.id}, operand {edge.slot + 1}"
    if edge.partial is not None:
        tip += f"\nlocal partial {shown(edge.partial)}"
    if share is not None:
        tip += f"\n{shown(target.grad)} × {shown(edge.partial)} = {shown(share)}"
    return Arrow(edge.source, edge.target, tip, color(t), round(1.0 + 2.4 * t, 2), dashed=edge.partial == 0.0)


def notices(picture: Picture) -> list[str]:
    """What has to be said above a drawing: that it is stale, and that it shows less than there is."""
    lines = []
    if picture.stale:
        changed = _some([f"{_named(v)} (now {number(v._data)})" for v in picture.stale])
        lines.append(f"stale: {changed} changed after this graph was built; call your function again")
    if picture.other:
        holders = _some([_named(v) for v in picture.other])
        lines.append(f"gradients of another pass are in {holders}: zero_grad() before backward() clears them")
    hidden = picture.total - len(picture.nodes)
    if picture.detail in ("neuron", "layer") and hidden > 0:
        lines.append(f'{picture.total:,} nodes, one box for each {picture.detail}; detail="node" shows all')
    return lines


def _named(v: Value) -> str:
    return clipped(visible(v.label)) or "a leaf"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED:,} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


def size_of(card: Card, cell: float, line: float, pad: float) -> tuple[float, float]:
    """Width and height of a card in letters of that width and lines of that height."""
    head = card.sign + " " * bool(card.sign and card.title) + card.title
    widest = max(
        [cells(head), cells(card.mark), *(cells(name) + 2 + cells(text) for name, text in card.rows)]
    )
    lines = len(card.rows) + bool(head) + bool(card.mark)
    return widest * cell + 2 * pad, lines * line + pad


def in_order(arrows: Sequence[Arrow]) -> list[Arrow]:
    """The weakest first, so that the strongest lie on top."""
    return sorted(arrows, key=lambda arrow: arrow.width)
