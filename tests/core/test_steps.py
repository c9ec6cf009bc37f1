"""fit in compiled code against fit on graphs: the same losses, parameters, gradients and errors.

Sums over samples may be taken in another order, so numbers agree to rounding.  `auto` is asked for what it
chooses, and for what it says where it cannot compile.
"""

import gc
import random
import signal
import sys
import tracemalloc
import warnings

import pytest
from support.optimizers import OTHERS

import tinygrad_bp as tg
from tinygrad_bp import optim, schedules

MOONS = tg.data.moons(24, seed=1)


def trained(engine, loss=tg.losses.hinge, data=MOONS, steps=12, momentum=0.0, lr=0.05, out=1, **options):
    model = tg.MLP(2, [5, out], act="tanh", rng=random.Random(3))
    sgd = tg.optim.SGD(model.parameters(), lr=lr, momentum=momentum)
    history = tg.fit(model, data, loss, sgd, steps, engine=engine, reduce="mean", **options)
    return model, history, sgd


def assert_same(a, b):
    for (model, history, _), (other, expected, _) in [(a, b)]:
        assert history.losses == pytest.approx(expected.losses, rel=1e-12)
        assert list(model.state_dict().values()) == pytest.approx(
            list(other.state_dict().values()), rel=1e-10
        )
        grads = [[p.grad for p in m.parameters()] for m in (model, other)]
        assert grads[0] == pytest.approx(grads[1], rel=1e-9, abs=1e-14)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("batch_size", [None, 7])
def test_compiled_training_is_eager_training(momentum, batch_size):
    options = {"momentum": momentum, "batch_size": batch_size}
    compiled, eager = (trained(engine, **options) for engine in ("compiled", "eager"))
    assert_same(compiled, eager)
    assert compiled[1].engine in ("machine code", "generated Python")
    assert eager[1].engine == "eager"
    if momentum:
        assert compiled[2].velocity == pytest.approx(eager[2].velocity, rel=1e-9)


def test_the_sum_of_the_losses_and_steps_in_several_calls():
    def both(engine):
        model = tg.MLP(2, [4, 1], rng=random.Random(0))
        sgd = tg.optim.SGD(model.parameters(), lr=0.002, momentum=0.5)
        for steps in (1, 2, 9):
            history = tg.fit(model, MOONS, tg.losses.mse, sgd, steps, engine=engine)
        return model, history, sgd

    assert_same(both("compiled"), both("eager"))


def test_a_penalty_is_a_second_kernel():
    def with_penalty(engine):
        model = tg.MLP(2, [4, 1], rng=random.Random(0))
        sgd = tg.optim.SGD(model.parameters(), lr=0.01)
        penalty = lambda: 0.1 * tg.sum([p * p for p in model.parameters()])  # noqa: E731
        return model, tg.fit(model, MOONS, tg.losses.hinge, sgd, 8, penalty=penalty, engine=engine), sgd

    assert_same(with_penalty("compiled"), with_penalty("eager"))


def test_classes_are_data_for_compiled_code():
    xs, ys = tg.data.spiral(30)
    options = {"loss": tg.losses.cross_entropy, "data": (xs, ys), "out": 3}
    assert_same(trained("compiled", **options), trained("eager", **options))


def test_a_class_that_is_none_is_refused_by_compiled_code_too():
    for engine in ("eager", "compiled"):
        with pytest.raises(ValueError, match="the target is a class from 0 to 2, not 7"):
            trained(engine, loss=tg.losses.cross_entropy, data=([[0.0, 1.0]] * 3, [0, 1, 7]), out=3)


@pytest.mark.parametrize("engine", ["eager", "compiled"])
def test_a_loss_that_is_not_finite_is_explained(engine):
    model = tg.MLP(1, [1], weights=lambda rng, nin, nout: 1.0)
    sgd = tg.optim.SGD(model.parameters(), lr=1e-3)
    with pytest.raises(tg.NonFiniteError, match=r"step 0, at sample 1: log of 0.0 .*is -inf"):
        tg.fit(model, ([1.0, 0.0], [0.0, 0.0]), lambda p, y: -tg.log(p) - y, sgd, 5, engine=engine)
    assert [p.data for p in model.parameters()] == [1.0, 0.0]


@pytest.mark.parametrize("engine", ["eager", "compiled"])
def test_a_run_that_explodes_stops_at_finite_parameters(engine):
    with pytest.raises(tg.NonFiniteError, match="lower the learning rate") as caught:
        trained(engine, loss=tg.losses.squared_error, lr=1e200, steps=50)
    assert "fit stopped in step" in str(caught.value)


def test_auto_compiles_where_it_pays():
    assert trained("auto", steps=3)[1].engine == "eager"
    assert trained("auto", steps=1000)[1].engine != "eager"


