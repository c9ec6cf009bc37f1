"""Formulas and derivations, as plain text and as LaTeX.

A Symbol is a piece of a formula in both.  Arithmetic on symbols writes formulas, because the rules of ops.py
are written in the table's own operations: the rule of `tanh` on a symbol is sech²(x).  How an operation is
written stands in its row (`tex`); where parentheses are needed is read off that.  An Explanation is made of
sentences, equations and tables of Symbols.
"""

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise, zip_longest
from math import isfinite, prod
from typing import Any, NamedTuple, NoReturn
from unicodedata import normalize

from tinygrad_bp.ops import (
    OPS,
    Op,
    add as ADD,
    div as DIV,
    dot as DOT,
    mul as MUL,
    neg as NEG,
    pow as POW,
    pow_x as POW_X,
    powc as POWC,
    powc_x as POWC_X,
    sub as SUB,
    sum as SUM,
    where as WHERE,
)
from tinygrad_bp.show.graph import SIX, SUPERSCRIPTS, Name, named, shown

KINDS = ("tex", "text")
LONGEST_SUM = 6  # terms of a sum or a dot that are written; of more, the first ones and the last

# How tightly a formula is bound: what it can stand in without parentheses.
ANY, ADDED, FACTOR, TIGHT, ATOM, CALLED = range(6)
ARITHMETIC = {  # of a row: how tightly the whole is bound, and what its operands need
    ADD: (ADDED, [ADDED, FACTOR]),
    SUB: (ADDED, [ADDED, FACTOR]),
    NEG: (ADDED, [FACTOR]),
    MUL: (FACTOR, [FACTOR, TIGHT]),
}


class Symbol:
    """A piece of a formula, in LaTeX and in text, and how tightly it is bound.

    >>> x = Symbol.named("x"); print((x * x + 1.0) * -2.0)
    (x·x + 1)·(-2)
    """

    __slots__ = ("bound", "number", "tex", "text")

    def __init__(self, tex: str, text: str, bound: int = ATOM, number: float | None = None) -> None:
        self.tex, self.text, self.bound, self.number = tex, text, bound, number

    @classmethod
    def named(cls, name: str | Name) -> "Symbol":
        """The symbol of a node of this name."""
        name = named(name) if isinstance(name, str) else name
        return cls(name.tex, name.text, ADDED if name.loose else TIGHT if "^" in name.tex else ATOM)

    @classmethod
    def shown(cls, x: float) -> "Symbol":
        """A number put in for a symbol: it stays as it is, whatever is done with it."""
        tex, text = digits(x)
        return cls(tex, text, ADDED if text.startswith("-") else TIGHT if "e" in text else ATOM)

    @classmethod
    def constant(cls, x: float) -> "Symbol":
        """A number that stands in a rule: with others, or as 0 or 1, it is simplified away."""
        symbol = cls.shown(x)
        symbol.number = x
        return symbol

    def equals(self, other: "Symbol") -> "Symbol":
        """The equation of both, to stand in a sentence."""
        return Symbol(f"{self.tex} = {other.tex}", f"{self} = {other}", ANY)

    def apply_op(self, op: Op, operands: Sequence[Any]) -> "Symbol":
        """What an operation of the table does when a symbol is among its operands."""
        return formula(op, [x if isinstance(x, Symbol) else Symbol.constant(x) for x in operands])

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"<symbol {self.text}>"

    def refuse(self, other: Any = None) -> NoReturn:
        raise TypeError("a rule may not branch on a symbol: write where(gt(x, 0.0), a, b)")

    __bool__ = __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = refuse
    __hash__ = object.__hash__


def _attach(row: Op) -> None:
    setattr(Symbol, f"__{row.dunder}__", lambda *xs: row(*xs))
    setattr(Symbol, f"__r{row.dunder}__", lambda x, y: row(y, x))


for _row in OPS.values():
    if _row.dunder:
        _attach(_row)


def digits(x: float, many: int = SIX) -> tuple[str, str]:
    """A number in LaTeX and in text."""
    text = shown(x + 0.0, many)
    if not isfinite(x):
        return text.replace("inf", r"\infty").replace("nan", r"\mathrm{nan}"), text
    mantissa, _, power = text.partition("e")
    return f"{mantissa} \\times 10^{{{power}}}" if power else text, text


# --- operations ---------------------------------------------------------------------------------------------


