"""Matrix source computes what the engine does, on NumPy; marked `peers`, on PyTorch, JAX and Dask as well.

Every net of compiler_nets.py is printed, and the text run: no operation lies outside the array API standard,
none changes an array in place. The bound is 1e-13 of the largest sum of magnitudes among a net's gradients.
What is printed for the quadratic network stands here and, beside the one written by hand, in
docs/derived_backprop.md.
"""

import ast
import itertools
import math
import random
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from support.demos import DEMOS, run as run_demo
from support.edges import EDGES, differ, everything, rows
from support.nets import NETS, Net, columns, eager
from write_generated import BY_HAND, DERIVED, MATCHES, derived, quadratic_source

import tinygrad_bp as tg
from tinygrad_bp import Value
from tinygrad_bp.compiler import compile
from tinygrad_bp.compiler.backends.matrix.expressions import ERF, ERFC, SERIES
from tinygrad_bp.compiler.backends.matrix.variables import VariableNames
from tinygrad_bp.errors import CompileError

STANDARD = {  # of the array API, 2023.12: what the source may ask of xp
    "abs", "acos", "acosh", "asarray", "asin", "asinh", "atan", "atan2", "atanh", "broadcast_to",
    "ceil", "concat", "copysign", "cos", "cosh", "exp", "expm1", "flip", "floor", "hypot", "inf",
    "isnan", "log", "log1p", "maximum", "minimum", "nan", "ones", "ones_like", "permute_dims",
    "remainder", "reshape", "round", "sign", "sin", "sinh", "sqrt", "sum", "take", "tan", "tanh",
    "where", "zeros", "zeros_like", "float64",
}  # fmt: skip


def functions(step):
    """What the matrix source of the last kernel defines."""
    space = {}
    exec(step.source("matrix"), space)
    return space


def numbers(leaves):
    return np.array([p.data for p in leaves])


def call(function, *arguments, xp=np):
    """NumPy warns of branches that `where` does not take; the other libraries do not."""
    with np.errstate(all="ignore"):
        return function(xp, *arguments)


def assert_as_eager(net, data, answer, bound=1e-13):
    total, sums, sizes = eager(net, data)
    loss, grad = answer
    assert np.shape(loss) == () and np.shape(grad) == (len(net.params),)
    assert abs(float(loss) - total) <= bound * max(abs(total), 1e-3)
    assert np.abs(np.asarray(grad) - sums).max() <= bound * max(*sizes, 1e-3)


@pytest.mark.parametrize("name", NETS)
def test_the_source_asks_for_nothing_but_the_standard(name):
    net = NETS[name]()
    example = tuple([0.5] * w if w else 0.5 for w in net.widths)
    source = compile(net.loss, net.params, example=example).source("matrix")
    tree = ast.parse(source)
    for node in ast.walk(tree):
        assert not isinstance(node, (ast.AugAssign, ast.Import, ast.ImportFrom)), "changes an array, imports"
        if isinstance(node, ast.Assign):
            targets = [x for t in node.targets for x in (t.elts if isinstance(t, ast.Tuple) else [t])]
            assert all(isinstance(target, ast.Name) for target in targets), "changes an array"
        if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "xp":
            assert node.attr in STANDARD
    assert max(map(len, source.splitlines())) <= 110


# --- multi-layer perceptrons --------------------------------------------------------------------------------

LOSSES = {
    "squared_error": lambda out, y: tg.losses.squared_error(out, y),
    "huber": lambda out, y: tg.losses.huber(out, y),
    "bce_with_logits": lambda out, y: tg.losses.bce_with_logits(out, [tg.sigmoid(a) for a in y]),
    "cross_entropy": lambda out, y: tg.losses.cross_entropy(out, [a * a for a in y]),
}
ACTS = ["relu", "leaky_relu", "elu", "tanh", "sigmoid", "softplus", "silu", "gelu", "sin", "atan"]


