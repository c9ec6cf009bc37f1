"""Every form gives the same answers: written-out Python, loops, matrices and machine code.

Nets and random programs go through each, at numbers of samples around every border.  The truth is the engine,
which is held to exact arithmetic in test_programs.py.  Random programs are compiled many at a time, as one
loss over all their parameters, or as one function that returns every value and gradient; each is evaluated at
several points, and every sample has a weight of its own.  The programs differ from commit to commit: SEED=7
in the environment draws those of a failure again.
"""

import os
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from support.forms import FORMS, SIZES, Form, seed_of_the_commit
from support.nets import NETS, Net, columns, eager
from support.oracle import RULES, judge
from support.programs import Program, at_other_inputs, random_program, run
from support.rows import instances

import tinygrad_bp as tg
from tinygrad_bp import Value
from tinygrad_bp.compiler import compile
from tinygrad_bp.compiler.backends.python import emit_python
from tinygrad_bp.ops import OPS, TABLE

SEED = int(os.environ.get("SEED", seed_of_the_commit()))
PROGRAMS = int(os.environ.get("PROGRAMS", "20000"))
BATCH = 50  # programs in one function
POINTS = 3  # at which each is evaluated

# ---- nets --------------------------------------------------------------------------------------------------


def sizes_of(name: str) -> tuple[int, ...]:
    return SIZES if name not in ("long sum", "deep chain") else (1, 9)  # they take seconds in the engine


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", NETS)
def test_every_net(name: str, form: str) -> None:
    if form == "machine code":
        pytest.importorskip("llvmlite")
    net = NETS[name]()
    step = compile(net.loss, net.params, example=tuple([0.5] * w if w else 0.5 for w in net.widths))
    answers = Form(step, form).answers
    for n in sizes_of(name):
        data = repeated(net, n)
        total, sums, sizes = repeated_truth(net, n)
        *grads, loss = answers(data)
        scale = max(*sizes, 1e-3)
        assert abs(loss - total) <= 1e-13 * max(abs(total), 1e-3), n
        assert max(abs(a - b) for a, b in zip(grads, sums, strict=True)) <= 1e-13 * scale, n


PERIOD = 11  # samples that differ; it divides no block and no tile


def repeated(net: Net, n: int) -> list[Any]:
    return [[column[i % PERIOD] for i in range(n)] for column in columns(net, PERIOD)]


def repeated_truth(net: Net, n: int) -> tuple[float, list[float], list[float]]:
    """The engine's loss and gradient, and the sums of magnitudes, of so many samples."""
    total, sums, sizes = 0.0, [0.0] * len(net.params), [0.0] * len(net.params)
    for i in range(min(n, PERIOD)):
        times = len(range(i, n, PERIOD))
        value, grads, magnitudes = eager(net, [[column[i]] for column in columns(net, PERIOD)])
        total += times * value
        sums = [x + times * g for x, g in zip(sums, grads)]
        sizes = [x + times * g for x, g in zip(sizes, magnitudes)]
    return total, sums, sizes


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("times", [2, 4, 5, 8, 9, 17])
def test_one_value_many_times_in_a_sum(times: int, form: str) -> None:
    """All terms of the list lie at one address."""
    if form == "machine code":
        pytest.importorskip("llvmlite")

    def f(x: Any, y: Any) -> list[Any]:
        a, b = x * y, x + y
        return [
            a,
            b,
            tg.sum(*[a] * times),
            tg.dot([a] * times, [b] * times),
            tg.dot([3.0] * times, [a] * times),
        ]

    answers = Form(compile(f, example=(0.5, 0.5)), form).answers
    for n in SIZES:
        found = answers([[2.0] * n, [3.0] * n])
        assert found == [6.0, 5.0, 6.0 * times, 30.0 * times, 18.0 * times] * n


@pytest.mark.parametrize("form", FORMS)
def test_the_entry_of_a_list_of_one(form: str) -> None:
    """Two operands that are stored, as those of most operations are; but the second is a list."""
    if form == "machine code":
        pytest.importorskip("llvmlite")
    answers = Form(compile(lambda x, i: [tg.take([x], i), x, i], example=(0.5, 0.0)), form).answers
    for n in SIZES:
        assert answers([[2.5] * n, [0.0] * n]) == [2.5, 2.5, 0.0] * n


# ---- random programs ---------------------------------------------------------------------------------------


