"""What a picture of a graph is made of: nodes and edges as inert records, and how their numbers are written.

Drawing, explaining and stepping share these, so that all of them say the same of a node: its gradient is
missing (and shown –) until a backward pass sets it, a unit is dead or saturated by its own local partial.
nodes.py reads them off a graph.
"""

from dataclasses import dataclass
from typing import NamedTuple
from unicodedata import category, combining, east_asian_width

from tinygrad_bp.engine import Value
from tinygrad_bp.floats import NO_GRAD
from tinygrad_bp.ops import TABLE
from tinygrad_bp.show.boxes import Place

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
