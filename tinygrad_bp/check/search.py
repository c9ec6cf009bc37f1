"""The search for the mistakes that explain a gradient: which candidates give its every entry.

It goes down the layers as backprop does.  Candidates that have made the same mistakes so far share the work,
and those whose numbers differ from the user's in a layer are gone before the layers below are looked at: of
thousands of pairs, a few get further than the last layer.  `mistakes.py` says what is tried.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import isclose
from typing import Any

from tinygrad_bp.check.backprop import Matrix, MisfitError, Plain, backprop, factor, scaled, total
from tinygrad_bp.check.mistakes import MISTAKES, Candidate, candidates
from tinygrad_bp.check.reading import Given
from tinygrad_bp.engine import Value
from tinygrad_bp.losses import Loss
from tinygrad_bp.modes import entered
from tinygrad_bp.transforms import gradients

MOST_COMPARISONS = 20_000  # of predictions with targets that are not theirs


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

    def __post_init__(self) -> None:
        blocks = [*self.mine.ws, *(b for b in self.mine.bs if b)]
        self.largest = max(largest(block) for block in blocks)
        share = 1.0 / len(self.targets) if self.reduce == "mean" else 1.0
        outs = self.net[-1].outs
        self.errors = [scaled(share, self._error(out, y)) for out, y in zip(outs, self.targets)]

    @property
    def known(self) -> list[str]:
        """The optional keywords that were given."""
        return [name for name in ("lr", "before") if getattr(self, name) is not None]

    def untried(self) -> list[str]:
        """What could not be tried, and why."""
        missing = [(row.name, row.needs) for row in MISTAKES if row.needs and row.needs not in self.known]
        told = [f"{name!r} needs {needs}=" for name, needs in missing]
        if len(self.errors) * len(self._kinds()) > MOST_COMPARISONS:
            told.append("'every prediction against every target' needs fewer samples")
        return told

    def explanations(self) -> list[Candidate]:
        """The single mistakes that give every entry, else the pairs; the plainest of those that say the same."""
        for most in (1, 2):
            tried = candidates(len(self.net), len(self.net[-1].w), self.known, most)
            found = [candidate for _, candidate in self.walk(tried, prune=True)]
            if found:
                return [c for c in found if not any(other.made < c.made for other in found)]
        return []

    def closest(self) -> tuple[int, Candidate]:
        """The single mistake that gives the most entries, and how many."""
        tried = candidates(len(self.net), len(self.net[-1].w), self.known, most=1)
        return max(self.walk(tried, prune=False), key=lambda found: (found[0], -len(found[1].made)))

    # --- going down the layers ------------------------------------------------------------------------------

    def walk(self, tried: Iterable[Candidate], prune: bool) -> Iterator[tuple[int, Candidate]]:
        """Candidates with the number of entries they give; pruned, only those that give all."""
        for made, alike in grouped(tried, lambda c: (c.at(len(self.net)), c.negated)):
            errors = self._errors(made[0])
            if errors:
                sign = -1.0 if made[1] else 1.0
                errors = [scaled(sign, error) for error in errors]
                yield from self._descend(alike, len(self.net) - 1, errors, sign * (self.lr or 0.0), prune)

    def _descend(
        self, alike: list[Candidate], k: int, errors: list[Matrix], lr: float, prune: bool
    ) -> Iterator[tuple[int, Candidate]]:
        if k < 0:
            yield from ((0, candidate) for candidate in alike)
            return
        before = self.before and (self.before.ws[k], self.before.bs[k])
        for made, same in grouped(alike, lambda candidate: candidate.at(k)):
            parts = backprop(self.net, k, errors, made, lr, before)
            try:
                agreeing = self._compared(parts, k, prune)
                if agreeing is None:
                    continue
                below = next(parts) if k else []
            except MisfitError:
                continue
            for more, candidate in self._descend(same, k - 1, below, lr, prune):
                yield agreeing + more, candidate

    def _compared(self, parts: Iterator[Matrix], k: int, prune: bool) -> int | None:
        """How many entries of layer k are the user's; None if any is not, and that is the end of it."""
        agreeing = 0
        for wanted in (self.mine.bs[k], self.mine.ws[k]):
            part = next(parts)
            if wanted is not None:
                same = self.same(part, wanted)
                if prune and not all(same):
                    return None
                agreeing += sum(same)
        return agreeing

    def same(self, part: Matrix, wanted: Matrix) -> list[bool]:
        """Which entries agree, measured by the largest of their matrix."""
        if (len(part), len(part[0])) != (len(wanted), len(wanted[0])):
            return [False] * len(wanted) * len(wanted[0])
        room = self.tolerance * max(largest(part), largest(wanted), 1e-6 * self.largest)
        flat = zip((x for row in part for x in row), (x for row in wanted for x in row))
        return [isclose(a, b, rel_tol=0.0, abs_tol=room) for a, b in flat]

    # --- the loss -------------------------------------------------------------------------------------------

    def _errors(self, made: frozenset[str]) -> list[Matrix]:
        """The derivatives of the loss by the outputs; none if that would take too long."""
        errors = self.errors
        if "every prediction against every target" in made:
            kinds = self._kinds()
            if len(errors) * len(kinds) > MOST_COMPARISONS:
                return []
            share = 1.0 / len(errors) ** 2 if self.reduce == "mean" else 1.0
            errors = [
                total([scaled(share * count, self._error(out, y)) for y, count in kinds])
                for out in self.net[-1].outs
            ]
        return [scaled(factor(made, len(errors), len(self.net[-1].w)), error) for error in errors]

    def _error(self, out: Matrix, y: Any) -> Matrix:
        with entered(record=True, trap=False):
            leaves = [Value(number) for (number,) in out]
            value = self.loss(leaves[0] if len(leaves) == 1 else leaves, y)
            return [[g] for g in gradients(value, leaves)]

    def _kinds(self) -> list[tuple[Any, int]]:
        """The distinct targets, and how often each occurs."""
        return [(same[0], len(same)) for _, same in grouped(self.targets, repr)]


def grouped(items: Iterable[Any], key: Any) -> Iterable[tuple[Any, list[Any]]]:
    groups: dict[Any, list[Any]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups.items()


def largest(block: Matrix) -> float:
    return max(abs(number) for row in block for number in row)
