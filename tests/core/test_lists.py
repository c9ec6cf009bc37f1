"""Functions of lists against NumPy: values, gradients, infinities, compiled code, and what is refused."""

from functools import partial
from math import inf, nan

import numpy as np
import pytest

import tinygrad_bp as tg
from tinygrad_bp import Value

LISTS = [[0.5], [1.0, 2.0, 3.0], [-1e3, 1e3, 0.0], [1e5, 1e5 - 1.0], [700.0, 710.0, 720.0], [-0.0] * 7]


def expected(xs):
    e = np.exp(np.array(xs) - max(xs))
    return e / e.sum()


@pytest.mark.parametrize("xs", LISTS, ids=str)
def test_softmax_and_its_gradient(xs):
    p = expected(xs)
    assert tg.softmax(xs) == pytest.approx(p, rel=1e-14)
    assert tg.softmax(iter(xs)) == tg.softmax(xs)
    rows = tg.jacobian(tg.softmax)(xs)
    assert np.allclose(rows, np.diag(p) - np.outer(p, p), rtol=1e-12, atol=1e-15)
    with np.errstate(divide="ignore"):
        logs = np.array(xs) - max(xs) - np.log(np.exp(np.array(xs) - max(xs)).sum())
    assert tg.log_softmax(xs) == pytest.approx(logs, rel=1e-12, abs=1e-10)
    rows = tg.jacobian(tg.log_softmax)(xs)
    assert np.allclose(rows, np.eye(len(xs)) - p, rtol=1e-12, atol=1e-15)


def test_softmax_at_infinities():
    assert tg.softmax([0.0, inf, inf]) == [0.0, 0.5, 0.5]
    assert tg.softmax([0.0, -inf]) == [1.0, 0.0]
    assert all(p != p for p in tg.softmax([-inf, -inf]) + tg.softmax([nan, 1.0]))
    assert tg.log_softmax([0.0, -inf]) == [0.0, -inf]


def test_mean():
    xs = [Value(1.0), Value(2.0), Value(6.0)]
    m = tg.mean(xs)
    m.backward()
    assert m.data == 3.0 and [x.grad for x in xs] == [1.0 / 3.0] * 3
    assert tg.mean([1, 2]) == 1.5 and tg.mean(x for x in (4.0,)) == 4.0
    assert tg.mean([xs[0], 3.0]).data == 2.0


def test_they_compile():
    f = tg.compile(lambda x, y, z: [*tg.softmax([x, y, z]), *tg.log_softmax([x, y, z]), tg.mean([x, y, z])])
    xs = [0.3, -1.0, 2.0]
    assert f(*xs) == pytest.approx([*tg.softmax(xs), *tg.log_softmax(xs), tg.mean(xs)], rel=1e-14)


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "mean"])
def test_what_is_no_list_is_refused(name):
    f = getattr(tg, name)
    with pytest.raises(ValueError, match=f"^{name} needs at least one number, and the list is empty$"):
        f([])
    for wrong in (1.0, Value(2.0), "ab"):
        with pytest.raises(TypeError, match=rf"^{name} takes a list of numbers or Values, not .*: write"):
            f(wrong)
    with pytest.raises(TypeError, match="one real number"):
        f(["a"])


