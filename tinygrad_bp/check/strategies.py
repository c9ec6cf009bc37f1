"""Strategies for hypothesis (the extra `strategies`): values, operands, expressions, networks and datasets.

They shrink to the smallest expression and the simplest numbers that show a fault, and stay away from kinks
and from the borders of domains unless they are asked not to.  `@gradient_property` checks the gradient of a
function of yours on inputs that are drawn.  `st.from_type(Value)` works wherever both packages are imported.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from inspect import Parameter, Signature, signature
from itertools import product
from math import isfinite
from typing import Any, NamedTuple

from tinygrad_bp.check.gradcheck import gradcheck
from tinygrad_bp.engine import Value
from tinygrad_bp.errors import MissingExtraError
from tinygrad_bp.nn import MLP
from tinygrad_bp.ops import OPS, TABLE, Op, dot as DOT

try:
    import hypothesis
    from hypothesis import strategies as st
except ImportError as error:
    raise MissingExtraError("drawing examples", "hypothesis", "strategies") from error

LOW, HIGH = -4.0, 4.0
MOST = 4  # operands, where an operation takes any number of them
CONSTANTS = (2.0, 0.5, 1.0, 3.0, -1.0, -0.5)  # for an operation whose constants have no default

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
    elif op.name == "take":
        texts = [f"[{', '.join(operands[1:])}]", operands[0]]
    else:
        constants = [repr(c) if isfinite(c) else f"float('{c}')" for c in op.constant_values]
        texts = [*operands, *constants]
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
    if not all(abs(y) >= NEAR for y in op.kinks(*xs)):
        return False
    return op.slopes is None or all(abs(d) < FAR for d in op.slopes(o, *xs))


# --- strategies ---------------------------------------------------------------------------------------------


def numbers(low: float = LOW, high: float = HIGH) -> st.SearchStrategy[float]:
    """Floats from low to high; around 0, those below 2⁻²⁰ are 0: what shrinks to short numbers."""
    smallest = 2.0**-20 if low <= 0.0 <= high else 0.0
    return st.floats(low, high, allow_nan=False).map(lambda x: x if abs(x) >= smallest else 0.0)


def values(low: float = LOW, high: float = HIGH) -> st.SearchStrategy[Value]:
    """Leaves with a number from low to high.

    >>> values(0.5, 2.0)  # doctest: +ELLIPSIS
    floats(min_value=0.5, max_value=2.0, ...
    """
    return numbers(low, high).map(Value)


@st.composite
def points(
    draw: st.DrawFn, op: Op, smooth: bool = True, low: float = LOW, high: float = HIGH
) -> tuple[float, ...]:
    """Operands for an operation, in its domain; with smooth=True off its borders and kinks too.

    Fill in constants first, `points(clip.at(0.0, 1.0))`; an operation on any number of operands gets 2 to 5.
    """
    _require_operation("points", op)
    count = draw(st.integers(2, 5)) if op.operands is None else op.operands
    each = [_within(op, i, smooth, low, high) for i in range(count)]
    if op.name == "take":
        each[0] = st.integers(0, count - 2).map(float)  # an index among the operands that follow
    return draw(st.tuples(*each).filter(lambda xs: allows(op, xs, smooth)))


def _require_operation(strategy: str, op: Any) -> None:
    if not isinstance(op, Op):
        raise TypeError(f"{strategy}: {op!r} is no operation of the table, such as tinygrad_bp.tanh")


def _within(op: Op, i: int, smooth: bool, low: float, high: float) -> st.SearchStrategy[float]:
    if i < len(op.domain) and smooth:
        lowest, highest = op.domain[i]
        if not max(low, lowest) < min(high, highest):
            raise ValueError(
                f"points: {op.name} is smooth from {lowest:g} to {highest:g}, not {low:g} to {high:g}"
            )
        low, high = max(low, lowest), min(high, highest)
    return numbers(low, high)


def rows(smooth: bool = True) -> list[Op]:
    """The operations of the table: with a derivative, or with smooth=False all of them; simple ones first."""
    names = [name for name in OPS if name in TABLE]
    return [OPS[name] for name in names if OPS[name].partials or not smooth]


@st.composite
def expressions(
    draw: st.DrawFn, max_size: int = 8, ops: Sequence[Op] | None = None, smooth: bool = True, inputs: int = 3
) -> Expression:
    """A function of one to `inputs` numbers made of up to `max_size` operations, with inputs for it.

    `f, xs = expression` takes it apart, and `expression.formula` prints it. `ops` are the operations to draw
    from: those of the table by default, and yours if you name them. With smooth=False also operations
    without a derivative are drawn, and any of them at kinks and borders.
    """
    choices = rows(smooth) if ops is None else list(ops)
    if not choices or max_size < 1 or inputs < 1:
        raise ValueError("expressions: at least one operation in ops, max_size and inputs 1 or more")
    for choice in choices:
        _require_operation("expressions", choice)
    xs = draw(st.lists(numbers(), min_size=1, max_size=inputs))
    nodes, steps = list(xs), []
    step = st.tuples(st.sampled_from(choices), st.lists(st.integers(0, 7), min_size=2, max_size=MOST))
    for op, picks in draw(st.lists(step, min_size=1, max_size=max_size)):
        op = _filled(op, picks)
        count = len(picks) if op.operands is None else op.operands
        operands = tuple([-k % len(nodes) for k in (picks + [0] * count)[:count]])  # 0: x; 1: the newest
        if allows(op, [nodes[i] for i in operands], smooth):  # else this step is left out
            nodes.append(op.value(*[nodes[i] for i in operands]))
            steps.append(Step(op, operands))
    if steps:
        return Expression(tuple(xs), tuple(steps)).pruned()
    fitting = simple_point(op, smooth) or draw(points(op, smooth))  # no step fits the inputs: inputs that fit
    return Expression(fitting, (Step(op, tuple(range(len(fitting)))),))


def simple_point(op: Op, smooth: bool) -> tuple[float, ...] | None:
    """Short numbers that an operation can take. Nothing is drawn, so that one step alone is the simplest."""
    grid = product((1.0, 0.5, 2.0, -1.0, 0.0), repeat=op.operands or 2)
    return next((xs for xs in grid if allows(op, xs, smooth)), None)


def _filled(op: Op, picks: Sequence[int]) -> Op:
    """The operation with the defaults of its constants; those that have none are picked, in rising order."""
    lacking = [name for name, default in op.constants.items() if default is None]
    first = sum(picks) if lacking else 0
    picked = sorted(CONSTANTS[(first + k) % len(CONSTANTS)] for k in range(len(lacking)))
    return op.at(**dict(zip(lacking, picked)))


def activations(smooth: bool = True) -> list[str]:
    """The operations of the table that networks use: of one operand, defined and finite everywhere."""
    return [
        op.name
        for op in rows()
        if op.operands == 1 and not (op.domain or op.singular or None in op.constants.values())
        if not (smooth and op.kink)
    ]


@st.composite
def mlps(draw: st.DrawFn, max_layers: int = 3, max_width: int = 4, smooth: bool = True) -> MLP:
    """A small network with any activation of the table, and weights from a seed that is drawn.

    With smooth=True no activation has a kink.
    """
    widths = draw(st.lists(st.integers(1, max_width), min_size=1, max_size=max_layers))
    act, seed = draw(st.sampled_from(activations(smooth))), draw(st.integers(0, 2**32))
    return MLP(draw(st.integers(1, max_width)), widths, act=act, rng=random.Random(seed))


@st.composite
def datasets(
    draw: st.DrawFn, nin: int | None = None, max_samples: int = 8, classes: int | None = None
) -> tuple[list[list[float]], list[Any]]:
    """(xs, ys): rows of `nin` numbers (1 to 4 where that is None) and targets, numbers or classes from 0."""
    columns = draw(st.integers(1, 4)) if nin is None else nin
    target: st.SearchStrategy[Any] = numbers() if classes is None else st.integers(0, classes - 1)
    row = st.lists(numbers(), min_size=columns, max_size=columns)
    samples = draw(st.lists(st.tuples(row, target), min_size=1, max_size=max_samples))
    return [xs for xs, _ in samples], [y for _, y in samples]


def gradient_property(
    f: Any = None, /, *, low: float = LOW, high: float = HIGH, settings: Any = None, **options: Any
) -> Any:
    """Make a function of numbers into a test: called without arguments, it checks gradients at drawn inputs.

    Each argument is a number from low to high, or is drawn from the strategy that bears its name, as in
    `@gradient_property(x=numbers(0.1, 4.0))`; other options go to `gradcheck`, and `settings` to hypothesis.
    pytest collects the test if its name begins with `test_`. Raises AssertionError with the report of the
    smallest failing example.

    >>> @gradient_property(y=numbers(0.5, 2.0))
    ... def test_quotient(x, y): return x / y
    >>> test_quotient()
    """

    def decorate(f: Callable[..., Any]) -> Callable[[], None]:
        names = list(signature(f).parameters)
        drawn = {name: options.get(name, numbers(low, high)) for name in names}
        settled = {name: option for name, option in options.items() if name not in names}

        def test(**inputs: Any) -> None:
            gradcheck(f, *[inputs[name] for name in names], raise_on_fail=True, **settled)

        test.__name__ = test.__qualname__ = f.__name__
        test.__module__, test.__doc__ = f.__module__, f.__doc__
        apply = settings or hypothesis.settings(deadline=None)
        return apply(hypothesis.given(**drawn)(test))

    return decorate if f is None else decorate(f)
