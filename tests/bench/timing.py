"""Timing in turns: all contenders of a work run in one process, one after the other, round after round.

A ratio is taken within a round, so that a busy machine slows both sides of it; what is told is the ratio of
the medians, and the smallest and largest of the rounds.  One thread is timed by processor time, more by the
clock on the wall.  Read works.py next: what is measured.
"""

import gc
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any

TURN = 0.02  # seconds that a turn lasts at least
ROUNDS = 11
SLOW = 0.5  # a call that takes longer gets few rounds
FEW = 3


@dataclass
class Contender:
    """Somebody's way to do a work: `call` does it `steps` times.

    The others are for the check before: `gradient` gives the loss and its derivatives where the work begins,
    in the order of our parameters, and `numbers` the parameters as they are now.
    """

    name: str
    call: Callable[[], Any]
    steps: int = 1
    gradient: Callable[[], Sequence[float]] | None = None
    numbers: Callable[[], Sequence[float]] | None = None
    collecting: bool = True  # Python's garbage collector is on, as it starts
    looped: bool = False  # its steps are made inside
    least: int = 1  # calls in a turn: more where what a call leaves behind burdens the next
    twice: Callable[[], Any] | None = None  # as many steps again: what counts is how much longer that takes
    note: str = ""


@dataclass
class Times:
    """Seconds for one step, one entry a round."""

    rounds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)

    @property
    def minimum(self) -> float:
        return min(self.rounds)

    def ratio(self, ours: "Times") -> tuple[float, float, float]:
        """How many times ours: of the medians of the rounds both took part in, the least, the most."""
        each = [mine / other for mine, other in zip(self.rounds, ours.rounds)]
        return self.median / statistics.median(ours.rounds[: len(each)]), min(each), max(each)


def seconds(wall: bool = False) -> float:
    """Now: by the clock on the wall, or the processor time of this process and of compilers it called."""
    if wall:
        return time.perf_counter()
    spent = os.times()
    return time.process_time() + spent.children_user + spent.children_system


def in_turns(contenders: Sequence[Contender], wall: bool = False, rounds: int = ROUNDS) -> list[Times]:
    """The times of each, over rounds in which each has its turn."""
    clock = time.perf_counter if wall else time.process_time
    times = [Times() for _ in contenders]
    gc.collect()
    gc.freeze()  # what the others have imported is not for this one's collector to look through
    try:
        first = [_turn(c, 1, clock) for c in contenders]
        calls = [c.least if t > TURN or c.twice else _calls(c, clock) for c, t in zip(contenders, first)]
        for i in range(rounds):
            for c, n, t, mine in zip(contenders, calls, first, times):
                if t < SLOW or i < FEW:
                    mine.rounds.append(_turn(c, n, clock) / n / c.steps)
    finally:
        gc.unfreeze()
    return times


def _turn(contender: Contender, calls: int, clock: Callable[[], float]) -> float:
    call, each = contender.call, repeat(None, calls)
    gc.collect()  # what the one before has left behind
    if not contender.collecting:
        gc.disable()
    try:
        start = clock()
        for _ in each:
            call()
        taken = clock() - start
        if contender.twice:
            start = clock()
            contender.twice()
            taken = clock() - start - taken
        return taken
    finally:
        if not contender.collecting:
            gc.enable()


def _calls(contender: Contender, clock: Callable[[], float]) -> int:
    """How many calls make a turn."""
    n = 1
    while (taken := _turn(contender, n, clock)) < TURN / 2:
        n *= 2 if taken > TURN / 20 else 10
    return max(contender.least, n, round(n * TURN / taken))
