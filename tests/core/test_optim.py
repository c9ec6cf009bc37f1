"""Optimizers: plain steps and momentum against the formula, what they leave alone, and what they refuse.

A step never clears a gradient, moves nothing but its own parameters, and either moves all or none.
"""

import json
import math
import random

import pytest
from support.optimizers import EVERY

from tinygrad_bp import MLP, Value, optim, schedules
from tinygrad_bp.optim import SGD, Adagrad, Adam, AdamW, Optimizer, RMSProp


def with_gradients(*pairs):
    parameters = [Value(number) for number, _ in pairs]
    for p, (_, slope) in zip(parameters, pairs):
        p.grad = slope
    return parameters


def test_a_step_goes_against_the_gradient():
    ps = with_gradients((1.0, 2.0), (-3.0, -0.5), (5.0, 0.0))
    SGD(ps, lr=0.1).step()
    assert [p.data for p in ps] == [1.0 - 0.1 * 2.0, -3.0 + 0.1 * 0.5, 5.0]


def test_momentum_follows_the_formula():
    """v ← μ v + g, p ← p − lr v, with v = 0 at first: for each parameter apart."""
    ps = [Value(1.0), Value(-2.0)]
    sgd = SGD(ps, lr=0.05, momentum=0.9)
    expected, velocity = [1.0, -2.0], [0.0, 0.0]
    for step in range(20):
        for i, p in enumerate(ps):
            p.grad = math.sin(3.0 * step + i) + p.data
            velocity[i] = 0.9 * velocity[i] + math.sin(3.0 * step + i) + expected[i]
            expected[i] -= 0.05 * velocity[i]
        sgd.step()
        assert [p.data for p in ps] == pytest.approx(expected, rel=1e-12)


def test_momentum_is_faster_down_a_valley():
    def height(momentum):
        x, y = Value(1.0), Value(1.0)
        sgd = SGD([x, y], lr=0.02, momentum=momentum)
        for _ in range(60):
            sgd.zero_grad()
            loss = x * x / 2.0 + 20.0 * y * y
            loss.backward()
            sgd.step()
        return loss.data

    assert height(0.8) < height(0.0) / 10.0


def test_a_step_keeps_gradients_and_zero_grad_clears_them():
    ps = with_gradients((1.0, 2.0), (3.0, 4.0))
    sgd = SGD(ps, lr=0.1)
    sgd.step()
    assert [p.grad for p in ps] == [2.0, 4.0]
    sgd.zero_grad()
    assert [p.grad for p in ps] == [0.0, 0.0]


def test_a_parameter_left_out_is_frozen():
    kept, moved = with_gradients((1.0, 2.0), (1.0, 2.0))
    SGD([moved], lr=0.1).step()
    assert (kept.data, moved.data) == (1.0, 0.8)
    SGD(moved, lr=0.1).step()  # one parameter needs no list
    assert moved.data == pytest.approx(0.6)


def test_the_rate_may_be_changed_meanwhile():
    (p,) = with_gradients((1.0, 1.0))
    sgd = SGD(iter([p]), lr=0.5)
    sgd.step()
    sgd.lr = 0.25
    sgd.step()
    assert p.data == 0.25


def test_a_step_makes_the_graph_stale():
    """So that a second backward through the old graph cannot pass unnoticed."""
    p = Value(1.0)
    loss = p * p
    loss.backward()
    SGD([p], lr=0.1).step()
    with pytest.raises(Exception, match="calling your function again"):
        loss.backward()


def test_a_subclass_says_how_to_step():
    class Sign(Optimizer):
        def step(self):
            for p in self.parameters:
                p.data -= math.copysign(self.lr, p.grad)

    (p,) = with_gradients((1.0, -7.0))
    Sign([p], lr=0.25).step()
    assert p.data == 1.25
    with pytest.raises(TypeError, match="Optimizer does not say how to step"):
        Optimizer([p], lr=0.1).step()


# --- errors -------------------------------------------------------------------------------------------------


def test_no_parameters():
    with pytest.raises(ValueError, match=r"SGD was given no parameters: pass model\.parameters\(\)"):
        SGD([])