def test_auto_says_why_it_does_without():
    def choosy(p, y):
        return p if p > 0 else -p

    with pytest.warns(RuntimeWarning, match=r"fit uses the eager engine.*p if p > 0 else -p") as told:
        history = trained("auto", loss=choosy, steps=500)[1]
    assert history.engine == "eager"
    assert len(told) == 1
    assert "\n" not in str(told[0].message)
    with pytest.raises(tg.CompileError, match=r"tg\.where"):
        trained("compiled", loss=choosy)


def test_an_unknown_engine():
    with pytest.raises(ValueError, match="engine is 'auto', 'eager' or 'compiled', not 'gpu'"):
        trained("gpu")


def test_threads_give_the_same_training():
    pytest.importorskip("llvmlite")
    xs, ys = tg.data.quadratic()
    found = []
    for threads in (1, 2, 5):
        model = tg.MLP(1, [8, 8, 1], rng=random.Random(0))
        sgd = tg.optim.SGD(model.parameters(), lr=1e-6)
        tg.fit(model, (xs, ys), tg.losses.squared_error, sgd, steps=20, engine="compiled", threads=threads)
        found.append([p.data for p in model.parameters()])
    assert found[0] == found[1] == found[2]
    for wrong in (0, 1.5, "2"):
        with pytest.raises(ValueError, match="fit: threads is a whole number from 1 up, not"):
            tg.fit(model, (xs, ys), tg.losses.squared_error, sgd, steps=1, threads=wrong)


# --- every rule, batch and size: the same steps as on graphs ----------------------------------------------

RULES = {
    "sgd": lambda ps: optim.SGD(ps, lr=0.05),
    "momentum": lambda ps: optim.SGD(ps, lr=0.05, momentum=0.9, weight_decay=0.01),
    "nesterov": lambda ps: optim.SGD(ps, lr=0.02, momentum=0.9, nesterov=True, clip_norm=0.5),
    "adam": lambda ps: optim.Adam(ps, lr=0.02, clip_value=0.2),
    "adamw": lambda ps: optim.AdamW(ps, lr=schedules.cosine(0.02, steps=12), clip_norm=0.5),
    "rmsprop": lambda ps: optim.RMSProp(ps, lr=schedules.warm_up(0.01, steps=5)),
    "adagrad": lambda ps: optim.Adagrad(ps, lr=0.1, weight_decay=0.01),
    **OTHERS,
}


def run(kind, engine, samples, batch_size, penalized, steps=9, **options):
    model = tg.MLP(2, [5, 1], act="tanh", rng=random.Random(3))
    ps = model.parameters()
    optimizer = kind(ps)
    penalty = (lambda: 0.01 * tg.sum([p * p for p in ps])) if penalized else None
    history = tg.fit(
        model, tg.data.moons(samples, seed=1), tg.losses.squared_error, optimizer, steps, engine=engine,
        batch_size=batch_size, reduce="mean", penalty=penalty, **options,
    )  # fmt: skip
    memory = [x for numbers in optimizer.remembered() for x in numbers]
    return history.losses, [p.data for p in ps], [p.grad for p in ps], memory, optimizer.t


def assert_close(found, expected):
    for a, b in zip(found, expected):
        assert a == pytest.approx(b, rel=1e-10, abs=1e-13)


@pytest.fixture(params=["machine code", "generated Python"])
def form(request, monkeypatch):
    if request.param == "machine code":
        pytest.importorskip("llvmlite")
    else:
        monkeypatch.setattr("tinygrad_bp.compiler.kernel.Kernel.reason", "a test")


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("samples", [1, 3, 7, 8, 9, 17, 65])
def test_every_rule_at_every_size(form, name, samples):
    for batch_size in {None, *(size for size in (1, 7, 8, 16) if size < samples)}:
        penalized = (samples + (batch_size or 0)) % 2 == 0
        expected = run(RULES[name], "eager", samples, batch_size, penalized)
        assert_close(run(RULES[name], "compiled", samples, batch_size, penalized), expected)


def test_threads_give_the_same_steps_with_every_part():
    pytest.importorskip("llvmlite")
    found = [run(RULES["nesterov"], "compiled", 200, 150, True, threads=threads) for threads in (1, 2, 3)]
    assert found[0] == found[1] == found[2]


class Lion(optim.Optimizer):
    """A rule of one's own: the sign of a running mean."""

    memory = ("mean",)

    def update(self, p, g, t, lr, mean):
        mean = 0.9 * mean + 0.1 * g
        return p - lr * tg.sign(mean), mean


def test_a_rule_of_ones_own_is_compiled(form):
    def kind(ps):
        return Lion(ps, lr=0.01)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_close(run(kind, "compiled", 17, 8, True), run(kind, "eager", 17, 8, True))


