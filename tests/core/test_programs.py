"""Random programs through the engine, held to an oracle that knows nothing of the engine.

20,000 programs run here; PROGRAMS=100000 SEED=7 in the environment draws more, and others. A million more:
`pytest -m slow tests/core/test_programs.py -n auto`, or as many as MANY=100000 says. A failure prints the
program with its seed: `random_program(seed)` draws it again, and its text can be pasted into Python. The
other tests are about the oracle: its derivatives are right, its tolerances tight, and a wrong rule is caught.
Read next: `oracle.py` and `programs.py`.
"""

from __future__ import annotations

import math
import os
import random
from collections import defaultdict
from collections.abc import Callable, Iterator

import pytest
from support.oracle import (
    EXACT,
    PLAIN,
    RULES,
    UNIT,
    judge_column,
    outside,
    partials_of,
    rough_numbers,
    sweep,
    value_of,
)
from support.programs import CONSTANTS, FEWEST, MOST, Draft, Program, Step, random_input, random_program, run

from tinygrad_bp import Value, gradients
from tinygrad_bp.engine import edges, newest_first
from tinygrad_bp.ops import OPS, TABLE

PROGRAMS = int(os.environ.get("PROGRAMS", "20000"))
MANY = int(os.environ.get("MANY", "1000000"))
HESSIANS = int(os.environ.get("HESSIANS", "60"))
SEED = int(os.environ.get("SEED", "0"))
CHUNKS = 40  # tests, so that several processes share the work

# ---- the engine --------------------------------------------------------------------------------------------


def engine(program: Program) -> tuple[dict[int, float], dict[int, float]]:
    """Value and adjoint of every node."""
    nodes = run(program, map(Value, program.inputs), lambda name, xs, constants: OPS[name](*xs, *constants))
    nodes[-1].backward()
    return {i: v.data for i, v in enumerate(nodes)}, {i: v.grad for i, v in enumerate(nodes)}


def failures(program: Program, evaluate: Callable[[Program], tuple] = engine) -> list[str]:
    """What a program gets wrong, with the program itself at the end."""
    try:
        wrong = outside(program, *evaluate(program))
    except Exception as error:
        wrong = [f"raised {type(error).__name__}: {error}"]
    return [f"{wrong[0]} (worst of {len(wrong)})\n{program.source()}"] if wrong else []


