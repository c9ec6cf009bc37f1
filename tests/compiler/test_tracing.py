"""Tracing: what compiled code must not keep, what is put back afterwards, and what `fit` compares.

Each function here reads a number of a Value in another way, and would be frozen by a compiler that sees the
graph alone.  It is refused with the line that uses the number; nothing that a clean function does is.
"""

import copy
import math
import pickle
import sys
import threading
import warnings
from pathlib import Path

import pytest

import tinygrad_bp as tg
from tinygrad_bp import CompileError, Value, compile, fit, losses
from tinygrad_bp.compiler.verify import verify
from tinygrad_bp.optim import SGD


class Net(tg.Module):
    def __init__(self):
        self.w, self.b = Value(0.75), Value(-0.5)
        self.label_parameters()

    def __call__(self, x):
        return self.w * x[0] + self.b


net = Net()
captured = Value(2.0)
first, second = Value(0.0), Value(0.0)


def square(x, y):
    return (net(x) - y) ** 2


def gradients_as_floats(x, y):
    loss = square(x, y)
    slope = tg.gradients(loss, net.w)
    return loss + 0.1 * slope  # NAMED


def backward_then_grad(x, y):
    loss = square(x, y)
    loss.backward()
    return loss * net.w.grad  # NAMED


def grad_alone(x, y):
    return square(x, y) * net.w.grad  # NAMED


def deepcopy_of_a_parameter(x, y):
    w = copy.deepcopy(net.w)  # NAMED
    return (w * x[0] - y) ** 2


def pickle_of_a_parameter(x, y):
    w = pickle.loads(pickle.dumps(net.w))  # NAMED
    return (w * x[0] - y) ** 2


def copy_of_the_model(x, y):
    teacher = net.copy()  # NAMED
    return (net(x) - teacher([1.0]) - y) ** 2


def jacobian_over_a_closure(x, y):
    slope = tg.jacobian(lambda a: [a * a * net.w])(2.0)[0]
    return square(x, y) * slope  # NAMED


def hessian_over_a_closure(x, y):
    return square(x, y) * tg.hessian(lambda a: a * a * net.w)(2.0)  # NAMED


def text(x, y):
    number = float(f"{net.w:.6f}")
    return square(x, y) * number  # NAMED


def text_without_a_format(x, y):
    number = float(f"{net.w}".split("=")[1].split(",")[0])
    return square(x, y) * number  # NAMED


def copy_of_what_is_no_parameter(x, y):
    c = copy.deepcopy(captured)  # NAMED
    return square(x, y) * c


def text_of_what_is_no_parameter(x, y):
    return square(x, y) * float(f"{captured:.3f}")  # NAMED


def sign_of_a_parameter(x, y):
    """The slope of |b|, which is -1 as long as b is negative."""
    slope = tg.gradients(tg.abs(net.b), net.b)
    return square(x, y) + slope * net.b  # NAMED


def difference_of_equal_parameters(x, y):
    slope = tg.gradients((first - second) ** 2, first)
    return square(x, y) + slope * first  # NAMED


def text_of_the_data(x, y):
    number = float(f"{y:.3f}")
    return square(x, 0.0) - number * net.w  # NAMED


def gradients_by_a_captured_value(x, y):
    slope = tg.gradients(captured * captured * 3.0, captured)
    return square(x, y) * slope  # NAMED


FROZEN = [
    gradients_as_floats, backward_then_grad, grad_alone, deepcopy_of_a_parameter, pickle_of_a_parameter,
    copy_of_the_model, jacobian_over_a_closure, hessian_over_a_closure, text,
    text_without_a_format, copy_of_what_is_no_parameter, text_of_what_is_no_parameter, sign_of_a_parameter,
    difference_of_equal_parameters, text_of_the_data, gradients_by_a_captured_value,
]  # fmt: skip


def state():
    values = [net.w, net.b, captured]
    return [(v.data, v.number, v.grad) for v in values]


@pytest.fixture(autouse=True)
def clean():
    for v in (net.w, net.b, captured):
        v.grad = 0.0