def apply(name: str, xs: Sequence[Any], constants: Sequence[float]) -> Any:
    return OPS[name](*xs, *constants)


class Point:
    """A program at some inputs, and what the engine says there."""

    def __init__(self, program: Program, factors: Sequence[float]) -> None:
        leaves = [*map(Value, program.inputs)]
        o = run(program, leaves, apply)[-1]
        self.program, self.factors = program, factors
        self.value, self.grads = o.data, tg.gradients(o, leaves)

    def tolerances(self) -> list[float]:
        """How far off a careful computation may be: of each gradient, and then of the value.

        Matrices read the slopes of tanh and sigmoid off the output, which costs digits where they are small.
        """
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(RULES, "tanh", replace(RULES["tanh"], partials=lambda m, o, x: (1 - o * o,)))
            patch.setitem(
                RULES, "sigmoid", replace(RULES["sigmoid"], partials=lambda m, o, x: (o * (1 - o),))
            )
            values, adjoints = judge(self.program)
        return [x.tolerance for x in (*adjoints[: len(self.program.inputs)], values[-1])]


class Case:
    """A program of a batch, at several points. Each input is a parameter, comes with the sample, or both."""

    def __init__(self, seed: int, summed: bool) -> None:
        rng = random.Random(seed)
        self.program = program = random_program(seed)
        ways = ["parameter", "input", "product"] if summed else ["input"]
        self.ways = [rng.choice(ways) for _ in program.inputs]
        self.params = [Value(x) for x in program.inputs]
        self.points = [Point(program, [1.0] * len(program.inputs))]
        for _ in range(4 * POINTS):
            factors = [1.0 if way == "parameter" else rng.choice([1.0, 0.5, 2.0, 1.25, -1.0, 0.75])
                       for way in self.ways]  # fmt: skip
            moved = at_other_inputs(program, [x * f for x, f in zip(program.inputs, factors)])
            if moved and len(self.points) < POINTS:
                self.points.append(Point(moved, factors))

    def point(self, sample: int) -> Point:
        return self.points[sample % len(self.points)]

    def numbers(self, sample: int) -> list[float]:
        """What a sample holds for this program: an input, or the factor of a parameter."""
        point = self.point(sample)
        return [
            x if way == "input" else f for way, f, x in zip(self.ways, point.factors, point.program.inputs)
        ]

    def output(self, given: Sequence[Any]) -> Any:
        found = {"parameter": lambda p, x: p, "input": lambda p, x: x, "product": lambda p, x: p * x}
        return run(
            self.program, [found[way](p, x) for way, p, x in zip(self.ways, self.params, given)], apply
        )[-1]


class Batch:
    """Many programs as one function of a weight and a row of numbers."""

    def __init__(self, first: int, summed: bool) -> None:
        self.summed = summed
        self.cases = [Case(seed, summed) for seed in range(first, first + BATCH)]
        width = len(self.row(0))
        params = [p for case in self.cases for p in case.params] if summed else None
        self.compiled = compile(self.f, params, example=(1.0, [0.5] * width))

    def row(self, sample: int) -> list[float]:
        return [x for case in self.cases for x in case.numbers(sample)]

    def weight(self, sample: int) -> float:
        return 1.0 + 0.25 * (sample % 5) if self.summed else 1.0

    def f(self, weight: Any, row: Sequence[Any]) -> Any:
        rest, outputs = iter(row), []
        for case in self.cases:
            given = [next(rest) for _ in case.program.inputs]
            o = case.output(given)
            outputs += [o] if self.summed else [*tg.gradients(o, given, create_graph=True), o]
        return weight * tg.sum(*outputs) if self.summed else outputs

    def wrong(self, form: str, sizes: Sequence[int]) -> list[str]:
        """What a form gets wrong, as a text for each number."""
        found, runner = [], Form(self.compiled, form)
        for n in sizes:
            data = [[self.weight(i) for i in range(n)], [self.row(i) for i in range(n)]]
            answers = iter(runner.answers(data))
            for samples in [range(n)] if self.summed else [range(i, i + 1) for i in range(n)]:
                for case in self.cases:
                    for text in self.judged(case, samples, answers):
                        found.append(f"{form}, {n} samples: {text}\n{case.program.source()}")
        return found

    def judged(self, case: Case, samples: Sequence[int], answers: Any) -> list[str]:
        """What is wrong with a program's gradient, or gradient and value, summed over these samples."""
        wrong = []
        count = len(case.program.inputs) + (not self.summed)
        for k in range(count):
            got, truth, size = next(answers), 0.0, 0.0
            for i in samples:
                point = case.point(i)
                share = self.weight(i) * [*point.grads, point.value][k]
                if self.summed:
                    share *= {"parameter": 1.0, "input": 0.0, "product": point.factors[k]}[case.ways[k]]
                truth, size = truth + share, size + abs(share)
            if abs(got - truth) <= 1e-6 * size + 1e-300:
                continue
            slack = sum(64.0 * abs(self.weight(i)) * case.point(i).tolerances()[k] for i in samples)
            if not abs(got - truth) <= slack:
                what = f"gradient by x{k}" if k < len(case.program.inputs) else "value"
                wrong.append(f"{what} is {got!r}, and not {truth!r}:")
        return wrong


