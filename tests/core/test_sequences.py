"""Sequences of different lengths, and dropout, in `fit`: on graphs and in compiled code the same.

A batch of sequences is filled up to the longest; what fills it counts for nothing, and a model for which it
would is refused. Bad sequences say which sample and which place, before a parameter is moved. The random
numbers of dropout depend on the seed and the number of the step alone.
"""

import random
from contextlib import nullcontext

import pytest
from support import microgpt

import tinygrad_bp as tg
from tinygrad_bp import Value, fit, nn
from tinygrad_bp.losses import SequenceLoss, cross_entropy, mse
from tinygrad_bp.optim import SGD, Adam
from tinygrad_bp.steps import Task

TOKENS, WIDTH, BLOCK = 5, 4, 6
LOSS = SequenceLoss(cross_entropy)
RNG = random.Random(0)
XS = [[RNG.randrange(TOKENS) for _ in range(n)] for n in (3, 1, 6, 2, 5, 4, 3, 1)]
YS = [[(2 * t + 1) % TOKENS for t in x] for x in XS]


def made(causal=True, rate=0.0):
    rng = random.Random(1)
    norm = nn.Each(nn.LayerNorm(WIDTH))
    attention = nn.Attention(WIDTH, 2, causal=causal, rng=rng)
    return nn.Sequential(
        nn.Embedding(TOKENS, WIDTH, rng=rng),
        nn.Positions(BLOCK, WIDTH, rng=rng),
        nn.Residual(nn.Sequential(norm, attention, nn.Each(nn.Dropout(rate)))),
        nn.Each(nn.Layer(WIDTH, TOKENS, act=None, rng=rng)),
    )


def trained(engine, data=(XS, YS), model=None, loss=LOSS, steps=12, make=Adam, **options):
    model = model or made()
    options = {"batch_size": 3, "engine": engine} | options
    history = fit(model, data, loss, make(model.parameters(), lr=0.05), steps, **options)
    return history, [p.data for p in model.parameters()]


def both(**options):
    """The losses and parameters of the two engines."""
    results = []
    for engine in ("eager", "compiled"):
        history, parameters = trained(engine, **options)
        results.append([*history.losses, *(loss for _, loss in history.validation), *parameters])
    return results


@pytest.fixture(params=["machine code", "generated Python"])
def form(request, monkeypatch):
    if request.param == "machine code":
        pytest.importorskip("llvmlite")
    else:
        monkeypatch.setattr("tinygrad_bp.compiler.kernel.Kernel.reason", "a test")


# --- lengths ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reduce", ["sum", "mean"])
def test_sequences_of_all_lengths_train_alike_on_graphs_and_compiled(reduce, form):
    eager, compiled = both(reduce=reduce, validation=(XS[3:], YS[3:]), every=5)
    assert compiled == pytest.approx(eager, rel=1e-10)


def test_a_step_is_that_of_the_mean_loss_over_the_places():
    model, by_hand = made(), made()
    fit(model, (XS[:1], YS[:1]), LOSS, SGD(model.parameters(), lr=0.5), 1)
    loss = sum(cross_entropy(p, t) for p, t in zip(by_hand(XS[0]), YS[0])) / len(XS[0])
    loss.backward()
    SGD(by_hand.parameters(), lr=0.5).step()
    assert [p.data for p in model.parameters()] == pytest.approx([p.data for p in by_hand.parameters()])


def test_what_fills_a_sequence_up_counts_for_nothing():
    task = Task(made(), [*zip(XS, YS)], LOSS, None, "sum", None, None)
    rows = task.rows(task.samples)
    assert {len(part) for row in rows for part in row} == {max(map(len, XS))}
    for row, sample in zip(rows, task.samples):
        assert task.loss_of_row(*row).data == pytest.approx(task.loss_of_sample(*sample).data, rel=1e-14)
    assert task.rows(task.samples[:1]) == task.samples[:1]  # of one length: nothing is added


def test_sequences_of_vectors():
    def running(xs):
        total, out = [0.0, 0.0], []
        for x in xs:
            total = [a + w * b for a, w, b in zip(total, weights, x)]
            out.append(total)
        return out

    rng, results = random.Random(2), []
    xs = [[[rng.gauss(0, 1), rng.gauss(0, 1)] for _ in range(n)] for n in (2, 4, 1)]
    ys = [[[2.0 * v for v in x] for x in sample] for sample in xs]
    for engine in ("eager", "compiled"):
        weights = [Value(0.5), Value(0.25)]
        history = fit(running, (xs, ys), SequenceLoss(mse), SGD(weights, lr=0.05), 20, engine=engine)
        results.append([*history.losses, *(w.data for w in weights)])
    assert results[1] == pytest.approx(results[0], rel=1e-10)


