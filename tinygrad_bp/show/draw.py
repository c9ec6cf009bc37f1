r"""draw: a picture of the graph behind a Value, for a notebook cell or a file.

A `Drawing` has DOT text, and an SVG by Graphviz where its program `dot` and the package `graphviz` (the extra
of that name) are installed, else by the layout in layout.py, which needs nothing.  User text stays text: it
passes `visible` and `clipped`, and then the escapes of the language it is written in.  Strings of DOT are
always quoted, so none is an HTML label, and \\N or &lt; are letters.
"""

import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from math import isfinite, sqrt
from pathlib import Path
from typing import Any

from tinygrad_bp.engine import Value
from tinygrad_bp.errors import DrawError
from tinygrad_bp.files import file_path, write_whole
from tinygrad_bp.show.graph import (
    LARGEST,
    Edge,
    Node,
    Picture,
    cells,
    clipped,
    not_a_value,
    read,
    shown,
    visible,
)
from tinygrad_bp.show.layout import DIRECTIONS, Point, Route, arrange, path

ENGINES = ("dot", "builtin")
FORMATS = ("svg", "dot", "png", "pdf")
LARGEST_SIZE = 20_000  # pixels of a picture's width, and dots per inch
PATIENCE = 20.0  # seconds that dot may take
INSTALL = (
    "install Graphviz (apt install graphviz, brew install graphviz, or https://graphviz.org/download), "
    "then pip install 'tinygrad_bp[graphviz]'"
)


class Drawing:
    """A drawn graph: `.source` is its DOT text, `.svg` its SVG; a notebook shows it by itself.

    >>> a = Value(2.0, label="a"); drawing = draw(a * a, engine="builtin")
    >>> drawing, drawing.svg.startswith("<svg"), drawing.source.count("->")
    (<Drawing of 2 nodes>, True, 2)
    """

    def __init__(
        self, picture: Picture, rankdir: str, engine: str | None, format: str = "svg", caption: str = ""
    ) -> None:
        self.source = dot_text(picture, rankdir, caption)
        self.engine = _engine(engine)
        self._insist = engine is not None
        self._picture, self._rankdir, self._format, self._caption = picture, rankdir, format, caption

    @cached_property
    def svg(self) -> str:
        """The drawing as SVG text.

        Where `dot` fails, or takes more than 20 seconds, the built-in layout draws; if it was asked for by
        engine="dot", that is a DrawError.
        """
        if self.engine == "dot":
            try:
                return self._svg_by_dot()
            except DrawError:
                if self._insist:
                    raise
                self.engine = "builtin"
        return svg(self._picture, self._rankdir, self._caption)

    def _svg_by_dot(self) -> str:
        head, tag, rest = _run_dot(self.source, "svg").decode("utf-8", "replace").partition("<svg")
        if not tag:
            raise DrawError(f"dot answered something else than SVG: {head!r:.80}. {OTHERWISE.capitalize()}")
        return tag + rest

    def save(
        self, path: str | os.PathLike[str], *, width: float | None = None, dpi: float | None = None
    ) -> Path:
        """Write a file of the format that the name ends in, svg, dot, png or pdf, and return its path.

        A file that is there is replaced at once, or left as it is. png and pdf take the program `dot`.
        `width` is the width of an svg in pixels, for a slide; `dpi` the pixels per inch of a png, 96 if it is
        not given. Raises ValueError for another format or size, DrawError if the file cannot be made.
        """
        path = file_path(path, DrawError)
        if not path.suffix:
            path = path.with_name(f"{path.name}.{self._format}")
        form = known_format(path.suffix[1:].lower())
        if form == "dot":
            content = self.source.encode("utf-8")
        elif form == "svg":
            content = _resized(self.svg, _size("width", width)).encode("utf-8")
        else:
            content = _run_dot(self.source, form, *([f"-Gdpi={_size('dpi', dpi):g}"] if dpi else []))
        return write_whole(path, content, DrawError)

    render = save  # as graphviz names it: draw_dot(y).render("gout")

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"image/svg+xml": self.svg, "text/plain": repr(self)}

    def __repr__(self) -> str:
        n = len(self._picture.nodes)
        return f"<Drawing of {n} node{'s' * (n != 1)}>"