class Template(NamedTuple):
    """How an operation is written: literals around operands, how tightly each of these must be bound."""

    literals: list[str]  # one more than slots
    slots: list[int]
    needs: list[int]
    bound: int


def formula(op: Op, xs: Sequence[Symbol]) -> Symbol:
    """An operation on symbols, written out; sums with 0 and products with 1 or 0 are simplified.

    >>> a, b = Symbol.named("a"), Symbol.named("b"); formula(OPS["div"], [a - b, a]).tex
    '\\\\frac{a - b}{a}'
    """
    plain = _simplified(op, xs)
    if plain is not None:
        return plain
    if op is SUM or op is DOT:
        return _added(op, xs)
    if op.name == POWC_X.name:  # n (n-1) ... x**(n-order), as one writes it
        n, order = op.constant_values
        factor = prod(n - i for i in range(int(order)))
        return formula(MUL, [Symbol.constant(factor), formula(POWC.at(n - order), xs)])
    if op.name == POW_X.name and op.constant_values[0] == 1.0:
        return formula(MUL, [xs[1], formula(POW, [xs[0], formula(SUB, [xs[1], Symbol.constant(1.0)])])])
    operands = [*xs, *map(Symbol.constant, op.constant_values)]
    tex, text = _templates(op.tex or rf"\operatorname{{{{{op.name}}}}}({{xs}})", len(operands))
    if tex.literals == ["", ""]:
        return operands[tex.slots[0]]
    bound, needs = ARITHMETIC.get(op, (tex.bound, None))
    return Symbol(
        _filled(tex, operands, needs or tex.needs, "tex"),
        _filled(text, operands, needs or text.needs, "text"),
        bound,
    )


def partials(op: Op, o: Symbol, xs: Sequence[Symbol]) -> list[Symbol] | None:
    """The partials of an operation by each operand; None where its rule cannot be read on symbols.

    >>> x, o = Symbol.named("x"), Symbol.named("o"); partials(OPS["tanh"], o, [x])
    [<symbol sech²(x)>]
    """
    if op.partials is None:
        return [Symbol.constant(0.0) for _ in xs]
    try:
        ds = op.partials(o, *xs)
    except Exception:  # a user's rule may use what only numbers can do: math.exp(x), or `if x > 0`
        return None
    return [d if isinstance(d, Symbol) else Symbol.constant(d) for d in ds]


def product(factors: Sequence[Symbol], most: int) -> Symbol:
    """The factors side by side, every one of them written; of more than `most`, the first and the last."""
    if not factors:
        return Symbol.constant(1.0)
    if len(factors) == 1:
        return factors[0]
    tex, text = ([wrapped(x, TIGHT, kind) for x in factors] for kind in KINDS)
    return Symbol(
        r" \cdot ".join(abridged(tex, most, r"\cdots")), " · ".join(abridged(text, most, "…")), FACTOR
    )


def total(terms: Sequence[Symbol], most: int = LONGEST_SUM) -> Symbol:
    """The terms with + between them; of many, the first and the last."""
    tex, text = ([wrapped(x, FACTOR if i else ADDED, kind) for i, x in enumerate(terms)] for kind in KINDS)
    tex, text = abridged(tex, most, r"\cdots"), abridged(text, most, "…")
    return Symbol(" + ".join(tex) or "0", " + ".join(text) or "0", ADDED if len(terms) > 1 else FACTOR)


def abridged(xs: Sequence[str], most: int, dots: str) -> list[str]:
    """At most so many of them, with dots for those left out."""
    return [*xs] if len(xs) <= most else [*xs[: most - 2], dots, xs[-1]]


def _simplified(op: Op, xs: Sequence[Symbol]) -> Symbol | None:
    numbers = [x.number for x in xs]
    if all(n is not None for n in numbers) and xs:
        return Symbol.constant(op.value(*numbers))
    if op is ADD and 0.0 in numbers:
        return xs[numbers[0] == 0.0]
    if op is MUL and 0.0 in numbers:
        return Symbol.constant(0.0)
    if op is MUL and 1.0 in numbers:
        return xs[numbers[0] == 1.0]
    if op is MUL and -1.0 in numbers:
        return formula(NEG, [xs[numbers[0] == -1.0]])
    if op in (SUB, DIV) and numbers[1] == (op is DIV):
        return xs[0]
    if op is WHERE and xs[1].text == xs[2].text:
        return xs[1]
    if op.name == POWC.name and op.constant_values[0] in (0.0, 1.0):
        return xs[0] if op.constant_values[0] else Symbol.constant(1.0)
    return None


