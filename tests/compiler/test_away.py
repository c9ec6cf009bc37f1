"""Parameters whose numbers stay in compiled code between calls: whoever looks sees what training left."""

import copy
import gc
import pickle
import threading
import tracemalloc
from array import array
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import tinygrad_bp as tg
from tinygrad_bp import StaleGraphError, Value
from tinygrad_bp.compiler import away, compile
from tinygrad_bp.compiler.away import _Away
from tinygrad_bp.compiler.backends.llvm.frame import Native

XS, YS = [1.0, 2.0, 3.0], [2.0, 4.0, 7.0]


@pytest.fixture(autouse=True)
def machine_code() -> None:
    pytest.importorskip("llvmlite")


class Line:
    """w * x + b, trained by two calls; `before` is a graph built on the parameters before."""

    def __init__(self, calls: int = 2) -> None:
        self.w, self.b = self.params = [Value(0.5, "w"), Value(0.25, "b")]
        self.before = self.w * self.b
        self.step = compile(self.loss, self.params)
        for _ in range(calls):
            self.train()

    def loss(self, x: Any, y: Any) -> Any:
        return (self.w * x + self.b - y) ** 2 / 2

    def train(self, steps: int = 3) -> array:
        found: array = self.step.train(XS, YS, lr=0.01, steps=steps)
        return found

    def away(self) -> bool:
        return all(type(p) is _Away for p in self.params)


@pytest.fixture(scope="module")
def truth() -> tuple[float, float]:
    """The parameters after as many steps of the optimizer."""
    line = Line(calls=0)
    sgd = tg.optim.SGD(line.params, lr=0.01)
    for _ in range(6):
        sgd.zero_grad()
        sum([line.loss(x, y) for x, y in zip(XS, YS)]).backward()
        sgd.step()
    return line.w.data, line.b.data


LOOKS: dict[str, Callable[[Line], Any]] = {
    "data": lambda line: [p.data for p in line.params],
    "the other one first": lambda line: [p.data for p in reversed(line.params)][::-1],
    "item": lambda line: [p.item() for p in line.params],
    "text": lambda line: [float(f"{p:.17g}") for p in line.params],
    "an operation": lambda line: [(p * 1.0).data for p in line.params],
    "a dot": lambda line: [tg.dot([p], [Value(1.0)]).data for p in line.params],
    "detach": lambda line: [p.detach().data for p in line.params],
    "a copy": lambda line: [copy.copy(p).data for p in line.params],
    "a deep copy": lambda line: [p.data for p in copy.deepcopy(line.params)],
    "a pickle": lambda line: [p.data for p in pickle.loads(pickle.dumps(line.params))],
    "another compiled function": lambda line: compile(lambda x: line.w * x + line.b, line.params)
    .value_and_grad([1.0])[1] and [line.w.data, line.b.data],
    "captured Values": lambda line: compile(lambda x, y: [line.w * x, line.b * y])(1.0, 1.0),
    "bound parameters": lambda line: [*line.step.bind(XS, YS).params],
    "comparing": lambda line: [line.w.data, line.b.data] if line.w > 0.5 and line.b > 0.25 else [],
    "gradcheck": lambda line: tg.gradcheck(lambda: line.loss(1.0, 2.0), params=line.params)
    and [line.w.data, line.b.data],
}  # fmt: skip


@pytest.mark.parametrize("name", LOOKS)
def test_whoever_looks_sees_the_trained_numbers(name: str, truth: tuple[float, float]) -> None:
    line = Line()
    assert line.away()
    assert LOOKS[name](line) == pytest.approx(truth, rel=1e-12)
    assert not any(type(p) is _Away for p in line.params)


def test_training_goes_on_whether_anybody_looked_or_not() -> None:
    looked, left = Line(calls=0), Line(calls=0)
    losses = [left.train() for _ in range(9)]
    assert left.away()
    for expected in losses:
        assert looked.train() == expected
        assert [p.data for p in looked.params]
    assert [p.data for p in left.params] == [p.data for p in looked.params]


def test_a_parameter_that_is_set_is_what_training_starts_from() -> None:
    line, other = Line(), Line(calls=0)
    line.w.data, line.b.data = 0.5, 0.25
    assert line.train() == other.train()


def test_graphs_from_before_are_stale_and_new_ones_are_not() -> None:
    line = Line()
    with pytest.raises(StaleGraphError):
        line.before.backward()
    line = Line()
    loss = line.loss(1.0, 2.0)
    loss.backward()
    assert line.w.grad == line.b.grad != 0.0
    line.train()
    with pytest.raises(StaleGraphError):
        loss.backward()


def test_every_creation_number_is_of_its_own() -> None:
    line = Line()
    newest = Value(0.0).number
    assert newest < line.w.number != line.b.number > newest


def test_gradients_stay_where_they_are() -> None:
    line = Line(calls=1)
    line.w.grad = 3.0
    line.train()
    assert line.away() and line.w.grad == 3.0 and line.away()
    line.w.grad = 4.0
    assert line.w.data and line.w.grad == 4.0


