"""A picture of a graph in DOT, the language of Graphviz.

Strings are always quoted, so that none is an HTML label, and no shape is a record.  A backslash, a quote and
an ampersand are escaped, so that \\N, &lt; and the like are text.  Ids are n0, n1, ...
"""

from tinygrad_bp.show.cards import INK, Arrow, Card, cards, notices
from tinygrad_bp.show.records import Picture

FONT = "Helvetica,Arial,sans-serif"
LETTERS = f'fontname="{FONT}" fontsize=10'


def quoted(*lines: str) -> str:
    r"""Lines of text as one string of DOT.

    >>> print(quoted('say "hi" \\N', "a & b"))
    "say \"hi\" \\N\na &amp; b"
    """
    escapes = (("\\", "\\\\"), ('"', '\\"'), ("&", "&amp;"))
    text = "\n".join(lines)
    for sign, escape in escapes:
        text = text.replace(sign, escape)
    return '"' + text.replace("\n", "\\n") + '"'


def tooltip(text: str) -> str:
    """Text under the pointer: Graphviz reads escapes twice in it, so two signs get their wide twins."""
    return quoted(*text.replace("\\", "＼").replace("&", "＆").splitlines())


def dot_text(picture: Picture, rankdir: str = "LR") -> str:
    """The picture as a whole DOT document."""
    drawn, arrows = cards(picture)
    dense = len(arrows) / len(drawn)
    lines = [
        "digraph {",
        f"  rankdir={rankdir} bgcolor=transparent nodesep=0.16 ranksep={max(0.45, 0.18 * dense):.2f}",
        f'  {LETTERS} fontcolor="#8a6a12" labelloc=t label={quoted(*notices(picture))}',
        f'  node [shape=box {LETTERS} fontcolor="{INK}" height=0.2 width=0.3 margin="0.09,0.05"]',
        f"  edge [arrowsize={0.6 if dense < 4 else 0.35}]",
        *map(_node, drawn),
        *map(_edge, arrows),
        "}",
    ]
    return "\n".join(lines) + "\n"


def _node(card: Card) -> str:
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


def _edge(arrow: Arrow) -> str:
    style = " style=dashed" if arrow.dashed else ""
    return (
        f"  {arrow.source} -> {arrow.target} "
        f'[color="{arrow.color}" penwidth={arrow.width:g} tooltip={tooltip(arrow.tip)}{style}]'
    )
