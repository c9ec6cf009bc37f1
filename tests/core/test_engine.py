"""The engine on graphs small enough to check by hand, and on any graph by what calculus says of it.

Hypothesis draws graphs: linearity in the seed, the product rule, the rule of sums for a value used twice,
permuted operands, and numerical derivatives with NumPy must all hold; and the sweep in floats must give the
bits that the recorded sweep gives.  Edges are in test_semantics.py, single operations in test_ops.py.
"""

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings, strategies as st

from tinygrad_bp import Value, dot, engine, ops
from tinygrad_bp.engine import edges, newest_first, sweep
from tinygrad_bp.floats import NO_GRAD
from tinygrad_bp.graph_sweep import sweep_graph
from tinygrad_bp.ops import OPS

# --- by hand ------------------------------------------------------------------------------------------------


def test_three_operations():
    a, b, c, f = Value(2.0), Value(-3.0), Value(10.0), Value(-2.0)
    e = a * b
    d = e + c
    loss = d * f
    loss.backward()
    assert loss.data == -8.0
    assert [v.grad for v in (a, b, c, e, d, f, loss)] == [6.0, -4.0, -2.0, -2.0, -2.0, 4.0, 1.0]


def test_a_node_remembers_its_operation_and_operands():
    a, b = Value(2.0, label="a"), Value(3.0)
    c = a * b
    assert (c.op, c.inputs, c.label, c.grad) == (ops.mul, (a, b), "", 0.0)
    assert (a.op, a.inputs, a.label) == (None, (), "a")
    assert a.number < b.number < c.number
    assert ((c**2).op, c.clip(0, 1).op) == (ops.powc.at(2), ops.clip.at(0, 1))
    assert (3.0 - a).inputs[0].data == 3.0 and (3.0 - a).inputs[1] is a


def test_a_leaf_is_its_own_root():
    x = Value(3.0)
    x.backward()
    x.backward(2)
    assert x.grad == 3.0
    assert sweep({x: 5.0}) == {x: 5.0}
    assert [g.data for g in sweep_graph({x: Value(5.0)}).values()] == [5.0]


def test_newest_first_meets_every_node_after_its_consumers():
    x = Value(1.0)
    a = x + 1.0
    b = a * x
    c = b + a
    assert newest_first([c]) == [c, b, a]
    assert newest_first([a, c, b]) == [c, b, a]
    assert newest_first([x]) == []


def test_dot_is_one_node():
    ws, xs, bias = [Value(1.0), Value(2.0)], [Value(3.0), Value(4.0)], Value(0.5)
    y = dot(ws, xs, bias)
    y.backward()
    assert y.data == 11.5 and y.op is ops.dot and len(newest_first([y])) == 1
    assert [v.grad for v in (*ws, *xs, bias)] == [3.0, 4.0, 1.0, 2.0, 1.0]
    assert dot(ws, [3, 4.0]).data == dot([1.0, 2.0], xs).data == dot([1, 2], [3, 4]) == 11.0
    assert dot(ws, xs, 0.5).data == 11.5
    w = ws[0]
    square = dot([w, w], [w, 3.0], w)
    w.grad = 0.0
    square.backward()
    assert (square.data, w.grad) == (5.0, 6.0)


def test_dot_of_unequal_lengths_is_refused():
    with pytest.raises(ValueError) as caught:
        dot([Value(1.0)], [1.0, 2.0])
    assert str(caught.value) == "dot: 1 weights for 2 inputs; there must be as many of both"


def test_several_roots_are_swept_together():
    x = Value(2.0)
    a, b = x * x, x * 5.0
    assert sweep({a: 10.0, b: 1.0})[x] == sweep_graph({a: Value(10.0), b: Value(1.0)})[x].data == 45.0
    assert sweep({b: 1.0, a: 10.0, x: 0.5})[x] == 45.5
    inner = sweep({a * 2.0: 1.0, a: 10.0})
    assert (inner[a], inner[x]) == (12.0, 48.0)


