"""Fuse: from terms to terms, where each chain of additions has become one accumulation.

A neuron written with operators is a chain, whose partial sums nothing else uses.  Its operands stay in order,
so nothing is added up in another order than the user wrote, and a net built from binary operations looks like
one built from dots.  The operands of a list lie in one memory: where only some of them differ between
samples, the others are copied.

    (((b + w0*x0) + w1*x1) + w2*x2) + w3*x3     add, mul, add, mul, ...
    inner(b, w0, w1, w2, w3, x0, x1, x2, x3)    one term
"""

from collections.abc import Mapping, Sequence

from tinygrad_bp import ops
from tinygrad_bp.compiler.lower import FEW, matrix_product
from tinygrad_bp.compiler.terms import COPY, INNER, LISTS, SAMPLE, TOTAL, Products, Program, Term, lists_of


def fuse(program: Program) -> Program:
    """The same program with its chains of additions fused."""
    order, uses = program.order, program.uses
    inside, changes = _links(order, uses)
    changes = changes or program.arrays
    if not changes and not any(term.op in LISTS and any(map(_mixed, lists_of(term))) for term in order):
        return program  # as it is
    new: dict[Term, Term] = {}
    for term in order:
        if not term.args:
            new[term] = term
        elif term.op is ops.add and term not in inside:
            new[term] = _fused(term, inside, uses, new, program.arrays)
        elif term not in inside:
            new[term] = _rebuilt(term, new)
    outputs = [
        Products(tuple([new[x] for x in out.xs]), new[out.g]) if isinstance(out, Products) else new[out]
        for out in program.outputs
    ]
    return Program(outputs, program.leaves, program.inputs, program.summed, program.arrays)


def _links(order: Sequence[Term], uses: Mapping[Term, int]) -> tuple[set[Term], bool]:
    """The additions that are nothing but the partial sum of a longer chain; whether one changes."""
    inside, changes = set(), False
    lengths: dict[Term, int] = {}
    for term in order:
        if term.op is ops.add:
            before = _partial_sum(term, uses)
            if before is not None:
                inside.add(before)
            length = lengths[term] = 1 + (0 if before is None else lengths[before])
            changes = changes or length >= FEW or before not in (None, term.args[0])
    return inside, changes


def _partial_sum(term: Term, uses: Mapping[Term, int]) -> Term | None:
    """The operand that carries the chain on: the left, or the right one (x + sum is sum + x)."""
    args: tuple[Term, ...] = term.args
    for x in args:
        if x.op is ops.add and uses[x] == 1 and x.rate == term.rate:
            return x
    return None


def _fused(
    root: Term, inside: set[Term], uses: Mapping[Term, int], new: dict[Term, Term], arrays: bool
) -> Term:
    chain = []  # the summands, last first
    term = root
    while True:
        before = _partial_sum(term, uses)
        x, y = term.args
        if before is None:
            starts_with_product = _is_product(x, uses) and not _is_product(y, uses)
            chain += [x, y] if starts_with_product else [y, x]  # w0*x0 + b is b + w0*x0, to the bit
            break
        chain.append(y if before is x else x)
        term = before
    summands = chain[::-1]
    if arrays:
        summands = _with_one_product(summands, uses, new)
    products = [_is_product(x, uses) for x in summands[1:]]
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


def _with_one_product(summands: list[Term], uses: Mapping[Term, int], new: dict[Term, Term]) -> list[Term]:
    """The summands, of which single products of a parameter and a sample's value become one of matrices."""
    singles = [x for x in summands if x.op is INNER and len(x.args) == 3 and uses[x] == 1]
    if len(singles) < 2:
        return summands
    product = matrix_product([(new[x].args[1], new[x].args[2]) for x in singles])
    new[product] = product
    return [product, *[x for x in summands if x not in singles]]


def _is_product(term: Term, uses: Mapping[Term, int]) -> bool:
    return term.op is ops.mul and uses[term] == 1


def _written_out(summands: Sequence[Term], new: dict[Term, Term]) -> Term:
    total = new[summands[0]]
    for x in summands[1:]:
        total = total + new[x]
    return total


def _rebuilt(term: Term, new: dict[Term, Term]) -> Term:
    args = [new[x] for x in term.args]
    if term.op is TOTAL or term.op is ops.take:
        return _accumulation(term.op, args[0], [], args[1:])
    if term.op is INNER:
        n = len(args) // 2
        return _accumulation(INNER, args[0], args[1 : n + 1], args[n + 1 :])
    return term.graph.make(term.op, tuple(args), term.rate)


def _accumulation(op: ops.Op, start: Term, ws: list[Term], xs: list[Term]) -> Term:
    rate = max(x.rate for x in (start, *ws, *xs))
    return start.graph.make(op, (start, *_in_one_memory(ws), *_in_one_memory(xs)), rate)


def _in_one_memory(xs: list[Term]) -> list[Term]:
    """If any operand differs between samples, all as rows of samples."""
    if not _mixed(xs):
        return xs
    return [x if x.rate == SAMPLE else x.graph.make(COPY, (x,), SAMPLE) for x in xs]


def _mixed(xs: Sequence[Term]) -> bool:
    """Whether some differ between samples and some do not."""
    return 0 < sum([x.rate == SAMPLE for x in xs]) < len(xs)
