"""Random programs: straight lines of 3 to 50 operations with shared nodes and mixed magnitudes.

`random_program(seed)` draws one; `run(program, leaves, apply)` evaluates it with anything that has operations
(the engine, compiled code, symbols); `program.source()` is the program as text to paste. Every operation is
drawn inside its domain, and clear of its kinks by a margin far wider than rounding, or else exactly on one:
so there is a true answer, and arithmetic in doubles makes the same choices as the real numbers.
Read next: `oracle.py` (what a program should answer) and `test_programs.py`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from support.oracle import PLAIN, RULES, UNIT, partials_of, rough_numbers, sweep, value_of

FEWEST, MOST = 3, 50
MARGIN = 1e4  # how many errors of its operands an operation keeps away from kinks and borders
PRECISE = 1e-7  # the largest relative error of a node: nothing is computed from lost digits
HUGE_NODE = 1e140  # nodes stay between this and its inverse, so their squares are normal doubles
HUGE_SLOPE = 1e250  # so do partials, and what adds up to an adjoint


@dataclass(frozen=True)
class Step:
    """One operation on earlier nodes, by their numbers: the inputs come first, then the steps in order."""

    name: str
    operands: tuple[int, ...]
    constants: tuple[float, ...] = ()


@dataclass(frozen=True)
class Program:
    """Inputs and steps; the root is the last node."""

    seed: int
    inputs: tuple[float, ...]
    steps: tuple[Step, ...]

    def name(self, node: int) -> str:
        return f"x{node}" if node < len(self.inputs) else f"v{node - len(self.inputs)}"

    def source(self) -> str:
        """The program as Python that runs."""
        lines = [f"# random_program({self.seed})"]
        lines += ["from tinygrad_bp import Value", "from tinygrad_bp.ops import OPS"]
        lines += [f"{self.name(i)} = Value({x!r})" for i, x in enumerate(self.inputs)]
        for i, step in enumerate(self.steps, len(self.inputs)):
            arguments = [self.name(j) for j in step.operands] + [repr(c) for c in step.constants]
            lines.append(f"{self.name(i)} = OPS[{step.name!r}]({', '.join(arguments)})")
        return "\n".join([*lines, f"{self.name(i)}.backward()"])


def run(program: Program, leaves: Iterable[Any], apply: Callable[..., Any]) -> list[Any]:
    """All nodes of a program, computed from its leaves by apply(name, operands, constants)."""
    nodes = list(leaves)
    for step in program.steps:
        nodes.append(apply(step.name, [nodes[i] for i in step.operands], step.constants))
    return nodes


# ---- drawing -----------------------------------------------------------------------------------------------

CONSTANTS: dict[str, Sequence[tuple[float, ...]]] = {
    "powc": [(n,) for n in (-3.0, -2.0, -1.0, -0.5, 0.0, 0.3, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 7.0)],
    "leaky_relu": [(0.01,), (0.1,), (0.3,)],
    "elu": [(0.5,), (1.0,), (1.7,)],
    "clamp": [(-1.0, 1.0), (0.0, 3.5)],
    "hardtanh": [(-1.0, 1.0)],
    "clip": [(0.0, 1.0), (-1.0, 1.0), (-0.25, 3.5)],
}
FLAT = [name for name, rule in RULES.items() if rule.partials is None]  # paths end at these: fewer of them
SMOOTH = [name for name in RULES if name not in FLAT]


def random_input(rng: random.Random) -> float:
    """Mostly of order one; sometimes tiny, large or extreme; sometimes the numbers that kinks sit on."""
    kind, sign = rng.random(), rng.choice((-1.0, 1.0))
    if kind < 0.65:
        return rng.uniform(-2.5, 2.5)
    if kind < 0.82:
        return sign * 10.0 ** rng.uniform(-8.0, 8.0)
    if kind < 0.95:
        return rng.choice((0.0, 0.0, 1.0, -1.0, 0.5, -0.5, 2.0, 3.0, -4.0, 1e-8, 1e8))
    return sign * 10.0 ** rng.uniform(-100.0, 100.0)


def random_operands(rng: random.Random, count: int | None, nodes: int) -> tuple[int, ...]:
    """Node numbers: most of them recent (programs grow deep), the others from anywhere."""
    count = count or rng.randint(2, 7)
    return tuple(rng.randrange(max(0, nodes - 4) if rng.random() < 0.6 else 0, nodes) for _ in range(count))


class Draft:
    """A program in the making: the nodes so far, in doubles, with a bound on the error of each."""

    def __init__(self, rng: random.Random):
        self.rng = rng
        self.inputs = tuple(random_input(rng) for _ in range(rng.randint(1, 6)))
        self.steps: list[Step] = []
        self.values = list(self.inputs)
        self.errors = [0.0] * len(self.inputs)

    def add(self, name: str) -> bool:
        """Try to append an operation, with operands that suit it."""
        for _ in range(6):
            operands = random_operands(self.rng, RULES[name].operands, len(self.values))
            step = Step(name, operands, self.rng.choice(CONSTANTS.get(name, [()])))
            node = self.evaluate(step)
            if node is not None:
                self.append(step, *node)
                return True
        return False

    def append(self, step: Step, value: float, error: float) -> None:
        self.steps.append(step)
        self.values.append(value)
        self.errors.append(error)

    def evaluate(self, step: Step, choosy: bool = True) -> tuple[float, float] | None:
        """Value and error bound of a step; None if it must not be taken there, or mostly if it is huge."""
        operands = [self.values[i] for i in step.operands]
        try:
            if not self.clear(step, operands):
                return None
            value = value_of(PLAIN, step.name, operands, step.constants)
            partials = partials_of(PLAIN, step.name, value, operands, step.constants)
        except (ArithmeticError, ValueError):
            return None
        error = self.error(step, value, partials)
        unlikely = choosy and not 1e-9 < abs(value) < 1e9 and value != 0.0 and self.rng.random() < 0.7
        if unlikely or error > PRECISE * abs(value) or not normal(value, HUGE_NODE):
            return None
        return (value, error) if all(normal(d, HUGE_SLOPE) for d in partials) else None

    def clear(self, step: Step, operands: list[float]) -> bool:
        """Whether the operands are well inside the domain, and off every kink or exactly known."""
        rule, margin = RULES[step.name], MARGIN * sum(self.errors[i] for i in step.operands)
        if rule.domain and not rule.domain(*operands, *step.constants) > margin:
            return False
        same = len(operands) > 1 and len(set(step.operands)) == 1  # max(a, a) is a tie, whatever a's error
        return not (rule.kink and margin and not same) or rule.kink(*operands, *step.constants) > margin

    def error(self, step: Step, value: float, partials: list[float]) -> float:
        """The errors of the operands carried over (to first order), and the operation's own."""
        slopes: dict[int, float] = {}
        for i, d in zip(step.operands, partials):
            slopes[i] = slopes.get(i, 0.0) + d
        rule = RULES[step.name]
        terms = [self.values[i] * d for i, d in zip(step.operands, partials)] if rule.sums else [value]
        own = 0.0 if rule.exact else 4.0 * UNIT * sum(map(abs, terms))
        return sum(abs(d) * self.errors[i] for i, d in slopes.items()) + own

    def finish(self, seed: int) -> Program:
        """Sum what nothing has used yet, so that everything matters."""
        used = {i for step in self.steps for i in step.operands}
        loose = [i for i in range(len(self.inputs), len(self.values)) if i not in used]
        steps = self.steps if len(loose) == 1 else [*self.steps, Step("sum", tuple(loose))]
        return Program(seed, self.inputs, tuple(steps))


