"""How a derivation is set down: sentences, equations and tables, as plain text, Markdown or LaTeX.

The formulas in them are Symbols, which know themselves in LaTeX and in text; all three kinds of pages say the
same.  explaining.py and equations.py write the derivations.
"""

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from unicodedata import normalize

from tinygrad_bp.show.records import shown
from tinygrad_bp.show.symbols import Symbol, digits

Piece = Symbol | str
Spelling = Callable[[str], str]  # of a text, in other characters
WIDE = 30  # characters of a left side
MOST = 6  # rows or columns of a matrix that are shown; of more, the first three and the last


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
    texts = [_some([shown(x + 0.0) for x in row], "…") for row in rows]
    texes = [_some([digits(x, 4)[0] for x in row], r"\cdots") for row in rows]
    if len(rows) > MOST:
        texts = [*texts[:3], _down(texts[0], "…", "⋮", "⋱"), texts[-1]]
        texes = [*texes[:3], _down(texes[0], r"\cdots", r"\vdots", r"\ddots"), texes[-1]]
    widths = [max(map(len, column)) for column in zip(*texts)]
    lines = ["[" + "  ".join(map(str.rjust, row, widths)) + "]" for row in texts]
    body = r" \\ ".join(" & ".join(row) for row in texes)
    return Symbol(rf"\begin{{bmatrix}} {body} \end{{bmatrix}}", "\n".join(lines))


def _down(cells: list[str], across: str, down: str, corner: str) -> list[str]:
    """Dots for the rows that are left out."""
    return [corner if cell == across else down for cell in cells]


def _some(cells: list[str], dots: str) -> list[str]:
    return cells if len(cells) <= MOST else [*cells[:3], dots, cells[-1]]


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
