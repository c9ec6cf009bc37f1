"""The eager engine: a training step against micrograd, deep chains, and time and memory of a node."""

import gc
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import peers
from rows import Row, compared
from timing import Contender, in_turns

import tinygrad_bp as tg
from tinygrad_bp.graph_sweep import sweep_graph

Group = tuple[str, list[Row]]
SAMPLES = 100
TITLE = f"no compiling: 2-16-16-1, {SAMPLES} samples, forward and backward"
LONGEST = 10_000_000
RUNS = 3


def micrograd() -> Any:
    """The peer, or None where it is not installed."""
    return next((p for p in peers.installed() if p.NAME == "micrograd"), None)


def moons_step(value: Any, mlp: Any) -> Callable[[], list[float]]:
    """micrograd's moons step: max-margin loss over all samples, as its demo builds it."""
    xs, ys = tg.data.moons(SAMPLES)
    random.seed(1337)
    model = mlp(2, [16, 16, 1])

    def run() -> list[float]:
        scores = [model([value(a), value(b)]) for a, b in xs]
        losses = [(1 + -y * score).relu() for y, score in zip(ys, scores)]
        loss = sum(losses) * (1.0 / len(losses))
        model.zero_grad()
        loss.backward()
        return [loss.data, *(p.grad for p in model.parameters())]

    return run


def steps() -> Iterator[Group]:
    peer = micrograd()
    for collecting in (True, False):
        ours = moons_step(tg.Value, tg.MLP)
        contenders = [Contender("tinygrad_bp, the engine", ours, gradient=ours, collecting=collecting)]
        if peer:
            theirs = moons_step(peer.Value, peer.micrograd.nn.MLP)
            contenders.append(Contender("micrograd", theirs, gradient=theirs, collecting=collecting, least=3))
        yield TITLE, compared("eager", contenders, in_turns(contenders), 1, 0.0, None)


# --- chains -------------------------------------------------------------------------------------------------


def chained(n: int) -> tg.Value:
    x, y = tg.Value(1.0), tg.Value(1.0000001)
    for _ in range(n):
        x = x * y
    return x


def both_ways(n: int) -> None:
    chained(n).backward()


def chains() -> Iterator[Group]:
    """Build and backward, against those whose chains go so deep."""
    others = [p for p in peers.installed() if hasattr(p, "chain")]
    for n, deep in ((300, others), (10_000, others), (100_000, [p for p in others if p.NAME == "PyTorch"])):
        contenders = [Contender("tinygrad_bp, the engine", lambda n=n: both_ways(n), n)]
        fallen = []
        for peer in deep:
            try:
                peer.chain(n)
            except RecursionError:
                fallen.append(Row(peer.NAME, mark="RecursionError"))
                continue
            contenders.append(Contender(peer.NAME, lambda peer=peer, n=n: peer.chain(n), n))
        rows = compared("depth", contenders, in_turns(contenders, rounds=5), 1, 0.0, None)
        yield f"a chain of {n:,} multiplications, built and swept, one of them", rows + fallen
    yield f"a chain of {LONGEST:,}, one of them", [nodes(LONGEST, True, recording=False)[-1]]
    yield "a chain of 1,000,000, one of them", [*nodes(1_000_000, True), *nodes(1_000_000, False), memory()]


def nodes(n: int, collecting: bool, recording: bool = True) -> list[Row]:
    """Seconds a node to build, to sweep, to record the sweep, and to build and sweep."""
    (gc.enable if collecting else gc.disable)()
    build, back, recorded = [], [], []
    for _ in range(RUNS if recording else 1):
        gc.collect()
        start = time.process_time()
        root = chained(n)
        built = time.process_time()
        root.backward()
        swept = time.process_time()
        if recording:
            sweep_graph({root: tg.Value(1.0)})
        end = time.process_time()
        del root
        build.append((built - start) / n)
        back.append((swept - built) / n)
        recorded.append((end - swept) / n)
    gc.enable()
    both = [a + b for a, b in zip(build, back)]
    works = (("build", build), ("backward", back), ("backward, create_graph", recorded), ("both", both))
    return [
        Row(f"tinygrad_bp, {name}", 1, "on" if collecting else "off", statistics.median(s), min(s))
        for name, s in works
    ]


def memory() -> Row:
    """Resident memory a node, measured in a process of its own."""
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); import eager\n"
        "def rss(): return int(open('/proc/self/statm').read().split()[1]) * 4096\n"
        "n = 1_000_000; start = rss(); root = eager.chained(n); built = rss()\n"
        "root.backward(); print((built - start) // n, (rss() - start) // n)\n"
    )
    if not Path("/proc/self/statm").exists():
        return Row("tinygrad_bp, memory", mark="cannot be read here")
    here = str(Path(__file__).parent)
    done = subprocess.run([sys.executable, "-c", program, here], capture_output=True, text=True, check=True)
    built, after = done.stdout.split()
    return Row("tinygrad_bp, memory", mark=f"{built} bytes a node built, {after} after backward")
