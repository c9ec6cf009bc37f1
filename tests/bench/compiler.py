"""The compiler's figures: steps against NumPy by hand, generated Python against the engine, compile times.

Prints; asserts nothing.  Every ratio is between medians of processor time taken in turns in one process, on
one thread, the garbage collector on; NumPy's BLAS has one thread too.  Goals and floors stand beside the
figures.

    OPENBLAS_NUM_THREADS=1 python tests/bench/compiler.py
"""

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ.pop("OPENBLAS_CORETYPE", None)
os.environ.pop("OPENBLAS_L2_SIZE", None)

import gc
import platform
import random
import statistics
import time
import warnings
from array import array
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

import tinygrad_bp as tg
from tinygrad_bp import Value
from tinygrad_bp.compiler import compile, native
from tinygrad_bp.compiler.compiled import CompiledSum

Layers = list[tuple[Any, Any]]


def main() -> None:
    width = 64 * native.vector_width()
    collector = "on" if gc.isenabled() else "off"
    print(
        f"{processor()}, vectors of {width} bits, Python {platform.python_version()}, NumPy {np.__version__}"
    )
    print(
        f"one thread, garbage collector {collector}, medians of processor time; goal and floor in brackets\n"
    )
    against_numpy("quadratic net 1-100-100-100-1, 240 samples", "2.2, 1.5", quadratic, 20, 500)
    against_numpy("sigmoid 2-2-1, 1 sample, 100 steps in one call", "230, 120", sigmoid, 100, 100)
    against_numpy("moons 2-16-16-1, 100 samples", "10, 6", moons, 100, 1000)
    python_against_eager()
    compile_times()


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def in_turns(functions: Sequence[Callable[[], Any]], rounds: int = 15) -> list[float]:
    """The median processor time of each."""
    times: list[list[float]] = [[] for _ in functions]
    for _ in range(rounds):
        for f, mine in zip(functions, times):
            start = time.process_time()
            f()
            mine.append(time.process_time() - start)
    return [statistics.median(mine) for mine in times]


# --- nets, with the same step by hand in NumPy --------------------------------------------------------------


def quadratic() -> tuple[CompiledSum, list[Any], Callable[[], Any]]:
    xs = [-7.0 + 0.05 * i for i in range(240)]
    ys = [x * x + 2.0 * x - 3.0 for x in xs]
    model = tg.MLP(1, [100, 100, 100, 1], rng=random.Random(1))
    step = compile(lambda x, y: tg.losses.squared_error(model([x]), y), model.parameters())
    layers = matrices([1, 100, 100, 100, 1])
    a, b = np.array([xs]), np.array([ys])
    return step, [array("d", xs), array("d", ys)], lambda: relu_step(layers, a, b, lambda o, y: o - y)


def moons() -> tuple[CompiledSum, list[Any], Callable[[], Any]]:
    xs, ys = tg.data.moons(100)
    signs = [2.0 * y - 1.0 if min(ys) == 0 else float(y) for y in ys]
    model = tg.MLP(2, [16, 16, 1], rng=random.Random(1))
    step = compile(lambda x, y: tg.losses.hinge(model(x), y), model.parameters())
    layers = matrices([2, 16, 16, 1])
    a, b = np.array(xs).T.copy(), np.array([signs])
    return step, [xs, signs], lambda: relu_step(layers, a, b, lambda o, y: np.where(y * o < 1.0, -y, 0.0))


def sigmoid() -> tuple[CompiledSum, list[Any], Callable[[], Any]]:
    model = tg.MLP(2, [2, 1], act="sigmoid", out_act="sigmoid", rng=random.Random(1))

    def loss(x: Any, y: Any) -> Any:
        d = model(x) - y
        return d * d * 0.5

    (w1, b1), (w2, b2) = matrices([2, 2, 1])
    x, y = np.array([[0.5], [0.2]]), np.array([[1.0]])

    def by_hand() -> None:
        h = 1.0 / (1.0 + np.exp(-(w1.dot(x) + b1)))
        o = 1.0 / (1.0 + np.exp(-(w2.dot(h) + b2)))
        d2 = (o - y) * o * (1.0 - o)
        d1 = w2.T.dot(d2) * h * (1.0 - h)
        for p, g in ((w2, d2.dot(h.T)), (b2, d2), (w1, d1.dot(x.T)), (b1, d1)):
            p -= 1e-9 * g

    return compile(loss, model.parameters()), [[[0.5, 0.2]], [1.0]], by_hand


def matrices(sizes: list[int]) -> Layers:
    rng = np.random.default_rng(0)
    return [(rng.uniform(-1.0, 1.0, (b, a)) / a**0.5, np.zeros((b, 1))) for a, b in pairwise(sizes)]


