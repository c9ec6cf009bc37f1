"""Small graphs and a small training to draw, explain and step through, and a label that holds markup."""

import json
import random
import re

import tinygrad_bp as tg
from tinygrad_bp import Value
from tinygrad_bp.engine import sweep

HOSTILE = '</script><img src=x onerror="document.title=1"> ${1} @style@ \u2028 \ud800 \x00 `\\'


def leaves(**numbers):
    """Labelled leaves, in order."""
    return [Value(x, label=name) for name, x in numbers.items()]


def lecture():
    """The lecture's L = (a·b + c)·f."""
    a, b, c, f = leaves(a=2.0, b=-3.0, c=10.0, f=-2.0)
    e = a * b
    e.label = "e"
    d = e + c
    d.label = "d"
    loss = d * f
    loss.label = "L"
    return loss, a, b, c, f


def lecture_loss():
    return lecture()[0]


def shared():
    """A value used several times, one of them through a relu."""
    a = Value(0.75, label="a")
    b = a + a
    b.label = "b"
    return (a * b).tanh() * 0.5 + b / a + b.relu()


def mlp(*nouts, nin=2):
    """The loss of a network of tanh at one sample."""
    model = tg.MLP(nin, list(nouts), act="tanh", rng=random.Random(1))
    return tg.losses.mse(model([0.5, -1.0, 0.25, 2.0][:nin]), 1.0)


def recorded(nin=2, steps=7, record=3, **options):
    """A model and the history of its training, kept for the stepper at every third step."""
    rng = random.Random(0)
    xs = [[rng.uniform(-1.0, 1.0) for _ in range(nin)] for _ in range(8)]
    ys = [sum(x) for x in xs]
    model = tg.MLP(nin, [3, 1], act="tanh", rng=random.Random(1))
    sgd = tg.optim.SGD(model.parameters(), lr=0.1)
    return model, tg.fit(model, (xs, ys), tg.losses.squared_error, sgd, steps, record=record, **options)


def nodes_under(root):
    """All nodes of a graph."""
    found, todo = {root}, [root]
    for v in todo:
        todo += [x for x in v.inputs if x not in found and not found.add(x)]
    return found


def magnitudes(v):
    """The sum of the sizes of all numbers below v, each as often as v moves with it."""
    return abs(v.data) + sum(abs(g * x.data) for x, g in sweep({v: 1.0}).items())


def data_of(page):
    """The data in a page, read as strictly as JSON is."""
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page.html, re.S)

    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    return text, json.loads(text, parse_constant=refuse)
