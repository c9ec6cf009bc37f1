"""gradcheck: right functions pass, wrong ones are named, and what cannot be checked is said.

The quotients themselves are held to functions with known slopes; random programs must raise no alarm, their
number is set by PROGRAMS in the environment. `test_mutants.py` checks the check.
"""

import math
import os
import random
import re

import pytest
from support.programs import random_program, run

import tinygrad_bp as tg
from tinygrad_bp import Value, gradcheck
from tinygrad_bp.check.gradcheck import differences
from tinygrad_bp.check.gradcheck.partials import check_nodes, judged, operand
from tinygrad_bp.check.gradcheck.quotients import judge, quotients
from tinygrad_bp.ops import OPS

PROGRAMS = int(os.environ.get("PROGRAMS", "1000"))
SEED = int(os.environ.get("SEED", "0")) * 10_000_000


def evaluated(program, leaves):
    return run(program, leaves, lambda name, xs, constants: OPS[name](*xs, *constants))


# --- quotients ----------------------------------------------------------------------------------------------

KNOWN = [
    (math.sin, 0.3, math.cos(0.3)),
    (math.exp, 2.0, math.exp(2.0)),
    (lambda x: x**5, -1.5, 5 * 1.5**4),
    (lambda x: 3.0 * x - 7.0, 20.0, 3.0),
    (math.log, 1e-4, 1e4),
    (lambda x: 1.0 / x, 0.01, -1e4),
]


@pytest.mark.parametrize("f, x, slope", KNOWN)
def test_the_error_of_a_quotient_is_bounded_by_what_it_says(f, x, slope):
    noise = 1e-15 * (abs(f(x)) + abs(x * slope))
    table = list(quotients(lambda t: f(x + t), 0.2 * min(1.0, abs(x)), noise, 10))
    assert all(abs(e.slope - slope) <= e.error for e in table)
    assert min(e.error for e in table) < 1e-9 * abs(slope)


@pytest.mark.parametrize("f, x, slope", KNOWN)
def test_a_slope_that_is_off_by_one_in_a_million_is_wrong(f, x, slope):
    def verdict(d):
        noise = 1e-15 * (abs(f(x)) + abs(x * slope))
        return judge(
            lambda t: f(x + t) if x + t > 0 or f(x) < 0 else math.nan, d, {1.0, abs(x)}, noise, 5e-7
        )[1]

    assert verdict(slope) == "right"
    assert verdict(slope * (1 + 1e-6)) == verdict(-slope) == verdict(math.nan) == verdict(math.inf) == "wrong"


def test_what_cannot_be_told_is_undecided():
    assert judge(lambda t: 1.0, 1e-17, [1.0], 1e-16, 5e-7)[1] == "undecided"
    assert judge(lambda t: math.nan, 1.0, [1.0], 1e-16, 5e-7)[1] == "undecided"


# --- single operations --------------------------------------------------------------------------------------


def test_random_programs_raise_no_alarm():
    alarms = []
    for seed in range(SEED, SEED + PROGRAMS):
        program = random_program(seed)
        nodes = [v for v in evaluated(program, map(Value, program.inputs)) if v.inputs]
        alarms += [(seed, text) for text in check_nodes(nodes, 1000, random.Random(0)).wrong.values()]
    assert not alarms


def test_most_partials_of_random_programs_are_decided():
    verdicts = []
    for seed in range(100):
        program = random_program(seed)
        for v in evaluated(program, map(Value, program.inputs)):
            if v.inputs:
                verdicts += [verdict for *_, verdict in judged(v.op, [x.data for x in v.inputs])]
    assert (
        verdicts.count("right") > 0.93 * len(verdicts) > 2000
    )  # half of the others: small operands of large sums


@pytest.mark.parametrize(
    "op, xs", [(tg.relu, [0.0]), (tg.abs, [-0.0]), (tg.max, [1.0, 1.0]), (tg.hypot, [0.0, 0.0]),
               (tg.elu.at(1.7), [0.0]), (tg.clip.at(0.0, 1.0), [1.0])]
)  # fmt: skip
def test_at_a_kink_a_subgradient_is_right_and_nothing_else(op, xs, monkeypatch):
    assert {verdict for *_, verdict in judged(op, xs)} == {"right"}
    monkeypatch.setattr(op, "slopes", lambda o, *xs: [7.0] * len(xs))
    assert "wrong" in {verdict for *_, verdict in judged(op, xs)}


def test_operands_bear_the_names_of_the_table():
    assert [operand(tg.atan2, i) for i in (0, 1)] == ["y", "x"]
    assert operand(tg.clip.at(0.0, 1.0), 0) == "x" and operand(OPS["dot"], 2) == "operand 2"