def test_the_optimizer_and_fit_go_on_from_the_trained_numbers(truth: tuple[float, float]) -> None:
    line = Line()
    sgd = tg.optim.SGD(line.params, lr=1.0)
    line.w.grad, line.b.grad = 0.5, 0.0
    assert line.away()
    sgd.step()
    assert [line.w.data, line.b.data] == pytest.approx([truth[0] - 0.5, truth[1]])
    line = Line()
    tg.fit(lambda x: line.w * x[0] + line.b, ([[x] for x in XS], YS), tg.losses.squared_error,
           tg.optim.SGD(line.params, lr=0.0), steps=2, engine="compiled", progress=False)  # fmt: skip
    assert [line.w.data, line.b.data] == pytest.approx(truth)


def test_the_class_of_a_parameter_makes_values() -> None:
    line = Line()
    made = type(line.w)(2.0, "made")
    assert type(made) is Value and (made.data, made.label) == (2.0, "made")
    assert isinstance(line.w, Value) and type(line.w).__name__ == "Value" and line.away()


def test_a_class_of_the_users_stays() -> None:
    class Weight(Value):
        __slots__ = ()

    w = Weight(0.5)
    step = compile(lambda x, y: (w * x - y) ** 2, [w])
    for _ in range(3):
        step.train(XS, YS, lr=0.01, steps=1)
    assert type(w) is Weight and w.data != 0.5


def test_what_is_written_to_bound_memory_is_not_seen_before_write() -> None:
    line = Line()
    bound = line.step.bind(XS, YS)
    trained = list(bound.params)
    bound.params[0] = 100.0
    assert [p.data for p in line.params] == trained
    bound.write()
    assert line.w.data == 100.0


def test_other_data_and_sizes_between_the_calls() -> None:
    line, other = Line(), Line()
    assert other.away()
    assert [p.data for p in other.params]
    for n in (1, 40, 3):
        xs = [0.01 * i for i in range(n)]
        assert line.step.train(xs, xs, lr=0.01, steps=2) == other.step.train(xs, xs, lr=0.01, steps=2)
        assert other.w.data == Value(other.w.data).data
    assert line.w.data == other.w.data


def test_a_step_that_is_not_finite_leaves_the_numbers_before() -> None:
    line = Line()
    assert line.away()
    with pytest.raises(tg.NonFiniteError):
        line.step.train(XS, YS, lr=1e200, steps=5)
    reference = Line()
    with pytest.raises(tg.NonFiniteError):
        assert reference.w.data and reference.step.train(XS, YS, lr=1e200, steps=5)
    assert [p.data for p in line.params] == [p.data for p in reference.params]


def test_another_thread_looks_while_steps_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    expected, seen, go = Line(), [], Native.go
    line = Line()

    def looking(self: Any, name: str, frames: Any = None) -> Any:
        done = go(self, name, frames)
        thread = threading.Thread(target=lambda: seen.extend(p.data for p in line.params))
        thread.start()
        thread.join()
        return done

    assert line.away()
    monkeypatch.setattr(Native, "go", looking)
    line.train()
    monkeypatch.setattr(Native, "go", go)
    assert seen == [p.data for p in expected.params]  # as before the call
    expected.train()
    assert [p.data for p in line.params] == [p.data for p in expected.params]


def test_ctrl_c_on_the_way_home(monkeypatch: pytest.MonkeyPatch) -> None:
    expected, line, ticks = Line(), Line(), raising()
    assert line.away()
    monkeypatch.setattr(away, "tick", lambda: next(ticks))
    with pytest.raises(KeyboardInterrupt):
        assert line.w.data
    monkeypatch.undo()
    assert type(line.w) is Value and type(line.b) is _Away
    line.w.data += 1.0
    assert [line.b.data, line.w.data - 1.0] == pytest.approx([expected.b.data, expected.w.data])
    assert line.b.number > line.before.number


def raising() -> Iterator[int]:
    yield tg.engine.tick()
    raise KeyboardInterrupt


def test_looking_after_every_call_writes_the_numbers_back(monkeypatch: pytest.MonkeyPatch) -> None:
    line, gone = Line(calls=0), 0
    for _ in range(64):
        line.train(steps=1)
        gone += line.away()
        assert line.w.data
    assert 1 <= gone <= 8


def test_parameters_that_nobody_holds_are_freed() -> None:
    def once() -> None:
        ws = [Value(0.001 * i) for i in range(2000)]
        step = compile(lambda x: tg.dot(ws, x) ** 2, ws)
        for _ in range(2):
            step.train([[0.01] * 2000], lr=0.0, steps=1)
        assert type(ws[0]) is _Away

    once()
    tracemalloc.start()
    try:
        once()
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(3):
            once()
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] - before < 100_000
    finally:
        tracemalloc.stop()