def check(part: int, forms: Sequence[str], sizes: Sequence[int]) -> None:
    first = (SEED + part) * BATCH
    print(f"SEED={SEED}: programs {first} to {first + BATCH - 1}")
    batch = Batch(first, summed=part % 2 == 0)
    wrong = [text for form in forms for text in batch.wrong(form, sizes)]
    assert not wrong, f"{len(wrong)} wrong, such as\n{wrong[0]}"


@pytest.mark.parametrize("part", range(1000 // BATCH))
def test_random_programs(part: int) -> None:
    """1,000 in generated Python and in matrices."""
    check(part, [form for form in FORMS if form != "machine code"], SIZES)


@pytest.mark.parametrize("part", range(300 // BATCH))
def test_random_programs_in_machine_code(part: int) -> None:
    """300, each in two of the layouts: a sample alone, a few, one vector of samples, tiles."""
    pytest.importorskip("llvmlite")
    layouts = [[1], [3], [7, 8], [9, 17, 65]]
    check(part, ["machine code"], layouts[part // 2 % 4] + layouts[(part // 2 + 2) % 4])


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PROGRAMS // BATCH))
def test_many_random_programs(part: int) -> None:
    forms = FORMS if part % 4 == 0 else [form for form in FORMS if form != "machine code"]
    check(1000 + part, forms, SIZES)


# ---- printed source ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(TABLE))
def test_the_printed_source_of_every_row_runs_by_itself(name: str) -> None:
    """Nothing but what it imports is given to it."""
    row = instances(name)[0]
    arity = row.operands or 3

    def f(*xs: Any) -> list[Any]:
        o = row(*xs)
        return [o, *tg.gradients(o, list(xs), create_graph=True)]

    h = compile(f, example=(0.5,) * arity)
    printed: dict[str, Any] = {}
    exec(h.source("python"), printed)
    matrices: dict[str, Any] = {}
    exec(h.source("matrix"), matrices)
    for point in ([0.5, 0.25, 0.75][:arity], [1.5, 3.0, -2.0][:arity]):
        truth = [getattr(v, "data", v) for v in f(*map(Value, point))]
        assert list(*printed["run"]([], [point])) == pytest.approx(truth, rel=1e-14, nan_ok=True)
        with np.errstate(all="ignore"):
            found = matrices["run"](np, np.zeros(0), *[np.array([x]) for x in point])
        assert found[0].tolist() == pytest.approx(truth, rel=1e-13, nan_ok=True)


def test_what_is_printed_are_loops_also_where_the_written_out_form_runs() -> None:
    model = tg.MLP(2, [16, 16, 1], act="tanh", rng=random.Random(0))
    loss = tg.losses.squared_error
    step = compile(lambda x, y: loss(model(x), y), model.parameters(), example=([0.0] * 2, 0.0))
    lines = step.source("python").splitlines()
    assert "    R[24:40] = [tanh(a0) for a0 in R[8:24]]" in lines
    assert len(lines) < 90
    assert len(emit_python(step._last.rolled)[0].splitlines()) > 400


def test_the_printed_source_takes_an_operation_of_yours_from_the_table() -> None:
    """Two instances of a row are two functions."""
    row = tg.op("scaled_in_python", lambda x, c: c * x * x, lambda o, x, c: (2.0 * c * x,),
                constants={"c": None})  # fmt: skip
    h = compile(lambda x: row(x, 2.0) + row(x, 3.0), example=(1.0,))
    printed: dict[str, Any] = {}
    exec(h.source("python"), printed)
    assert printed["run"]([], [[3.0]]) == [(45.0,)]
