"""The laboratory's examples: formulas with numbers, lines of Python.  Their titles are in page/strings.js."""

from typing import Any

ATTENTION = """\
# One query looks at three keys: the nearer a key, the more of its value.
query = [Value(1.0, "q1"), Value(0.5, "q2")]
keys = [[1.0, 0.2], [-0.3, 0.9], [0.4, -0.6]]
values = [Value(x, f"v{i}") for i, x in enumerate([2.0, -1.0, 0.5], 1)]

scores = [tg.dot(query, key) / 2**0.5 for key in keys]
parts = [tg.exp(score) for score in scores]
weights = [part / sum(parts) for part in parts]
tg.dot(weights, values)
"""

NETWORK = """\
# A network learns two moons; then one step of backpropagation on its first point.
import random

xs, ys = tg.data.moons(40)
model = MLP(2, [4, 1], act="tanh", rng=random.Random(0))
optimizer = tg.optim.SGD(model.parameters(), lr=0.1)
history = tg.fit(model, (xs, ys), tg.losses.hinge, optimizer, steps=60, reduce="mean", progress=False)
print("loss", history.losses[0], "to", history.losses[-1])

tg.losses.hinge(model(xs[0]), ys[0])
"""

TRACE = """\
# A published trace of a 2-2-1 sigmoid network: its error falls, and its gradients are wrong.
# Its first step adds the same row to both rows of the first matrix. The audit says why.
network = MLP(2, [2, 1], act="sigmoid", out_act="sigmoid", bias=False)
for weight, number in zip(network.parameters(), [0.1, 0.8, 0.4, 0.6, 0.3, 0.9]):
    weight.data = number
sample, target = [0.35, 0.9], 0.5

hidden = [tg.sigmoid(0.1 * 0.35 + 0.8 * 0.9), tg.sigmoid(0.4 * 0.35 + 0.6 * 0.9)]
output = tg.sigmoid(0.3 * hidden[0] + 0.9 * hidden[1])
delta = (target - output) * output * (1 - output)
table = [[delta * w * h * (1 - h) for w in (0.3, 0.9)] for h in hidden]  # (2, 2), not (2, 1)
row = [sum(x * line[j] for x, line in zip(sample, table)) for j in range(2)]
added = [[row, row], [[delta * h for h in hidden]]]
print(tg.audit(network, ([sample], [target]), tg.losses.squared_error, added))

tg.losses.squared_error(network(sample), target)
"""

QUADRATIC = """\
# A published fit of x² + 2x - 3, with a smaller network; then the step of one point.
import random

xs, ys = tg.data.quadratic()
model = MLP(1, [8, 1], act="tanh", rng=random.Random(1))
optimizer = tg.optim.Adam(model.parameters(), lr=0.05)
history = tg.fit(model, (xs, ys), tg.losses.squared_error, optimizer, steps=60, reduce="mean", progress=False)
print("loss", history.losses[0], "to", history.losses[-1])
for x, y in [*zip(xs, ys)][::10]:
    print(f"{x:6.2f}  true {y:7.3f}  the network {model([x]).data:7.3f}")

tg.losses.squared_error(model([xs[0]]), ys[0])
"""

GALLERY: dict[str, dict[str, Any]] = {
    "neuron": {"formula": "tanh(w1*x1 + w2*x2 + b)",
               "numbers": {"w1": "-3", "x1": "2", "w2": "1", "x2": "0", "b": "6.8813735870195432"}},
    "twice": {"formula": "a + a", "numbers": {"a": "3"}},
    "lecture": {"formula": "(a*b + c) * f", "numbers": {"a": "2", "b": "-3", "c": "10", "f": "-2"}},
    "softmax": {"formula": "-log(exp(a) / (exp(a) + exp(b) + exp(c)))",
                "numbers": {"a": "2", "b": "1", "c": "-1"}},
    "attention": {"code": ATTENTION},
    "network": {"code": NETWORK},
    "trace": {"code": TRACE},
    "quadratic": {"code": QUADRATIC},
}  # fmt: skip
