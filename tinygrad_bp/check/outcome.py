"""What a check of gradients found: a table to print, and something to test in an `if`.

A row compares two numbers that should be one, and says what it makes of them.  A report gathers the rows, and
in `reasons` what is wrong, in sentences.  `differences.py` fills it.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf, isfinite
from typing import NamedTuple

from tinygrad_bp.check.nodes import Findings

SHOWN = 24  # rows of a table; what is not right is always shown

RIGHT, WRONG, KINK, JUMP, UNSURE, UNUSED = "right", "wrong", "kink", "jump", "cancellation", "unused"
FAILED = (WRONG, JUMP)


class Row(NamedTuple):
    """Two answers to one question: by the chain rule, and by difference quotients or the other mode.

    The verdict is "right"; "wrong"; "kink" where the function has several slopes and the analytic one lies
    between them; "jump" where its value jumps, so that it has no slope; "cancellation" where they agree, as
    far as the rounding of the quotient lets one tell; or "unused" where the result does not depend on the
    input.
    """

    name: str
    analytic: float
    numeric: float
    verdict: str
    kink: bool = False  # an operation changes sides, or sits on its kink, within the step

    @property
    def error(self) -> float:
        """The difference, relative to the larger of the two."""
        if self.analytic == self.numeric:
            return 0.0
        error = abs(self.analytic - self.numeric) / max(abs(self.analytic), abs(self.numeric))
        return error if isfinite(error) else inf

    def cells(self) -> tuple[str, ...]:
        note = ", across a kink" if self.kink and self.verdict not in (KINK, JUMP) else ""
        numbers = (f"{self.analytic:.10g}", f"{self.numeric:.10g}", f"{self.error:.1e}")
        return self.name, *numbers, self.verdict + note


@dataclass(repr=False)
class Report:
    """The outcome of a check: true if nothing is wrong; print it to see the table.

    `rows` compare the gradient with difference quotients, `forward` reverse mode with forward mode, `second`
    the gradient of the gradient with difference quotients of the gradient; `findings` is about the partials
    of each operation. `reasons` say what is wrong, `notes` what else one should know.
    """

    name: str
    rows: list[Row] = field(default_factory=list)
    forward: list[Row] = field(default_factory=list)
    second: list[Row] = field(default_factory=list)
    findings: Findings = field(default_factory=Findings)
    reasons: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return not self.reasons

    @property
    def all_rows(self) -> list[Row]:
        return [*self.rows, *self.forward, *self.second]

    @property
    def worst(self) -> Row | None:
        """The row that is most wrong; if none is, the one with the largest relative error."""
        return max(self.all_rows, key=lambda row: (row.verdict in FAILED, row.error), default=None)

    @property
    def kinks(self) -> list[Row]:
        """The rows whose step meets a kink."""
        return [row for row in self.all_rows if row.kink]

    def __repr__(self) -> str:
        lines = [f"gradcheck of {self.name}: {'right' if self else 'WRONG'}"]
        lines += table(self.rows) if self.rows else []
        lines += _summary("forward mode", self.forward, "equal to reverse mode")
        lines += _summary("second order", self.second, "right")
        found = self.findings
        if found.partials:
            well = found.partials - len(found.wrong) - found.undecided
            undecided = f", {found.undecided} undecided" if found.undecided else ""
            wrong = f", {len(found.wrong)} wrong" if found.wrong else ""
            lines.append(
                f"  operations: {found.nodes} nodes of {found.operations} kinds, "
                f"{well} of {found.partials} partials right to 1e-6{undecided}{wrong}"
            )
        lines += [f"  note: {note}" for note in self.notes]
        return "\n".join([*lines, *(f"  why: {reason}" for reason in self.reasons)])


def table(rows: Sequence[Row]) -> list[str]:
    """The rows in columns, at most SHOWN of them: what is not right goes first to be shown."""
    ranked = sorted(
        range(len(rows)), key=lambda i: (rows[i].verdict == RIGHT, rows[i].verdict not in FAILED, i)
    )
    chosen = sorted(ranked[:SHOWN])
    cells = [("input", "analytic", "numeric", "rel. error", "verdict"), *(rows[i].cells() for i in chosen)]
    widths = [max(map(len, column)) for column in zip(*cells)]
    lines = ["  " + "  ".join(cell.ljust(w) for cell, w in zip(line, widths)).rstrip() for line in cells]
    counts = Counter(rows[i].verdict for i in ranked[SHOWN:])
    return lines + [f"  … {count} more: {verdict}" for verdict, count in counts.items()]


def _summary(title: str, rows: Sequence[Row], good: str) -> list[str]:
    if not rows:
        return []
    others = [row for row in rows if row.verdict != RIGHT]
    largest = max(row.error for row in rows)
    line = f"  {title}: {len(rows) - len(others)} of {len(rows)} {good}, rel. error up to {largest:.1e}"
    return [line, *("  " + line for line in (table(others) if others else []))]