def draw(
    root: Value,
    *,
    detail: str | None = None,
    depth: int | None = None,
    max_nodes: int = LARGEST,
    rankdir: str = "LR",
    engine: str | None = None,
    weights: bool = False,
    caption: str = "",
) -> Drawing:
    """The graph that ends in root, as a Drawing.

    `detail` is "scalar" (a dot is opened into × and +), "node" (as recorded), "neuron" or "layer" (a box for
    each); above 150 nodes it is "neuron" by default. `depth` shows what is at most so many operations away.
    `rankdir` is "LR", "RL", "TB" or "BT". `engine` is "dot" (Graphviz), "builtin", or None for the first that
    is there. `weights=True` writes the weights on the edges into neurons, `caption` a line above the drawing.
    Colours follow the gradient: blue above 0, orange below, the stronger the larger. Raises DrawError for a
    graph above `max_nodes`, and for "dot" where it is not installed.

    >>> a, b = Value(2.0, label="a"), Value(-3.0, label="b")
    >>> draw(a * b + a)  # in a notebook, the picture; in a file by draw(...).save("graph.svg")
    <Drawing of 4 nodes>
    """
    picture = read(root, detail, depth, max_nodes, weights=weights)
    return Drawing(picture, _known("rankdir", rankdir, DIRECTIONS), engine, caption=caption)


def draw_dot(
    root: Value,
    format: str = "svg",
    rankdir: str = "LR",
    *,
    detail: str | None = "node",
    depth: int | None = None,
    max_nodes: int = LARGEST,
) -> Drawing:
    """The graph as micrograd's notebook draws it: every node; `format` is for files saved without a suffix.

    >>> draw_dot(Value(2.0).relu())
    <Drawing of 2 nodes>
    """
    picture = read(root, detail, depth, max_nodes, name="draw_dot")
    return Drawing(picture, _known("rankdir", rankdir, DIRECTIONS), None, known_format(format))


def to_dot(
    root: Value,
    *,
    detail: str | None = None,
    depth: int | None = None,
    max_nodes: int = LARGEST,
    rankdir: str = "LR",
) -> str:
    """The graph that ends in root in DOT, the language of Graphviz; arguments and errors are those of `draw`.

    >>> print(to_dot(Value(2.0, label="a").relu()).splitlines()[0])
    digraph {
    """
    picture = read(root, detail, depth, max_nodes, name="to_dot")
    return dot_text(picture, _known("rankdir", rankdir, DIRECTIONS))


def trace(root: Value) -> tuple[set[Value], set[tuple[Value, Value]]]:
    """All nodes that root depends on, and all pairs (operand, result): what micrograd's drawing starts from.

    >>> a = Value(2.0); nodes, edges = trace(a * a); len(nodes), len(edges)
    (2, 1)
    """
    if not isinstance(root, Value):
        raise TypeError(f"trace takes the Value a graph ends in, not {not_a_value(root)}")
    nodes, edges, todo = {root}, set(), [root]
    while todo:
        v = todo.pop()
        for x in v.inputs:
            edges.add((x, v))
            if x not in nodes:
                nodes.add(x)
                todo.append(x)
    return nodes, edges


# --- what is asked for --------------------------------------------------------------------------------------


def _known(what: str, asked: str, known: tuple[str, ...]) -> str:
    if asked not in known:
        raise ValueError(f"draw: unknown {what} {asked!r}; there are {', '.join(map(repr, known))}")
    return asked


def _size(what: str, asked: float | None) -> float | None:
    if asked is not None and not (isinstance(asked, (int, float)) and 1 <= asked <= LARGEST_SIZE):
        raise ValueError(f"draw: {what} is a number from 1 to {LARGEST_SIZE:,}, not {asked!r}")
    return asked