def _added(op: Op, xs: Sequence[Symbol]) -> Symbol:
    """A sum, or a dot: w·x + ... and then the bias."""
    n = len(xs) // 2
    terms = [*xs] if op is SUM else [formula(MUL, [w, x]) for w, x in zip(xs[:n], xs[n:])]
    terms += xs[2 * n :] if op is DOT else []
    if len(terms) == 1:
        return terms[0]
    return total(terms)


# --- templates ----------------------------------------------------------------------------------------------
# A row's `tex` is literals around operands.  An operand gets parentheses where it is bound more loosely than
# the literals beside it need, as a sum in a product is.

MARK = re.compile("⟦(\\d+)⟧")
WORDS = {
    r"\cdot": "·", r"\sigma": "σ", r"\Phi": "Φ", r"\partial": "∂", r"\lfloor ": "⌊", r" \rfloor": "⌋",
    r"\lceil ": "⌈", r" \rceil": "⌉", r"\geq": "≥", r"\neq": "≠", r"\left": "", r"\right": "", r"\,": "·",
}  # fmt: skip
AS_TEXT: list[tuple[str, Any]] = [
    (r"\\frac\{(.*)\}\{(.*)\}", r"\1/\2"),
    (r"\\sqrt\{(⟦\d⟧)\}", r"√\1"),
    (r"\\sqrt\{(.*)\}", r"√(\1)"),
    (r"\\operatorname\{(\w+)\}", r"\1"),
    (r"\\text\{ (.*?) \}", r"\1"),
    (r"([\^_])\{(⟦\d⟧)\}", r"\1\2"),
    (r"\^\{(.*?)\}", r"^(\1)"),
    (r"\^2", "²"),
    ("|".join(map(re.escape, WORDS)), lambda found: WORDS[found[0]]),
    (r" *· *", "·"),
    ("'", "′"),
    (r"\\", ""),
]
OPENING, CLOSING = ("", *"([{|,⌊⌈"), ("", *")]}|,⌋⌉")


@cache
def _templates(tex: str, operands: int) -> tuple[Template, Template]:
    """A row's `tex`, and the same in plain text."""
    marks = [f"⟦{i}⟧" for i in range(operands)]
    written = tex.format(*marks, xs=", ".join(marks))
    text = written
    for pattern, plain in AS_TEXT:
        text = re.sub(pattern, plain, text)
    return _template(written), _template(text)


def _template(written: str) -> Template:
    parts = MARK.split(written)
    literals, slots = parts[::2], [int(i) for i in parts[1::2]]
    needs = []
    for left, right in pairwise(literals):
        left, right = left.strip(), right.strip()
        called = re.search(r"[\w²}]$", left) and not re.search(r"(if|else|mod)( ?})?(_0)?$", left)
        opened, closed = left[-1:] in OPENING, right[:1] in CLOSING
        needs.append(CALLED if called and not right else ANY if opened and closed else ATOM)
    flat, before = MARK.sub("x", written).replace("\\left", "").replace("\\right", ""), ""
    while flat != before:
        before, flat = flat, re.sub(r"[(\[{|][^()\[\]{}|]*[)\]}|]", "x", flat)
    bound = ADDED if re.search(" [-+] ", flat) else ATOM if re.fullmatch("x|⌊x⌋", flat) else TIGHT
    return Template(literals, slots, needs, bound)


def _filled(template: Template, xs: Sequence[Symbol], needs: Sequence[int], kind: str) -> str:
    out = [template.literals[0]]
    for slot, need, literal in zip(template.slots, needs, template.literals[1:]):
        piece = wrapped(xs[slot], need, kind)
        if need == CALLED:
            out[-1] = out[-1].rstrip()
        if out[-1] == "^" and len(xs) == 2 and piece.isdecimal():  # x², and not x^2
            out[-1], piece = "", piece.translate(SUPERSCRIPTS)
        out += [piece, literal]
    return "".join(out)


def wrapped(x: Symbol, need: int, kind: str) -> str:
    """A symbol in LaTeX ("tex") or plain text ("text"), in parentheses if it must be bound more tightly."""
    piece: str = getattr(x, kind)
    if x.bound >= need:
        return piece
    return f"({piece})" if kind == "text" or r"\frac" not in piece else rf"\left({piece}\right)"


