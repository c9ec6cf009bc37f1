"""Modules for sequences and modules made of others, against the same formulas in NumPy.

Values, gradients by difference quotients, parameters with their paths, what is refused, and modes.
"""

import random

import numpy as np
import pytest

import tinygrad_bp as tg
from tinygrad_bp import Value, nn
from tinygrad_bp.errors import CheckpointError

RNG = random.Random(5)
XS = [[RNG.gauss(0.0, 1.0) for _ in range(6)] for _ in range(4)]


def drawn(seed=0):
    return random.Random(seed)


def numbers(out):
    return [numbers(x) for x in out] if isinstance(out, list) else getattr(out, "data", out)


def matrix(layer):
    return np.array([[w.data for w in neuron.w] for neuron in layer.neurons])


def shuffled(module, seed=3):
    """The module with parameters that are neither 0 nor 1."""
    rng = random.Random(seed)
    for p in module.parameters():
        p.data = rng.gauss(0.0, 1.0)
    return module


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def attended(module, xs):
    """Attention in matrices, with a mask."""
    q, k, v = (xs @ matrix(layer).T for layer in (module.query, module.key, module.value))
    size = module.width // module.heads
    hidden = np.triu(np.full((len(xs), len(xs)), -np.inf), 1) if module.causal else 0.0
    parts = [slice(h, h + size) for h in range(0, module.width, size)]
    maps = [softmax(q[:, p] @ k[:, p].T / np.sqrt(size) + hidden) for p in parts]
    mixed = np.hstack([of_head @ v[:, p] for of_head, p in zip(maps, parts)])
    return mixed @ matrix(module.out).T, maps


# --- values -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("heads", [1, 2, 6])
@pytest.mark.parametrize("causal", [True, False])
def test_attention(heads, causal):
    attention = nn.Attention(6, heads, causal=causal, rng=drawn())
    expected, maps = attended(attention, np.array(XS))
    assert np.allclose(numbers(attention(XS)), expected, rtol=1e-12, atol=0.0)
    assert np.allclose(attention.maps(XS), maps, rtol=1e-12, atol=0.0)


def test_attention_with_biases_counts_them():
    assert len(nn.Attention(6, 2, bias=True).parameters()) == 4 * (36 + 6)
    assert len(nn.Attention(6, 2).parameters()) == 4 * 36
    assert numbers(nn.Attention(1, rng=drawn())([[2.0], [1.0]]))[0][0] != 0.0  # layers of one neuron


def test_layer_norm():
    norm, x = shuffled(nn.LayerNorm(6)), np.array(XS[0])
    w, b = ([p.data for p in part] for part in (norm.w, norm.b))
    plain = (x - x.mean()) / np.sqrt(x.var() + 1e-5)
    assert np.allclose(numbers(norm(XS[0])), w * plain + b, rtol=1e-12)
    assert np.allclose(numbers(nn.LayerNorm(6, affine=False)(XS[0])), plain, rtol=1e-12)


def test_rms_norm():
    norm, x = shuffled(nn.RMSNorm(6)), np.array(XS[0])
    plain = x / np.sqrt((x * x).mean() + 1e-5)
    assert np.allclose(numbers(norm(XS[0])), np.array([p.data for p in norm.w]) * plain, rtol=1e-12)
    assert np.allclose(numbers(nn.RMSNorm(6, gain=False)(XS[0])), plain, rtol=1e-12)
    assert nn.RMSNorm(6, gain=False).parameters() == []


def test_embedding_and_positions():
    embedding, positions = nn.Embedding(5, 3, rng=drawn()), nn.Positions(4, 3, rng=drawn(1))
    table, places = (np.array(numbers(module.rows)) for module in (embedding, positions))
    assert numbers(embedding([4, 0, 4])) == table[[4, 0, 4]].tolist()
    assert numbers(positions(embedding([4, 0]))) == (table[[4, 0]] + places[:2]).tolist()


