"""gradcheck: is the gradient of a function its slope?

Three independent witnesses are heard.  Difference quotients of the function say what the gradient should be;
forward mode walks the graph in the other direction; and quotients of the gradient check the gradient of the
gradient.  Then every node is checked by itself, which is far sharper and can name what is wrong.  Read
quotients.py, nodes.py and comparing.py for how, subject.py for how the function is called, outcome.py for
what comes out.
"""

import random
from collections.abc import Callable, Sequence
from math import isfinite
from typing import Any

from tinygrad_bp.check.comparing import METHODS, Comparison, Direction, noise_of
from tinygrad_bp.check.nodes import check_nodes
from tinygrad_bp.check.outcome import FAILED, JUMP, RIGHT, UNSURE, UNUSED, WRONG, Report, Row
from tinygrad_bp.check.subject import Call, Subject
from tinygrad_bp.diagnosis import non_finite
from tinygrad_bp.engine import dot
from tinygrad_bp.modes import entered
from tinygrad_bp.transforms import _push, gradients

FEW = 12  # up to so many inputs, second derivatives are taken by each of them


def gradcheck(
    f: Callable[..., Any],
    *inputs: Any,
    params: Any = None,
    order: int = 2,
    method: str = "central",
    rtol: float = 1e-5,
    samples: int = 50,
    seed: int = 0,
    raise_on_fail: bool = False,
) -> Report:
    """Compare derivatives of f at the inputs with difference quotients; the report is true if they agree.

    Inputs are numbers, Values or (nested) lists of them, and f returns one number, as for `grad`. `params`
    are leaf Values that f takes from outside, such as `model.parameters()`; they get their numbers back. Each
    derivative may be off by `rtol`, relative, and by the rounding of the quotient; each partial of each
    operation by 1e-6. `order=1` leaves second derivatives out. The method "central" takes one quotient with
    h = 1e-5 · max(1, |x|), "five-point" two, "richardson" as many as help. Above `samples` inputs that many
    are drawn with `seed`, besides one direction through all of them. With `raise_on_fail` a report that is
    false is raised, as AssertionError. Raises TypeError or ValueError for inputs or results that are no
    finite real numbers.

    >>> from tinygrad_bp import tanh
    >>> bool(gradcheck(lambda w, x: tanh(w[0] * x + w[1]), [0.5, 0.1], 2.0))
    True
    >>> gradcheck(lambda x: x.detach() * x, 3.0)  # doctest: +ELLIPSIS
    gradcheck of <lambda>: WRONG
      input  analytic  numeric  rel. error  verdict
      x      3         6        5.0e-01     wrong
      ...
      why: every partial is right ... does it read a number (v.data, v.grad, v.detach()), or ...
    """
    if order not in (1, 2):
        raise ValueError(f"gradcheck: order is 1 or 2, not {order!r}: for a third, check grad(f)")
    if method not in METHODS:
        raise ValueError(f"gradcheck: no method {method!r}: there are {', '.join(METHODS)}")
    if not (isinstance(samples, int) and samples >= 1):
        raise ValueError(f"gradcheck: samples is a whole number, 1 or more, not {samples!r}")
    if not (isinstance(rtol, (int, float)) and 0.0 < rtol < 1.0):
        raise ValueError(f"gradcheck: rtol is a number between 0 and 1, not {rtol!r}")
    subject = Subject(f, inputs, params)
    with subject.at(subject.numbers) as call:
        check = Check(subject, call, Comparison(subject, method, rtol, call.sides()), samples, seed)
        if check.is_repeatable() and check.is_finite():
            check.first_order()
            check.forward_mode()
            if order == 2 and not call.plain:
                check.second_order()
            check.verdict()
    if raise_on_fail and not check.made:
        raise AssertionError(repr(check.made))
    return check.made


