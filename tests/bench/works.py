"""What is measured: nets with their data and where they start, and a formula.

Nothing here knows who computes it.  `ours.py` and the files in peers/ build a work in their own way; run.py
says which works there are and what they are to reach.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import tinygrad_bp as tg

LR = 1e-11  # a step is taken in full and moves next to nothing, so every step costs the same
CHECKED, CHECKED_AT = 20, 1e-3  # steps of a course by which it is checked, and their rate

# of each layer the weights, a row for each neuron, and the biases
Matrices = list[tuple[list[list[float]], list[float]]]


@dataclass(frozen=True)
class Net:
    """A multi-layer perceptron, its loss summed over the samples, and steps of gradient descent on it."""

    name: str
    sizes: tuple[int, ...]
    inputs: Sequence[Sequence[float]]
    targets: Sequence[float]
    steps: int  # in one call, where all of them are made inside
    act: str = "relu"
    out_act: str | None = None
    loss: str = "squared error"  # half of it, or "hinge", or "cross entropy" of a class number

    @property
    def samples(self) -> int:
        return len(self.inputs)

    def start(self) -> Matrices:
        """Where training begins: the same numbers for everybody."""
        rng = random.Random(1)
        return [
            (
                [[rng.uniform(-1.0, 1.0) / math.sqrt(nin) for _ in range(nin)] for _ in range(nout)],
                [rng.uniform(-0.1, 0.1) for _ in range(nout)],
            )
            for nin, nout in pairwise(self.sizes)
        ]

    def operations(self) -> float:
        """Floating-point operations of a step's matrix products: forward, by weights, by activations."""
        pairs = [a * b for a, b in pairwise(self.sizes)]
        return 2.0 * self.samples * (2 * sum(pairs) + sum(pairs[1:]))


@dataclass(frozen=True)
class Course:
    """Steps of an optimizer on batches of a net's samples, by lists of their numbers that are drawn before.

    The loss is the mean over the batch. A batch of all samples is not drawn.
    """

    net: Net
    rule: str  # "Adam" or "SGD"
    batch: int

    @property
    def name(self) -> str:
        batch = f"batches of {self.batch}" if self.listed else f"all {self.batch} samples"
        return f"{self.net.name}, {self.rule}, {batch}"

    @property
    def listed(self) -> bool:
        return self.batch < self.net.samples

    @cached_property
    def lists(self) -> list[list[int]]:
        """For twice the net's steps: an epoch takes every sample once, what is left of it is left out."""
        rng, found = random.Random(3), []
        while len(found) < 2 * self.net.steps:
            order = rng.sample(range(self.net.samples), self.net.samples)
            starts = range(0, self.net.samples - self.batch + 1, self.batch)
            found += [order[at : at + self.batch] for at in starts]
        return found[: 2 * self.net.steps]


def flat(layers: Any) -> list[float]:
    """Numbers of all layers in the order of our parameters: of each neuron its weights, then its bias."""
    numbers: list[float] = []
    for weights, biases in layers:
        for row, bias in zip(weights, biases):
            numbers += [float(x) for x in row]
            numbers.append(float(bias))
    return numbers


def tiny() -> Net:
    return Net("sigmoid 2-2-1, 1 sample", (2, 2, 1), [[0.5, 0.2]], [1.0], 10_000, "sigmoid", "sigmoid")


def moons() -> Net:
    xs, ys = tg.data.moons(100)
    return Net("moons 2-16-16-1, 100 samples", (2, 16, 16, 1), xs, ys, 2_000, loss="hinge")


def quadratic(width: int = 100, act: str = "relu", steps: int = 300) -> Net:
    xs, ys = tg.data.quadratic()
    name = f"1-{width}-{width}-{width}-1 {act}, {len(xs)} samples"
    return Net(name, (1, width, width, width, 1), [[x] for x in xs], ys, steps, act)


def courses(hidden: Sequence[int]) -> list[Course]:
    """Adam on two moons, with hidden layers of tanh."""
    xs, ys = tg.data.moons(400)
    sizes, weights = (2, *hidden, 1), 2 * hidden[0] + hidden[0] * hidden[1] + hidden[1]
    name = "-".join(map(str, sizes))
    batches = [400, 32, 8, 1] if hidden[0] < 32 else [32, 8, 1]
    return [
        Course(Net(f"{name} tanh", sizes, xs, ys, _steps(weights, batch), "tanh"), "Adam", batch)
        for batch in batches
    ]


def descents() -> list[Course]:
    """Gradient descent on a quadratic, from one sample a step to many."""
    found = []
    for batch in (1, 2, 4, 8, 16, 32, 240, 1000):
        xs, ys = tg.data.quadratic(step=12.0 / max(batch, 240))
        net = Net("1-100-100-100-1 relu", (1, 100, 100, 100, 1), [[x] for x in xs], ys, _steps(20_200, batch))
        found.append(Course(net, "SGD", batch))
    return found


def _steps(weights: int, batch: int) -> int:
    """So many that the fixed cost of a fit is little beside them."""
    return min(60_000, max(120, int(2e9 / weights / (batch + 8))))


def digits() -> Net:
    rng = random.Random(2)
    xs = [[rng.random() for _ in range(784)] for _ in range(128)]
    ys = [float(rng.randrange(10)) for _ in xs]
    return Net("784-100-10 relu, softmax cross-entropy, batch of 128", (784, 100, 10), xs, ys, 100,
               loss="cross entropy")  # fmt: skip


FORMULA, POINT = "a formula of 20 operations on 2 numbers", (0.7, 1.3)


def formula(m: Any, x: Any, y: Any) -> Any:
    """Twenty operations on two numbers, with the functions of m."""
    a = m.sin(x) * y
    b = m.exp(a) + x * x
    c = m.log(b + 2.0)
    d = m.tanh(c - a * y)
    e = m.sqrt(b * b + c * c)
    f = d / e + m.cos(a)
    return f * c - y * d


def tangle(m: Any, n: int, x: Any, ws: Sequence[Any]) -> Any:
    """n operations at random on x and ws, with the functions of m: a graph that no loop covers."""
    rng, pool = random.Random(0), [x, *ws]
    for _ in range(n):
        a, b = rng.choice(pool[-60:]), rng.choice(pool[-60:])
        pool.append(rng.choice((_product, _halved, _difference, _sine))(m, a, b))
    return m.tanh(sum(pool[-60:-1], pool[-1]))


def _product(m: Any, a: Any, b: Any) -> Any:
    return a * b


def _halved(m: Any, a: Any, b: Any) -> Any:
    return a + 0.5 * b


def _difference(m: Any, a: Any, b: Any) -> Any:
    return m.tanh(a - b)


def _sine(m: Any, a: Any, b: Any) -> Any:
    return m.sin(a)
