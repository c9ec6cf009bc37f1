"""The transforms: grad, value_and_grad, gradients, vjp, jvp, jacobian, hessian, hvp; and vmap.

Shapes first: results follow the arguments. Then derivatives of any order against mpmath, what must agree with
what (vjp with jvp, hvp with hessian), and the traps of nesting: two meanings of one Value, closures, graphs
that are shared between threads. Last the texts for what cannot be differentiated.
"""

import math
import threading
from itertools import pairwise

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import tinygrad_bp as tg
from tinygrad_bp import (
    StaleGraphError,
    Value,
    grad,
    gradients,
    hessian,
    hvp,
    jacfwd,
    jacobian,
    jacrev,
    jvp,
    stop_gradient,
    value_and_grad,
    vjp,
    vmap,
)

some = st.floats(-2.0, 2.0)
pairs = st.lists(some, min_size=2, max_size=2)


def smooth(xs):
    """R² to R, with all second derivatives."""
    x, y = xs
    return tg.sin(x * y) + tg.exp(0.5 * x) * y**3 - tg.tanh(x) / (2.0 + y * y)


def field(xs):
    """R² to R³."""
    x, y = xs
    return [tg.sin(x) * y, x * x - y, tg.sigmoid(x + 2.0 * y)]


# --- shapes -------------------------------------------------------------------------------------------------


def test_one_number_gives_a_float():
    slope = grad(lambda x: x * x)(3.0)
    assert (slope, type(slope)) == (6.0, float)
    assert value_and_grad(lambda x: x * x)(3.0) == (9.0, 6.0)
    assert grad(lambda x: x * x)(3) == 6.0


def test_a_list_gives_a_list_and_several_arguments_a_tuple():
    assert grad(lambda xs: xs[0] * xs[1])([2.0, 3.0]) == [3.0, 2.0]
    assert grad(lambda x, y: x * y)(2.0, 3.0) == (3.0, 2.0)
    assert grad(lambda w, x: tg.dot(w, x))([1.0, 2.0], [3.0, 4.0]) == ([3.0, 4.0], [1.0, 2.0])


def test_a_nest_gives_the_same_nest():
    def f(tree, x):
        return tree[0][0] * tree[0][1] * tree[1][0] * tree[2] * x

    assert grad(f)([[1.0, 2.0], (3.0,), 4.0], 5.0) == ([[120.0, 60.0], (40.0,), 30.0], 24.0)
    assert grad(lambda ws: ws[0][0] * 2.0)([[1.0, 7.0], []]) == [[2.0, 0.0], []]


def test_argnums_chooses_arguments():
    def f(w, x, scale=1.0):
        return scale * w * x * x

    assert grad(f, argnums=0)(2.0, 3.0) == 9.0
    assert grad(f, argnums=(1,))(2.0, 3.0) == (12.0,)
    assert grad(f, argnums=(1, 0))(2.0, 3.0, scale=10.0) == (120.0, 90.0)
    assert grad(f, argnums=-1)(2.0, 3.0) == 12.0
    assert value_and_grad(f, argnums=1)(2.0, 3.0) == (18.0, 12.0)
    assert grad(grad(f, argnums=1), argnums=0)(2.0, 3.0) == 6.0
    assert grad(lambda name, x: x * len(name), argnums=1)("four", 1.0) == 4.0  # others need not be numbers
    assert gradients(grad(f, argnums=0)(2.0, x := Value(3.0)), x) == 6.0


def test_has_aux_hands_on_what_else_is_returned():
    def f(x):
        y = 2.0 * x
        return y * y, {"y": y, "name": "double"}

    assert grad(f, has_aux=True)(3.0) == (24.0, {"y": 6.0, "name": "double"})
    assert value_and_grad(f, has_aux=True)(3.0) == ((36.0, {"y": 6.0, "name": "double"}), 24.0)
    with pytest.raises(TypeError, match=r"has_aux=True: <lambda> returns \(number, anything\), not"):
        grad(lambda x: x * x, has_aux=True)(3.0)


