"""The audit: mistakes committed in NumPy, and named.

`RIGHT` is a matrix backprop of a 3-layer network as one writes it; a case replaces some of its lines by wrong
ones, runs it, and hands the result to `tg.audit`, which must find that mistake, in that layer, and no other.
`ONE_BY_ONE` is the same backprop sample by sample, for the mistakes that only such code can make.
"""

import math
import random
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from support import matrix_backprop as matrix

import tinygrad_bp as tg
from tinygrad_bp.check.audit.mistakes import MISTAKES
from tinygrad_bp.check.audit.search import CHANGES

RIGHT = """
z1 = w1 @ x + b1
a1 = np.tanh(z1)
z2 = w2 @ a1 + b2
a2 = np.tanh(z2)
z3 = w3 @ a2 + b3
error = (z3 - y) / n
d3 = error
dw3 = d3 @ a2.T
db3 = d3.sum(axis=1)
e2 = w3.T @ d3
d2 = e2 * slope(z2)
dw2 = d2 @ a1.T
db2 = d2.sum(axis=1)
e1 = w2.T @ d2
d1 = e1 * slope(z1)
dw1 = d1 @ x.T
db1 = d1.sum(axis=1)
"""

ONE_BY_ONE = """
dw1, dw2, dw3, db1, db2, db3 = 0, 0, 0, 0, 0, 0
for s in range(n):
    x0, y0 = x[:, s : s + 1], y[:, s : s + 1]
    z1 = w1 @ x0 + b1
    a1 = np.tanh(z1)
    z2 = w2 @ a1 + b2
    a2 = np.tanh(z2)
    z3 = w3 @ a2 + b3
    d3 = (z3 - y0) / n
    dw3 = dw3 + d3 @ a2.T
    db3 = db3 + d3
    d2 = (w3.T @ d3) * slope(z2)
    dw2 = dw2 + d2 @ a1.T
    db2 = db2 + d2.sum(axis=1)
    d1 = (w2.T @ d2) * slope(z1)
    dw1 = dw1 + d1 @ x0.T
    db1 = db1 + d1
"""

EARLIER = {name: (i + 1) * 0.1 for i, name in enumerate(("dw1", "db1", "dw2", "db2", "dw3", "db3"))}
NAMES = tuple(EARLIER)
LR = 0.05


def slope(z):
    return 1.0 / np.cosh(z) ** 2


def network(sizes=(4, 4, 4, 3), samples=7, act="tanh", seed=3):
    """A model and its data; all layers can be mistaken for each other, and the samples for no layer."""
    rng = random.Random(seed)
    model = tg.MLP(sizes[0], sizes[1:], act=act, biases=tg.nn.normal(0.5), rng=rng)
    xs = [[rng.gauss(0.0, 1.0) for _ in range(sizes[0])] for _ in range(samples)]
    ys = [[rng.gauss(0.0, 1.0) for _ in range(sizes[-1])] for _ in range(samples)]
    return model, xs, ys


def ran(source, edits, model, xs, ys, **names):
    """The gradients of the NumPy code, some of its lines replaced."""
    for old, new in edits:
        assert source.count(f"{old}\n") == 1, old
        source = source.replace(f"{old}\n", f"{new}\n")
    weights, biases = matrix.matrices(model)
    names |= {"np": np, "slope": slope, "n": len(xs), "x": np.array(xs).T, "y": np.array(ys).T, "lr": LR}
    for i, (w, b) in enumerate(zip(weights, biases), 1):
        names |= {f"w{i}": w, f"b{i}": b}
    for name, number in EARLIER.items():
        like = biases if name[1] == "b" else weights
        names[f"{name}_before"] = np.full_like(like[int(name[2]) - 1], number)
        if name[1] == "b":
            names[f"{name}_before"] = names[f"{name}_before"][:, 0]
    exec(source, names)
    return [names[name] for name in NAMES], [names[f"{name}_before"] for name in NAMES]


def audited(mine, model, xs, ys, reduce="mean", **options):
    return tg.audit(model, (xs, ys), tg.losses.squared_error, mine, reduce=reduce, **options)


def names_of(explanation):
    """The mistakes of an explanation: name and place, without the words."""
    return {text.partition(":")[0] for text in explanation}