def test_large_graphs_are_sampled():
    nodes = [Value(float(i)) * 2.0 for i in range(300)] + [Value(1.0).exp()]
    found = check_nodes(nodes, 20, random.Random(0))
    assert (found.nodes, found.operations, found.partials) == (21, 2, 41)
    assert check_nodes([tg.dot([1.0] * 90, [Value(2.0)] * 90)], 20, random.Random(0)).partials == 20


# --- whole functions: what passes ---------------------------------------------------------------------------


def test_the_table_of_a_report():
    report = gradcheck(lambda w, x: tg.tanh(w[0] * x + w[1]), [0.5, 0.1], 2.0)
    lines = str(report).splitlines()
    assert lines[0] == "gradcheck of <lambda>: right"
    assert lines[1].split() == ["input", "analytic", "numeric", "rel.", "error", "verdict"]
    assert [line.split()[0] for line in lines[2:5]] == ["w[0]", "w[1]", "x"]
    assert lines[5] == "  forward mode: 3 of 3 equal to reverse mode, rel. error up to 0.0e+00"
    assert lines[6].startswith("  second order: 9 of 9 right, rel. error up to")
    assert lines[7] == "  operations: 3 nodes of 3 kinds, 5 of 5 partials right to 1e-6"
    assert report and report.worst.error < 1e-8 and not report.kinks and len(lines) == 8


def test_of_several_outputs_each_is_checked_and_named():
    report = gradcheck(lambda x, y: {"a": x * y, "b": [tg.sin(x), y.detach() * y]}, 2.0, 3.0)
    assert [row.name for row in report.rows if row.verdict != "right"] == [
        "output['b'][0] by y",
        "output['b'][1] by x",
        "output['b'][1] by y",
    ]
    assert [row.verdict for row in report.rows].count("unused") == 2  # of two outputs, one input each
    (reason,) = report.reasons
    assert reason.startswith("output['b'][1]: every partial is right")
    assert re.search(r"output\['b'\]\[1\] by y +3 +6 .* wrong", str(report))
    assert gradcheck(lambda xs: (xs[0] * xs[1], [tg.exp(xs[0])]), [0.5, 2.0])
    assert report.findings.nodes == 3  # a node is checked once, however many outputs it is under


def test_a_wrong_operation_under_two_outputs_is_named_once():
    wrong = tg.op("wrong_double", lambda x: 2.0 * x, lambda o, x: (3.0,))
    (reason,) = gradcheck(lambda x: [wrong(x), wrong(x) * x], 1.5).reasons
    assert reason.startswith("the partial of 'wrong_double' by x is 3, and the difference quotient says 2")


def test_many_outputs_are_sampled():
    report = gradcheck(lambda x: [k * x for k in range(1, 30)], 1.5, samples=4)
    assert report and len(report.rows) == 4 and "4 of 29 outputs drawn at random" in report.notes[0]
    with pytest.raises(AssertionError, match=r"output.*depends on x past the graph"):
        gradcheck(lambda x: [x, x.detach() * 2.0 * x], 1.0, raise_on_fail=True)


def test_a_stopped_gradient_is_named_by_what_it_does_to_the_function():
    (reason,) = gradcheck(lambda x: tg.stop_gradient(x) * x, 3.0).reasons
    assert (
        "also depends on x past the graph: does it read a number" in reason and "stop the gradient" in reason
    )


def test_where_the_largest_of_many_changes_is_a_kink():
    """Moving the first operand, two others change places with it at once."""
    xs = [0.0201253, 0.0203290, 0.0201265, 0.7]
    for op, signs in ((tg.min, 1.0), (tg.max, -1.0)):
        report = gradcheck(lambda *xs, op=op: op(*xs), *(signs * x for x in xs))
        assert report and report.kinks
        assert [row.analytic for row in report.rows] == [1.0, 0.0, 0.0, 0.0]


def test_random_programs_pass_end_to_end():
    failed = []
    for seed in range(60):
        program = random_program(seed)
        report = gradcheck(lambda xs, p=program: evaluated(p, xs)[-1], list(program.inputs))
        if not report:
            failed.append((seed, report.worst.verdict))
    assert failed == [(11, "jump"), (25, "jump")]  # they take floor(3.0), and step(0.0)


