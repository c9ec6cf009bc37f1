"""Calling compiled code: data of every kind, bad input, captured Values, threads, fork, and looking inside.

Bad input is a clear error or a right answer, never a crash and never a silently wrong gradient.
"""

import ctypes
import mmap
import os
import runpy
import signal
import subprocess
import sys
import threading
import warnings
from array import array
from math import inf, isnan, nan
from types import SimpleNamespace
from typing import Any

import pytest

import tinygrad_bp as tg
from tinygrad_bp import Value
from tinygrad_bp.batches import shuffled
from tinygrad_bp.compiler import compile, locks
from tinygrad_bp.compiler.backends import bind
from tinygrad_bp.compiler.backends.llvm import calls, frame, native
from tinygrad_bp.compiler.backends.llvm.blocks import Lanes
from tinygrad_bp.compiler.backends.llvm.module import emit_llvm
from tinygrad_bp.compiler.bound import Stretch
from tinygrad_bp.compiler.columns import Columns
from tinygrad_bp.compiler.kernel import CODES
from tinygrad_bp.compiler.rule import Update, descents
from tinygrad_bp.errors import CompileError, MissingExtraError, NonFiniteError, StaleGraphError

ENGINES = ["native", "python"]


@pytest.fixture(params=ENGINES, autouse=True)
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every test here runs with machine code, and with generated Python."""
    if request.param == "native":
        pytest.importorskip("llvmlite")
    else:
        monkeypatch.setattr("tinygrad_bp.compiler.kernel.Kernel.reason", "a test")
    CODES.kept.clear()  # machine code that another test has made
    name: str = request.param
    return name


def line() -> tuple[Any, list[Value]]:
    w, b = Value(2.0, "w"), Value(1.0, "b")
    return compile(lambda x, y: (w * x + b - y) ** 2 / 2, [w, b]), [w, b]


# --- data that is right ---


@pytest.mark.parametrize("n", [1, 4, 40])
def test_any_sequence_and_any_buffer(n: int) -> None:
    np = pytest.importorskip("numpy")
    xs, ys = [float(i) for i in range(n)], [float(3 * i) for i in range(n)]
    step, _ = line()
    truth = step.value_and_grad(xs, ys)
    assert truth[0] == step.value(xs, ys)
    whole = [int(x) for x in xs]
    for given in (tuple(xs), array("d", xs), array("f", xs), whole, array("i", whole), range(n),
                  np.array(xs), np.array(xs, dtype="f4"), np.array(whole), np.array([xs, xs]).T[:, 0],
                  np.array(xs)[::-1][::-1], memoryview(array("d", xs)),
                  (ctypes.c_double * n)(*xs)):  # fmt: skip
        assert step.value_and_grad(given, ys) == truth
    frozen = np.array(xs)
    frozen.flags.writeable = False
    assert step.value_and_grad(frozen, np.array(ys)) == truth


def test_rows() -> None:
    np = pytest.importorskip("numpy")
    ws = [Value(1.0), Value(-2.0)]
    step = compile(lambda x: tg.dot(ws, x) ** 2, ws)
    rows = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.5]]
    truth = step.value_and_grad(rows)
    square = np.array(rows)
    for given in (
        [tuple(r) for r in rows],
        square,
        square.T.copy().T,
        square.astype("f4"),
        [np.array(r) for r in rows],
    ):
        assert step.value_and_grad(given) == truth
    assert truth[0] == 9.0 + 25.0 + 64.0


def test_nan_and_infinity_in_the_data_come_out() -> None:
    step, _ = line()
    for bad in (nan, inf, -inf):
        loss, grads = step.value_and_grad([1.0, bad, 2.0], [0.0, 0.0, 0.0])
        assert not loss < inf
        assert grads[0] != grads[0] or abs(grads[0]) == inf


def test_an_infinite_gradient_of_the_last_sample_is_not_lost_in_padding() -> None:
    w = Value(0.0)
    step = compile(lambda x: tg.sqrt(w + x), [w])
    loss, grads = step.value_and_grad([1.0, 4.0, 0.0])
    assert (loss, grads[0]) == (3.0, inf)
    assert step.value_and_grad([1.0] * 9 + [0.0])[1][0] == inf


def test_a_parameter_the_graph_does_not_contain_has_derivative_0() -> None:
    w, unused = Value(2.0), Value(5.0)
    assert compile(lambda x: w * x, [unused, w]).value_and_grad([3.0])[1].tolist() == [0.0, 3.0]


def test_a_loss_without_data_or_without_parameters() -> None:
    w = [Value(2.0), Value(3.0)]
    penalty = compile(lambda: tg.dot(w, w), w)
    assert penalty.value_and_grad() == (13.0, array("d", [4.0, 6.0]))
    constant = compile(lambda x: Value(2.0), w)
    assert constant.value_and_grad([1.0, 1.0, 1.0]) == (6.0, array("d", [0.0, 0.0]))
    once = compile(lambda x: w[0] * w[1], w)
    assert once.value_and_grad([1.0, 1.0, 1.0]) == (18.0, array("d", [9.0, 6.0]))


# --- data that is wrong ---


@pytest.mark.parametrize(
    ("xs", "ys", "error", "text"),
    [
        ([1.0, 2.0], [1.0], ValueError, "the columns have 2, 1 entries; all must have as many"),
        ([], [], ValueError, "the batch is empty; there must be at least one sample"),
        ("12", [1.0, 2.0], TypeError, "argument 0 is a sequence with one entry a sample, not '12'"),
        (b"12", [1.0, 2.0], TypeError, "argument 0 is a sequence with one entry a sample"),
        (3.0, [1.0], TypeError, "argument 0 is a sequence with one entry a sample, not 3.0"),
        ([1.0, "a"], [1.0, 2.0], TypeError, "argument 0: entry 1: .* not 'a'"),
        ([1.0, 2j], [1.0, 2.0], TypeError, "entry 1: .* complex"),
        ([1.0, None], [1.0, 2.0], TypeError, "entry 1: .* not None"),
        ([1.0, 10**400], [1.0, 2.0], ValueError, "entry 1: .* beyond the floats"),
        ([1.0, [2.0]], [1.0, 2.0], TypeError, "entry 1: .*not a list"),
    ],
)
def test_columns_that_are_wrong(xs: Any, ys: Any, error: type[Exception], text: str) -> None:
    step, _ = line()
    with pytest.raises(error, match=text):
        step.value_and_grad(xs, ys)


def test_ragged_rows() -> None:
    ws = [Value(1.0), Value(2.0)]
    step = compile(lambda x: tg.dot(ws, x), ws)
    with pytest.raises(ValueError, match="entry 1 has 3 numbers, and entry 0 has 2 numbers"):
        step.value_and_grad([[1.0, 2.0], [1.0, 2.0, 3.0]])
    with pytest.raises(ValueError, match="entry 1 has a number, and entry 0 has 2 numbers"):
        step.value_and_grad([[1.0, 2.0], 1.0])


def test_wrong_number_of_arguments() -> None:
    step, _ = line()
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        step.value_and_grad([1.0])


def test_closed_buffers() -> None:
    step, _ = line()
    view = memoryview(array("d", [1.0, 2.0]))
    view.release()
    with pytest.raises(ValueError, match="released"):
        step.value_and_grad(view, [1.0, 2.0])
    shut = mmap.mmap(-1, 16)
    shut.close()
    with pytest.raises(ValueError, match=r"closed|invalid"):
        step.value_and_grad(shut, [1.0, 2.0])


def test_bound_calls_work_on_buffers_and_nothing_else() -> None:
    step, (w, b) = line()
    bound = step.bind([1.0, 2.0], [3.0, 6.0], lr=0.1)
    assert bound() == (0.5, array("d", [-2.0, -1.0]))
    assert list(bound.params) == [2.0, 1.0]
    bound.params[0] = 3.0
    assert bound.evaluate() == 0.5 * (1.0 + 1.0)
    assert list(bound.grads) == [3.0, 2.0]
    assert w.data == 2.0
    assert bound.descend() == 1.0
    assert list(bound.params) == pytest.approx([3.0 - 0.3, 1.0 - 0.2])
    bound.write()
    assert [w.data, b.data] == list(bound.params)
    w.data = 5.0
    bound.read()
    assert bound.params[0] == 5.0
    bound.pace = 0.0, 0.0
    before = bytes(bound.params)
    bound.descend()
    assert bytes(bound.params) == before


def test_a_bound_descent_is_training_and_stops_as_training_does() -> None:
    xs, ys = [0.0, 1.0], [1.0, 3.5]
    step, params = line()
    again, others = line()
    losses = step.train(xs, ys, lr=0.05, steps=20, momentum=0.9)
    bound = again.bind(xs, ys, lr=0.05, momentum=0.9)
    assert [bound.descend() for _ in range(20)] == list(losses)
    assert list(bound.params) == [p.data for p in params]
    bound.params[0] = 1e300
    before = bytes(bound.params)
    assert isnan(bound.descend()) and bytes(bound.params) == before
    assert [p.data for p in others] == [2.0, 1.0]


def test_a_bound_function_takes_new_arguments_from_its_buffer() -> None:
    area = compile(lambda r, h: h[0] * r * (r + h[1]))
    bound = area.bind(2.0, [3.0, 1.0])
    for r, a, b in ((2.0, 3.0, 1.0), (1.0, 5.0, -2.0)):
        bound.inputs[:] = array("d", [r, a, b])
        assert bound.evaluate() == a * r * (r + b)
        assert list(bound.grads) == [a * (2 * r + b), r * (r + b), a * r]


def test_bound_calls_read_captured_values() -> None:
    w, c = Value(2.0), Value(3.0)
    for bound in (compile(lambda x: w * x * c, [w]).bind([1.0]), compile(lambda x: x * c * 1.0).bind(2.0)):
        c.data = 3.0
        bound.read()
        assert (bound.evaluate(), list(bound.grads)) == (6.0, [3.0])
        c.data = 5.0
        assert bound.evaluate() == 6.0
        assert bound() == (10.0, array("d", [5.0]))
        assert bound.evaluate() == 10.0
    c.data = 4.0
    fresh = compile(lambda x: w * x * c, [w]).bind([1.0]), compile(lambda x: x * c).bind(2.0)
    assert [bound.evaluate() for bound in fresh] == [8.0, 8.0]


def test_a_bound_call_answers_for_the_values_and_keeps_its_params() -> None:
    w = Value(2.0)
    step = compile(lambda x: w * x, [w])
    bound = step.bind([1.0], lr=0.5)
    assert bound()[0] == 2.0
    bound.params[0] = 50.0
    assert bound()[0] == 2.0
    assert (list(bound.params), bound.descend(), list(bound.params)) == ([50.0], 50.0, [49.5])
    assert bound()[0] == 2.0
    params = bound.params
    bound.release()
    bound.release()
    assert [step.value_and_grad([x])[0] for x in (1.0, 3.0)] == [2.0, 6.0]
    assert list(params) == [49.5]


def test_momentum_begins_at_rest() -> None:
    w = Value(2.0)
    step = compile(lambda x: w * x, [w])
    step.train([1.0], lr=0.5, steps=10, momentum=0.5)
    w.data = 2.0
    bound = step.bind([1.0], lr=0.5, momentum=0.5)
    found = []
    for pace in ((0.5, 0.5), (1, 0.5), (1, 0), (1, 0.5)):  # v: 1, 1.5, none, 1
        bound.pace = pace
        bound.descend()
        found += bound.params
    assert found == [1.5, 0.0, -1.0, -2.0]


def test_a_pace_and_a_velocity_that_are_wrong() -> None:
    step, _ = line()
    for wrong in ((-1.0, 0.0), (nan, 0.0), (0.1, 1.0)):
        with pytest.raises(ValueError, match="pace: lr is from 0 up and momentum from 0 to below 1, not"):
            step.bind([1.0], [1.0], lr=wrong[0], momentum=wrong[1])
    bound = compile(lambda x: x * x).bind(2.0)
    for descend in (lambda: bound.descend(), lambda: bound.take(descent([0.1]))):
        with pytest.raises(TypeError, match=r"has no parameters to descend on: compile\(f, params\)"):
            descend()


def test_functions_without_results() -> None:
    nothing = compile(lambda x: [])
    assert (nothing(1.0), nothing.map([1.0] * 40)) == ([], [[]] * 40)


def test_the_number_of_threads_is_checked() -> None:
    for wrong in (0, -1, 1.5, "2"):
        with pytest.raises(ValueError, match="threads is a whole number from 1 up, not"):
            compile(lambda x: x, threads=wrong)


def test_a_bound_buffer_cannot_be_resized_under_a_call(engine: str) -> None:
    step, _ = line()
    xs, ys = array("d", [1.0, 2.0]), array("d", [3.0, 5.0])
    call = step.bind(xs, ys)
    assert call()[0] == 0.0
    ys[1] = 7.0
    assert call()[0] == 2.0
    if engine == "native":
        with pytest.raises(BufferError):
            xs.append(1.0)


# --- what a graph may not depend on ---


def test_comparisons_while_tracing_name_the_line() -> None:
    def f(x: Any) -> Any:
        if x > 0.0:  # the line that is named
            return x * 2.0
        return x

    with pytest.raises(
        CompileError, match=r"(?s)test_calls.py, line \d+: if x > 0.0:.*tg.where\(tg.gt\(x, 0\)"
    ):
        compile(f)(1.0)
    for g in (lambda x: x if x else -x, lambda x: max(x, 0.0), lambda x: Value(x.data), lambda x: x.detach(),
              lambda x: x * x.item(), lambda x: sorted([x, x * 2.0])[0]):  # fmt: skip
        with pytest.raises(CompileError, match=r"tg\.where\(|tg\.max\(xs\).*tg\.stop_gradient\(v\)"):
            compile(g)(1.0)
    w = Value(1.0)
    with pytest.raises(CompileError, match=r"no_grad"), tg.no_grad():
        compile(frozen_by_no_grad(w), [w]).value([1.0])
    assert w > 0.0  # outside, all is as before


def frozen_by_no_grad(w: Value) -> Any:
    def f(x: Any) -> Any:
        with tg.no_grad():
            c = w * 2.0
        return c * x

    return f


def test_graphs_that_differ_between_two_traces() -> None:
    turns = iter(range(100))
    for f in (
        lambda x: x * float(next(turns)),
        lambda x: x if next(turns) % 2 else x * x,
        lambda x: [x] * next(turns),
    ):
        with pytest.raises(CompileError, match="the graph depends on the data"):
            compile(f)(1.0)


def test_results_that_are_no_numbers() -> None:
    with pytest.raises(TypeError, match="a compiled function returns Values"):
        compile(lambda x: "a")(1.0)
    with pytest.raises(TypeError, match="returned 2 numbers, and one is needed: a loss"):
        compile(lambda x: [x, x], [Value(1.0)]).value([1.0])
    with pytest.raises(TypeError, match="params are leaf Values"):
        compile(lambda x: x, [Value(1.0) * 2.0])
    with pytest.raises(TypeError, match="params are leaf Values"):
        compile(lambda x: x, [1.0])
    twice = Value(1.0)
    with pytest.raises(ValueError, match="twice"):
        compile(lambda x: x, [twice, twice])
    with pytest.raises(TypeError, match="compile takes a function"):
        compile(3.0)


def test_source_and_report_before_the_first_call() -> None:
    step, _ = line()
    for look in (step.source, step.report):
        with pytest.raises(CompileError, match="has not been traced yet"):
            look()
    w = Value(1.0)
    traced = compile(lambda x, y: w * x[0] - y, [w], example=([1.0, 2.0], 3.0))
    assert "def run(S, samples):" in traced.source()
    assert "define double @evaluate" in traced.source("llvm")
    assert "loop nests" in traced.report()
    with pytest.raises(ValueError, match="kind is 'python' or 'matrix' or 'llvm' or 'page', not 'c'"):
        traced.source("c")


# --- Values outside ---


def test_captured_values_are_read_again_at_each_call() -> None:
    w, scale = Value(2.0), Value(3.0)
    doubled = scale * 2.0
    step = compile(lambda x: w * x * doubled, [w])
    assert step.value_and_grad([1.0, 2.0]) == (36.0, array("d", [18.0]))
    scale.data, w.data = 1.0, 5.0
    assert step.value_and_grad([1.0, 2.0]) == (30.0, array("d", [6.0]))
    assert (w.grad, scale.grad) == (0.0, 0.0)


def test_another_structure_is_another_kernel() -> None:
    w = Value(2.0)
    step = compile(lambda x: w * (tg.sum(*x) if isinstance(x, list) else x), [w])
    assert step.value([1.0, 2.0]) == 6.0
    assert step.value([[1.0, 2.0], [3.0, 4.0]]) == 20.0
    assert step.value([[1.0, 2.0, 3.0]]) == 12.0
    assert step.value([1.0, 2.0]) == 6.0


def test_kernels_by_the_width_of_rows_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinygrad_bp.compiler.compiled.KERNELS", 3)
    total = compile(lambda x: (tg.sum(*x), x))
    for width in (1, 2, 3, 4, 5, 1):
        assert total([2.0] * width) == [2.0 * width, [2.0] * width]
        assert len(total._kernels) <= 3


def test_the_users_graph_is_untouched() -> None:
    a = Value(2.0)
    b = a * 3.0
    before = (b.op, b.inputs, b.number, b.data, a.number, a.grad, b.grad)
    compile(lambda x: b * x + b, [a]).value_and_grad([1.0, 2.0])
    assert before == (b.op, b.inputs, b.number, b.data, a.number, a.grad, b.grad)


# --- functions ---


def test_a_function_keeps_its_nesting() -> None:
    h = compile(lambda x, y: ([x * y[0], [x]], y[1]))
    assert h(2.0, [3.0, 4.0]) == [[6.0, [2.0]], 4.0]
    assert h.map([1.0, 2.0], [[3.0, 4.0], [5.0, 6.0]]) == [[[3.0, [1.0]], 4.0], [[10.0, [2.0]], 6.0]]
    n = 100
    assert compile(lambda x: x * x).map([*range(n)]) == [float(i * i) for i in range(n)]


def test_gradients_by_inputs() -> None:
    f = lambda x, y: tg.sin(x) * y[0] + y[1] ** 2  # noqa: E731
    value, (dx, dy) = compile(f).value_and_grad(0.5, [2.0, 3.0])
    truth, (tx, ty) = tg.value_and_grad(f)(0.5, [2.0, 3.0])
    assert [value, dx, *dy] == pytest.approx([truth, tx, *ty], rel=1e-15)


# --- training ---


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("n", [2, 30])
def test_training_follows_the_optimizer(momentum: float, n: int) -> None:
    xs = [i / n for i in range(n)]
    ys = [3.0 * x + 1.0 for x in xs]
    step, params = line()
    losses = step.train(xs, ys, lr=0.1 / n, steps=50, momentum=momentum)
    w, b = Value(2.0), Value(1.0)
    sgd = tg.optim.SGD([w, b], lr=0.1 / n, momentum=momentum)
    for loss in losses:
        sgd.zero_grad()
        total = 0.0
        for x, y in zip(xs, ys):
            out = (w * x + b - y) ** 2 / 2
            out.backward()
            total += out.data
        assert loss == pytest.approx(total, rel=1e-12)
        sgd.step()
    assert [p.data for p in params] == pytest.approx([w.data, b.data], rel=1e-12)
    assert len(losses) == 50


def descent(rates: list[float], *velocity: list[float]) -> Stretch:
    """Steps of gradient descent, with momentum 0.9 if there is a velocity."""
    update, which = Update(descents()), len(velocity)
    sgd = tg.optim.SGD([Value(0.0)], momentum=0.9 * which)
    return Stretch(update, array("d", rates), update.rules[which].shared(sgd), [*velocity], which=which)


def test_graphs_on_trained_parameters_have_their_gradients() -> None:
    """Each parameter that training sets is a leaf of its own to the backward sweep."""
    a, b = Value(2.0), Value(3.0)
    step = compile(lambda x: (a * x - b) ** 2, [a, b])
    old = a * b
    step.train([1.0], lr=0.0, steps=1)
    (a * b).backward()
    assert (a.grad, b.grad) == (3.0, 2.0)
    assert a.number != b.number
    with pytest.raises(StaleGraphError):
        old.backward()


def test_training_in_parts_keeps_its_momentum() -> None:
    xs, ys = [0.0, 1.0], [1.0, 3.0]
    whole, params = line()
    losses = whole.train(xs, ys, lr=0.05, steps=20, momentum=0.9)
    parts, again = line()
    bound, velocity, found = parts.bind(xs, ys), [0.0, 0.0], array("d")
    for steps in (3, 10, 7):
        stretch = descent([0.05] * steps, velocity)
        bound.take(stretch)
        found += stretch.losses
    assert found == losses
    assert [p.data for p in params] == [p.data for p in again]


def on_batches(xs: list[float], size: int) -> tuple[Any, list[Value], Update]:
    step, params = line()
    update = Update(descents()[:1], listed=True)
    return step.prepare(Columns("line", [xs, xs]), update, size, None), params, update


@pytest.mark.parametrize("size", [1, 3, 8, 20])
def test_a_batch_that_names_a_sample_beyond_the_last(size: int) -> None:
    bound, params, update = on_batches([0.1 * i for i in range(20)], size)
    before = [p.data for p in params]
    for place in (0, size - 1, 2 * size - 1):
        for wrong in (20, -1, 1 << 62):
            samples = array("q", [19, 0] * size)
            samples[place] = wrong
            stretch = Stretch(update, array("d", [0.1, 0.1]), [0.0] * 9, samples=samples,
                              lengths=array("q", [size, size]))  # fmt: skip
            with pytest.raises(IndexError, match="a batch names a sample beyond the last, number 19"):
                bound.take(stretch)
    assert [p.data for p in params] == before
    for lengths in ([size], [size, size + 1], [0, 2 * size]):
        stretch = Stretch(update, array("d", [0.1, 0.1]), [0.0] * 9, samples=array("q", [0] * 2 * size),
                          lengths=array("q", lengths))  # fmt: skip
        with pytest.raises(ValueError, match=r"a stretch needs a batch for each step|and is bound for 1 to"):
            bound.take(stretch)


@pytest.mark.parametrize("n", [1, 2, 7, 400])
def test_machine_code_shuffles_as_python_does(n: int) -> None:
    bound, _, _ = on_batches([0.5, 0.25], 1)
    seeds = array("Q", [0, 1, 0x9E3779B97F4A7C15, (1 << 64) - 1])
    orders = bound.shuffle(seeds, n)
    assert orders == shuffled(seeds, n)
    assert all(sorted(orders[i : i + n]) == list(range(n)) for i in range(0, 4 * n, n))


def test_training_that_diverges_stops_before_the_step() -> None:
    step, params = line()
    with pytest.raises(NonFiniteError, match=r"stopped in step \d+: the loss, a gradient or a parameter is"):
        step.train([1.0, 2.0], [1.0, 5.0], lr=1e6, steps=1000)
    assert all(abs(p.data) < inf for p in params)
    for wrong in (
        {"lr": -1.0, "steps": 1},
        {"lr": 1.0, "steps": -1},
        {"lr": 1.0, "steps": 1.5},
        {"lr": 1.0, "steps": 1, "momentum": 1.0},
    ):
        with pytest.raises(ValueError, match="train: "):
            step.train([1.0], [1.0], **wrong)
    before = [p.data for p in params]
    assert len(step.train([1.0], [1.0], lr=1.0, steps=0)) == 0
    assert before == [p.data for p in params]


# --- threads and processes ---


def test_threads() -> None:
    model = tg.MLP(3, [8, 1])
    step = compile(lambda x: model(x) ** 2, model.parameters())
    data = [[[i / 7, j / 5, 0.5] for j in range(30)] for i in range(8)]
    expected = [compile(lambda x: model(x) ** 2, model.parameters()).value_and_grad(rows) for rows in data]
    found: dict[int, list[Any]] = {i: [] for i in range(8)}

    def work(i: int) -> None:
        found[i] += [step.value_and_grad(data[i]) for _ in range(50)]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert all(len(found[i]) == 50 and all(r == expected[i] for r in found[i]) for i in range(8))


def test_an_interrupted_call_leaves_no_thread_waiting(monkeypatch: pytest.MonkeyPatch, engine: str) -> None:
    if engine == "python":
        return
    started: list[threading.Thread] = []

    class Gate:
        """Ctrl-C comes as it opens."""

        def __init__(self) -> None:
            self.lock = threading.Lock()
            self.acquire = self.lock.acquire

        def __enter__(self) -> None:
            self.lock.acquire()

        def __exit__(self, *_: Any) -> None:
            self.lock.release()

        def release(self) -> None:
            self.lock.release()
            raise KeyboardInterrupt

    def thread(**given: Any) -> threading.Thread:
        started.append(threading.Thread(**given))
        return started[-1]

    w = Value(2.0)
    step = compile(lambda x: w * x, [w], threads=2)
    with monkeypatch.context() as patch:
        patch.setattr(frame, "threading", SimpleNamespace(Lock=Gate, Thread=thread))
        with pytest.raises(KeyboardInterrupt):
            step.train([0.5] * 70_000, lr=1e-9, steps=3)
    for t in started:
        t.join(30.0)
    assert started and not any(t.is_alive() for t in started)
    assert w.data == pytest.approx(2.0 - 3 * 1e-9 * 35_000.0, rel=1e-12)  # of the last whole step
    assert step.value([0.5] * 70_000) == pytest.approx(35_000.0 * w.data)


def test_other_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows does not fork, and has another name for letting a thread run."""
    monkeypatch.delattr(os, "register_at_fork", raising=False)
    assert "compiling" in runpy.run_path(locks.__file__)
    for name, expected in (("nt", "SwitchToThread"), ("posix", "sched_yield")):
        monkeypatch.setattr(os, "name", name)
        found = runpy.run_path(calls.__file__)["YIELD"]
        monkeypatch.undo()
        assert found == expected


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_after_fork() -> None:
    step, _ = line()
    truth = step.value_and_grad([1.0, 2.0], [3.0, 4.0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python warns of threads
        child = os.fork()
    if not child:
        again, _ = line()
        same = (
            step.value_and_grad([1.0, 2.0], [3.0, 4.0])
            == truth
            == again.value_and_grad([1.0, 2.0], [3.0, 4.0])
        )
        os._exit(0 if same else 1)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_while_another_thread_compiles(engine: str) -> None:
    """The fork waits for the other thread; a child that found LLVM's locks taken would wait for ever."""
    if engine == "python":
        return
    done = threading.Event()

    def work() -> None:
        while not done.is_set():
            step, _ = line()
            step.value([1.0], [2.0])

    thread = threading.Thread(target=work)
    thread.start()
    ended = []
    for _ in range(12):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python warns of threads
            child = os.fork()
        if not child:
            signal.alarm(60)  # end a child that hangs
            step, _ = line()
            os._exit(0 if step.value([1.0, 2.0], [3.0, 4.0]) == 0.5 else 1)
        ended.append(os.waitpid(child, 0)[1])
    done.set()
    thread.join()
    assert ended == [0] * 12


# --- where there is no machine code ---


def test_without_llvmlite(monkeypatch: pytest.MonkeyPatch, engine: str) -> None:
    if engine == "python":
        return

    def missing() -> Any:
        raise MissingExtraError("native code", "llvmlite", "fast")

    monkeypatch.setattr(native, "llvm", missing)
    monkeypatch.setattr("tinygrad_bp.compiler.backends._warned", set())
    step, _ = line()
    with pytest.warns(
        RuntimeWarning, match=r"generated Python: native code needs llvmlite.*tinygrad_bp\[fast\]"
    ) as found:
        answer = step.value_and_grad([1.0, 2.0], [3.0, 4.0])
        assert step.value_and_grad([1.0, 2.0], [3.0, 4.0]) == answer == (0.5, array("d", [2.0, 1.0]))
    assert len(found) == 1
    assert "generated Python: native code needs llvmlite" in step.report()


STAGES = [
    "initialize_native_target", "get_host_cpu_features", "parse_assembly", "create_pipeline_tuning_options",
    "create_pass_builder", "create_mcjit_compiler", "Target",
]  # fmt: skip


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("error", [OSError, RuntimeError, MemoryError])
def test_a_stage_of_llvm_that_fails(
    stage: str, error: type[Exception], monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    """Generated Python runs, and one line says why; the code itself is in no warning."""
    if engine == "python":
        return
    from llvmlite import binding

    class Failing:
        def __call__(self, *_: Any, **__: Any) -> Any:
            raise error("permission denied\ndefine void @code() {")

        from_default_triple = __call__

    monkeypatch.setattr(binding, stage, Failing())
    monkeypatch.setattr(native, "_ready", {})
    monkeypatch.setattr("tinygrad_bp.compiler.backends._warned", set())
    step, _ = line()
    with pytest.warns(RuntimeWarning, match=r"generated Python: .*: permission denied$") as found:
        assert step.value_and_grad([1.0, 2.0], [3.0, 4.0]) == (0.5, array("d", [2.0, 1.0]))
    assert len(found) == 1


def test_code_baked_for_one_call_that_cannot_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """The code that is there is called without it."""
    step, _ = line()
    bound = step.bind([1.0, 2.0], [3.0, 4.0], lr=0.5)
    monkeypatch.setattr(native, "_memory_can_run", lambda: False)
    assert (bound.evaluate(), bound.descend(), *bound.params) == (0.5, 0.5, 1.0, 0.5)


def test_an_llvmlite_that_is_too_old(monkeypatch: pytest.MonkeyPatch, engine: str) -> None:
    if engine == "python":
        return
    from llvmlite import binding

    monkeypatch.setattr(binding, "llvm_version_info", (15, 0, 7))
    monkeypatch.setattr(native, "_ready", {})
    with pytest.raises(CompileError, match=r"needs llvmlite 0.45 or newer: pip install -U llvmlite$"):
        native.llvm()


FORBIDDEN = """
import ctypes, warnings
from tinygrad_bp import Value
from tinygrad_bp.compiler import compile
REFUSE_EXEC_GAIN = ctypes.CDLL(None).prctl(65, 1, 0, 0, 0) == 0  # PR_SET_MDWE, from Linux 6.3 on
w = Value(2.0)
step = compile(lambda x: w * x, [w])
with warnings.catch_warnings(record=True) as found:
    warnings.simplefilter("always")
    assert step.value_and_grad([3.0])[0] == 6.0
texts = [str(warning.message) for warning in found]
reason = "this process is not allowed to run code that it writes to memory"
assert texts == [f"compiled code runs as generated Python: {reason}"] * REFUSE_EXEC_GAIN, texts
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux's prctl")
def test_where_memory_may_not_be_made_executable(engine: str) -> None:
    if engine == "native":
        subprocess.run([sys.executable, "-c", FORBIDDEN], check=True, timeout=120)


def test_text_that_llvm_refuses_and_functions_that_are_missing(engine: str) -> None:
    if engine == "python":
        return
    with pytest.raises(CompileError, match="LLVM does not accept the code"):
        native.make("define void @run( {")
    text = """declare double @no_such_function(double)
    define void @run() {
        %x = call double @no_such_function(double 1.0)
        ret void
    }"""
    with pytest.raises(CompileError, match="has no no_such_function"):
        native.make(text)


def test_instructions_that_the_processor_lacks(monkeypatch: pytest.MonkeyPatch, engine: str) -> None:
    """LLVM calls the C library instead, and would end the process for a function that is not there."""
    if engine == "python":
        return
    native.llvm()
    features = {**native._ready["features"], "fma": False, "sse4.1": False}
    monkeypatch.setitem(native._ready, "features", features)
    monkeypatch.setattr("tinygrad_bp.compiler.backends._warned", set())
    monkeypatch.setattr(native, "_found", lambda name: name not in ("fma", "roundeven"))
    for f, missing in ((tg.exp, "fma"), (tg.round, "roundeven")):
        with pytest.warns(RuntimeWarning, match=f"the C library here has no {missing}"):
            assert compile(f)(0.0) == f(0.0)


def test_operations_of_ones_own(engine: str) -> None:
    """Python computes them, native code cannot."""
    tg.ops.op("cubed_here", lambda x: x * x * x, lambda o, x: (3.0 * x * x,))
    tg.ops.op(
        "twice_cubed_here",
        lambda x: 2.0 * tg.ops.OPS["cubed_here"](x),
        lambda o, x: (6.0 * x * x,),
        composite=True,
    )
    h = compile(lambda x: tg.ops.OPS["twice_cubed_here"](x))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        assert h.value_and_grad(2.0) == (16.0, 24.0)
    assert "cubed_here" in h.source()


def test_widths_that_were_not_compiled_for() -> None:
    step, _ = line()
    step.value([1.0], [1.0])
    kernel = step._last
    from tinygrad_bp.compiler.columns import Columns

    with pytest.raises(ValueError, match="compiled for"):
        bind(kernel, Columns("f", [[[1.0, 2.0]], [1.0]]))
    assert "define" in emit_llvm(kernel.code, Lanes(2, 12))
