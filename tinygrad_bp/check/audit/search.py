"""From the loss down: which quantities are right, and which mistakes give the numbers handed in.

The right gradients are taken first; the first quantity that differs says where the fault is.  Then the same
walk is made with mistakes of the table, one at a time and in pairs.  The gradients of a layer's own weights are compared
before the walk goes on below: an explanation that gives other numbers there is dropped.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import isclose
from typing import Any

from tinygrad_bp.check.audit.layers import Numbers, Stage, Tape, each, flat, shape_of, transposed
from tinygrad_bp.check.audit.mistakes import ALL, LOSSES, MISTAKES, Built, Mistake, Moment, reshaped
from tinygrad_bp.check.audit.report import TURNED
from tinygrad_bp.engine import Value, edges

NEGATIVE = MISTAKES[0].name
MOST = 20_000_000  # numbers times samples that go through layers, before a search is given up


@dataclass(frozen=True)
class Made:
    """A mistake in a place: a row of one of the tables, the layer, the argument if only one, the variant."""

    row: Any
    place: str
    note: str = ""
    kind: str = ""  # of the layers where making it again is the same mistake

    @property
    def where(self) -> str:
        return self.place + (f", {self.note}" if self.note else "")


@dataclass
class Quantity:
    """Something whose gradient was handed in: its Values, the gradient, what it is called."""

    name: str
    values: list[Value]
    mine: Numbers
    stage: Stage | None = None  # of an error at the result of a layer
    before: list[float] | None = None  # what the step before had left
    right: list[float] = field(default_factory=list)
    agrees: list[bool] = field(default_factory=list)
    end: int = 0  # the step of the walk after which it is known
    labels: list[str] = field(default_factory=list)
    odd: str = ""  # the name of the mistake that its shape gives away
    raw: Numbers = None  # as it was handed in, where that has another shape

    @property
    def flat(self) -> list[float]:
        return flat(self.mine)

    @property
    def ok(self) -> bool:
        return all(self.agrees)


@dataclass(frozen=True)
class Change:
    """A row of the second table: what happens to a gradient that was right."""

    name: str
    what: str
    fix: str
    rule: Any  # of the quantity, the right gradient, the tape, the error from above: what it becomes, or None
    needs: str = ""
    last: bool = False  # explains too much: only where nothing else does


SIGN = Change(TURNED, "", "", None)


def clipped(q: Quantity, right: list[float], tape: Tape, up: Numbers) -> list[float] | None:
    c = max(map(abs, q.flat))
    if sum(abs(abs(x) - c) <= 1e-12 * c for x in q.flat) < 2:
        return None  # one number alone may be anything
    return [max(-c, min(c, x)) for x in right] if 0.0 < c < max(map(abs, right)) else None


def normed(q: Quantity, right: list[float], tape: Tape, up: Numbers) -> list[float] | None:
    """Scaled down to a norm that is a round number, as clipping by norm does."""
    norm, own = sum(x * x for x in right) ** 0.5, sum(x * x for x in q.flat) ** 0.5
    rounded = float(f"{own:.2g}")
    if len(right) < 2 or not (0.0 < own < norm and isclose(own, rounded, rel_tol=1e-9)):
        return None
    return [x * own / norm for x in right]


def reordered(q: Quantity, right: list[float], tape: Tape, up: Numbers) -> list[float] | None:
    order = sorted(range(len(right)), key=lambda i: right[i])
    mine = sorted(range(len(right)), key=lambda i: q.flat[i])
    if len(right) < 3 or len(set(right)) < 3:
        return None
    out = [0.0] * len(right)
    for i, j in zip(order, mine):
        out[j] = right[i]
    return out


def left_over(q: Quantity, right: list[float], tape: Tape, up: Numbers) -> list[float] | None:
    return None if q.before is None else [x + y for x, y in zip(right, q.before)]


def decayed(q: Quantity, right: list[float], tape: Tape, up: Numbers) -> list[float] | None:
    """The parameter itself is in it, times the strength that the loss has for others."""
    penalties = [s for s in tape.stages if s.kind == "weight_decay"]
    if penalised(q, penalties):
        return None
    known = {float(s.rest.get("strength", 0.01)) for s in penalties}
    for c in known:
        out = [x + c * v._data for x, v in zip(right, q.values)]
        if all(isclose(a, b, rel_tol=1e-8, abs_tol=1e-12) for a, b in zip(out, q.flat)):
            return out
    return None


def penalised(q: Quantity, stages: Sequence[Stage]) -> bool:
    """Whether the loss has a penalty of this parameter."""
    values = set(q.values)
    return any(s.kind == "weight_decay" and not values.isdisjoint(s.places["w"]) for s in stages)


def own_decay(q: Quantity, right: list[float], tape: Tape, up: Numbers) -> list[float] | None:
    """The parameter itself is in it, times a round number: a penalty that the loss does not have."""
    numbers = [v._data for v in q.values]
    size = sum(v * v for v in numbers)
    if len(right) < 2 or not size or penalised(q, tape.stages):
        return None
    c = sum((x - y) * v for x, y, v in zip(q.flat, right, numbers)) / size
    if not c or not isclose(c, float(f"{c:.2g}"), rel_tol=1e-6):
        return None
    return [x + c * v for x, v in zip(right, numbers)]


def multiplied(q: Quantity, right: list[float], tape: Tape, up: Numbers) -> list[float] | None:
    if len(right) > 1:
        for c in (2.0, 0.5, -1.0, 0.0):
            if all(close([c * x for x in right], q.flat, 1e-8, 1e-12)):
                return [c * x for x in right]
    return None


def one_entry(q: Quantity, right: list[float], tape: Tape, up: Numbers) -> list[float] | None:
    """All entries but one are right."""
    wrong = [i for i, ok in enumerate(close(right, q.flat, 1e-8, 0.0)) if not ok]
    if len(wrong) != 1 or len(right) < 3:
        return None
    return [q.flat[i] if i == wrong[0] else x for i, x in enumerate(right)]


def odd_transposed(q: Quantity, right: list[float], tape: Tape, up: Numbers) -> list[float] | None:
    return q.flat if q.odd == "transposed" and all(close(right, q.flat, 1e-8, 0.0)) else None


def odd_bias(q: Quantity, right: list[float], tape: Tape, up: Numbers) -> list[float] | None:
    """The rows of delta, where their sum is needed."""
    if not q.odd or q.raw is None or q.odd == "transposed":
        return None
    same = all(close(flat(transposed(up)), flat(q.raw), 1e-8, 0.0))
    return q.flat if same else None


def turned_over(q: Quantity, right: list[float], tape: Tape, up: Numbers) -> list[float] | None:
    shape = shape_of(q.mine)
    if len(shape) != 2 or shape[0] != shape[1]:
        return None
    return flat(transposed(reshaped(right, q.mine)))


CHANGES = (
    Change("clipped", "the gradient is cut off at a limit", "clip in the update, and hand in the gradient itself", clipped),
    Change("scaled to a norm", "the gradient is scaled down to a norm", "clip in the update, and hand in the gradient itself", normed),
    Change("in another order", "the numbers are right, and stand in another order", "index units and samples alike everywhere", reordered, last=True),
    Change("left-over gradients", "the gradients of the step before are still in it", "set the gradients to zero before each backward pass",
           left_over, needs="before"),
    Change("weight decay of the wrong parameter", "the penalty is added to a parameter that the loss does not penalise",
           "add strength * w for the weights in the penalty only", decayed),
    Change("weight decay that the loss does not have", "a multiple of the parameter itself is added, which the loss handed in does not have",
           "leave it out, or add the penalty to the loss", own_decay),
    Change("transposed table", "the gradient is transposed", "give it the shape and the order of the parameter", turned_over, last=True),
    Change("transposed", "the weight gradient is transposed", "for W of shape (out, in): dW = delta @ a.T", odd_transposed),
    Change("bias of one sample for each", "the bias gradient is not summed over the batch", "db = delta.sum over the axis of the samples", odd_bias),
    Change("multiplied", "the whole gradient is doubled, halved, zero, or has the wrong sign", "look for that factor, or for a sum that was left out", multiplied, last=True),
    Change("one entry alone", "one entry is wrong, and all others are right", "look for a number or an index that was typed in", one_entry, last=True),
)  # fmt: skip


def close(right: Sequence[float], mine: Sequence[float], tolerance: float, floor: float) -> list[bool]:
    """Which entries agree, measured by the largest of those that are right."""
    room = tolerance * max(max(map(abs, right), default=0.0), floor)
    return [abs(a - b) <= room for a, b in zip(right, mine)]


class Search:
    """The walk from the loss to the inputs, with and without mistakes."""

    def __init__(
        self, tape: Tape, quantities: Sequence[Quantity], tolerance: float, options: Mapping[str, Any]
    ) -> None:
        self.tape, self.quantities, self.tolerance, self.options = tape, list(quantities), tolerance, options
        self.steps = tape.steps()
        self.floor = 0.0
        self.spent, self.gave_up = 0, False
        ends: dict[Value, int] = {}
        for i, step in enumerate(self.steps):
            for v in _operands(step):
                ends[v] = i
        for q in self.quantities:
            if q.stage is not None:
                q.end = next(i for i, step in enumerate(self.steps) if step is q.stage)
            else:
                q.end = max((ends.get(v, 0) for v in q.values), default=0)
        self.due: dict[int, list[Quantity]] = {}
        for q in self.quantities:
            self.due.setdefault(q.end, []).append(q)
        self._take_right()
        self.rows: dict[str, list[tuple[Mistake, frozenset[str] | None]]] = {}  # by layer

    # --- what is right --------------------------------------------------------------------------------------

    def _take_right(self) -> None:
        """The right gradients, all at once."""
        adjoint = {self.tape.loss: 1.0}
        for step in self.steps:
            if isinstance(step, Stage):
                for q in self.due.get(self.steps.index(step), []):
                    if q.stage is step:
                        q.right = [adjoint.get(v, 0.0) for v in q.values]
                up = each(lambda v: adjoint.get(v, 0.0), step.outer)
                _add(adjoint, step, step.pull(up))
            else:
                _push(adjoint, step)
        for q in self.quantities:
            q.right = q.right or [adjoint.get(v, 0.0) for v in q.values]
        self.floor = 1e-6 * max((abs(x) for q in self.quantities for x in q.right), default=0.0)
        for q in self.quantities:
            q.agrees = close(q.right, q.flat, self.tolerance, self.floor)

    @property
    def order(self) -> list[Quantity]:
        """The quantities from the loss down."""
        return sorted(self.quantities, key=lambda q: q.end)

    def suspects(self) -> list[Stage]:
        """The layers in one of which the first fault is: those between what is still right and what is not."""
        wrong = [q for q in self.order if not q.ok or q.odd]
        if not wrong:
            return []
        last = wrong[0].end
        same = self.due[last]
        touched = set(wrong[0].values)
        found = [
            step
            for step in self.steps[:last]
            if isinstance(step, Stage) and any(v in touched for vs in step.places.values() for v in vs)
        ]
        for i in range(last, -1, -1):
            step = self.steps[i]
            if i < last and any(q.ok and any(q.flat) for q in self.due.get(i, [])):
                if isinstance(step, Stage):
                    found.append(step)  # what it passes down may be wrong
                break
            if isinstance(step, Stage) and not (i == last and any(q.stage is step for q in same)):
                found.append(step)
        return list(dict.fromkeys([*found[-1:], *found] if touched and not found[:1] else found))

    @cached_property
    def start(self) -> int:
        """The first step with a suspect, where what comes before is right beyond doubt."""
        places = [self.steps.index(stage) for stage in self.suspects()]
        first = min(places, default=0)
        sure = any(
            q.ok and len(q.values) > 3 and any(q.flat) for i in range(first + 1) for q in self.due.get(i, [])
        )
        return first if sure else 0

    # --- what explains it -----------------------------------------------------------------------------------

    def explanations(self) -> list[tuple[Made, ...]]:
        """The mistakes that give every number: single ones, else pairs; each set without another inside.

        Rows that could explain too much (`last`) are believed only beside what a pair explains.
        """
        found = self._sets(1, False)
        if not found:
            found = self._sets(1, True) + self._sets(2, False)
        return found or self._sets(2, True)

    def _sets(self, budget: int, last: bool) -> list[tuple[Made, ...]]:
        """With the right sign, and with the sign turned, which is not counted as a mistake."""
        sets: dict[frozenset[Made], tuple[Made, ...]] = {}
        self.spent = 0
        for sign, start in ((1.0, ()), (-1.0, (Made(SIGN, ""),))):
            for made in self._walk(0, {self.tape.loss: sign}, start, budget, last, {}):
                if len(made) > len(start) and not (start and NEGATIVE in {m.row.name for m in made}):
                    sets.setdefault(frozenset(made), made)
        return [made for key, made in sets.items() if not any(other < key for other in sets)]

    def _walk(
        self, i: int, adjoint: dict[Value, float], made: tuple[Made, ...], left: int, last: bool, passed: Any
    ) -> Iterator[tuple[Made, ...]]:
        while i < len(self.steps) and not isinstance(self.steps[i], Stage):
            _push(adjoint, self.steps[i])
            due = [(q, [adjoint.get(v, 0.0) for v in q.values]) for q in self.due.get(i, [])]
            if not all(self._fits(q, g) for q, g in due):
                return
            i += 1
        if i == len(self.steps):
            yield made
            return
        stage: Any = self.steps[i]
        if self.spent > MOST:
            self.gave_up = True
            return
        self.spent += self._cost(stage)
        up = each(lambda v: adjoint.get(v, 0.0), stage.outer)
        for q in self.due.get(i, []):
            if q.stage is stage and not self._fits(q, flat(up)):
                return
        below = {**passed, stage.index: up}
        for gradients, more, spent in self._outcomes(stage, i, up, adjoint, made, left, last, below):
            after = dict(adjoint)
            _add(after, stage, gradients)
            yield from self._walk(i + 1, after, made + more, left - spent, last, below)

    def _fits(self, q: Quantity, g: Sequence[float]) -> bool:
        return not q.odd and self._same(q, g)

    def _alike(self, a: Numbers, b: Numbers) -> bool:
        return all(close(flat(b), flat(a), self.tolerance, self.floor))

    def _all_alike(self, a: dict[str, Numbers], b: dict[str, Numbers]) -> bool:
        return a.keys() == b.keys() and all(self._alike(a[n], b[n]) for n in a)

    def _same(self, q: Quantity, g: Sequence[float]) -> bool:
        return all(close(g, q.flat, self.tolerance, self.floor))

    def _outcomes(
        self, stage: Stage, i: int, up: Numbers, adjoint: dict[Value, float], made: tuple[Made, ...],
        left: int, last: bool, passed: Any,
    ) -> Iterator[tuple[dict[str, Numbers], tuple[Made, ...], int]]:  # fmt: skip
        """What a layer may pass down, with the mistakes that were made there: only what fits its own weights."""
        right = stage.pull(up)
        due = [q for q in self.due.get(i, []) if q.stage is None]
        owner = {
            q.name: {n for n, vs in stage.places.items() if not set(vs).isdisjoint(q.values)} for q in due
        }

        def wrong(gradients: dict[str, Numbers]) -> list[Quantity]:
            return [q for q in due if not self._fits(q, self._known(q, stage, gradients, adjoint))]

        def arguments(bad: list[Quantity]) -> set[str]:
            return {n for q in bad for n in owner[q.name]}

        def settled(
            gradients: dict[str, Numbers], bad: list[Quantity], more: tuple[Made, ...], spent: int
        ) -> Iterator[tuple[dict[str, Numbers], tuple[Made, ...], int]]:
            if not bad:
                yield gradients, more, spent
                return
            for change in CHANGES:
                known = change.name in {m.row.name for m in made + more} and not change.last
                cost = spent + (len(bad) if change.last else int(not known))
                if cost <= left and (last or not change.last):
                    changed = [
                        change.rule(q, self._known(q, stage, gradients, adjoint), self.tape, up) for q in bad
                    ]
                    if all(g is not None and self._same(q, g) for q, g in zip(bad, changed)):
                        places = tuple(Made(change, q.name) for q in bad)
                        yield gradients, more + places, cost

        bad = wrong(right)
        yield from settled(right, bad, (), 0)
        names = {(m.row.name, m.kind) for m in made if m.kind}
        if i < self.start and all(m.row is SIGN for m in made):
            return  # the first fault is further down
        if not left and not names:
            return
        options = dict(self.options)
        if made and made[0].row is SIGN and options.get("lr"):
            options["lr"] = -options["lr"]  # w − lr dW moved the weights by the right sign
        moment = Moment(stage, up, right, options, passed)
        cache: dict[str, list[tuple[str, dict[str, Numbers]]]] = {}

        def variants(row: Mistake) -> list[tuple[str, dict[str, Numbers]]]:
            """What the row gives here: each variant that differs from those before."""
            if row.name not in cache:
                kept: list[tuple[str, dict[str, Numbers]]] = []
                for note, found in row.gradients(moment):
                    if not any(self._all_alike(found, other) for _, other in kept[:8]):
                        kept.append((note, found))
                    self.spent += self._cost(stage)
                cache[row.name] = kept
            return cache[row.name]

        def together(
            row: Mistake, here: Made, spent: int
        ) -> Iterator[tuple[dict[str, Numbers], tuple[Made, ...], int]]:
            """The row with each other that changes the same in another way."""
            for other, _ in self._rows_of(stage)[self._rows_of(stage).index((row, None)) + 1 :]:
                both = row.rule.with_(other.rule) if isinstance(row.rule, Built) else None
                if both is not None:
                    joint = replace(row, rule=both, changes=(*row.changes, *other.changes))
                    for _, found in joint.gradients(moment):
                        self.spent += self._cost(stage)
                        if not wrong({**right, **found}):
                            second = Made(other, self._place(stage, None), "", self._kind(stage, None))
                            yield {**right, **found}, (here, second), spent + 1

        finished = {n for names_ in owner.values() for n in names_}
        for row, scope in self._rows_of(stage):
            spent = int((row.name, self._kind(stage, scope)) not in names)
            changes = row.arguments(stage) if scope is None else scope
            missing = arguments(bad) - changes
            if spent > left or (missing and left - spent < 1) or (changes <= finished and not bad):
                continue
            if not changes & arguments(bad) and changes <= finished:
                continue
            for note, found in variants(row):
                if scope is not None:
                    found = {n: g for n, g in found.items() if n in scope}
                if not found or all(self._alike(found[n], right[n]) for n in found):
                    continue
                gradients = {**right, **found}
                still = wrong(gradients)
                here = Made(row, self._place(stage, scope), note, self._kind(stage, scope))
                if not still:
                    yield gradients, (here,), spent
                    continue
                if left - spent < 1:
                    continue
                yield from settled(gradients, still, (here,), spent)
                if scope is None:
                    yield from together(row, here, spent)
                needed = arguments(still)
                if needed & set(found):
                    continue
                for other, other_scope in self._rows_of(stage):
                    covers = other.arguments(stage) if other_scope is None else other_scope
                    if not needed <= covers or covers & set(found) or other is row:
                        continue
                    for word, extra in variants(other):
                        extra = {n: g for n, g in extra.items() if n in covers}
                        both = {**gradients, **extra}
                        if extra and not wrong(both):
                            second = Made(other, self._place(stage, other_scope), word)
                            yield both, (here, second), spent + 1

    def _known(
        self, q: Quantity, stage: Stage, gradients: dict[str, Numbers], adjoint: dict[Value, float]
    ) -> list[float]:
        """The gradient of a quantity once this layer has added its part."""
        sums = {v: adjoint.get(v, 0.0) for v in q.values}
        for n, vs in stage.places.items():
            for v, g in zip(vs, flat(gradients[n])):
                if v in sums:
                    sums[v] += g
        return [sums[v] for v in q.values]

    def _rows_of(self, stage: Stage) -> list[tuple[Mistake, frozenset[str] | None]]:
        """The rows that can be made in a layer; those of any layer also in one argument alone."""
        if stage.name not in self.rows:
            rows: list[tuple[Mistake, frozenset[str] | None]] = []
            for row in MISTAKES:
                if row.needs and self.options.get(row.needs) is None:
                    continue
                if ALL in row.kinds or stage.kind in row.kinds:
                    if ALL not in row.kinds or self._scalable(stage):
                        rows.append((row, None))
                    alone = row.alone or ALL in row.kinds
                    if alone and len(stage.places) > 1 and stage.kind != "weighted_sum":
                        names = row.arguments(stage) - (
                            set() if row.alone else {stage.first} - self.asked(stage)
                        )
                        rows += [(row, frozenset({n})) for n in sorted(names)]
            self.rows[stage.name] = rows
        return self.rows[stage.name]

    def asked(self, stage: Stage) -> set[str]:
        """The arguments whose gradient was handed in."""
        known = {v for q in self.quantities for v in q.values}
        return {n for n, vs in stage.places.items() if not known.isdisjoint(vs)}

    def _scalable(self, stage: Stage) -> bool:
        """Whether a factor for all of its gradients is not one of the layer above or below as well."""
        if stage.kind in LOSSES or stage.kind == "weight_decay":
            return True
        below_loss = max((s.index for s in self.tape.stages if self.asked(s)), default=-1)
        loss = any(s.kind in LOSSES for s in self.tape.stages)
        return bool(self.asked(stage)) and not (loss and stage.index == below_loss)

    @staticmethod
    def _cost(stage: Stage) -> int:
        return sum(map(len, stage.places.values())) * (stage.batch if stage.kind == "affine" else 10)

    @staticmethod
    def _kind(stage: Stage, scope: Iterable[str] | None) -> str:
        return f"{stage.kind} {sorted(scope) if scope else ''}"

    def _place(self, stage: Stage, scope: Iterable[str] | None) -> str:
        place = stage.place or f"in {stage.name}"
        if scope is None:
            return place
        (name,) = scope
        return f"{place}, {name}"

    def untried(self) -> list[str]:
        needs = [(row.name, row.needs) for row in (*MISTAKES, *CHANGES) if row.needs]
        texts = [f"{name!r} needs {n}=" for name, n in needs if self.options.get(n) is None]
        return texts + ["all pairs, for so many numbers: audit a smaller network"] * self.gave_up


def _operands(step: Any) -> Iterator[Value]:
    if isinstance(step, Stage):
        for vs in step.places.values():
            yield from vs
    else:
        yield from step.inputs


def _push(adjoint: dict[Value, float], v: Any) -> None:
    """A node between layers passes its shares to its operands."""
    g = adjoint.get(v)
    if g is not None:
        for x, d in edges(v):
            adjoint[x] = adjoint.get(x, 0.0) + d * g


def _add(adjoint: dict[Value, float], stage: Stage, gradients: dict[str, Numbers]) -> None:
    for name, vs in stage.places.items():
        if name in gradients:
            for v, g in zip(vs, flat(gradients[name])):
                adjoint[v] = adjoint.get(v, 0.0) + g
