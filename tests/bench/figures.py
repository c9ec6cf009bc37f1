"""The pages of figures, made from what run.py has measured: a plot, one page of ratios, the long table.

    python tests/bench/run.py --json figures.json
    python tests/bench/figures.py figures.json

A plot shows for each work how many times our time the fastest way of each peer takes. What SHOWN names and
the file does not have is left out.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from html import escape
from math import log10
from pathlib import Path
from typing import Any, NamedTuple

from marks import OURS
from rows import HEAD, Row, disturbed, duration, markdown, short

DOCS = Path(__file__).parents[2] / "docs"
BEGIN, END = "<!-- figures begin: written by tests/bench/figures.py -->", "<!-- figures end -->"

SHOWN = {  # works by the beginning of their titles, and how the plot calls them
    "Gradient descent on all samples": {
        "sigmoid 2-2-1, 1 sample": "2-2-1, 1 sample",
        "moons 2-16-16-1, 100 samples": "2-16-16-1, 100 samples",
        "1-10-10-10-1 relu, 240": "1-10-10-10-1, 240 samples",
        "1-30-30-30-1 relu, 240": "1-30-30-30-1, 240 samples",
        "1-100-100-100-1 relu, 240 samples": "1-100-100-100-1, 240 samples",
        "1-300-300-300-1 relu, 240": "1-300-300-300-1, 240 samples",
        "784-100-10 relu": "784-100-10, 128 samples",
    },
    "Adam, 2-16-16-1": {
        "2-16-16-1 tanh, Adam, all 400": "all 400 samples",
        "2-16-16-1 tanh, Adam, batches of 32": "batches of 32",
        "2-16-16-1 tanh, Adam, batches of 8": "batches of 8",
        "2-16-16-1 tanh, Adam, batches of 1:": "one at a time",
    },
    "Adam, 2-64-64-1": {
        "2-64-64-1 tanh, Adam, batches of 32": "batches of 32",
        "2-64-64-1 tanh, Adam, batches of 8": "batches of 8",
        "2-64-64-1 tanh, Adam, batches of 1:": "one at a time",
    },
    "Gradient descent, 1-100-100-100-1": {
        "1-100-100-100-1 relu, SGD, batches of 1:": "one at a time",
        **{f"1-100-100-100-1 relu, SGD, batches of {n}:": f"batches of {n}" for n in (2, 4, 8, 16, 32)},
        "1-100-100-100-1 relu, SGD, all 240 samples": "all 240 samples",
        "1-100-100-100-1 relu, SGD, all 1000 samples": "all 1,000 samples",
    },
    "One call": {
        "sigmoid 2-2-1, 1 sample: one step, a call for each": "2-2-1, a step",
        "a formula of 20 operations": "20 operations",
    },
    "Without compiling, forward and backward": {
        "no compiling: 2-16-16-1, 100 samples": "2-16-16-1, 100 samples",
    },
}


class Peer(NamedTuple):
    name: str
    path: str  # of its mark in the plot
    color: str
    filled: bool = True


RING = "m-4 0a4 4 0 1 1 8 0a4 4 0 1 1 -8 0z"
PEERS = {  # by the beginning of a contender's name
    "JAX": Peer("JAX", RING, "#d55e00"),
    "PyTorch": Peer("PyTorch", "m-4 -4h8v8h-8z", "#0072b2"),
    "NumPy by hand": Peer("NumPy by hand", "m0 -5.5l5.5 5.5l-5.5 5.5l-5.5 -5.5z", "#009e73"),
    "CasADi": Peer("CasADi, gcc", "m0 -5l5 9h-10z", "#b8860b"),
    "autograd": Peer("autograd", "m-4 -4l8 8m0 -8l-8 8", "#8a5a9e", filled=False),
    "micrograd": Peer("micrograd", RING, "#555555", filled=False),
}


class Line(NamedTuple):
    """A work: our time, and how many times that the fastest way of each peer takes, by PEERS."""

    label: str
    seconds: float | None
    ratios: dict[str, float]
    unsure: set[str]  # of these the rounds were disturbed


def sections(groups: Sequence[dict[str, Any]]) -> dict[str, list[Line]]:
    """What is shown of the groups."""
    works = [(group["title"], [Row(**row) for row in group["rows"]]) for group in groups if "rows" in group]
    found: dict[str, list[Line]] = {}
    for section, labels in SHOWN.items():
        for begin, label in labels.items():
            rows = next((rows for title, rows in works if title.startswith(begin) and of_one(rows)), None)
            if rows is not None:
                found.setdefault(section, []).append(line_of(label, rows))
    return found


def peers_in(found: dict[str, list[Line]]) -> list[str]:
    return [peer for peer in PEERS if any(peer in line.ratios for lines in found.values() for line in lines)]


def of_one(rows: Sequence[Row]) -> bool:
    return all(row.threads == 1 for row in rows)


def line_of(label: str, rows: Sequence[Row]) -> Line:
    fastest = {}
    for peer in PEERS:
        ways = [row for row in rows if row.ratio and row.contender.startswith(peer)]
        if ways:
            fastest[peer] = min(ways, key=lambda row: row.ratio or 0.0)
    ours = next((row.median for row in rows if row.contender.startswith(OURS)), None)
    unsure = {peer for peer, row in fastest.items() if disturbed(row)}
    return Line(label, ours, {peer: row.ratio or 0.0 for peer, row in fastest.items()}, unsure)


def compile_times(groups: Sequence[dict[str, Any]]) -> list[list[str]]:
    """Seconds from a function to its first result."""
    lines = []
    for group in groups:
        kind, _, what = group.get("title", "").partition(", ")
        if kind == "compile time":
            rows = [Row(**row) for row in group["rows"]]
            ours, jax = (
                next((r.median for r in rows if r.contender.startswith(x)), None) for x in (OURS, "JAX")
            )
            lines.append([what, duration(ours), duration(jax)])
    return lines


# --- the page of ratios -------------------------------------------------------------------------------------


def page(groups: Sequence[dict[str, Any]]) -> Iterator[str]:
    found = sections(groups)
    peers = peers_in(found)
    yield from (described(group["about"]) for group in groups if "about" in group)
    yield ""
    yield "![How many times our time each peer takes for one step, by work](figures.svg)"
    yield ""
    yield markdown(["work", "ours", *[PEERS[peer].name for peer in peers]])
    yield markdown(["---", *["--:"] * (1 + len(peers))])
    for section, lines in found.items():
        yield markdown([f"**{section}**", *[""] * (1 + len(peers))])
        for line in lines:
            yield markdown([line.label, duration(line.seconds), *[ratio(line, peer) for peer in peers]])
    if times := compile_times(groups):
        yield ""
        yield "The first call, from the function to its result:"
        yield ""
        yield markdown(["work", "ours", "JAX"])
        yield markdown(["---", "--:", "--:"])
        yield from map(markdown, times)


def ratio(line: Line, peer: str) -> str:
    """Set bold where the peer is faster; with a ~ where the rounds were disturbed."""
    if peer not in line.ratios:
        return ""
    x = line.ratios[peer]
    text = "~" * (peer in line.unsure) + short(x)
    return f"**{text}**" if x < 1.0 else text


def described(about: dict[str, Any]) -> str:
    missing = f" Not installed: {', '.join(about['missing'])}." if about["missing"] else ""
    return f"{about['processor']}. {', '.join(about['versions'])}.{missing}"


# --- the long table -----------------------------------------------------------------------------------------


def table(group: dict[str, Any]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The lines of a group: a text without cells, or cells."""
    if "about" in group:
        yield described(group["about"]), ()
        yield "", HEAD
        return
    yield group["title"], ()
    for row in group["rows"]:
        yield "", Row(**row).cells()