def test_dicts_and_arrays_are_arguments():
    params = {"w": [1.0, 2.0], "b": 3.0}

    def f(p, x):
        return tg.dot(p["w"], [*x]) * p["b"]

    assert grad(f, argnums=0)(params, [5.0, 7.0]) == {"w": [15.0, 21.0], "b": 19.0}
    assert grad(lambda m: m[0][1] * m[1][0])(np.array([[1.0, 2.0], [3.0, 4.0]])) == [[0.0, 3.0], [2.0, 0.0]]
    assert jacobian(lambda x: {"twice": 2.0 * x, "square": x * x})(3.0) == {"twice": 2.0, "square": 6.0}
    assert jvp(lambda p: p["b"] ** 2, ({"b": 3.0},), ({"b": 10.0},)) == (9.0, 60.0)
    with pytest.raises(ValueError, match=r"tangents have the shape \[{'c': number}\]"):
        jvp(lambda p: p["b"] ** 2, ({"b": 3.0},), ({"c": 10.0},))


@pytest.mark.parametrize("places, told", [(2, "argnums is 2, and f was given 2"), (-3, "argnums is -3")])
def test_argnums_beyond_the_arguments(places, told):
    def f(x, y):
        return x * y

    with pytest.raises(ValueError, match=told):
        grad(f, argnums=places)(1.0, 2.0)
    with pytest.raises(TypeError, match="argnums is the place of an argument"):
        grad(f, argnums="x")(1.0, 2.0)


def test_an_argument_that_is_not_used_has_derivative_0():
    assert grad(lambda x, y: x)(1.0, 2.0) == (1.0, 0.0)
    assert grad(lambda x: 5.0)(1.0) == 0.0
    assert hessian(lambda x: 5.0 * x)(1.0) == 0.0
    assert jvp(lambda x: 5.0, (1.0,), (1.0,)) == (5.0, 0.0)


def test_jacobian_has_a_row_for_each_output():
    assert jacobian(lambda x: [x, x * x])(3.0) == [1.0, 6.0]
    assert jacobian(lambda x, y: (x * y, [x]))(3.0, 4.0) == ((4.0, 3.0), [(1.0, 0.0)])
    assert jacobian(lambda xs: xs[0] * xs[1])([3.0, 4.0]) == [4.0, 3.0]


def test_hessian_of_several_arguments_has_blocks():
    assert hessian(lambda x, y: x * x * y)(3.0, 4.0) == ((8.0, 6.0), (6.0, 0.0))


def test_vjp_and_jvp_follow_the_output():
    out, pull = vjp(lambda x, y: [x * y, (x + y,)], 2.0, 3.0)
    assert (out, pull([1.0, (10.0,)])) == ([6.0, (5.0,)], (13.0, 12.0))
    assert pull([0.0, (1.0,)]) == (1.0, 1.0)  # pulled twice, from one run of the function
    assert jvp(lambda x, y: [x * y, (x + y,)], (2.0, 3.0), (1.0, 10.0)) == ([6.0, (5.0,)], [23.0, (11.0,)])


def test_the_same_output_twice_counts_twice():
    def twice(x):
        y = x * x
        return [y, y]

    assert vjp(twice, 3.0)[1]([1.0, 10.0]) == (66.0,)
    assert jacobian(twice)(3.0) == [6.0, 6.0]


def test_an_argument_that_is_returned():
    assert grad(lambda x: x)(3.0) == 1.0
    assert vjp(lambda x: [x, x], 3.0)[1]([1.0, 10.0]) == (11.0,)
    assert jvp(lambda x: x, (3.0,), (7.0,)) == (3.0, 7.0)


def test_gradients_follow_their_inputs():
    x, y = Value(3.0), Value(4.0)
    inner = x * y
    out = inner * x
    assert gradients(out, x) == 24.0
    assert gradients(out, [x, (y, inner)]) == [24.0, (9.0, 3.0)]
    assert gradients(out, [out, Value(1.0)]) == [1.0, 0.0]
    again = gradients(out, [x], create_graph=True)
    assert gradients(again[0], [x, y]) == [8.0, 6.0]


