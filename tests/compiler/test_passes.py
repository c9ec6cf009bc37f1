"""The compiler's passes, each on a graph of two or three neurons: what it must find, not how it is stored.

`lower` leaves primitives, `fuse` finds the sums of products, `schedule` which statements are alike and what
comes first, `roll` the strides from one statement to the next.  What the code made of them computes is tested
in test_every_form.py.
"""

import gc
import math
from collections import Counter
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

import tinygrad_bp as tg
from tinygrad_bp import Value, ops
from tinygrad_bp.compiler.adjoint import derivatives
from tinygrad_bp.compiler.backends import BACKENDS
from tinygrad_bp.compiler.fuse import fuse
from tinygrad_bp.compiler.kernel import Kernel
from tinygrad_bp.compiler.lower import FEW, lower
from tinygrad_bp.compiler.roll import Nest, Rolled, addresses_of, leaf_spaces, points_of, roll
from tinygrad_bp.compiler.schedule import Kind, Schedule, Space, schedule
from tinygrad_bp.compiler.spelling import PRIMITIVES, fold
from tinygrad_bp.compiler.terms import (
    COPY,
    INNER,
    ONCE,
    SAMPLE,
    TOTAL,
    Products,
    Program,
    Term,
    Terms,
    oldest_first,
)
from tinygrad_bp.compiler.tracing import trace
from tinygrad_bp.errors import CompileError
from tinygrad_bp.graph_sweep import WeightRow
from tinygrad_bp.ops import Op

Loss = Callable[[list[Any]], Any]


def lowered(f: Loss, params: list[Value], width: int, summed: bool = True, arrays: bool = False) -> Program:
    found = trace(f, [(None,) * width], params)
    return lower(found.outputs, found.inputs, params, found.captured, summed, arrays)


def scheduled(f: Loss, params: list[Value], width: int, summed: bool = False) -> Schedule:
    return schedule(fuse(lowered(f, params, width, summed)))


def rolled(f: Loss, params: list[Value], width: int, summed: bool = False) -> Rolled:
    return roll(scheduled(f, params, width, summed))


def operations(program: Program) -> Counter[str]:
    return Counter(term.op.name for term in oldest_first(program.outputs) if term.args)


def numbered(n: int) -> list[Value]:
    return [Value(0.5 + i) for i in range(n)]


def neurons(count: int, inputs: int) -> tuple[list[Value], Loss]:
    """A layer of tanh neurons: the weights of each and then its bias, one after the other."""
    params = numbered(count * (inputs + 1))

    def layer(x: list[Any]) -> list[Any]:
        rows = [params[i * (inputs + 1) : (i + 1) * (inputs + 1)] for i in range(count)]
        return [tg.tanh(tg.dot(row[:-1], x, row[-1])) for row in rows]

    return params, layer


# ---- terms -------------------------------------------------------------------------------------------------


def test_equal_terms_are_one_and_constants_fold() -> None:
    g = Terms({})
    x, y = g.leaf(SAMPLE), g.leaf(ONCE)
    assert x * y is x * y and x * y is not y * x
    assert (g.constant(2.0) * 3.0).value == 6.0
    assert 1.0 * x is x and x * 1.0 is x
    assert g.constant(0.0) is not g.constant(-0.0) and g.constant(math.nan) is g.constant(math.nan)


def test_a_term_has_the_highest_rate_of_its_operands() -> None:
    g = Terms({})
    once, sample = g.leaf(ONCE), g.leaf(SAMPLE)
    assert (once * 2.0).rate == ONCE and (once * sample).rate == SAMPLE
    assert once.number < sample.number < (once * sample).number


def test_a_formula_that_branches_is_an_error() -> None:
    with pytest.raises(CompileError, match="branches on its operand: write it with where and gt"):
        bool(Terms({}).leaf(SAMPLE))


# ---- adjoint -----------------------------------------------------------------------------------------------


def test_the_derivatives_by_the_weights_of_a_neuron_are_a_row() -> None:
    params, layer = neurons(3, 4)
    first, b0, second, b1, third, b2 = derivatives(tg.sum(*layer(numbered(4))), params)
    for i, (row, by_bias) in enumerate([(first, b0), (second, b1), (third, b2)]):
        assert isinstance(row, WeightRow) and row.g is by_bias
        assert [*map(id, row.weights)] == [*map(id, params[5 * i : 5 * i + 4])]