def test_inputs_are_what_grad_takes():
    def f(x, rows, pair):
        return x * rows[0][1] + rows[1][0] ** 2 * pair[1] - pair[0]

    report = gradcheck(f, Value(2.0, label="speed"), [[1, 2.5], [True]], (0.5, 4.0))
    assert report
    names = [row.name for row in report.rows]
    assert names == ["speed", "rows[0][0]", "rows[0][1]", "rows[1][0]", "pair[0]", "pair[1]"]
    assert [row.verdict for row in report.rows][:2] == ["right", "unused"]


@pytest.mark.parametrize("method, limit", [("central", 1e-9), ("five-point", 1e-11), ("richardson", 1e-12)])
def test_finer_methods_are_finer(method, limit):
    report = gradcheck(lambda x: tg.tanh(x) * tg.exp(tg.sin(x)), 0.7, method=method, order=1)
    assert report and report.rows[0].error < limit and not report.second


def test_a_network_is_checked_by_its_parameters():
    model = tg.MLP(2, [4, 1], act="tanh", rng=random.Random(0))
    xs, ys = tg.data.moons(6)

    def loss():
        return sum(tg.losses.hinge(model(x), y) for x, y in zip(xs, ys))

    before, old = model.state_dict(), loss()
    report = gradcheck(loss, params=model.parameters(), samples=10)
    assert report and len(report.rows) == 11 and report.rows[-1].name == "all inputs"
    assert report.rows[0].name.startswith("layers.0.neurons.")
    assert report.notes == ["10 of 17 inputs drawn at random, and one direction through all of them"]
    assert len(report.second) == 17
    assert model.state_dict() == before
    old.backward()  # a graph from before is not stale


def test_parameters_are_put_back_after_an_error():
    w = Value(3.0)

    def f():
        if w.data != 3.0:
            raise KeyError("elsewhere")
        return w * w

    with pytest.raises(KeyError):
        gradcheck(f, params=w)
    assert w.data == 3.0


def test_gradients_of_the_caller_stay():
    w = Value(3.0)
    (w * w).backward()
    gradcheck(lambda x: x * w, w)
    assert w.grad == 6.0


# --- whole functions: what fails, and why -------------------------------------------------------------------


def reasons(f, *inputs, **options):
    report = gradcheck(f, *inputs, **options)
    assert not report and report.reasons
    return " ".join(report.reasons)


def test_a_wrong_partial_is_named():
    minus = tg.op("minus_but_plus", lambda x, y: x - y, lambda o, x, y: (1.0, 1.0))
    text = reasons(lambda x, y: tg.exp(minus(x, y)), 2.0, Value(3.0, label="b"))
    assert text == (
        "the partial of 'minus_but_plus' by y is 1, and the difference quotient says -1 (at x = 2.0, y = 3.0)"
    )


def test_a_partial_wrong_by_one_in_a_million_is_found_where_the_whole_would_pass(monkeypatch):
    monkeypatch.setattr(tg.exp, "slopes", lambda o, x: (o * (1.0 + 1e-6),))
    report = gradcheck(lambda x: tg.exp(x) * tg.sin(x), 1.0)
    assert [row.verdict for row in report.rows] == ["right"]
    assert "the partial of 'exp' by x is 2.71828455, and the difference quotient says 2.71828183" in str(
        report
    )


def test_a_rule_that_freezes_a_number_is_wrong_in_second_order_only():
    frozen = tg.op("frozen_square", lambda x: x * x, lambda o, x: (2.0 * getattr(x, "data", x),))
    report = gradcheck(frozen, 1.5)
    assert [row.verdict for row in report.rows] == ["right"] and report.worst.name == "∂²/∂x ∂x"
    assert "the gradient of frozen_square is right, and the gradient of that is not" in report.reasons[0]
    assert gradcheck(frozen, 1.5, order=1)


def test_an_operation_without_partials_must_be_flat():
    lost = tg.op("lost_slope", lambda x: 2.0 * x, None)
    assert "the partial of 'lost_slope' by x is 0, and the difference quotient says 2" in reasons(lost, 1.0)
    assert gradcheck(lambda x: tg.floor(x) + x, 0.3)


def test_operations_and_functions_that_raise_outside_their_domain():
    root = tg.op("plain_root", math.sqrt, lambda o, x: (0.5 / o,))
    assert gradcheck(root, 0.3)
    assert gradcheck(root, 1e-6) and gradcheck(lambda x: x * math.log(x.data) ** 0, 1e-6)


def test_forward_mode_is_a_check_of_its_own(monkeypatch):
    monkeypatch.setattr(differences, "_push", lambda *_: [1.0])
    assert "by x reverse mode gives 2, and forward mode 1" in reasons(lambda x: x * x, 1.0)


