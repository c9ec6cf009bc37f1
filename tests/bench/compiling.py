"""Compile times against the size of the graph, and generated Python, which runs where llvmlite is not.

Seconds are processor time, those of a C compiler that was called counted too, from the function to its first
result.  What anybody does once in a process is done before, on a small graph.
"""

import random
import sys
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import ours
import peers
import works
from rows import Row, compared, spent
from timing import Contender, in_turns, seconds

import tinygrad_bp as tg

Group = tuple[str, list[Row]]
PATIENCE = 6.0  # seconds: whoever took longer is not asked for the next size


def first_steps() -> Iterator[Group]:
    """From the model to a step that was taken."""
    others = [p for p in peers.installed() if hasattr(p, "first_step_seconds")]
    for p in others:
        p.first_step_seconds(works.quadratic(2))
    first_step(works.quadratic(2))
    for net in (*map(works.quadratic, (10, 30, 100, 300)), works.digits()):
        sizes = "-".join(map(str, net.sizes))
        work = f"compile {sizes}"
        parameters = sum((a + 1) * b for a, b in pairwise(net.sizes))
        took, step = first_step(net)
        rows = [spent(work, "tinygrad_bp", took, found_in(step))]
        rows += [spent(work, *each) for p in others for each in p.first_step_seconds(net).items()]
        yield f"compile time, {sizes}, {parameters:,} parameters", rows


def found_in(step: Any) -> str:
    """How many statements in how many loop nests, in the compiler's words."""
    return str(step.report().splitlines()[0].partition(": ")[2].partition(",")[0])


def first_step(net: works.Net) -> tuple[float, Any]:
    model, data = ours.model_of(net), ours.columns_of(net)
    begin = seconds()
    step = tg.compile(ours.loss_of(net, model), model.parameters())
    step.train(*data, lr=works.LR, steps=1)
    return seconds() - begin, step


def tangles() -> Iterator[Group]:
    """A graph of operations at random: no structure to find, for anybody."""
    numbers = [i / 50 for i in range(50)]
    tired: dict[str, str] = {}
    others = [p for p in peers.installed() if hasattr(p, "tangle_seconds")]
    for n in (100, 500, 6_000):
        work = f"compile {n} at random"
        ws = [tg.Value(w) for w in numbers]
        begin = seconds()
        step = tg.compile(lambda x, n=n, ws=ws: works.tangle(tg, n, x, ws), ws)
        value, _ = step.value_and_grad([0.5])
        rows = [spent(work, "tinygrad_bp", seconds() - begin, found_in(step))]
        for p in others:
            if p.NAME in tired:
                rows.append(Row(p.NAME, mark=f"not asked: {tired[p.NAME]}"))
                continue
            for name, (took, theirs) in p.tangle_seconds(n, numbers).items():
                if not abs(theirs - value) <= 1e-9:
                    raise ArithmeticError(f"{name} computes something else: {theirs!r}, not {value!r}")
                rows.append(spent(work, name, took))
                if took > PATIENCE:
                    tired[p.NAME] = f"{n:,} took {took:.3g} s"
        yield f"compile time, {n:,} operations at random and their gradient", rows


def python() -> Iterator[Group]:
    """Generated Python against the engine, in a process of its own that has no llvmlite."""
    sys.modules["llvmlite"] = None  # importing it fails
    for sizes, n in (((2, 16, 16, 1), 100), ((1, 100, 100, 100, 1), 48)):
        rng = random.Random(2)
        xs = [[rng.uniform(-1.0, 1.0) for _ in range(sizes[0])] for _ in range(n)]
        net = works.Net("", sizes, xs, [rng.uniform(-1.0, 1.0) for _ in range(n)], 1)
        model = ours.model_of(net)
        params, loss = model.parameters(), ours.loss_of(net, model)
        step = tg.compile(loss, params)
        call = step.bind(xs, net.targets)

        def eager(net: Any = net, model: Any = model, params: Any = params, loss: Any = loss) -> list[float]:
            for p in params:
                p.grad = 0.0
            values = [loss(x, y) for x, y in zip(net.inputs, net.targets)]
            for value in values:
                value.backward()
            return [sum(v.data for v in values), *(p.grad for p in params)]

        call()
        if step.how != "generated Python":
            raise RuntimeError("generated Python is measured where llvmlite cannot be imported")
        value, grads = step.value_and_grad(xs, net.targets)
        for mine, theirs in zip([value, *grads], eager()):
            if abs(mine - theirs) > 1e-9 * max(1.0, abs(theirs)):
                raise ArithmeticError(f"generated Python gives {mine!r}, and the engine {theirs!r}")
        contenders = [
            Contender("tinygrad_bp, generated Python", call),
            Contender("tinygrad_bp, the engine", eager),
        ]
        times = in_turns(contenders, rounds=7)
        name = "-".join(map(str, sizes))
        rows = compared("python", contenders, times, 1, 0.0, None)
        yield f"without llvmlite: {name}, {n} samples, value and gradient", rows