def test_jacfwd_is_jacobian_by_forward_mode():
    def f(p, x):
        return {"a": p["w"] * x[0], "b": [tg.sin(x[1]) * p["w"], tg.max(x[0], 1.0)]}

    assert jacrev is jacobian
    arguments = {"w": 3.0}, [5.0, 0.5]
    for more in ({}, {"argnums": 0}, {"argnums": (1,)}, {"argnums": (1, 0)}):
        forward, reverse = jacfwd(f, **more)(*arguments), jacrev(f, **more)(*arguments)
        assert str(forward) == str(reverse)  # the nesting, too
    assert jacfwd(f, argnums=0)(*arguments)["a"] == {"w": 5.0}
    assert jacfwd(lambda x, scale: x * scale)(2.0, scale=3.0) == 3.0
    assert jacfwd(lambda x: [])(2.0) == []
    assert hessian(lambda w, x: w * w * x, argnums=0)(2.0, 3.0) == 6.0
    assert hessian(lambda w, x: w * w * x, argnums=(0, 1))(2.0, 3.0) == ((6.0, 4.0), (4.0, 0.0))
    assert hessian(lambda x: x**3)(2.0) == jacfwd(grad(lambda x: x**3))(2.0) == 12.0
    assert gradients(jacfwd(lambda x: x**3)(x := Value(2.0)), x) == 12.0


# --- a loop over lists --------------------------------------------------------------------------------------


def test_vmap_calls_a_function_on_each_entry():
    assert vmap(lambda x: x * x)([1.0, 2.0, 3.0]) == [1.0, 4.0, 9.0]
    assert vmap(lambda row, x: row[0] * x + row[1], in_axes=(None, 0))([2.0, 1.0], [0.0, 1.0]) == [1.0, 3.0]
    assert vmap(lambda x, y: x + y, in_axes=[0, None])([1, 2], 10) == [11, 12]
    assert vmap(vmap(lambda x: -x))([[1.0], [2.0, 3.0]]) == [[-1.0], [-2.0, -3.0]]
    assert vmap(lambda x, k: k * x)([1.0, 2.0], k=[3.0, 4.0]) == [3.0, 8.0]
    assert vmap(lambda row: row[1])(np.array([[1.0, 2.0], [3.0, 4.0]])) == [2.0, 4.0]
    assert vmap(lambda p: p["a"] - p["b"])({"a": [5.0, 6.0], "b": [1.0, 1.0]}) == [4.0, 5.0]
    assert vmap(lambda x: x)([]) == []


def test_vmap_of_a_tuple_or_dict_is_one_of_lists():
    assert vmap(lambda x: (x, {"twice": 2 * x}))([1, 2]) == ([1, 2], {"twice": [2, 4]})
    assert vmap(lambda x: [x, x])([1, 2]) == [[1, 1], [2, 2]]

    def loss(p, x, y):
        return (p["w"] * x - y) ** 2

    each = vmap(value_and_grad(loss, argnums=0), in_axes=(None, 0, 0))
    assert each({"w": 2.0}, [1.0, 3.0], [0.0, 5.0]) == ([4.0, 1.0], {"w": [4.0, 6.0]})


def test_vmap_is_differentiated_and_compiled_as_a_loop_is():
    square = vmap(lambda x: x * x)
    assert jacobian(square)([1.0, 2.0]) == [[2.0, 0.0], [0.0, 4.0]]
    assert grad(lambda xs: sum(square(xs)))([1.0, 2.0]) == [2.0, 4.0]
    assert tg.compile(square)([1.0, 2.0]) == [1.0, 4.0]


@pytest.mark.parametrize(
    ("call", "error", "told"),
    [
        (lambda f: vmap(f)([1.0], 2.0), TypeError, "argument 1 of f is 2.0, and is to be a list"),
        (lambda f: vmap(f)([1.0], y=2.0), TypeError, "vmap: y of f is 2.0"),
        (lambda f: vmap(f)([1.0, 2.0], [1.0]), ValueError, "argument 0 of f has 2 entries, and argument 1"),
        (lambda f: vmap(f)({"a": [1.0], "b": []}, [1.0]), ValueError, r"argument 0\['a'\] of f has 1 "),
        (lambda f: vmap(f, in_axes=(0,))([1.0], [2.0]), ValueError, "in_axes has 1 entries, and f was given"),
        (lambda f: vmap(f, in_axes=1)([1.0], [2.0]), ValueError, r"not 1: for columns write list\(zip"),
        (lambda f: vmap(f, in_axes=None)([1.0], [2.0]), ValueError, "no argument of f is a list of entries"),
    ],
)  # fmt: skip
def test_what_vmap_cannot_go_through(call, error, told):
    def f(x, y):
        return x + y

    with pytest.raises(error, match=told):
        call(f)