def test_a_token_in_the_data_of_compiled_code():
    embedding = nn.Embedding(5, 3, rng=drawn())
    looked_up = tg.compile(lambda t: embedding([t])[0])
    assert [looked_up(k) for k in range(5)] == numbers(embedding.rows)
    step = tg.compile(lambda t: sum(x * x for x in embedding([t])[0]), embedding.parameters())
    _, grads = step.value_and_grad([3, 1, 3])
    assert grads == pytest.approx([c * 2.0 * x for c, row in zip((0, 1, 0, 2, 0), numbers(embedding.rows))
                                   for x in row])  # fmt: skip
    for token in (-1, 5, 0.5):
        with pytest.raises(ValueError, match=rf"sample 1: place 0: Embedding: a token is.*4, not {token}"):
            step.value_and_grad([0, token])


def test_parts_that_join_others():
    double = nn.Each(lambda x: [2.0 * xi for xi in x])
    model = nn.Sequential(double, nn.Residual(double))
    assert model(XS) == (6.0 * np.array(XS)).tolist()
    assert nn.Residual(lambda x: -x)(3.0) == 0.0


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Sequential(nn.Attention(6, 2, rng=drawn())),
        lambda: nn.Attention(6, 3, causal=False, bias=True, rng=drawn()),
        lambda: nn.Each(shuffled(nn.LayerNorm(6))),
        lambda: nn.Each(shuffled(nn.RMSNorm(6))),
        lambda: nn.Positions(4, 6, rng=drawn()),
        lambda: nn.Residual(nn.Each(nn.Layer(6, 6, act="tanh", rng=drawn()))),
    ],
)
def test_gradients_by_inputs_and_parameters(make):
    module = make()

    def loss(xs):
        return sum(tg.sin(y) for row in module(xs) for y in row)

    inputs = [[Value(x) for x in row] for row in XS]
    assert tg.gradcheck(loss, XS, params=module.parameters(), order=1)
    compiled = tg.compile(loss, module.parameters())
    total, grads = compiled.value_and_grad([XS])
    out = loss(inputs)
    assert total == pytest.approx(out.data, rel=1e-12)
    assert grads == pytest.approx(tg.gradients(out, module.parameters()), rel=1e-9, abs=1e-14)


# --- dropout and modes --------------------------------------------------------------------------------------


def test_dropout_keeps_the_mean():
    dropout = nn.Dropout(0.25, rng=drawn())
    out = dropout([3.0] * 4000)
    assert {*out} == {0.0, 4.0}
    assert np.mean(out) == pytest.approx(3.0, abs=0.1)
    assert dropout.eval()([3.0, 1.0]) == [3.0, 1.0]
    assert nn.Dropout(0.0)([3.0, 1.0]) == [3.0, 1.0]


def test_dropout_draws_from_the_random_module_without_a_generator():
    results = []
    for _ in range(2):
        random.seed(7)
        results.append(nn.Dropout(0.5)([1.0] * 20))
    assert results[0] == results[1]


def test_modes_reach_all_modules_inside():
    model = nn.Sequential(nn.Residual(nn.Sequential(nn.Dropout(0.5))), nn.Each(nn.Dropout(0.1)))
    assert all(module.training for _, module in model.modules())
    assert model.eval() is model
    assert not any(module.training for _, module in model.modules())
    assert all(module.training for _, module in model.train().modules())
    assert [path for path, _ in model.modules()][:3] == ["", "parts.0", "parts.0.part"]


# --- parameters and names -----------------------------------------------------------------------------------


def test_paths_of_parameters_are_kept_and_loaded():
    def make(seed):
        return nn.Sequential(nn.Embedding(3, 2, rng=drawn(seed)), nn.Attention(2, rng=drawn(seed)))

    model, other = make(0), make(1)
    paths = [path for path, _ in model.named_parameters()]
    assert paths[0] == "parts.0.rows.0.0"
    assert "parts.1.query.neurons.1.w.0" in paths
    assert [p.label for p in model.parameters()] == paths
    other.load_state_dict(model.state_dict())
    assert other.state_dict() == model.state_dict()
    with pytest.raises(CheckpointError):
        nn.Embedding(3, 2).load_state_dict(model.state_dict())


