"""CasADi: the graph built once and called on bound buffers, by its virtual machine and as C from gcc -O3.

Small nets are scalar graphs of one sample (SX), mapped over the batch; large ones graphs of matrices (MX).
"""

import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import casadi
import numpy as np
from timing import Contender, seconds
from works import LR, POINT, Net, flat, formula, tangle

NAME = "CasADi"
VERSION = f"CasADi {casadi.__version__}"
COMPILED = {
    "jit": True,
    "jit_cleanup": False,  # the folder is removed as a whole
    "compiler": "shell",
    "jit_options": {
        "flags": ["-O3 -march=native -ffast-math"],
        "linker_flags": ["-lmvec -lm"] if platform.libc_ver()[0] == "glibc" else ["-lm"],
        "cleanup": False,
    },
}
WAYS = [("", {})] + ([(" and gcc -O3", COMPILED)] if shutil.which("gcc") else [])
SCALAR = 1_000  # weights: up to here as a scalar graph in C; beyond, gcc takes minutes
MAPPED = 25_000  # and up to here a scalar graph at all
LARGE = 100_000  # matrices of more numbers are beyond what its plain loops are for


def contenders(net: Net, threads: int) -> list[Contender]:
    size = sum(a * b for a, b in pairwise(net.sizes))
    if threads > 1 or size > LARGE:
        return []
    found = []
    if size <= MAPPED:
        ways = WAYS if size <= SCALAR else WAYS[:1]
        found += [bound_step(net, summed(net), f"CasADi, scalars{how}", options) for how, options in ways]
    if size > SCALAR:
        found += [bound_step(net, matrices(net), f"CasADi, matrices{how}", options) for how, options in WAYS]
    if net.samples == 1:
        found.append(looped(net, *WAYS[-1]))
    return found


def unpacked(net: Net, p: Any) -> list[tuple[Any, Any]]:
    """Weights and biases of each layer out of one vector."""
    sizes = [n for a, b in pairwise(net.sizes) for n in (a * b, b)]
    parts = casadi.vertsplit(p, np.cumsum([0, *sizes]).tolist())
    shapes = list(pairwise(net.sizes))
    return [(casadi.reshape(w, b, a), v) for w, v, (a, b) in zip(parts[::2], parts[1::2], shapes)]


def packed(net: Net) -> Any:
    return np.concatenate([part for w, b in net.start() for part in (np.array(w).ravel("F"), np.array(b))])


def ours(net: Net, p: Any) -> list[float]:
    """The vector's numbers in the order of our parameters."""
    return flat((np.array(w), np.array(v)[:, 0]) for w, v in unpacked(net, casadi.DM(p)))


def loss_of(net: Net, p: Any, x: Any, y: Any) -> Any:
    """The loss of the columns of x, summed; `y` is a row, for classes a matrix of ones and zeros."""
    acts = {
        "relu": lambda z: casadi.fmax(z, 0.0),
        "sigmoid": lambda z: 1.0 / (1.0 + casadi.exp(-z)),
        None: lambda z: z,
    }
    layers, h = unpacked(net, p), x
    for (w, b), act in zip(layers, [net.act] * (len(layers) - 1) + [net.out_act]):
        h = acts[act](casadi.mtimes(w, h) + casadi.repmat(b, 1, x.shape[1]))
    if net.loss == "cross entropy":
        return casadi.sum2(casadi.log(casadi.sum1(casadi.exp(h)))) - casadi.dot(h, y)
    if net.loss == "hinge":
        return casadi.sum2(casadi.fmax(1.0 - y * h, 0.0))
    return 0.5 * casadi.sumsqr(h - y)


def data(net: Net) -> tuple[Any, Any]:
    x, y = np.array(net.inputs).T, np.array([net.targets])
    return x, np.eye(net.sizes[-1])[:, y[0].astype(int)] if net.loss == "cross entropy" else y


def both(net: Net, kind: Any, samples: int) -> Any:
    """(p, x, y) to the loss and its gradient."""
    x, y = data(net)
    p = kind.sym("p", len(packed(net)))
    x, y = kind.sym("x", x.shape[0], samples), kind.sym("y", y.shape[0], samples)
    loss = loss_of(net, p, x, y)
    return casadi.Function("both", [p, x, y], [loss, casadi.gradient(loss, p)])


def summed(net: Net) -> Any:
    one = both(net, casadi.SX, 1)
    return one if net.samples == 1 else one.map("summed", "serial", net.samples, [0], [0, 1])


