"""Functions of many structures to compile, each with its parameters and the structures of its arguments.

`NETS` names them; each entry builds anew. They are what users write: dense nets of odd sizes, nets of binary
operations, residuals, softmax, sparse wiring, convolutions, recurrent nets, attention, penalties on
derivatives.
"""

import random
from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import tinygrad_bp as tg
from tinygrad_bp import Value


class Net(NamedTuple):
    """A loss of one sample, its parameters, and how many numbers each argument has (0: a plain number)."""

    loss: Callable[..., Any]
    params: list[Value]
    widths: tuple[int, ...]


RNG = random.Random(5)


def leaf() -> Value:
    return Value(RNG.uniform(-1.0, 1.0))


def leaves(n: int) -> list[Value]:
    return [leaf() for _ in range(n)]


def squared(out: Any, y: Any) -> Any:
    if isinstance(out, list):
        return tg.sum(*[(o - t) * (o - t) for o, t in zip(out, y)])
    return (out - y) ** 2 / 2


def dense(*sizes: int, act: str = "relu", out_act: str | None = None) -> Net:
    model = tg.MLP(sizes[0], list(sizes[1:]), act=act, out_act=out_act, rng=RNG)
    return Net(
        lambda x, y: squared(model(x), y), model.parameters(), (sizes[0], sizes[-1] if sizes[-1] > 1 else 0)
    )


def binary(*sizes: int) -> Net:
    """A net of additions and multiplications only, as micrograd builds it."""
    layers = [[(leaves(a), leaf()) for _ in range(b)] for a, b in pairwise(sizes)]

    def loss(x: Any, y: Any) -> Any:
        for depth, layer in enumerate(layers):
            x = [sum((w * a for w, a in zip(ws, x)), b) for ws, b in layer]
            if depth < len(layers) - 1:
                x = [a.relu() for a in x]
        return squared(x, y)

    return Net(loss, [p for layer in layers for ws, b in layer for p in (*ws, b)], (sizes[0], sizes[-1]))


def residual() -> Net:
    layers = [[(leaves(8), leaf()) for _ in range(8)] for _ in range(3)]

    def loss(x: Any, y: Any) -> Any:
        for layer in layers:
            x = [a + tg.tanh(tg.dot(ws, x, b)) for a, (ws, b) in zip(x, layer)]
        return squared(x, y)

    return Net(loss, [p for layer in layers for ws, b in layer for p in (*ws, b)], (8, 8))


def softmax() -> Net:
    model = tg.MLP(4, [16, 3], rng=RNG)
    return Net(lambda x, y: tg.losses.cross_entropy(model(x), y), model.parameters(), (4, 3))


def sparse() -> Net:
    rng = random.Random(3)
    wiring = [[(leaves(6), rng.sample(range(24), 6), leaf()) for _ in range(24)] for _ in range(2)]

    def loss(x: Any, y: Any) -> Any:
        for layer in wiring:
            x = [tg.tanh(tg.dot(ws, [x[i] for i in places], b)) for ws, places, b in layer]
        return (tg.sum(*x) - y) ** 2

    return Net(loss, [p for layer in wiring for ws, _, b in layer for p in (*ws, b)], (24, 0))


def convolution() -> Net:
    kernels = [(leaves(5), leaf()) for _ in range(2)]
    last = leaves(16)

    def loss(x: Any, y: Any) -> Any:
        for w, b in kernels:
            x = [tg.relu(tg.dot(w, x[i : i + 5], b)) for i in range(len(x) - 4)]
        return (tg.dot(last, x) - y) ** 2

    return Net(loss, [*(p for w, b in kernels for p in (*w, b)), *last], (24, 0))


def recurrent() -> Net:
    within, into, bias, out = [leaves(7) for _ in range(7)], leaves(7), leaves(7), leaves(7)

    def loss(x: Any, y: Any) -> Any:
        state = [w * x[0] for w in into]
        for a in x[1:]:
            state = [tg.tanh(tg.dot(ws, state, b) + w * a) for ws, b, w in zip(within, bias, into)]
        return (tg.dot(out, state) - y) ** 2

    return Net(loss, [*(p for ws in within for p in ws), *into, *bias, *out], (9, 0))


def attention() -> Net:
    """One head over 4 tokens of width 3."""
    q, k, v = ([leaves(3) for _ in range(3)] for _ in range(3))

    def loss(x: Any, y: Any) -> Any:
        tokens = [x[3 * i : 3 * i + 3] for i in range(4)]
        qs, ks, vs = ([[tg.dot(w, t) for w in ws] for t in tokens] for ws in (q, k, v))
        total = 0.0
        for a in qs:
            scores = [tg.exp(tg.dot(a, b) / 3**0.5) for b in ks]
            norm = tg.sum(*scores)
            mixed = [tg.dot(scores, [row[j] for row in vs]) / norm for j in range(3)]
            total = total + tg.sum(*[m * m for m in mixed])
        return (total - y) ** 2

    return Net(loss, [p for ws in (q, k, v) for w in ws for p in w], (12, 0))


def slope_penalty() -> Net:
    """The derivative of the net by its input is part of the loss: second derivatives by the parameters."""
    hidden, out = [(leaf(), leaf()) for _ in range(9)], leaves(9)

    def loss(x: Any, y: Any) -> Any:
        answer = tg.dot(out, [tg.tanh(w * x + b) for w, b in hidden])
        slope = tg.gradients(answer, x, create_graph=True)
        return (answer - y) ** 2 + 0.1 * slope * slope

    return Net(loss, [*(p for pair in hidden for p in pair), *out], (0, 0))