def test_a_model_that_looks_ahead_is_not_filled_up():
    with pytest.raises(tg.CompileError, match=r"place 0 depends on the input at place 5.*causal") as caught:
        trained("compiled", model=made(causal=False))
    assert 'engine="eager"' in str(caught.value)
    same = [[x[:1] * 4 for x in XS], [y[:1] * 4 for y in YS]]
    assert trained("compiled", same, made(causal=False))[0].engine == "machine code"  # of one length they may
    assert trained("eager", model=made(causal=False))[0].losses


# --- bad sequences ------------------------------------------------------------------------------------------

BAD = {
    "an unknown token": (([0, 1], [0, 7, 2]), ([0, 1], [0, 1, 2]), "sample 1: place 1: Emb.*to 4, not 7"),
    "a token behind the longest": (
        ([0, 1, 2], [0, -1]),
        ([0, 1, 2], [0, 1]),
        "sample 1: place 1: Embedding.*0 to 4, not -1",
    ),
    "no whole number": (([0, 1.5],), ([0, 1],), "sample 0: place 1: Embedding: a token is.*1.5"),
    "an empty sequence": (([0], []), ([0], []), r"xs\[1\] is empty; a sequence has at least one entry"),
    "one longer than the block": (([1], [0] * 7), ([1], [0] * 7), "sample 1: Positions.* 7 .*block, 6"),
    "an unknown target": (([0, 1],), ([0, 9],), "sample 0: place 1: cross_entropy.* 0 to 4, not 9"),
    "an unknown target behind the longest": (
        ([0, 1, 2], [0, 1]),
        ([0, 1, 2], [0, 9]),
        "sample 1: place 1: cross_entropy.* 0 to 4, not 9",
    ),
    "targets of another length": (([0, 1],), ([0],), r"xs\[0\] has 2 entries, ys\[0\] 1"),
    "a target that is a number": (([0, 1],), (3,), r"xs\[0\] has 2 entries, ys\[0\] the number 3"),
    "nan": (([0, float("nan")],), ([0, 1],), r"xs\[0\]\[1\] is nan"),
}  # fmt: skip


@pytest.mark.parametrize("engine", ["eager", "compiled", "auto"])
@pytest.mark.parametrize("name", BAD)
def test_bad_sequences_name_sample_and_place_and_change_nothing(name, engine):
    xs, ys, text = BAD[name]
    model = made()
    adam = Adam(model.parameters())
    before = model.state_dict(), adam.state_dict(), [p.grad for p in model.parameters()]
    with pytest.raises(ValueError, match=f"^fit: {text}"):
        fit(model, (xs, ys), LOSS, adam, 5, engine=engine)
    assert (model.state_dict(), adam.state_dict(), [p.grad for p in model.parameters()]) == before


def test_bad_sequences_to_validate_with():
    with pytest.raises(ValueError, match="fit, validation: sample 0: Positions: a sequence of 7"):
        trained("eager", validation=([[0] * 7], [[0] * 7]))


def test_rows_of_unequal_lengths_without_a_loss_of_sequences():
    with pytest.raises(
        ValueError, match=r"xs\[1\] has 1 numbers, xs\[0\] 3; give all as many, or.*SequenceLoss"
    ):
        trained("eager", loss=cross_entropy)


def test_a_loss_of_sequences_of_no_sequence():
    with pytest.raises(ValueError, match="SequenceLoss: 1 predictions for 2 targets"):
        LOSS([[Value(1.0)]], [0, 0])
    with pytest.raises(TypeError, match=r"predictions and targets are lists.*not 3"):
        LOSS([Value(1.0)], 3)
    with pytest.raises(TypeError, match="takes the loss of one place, such as cross_entropy, not 3"):
        SequenceLoss(3)
    assert repr(LOSS) == "SequenceLoss(cross_entropy)"


# --- dropout ------------------------------------------------------------------------------------------------


def dropping(rate=0.5):
    rng = random.Random(1)
    return nn.Sequential(
        nn.MLP(1, [6], out_act="tanh", rng=rng), nn.Dropout(rate), nn.MLP(6, [1], rng=rng)
    )  # fmt: skip