def normal(x: float, huge: float) -> bool:
    return x == 0.0 or 1.0 / huge < abs(x) < huge


def usable(program: Program) -> bool:
    """Whether some input has a gradient, and no contribution on the way over- or underflows."""
    products: list[float] = []
    _, adjoints = sweep(program, rough_numbers(lambda x: products.append(x) or x))
    return any(adjoints[: len(program.inputs)]) and all(normal(x, HUGE_SLOPE) for x in products)


def at_other_inputs(program: Program, inputs: Iterable[float]) -> Program | None:
    """The same steps from other inputs; None where an operation leaves its domain or comes near a kink."""
    moved = replace(program, inputs=tuple(inputs))
    draft = Draft(random.Random(0))
    draft.inputs, draft.values, draft.errors = moved.inputs, list(moved.inputs), [0.0] * len(moved.inputs)
    for step in moved.steps:
        node = draft.evaluate(step, choosy=False)
        if node is None:
            return None
        draft.append(step, *node)
    return moved if usable(moved) else None


def random_program(seed: int) -> Program:
    """The program of that seed: always the same."""
    rng = random.Random(seed)
    while True:
        draft, count = Draft(rng), rng.randint(FEWEST, MOST - 1)
        for _ in range(20 * count):
            draft.add(rng.choice(FLAT if rng.random() < 0.08 else SMOOTH))
            if len(draft.steps) == count:
                break
        else:
            continue  # a dead end: hardly any operation fits the nodes it has
        program = draft.finish(seed)
        if usable(program):
            return program