def hold(first: int, count: int, chunk: int, judged: Callable[[Program], list[str]] = failures) -> None:
    """Fail with what is wrong in this chunk of `count` programs from seed `first` on."""
    seeds = range(first + count * chunk // CHUNKS, first + count * (chunk + 1) // CHUNKS)
    wrong = [text for seed in seeds for text in judged(random_program(seed))]
    if wrong:
        pytest.fail(
            "\n\n".join([f"{len(wrong)} programs are outside; the first:", *wrong[:3]]), pytrace=False
        )


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_the_engine_is_right_on_random_programs(chunk):
    hold(SEED * 10_000_000, PROGRAMS, chunk)


@pytest.mark.slow
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_the_engine_is_right_on_a_million_random_programs(chunk):
    hold(SEED * 10_000_000 + 5_000_000, MANY, chunk)


def magnitudes(gradient: Value) -> dict[Value, float]:
    """The adjoints of a recorded gradient, every contribution taken positive: rounding is a part of these."""
    sizes = defaultdict(float, {gradient: 1.0})
    for v in newest_first([gradient]):
        for x, d in edges(v):
            sizes[x] += abs(d) * sizes[v]
    return sizes


def second_failures(program: Program) -> list[str]:
    """What the Hessian gets wrong, away from kinks; 64 roundings of the contributions are allowed besides."""
    leaves = [Value(x) for x in program.inputs]
    root = run(program, leaves, lambda name, xs, constants: OPS[name](*xs, *constants))[-1]
    rows = gradients(root, leaves, create_graph=True)
    hessian, sizes = [gradients(g, leaves) for g in rows], [magnitudes(g) for g in rows]
    wrong = []
    for i in range(len(leaves)):
        for k, number in enumerate(judge_column(program, i) or ()):
            got = hessian[k][i]
            if not number.error(got) <= number.tolerance + 64 * UNIT * sizes[k][leaves[i]]:
                told = f"d2/dx{k}dx{i}: true {number.truth!r}, got {got!r}"
                wrong.append(f"{told}, {number.tolerance:.3g} allowed\n{program.source()}")
    return wrong


def moderate(program: Program) -> bool:
    """Whether second derivatives are far from overflowing."""
    return all(x == 0 or 1e-40 < abs(x) < 1e40 for part in sweep(program, PLAIN) for x in part)


@pytest.mark.parametrize("chunk", range(0, CHUNKS, 4))
def test_hessians_are_right_on_random_programs(chunk):
    seeds = range(
        SEED * 10_000_000 + HESSIANS * chunk // CHUNKS, SEED * 10_000_000 + HESSIANS * (chunk + 4) // CHUNKS
    )
    programs = [program for program in map(random_program, seeds) if moderate(program)]
    assert programs
    wrong = [text for program in programs for text in second_failures(program)]
    assert not wrong, f"{len(wrong)} second derivatives are outside; the first:\n\n" + "\n\n".join(wrong[:3])


def test_a_wrong_second_derivative_is_caught(monkeypatch):
    """With the slope of tanh's slope off in the tenth digit."""
    programs = [p for p in map(random_program, range(25)) if any(s.name == "tanh" for s in p.steps)]
    right = [p for p in programs if moderate(p) and not second_failures(p)]
    rule = OPS["sech2"].slopes
    monkeypatch.setattr(OPS["sech2"], "slopes", lambda o, x: (rule(o, x)[0] * (1.0 + 1e-10),))
    assert len(right) >= 3 and sum(bool(second_failures(p)) for p in right) >= 2


def test_the_table_and_the_oracle_have_the_same_operations():
    assert RULES.keys() <= TABLE  # a row that has no rule yet is in no random program
    assert {name for name in RULES if RULES[name].partials} == {name for name in RULES if OPS[name].partials}
    assert {name: RULES[name].operands for name in RULES} == {name: OPS[name].operands for name in RULES}


# ---- the programs ------------------------------------------------------------------------------------------


def shares_a_node(program: Program) -> bool:
    consumed = [i for step in program.steps for i in set(step.operands) if i >= len(program.inputs)]
    return len(set(consumed)) < len(consumed)


def test_programs_are_what_they_should_be():
    programs = [random_program(seed) for seed in range(500)]
    steps = [step for program in programs for step in program.steps]
    inputs = [abs(x) for program in programs for x in program.inputs]
    assert {step.name for step in steps} == set(RULES)
    assert {len(program.steps) for program in programs} == set(range(FEWEST, MOST + 1))
    assert sum(map(shares_a_node, programs)) > 450
    assert sum(x > 1e6 for x in inputs) > 50 and sum(0 < x < 1e-6 for x in inputs) > 50
    assert any(len(set(step.operands)) < len(step.operands) for step in steps)


def test_a_seed_always_draws_the_same_program():
    assert random_program(12) == random_program(12) != random_program(13)


@pytest.mark.parametrize("seed", range(5))
def test_the_text_of_a_program_is_the_program(seed):
    program, names = random_program(seed), {}
    exec(program.source(), names)
    values, gradients = engine(program)
    assert [names[program.name(i)].data for i in values] == [*values.values()]
    assert [names[program.name(i)].grad for i in values] == [*gradients.values()]


# ---- the oracle --------------------------------------------------------------------------------------------


def points(name: str, count: int) -> Iterator[tuple[list[float], tuple[float, ...]]]:
    """Operands and constants inside the domain of an operation and off its kinks."""
    rng, rule = random.Random(f"points {name}"), RULES[name]
    while count:
        draft = Draft(rng)
        xs = draft.values = [random_input(rng) for _ in range(rule.operands or rng.randint(2, 6))]
        draft.errors = [0.0 if name == "take" else 1e-16] * len(xs)
        if name == "take":
            xs[0] = float(rng.randrange(len(xs) - 1))  # an index
        step = Step(name, tuple(range(len(xs))), rng.choice(CONSTANTS.get(name, [()])))
        usual = all(1e-9 < abs(x) < 1e9 for x in xs[name == "take" :])
        if usual and draft.clear(step, xs) and draft.evaluate(step):
            count -= 1
            yield xs, step.constants


@pytest.mark.parametrize("name", RULES)
def test_partials_are_the_derivatives_of_values(name):
    for xs, constants in points(name, 5):
        operands, fixed = [EXACT.number(x) for x in xs], [EXACT.number(c) for c in constants]
        value = value_of(EXACT, name, operands, fixed)
        for i, partial in enumerate(partials_of(EXACT, name, value, operands, fixed)):
            which = tuple(int(j == i) for j in range(len(xs)))

            def f(*ys, fixed=fixed):
                return value_of(EXACT, name, ys, fixed)

            slope = EXACT.context.diff(f, tuple(operands), which)
            assert abs(slope - partial) <= 1e-50 * max(1, abs(partial)), (name, xs, constants, i)


@pytest.mark.parametrize("name", RULES)
def test_formulas_in_doubles_are_as_good_as_doubles_allow(name):
    """So the tolerance tells how the program magnifies rounding, and not how bad a formula is."""
    sizes: list[float] = []  # of whatever is rounded on the way
    rough = rough_numbers(lambda x: sizes.append(abs(x)) or x)
    for xs, constants in points(name, 200):
        operands, fixed = [EXACT.number(x) for x in xs], [EXACT.number(c) for c in constants]
        sizes.clear()
        value, truth = value_of(rough, name, xs, constants), value_of(EXACT, name, operands, fixed)
        assert abs(value - truth) <= 4 * math.ulp(max([abs(value), *sizes])), (name, xs, constants)
        sizes.clear()
        slopes = partials_of(rough, name, value, xs, constants)
        for slope, true in zip(slopes, partials_of(EXACT, name, truth, operands, fixed)):
            assert abs(slope - true) <= 6 * math.ulp(max([abs(slope), *sizes])), (name, xs, constants)


@pytest.mark.parametrize(
    "name, xs, constants, partials",
    [
        ("relu", [0.0], [], [0]),
        ("abs", [0.0], [], [0]),
        ("leaky_relu", [0.0], [0.1], [0.1]),
        ("elu", [0.0], [1.7], [1]),
        ("elu", [0.0], [0.5], [0.5]),
        ("max", [1.0, 1.0], [], [0.5, 0.5]),
        ("min", [1.0, 1.0], [], [0.5, 0.5]),
        ("max", [1.0, 0.0, 1.0], [], [0.5, 0, 0.5]),
        ("hardtanh", [-1.0], [-1.0, 1.0], [1]),
        ("clip", [1.0], [0.0, 1.0], [1]),
        ("clip", [0.0], [0.0, 1.0], [1]),
        ("where", [0.0, 3.0, 4.0], [], [0, 0, 1]),
        ("hypot", [0.0, 0.0], [], [0, 0]),
        ("powc", [0.0], [1.0], [1]),
        ("powc", [0.0], [2.0], [0]),
        ("floor", [2.0], [], [0]),
    ],
)
def test_at_a_kink_the_oracle_takes_the_least_norm(name, xs, constants, partials):
    assert partials_of(PLAIN, name, value_of(PLAIN, name, xs, constants), xs, constants) == partials


# ---- that the test can fail --------------------------------------------------------------------------------


def scaled(program: Program, name: str, factor: float) -> tuple[dict[int, float], dict[int, float]]:
    """The oracle's own run in doubles, with one rule wrong by a factor."""
    values, adjoints = sweep(program, PLAIN, {name: factor})
    return dict(enumerate(values)), dict(enumerate(adjoints))


@pytest.mark.parametrize("name", [name for name in RULES if RULES[name].partials])
def test_a_rule_that_is_wrong_in_the_tenth_digit_is_caught(name):
    programs = [p for p in map(random_program, range(120)) if any(step.name == name for step in p.steps)]
    caught = [p for p in programs if outside(p, *scaled(p, name, 1.0 + 1e-10))]
    assert len(caught) >= 3
    assert not [p for p in programs if outside(p, *scaled(p, name, 1.0))]


def test_wrong_gradients_and_values_of_the_engine_are_caught():
    programs = [random_program(seed) for seed in range(100)]
    for factors in ((1.0, 1.0 + 1e-10), (1.0 + 1e-10, 1.0)):

        def off(program: Program, factors: tuple[float, float] = factors) -> tuple:
            return tuple({i: x * f for i, x in part.items()} for part, f in zip(engine(program), factors))

        assert sum(bool(failures(program, off)) for program in programs) >= 95


def test_a_failure_names_the_seed_the_program_and_the_worst_number():
    program = random_program(3)

    def swapped(program: Program) -> tuple[dict[int, float], dict[int, float]]:
        values, gradients = engine(program)
        return values, {**gradients, 0: gradients[1], 1: gradients[0]}

    (text,) = failures(program, swapped)
    assert text.startswith("gradient of x") and "is allowed" in text
    assert "# random_program(3)\n" in text and text.endswith(".backward()")


def test_nan_is_outside():
    program = random_program(3)
    values, gradients = engine(program)
    assert "got nan" in outside(program, values, {**gradients, 0: math.nan})[0]
