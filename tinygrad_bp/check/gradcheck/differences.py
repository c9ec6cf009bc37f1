"""gradcheck: is the gradient of a function its slope?

Three independent checks are made of the whole function: difference quotients say what the gradient should be;
forward mode walks the graph in the other direction; and quotients of the gradient check the gradient of the
gradient.  Then every node is checked by itself (`partials.py`), which is far sharper and can name what is
wrong.  A `Comparison` is one slope beside its quotient, a `Row` of the `Report` that comes out.
"""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import copysign, hypot, inf, isfinite, nan
from typing import Any, NamedTuple

from tinygrad_bp.check.gradcheck.partials import Findings, check_nodes
from tinygrad_bp.check.gradcheck.quotients import (
    FIRST,
    HALVINGS,
    TRUSTED,
    UNIT,
    Estimate,
    Function,
    judge,
    jump,
    nan_for_error,
    one_sided,
    quotients,
)
from tinygrad_bp.check.gradcheck.subject import Call, Sides, Subject
from tinygrad_bp.diagnosis import non_finite
from tinygrad_bp.engine import Value, dot, edges, newest_first, sweep
from tinygrad_bp.modes import entered
from tinygrad_bp.transforms import _push, gradients

SHOWN = 24  # rows of a table; what is not right is always shown

RIGHT, WRONG, KINK, JUMP, UNSURE, UNUSED = "right", "wrong", "kink", "jump", "cancellation", "unused"
FAILED = (WRONG, JUMP)


class Row(NamedTuple):
    """Two answers to one question: by the chain rule, and by difference quotients or the other mode.

    The verdict is "right"; "wrong"; "kink" where the function has several slopes and the analytic one lies
    between them; "jump" where its value jumps, so that it has no slope; "cancellation" where they agree, as
    far as the rounding of the quotient lets one tell; or "unused" where the result does not depend on the
    input.
    """

    name: str
    analytic: float
    numeric: float
    verdict: str
    kink: bool = False  # an operation changes sides, or sits on its kink, within the step

    @property
    def error(self) -> float:
        """The difference, relative to the larger of the two."""
        if self.analytic == self.numeric:
            return 0.0
        error = abs(self.analytic - self.numeric) / max(abs(self.analytic), abs(self.numeric))
        return error if isfinite(error) else inf

    def cells(self) -> tuple[str, ...]:
        note = ", across a kink" if self.kink and self.verdict not in (KINK, JUMP) else ""
        numbers = (f"{self.analytic:.10g}", f"{self.numeric:.10g}", f"{self.error:.1e}")
        return self.name, *numbers, self.verdict + note


@dataclass(repr=False)
class Report:
    """The outcome of a check: true if nothing is wrong; print it to see the table.

    `rows` compare the gradient with difference quotients, `forward` reverse mode with forward mode, `second`
    the gradient of the gradient with difference quotients of the gradient; `findings` is about the partials
    of each operation. `reasons` say what is wrong, `notes` what else one should know.
    """

    name: str
    rows: list[Row] = field(default_factory=list)
    forward: list[Row] = field(default_factory=list)
    second: list[Row] = field(default_factory=list)
    findings: Findings = field(default_factory=Findings)
    reasons: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return not self.reasons

    def add(self, other: "Report") -> None:
        """The rows, reasons and notes of one output, which give its name if there are several."""
        of, to = (f"{other.name} by ", f"{other.name}: ") if other.name else ("", "")
        for mine, others in zip(
            (self.rows, self.forward, self.second), (other.rows, other.forward, other.second)
        ):
            mine += [row._replace(name=of + row.name) for row in others]
        self.reasons += [to + reason for reason in other.reasons]
        self.notes += [note for note in other.notes if note not in self.notes]

    @property
    def all_rows(self) -> list[Row]:
        return [*self.rows, *self.forward, *self.second]

    @property
    def worst(self) -> Row | None:
        """The row with the largest relative error, among those that are wrong if there are any."""
        return max(self.all_rows, key=lambda row: (row.verdict in FAILED, row.error), default=None)

    @property
    def kinks(self) -> list[Row]:
        """The rows whose step meets a kink."""
        return [row for row in self.all_rows if row.kink]

    def __repr__(self) -> str:
        lines = [f"gradcheck of {self.name}: {'right' if self else 'WRONG'}"]
        lines += table(self.rows) if self.rows else []
        lines += _summary("forward mode", self.forward, "equal to reverse mode")
        lines += _summary("second order", self.second, "right")
        found = self.findings
        if found.partials:
            well = found.partials - len(found.wrong) - found.undecided
            undecided = f", {found.undecided} undecided" if found.undecided else ""
            wrong = f", {len(found.wrong)} wrong" if found.wrong else ""
            lines.append(
                f"  operations: {found.nodes} nodes of {found.operations} kinds, "
                f"{well} of {found.partials} partials right to 1e-6{undecided}{wrong}"
            )
        lines += [f"  note: {note}" for note in self.notes]
        return "\n".join([*lines, *(f"  why: {reason}" for reason in self.reasons)])


