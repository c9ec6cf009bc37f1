"""What an audit found, as an object that is true if the gradient is right, and prints why it is not.

It has a mark (`score`), its parts, and can be written as JSON and as HTML.  With `reveal=False` none of these
shows a number of the right gradients; `entries` still has them.
"""

import html
import json
import textwrap
from dataclasses import dataclass, field
from typing import Any, NamedTuple

SHOWN = 8  # entries in the table
WIDTH = 100
TURNED = "the sign is turned, which is right if your code adds these numbers to the weights"


class Entry(NamedTuple):
    """One number of a gradient: the one handed in, the engine's, and whether they agree."""

    label: str
    mine: float
    engine: float
    agrees: bool

    @property
    def ratio(self) -> float:
        return self.mine / self.engine + 0.0 if self.engine else float("nan")  # + 0.0: no −0


@dataclass
class Part:
    """One of the quantities that were handed in, with its share of the mark and what is wrong with it."""

    name: str
    right: bool
    points: float = 1.0
    reason: str = ""


@dataclass(repr=False)
class Audit:
    """The result of `audit`: true if right; `entries`, `worst`, `parts`, `score`, `verdict`, `explanations`.

    `explanations` are alternatives, each a list of mistakes in words: one alternative if the cause is known,
    none if the gradient is right or nothing explains it. `suspects` are the layers in one of which the first
    fault is, counted from the loss. `score` is the share of the points whose part is right, from 0 to 1.
    """

    entries: list[Entry]
    parts: list[Part] = field(default_factory=list)
    explanations: list[list[str]] = field(default_factory=list)
    verdict: str = ""
    notes: list[str] = field(default_factory=list)
    shapes_agree: bool = True
    suspects: list[str] = field(default_factory=list)
    where: str = ""  # where the fault is, as a sentence
    hints: str = ""  # what else there is to say, with numbers of the right gradients
    reveal: bool = True

    def __bool__(self) -> bool:
        right = self.shapes_agree and all(entry.agrees for entry in self.entries)
        return right and all(part.right for part in self.parts)

    @property
    def score(self) -> float:
        """The points of the parts that are right, as a share of all points."""
        total = sum(part.points for part in self.parts)
        return sum(part.points for part in self.parts if part.right) / total if total else float(bool(self))

    def part(self, name: str) -> Part:
        """The part of that name; raises KeyError for a name that no part has."""
        return {part.name: part for part in self.parts}[name]

    @property
    def worst(self) -> list[Entry]:
        """The entries that differ, those furthest off first."""
        wrong = [entry for entry in self.entries if not entry.agrees]
        return sorted(wrong, key=lambda entry: -abs(entry.mine - entry.engine))

    def __repr__(self) -> str:
        lines = self._table() if self.reveal else self._marks()
        lines += [wrapped(note, "note: ") for note in self.notes]
        lines += [wrapped(f"{p.name}: {p.reason}") for p in self.parts if p.reason]
        return "\n".join([*lines, *self._words()])

    def _words(self) -> list[str]:
        hints = self.hints if self.reveal else ""
        where = wrapped(self.where) if len(self.explanations) != 1 else ""  # else the explanation says it
        return [text for text in (where, self.verdict, hints) if text]

    def _table(self) -> list[str]:
        worst = self.worst
        if not worst:
            return []
        width = max(10, *(len(entry.label) for entry in worst[:SHOWN]))
        lines = [f"{len(worst)} of {len(self.entries)} entries differ from the engine's"]
        lines.append(f"  {'':{width}}{'mine':>16}{'engine':>16}{'ratio':>12}")
        for entry in worst[:SHOWN]:
            ratio = f"{entry.ratio:12.5g}" if entry.engine else f"{'–':>12}"
            lines.append(f"  {entry.label:{width}}{entry.mine:16.8g}{entry.engine:16.8g}{ratio}")
        if len(worst) > SHOWN:
            lines.append(f"  and {len(worst) - SHOWN} more")
        return lines

    def _marks(self) -> list[str]:
        names = max([0, *(len(part.name) for part in self.parts)])
        lines = [f"  {part.name:{names}}  {'right' if part.right else 'wrong'}" for part in self.parts]
        return [f"score {self.score:.3g}", *lines]

    def to_json(self, **options: Any) -> str:
        """The report as JSON, with reveal=False without numbers of the right gradients; options: json.dumps.

        >>> print(Audit([], [Part("w", True), Part("b", False)], reveal=False).to_json())
        {"right": false, "score": 0.5, "parts": [{"name": "w", "right": true, "points": 1.0, "reason": ""},\
 {"name": "b", "right": false, "points": 1.0, "reason": ""}], "suspects": [], "where": "",\
 "explanations": [], "notes": []}
        """
        data: dict[str, Any] = {"right": bool(self), "score": self.score}
        data["parts"] = [vars(part) for part in self.parts]
        data |= {"suspects": self.suspects, "where": self.where, "explanations": self.explanations}
        data["notes"] = self.notes
        if self.reveal:
            data["entries"] = [
                {"label": e.label, "mine": e.mine, "engine": e.engine, "agrees": e.agrees}
                for e in self.entries
            ]
        return json.dumps(data, **options)

    def _repr_html_(self) -> str:
        """A table of the parts, and the words; all text is escaped."""
        rows = "".join(
            f"<tr><td>{html.escape(part.name)}</td><td>{'right' if part.right else 'wrong'}</td>"
            f"<td>{html.escape(part.reason)}</td></tr>"
            for part in self.parts
        )
        words = html.escape("\n".join([*self.notes, *(self._table() if self.reveal else []), *self._words()]))
        return f"<p>score {self.score:.3g}</p><table>{rows}</table><pre>{words}</pre>"


def wrapped(text: str, start: str = "") -> str:
    """Lines of at most WIDTH, those after the first indented like the text of the first."""
    indent = " " * len(start)
    lines = [
        textwrap.fill(line, WIDTH, initial_indent=indent if i else start, subsequent_indent=indent)
        for i, line in enumerate(text.splitlines())
    ]
    return "\n".join(lines)


def explained(alternatives: list[list[str]], advice: str) -> str:
    """The verdict on a gradient that is wrong in a known way, or in one of several."""
    if len(alternatives) == 1:
        return "\n".join(["explained by:", *_numbered(alternatives[0])])
    lines = [f"explained by any of these {len(alternatives)}, which cannot be told apart on this data:"]
    for i, mistakes in enumerate(alternatives[:4]):
        lines += ["or" if i else "", *_numbered(mistakes)]
    if len(alternatives) > 4:
        lines.append(f"and {len(alternatives) - 4} more")
    return "\n".join([line for line in lines if line] + [wrapped(advice, "to tell them apart: ")])


def _numbered(mistakes: list[str]) -> list[str]:
    """The mistakes, numbered; the remark on the sign is not a mistake, and has no number."""
    return [wrapped(text, "  and " if text == TURNED else f"  {i}. ") for i, text in enumerate(mistakes, 1)]
