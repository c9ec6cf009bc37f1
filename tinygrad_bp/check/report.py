"""What an audit found, as an object that is true if the gradient is right, and prints what is to be said.

`auditing.py` makes it.
"""

import textwrap
from dataclasses import dataclass, field
from typing import NamedTuple

from tinygrad_bp.check.mistakes import TURNED

SHOWN = 8  # entries in the table
WIDTH = 100


class Entry(NamedTuple):
    """One parameter: the gradient handed in, the engine's, and whether they agree."""

    label: str
    mine: float
    engine: float
    agrees: bool

    @property
    def ratio(self) -> float:
        return self.mine / self.engine + 0.0 if self.engine else float("nan")  # + 0.0: no −0


@dataclass(repr=False)
class Audit:
    """The result of `audit`: truthy if right; `entries`, `worst`, `verdict`, `explanations`.

    `explanations` are alternatives, each a list of mistakes in words: one alternative if the cause is known,
    none if the gradient is right or nothing explains it.
    """

    entries: list[Entry]
    explanations: list[list[str]] = field(default_factory=list)
    verdict: str = ""
    notes: list[str] = field(default_factory=list)
    shapes_agree: bool = True

    def __bool__(self) -> bool:
        return self.shapes_agree and all(entry.agrees for entry in self.entries)

    @property
    def worst(self) -> list[Entry]:
        """The entries that differ, those furthest off first."""
        wrong = [entry for entry in self.entries if not entry.agrees]
        return sorted(wrong, key=lambda entry: -abs(entry.mine - entry.engine))

    def __repr__(self) -> str:
        worst = self.worst
        lines = []
        if worst:
            width = max(10, *(len(entry.label) for entry in worst[:SHOWN]))
            lines.append(f"{len(worst)} of {len(self.entries)} entries differ from the engine's")
            lines.append(f"  {'':{width}}{'mine':>16}{'engine':>16}{'ratio':>12}")
            for entry in worst[:SHOWN]:
                ratio = f"{entry.ratio:12.5g}" if entry.engine else f"{'–':>12}"
                lines.append(f"  {entry.label:{width}}{entry.mine:16.8g}{entry.engine:16.8g}{ratio}")
            if len(worst) > SHOWN:
                lines.append(f"  and {len(worst) - SHOWN} more")
        return "\n".join([*lines, *(wrapped(note, "note: ") for note in self.notes), self.verdict])


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
        return "\n".join(["explained by:", *_listed(alternatives[0])])
    lines = [f"explained by any of these {len(alternatives)}, which cannot be told apart on this data:"]
    for i, mistakes in enumerate(alternatives[:4]):
        lines += ["or" if i else "", *_listed(mistakes)]
    if len(alternatives) > 4:
        lines.append(f"and {len(alternatives) - 4} more")
    return "\n".join([line for line in lines if line] + [wrapped(advice, "to tell them apart: ")])


def _listed(mistakes: list[str]) -> list[str]:
    """Numbered if they are several; what follows them, how the sign is, is no mistake and has no number."""
    return [wrapped(text, "  and " if text == TURNED else f"  {i}. ") for i, text in enumerate(mistakes, 1)]