def table(rows: Sequence[Row]) -> list[str]:
    """The rows in columns, at most SHOWN of them: what is not right goes first to be shown."""
    ranked = sorted(
        range(len(rows)), key=lambda i: (rows[i].verdict == RIGHT, rows[i].verdict not in FAILED, i)
    )
    chosen = sorted(ranked[:SHOWN])
    cells = [("input", "analytic", "numeric", "rel. error", "verdict"), *(rows[i].cells() for i in chosen)]
    widths = [max(map(len, column)) for column in zip(*cells)]
    lines = ["  " + "  ".join(cell.ljust(w) for cell, w in zip(line, widths)).rstrip() for line in cells]
    counts = Counter(rows[i].verdict for i in ranked[SHOWN:])
    return lines + [f"  … {count} more: {verdict}" for verdict, count in counts.items()]


def _summary(title: str, rows: Sequence[Row], good: str) -> list[str]:
    if not rows:
        return []
    others = [row for row in rows if row.verdict != RIGHT]
    largest = max(row.error for row in rows)
    line = f"  {title}: {len(rows) - len(others)} of {len(rows)} {good}, rel. error up to {largest:.1e}"
    return [line, *("  " + line for line in (table(others) if others else []))]


# --- one slope beside its quotient --------------------------------------------------------------------------

STEP = 1e-5  # times max(1, |x|): the truncation error is some 1e-10, the rounding error some 1e-11
METHODS = {  # the first step, and the rows of the table of quotients
    "central": (STEP, 1),
    "five-point": (100.0 * STEP, 2),
    "richardson": (FIRST / 4.0, HALVINGS),
}


OfNumbers = Callable[[Sequence[float]], float]


class Direction(NamedTuple):
    """Where to move the inputs: by t times `moves`; what is a usual distance, and a short one."""

    name: str
    moves: dict[int, float]
    size: float = 1.0
    small: float = 1.0