@pytest.mark.parametrize(
    "f, text",
    [
        (lambda x: x.detach() * x, "also depends on x past the graph: does it read a number (v.data, v.grad"),
        (lambda x: x.data * 2.0, "returned the plain number 6.0, no Value: it left the graph"),
        (lambda x: 5.0, "nothing checked: <lambda> returned 5.0, which depends on none of its inputs (x)."),
        (lambda x: Value(2.0) * 3.0, "For Values that it takes from outside, say params=[...]"),
        (lambda x: tg.log(x - 3.0), "not finite, so there is no slope: log of 0.0 is -inf: keep its operand"),
        (lambda x: tg.sqrt(x - 3.0), "the partial by 0.0 of sqrt of 0.0 is inf"),
        (lambda x: tg.relu(x - 3.0) - tg.relu(3.0 - x), "there is a kink, and 0 is not between the slopes"),
        (
            lambda x: tg.relu(x - 3.0) - tg.relu(3.0 - x),
            "where several kinks meet the chain rule may give no",
        ),
    ],
)
def test_what_is_wrong_besides_partials(f, text):
    assert text in reasons(f, 3.0)


def test_a_function_that_draws_numbers_is_not_deterministic():
    rng = random.Random(0)
    text = reasons(lambda x: x * rng.random(), 1.0)
    assert "is not deterministic: called twice with the same inputs it returned 0.757" in text
    assert "draw random numbers outside" in text


def test_a_function_that_changes_its_inputs():
    def sets(w):
        w[0].data = 5.0
        return w[0] * w[1]

    def appends(w):
        w.append(w[0])
        return w[0] * w[1]

    assert reasons(sets, [1.0, 2.0]).startswith(
        "sets changes its inputs: w[0] was 1.0 before the call, and 5.0"
    )
    assert "a list among its arguments has other entries after the call" in reasons(appends, [1.0, 2.0])


def test_kinks_are_told():
    report = gradcheck(lambda x, y: tg.relu(x) * y, 0.0, 3.0)
    assert report and next(row.name for row in report.kinks if row.verdict == "kink") == "x"
    assert "within the step there is a kink" in str(report)
    near = gradcheck(tg.abs, 3e-6)  # inside the step of 1e-5, and a shorter one avoids it
    assert near and near.rows[0].verdict == "right" and near.rows[0].kink
    assert near.rows[0].cells()[-1] == "right, across a kink"
    assert (
        gradcheck(lambda x: x if x > 0 else -2.0 * x, 0.0).rows[0].verdict == "kink"
    )  # unknown to the table
    assert gradcheck(lambda x: tg.where(tg.gt(x, 0.0), x, 0.0), 0.0).rows[0].verdict == "kink"  # no jump


JUMPS = [
    (tg.step, [0.0]), (tg.sign, [0.0]), (tg.floor, [2.0]), (tg.round, [0.5]), (tg.atan2, [0.0, -1.0]),
    (tg.eq, [1.0, 1.0]), (tg.where, [0.0, 1.0, 2.0]), (lambda x: x % 1.0, [2.0]),
    (lambda x: tg.floor(1000.0 + x), [0.0]), (lambda x: x + 1e-7 * tg.step(x), [0.0]),
    (lambda x: x if x != 0.0 else x + 5.0, [0.0]), (lambda x: x if x > 2.0 else x + 1.0, [2.0]),
]  # fmt: skip


@pytest.mark.parametrize("f, xs", JUMPS)
def test_a_jump_is_not_a_kink_and_fails(f, xs):
    report = gradcheck(f, *xs)
    assert not report and report.rows[0].verdict == "jump" and report.worst.verdict == "jump"
    assert "jumps at this" in report.reasons[0]
    assert (
        "a jump is not a kink: there is no slope, and no gradient to check; check it beside the jump"
        in (report.reasons[0])
    )
    assert report.rows[0].cells()[-1] == "jump"


@pytest.mark.parametrize(
    "f, x",
    [(lambda x: 1e9 * x, 1.0), (lambda x: tg.sin(1e6 * x), 1.0), (tg.sqrt, 1e-9), (lambda x: x**3, 0.0),
     (lambda x: tg.exp(1e3 * x), -0.3), (lambda x: tg.relu(x - 1e-7), 0.0), (tg.floor, 2.5),
     (lambda x: tg.losses.huber(x, 0.0), 1.0), (lambda x: tg.tanh(1e4 * x), 0.0)],
)  # fmt: skip
def test_what_is_steep_or_bends_is_not_a_jump(f, x):
    assert gradcheck(f, x)


