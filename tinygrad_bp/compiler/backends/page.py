"""Operations as data for the page: values and partials in lists of primitives, which its interpreter reads.

Each rule of the table is read on terms, as for every backend, so what arrives here is written in about thirty
primitives; machine.js, beside the stepper's page, has one function for each.  An operation of the user's own
has a rule here if its value and its partials are written in the table's operations.  No code is written: a
page runs no script but its own.
"""

from collections.abc import Sequence
from math import isfinite
from typing import Any

from tinygrad_bp.compiler.lower import EXPANSIONS
from tinygrad_bp.compiler.spelling import PRIMITIVES
from tinygrad_bp.compiler.terms import LISTS, SAMPLE, Term, Terms, oldest_first
from tinygrad_bp.ops import TABLE, Op

Rule = dict[str, Any]


def page_rule(op: Op, operands: int) -> Rule | None:
    """The rule of an operation on so many operands; None if it cannot be read on terms.

    Places count the operands, then the result, the constants and the steps. A step is the name of a primitive
    and the places that it takes; the first `split` steps make the value.

    >>> from tinygrad_bp.ops import OPS
    >>> page_rule(OPS["mul"], 2)["steps"], page_rule(OPS["mul"], 2)["partials"]
    ([['mul', 0, 1]], [1, 0])
    """
    terms = Terms(EXPANSIONS)
    xs = [terms.leaf(SAMPLE) for _ in range(operands)]
    result = terms.leaf(SAMPLE)
    try:
        value = _value(op, terms, xs)
        partials = None if op.partials is None else [_term(terms, d) for d in op.partials(result, *xs)]
    except Exception:  # the user's own may do anything with an operand: math.exp(x), or `if x > 0`
        return None
    made = oldest_first([value])
    made += [term for term in oldest_first(partials or []) if term not in {*made}]
    if any(term.args and term.op not in (*PRIMITIVES, *LISTS) for term in made):
        return None
    leaves = [*xs, result]
    constants = [term for term in made if not term.args and term not in {*leaves}]
    steps = [term for term in made if term.args]
    place = {term: i for i, term in enumerate([*leaves, *constants, *steps])}
    return {
        "operands": operands,
        "constants": [_number(term.value) for term in constants],
        "steps": [[term.op.name, *[place[x] for x in term.args]] for term in steps],
        "split": sum(bool(term.args) for term in oldest_first([value])),
        "value": place[value],
        "partials": None if partials is None else [place[d] for d in partials],
        "selects": op.selects,
    }


def _value(op: Op, terms: Terms, xs: Sequence[Term]) -> Term:
    if op.name in TABLE or op.formula:
        return terms.apply(op, xs)
    return _term(terms, op.value(*xs))  # the user's own: perhaps it is written in the table's operations


def _term(terms: Terms, x: Any) -> Term:
    return x if isinstance(x, Term) else terms.constant(float(x))


def _number(x: float) -> float | str:
    """JSON has no nan and no infinities: they are texts."""
    return x if isfinite(x) else str(x)
