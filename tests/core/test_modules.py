"""Modules for sequences and modules made of others, against the same formulas in NumPy.

Values, gradients by difference quotients, parameters with their paths, what is refused, and modes.
"""

import random

import numpy as np
import pytest
from support.models import convolutional, everything, shuffled

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


# --- images -------------------------------------------------------------------------------------------------

IMAGE = [[[RNG.gauss(0.0, 1.0) for _ in range(5)] for _ in range(4)] for _ in range(2)]


@pytest.mark.parametrize(("size", "stride", "padding"), [(1, 1, 0), (2, 1, 0), (3, 2, 1), (2, 3, 2)])
def test_conv(size, stride, padding):
    conv = nn.Conv(2, 3, size, stride=stride, padding=padding, act="tanh", rng=drawn())
    x = np.pad(np.array(IMAGE), ((0, 0), (padding, padding), (padding, padding)))
    kernels = matrix(conv).reshape(3, 2, size, size)
    high, wide = ((n - size) // stride + 1 for n in x.shape[1:])
    expected = [
        [[np.tanh((k * x[:, i * stride : i * stride + size, j * stride : j * stride + size]).sum())
          for j in range(wide)] for i in range(high)] for k in kernels
    ]  # fmt: skip
    assert np.allclose(numbers(conv(IMAGE)), expected, rtol=1e-12)


@pytest.mark.parametrize(("size", "stride"), [(2, None), (2, 1), (3, 2), (1, 1)])
def test_pools(size, stride):
    x, step = np.array(IMAGE), stride or size
    high, wide = ((n - size) // step + 1 for n in x.shape[1:])
    windows = [[[c[i * step : i * step + size, j * step : j * step + size] for j in range(wide)]
                for i in range(high)] for c in x]  # fmt: skip
    largest = [[[w.max() for w in row] for row in c] for c in windows]
    assert nn.MaxPool(size, stride)(IMAGE) == largest
    means = [[[w.mean() for w in row] for row in c] for c in windows]
    assert np.allclose(nn.AveragePool(size, stride)(IMAGE), means, rtol=1e-12)


def test_a_net_of_convolutions_trains_alike_on_graphs_and_compiled():
    results = []
    data = [[[[x * k for x in row[:4]] for row in channel] for channel in IMAGE] for k in (1.0, -0.5, 2.0)]
    for engine in ("eager", "compiled"):
        model = convolutional()
        sgd = tg.optim.SGD(model.parameters(), lr=0.05)
        history = tg.fit(model, (data, [0, 1, 0]), tg.losses.cross_entropy, sgd, 5, engine=engine)
        results.append([*history.losses, *model.state_dict().values()])
    assert results[1] == pytest.approx(results[0], rel=1e-9)


# --- dropout and modes --------------------------------------------------------------------------------------


def test_dropout_keeps_the_mean():
    dropout = nn.Dropout(0.25, rng=drawn())
    out = dropout([3.0] * 4000)
    assert {*out} == {0.0, 4.0}
    assert np.mean(out) == pytest.approx(3.0, abs=0.1)
    assert dropout.eval()([3.0, 1.0]) == [3.0, 1.0]
    assert nn.Dropout(0.0)([3.0, 1.0]) == [3.0, 1.0]
    rows = nn.Dropout(0.5, rng=drawn())([[3.0] * 20] * 2)
    assert {*rows[0], *rows[1]} == {0.0, 6.0}
    assert rows[0] != rows[1]


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


def test_a_summary():
    lines = everything().summary().splitlines()
    assert len({len(line) for line in lines}) == 1
    rows = [line.strip().split("  ", 1) for line in lines]
    table = {path: [*map(str.strip, rest.rsplit("  ", 1))] for path, rest in rows}
    assert table["Sequential"][-1] == "281"
    assert table["parts.0"] == ["Embedding(5, 4)", "20"]
    assert table["parts.3.part.parts.0"] == ["Attention(4, heads=2)", "80"]
    assert table["parts.4.part.part"] == ["MLP(4 → 6 → 4)", "58"]
    assert table["parts.4.part.part.layers.0"] == ["Layer(4 → 6, leaky_relu)", "30"]
    assert lines[6].startswith("    parts.3.part ") or lines[7].startswith("    parts.3.part ")
    assert not any("neurons" in line or "sum" in line for line in lines)


def test_the_source_for_pytorch_holds_each_class_once_and_all_weights():
    model = everything()
    source, weights = model.to_torch()
    assert sum(map(np.size, weights.values())) == len(model.parameters())
    assert [source.count(f"class {name}(") for name in ("Act", "Attention", "Positions", "Residual")] == [
        1
    ] * 4
    assert "Act('leaky_relu', 0.2)" in source
    assert "nn.Embedding(5, 4), Positions(8, 4), nn.RMSNorm(4, eps=1e-05, elementwise_affine=True)" in source
    assert {"0.weight", "1.weight", "3.part.0.query.bias", "4.part.2.weight", "8.0.bias"} <= weights.keys()
    assert weights["0.weight"] == numbers(model.parts[0].rows)
    compile(source, "a model", "exec")
    source, weights = convolutional().to_torch()
    assert "nn.Conv2d(2, 3, 2, stride=1, padding=1, bias=True)" in source
    assert np.shape(weights["0.0.weight"]) == (3, 2, 2, 2)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (
            lambda: nn.Sequential(lambda x: x),
            "knows the modules of nn, and '<lambda>' is a function of your own",
        ),
        (
            lambda: nn.MLP(1, [1, 1], act=lambda x: x),
            "activations of the table, and '<lambda>' is a function of",
        ),
        (
            lambda: nn.Sequential(type("Own", (nn.Module,), {})()),
            "and Own is not one: make the model of them",
        ),
    ],
)
def test_what_pytorch_cannot_be_told(make, text):
    with pytest.raises(TypeError, match=text):
        make().to_torch()


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
    "a rate that is no number": (lambda: nn.Dropout("half"), "the rate is from 0 to below 1, not 'half'"),
    "a token of the graph": (lambda: nn.Embedding(3, 4)([Value(3.0)]), "Embedding: a token.*2, not 3$"),
    "a token that is a text": (lambda: nn.Embedding(3, 4)(["a"]), "place 0: Embedding: a token.*, not 'a'$"),
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
    "an image of other channels": (lambda: nn.Conv(1, 1)(IMAGE), "has 1 channels here, not 2"),
    "a small image": (lambda: nn.Conv(2, 1, 5)(IMAGE), "an image of 4 × 5 is smaller than the square of 5"),
    "a small image to pool": (lambda: nn.MaxPool(5)(IMAGE), "MaxPool: an image of 4 × 5 is smaller than"),
    "a ragged image": (lambda: nn.MaxPool(1)([[[0.0, 1.0], [0.0]]]), "row 1 of channel 0 has 1 numbers"),
    "no stride": (lambda: nn.Conv(1, 1, stride=0), "Conv: stride is a whole number from 1 up"),
    "a padding below 0": (lambda: nn.Conv(1, 1, padding=-1), "Conv: padding is a whole number"),
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
        (lambda: nn.Conv(1, 1)([[0.0]]), "list of channels of rows of numbers; a row is 0.0"),
        (lambda: nn.MaxPool()(3.0), "list of channels of rows of numbers; the image is 3.0"),
        (lambda: nn.Each(3), "Each takes modules or functions, not 3"),
        (lambda: nn.Embedding(3, 4)(2), "Embedding takes a list, not 2"),
        (lambda: nn.Dropout(0.5, rng=3), r"rng is a generator such as random.Random\(0\), not 3"),
        (lambda: nn.Module()(1.0), r"Module does not say what it computes: write forward\(self, x\)"),
    ],
)
def test_what_is_of_another_kind(make, text):
    with pytest.raises(TypeError, match=text):
        make()