@pytest.mark.parametrize("by", ["reversed", "some", "tied", "scaled", "twice"])
def test_derivatives_that_are_no_row_are_the_same_numbers(by: str) -> None:
    w, x = numbered(4), numbered(3)
    y = tg.dot(w[:3], x, w[3])
    if by == "tied":
        y = y * tg.dot(w[:3], [x[2], x[0], x[1]])
    if by == "scaled":
        y = y + w[1] * 2.0
    if by == "twice":
        y = tg.dot([w[0], w[1], w[0]], x)
    params = {"reversed": w[::-1], "some": [w[0], w[2], w[3]]}.get(by, w)
    found = derivatives(y, params)
    assert not any(isinstance(g, WeightRow) for g in found)
    assert [g.data for g in found if isinstance(g, Value)] == tg.gradients(y, params)


def test_a_row_of_products_is_one_statement_where_all_it_takes_is_stored() -> None:
    params, layer = neurons(3, 4)
    program = differentiated(lambda x: tg.sum(*layer(x)), params, 4)
    assert [len(x.xs) for x in program.outputs if isinstance(x, Products)] == [4, 4, 4]
    assert program.count == 16
    rows = [s for s in schedule(program).statements if s.kind is Kind.SUM and s.row]
    assert [(s.target, s.row) for s in rows] == [(0, 4), (5, 4), (10, 4)]
    (nest,) = [n for n in roll(schedule(program)).nests if n.kind is Kind.SUM and len(n.runs) == 2]
    assert [trips for trips, _ in nest.loops] == [3, 4]

    folded = differentiated(lambda x: tg.dot(params[:4], [tg.abs(a) for a in x]), params, 4)
    assert [s.row for s in schedule(folded).statements if s.kind is Kind.SUM] == [0] * 5


def differentiated(f: Loss, params: list[Value], width: int) -> Program:
    found = trace(f, [(None,) * width], params)
    outputs = [*derivatives(found.outputs[0], params), *found.outputs]
    return fuse(lower(outputs, found.inputs, params, found.captured, summed=True))


# ---- lower -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sigmoid", "gelu", "softplus", "logsumexp", "clip", "remainder", "elu"])
def test_what_is_left_are_primitives(name: str) -> None:
    row = ops.OPS[name]
    constants = {"clip": (0.0, 1.0), "elu": (1.0,)}.get(name, ())
    arity = row.operands or 3
    program = lowered(lambda x: row(*x, *constants), [], arity, summed=False)
    left = {term.op for term in oldest_first(program.outputs) if term.args}
    assert left <= PRIMITIVES.keys() | {TOTAL, INNER}
    assert all(PRIMITIVES[op].llvm != "expanded" for op in left - {TOTAL, INNER})


def test_a_long_sum_is_one_term_and_a_short_one_is_written_out() -> None:
    ws = numbered(6)
    assert operations(lowered(lambda x: tg.dot(ws, x), ws, 6)) == {"inner": 1}
    few = operations(lowered(lambda x: tg.dot(ws[: FEW - 1], x), ws, FEW - 1))
    assert few == {"mul": FEW - 1, "add": FEW - 1}


def test_for_arrays_a_slope_is_read_off_the_output_that_is_there() -> None:
    def f(x: list[Any]) -> Any:
        y = tg.tanh(x[0])
        return [y, tg.gradients(y, x[0], create_graph=True)]

    assert operations(lowered(f, [], 1, False, arrays=True)) == {"tanh": 1, "pow": 1, "sub": 1}
    assert operations(lowered(lambda x: tg.sech2(x[0]), [], 1, False, arrays=True)) == {"sech2": 1}
    assert "exp" in operations(lowered(f, [], 1, False))


# ---- fuse --------------------------------------------------------------------------------------------------


def sums(program: Program) -> list[tuple[str, int, list[tuple[int, ...]]]]:
    """Each sum of any length: its name, where it starts, and the places of each list's leaves."""
    found = []
    for term in oldest_first(program.outputs):
        if term.op in (INNER, TOTAL):
            start, *rest = term.args
            half = len(rest) // 2 if term.op is INNER else 0
            lists = [rest[:half], rest[half:]] if half else [rest]
            found.append((term.op.name, start.value, [tuple(x.value for x in xs) for xs in lists]))
    return found