# name in the table, place, and the lines that make the mistake: (right, wrong)
CASES = [
    ("negative", "from the loss on", ("error = (z3 - y) / n", "error = (y - z3) / n")),
    ("negative", "in layer 0", ("dw1 = d1 @ x.T", "dw1, d1 = -d1 @ x.T, -d1")),
    ("twice", "from the loss on", ("error = (z3 - y) / n", "error = 2 * (z3 - y) / n")),
    ("half", "from the loss on", ("error = (z3 - y) / n", "error = 0.5 * (z3 - y) / n")),
    ("not averaged", "from the loss on, the samples", ("error = (z3 - y) / n", "error = z3 - y")),
    ("averaged once more", "from the loss on, the samples",
     ("error = (z3 - y) / n", "error = (z3 - y) / n / n")),
    ("times the learning rate", "from the loss on", ("error = (z3 - y) / n", "error = lr * (z3 - y) / n")),
    ("derivative forgotten", "in layer 0", ("d1 = e1 * slope(z1)", "d1 = e1")),
    ("derivative forgotten", "in layer 1", ("d2 = e2 * slope(z2)", "d2 = e2")),
    ("derivative forgotten", "in layer 0; in layer 1",
     ("d2 = e2 * slope(z2)", "d2 = e2"), ("d1 = e1 * slope(z1)", "d1 = e1")),
    ("derivative at the activation", "in layer 0", ("d1 = e1 * slope(z1)", "d1 = e1 * slope(a1)")),
    ("output formula at the pre-activation", "in layer 1",
     ("d2 = e2 * slope(z2)", "d2 = e2 * (1 - z2 ** 2)")),
    ("derivative of another layer", "in layer 0, of layer 1", ("d1 = e1 * slope(z1)", "d1 = e1 * slope(z2)")),
    ("derivative of another layer", "in layer 1, of layer 0", ("d2 = e2 * slope(z2)", "d2 = e2 * slope(z1)")),
    ("upstream left out", "in layer 0", ("d1 = e1 * slope(z1)", "d1 = slope(z1)")),
    ("derivative left out on the way back", "in layer 1", ("e1 = w2.T @ d2", "e1 = w2.T @ e2")),
    ("weights left out on the way back", "in layer 1", ("e1 = w2.T @ d2", "e1 = d2.sum(axis=0)")),
    ("weights left out on the way back", "in layer 2", ("e2 = w3.T @ d3", "e2 = d3.sum(axis=0)")),
    ("weights not transposed", "in layer 1", ("e1 = w2.T @ d2", "e1 = w2 @ d2")),
    ("weights after their update", "in layer 2", ("e2 = w3.T @ d3", "e2 = (w3 - lr * dw3).T @ d3")),
    ("weights after their update", "in layer 1; in layer 2",
     ("e2 = w3.T @ d3", "e2 = (w3 - lr * dw3).T @ d3"), ("e1 = w2.T @ d2", "e1 = (w2 - lr * dw2).T @ d2")),
    ("transposed", "in layer 1", ("dw2 = d2 @ a1.T", "dw2 = a1 @ d2.T")),
    ("transposed", "w of layer 2", ("dw3 = d3 @ a2.T", "dw3 = a2 @ d3.T")),
    ("outputs for inputs", "in layer 1", ("dw2 = d2 @ a1.T", "dw2 = d2 @ a2.T")),
    ("pre-activations for inputs", "in layer 2", ("dw3 = d3 @ a2.T", "dw3 = d3 @ z2.T")),
    ("pre-activations for inputs", "in layer 1; in layer 2",
     ("dw2 = d2 @ a1.T", "dw2 = d2 @ z1.T"), ("dw3 = d3 @ a2.T", "dw3 = d3 @ z2.T")),
    ("left-over gradients", "; ".join(f"{name} of layer {k}" for name in "bw" for k in range(3)),
     *[(f"db{k} = d{k}.sum(axis=1)", f"db{k} = d{k}.sum(axis=1) + db{k}_before; dw{k} = dw{k} + dw{k}_before")
       for k in (1, 2, 3)]),
    ("bias of one sample for each", "b of layer 0", ("db1 = d1.sum(axis=1)", "db1 = d1")),
    ("bias of one sample for each", "b of layer 0; b of layer 1; b of layer 2",
     *[(f"db{k} = d{k}.sum(axis=1)", f"db{k} = d{k}.T") for k in (1, 2, 3)]),
    ("bias summed over everything", "in layer 1", ("db2 = d2.sum(axis=1)", "db2 = d2.sum()")),
    ("averaged once more", "; ".join(f"in layer {k}, b, the samples" for k in range(3)),
     *[(f"db{k} = d{k}.sum(axis=1)", f"db{k} = d{k}.mean(axis=1)") for k in (1, 2, 3)]),
    ("not averaged", "in layer 0, b, the samples", ("db1 = d1.sum(axis=1)", "db1 = d1.sum(axis=1) * n")),
    ("averaged once more", "; ".join(f"in layer {k}, w, the samples" for k in range(3)),
     ("dw1 = d1 @ x.T", "dw1 = d1 @ x.T / n"), ("dw2 = d2 @ a1.T", "dw2 = d2 @ a1.T / n"),
     ("dw3 = d3 @ a2.T", "dw3 = d3 @ a2.T / n")),
    ("left at zero", "in layer 1, b", ("db2 = d2.sum(axis=1)", "db2 = np.zeros(4)")),
]  # fmt: skip
ONE_BY_ONE_CASES = [
    ("inputs contracted with delta", "in layer 0",
     ("    dw1 = dw1 + d1 @ x0.T", "    dw1 = dw1 + x0.T @ d1")),
    ("one sample only", "in layer 0, the last",
     ("    dw1 = dw1 + d1 @ x0.T", "    dw1 = d1 @ x0.T"), ("    db1 = db1 + d1", "    db1 = d1")),
    ("row against column", "in layer 0",  # the outer product by broadcasting
     ("    d1 = (w2.T @ d2) * slope(z1)", "    d1 = (d2.T @ w2) * slope(z1)"),
     ("    dw1 = dw1 + d1 @ x0.T", "    dw1 = dw1 + d1 * x0.T"),
     ("    db1 = db1 + d1", "    db1 = db1 + d1.sum(axis=1)")),
]  # fmt: skip