@given(
    sizes=st.lists(st.integers(1, 6), min_size=2, max_size=4),
    act=st.sampled_from(ACTS),
    loss=st.sampled_from(sorted(LOSSES)),
    bias=st.booleans(),
    n=st.integers(1, 5),
    seed=st.integers(0, 2**32),
)
@settings(deadline=None, max_examples=60)
def test_perceptrons_on_numpy(sizes, act, loss, bias, n, seed):
    rng = random.Random(seed)
    model = tg.MLP(sizes[0], sizes[1:], act=act, bias=bias, biases=tg.nn.normal(0.5), rng=rng)

    def one(x, y):
        out = model(x)
        return LOSSES[loss](out if isinstance(out, list) else [out], y)

    data = [[[rng.gauss(0.0, 1.0) for _ in range(w)] for _ in range(n)] for w in (sizes[0], sizes[-1])]
    net = Net(one, model.parameters(), (sizes[0], sizes[-1]))
    step = compile(one, net.params, example=(data[0][0], data[1][0]))
    assert "W1, b1 = " in step.source("matrix") or not bias
    value_and_grad = functions(step)["value_and_grad"]
    arrays = [np.array(column) for column in data]
    assert_as_eager(net, data, call(value_and_grad, numbers(net.params), *arrays), 1e-12)


QUADRATIC = """\
    W1, b1, W2, b2, W3, b3, W4, b4 = unpack(xp, params)
    X = xp.reshape(x, (1, -1))
    Y = xp.reshape(y, (1, -1))

    A1 = xp.maximum(W1 @ X + b1, 0.0)
    A2 = xp.maximum(W2 @ A1 + b2, 0.0)
    A3 = xp.maximum(W3 @ A2 + b3, 0.0)
    Z4 = W4 @ A3 + b4
    D4 = Z4 - Y
    loss = xp.sum(D4**2 / 2)

    dW4 = D4 @ A3.T
    db4 = xp.sum(D4, axis=1, keepdims=True)
    D3 = xp.where(A3 > 0, W4.T @ D4, 0.0)
    dW3 = D3 @ A2.T
    db3 = xp.sum(D3, axis=1, keepdims=True)
    D2 = xp.where(A2 > 0, W3.T @ D3, 0.0)
    dW2 = D2 @ A1.T
    db2 = xp.sum(D2, axis=1, keepdims=True)
    D1 = xp.where(A1 > 0, W2.T @ D2, 0.0)
    dW1 = D1 @ X.T
    db1 = xp.sum(D1, axis=1, keepdims=True)
    return loss, pack(xp, dW1, db1, dW2, db2, dW3, db3, dW4, db4)
"""


def test_the_quadratic_network_reads_as_one_writes_it():
    """One line per layer and direction: what `forward` and `gradients` of matrix_backprop.py loop
    over."""
    assert quadratic_source().endswith(QUADRATIC)


def test_another_activation_has_its_slope_behind_the_loss():
    model = tg.MLP(2, [3, 1], act="tanh", rng=random.Random(0))
    step = compile(lambda x, y: tg.losses.squared_error(model(x), y), model.parameters())
    step.value_and_grad([[0.0, 0.0]], [1.0])
    assert step.source("matrix").endswith("""\
    A1 = xp.tanh(W1 @ X + b1)
    Z2 = W2 @ A1 + b2
    D2 = Z2 - Y
    loss = xp.sum(D2**2 / 2)

    dW2 = D2 @ A1.T
    db2 = xp.sum(D2, axis=1, keepdims=True)
    D1 = (1 - A1**2) * (W2.T @ D2)
    dW1 = D1 @ X.T
    db1 = xp.sum(D1, axis=1, keepdims=True)
    return loss, pack(xp, dW1, db1, dW2, db2)
""")


TRAINED_BY_HAND = (Path(__file__).parents[1] / "check" / "test_matrix_backprop.py").read_text(
    encoding="utf-8"
)