def test_a_recorded_gradient_is_a_graph():
    x = Value(3.0)
    first = sweep_graph({x**3 * Value(2.0): Value(1.0)})[x]
    second = sweep_graph({first: Value(1.0)})[x]
    third = sweep_graph({second: Value(1.0)})[x]
    assert (first.data, second.data, third.data) == (54.0, 36.0, 12.0)
    assert third not in sweep_graph({third: Value(1.0)}) or sweep({third: 1.0}).get(x, 0.0) == 0.0


def test_a_recorded_gradient_is_written_in_its_plainest_form():
    """One share is the share itself or a product, shares of slope 1 are a sum, and the rest is a dot."""
    x, y, seed = Value(3.0), Value(2.0), Value(1.0)
    assert sweep_graph({x + y: seed})[x] is seed
    assert sweep_graph({x * y: seed})[x].op is ops.mul
    assert sweep_graph({(x + y) + x: seed})[x].op is ops.sum
    assert sweep_graph({x * y + x * x: seed})[x].op is ops.dot


def test_a_seed_may_be_differentiated():
    x, seed = Value(3.0), Value(2.0)
    gradient = sweep_graph({x * x: seed})[x]
    assert gradient.data == 12.0 and sweep({gradient: 1.0})[seed] == 6.0


# --- any graph ----------------------------------------------------------------------------------------------

SMOOTH = ["add", "sub", "mul", "neg", "sin", "cos", "tanh", "sigmoid", "softplus", "silu", "gelu", "erf"]
SMOOTH += ["atan", "asinh", "gauss", "dot", "sum", "logsumexp", "identity", "normal_cdf", "sech2"]
KINKED = ["relu", "leaky_relu", "abs", "max", "min", "clip", "where", "hypot", "gt", "sign", "floor"]
SINGULAR = ["div", "log", "sqrt", "pow", "powc", "exp", "asin", "atanh", "xlogx", "acosh", "log1p", "fmod"]
CONSTANTS = {"clip": (-0.5, 0.5), "powc": (3.0,)}

numbers = st.floats(-2.0, 2.0)


@st.composite
def graphs(draw, names, steps=12):
    """Numbers for the leaves, and operations on numbered nodes, of which the leaves are the first."""
    leaves = draw(st.lists(numbers, min_size=2, max_size=4))
    program = []
    for i in range(draw(st.integers(1, steps))):
        name = draw(st.sampled_from(names))
        count = OPS[name].operands or draw(st.integers(1, 5))
        places = st.integers(0, len(leaves) + i - 1)
        program.append((name, draw(st.lists(places, min_size=count, max_size=count))))
    return leaves, program


def built(leaves, program):
    """The nodes of a drawn graph from its leaves on; the last is a sum, so that every node matters."""
    nodes = list(leaves)
    for name, places in program:
        nodes.append(OPS[name](*[nodes[i] for i in places], *CONSTANTS.get(name, ())))
    return [*nodes, ops.sum(nodes[len(leaves) :])]


def root_of(leaves, program):
    """The root of a drawn graph whose numbers are moderate."""
    nodes = built(leaves, program)
    assume(all(abs(v) < 1e50 for v in nodes))
    return nodes[-1]


def gradient(root, leaves):
    adjoints = sweep({root: 1.0})
    return np.array([adjoints.get(x, 0.0) for x in leaves])


def moved(numbers, i, h):
    return [x + h * (i == k) for k, x in enumerate(numbers)]


def slope(f, h):
    """f'(0) to fourth order in h."""
    return (f(-2 * h) - 8 * f(-h) + 8 * f(h) - f(2 * h)) / (12 * h)


