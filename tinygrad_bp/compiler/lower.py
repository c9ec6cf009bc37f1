"""Lower: from the user's graph of Values to terms, every operation written in about forty primitives.

A composite row of the table has its formula; here are formulas for the rows whose float functions branch.
They give what floats.py gives, to within two units in the last place and in every special case, since `where`
is a choice and not a branch.  So a backend has only the primitives to write.

    remainder(x, y)         one operation on Values
    where(..., r + y, r)    terms, with r = fmod(x, y)
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

from tinygrad_bp import ops
from tinygrad_bp.compiler.terms import CONSTANT, INNER, ONCE, SAMPLE, TOTAL, Products, Program, Term, Terms
from tinygrad_bp.engine import Value, newest_first
from tinygrad_bp.floats import SMALLEST, SQRT_HALF, SQRT_HALF_REST, TWO_OVER_SQRT_PI, product
from tinygrad_bp.graph_sweep import WeightRow
from tinygrad_bp.ops import Op

FLAGS = (ops.gt, ops.ge, ops.eq, ops.ne, ops.step)  # their results are 0 or 1, or nan
FEW = 4  # a sum of fewer terms is written out


def lower(
    outputs: Sequence[Value | WeightRow],
    inputs: Sequence[Value],
    params: Sequence[Value],
    captured: Sequence[Value],
    summed: bool,
    arrays: bool = False,
) -> Program:
    """The outputs as terms. Leaves that are neither inputs nor parameters nor captured are constants.

    For `arrays`, sums and products of matrices are one step, and sigmoid and the slopes of sigmoid and tanh
    are as in textbooks.
    """
    terms = Terms(FOR_ARRAYS if arrays else EXPANSIONS)
    leaves = list(dict.fromkeys([*params, *captured]))
    known = _Known(terms)
    known.update(zip(inputs, [terms.leaf(SAMPLE, place) for place in range(len(inputs))]))
    known.update(zip(leaves, [terms.leaf(ONCE, place) for place in range(len(leaves))]))
    of = known.__getitem__
    roots = [v for x in outputs for v in ((*x.operands, x.g) if isinstance(x, WeightRow) else (x,))]
    for v in reversed(newest_first(roots, may_be_stale=True)):
        if v in known:
            continue  # an input or parameter that is itself the result of an operation
        known[v] = terms.apply_to(v.op, tuple(map(of, v.inputs)))
    found = [
        Products(tuple(map(of, x.operands)), of(x.g)) if isinstance(x, WeightRow) else of(x) for x in outputs
    ]
    return Program(found, leaves, len(inputs), summed, arrays)


class _Known(dict[Value, Term]):
    """The term of each Value. One that is not there yet is a leaf from nowhere else: a constant."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms

    def __missing__(self, v: Value) -> Term:
        return self.terms.constant(v._data)


# --- sums --------------------------------------------------------------------------------------------------


def accumulated(start: Term, ws: Sequence[Term] | None, xs: Sequence[Term]) -> Term:
    """start + w0*x0 + w1*x1 + ..., or start + x0 + x1 + ... without ws: one term if it is long."""
    terms = start.graph
    if len(xs) >= FEW:
        op, args = (TOTAL, (start, *xs)) if ws is None else (INNER, (start, *ws, *xs))
        return terms.apply_to(op, args)
    for i, x in enumerate(xs):
        start = start + (x if ws is None else ws[i] * x)
    return start


def _sum(*xs: Term) -> Any:
    return accumulated(xs[0].graph.constant(0.0), None, xs)


def _dot(*xs: Term) -> Any:
    n = len(xs) // 2
    start = xs[-1] if len(xs) % 2 else xs[0].graph.constant(0.0)
    return accumulated(start, xs[:n], xs[n : 2 * n])


def _logsumexp(*xs: Term) -> Any:
    """Shifted by the largest, whose 1 is left to log1p: so tiny remainders keep their digits."""
    top = xs[0]
    for x in xs[1:]:
        top = ops.max(top, x)
    largest = [ops.eq(x, top) for x in xs]
    rest = ops.sum(*[ops.where(e, 0.0, ops.exp(x - top)) for e, x in zip(largest, xs)])
    rest = rest + (ops.sum(*largest) - 1.0)
    return ops.where(ops.eq(top - top, 0.0), top + ops.log1p(rest), top)


# --- powers ------------------------------------------------------------------------------------------------


def _pow(x: Any, y: Any) -> Any:
    if y.rate == 0 and y.value in (0.0, 1.0):
        return x if y.value else 1.0  # exact, for every x
    return y.graph.make(ops.pow, (x, y), max(x.rate, y.rate))


