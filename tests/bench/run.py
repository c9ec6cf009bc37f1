"""The bench: one table of every figure, each beside its peers', taken on this machine now.

    python tests/bench/run.py [work ...] [--json FILE] [--write-docs]

This prints figures and asserts none; only a peer that computes something else ends it. compare.py compares
two commits; figures.py makes the pages of docs/ from what --json has written. Works and who takes part are
in measure.py, what a work is in works.py, how it is timed in timing.py, goals in marks.py.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import figures
import machine
from rows import line

HERE = Path(__file__).parent
ONE = ("tiny", "moons", "quadratic", "sigmoid", "widths", "digits", "adam16", "adam64", "descent", "formula",
       "gpt", "eager", "depth", "compile", "random", "drag", "playground",
       "recording", "laboratory", "formulas")  # fmt: skip
TWO = ("quadratic", "sigmoid")
SEVERAL = 2  # threads
NAMES = (*ONE, "threads", "python")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("work", nargs="*", help=f"which works, of: {', '.join(NAMES)}; without any, all")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write all figures, in seconds, to a file")
    parser.add_argument(
        "--write-docs", action="store_true", help="write the pages and the plot of docs/, too"
    )
    asked = parser.parse_args()
    unknown = [name for name in asked.work if name not in NAMES]
    if unknown:
        parser.error(f"there is no work {', '.join(unknown)}; there are: {', '.join(NAMES)}")
    if asked.write_docs and asked.work:
        parser.error("--write-docs shows all works: name none")
    groups = []
    for group in measured_groups(asked.work or NAMES):
        groups.append(group)
        for text, cells in figures.table(group):
            print(line(cells) if cells else f"\n{text}", flush=True)
        if asked.json:  # after each work: a run that is cut short has left what it measured
            asked.json.write_text(json.dumps(groups, indent=1) + "\n", encoding="utf-8")
    if asked.write_docs:
        figures.write(groups)


def measured_groups(names: Any) -> Iterator[dict[str, Any]]:
    """What is measured, as it comes: first `about` the machine, then titles with their rows."""
    ones = [name for name in ONE if name in names]
    yield from measured(1, ["limit", *ones], True)
    if "threads" in names:
        yield from measured(SEVERAL, ["limit", *TWO])
    if "python" in names:
        yield from measured(1, ["python"])


def measured(
    threads: int, works: list[str], first: bool = False, package: Path = HERE.parent.parent
) -> Iterator[dict[str, Any]]:
    """What a process of so many threads prints; ends this one if it fails."""
    command = [sys.executable, str(package / "tests" / "bench" / "measure.py"), *works]
    machine.allot(threads)
    environment = machine.environment(threads)
    beside = [str(package), environment.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, beside))
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    ) as child:
        assert child.stdout is not None
        for text in child.stdout:
            if not text.startswith("{"):
                print(text, end="", file=sys.stderr)
                continue
            found = json.loads(text)
            if first or "about" not in found:
                yield found
    if child.returncode:
        sys.exit(f"the bench failed in {' '.join(works)}: see above")


if __name__ == "__main__":
    main()