def _resized(svg: str, width: float | None) -> str:
    """The same SVG at another width; its height follows."""
    found = re.match(r'<svg[^>]*? width="([\d.]+)(pt)?" height="([\d.]+)(pt)?"', svg)
    if width is None or not found:
        return svg
    height = float(found[3]) * width / float(found[1])
    size = f'<svg width="{width:g}" height="{height:.0f}"'
    head = re.sub(r' width="[^"]*"| height="[^"]*"', "", svg[: found.end()], count=2)
    return f"{size}{head.removeprefix('<svg')}{svg[found.end() :]}"


def known_format(form: str) -> str:
    if form not in FORMATS:
        raise ValueError(f"a drawing is saved as {', '.join(FORMATS)}, not as {form!r}")
    return form


def _engine(asked: str | None) -> str:
    if asked is None:
        return "dot" if dot_program() else "builtin"
    if _known("engine", asked, ENGINES) == "dot":
        find_dot("engine='dot'")
    return asked


# --- Graphviz -----------------------------------------------------------------------------------------------


def dot_program() -> str | None:
    """Where the program `dot` is, if it and the package graphviz are installed."""
    try:
        import graphviz
    except ImportError:
        return None
    return shutil.which(str(graphviz.backend.DOT_BINARY))


def find_dot(purpose: str) -> str:
    program = dot_program()
    if program is None:
        raise DrawError(f"{purpose} needs the program dot and the package graphviz, not found: {INSTALL}")
    return program


