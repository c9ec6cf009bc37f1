"""Compare the speed of two commits on this machine: each is measured by its own bench, in turns.

    python tests/bench/compare.py main HEAD tiny moons [--rounds 3] [--json FILE]

Each commit is checked out into a temporary folder. A row is one of our own figures; its ratio is the best
time of the second commit over the best of the first: below 1 it is faster.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from marks import OURS
from rows import duration
from run import HERE, ONE, measured

ROOT = HERE.parent.parent

Figures = dict[tuple[str, str], float]


def figures(package: Path, works: list[str]) -> Figures:
    """Our best times, in seconds, by work and row, with the package in this folder."""
    best = {}
    for group in measured(1, works, package=package):
        for row in group["rows"]:
            seconds = row["minimum"] if row["minimum"] is not None else row["median"]
            if seconds is not None and row["contender"].startswith(OURS):
                best[group["title"], row["contender"]] = seconds
    return best


def lowest(rounds: list[Figures]) -> Figures:
    return {key: min(found[key] for found in rounds if key in found) for found in rounds for key in found}


def table(first: Figures, second: Figures) -> list[str]:
    """A line for each figure that both commits have; the others are named."""
    lines = [f"{'':60}  {'first':>9}  {'second':>9}  {'ratio':>6}"]
    for key in first.keys() & second.keys():
        title, row = key
        ratio = second[key] / first[key]
        name = f"{title[:34]:34}  {row.removeprefix('tinygrad_bp, ')[:24]:24}"
        lines.append(f"{name}  {duration(first[key]):>9}  {duration(second[key]):>9}  {ratio:6.2f}")
    lines[1:] = sorted(lines[1:])
    lines += [f"in one commit only: {title}, {row}" for title, row in sorted(first.keys() ^ second.keys())]
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("first", help="a commit, branch or tag")
    parser.add_argument("second", help="another")
    parser.add_argument("work", nargs="+", choices=ONE, metavar="work", help=f"of: {', '.join(ONE)}")
    parser.add_argument("--rounds", type=int, default=3, help="how often each commit is measured (3)")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures to a file, too")
    asked = parser.parse_args()
    os.environ["BENCH_PEERS"] = "none"
    with tempfile.TemporaryDirectory() as folder:
        packages = [Path(folder) / side for side in ("first", "second")]
        for commit, package in zip((asked.first, asked.second), packages):
            package.mkdir()
            files = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True)
            if files.returncode:
                sys.exit(f"git has no commit {commit!r}: {files.stderr.decode().strip()}")
            subprocess.run(["tar", "-x"], cwd=package, input=files.stdout, check=True)
        rounds = [[figures(package, asked.work) for package in packages] for _ in range(asked.rounds)]
    first, second = (lowest(list(side)) for side in zip(*rounds))
    print("\n".join(table(first, second)))
    if asked.json:
        rows = [
            {"work": title, "row": row, "first": first[title, row], "second": second[title, row]}
            for title, row in sorted(first.keys() & second.keys())
        ]
        asked.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
