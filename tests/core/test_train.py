"""fit: what a step computes, what it leaves as it was, what it shows, and how it stops.

Batches, sums, means and penalties against the same by hand; the same seed, the same model, bit for bit; a
line of progress on a terminal and silence in a pipe; and the errors: bad data says where, and a loss or
gradient that is not finite says which operation made it, with its label, a hint and the path to the loss,
while the parameters are as they were before the step.
"""

import copy
import fcntl
import gc
import math
import os
import pty
import random
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

import tinygrad_bp as tg
from tinygrad_bp import MLP, Module, Neuron, NonFiniteError, Value, fit
from tinygrad_bp.losses import bce_with_logits, cross_entropy, hinge, squared_error
from tinygrad_bp.optim import SGD

ROOT = Path(__file__).parents[2]
XS, YS = [[0.0, 1.0], [1.0, 0.5], [-1.0, 2.0], [0.5, 0.5], [2.0, -1.0]], [1.0, -1.0, 0.5, 0.0, 2.0]


def made(*nouts, seed=0, **options):
    return MLP(2, list(nouts) or [3, 1], act="tanh", rng=random.Random(seed), **options)


def trained(model=None, data=(XS, YS), loss=squared_error, lr=0.05, momentum=0.0, steps=3, **options):
    model = model or made()
    sgd = SGD(model.parameters(), lr=lr, momentum=momentum)
    return model, fit(model, data, loss, sgd, steps, **options)