def relu_step(layers: Layers, x: Any, y: Any, slope: Callable[[Any, Any], Any]) -> None:
    """One step of gradient descent as one writes it by hand."""
    activations = [x]
    for i, (w, b) in enumerate(layers):
        z = w.dot(activations[-1]) + b
        activations.append(np.maximum(z, 0.0) if i < len(layers) - 1 else z)
    d = slope(activations[-1], y)
    for i in reversed(range(len(layers))):
        w, b = layers[i]
        dw, db = d.dot(activations[i].T), d.sum(axis=1, keepdims=True)
        if i:
            d = w.T.dot(d) * (activations[i] > 0.0)
        w -= 1e-9 * dw
        b -= 1e-9 * db


def against_numpy(what: str, marks: str, build: Callable[[], Any], by_hand: int, steps: int) -> None:
    step, data, numpy_step = build()
    train = step._bound("grads", data).train
    step.train(*data, lr=1e-9, steps=1)

    def repeated() -> None:
        for _ in range(by_hand):
            numpy_step()

    calls = max(1, 2000 // steps)

    def trained() -> None:
        for _ in range(calls):
            train(steps, 1e-9, 0.0)

    hand, compiled = in_turns([repeated, trained])
    hand, compiled = hand / by_hand, compiled / steps / calls
    figures = f"NumPy {hand * 1e6:.3g} µs, compiled {compiled * 1e6:.3g} µs: {hand / compiled:.3g} x"
    print(f"{what}: {figures}  [{marks}]")


# --- Python, and the time it takes to compile ---------------------------------------------------------------


def python_against_eager() -> None:
    for sizes, n in (([2, 16, 16, 1], 100), ([1, 100, 100, 100, 1], 48)):
        model = tg.MLP(sizes[0], sizes[1:], rng=random.Random(1))
        step = compile(lambda x, y, model=model: tg.losses.squared_error(model(x), y), model.parameters())
        rng = random.Random(2)
        xs = [[rng.uniform(-1.0, 1.0) for _ in range(sizes[0])] for _ in range(n)]
        ys = [rng.uniform(-1.0, 1.0) for _ in range(n)]
        step._kernel("grads", ((None,) * sizes[0], None)).reason = "Python is measured here"
        call = step.bind(xs, ys)

        def eager(model: Any = model, xs: Any = xs, ys: Any = ys) -> None:
            for p in model.parameters():
                p.grad = 0.0
            for x, y in zip(xs, ys):
                tg.losses.squared_error(model(x), y).backward()

        slow, quick = in_turns([eager, call], 7)
        name = "-".join(map(str, sizes))
        print(f"generated Python, {name}: eager {slow * 1e3:.3g} ms, compiled {quick * 1e3:.3g} ms: "
              f"{slow / quick:.3g} x  [10, 8]")  # fmt: skip


def compile_times() -> None:
    for what, marks, build in (
        ("quadratic net", "0.6, 1.2", lambda: dense([1, 100, 100, 100, 1], 240)),
        ("784-100-10", "3, 6", lambda: dense([784, 100, 10], 128)),
        ("a graph of 10,000 operations that do not roll", "2, 4", lambda: irregular(6_000)),
    ):
        step, data = build()
        start = time.process_time()
        step.value_and_grad(*data)
        print(f"first call, {what}: {time.process_time() - start:.3g} s  [{marks}]")
        print("  " + step.report().splitlines()[0])


def dense(sizes: list[int], n: int) -> tuple[CompiledSum, list[Any]]:
    model = tg.MLP(sizes[0], sizes[1:], rng=random.Random(1))
    out = sizes[-1]

    def loss(x: Any, y: Any) -> Any:
        return tg.losses.cross_entropy(model(x), y) if out > 1 else tg.losses.squared_error(model(x), y)

    target: Any = [1.0] + [0.0] * (out - 1) if out > 1 else 1.0
    return compile(loss, model.parameters()), [[[0.5] * sizes[0]] * n, [target] * n]


def product(a: Any, b: Any) -> Any:
    return a * b


def halved(a: Any, b: Any) -> Any:
    return a + 0.5 * b


def difference(a: Any, b: Any) -> Any:
    return tg.tanh(a - b)


def sine(a: Any, b: Any) -> Any:
    return tg.sin(a)


def irregular(n: int) -> tuple[CompiledSum, list[Any]]:
    """So many operations at random, which with their derivatives are 10,000 statements."""
    ws = [Value(i / 50) for i in range(50)]

    def loss(x: Any) -> Any:
        rng, pool = random.Random(0), [x, *ws]
        for _ in range(n):
            a, b = rng.choice(pool[-60:]), rng.choice(pool[-60:])
            make = rng.choice((product, halved, difference, sine))
            pool.append(make(a, b))
        return tg.tanh(tg.sum(*pool[-60:]))

    return compile(loss, ws), [[0.5] * 240]


if __name__ == "__main__":
    warnings.simplefilter("ignore", RuntimeWarning)
    main()
