"""The live pages: a step of the playground, the first graph of the laboratory, sizes, hostile formulas."""

import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from page import NO_BROWSER, Group, opened
from rows import Row, duration, spent

import tinygrad_bp as tg
from tinygrad_bp.formula import FormulaError, parse
from tinygrad_bp.lab.folder import LabError, build_lab

sys.path.insert(0, str(Path(__file__).parent.parent))
from support.browser import served
from support.hostile import hostile

ROUNDS, TEXTS = 5, 5_000
STEPS = """() => {
    const start = performance.now();
    playground.training.advance();
    let steps = 1;
    for (; performance.now() - start < 500; steps++) playground.training.advance();
    return (performance.now() - start) / 1000 / steps;
}"""
DRAWING = """() => new Promise(done => {
    const start = performance.now(), before = playground.training.step;
    document.getElementById("record-play").click();
    setTimeout(() => {
        document.getElementById("record-play").click();
        done((performance.now() - start) / 1000 / (playground.training.step - before));
    }, 1000);
})"""


def playground() -> Iterator[Group]:
    """A step of 2-16-16-1 on 100 points, in the page: alone, and while all of the page is drawn."""
    title = "the playground's page, 2-16-16-1 tanh, 100 samples, Adam: one step"
    xs, ys = tg.data.moons(100)
    model = tg.MLP(2, [16, 16, 1], act="tanh", rng=random.Random(0))
    optimizer = tg.optim.Adam(model.parameters(), lr=1e-6)  # so that it goes on and on
    with opened() as browser, tempfile.TemporaryDirectory() as folder:
        if browser is None:
            yield title, [NO_BROWSER]
            return
        file = Path(folder) / "page.html"
        tg.playground(model, (xs, ys), tg.losses.hinge, optimizer, file, reduce="mean")
        tab = browser.new_page(viewport={"width": 1280, "height": 800})
        tab.goto(file.as_uri())
        for work, how, script in (("steps", "", STEPS), ("steps, drawn", ", the page drawn", DRAWING)):
            times = [tab.evaluate(script) for _ in range(ROUNDS)]
            yield f"{title}{how}", [spent(work, "tinygrad_bp", min(times), spread(times))]
        tab.close()


def recording() -> Iterator[Group]:
    """The size of a page with a hundred moments of a loss of 20 samples."""
    xs, ys = tg.data.moons(20)
    model = tg.MLP(2, [16, 16, 1], act="tanh", rng=random.Random(0))
    optimizer = tg.optim.SGD(model.parameters(), lr=0.1)
    history = tg.fit(model, (xs, ys), tg.losses.hinge, optimizer, 99, record=1, progress=False)
    size = len(tg.stepper(history).html.encode())
    yield "a page with 100 recorded moments, 2-16-16-1, 20 samples", [sized(size, 1_000_000)]


def laboratory() -> Iterator[Group]:
    """From the address to the first graph, with empty caches; and the size of the folder."""
    title = "the laboratory: from its address to the first graph"
    with opened() as browser, tempfile.TemporaryDirectory() as folder:
        try:
            files = build_lab(Path(folder))
        except LabError as error:
            yield title, [Row("tinygrad_bp", mark=f"not measured: {error}")]
            return
        size = sum(file.stat().st_size for file in files)
        yield "the laboratory: its folder", [sized(size, 8_000_000)]
        if browser is None:
            yield title, [NO_BROWSER]
            return
        with served(Path(folder)) as address:
            times = [first_graph(browser, address) for _ in range(ROUNDS)]
    yield title, [spent("laboratory", "tinygrad_bp", min(times), spread(times))]


def first_graph(browser: Any, address: str) -> float:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    tab = context.new_page()
    start = time.perf_counter()
    tab.goto(address)
    tab.frame_locator("#stage iframe").locator("svg").first.wait_for()
    seconds = time.perf_counter() - start
    context.close()
    return seconds


def formulas() -> Iterator[Group]:
    """The text that is thought about longest before it is refused or computed."""
    times = []
    for seed in range(TEXTS):
        text = hostile(seed)
        start = time.process_time()
        try:
            formula = parse(text)
            formula(*[0.5] * len(formula.names))
        except FormulaError:
            pass
        times.append(time.process_time() - start)
    title = f"a text that may be no formula, the slowest of {TEXTS:,}"
    yield title, [spent("formulas", "tinygrad_bp", max(times))]


def spread(rounds: list[float]) -> str:
    return f"the best of {len(rounds)} rounds, which took up to {duration(max(rounds))}"


def sized(size: int, limit: int) -> Row:
    verdict = "goal met" if size <= limit else "ABOVE THE GOAL"
    return Row("tinygrad_bp", mark=f"{size:,} bytes; goal {limit:,}: {verdict}")