def _run_dot(source: str, form: str, *options: str) -> bytes:
    """What dot makes of the source; the package graphviz would wait for it forever."""
    command = [find_dot(f"a {form}"), f"-T{form}", *options]
    try:
        run = subprocess.run(command, input=source.encode("utf-8"), capture_output=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        raise DrawError(f"dot gave no drawing within {PATIENCE:g} s: {OTHERWISE}") from None
    except OSError as error:
        raise DrawError(f"dot could not be started ({error}): {OTHERWISE}") from error
    if run.returncode or not run.stdout:
        said = run.stderr.decode("utf-8", "replace").strip() or "nothing"
        raise DrawError(
            f"dot failed with status {run.returncode} and said: {said:.300}. {OTHERWISE.capitalize()}"
        )
    return run.stdout


OTHERWISE = "draw less (depth=, detail='layer'), or draw with engine='builtin', which needs no program"


# --- what stands on a node, and how strong it looks ---------------------------------------------------------

INK, FAINT_INK = "#1f2933", "#64717f"
NEUTRAL = (0x7F, 0x8C, 0x99)  # this and the next two are legible on white and on black
SIGNED = {1: (0x2B, 0x7B, 0xC9), -1: (0xD0, 0x5A, 0x1E)}  # + is blue and − is orange, in every picture
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
    word: str = ""  # a weight


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


def color(g: float | None, t: float) -> str:
    """From grey to blue for a gradient above 0 and to orange for one below, as strong as t.

    >>> color(3.0, 0.0), color(3.0, 1.0), color(-3.0, 1.0)
    ('#7f8c99', '#2b7bc9', '#d05a1e')
    """
    full = SIGNED[-1 if g is not None and g < 0.0 else 1]
    return "#" + "".join(f"{round(a + sqrt(t) * (b - a)):02x}" for a, b in zip(NEUTRAL, full))


def cards(picture: Picture) -> tuple[list[Card], list[Arrow]]:
    """Everything that is drawn, in the order of the picture."""
    strengths = [node.grad if node.norm is None else node.norm for node in picture.nodes]
    gradients = [abs(g) for g in strengths if g is not None and isfinite(g)]
    top = max(gradients, default=0.0)
    stale = {id(v) for v in picture.stale}
    nodes = {node.id: node for node in picture.nodes}
    arrows = [_arrow_of(edge, nodes[edge.source], nodes[edge.target], top) for edge in picture.edges]
    return [_card_of(node, top, id(node.value) in stale) for node in picture.nodes], arrows


def _card_of(node: Node, top: float, changed: bool) -> Card:
    t = strength(node.grad if node.norm is None else node.norm, top)
    single = node.kind != "box" or node.data is not None
    several = (("nodes", str(node.size)), ("|grad|", number(node.norm)))
    rows = (("data", number(node.data)), ("grad", number(node.grad))) if single else several
    mark = "changed" if changed else node.mark
    kind = "parameter" if node.kind == "leaf" and node.group else node.kind
    dead = node.mark.startswith("dead") and " in " not in node.mark
    return Card(
        id=node.id,
        kind=node.kind,
        sign=("… " if node.cut else "") + visible(node.sign),
        title=clipped(node.name),
        rows=rows,
        mark=mark,
        tip=_tip(node, changed),
        fill=STALE_FILL if changed else DEAD_FILL if dead else FILLS[kind],
        color=color(node.grad, t),
        width=round(1.0 + 2.2 * t, 2),
        dashed=changed or dead,
    )


def _tip(node: Node, changed: bool) -> str:
    """All that is known of a node, its label in full."""
    what = f"{node.id} {node.kind}" + (f" {visible(node.sign)}" if node.sign else "")
    facts = [what + (f" of {node.size} nodes" if node.size > 1 else "")]
    facts += [clipped(visible(node.label), LONGEST_TIP)] if node.label else []
    facts += [visible(node.name)] if node.name not in ("", node.label) else []
    facts += [f"|grad| {node.norm!r}, of all its results"] if node.norm is not None else []
    facts += [f"data {node.data!r}"] if node.data is not None else []
    facts += [f"grad {'–' if node.grad is None else repr(node.grad)}"] if node.data is not None else []
    facts += [visible(node.mark)] if node.mark else []
    facts += ["set after the graph was built"] if changed else []
    return "\n".join(facts)


def _arrow_of(edge: Edge, source: Node, target: Node, top: float) -> Arrow:
    known = edge.partial is not None and target.grad is not None
    share = edge.partial * target.grad if known else edge.flow  # type: ignore[operator]
    t = strength(share, top)
    tip = f"{source.id} → {target.id}, operand {edge.slot + 1}"
    if edge.partial is not None:
        tip += f"\nlocal partial {shown(edge.partial)}"
    if known:
        tip += f"\n{shown(target.grad)} × {shown(edge.partial)} = {shown(share)}"
    width, word = round(1.0 + 2.4 * t, 2), "" if edge.weight is None else number(edge.weight)
    return Arrow(edge.source, edge.target, tip, color(share, t), width, edge.partial == 0.0, word)


def notices(picture: Picture, caption: str = "") -> list[str]:
    """What stands above a drawing: a caption, and that it is stale or has gradients of several passes."""
    lines = [clipped(visible(caption), LONGEST_TIP)] if caption else []
    if picture.stale:
        changed = _listed([f"{_named(v)} (now {number(v._data)})" for v in picture.stale])
        lines.append(f"stale: {changed} changed after this graph was built; call your function again")
    if picture.other:
        holders = _listed([_named(v) for v in picture.other])
        lines.append(f"gradients of another pass are in {holders}: zero_grad() before backward() clears them")
    return lines


def _named(v: Value) -> str:
    return clipped(visible(v.label)) or "a leaf"


def _listed(names: Sequence[str]) -> str:
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


# --- as DOT -------------------------------------------------------------------------------------------------

SANS_SERIF = "Helvetica,Arial,sans-serif"
LETTERS = f'fontname="{SANS_SERIF}" fontsize=10'


def quoted(*lines: str) -> str:
    r"""Lines of text as one string of DOT.

    >>> print(quoted('say "hi" \\N', "a & b"))
    "say \"hi\" \\N\na &amp; b"
    """
    text = "\n".join(lines)
    for sign, escaped in (("\\", "\\\\"), ('"', '\\"'), ("&", "&amp;")):
        text = text.replace(sign, escaped)
    return '"' + text.replace("\n", "\\n") + '"'


def tooltip(text: str) -> str:
    """Text under the pointer: Graphviz reads escapes twice in it, so two signs get their wide twins."""
    return quoted(*text.replace("\\", "＼").replace("&", "＆").splitlines())


def dot_text(picture: Picture, rankdir: str = "LR", caption: str = "") -> str:
    """The picture as a whole DOT document."""
    drawn, arrows = cards(picture)
    dense = len(arrows) / len(drawn)
    lines = [
        "digraph {",
        f"  rankdir={rankdir} bgcolor=transparent nodesep=0.16 ranksep={max(0.45, 0.18 * dense):.2f}",
        f'  {LETTERS} fontcolor="#8a6a12" labelloc=t label={quoted(*notices(picture, caption))}',
        f'  node [shape=box {LETTERS} fontcolor="{INK}" height=0.2 width=0.3 margin="0.09,0.05"]',
        f"  edge [arrowsize={0.6 if dense < 4 else 0.35}]",
        *map(_dot_node, drawn),
        *map(_dot_edge, arrows),
        "}",
    ]
    return "\n".join(lines) + "\n"


def _dot_node(card: Card) -> str:
    head = card.sign + "  " * bool(card.sign and card.title) + card.title
    lines = [head] if head else []
    lines += [f"{name} {text}" for name, text in card.rows]
    lines += [card.mark] if card.mark else []
    style = "filled,rounded" + ",dashed" * card.dashed
    sheets = " peripheries=2" if card.kind == "box" else ""
    return (
        f'  {card.id} [label={quoted(*lines)} tooltip={tooltip(card.tip)} style="{style}" '
        f'fillcolor="{card.fill}" color="{card.color}" penwidth={card.width:g}{sheets}]'
    )


def _dot_edge(arrow: Arrow) -> str:
    style = " style=dashed" if arrow.dashed else ""
    style += f" label={quoted(arrow.word)}" if arrow.word else ""
    return (
        f"  {arrow.source} -> {arrow.target} "
        f'[color="{arrow.color}" penwidth={arrow.width:g} tooltip={tooltip(arrow.tip)}{style}]'
    )


# --- as SVG -------------------------------------------------------------------------------------------------

CELL, LINE, PAD, MARGIN = 6.65, 14.0, 8.0, 12.0  # of a letter of 11 px, a line, a card, the picture
MONOSPACE = "ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace"
ARROW_HEAD = 6.0  # length of an arrow's head
SMALL = ' text-anchor="end" font-size="9" paint-order="stroke" stroke="#ffffff" stroke-width="3"'
BOLD, BIG, END = ' font-weight="bold"', ' font-weight="bold" font-size="14"', ' text-anchor="end"'
NOTICE = 22.0  # height of a line above the drawing


def svg(picture: Picture, rankdir: str = "LR", caption: str = "") -> str:
    """The picture as a whole SVG document."""
    drawn, arrows = cards(picture)
    sizes = [size_of(card, CELL, LINE, PAD) for card in drawn]
    place = {card.id: i for i, card in enumerate(drawn)}
    layout = arrange(sizes, [(place[a.source], place[a.target]) for a in arrows], rankdir)
    said = notices(picture, caption)
    top = MARGIN + NOTICE * len(said)
    width = max([layout.width, *(CELL * cells(line) + 2 * PAD for line in said)]) + 2 * MARGIN
    height = layout.height + top + MARGIN
    routes = dict(zip(map(id, arrows), layout.routes))
    arriving = Counter(arrow.target for arrow in arrows)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" role="img" font-family="{MONOSPACE}" font-size="11">',
        f"<title>{len(drawn)} nodes, {len(arrows)} edges</title>",
        *[_svg_notice(line, MARGIN, MARGIN + NOTICE * i) for i, line in enumerate(said)],
        f'<g transform="translate({MARGIN:g},{top:g})">',
        *[_svg_arrow(arrow, routes[id(arrow)], arriving[arrow.target]) for arrow in in_order(arrows)],
        *[_svg_card(card, size, centre) for card, size, centre in zip(drawn, sizes, layout.centres)],
        "</g></svg>",
    ]
    return "\n".join(parts) + "\n"


