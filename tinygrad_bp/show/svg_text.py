"""A picture of a graph as SVG, with nothing installed: cards at the places that layout.py finds.

It is well-formed and inert whatever labels say: user text is only ever the escaped content of <text> and
<title> elements, and there is no script, link or style sheet.  Cards are opaque and lines of middling
brightness, so that a drawing reads on white and on black.
"""

from collections import Counter
from html import escape

from tinygrad_bp.show.cards import FAINT_INK, INK, Arrow, Card, cards, in_order, notices, size_of
from tinygrad_bp.show.layout import Point, Route, arrange, path
from tinygrad_bp.show.records import Picture, cells

CELL, LINE, PAD, MARGIN = 6.65, 14.0, 8.0, 12.0  # of a letter of 11 px, a line, a card, the picture
FONT = "ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace"
HEAD = 6.0  # length of an arrow's head
BOLD, BIG, END = ' font-weight="bold"', ' font-weight="bold" font-size="14"', ' text-anchor="end"'
NOTICE = 22.0  # height of a line above the drawing


def svg(picture: Picture, rankdir: str = "LR") -> str:
    """The picture as a whole SVG document."""
    drawn, arrows = cards(picture)
    sizes = [size_of(card, CELL, LINE, PAD) for card in drawn]
    place = {card.id: i for i, card in enumerate(drawn)}
    layout = arrange(sizes, [(place[a.source], place[a.target]) for a in arrows], rankdir)
    said = notices(picture)
    top = MARGIN + NOTICE * len(said)
    width = max([layout.width, *(CELL * cells(line) + 2 * PAD for line in said)]) + 2 * MARGIN
    height = layout.height + top + MARGIN
    routes = dict(zip(map(id, arrows), layout.routes))
    arriving = Counter(arrow.target for arrow in arrows)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" role="img" font-family="{FONT}" font-size="11">',
        f"<title>{len(drawn)} nodes, {len(arrows)} edges</title>",
        *[_notice(line, MARGIN, MARGIN + NOTICE * i) for i, line in enumerate(said)],
        f'<g transform="translate({MARGIN:g},{top:g})">',
        *[_arrow(arrow, routes[id(arrow)], arriving[arrow.target]) for arrow in in_order(arrows)],
        *[_card(card, size, centre) for card, size, centre in zip(drawn, sizes, layout.centres)],
        "</g></svg>",
    ]
    return "\n".join(parts) + "\n"


def _notice(line: str, x: float, y: float) -> str:
    width = CELL * cells(line) + PAD
    return (
        f'<g class="notice"><rect x="{x:g}" y="{y:g}" width="{width:.1f}" height="17" rx="4" fill="#fff4d6"/>'
        f"{_text(x + PAD / 2, y + 12, line, '#5c4300')}</g>"
    )


def _arrow(arrow: Arrow, route: Route, among: int) -> str:
    """The line, and a head that points where the line arrives; smaller where many arrive."""
    (x0, y0), (x, y) = route[-2], route[-1]
    along, across = (x > x0) - (x < x0), (y > y0) - (y < y0)
    along, across = (along, 0) if abs(x - x0) >= abs(y - y0) else (0, across)
    length = (HEAD + arrow.width) * min(1.0, 5.0 / among)
    half = 0.42 * length
    foot = (x - along * length, y - across * length)
    sides = [(foot[0] + across * half * k, foot[1] + along * half * k) for k in (1, -1)]
    line = [*route[:-1], (x - along * length * 0.8, y - across * length * 0.8)]
    dash = ' stroke-dasharray="3 3"' if arrow.dashed else ""
    return (
        f'<g class="edge"><title>{escape(arrow.tip, quote=False)}</title>'
        f'<path d="{path(line)}" fill="none" stroke="{arrow.color}" stroke-width="{arrow.width:g}"{dash}/>'
        f'<path d="{_polygon([(x, y), *sides])}" fill="{arrow.color}"/></g>'
    )


def _polygon(points: list[Point]) -> str:
    return "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in points) + "Z"


def _card(card: Card, size: Point, centre: Point) -> str:
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
        parts.append(_head(card, at))
        at += LINE
    for name, text in card.rows:
        parts.append(_text(PAD, at, name, FAINT_INK) + _text(width - PAD, at, text, INK, END))
        at += LINE
    if card.mark:
        parts.append(_text(PAD, at, card.mark, "#8a1c33"))
    return "".join(parts) + "</g>"


def _head(card: Card, y: float) -> str:
    """The sign, and behind it the label; a label alone is bold."""
    text = _text(PAD, y, card.sign, INK, BIG if len(card.sign) == 1 else BOLD) if card.sign else ""
    start = PAD + CELL * (cells(card.sign) + 1 if card.sign else 0)
    return text + (_text(start, y, card.title, INK, "" if card.sign else BOLD) if card.title else "")


def _text(x: float, y: float, text: str, fill: str, more: str = "") -> str:
    inside = escape(text, quote=False)
    return f'<text x="{x:.1f}" y="{y:g}" fill="{fill}"{more} xml:space="preserve">{inside}</text>'
