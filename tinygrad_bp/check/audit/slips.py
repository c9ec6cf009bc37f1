"""The audit of an update: parameters before and after, and which slip of the optimizer explains the move.

The right move is that of the optimizer's own rule.  A slip changes something of a step: the gradient that the
rule gets, the rate, the count of the steps, what is remembered, the clipping, or the rule itself.  SLIPS is a
table of them; they are tried alone, then in pairs.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from math import copysign, isfinite, sqrt
from typing import Any

from tinygrad_bp.check.audit.reading import plain
from tinygrad_bp.check.audit.report import Audit, Entry, Part, explained
from tinygrad_bp.optim import SGD, Adam, AdamW, Optimizer

Gradient = Callable[[list[list[float]], int, int], float]  # of all steps' gradients, the step, the parameter


@dataclass(frozen=True)
class Slip:
    """A row of the table: its name, what it is, how to fix it, for which optimizers, and what it changes."""

    name: str
    what: str
    fix: str
    applies: Callable[[Any], Any]
    changes: dict[str, Any] = field(default_factory=dict, hash=False)


def audit_update(
    optimizer: Optimizer, gradients: Any, mine: Any, *, tolerance: float = 1e-8, reveal: bool = True
) -> Audit:
    """Whether `mine` are the parameters after the optimizer's steps, as a report that names the slip.

    The optimizer, one of `tg.optim` or of yours, has the parameters and the memory from before. `gradients`
    are those of one step, a list with a number for each parameter, or a list of such lists, one for each
    step: several steps tell more slips apart. `mine` has a number for each parameter. Numbers agree to
    `tolerance`, measured by the longest move. Nothing is changed. Raises ValueError or TypeError for wrong
    shapes and for what is not a finite number.

    >>> from tinygrad_bp import Value, optim
    >>> sgd = optim.SGD([Value(1.0), Value(2.0)], lr=0.1)
    >>> audit_update(sgd, [3.0, -1.0], [0.7, 2.1])
    right: all 2 parameters are where the optimizer moves them
    >>> audit_update(sgd, [3.0, -1.0], [1.3, 1.9]).explanations[0][0].partition(":")[0]
    'added, not subtracted'
    """
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"audit_update takes an optimizer such as optim.SGD first, not {optimizer!r}")
    count = len(optimizer.parameters)
    steps = plain(gradients, "gradients")
    steps = steps if steps and isinstance(steps[0], list) else [steps]
    after = plain(mine, "mine")
    for name, row in (("mine", after), *((f"gradients[{k}]", row) for k, row in enumerate(steps))):
        if not isinstance(row, list) or len(row) != count or isinstance(row[0], list):
            raise ValueError(f"audit_update: {name} needs one number for each of the {count} parameters")
    right = moved(optimizer, steps, {})
    before = [p._data for p in optimizer.parameters]
    room = tolerance * max(max(abs(a - b) for a, b in zip(right, before)), 1e-12)
    labels = [p.label or f"parameter {i}" for i, p in enumerate(optimizer.parameters)]

    def same(found: Sequence[float]) -> list[bool]:
        return [abs(a - b) <= room for a, b in zip(found, after)]

    entries = [Entry(*row) for row in zip(labels, after, right, same(right))]
    audit = Audit(entries, [Part("update", all(same(right)))], reveal=reveal)
    if audit:
        audit.verdict = f"right: all {count} parameters are where the optimizer moves them"
        return audit
    known = [slip for slip in SLIPS if slip.applies(optimizer)]
    for size in (1, 2):
        for slips in combinations(known, size):
            changes: dict[str, Any] = {}
            for slip in slips:
                changes |= slip.changes
            if len(changes) < sum(len(slip.changes) for slip in slips):
                continue  # two slips of one and the same thing
            found = moved(optimizer, steps, changes)
            if all(map(isfinite, found)) and all(same(found)) and not all(same_as(found, right, room)):
                audit.explanations.append([f"{s.name}: {s.what}\nto fix it: {s.fix}" for s in slips])
        if audit.explanations:
            audit.verdict = explained(audit.explanations, "give the gradients of several steps")
            return audit
    audit.verdict = "not explained by any slip or pair tried"
    return audit


def same_as(xs: Sequence[float], ys: Sequence[float], room: float) -> list[bool]:
    return [abs(x - y) <= room for x, y in zip(xs, ys)]


def moved(optimizer: Optimizer, steps: list[list[float]], changes: dict[str, Any]) -> list[float]:
    """The parameters after the steps, with these changes; nan where a change does not work."""
    own = copy.copy(optimizer)
    for name, value in changes.get("settings", {}).items():
        setattr(own, name, value(optimizer))
    steps = changes.get("steps", lambda steps: steps)(steps)
    ps = [p._data for p in optimizer.parameters]
    memory = [list(column) for column in zip(*optimizer.remembered())] or [[] for _ in ps]
    try:
        for k in range(len(steps)):
            ps, memory = _step(own, steps, k, ps, memory, changes)
    except (ArithmeticError, ValueError, TypeError):
        return [float("nan")] * len(ps)
    return ps


def _step(
    own: Any,
    steps: list[list[float]],
    k: int,
    ps: list[float],
    memory: list[list[float]],
    changes: dict[str, Any],
) -> tuple[list[float], list[list[float]]]:
    gradient: Gradient = changes.get("gradient", lambda steps, k, i: steps[k][i])
    gs = [gradient(steps, k, i) for i in range(len(ps))]
    lr = changes.get("rate", lambda lr: lr)(own.rate(own.t + k))
    t = float(changes.get("time", lambda t: t)(own.t + k + 1))
    norm = sqrt(sum(g * g for g in gs))
    after, kept = [], []
    for p, g, numbers in zip(ps, gs, memory):
        if changes.get("forgets"):
            numbers = [0.0] * len(numbers)
        if "clip" in changes:
            g = changes["clip"](own, g, norm)
        rule = changes.get("rule")
        saved, own.clip_norm = own.clip_norm, None if "clip" in changes else own.clip_norm
        try:
            if rule:
                answer = own.moved.__func__(_With(own, rule), p, g, t, lr, norm, *numbers)
            else:
                answer = own.moved(p, g, t, lr, norm, *numbers)
        finally:
            own.clip_norm = saved
        new, *rest = (float(x) for x in answer)
        after.append(changes.get("move", lambda p, new: new)(p, new))
        kept.append(rest)
    return after, kept


class _With:
    """An optimizer with another rule."""

    def __init__(self, own: Any, rule: Any) -> None:
        self._own, self._rule = own, rule

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)

    def update(self, p: float, g: float, t: float, lr: float, *memory: float) -> Any:
        return self._rule(self._own, p, g, t, lr, *memory)


# --- rules with something else in them ----------------------------------------------------------------------


def momentum(f: Callable[[float, float, float], float], nesterov: bool | None = None) -> Any:
    """SGD with another velocity: f of the momentum, the velocity before, and the gradient."""

    def rule(o: Any, p: float, g: float, t: float, lr: float, v: float) -> tuple[float, float]:
        g = g + o.weight_decay * p
        v = f(o.momentum, v, g)
        along = g + o.momentum * v if (o.nesterov if nesterov is None else nesterov) else v
        return p - lr * along, v

    return {"rule": rule}


def adam(**how: Any) -> dict[str, Any]:
    """Adam's rule with parts left out or exchanged."""

    def rule(
        o: Any, p: float, g: float, t: float, lr: float, m: float, v: float
    ) -> tuple[float, float, float]:
        beside = isinstance(o, AdamW) != how.get("other_decay", False)
        g, p = (g, p - lr * o.weight_decay * p) if beside else (g + o.weight_decay * p, p)
        m = o.beta1 * m + (1.0 - o.beta1) * g
        v = o.beta2 * v + (1.0 - o.beta2) * (abs(g) if how.get("plain") else g * g)
        m_hat = m / (1.0 - o.beta1**t) if how.get("correct_m", True) else m
        v_hat = v / (1.0 - o.beta2**t) if how.get("correct_v", True) else v
        m_hat = g if how.get("bare") else m_hat
        if how.get("inside"):
            return p - lr * m_hat / sqrt(v_hat + o.eps), m, v
        return p - lr * m_hat / ((v_hat if how.get("no_root") else sqrt(v_hat)) + o.eps), m, v

    return {"rule": rule}


