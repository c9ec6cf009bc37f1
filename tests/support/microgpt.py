"""The published microgpt's arithmetic, in plain Python: a scalar with its operands, the model, Adam.

One layer, 16 wide, four heads, at most 16 tokens, no biases, RMSNorm without weights, ReLU; a step is on one
document; Adam with rates that fall to 0. It is the truth that training on Values and in compiled code is
compared with, and, since it works as the published script does, what their speed is measured against.

    PYTHONPATH=tests python -m support.microgpt 1000     # losses and seconds of so many steps, beside ours
"""

import math
import random
import sys
import time

WIDTH, HEADS, BLOCK = 16, 4, 16
RATE, BETA1, BETA2, EPS = 0.01, 0.85, 0.99, 1e-8


class Scalar:
    """A number, what it was computed from, and its derivative by each of these."""

    __slots__ = ("data", "grad", "operands", "slopes")

    def __init__(self, data, operands=(), slopes=()):
        self.data, self.grad, self.operands, self.slopes = data, 0.0, operands, slopes

    def __add__(self, other):
        other = other if isinstance(other, Scalar) else Scalar(other)
        return Scalar(self.data + other.data, (self, other), (1.0, 1.0))

    def __mul__(self, other):
        other = other if isinstance(other, Scalar) else Scalar(other)
        return Scalar(self.data * other.data, (self, other), (other.data, self.data))

    def __pow__(self, n):
        return Scalar(self.data**n, (self,), (n * self.data ** (n - 1),))

    def log(self):
        return Scalar(math.log(self.data), (self,), (1.0 / self.data,))

    def exp(self):
        return Scalar(math.exp(self.data), (self,), (math.exp(self.data),))

    def relu(self):
        return Scalar(max(0.0, self.data), (self,), (float(self.data > 0.0),))

    __radd__, __rmul__ = __add__, __mul__

    def __neg__(self):
        return self * -1.0

    def __sub__(self, other):
        return self + -other

    def __truediv__(self, other):
        return self * other**-1

    def backward(self):
        order, seen = [], set()

        def visit(v):
            if v not in seen:
                seen.add(v)
                for x in v.operands:
                    visit(x)
                order.append(v)

        visit(self)
        self.grad = 1.0
        for v in reversed(order):
            for x, slope in zip(v.operands, v.slopes):
                x.grad += slope * v.grad


def drawn(tokens, seed=0):
    """First numbers of all matrices, by name: rows of floats."""
    rng = random.Random(seed)
    square, table = (WIDTH, WIDTH), (tokens, WIDTH)
    shapes = {
        "tokens": table, "positions": (BLOCK, WIDTH), "query": square, "key": square, "value": square,
        "out": square, "hidden": (4 * WIDTH, WIDTH), "back": (WIDTH, 4 * WIDTH), "logits": table,
    }  # fmt: skip
    return {
        name: [[rng.gauss(0.0, 0.08) for _ in range(n)] for _ in range(m)] for name, (m, n) in shapes.items()
    }


def times(matrix, x):
    return [sum(w * xi for w, xi in zip(row, x)) for row in matrix]


def normed(x):
    scale = (sum(xi * xi for xi in x) / len(x) + 1e-5) ** -0.5
    return [xi * scale for xi in x]


def shares(logits):
    largest = max(x.data for x in logits)
    powers = [(x - largest).exp() for x in logits]
    total = sum(powers)
    return [p / total for p in powers]


def next_logits(w, token, place, keys, values):
    """The logits of the token after this one; keys and values of the places before are in the lists."""
    x = normed([a + b for a, b in zip(w["tokens"][token], w["positions"][place])])
    before, x = x, normed(x)
    query = times(w["query"], x)
    keys.append(times(w["key"], x))
    values.append(times(w["value"], x))
    mixed, size = [], WIDTH // HEADS
    for h in range(0, WIDTH, size):
        scores = [sum(query[h + j] * key[h + j] for j in range(size)) / size**0.5 for key in keys]
        parts = shares(scores)
        mixed += [sum(p * value[h + j] for p, value in zip(parts, values)) for j in range(size)]
    x = [a + b for a, b in zip(times(w["out"], mixed), before)]
    thought = times(w["back"], [v.relu() for v in times(w["hidden"], normed(x))])
    return times(w["logits"], [a + b for a, b in zip(thought, x)])