def test_stop_gradient_keeps_the_number_and_ends_the_path():
    assert grad(lambda x: stop_gradient(x) * x)(3.0) == 3.0
    assert grad(lambda x: stop_gradient(x))(3.0) == 0.0
    assert jvp(lambda x: stop_gradient(x) * x, (3.0,), (1.0,)) == (9.0, 3.0)
    assert hessian(lambda x: stop_gradient(x) * x * x)(3.0) == 6.0
    assert stop_gradient([1.0, (2.0, {"a": 3})]) == [1.0, (2.0, {"a": 3.0})]
    x = Value(3.0)
    y = x.stop_gradient() * x
    y.backward()
    assert (x.grad, y.inputs[0].op.name) == (3.0, "stop_gradient")
    step = tg.compile(lambda z: stop_gradient(x * z) * x, params=[x])
    assert step.value_and_grad([2.0])[1][0] == 6.0


# --- values, or floats --------------------------------------------------------------------------------------


def test_results_are_values_when_an_argument_is_one():
    x = Value(3.0)
    for result in (
        grad(lambda x: x**3)(x),
        value_and_grad(lambda x: x**3)(x)[0],
        jvp(lambda x: x**3, (x,), (1.0,))[1],
        vjp(lambda x: x**3, x)[1](1.0)[0],
        vjp(lambda x: x**3, 3.0)[1](Value(1.0))[0],
        jvp(lambda x: x**3, (3.0,), (Value(1.0),))[1],
    ):
        assert isinstance(result, Value)
        assert result.data == 27.0
    assert gradients(grad(lambda x: x**3)(x), x) == 18.0


def test_floats_inside_lists_stay_floats():
    (slope,) = grad(lambda xs: xs[0] ** 2)([2.0])
    assert type(slope) is float
    assert type(value_and_grad(lambda x: x)(1)[0]) is float
    assert type(hvp(lambda x: x**3, (2.0,), (1.0,))) is float


def test_grad_is_left_alone():
    x, w = Value(3.0), Value(4.0)
    x.grad, w.grad = 7.0, 8.0

    def f(x):
        return w * x**3

    grad(f)(x)
    hessian(f)(x)
    vjp(f, x)[1](1.0)
    jvp(f, (x,), (1.0,))
    hvp(f, (x,), (1.0,))
    gradients(f(x), [x, w], create_graph=True)
    assert (x.grad, w.grad) == (7.0, 8.0)


# --- derivatives of any order -------------------------------------------------------------------------------

FUNCTIONS = {
    "exp": (tg.exp, mpmath.exp),
    "log": (tg.log, mpmath.log),
    "sqrt": (tg.sqrt, mpmath.sqrt),
    "sin": (tg.sin, mpmath.sin),
    "tan": (tg.tan, mpmath.tan),
    "atan": (tg.atan, mpmath.atan),
    "asinh": (tg.asinh, mpmath.asinh),
    "tanh": (tg.tanh, mpmath.tanh),
    "sigmoid": (tg.sigmoid, lambda x: 1 / (1 + mpmath.exp(-x))),
    "softplus": (tg.softplus, lambda x: mpmath.log(1 + mpmath.exp(x))),
    "erf": (tg.erf, mpmath.erf),
    "gelu": (tg.gelu, lambda x: x * mpmath.ncdf(x)),
    "quotient": (lambda x: (x * x + 1.0) / (x + 3.0), lambda x: (x * x + 1) / (x + 3)),
    "powers": (lambda x: x**-2 + 2.0**x + x**x, lambda x: x**-2 + mpmath.mpf(2) ** x + x**x),
    "nested": (lambda x: tg.sin(tg.exp(x * 0.5) / x), lambda x: mpmath.sin(mpmath.exp(x * 0.5) / x)),
}