def line_named(f):
    """The number of f's line that ends in NAMED."""
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    begin = f.__code__.co_firstlineno
    return next(n for n in range(begin, begin + 10) if lines[n - 1].endswith("# NAMED"))


@pytest.mark.parametrize("f", FROZEN, ids=lambda f: f.__name__)
def test_a_number_that_was_read_is_refused_with_its_line(f):
    before = state()
    with pytest.raises(CompileError, match="the graph depends on the data") as caught:
        compile(f, net.parameters()).value_and_grad([[1.0]], [2.0])
    message = str(caught.value)
    assert f"test_tracing.py, line {line_named(f)}: " in message
    assert "# NAMED" in message.splitlines()[0]
    assert "create_graph=True" in message
    assert [(data, number) for data, number, _ in state()] == [(data, number) for data, number, _ in before]


@pytest.mark.parametrize("f", FROZEN, ids=lambda f: f.__name__)
def test_a_function_by_its_arguments_is_refused_too(f):
    with pytest.raises(CompileError, match="the graph depends on the data"):
        compile(f)([1.0], 2.0)


@pytest.mark.parametrize("f", FROZEN, ids=lambda f: f.__name__)
def test_a_penalty_is_refused_too(f):
    if f is text_of_the_data:
        return  # a penalty has no data
    with pytest.raises(CompileError, match="the graph depends on the data"):
        compile(lambda: f([1.0], 2.0), net.parameters(), example=())


def smooth_penalty():
    first = tg.gradients(tg.exp(net.w * net.b), [net.w, net.b], create_graph=True)
    return sum(g * g for g in first) + net.w * net.w


def test_what_stays_in_the_graph_passes():
    def f(x, y):
        slope = tg.gradients(square(x, y), net.w, create_graph=True)
        constant = tg.hessian(lambda a: a * a * 3.0)(2.0)  # depends on nothing: it may be a number
        return square(x, y) + 0.1 * slope**2 + captured * constant

    value, grads = compile(f, net.parameters()).value_and_grad([[1.5]], [2.0])
    out = f([1.5], 2.0)
    assert value == pytest.approx(out.data, rel=1e-13)
    assert list(grads) == pytest.approx(tg.gradients(out, net.parameters()), rel=1e-13)
    value, grads = compile(smooth_penalty, net.parameters()).value_and_grad()
    assert list(grads) == pytest.approx(tg.gradients(smooth_penalty(), net.parameters()), rel=1e-13)


def test_nothing_of_the_users_changes():
    before, outside = state(), net.w * captured + net.b
    compile(square, net.parameters()).value([[1.0]], [2.0])
    assert state() == before
    outside.backward()  # StaleGraphError, if a creation number had changed
    assert net.w.grad == captured.data


def test_numbers_come_back_where_the_second_call_fails():
    before, calls = state(), []

    def f(x):
        calls.append(1)
        if len(calls) > 1:
            raise RuntimeError("the second call")
        return net.w * x * captured

    with pytest.raises(RuntimeError, match="the second call"):
        compile(f, net.parameters()).value([1.0])
    assert state() == before


def test_an_interrupt_in_the_second_call_leaves_all_as_it_was():
    before, calls = state(), []

    def f(x):
        calls.append(1)
        if len(calls) > 1:
            raise KeyboardInterrupt
        return net.w * x

    with pytest.raises(KeyboardInterrupt):
        compile(f, net.parameters()).value([1.0])
    assert state() == before


def test_a_number_that_is_set_meanwhile_stays():
    calls = []

    def f(x):
        calls.append(1)
        if len(calls) == 2:
            w._data = 7.0  # as another thread would
        return w * x

    w = Value(1.0)
    compile(f, [w]).value([1.0])
    assert w.data == 7.0


def test_a_function_that_cannot_bear_other_signs_is_traced():
    def f(x):
        if "-" in repr(w):
            raise ValueError("w is a length")
        return w * x

    w = Value(1.5)
    assert compile(f, [w]).value([2.0]) == 3.0