def _pow_x(x: Any, y: Any, order: float) -> Any:
    flat: Any = 0.0  # is it a polynomial differentiated away
    plain, divided = ops.pow(x, y - order), ops.pow(x, y)
    power = divided
    for k in range(int(order)):
        flat = flat + ops.eq(y, float(k))
        plain = plain * (y - float(k))
        divided = ops.div(divided * (y - float(k)), x)
    size = ops.abs(power)
    rounded = ops.ne(ops.remainder(y, 1.0), 0.0) + ops.gt(ops.abs(y), 2.0**53)
    divide = rounded * ops.ne(x, 0.0) * ops.ge(size, SMALLEST) * ops.gt(math.inf, size)
    return ops.nan_if(power, ops.where(flat, 0.0, ops.where(divide, divided, plain)))


def _powc_x(x: Any, exponent: float, order: float) -> Any:
    y = x.graph.constant(exponent)
    if exponent % 1.0 or abs(exponent) > 2.0**53:
        return _pow_x(x, y, order)
    if exponent in range(int(order)):  # a polynomial differentiated away
        return ops.nan_if(ops.pow(x, y), 0.0)
    power = ops.pow(x, y - order)
    for k in range(int(order)):
        power = power * (exponent - k)
    return power if exponent != order else ops.nan_if(x, power)


def _remainder(x: Any, y: Any) -> Any:
    r = ops.fmod(x, y)
    apart = ops.ne(r, 0.0) * ops.ne(ops.gt(0.0, y), ops.gt(0.0, r))
    return ops.where(apart, r + y, ops.where(ops.eq(r, 0.0), ops.where(ops.gt(0.0, y), -0.0, 0.0), r))


# --- exponentials ------------------------------------------------------------------------------------------


def _sigmoid(x: Any) -> Any:
    e = ops.exp(ops.neg(ops.abs(x)))
    return ops.div(ops.where(ops.ge(x, 0.0), 1.0, e), 1.0 + e)


def _dsigmoid(x: Any) -> Any:
    e = ops.exp(ops.neg(ops.abs(x)))
    return ops.div(e, (1.0 + e) * (1.0 + e))


def _sech2(x: Any) -> Any:
    return 4.0 * _dsigmoid(2.0 * x)


def _gauss(x: Any, rate: float) -> Any:
    square, lost = product(x, x)
    power, rest = product(rate, square)
    near = ops.exp(ops.neg(power)) * (1.0 - (rest + rate * lost))
    return ops.where(ops.gt(1000.0, ops.abs(power + rest)), near, ops.exp(-rate * x * x))


def _normal_cdf(x: Any) -> Any:
    z, rest = product(ops.neg(x), SQRT_HALF)
    rest = rest - x * SQRT_HALF_REST
    slope = TWO_OVER_SQRT_PI * ops.exp(ops.neg(z) * z)
    near = 0.5 * (ops.erfc(z) - slope * rest)
    return ops.where(ops.gt(40.0, ops.abs(x)), near, ops.nan_if(x, ops.gt(x, 0.0)))


# --- for arrays --------------------------------------------------------------------------------------------
# Larger steps: parameters times samples are one product of matrices, however few they are, and a sum of like
# terms is one step.  Only the signs of zeros, and what overflows on the way, may differ.  Where the output is
# there, a slope is read off it, as in textbooks and other libraries: right to 16 digits of 1, and not of
# itself.  The engine keeps all digits of a slope near 0; it computes `exp` once more for them.


def _product_and_rest(*xs: Term) -> Any:
    """A dot product as up to three: parameters times samples, constants times anything, and the others."""
    zero, n = xs[0].graph.constant(0.0), len(xs) // 2
    pairs = [pair if pair[0].rate <= pair[1].rate else pair[::-1] for pair in zip(xs, xs[n : 2 * n])]
    groups: dict[int, list[Any]] = {2: [], 1: [], 0: []}
    for w, x in pairs:
        groups[0 if w.rate == CONSTANT else 2 if w.rate < x.rate else 1].append((w, x))
    total: Any = zero
    for kind, group in groups.items():
        if group:
            total = total + (matrix_product(group) if kind == 2 else accumulated(zero, *zip(*group)))
    return total + xs[-1] if len(xs) % 2 else total


def matrix_product(pairs: Sequence[tuple[Term, Term]]) -> Term:
    """The sum of the products of these pairs of a parameter and a value of the sample, as one term."""
    ws, xs = zip(*pairs)
    zero: Term = ws[0].graph.constant(0.0)
    return zero.graph.make(INNER, (zero, *ws, *xs), SAMPLE)


def _is(x: Term, number: float) -> bool:
    return x.rate == CONSTANT and x.value == number


def _add_of_arrays(x: Term, y: Term) -> Term:
    # a sum starts from 0; but x + 0.0 is written to turn -0.0 into 0.0
    return y if _is(x, 0.0) else x.graph.make(ops.add, (x, y), max(x.rate, y.rate))


