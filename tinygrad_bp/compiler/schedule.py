"""Schedule: from terms to statements: which terms are stored, in what order, and what each statement does.

A statement computes one stored term from others, with the operands that nothing else needs folded in; it has
one operation on lists at most.  Its shape, tokens in postfix order, says what it does but not to which
operands: statements of one shape at one level differ only in addresses.  Values that are the same for all
samples are computed once a call; sums over the samples come last.

    tanh(inner(b, w..., x...)), of 16 neurons                 terms
    16 statements of the shape: once, inner of 2, tanh        at level 1, for each sample
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from itertools import repeat
from operator import attrgetter, itemgetter
from typing import Any

from tinygrad_bp import ops
from tinygrad_bp.compiler.terms import CONSTANT, LISTS, SAMPLE, Products, Program, Term, lists_of

LONGEST = 40  # operations in one statement: nested deeper, Python refuses to parse it
FEW_CONSTANTS = 32  # as many different ones stand in the code itself; if there are more they get places
PLAIN = frozenset(x.hex() for x in (0.0, -0.0, 1.0, -1.0, 0.5, 2.0))
CHEAP = frozenset({ops.neg, ops.abs, ops.step, ops.gt, ops.ge, ops.eq, ops.ne})
CHEAP_WITH_A_CONSTANT = frozenset({ops.add, ops.sub})


class Kind(Enum):
    """What a statement makes."""

    ONCE = "once a call"
    SAMPLE = "for each sample"
    SUM = "summed over the samples"
    COUNT = "the same for all samples, times their number"


class Space(Enum):
    """Where an operand lives."""

    SCALARS = "S"  # one number: parameters, then constants, then values that are computed once
    ROWS = "R"  # one number a sample: inputs, then the results of statements


@dataclass(eq=False)
class Leaf:
    """A token: take the next operand, from this memory."""

    space: Space


@dataclass(eq=False)
class Literal:
    """A token: a number; its text is exact and tells -0.0 from 0.0."""

    text: str

    @property
    def number(self) -> float:
        return float.fromhex(self.text)


@dataclass(eq=False)
class Apply:
    """A token: an operation on the results before it; an accumulation also takes the next one or two
    lists, and `take` one."""

    op: Any
    operands: int
    length: int = 0  # of its lists


@cache
def _token(kind: Any, *content: Any) -> Any:
    """Equal tokens are one object, so that shapes compare fast."""
    return kind(*content)


_once = Leaf(Space.SCALARS)
LEAF = (_once, _once, Leaf(Space.ROWS))  # by the rate of a term


@cache
def _of_two(op: Any, left: int, right: int) -> tuple[Any, ...]:
    """The shape of an operation on two stored terms of these rates."""
    return LEAF[left], LEAF[right], _token(Apply, op, 2)


Token = Leaf | Literal | Apply
Shape = tuple[Token, ...]


@dataclass(eq=False, slots=True)
class Statement:
    """Compute `target` (a term; for sums, the number of an output) as `shape` says, from `leaves`.

    One with a `row` stands for so many, whose targets follow each other: each takes one of a list where the
    shape has a single operand.
    """

    kind: Kind
    target: Any
    shape: Shape
    leaves: list[Any]  # terms, and for an accumulation lists of terms
    number: int
    level: int = 0
    row: int = 0


@dataclass
class Schedule:
    """The statements in order, and the terms that have a place from the beginning."""

    program: Program
    statements: list[Statement] = field(default_factory=list)
    constants: list[Term] = field(default_factory=list)  # those that have a place


def schedule(program: Program) -> Schedule:
    """Statements for everything the outputs need, by kind, level and shape."""
    order = program.order
    plan = Schedule(program)
    writer = _Writer(program.uses, _stands_in_code(order), plan)
    place = 0
    for output in program.outputs:
        if isinstance(output, Products):
            writer.write_row(place, output)
            place += len(output.xs)
        elif program.summed:
            writer.write_sum(place, output)
            place += 1
        else:
            writer.need(output)
    writer.write_needed()
    _set_levels(plan.statements)
    plan.statements = list(_in_groups(plan.statements))
    return plan


def _in_groups(statements: Iterable[Statement]) -> Iterator[Statement]:
    """By kind, then by level, and in a level like-shaped ones together, in order."""
    groups: dict[Kind, dict[tuple[int, Shape], list[Statement]]] = {kind: {} for kind in Kind}
    for s in sorted(statements, key=attrgetter("number")):
        groups[s.kind].setdefault((s.level, s.shape), []).append(s)
    for of_kind in groups.values():
        for level_and_shape in sorted(of_kind, key=itemgetter(0)):
            yield from of_kind[level_and_shape]


def _stands_in_code(order: Iterable[Term]) -> frozenset[str]:
    texts = {term.value.hex() for term in order if term.rate == CONSTANT}
    return frozenset(texts) if len(texts) <= FEW_CONSTANTS else PLAIN


class _Writer:
    def __init__(self, uses: Mapping[Term, int], literals: frozenset[str], plan: Schedule) -> None:
        self.uses, self.literals, self.plan = uses, literals, plan
        self.needed: dict[Term, None] = {}  # stored terms, in the order they were asked for
        self.placed: set[Term] = set()
        self.stored: dict[Term, bool] = {}  # what _is_stored has found

    def need(self, term: Term) -> None:
        """This term must have a place."""
        if term.args:
            self.needed.setdefault(term)
        elif term.rate == CONSTANT and term not in self.placed:
            self.placed.add(term)
            self.plan.constants.append(term)

    def need_all(self, terms: Sequence[Term]) -> None:
        """Each of them must have a place. Most are parameters, which have one."""
        for x in terms:
            if x.args or x.rate == CONSTANT:
                self.need(x)

    def write_sum(self, place: int, term: Term) -> None:
        kind = Kind.SUM if term.rate == SAMPLE else Kind.COUNT
        if term.rate == CONSTANT and term.value == 0.0:
            return  # an output that is 0
        arrays = self.plan.program.arrays  # there, a sum over samples may go over terms as well
        if term.rate < SAMPLE or self.uses[term] > 1 or (term.op in LISTS and not arrays):
            self.plan.statements.append(Statement(kind, place, *self._stored(term), number=place))
        else:
            self.plan.statements.append(Statement(kind, place, *self._spelled(term, arrays), number=place))

    def write_row(self, place: int, products: Products) -> None:
        """Sums of products that have a factor in common: one statement, if all that they take is stored."""
        xs, g = list(products.xs), products.g
        rates = {x.rate for x in xs}
        known = self.stored
        stored = [known[x] if x in known else self._is_stored(x) for x in (g, *xs)]
        if not all(stored) or len(rates) > 1 or max(*rates, g.rate) < SAMPLE:
            for i, term in enumerate(products.terms()):
                self.write_sum(place + i, term)
            return
        self.need_all([*xs, g])
        shape, row = _of_two(ops.mul, xs[0].rate, g.rate), len(xs)
        self.plan.statements.append(Statement(Kind.SUM, place, shape, [xs, g], number=place, row=row))

    def _stored(self, term: Term) -> tuple[Shape, list[Any]]:
        self.need(term)
        return (LEAF[term.rate],), [term]

    def write_needed(self) -> None:
        done = 0
        while done < len(self.needed):
            todo = list(self.needed)[done:]
            done += len(todo)
            for term in todo:
                kind = Kind.SAMPLE if term.rate == SAMPLE else Kind.ONCE
                self.plan.statements.append(Statement(kind, term, *self._spelled(term), number=term.number))

    def _spelled(self, root: Term, may_accumulate: bool = True) -> tuple[Shape, list[Any]]:
        """The shape of a statement and its operands. Written from the right, so that the left comes first."""
        if len(root.args) == 2 and root.op not in LISTS and all(map(self._is_stored, root.args)):
            for x in root.args:  # what nearly all derivatives look like
                self.need(x)
            return _of_two(root.op, root.args[0].rate, root.args[1].rate), list(root.args)
        shape: list[Token] = []
        leaves: list[Any] = []
        size = 0
        stack = [(root, True)]  # terms, and whether nobody else needs the operand they are part of
        while stack:
            term, alone = stack.pop()
            alone = alone and (term is root or self.uses[term] == 1)
            long = term.op in LISTS
            if term.rate == CONSTANT and term.value.hex() in self.literals:
                shape.append(_token(Literal, term.value.hex()))
            elif not self._folds(term, root, alone, size) or (long and not may_accumulate):
                self.need(term)
                shape.append(LEAF[term.rate])
                leaves.append(term)
            elif long:
                may_accumulate = self.plan.program.arrays
                lists = lists_of(term)
                shape.append(_token(Apply, term.op, 1, len(lists[0])))
                for operands in reversed(lists):
                    leaves.append(operands)
                    self.need_all(operands)
                stack.append((term.args[0], alone))
            else:
                shape.append(_token(Apply, term.op, len(term.args)))
                stack.extend([(x, alone) for x in term.args])
            size += 1
        return tuple(reversed(shape)), leaves[::-1]

    def _is_stored(self, term: Term) -> bool:
        """Whether it has a place in memory for certain."""
        found = self.stored.get(term)
        if found is None:
            found = term.rate != CONSTANT and (not term.args or (self.uses[term] > 1 and not _is_cheap(term)))
            self.stored[term] = found
        return found

    def _folds(self, term: Term, root: Term, alone: bool, size: int) -> bool:
        """Whether a term is computed within the statement, and not taken from where it is stored."""
        if not term.args or term is root:
            return bool(term.args)
        return size < LONGEST and term.rate == root.rate and (alone or _is_cheap(term))


def _is_cheap(term: Term) -> bool:
    """Whether it costs no more to compute a term again than to store and load it."""
    if term.op in CHEAP_WITH_A_CONSTANT:
        return any(x.rate == CONSTANT for x in term.args)
    return term.op in CHEAP


def _set_levels(statements: Sequence[Statement]) -> None:
    """A statement's level is one more than the highest of those whose results it takes."""
    level: dict[Any, int] = {}
    stored = [s for s in statements if isinstance(s.target, Term)]
    for s in sorted(stored, key=attrgetter("number")):
        s.level = level[s.target] = 1 + _highest(s, level)
    for s in statements:
        if not isinstance(s.target, Term):
            s.level = 1 + _highest(s, level)


def _highest(s: Statement, level: dict[Any, int]) -> int:
    of = level.get
    return max(
        [max(map(of, leaf, repeat(0))) if type(leaf) is list else of(leaf, 0) for leaf in s.leaves], default=0
    )