def on_page(text: str, cells: tuple[str, ...]) -> list[str]:
    if cells == HEAD:
        return ["", markdown(cells), markdown(["---", *["--:"] * (len(cells) - 2), "---"])]
    if cells:
        return [markdown(cells)]
    if text.endswith("."):  # the machine
        return [text]
    return [markdown([f"**{text}**", *[""] * (len(HEAD) - 1)])]


def long_table(groups: Sequence[dict[str, Any]]) -> Iterator[str]:
    for group in groups:
        for text, cells in table(group):
            yield from on_page(text, cells)


# --- the plot -----------------------------------------------------------------------------------------------

WIDTH, LEFT, RIGHT, ROW, TOP = 560, 194, 62, 19, 40  # pixels
STYLE = """text { font: 12px system-ui, sans-serif; fill: #222 }
.section, .fastest { font-weight: 600 }
.label, .fastest { text-anchor: end }
.tick { text-anchor: middle; fill: #555; font-size: 11px }
.grid { stroke: #e4e4e4; fill: none }
.one { stroke: #222; stroke-width: 1.5; fill: none }"""


def plot(groups: Sequence[dict[str, Any]]) -> str:
    """An SVG: a row a work, a mark a peer, on a logarithmic scale; at the end the fastest peer's ratio."""
    found = sections(groups)
    every = [x for lines in found.values() for line in lines for x in line.ratios.values()]
    low, high = log10(min([0.7, *every])) - 0.05, log10(max([10.0, *every])) + 0.1
    powers = [10.0**k for k in range(-3, 9) if low <= k <= high]

    def at(x: float) -> float:
        return round(LEFT + (log10(x) - low) / (high - low) * (WIDTH - LEFT - RIGHT), 1)

    parts = [*legend(found), text("fastest", WIDTH - 14, TOP + ROW - 5, "fastest")]
    y = TOP
    for section, lines in found.items():
        y += ROW
        parts.append(text("section", 12, y - 5, section))
        for x in powers:
            parts.append(
                f'<path class="{"one" if x == 1.0 else "grid"}" d="M{at(x)} {y}v{ROW * len(lines)}"/>'
            )
        for line in lines:
            y += ROW
            parts.append(f'<path class="grid" d="M{LEFT} {y - 9}H{WIDTH - RIGHT}"/>')
            parts.append(text("label", LEFT - 10, y - 5, line.label))
            for peer, times in line.ratios.items():
                told = f"{PEERS[peer].name} takes {short(times)} times our time"
                parts.append(f"<g><title>{told}</title>{mark(peer, at(times), y - 9)}</g>")
            if line.ratios:
                parts.append(text("fastest", WIDTH - 14, y - 5, f"{two_digits(min(line.ratios.values()))}×"))
    parts += [text("tick", at(x), y + 15, f"{short(x)}×") for x in powers]
    parts.append(
        text("tick", (LEFT + WIDTH - RIGHT) / 2, y + 32, "times our time; to the left of 1 is faster")
    )
    size = f'width="{WIDTH}" height="{y + 44}" viewBox="0 0 {WIDTH} {y + 44}"'
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
        f"<title>How many times our time each peer takes</title>\n<style>\n{STYLE}\n</style>",
        '<rect width="100%" height="100%" rx="6" fill="#fff"/>', *parts, "</svg>\n",
    ])  # fmt: skip


