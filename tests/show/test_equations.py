"""explain(loss, model): the layer equations of a network with its own numbers.

The equations are worked out apart from the engine, so that its gradients are an answer to hold them to.
"""

import random

import numpy as np
import pytest
from support.typeset import assert_typeset

import tinygrad_bp as tg
from tinygrad_bp import Value
from tinygrad_bp.engine import newest_first
from tinygrad_bp.show.explain import _Equations, _levels, _neurons
from tinygrad_bp.show.symbols import matrix


def network(*sizes, act="tanh", **more):
    model = tg.MLP(sizes[0], list(sizes[1:]), act=act, rng=random.Random(0), **more)
    for i, p in enumerate(model.parameters()):
        p.data += 0.01 * i  # biases too
    return model


def loss_of(model, calls):
    rng = random.Random(1)
    nin = len(model.layers[0].neurons[0].w)
    outputs = [model([rng.gauss(0.0, 1.0) for _ in range(nin)]) for _ in range(calls)]
    flat = [v for out in outputs for v in (out if isinstance(out, list) else [out])]
    return tg.sum([tg.losses.squared_error(v, 0.5) for v in flat])


def derived(loss, model):
    """The gradients that the equations come to, and the engine's, by layer."""
    inner = newest_first([loss])[::-1]
    told = _Equations(loss, inner, _levels(inner, _neurons(model), "MLP"))
    told.explanation()
    loss.backward()
    for level in told.levels:
        engine = [[w.grad for w in neuron.w] for neuron in level.neurons]
        yield np.array(told.gradient(level)), np.array(engine)
    model.zero_grad()


@pytest.mark.parametrize(
    "act", ["tanh", "relu", "sigmoid", tg.leaky_relu.at(0.1), None, lambda v: (v * 2.0).sin()]
)
@pytest.mark.parametrize("sizes", [(2, 3, 1), (1, 4, 3, 2), (3, 1), (2, 1, 1)])
@pytest.mark.parametrize("calls", [1, 3])
def test_the_equations_come_to_the_gradient(act, sizes, calls):
    model = network(*sizes, act=act, out_act=act)
    loss = loss_of(model, calls)
    for mine, engine in derived(loss, model):
        assert mine.shape == engine.shape
        assert np.allclose(mine, engine, rtol=1e-12, atol=1e-15)
    found = tg.explain(loss, model)
    assert found.text.endswith("The engine has the same gradients for all these weights.")
    assert found.text.startswith(
        f"A {'network' if len(sizes) > 2 else 'layer'} of {' → '.join(map(str, sizes))}, "
    )


def test_the_equations_of_a_small_network():
    model = tg.MLP(2, [2, 1], weights=lambda rng, nin, nout: 0.5)
    model.layers[0].neurons[1].w[0].data = -1.0
    text = tg.explain(model([1.0, 2.0]) * 3.0, model).text
    assert (
        text
        == """\
A network of 2 → 2 → 1, called once. The loss is L = 2.25.

Forward: z are the weighted sums, a what the activation makes of them.

Layer 1: W⁽¹⁾ is 2 × 2, ReLU(z) = max(0, z), ReLU′(z) = [a > 0].

    z⁽¹⁾ = W⁽¹⁾ x + b⁽¹⁾

         = [0.5  0.5] [1] + [0]
           [ -1  0.5] [2]   [0]

         = [1.5]
           [  0]

    a⁽¹⁾ = ReLU(z⁽¹⁾) = [1.5]
                        [  0]

Layer 2: W⁽²⁾ is 1 × 2, without activation.

    z⁽²⁾ = W⁽²⁾ a⁽¹⁾ + b⁽²⁾

         = [0.5  0.5] [1.5] + [0]
                      [  0]

         = [0.75]

Backward: δ = ∂L/∂z, from the last layer down.

Layer 2:

    ∂L/∂z⁽²⁾ = 3
    δ⁽²⁾ = ∂L/∂z⁽²⁾
         = [3]
    ∂L/∂W⁽²⁾ = δ⁽²⁾ a⁽¹⁾ᵀ = [4.5  0]
    ∂L/∂b⁽²⁾ = δ⁽²⁾

Layer 1:

    δ⁽¹⁾ = (W⁽²⁾ᵀ δ⁽²⁾) ⊙ ReLU′(z⁽¹⁾)

         = ( [0.5] [3] ) ⊙ [1]
             [0.5]         [0]

         = [1.5]
           [  0]

    ∂L/∂W⁽¹⁾ = δ⁽¹⁾ xᵀ = [1.5  3]
                         [  0  0]

    ∂L/∂b⁽¹⁾ = δ⁽¹⁾

The engine has the same gradients for all these weights."""
    )


def test_latex_and_markdown_have_matrices():
    model = network(2, 3, 1)
    found = tg.explain(loss_of(model, 2), model)
    for page in (found.latex, found.markdown):
        assert r"\delta^{(1)} &= \left((W^{(2)})^{\top} \delta^{(2)}\right) \odot \tanh'(z^{(1)})" in page
        assert r"\begin{bmatrix}" in page
        assert r"$\tanh'(z) = \operatorname{sech}^2(z)$" in page
    assert found.latex.isascii()
    assert_typeset(found)


