"""Rows of the table: how figures are written, for the terminal and for a page."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from marks import ALONE, MARKS, OURS, Mark
from timing import Contender, Times

COLUMNS = {
    "contender": 46, "threads": 7, "GC": 3, "median": 9, "minimum": 9, "× ours": 8, "in rounds": 19,
    "GFLOP/s": 7, "of peak": 7, "mark": 0,
}  # fmt: skip
HEAD = tuple(COLUMNS)
DISTURBED = "not judged: rounds disturbed"


@dataclass(frozen=True)
class Row:
    """One contender's figures in one work; seconds for one step."""

    contender: str
    threads: int = 1
    gc: str = "on"
    median: float | None = None
    minimum: float | None = None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    rate: float | None = None  # GFLOP/s
    part: float | None = None  # of the peak
    mark: str = ""

    def cells(self) -> tuple[str, ...]:
        spread = "" if self.low is None or self.high is None else f"{short(self.low)} to {short(self.high)}"
        return (
            self.contender,
            str(self.threads),
            self.gc,
            duration(self.median),
            duration(self.minimum),
            short(self.ratio),
            spread,
            short(self.rate),
            "" if self.part is None else f"{self.part:.0%}",
            self.mark,
        )

    def plain(self) -> dict[str, Any]:
        return asdict(self)


def duration(seconds: float | None) -> str:
    """In the unit that leaves one to three digits before the point."""
    if seconds is None:
        return ""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def short(x: float | None) -> str:
    if x is None:
        return ""
    return f"{x:,.0f}" if x >= 99.95 else f"{x:.3g}"


def line(cells: Sequence[str]) -> str:
    """A row of the terminal's table: names to the left, figures to the right."""
    last = len(cells) - 1
    return "  ".join(
        c.ljust(w) if i in (0, last) else c.rjust(w) for i, (c, w) in enumerate(zip(cells, COLUMNS.values()))
    ).rstrip()


def markdown(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def compared(
    work: str,
    contenders: Sequence[Contender],
    times: Sequence[Times],
    threads: int,
    operations: float,
    peak: float | None,
) -> list[Row]:
    """Rows of contenders that took turns, the first of them ours."""
    rows = []
    for c, mine in zip(contenders, times):
        ratio, low, high = mine.ratio(times[0])
        rate = operations / mine.median / 1e9 if operations else None
        own = c is contenders[0]
        row = Row(
            c.name, threads, "on" if c.collecting else "off", mine.median, mine.minimum,
            1.0 if own else ratio, None if own else low, None if own else high,
            rate, rate / peak if rate and peak else None, c.note,
        )  # fmt: skip
        mark = marked(work, c, contenders, times)
        if mark and c.collecting:
            most = (
                f"; at the peak it would be {short(1.0 / row.part)}" if row.part and row.part > 0.01 else ""
            )
            row = replace(row, mark=DISTURBED if disturbed(row) else mark.told(ratio) + most)
        rows.append(row)
    return rows if work in ALONE else _ahead(rows)


def marked(work: str, c: Contender, contenders: Sequence[Contender], times: Sequence[Times]) -> Mark | None:
    """The mark of a contender, or of its peer, where that has no faster one."""
    marks = MARKS.get(work, {})
    peer = c.name.split(",")[0]
    fastest = min((t.median, x.name) for x, t in zip(contenders, times) if x.name.split(",")[0] == peer)
    return marks.get(c.name) or (marks.get(peer) if fastest[1] == c.name else None)


def disturbed(row: Row) -> bool:
    """Whether the rounds differ by so much that their ratio tells of others on the machine."""
    return bool(row.low and row.high and row.ratio) and row.high > 3.0 * row.low


def _ahead(rows: list[Row]) -> list[Row]:
    """Say at the fastest of the others whether it is behind."""
    others = [r for r in rows if not r.contender.startswith(OURS)]
    if not others:
        return rows
    fastest = min(others, key=lambda r: r.ratio or 0.0)
    words = [fastest.mark, f"fastest of the others: {_place(fastest)}"]
    return [replace(r, mark="; ".join(filter(None, words))) if r is fastest else r for r in rows]


def _place(other: Row) -> str:
    if other.ratio is None or disturbed(other):
        return DISTURBED
    if other.low and other.high and other.low <= 1.0 <= other.high:
        return "level with us"
    return "behind us" if other.ratio > 1.0 else "AHEAD OF US"


def spent(work: str, contender: str, seconds: float | None, note: str = "") -> Row:
    """A row of seconds spent once."""
    mark: Mark | None = MARKS.get(work, {}).get(contender)
    told = mark.told(seconds) if mark and seconds is not None else ""
    return Row(contender, median=seconds, mark="; ".join(filter(None, (told, note))))
