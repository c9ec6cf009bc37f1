"""One process of the bench: it measures the works it is given and prints what it found as JSON.

run.py starts it, since cores and threads have to be settled before anything is imported.  Whoever takes part
in a work first shows that he computes the same: gradients to 1e-9, and that his step moves the parameters by
it; a peer that computes something else is no peer, and ends the run.
"""

import json
import os
import platform
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import compiling
import eager
import gpt
import live
import machine
import ours
import page
import peers
import works
from rows import Row, compared
from timing import ROUNDS, Contender, in_turns

Group = tuple[str, list[Row]]
THREADS = int(os.environ.get("OMP_NUM_THREADS", "1"))  # run.py sets it
limits: dict[str, float] = {}


def agree(contenders: Sequence[Contender], first: Contender) -> None:
    """Raises ArithmeticError if one does not compute what the first does."""
    expected = list(first.gradient()) if first.gradient else []
    most = max(map(abs, expected[1:]))
    for c in contenders:
        found = list(c.gradient()) if c.gradient else []
        if len(found) != len(expected) or not all(
            abs(a - b) <= 1e-9 * max(most, abs(b)) for a, b in zip(found, expected)
        ):
            raise ArithmeticError(f"{c.name} computes something else: {found[:3]}…, not {expected[:3]}…")
    for c in contenders:
        if c.numbers is None:
            continue
        before = list(c.numbers())
        c.call()
        moved = [(a - b) / works.LR / c.steps for a, b in zip(before, c.numbers())]
        if not all(abs(a - b) <= 1e-2 * most for a, b in zip(moved, expected[1:])):
            raise ArithmeticError(f"{c.name} takes another step: {moved[:3]}…, not {expected[1:4]}…")


def net(
    work: str, net: works.Net, only: Sequence[str] = (), bound: bool = False, rounds: int = ROUNDS
) -> Iterator[Group]:
    """Everybody's steps on a net; `bound` compares those that are one call each as well."""
    entered = [p for p in peers.installed() if not only or p.NAME in only]
    contenders = [c for peer in (ours, *entered) for c in peer.contenders(net, THREADS)]
    agree(contenders, contenders[0])
    work = work if THREADS == 1 else f"{work}, {THREADS} threads"
    operations = net.operations() if net.operations() > 1e5 else 0.0
    told = f", {operations / 1e6:.3g} MFLOP" if operations else ""
    ways = [(work, f"{net.name}: one step{told}", contenders)]
    if bound:
        single = [c for c in contenders if not c.looped]
        ways.append((f"{work}, bound call", f"{net.name}: one step, a call for each", single))
    for name, title, entrants in ways:
        times = in_turns(entrants, wall=THREADS > 1, rounds=rounds)
        yield title, compared(name, entrants, times, THREADS, operations, limits.get("peak"))


def widths() -> Iterator[Group]:
    for width, steps in ((10, 2000), (30, 1000), (50, 600), (100, 300), (200, 150), (300, 100), (500, 60)):
        named = works.quadratic(width, steps=steps)
        yield from net(f"width {width}", named, ("NumPy by hand", "PyTorch", "JAX"), rounds=7)


def courses(work: str, found: Sequence[works.Course]) -> Iterator[Group]:
    """Steps of an optimizer on batches, from few samples to many, beside JAX."""
    entered = [p for p in (ours, *peers.installed()) if hasattr(p, "course_contenders")]
    for course in found:
        contenders = [c for p in entered for c in p.course_contenders(course)]
        agree([c for c in contenders if c.gradient], contenders[0])
        rows = compared(f"{work} {course.batch}", contenders, in_turns(contenders, rounds=5), 1, 0.0, None)
        yield f"{course.name}: one step", rows


def formula() -> Iterator[Group]:
    entered = [p for p in (ours, *peers.installed()) if hasattr(p, "formula_contenders")]
    contenders = [c for p in entered for c in p.formula_contenders()]
    agree(contenders, contenders[0])
    title = f"{works.FORMULA}: value and gradient, one call"
    yield title, compared("formula", contenders, in_turns(contenders), 1, 0.0, None)


def limit() -> Iterator[Group]:
    """What the cores can do, measured."""
    rows = []
    for name, measured in (("fused multiply-adds", peak), ("NumPy, dgemm of 1000 × 1000", dgemm)):
        try:
            rate = measured()
        except ImportError as error:
            rows.append(Row(name, THREADS, mark=f"not measured: {error}"))
            continue
        rows.append(Row(name, THREADS, rate=rate, part=rate / limits["peak"] if "peak" in limits else None))
    yield "the machine's own limit, double precision", rows


def peak() -> float:
    limits["peak"], limits["bits"] = machine.peak(THREADS)
    return limits["peak"]


def dgemm() -> float:
    return machine.dgemm(THREADS)


WORKS: dict[str, Callable[[], Iterator[Group]]] = {
    "limit": limit,
    "tiny": lambda: net("tiny", works.tiny(), bound=True),
    "moons": lambda: net("moons", works.moons()),
    "quadratic": lambda: net("quadratic", works.quadratic()),
    "sigmoid": lambda: net("sigmoid", works.quadratic(act="sigmoid")),
    "widths": widths,
    "digits": lambda: net("digits", works.digits()),
    "adam16": lambda: courses("adam16", works.courses((16, 16))),
    "adam64": lambda: courses("adam64", works.courses((64, 64))),
    "descent": lambda: courses("descent", works.descents()),
    "formula": formula,
    "gpt": gpt.works,
    "eager": eager.steps,
    "depth": eager.chains,
    "compile": compiling.first_steps,
    "random": compiling.tangles,
    "python": compiling.python,
    "drag": page.drags,
    "playground": live.playground,
    "recording": live.recording,
    "laboratory": live.laboratory,
    "formulas": live.formulas,
}


def about() -> dict[str, Any]:
    """The machine and the versions."""
    found = peers.installed()
    return {
        "processor": f"{machine.processor()}, {os.cpu_count()} cores, {platform.system()}",
        "versions": [f"Python {platform.python_version()}", f"{ours.NAME} {ours.VERSION}",
                     *(p.VERSION for p in found), *machine.compilers()],
        "missing": list(peers.missing),
    }  # fmt: skip


def main() -> None:
    warnings.simplefilter("ignore", RuntimeWarning)  # generated Python is meant where it runs
    print(json.dumps({"about": about()}), flush=True)
    for name in sys.argv[1:]:
        for title, rows in WORKS[name]():
            print(json.dumps({"title": title, "rows": [row.plain() for row in rows]}), flush=True)


if __name__ == "__main__":
    main()
