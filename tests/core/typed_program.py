"""A user's program that test_types.py has type-checked; it is not run.

What editors show is what is asserted here: none of these is Any.
"""

import random
from typing import TYPE_CHECKING

import tinygrad_bp as tg
from tinygrad_bp import MLP, Layer, Module, Neuron, Value, grad
from tinygrad_bp.engine import Value as EngineValue
from tinygrad_bp.losses import mse
from tinygrad_bp.optim import SGD

if TYPE_CHECKING:
    from typing_extensions import assert_type

    a, b = Value(2.0, label="a"), EngineValue(-3)
    for v in (a + b, a * 2.0, 2 * a, 1.0 - a / b, a**2, 2**a, a**b, a % b, -a, abs(a), round(a), round(a, 2)):
        assert_type(v, Value)
    for w in (a.tanh(), a.clip(0.0, 1.0), a.max(3), a.detach(), tg.exp(a), tg.sum([a, b]), tg.dot([a], [b])):
        assert_type(w, Value)
    assert_type(tg.where(tg.gt(a, 0.0), a, 0.0), Value)
    assert_type(a * b + 1.0, Value)
    assert_type(a**2, Value)
    assert_type(round(a), Value)
    assert_type(tg.exp(1.0), float)
    assert_type(a.data, float)
    assert_type(a.grad, float)
    assert_type(a.item(), float)
    assert_type(a > b, bool)
    assert_type(a.inputs, tuple[Value, ...])

    class Line(Module):
        def __init__(self) -> None:
            self.slope, self.shift = Value(1.0), Value(0.0)

        def __call__(self, x: list[float]) -> Value:
            return self.slope * x[0] + self.shift

    line, model = Line(), MLP(2, [16, 1], act="tanh", rng=random.Random(0))
    assert_type(model.parameters(), list[Value])
    assert_type(Neuron(2)([1.0, 2.0]), Value)
    assert_type(Layer(2, 1).named_parameters(), list[tuple[str, Value]])
    history = tg.fit(line, ([1.0], [2.0]), mse, SGD(line.parameters(), lr=0.1), steps=3)
    assert_type(history.losses, list[float])
    grad(lambda x: x.tanh())(0.0)
    a.backward()

    MLP(2, [1], seed=0)  # error: a keyword that does not exist
    tg.optim.Adm  # error: a name that a module does not have  # noqa: B018
    tg.tahn(a)  # error: nor the package
    a.tahn().cosh().anything  # a method may be an operation that you declared  # noqa: B018
