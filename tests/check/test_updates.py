"""The audit of updates: slips of optimizers, made in NumPy, and named."""

import math

import numpy as np
import pytest

import tinygrad_bp as tg
from tinygrad_bp import Value, audit_update, optim
from tinygrad_bp.check.audit.slips import SLIPS, adam, moved

P = [0.5, -1.0, 2.0]
STEPS = [[0.3, -2.0, 1.0], [-0.7, 0.4, 0.1], [0.2, 0.5, -1.5]]


def values():
    return [Value(p, label=f"w{i}") for i, p in enumerate(P)]


OPTIMIZERS = {
    "sgd": lambda: optim.SGD(values(), lr=0.1),
    "momentum": lambda: optim.SGD(values(), lr=0.1, momentum=0.9),
    "nesterov": lambda: optim.SGD(values(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
    "adam": lambda: optim.Adam(values(), lr=0.1, betas=(0.8, 0.95), eps=1e-3, weight_decay=0.1),
    "adamw": lambda: optim.AdamW(values(), lr=0.1, betas=(0.8, 0.95), eps=1e-3, weight_decay=0.1),
    "clip": lambda: optim.SGD(values(), lr=0.1, clip_norm=1.0),
    "value": lambda: optim.SGD(values(), lr=0.1, clip_value=0.6),
}


def names_of(report):
    return [{text.partition(":")[0] for text in explanation} for explanation in report.explanations]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_right_updates_are_right(name):
    own = OPTIMIZERS[name]()
    report = audit_update(OPTIMIZERS[name](), STEPS, moved(own, STEPS, {}))
    assert report and report.score == 1.0
    for gs in STEPS:
        for p, g in zip(own.parameters, gs):
            p.grad = g
        own.step()
    assert audit_update(OPTIMIZERS[name](), np.array(STEPS), np.array([p.data for p in own.parameters]))
    assert str(report) == "right: all 3 parameters are where the optimizer moves them"


CASES = [(name, slip) for name, make in OPTIMIZERS.items() for slip in SLIPS if slip.applies(make())]


@pytest.mark.parametrize("name, slip", CASES, ids=lambda it: it if isinstance(it, str) else it.name)
def test_every_slip_is_named(name, slip):
    mine = moved(OPTIMIZERS[name](), STEPS, slip.changes)
    if not all(map(math.isfinite, mine)):
        assert slip.name == "count one behind"  # in its first step it divides by zero: memory is needed
        return
    report = audit_update(OPTIMIZERS[name](), STEPS, mine)
    if report:  # "betas swapped" and the like always change something; "nothing to clip" does not
        assert np.allclose(mine, moved(OPTIMIZERS[name](), STEPS, {}))
    else:
        assert {slip.name} in names_of(report)


def test_every_slip_applies_somewhere():
    assert {slip.name for slip in SLIPS} == {slip.name for _, slip in CASES}


def by_hand(steps, lr=0.1, b1=0.8, b2=0.95, eps=1e-3, decay=0.1, corrected=True, inside=False):
    p, m, v = np.array(P), np.zeros(3), np.zeros(3)
    for t, g in enumerate(np.array(steps), 1):
        g = g + decay * p
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        m_hat, v_hat = (m / (1 - b1**t), v / (1 - b2**t)) if corrected else (m, v)
        p = p - lr * m_hat / (np.sqrt(v_hat + eps) if inside else np.sqrt(v_hat) + eps)
    return p


@pytest.mark.parametrize(
    "how, name",
    [({}, None), ({"corrected": False}, "bias correction left out"),
     ({"inside": True}, "epsilon inside the root"),
     ({"b1": 0.95, "b2": 0.8}, "betas swapped"), ({"decay": 0.0}, "weight decay left out"),
     ({"decay": -0.1}, "weight decay with a wrong sign"), ({"lr": 1.0}, "rate left out")],
)  # fmt: skip
def test_adam_in_numpy(how, name):
    report = audit_update(OPTIMIZERS["adam"](), STEPS, by_hand(STEPS, **how))
    assert names_of(report) == ([{name}] if name else []) and bool(report) == (name is None)


def test_pairs_of_slips():
    mine = 2 * np.array(P) - by_hand(STEPS[:1], decay=0.0)
    report = audit_update(OPTIMIZERS["adam"](), STEPS[:1], mine)
    assert {"added, not subtracted", "weight decay left out"} in names_of(report)


def test_what_nothing_explains():
    report = audit_update(OPTIMIZERS["sgd"](), STEPS[0], [1.0, 7.0, 3.0])
    assert report.explanations == [] and report.score == 0.0
    assert "not explained by any slip or pair tried" in str(report)


def test_the_rule_with_nothing_changed_is_the_optimizers():
    for name in ("adam", "adamw"):
        own = OPTIMIZERS[name]()
        assert moved(own, STEPS, adam()) == pytest.approx(moved(own, STEPS, {}), abs=1e-14)


def test_nothing_is_changed_and_memory_counts():
    own = OPTIMIZERS["momentum"]()
    own.velocity = [1.0, 2.0, 3.0]
    wanted = [p - 0.1 * (0.9 * v + g) for p, v, g in zip(P, own.velocity, STEPS[0])]
    assert audit_update(own, STEPS[0], wanted)
    assert [p.data for p in own.parameters] == P and own.velocity == [1.0, 2.0, 3.0] and own.t == 0


def test_an_optimizer_of_ones_own():
    class Signs(optim.Optimizer):
        def update(self, p, g, t, lr):
            return p - lr * tg.sign(g)

    own = Signs(values(), lr=0.1)
    assert audit_update(own, STEPS[0], [0.4, -0.9, 1.9])
    assert names_of(audit_update(own, STEPS[0], [0.6, -1.1, 2.1])) == [{"added, not subtracted"}]


def test_no_number_of_the_answer_is_shown():
    report = audit_update(OPTIMIZERS["sgd"](), STEPS[0], P, reveal=False)
    assert "nothing moved" in str(report) and "0.47" not in str(report) + report.to_json()


@pytest.mark.parametrize(
    "arguments, error, text",
    [((3.0, [1.0], [1.0]), TypeError, "takes an optimizer such as optim.SGD first"),
     ((None, [1.0], P), ValueError, r"gradients\[0\] needs one number for each of the 3 parameters"),
     ((None, STEPS, [1.0]), ValueError, "mine needs one number for each of the 3"),
     ((None, STEPS, [[1.0] * 3]), ValueError, "mine needs one number"),
     ((None, STEPS, [1.0, math.nan, 1.0]), ValueError, r"mine\[1\] is nan"),
     ((None, "abc", P), TypeError, "gradients is 'abc', not a number")],
)  # fmt: skip
def test_bad_input_is_named(arguments, error, text):
    first = OPTIMIZERS["sgd"]() if arguments[0] is None else arguments[0]
    with pytest.raises(error, match=text):
        audit_update(first, *arguments[1:])