def test_the_page_that_compares_both_is_current():
    assert DERIVED.read_text(encoding="utf-8") == derived(), "run: python tests/write_generated.py"
    for ours, theirs in MATCHES:
        assert all(line in quadratic_source() for line in ours)
        assert all(line in BY_HAND + TRAINED_BY_HAND for line in theirs)


def test_flat_parameters_are_unpacked_and_gradients_packed_in_their_order():
    model = tg.MLP(3, [4, 2], rng=random.Random(1))
    step = compile(lambda x: tg.sum(*model(x)), model.parameters(), example=([0.0] * 3,))
    space = functions(step)
    flat = np.arange(26.0)
    parts = space["unpack"](np, flat)
    assert [part.shape for part in parts] == [(4, 3), (4, 1), (2, 4), (2, 1)]
    labels = {p.label: i for i, p in enumerate(model.parameters())}
    assert parts[0][1, 2] == labels["layers.0.neurons.1.w.2"]
    assert parts[3][1, 0] == labels["layers.1.neurons.1.b"]
    assert (space["pack"](np, *parts) == flat).all()


@pytest.mark.parametrize("seed", range(8))
def test_parameters_in_any_order_and_some_left_out(seed):
    """Those left out are read as well, behind the others; matrices are put together by label."""
    rng = random.Random(seed)
    model = tg.MLP(3, [4, 3, 2], act=rng.choice(["relu", "tanh", "sigmoid"]), rng=rng)
    params = model.parameters()
    rng.shuffle(params)
    params = params[: rng.randrange(1, len(params) + 1)]
    net = Net(lambda x, y: tg.losses.squared_error(model(x), y), params, (3, 2))
    step = compile(net.loss, params, example=([0.5] * 3, [0.5] * 2))
    leaves = step._last.leaves
    assert leaves[: len(params)] == params and set(leaves) == set(model.parameters())
    data = columns(net, 4)
    answer = call(functions(step)["value_and_grad"], numbers(leaves), *map(np.array, data))
    assert_as_eager(net, data, answer, 1e-12)


# --- what else a kernel can be ------------------------------------------------------------------------------


def test_a_sum_without_its_gradient():
    w = Value(3.0, label="w")
    step = compile(lambda x: w * x, [w])
    assert step.value([1.0, 2.0]) == 9.0
    assert call(functions(step)["value"], np.array([3.0]), np.array([1.0, 2.0])) == 9.0


def test_results_of_each_sample_are_rows():
    model = tg.MLP(3, [4, 2], act="tanh", rng=random.Random(0))
    f = compile(lambda x: [*model(x), 2.0, x[0]])
    xs = [[0.1, -0.2, 0.3], [1.0, 2.0, 3.0]]
    expected = f.map(xs)
    found = call(functions(f)["run"], numbers(model.parameters()), np.array(xs))
    assert found == pytest.approx(np.array(expected), rel=1e-14)


def test_derivatives_by_the_inputs_are_columns_and_the_value_is_the_last():
    f = compile(lambda x, y: x * y[0] + tg.sin(y[1]))
    value, (by_x, by_y) = f.value_and_grad(2.0, [3.0, 1.0])
    found = call(functions(f)["run"], np.zeros(0), np.array([2.0]), np.array([[3.0, 1.0]]))
    assert found.tolist() == [[by_x, *by_y, pytest.approx(value)]]


def test_values_from_outside_follow_the_parameters():
    w, unused, outside = Value(2.0), Value(5.0), Value(3.0)
    step = compile(lambda x: w * x + outside * outside, [w, unused])
    assert step.value_and_grad([1.0, 4.0])[0] == 28.0
    loss, grad = call(functions(step)["value_and_grad"], np.array([2.0, 5.0, 3.0]), np.array([1.0, 4.0]))
    assert (loss, grad.tolist()) == (28.0, [5.0, 0.0])