# --- what a step computes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("reduce", ["sum", "mean"])
@pytest.mark.parametrize("penalized", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_steps_are_as_by_hand(reduce, penalized, momentum):
    ours, by_hand = made(), made()

    def penalty(model):
        return 0.01 * sum(p * p for p in model.parameters())

    sgd = SGD(ours.parameters(), lr=0.05, momentum=momentum)
    options = {"penalty": lambda: penalty(ours)} if penalized else {}
    history = fit(ours, (XS, YS), squared_error, sgd, 4, reduce=reduce, **options)

    losses, velocity = [], [0.0] * 13
    for _ in range(4):
        by_hand.zero_grad()
        total = sum((by_hand(x) - y) ** 2 / 2.0 for x, y in zip(XS, YS))
        total = total / len(XS) if reduce == "mean" else total
        total = total + penalty(by_hand) if penalized else total
        total.backward()
        losses.append(total.data)
        for i, p in enumerate(by_hand.parameters()):
            velocity[i] = momentum * velocity[i] + p.grad
            p.data -= 0.05 * velocity[i]
    assert history.losses == pytest.approx(losses, rel=1e-12)
    assert list(ours.state_dict().values()) == pytest.approx(list(by_hand.state_dict().values()), rel=1e-12)


def test_a_penalty_is_evaluated_once_a_step():
    calls = []

    def penalty():
        calls.append(1)
        return Value(10.0)

    _, history = trained(steps=3, batch_size=2, penalty=penalty)
    _, plain = trained(steps=3, batch_size=2)
    assert len(calls) == 3
    assert history.losses == pytest.approx([loss + 10.0 for loss in plain.losses])


def seen(n, steps, **options):
    """The batches of a run over n samples, as the model sees them."""
    log = []

    class Spy(Module):
        def __init__(self):
            self.w = Value(0.0)

        def __call__(self, x):
            log.append(int(x[0]))
            return self.w

    _, history = trained(Spy(), (list(range(n)), [0.0] * n), steps=steps, **options)
    return log, history


def test_without_a_batch_size_every_step_sees_all_in_order():
    assert seen(4, 2)[0] == [0, 1, 2, 3] * 2
    assert seen(4, 2, batch_size=4)[0] == [0, 1, 2, 3] * 2


def test_batches_cover_each_epoch_once_in_another_order():
    log, _ = seen(10, 8, batch_size=3)  # 3 + 3 + 3 + 1, twice
    first, second = log[:10], log[10:]
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second
    assert first != sorted(first)
    assert seen(10, 8, batch_size=3)[0] == log
    assert seen(10, 8, batch_size=3, seed=1)[0] != log


def test_the_mean_is_over_the_samples_of_the_batch():
    def loss_is_target(prediction, target):
        return prediction * 0.0 + target

    data = ([[0.0, 0.0]] * 3, [2.0, 2.0, 2.0])
    sums = trained(data=data, loss=loss_is_target, batch_size=2, steps=4)[1].losses
    means = trained(data=data, loss=loss_is_target, batch_size=2, steps=4, reduce="mean")[1].losses
    assert (sums, means) == ([4.0, 2.0, 4.0, 2.0], [2.0] * 4)


def test_the_loss_of_a_step_is_taken_before_it():
    model = made()
    before = sum(squared_error(model(x), y).data for x, y in zip(XS, YS))
    _, history = trained(model, steps=1)
    assert history.losses == pytest.approx([before], rel=1e-14)


def test_gradients_left_from_before_do_not_count():
    stained, clean = made(), made()
    for p in stained.parameters():
        p.grad = 1e6
    trained(stained)
    trained(clean)
    assert stained.state_dict() == clean.state_dict()


def test_the_gradients_of_the_last_step_can_be_read_afterwards():
    model, _ = trained(steps=1)
    before = made()
    sum(squared_error(before(x), y) for x, y in zip(XS, YS)).backward()
    assert [p.grad for p in model.parameters()] == pytest.approx([p.grad for p in before.parameters()])


def test_what_the_optimizer_does_not_have_stays():
    model = made()
    frozen = [p.data for p in model.layers[0].neurons[0].parameters()]
    moving = model.layers[1].parameters()
    fit(model, (XS, YS), squared_error, SGD(moving, lr=0.1), steps=5)
    assert [p.data for p in model.layers[0].neurons[0].parameters()] == frozen
    assert [p.data for p in moving] != [p.data for p in made().layers[1].parameters()]


def test_no_steps_change_nothing():
    model, history = trained(steps=0)
    assert model.state_dict() == made().state_dict()
    assert (history.losses, history.rate) == ([], 0.0)


def test_the_global_generator_is_not_touched_and_a_seed_repeats_bit_for_bit():
    random.seed(11)
    before = random.getstate()
    first, history = trained(steps=7, batch_size=2, seed=0)
    second, again = trained(steps=7, batch_size=2, seed=0)
    assert random.getstate() == before
    assert first.state_dict() == second.state_dict()
    assert history.losses == again.losses
    assert trained(steps=7, batch_size=2, seed=1)[0].state_dict() != first.state_dict()


def test_the_history_holds_floats_and_no_graph_lives_on():
    model = made()
    gc.collect()
    before = sum(type(v) is Value for v in gc.get_objects())
    _, history = trained(model, steps=5)
    gc.collect()
    assert [type(loss) for loss in history.losses] == [float] * 5
    assert sum(type(v) is Value for v in gc.get_objects()) == before
    assert history.rate > 0.0


def test_data_is_read_and_not_changed():
    xs, ys = copy.deepcopy((XS, YS))
    trained(data=(xs, ys), batch_size=2)
    assert (xs, ys) == (XS, YS)


def test_inside_no_grad_fit_still_trains():
    with tg.no_grad():
        model, _ = trained()
    assert model.state_dict() == trained()[0].state_dict()


# --- it learns ----------------------------------------------------------------------------------------------


def accuracy(model, xs, ys, predicted):
    with tg.no_grad():
        return sum(predicted(model(x)) == y for x, y in zip(xs, ys)) / len(xs)


def test_it_learns_xor():
    xs, ys = tg.data.xor()
    model, history = trained(made(4, 1, seed=2), (xs, ys), bce_with_logits, lr=0.5, momentum=0.9, steps=150)
    assert history.losses[-1] < 0.1 < history.losses[0]
    assert accuracy(model, xs, ys, lambda out: float(out > 0.0)) == 1.0


def test_it_learns_moons():
    xs, ys = tg.data.moons(60)
    model, _ = trained(made(8, 1), (xs, ys), hinge, lr=0.3, steps=60, reduce="mean", momentum=0.9)
    assert accuracy(model, xs, ys, lambda out: 1.0 if out > 0.0 else -1.0) > 0.9


def test_it_learns_a_spiral_of_classes():
    xs, ys = tg.data.spiral(60, noise=0.05)
    options = {"lr": 0.5, "momentum": 0.9, "steps": 120, "reduce": "mean"}
    model, history = trained(made(12, 3), (xs, ys), cross_entropy, **options)
    assert history.losses[-1] < history.losses[0] / 2
    assert accuracy(model, xs, ys, lambda out: max(range(3), key=lambda k: out[k])) > 0.75


# --- a loss or gradient that is not finite ------------------------------------------------------------------


class One(Module):
    """A model of one parameter and a function of it and x."""

    def __init__(self, number, f):
        self.f, self.rate = f, Value(number)
        self.label_parameters()

    def __call__(self, x):
        return self.f(self.rate, x[0])


def stopped(model, **options):
    """The message of a run that stops, after looking that the failing step changed nothing."""
    before = model.state_dict()
    with pytest.raises(NonFiniteError) as caught:
        trained(model, steps=1, **options)
    assert model.state_dict() == before
    return str(caught.value)


def test_a_loss_that_is_not_finite_names_operation_label_hint_and_path():
    model = One(0.0, lambda rate, x: -(rate * x).log() * 2.0)
    told = stopped(model, data=([1.0, 2.0], [0.0, 0.0]))
    assert "fit stopped in step 0, at sample 0: log of 0.0 is -inf" in told
    assert "keep its operand above 0, or use bce_with_logits" in told
    assert "path to the loss: log -> neg -> mul -> sub -> powc" in told
    assert "the parameters are as they were before this step" in told

    told = stopped(One(0.0, lambda rate, x: rate.log()), data=([1.0], [0.0]))
    assert "log of 0.0 (label 'rate') is -inf" in told


def test_the_sample_is_named():
    told = stopped(One(1.0, lambda rate, x: tg.log(rate * x)), data=([1.0, 2.0, -1.0], [0.0] * 3))
    assert "at sample 2: log of -1.0 is nan" in told


def test_a_penalty_that_is_not_finite_is_named():
    model = One(2.0, lambda rate, x: rate * x)
    told = stopped(model, data=([1.0], [1.0]), penalty=lambda: (model.rate - 2.0).log())
    assert "at the penalty: log of 0.0 is -inf" in told


def test_a_parameter_that_is_not_finite_is_named():
    told = stopped(One(math.inf, lambda rate, x: rate * x), data=([1.0], [1.0]))
    assert "the leaf inf (label 'rate') is not finite" in told
    assert "path to the loss: rate -> mul -> sub" in told


def test_a_gradient_that_is_not_finite_though_the_loss_is():
    model = One(0.0, lambda rate, x: tg.sqrt(rate) * x + 1.0)
    told = stopped(model, data=([1.0, 2.0], [0.0, 0.0]))
    assert "at sample 0: the partial by 0.0 (label 'rate') of sqrt of 0.0 (label 'rate') is inf" in told
    assert "for the length of a vector use hypot" in told


def test_the_path_of_a_gradient_that_is_not_finite_is_told_too():
    told = stopped(One(0.0, lambda rate, x: tg.sqrt(rate) * x + 1.0), data=([1.0], [0.0]))
    assert "path to the loss: sqrt -> mul -> add -> sub -> powc -> div" in told


def test_a_sum_of_gradients_that_is_not_finite_though_its_terms_are():
    model = One(1.0, lambda rate, x: rate * x)
    told = stopped(model, data=([1e308] * 3, [0.0] * 3), loss=lambda p, y: p - p.data)
    assert "the sum of the gradients" in told


def test_a_sum_of_losses_that_is_not_finite_though_its_terms_are():
    model = One(1.0, lambda rate, x: rate * 0.0 + x)
    told = stopped(model, data=([1e308] * 3, [0.0] * 3), loss=lambda p, y: p)
    assert "the sum of the losses" in told


def test_a_learning_rate_that_explodes_stops_with_the_parameters_of_the_last_good_step():
    model = One(1.0, lambda rate, x: rate * x)
    good, sgd = [], SGD(model.parameters(), lr=1e60)
    with pytest.raises(NonFiniteError, match="lower the learning rate"):
        for _ in range(10):
            good.append(model.state_dict())
            fit(model, ([1.0], [0.0]), squared_error, sgd, steps=1)
    assert model.state_dict() == good[-1]
    assert 1 < len(good) < 10
    assert math.isfinite(model.rate.data)


def test_a_step_that_leaves_the_floats_is_not_taken():
    """Loss and gradient are finite, and the step is too long for a float: no parameter may become inf."""
    told = stopped(One(-3.0, lambda rate, x: rate * x), data=([1e3], [0.0]), lr=1e305)
    assert "learning rate" in told


def test_momentum_is_not_spoilt_by_a_step_that_fails():
    model = One(1.0, lambda rate, x: rate * x)
    sgd = SGD(model.parameters(), lr=0.1, momentum=0.9)
    fit(model, ([1.0], [0.0]), squared_error, sgd, steps=2)
    velocity = list(sgd.velocity)
    with pytest.raises(NonFiniteError):
        fit(model, ([1.0], [0.0]), lambda p, y: p.log() * math.inf, sgd, steps=1)
    assert sgd.velocity == velocity


# --- other errors -------------------------------------------------------------------------------------------

BAD_DATA = {
    "empty": (([], []), ValueError, "the dataset is empty"),
    "lengths": ((XS, YS[:3]), ValueError, "5 inputs for 3 targets"),
    "nan": (([*XS[:2], [0.0, math.nan], *XS[3:]], YS), ValueError, r"xs\[2\]\[1\] is nan: remove the sample"),
    "inf": ((XS, [*YS[:4], -math.inf]), ValueError, r"ys\[4\] is -inf"),
    "ragged": (([*XS[:4], [1.0]], YS), ValueError, r"xs\[4\] has 1 numbers, xs\[0\] 2"),
    "text": (([*XS[:4], [1.0, "a"]], YS), TypeError, r"xs\[4\]\[1\]: .*'a'"),
    "none": ((XS, [None, *YS[1:]]), TypeError, r"ys\[0\]: .*None"),
    "huge": (([[10**400, 1], *XS[1:]], YS), ValueError, r"xs\[0\]\[0\]: .*beyond the floats"),
    "no pair": (XS, TypeError, r"data is a pair \(xs, ys\)"),
    "zip": (zip(XS, YS), TypeError, r"data is a pair \(xs, ys\)"),
    "nothing": (None, TypeError, r"data is a pair \(xs, ys\)"),
}


@pytest.mark.parametrize("case", BAD_DATA)
def test_bad_data_says_where_and_changes_nothing(case):
    data, kind, told = BAD_DATA[case]
    model = made()
    with pytest.raises(kind, match=f"^fit: {told}"):
        trained(model, data)
    assert model.state_dict() == made().state_dict()


BAD_OPTIONS = [
    ({"batch_size": 0}, "batch_size is a whole number from 1 up"),
    ({"batch_size": 6}, "a batch_size of 6 for 5 samples: at most 5, or None for all"),
    ({"batch_size": -2}, "batch_size is a whole number from 1 up"),
    ({"batch_size": 2.5}, "batch_size is a whole number from 1 up"),
    ({"batch_size": "all"}, "batch_size is a whole number from 1 up"),
    ({"steps": -1}, "steps is a whole number from 0 up"),
    ({"steps": 2.0}, "steps is a whole number from 0 up"),
    ({"steps": None}, "steps is a whole number from 0 up"),
    ({"reduce": "max"}, "reduce is 'sum' or 'mean', not 'max'"),
    ({"reduce": None}, "reduce is 'sum' or 'mean', not None"),
]


@pytest.mark.parametrize(("options", "told"), BAD_OPTIONS)
def test_bad_options_change_nothing(options, told):
    model = made()
    with pytest.raises(ValueError, match=f"^fit: {told}"):
        trained(model, **options)
    assert model.state_dict() == made().state_dict()


BAD_LOSSES = {
    "float": lambda p, y: (p.data - y) ** 2,
    "list": lambda p, y: [p - y],
    "nothing": lambda p, y: None,
}


@pytest.mark.parametrize("case", BAD_LOSSES)
def test_a_loss_that_is_no_value(case):
    model = made()
    with pytest.raises(
        TypeError, match=r"^fit: the loss of sample 0 is .*, not a Value: compute it from the pred"
    ):
        trained(model, loss=BAD_LOSSES[case])
    assert model.state_dict() == made().state_dict()


def test_a_penalty_that_is_no_function_of_nothing():
    with pytest.raises(TypeError, match="penalty"):
        trained(penalty=lambda: 0.5)
    with pytest.raises(TypeError, match="penalty"):
        trained(penalty=Value(0.5))


def test_outputs_and_targets_that_do_not_fit():
    with pytest.raises(ValueError, match="squared_error: 3 predictions for 1 targets"):
        trained(made(3))
    with pytest.raises(ValueError, match=r"Layer 'layers\.0' takes 2 inputs, got 1"):
        trained(data=([1.0, 2.0], [1.0, 2.0]))


# --- progress -----------------------------------------------------------------------------------------------

SCRIPT = """
import random, sys
if sys.argv[1] == "without":
    sys.modules["tqdm"] = None
from tinygrad_bp import MLP, data, fit, losses, optim
model = MLP(2, [2, 1], rng=random.Random(0))
sgd = optim.SGD(model.parameters(), lr=0.1)
history = fit(model, data.xor(), losses.squared_error, sgd, steps=5, progress=sys.argv[2] == "on")
print(len(history.losses))
"""


def on_a_terminal(*arguments):
    """Exit code, stdout and what a terminal as stderr was sent."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
    command = [sys.executable, "-c", SCRIPT, *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm"}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=slave, text=True
    ) as process:
        os.close(slave)
        sent = b""
        while True:
            try:
                some = os.read(master, 4096)
            except OSError:  # Linux says so when the other end is closed
                break
            if not some:
                break
            sent += some
        out = process.stdout.read()
    os.close(master)
    return process.returncode, out, sent.decode()


def test_progress_on_a_terminal_with_tqdm():
    code, out, sent = on_a_terminal("with", "on")
    assert (code, out) == (0, "5\n")
    assert "5/5" in sent
    assert "step/s" in sent
    assert "loss 0." in sent


def test_progress_on_a_terminal_without_tqdm():
    code, out, sent = on_a_terminal("without", "on")
    assert (code, out) == (0, "5\n")
    assert "step 5/5  loss 0." in sent
    assert "steps/s" in sent
    assert sent.endswith("\r\n")


@pytest.mark.parametrize("tqdm", ["with", "without"])
def test_progress_can_be_turned_off(tqdm):
    assert on_a_terminal(tqdm, "off") == (0, "5\n", "")


@pytest.mark.parametrize("tqdm", ["with", "without"])
def test_progress_is_silent_in_a_pipe(tqdm):
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT, tqdm, "on"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "5\n", "")


def test_progress_without_a_stderr(monkeypatch):
    """As under pythonw, where sys.stderr is None."""
    monkeypatch.setattr(sys, "stderr", None)
    assert len(trained(steps=2)[1].losses) == 2


def test_a_neuron_and_a_plain_function_can_be_trained():
    line = Neuron(1, nonlin=False, rng=random.Random(0))
    _, history = trained(line, ([0.0, 1.0], [1.0, 3.0]), steps=200, lr=0.3)
    assert history.losses[-1] < 1e-6
    slope = Value(0.0)
    fit(lambda x: slope * x[0], ([1.0, 2.0], [3.0, 6.0]), squared_error, SGD([slope], lr=0.1), steps=50)
    assert slope.data == pytest.approx(3.0)