def exact(f, x, order):
    with mpmath.workdps(60):
        return float(mpmath.diff(f, mpmath.mpf(x), order))


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("x", [0.3, 1.7])
def test_derivatives_to_order_four(name, x):
    ours, theirs = FUNCTIONS[name]
    f = ours
    for order in range(1, 5):
        f = grad(f)
        truth = exact(theirs, x, order)
        assert f(x) == pytest.approx(truth, rel=1e-10, abs=1e-12), order


@pytest.mark.parametrize("name", FUNCTIONS)
def test_forward_and_reverse_mixed_give_the_same_third_derivative(name):
    ours, theirs = FUNCTIONS[name]

    def forward(f):
        return lambda x: jvp(f, (x,), (1.0,))[1]

    truth = exact(theirs, 0.7, 3)
    for mixed in (forward(grad(grad(ours))), grad(forward(grad(ours))), forward(forward(forward(ours)))):
        assert mixed(0.7) == pytest.approx(truth, rel=1e-10)


@given(pairs)
@settings(deadline=None, max_examples=30)
def test_mixed_partials_agree_with_mpmath(xs):
    def truth(x, y):
        return mpmath.sin(x * y) + mpmath.exp(0.5 * x) * y**3 - mpmath.tanh(x) / (2 + y * y)

    h = hessian(smooth)(xs)
    with mpmath.workdps(50):
        for (i, j), order in {(0, 0): (2, 0), (0, 1): (1, 1), (1, 1): (0, 2)}.items():
            assert h[i][j] == pytest.approx(float(mpmath.diff(truth, tuple(xs), order)), rel=1e-9, abs=1e-11)


# --- what must agree with what ------------------------------------------------------------------------------


def inner(v, w):
    return sum(a * b for a, b in zip(v, w))


@given(pairs, pairs, st.lists(some, min_size=3, max_size=3))
@settings(deadline=None, max_examples=100)
def test_vjp_and_jvp_are_transposes(xs, ts, cs):
    """w · (J v) = (wᵀ J) · v, and both are the Jacobian's."""
    _, moved = jvp(field, (xs,), (ts,))
    _, pull = vjp(field, xs)
    (pulled,) = pull(cs)
    assert inner(cs, moved) == pytest.approx(inner(pulled, ts), rel=1e-12, abs=1e-12)
    j = jacobian(field)(xs)
    assert moved == pytest.approx([inner(row, ts) for row in j], rel=1e-12, abs=1e-12)


@given(pairs, pairs)
@settings(deadline=None, max_examples=100)
def test_hvp_is_the_symmetric_hessian_times_the_vector(xs, ts):
    h = hessian(smooth)(xs)
    assert h[0][1] == pytest.approx(h[1][0], rel=1e-12, abs=1e-12)
    assert hvp(smooth, (xs,), (ts,)) == pytest.approx([inner(row, ts) for row in h], rel=1e-11, abs=1e-11)
    reverse = grad(lambda v: inner(grad(smooth)(v), ts))(xs)
    assert reverse == pytest.approx([inner(row, ts) for row in h], rel=1e-11, abs=1e-11)


@given(pairs)
@settings(deadline=None, max_examples=50)
def test_grad_agrees_with_backward(xs):
    leaves = [Value(x) for x in xs]
    smooth(leaves).backward()
    assert grad(smooth)(xs) == pytest.approx([x.grad for x in leaves], rel=1e-13, abs=1e-300)


@pytest.mark.parametrize("x", [-1.0, 0.0, 2.0])
def test_forward_and_reverse_agree_at_kinks_and_cuts(x):
    """P4 holds in both directions: what is not selected adds nothing, though its own slope is not finite."""

    def f(x):
        return tg.where(tg.gt(x, 0.0), tg.log(x), 0.0) + tg.relu(x) + tg.max(x, 0.0) * abs(x)

    slope = grad(f)(x)
    assert math.isfinite(slope)
    assert jvp(f, (x,), (1.0,))[1] == slope
    assert grad(lambda v: f(v))(Value(x)).data == slope
    assert jvp(f, (Value(x),), (1.0,))[1].data == slope
    assert math.isfinite(hessian(f)(x))