def weight_decay() -> Net:
    net = dense(3, 12, 1)
    return Net(lambda x, y: net.loss(x, y) + 0.01 * tg.dot(net.params, net.params), net.params, net.widths)


def mixture() -> Net:
    """Parameters, inputs and constants in one list."""
    a, b, c = leaf(), leaf(), leaf()

    def loss(x: Any, y: Any) -> Any:
        out = tg.dot([a, x[0], b, 2.0, c], [x[1], b, x[0], a, 3.0], c)
        return (out + tg.max(x[0], a) - tg.sqrt(tg.abs(b) + 1.0) - y) ** 2

    return Net(loss, [a, b, c], (2, 0))


def long_sum() -> Net:
    ws = leaves(10_000)

    def loss(x: Any, y: Any) -> Any:
        total = ws[0] * x
        for w in ws[1:]:
            total = total + w * x
        return (total - y) ** 2

    return Net(loss, ws, (0, 0))


def mixed_sum() -> Net:
    """A left-deep chain of products and plain terms in turn."""
    ws = leaves(30)

    def loss(x: Any, y: Any) -> Any:
        total = x
        for i, w in enumerate(ws):
            total = total + (w * x if i % 2 else w)
        return (total - y) ** 2

    return Net(loss, ws, (0, 0))


def deep_chain() -> Net:
    w = leaf()

    def loss(x: Any, y: Any) -> Any:
        for _ in range(500):
            x = tg.sin(x * w + 0.5)
        return (x - y) ** 2

    return Net(loss, [w], (0, 0))


def choices() -> Net:
    w = leaves(4)

    def loss(x: Any, y: Any) -> Any:
        a = tg.where(tg.gt(x, 0.0), tg.log(tg.abs(x) + 1.0) * w[0], w[1] * x)
        b = tg.clip(a * w[2], -0.5, 0.5) + tg.min(w[3], x)
        return tg.softplus(b - y) + tg.elu(a) + tg.gelu(b) + tg.silu(x * w[0])

    return Net(loss, w, (0, 0))


def embedding() -> Net:
    """Rows of a table, of the samples' own numbers, and of both, at indices that come with the data."""
    table, ws = [leaves(6) for _ in range(5)], leaves(6)

    def loss(x: Any, y: Any) -> Any:
        places = [tg.floor(tg.abs(a) * 4.0) for a in x]
        rows = [tg.take(table, i) for i in places]
        mixed = [tg.sum(*column) + tg.take(ws, places[0]) for column in zip(*rows)]
        hidden = [tg.tanh(m * w) for m, w in zip(mixed, ws)]
        own = tg.take(hidden, places[1]) + tg.take([x[0], ws[1], hidden[0], 0.5, y], places[2])
        return (tg.dot(ws, hidden) + own - y) ** 2

    return Net(loss, [*(p for row in table for p in row), *ws], (6, 0))


NETS: dict[str, Callable[[], Net]] = {
    "dense 1-1": lambda: dense(1, 1),
    "dense 3-7-11-1": lambda: dense(3, 7, 11, 1),
    "dense 5-17-13-7-2": lambda: dense(5, 17, 13, 7, 2),
    "sigmoid 2-9-1": lambda: dense(2, 9, 1, act="sigmoid", out_act="sigmoid"),
    "tanh 4-6-5-3": lambda: dense(4, 6, 5, 3, act="tanh"),
    "binary 3-24-24-2": lambda: binary(3, 24, 24, 2),
    "residual": residual,
    "softmax": softmax,
    "sparse": sparse,
    "convolution": convolution,
    "recurrent": recurrent,
    "attention": attention,
    "slope penalty": slope_penalty,
    "weight decay": weight_decay,
    "mixture": mixture,
    "long sum": long_sum,
    "mixed sum": mixed_sum,
    "embedding": embedding,
    "deep chain": deep_chain,
    "choices": choices,
}


def columns(net: Net, n: int, seed: int = 1) -> list[Any]:
    """Random data for n samples."""
    rng = random.Random(seed)

    def row(w: int) -> Any:
        return [rng.uniform(-1.0, 1.0) for _ in range(w)] if w else rng.uniform(-1.0, 1.0)

    return [[row(w) for _ in range(n)] for w in net.widths]


def eager(net: Net, data: list[Any]) -> tuple[float, list[float], list[float]]:
    """Loss and gradients by the engine, and for each gradient the sum of magnitudes over the samples."""
    total, sums, sizes = 0.0, [0.0] * len(net.params), [0.0] * len(net.params)
    for sample in zip(*data):
        out = net.loss(*[[*map(Value, x)] if isinstance(x, list) else Value(x) for x in sample])
        total += out.data
        for i, g in enumerate(tg.gradients(out, net.params)):
            sums[i] += g
            sizes[i] += abs(g)
    return total, sums, sizes


def distance(net: Net, step: Any, n: int) -> float:
    """How far loss and gradients are from the engine's, relative to the largest sum of magnitudes."""
    data = columns(net, n)
    total, sums, sizes = eager(net, data)
    loss, grads = step.value_and_grad(*data)
    assert len(grads) == len(net.params)
    scale = max(*sizes, 1e-3)
    return max(abs(loss - total) / max(abs(total), 1e-3), *(abs(a - b) / scale for a, b in zip(grads, sums)))