class Branching(Lion):
    def update(self, p, g, t, lr, mean):
        return (p - lr, mean) if g > 0.0 else (p + lr, mean)


class Counting(Lion):
    def update(self, p, g, t, lr, mean):
        self.calls = t
        return p - lr * g, mean


@pytest.mark.parametrize(
    ("kind", "message"), [(Branching, r"if g > 0\.0"), (Counting, "Counting.update sets self.calls")]
)
def test_a_rule_that_cannot_be_compiled(kind, message):
    with pytest.raises(tg.CompileError, match=message):
        run(lambda ps: kind(ps, lr=0.01), "compiled", 9, None, False)


def test_numbers_of_an_optimizer_are_read_anew_and_bools_are_structure(form):
    def both(engine):
        model = tg.MLP(2, [4, 1], act="tanh", rng=random.Random(0))
        sgd = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        losses = []

        def change(state):
            sgd.momentum, sgd.lr = 0.5, 0.02
            sgd.nesterov = state.step >= 4
            losses.append((state.step, state.loss, state.validation))

        options = {"callback": change, "every": 2, "validation": tg.data.moons(5, seed=2)}
        tg.fit(model, MOONS, tg.losses.mse, sgd, 7, engine=engine, batch_size=10, **options)
        return [x for entry in losses for x in entry], [p.data for p in model.parameters()]

    assert_close(both("compiled"), both("eager"))


@pytest.mark.parametrize("engine", ["eager", "compiled"])
def test_two_calls_of_ten_steps_are_one_of_twenty(engine):
    def steps(*counts):
        model = tg.MLP(2, [4, 1], act="tanh", rng=random.Random(0))
        adam = optim.Adam(model.parameters(), lr=0.05)
        losses = []
        for count in counts:
            options = {"engine": engine, "batch_size": 5, "seed": None}
            losses += tg.fit(model, MOONS, tg.losses.mse, adam, count, **options).losses
        return losses, [p.data for p in model.parameters()]

    assert steps(10, 10) == steps(20)


@pytest.mark.parametrize("engine", ["eager", "compiled"])
def test_a_callback_ends_the_run(engine):
    seen = []
    history = trained(engine, steps=50, callback=lambda s: seen.append(s.step) or s.step == 6, every=3)[1]
    assert (seen, len(history.losses)) == ([3, 6], 6)


@pytest.mark.parametrize("engine", ["eager", "compiled"])
def test_validation_is_the_loss_on_other_samples(engine):
    xs, ys = tg.data.moons(9, seed=5)
    model, history, _ = trained(engine, steps=5, validation=(xs, ys), every=2)
    assert [step for step, _ in history.validation] == [2, 4, 5]
    expected = sum(tg.losses.hinge(model(x), y).data for x, y in zip(xs, ys)) / 9
    assert history.validation[-1][1] == pytest.approx(expected, rel=1e-12)