@pytest.mark.parametrize(
    "f, expected",
    [
        (lambda x, w, u: Value(2.0), (4.0, [0.0, 0.0])),
        (lambda x, w, u: Value(0.0), (0.0, [0.0, 0.0])),
        (lambda x, w, u: x, (3.0, [0.0, 0.0])),
        (lambda x, w, u: w, (4.0, [2.0, 0.0])),
        (lambda x, w, u: w + u + x, (13.0, [2.0, 2.0])),
        (lambda x, w, u: w * u * 3.0, (36.0, [18.0, 12.0])),
        (lambda x, w, u: tg.where(tg.gt(x, 1.5), w, 0.25), (2.25, [1.0, 0.0])),
    ],
)
def test_what_is_the_same_for_all_samples_counts_for_each(f, expected):
    w, u = Value(2.0), Value(3.0)
    step = compile(lambda x: f(x, w, u), [w, u], example=(1.0,))
    loss, grad = call(functions(step)["value_and_grad"], np.array([2.0, 3.0]), np.array([1.0, 2.0]))
    assert (loss, grad.tolist()) == expected


def test_without_arguments_and_without_parameters():
    w = Value(3.0)
    step = compile(lambda: w * w, [w])
    step.value_and_grad()
    loss, grad = call(functions(step)["value_and_grad"], np.array([3.0]))
    assert (loss, grad.tolist()) == (9.0, [6.0])
    square = compile(lambda x: x * x, [], example=(1.0,))
    loss, grad = call(functions(square)["value_and_grad"], np.zeros(0), np.array([1.0, 2.0]))
    assert (loss, grad.shape) == (5.0, (0,))
    constant = compile(lambda: Value(3.0))
    constant()
    assert call(functions(constant)["run"], np.zeros(0)).tolist() == [[3.0]]


def test_a_deep_network_keeps_to_the_width_of_a_page():
    model = tg.MLP(2, [3] * 30 + [1], act="tanh", rng=random.Random(0))
    step = compile(lambda x: model(x), model.parameters())
    loss, grad = step.value_and_grad([[0.5, -0.25]])
    assert max(map(len, step.source("matrix").splitlines())) <= 100
    found = call(functions(step)["value_and_grad"], numbers(model.parameters()), np.array([[0.5, -0.25]]))
    assert found[0] == pytest.approx(loss, rel=1e-13)
    assert found[1] == pytest.approx(np.array(grad), rel=1e-12, abs=1e-15)


def test_arguments_that_are_nested_are_given_nested():
    f = compile(lambda x: x[0][0] * x[1][1] - x[0][1] * x[1][0])
    xs = [[[1.0, 2.0], [3.0, 4.0]], [[2.0, 0.0], [0.0, 2.0]]]
    assert f.map(xs) == [-2.0, 4.0]
    assert call(functions(f)["run"], np.zeros(0), np.array(xs)).tolist() == [[-2.0], [4.0]]


# --- numbers that are hard ----------------------------------------------------------------------------------


def test_a_branch_not_taken_leaves_nothing_behind():
    w = Value(1.0)
    step = compile(lambda x: tg.where(tg.gt(x, 0.0), tg.log(w * x), 0.0), [w], example=(1.0,))
    value_and_grad = functions(step)["value_and_grad"]
    loss, grad = call(value_and_grad, np.array([1.0]), np.array([0.0, -1.0, math.e]))
    assert loss == pytest.approx(1.0) and grad == pytest.approx(np.array([1.0]))


def test_a_nan_reaches_the_loss():
    model = tg.MLP(1, [3, 1], rng=random.Random(0))
    loss = lambda x, y: tg.losses.squared_error(model([x]), y)  # noqa: E731
    step = compile(loss, model.parameters(), example=(0.0, 0.0))
    value_and_grad = functions(step)["value_and_grad"]
    found, grad = call(value_and_grad, numbers(model.parameters()), np.array([math.nan]), np.array([0.0]))
    assert math.isnan(found) and math.isnan(grad[-1])


