"""Rules: what an optimizer does to one parameter in one step, traced into terms.

A rule runs over all parameters as a map runs over samples: its inputs are a parameter, its gradient and what
is remembered of it; the rate, the step's number, the length of the gradient and the optimizer's own numbers
are the same for all of them.  Those numbers are read again before each stretch of steps; bools and texts are
part of the rule, and another one is traced where they change.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from typing import Any

from tinygrad_bp import ops
from tinygrad_bp.compiler.lower import lower
from tinygrad_bp.compiler.store import Store, structure_key
from tinygrad_bp.compiler.terms import INNER, ONCE, SAMPLE, TOTAL, Program, Term, oldest_first
from tinygrad_bp.compiler.tracing import trace
from tinygrad_bp.engine import Value
from tinygrad_bp.errors import CompileError
from tinygrad_bp.optim import SGD, Optimizer

RATE, STEP, NORM = "lr", "t", "the norm of the gradient"  # what a step gives; others are attributes
Apply = Callable[[Any, Sequence[Any]], Any]  # an operation of the table and its operands


class Rule:
    """An optimizer's rule as a program: outputs are the new parameter and memory.

    `sources` says for each shared number where it comes from: a name, or a Value that the rule reads.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.name = type(optimizer).__name__
        self.memory = tuple(optimizer.memory)
        ghost = copy.copy(optimizer)
        known: dict[str, Value] = {RATE: Value(0.5), STEP: Value(3.0), NORM: Value(1.5)}
        for name, x in optimizer.settings().items():
            if type(x) in (int, float) and name != RATE:
                known[name] = Value(x)
                setattr(ghost, name, known[name])
        before = dict(vars(ghost))

        def update(p: Any, g: Any, *memory: Any) -> Any:
            return ghost.moved(p, g, known[STEP], known[RATE], known[NORM], *memory)

        update.__name__ = f"{self.name}.update"
        found = trace(update, (None,) * (2 + len(self.memory)))
        changed = [name for name, x in vars(ghost).items() if name not in before or x is not before[name]]
        if changed:
            raise CompileError(
                f"{self.name}.update sets self.{changed[0]}: a rule changes nothing; what it is to remember "
                "of each parameter is named in `memory` and returned"
            )
        names = {value: name for name, value in known.items()}
        self.sources = [names.get(value, value) for value in found.captured]
        self.program: Program = lower(found.outputs, found.inputs, [], found.captured, summed=False)
        self.key = structure_key(found.outputs, found.inputs, found.captured), tuple(map(str, self.sources))
        self.hash = hash(self.key)

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Rule) and self.key == other.key)

    def __hash__(self) -> int:
        return self.hash

    def shared(self, optimizer: Optimizer) -> list[float]:
        """The optimizer's numbers, as they are now; 0.0 in place of what each step gives."""
        given = (RATE, STEP, NORM)
        return [
            x._data if isinstance(x, Value) else 0.0 if x in given else float(getattr(optimizer, x))
            for x in self.sources
        ]

    def at_step(self, shared: Sequence[float], lr: float, t: float, gradient: Sequence[float]) -> list[float]:
        """The shared numbers of one step."""
        numbers = [*shared]
        for place, source in enumerate(self.sources):
            if source is RATE:
                numbers[place] = lr
            elif source is STEP:
                numbers[place] = t
            elif source is NORM:
                numbers[place] = ops.sqrt(sum([g * g for g in gradient]))
        return numbers

    @cached_property
    def size(self) -> int:
        """Operations for a parameter."""
        return sum(term.rate == SAMPLE and bool(term.args) for term in oldest_first(self.program.outputs))

    @cached_property
    def shared_terms(self) -> list[Term]:
        """What is the same for all parameters."""
        return [term for term in oldest_first(self.program.outputs) if term.rate == ONCE]

    def once(self, apply: Apply, constant: Callable[[float], Any], leaves: Sequence[Any]) -> dict[Term, Any]:
        """What is the same for all parameters, written in any notation; `leaves` are the shared numbers."""
        known: dict[Term, Any] = {}
        for term in self.shared_terms:
            known[term] = _written(term, known, apply, constant) if term.args else leaves[term.value]
        return known

    def each(
        self,
        apply: Apply,
        constant: Callable[[float], Any],
        inputs: Sequence[Any],
        once: Callable[[Term], Any],
    ) -> list[Any]:
        """The outputs for some parameters: `inputs` are p, g and the memory, `once` what is the same."""
        known: dict[Term, Any] = {}
        order = oldest_first(self.program.outputs)
        for term in order:
            if term.rate == ONCE:
                known[term] = once(term)
            elif term.rate == SAMPLE:
                known[term] = _written(term, known, apply, constant) if term.args else inputs[term.value]
        return [known[x] if x in known else constant(x.value) for x in self.program.outputs]


def _written(term: Term, known: dict[Term, Any], apply: Apply, constant: Callable[[float], Any]) -> Any:
    operands = [known[x] if x in known else constant(x.value) for x in term.args]
    if term.op not in (TOTAL, INNER):
        return apply(term.op, operands)
    total, rest = operands[0], operands[1:]
    if term.op is INNER:
        n = len(rest) // 2
        rest = [apply(ops.mul, pair) for pair in zip(rest[:n], rest[n:])]
    for x in rest:
        total = apply(ops.add, (total, x))
    return total


@dataclass(frozen=True)
class Update:
    """How the steps of a program go on from its sums: by one of these rules, after adding the sums of a
    penalty, on lists of samples or on all of them. Without rules there are no steps."""

    rules: tuple[Rule, ...]
    penalty: bool = False
    listed: bool = False

    @property
    def memory(self) -> int:
        """Numbers kept for each parameter, at most."""
        return max((len(rule.memory) for rule in self.rules), default=0)


OWN = {"parameters", "batches", RATE, STEP}  # of every optimizer, and never part of a rule
_rules: Store[Rule] = Store(64)


def rule_of(optimizer: Optimizer) -> Rule:
    """The traced rule of an optimizer, as its bools and texts say now.

    Raises CompileError where `update` branches on a number, or changes the optimizer.
    """
    settings = optimizer.settings()
    if vars(optimizer).keys() - settings.keys() - {*optimizer.memory} - OWN:
        return Rule(optimizer)  # it may depend on anything: not shared
    fixed = sorted((name, x) for name, x in settings.items() if type(x) not in (int, float))
    key = type(optimizer), tuple(optimizer.memory), tuple(fixed)
    return _rules.get(key, lambda: Rule(optimizer))


@cache
def descents() -> tuple[Rule, Rule]:
    """Gradient descent, without momentum and with it."""
    p = Value(0.0)
    return rule_of(SGD([p])), rule_of(SGD([p], momentum=0.5))


@lru_cache(maxsize=64)
def descent(momentum: float) -> tuple[int, tuple[float, ...]]:
    """Which of them it is, and the numbers that its rule takes from the optimizer."""
    which = int(momentum > 0.0)
    return which, tuple(descents()[which].shared(SGD([Value(0.0)], momentum=momentum)))