def matrices(net: Net) -> Any:
    return both(net, casadi.MX, net.samples)


@contextmanager
def elsewhere() -> Iterator[None]:
    """The C files that it writes go where they can be thrown away."""
    before = os.getcwd()  # noqa: PTH109
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(before)


def step_of(both: Any, options: Any) -> Any:
    """(p, x, y) to the next p."""
    kind = casadi.SX if both.is_a("SXFunction") else casadi.MX
    arguments = [kind.sym(name, *both.size_in(i)) for i, name in enumerate("pxy")]
    with elsewhere():
        return casadi.Function("step", arguments, [arguments[0] - LR * both(*arguments)[1]], dict(options))


def bound_step(net: Net, both: Any, name: str, options: Any) -> Contender:
    step = step_of(both, options)
    x, y = (np.asfortranarray(v, dtype=float) for v in data(net))
    vectors = [packed(net), packed(net)]
    there, back = (bound(step, [vectors[i], x, y], [vectors[1 - i]]) for i in (0, 1))

    def call() -> None:
        there()
        back()

    def gradient() -> list[float]:
        loss, grads = both(packed(net), x, y)
        return [float(loss), *ours(net, grads)]

    return Contender(f"{name}, bound buffers", call, 2, gradient, lambda: ours(net, vectors[0]))


def bound(function: Any, arguments: list[Any], results: list[Any]) -> Callable[[], Any]:
    """A call without arguments on these arrays, which lie column by column."""
    buffer, trigger = function.buffer()
    views = [memoryview(array.ravel("F")) for array in arguments]
    for i, view in enumerate(views):
        buffer.set_arg(i, view)
    for i, array in enumerate(results):
        buffer.set_res(i, memoryview(array))
    trigger.kept = buffer, views, results  # it holds addresses alone
    return trigger


def looped(net: Net, how: str, options: Any) -> Contender:
    function = both(net, casadi.SX, 1)
    p = casadi.SX.sym("p", len(packed(net)))
    step = casadi.Function("step", [p], [p - LR * function(p, *map(casadi.DM, data(net)))[1]])
    half = step.fold(net.steps // 2)
    q = casadi.MX.sym("q", len(packed(net)))
    with elsewhere():
        many = casadi.Function("many", [q], [half(q)], dict(options))
    vectors = [packed(net), packed(net)]
    there, back = (bound(many, [vectors[i]], [vectors[1 - i]]) for i in (0, 1))

    def call() -> None:
        there()
        back()

    def gradient() -> list[float]:
        loss, grads = function(packed(net), *data(net))
        return [float(loss), *ours(net, grads)]

    steps = net.steps // 2 * 2
    return Contender(
        f"CasADi{how}, looped inside", call, steps, gradient, lambda: ours(net, vectors[0]), looped=True
    )


def formula_contenders() -> list[Contender]:
    found = []
    for how, options in WAYS:
        point = casadi.SX.sym("point", 2)
        value = formula(casadi, *casadi.vertsplit(point))
        with elsewhere():
            function = casadi.Function(
                "formula", [point], [value, casadi.gradient(value, point)], dict(options)
            )
        results = [np.zeros(1), np.zeros(2)]
        call = bound(function, [np.array(POINT)], results)

        def gradient(call: Any = call, results: Any = results) -> list[float]:
            call()
            return [x for array in results for x in array.tolist()]

        found.append(Contender(f"CasADi{how}, bound buffers", call, gradient=gradient))
    return found


def first_step_seconds(net: Net) -> dict[str, float]:
    """From nothing to a step that was taken, on matrices."""
    found = {}
    for how, options in WAYS:
        begin = seconds()
        step_of(matrices(net), options)(packed(net), *data(net))
        found[f"CasADi, matrices{how}"] = seconds() - begin
    return found


def tangle_seconds(n: int, ws: list[float]) -> dict[str, tuple[float, float]]:
    found = {}
    for how, options in WAYS:
        begin = seconds()
        x, w = casadi.SX.sym("x"), casadi.SX.sym("w", len(ws))
        value = tangle(casadi, n, x, casadi.vertsplit(w))
        with elsewhere():
            function = casadi.Function("tangle", [x, w], [value, casadi.gradient(value, w)], dict(options))
        result = float(function(0.5, ws)[0])
        found[f"CasADi, scalars{how}"] = (seconds() - begin, result)
    return found
