"""A step that is refused leaves an optimizer as it was, whatever it keeps; and no parameter moves alone."""

import math
import random
from array import array
from collections import Counter, OrderedDict, defaultdict, deque
from dataclasses import dataclass

import numpy as np
import pytest

import tinygrad_bp as tg
from tinygrad_bp import NonFiniteError, Value, fit
from tinygrad_bp.optim import SGD, Adam, Optimizer
from tinygrad_bp.undo import undoing

pytestmark = pytest.mark.filterwarnings("ignore:fit moves the parameters in Python")


@dataclass
class Account:
    """An object of the user's, as part of an optimizer's state."""

    count: int
    sums: list


class Slotted:
    __slots__ = ("count", "moments")

    def __init__(self):
        self.count, self.moments = 0, {}


class Everything(SGD):
    """Keeps its state in every way there is, and changes all of it in each step."""

    def __init__(self, parameters, lr):
        super().__init__(parameters, lr)
        self.counter = 0
        self.pair = (0.0, [0.0])
        self.nested = [[0.0, [0.0]], {"a": {"b": [1]}}]
        self.by_parameter = dict.fromkeys(self.parameters, 0.0)
        self.by_default = defaultdict(float)
        self.ordered, self.seen, self.bag = OrderedDict(a=1), {1}, Counter("ab")
        self.recent, self.packed, self.raw = deque([0.0], maxlen=3), array("d", [0.0]), bytearray(b"a")
        self.rng = random.Random(3)
        self.account, self.slotted = Account(0, [1.0]), Slotted()
        self.moments = np.zeros(2)
        self.average = [Value(p.data) for p in self.parameters]
        self.me = self

    def step(self):
        super().step()
        self.counter += 1
        self.pair[1][0] += 1.0
        self.pair = (1.0, self.pair[1])
        self.nested[0][1].append(2.0)
        self.nested[1]["a"]["b"][0] += 1
        for p in self.parameters:
            self.by_parameter[p] += 1.0
            self.by_default[id(p)] += 1.0
        self.ordered["b"], self.bag["c"] = 2, 5
        self.ordered.move_to_end("a")
        self.seen.add(len(self.seen) + 5)
        self.recent.append(1.0)
        self.packed.append(1.0)
        self.raw += b"b"
        self.rng.random()
        self.account.count += 1
        self.account.sums.append(0.0)
        self.slotted.count += 1
        self.slotted.moments["new"] = 1.0
        self.moments += 1.0
        for average, p in zip(self.average, self.parameters):
            average.data = p.data * 0.5
        self.made_in_the_step = True

    def look(self):
        state = {name: x for name, x in vars(self).items() if name not in ("parameters", "me", "batches")}
        state["rng"], state["slotted"] = self.rng.getstate(), (self.slotted.count, dict(self.slotted.moments))
        state["average"] = [v.data for v in self.average]
        state["by_parameter"] = [*self.by_parameter.values()]
        state["moments"] = self.moments.tolist()
        return repr(state)


@pytest.mark.parametrize("engine", ["eager", "compiled"])
def test_all_state_comes_back(engine):
    model = tg.Neuron(1, nonlin=False, weights=lambda *_: -3.0)
    optimizer = Everything(model.parameters(), lr=0.0)
    data, loss = ([[1e3]], [0.0]), lambda p, y: p * p
    fit(model, data, loss, optimizer, 2, engine=engine)
    before, numbers, same = optimizer.look(), model.state_dict(), optimizer.nested
    optimizer.lr = 1e305
    with pytest.raises(NonFiniteError, match="lower the learning rate"):
        fit(model, data, loss, optimizer, 1, engine=engine)
    optimizer.lr = 0.0
    assert optimizer.look() == before
    assert model.state_dict() == numbers
    assert optimizer.nested is same
    assert not hasattr(optimizer, "made_in_the_step") or "made_in_the_step" in before


class HandWritten(Optimizer):
    """Adam as people write it, with its step counter as a number."""

    def __init__(self, parameters, lr):
        super().__init__(parameters, lr)
        self.count, self.m, self.v = 0, [0.0] * len(self.parameters), [0.0] * len(self.parameters)

    def step(self):
        self.count += 1
        for i, p in enumerate(self.parameters):
            self.m[i] = 0.9 * self.m[i] + 0.1 * p.grad
            self.v[i] = 0.99 * self.v[i] + 0.01 * p.grad * p.grad
            p.data -= self.lr * self.m[i] / (math.sqrt(self.v[i]) + 1e-8) / (1.0 - 0.9**self.count)


@pytest.mark.parametrize("engine", ["eager", "compiled"])
@pytest.mark.parametrize("kind", [HandWritten, Adam])
def test_the_counter_of_an_adam_is_not_ahead(engine, kind):
    model = tg.Neuron(1, nonlin=False, weights=lambda *_: 1.0)
    data, loss = ([[1.0]], [0.0]), lambda p, y: p * p
    refused, plain = kind(model.parameters(), lr=0.1), kind(model.parameters(), lr=0.1)
    model.w[0].data, refused.lr = 1e308, 1.7e308
    with pytest.raises(NonFiniteError, match="lower the learning rate"):
        fit(model, data, lambda p, y: -p, refused, 5, engine=engine)
    model.w[0].data, refused.lr = 1.0, 0.1
    start = model.state_dict()
    assert (refused.m, refused.v) == ([0.0] * 2, [0.0] * 2)
    fit(model, data, loss, refused, 3, engine=engine)
    after = model.state_dict()
    model.load_state_dict(start)
    fit(model, data, loss, plain, 3, engine=engine)
    assert model.state_dict() == after


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_a_step_that_raises_moves_nothing(error):
    class Half(HandWritten):
        def step(self):
            super().step()
            self.parameters[0].data += 1.0
            raise error

    model = tg.Neuron(1, nonlin=False, weights=lambda *_: 1.0)
    optimizer, before = Half(model.parameters(), lr=0.1), model.state_dict()
    with pytest.raises(error):
        fit(model, ([[1.0]], [0.0]), lambda p, y: p * p, optimizer, 1)
    assert model.state_dict() == before
    assert (optimizer.count, optimizer.m) == (0, [0.0] * 2)


def test_what_did_not_move_is_not_stale():
    p, q = Value(1.0), Value(2.0)
    out = p * 3.0
    undo = undoing([p, q])
    q.data = 5.0
    undo()
    out.backward()
    assert (p.grad, q.data) == (3.0, 2.0)


def test_an_ordered_dict_comes_back_in_order_however_often():
    class Loud(OrderedDict):
        def __setitem__(self, key, value):
            raise AssertionError("the user's own method is not called")

    for state in OrderedDict(b=2, a=1), Loud():
        OrderedDict.__setitem__(state, "c", 3)
        before = repr(state)
        for _ in range(3):
            undo = undoing(state)
            OrderedDict.__setitem__(state, "d", 4)
            state.move_to_end("c")
            OrderedDict.__delitem__(state, "c")
            undo()
            assert repr(state) == before
            assert [*reversed(state)] == [*reversed([*state])]


@pytest.mark.not_wasm
def test_deep_and_circular_state():
    deep = []
    for _ in range(100_000):
        deep = [deep]
    state = {"deep": deep, "rng": random.Random(0), "f": len, "kind": int, "none": None}
    state["state"] = state
    undo = undoing(state)
    state["rng"].random()
    state.pop("none")
    undo()
    assert state["none"] is None
    assert state["rng"].getstate() == random.Random(0).getstate()