@pytest.mark.parametrize("source", [RIGHT, ONE_BY_ONE], ids=["batch", "one by one"])
def test_a_right_backprop_is_right(source):
    mine, _ = ran(source, [], *network())
    report = audited(mine, *network())
    assert report
    assert (report.worst, report.explanations) == ([], [])
    assert str(report) == "right: all 55 entries are the engine's"


@pytest.mark.parametrize("case", CASES + ONE_BY_ONE_CASES, ids=lambda case: f"{case[0]} {case[1]}")
def test_a_mistake_is_named(case):
    name, place, *edits = case
    source = ONE_BY_ONE if case in ONE_BY_ONE_CASES else RIGHT
    mine, before = ran(source, edits, *network())
    report = audited(mine, *network(), lr=LR, before=before)
    assert not report
    assert [names_of(explanation) for explanation in report.explanations] == [{f"{name}, {place}"}]
    table = CHANGES if place[1:].startswith(" of layer") else MISTAKES
    row = next(row for row in table if row.name == name)
    said = " ".join(str(report).split())
    assert f"explained by: 1. {name}, {place}: {row.what} to fix it: {row.fix}" in said


PAIRED = [
    ("twice", "from the loss on", ("error = (z3 - y) / n", "error = 2 * (z3 - y) / n")),
    ("derivative forgotten", "in layer 0", ("d1 = e1 * slope(z1)", "d1 = e1")),
    ("derivative at the activation", "in layer 1", ("d2 = e2 * slope(z2)", "d2 = e2 * slope(a2)")),
    ("weights not transposed", "in layer 1", ("e1 = w2.T @ d2", "e1 = w2 @ d2")),
    ("weights after their update", "in layer 2", ("e2 = w3.T @ d3", "e2 = (w3 - lr * dw3).T @ d3")),
    ("transposed", "in layer 1", ("dw2 = d2 @ a1.T", "dw2 = a1 @ d2.T")),
    ("averaged once more", "in layer 2, b, the samples", ("db3 = d3.sum(axis=1)", "db3 = d3.mean(axis=1)")),
]


@pytest.mark.parametrize("pair", [*combinations(PAIRED, 2)], ids=lambda pair: f"{pair[0][0]} + {pair[1][0]}")
def test_a_pair_is_named_also_in_the_negative_gradient(pair):
    (first, here, one), (second, there, other) = pair
    mine, _ = ran(RIGHT, [one, other], *network())
    for sign in (1, -1):
        report = audited([sign * part for part in mine], *network(), lr=LR)
        turned = {"the sign is turned, which is right if your code adds these numbers to the weights"}
        expected = {f"{first}, {here}", f"{second}, {there}"} | (turned if sign < 0 else set())
        assert [names_of(explanation) for explanation in report.explanations] == [expected]


def test_two_mistakes_in_one_layer_and_three_in_all():
    edits = [PAIRED[1][2], ("dw1 = d1 @ x.T", "dw1 = x @ d1.T")]
    report = audited(ran(RIGHT, edits, *network())[0], *network())
    assert [names_of(e) for e in report.explanations] == [
        {"derivative forgotten, in layer 0", "transposed, in layer 0"}
    ]
    edits += [PAIRED[2][2]]
    report = audited(ran(RIGHT, edits, *network())[0], *network())
    assert report.explanations == []
    said = " ".join(report.verdict.split())
    assert "not explained by any single mistake or pair tried not tried:" in said
    assert "'weights after their update' needs lr=; 'left-over gradients' needs before=" in said


def test_the_mask_of_the_wrong_side():
    model, xs, ys = network(act="relu")
    source = RIGHT.replace("np.tanh(", "np.maximum(0, ").replace("slope(", "mask(")
    edit = ("d1 = e1 * mask(z1)", "d1 = e1 * (z1 <= 0)")
    for edits, found in ([], []), ([edit], [{"mask of the wrong side, in layer 0"}]):
        mine, _ = ran(source, edits, model, xs, ys, mask=lambda z: z > 0)
        assert [names_of(e) for e in audited(mine, model, xs, ys).explanations] == found


def test_a_bias_summed_over_the_units_where_there_are_as_many_samples():
    model, xs, ys = network(samples=4)
    mine, _ = ran(RIGHT, [("db1 = d1.sum(axis=1)", "db1 = d1.sum(axis=0)")], model, xs, ys)
    found = audited(mine, model, xs, ys).explanations
    assert [names_of(e) for e in found] == [{"bias summed over the units, in layer 0"}]


