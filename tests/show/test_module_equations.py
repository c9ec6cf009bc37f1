"""Modules with a `forward`: boxes in drawings and in the stepper, and their equations with their numbers.

What a module hands on by its own nodes is compared with the formula that stands in its equations, in NumPy.
"""

import json
import random
import re

import numpy as np
import pytest
from support.models import convolutional, everything, shuffled

import tinygrad_bp as tg
from tinygrad_bp import Value, nn
from tinygrad_bp.engine import newest_first, sweep
from tinygrad_bp.errors import GraphError
from tinygrad_bp.losses import SequenceLoss, cross_entropy
from tinygrad_bp.show.graph import calls_of, read
from tinygrad_bp.show.module_equations import FORMULAS, numbers_of_calls

TOKENS, TARGETS = [3, 0, 4], [1, 2, 0]


def sequence_loss(model):
    return SequenceLoss(cross_entropy)(model(TOKENS), TARGETS)


def numbers(module, loss):
    """Rows x, y, g and ∂L/∂x of the first call of a module in the graph of the loss."""
    inner = newest_first([loss])[::-1]
    call = numbers_of_calls(module, inner, sweep({loss: 1.0}))[0]
    return [np.array(part) for part in (call.x, call.y, call.g, call.given)]


def weights(part):
    return np.array([p.data for p in part])


# --- boxes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", ["neuron", "layer"])
def test_a_call_is_one_box_with_its_constants_inside(level):
    model = everything()
    picture = read(sequence_loss(model), level)
    found = {(node.name, node.label) for node in picture.nodes if node.kind == "box"}
    assert {("Positions", "parts.1"), ("RMSNorm", "parts.2.part"), ("Sum", "parts.3.sum"),
            ("Attention", "parts.3.part.parts.0"), ("Dropout", "parts.3.part.parts.1"),
            ("LayerNorm", "parts.6.part")} <= found  # fmt: skip
    boxes = {node.id for node in picture.nodes if node.kind == "box"}
    leaves = {node.id for node in picture.nodes if node.kind == "leaf"}
    assert not [edge for edge in picture.edges if edge.source in leaves and edge.target in boxes]


def test_a_module_without_a_forward_is_drawn_as_before():
    class Doubled(nn.Module):
        def __init__(self):
            self.inside = nn.Layer(2, 2, act=None, rng=random.Random(0))

        def __call__(self, x):
            return [2.0 * y for y in self.inside(x)]

    module = Doubled()
    picture = read(sum(module([1.0, 2.0])), "layer")
    assert [node.label for node in picture.nodes if node.kind == "box"] == ["inside"]
    assert [node.sign for node in picture.nodes].count("×") == 2


def test_calls_of_modules_that_are_gone_are_no_boxes():
    out = nn.RMSNorm(2)([Value(1.0), Value(2.0)])[0]
    assert not [node for node in read(out, "layer").nodes if node.name == "RMSNorm"]


def test_the_stepper_has_a_group_for_each_call(tmp_path):
    rng = random.Random(0)
    attention = nn.Attention(2, rng=rng)
    out = attention([[Value(rng.random()), Value(rng.random())] for _ in range(6)])  # above 150 nodes
    tg.stepper(sum(y * y for row in out for y in row), tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    data = json.loads(re.search(r'<script type="application/json"[^>]*>(.*?)</script>', text, re.S)[1])
    assert [group["name"] for group in data["graphs"][0]["views"][0]["groups"]] == ["Attention"]


# --- equations ----------------------------------------------------------------------------------------------


def test_what_a_norm_hands_on_is_its_formula():
    inputs = [Value(x) for x in (0.5, -1.0, 2.0, 0.25)]
    for norm in (shuffled(nn.RMSNorm(4)), shuffled(nn.LayerNorm(4)), nn.RMSNorm(4, gain=False)):
        w = np.ones(4) if norm.w is None else weights(norm.w)
        x, y, g, given = numbers(norm, sum(tg.sin(y) for y in norm(inputs)))
        c = x - x.mean() if isinstance(norm, nn.LayerNorm) else x
        r = 1.0 / np.sqrt((c * c).mean() + norm.eps)
        by_c = r * w * g - r**3 * c * (c * w * g).mean()
        expected = by_c - by_c.mean() if isinstance(norm, nn.LayerNorm) else by_c
        assert np.allclose(given, expected, rtol=1e-12, atol=1e-15)
        assert np.allclose(g, np.cos(y), rtol=1e-12)


def test_what_attention_hands_on_is_its_formula():
    rng = random.Random(1)
    attention = nn.Attention(4, 1, rng=rng)
    inputs = [[Value(rng.gauss(0, 1)) for _ in range(4)] for _ in range(3)]
    loss = sum(tg.sin(y) for row in attention(inputs) for y in row)
    x, _, g, given = (part.reshape(3, 4) for part in numbers(attention, loss))
    layers = (attention.query, attention.key, attention.value, attention.out)
    wq, wk, wv, wo = (np.array([weights(neuron.w) for neuron in layer.neurons]) for layer in layers)
    q, k, v, p = x @ wq.T, x @ wk.T, x @ wv.T, np.array(attention.maps(x.tolist())[0])
    by_o = g @ wo
    delta = p * (by_o @ v.T - (by_o * (p @ v)).sum(1, keepdims=True))
    by_q, by_k, by_v = delta @ k / 2.0, delta.T @ q / 2.0, p.T @ by_o
    assert np.allclose(given, by_q @ wq + by_k @ wk + by_v @ wv, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("make", [everything, convolutional])
def test_each_module_is_explained(make):
    model = make()
    if make is everything:
        loss = sequence_loss(model)
    else:
        loss = sum(
            y * y for y in model([[[0.1 * i * j - c for j in range(4)] for i in range(4)] for c in (0, 1)])
        )
    text = tg.explain(loss, model)
    for path, module in model.modules():
        if type(module) in FORMULAS and not isinstance(module, nn.Embedding):
            assert f"{path}: {module!r}, called" in text.text
            alone = tg.explain(loss, module)
            assert all(right in alone.text for _, right, _, _ in FORMULAS[type(module)])
            assert alone.latex.count("{") == alone.latex.count("}")
            assert "∂L/∂x" in alone.text
    assert "used elsewhere" not in text.text
    assert "The engine has the same gradients" in text.text


def test_parameters_that_are_used_elsewhere_too():
    norm = nn.RMSNorm(2)
    loss = sum(norm([Value(1.0), Value(2.0)])) + norm.w[1] ** 2
    assert "Its parameters are also used elsewhere: w.1: 1.265 from this module, 3.265 in all." in (
        tg.explain(loss, norm).text
    )


def test_several_calls_stand_below_each_other():
    norm = nn.RMSNorm(2, gain=False)
    loss = sum(y for x in ([1.0, 1.0], [3.0, 3.0]) for y in norm([Value(v) for v in x]))
    text = tg.explain(loss, norm).text
    assert "called 2 times (the calls are below each other)" in text
    assert "x = [1  1]\n        [3  3]" in text
    inner = newest_first([loss])[::-1]
    assert [len(members) for _, _, members in calls_of(inner, norm)] == [6, 6]


def test_a_model_that_the_loss_does_not_know():
    with pytest.raises(GraphError, match="not computed by this Sequential: no part of it is in the graph"):
        tg.explain(sequence_loss(everything()), everything())