def test_non_finite_parameters_are_traced():
    for number in (math.inf, -math.inf, math.nan, 1.7e308, 5e-324, 0.0, -0.0):
        w = Value(number)
        value = compile(lambda x, w=w: tg.where(x, 1.0, w * x), [w]).value([1.0])
        assert value == 1.0
        assert math.copysign(1.0, w.data) == math.copysign(1.0, number)
        assert w.data == number or number != number


def test_a_graph_made_outside_is_run_again():
    reg = net.w * net.w
    step = compile(lambda x: reg * x, net.parameters())
    assert step.value_and_grad([2.0]) == (2.0 * 0.5625, pytest.approx([3.0, 0.0]))


def test_a_lookup_by_a_number_of_the_data_is_refused():
    weights = {1: 2.0, 0: 3.0}
    for f in (
        lambda x, y: net.w * x * weights.get(y, 1.0),
        lambda x, y: net.w * x * (2.0 if y in {1, 2} else 1.0),
        lambda x, y: net.w * x * weights[y],
    ):
        with pytest.raises(CompileError, match=r"(?s)test_tracing.py, line \d+: .*looks a Value up"):
            compile(f, net.parameters()).value([1.0], [1.0])
    with pytest.raises(CompileError, match=r"KeyError: .*no index or key in compiled code"):
        compile(lambda y: net.w * {"1": 2.0}[str(y)], net.parameters()).value([1.0])


def test_what_to_write_for_a_number_of_the_data_is_said():
    rows = [net.w, net.b]

    def refused(f, *arguments):
        with pytest.raises(CompileError, match=r"test_tracing.py, line \d+: ") as caught:
            compile(f)(*arguments)
        return str(caught.value)

    for f in (lambda v: rows[v], lambda v: rows[int(v)], lambda v: rows[:v], lambda v: [v for _ in range(v)]):
        text = refused(f, 1.0)
        assert "this uses a Value as an index or a count" in text
        assert "tg.take(rows, v), or tg.dot(one_hot, column) for each column" in text
    for f in (lambda v: rows[int(v.data)], lambda v: v.detach() * v):
        text = refused(f, 1.0)
        assert "this reads the number of a Value" in text
        assert "tg.take(rows, v); v without its gradient is tg.stop_gradient(v)" in text
    largest = refused(lambda xs: [(x - max(v.data for v in xs)).exp() for x in xs], [1.0, 2.0])
    assert "tg.max(xs), and tg.logsumexp(xs) and tg.softmax(xs) subtract it themselves" in largest
    assert "the largest of numbers is tg.max(xs)" in refused(lambda xs: max(xs), [1.0, 2.0])
    assert "the row at an index is tg.take" in refused(lambda v: {1.0: net.w}[v], 1.0)


def test_a_transform_that_reads_numbers_names_the_line_at_once():
    for f in (
        lambda x: tg.jvp(lambda a: a * net.w, (1.0,), (1.0,))[1] * x,
        lambda x: tg.grad(lambda a: a * net.w)(1.0) * x,
        lambda x: tg.value_and_grad(lambda a: a * net.w)(1.0)[0] * x,
    ):
        with pytest.raises(CompileError, match=r"(?s)test_tracing.py, line \d+: .*reads the number"):
            compile(f, net.parameters()).value([1.0])


def test_values_of_ones_own_may_be_looked_up():
    def f(x):
        factor = {net.w: 2.0, net.b: 3.0}
        return sum(p * c * x for p, c in factor.items())

    assert compile(f, net.parameters()).value([1.0]) == 2.0 * 0.75 - 3.0 * 0.5


def test_a_debugger_is_put_back():
    before = sys.gettrace()
    with pytest.raises(CompileError):
        compile(text, net.parameters()).value([[1.0]], [1.0])
    assert sys.gettrace() is before


def test_a_loss_that_is_a_plain_number_is_refused():
    with pytest.raises(TypeError, match=r"three returned 3.0, not a Value: compute it from Values"):

        def three(x):
            return 3.0

        compile(three, net.parameters()).value([1.0])
    assert compile(three)(1.0) == 3.0
    assert compile(lambda x: Value(3.0), net.parameters()).value([1.0, 2.0]) == 6.0


# --- targets ------------------------------------------------------------------------------------------------