def _svg_notice(line: str, x: float, y: float) -> str:
    width = CELL * cells(line) + PAD
    return (
        f'<g class="notice"><rect x="{x:g}" y="{y:g}" width="{width:.1f}" height="17" rx="4" fill="#fff4d6"/>'
        f"{_svg_text(x + PAD / 2, y + 12, line, '#5c4300')}</g>"
    )


def _svg_arrow(arrow: Arrow, route: Route, among: int) -> str:
    """The line, and a head that points where the line arrives; smaller where many arrive."""
    (x0, y0), (x, y) = route[-2], route[-1]
    along, across = (x > x0) - (x < x0), (y > y0) - (y < y0)
    along, across = (along, 0) if abs(x - x0) >= abs(y - y0) else (0, across)
    length = (ARROW_HEAD + arrow.width) * min(1.0, 5.0 / among)
    half = 0.42 * length
    foot = (x - along * length, y - across * length)
    sides = [(foot[0] + across * half * k, foot[1] + along * half * k) for k in (1, -1)]
    line = [*route[:-1], (x - along * length * 0.8, y - across * length * 0.8)]
    dash = ' stroke-dasharray="3 3"' if arrow.dashed else ""
    word = _svg_text(x - ARROW_HEAD - 6, y - 3, arrow.word, INK, SMALL) if arrow.word else ""
    return (
        f'<g class="edge"><title>{escape(arrow.tip, quote=False)}</title>'
        f'<path d="{path(line)}" fill="none" stroke="{arrow.color}" stroke-width="{arrow.width:g}"{dash}/>'
        f'<path d="{_polygon([(x, y), *sides])}" fill="{arrow.color}"/>{word}</g>'
    )


