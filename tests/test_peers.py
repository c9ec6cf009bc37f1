"""The same gradients in PyTorch and in JAX, in double precision, judged by the oracle with the same rule.

Needs both installed, so it is left out unless asked for: `pytest -m peers tests/test_peers.py`. The random
programs of `programs.py` are spelled in each library's own functions; a gradient by an input counts as
outside where the oracle's tolerance says so, whoever it comes from. Of ours none may be. The figures of
docs/semantics.md are printed by `python tests/test_peers.py 2000`, where the number is one of programs.
"""

from __future__ import annotations

import functools
import math
import sys
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from support.models import convolutional, everything
from support.oracle import PLAIN, RULES, Expected, judge, sweep
from support.programs import Program, random_program, run

from tinygrad_bp import Value, gradients, schedules
from tinygrad_bp.ops import OPS

PROGRAMS = 1000


def dot(*xs: Any) -> Any:
    n = len(xs) // 2
    return sum((w * x for w, x in zip(xs[:n], xs[n : 2 * n])), *xs[2 * n :])


@functools.cache
def torch_functions() -> dict[str, Callable[..., Any]]:
    import torch
    import torch.nn.functional as nn

    def number(condition: Any) -> Any:
        return condition.double()

    spelled = {
        "identity": torch.clone, "div": torch.div, "dot": dot, "sum": lambda *xs: sum(xs),
        "logsumexp": lambda *xs: torch.logsumexp(torch.stack(xs), 0), "powc": torch.pow,
        "pow_x": lambda x, y: y * torch.pow(x, y - 1), "xlogx": lambda x: torch.special.xlogy(x, x),
        "sech2": lambda x: 1 / torch.cosh(x) ** 2, "dsigmoid": lambda x: torch.sigmoid(x) * torch.sigmoid(-x),
        "softplus": nn.softplus, "silu": nn.silu, "gelu": nn.gelu, "elu": nn.elu, "leaky_relu": nn.leaky_relu,
        "max": torch.maximum, "min": torch.minimum, "where": lambda c, x, y: torch.where(c != 0, x, y),
        "step": lambda x: number(x > 0), "gt": lambda x, y: number(x > y), "ge": lambda x, y: number(x >= y),
        "eq": lambda x, y: number(x == y), "ne": lambda x, y: number(x != y),
    }  # fmt: skip
    return {name: spelled[name] if name in spelled else getattr(torch, name) for name in RULES}


@functools.cache
def jax_functions() -> dict[str, Callable[..., Any]]:
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)

    def number(condition: Any) -> Any:
        return condition.astype(float)

    spelled = {
        "identity": jnp.positive, "neg": jnp.negative, "sub": jnp.subtract, "mul": jnp.multiply, "dot": dot,
        "div": jnp.divide, "sum": lambda *xs: sum(xs), "powc": jnp.power, "pow": jnp.power,
        "logsumexp": lambda *xs: jax.nn.logsumexp(jnp.stack(xs)), "erf": jax.scipy.special.erf,
        "pow_x": lambda x, y: y * jnp.power(x, y - 1), "xlogx": lambda x: jax.scipy.special.xlogy(x, x),
        "sech2": lambda x: 1 / jnp.cosh(x) ** 2,
        "dsigmoid": lambda x: jax.nn.sigmoid(x) * jax.nn.sigmoid(-x), "sigmoid": jax.nn.sigmoid,
        "softplus": jax.nn.softplus, "silu": jax.nn.silu, "elu": jax.nn.elu, "relu": jax.nn.relu,
        "gelu": lambda x: jax.nn.gelu(x, approximate=False), "leaky_relu": jax.nn.leaky_relu,
        "max": jnp.maximum, "min": jnp.minimum, "where": lambda c, x, y: jnp.where(c != 0, x, y),
        "step": lambda x: number(x > 0), "gt": lambda x, y: number(x > y), "ge": lambda x, y: number(x >= y),
        "eq": lambda x, y: number(x == y), "ne": lambda x, y: number(x != y),
    }  # fmt: skip
    return {name: spelled[name] if name in spelled else getattr(jnp, name) for name in RULES}


def by_us(program: Program) -> list[float]:
    leaves = [Value(x) for x in program.inputs]
    root = run(program, leaves, lambda name, xs, constants: OPS[name](*xs, *constants))[-1]
    return gradients(root, leaves)


def by_torch(program: Program) -> list[float]:
    import torch

    functions = torch_functions()
    leaves = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in program.inputs]
    root = run(program, leaves, lambda name, xs, constants: functions[name](*xs, *constants))[-1]
    found = torch.autograd.grad(root, leaves, allow_unused=True)
    return [0.0 if g is None else g.item() for g in found]


def by_jax(program: Program) -> list[float]:
    import jax

    functions = jax_functions()

    def root(leaves: list[Any]) -> Any:
        return run(program, leaves, lambda name, xs, constants: functions[name](*xs, *constants))[-1]

    return [float(g) for g in jax.grad(root)([jax.numpy.asarray(x) for x in program.inputs])]


PEERS = {"tinygrad_bp": by_us, "PyTorch": by_torch, "JAX": by_jax}


@functools.cache
def judged(count: int) -> list[tuple[Program, list[Expected]]]:
    programs = map(random_program, range(count))
    return [(program, judge(program)[1][: len(program.inputs)]) for program in programs]


def on_a_kink(program: Program) -> bool:
    """Whether some operation stands exactly where its slope jumps: there a library has a convention."""
    values, _ = sweep(program, PLAIN)
    for step in program.steps:
        rule, operands = RULES[step.name], [values[i] for i in step.operands]
        if rule.kink and rule.kink(*operands, *step.constants) == 0:
            return True
        if step.name == "hypot" and not any(operands):
            return True
    return False