TARGETS = [
    (losses.hinge, [1.0, -1.0, 0.0], "hinge: a target is -1 or 1, not 0.0: for 0 and 1 write 2"),
    (losses.bce_with_logits, [0.0, 1.0, 2.0], r"bce_with_logits: a target is from 0 to 1, not 2.0"),
    (losses.bce_with_logits, [0.0, 0.5, -0.25], r"bce_with_logits: a target is from 0 to 1, not -0.25"),
]


@pytest.mark.parametrize(("loss", "ys", "message"), TARGETS)
def test_targets_are_checked_before_compiled_code_runs(loss, ys, message):
    step = compile(lambda x, y: loss(net(x), y), net.parameters())
    xs = [[0.5], [1.0], [1.5]]
    for run in (step.value, step.value_and_grad, step.bind, lambda *c: step.train(*c, lr=0.1, steps=3)):
        with pytest.raises(ValueError, match=message):
            run(xs, ys)
    step.value(xs[:2], ys[:2])


def test_a_target_that_is_computed_from_the_data_is_checked():
    step = compile(lambda x, y: losses.hinge(net(x), 2.0 * y - 1.0), net.parameters())
    step.value([[1.0]] * 2, [0.0, 1.0])
    with pytest.raises(ValueError, match=r"hinge: a target is -1 or 1, not 3.0"):
        step.value([[1.0]] * 3, [0.0, 1.0, 2.0])
    step = compile(lambda x, y: losses.hinge(net(x), captured * y), net.parameters())
    step.value([[1.0]], [0.3])  # a Value as a target is free, as on graphs


def test_a_class_beyond_the_logits_is_refused():
    def f(x, y):
        return losses.cross_entropy([net.w * x, net.b * x, x], y)

    step = compile(f, net.parameters())
    step.value([1.0] * 3, [0, 1, 2])
    for wrong in (3, -1, 0.5):
        with pytest.raises(ValueError, match=r"cross_entropy: the target is a class from 0 to 2, not"):
            step.value([1.0] * 2, [0, wrong])


@pytest.mark.parametrize(("loss", "ys", "message"), TARGETS)
@pytest.mark.parametrize("engine", ["eager", "compiled", "auto"])
@pytest.mark.parametrize("steps", [5, 200])
def test_fit_refuses_bad_targets_with_every_engine(loss, ys, message, engine, steps, monkeypatch):
    monkeypatch.setattr("tinygrad_bp.train.WORTH_COMPILING", 100)
    model = Net()
    with pytest.raises(ValueError, match=message):
        fit(model, ([[0.5], [1.0], [1.5]], ys), loss, SGD(model.parameters()), steps, engine=engine)
    assert model.state_dict() == Net().state_dict()


# --- fit ----------------------------------------------------------------------------------------------------


def fitted(engine, loss=losses.squared_error, penalty=None, steps=60, model=None, **options):
    model = model or Net()
    data = ([[0.5], [1.0], [1.5]], [1.0, -1.0, 0.5])
    history = fit(model, data, loss, SGD(model.parameters(), lr=0.01), steps, engine=engine,
                  penalty=penalty and (lambda: penalty(model)), **options)  # fmt: skip
    return model, history


def frozen_penalty(model):
    curvature = tg.hessian(lambda a: a * a * model.w)(2.0)
    return model.w * model.w * curvature


def test_where_tracing_refuses_fit_says_so_and_trains_on_graphs(monkeypatch):
    monkeypatch.setattr("tinygrad_bp.train.WORTH_COMPILING", 1)
    with pytest.warns(RuntimeWarning, match=r"fit uses the eager engine, since .*depends on the data"):
        model, history = fitted("auto", penalty=frozen_penalty)
    same, again = fitted("eager", penalty=frozen_penalty)
    assert (model.state_dict(), history.losses) == (same.state_dict(), again.losses)
    model = Net()
    with pytest.raises(CompileError, match=r"test_tracing.py, line \d+: return model.w \* model.w"):
        fitted("compiled", penalty=frozen_penalty, model=model)
    assert model.state_dict() == Net().state_dict()