def test_long_lines_break_at_spaces_alone():
    """Numbers such as 1e-05 have hyphens, and calls within calls are one long word."""
    weights = [1.5e-5 * 1.1**i for i in range(60)]

    def f(x):
        deep = x[0]
        for _ in range(38):
            deep = tg.sin(deep)
        return tg.dot(weights, x) + deep

    x = [math.sin(i) for i in range(60)]
    g = compile(f, example=(x,))
    assert call(functions(g)["run"], np.zeros(0), np.array([x]))[0, 0] == pytest.approx(g(x), rel=1e-14)
    assert "e-05]" in g.source("matrix") and "xp.sin(" * 30 in g.source("matrix")


def test_the_numbers_of_a_program_are_printed_exactly():
    step = compile(lambda x: x * 0.1 + math.inf * tg.eq(x, 7.0) - 1e300 / (x + 5e-324), [], example=(1.0,))
    source = step.source("matrix")
    assert "0.1" in source and "1e+300" in source and "5e-324" in source and "xp.inf" in source


def known_to_differ(row, xs, partial, off):
    """Where array functions do not answer as the engine does, by `off`."""
    if off <= 1e-300:
        return True  # exp or cosh overflows there, and the inverse is 0
    if partial and row in (tg.tanh, tg.sigmoid):
        return off <= 4e-16  # 1 - A**2 and A * (1 - A), as in textbooks: right to 16 digits of 1
    if row is tg.relu:
        return partial and math.isnan(xs[0])  # the choice by `A > 0` is the other one
    if row.name in ("powc", "powc_x"):
        return row.constant_values[0] % 1.0 == 0.5 and xs[0] == -math.inf  # NumPy takes a root: nan there
    return row.name in ("gelu", "normal_cdf") and xs[0] < -10.0  # 1e-14 of a number below 1e-20


@pytest.mark.parametrize("arity", [1, 2, 3])
def test_every_row_at_every_edge(arity):
    """Values and partials, each row of the table; but for the sign of a zero."""
    edges = EDGES if arity < 3 else [0.0, -0.0, 1.0, -2.0, math.inf, math.nan]
    samples = list(itertools.product(edges, repeat=arity))
    f = compile(everything(arity), example=(0.5,) * arity)
    answers = call(functions(f)["run"], np.zeros(0), *np.array(samples).T)
    wrong = []
    for xs, answer in zip(samples, answers.tolist()):
        leaves, places = [*map(Value, xs)], iter(answer)
        for row in rows(arity):
            o = row(*leaves)
            for k, truth in enumerate([o.data, *tg.gradients(o, leaves)]):
                got = next(places)
                if differ(got, truth, 24.0) and not (
                    got == truth == 0.0 or known_to_differ(row, xs, k, abs(got - truth))
                ):
                    wrong.append((row, xs, k, got, truth))
    assert not wrong, f"{len(wrong)}: {wrong[:12]}"


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_the_error_function_that_is_printed(x):
    space = {}
    exec("\n\n".join([SERIES, ERFC, ERF]), space)
    for name in ("erf", "erfc"):
        expected = getattr(math, name)(x)
        found = call(space[name], np.array([x]))[0]
        bound = 1.5e-15 * (1.0 + x * x if name == "erfc" and x > 0 else 1.0)  # x * x is rounded
        normal = abs(expected) > 1e-300
        assert found == pytest.approx(expected, rel=bound, abs=0.0 if normal else 1e-300, nan_ok=True)


# --- names and errors ---------------------------------------------------------------------------------------

HOSTILE = [
    '"; import os', "W1", "x\ny", "неделя", "lambda", "print", "xp", "params", "loss", "A1", "I1", "",
    "a.b.c", "w.0", "w.0", "0", "..", "w.1.2.3.4", "class.0.w.0", "__import__('os')", "T1",
    "b" * 400, "é", "²", "w.²",
]  # fmt: skip