@pytest.mark.parametrize("wrong", [[1.0], [Value(1.0) * 2.0], [Value(1.0), None], ["w"]])
def test_what_is_no_parameter(wrong):
    with pytest.raises(TypeError, match=r"SGD moves leaf Values, and .* pass model\.parameters\(\)"):
        SGD(wrong)


@pytest.mark.parametrize("wrong", [MLP(1, [1], rng=random.Random(0)), None, 3.0])
def test_what_holds_no_parameters(wrong):
    with pytest.raises(TypeError, match=r"pass model\.parameters\(\)"):
        SGD(wrong)


def test_a_parameter_given_twice():
    """It would move twice as far."""
    p, q = Value(1.0, label="p"), Value(2.0)
    with pytest.raises(ValueError, match="twice"):
        SGD([p, q, p])


@pytest.mark.parametrize("lr", [-0.1, math.nan, math.inf, -math.inf])
def test_a_rate_that_is_none(lr):
    with pytest.raises(ValueError, match="SGD: lr "):
        SGD([Value(1.0)], lr=lr)


@pytest.mark.parametrize("lr", ["fast", None, [0.1]])
def test_a_rate_that_is_no_number(lr):
    with pytest.raises(TypeError, match="lr"):
        SGD([Value(1.0)], lr=lr)


@pytest.mark.parametrize("momentum", [-0.1, 1.0, 1.5, math.nan])
def test_a_momentum_that_is_none(momentum):
    with pytest.raises(ValueError, match="SGD: momentum is "):
        SGD([Value(1.0)], momentum=momentum)


# --- rules, against textbook formulas -----------------------------------------------------------------------

STEPS, RATE = 30, 0.03


def walk(make, steps=STEPS):
    """Where two parameters are after some steps on gradients that depend on the step and the parameter."""
    ps = [Value(1.0), Value(-2.0)]
    optimizer = make(ps)
    for step in range(steps):
        for i, p in enumerate(ps):
            p.grad = math.sin(3.0 * step + i) + p.data
        optimizer.step()
    assert optimizer.t == steps
    return [p.data for p in ps]


def formula(rule, steps=STEPS):
    """The same by a function (p, g, t, memory) -> p, with a dict of its own for each parameter."""
    ps, memory = [1.0, -2.0], [{}, {}]
    for step in range(steps):
        ps = [rule(p, math.sin(3.0 * step + i) + p, step + 1, memory[i]) for i, p in enumerate(ps)]
    return ps


def sgd_rule(p, g, t, kept, momentum=0.9, decay=0.0, nesterov=False):
    g += decay * p
    v = kept["v"] = momentum * kept.get("v", 0.0) + g
    return p - RATE * (g + momentum * v if nesterov else v)


def adam_rule(p, g, t, kept, b1=0.8, b2=0.95, eps=1e-3, decay=0.0, decoupled=False):
    if decoupled:
        p *= 1.0 - RATE * decay
    else:
        g += decay * p
    m = kept["m"] = b1 * kept.get("m", 0.0) + (1.0 - b1) * g
    v = kept["v"] = b2 * kept.get("v", 0.0) + (1.0 - b2) * g**2
    return p - RATE * (m / (1.0 - b1**t)) / (math.sqrt(v / (1.0 - b2**t)) + eps)


def rms_rule(p, g, t, kept, alpha=0.9, eps=1e-3, decay=0.1):
    g += decay * p
    v = kept["v"] = alpha * kept.get("v", 0.0) + (1.0 - alpha) * g**2
    return p - RATE * g / (math.sqrt(v) + eps)


def adagrad_rule(p, g, t, kept):
    v = kept["v"] = kept.get("v", 0.0) + g**2
    return p - RATE * g / (math.sqrt(v) + 1e-10)


ADAM = {"betas": (0.8, 0.95), "eps": 1e-3}
RULES = {
    "momentum": (SGD, {"momentum": 0.9}, sgd_rule),
    "decay": (SGD, {"momentum": 0.9, "weight_decay": 0.2}, lambda *a: sgd_rule(*a, decay=0.2)),
    "nesterov": (SGD, {"momentum": 0.9, "nesterov": True}, lambda *a: sgd_rule(*a, nesterov=True)),
    "adam": (Adam, ADAM, adam_rule),
    "adam with decay": (Adam, {**ADAM, "weight_decay": 0.2}, lambda *a: adam_rule(*a, decay=0.2)),
    "adamw": (AdamW, {**ADAM, "weight_decay": 0.2}, lambda *a: adam_rule(*a, decay=0.2, decoupled=True)),
    "rmsprop": (RMSProp, {"alpha": 0.9, "eps": 1e-3, "weight_decay": 0.1}, rms_rule),
    "adagrad": (Adagrad, {}, adagrad_rule),
    "clipped": (SGD, {"clip_value": 0.5}, lambda p, g, t, kept: p - RATE * max(-0.5, min(0.5, g))),
}