@pytest.mark.parametrize("reduce", ["sum", "mean"])
@pytest.mark.parametrize("targets", [5, 3])
def test_a_column_of_predictions_minus_a_row_of_targets(reduce, targets):
    model, xs, _ = network(sizes=(3, 1), samples=5)
    ys = [float(i % targets) for i in range(5)]
    (w,), (b,) = matrix.matrices(model)
    x = np.array(xs)
    table = (x @ w.T + b) - np.array(ys)  # (5, 1) - (5,) is (5, 5)
    mine = [(table[:, :, None] * x[:, None, :]).sum(axis=(0, 1)), table.sum()]
    if reduce == "mean":
        mine = [part / table.size for part in mine]
    report = audited(mine, model, xs, ys, reduce=reduce)
    assert [names_of(e) for e in report.explanations] == [
        {"every prediction against every target, from the loss on"}
    ]


@pytest.mark.parametrize("name, source_loss, loss", [
    ("not averaged over outputs", "2 * (z3 - y)", tg.losses.mse),
    ("averaged over outputs", "(z3 - y) / 3", tg.losses.squared_error),
])  # fmt: skip
def test_the_mean_over_the_outputs(name, source_loss, loss):
    model, xs, ys = network(sizes=(4, 4, 4, 3))
    mine, _ = ran(RIGHT, [("error = (z3 - y) / n", f"error = {source_loss}")], model, xs, ys)
    report = tg.audit(model, (xs, ys), loss, mine)
    assert [names_of(e) for e in report.explanations] == [{f"{name}, from the loss on"}]


@pytest.mark.parametrize("name", ["cross_entropy", "bce_with_logits"])
def test_a_derivative_that_is_in_the_loss(name):
    """(p − y) p (1 − p) is due for a squared error of p; for a loss of logits it is p − y."""
    classes = 3 if name == "cross_entropy" else 1
    model, xs, _ = network(sizes=(4, 5, classes))
    ys = [i % max(2, classes) for i in range(7)]
    (w1, w2), (b1, b2) = matrix.matrices(model)
    x = np.array(xs).T
    a1 = np.tanh(w1 @ x + b1)
    e = np.exp(w2 @ a1 + b2)
    p = e / e.sum(axis=0) if classes > 1 else e / (1 + e)
    y = np.eye(3)[ys].T if classes > 1 else np.array([ys])
    for d2, found in (
        (p - y, []),
        ((p - y) * p * (1 - p), ["derivative that is in the loss, from the loss on"]),
    ):
        d1 = (w2.T @ d2) * (1 - a1**2)
        mine = [d1 @ x.T, d1.sum(axis=1), d2 @ a1.T, d2.sum(axis=1)]
        report = tg.audit(model, (xs, ys), getattr(tg.losses, name), mine)
        assert [names_of(e) for e in report.explanations] == [{name} for name in found]


def test_without_biases_all_is_averaged_once_more():
    rng = random.Random(0)
    model, xs, ys = tg.MLP(2, [3, 1], act="tanh", bias=False, rng=rng), [[1.0, 2.0], [0.5, 3.0]], [1.0, 0.5]
    right = [entry.engine for entry in audited([0.0] * 9, model, xs, ys).entries]
    report = audited([g / 2 for g in right], model, xs, ys)
    names = {name.partition(",")[0] for told in report.explanations for name in told}
    assert names == {"half", "averaged once more"}  # of two samples, and no "weights averaged"


# --- what the data cannot tell ------------------------------------------------------------------------------


def test_what_two_samples_cannot_tell_apart():
    model, xs, ys = network(samples=2)
    mine, _ = ran(RIGHT, [("error = (z3 - y) / n", "error = 2 * (z3 - y) / n")], model, xs, ys)
    report = audited(mine, model, xs, ys)
    assert [names_of(e) for e in report.explanations] == [
        {"twice, from the loss on"},
        {"not averaged, from the loss on, the samples"},
    ]
    said = " ".join(str(report).split())
    assert "explained by any of these 2, which cannot be told apart on this data: 1. twice, from" in said
    assert "or 1. not averaged, from the loss on, the samples" in said
    assert "to tell them apart: use more than two samples, give the layers different widths" in said


def test_without_lr_an_update_is_not_tried_and_that_is_said():
    mine, _ = ran(RIGHT, [PAIRED[4][2]], *network())
    report = audited(mine, *network())
    assert report.explanations == []
    assert "'weights after their update' needs lr=" in report.verdict
    assert (
        "from the loss down, w of layer 2 and b of layer 2 are right; the first that differ are w of layer 1 "
        "and b of layer 1: the fault is in layer 1, or in what layer 2 passes down"
        in " ".join(str(report).split())
    )
    assert report.suspects == ["affine 2", "activation 2", "affine 3"]


def test_a_gradient_of_something_else():
    rng = random.Random(0)
    report = audited([rng.random() for _ in range(55)], *network())
    assert len(report.worst) == 55
    assert "and not one of the entries is right: is it the same loss, the same data?" in report.hints