@given(st.lists(st.one_of(st.sampled_from(HOSTILE), st.text(max_size=12)), min_size=1, max_size=12))
@settings(deadline=None, max_examples=60)
def test_labels_stay_harmless(labels):
    """Whatever they say, the source is right, and nothing of them is in it but names."""
    params = [Value(i + 1.0, label=label) for i, label in enumerate(labels)]
    step = compile(lambda x: tg.dot(params, params) * x, params, example=(1.0,))
    loss, grad = call(functions(step)["value_and_grad"], numbers(params), np.array([1.0, 2.0]))
    assert loss == 3.0 * sum(p.data**2 for p in params)
    assert grad.tolist() == [6.0 * p.data for p in params]
    assert step.source("matrix").isascii()


def test_names_of_arguments_and_functions_stay_harmless():
    def xp(params, loss, W1, print):
        return params * loss + W1 - print

    step = compile(xp, [], example=(1.0, 2.0, 3.0, 4.0))
    source = step.source("matrix")
    assert "def value_and_grad(xp, params, params_2, loss_2, W1, print_2):" in source
    columns_ = [np.array([float(i)]) for i in range(1, 5)]
    assert call(functions(step)["value_and_grad"], np.zeros(0), *columns_)[0] == 1.0
    names = VariableNames()
    assert [names.new("lambda"), names.new("a b"), names.new("A1"), names.new("A1"), names.new("I3")] == (
        ["lambda_2", "v", "A1", "A1_2", "v_2"]
    )


def test_an_operation_of_ones_own_that_is_a_python_function_is_an_error():
    cube = tg.op("cube_in_python", lambda x: x * x * x, lambda o, x: (3.0 * x * x,))
    f = compile(lambda x: cube(x), example=(1.0,))
    with pytest.raises(CompileError) as error:
        f.source("matrix")
    assert str(error.value) == (
        "the operation 'cube_in_python' is a Python function, and no array function computes it: give it a "
        'formula, tg.op(..., composite=True), or read source("python")'
    )


def test_an_operation_of_ones_own_with_a_formula_is_printed():
    cube = tg.op("cube_in_formulas", lambda x: x * x * x, lambda o, x: (3.0 * x * x,), composite=True)
    f = compile(lambda x: cube(x), example=(1.0,))
    assert call(functions(f)["run"], np.zeros(0), np.array([2.0])).tolist() == [[8.0]]


def test_more_lines_than_one_reads_are_an_error(monkeypatch):
    monkeypatch.setattr("tinygrad_bp.compiler.backends.matrix.emit_matrix.MANY", 0)
    f = compile(lambda x, y: tg.sin(tg.dot([x, y, 1.0, 2.0], [y, x, x, y])), example=(1.0, 1.0))
    with pytest.raises(CompileError, match=r"\d+ statements that no array operation covers would be as many"):
        f.source("matrix")


def test_source_says_which_kinds_there_are():
    step = compile(lambda x: x, [])
    with pytest.raises(CompileError, match="has not been traced yet"):
        step.source("matrix")
    step.value([1.0])
    with pytest.raises(ValueError, match="kind is 'python' or 'matrix' or 'llvm' or 'page', not 'fortran'"):
        step.source("fortran")


# --- on an array library ------------------------------------------------------------------------------------


def test_a_step_on_numpy_is_a_function_of_parameters_and_columns():
    net = NETS["tanh 4-6-5-3"]()
    step = compile(net.loss, net.params, example=([0.5] * 4, [0.5] * 3))
    data = columns(net, 9)
    assert_as_eager(net, data, step.on(np)(numbers(net.params), *map(np.array, data)))


def test_a_step_on_a_library_reads_other_values_at_each_call():
    w, k = Value(2.0), Value(3.0)
    step = compile(lambda x: w * k * x, [w], example=(1.0,))
    on_numpy = step.on(np)
    assert on_numpy(np.array([2.0]), np.array([1.0, 2.0])) == (18.0, np.array([9.0]))
    k.data = 1.0
    assert on_numpy(np.array([2.0]), np.array([1.0, 2.0])) == (6.0, np.array([3.0]))