def decay_unscaled(o: Any, p: float, g: float, t: float, lr: float, *memory: float) -> Any:
    new, *rest = Adam.adam(o, p - o.weight_decay * p, g, t, lr, *memory)
    return new, *rest


def has(name: str) -> Callable[[Any], Any]:
    return lambda o: getattr(o, name, None)


def is_adam(o: Any) -> bool:
    return isinstance(o, Adam)


def has_velocity(o: Any) -> bool:
    return isinstance(o, SGD) and bool(o.momentum)


def always(o: Any) -> bool:
    return True


# fmt: off
SLIPS = (
    Slip("added, not subtracted", "the parameters move uphill", "p ← p − lr · gradient", always, {"move": lambda p, new: 2.0 * p - new}),
    Slip("nothing moved", "the parameters are as before", "assign the new numbers: p -= ..., in place", always, {"move": lambda p, new: p}),
    Slip("rate left out", "the step is not multiplied by the rate", "p ← p − lr · step", always, {"rate": lambda lr: 1.0}),
    Slip("rate twice", "the step is multiplied by the rate twice", "p ← p − lr · step, once", always, {"rate": lambda lr: lr * lr}),
    Slip("gradients not cleared", "the gradients of the steps before are still in it", "clear them before each backward pass", always,
         {"gradient": lambda steps, k, i: sum(row[i] for row in steps[: k + 1])}),
    Slip("gradient of the step before", "each step uses the gradient of the one before", "run backward before the update", always,
         {"gradient": lambda steps, k, i: steps[max(0, k - 1)][i]}),
    Slip("one step left out", "the last step is missing", "update after every backward pass", always, {"steps": lambda steps: steps[:-1]}),
    Slip("one step too many", "the last step is made twice", "update once for each backward pass", always, {"steps": lambda steps: [*steps, steps[-1]]}),
    Slip("sign of the gradient only", "the step does not depend on the size of the gradient", "p ← p − lr · gradient", always,
         {"gradient": lambda steps, k, i: copysign(1.0, steps[k][i]) if steps[k][i] else 0.0}),
    Slip("memory not kept", "what is remembered begins anew in each step", "keep it from step to step", lambda o: o.memory, {"forgets": True}),
    # momentum
    Slip("momentum left out", "the velocity is the gradient alone", "v ← momentum · v + g", has_velocity, momentum(lambda c, v, g: g)),
    Slip("gradient dampened", "the gradient is multiplied by 1 − momentum", "v ← momentum · v + g", has_velocity, momentum(lambda c, v, g: c * v + (1.0 - c) * g)),
    Slip("momentum on the gradient too", "the gradient is multiplied by the momentum, too", "v ← momentum · v + g", has_velocity, momentum(lambda c, v, g: c * (v + g))),
    Slip("velocity not multiplied", "the velocity before is not multiplied by the momentum", "v ← momentum · v + g", has_velocity, momentum(lambda c, v, g: v + g)),
    Slip("velocity subtracted", "the velocity before is subtracted", "v ← momentum · v + g", has_velocity, momentum(lambda c, v, g: g - c * v)),
    Slip("Nesterov left out", "the step is along the velocity", "the step is along g + momentum · v", lambda o: has_velocity(o) and o.nesterov,
         momentum(lambda c, v, g: c * v + g, nesterov=False)),
    Slip("Nesterov's step", "the step is along g + momentum · v, which this optimizer does not do", "the step is along v", lambda o: has_velocity(o) and not o.nesterov,
         momentum(lambda c, v, g: c * v + g, nesterov=True)),
    # Adam
    Slip("bias correction left out", "m and v are not divided by 1 − βᵗ", "m̂ = m / (1 − β₁ᵗ), v̂ = v / (1 − β₂ᵗ)", is_adam, adam(correct_m=False, correct_v=False)),
    Slip("correction of m left out", "m is not divided by 1 − β₁ᵗ", "m̂ = m / (1 − β₁ᵗ)", is_adam, adam(correct_m=False)),
    Slip("correction of v left out", "v is not divided by 1 − β₂ᵗ", "v̂ = v / (1 − β₂ᵗ)", is_adam, adam(correct_v=False)),
    Slip("count one too far", "t is one too large", "t is 1 in the first step", is_adam, {"time": lambda t: t + 1}),
    Slip("count one behind", "t is one too small", "t is 1 in the first step", is_adam, {"time": lambda t: t - 1}),
    Slip("count stands still", "t is 1 in every step", "t ← t + 1", is_adam, {"time": lambda t: 1}),
    Slip("epsilon inside the root", "√(v̂ + ε) where √v̂ + ε is needed", "add ε to the root", is_adam, adam(inside=True)),
    Slip("root left out", "divided by v̂, not by its root", "p ← p − lr · m̂ / (√v̂ + ε)", is_adam, adam(no_root=True)),
    Slip("gradient not squared", "v is a mean of |g|, not of g²", "v ← β₂ v + (1 − β₂) g²", is_adam, adam(plain=True)),
    Slip("gradient for its mean", "the gradient itself is in the numerator, not m̂", "p ← p − lr · m̂ / (√v̂ + ε)", is_adam, adam(bare=True)),
    Slip("betas swapped", "β₁ and β₂ are swapped", "m takes β₁ (0.9), v takes β₂ (0.999)", is_adam, {"settings": {"beta1": lambda o: o.beta2, "beta2": lambda o: o.beta1}}),
    # weight decay
    Slip("weight decay left out", "the weights do not decay", "add weight_decay · p to the gradient, or take it off p in AdamW", has("weight_decay"),
         {"settings": {"weight_decay": lambda o: 0.0}}),
    Slip("weight decay with a wrong sign", "the weights grow", "the decay makes p smaller", has("weight_decay"), {"settings": {"weight_decay": lambda o: -o.weight_decay}}),
    Slip("weight decay doubled", "the decay is twice as strong", "the derivative of ½ λ p² is λ p", has("weight_decay"), {"settings": {"weight_decay": lambda o: 2.0 * o.weight_decay}}),
    Slip("weight decay in the other place", "decay in the gradient where it should be beside it, or the other way round",
         "Adam adds weight_decay · p to the gradient, AdamW takes lr · weight_decay · p off p", lambda o: is_adam(o) and o.weight_decay, adam(other_decay=True)),
    Slip("weight decay without the rate", "the decay is not multiplied by the rate", "p ← p − lr · weight_decay · p", lambda o: isinstance(o, AdamW) and o.weight_decay,
         {"rule": decay_unscaled}),
    # clipping
    Slip("clipping left out", "the gradients are not scaled down", "g ← g · min(1, clip_norm / norm)", has("clip_norm"), {"clip": lambda o, g, norm: g}),
    Slip("clipped one by one", "each number is clipped by itself, not all together by their norm", "g ← g · min(1, clip_norm / norm)", has("clip_norm"),
         {"clip": lambda o, g, norm: max(-o.clip_norm, min(o.clip_norm, g))}),
    Slip("always scaled to the norm", "gradients that are short enough are scaled up", "g ← g · min(1, clip_norm / norm)", has("clip_norm"),
         {"clip": lambda o, g, norm: g * o.clip_norm / norm}),
    Slip("clipping by value left out", "the gradients are not held within the limit", "g ← min(max(g, −clip_value), clip_value)", has("clip_value"),
         {"settings": {"clip_value": lambda o: None}}),
)
# fmt: on
