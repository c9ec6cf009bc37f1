"""A training as the page runs it: its interpreter, its batches and its losses, in node, against the engine's.

The scripts are those of the page.  Losses are `fit`'s, for every optimizer, batch, penalty and schedule.
"""

import json
import random
import subprocess

import pytest
from support.graphs import data_of
from support.nets import NETS, columns, eager

import tinygrad_bp as tg
from tinygrad_bp import Value
from tinygrad_bp.compiler import compile
from tinygrad_bp.optim import SGD, Adagrad, Adam, AdamW, RMSProp
from tinygrad_bp.schedules import cosine
from tinygrad_bp.show.playground import FOLDER, playground
from tinygrad_bp.show.playground.program import packed
from tinygrad_bp.show.stepper.sealed import PAGE

SCRIPTS = (PAGE / "machine.js", FOLDER / "program.js", FOLDER / "training.js")
RUNNER = """
%s
const data = JSON.parse(require("fs").readFileSync(0)), text = x => Number.isFinite(x) ? x : String(x);
const tasks = {
  nets: ({program, leaves, cases}) => { const run = new Program(program); return cases.map(columns => {
    const found = columns.map(doubles);
    return [...run.run(doubles(leaves), found, found[0].length)].map(text);
  }); },
  train: ({page, steps, start, size, factor}) => { const training = new Training(page);
    if (size) training.use(size);
    if (start) training.begin(start);
    training.factor = factor ?? 1;
    for (let i = 0; i < steps; i++) training.advance();
    const {params, step, stopped} = training, moments = training.moments.map(({step}) => step);
    const losses = training.losses.map(({loss}) => text(loss)), at = training.lossAt(params);
    return {losses, params: [...params], step, stopped, moments, at};
  },
};
process.stdout.write(JSON.stringify(tasks[data.task](data)));
"""


@pytest.fixture(scope="module")
def ask(node):
    """Gives the page's scripts a task in node."""
    script = RUNNER % "\n".join(path.read_text(encoding="utf-8") for path in SCRIPTS)

    def ask(task, **data):
        text = json.dumps({"task": task, **data})
        ran = subprocess.run([node, "-e", script], input=text, capture_output=True, text=True, timeout=120)
        assert ran.returncode == 0, ran.stderr
        return json.loads(ran.stdout)

    return ask


@pytest.mark.parametrize("name", [name for name in NETS if name not in ("long sum", "deep chain")])
def test_every_net_has_the_engines_gradient(name, ask):
    net = NETS[name]()
    step = compile(net.loss, net.params)
    cases, truths = [], []
    for n in (1, 3, 9, 130):  # 128 samples are run at a time
        found = columns(net, n)
        program, leaves = step.for_page(*found)
        rows = [
            [x for entry in sample for x in (entry if isinstance(entry, list) else [entry])]
            for sample in zip(*found)
        ]
        cases.append([packed(column) for column in zip(*rows)])
        truths.append(eager(net, found))
    answers = ask("nets", program=program, leaves=packed(v.data for v in leaves), cases=cases)
    for (*grads, loss), (value, sums, sizes) in zip(answers, truths, strict=True):
        scale = max(*sizes, 1e-3)
        assert abs(loss - value) <= 1e-12 * max(abs(value), 1e-3)
        assert max(abs(a - b) for a, b in zip(grads, sums, strict=True)) <= 1e-12 * scale


class Heavy(tg.optim.Optimizer):
    memory = ("speed",)

    def update(self, p, g, t, lr, speed):
        speed = 0.5 * speed + g
        return p - lr * speed, speed


OPTIMIZERS = {
    "SGD": lambda p: SGD(p, lr=0.05),
    "momentum": lambda p: SGD(p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-3),
    "Adam": lambda p: Adam(p, lr=cosine(0.02, 150)),
    "AdamW": lambda p: AdamW(p, lr=0.01, clip_norm=0.5, clip_value=0.2),
    "RMSProp": lambda p: RMSProp(p, lr=0.01),
    "Adagrad": lambda p: Adagrad(p, lr=0.05),
    "of your own": lambda p: Heavy(p, lr=0.05),
}


def trained(make, batch, reduce="mean", penalised=False, steps=200, start=None):
    """The page of a training, and the losses of `fit` from the same start."""
    xs, signs = tg.data.moons(45)
    ys = [(y + 1) / 2 for y in signs]
    model = tg.MLP(2, [6, 5, 1], act="tanh", rng=random.Random(3))
    optimizer = make(model.parameters())
    penalty = (lambda: tg.ops.sum(*[p * p for p in model.parameters()]) * 1e-3) if penalised else None
    how = {"batch_size": batch, "reduce": reduce, "penalty": penalty, "seed": 5}
    page = data_of(playground(model, (xs, ys), tg.losses.bce_with_logits, optimizer, **how))[1]
    history = tg.fit(model, (xs, ys), tg.losses.bce_with_logits, optimizer, steps, **how)
    return page, history, model


@pytest.mark.parametrize("batch", [None, 8, 1, 44])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_losses_are_those_of_fit(name, batch, ask):
    penalised = name in ("SGD", "of your own")
    page, history, model = trained(OPTIMIZERS[name], batch, "sum" if batch == 1 else "mean", penalised)
    answer = ask("train", page=page, steps=200)
    assert answer["losses"] == pytest.approx(history.losses, rel=1e-9, abs=1e-12)
    assert answer["params"] == pytest.approx([p.data for p in model.parameters()], rel=1e-8, abs=1e-10)