def test_a_loss_that_is_a_float_is_refused_by_every_engine():
    for engine in ("eager", "auto", "compiled"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            with pytest.raises(TypeError, match="not a Value: compute it from"):
                fitted(engine, loss=lambda p, y: 3.0)


def test_a_plain_number_is_refused_although_the_same_program_is_known():
    assert compile(lambda x: Value(4.5), net.parameters()).value([1.0]) == 4.5
    with pytest.raises(TypeError, match=r"returned 4.5, not a Value"):
        compile(lambda x: 4.5, net.parameters()).value([1.0])


def raises_on_values(p, y):
    if isinstance(y, Value):
        raise ValueError("a target is a number")
    return (p - y) ** 2


def sum_over_targets(p, ys):
    return sum((p - y) ** 2 for y in ys)


@pytest.mark.parametrize(
    ("loss", "ys", "message"),
    [
        (raises_on_values, [1.0, 2.0], "ValueError: a target is a number"),
        (sum_over_targets, [[1.0], [2.0, 3.0]], "ValueError: .*entry 1 has 2 numbers, and entry 0 has 1"),
        (lambda p, y: p * {1: 2.0, 2: 3.0}[int(y)], [1, 2], "not 'Value'"),
        (lambda p, y: p * [0.0, 1.0, 2.0][y], [1, 2], "list indices must be integers"),
    ],
)
def test_what_only_graphs_can_do_is_done_on_graphs(loss, ys, message, monkeypatch):
    monkeypatch.setattr("tinygrad_bp.train.WORTH_COMPILING", 1)
    data, models = ([[0.5], [1.0]], ys), (Net(), Net())
    eager = fit(models[0], data, loss, SGD(models[0].parameters()), 5, engine="eager")
    with pytest.warns(RuntimeWarning, match=f"fit uses the eager engine, since .*{message}"):
        auto = fit(models[1], data, loss, SGD(models[1].parameters()), 5)
    assert (auto.losses, models[1].state_dict()) == (eager.losses, models[0].state_dict())


def by_type(p, y):
    """Another loss for what is a float than for a Value: tracing cannot see that."""
    return (p - y) ** 2 if isinstance(y, Value) else (p - y) ** 4


@pytest.mark.parametrize("batch_size", [None, 2])
def test_fit_compares_compiled_code_with_the_engine(batch_size):
    model = Net()
    with pytest.raises(CompileError) as caught:
        fitted("compiled", loss=by_type, model=model, batch_size=batch_size)
    message = str(caught.value)
    assert message.startswith("fit: the loss of sample 0: compiled code gives ")
    assert "as value, and the engine" in message or "for the derivative by" in message
    assert 'go on with engine="eager"' in message
    assert model.state_dict() == Net().state_dict()


@pytest.mark.filterwarnings("ignore:fit moves the parameters in Python")
def test_a_number_that_changes_later_is_found_at_the_end():
    """A closure whose number another part of the program changes: right at the start, wrong at the end."""
    weight = [0.1]
    model = Net()

    def penalty(model):
        return weight[0] * (model.w * model.w)

    def loss(p, y):
        return (p - y) ** 2

    sgd = SGD(model.parameters(), lr=0.01)
    seen = []

    class Loud(SGD):
        def step(self):
            seen.append([p.data for p in self.parameters])
            super().step()
            if len(seen) == 4:
                weight[0] = 0.5

    sgd = Loud(model.parameters(), lr=0.01)
    with pytest.raises(CompileError, match=r"fit: the penalty: compiled code gives .* by 'w'"):
        fit(
            model,
            ([[0.5], [1.0]], [1.0, 2.0]),
            loss,
            sgd,
            6,
            engine="compiled",
            penalty=lambda: penalty(model),
        )
    assert len(seen) == 6
    assert [p.data for p in model.parameters()] == seen[5]  # as before the last stretch, of one step here


# --- verify -------------------------------------------------------------------------------------------------


def test_rounding_is_no_difference():
    """Derivatives of a cancelling sum, and of a kink that rounding decides on, computed in another order."""
    w, v = Value(1.0, label="w"), Value(1e8, label="v")

    def cancelling(x):
        return ((w * x + v) - v) ** 2

    exact = 2.0 * 0.1
    out = cancelling(0.1)
    assert out.data != 0.1**2
    verify("loss", cancelling, [w, v], [0.1], 0.1**2, [exact * 0.1, 0.0])
    with pytest.raises(CompileError, match=r"loss: compiled code gives 0.03 for the derivative by 'w'"):
        verify("loss", cancelling, [w, v], [0.1], 0.1**2, [0.03, 0.0])

    def kinked(x):
        return tg.relu(w * x + 0.2 - 0.3) * w

    at_kink = kinked(0.1).data
    assert at_kink in (0.0, pytest.approx(2.7e-17, rel=1.0))
    for slope in (0.0, 0.1):
        verify("loss", kinked, [w], [0.1], 0.0, [slope])
    with pytest.raises(CompileError, match="by 'w'"):
        verify("loss", kinked, [w], [0.2], 0.1, [0.0])


def test_the_worst_of_several_is_named():
    w = [Value(float(i), label=f"w{i}" if i else "") for i in range(4)]

    def f(x):
        return sum((i + 1.0) * a * x for i, a in enumerate(w))

    verify("loss", f, w, [1.0], f(1.0).data, [1.0, 2.0, 3.0, 4.0])
    with pytest.raises(CompileError, match=r"gives 3.5 .*by 'w2', and the engine 3.0, and 1 more number"):
        verify("loss", f, w, [1.0], f(1.0).data, [1.0, 2.25, 3.5, 4.0])
    with pytest.raises(CompileError, match=r"by 'parameter 0'"):
        verify("loss", f, w, [1.0], f(1.0).data, [1.5, 2.0, 3.0, 4.0])
    with pytest.raises(CompileError, match=r"gives 0.0 as value, and the engine 20.0"):
        verify("loss", f, w, [1.0], 0.0, [1.0, 2.0, 3.0, 4.0])
    assert all(p.grad == 0.0 for p in w)


def test_nan_on_both_sides_is_equal_and_on_one_is_not():
    w = Value(-1.0, label="w")

    def f():
        return tg.sqrt(w)

    verify("loss", f, [w], [], math.nan, [math.nan])
    w.data = 4.0
    with pytest.raises(CompileError, match="gives nan for the derivative by 'w'"):
        verify("loss", f, [w], [], 2.0, [math.nan])


def test_a_wrong_derivative_is_not_taken_for_rounding(monkeypatch):
    """The noisy runs are compared with the graph that they run on, not with what is in question."""
    w = Value(3.0, label="w")
    monkeypatch.setattr("tinygrad_bp.compiler.verify.sweep", lambda seeds: {})
    with pytest.raises(CompileError, match=r"gives 12.0 for the derivative by 'w', and the engine 0.0"):
        verify("loss", lambda x: w * w * x, [w], [2.0], 18.0, [12.0])


def test_training_that_agrees_needs_no_noisy_runs(monkeypatch):
    """They cost as much as compiling, and are for sums that cancel."""
    monkeypatch.setattr("tinygrad_bp.compiler.verify._spread", None)
    net = tg.MLP(2, [4, 1], act="tanh")
    xs = [[0.1 * i, 0.3 - 0.1 * i] for i in range(6)]
    adam = tg.optim.Adam(net.parameters(), lr=0.01)
    history = tg.fit(net, (xs, [0.5] * 6), tg.losses.squared_error, adam, steps=5, engine="compiled")
    assert len(history.losses) == 5


def test_threads_that_call_compiled_code_do_not_see_nudged_numbers():
    """Tracing changes parameters for a moment; a call of code that is there already waits for its end."""
    w = Value(1.0)
    step = compile(lambda x: w * x, [w])
    step.value([1.0])
    wrong, stop = [], threading.Event()

    def call():
        while not stop.is_set():
            found = step.value([1.0])
            if found != 1.0:
                wrong.append(found)

    thread = threading.Thread(target=call)
    thread.start()
    try:
        for _ in range(30):
            compile(lambda x: sum(w * (x + float(i)) for i in range(300)), [w]).value([1.0])
    finally:
        stop.set()
        thread.join()
    assert wrong == []