@given(graphs(SMOOTH))
def test_numerical_derivatives_agree(graph):
    point, program = graph
    leaves = list(map(Value, point))
    exact = gradient(root_of(leaves, program), leaves)
    for i in range(len(point)):
        wide, narrow = (slope(lambda s: built(moved(point, i, s), program)[-1], h) for h in (2e-4, 1e-4))  # noqa: B023
        if abs(wide - narrow) < 1e-6 * (1 + abs(narrow)):  # else f bends too much for either
            assert exact[i] == pytest.approx(narrow, rel=1e-5, abs=1e-5)


@given(graphs(SMOOTH))
def test_second_derivatives_are_symmetric_and_agree_with_numerical_ones(graph):
    point, program = graph
    leaves = list(map(Value, point))
    first = sweep_graph({root_of(leaves, program): Value(1.0)})
    hessian = np.array([gradient(first.get(x, Value(0.0)), leaves) for x in leaves])
    assert np.allclose(hessian, hessian.T, rtol=1e-9, atol=1e-9 * (1 + np.abs(hessian).max()))

    def gradient_at(xs):
        leaves = list(map(Value, xs))
        return gradient(built(leaves, program)[-1], leaves)

    for i in range(len(point)):
        wide, narrow = (slope(lambda s: gradient_at(moved(point, i, s)), h) for h in (2e-4, 1e-4))  # noqa: B023
        if np.all(np.abs(wide - narrow) < 1e-6 * (1 + np.abs(narrow))):
            assert np.allclose(hessian[i], narrow, rtol=1e-5, atol=1e-5)


@given(graphs(SMOOTH + KINKED + SINGULAR, steps=25), st.sampled_from([1.0, -0.75, 3.0, 1e-9]))
@settings(max_examples=300)
def test_the_two_sweeps_give_the_same_bits(graph, seed):
    leaves = list(map(Value, graph[0]))
    *nodes, root = built(leaves, graph[1])
    floats = sweep({root: seed})
    recorded = sweep_graph({root: Value(seed)})
    for v in (*nodes, root):
        got = recorded[v].data if v in recorded else 0.0
        expected = floats.get(v, 0.0)
        assert got == expected or (got != got and expected != expected), (v, got, expected)


def by_definition(seeds):
    """The adjoints that `sweep` computes, without its windows: node by node, newest first."""
    adjoint = dict(seeds)
    for v in newest_first(seeds):
        for x, d in edges(v) if v in adjoint else []:
            adjoint[x] = adjoint.get(x, 0.0) + d * adjoint[v]
    return adjoint


@given(
    graphs(SMOOTH + KINKED + SINGULAR, steps=40),
    st.integers(1, 50),
    st.integers(0, 30),
    st.lists(st.integers(0, 60), max_size=3),
)
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_windows_of_the_sweep_change_no_bit(monkeypatch, graph, window, gap, places):
    """Numbers lie apart where other graphs were made in between; several roots, also old ones and leaves."""
    monkeypatch.setattr(engine, "WINDOW", window)
    monkeypatch.setattr(engine, "WIDEST", 2 * window)
    leaves = list(map(Value, graph[0]))
    nodes = list(leaves)
    for i, (name, operands) in enumerate(graph[1]):
        nodes.append(OPS[name](*[nodes[k] for k in operands], *CONSTANTS.get(name, ())))
        for _ in range(gap * (i % 3)):
            engine.tick()
    seeds = {nodes[k % len(nodes)]: 0.5 + k for k in places} | {ops.sum(nodes[len(leaves) :]): 1.0}
    got, expected = sweep(seeds), by_definition(seeds)
    assert got.keys() >= expected.keys()
    assert [got[v].hex() for v in expected] == [g.hex() for g in expected.values()]
    assert all(got[v] == 0.0 for v in got.keys() - expected.keys())  # below cut edges only
    assert got.keys() == {*seeds, *newest_first(seeds), *(x for v in newest_first(seeds) for x in v.inputs)}