@pytest.mark.parametrize("kind", EVERY)
def test_every_optimizer_has_its_rule_here(kind):
    name = kind.__name__
    line = f'"{name.lower()}": ({name}, {{"option": 0.9}}, {name.lower()}_rule),'
    assert kind in [row[0] for row in RULES.values()], (
        f"write {name.lower()}_rule(p, g, t, kept), and add to RULES: {line}"
    )


@pytest.mark.parametrize("name", RULES)
def test_every_rule_is_the_textbooks(name):
    kind, options, rule = RULES[name]
    assert walk(lambda ps: kind(ps, lr=RATE, **options)) == pytest.approx(formula(rule), rel=1e-12)


def test_clipping_by_norm_scales_all_gradients_together():
    ps = with_gradients((1.0, 3.0), (1.0, 4.0))
    SGD(ps, lr=1.0, clip_norm=1.0).step()
    assert [1.0 - p.data for p in ps] == pytest.approx([3.0 / 5.000001, 4.0 / 5.000001], rel=1e-12)
    ps = with_gradients((1.0, 3.0), (1.0, 4.0))
    SGD(ps, lr=1.0, clip_norm=6.0).step()
    assert [p.data for p in ps] == [-2.0, -3.0]


def test_edges_of_adam_follow_the_table_of_operations():
    """Eps of 0 with a gradient of 0 is 0/0; nothing raises, and `fit` says so."""
    (p,) = with_gradients((1.0, 0.0))
    Adam([p], lr=0.1, eps=0.0).step()
    assert math.isnan(p.data)
    (p,) = with_gradients((1.0, 1e200))  # its square is inf
    Adam([p], lr=0.1).step()
    assert p.data == 1.0


def test_a_rule_that_fails_moves_nothing():
    class Bad(Optimizer):
        memory = ("kept",)

        def update(self, p, g, t, lr, kept):
            return p - g if p > 0.0 else (1.0 / 0.0, kept)

    ps = with_gradients((1.0, 1.0), (-1.0, 1.0))
    bad = Bad(ps, lr=0.1)
    with pytest.raises(TypeError, match=r"Bad.update returns 1 numbers, and must return 2: the new p, kept"):
        bad.step()
    bad.kept = [1.0]
    with pytest.raises(ValueError, match=r"Bad: the memory 'kept' holds 1 numbers for 2 parameters"):
        bad.step()
    assert [p.data for p in ps] == [1.0, -1.0]
    assert bad.t == 0


# --- schedules ----------------------------------------------------------------------------------------------


def test_a_schedule_is_asked_for_each_step():
    (p,) = with_gradients((1.0, 1.0))
    sgd = SGD([p], lr=lambda step: 0.5 / (step + 1))
    rates = []
    for _ in range(3):
        before = p.data
        sgd.step()
        rates.append(before - p.data)
    assert rates == pytest.approx([0.5, 0.25, 0.5 / 3.0])
    assert sgd.rate() == 0.125
    assert sgd.rate(step=1) == 0.25


@pytest.mark.parametrize(
    ("wrong", "error"), [("fast", TypeError), (math.nan, ValueError), (-0.1, ValueError)]
)
def test_a_schedule_that_answers_no_rate(wrong, error):
    (p,) = with_gradients((1.0, 1.0))
    sgd = SGD([p], lr=lambda step: wrong)
    with pytest.raises((TypeError, ValueError), match="SGD: lr, which is a schedule, at step 0 is a number"):
        sgd.step()
    assert (p.data, sgd.t) == (1.0, 0)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: schedules.cosine(0.1, steps=0),
        lambda: schedules.linear(-0.1, steps=5),
        lambda: schedules.step_decay(0.1, every=2.5),
        lambda: schedules.warm_up(math.nan, steps=3),
    ],
)
def test_schedules_that_are_wrong(wrong):
    with pytest.raises(ValueError, match=r"^(cosine|linear|step_decay|constant): "):
        wrong()


