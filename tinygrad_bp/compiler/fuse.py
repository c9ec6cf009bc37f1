"""Fuse: chains of additions become one accumulation.

A neuron written with operators is ((b + w0*x0) + w1*x1) + ...: left-deep, and no partial sum is used
elsewhere. Such a chain becomes one term, start + w0*x0 + w1*x1 + ..., with its operands in order, so that
nothing is added up in another order than the user wrote.  Then a net built from binary operations looks like
one built from dots. Accumulations with parameters and samples mixed in one list get copies, so that a list
lives in one memory. Read schedule.py next.
"""

from collections.abc import Sequence

from tinygrad_bp import ops
from tinygrad_bp.compiler.lower import FEW
from tinygrad_bp.compiler.terms import COPY, INNER, ONCE, SAMPLE, TOTAL, Program, Term, oldest_first


def fuse(program: Program) -> Program:
    """The same program with its chains of additions fused."""
    order = oldest_first(program.outputs)
    uses = count_uses(order, program.outputs)
    inside = _links(order, uses)
    new: dict[Term, Term] = {}
    for term in order:
        if not term.args:
            new[term] = term
        elif term.op is ops.add and term not in inside:
            new[term] = _fused(term, inside, uses, new)
        elif term not in inside:
            new[term] = _rebuilt(term, new)
    outputs = [new[term] for term in program.outputs]
    return Program(outputs, program.leaves, program.inputs, program.summed)


def count_uses(order: Sequence[Term], outputs: Sequence[Term]) -> dict[Term, int]:
    """How often each term is an operand, or an output."""
    uses = dict.fromkeys(order, 0)
    for term in order:
        for x in term.args:
            uses[x] += 1
    for term in outputs:
        uses[term] += 1
    return uses


def _links(order: Sequence[Term], uses: dict[Term, int]) -> set[Term]:
    """The additions that are nothing but the partial sum of a longer chain."""
    inside = set()
    for term in order:
        if term.op is ops.add:
            before = _partial_sum(term, uses)
            if before is not None:
                inside.add(before)
    return inside


def _partial_sum(term: Term, uses: dict[Term, int]) -> Term | None:
    """The operand that carries the chain on: the left, or the right one (x + sum is sum + x)."""
    args: tuple[Term, ...] = term.args
    for x in args:
        if x.op is ops.add and uses[x] == 1 and x.rate == term.rate:
            return x
    return None


def _fused(root: Term, inside: set[Term], uses: dict[Term, int], new: dict[Term, Term]) -> Term:
    chain = []  # the summands, last first
    term = root
    while True:
        before = _partial_sum(term, uses)
        x, y = term.args
        if before is None:
            chain += [y, x]
            break
        chain.append(y if before is x else x)
        term = before
    summands = chain[::-1]
    products = [x.op is ops.mul and uses[x] == 1 for x in summands[1:]]
    start, rest = summands[0], summands[1:]
    if len(rest) < FEW or not (any(products) or len(rest) >= 2 * FEW):
        return _written_out(summands, new)
    if not any(products):
        return _accumulation(TOTAL, new[start], [], [new[x] for x in rest])
    one = root.graph.constant(1.0)
    pairs = [x.args if product else (x, None) for x, product in zip(rest, products)]
    ws = [new[w] if x is not None else one for w, x in pairs]
    xs = [new[x] if x is not None else new[w] for w, x in pairs]
    return _accumulation(INNER, new[start], ws, xs)


def _written_out(summands: Sequence[Term], new: dict[Term, Term]) -> Term:
    total = new[summands[0]]
    for x in summands[1:]:
        total = total + new[x]
    return total


def _rebuilt(term: Term, new: dict[Term, Term]) -> Term:
    args = [new[x] for x in term.args]
    if term.op is TOTAL:
        return _accumulation(TOTAL, args[0], [], args[1:])
    if term.op is INNER:
        n = len(args) // 2
        return _accumulation(INNER, args[0], args[1 : n + 1], args[n + 1 :])
    return term.graph.make(term.op, tuple(args), term.rate)


def _accumulation(op: ops.Op, start: Term, ws: list[Term], xs: list[Term]) -> Term:
    rate = max(x.rate for x in (start, *ws, *xs))
    return start.graph.make(op, (start, *_in_one_memory(ws), *_in_one_memory(xs)), rate)


def _in_one_memory(xs: list[Term]) -> list[Term]:
    """If any operand differs between samples, all as rows of samples."""
    if all(x.rate == SAMPLE for x in xs) or all(x.rate <= ONCE for x in xs):
        return xs
    return [x if x.rate == SAMPLE else x.graph.make(COPY, (x,), SAMPLE) for x in xs]