# --- nesting ------------------------------------------------------------------------------------------------


def test_a_derivative_inside_a_derivative_is_not_confused_with_it():
    """The perturbation confusion of Siskind and Pearlmutter: 1 is right, not 2."""
    assert grad(lambda x: x * grad(lambda y: x + y)(1.0))(1.0) == 1.0
    assert jvp(lambda x: x * jvp(lambda y: x + y, (1.0,), (1.0,))[1], (1.0,), (1.0,)) == (1.0, 1.0)


def test_an_outer_value_and_the_argument_made_of_it_are_two_things():
    y = Value(5.0)
    inner = grad(lambda x: x * y)(y)  # d(x y)/dx = y, although x is y
    assert inner.data == 5.0
    assert gradients(inner, y) == 1.0
    assert grad(lambda y: grad(lambda x: x * y)(y))(5.0) == 1.0
    assert jvp(lambda x: x * y, (y,), (1.0,))[1].data == 5.0
    assert vjp(lambda x: x * y, y)[1](1.0)[0].data == 5.0


def test_closures_three_deep():
    def f(x):
        return grad(lambda y: y**2 * grad(lambda z: x * y * z**3)(2.0))(x)

    # d/dz = 12 x y; y² · 12 x y = 12 x y³; d/dy = 36 x y² at y = x: 36 x³
    assert f(Value(3.0)).data == 972.0
    assert grad(f)(3.0) == 972.0  # 108 x²


def test_nested_results_are_floats_outside_only():
    seen = []

    def f(x):
        slope = grad(lambda y: y * y)(3.0)  # a constant for x, yet part of a function being differentiated
        seen.append(type(slope))
        return x * slope

    assert grad(f)(2.0) == 6.0
    assert seen == [Value]
    assert type(grad(lambda y: y * y)(3.0)) is float  # afterwards it is as before


def test_an_error_inside_does_not_leave_the_transform_on():
    def broken(x):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        grad(broken)(1.0)
    assert type(grad(lambda x: x * x)(1.0)) is float


def test_under_no_grad_transforms_still_differentiate():
    with tg.no_grad():
        assert grad(lambda x: x**3)(2.0) == 12.0
        assert grad(grad(lambda x: x**3))(2.0) == 12.0
        assert jvp(lambda x: x**3, (2.0,), (1.0,))[1] == 12.0
        assert vjp(lambda x: x**3, 2.0)[1](1.0) == (12.0,)
        assert (Value(1.0) * 2.0).inputs == ()  # and the switch is still set


def test_no_grad_inside_cuts():
    def f(x):
        with tg.no_grad():
            frozen = x * x
        return frozen * x

    assert grad(f)(3.0) == 9.0