# --- derivations: sentences, equations and tables -----------------------------------------------------------

Piece = Symbol | str
Spelling = Callable[[str], str]  # of a text, in other characters
WIDE = 30  # characters of a left side
MOST_CELLS = 6  # rows or columns of a matrix that are shown; of more, the first three and the last


@dataclass
class Sentence:
    """Words and formulas, with a blank between them where one is written."""

    pieces: Sequence[Piece]

    def text(self, spelled: Spelling = str) -> str:
        return spelled("".join(map(str, self.pieces)))

    def markdown(self) -> str:
        return "".join(p if isinstance(p, str) else f"${p.tex}$" for p in self.pieces)

    def latex(self) -> str:
        return "".join(_escaped(p) if isinstance(p, str) else f"${p.tex}$" for p in self.pieces)


@dataclass
class Equations:
    """Lines `left = right`, one below the other; without a left side, a line goes on with the one above."""

    lines: Sequence[tuple[Sequence[Symbol], Sequence[Symbol]]]

    def text(self, spelled: Spelling = str) -> str:
        blocks, width = [], 0
        for left, right in self.lines:
            head = spelled(" ".join(piece.text for piece in left))
            alone = len(head) > WIDE  # then what it equals stands below it
            width = 2 if alone else len(head) if left else width
            lines = [head] if alone else []
            lines += beside(
                [" " * width if alone else head.ljust(width), "=", *[spelled(piece.text) for piece in right]]
            )
            blocks.append("\n".join(("    " + line).rstrip() for line in lines))
        high = any("\n" in piece.text for _, right in self.lines for piece in right)
        return ("\n\n" if high else "\n").join(blocks)

    def tex(self) -> str:
        lines = [
            " ".join(p.tex for p in left) + " &= " + " ".join(p.tex for p in right)
            for left, right in self.lines
        ]
        return "\\begin{aligned}\n" + " \\\\\n".join(lines) + "\n\\end{aligned}"

    def markdown(self) -> str:
        return f"$$\n{self.tex()}\n$$"

    def latex(self) -> str:
        return f"\\[\n{self.tex()}\n\\]"


@dataclass
class Table:
    """Rows of cells below a head; the first column is words, the others are numbers and stand right."""

    head: Sequence[Piece]
    rows: Sequence[Sequence[Piece]]

    def text(self, spelled: Spelling = str) -> str:
        cells = [[spelled(str(cell)) for cell in row] for row in (self.head, *self.rows)]
        widths = [max(map(len, column)) for column in zip(*cells)]
        lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in cells]
        return "\n".join(
            "    " + line.rstrip() for line in [lines[0], spelled("─" * len(lines[0])), *lines[1:]]
        )

    def markdown(self) -> str:
        rows = [[Sentence([cell]).markdown() for cell in row] for row in (self.head, *self.rows)]
        rows.insert(1, [":--", *["--:"] * (len(self.head) - 1)])
        return "\n".join(f"| {' | '.join(row)} |" for row in rows)

    def latex(self) -> str:
        rows = [" & ".join(Sentence([cell]).latex() for cell in row) for row in (self.head, *self.rows)]
        rows[0] += r" \\ \hline"
        body = "\n".join([rows[0], *(row + r" \\" for row in rows[1:])])
        return f"\\begin{{tabular}}{{l{'r' * (len(self.head) - 1)}}}\n{body}\n\\end{{tabular}}"


Block = Sentence | Equations | Table


class Explanation:
    """A derivation, as `explain` gives it: print it, show it in a notebook, or take the form you need.

    `text` is plain text, `markdown` has its formulas between dollars, `latex` needs the package amsmath.
    `gradient` is the engine's number; `contributions` are the terms that add up to it.
    """

    def __init__(
        self, blocks: Sequence[Block], gradient: float | None = None, contributions: Sequence[float] = ()
    ) -> None:
        self.blocks = blocks
        self.gradient = gradient
        self.contributions = list(contributions)

    @property
    def text(self) -> str:
        return "\n\n".join(block.text() for block in self.blocks)

    @property
    def markdown(self) -> str:
        return "\n\n".join(block.markdown() for block in self.blocks)

    @property
    def latex(self) -> str:
        return "\n\n".join(block.latex() for block in self.blocks)

    def __str__(self) -> str:
        """The text; in ASCII where standard output can write no more than that."""
        encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
        try:
            self.text.encode(encoding)
        except UnicodeEncodeError:
            return "\n\n".join(block.text(in_ascii) for block in self.blocks)
        return self.text

    __repr__ = __str__  # it is asked for at a prompt, to be read

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return {"text/plain": self.text, "text/markdown": self.markdown}