def test_at_a_jump_an_operation_is_undecided():
    assert [verdict for *_, verdict in judged(tg.where, [0.0, 1.0, 2.0])] == ["undecided", "right", "right"]


def test_a_wrong_partial_beside_a_kink_is_wrong():
    bent = tg.op("bent", tg.abs.value, lambda o, x: (0.5,), kink=lambda x: x)
    assert "the partial of 'bent' by x is 0.5, and the difference quotient says 1" in reasons(bent, 3e-6)


def test_cancellation_is_told():
    report = gradcheck(lambda x: (1e9 + x) - 1e9, 1.0)
    assert report.rows[0].verdict == "cancellation" and report
    assert "cancellation: the quotient's own rounding exceeds the tolerance" in report.notes[0]


def test_steep_functions_get_shorter_steps():
    assert gradcheck(lambda x: tg.sin(1e4 * x), 1.0) and gradcheck(tg.log, 1e-9)


def test_many_wrong_rows_are_counted():
    report = gradcheck(lambda xs: sum(x.detach() * x for x in xs), [float(i) for i in range(1, 41)])
    assert "  … 16 more: wrong" in str(report).splitlines()


def test_a_failing_report_can_be_raised():
    with pytest.raises(
        AssertionError, match=r"gradcheck of <lambda>: WRONG\n(.*\n)+  why: every partial is right"
    ):
        gradcheck(lambda x: x.detach() * x, 3.0, raise_on_fail=True)
    assert gradcheck(tg.sin, 1.0, raise_on_fail=True)


# --- bad input ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments, error, text",
    [
        (
            (Value(2.0),),
            TypeError,
            "gradcheck takes a function, then its inputs: gradcheck(f, 2.0); not Value",
        ),
        ((tg.sin,), TypeError, "gradcheck of sin: there is nothing to differentiate by: give its inputs"),
        ((tg.sin, "3"), TypeError, "gradcheck: x is '3': a Value holds one real number, not '3' of type str"),
        ((lambda w: w, [1.0, [2.0, None]]), TypeError, "gradcheck: w[1][1] is None: "),
        ((lambda w: w, [[], 1.0]), TypeError, "gradcheck: w[0] is empty: give numbers"),
        ((tg.sin, 1j), TypeError, "gradcheck: x is 1j: "),
        ((tg.sin, math.inf), ValueError, "gradcheck: x is inf, where there are no slopes"),
        ((lambda x: None, 1.0), TypeError, "<lambda> returned None: is a return missing?"),
        ((lambda x: [x, {"a": None}], 1.0), TypeError, "returned None as output[1]['a']: is a return"),
        ((lambda x: [], 1.0), TypeError, "returns numbers, and <lambda> returned a list of 0"),
        ((lambda x: [x] * (1 + (x > 1.0)), 1.0), TypeError, "<lambda> returned 2 numbers, and 1 before"),
        ((lambda x: "a", 1.0), TypeError, "<lambda> returned a str of 1"),
    ],
)
def test_bad_input_is_named(arguments, error, text):
    with pytest.raises(error) as caught:
        gradcheck(*arguments)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    "options, text",
    [
        ({"order": 3}, "gradcheck: order is 1 or 2, not 3: for a third, check grad(f)"),
        ({"method": "euler"}, "gradcheck: no method 'euler': there are central, five-point, richardson"),
        ({"samples": 0}, "gradcheck: samples is a whole number, 1 or more, not 0"),
        ({"samples": 2.5}, "gradcheck: samples is a whole number, 1 or more, not 2.5"),
        ({"rtol": -1.0}, "gradcheck: rtol is a number between 0 and 1, not -1.0"),
        ({"rtol": "x"}, "gradcheck: rtol is a number between 0 and 1, not 'x'"),
    ],
)
def test_bad_options_are_named(options, text):
    with pytest.raises(ValueError) as caught:
        gradcheck(tg.sin, 1.0, **options)
    assert str(caught.value) == text


def test_params_that_are_named_twice_are_moved_once():
    w = Value(3.0)
    report = gradcheck(lambda: w * w, params=[w, w])
    assert report and len(report.rows) == 1


def test_params_are_leaves():
    for wrong in (tg.MLP(1, [1]), 5, [[Value(1.0)]]):
        with pytest.raises(
            TypeError, match=r"gradcheck: params are leaf Values, not .* pass model.parameters"
        ):
            gradcheck(lambda: 1.0, params=wrong)
    with pytest.raises(
        TypeError, match=r"gradcheck: params are leaf Values, not Value.* pass model.parameters"
    ):
        gradcheck(lambda: 1.0, params=[Value(1.0) + 1.0])