def count(peer: str, programs: int) -> dict[str, int]:
    """Gradients by inputs, those outside, those of programs on no kink; and programs with one outside."""
    counts = dict.fromkeys(
        ("all", "outside", "smooth", "smooth and outside", "nan or inf", "programs", "programs outside"), 0
    )
    for program, expected in judged(programs):
        smooth, before = not on_a_kink(program), counts["outside"]
        for number, got in zip(expected, PEERS[peer](program)):
            wrong = not number.accepts(got)
            counts["all"] += 1
            counts["outside"] += wrong
            counts["smooth"] += smooth
            counts["smooth and outside"] += smooth and wrong
            counts["nan or inf"] += not math.isfinite(got)
        counts["programs"] += 1
        counts["programs outside"] += counts["outside"] > before
    return counts


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore")  # theirs
def test_none_of_our_gradients_is_outside_where_some_of_theirs_are():
    ours, *theirs = (count(peer, PROGRAMS) for peer in PEERS)
    assert ours["outside"] == ours["nan or inf"] == 0
    for counts in theirs:
        assert counts["all"] == ours["all"] > 3000
        assert (
            0 < counts["smooth and outside"] < 0.1 * counts["smooth"]
        )  # more: misspelled here, not wrong there


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    for peer in PEERS:
        print(peer, count(peer, int(sys.argv[1]) if sys.argv[1:] else PROGRAMS))


# --- optimizers ---------------------------------------------------------------------------------------------

RULES_OF_TORCH: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"lr": 0.05}),
    ("SGD", {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
    ("Adam", {"lr": 0.05}),
    ("Adam", {"lr": 0.05, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1}),
    ("AdamW", {"lr": 0.05, "weight_decay": 0.1}),
    ("RMSprop", {"lr": 0.01, "alpha": 0.9, "weight_decay": 0.1}),
    ("Adagrad", {"lr": 0.1, "weight_decay": 0.1}),
]


@pytest.mark.peers
@pytest.mark.parametrize(("name", "options"), RULES_OF_TORCH)
@pytest.mark.parametrize("clip", [{}, {"clip_norm": 0.7}, {"clip_value": 0.2}])
def test_optimizers_take_the_steps_of_pytorch(
    name: str, options: dict[str, Any], clip: dict[str, float]
) -> None:
    import torch

    from tinygrad_bp import optim

    ours = [Value(0.3 * k - 1.0) for k in range(7)]
    theirs = [torch.tensor(p.data, dtype=torch.float64, requires_grad=True) for p in ours]
    mine = getattr(optim, "RMSProp" if name == "RMSprop" else name)(ours, **options, **clip)
    other = getattr(torch.optim, name)(theirs, **options)
    for step in range(100):
        for k, (p, q) in enumerate(zip(ours, theirs)):
            p.grad = math.sin(1.7 * step + k) + p.data
            q.grad = torch.tensor(math.sin(1.7 * step + k) + q.item(), dtype=torch.float64)
        if "clip_norm" in clip:
            torch.nn.utils.clip_grad_norm_(theirs, clip["clip_norm"])
        if "clip_value" in clip:
            torch.nn.utils.clip_grad_value_(theirs, clip["clip_value"])
        mine.step()
        other.step()
        assert [p.data for p in ours] == pytest.approx([q.item() for q in theirs], rel=1e-12, abs=1e-12)


SCHEDULES_OF_TORCH: dict[str, tuple[Callable[[], Any], Callable[[Any, Any], Any]]] = {
    "cosine": (
        lambda: schedules.cosine(0.1, steps=30, end=0.01),
        lambda lr, torch: lr.CosineAnnealingLR(torch, 30, 0.01),
    ),
    "linear": (
        lambda: schedules.linear(0.1, steps=30, end=0.02),
        lambda lr, torch: lr.LinearLR(torch, 1.0, 0.2, 30),
    ),
    "step": (lambda: schedules.step_decay(0.1, every=7, factor=0.5), lambda lr, o: lr.StepLR(o, 7, 0.5)),
}


@pytest.mark.peers
@pytest.mark.parametrize("name", SCHEDULES_OF_TORCH)
def test_schedules_are_those_of_pytorch(name: str) -> None:
    import torch

    ours, theirs = SCHEDULES_OF_TORCH[name]
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    schedule, other = ours(), theirs(torch.optim.lr_scheduler, optimizer)
    for step in range(30):
        assert schedule(step) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
        optimizer.step()
        other.step()


@pytest.mark.peers
def test_models_are_the_same_in_pytorch() -> None:
    import torch

    tokens, images = (
        [3, 0, 4, 1, 1],
        [[[0.3 * i - 0.5 * j * c for j in range(4)] for i in range(4)] for c in (1, 2)],
    )
    given = [(everything(), tokens, torch.tensor(tokens)),
             (convolutional(), images, torch.tensor(images, dtype=torch.float64))]  # fmt: skip
    for model, x, tensor in given:
        source, weights = model.to_torch()
        space: dict[str, Any] = {}
        exec(source, space)
        theirs = space["load"](weights).eval()
        out, other = numbers_of(model.eval()(x)), theirs(tensor)
        assert [v.data for v in out] == pytest.approx(other.flatten().tolist(), rel=1e-12, abs=1e-14)
        sum([v * v for v in out]).backward()
        (other**2).sum().backward()
        mine = sorted(p.grad for p in model.parameters())
        yours = sorted(g for p in theirs.parameters() for g in p.grad.flatten().tolist())
        assert mine == pytest.approx(yours, rel=1e-10, abs=1e-13)


def numbers_of(out: Any) -> list[Value]:
    return [v for part in out for v in numbers_of(part)] if isinstance(out, list) else [out]
