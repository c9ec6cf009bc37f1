"""fit in compiled code against fit on graphs: the same losses, parameters, gradients and errors.

Sums over samples may be taken in another order, so numbers agree to rounding.  `auto` is asked for what it
chooses, and for what it says where it cannot compile.
"""

import random

import pytest

import tinygrad_bp as tg

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