class Check:
    """One run of gradcheck, on a call of its subject."""

    def __init__(self, subject: Subject, call: Call, comparison: Comparison, samples: int, seed: int) -> None:
        self.subject, self.call, self.comparison, self.samples = subject, call, comparison, samples
        self.rng = random.Random(seed)
        self.gradient = call.gradient()
        self.made = Report(subject.name, findings=check_nodes(call.nodes(), samples, self.rng))
        self.made.reasons += self.made.findings.wrong.values()
        self.ways = self.directions()

    def is_repeatable(self) -> bool:
        """Whether a second call with the same inputs gives the same; else there is no slope to speak of."""
        subject, made, out = self.subject, self.made, self.call.out
        with subject.at(subject.numbers) as again:
            same = _same([out._data, *self.gradient], [again.out._data, *again.gradient()])
        if subject.changed:
            made.reasons.append(f"{subject.name} changes its inputs: {subject.changed[0]}; work on copies")
        elif not same:
            made.reasons.append(
                f"{subject.name} is not deterministic: called twice with the same inputs it returned "
                f"{out._data!r} and {again.out._data!r}; draw random numbers outside"
            )
        return same and not subject.changed

    def is_finite(self) -> bool:
        finite = all(map(isfinite, [self.call.out._data, *self.gradient]))
        if not finite:
            self.made.reasons.append(f"not finite, so there is no slope: {non_finite(self.call.out)}")
        return finite

    def directions(self) -> list[Direction]:
        """Each input by itself, or some of them and a random direction through all."""
        xs, names = self.subject.numbers, self.subject.names
        drawn = len(xs) > self.samples
        some = sorted(self.rng.sample(range(len(xs)), self.samples)) if drawn else range(len(xs))
        found = [Direction(names[i], {i: 1.0}, max(1.0, abs(xs[i])), abs(xs[i]) or 1.0) for i in some]
        if drawn:
            found.append(self.through_all())
            self.made.notes.append(
                f"{self.samples} of {len(xs)} inputs drawn at random, and one direction through all of them"
            )
        return found

    def through_all(self) -> Direction:
        draw = self.rng.uniform
        moves = [
            self.rng.choice((-1.0, 1.0)) * draw(0.5, 1.0) * max(1.0, abs(x)) for x in self.subject.numbers
        ]
        return Direction("all inputs", dict(enumerate(moves)))

    # --- the three witnesses --------------------------------------------------------------------------------

    def first_order(self) -> None:
        """The gradient against quotients of the function."""
        noise = noise_of([self.call.out])
        reached = {x for v in self.call.nodes() for x in v.inputs} | {self.call.out}
        for way in self.ways:
            row = self.comparison.row(way.name, way, self.along(way), noise, self.subject.value)
            used = row.numeric != 0.0 or any(self.call.leaves[i] in reached for i in way.moves)
            self.made.rows.append(row if used else row._replace(verdict=UNUSED))

    def along(self, way: Direction) -> float:
        return sum(self.gradient[i] * move for i, move in way.moves.items())

    def forward_mode(self) -> None:
        """Reverse mode against forward mode, which needs no quotient."""
        for way in self.ways[self.samples :] or self.ways:  # the one through all inputs, if there is one
            tangents = {self.call.leaves[i]: move for i, move in way.moves.items()}
            (forward,) = _push(tangents, [self.call.out], False)
            apart = abs(forward - self.along(way))
            size = sum(abs(self.gradient[i] * move) for i, move in way.moves.items())
            agree = apart <= self.comparison.rtol * size or apart <= self.noise_along(way)
            self.made.forward.append(Row(way.name, self.along(way), forward, RIGHT if agree else WRONG))

    def noise_along(self, way: Direction) -> float:
        """How far off the gradient may be along a direction, for rounding."""
        gs = gradients(self.call.out, [self.call.leaves[i] for i in way.moves], create_graph=True)
        return sum(abs(move) * noise_of([g]) for g, move in zip(gs, way.moves.values()))

    def second_order(self) -> None:
        """The gradient of the gradient, column by column or along one direction, against its quotients."""
        names, leaves = self.subject.names, self.call.leaves
        gs = gradients(self.call.out, leaves, create_graph=True)
        few = len(leaves) <= min(FEW, self.samples)
        noises = [noise_of([g]) for g in gs] if few else [noise_of(gs)] * len(gs)
        for way in self.ways if few else [self.through_all()]:
            with entered(record=True):
                moved = dot([gs[i] for i in way.moves], list(way.moves.values()))
            at: dict[tuple[float, ...], list[float]] = {}  # the gradient there: all entries ask for the same

            def gradient(xs: Sequence[float], at: dict[tuple[float, ...], list[float]] = at) -> list[float]:
                if tuple(xs) not in at:
                    at[tuple(xs)] = self.subject.gradient(xs)
                return at[tuple(xs)]

            for k, analytic in enumerate(gradients(moved, leaves)):
                name = f"∂²/∂{way.name} ∂{names[k]}" if few else f"∂{names[k]} along {way.name}"

                def entry(xs: Sequence[float], k: int = k, gradient: Any = gradient) -> float:
                    return float(gradient(xs)[k])

                self.made.second.append(self.comparison.row(name, way, analytic, noises[k], entry, True))

    # --- what it means --------------------------------------------------------------------------------------

    def verdict(self) -> None:
        made, names = self.made, self.subject.names
        wrong = [row for row in made.all_rows if row.verdict in FAILED]
        if all(row.verdict == UNUSED for row in made.rows):
            more = ", …" if len(names) > 3 else ""
            made.reasons.append(
                f"nothing checked: {self.subject.name} returned {self.call.out._data!r}, which depends on "
                f"none of its inputs ({', '.join(names[:3])}{more}). For Values that it takes from "
                "outside, say params=[...]"
            )
        elif wrong and not made.reasons:
            made.reasons.append(self.reason(wrong[0]))
        if any(row.verdict == UNSURE for row in made.all_rows):
            made.notes.append(
                "cancellation: the quotient's own rounding exceeds the tolerance, so it proves little; "
                "the operations are checked one by one all the same"
            )
        if made.kinks and made:
            made.notes.append("within the step there is a kink: a slope between those to both sides is right")

    def reason(self, row: Row) -> str:
        """Every single partial is right, and yet the whole is not."""
        name, numbers = self.subject.name, f"{row.analytic:.9g}, and the quotient {row.numeric:.9g}"
        if row.verdict == JUMP:
            return (
                f"{name} jumps at this {row.name}, and a jump is not a kink: there is no slope, and no "
                "gradient to check; check it beside the jump"
            )
        if not isfinite(row.numeric):
            return (
                f"the slope by {row.name} is {numbers}: beside these inputs {name} is not finite; "
                "check it further inside its domain"
            )
        if self.call.plain:
            return f"{name} returned the plain number {self.call.out._data!r}, no Value: it left the graph"
        if row in self.made.forward:
            return f"by {row.name} reverse mode gives {row.analytic:.9g}, and forward mode {row.numeric:.9g}"
        if row in self.made.second:
            return (
                f"the gradient of {name} is right, and the gradient of that is not: {row.name} is {numbers}"
            )
        if row.kink:
            return (
                f"by {row.name} there is a kink, and {row.analytic:.9g} is not between the slopes beside it; "
                "every partial is right, but where several kinks meet the chain rule may give no slope: "
                "check beside it"
            )
        return (
            f"every partial is right where it is recorded, but {name} also depends on {row.name} past the "
            "graph: does it read a number (v.data, v.grad, v.detach()), or compute under no_grad()?"
        )


def _same(xs: Sequence[float], ys: Sequence[float]) -> bool:
    return all(x == y or (x != x and y != y) for x, y in zip(xs, ys))