class Comparison:
    """Compares slopes of one subject, by one method."""

    def __init__(self, subject: Subject, method: str, rtol: float, here: Sides) -> None:
        self.subject, self.rtol, self.here = subject, rtol, here
        self.first, self.rows = METHODS[method]
        self.known: dict[str, bool] = {}  # by direction: is there a kink

    def row(
        self,
        name: str,
        way: Direction,
        analytic: float,
        noise: float,
        f: OfNumbers,
        of_gradient: bool = False,
    ) -> Row:
        """The quotient of f along a direction beside the analytic slope; f may be off by `noise`.

        f is the function, or an entry of its gradient: that may have any slope at a kink.
        """

        def moved(t: float) -> float:
            return nan_for_error(f, self.at(way, t))

        if not of_gradient and (size := jump(moved, STEP * min(1.0, way.small), noise)):
            return Row(name, analytic, copysign(inf, size), JUMP, True)
        estimate = Estimate(nan, inf, inf)
        for estimate in quotients(moved, self.first * way.size, noise, self.rows):
            if estimate.error <= self.rtol / 100.0 * abs(estimate.slope):
                break
        row = Row(name, analytic, estimate.slope, RIGHT, self.kink_within(way))
        if not self.agrees(analytic, estimate):
            return self.closer(row, way, noise, moved, of_gradient)
        size = max(abs(analytic), abs(estimate.slope))
        unsure = estimate.rounding > self.rtol * size and analytic != estimate.slope
        return row._replace(verdict=UNSURE) if unsure else row

    def closer(self, row: Row, way: Direction, noise: float, moved: Function, of_gradient: bool) -> Row:
        """Steps of other lengths, on this side of every kink; and whether there is a kink right here."""

        def unbent(t: float) -> float:
            return nan if self.beyond_a_kink(way, t) else moved(t)

        scales = {1.0, way.size, way.small, way.small / 1024.0}
        estimate, verdict = judge(unbent, row.analytic, scales, noise, self.rtol)
        off_kinks = isfinite(estimate.error)
        if off_kinks:
            row = row._replace(numeric=estimate.slope)
        if verdict == "right":
            return row
        passes, bent, sure = self.at_kink(moved, STEP * min(1.0, way.small), row.analytic, noise)
        if bent or (row.kink and not off_kinks):
            row = row._replace(kink=True)
            if passes or of_gradient:
                return row._replace(verdict=KINK)
        on_kink = sure and any(side == 0.0 for _, side in self.here)
        return row._replace(verdict=WRONG if verdict == "wrong" or (on_kink and not off_kinks) else UNSURE)

    def at(self, way: Direction, t: float) -> list[float]:
        xs = list(self.subject.numbers)
        for i, move in way.moves.items():
            xs[i] += t * move
        return xs

    def agrees(self, analytic: float, e: Estimate) -> bool:
        allowed = self.rtol * max(abs(analytic), abs(e.slope))
        truncation = min(e.truncation, allowed) if isfinite(e.truncation) else 0.0
        return abs(analytic - e.slope) <= allowed + e.rounding + truncation

    def kink_within(self, way: Direction) -> bool:
        """Whether an operation sits on its kink, or changes sides within the step."""
        if way.name not in self.known:
            steps = (-STEP * way.size, STEP * way.size)
            self.known[way.name] = any(self.beyond_a_kink(way, t) for t in steps)
        return self.known[way.name]

    def beyond_a_kink(self, way: Direction, t: float) -> bool:
        try:
            return bool(self.here) and self.subject.sides(self.at(way, t)) != self.here
        except (ArithmeticError, ValueError):
            return False  # outside of the domain: there is no value either

    def at_kink(self, f: Function, h: float, analytic: float, noise: float) -> tuple[bool, bool, bool]:
        """Whether the slope can pass there; whether the slopes beside it stay apart; whether that is sure.

        At a kink of the function it has to lie between them; a jump of its gradient is a kink, too.
        """
        low, high = one_sided(f, h)
        near_low, near_high = one_sided(f, h / 8.0)
        size = max(abs(low), abs(high))
        allowed = self.rtol * size + 2.0 * noise / h
        bent = near_high - near_low > max((high - low) / 3.0, 1e-3 * size, 16.0 * allowed)
        jumps = max(abs(near_low), abs(near_high)) > max(4.0 * size, 16.0 * allowed)
        steady = abs(near_low - low) + abs(near_high - high) + 16.0 * allowed <= TRUSTED * size
        return jumps or low - allowed <= analytic <= high + allowed, bent or jumps, steady


def noise_of(roots: Sequence[Value]) -> float:
    """How far off the sum of the roots may be: the roundings of all nodes, each carried on by its adjoint.

    They are added as independent errors are, by their squares.
    """
    adjoint = sweep(dict.fromkeys(roots, 1.0))
    terms = [0.0]
    for v, g in adjoint.items():
        size = abs(v._data) + sum(abs(x._data * d) for x, d in (edges(v) if v.inputs else ()))
        terms.append(g * size if isfinite(g * size) else 0.0)
    return 4.0 * UNIT * hypot(*terms)