def beside(pieces: Sequence[str]) -> list[str]:
    """Texts of several lines side by side, with a blank between them, each in the middle of the height.

    >>> print("\\n".join(beside(["W =", "[1  2]\\n[3  4]"])))
    W = [1  2]
        [3  4]
    """
    blocks = [piece.split("\n") for piece in pieces]
    height = max(map(len, blocks))
    columns = []
    for block in blocks:
        width = max(map(len, block))
        above = (height - len(block)) // 2
        columns.append([line.ljust(width) for line in [""] * above + block])
    widths = [len(column[0]) for column in columns]
    rows = zip_longest(*columns)
    return [" ".join(cell or " " * n for cell, n in zip(row, widths)).rstrip() for row in rows]


def matrix(rows: Sequence[Sequence[float]]) -> Symbol:
    """A matrix of numbers; of a large one, the first rows and columns and the last.

    >>> print(matrix([[1.0, -2.5], [0.0, 3.0]]))
    [1  -2.5]
    [0     3]
    """
    texts = [_shortened([shown(x + 0.0) for x in row], "…") for row in rows]
    texes = [_shortened([digits(x, 4)[0] for x in row], r"\cdots") for row in rows]
    if len(rows) > MOST_CELLS:
        texts = [*texts[:3], _dots_below(texts[0], "…", "⋮", "⋱"), texts[-1]]
        texes = [*texes[:3], _dots_below(texes[0], r"\cdots", r"\vdots", r"\ddots"), texes[-1]]
    widths = [max(map(len, column)) for column in zip(*texts)]
    lines = ["[" + "  ".join(map(str.rjust, row, widths)) + "]" for row in texts]
    body = r" \\ ".join(" & ".join(row) for row in texes)
    return Symbol(rf"\begin{{bmatrix}} {body} \end{{bmatrix}}", "\n".join(lines))


def _dots_below(cells: list[str], across: str, down: str, corner: str) -> list[str]:
    """Dots for the rows that are left out."""
    return [corner if cell == across else down for cell in cells]


def _shortened(cells: list[str], dots: str) -> list[str]:
    return cells if len(cells) <= MOST_CELLS else [*cells[:3], dots, cells[-1]]


ASCII = str.maketrans({
    "∂": "d", "·": "*", "×": "x", "⊙": ".*", "÷": "/", "−": "-", "–": "-", "─": "-", "→": "->", "′": "'",
    "√": "sqrt ", "Σ": "Sum", "σ": "sigma", "δ": "delta", "Φ": "Phi", "∞": "inf", "ᵀ": "^T", "ŷ": "yhat",
    "≥": ">=", "≤": "<=", "≠": "!=", "…": "...", "⋱": "...", "⋮": ":",
    "⌊": "floor(", "⌋": ")", "⌈": "ceil(", "⌉": ")", "⁽": "", "⁾": "",
})  # fmt: skip
RAISED, LOWERED = "⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "₀₁₂₃₄₅₆₇₈₉"


def in_ascii(text: str) -> str:
    """A derivation without any letter beyond ASCII: ∂ is d, σ is sigma, a raised digit follows ^.

    >>> in_ascii("∂L/∂w⁽²⁾₃,₁ = σ′(z)·x² → 2")
    "dL/dw^2_3,1 = sigma'(z)*x^2 -> 2"
    """
    text = re.sub(f"⁽?([{RAISED}]+)⁾?", lambda found: "^" + normalize("NFKC", found[1]), text)
    text = re.sub(f"([{LOWERED}]+(?:,[{LOWERED}]+)*)", lambda found: "_" + normalize("NFKC", found[1]), text)
    return text.translate(ASCII).encode("ascii", "backslashreplace").decode("ascii")


SPECIAL = {c: "\\" + c for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\^{}",
}


def _escaped(words: str) -> str:
    return "".join(SPECIAL.get(c, c) for c in words)