def _sub_of_arrays(x: Term, y: Term) -> Any:
    return ops.neg(y) if _is(x, 0.0) else x.graph.make(ops.sub, (x, y), max(x.rate, y.rate))


def _mul_of_arrays(x: Term, y: Term) -> Any:
    if {x.rate, y.rate} == {ONCE, SAMPLE}:
        return matrix_product([(x, y) if x.rate == ONCE else (y, x)])
    if x.op is ops.mul and _is(x.args[1], 2.0) and _is(y, 0.5):
        return x.args[0]  # the slope of x**2 / 2
    return x.graph.make(ops.mul, (x, y), max(x.rate, y.rate))


def _where_of_arrays(c: Term, x: Term, y: Term) -> Term:
    if c.op is ops.ne and _is(c.args[1], 0.0):
        c = c.args[0]  # where asks for no more
    factors = x.args[-2:] if x.op is ops.mul or (x.op is INNER and len(x.args) == 3) else ()
    if c in factors and c.op in FLAGS:
        x = factors[factors[0] is c]  # the other one: this is 1 where it counts
    return c.graph.make(ops.where, (c, x, y), max(c.rate, x.rate, y.rate))


def _sum_of_any_length(*xs: Term) -> Any:
    start = xs[0].graph.constant(0.0)
    alike = len({*xs}) == len(xs) > 1 and len({x.op for x in xs}) == 1 and bool(xs[0].args)
    return start.graph.make(TOTAL, (start, *xs), max(x.rate for x in xs)) if alike else _sum(*xs)


def _take_of_arrays(index: Term, *xs: Term) -> Any:
    """The product with a row that is 1 in one place and 0 elsewhere; nan if there is no such place."""
    if index.rate == CONSTANT:
        return _take(index, *xs)
    hits = [ops.eq(index, float(k)) for k in range(len(xs))]
    return ops.div(ops.dot(*hits, *xs), ops.sum(*hits))


def _sech2_as_in_textbooks(x: Any) -> Any:
    output = x.graph.find(ops.tanh, (x,))
    return x.graph.make(ops.sech2, (x,), x.rate) if output is None else 1.0 - ops.powc(output, 2.0)


def _dsigmoid_as_in_textbooks(x: Any) -> Any:
    output = x.graph.find(ops.sigmoid, (x,))
    return x.graph.make(ops.dsigmoid, (x,), x.rate) if output is None else output * (1.0 - output)


# --- choices -----------------------------------------------------------------------------------------------


def _in_pairs(op: Op) -> Callable[..., Any]:
    """The expansion of max or min: of two it is a primitive."""

    def expansion(x: Term, *ys: Term) -> Term:
        for y in ys:
            rate = max(x.rate, y.rate)
            x = op(x, y) if rate == CONSTANT else x.graph.make(op, (x, y), rate)
        return x

    return expansion


def _take(index: Term, *xs: Term) -> Any:
    if index.rate == CONSTANT:
        place = ops.take(index.value, *range(len(xs)))
        return xs[int(place)] if place == place else place
    return index.graph.make(ops.take, (index, *xs), max(x.rate for x in (index, *xs)))


def _clip(x: Any, low: float, high: float) -> Any:
    return ops.where(ops.gt(low, x), low, ops.where(ops.gt(x, high), high, x))


def _sign(x: Any) -> Any:
    return ops.where(ops.gt(x, 0.0), 1.0, ops.where(ops.gt(0.0, x), -1.0, x))


EXPANSIONS: dict[Op, Callable[..., Any]] = {
    ops.identity: lambda x: x,
    ops.sum: _sum,
    ops.dot: _dot,
    ops.logsumexp: _logsumexp,
    ops.pow: _pow,
    ops.pow_x: _pow_x,
    ops.powc: lambda x, exponent: ops.pow(x, x.graph.constant(exponent)),
    ops.powc_x: _powc_x,
    ops.remainder: _remainder,
    ops.sigmoid: _sigmoid,
    ops.dsigmoid: _dsigmoid,
    ops.sech2: _sech2,
    ops.gauss: _gauss,
    ops.normal_cdf: _normal_cdf,
    ops.max: _in_pairs(ops.max),
    ops.min: _in_pairs(ops.min),
    ops.take: _take,
    ops.clip: _clip,
    ops.sign: _sign,
}
FOR_ARRAYS: dict[Op, Callable[..., Any]] = {
    **{op: expansion for op, expansion in EXPANSIONS.items() if op is not ops.sigmoid},
    ops.add: _add_of_arrays,
    ops.sub: _sub_of_arrays,
    ops.mul: _mul_of_arrays,
    ops.where: _where_of_arrays,
    ops.dot: _product_and_rest,
    ops.sum: _sum_of_any_length,
    ops.take: _take_of_arrays,
    ops.sech2: _sech2_as_in_textbooks,
    ops.dsigmoid: _dsigmoid_as_in_textbooks,
}