# --- the check ----------------------------------------------------------------------------------------------


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

    Inputs are numbers, Values or (nested) lists of them. f returns one number, as for `grad`, or several, in
    lists, tuples or dicts: each is checked, and rows and reasons name it, as output[0]. `params` are leaf
    Values that f takes from outside, such as `model.parameters()`; they get their numbers back. Each
    derivative may be off by `rtol`, relative, and by the rounding of the quotient; each partial of each
    operation by 1e-6. `order=1` leaves second derivatives out. The method "central" takes one quotient with
    h = 1e-5 · max(1, |x|), "five-point" two, "richardson" as many as help. Above `samples` inputs that many
    are drawn with `seed`, besides one direction through all of them; and of outputs that many. With
    `raise_on_fail` a report that is false is raised, as AssertionError. Raises TypeError or ValueError for
    inputs or results that are not finite real numbers.

    >>> from tinygrad_bp import tanh
    >>> bool(gradcheck(lambda w, x: tanh(w[0] * x + w[1]), [0.5, 0.1], 2.0))
    True
    >>> gradcheck(lambda x: x.detach() * x, 3.0)  # doctest: +ELLIPSIS
    gradcheck of <lambda>: WRONG
      input  analytic  numeric  rel. error  verdict
      x      3         6        5.0e-01     wrong
      ...
      why: every partial is right ... does it read a number (v.data, v.grad, v.detach()), ...
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
    rng = random.Random(seed)
    with subject.at(subject.numbers) as call:
        made = Report(subject.name, findings=check_nodes(newest_first(call.outputs), samples, rng))
        returned = ", ".join(repr(out._data) for out in call.outputs[:3]) + ", …" * (len(call.outputs) > 3)
    made.reasons += made.findings.wrong.values()
    drawn = len(subject.outputs) > samples
    if drawn:
        made.notes.append(f"{samples} of {len(subject.outputs)} outputs drawn at random")
    places = range(len(subject.outputs))
    for subject.place in sorted(rng.sample(places, samples)) if drawn else places:
        with subject.at(subject.numbers) as call:
            comparison = Comparison(subject, method, rtol, call.sides())
            made.add(Check(subject, call, comparison, samples, seed, made.findings).run(order))
    if made.rows and all(row.verdict == UNUSED for row in made.rows):
        names = ", ".join(subject.names[:3]) + ", …" * (len(subject.names) > 3)
        made.reasons.append(
            f"nothing checked: {subject.name} returned {returned}, which depends on none of its inputs "
            f"({names}). For Values that it takes from outside, say params=[...]"
        )
    if raise_on_fail and not made:
        raise AssertionError(repr(made))
    return made


class Check:
    """The check of one output of the subject, on a call of it."""

    def __init__(
        self,
        subject: Subject,
        call: Call,
        comparison: Comparison,
        samples: int,
        seed: int,
        findings: Findings,
    ) -> None:
        self.subject, self.call, self.comparison, self.samples = subject, call, comparison, samples
        self.rng = random.Random(seed)
        self.gradient = call.gradient()
        self.made = Report(subject.outputs[subject.place], findings=findings)
        self.ways = self.directions()

    def run(self, order: int) -> Report:
        if self.is_repeatable() and self.is_finite():
            self.first_order()
            self.forward_mode()
            if order == 2 and not self.call.plain:
                self.second_order()
            self.verdict()
        return self.made

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

    # --- the three checks -----------------------------------------------------------------------------------

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
        made = self.made
        wrong = [row for row in made.all_rows if row.verdict in FAILED]
        if wrong and not made.findings.wrong:
            made.reasons.append(self.reason(wrong[0]))
        if any(row.verdict == UNSURE for row in made.all_rows):
            made.notes.append(
                "cancellation: the quotient's own rounding exceeds the tolerance, so it proves little; "
                "the operations are still checked one by one"
            )
        if made.kinks and not wrong:
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
            "graph: does it read a number (v.data, v.grad, v.detach()), stop the gradient, or compute under "
            "no_grad()?"
        )


def _same(xs: Sequence[float], ys: Sequence[float]) -> bool:
    return all(x == y or (x != x and y != y) for x, y in zip(xs, ys))