POINTS = [0.1 * i for i in range(12)], [(0.1 * i) ** 2 for i in range(12)]


@pytest.mark.parametrize("batch_size", [None, 5])
def test_dropout_draws_the_same_on_graphs_and_compiled(batch_size, form):
    options = {"data": POINTS, "loss": mse, "batch_size": batch_size, "validation": POINTS, "every": 4}
    results = []
    for engine in ("eager", "compiled"):
        history, parameters = trained(engine, model=dropping(), **options)
        results.append([*history.losses, *(loss for _, loss in history.validation), *parameters])
    assert results[1] == pytest.approx(results[0], rel=1e-10)


def test_dropout_in_sequences(form):
    eager, compiled = (trained(engine, model=made(rate=0.4)) for engine in ("eager", "compiled"))
    assert compiled[0].losses == pytest.approx(eager[0].losses, rel=1e-10)
    assert compiled[0].losses != pytest.approx(trained("compiled")[0].losses, rel=1e-3)


def test_dropout_with_a_step_of_ones_own():
    class Own(SGD):
        def step(self):
            for p in self.parameters:
                p.data -= 0.05 * p.grad

    results = []
    for engine in ("eager", "compiled"):
        with pytest.warns(RuntimeWarning) if engine == "compiled" else nullcontext():
            results.append(trained(engine, POINTS, dropping(), mse, make=Own)[0].losses)
    assert results[1] == pytest.approx(results[0], rel=1e-10)
    assert len({*results[0]}) == 12


@pytest.mark.parametrize("engine", ["eager", "compiled"])
def test_two_runs_drop_as_one_and_another_seed_otherwise(engine):
    def run(*steps, seed=None):
        model = dropping()
        sgd = SGD(model.parameters(), lr=0.05)
        for n in steps:
            fit(model, POINTS, mse, sgd, n, batch_size=5, engine=engine, seed=seed)
        return model.state_dict()

    assert run(4, 3) == run(7)
    assert run(7, seed=1) != run(7, seed=2)


def test_validation_drops_nothing_and_modes_stay_as_they_were():
    model = dropping().eval()
    model.parts[0].train()
    sgd = SGD(model.parameters(), lr=0.0)
    history = fit(model, POINTS, mse, sgd, 2, validation=POINTS, engine="eager")
    whole = sum(mse(model([x]), y).data for x, y in zip(*POINTS))
    assert history.validation == [(1, pytest.approx(whole)), (2, pytest.approx(whole))]
    assert history.losses[0] != pytest.approx(whole, rel=1e-3)
    assert history.losses[0] != history.losses[1]
    assert [part.training for part in model.parts] == [True, False, False]


# --- a GPT --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["eager", "compiled"])
def test_a_gpt_has_the_losses_of_the_published_arithmetic(engine):
    documents = [[0, *x, 0] for x in XS[:6]]  # an epoch: fit shuffles the next one
    first = microgpt.drawn(TOKENS)
    losses, _ = microgpt.train(first, documents, 6)
    assert microgpt.train_ours(first, documents, 6, engine).losses == pytest.approx(losses, rel=1e-13)


def test_gradients_of_a_gpt_through_each_row_of_its_matrices():
    """The largest derivative of each matrix against a difference quotient of the published arithmetic."""
    first, tokens = microgpt.drawn(TOKENS, seed=1), [0, *XS[0], 0]
    model = microgpt.ours(first)
    LOSS(model(tokens[:-1]), tokens[1:]).backward()
    names = ["tokens", "positions", "query", "key", "value", "out", "hidden", "back", "logits"]
    grads = iter(p.grad for p in model.parameters())
    for name in names:
        rows = first[name]
        of_matrix = [[next(grads) for _ in row] for row in rows]
        i, j = max(
            ((i, j) for i, row in enumerate(rows) for j in range(len(row))),
            key=lambda at: abs(of_matrix[at[0]][at[1]]),
        )
        before, sides = rows[i][j], []
        for h in (1e-5, -1e-5):
            rows[i][j] = before + h
            scalars = {
                key: [[microgpt.Scalar(x) for x in row] for row in part] for key, part in first.items()
            }
            sides.append(microgpt.loss_of(scalars, tokens).data)
        rows[i][j] = before
        assert of_matrix[i][j] == pytest.approx((sides[0] - sides[1]) / 2e-5, rel=1e-6), name