def test_floor_division():
    x = Value(7.5)
    y = x // 2
    y.backward()
    assert (y.data, x.grad, (16 // x).data, (-x // 2.0).data) == (3.0, 0.0, 2.0, -4.0)
    assert np.float64(16.0) // x == 2.0
    with pytest.raises(TypeError, match="unsupported operand"):
        x // "a"


# --- take ---------------------------------------------------------------------------------------------------

BAD = [-1, -0.5, 1.5, 3, 1e30, nan, inf, -inf]


def table():
    return [[Value(10.0 * k + d) for d in range(2)] for k in range(3)]


def test_take_is_the_row_at_an_index():
    rows = table()
    assert tg.take(rows, 2) == rows[2] and tg.take(rows, np.int64(1))[0] is rows[1][0]
    assert tg.take(rows, True)[1] is rows[1][1] and tg.take([4.0, 5.0], -0.0) == 4.0
    assert tg.take(np.arange(6.0).reshape(3, 2), 1) == [2.0, 3.0]
    assert tg.take(np.arange(3.0), 1) == 1.0
    sum(tg.take(rows, 1), 0.0).backward()
    assert [p.grad for row in rows for p in row] == [0.0, 0.0, 1.0, 1.0, 0.0, 0.0]


def test_an_index_in_the_graph_gets_no_gradient_and_the_row_gets_it_all():
    rows, i = table(), Value(2.0)
    a, b = tg.take(rows, i)
    (a * b).backward()
    assert (a.data, b.data, i.grad) == (20.0, 21.0, 0.0)
    assert [p.grad for row in rows for p in row] == [0.0, 0.0, 0.0, 0.0, 21.0, 20.0]
    assert tg.take([Value(4.0), 5.0], i - 1.0).data == 5.0


def test_what_is_not_taken_gets_nothing_not_even_a_nan():
    x = Value(0.0)
    for create_graph in (False, True):
        o = tg.take([tg.log(x), x + 1.0], Value(1.0))
        assert tg.gradients(o, x, create_graph=create_graph) == 1.0
    f = tg.compile(lambda i, x: tg.take([tg.log(x), x + 1.0], i), example=(1.0, 0.5))
    assert f.value_and_grad(1.0, 0.0) == (1.0, (0.0, 1.0))
    assert f.value_and_grad(0.0, 2.0)[1] == (0.0, 0.5)


def test_second_derivatives_go_through_take():
    f = tg.grad(tg.grad(lambda x: tg.take([x**2, x**3], Value(1.0))))
    assert f(2.0) == 12.0


@pytest.mark.parametrize("bad", BAD)
def test_an_index_that_is_none_is_the_same_error_eagerly_and_compiled(bad):
    rows = table()
    step = tg.compile(lambda i: tg.sum(*tg.take(rows, i)), [p for row in rows for p in row])
    single = tg.compile(lambda i: tg.take([1.0, 2.0, 3.0], i))
    ways = [
        lambda: tg.take(rows, bad),
        lambda: tg.take(rows, Value(bad)),
        lambda: step.value([0, bad]),
        lambda: step.value_and_grad([bad]),
        lambda: step.bind([0.0] * 9 + [bad]),
        lambda: single(bad),
        lambda: single.map([1, bad]),
        lambda: single.value_and_grad(bad),
    ]
    model = tg.MLP(1, [1])
    optimizer = tg.optim.SGD([*model.parameters(), *(p for row in rows for p in row)], lr=0.1)
    before = [p.data for p in optimizer.parameters]

    def embedded(x):
        return model(tg.take(rows, x[0])[:1])

    for engine in ("eager", "compiled"):
        data = [[0.0], [bad if abs(bad) < inf else 3.0]], [0.0, 0.0]
        ways.append(partial(tg.fit, embedded, data, tg.losses.squared_error, optimizer, 2, engine=engine))
    for way in ways:
        with pytest.raises(ValueError, match="take: the index is a whole number from 0 to 2, not "):
            way()
    assert [p.data for p in optimizer.parameters] == before


def test_an_index_that_parameters_make_reads_no_other_memory():
    """It is known only while the code runs: nan, as the operation has it."""
    pytest.importorskip("llvmlite")
    rows, w = [Value(1.0), Value(2.0)], Value(0.0)
    step = tg.compile(lambda x: tg.take(rows, w + 0.0 * x), [*rows, w])
    for bad in (-1.0, 2.0, 0.5, nan, inf, 1e300):
        w.data = bad
        for n in (1, 5, 40):
            assert step.value([1.0] * n) != step.value([1.0] * n)
    w.data = 1.0
    assert step.value([1.0] * 5) == 10.0


def test_a_take_is_one_statement_of_each_entry():
    rows = [[Value(0.1 * k + d) for d in range(4)] for k in range(9)]
    f = tg.compile(lambda i, j: [a * b for a, b in zip(tg.take(rows, i), tg.take(rows, j))], example=(1, 2))
    assert sum("take(" in line for line in f.source().splitlines()) == 2  # eight entries, in two loops
    assert f(3, 4) == [a.data * b.data for a, b in zip(rows[3], rows[4])]
    matrices = {}
    exec(f.source("matrix"), matrices)
    flat = np.array([p.data for row in rows for p in row])
    found = matrices["run"](np, flat, np.array([3.0, 0.0]), np.array([4.0, 8.0]))
    assert np.allclose(found, [f(3, 4), f(0, 8)], rtol=1e-15)


def test_what_take_refuses():
    with pytest.raises(ValueError, match=r"^take: row 1 has 1 numbers, row 0 has 2; give all as many$"):
        tg.take([[1.0, 2.0], [1.0]], 0)
    with pytest.raises(ValueError, match=r"^take: row 1 has one number, row 0 has 2; give all as many$"):
        tg.take([[1.0, 2.0], 3.0], 0)
    with pytest.raises(TypeError, match=r"^take: the index is one number, not a list: write \[take"):
        tg.take([1.0, 2.0], [0, 1])
    with pytest.raises(ValueError, match=r"^take needs at least one number, and the list is empty$"):
        tg.take([], 0)
    with pytest.raises(TypeError, match=r"^take takes a list of numbers or Values, not 1.0"):
        tg.take(1.0, 0)
    with pytest.raises(TypeError, match="one real number"):
        tg.take([1.0], "a")