def legend(found: dict[str, list[Line]]) -> Iterator[str]:
    x = 14.0
    for peer in peers_in(found):
        yield mark(peer, x, 18)
        yield text("name", x + 9, 22, PEERS[peer].name)
        x += 28 + 6.8 * len(PEERS[peer].name)


def two_digits(x: float) -> str:
    return f"{x:.2f}" if x < 9.995 else short(round(x, 1))


def text(kind: str, x: float, y: float, words: str) -> str:
    return f'<text class="{kind}" x="{x:g}" y="{y:g}">{escape(words)}</text>'


def mark(peer: str, x: float, y: float) -> str:
    """A peer's mark: shapes differ as well as colours."""
    _, path, color, filled = PEERS[peer]
    paint = f'fill="{color}"' if filled else f'fill="none" stroke="{color}" stroke-width="2.2"'
    return f'<path d="M{x:g} {y:g}{path}" {paint}/>'


# --- writing ------------------------------------------------------------------------------------------------


def write(groups: Sequence[dict[str, Any]]) -> None:
    """The plot and the parts of both pages between their marks. Raises ValueError where a page has none."""
    pages = {DOCS / "figures.md": page(groups), DOCS / "figures_table.md": long_table(groups)}
    texts = {file: between(file, lines) for file, lines in pages.items()}
    texts[DOCS / "figures.svg"] = plot(groups)
    for file, text in texts.items():
        file.write_text(text, encoding="utf-8")
        print(f"wrote {file.name}", file=sys.stderr)


def between(file: Path, lines: Iterator[str]) -> str:
    before, begin, rest = file.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{file} has no block to write into: it begins with {BEGIN} and ends with {END}")
    return "\n".join([before + BEGIN, "", *lines, "", END + after])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("file", type=Path, help="what `run.py --json FILE` has written")
    write(json.loads(parser.parse_args().file.read_text(encoding="utf-8")))


if __name__ == "__main__":
    main()