WRONG = {  # what is set on the optimizer before, options of fit, and the error
    "a rule with a branch": ({"update": lambda p, g, t, lr, m, v: (p - lr if g > 0.0 else p, m, v)}, {},
                             "the graph depends on the data|if g > 0.0"),
    "a memory that is too short": ({"m": [0.0] * 5}, {},
                                   "Adam: the memory 'm' holds 5 numbers for 21 parameters"),
    "a memory that is one number": ({"v": 0.0}, {}, "Adam: the memory 'v' holds 1 numbers for 21 parameters"),
    "a negative rate": ({"lr": -0.1}, {}, "Adam: lr is a number from 0 up, not -0.1"),
    "a schedule that returns text": ({"lr": lambda t: "fast"}, {},
                                     "lr, which is a schedule, at step 0 is a number from 0 up, not 'fast'"),
    "a schedule that returns nan": ({"lr": lambda t: float("nan")}, {}, "0 is a number from 0 up, not nan"),
    "a schedule that goes below 0": ({"lr": lambda t: -1}, {}, "at step 0 is a number from 0 up, not -1"),
    "a batch of no samples": ({}, {"batch_size": 0}, "batch_size is a whole number from 1 up"),
    "a batch of more than all": ({}, {"batch_size": 25}, "a batch_size of 25 for 24 samples"),
    "validation of another width": ({}, {"validation": ([[1.0]], [1.0])},
                                    "the inputs of validation have 1 numbers, those of data 2"),
    "validation without samples": ({}, {"validation": ([], [])}, "fit, validation: the dataset is empty"),
    "every 0 steps": ({}, {"every": 0}, "every is a whole number of steps from 1 up"),
    "a callback that is a number": ({}, {"callback": 3}, "callback is a function of the state"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("batch_size", [None, 7])
def test_bad_input_is_an_error_and_changes_nothing(form, name, batch_size):
    attributes, options, message = WRONG[name]
    model = tg.MLP(2, [5, 1], act="tanh", rng=random.Random(3))
    adam = optim.Adam(model.parameters(), lr=0.05)
    for attribute, x in attributes.items():
        setattr(adam, attribute, x)
    before = [p.data for p in adam.parameters], adam.m, adam.v, adam.t
    with pytest.raises((tg.CompileError, TypeError, ValueError), match=message):
        tg.fit(model, MOONS, tg.losses.hinge, adam, 12, engine="compiled",
               **{"batch_size": batch_size, **options})  # fmt: skip
    assert ([p.data for p in adam.parameters], adam.m, adam.v, adam.t) == before


def test_a_parameter_that_is_listed_twice():
    w, b = tg.Value(1.0), tg.Value(2.0)
    with pytest.raises(ValueError, match="Adam was given a parameter twice, and would move it twice"):
        optim.Adam([w, b, w])
    with pytest.raises(ValueError, match="compile: a parameter is there twice in params; list each once"):
        tg.compile(lambda x: w * x + b, [w, b, w])


@pytest.mark.parametrize("wrong", ["fast", float("nan")])
@pytest.mark.parametrize("engine", ["eager", "compiled"])
def test_a_schedule_that_fails_in_the_middle(engine, wrong):
    model = tg.MLP(2, [4, 1], rng=random.Random(0))
    sgd = optim.SGD(model.parameters(), lr=lambda step: 0.01 if step < 5 else wrong)
    with pytest.raises((TypeError, ValueError), match="lr, which is a schedule, at step 5 is a number"):
        tg.fit(model, MOONS, tg.losses.mse, sgd, 20, engine=engine)
    assert sgd.t == 5


def test_a_step_that_leaves_the_floats_in_the_middle_of_a_stretch(form):
    """The stretch is taken again, up to the step before."""

    def stop(engine):
        model = tg.MLP(1, [1], weights=lambda *_: 1.0)
        adam = optim.Adam(model.parameters(), lr=lambda step: 0.01 if step < 5 else 1e308 * 1.7)
        adam.beta1 = 0.0
        with pytest.raises(tg.NonFiniteError, match="fit stopped in step 6"):
            tg.fit(model, ([[1.0]], [0.0]), lambda p, y: p * 1e-3, adam, 20, engine=engine)
        return [p.data for p in model.parameters()], adam.m, adam.v, [float(adam.t)]

    assert_close(stop("compiled"), stop("eager"))


def test_ctrl_c_leaves_the_last_whole_step(form):
    models = [tg.MLP(2, [4, 1], act="tanh", rng=random.Random(0)) for _ in range(3)]
    first, adam, other = [optim.Adam(model.parameters(), lr=1e-3) for model in models]
    tg.fit(models[0], MOONS, tg.losses.mse, first, 1, engine="compiled", batch_size=8)  # makes the code

    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.7)
    try:
        with pytest.raises(KeyboardInterrupt):
            tg.fit(models[1], MOONS, tg.losses.mse, adam, 10**9, engine="compiled", batch_size=8)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
    tg.fit(models[2], MOONS, tg.losses.mse, other, adam.t, engine="compiled", batch_size=8)
    assert adam.t > 0
    assert [p.data for p in models[1].parameters()] == [p.data for p in models[2].parameters()]
    assert adam.m == other.m


def test_stretches_grow_no_memory():
    """A callback after each step makes each a stretch of its own. The history keeps a float of each."""
    model = tg.MLP(2, [2, 1], act="tanh", rng=random.Random(0))
    adam = optim.Adam(model.parameters(), lr=1e-6)
    blocks, traced = [], []

    def look(state):
        if state.step in (3_000, 9_000):
            gc.collect()
            blocks.append(sys.getallocatedblocks())
        if state.step == 9_100:
            tracemalloc.start()  # sees also what is larger than a block, and takes time
        if state.step in (9_200, 10_000):
            gc.collect()
            traced.append(tracemalloc.get_traced_memory()[0])

    try:
        tg.fit(model, MOONS, tg.losses.mse, adam, 10_000, engine="compiled", batch_size=8, callback=look)
    finally:
        tracemalloc.stop()
    assert blocks[1] - blocks[0] < 6_000 + 300
    assert traced[1] - traced[0] < 800 * 512  # with the list of losses, which grows meanwhile


def test_calls_that_train_grow_no_memory(form):
    model = tg.MLP(2, [2, 1], act="tanh", rng=random.Random(0))
    xs, ys = MOONS
    step = tg.compile(lambda x, y: tg.losses.squared_error(model(x), y), model.parameters())

    def train(calls):
        for _ in range(calls):
            step.train(xs, ys, lr=1e-6, steps=1)
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = train(50)
        assert train(200) - before < 10_000
    finally:
        tracemalloc.stop()