def test_an_optimizer_that_has_taken_steps_goes_on_from_there(ask):
    xs, ys = tg.data.moons(20)
    model = tg.MLP(2, [3, 1], act="tanh", rng=random.Random(0))
    adam = Adam(model.parameters(), lr=0.05)
    tg.fit(model, (xs, ys), tg.losses.hinge, adam, 7, reduce="mean")
    page = data_of(playground(model, (xs, ys), tg.losses.hinge, adam, reduce="mean"))[1]
    history = tg.fit(model, (xs, ys), tg.losses.hinge, adam, 50, reduce="mean")
    assert ask("train", page=page, steps=50)["losses"] == pytest.approx(history.losses, rel=1e-9, abs=1e-12)


def test_another_start_and_another_batch_are_those_of_fit_too(ask):
    page = trained(OPTIMIZERS["Adam"], None, steps=0)[0]
    answer = ask("train", page=page, steps=60, start=2, size=8)
    assert len({*page["starts"]}) == 4
    again = ask("train", page={**page, "starts": [page["starts"][2]], "batch": 8}, steps=60)
    assert answer["losses"] == again["losses"]


def test_a_start_keeps_equal_numbers_and_the_spread_of_each_layer():
    model = tg.MLP(2, [30, 1], rng=random.Random(0))
    page = data_of(playground(model, tg.data.moons(20), tg.losses.hinge, SGD(model.parameters())))[1]
    import base64
    import struct

    first, *others = [
        struct.unpack(f"<{len(page['names'])}d", base64.b64decode(text)) for text in page["starts"]
    ]
    assert list(first) == [p.data for p in model.parameters()]
    for other in others:
        assert [x for x, p in zip(other, model.parameters()) if p.label.endswith(".b")] == [0.0] * 31
        weights = [x for x, p in zip(other, model.parameters()) if ".w." in p.label]
        assert 0.8 < max(map(abs, weights)) < 1.3 and len({*weights}) == len(weights)


def test_a_step_that_is_not_finite_is_not_taken(ask):
    w = Value(1.0, label="w")
    sgd = SGD([w], lr=1e200)
    page = data_of(playground(lambda x: w * x[0], ([1.0, 2.0], [1.0, 2.5]), tg.losses.mse, sgd))[1]
    answer = ask("train", page=page, steps=9)
    with pytest.raises(tg.NonFiniteError):
        tg.fit(lambda x: w * x[0], ([1.0, 2.0], [1.0, 2.5]), tg.losses.mse, sgd, 9)
    assert answer["stopped"] and answer["params"] == [w.data] and answer["step"] == len(answer["losses"])


def test_moments_are_thinned_and_the_last_one_is_there(ask):
    page = trained(OPTIMIZERS["SGD"], 8, steps=1)[0]
    answer = ask("train", page=page, steps=1000)
    assert answer["moments"][0] == 0 and 100 <= len(answer["moments"]) <= 201
    assert answer["step"] == 1000


def test_the_loss_on_all_samples_has_the_penalty(ask):
    page, history, _ = trained(OPTIMIZERS["SGD"], None, penalised=True, steps=31)
    assert ask("train", page=page, steps=30)["at"] == pytest.approx(history.losses[30], rel=1e-9)


# --- what cannot be --------------------------------------------------------------------------------------


def small(**options):
    w = Value(0.5, label="w")
    given = {"model": lambda x: w * x[0], "data": ([1.0, 2.0], [1.0, 2.0]), "loss": tg.losses.mse}
    given |= {"optimizer": SGD([w], lr=0.1), **options}
    return playground(**given)


class OwnStep(SGD):
    def step(self):
        super().step()


@pytest.mark.parametrize(
    "options, error, told",
    [
        (
            {"model": lambda x: Value(1.0) if x[0] > 0 else Value(0.0)},
            tg.CompileError,
            "playground: this training cannot run in a page: ",
        ),
        (
            {"optimizer": OwnStep([Value(1.0)], lr=0.1)},
            tg.CompileError,
            r"playground: OwnStep has a step\(\) of its own, which no page can run: write update\(",
        ),
        (
            {"optimizer": SGD([Value(0.0) for _ in range(20_001)], lr=0.1)},
            tg.DrawError,
            "playground: 20,001 parameters, and 20,000 are the most that a page trains: make the layers",
        ),
        (
            {"data": ([1.0] * 2001, [1.0] * 2001)},
            tg.DrawError,
            r"playground: 2,001 samples, and 2,000 are the most that a page holds: take some, as in",
        ),
        ({"loss": 3}, TypeError, "playground takes a loss such as losses.mse and an optimizer"),
        ({"optimizer": "sgd"}, TypeError, "playground takes a loss such as losses.mse and an optimizer"),
        ({"reduce": "max"}, ValueError, "playground: reduce is 'sum' or 'mean', not 'max'"),
        ({"batch_size": 3}, ValueError, "playground: a batch_size of 3 for 2 samples: at most 2"),
        ({"batch_size": 0}, ValueError, "playground: batch_size is a whole number from 1 up"),
        ({"starts": 0}, ValueError, "playground: starts is a whole number from 1 up"),
        ({"data": ([], [])}, ValueError, "playground: the dataset is empty"),
        ({"data": ([1.0], [1.0, 2.0])}, ValueError, "playground: 1 inputs for 2 targets"),
    ],
)
def test_what_a_page_cannot_run_is_refused_in_a_sentence(options, error, told):
    with pytest.raises(error, match=told):
        small(**options)


def test_an_operation_that_a_page_lacks_is_named(tmp_path):
    import math

    odd = tg.Op("odd", lambda x: math.gamma(x), lambda o, x: (tg.exp(x),), 1)
    w = Value(0.5, label="w")
    path = tmp_path / "page.html"
    with pytest.raises(
        tg.CompileError, match="a page has no 'odd': write its value and its partials in operations"
    ):
        playground(lambda x: odd(w * x[0]), ([1.0], [1.0]), tg.losses.mse, SGD([w], lr=0.1), path)
    assert not path.exists()
