"""Functions of lists against NumPy: values, gradients, infinities, compiled code, and what is refused."""

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