def _polygon(points: list[Point]) -> str:
    return "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in points) + "Z"


def _svg_card(card: Card, size: Point, centre: Point) -> str:
    (width, height), (x, y) = size, (centre[0] - size[0] / 2, centre[1] - size[1] / 2)
    round_ = {"leaf": 10, "box": 3}.get(card.kind, 5)
    shape = (
        f'width="{width:.1f}" height="{height:.1f}" rx="{round_}" fill="{card.fill}" stroke="{card.color}"'
    )
    parts = [f'<g class="node" id="{card.id}" transform="translate({x:.1f},{y:.1f})">']
    parts.append(f"<title>{escape(card.tip, quote=False)}</title>")
    if card.kind == "box":
        parts.append(f'<rect x="3" y="3" {shape}/>')  # a second sheet: there is more inside
    dash = ' stroke-dasharray="4 3"' if card.dashed else ""
    parts.append(f'<rect {shape} stroke-width="{card.width:g}"{dash}/>')
    at = PAD / 2 + LINE - 3
    if card.sign or card.title:
        parts.append(_svg_head(card, at))
        at += LINE
    for name, text in card.rows:
        parts.append(_svg_text(PAD, at, name, FAINT_INK) + _svg_text(width - PAD, at, text, INK, END))
        at += LINE
    if card.mark:
        parts.append(_svg_text(PAD, at, card.mark, "#8a1c33"))
    return "".join(parts) + "</g>"


def _svg_head(card: Card, y: float) -> str:
    """The sign, and behind it the label; a label alone is bold."""
    text = _svg_text(PAD, y, card.sign, INK, BIG if len(card.sign) == 1 else BOLD) if card.sign else ""
    start = PAD + CELL * (cells(card.sign) + 1 if card.sign else 0)
    return text + (_svg_text(start, y, card.title, INK, "" if card.sign else BOLD) if card.title else "")


def _svg_text(x: float, y: float, text: str, fill: str, more: str = "") -> str:
    inside = escape(text, quote=False)
    return f'<text x="{x:.1f}" y="{y:g}" fill="{fill}"{more} xml:space="preserve">{inside}</text>'