def loss_of(w, tokens):
    """The mean over the places of −log of the probability of the next token."""
    n = min(BLOCK, len(tokens) - 1)
    keys, values, losses = [], [], []
    for place in range(n):
        probabilities = shares(next_logits(w, tokens[place], place, keys, values))
        losses.append(-probabilities[tokens[place + 1]].log())
    return (1.0 / n) * sum(losses)


def train(weights, documents, steps):
    """The loss before each step, and the seconds they took."""
    w = {name: [[Scalar(x) for x in row] for row in rows] for name, rows in weights.items()}
    parameters = [p for rows in w.values() for row in rows for p in row]
    m, v, losses, start = [0.0] * len(parameters), [0.0] * len(parameters), [], time.process_time()
    for step in range(steps):
        loss = loss_of(w, documents[step % len(documents)])
        loss.backward()
        rate = RATE * (1.0 - step / steps)
        for i, p in enumerate(parameters):
            m[i] = BETA1 * m[i] + (1.0 - BETA1) * p.grad
            v[i] = BETA2 * v[i] + (1.0 - BETA2) * p.grad**2
            corrected = m[i] / (1.0 - BETA1 ** (step + 1)), v[i] / (1.0 - BETA2 ** (step + 1))
            p.data -= rate * corrected[0] / (corrected[1] ** 0.5 + EPS)
            p.grad = 0.0
        losses.append(loss.data)
    return losses, time.process_time() - start


# --- the same by this package -------------------------------------------------------------------------------


def ours(weights):
    """The same model as modules, with these numbers."""
    from tinygrad_bp import nn

    def layer(name, act=None):
        rows = weights[name]
        return nn.Each(set_to(nn.Layer(len(rows[0]), len(rows), act=act, bias=False), rows))

    def set_to(module, rows):
        for p, x in zip(module.parameters(), [x for row in rows for x in row]):
            p.data = x
        return module

    norm, attention = nn.Each(nn.RMSNorm(WIDTH, gain=False)), nn.Attention(WIDTH, HEADS)
    for name in ("query", "key", "value", "out"):
        set_to(getattr(attention, name), weights[name])
    return nn.Sequential(
        set_to(nn.Embedding(len(weights["tokens"]), WIDTH), weights["tokens"]),
        set_to(nn.Positions(BLOCK, WIDTH), weights["positions"]),
        norm,
        nn.Residual(nn.Sequential(norm, attention)),
        nn.Residual(nn.Sequential(norm, layer("hidden", "relu"), layer("back"))),
        layer("logits"),
    )


def train_ours(weights, documents, steps, engine="compiled", batch=1, **more):
    """The history of the same steps in `fit`, with what else it takes; a batch's loss is the mean."""
    import tinygrad_bp as tg

    loss, data = tg.losses.SequenceLoss(tg.losses.cross_entropy), [d[: BLOCK + 1] for d in documents]
    model = ours(weights)
    adam = tg.optim.Adam(
        model.parameters(), lambda t: RATE * (1.0 - t / steps), betas=(BETA1, BETA2), eps=EPS
    )
    adam.batches = tg.train.Batches(len(data), batch, random.Random(0))
    adam.batches.at = 0  # an epoch in the order of the data
    xs, ys = [d[:-1] for d in data], [d[1:] for d in data]
    return tg.fit(
        model, (xs, ys), loss, adam, steps, batch_size=batch, seed=None, reduce="mean", engine=engine, **more
    )


if __name__ == "__main__":
    import tinygrad_bp as tg

    count = int(sys.argv[1])
    names = tg.data.names()
    random.Random(0).shuffle(names)
    characters = tg.data.Characters(names)
    documents = [[0, *characters.encode(name), 0] for name in names]
    first = drawn(len(characters))
    history = train_ours(first, documents, count)
    theirs, seconds = train(first, documents, count)
    worst = max(abs(a - b) / b for a, b in zip(history.losses, theirs))
    print(f"{count} steps: losses differ by at most {worst:.2e}, relative")
    print(f"published arithmetic: {1e3 * seconds / count:.1f} ms a step; fit, compiling included: "
          f"{history.seconds:.2f} s")  # fmt: skip