@pytest.mark.not_wasm
def test_a_graph_with_old_and_far_parts():
    x = Value(2.0)
    old = x * x
    for _ in range(engine.WIDEST + 10):
        engine.tick()
    y = old * 3.0
    for _ in range(5 * engine.WIDEST):
        y = y + 1.0
    z = y * old
    z.backward()
    assert (old.grad, x.grad) == (y.data + 3.0 * old.data, 4.0 * (y.data + 3.0 * old.data))


def test_a_leaf_below_cut_edges_only_keeps_its_gradient():
    x, y = Value(2.0), Value(3.0)
    inner = y * y
    ops.where(1.0, x, inner).backward()
    assert (x.grad, inner.grad) == (1.0, 0.0) and y.grad is NO_GRAD and inner.grad is not NO_GRAD


@given(graphs(SMOOTH + KINKED), st.sampled_from([2.0, -0.5, 8.0]))
def test_the_gradient_is_linear_in_the_seed(graph, factor):
    leaves = list(map(Value, graph[0]))
    root = root_of(leaves, graph[1])
    scaled = sweep({root: factor})
    for x, g in zip(leaves, gradient(root, leaves)):
        assert scaled.get(x, 0.0) == pytest.approx(factor * g, rel=0.0, abs=1e-300)  # factor: a power of 2


@given(graphs(SMOOTH), graphs(SMOOTH))
def test_the_product_rule_and_the_sum_rule(first, second):
    leaves = list(map(Value, first[0]))
    f = root_of(leaves, first[1])
    g = root_of(leaves, [(name, [i % len(leaves) for i in places]) for name, places in second[1]])
    df, dg = gradient(f, leaves), gradient(g, leaves)
    for y, a, b in ((f * g, df * g.data, dg * f.data), (f + g, df, dg)):
        size = (1 + np.abs(a) + np.abs(b)).max()
        assert np.allclose(gradient(y, leaves), a + b, rtol=0.0, atol=1e-12 * size)


@given(graphs(SMOOTH + KINKED))
def test_a_value_used_twice_gets_the_sum_of_what_two_values_would_get(graph):
    (number, _, *rest), program = graph
    assume(any(place < 2 for _, places in program for place in places))
    one, first, second = Value(number), Value(number), Value(number)
    together = gradient(root_of([one, one, *rest], program), [one])
    apart = gradient(root_of([first, second, *rest], program), [first, second])
    assert together == pytest.approx(sum(apart), rel=1e-9, abs=1e-9 * (1 + np.abs(apart).max()))


@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_permuted_operands_have_permuted_gradients(pairs, rng):
    order = rng.sample(range(len(pairs)), len(pairs))
    for row in (ops.dot, ops.logsumexp, ops.sum):
        ws, xs = ([Value(p[k]) for p in pairs] for k in (0, 1))
        straight = gradient(row(*ws, *xs), ws + xs)
        permuted = gradient(row(*[ws[i] for i in order], *[xs[i] for i in order]), ws + xs)
        assert np.allclose(permuted, straight, rtol=1e-13, atol=0.0)


@given(graphs(SMOOTH + KINKED))
def test_backward_twice_doubles_leaves_only(graph):
    leaves = list(map(Value, graph[0]))
    nodes = built(leaves, graph[1])
    assume(all(abs(v) < 1e50 for v in nodes))
    root = nodes[-1]
    root.backward()
    once = [v.grad for v in nodes]
    root.backward()
    assert [v.grad for v in nodes] == [g if v.inputs else 2.0 * g for v, g in zip(nodes, once)]
    root.zero_grad()
    assert all(v.grad == 0.0 for v in newest_first([root]))


def test_a_gradient_that_no_sweep_has_set_is_told_from_zero():
    x = Value(3.0)
    y = x * 0.0
    assert x.grad is NO_GRAD and y.grad is NO_GRAD and NO_GRAD == 0.0
    y.backward()
    assert x.grad == 0.0 and x.grad is not NO_GRAD
    y.zero_grad()
    assert x.grad is NO_GRAD and y.grad is NO_GRAD


def test_a_label_is_text():
    assert Value(1.0, label=3).label == "3"
