"""Large graphs: sums of 10,000 terms, code that does not roll, graphs of 100,000 operations.

They compile, or are refused with a reason, in seconds; nothing recurses and nothing ends the process.
"""

import random
import time
import warnings
from typing import Any

import pytest

import tinygrad_bp as tg
from tinygrad_bp import Value
from tinygrad_bp.compiler import compile
from tinygrad_bp.errors import CompileError

pytestmark = pytest.mark.filterwarnings("ignore:compiled code runs as generated Python")


def irregular(n: int) -> tuple[Any, list[Value]]:
    """A loss of about n operations wired at random, and its parameters."""
    ws = [Value(i / 50) for i in range(50)]

    def loss(x: Any) -> Any:
        rng, pool = random.Random(0), [x, *ws]
        for _ in range(n):
            a, b = rng.choice(pool[-60:]), rng.choice(pool[-60:])
            pool.append(rng.choice([product, difference, sine])(a, b))
        return tg.tanh(tg.sum(*pool[-60:]))

    return loss, ws


def product(a: Any, b: Any) -> Any:
    return a * b


def difference(a: Any, b: Any) -> Any:
    return tg.tanh(a - b)


def sine(a: Any, b: Any) -> Any:
    return tg.sin(a + 0.5 * b)


@pytest.mark.parametrize("n", [300, 3_000, 12_000])
def test_code_that_does_not_roll(n: int) -> None:
    """With full effort of LLVM, with less, with none; both emitters."""
    loss, ws = irregular(n)
    leaf = Value(0.5)
    truth = tg.gradients(loss(leaf), ws)
    size = max(map(abs, truth))
    step, in_python = compile(loss, ws), compile(loss, ws)
    in_python._kernel("grads", (None,)).reason = "a test asks for Python"
    for compiled in (step, in_python) if n < 12_000 else (step,):
        grads = compiled.value_and_grad([0.5])[1]
        assert all(abs(a - b) <= 1e-11 * size for a, b in zip(grads, truth))


def chain(n: int) -> tuple[Any, list[Value]]:
    w = Value(0.5)

    def loss(x: Any) -> Any:
        for _ in range(n):
            x = tg.sin(x * w + 0.5)
        return x

    return loss, [w]


def test_100_000_operations_are_refused_in_seconds() -> None:
    """A chain that deep has no loops; the time is the processor's, and generous."""
    loss, ws = chain(33_000)
    step = compile(loss, ws)
    start = time.process_time()
    with pytest.raises(CompileError, match="operations that no loop covers: use the engine itself"):
        step.value_and_grad([0.5])
    assert time.process_time() - start < 30.0


def test_100_000_operations_that_roll() -> None:
    model = tg.MLP(100, [200, 100, 1])
    step = compile(lambda x: model(x) ** 2, model.parameters())
    rows = [[(i + j) % 7 / 7 for j in range(100)] for i in range(3)]
    loss, grads = step.value_and_grad(rows)
    sums = [0.0] * len(grads)
    for row in rows:
        for i, g in enumerate(tg.gradients(model([Value(x) for x in row]) ** 2, model.parameters())):
            sums[i] += g
    size = max(map(abs, sums))
    assert all(abs(a - b) <= 1e-13 * size for a, b in zip(grads, sums))
    assert loss > 0.0


def test_a_wide_sum_of_sums() -> None:
    """Logarithm of a sum of 3,000 exponentials: a chain of maxima, and long sums of choices."""
    ws = [Value(i % 17 / 17) for i in range(3_000)]
    f = lambda x: tg.logsumexp(*[w * x for w in ws])  # noqa: E731
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loss, grads = compile(f, ws).value_and_grad([2.0])
    x = Value(2.0)
    o = f(x)
    assert loss == pytest.approx(o.data, rel=1e-14)
    assert list(grads) == pytest.approx(tg.gradients(o, ws), rel=1e-12)
