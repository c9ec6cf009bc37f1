"""The eager engine's figures: one training step against micrograd, and time and memory of a node.

Prints; asserts nothing.  Ratios are between medians in one process, with the garbage collector on, as users
run it, and off; memory is that of a fresh process.

    python tests/bench/eager.py
"""

import gc
import platform
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import micrograd.engine
import micrograd.nn

import tinygrad_bp as tg
from tinygrad_bp.engine import sweep_graph

SAMPLES, CHAIN = 100, 1_000_000


def main() -> None:
    print(f"{machine()}, Python {platform.python_version()}, one thread\n")
    print(f"one step (forward and backward) of 2-16-16-1, {SAMPLES} samples, medians")
    for collecting in (True, False):
        ours = timed(step(tg.Value, tg.MLP), collecting, runs=21)
        theirs = timed(step(micrograd.engine.Value, micrograd.nn.MLP), collecting, runs=7)
        print(f"  GC {'on ' if collecting else 'off'}  tinygrad_bp {ours * 1e3:7.1f} ms   "
              f"micrograd {theirs * 1e3:7.1f} ms   {theirs / ours:5.1f} x")  # fmt: skip
    print(f"\na chain of {CHAIN:,} multiplications, microseconds a node, medians of 3")
    for collecting in (True, False):
        build, backward, recorded = chain(collecting)
        print(f"  GC {'on ' if collecting else 'off'}  build {build:.2f}   backward {backward:.2f}   "
              f"create_graph {recorded:.2f}")  # fmt: skip
    print("  memory, bytes a node (RSS): {} built, {} after backward".format(*memory()))


def step(value: Any, mlp: Any) -> Callable[[], None]:
    """micrograd's moons step: max-margin loss over all samples, as its demo builds it."""
    xs, ys = tg.data.moons(SAMPLES)
    random.seed(1337)
    model = mlp(2, [16, 16, 1])

    def run() -> None:
        scores = [model([value(a), value(b)]) for a, b in xs]
        losses = [(1 + -y * score).relu() for y, score in zip(ys, scores)]
        loss = sum(losses) * (1.0 / len(losses))
        model.zero_grad()
        loss.backward()

    return run


def timed(f: Callable[[], Any], collecting: bool, runs: int) -> float:
    """The median of runs in a row, with the collector on, as in a user's loop, or off."""
    f()
    gc.collect()
    (gc.enable if collecting else gc.disable)()
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        f()
        seconds.append(time.perf_counter() - start)
    gc.enable()
    return statistics.median(seconds)


def chained() -> tg.Value:
    x, y = tg.Value(1.0), tg.Value(1.0000001)
    for _ in range(CHAIN):
        x = x * y
    return x


def chain(collecting: bool) -> list[float]:
    root = chained()
    works = (chained, root.backward, lambda: sweep_graph({root: tg.Value(1.0)}))
    return [timed(work, collecting, runs=3) / CHAIN * 1e6 for work in works]


def memory() -> list[str]:
    """Resident memory a node, measured in a process of its own."""
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); import eager\n"
        "def rss(): return int(open('/proc/self/statm').read().split()[1]) * 4096\n"
        "start = rss(); root = eager.chained(); built = rss(); root.backward(); after = rss()\n"
        "print((built - start) // eager.CHAIN, (after - start) // eager.CHAIN)\n"
    )
    here = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", program, str(here)], capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def machine() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
        return f"{names[0]}, {len(names)} cores"
    except (OSError, IndexError):
        return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