# --- saving -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RULES)
def test_a_state_goes_on_where_it_was(name):
    kind, options, _ = RULES[name]

    def make(ps):
        return kind(ps, lr=RATE, **options)

    whole = walk(make)
    ps = [Value(1.0), Value(-2.0)]
    optimizer = make(ps)
    for step in range(STEPS):
        if step == 11:  # another object, with other settings, goes on
            state = json.loads(json.dumps(optimizer.state_dict()))
            optimizer = kind(ps, lr=0.5)
            optimizer.load_state_dict(state)
        for i, p in enumerate(ps):
            p.grad = math.sin(3.0 * step + i) + p.data
        optimizer.step()
    assert [p.data for p in ps] == whole


WRONG_STATES = {
    "not a dict": (lambda s: [], "this is not what state_dict"),
    "another optimizer": (lambda s: {**s, "name": "SGD"}, "the state is of 'SGD', not of 'Adam'"),
    "a negative t": (lambda s: {**s, "t": -1}, "t is a count of steps"),
    "a setting too few": (
        lambda s: {**s, "settings": {"lr": 0.1}},
        "the setting 'beta1' is on one side only",
    ),
    "a setting of nan": (lambda s: {**s, "settings": {**s["settings"], "eps": math.nan}}, "'eps' is nan"),
    "no memory": (lambda s: {**s, "memory": {"w": [0.0]}}, "there is no memory 'w'"),
    "texts": (lambda s: {**s, "memory": {"m": ["a"], "v": [0.0]}}, "'m' is not a list of floats"),
    "lengths": (lambda s: {**s, "memory": {"m": [0.0] * 2}}, "'m' is of 2 parameters, not of 1"),
    "batches": (lambda s: {**s, "batches": {"size": 1}}, "this is not a state of batches"),
}


@pytest.mark.parametrize("case", WRONG_STATES)
def test_a_state_that_does_not_fit_changes_nothing(case):
    change, message = WRONG_STATES[case]
    adam = Adam([Value(1.0)], lr=0.1)
    before = adam.state_dict()
    with pytest.raises(ValueError, match=message):
        adam.load_state_dict(change(Adam([Value(1.0)], lr=0.2).state_dict()))
    assert adam.state_dict() == before


def test_a_schedule_stays_where_a_state_is_loaded():
    schedule = schedules.linear(0.1, steps=10)
    adam, other = (Adam([Value(1.0)], lr=schedule) for _ in range(2))
    adam.step()
    other.load_state_dict(adam.state_dict())
    assert (other.lr, other.t, other.rate()) == (schedule, 1, schedule(1))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: Adam(p, betas=0.9), "Adam: betas are two numbers"),
        (lambda p: Adam(p, betas=(0.9, 1.0)), "Adam: a beta is a number from 0 up to below 1, not 1.0"),
        (lambda p: RMSProp(p, alpha=-0.5), "RMSProp: alpha is a number from 0 up to below 1, not -0.5"),
        (lambda p: Adagrad(p, weight_decay=-1), "Adagrad: weight_decay is a number from 0 up, not -1"),
        (lambda p: SGD(p, nesterov=True), "SGD: nesterov needs a momentum above 0"),
        (lambda p: SGD(p, clip_norm=-1.0), "SGD: clip_norm is a number from 0 up, not -1.0"),
        (lambda p: SGD(p, clip_value="x"), "SGD: clip_value is a number from 0 up, not 'x'"),
        (lambda p: SGD(p, lr=10**400), "SGD: lr is a number from 0 up, not 1000"),
    ],
)
def test_settings_that_are_wrong(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make([Value(1.0)])


def test_a_misspelled_optimizer():
    with pytest.raises(AttributeError, match=r"^tinygrad_bp.optim has no 'sgd': did you mean 'SGD'[?]$"):
        optim.sgd  # noqa: B018
    with pytest.raises(AttributeError, match=r"^tinygrad_bp.optim has no 'Zzzzz'$"):
        optim.Zzzzz  # noqa: B018
