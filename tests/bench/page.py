"""The stepper's page in a real browser while a leaf is dragged: all is computed and drawn anew.

The time of a move is that of what the page does for it, and of the layout of what it changed.  The graph
shows all of its nodes, and each of them changes.
"""

import os
import random
import statistics
import sys
import tempfile
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import machine
from rows import Row, duration, spent

import tinygrad_bp as tg

sys.path.insert(0, str(Path(__file__).parent.parent))
from support.browser import HOW, find_browser, find_driver, open_browser

Group = tuple[str, list[Row]]
NO_BROWSER = Row("tinygrad_bp", mark=f"not measured: there is no browser; {HOW}")
MOVES, ROUNDS = 100, 7
DRAG = """moves => {
    const leaf = page.graph.nodes.find(node => page.live.movable(node)), times = [];
    page.live.dragging = true;
    for (let i = 0; i < moves; i++) {
        const start = performance.now();
        page.change(leaf, 0.5 + i / 1000);
        document.body.getBoundingClientRect();
        times.push((performance.now() - start) / 1000);
    }
    return times;
}"""


@contextmanager
def opened() -> Iterator[Any]:
    """A browser on all cores, since it is several processes; None where there is none."""
    program = find_browser() if find_driver() else None
    if program is None:
        yield None
        return
    if machine.CORES:
        os.sched_setaffinity(0, machine.CORES)
    with open_browser(program) as browser:
        yield browser


def drags() -> Iterator[Group]:
    """The 95th percentile of the moves, at the end of the backward pass, where everything is shown."""
    with opened() as browser, tempfile.TemporaryDirectory() as folder:
        if browser is None:
            yield "the stepper's page", [NO_BROWSER]
            return
        for leaves in (18, 134):
            nodes, file = 3 * leaves - 2, Path(folder) / "page.html"
            tg.stepper(graph(leaves), file)
            tab = browser.new_page(viewport={"width": 1280, "height": 800})
            tab.goto(f"{file.as_uri()}#step=1000000")
            rounds = [tab.evaluate(DRAG, MOVES) for _ in range(ROUNDS)]
            tab.close()
            p95s = [statistics.quantiles(times, n=20)[-1] for times in rounds]
            note = f"the best of {ROUNDS} rounds, which took up to {duration(max(p95s))}"
            title = f"the stepper's page, {nodes} nodes: a move of a leaf, 95th percentile"
            yield title, [spent(f"drag {nodes}", "tinygrad_bp", min(p95s), note)]


def graph(leaves: int) -> tg.Value:
    """Products of tanh of products: each leaf moves every gradient."""
    rng = random.Random(0)
    values = deque(tg.Value(rng.uniform(0.5, 1.5)) for _ in range(leaves))
    while len(values) > 1:
        values.append(tg.tanh(values.popleft() * values.popleft()))
    return values[0]
