"""The page's backend: operations and whole programs as data, in lists of primitives, which its script reads.

A program is loop nests with the addresses of their operands, as every backend gets them.  Each
rule of the table is read on terms, so what arrives here is written in about thirty primitives; machine.js,
beside the stepper's page, has one function for each.  An operation of the user's own
has a rule here if its value and its partials are written in the table's operations.  No code is written: a
page runs no script but its own.
"""

import json
from collections.abc import Sequence
from math import isfinite
from typing import Any

from tinygrad_bp.compiler.kernel import Kernel
from tinygrad_bp.compiler.lower import EXPANSIONS
from tinygrad_bp.compiler.roll import Nest, Rolled
from tinygrad_bp.compiler.schedule import Kind, Leaf, Literal, Space, Token
from tinygrad_bp.compiler.spelling import PRIMITIVES
from tinygrad_bp.compiler.terms import LISTS, SAMPLE, Term, Terms, oldest_first
from tinygrad_bp.errors import CompileError
from tinygrad_bp.ops import TABLE, Op

Rule = dict[str, Any]
MEMORY = {Space.SCALARS: 0, Space.ROWS: 1}


def source(kernel: Kernel) -> str:
    """The program as the JSON that a page gets."""
    return json.dumps(emit_page(kernel.rolled))


def emit_page(rolled: Rolled) -> dict[str, Any]:
    """A program as data for program.js. Raises CompileError for an operation that the page does not have.

    A token is 0 or 1 for the next operand, from what is the same for all samples or from those of each; a
    list of one number for that number; else the name of an operation.
    """
    return {
        "inputs": rolled.inputs,
        "leaves": rolled.leaves,
        "constants": [_number(x) for x in rolled.constants],
        "scalars": rolled.scalars,
        "rows": rolled.rows,
        "outputs": [[MEMORY[space], place] for space, place in rolled.outputs],
        "summed": rolled.summed,
        "table": rolled.table,
        "nests": [_nest(nest) for nest in rolled.nests],
    }


def _nest(nest: Nest) -> dict[str, Any]:
    return {
        "kind": [*Kind].index(nest.kind),
        "shape": [_token(token) for token in nest.shape],
        "runs": [run and [MEMORY[run.space], run.stride] for run in nest.runs],
        "base": nest.base,
        "loops": nest.loops,
        "length": nest.length,
        "table": nest.table,
    }


def _token(token: Token) -> int | str | list[float | str]:
    if isinstance(token, Leaf):
        return MEMORY[token.space]
    if isinstance(token, Literal):
        return [_number(token.number)]
    if token.op not in LISTS and token.op not in PRIMITIVES:
        raise CompileError(
            f"a page has no {token.op.name!r}: write its value and its partials in operations of the table"
        )
    return str(token.op.name)


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