def test_a_step_on_a_library_follows_the_arguments_seen_last():
    w = Value(2.0)
    step = compile(lambda x: w * tg.sum(x), [w])
    with pytest.raises(CompileError, match="has not been traced yet"):
        step.on(np)
    for width in (2, 5):
        step.value([[1.0] * width])
        assert step.on(np)(np.array([2.0]), np.ones((3, width)))[0] == 6.0 * width


def test_a_namespace_without_the_functions_is_an_error():
    w = Value(2.0)
    step = compile(lambda x: tg.tanh(w * x), [w], example=(1.0,))
    with pytest.raises(TypeError, match=r"on math: it has no .*reshape.*: pass a namespace of the array API"):
        step.on(math)
    with pytest.raises(ValueError, match=r"params is an array of 1 numbers, not of shape \(2,\)"):
        step.on(np)(np.array([1.0, 2.0]), np.array([1.0]))


# --- other libraries ----------------------------------------------------------------------------------------


def library(name):
    """The namespace, and how it makes an array of doubles."""
    if name == "torch":
        import array_api_compat.torch as xp
        import torch

        return xp, partial(torch.tensor, dtype=torch.float64)
    if name == "jax":
        import jax

        jax.config.update("jax_enable_x64", True)
        return jax.numpy, jax.numpy.asarray
    if name == "dask":
        import array_api_compat.dask.array as xp
        import dask.array

        return xp, lambda x: dask.array.from_array(
            np.array(x), chunks=(4, *np.shape(x)[1:])
        )  # 4 samples each
    import array_api_strict

    array_api_strict.set_array_api_strict_flags(api_version="2025.12")
    return array_api_strict, array_api_strict.asarray


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [name for name in NETS if name not in ("long sum", "deep chain")])
@pytest.mark.parametrize("peer", ["torch", "jax", "dask", "strict"])
def test_every_net_on_other_libraries(peer, name):
    """Unchanged; the columns in chunks where the library has them. `strict` knows the standard alone."""
    xp, array = library(peer)
    net = NETS[name]()
    step = compile(net.loss, net.params, example=tuple([0.5] * w if w else 0.5 for w in net.widths))
    data = columns(net, 9)
    arrays = [array(column) for column in data]
    params = array(numbers(net.params).tolist())
    assert_as_eager(net, data, step.on(xp)(params, *arrays))


@pytest.mark.peers
def test_jax_compiles_the_source():
    xp, array = library("jax")
    import jax

    net = NETS["dense 3-7-11-1"]()
    step = compile(net.loss, net.params, example=([0.5] * 3, 0.5))
    fast = jax.jit(step.on(xp))
    data = columns(net, 9)
    assert_as_eager(net, data, fast(array(numbers(net.params)), *map(array, data)))


@pytest.mark.peers
def test_the_demo_trains_on_devices_of_jax_and_workers_of_dask():
    """It compares every loss with that of one machine itself, to 1e-12."""
    done = run_demo([DEMOS / "scale_out.py", "--iterations", "5"], timeout=300)
    assert done.returncode == 0, done.stderr
    assert "JAX, samples on 4 devices: loss " in done.stdout
    assert "Dask, samples on 2 workers: loss " in done.stdout


def test_values_from_outside_that_are_not_given_are_missed():
    w, outside = tg.Value(2.0, label="w"), tg.Value(3.0, label="k")
    step = compile(lambda x: w * outside * x, [w])
    step.value_and_grad([1.0, 2.0])
    space = {}
    exec(step.source("matrix"), space)
    loss, grad = space["value_and_grad"](np, np.array([2.0, 3.0]), np.array([1.0, 2.0]))
    assert loss == 18.0 and grad.tolist() == [9.0]
    with pytest.raises(ValueError, match="params holds 1 parameters and, after them, 1 captured values"):
        space["value_and_grad"](np, np.array([2.0]), np.array([1.0, 2.0]))