def test_a_factor_and_weight_decay_are_seen_where_nothing_explains_them():
    model, xs, ys = network()
    mine, _ = ran(RIGHT, [], model, xs, ys)
    report = audited([0.3 * part for part in mine], model, xs, ys)
    assert "but every entry is 0.3 times the engine's: look for that number" in " ".join(str(report).split())
    weights, _ = matrix.matrices(model)
    decayed = [part + 0.3 * weights[i // 2] if i % 2 == 0 else part for i, part in enumerate(mine)]
    report = audited(decayed, model, xs, ys)
    (names,) = map(names_of, report.explanations)
    assert names == {"weight decay that the loss does not have, w of layer 0; w of layer 1; w of layer 2"}


def test_a_gradient_of_zeros_only():
    report = audited([0.0] * 55, *network())
    assert [names_of(e) for e in report.explanations] == [{"left at zero, from the loss on"}]
    assert "-0" not in [line.split()[-1] for line in str(report).splitlines()]


def test_thirty_two_bits_are_wrong_or_right_as_one_asks():
    mine = [part.astype(np.float32) for part in ran(RIGHT, [], *network())[0]]
    strict = audited(mine, *network())
    assert not strict
    said = " ".join(str(strict).split())
    assert "but to 0.0001 of the largest of its matrix every entry agrees" in said
    assert "audit with tolerance=0.0001" in said
    assert audited(mine, *network(), tolerance=1e-5)


# --- the report ---------------------------------------------------------------------------------------------


def test_the_table_shows_the_worst_first_and_counts_the_rest():
    model, xs, ys = network()
    mine = audited([0.0] * 55, model, xs, ys)
    flat = [entry.engine for entry in mine.entries]
    assert [entry.label for entry in mine.entries] == [path for path, _ in model.named_parameters()]
    flat[7] += 2.0
    flat[30] *= -3.0
    report = audited(flat, model, xs, ys)
    lines = str(report).splitlines()
    assert lines[0] == "2 of 55 entries differ from the engine's"
    assert lines[1].split() == ["mine", "engine", "ratio"]
    assert lines[2].split()[0] == "layers.0.neurons.1.w.2"
    label, own, engine, ratio = lines[3].split()
    assert label == "layers.1.neurons.2.w.0"
    assert float(own) / float(engine) == pytest.approx(float(ratio)) == -3.0
    assert report.worst == sorted(report.worst, key=lambda e: -abs(e.mine - e.engine))
    assert str(mine).splitlines()[10] == "  and 47 more"


def test_one_wild_entry_hides_no_other():
    model, xs, ys = network()
    flat = [entry.engine for entry in audited([0.0] * 55, model, xs, ys).entries]
    flat[3] += 1e12
    flat[4] += 1e-3
    assert [entry.label for entry in audited(flat, model, xs, ys).worst] == [
        "layers.0.neurons.0.w.3",
        "layers.0.neurons.0.b",
    ]


def test_nothing_is_touched():
    model, xs, ys = network()
    for p in model.parameters():
        p.grad = 5.0
    numbers, (mine, before) = model.state_dict(), ran(RIGHT, [PAIRED[0][2]], model, xs, ys)
    copies = [part.copy() for part in mine]
    with tg.no_grad():
        audited(mine, model, xs, ys, before=before, lr=LR)
    assert model.state_dict() == numbers
    assert {p.grad for p in model.parameters()} == {5.0}
    assert all((part == copy).all() for part, copy in zip(mine, copies))


# --- any MLP ------------------------------------------------------------------------------------------------


@given(matrix.networks())
@settings(deadline=None, max_examples=60)
def test_matrix_backprop_of_any_network_is_right(network):
    model, xs, acts, rng = network
    targets = [[rng.gauss(0.0, 1.0) for _ in model.layers[-1].neurons] for _ in xs]
    weights, biases = matrix.matrices(model)
    outputs, sums = matrix.forward(weights, biases, acts, np.array(xs).T)
    dws, dbs = matrix.gradients(weights, acts, outputs, sums, outputs[-1] - np.array(targets).T)
    has_bias = model.layers[0].neurons[0].b is not None
    mine = [part for pair in zip(dws, dbs) for part in pair] if has_bias else dws
    assert audited(mine, model, xs, targets, reduce="sum")


def test_other_losses_and_one_output():
    xs, ys = tg.data.moons(12)
    model = tg.MLP(2, [3, 1], act="sigmoid", rng=random.Random(1))
    sum(tg.losses.bce_with_logits(model(x), (y + 1) / 2) for x, y in zip(xs, ys)).backward()
    data = (xs, [(y + 1) / 2 for y in ys])
    flat = [p.grad for p in model.parameters()]
    assert tg.audit(model, data, tg.losses.bce_with_logits, flat)
    assert not tg.audit(model, data, tg.losses.squared_error, flat)
    xs, ys = tg.data.spiral(9)
    model = tg.MLP(2, [4, 3], act=lambda v: v * v.tanh(), rng=random.Random(1))  # no row of the table
    sum(tg.losses.cross_entropy(model(x), y) for x, y in zip(xs, ys)).backward()
    flat = [p.grad for p in model.parameters()]
    assert tg.audit(model, (xs, ys), tg.losses.cross_entropy, flat)
    doubled = tg.audit(model, (np.array(xs), np.array(ys)), tg.losses.cross_entropy, [2 * g for g in flat])
    assert [names_of(e) for e in doubled.explanations] == [{"twice, from the loss on"}]


def test_a_model_that_is_no_plain_mlp_is_refused():
    model, xs, ys = network()
    changed = model.copy()
    changed.layers[1].neurons[0].act = None
    tied = model.copy()
    tied.layers[1].neurons[0].w[0] = tied.layers[1].neurons[0].w[1]
    more = model.copy()
    more.temperature = tg.Value(1.0)
    half = model.copy()
    half.layers[1].neurons[2].b = None
    for other in (changed, tied, more, half):
        with pytest.raises(ValueError, match=r"this model is not a plain MLP, .* audit\(loss, mine\)"):
            audited([0.0] * 55, other, xs, ys)


# --- the forms of gradients ---------------------------------------------------------------------------------


class Array:
    """An array of a library that nobody here knows."""

    def __init__(self, tree):
        self.tree = tree

    def __len__(self):
        return len(self.tree)

    def tolist(self):
        return self.tree


def test_every_form_is_read():
    model, xs, ys = network()
    mine, _ = ran(RIGHT, [], model, xs, ys)
    flat = [entry.engine for entry in audited(mine, model, xs, ys).entries]
    dw1, db1, dw2, db2, dw3, db3 = mine
    forms = {
        "flat": flat,
        "flat array": np.array(flat),
        "paths": {path: g for (path, _), g in zip(model.named_parameters(), flat)},
        "scalars of NumPy": [np.float64(g) for g in flat],
        "matrices": mine,
        "lists": [part.tolist() for part in mine],
        "arrays of others": [Array(part.tolist()) for part in mine],
        "pairs": [(dw1, db1), (dw2, db2), (dw3, db3)],
        "columns and rows": [dw1, db1[:, None], dw2, db2[None, :], dw3, db3],
        "names": {"W1": dw1, "b1": db1, "W2": dw2, "b2": db2, "W3": dw3, "b3": db3},
        "names in any order": {"db1": db2, "dW0": dw1, "dW2": dw3, "db0": db1, "dW1": dw2, "db2": db3},
    }
    for name, form in forms.items():
        assert audited(form, model, xs, ys), name


def test_matrices_that_are_all_in_out_are_read_so():
    mine, _ = ran(RIGHT, [], *network())
    report = audited([part.T for part in mine], *network())
    assert report
    assert report.notes == ["the weight matrices are (in, out), and are read so"]
    wrong, _ = ran(RIGHT, [PAIRED[1][2]], *network())
    report = audited([part.T for part in wrong], *network())
    assert [names_of(e) for e in report.explanations] == [{"derivative forgotten, in layer 0"}]


def test_square_matrices_that_are_all_in_out_cannot_be_seen_to_be_so():
    mine, _ = ran(RIGHT, [], *network(sizes=(3, 3, 3, 3)))
    report = audited([part.T for part in mine], *network(sizes=(3, 3, 3, 3)))
    assert [names_of(e) for e in report.explanations] == [{"transposed, in layer 0; in layer 1; in layer 2"}]
    assert "if your code keeps its weights (in, out), yours may be right" in " ".join(str(report).split())


def test_what_numpy_would_stretch_is_stretched_and_noted():
    model, xs, ys = network(sizes=(2, 3, 1))
    report = audited([[1.0, 2.0], 0.5, [4.0, 5.0, 6.0], 0.25], model, xs, ys)
    assert [entry.mine for entry in report.entries] == [1.0, 2.0, 0.5] * 3 + [4.0, 5.0, 6.0, 0.25]
    assert report.notes == [
        "mine[0] of shape (2,) is stretched to (3, 2), as `W -= lr * dW` would do",
        "mine[1] of shape () is stretched to (3, 1), as `W -= lr * dW` would do",
    ]
    assert "note: mine[0] of shape (2,) is stretched" in str(report)


BAD = [
    (None, TypeError, "mine is None: nothing has filled it yet"),
    (3.0, TypeError, "mine is 3.0: the gradients of an MLP are a flat list"),
    (np.array(3.0), TypeError, "mine is array(3.): the gradients of an MLP are a flat list"),
    ("abc", TypeError, "mine is 'abc'"),
    ({1.0, 2.0}, TypeError, "mine is {1.0, 2.0}: the gradients of an MLP are"),
    ([1.0] * 12 + [10**400], ValueError, "b']: the int of 1329 bits is beyond the floats"),
    ([1.0] * 12 + [tg.Value(1.0)], TypeError, "not a number or a list of numbers: hand in its .grad"),
    ([], ValueError, "mine is empty; there must be at least one number"),
    ({}, ValueError, "mine does not fit the model: 'layers.0.neurons.0.w.0' is missing"),
    ([1.0] * 12, ValueError, "mine has 12 entries, for 2 layers with biases and 13 parameters"),
    ([1.0] * 3 + [math.nan] + [1.0] * 9, ValueError, "mine['layers.0.neurons.1.w.0'] is nan"),
    ([1.0] * 3 + ["x"] + [1.0] * 9, TypeError, "mine['layers.0.neurons.1.w.0'] is 'x', not a number"),
    ([[[1.0, 2.0]] * 3, [1.0] * 3, [[1.0] * 3], None], TypeError, "mine[3] is None: nothing has"),
    ([[[1.0, 2.0]] * 3, [1.0] * 3, [[1.0] * 3], []], ValueError, "mine[3] is empty"),
    ([[[1.0, 2.0], [1.0, math.inf], [1.0, 2.0]], [1.0] * 3, [[1.0] * 3], [1.0]], ValueError,
     "mine[0][1][1] is inf: find where it began"),
    ([[[1.0, 2.0], [1.0], [1.0, 2.0]], [1.0] * 3, [[1.0] * 3], [1.0]], ValueError,
     "mine[0] is ragged: mine[0][1] has the shape (1,), mine[0][0] (2,)"),
    ([[[1.0] * 4] * 3, [1.0] * 3, [[1.0] * 3], [1.0]], ValueError,
     "mine[0] has the shape (3, 4), and the weight gradients of layer 0 are (3, 2), out and in"),
    ([[[1.0] * 2] * 3, [1.0] * 4, [[1.0] * 3], [1.0]], ValueError,
     "mine[1] has the shape (4,), and the bias gradients of layer 0 are (3,)"),
    ([[[1.0] * 2] * 3, [1.0] * 7, [[1.0] * 3], [1.0]], ValueError,
     "are (3,): this is one number for each sample; sum over the samples, the other axis"),
    ([([[1.0] * 2] * 3, [1.0] * 4), ([[1.0] * 3], [1.0])], ValueError, "mine[0][1] has the shape (4,)"),
    ({"W1": [[1.0] * 2] * 3, "b1": [1.0, "y", 1.0], "W2": [[1.0] * 3], "b2": [1.0]}, TypeError,
     "mine['b1'][1] is 'y'"),
    ([[[1j, 2.0]] * 3, [1.0] * 3, [[1.0] * 3], [1.0]], TypeError, "mine[0][0][0] is 1j, not a number"),
]  # fmt: skip


@pytest.mark.parametrize("mine, error, text", BAD, ids=[text for *_, text in BAD])
def test_what_is_no_gradient_is_refused_by_its_place(mine, error, text):
    model, xs, ys = network(sizes=(2, 3, 1))
    with pytest.raises(error) as caught:
        audited(mine, model, xs, ys)
    assert text in str(caught.value)
    if mine is not None:
        with pytest.raises(error) as caught:
            audited([0.5] * 13, model, xs, ys, before=mine)
        assert text.replace("mine", "before") in str(caught.value)


def test_wrong_arguments_are_refused():
    model, xs, ys = network()
    loss = tg.losses.squared_error
    for what, options, error, text in (
        (
            (model, (xs, ys), loss),
            {},
            TypeError,
            "audit takes (model, data, loss, mine) for an MLP, (f, inputs",
        ),
        ((tg.Neuron(2), (xs, ys), loss, []), {}, TypeError, "not (Neuron, tuple, function, list)"),
        ((model, xs, loss, []), {}, TypeError, "data is a pair (xs, ys)"),
        ((model, (xs, ys[1:]), loss, []), {}, ValueError, "7 inputs for 6 targets"),
        ((model, ([], []), loss, []), {}, ValueError, "the dataset is empty"),
        ((model, (xs, ys), loss, []), {"reduce": "max"}, ValueError, "reduce is 'sum' or 'mean', not 'max'"),
        ((model, (xs, ys), loss, []), {"tolerance": 0}, ValueError, "tolerance is a number above 0, not 0"),
        ((model, (xs, ys), loss, []), {"lr": "x"}, TypeError, "lr is a number above 0, not 'x'"),
        ((model, (xs, ys), loss, []), {"lr": math.nan}, ValueError, "lr is a number above 0, not nan"),
        ((model, ([[math.nan] * 4], [[1.0, 1.0]]), loss, []), {}, ValueError, "xs[0][0] is nan"),
        ((tg.Value(1.0), {}), {"lr": 0.1}, TypeError, "lr and reduce are for audit(model, data, loss, mine)"),
        ((model, (xs, ys), lambda p, y: 1.0, [0.0] * 55), {}, TypeError, "is 1.0, not a Value"),
    ):
        with pytest.raises(error) as caught:
            tg.audit(*what, **options)
        assert text in str(caught.value)


def test_an_engine_gradient_that_is_not_finite_is_an_error_with_its_path():
    model, xs, ys = network(sizes=(2, 1))
    with pytest.raises(tg.NonFiniteError, match=r"engine's own gradient is not finite, at sample 0: log of"):
        tg.audit(model, (xs, ys), lambda p, y: (p * 0.0).log(), [0.0] * 3)


# --- any graph ----------------------------------------------------------------------------------------------


def graph():
    w = [[tg.Value(0.5 + i - j * j, label=f"w.{i}.{j}") for j in range(2)] for i in range(2)]
    b = tg.Value(3.0, label="b")
    loss = (w[0][0] * w[0][1] + w[1][0] * b).tanh() + w[1][1] * w[1][1] * b
    return loss, w, b, tg.gradients(loss, w), tg.gradients(loss, b)


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("forms", range(4))
def test_any_graph_in_any_form(forms, sign):
    loss, w, b, dw, db = graph()
    mine = [[sign * g for g in row] for row in dw]
    form = [
        {"w": mine, "b": sign * db},
        {b: sign * db, **{v: g for row, gs in zip(w, mine) for v, g in zip(row, gs)}},
        {"b": np.float64(sign * db), "w": np.array(mine)},
        [(w, mine), (b, sign * db)],
    ][forms]
    report = tg.audit(loss, form)
    assert bool(report) == (sign > 0)
    assert [names_of(e) for e in report.explanations] == ([] if report else [{"negative, everywhere"}])


def test_factors_transposition_and_left_overs_of_any_graph():
    loss, _, _, dw, db = graph()
    dw, earlier = np.array(dw), {"w": np.array([[1.0, 2.0], [3.0, 4.0]]), "b": 5.0}
    plus = {"w": dw + earlier["w"], "b": db + 5.0}
    for mine, options, found in (
        ({"w": 2 * dw, "b": 2 * db}, {}, [{"twice, everywhere"}]),
        ({"w": dw / 2, "b": db / 2}, {}, [{"half, everywhere"}]),
        ({"w": dw.T, "b": db}, {}, [{"transposed, w"}]),
        ({"w": -dw.T, "b": -db}, {}, [{"negative, everywhere", "transposed, w"}]),
        (plus, {"before": earlier}, [{"left-over gradients, everywhere"}]),
        (plus, {}, []),
        ({"w": dw, "b": 2 * db}, {}, []),
    ):
        report = tg.audit(loss, mine, **options)
        assert not report
        assert [names_of(e) for e in report.explanations] == found
    assert "every entry is 3 times the engine's: 3 samples summed" in str(
        tg.audit(loss, {"w": 3 * dw, "b": 3 * db})
    ).replace("\n     ", " ")
    assert "divided by 7, which may be" in str(tg.audit(loss, {"w": dw / 7, "b": db / 7}))
    assert "not explained by a factor" in str(tg.audit(loss, {"w": dw, "b": 2 * db}))


def test_one_number_is_not_explained_by_any_factor():
    w = tg.Value(3.0, label="w")
    report = tg.audit(w * w, {"w": 6.7})
    assert (bool(report), report.explanations) == (False, [])
    assert [names_of(e) for e in tg.audit(w * w, {"w": 12.0}).explanations] == [{"twice, everywhere"}]
    with pytest.raises(tg.NonFiniteError, match=r"engine's own gradient is not finite: .* sqrt of 0"):
        tg.audit((w * 0.0).sqrt(), {"w": 1.0})


def test_a_table_that_is_turned_over():
    w = [[tg.Value(float(i + j), label=f"w.{i}.{j}") for j in range(3)] for i in range(2)]
    loss = sum((v * v * v for row in w for v in row), tg.Value(0.0))
    mine = np.array(tg.gradients(loss, w)).T
    report = tg.audit(loss, {"w": mine})
    assert not report
    assert [names_of(e) for e in report.explanations] == [{"transposed, w"}]


def test_what_is_no_gradient_of_a_graph_is_refused_by_its_place():
    loss, w, b, dw, db = graph()
    for mine, error, text in (
        ({"v": 1.0}, ValueError, "no leaf of the loss has the label 'v'; there are 'b', 'w.0.0'"),
        ({}, ValueError, "mine is empty"),
        (3.0, TypeError, "mine is a dict of gradients by the labels of leaves, or a list of pairs"),
        ({"w": dw[0]}, ValueError, "mine['w'] has the shape (2,), and its parameters (2, 2)"),
        ({"w": [dw[0], [1.0]]}, ValueError, "mine['w'] is ragged: mine['w'][1] has the shape (1,)"),
        ({"w": [dw[0], [1.0, math.nan]]}, ValueError, "mine['w'][1][1] is nan"),
        ([(w, dw), (b, None)], TypeError, "mine[1] is None"),
        ([(w, dw), (3.0, db)], TypeError, "3.0 among the Values is not one"),
        ([([], [1.0])], ValueError, "mine[0] has the shape (1,), and its parameters (0,)"),
    ):
        with pytest.raises(error) as caught:
            tg.audit(loss, mine)
        assert text in str(caught.value)
    for mine, before in (({"b": db}, {"w": dw}), ({"b": db}, 3.0), ([(b, db)], [3.0]), ([(b, db)], [])):
        with pytest.raises(ValueError, match="before has the form of mine, with the same parameters"):
            tg.audit(loss, mine, before=before)