def test_a_neuron_written_with_operators_is_the_dot_that_it_is() -> None:
    ws = numbered(5)

    def with_operators(x: list[Any]) -> Any:
        return sum((w * a for w, a in zip(ws, x)), ws[4])

    written = fuse(lowered(with_operators, ws, 4))
    assert sums(written) == [("inner", 4, [(0, 1, 2, 3), (0, 1, 2, 3)])]
    assert sums(written) == sums(fuse(lowered(lambda x: tg.dot(ws[:4], x, ws[4]), ws, 4)))


def test_a_chain_on_the_right_is_fused_in_the_same_order() -> None:
    ws = numbered(5)

    def f(x: list[Any]) -> Any:
        total = ws[4]
        for w, a in zip(ws, x):
            total = w * a + total
        return total

    assert sums(fuse(lowered(f, ws, 4))) == [("inner", 4, [(0, 1, 2, 3), (0, 1, 2, 3)])]


def test_a_partial_sum_that_is_used_elsewhere_ends_a_chain() -> None:
    ws = numbered(9)

    def f(x: list[Any]) -> list[Any]:
        half = sum((w * a for w, a in zip(ws, x[:4])), ws[8])
        return [half, sum((w * a for w, a in zip(ws[4:], x[4:])), half)]

    first, second = sums(fuse(lowered(f, ws, 8, summed=False)))
    assert first == ("inner", 8, [(0, 1, 2, 3), (0, 1, 2, 3)])
    assert second[2] == [(4, 5, 6, 7), (4, 5, 6, 7)]


def test_a_short_chain_stays_as_it_is() -> None:
    ws = numbered(2)
    program = fuse(lowered(lambda x: ws[0] * x[0] + ws[1] * x[1] + 1.0, ws, 2))
    assert operations(program) == {"mul": 2, "add": 2}


def test_a_list_lies_in_one_memory() -> None:
    """Parameters among samples are copied to every sample."""
    ws = numbered(2)
    program = fuse(lowered(lambda x: tg.dot([ws[0], x[0], ws[1], x[1]], [x[0], x[1], x[0], x[1]]), ws, 2))
    (term,) = program.outputs
    assert {x.rate for x in term.args[1:]} == {SAMPLE}
    assert [x.op is COPY for x in term.args[1:5]] == [True, False, True, False]


# ---- schedule ----------------------------------------------------------------------------------------------


def test_the_neurons_of_a_layer_are_alike() -> None:
    params, layer = neurons(3, 4)
    statements = scheduled(layer, params, 4).statements
    assert len(statements) == 3
    assert len({(s.level, s.shape, s.kind) for s in statements}) == 1


def test_what_a_layer_takes_is_computed_before_it() -> None:
    params, layer = neurons(4, 4)
    deeper, second = neurons(2, 4)
    statements = scheduled(lambda x: second(layer(x)), params + deeper, 4).statements
    assert [s.level for s in statements] == [1, 1, 1, 1, 2, 2]
    assert len({s.shape for s in statements}) == 1


def test_a_value_is_stored_if_it_is_used_twice_and_else_part_of_what_takes_it() -> None:
    def f(x: list[Any]) -> list[Any]:
        once, twice = tg.sin(x[0]), tg.exp(x[0])
        return [tg.cos(once), twice * twice + 1.0, tg.tan(twice)]

    made = [s.target.op.name for s in scheduled(f, [], 1).statements]
    assert sorted(made) == ["add", "cos", "exp", "tan"]


def test_what_is_the_same_for_all_samples_is_computed_once() -> None:
    (w,) = ws = numbered(1)
    plan = scheduled(lambda x: tg.exp(w) * x[0] + tg.exp(w), ws, 1)
    kinds = {s.target.op.name: s.kind for s in plan.statements}
    assert kinds["exp"] is Kind.ONCE and kinds["add"] is Kind.SAMPLE
    assert plan.statements[0].kind is Kind.ONCE


def test_a_summed_output_that_no_sample_changes_is_multiplied_by_their_number() -> None:
    ws = numbered(2)
    kinds = [
        s.kind for s in scheduled(lambda x: [ws[0] * ws[1], ws[0] * x[0]], ws, 1, summed=True).statements
    ]
    assert sorted(kind.name for kind in kinds if kind in (Kind.SUM, Kind.COUNT)) == ["COUNT", "SUM"]