def test_large_matrices_are_abridged():
    model = network(2, 16, 16, 1)
    found = tg.explain(loss_of(model, 1), model)
    assert "W⁽²⁾ is 16 × 16" in found.text
    assert "⋮" in found.text
    assert max(map(len, found.text.splitlines())) < 120
    assert_typeset(found)


def test_a_penalty_is_told_apart():
    model = network(2, 3, 1)
    loss = loss_of(model, 1) + 0.1 * tg.sum([p * p for p in model.layers[0].parameters()])
    text = tg.explain(loss, model).text
    assert "The engine has more in ∂L/∂W⁽¹⁾: its weights are also used elsewhere, as in a penalty." in text
    assert "more in ∂L/∂W¹" not in text


def test_outputs_that_the_loss_leaves_out():
    model = network(2, 3, 2)
    loss = model([1.0, 2.0])[1] * 2.0
    assert "A network of 2 → 3 → 1, called once." in tg.explain(loss, model).text
    for mine, engine in derived(loss, model):
        assert np.allclose(mine, engine, rtol=1e-12)


def test_a_call_on_the_same_values_is_a_call_of_its_own():
    model = network(1, 2, 1)
    x = Value(1.0)
    loss = model([x]) * model([x])
    assert "called 2 times" in tg.explain(loss, model).text
    for mine, engine in derived(loss, model):
        assert np.allclose(mine, engine, rtol=1e-12)


def test_a_layer_and_a_neuron_without_bias():
    layer = tg.Layer(2, 2, bias=False, act="relu", rng=random.Random(0))
    text = tg.explain(tg.sum(layer([1.0, -1.0])), layer).text
    assert "z = W x\n" in text
    assert "∂L/∂b" not in text
    neuron = tg.Neuron(1, nonlin=False, rng=random.Random(0))
    assert "A layer of 1 → 1, called once." in tg.explain(neuron([2.0]) ** 2, neuron).text


def test_an_activation_of_ones_own():
    model = network(1, 2, 1, act=lambda v: v * v + v)
    assert "f is a function of your own." in tg.explain(loss_of(model, 1), model).text


def test_what_is_refused():
    model, other = network(2, 3, 1), network(2, 3, 1)
    with pytest.raises(
        tg.GraphError, match="the loss was not computed by this MLP: no neuron of one of its layers"
    ):
        tg.explain(loss_of(other, 1), model)
    with pytest.raises(tg.GraphError, match="was not computed by this MLP"):
        tg.explain(Value(3.0), model)

    class Own(tg.Module):
        pass

    with pytest.raises(tg.GraphError, match="not computed by this Own: no part of it is in the graph"):
        tg.explain(Value(3.0), Own())


def test_a_matrix_in_text():
    assert str(matrix([[1.0, -2.5], [0.0, float("nan")]])) == "[1  -2.5]\n[0   nan]"
    wide = str(matrix([[float(i + j) for j in range(9)] for i in range(9)])).splitlines()
    assert [line.split() for line in wide] == [
        ["[0", "1", "2", "…", "8]"],
        ["[1", "2", "3", "…", "9]"],
        ["[2", "3", "4", "…", "10]"],
        ["[⋮", "⋮", "⋮", "⋱", "⋮]"],
        ["[8", "9", "10", "…", "16]"],
    ]


@pytest.mark.parametrize(
    ("act", "words"),
    [
        ("relu", "ReLU(z) = max(0, z), ReLU′(z) = [a > 0]."),
        ("tanh", "tanh′(z) = sech²(z)."),
        ("sigmoid", "the activation σ is sigmoid."),
        ("silu", "silu(z) = z·σ(z), silu′(z) = σ(z) + z·σ′(z)."),
        (tg.leaky_relu.at(0.1), "leaky_relu(z) = "),
        (None, "without activation."),
    ],
)
def test_each_activation_has_its_own_symbol(act, words):
    model = network(2, 2, 1, act=act, out_act="tanh" if act != "tanh" else "sigmoid")
    found = tg.explain(loss_of(model, 1), model)
    assert words in found.text
    assert_typeset(found)
    for line in found.text.splitlines():  # nothing is explained by itself
        sides = [side.strip() for side in line.split("=")]
        assert len(sides) < 2 or sides[0] != sides[1], line


@pytest.mark.parametrize(
    ("loss", "line"),
    [
        (lambda out: (out - 2.0) ** 2, "∂L/∂a⁽²⁾ = 2·(a⁽²⁾ - 2) = "),
        (lambda out: (2.0 - out) * (2.0 - out), "∂L/∂a⁽²⁾ = -(2 - a⁽²⁾) + (-(2 - a⁽²⁾)) = "),
        (lambda out: -out.log(), "∂L/∂a⁽²⁾ = -1/a⁽²⁾ = "),
        (lambda out: out, "∂L/∂a⁽²⁾ = 1\n"),
    ],
)
def test_the_first_line_is_derived(loss, line):
    model = network(1, 2, 1, out_act="sigmoid")
    found = tg.explain(loss(model([1.0])), model)
    assert line in found.text
    assert_typeset(found)