def test_what_modules_print():
    model = nn.Sequential(nn.Embedding(3, 4), nn.Positions(8, 4), nn.Each(nn.RMSNorm(4)), nn.Dropout(0.25),
                          nn.Residual(nn.Attention(4, 2)), nn.Each(nn.LayerNorm(4)), sum)  # fmt: skip
    assert repr(model) == (
        "Sequential(Embedding(3, 4), Positions(8, 4), Each(RMSNorm(4)), Dropout(0.25), "
        "Residual(Attention(4, heads=2)), Each(LayerNorm(4)), sum)"
    )
    assert repr(nn.Residual(nn.Dropout(0.5)).sum) == "Sum()"


# --- what is refused ----------------------------------------------------------------------------------------

REFUSED = {
    "heads that do not divide": (lambda: nn.Attention(16, 3), "3 heads do not divide a width of 16"),
    "no heads": (lambda: nn.Attention(16, 0), "heads is a whole number from 1 up, not 0"),
    "no width": (lambda: nn.Attention(0), "Attention: width is a whole number from 1 up, not 0"),
    "a rate of 1": (lambda: nn.Dropout(1.0), "the rate is from 0 to below 1, not 1.0"),
    "a rate below 0": (lambda: nn.Dropout(-0.1), "the rate is from 0 to below 1, not -0.1"),
    "a rate of nan": (lambda: nn.Dropout(float("nan")), "the rate is from 0 to below 1, not nan"),
    "no tokens": (lambda: nn.Embedding(0, 4), "Embedding: count is a whole number from 1 up, not 0"),
    "a width of 1.5": (lambda: nn.Embedding(3, 1.5), "Embedding: width is a whole number"),
    "no block": (lambda: nn.Positions(0, 4), "Positions: block is a whole number"),
    "a norm of no width": (lambda: nn.LayerNorm(True), "LayerNorm: width is a whole number"),
    "an empty sequence": (lambda: nn.Attention(4)([]), "Attention: the sequence is empty"),
    "no tokens given": (lambda: nn.Embedding(3, 4)([]), "Embedding: the sequence is empty"),
    "a token too large": (lambda: nn.Embedding(3, 4)([0, 3]), "place 1: Embedding: a token.*0 to 2, not 3"),
    "half a token": (lambda: nn.Embedding(3, 4)([0.5]), "place 0: Embedding: a token.*0 to 2, not 0.5"),
    "a long sequence": (lambda: nn.Positions(1, 1)([[0.0], [0.0]]), "of 2 is longer than the block, 1"),
    "another width": (lambda: nn.Attention(2)([[0.0, 1.0], [0.0]]), "has 2.*at place 1 it is 1 numbers"),
    "numbers for vectors": (lambda: nn.Attention(2)([1.0]), "has 2 numbers.*at place 0 it is 1.0"),
    "another width to norm": (lambda: nn.RMSNorm(2)([1.0]), "RMSNorm: a vector has 2 numbers here, not 1"),
    "shapes that differ": (lambda: nn.Residual(lambda x: x[:1])([1.0, 2.0]), r"another shape.*\(1, not 2\)"),
    "a number for a list": (lambda: nn.Residual(lambda x: x[0])([1.0]), r"\(a number, not 1\)"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_a_reason(name):
    make, text = REFUSED[name]
    with pytest.raises(ValueError, match=text):
        make()


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: nn.Sequential("relu"), "Sequential takes modules or functions, not 'relu'"),
        (lambda: nn.Each(3), "Each takes modules or functions, not 3"),
        (lambda: nn.Embedding(3, 4)(2), "Embedding takes a list, not 2"),
        (lambda: nn.Dropout(0.5, rng=3), r"rng is a generator such as random.Random\(0\), not 3"),
        (lambda: nn.Module()(1.0), r"Module does not say what it computes: write forward\(self, x\)"),
    ],
)
def test_what_is_of_another_kind(make, text):
    with pytest.raises(TypeError, match=text):
        make()