# ---- roll --------------------------------------------------------------------------------------------------


def reads(nest: Nest, program: Rolled) -> list[tuple[int, list[list[int]]]]:
    """For each statement of a nest: where its result goes, and the addresses of each operand or list."""
    found = []
    for target, *firsts in points_of(nest, program.table):
        operands = []
        for first, run in zip(firsts, nest.runs):
            operands.append([*addresses_of(run, first, program.table)] if run else [first])
        found.append((target, operands))
    return found


def test_a_layer_is_one_nest_that_goes_through_the_weights_row_by_row() -> None:
    params, layer = neurons(3, 4)
    program = rolled(layer, params, 4)
    (nest,) = program.nests
    assert nest.points == 3 and nest.length == 4 and not nest.table
    assert sorted(leaf_spaces(nest), key=str) == [Space.ROWS, Space.SCALARS, Space.SCALARS]
    bias, weights, inputs = ([operands[k] for _, operands in reads(nest, program)] for k in range(3))
    assert bias == [[4], [9], [14]]
    assert weights == [[0, 1, 2, 3], [5, 6, 7, 8], [10, 11, 12, 13]]
    assert inputs == [[0, 1, 2, 3]] * 3
    assert [target for target, _ in reads(nest, program)] == [4, 5, 6]


def test_the_derivative_by_what_came_in_goes_through_the_weights_column_by_column() -> None:
    params, layer = neurons(4, 4)
    program = rolled(lambda x: tg.gradients(tg.sum(*layer(x)), x, create_graph=True), params, 4)
    columns = {
        tuple(sorted(xs)) for nest in program.nests for _, lists in reads(nest, program) for xs in lists
    }
    assert columns >= {(k, k + 5, k + 10, k + 15) for k in range(4)}


def test_the_gradient_by_the_weights_is_the_product_of_all_pairs() -> None:
    params, layer = neurons(3, 4)

    def f(x: list[Any]) -> list[Any]:
        return tg.gradients(tg.sum(*layer(x)), params, create_graph=True)

    program = rolled(f, params, 4, summed=True)
    pairs = {}
    for nest in program.nests:
        if nest.kind is Kind.SUM and len(nest.runs) == 2:
            pairs |= {target: sorted(a for (a,) in operands) for target, operands in reads(nest, program)}
    deltas = {max(pair) for pair in pairs.values()}
    assert len(pairs) == 12 and len(deltas) == 3  # one delta a neuron
    assert all(pairs[5 * i + k][0] == k for i in range(3) for k in range(4))  # times one input each


def test_wiring_without_a_rule_is_read_from_a_table() -> None:
    wires = [[0, 3, 1, 5], [2, 5, 4, 0], [1, 0, 5, 3]]
    ws = numbered(12)

    def f(x: list[Any]) -> list[Any]:
        return [tg.dot(ws[4 * i : 4 * i + 4], [x[k] for k in wire]) for i, wire in enumerate(wires)]

    program = rolled(f, ws, 6)
    found = [operands[-1] for nest in program.nests for _, operands in reads(nest, program)]
    assert found == wires
    assert program.table


def test_addresses_of_statements_without_a_rule_are_one_loop_over_a_table() -> None:
    places = [(0, 7), (3, 2), (6, 1), (2, 2), (5, 7), (1, 4), (7, 3), (4, 5), (0, 0), (6, 6)]
    program = rolled(lambda x: [x[a] * x[b] for a, b in places], [], 8)
    (nest,) = program.nests
    assert nest.table and nest.points == len(places)
    assert [(a, b) for _, ((a,), (b,)) in reads(nest, program)] == places


def test_results_have_places_of_their_own_behind_the_inputs() -> None:
    params, layer = neurons(3, 4)
    program = rolled(lambda x: [*layer(x), *layer(x[::-1])], params, 4)
    targets = [target for nest in program.nests for target, _ in reads(nest, program)]
    assert sorted(targets) == [*range(4, 10)]
    assert program.rows == 10 and program.scalars == 15
    assert sorted(place for _, place in program.outputs) == sorted(targets)


