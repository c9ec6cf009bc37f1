"""What the nodes of a graph are called in derivations, in plain text and in LaTeX.

Explaining and stepping speak of nodes by these names, so that one page reads like the other.
"""

import re
from collections.abc import Iterable

from tinygrad_bp.engine import Value
from tinygrad_bp.show.records import clipped, shown, visible

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
