"""A GPT of one layer, 16 wide, with four heads: steps with Adam on given names, the first call, the demo.

The peer is the published script's arithmetic, with a class of its own as there (tests/support/microgpt.py):
the same model, data and rule, from the same numbers. It is thousands of times slower, so it takes few steps.
"""

import gc
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from marks import MARKS, Mark
from rows import Row, compared, spent
from timing import Contender, Times, seconds

import tinygrad_bp as tg

sys.path.insert(0, str(Path(__file__).parent.parent))
from support import microgpt

ROOT = Path(__file__).parents[2]
Group = tuple[str, list[Row]]
PUBLISHED = "the published arithmetic, its own class"
COMPARED = 1_000  # steps whose losses are compared
ROUNDS, FEW_STEPS = 5, 4


def works() -> Iterator[Group]:
    yield "a GPT, the first call for all lengths up to 16", [first_call()]
    names = tg.data.names()
    random.Random(0).shuffle(names)
    characters = tg.data.Characters(names)
    documents = [[0, *characters.encode(name), 0] for name in names]
    weights = microgpt.drawn(len(characters))
    for batch, steps in ((1, 20_000), (16, 2_000)):
        work, names = f"gpt {batch}", ["tinygrad_bp, fit", PUBLISHED][: 1 + (batch == 1)]
        contenders = [Contender(name, list) for name in names]
        times = in_one_fit(weights, documents, batch, steps)
        mine, *others = compared(work, contenders, times, 1, 0.0, None)
        told = MARKS[work]["tinygrad_bp"].told(times[0].median)
        yield f"a GPT, Adam, data and all, {batch} a step: a name", [replace(mine, mark=told), *others]
    yield "a GPT, demos/gpt.py from its start to names that it made up", demo()
    yield f"a GPT, losses of {COMPARED:,} steps of Adam", [difference(weights, documents)]


def in_one_fit(weights: Any, documents: Any, batch: int, steps: int) -> list[Times]:
    """Seconds for a name, ours and the peer's in turns: within one fit, so that it compiles only once."""
    ours, theirs = Times(), Times()
    begin = 0.0

    def turn(state: Any) -> None:
        nonlocal begin
        if state.step > steps:  # the first stretch compiles
            ours.rounds.append((time.process_time() - begin) / steps / batch)
            gc.collect()
            gc.freeze()  # what is ours is not for the peer's collector to look through
            theirs.rounds.append(microgpt.train(weights, documents, FEW_STEPS)[1] / FEW_STEPS)
            gc.unfreeze()
        begin = time.process_time()

    microgpt.train_ours(
        weights, documents, (1 + ROUNDS) * steps, batch=batch, callback=turn, every=steps, progress=False
    )
    return [ours, theirs]


def first_call() -> Row:
    """From the model to a step that was taken, where sequences have from 1 to 16 places."""
    characters = 27
    rng = random.Random(0)

    def documents(longest: int) -> list[list[int]]:
        return [[0, *(rng.randrange(1, characters) for _ in range(n)), 0] for n in range(longest)]

    microgpt.train_ours(microgpt.drawn(3), [[0, 1, 0], [0, 1, 2, 0]], 1)  # what is done once in a process
    weights, every = microgpt.drawn(characters), documents(microgpt.BLOCK)
    begin = seconds()
    history = microgpt.train_ours(weights, every, 1)
    return spent("gpt, first call", "tinygrad_bp", seconds() - begin, history.engine)


def difference(weights: Any, documents: Any) -> Row:
    theirs, _ = microgpt.train(weights, documents, COMPARED)
    losses = microgpt.train_ours(weights, documents, COMPARED).losses
    worst = max(abs(a - b) / b for a, b in zip(losses, theirs))
    told = MARKS["gpt, losses"]["tinygrad_bp"].told(worst)
    return Row("tinygrad_bp", mark=f"differ by at most {worst:.1e} from the published arithmetic's: {told}")


def demo() -> list[Row]:
    """Processor time of the demo's process, and what it says of names that it has not seen."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(ROOT / "demos" / "gpt.py"), "--output", str(Path(folder) / "gpt.png")]
        begin, clock = seconds(), time.perf_counter()
        ran = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=True)
        took, wall = seconds() - begin, time.perf_counter() - clock
    unseen, table = map(
        float, re.findall(r"loss on .* ([\d.]+), of a table of pairs ([\d.]+)", ran.stdout)[0]
    )
    better: Mark = MARKS["gpt, unseen names"]["tinygrad_bp"]
    told = f"{unseen:.4f}, and {table:.4f} of a table of pairs: better by {table - unseen:.4f}; "
    return [
        spent("gpt, demo", "tinygrad_bp", took, f"{wall:.1f} s by the clock"),
        Row("tinygrad_bp, loss on unseen names", mark=told + better.told(table - unseen)),
    ]
