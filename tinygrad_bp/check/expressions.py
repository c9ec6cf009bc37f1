"""A random expression: a straight line of operations, as a function, with its inputs and as text.

Each step applies an operation to nodes before it; the last one is the result.  `strategies.py` draws them.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from inspect import Parameter, Signature
from math import isfinite
from typing import Any, NamedTuple

from tinygrad_bp.ops import TABLE, Op, dot as DOT

LETTERS = "xyzuvw"
FAR = 1e3  # results and partials stay below this where an expression is to be smooth
NEAR = 1e-2  # relative: how far an operand stays from a kink and from the border of a domain


class Step(NamedTuple):
    """An operation on nodes, by their numbers: the inputs come first, then the steps."""

    op: Op
    operands: tuple[int, ...]


@dataclass(frozen=True, repr=False)
class Expression:
    """A function of numbers or Values with inputs for it; `f, inputs = expression` takes it apart.

    >>> from tinygrad_bp.ops import add, tanh
    >>> e = Expression((1.0, 2.0), (Step(tanh, (0,)), Step(add, (2, 1))))
    >>> e, e(*e.inputs)
    (lambda x, y: tg.add(tg.tanh(x), y) at x = 1.0, y = 2.0, 2.761594155955765)
    """

    inputs: tuple[float, ...]
    steps: tuple[Step, ...]

    def __call__(self, *xs: Any) -> Any:
        nodes = list(xs)
        for op, operands in self.steps:
            nodes.append(op(*[nodes[i] for i in operands]))
        return nodes[-1]

    def __iter__(self) -> Iterator[Any]:
        yield self
        yield self.inputs

    @property
    def names(self) -> list[str]:
        return [LETTERS[i] if i < len(LETTERS) else f"x{i}" for i in range(len(self.inputs))]

    @property
    def __name__(self) -> str:
        return self.formula

    @property
    def __signature__(self) -> Signature:
        return Signature([Parameter(name, Parameter.POSITIONAL_ONLY) for name in self.names])

    @property
    def formula(self) -> str:
        """As Python source; a node that is used twice gets a name: `a0 = tg.exp(x); tg.mul(a0, a0)`."""
        uses = Counter(i for step in self.steps for i in step.operands)
        texts, lines = self.names, list[str]()
        for number, (op, operands) in enumerate(self.steps, len(self.inputs)):
            texts.append(_call(op, [texts[i] for i in operands]))
            if uses[number] > 1:
                lines.append(f"a{len(lines)} = {texts[-1]}")
                texts[-1] = f"a{len(lines) - 1}"
        return "; ".join([*lines, texts[-1]])

    def __repr__(self) -> str:
        at = ", ".join(f"{name} = {x!r}" for name, x in zip(self.names, self.inputs))
        return f"lambda {', '.join(self.names)}: {self.formula} at {at}"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self))  # what hypothesis and Jupyter print

    def pruned(self) -> "Expression":
        """Without the steps that the result does not use, and without such inputs."""
        count, needed = len(self.inputs), {len(self.inputs) + len(self.steps) - 1}
        for number in range(count + len(self.steps) - 1, count - 1, -1):
            if number in needed:
                needed.update(self.steps[number - count].operands)
        place = {old: new for new, old in enumerate(sorted(needed))}
        steps = [step for number, step in enumerate(self.steps, count) if number in needed]
        return Expression(
            tuple([x for i, x in enumerate(self.inputs) if i in needed]),
            tuple([Step(op, tuple([place[i] for i in operands])) for op, operands in steps]),
        )


def _call(op: Op, operands: Sequence[str]) -> str:
    n = len(operands) // 2
    if op is DOT:  # as a function it takes lists
        texts = [f"[{', '.join(part)}]" for part in (operands[:n], operands[n : 2 * n])] + [
            *operands[2 * n :]
        ]
    else:
        texts = [*operands, *map(repr, op.constant_values)]
    return f"{'tg.' if op.name in TABLE else ''}{op.name}({', '.join(texts)})"


def allows(op: Op, xs: Sequence[float], smooth: bool = True) -> bool:
    """Whether an operation is finite at xs and, if smooth, off its kinks and borders, and not steep."""
    o = op.value(*xs)
    if not smooth:
        return isfinite(o)
    if not abs(o) < FAR:
        return False
    for x, (low, high) in zip(xs, op.domain):
        if not low + NEAR * max(1.0, abs(low) if isfinite(low) else 0.0) <= x <= high - NEAR:
            return False
    if op.kink and not abs(op.kink(*xs)) >= NEAR:
        return False
    return op.slopes is None or all(abs(d) < FAR for d in op.slopes(o, *xs))