def test_threads_may_differentiate_one_graph():
    w = [Value(0.1 * i + 0.1) for i in range(20)]
    out = tg.tanh(sum(a * b for a, b in pairwise(w)))
    expected, results, errors = gradients(out, w), [], []

    def work(x):
        try:
            for _ in range(20):
                slope = grad(lambda x: tg.sin(x) * w[3])(x)
                results.append((gradients(out, w), slope, w[3].data * math.cos(x)))
        except Exception as error:  # it would be lost in the thread
            errors.append(error)

    threads = [threading.Thread(target=work, args=(0.1 * i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(results) == 8 * 20
    assert all(slopes == expected and slope == cosine for slopes, slope, cosine in results)
    assert [x.grad for x in w] == [0.0] * 20


def test_a_transform_in_one_thread_is_none_in_another():
    """While grad calls f here, results over there are still floats."""
    kinds = []

    def f(x):
        thread = threading.Thread(target=lambda: kinds.append(type(grad(lambda y: y * y)(1.0))))
        thread.start()
        thread.join()
        return x * x

    assert grad(f)(3.0) == 6.0
    assert kinds == [float]


# --- errors -------------------------------------------------------------------------------------------------


def test_a_stale_graph_is_refused():
    x = Value(3.0, label="x")
    y = x * x
    x.data = 4.0
    for use in (lambda: gradients(y, x), lambda: gradients(y, x, create_graph=True)):
        with pytest.raises(
            StaleGraphError, match=r"leaf 4\.0 \(label 'x'\) .* 'mul' .*calling your function"
        ):
            use()
    assert gradients(x * x, x) == 8.0


@pytest.mark.parametrize(
    ("output", "told"),
    [
        ([1.0, 2.0], "a list of 2: use jacobian"),
        ((1.0,), "a tuple of 1: use jacobian"),
        (None, "returned None"),
        ("four", "returned 'four'"),
        (1j, "returned 1j"),
        ({"a": 1.0}, "returned {'a': 1.0}"),
    ],
)
def test_grad_of_what_is_no_number(output, told):
    def cost(x):
        return output

    with pytest.raises(TypeError, match="returns one number, and cost returned") as caught:
        grad(cost)(1.0)
    assert told in str(caught.value)


def test_jacobian_of_what_are_no_numbers():
    for output in (None, "four", [1.0, None], {"a": "one"}):
        with pytest.raises(TypeError, match=r"a Value holds one real number|is not one real number"):
            jacobian(lambda x, output=output: output)(1.0)


@pytest.mark.parametrize("transform", [grad, value_and_grad, jacobian, hessian])
def test_no_arguments(transform):
    def cost():
        return Value(1.0)

    with pytest.raises(TypeError, match="no arguments to differentiate by"):
        transform(cost)()
    with pytest.raises(TypeError, match="no arguments to differentiate by"):
        vjp(cost)


@pytest.mark.parametrize("argument", ["four", None, 1j, [1.0, "x"], {"a": "x"}])
def test_an_argument_that_is_no_number(argument):
    with pytest.raises(TypeError, match="one real number"):
        grad(lambda x: x)(argument)


def test_gradients_of_what_is_no_value():
    with pytest.raises(TypeError, match=r"gradients differentiates a Value, not 3\.0 of type float"):
        gradients(3.0, Value(1.0))


def test_gradients_by_what_is_no_value():
    """A number cannot be what the output depends on: 0.0 would be a wrong answer, not a missing one."""
    x = Value(3.0)
    with pytest.raises(TypeError, match=r"3\.0"):
        gradients(x * x, 3.0)


@pytest.mark.parametrize("tangents", [(1.0,), (1.0, 2.0, 3.0), ([1.0], 2.0), ((1.0, 2.0),)])
def test_tangents_of_the_wrong_shape(tangents):
    def cost(x, y):
        return x * y

    with pytest.raises(ValueError, match=r"cost: tangents have the shape .*\[number, number\] is needed"):
        jvp(cost, (1.0, 2.0), tangents)
    with pytest.raises(ValueError, match="tangents have the shape"):
        hvp(cost, (1.0, 2.0), tangents)


def test_what_an_output_does_not_depend_on_has_derivative_0_as_a_number_and_as_a_graph():
    x, other = Value(2.0), Value(5.0)
    assert gradients(x * x, [x, other]) == [4.0, 0.0]
    assert [g.data for g in gradients(x * x, [x, other], create_graph=True)] == [4.0, 0.0]
    for at in (2.0, x):
        moved = jvp(lambda x: [x * x, Value(3.0), 3.0], (at,), (1.0,))[1]
        assert [t.data if at is x else t for t in moved] == [4.0, 0.0, 0.0]


def test_tangents_that_are_no_sequence():
    with pytest.raises(TypeError, match="tangents"):
        jvp(lambda x: x, (1.0,), 1.0)
    with pytest.raises(TypeError, match="arguments"):
        jvp(lambda x: x, 1.0, (1.0,))


def test_tangents_that_are_no_numbers():
    for tangents in (("a",), (None,)):
        with pytest.raises(TypeError, match="one real number"):
            jvp(lambda x: 2.0 * x, (1.0,), tangents)
        with pytest.raises(TypeError, match="one real number"):
            vjp(lambda x: 2.0 * x, 1.0)[1](*tangents)


def test_cotangents_of_the_wrong_shape():
    _, pull = vjp(field, [1.0, 2.0])
    for cotangents in (1.0, [1.0, 2.0], [[1.0], 2.0, 3.0]):
        with pytest.raises(
            ValueError, match=r"field: cotangents have the shape .*\[number, number, number\]"
        ):
            pull(cotangents)
