"""The search for the mistakes that explain a gradient: which candidates give its every entry.

It goes down the layers as backprop does.  Candidates that have made the same mistakes so far share the work,
and those whose numbers differ from the user's in a layer are gone before the layers below are looked at: of
thousands of pairs, a few get further than the last layer.  `mistakes.py` says what is tried.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import exp, isclose
from typing import Any

from tinygrad_bp.check.backprop import (
    Matrix,
    MisfitError,
    Plain,
    backprop,
    factor,
    flip,
    scaled,
    times,
    total,
)
from tinygrad_bp.check.mistakes import MISTAKES, Candidate, candidates
from tinygrad_bp.check.reading import Given
from tinygrad_bp.engine import Value
from tinygrad_bp.losses import Loss, bce_with_logits, cross_entropy
from tinygrad_bp.modes import entered
from tinygrad_bp.ops import logsumexp as LOGSUMEXP, sigmoid as SIGMOID
from tinygrad_bp.transforms import gradients

NO_MISTAKE = Candidate(())
MOST_COMPARISONS = 20_000  # of predictions with targets that are not theirs
SQUASHES: Any = (  # what a loss of logits has inside
    (bce_with_logits, lambda zs: [SIGMOID.value(z) for z in zs]),
    (cross_entropy, lambda zs: [exp(z - LOGSUMEXP.value(*zs)) for z in zs]),
)


@dataclass
class Search:
    """What is looked for, and all there is to know about the run it came from."""

    net: Sequence[Plain]
    targets: Sequence[Any]
    loss: Loss
    reduce: str
    mine: Given
    tolerance: float
    lr: float | None
    before: Given | None
    engine: Sequence[tuple[Matrix, Matrix | None]]  # the right gradients, weights and biases of each layer

    def __post_init__(self) -> None:
        self.largest = max(largest(block) for layer in self.engine for block in layer if block)
        share = 1.0 / len(self.targets) if self.reduce == "mean" else 1.0
        self.errors = scaled(share, self._error(self.targets))

    @property
    def known(self) -> list[str]:
        """The optional keywords that were given."""
        return [name for name in ("lr", "before") if getattr(self, name) is not None]

    def untried(self) -> list[str]:
        """What could not be tried, and why."""
        missing = [(row.name, row.needs) for row in MISTAKES if row.needs and row.needs not in self.known]
        told = [f"{name!r} needs {needs}=" for name, needs in missing]
        if len(self.targets) * len(self._kinds()) > MOST_COMPARISONS:
            told.append("'every prediction against every target' needs fewer samples")
        return told

    def explanations(self) -> list[Candidate]:
        """The single mistakes that give every entry, else the pairs; of those that contain another, that."""
        for most in (1, 2):
            tried = candidates(len(self.net), len(self.net[-1].w), self.known, most)
            found = [candidate for _, candidate in self.walk(tried, prune=True) if candidate != NO_MISTAKE]
            if found:
                return [c for c in found if not any(other.made < c.made for other in found)]
        return []

    def closest(self) -> tuple[int, Candidate]:
        """The single mistake that gives the most entries, and how many; zeros are given by too many."""
        tried = candidates(len(self.net), len(self.net[-1].w), self.known, most=1)
        return max(self.walk(tried, prune=False), key=lambda found: (found[0], -len(found[1].made)))

    # --- going down the layers ------------------------------------------------------------------------------

    def walk(self, tried: Iterable[Candidate], prune: bool) -> list[tuple[int, Candidate]]:
        """Candidates with the number of entries they give; pruned, only those that give all."""
        states: list[State] = []
        for (made, negated), alike in grouped(tried, lambda c: (c.at(len(self.net)), c.negated)):
            sign = -1.0 if negated else 1.0
            errors = scaled(sign, self._errors(made))
            if errors:
                states.append(State([errors], sign * (self.lr or 0.0), [(0, c) for c in alike]))
        for k in reversed(range(len(self.net))):
            states = merged(below for state in states for below in self._below(state, k, prune))
        return [found for state in states for found in state.found]

    def _below(self, state: "State", k: int, prune: bool) -> Iterator["State"]:
        """What layer k makes of a state, for each set of mistakes that are made there."""
        before = self.before and (self.before.ws[k], self.before.bs[k])
        for made, same in grouped(state.found, lambda found: found[1].at(k)):
            parts = backprop(self.net, k, state.errors, made, state.lr, before)
            try:
                agreeing = self._compared(parts, k, prune)
                if agreeing is not None:
                    found = [(count + agreeing, candidate) for count, candidate in same]
                    yield State(next(parts) if k else [], state.lr, found)
            except MisfitError:
                continue  # nobody can have made these mistakes here: the shapes forbid it

    def _compared(self, parts: Iterator[Matrix], k: int, prune: bool) -> int | None:
        """How many entries of layer k are the user's, zeros aside; None if one is not, which ends it."""
        agreeing = 0
        for wanted in (self.mine.bs[k], self.mine.ws[k]):
            part = next(parts)
            if wanted is not None:
                same = self.same(part, wanted)
                if prune and not all(same):
                    return None
                numbers = [x for row in wanted for x in row]
                agreeing += sum(agrees and x != 0.0 for agrees, x in zip(same, numbers))
        return agreeing

    def same(self, part: Matrix, wanted: Matrix) -> list[bool]:
        """Which entries agree, measured by the largest of the matrix that is not the user's."""
        if (len(part), len(part[0])) != (len(wanted), len(wanted[0])):
            return [False] * len(wanted) * len(wanted[0])
        room = self.tolerance * max(largest(part), 1e-6 * self.largest)
        flat = zip((x for row in part for x in row), (x for row in wanted for x in row))
        return [isclose(a, b, rel_tol=0.0, abs_tol=room) for a, b in flat]

    # --- the loss -------------------------------------------------------------------------------------------

    def _errors(self, made: frozenset[str]) -> Matrix:
        """The derivatives of the loss by the outputs; none if that would take too long."""
        errors = self._of_all_targets if "every prediction against every target" in made else self.errors
        if "derivative that is in the loss" in made:
            errors = times(errors, self._squashed) if errors and self._squashed else []
        return scaled(factor(made, len(self.targets), len(self.net[-1].w), self.lr or 0.0), errors)

    @cached_property
    def _squashed(self) -> Matrix:
        """p (1 - p) of the sigmoid or softmax inside the loss; none if there is none."""
        outs = flip(self.net[-1].outs)
        found = [[squash(zs) for zs in outs] for loss, squash in SQUASHES if loss is self.loss]
        return flip([[p * (1.0 - p) for p in ps] for ps in found[0]]) if found else []

    @cached_property
    def _of_all_targets(self) -> Matrix:
        n, kinds = len(self.targets), self._kinds()
        if n * len(kinds) > MOST_COMPARISONS:
            return []
        share = 1.0 / n**2 if self.reduce == "mean" else 1.0
        return total([scaled(share * count, self._error([y] * n)) for y, count in kinds])

    def _error(self, targets: Sequence[Any]) -> Matrix:
        columns = []
        with entered(record=True, trap=False):
            for column, y in zip(flip(self.net[-1].outs), targets):
                leaves = [Value(number) for number in column]
                value = self.loss(leaves[0] if len(leaves) == 1 else leaves, y)
                columns.append(gradients(value, leaves))
        return flip(columns)

    def _kinds(self) -> list[tuple[Any, int]]:
        """The distinct targets, and how often each occurs."""
        return [(same[0], len(same)) for _, same in grouped(self.targets, repr)]


@dataclass
class State:
    """On the way down: the errors that reach a layer, and the candidates that lead to them."""

    errors: list[Matrix]
    lr: float
    found: list[tuple[int, Candidate]]  # with the number of entries they gave


def merged(states: Iterable[State]) -> list[State]:
    """Those with the same errors as one: a mistake that changes nothing is common, f' = 1 at the output."""
    distinct: dict[Any, State] = {}
    for state in states:
        key = (state.lr, tuple(tuple(row) for error in state.errors for row in error))
        distinct.setdefault(key, State(state.errors, state.lr, [])).found.extend(state.found)
    return list(distinct.values())


def grouped(items: Iterable[Any], key: Any) -> Iterable[tuple[Any, list[Any]]]:
    groups: dict[Any, list[Any]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups.items()


def largest(block: Matrix) -> float:
    return max(abs(number) for row in block for number in row)