def test_for_arrays_a_sum_of_like_terms_is_one_step_however_short() -> None:
    loss = lowered(lambda x: tg.sum(*[a * a for a in x]), [], 2, arrays=True)
    assert operations(loss) == {"mul": 2, "total": 1}
    assert [len(s.leaves) for s in schedule(fuse(loss)).statements if s.kind is Kind.SUM] == [1]
    unlike = lowered(lambda x: tg.sum(x[0] * x[0], tg.sin(x[1])), [], 2, arrays=True)
    assert operations(unlike) == {"mul": 1, "sin": 1, "add": 1}


def test_for_arrays_parameters_times_samples_are_one_product_however_few() -> None:
    """With operators or dot, and what else is in the sum is added to it."""
    ws = [Value(0.5) for _ in range(3)]
    by_hand = lowered(lambda x: tg.tanh(ws[0] * x[0] + x[1] * ws[1] + ws[2]), ws, 2, arrays=True)
    by_dot = lowered(lambda x: tg.tanh(tg.dot(ws[:2], x, ws[2])), ws, 2, arrays=True)
    for program in (by_hand, by_dot):
        (loss,) = [s for s in schedule(fuse(program)).statements if s.kind is Kind.SUM]
        assert [len(leaf) for leaf in loss.leaves if isinstance(leaf, list)] == [2, 2]
    mixed = lowered(lambda x: tg.dot([ws[0], x[0], 3.0], [x[1], x[1], x[0]]), ws, 2, arrays=True)
    assert operations(mixed) == {"inner": 1, "mul": 2, "add": 2}


def test_for_arrays_a_part_of_a_dot_that_is_constant_is_a_number() -> None:
    program = lowered(lambda x: tg.dot([2.0] * 5 + [x[0]], [3.0] * 5 + [x[0]]), [], 1, arrays=True)
    assert operations(program) == {"mul": 1, "add": 1}
    assert 30.0 in {term.value for term in program.order if not term.args}


def test_for_arrays_a_choice_needs_no_factor_that_is_1() -> None:
    """The slope of ReLU chooses between the adjoint and 0; the adjoint is not multiplied by 1 before."""

    def slope(x: list[Any]) -> Any:
        return tg.gradients(tg.exp(tg.relu(x[0])), x, create_graph=True)[0]

    assert operations(lowered(slope, [], 1, arrays=True))["mul"] == 0
    assert operations(lowered(slope, [], 1))["mul"] == 1


# ---- a backend ---------------------------------------------------------------------------------------------


class Words(NamedTuple):
    """A statement in words."""

    nest: Nest

    def operand(self, k: int) -> str:
        return f"{leaf_spaces(self.nest)[k].value}{self.nest.base[k + 1]}"

    def number(self, x: float) -> str:
        return f"{x:g}"

    def applied(self, op: Op, operands: Sequence[str]) -> str:
        return f"{op.name} of {' and '.join(operands)}"

    def taken(self, index: str, k: int) -> str:
        return f"entry {index} from {self.operand(k)} on"

    def accumulated(self, start: str, lists: Sequence[int]) -> str:
        return f"{start} plus the sum from {' times '.join(map(self.operand, lists))} on"


def test_a_backend_is_a_module_with_a_source(monkeypatch: pytest.MonkeyPatch) -> None:
    def source(kernel: Kernel) -> str:
        return "\n".join(f"{n.points} x {fold(n.shape, Words(n))}" for n in kernel.rolled.nests)

    monkeypatch.setitem(BACKENDS, "words", SimpleNamespace(source=source))
    params, layer = neurons(3, 4)
    step = tg.compile(lambda x: tg.sum(*layer(x)), params, example=([0.5] * 4,))
    lines = step.source("words").splitlines()
    assert lines[0] == "3 x S4 plus the sum from S0 times R0 on"
    assert "3 x exp of neg of abs of mul of 2 and R4" in lines
    with pytest.raises(ValueError, match="or 'words', not 'prose'"):
        step.source("prose")


def test_after_the_passes_no_term_is_left() -> None:
    """Terms and their table refer to each other: they would wait for the garbage collector."""
    ws = [Value(0.1 * i) for i in range(8)]
    gc.collect()
    gc.disable()
    try:
        before = sum(type(x) is Term for x in gc.get_objects())
        tg.compile(lambda x: tg.tanh(tg.dot(ws, x)) ** 2, ws, example=([0.0] * 8,))
        assert sum(type(x) is Term for x in gc.get_objects()) == before
    finally:
        gc.enable()
