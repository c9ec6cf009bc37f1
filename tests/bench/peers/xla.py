"""JAX on the CPU in double precision: a jitted step for each call, and all steps inside one jitted loop."""

from typing import Any

import jax
import jax.numpy as jnp
from timing import Contender, seconds
from works import CHECKED, CHECKED_AT, LR, POINT, Course, Net, flat, formula, tangle

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_platforms", "cpu")

NAME = "JAX"
VERSION = f"JAX {jax.__version__}"


def loss_of(net: Net) -> Any:
    x, y = jnp.array(net.inputs), jnp.array(net.targets)
    labels = jax.nn.one_hot(y.astype(int), net.sizes[-1], dtype=x.dtype)
    acts = {"relu": jax.nn.relu, "sigmoid": jax.nn.sigmoid, None: lambda z: z}
    functions = [acts[net.act]] * (len(net.sizes) - 2) + [acts[net.out_act]]

    def loss(layers: Any) -> Any:
        h = x
        for (w, b), act in zip(layers, functions):
            h = act(h @ w.T + b)
        if net.loss == "cross entropy":
            return (jax.nn.logsumexp(h, axis=1) - (h * labels).sum(axis=1)).sum()
        if net.loss == "hinge":
            return jax.nn.relu(1.0 - y * h[:, 0]).sum()
        return 0.5 * jnp.square(h[:, 0] - y).sum()

    return loss


def start(net: Net) -> Any:
    return [(jnp.array(w), jnp.array(b)) for w, b in net.start()]


def step_of(net: Net) -> Any:
    slope = jax.grad(loss_of(net))

    def step(layers: Any) -> Any:
        return jax.tree.map(lambda p, g: p - LR * g, layers, slope(layers))

    return step


def contenders(net: Net, threads: int) -> list[Contender]:
    loss, step = loss_of(net), step_of(net)
    once = jax.jit(step)
    many = jax.jit(lambda layers: jax.lax.fori_loop(0, net.steps, lambda i, p: step(p), layers))

    def gradient() -> list[float]:
        value, grads = jax.value_and_grad(loss)(start(net))
        return [float(value), *numbers_of(grads)]

    return [
        Contender(name, call, steps, gradient, numbers, looped=steps > 1)
        for name, function, steps in (("JAX, jitted step", once, 1), ("JAX, looped inside", many, net.steps))
        for call, numbers in [_advancing(function, start(net))]
    ]


def _advancing(function: Any, layers: Any) -> Any:
    """A call that goes on from where the last one ended, and how to read where that is."""

    def call() -> None:
        nonlocal layers
        layers = jax.block_until_ready(function(layers))

    return call, lambda: numbers_of(layers)


def numbers_of(layers: Any) -> list[float]:
    return flat((w.tolist(), b.tolist()) for w, b in layers)


def course_contenders(course: Course) -> list[Contender]:
    """Steps inside `lax.scan`, samples as rows and as columns; batches are gathered there."""
    each = course.net.steps
    found = []
    for name, rows in (("JAX, samples as rows", True), ("JAX, samples as columns", False)):
        once, again = (_scanned(course, rows, steps, LR) for steps in (each, 2 * each))
        check = _scanned(course, rows, CHECKED, CHECKED_AT)

        def numbers(check: Any = check, rows: bool = rows) -> list[float]:
            layers, losses = check()
            return [*losses.tolist(), *flat(((w.T if rows else w).tolist(), b.tolist()) for w, b in layers)]

        found.append(Contender(name, once, each, numbers, looped=True, twice=again))
    return found


def _scanned(course: Course, rows: bool, steps: int, lr: float) -> Any:
    net, tree = course.net, jax.tree.map
    layers = [(w.T if rows else w, b) for w, b in start(net)]
    x, y = jnp.array(net.inputs), jnp.array(net.targets)
    x = x if rows else x.T
    act = {"relu": jax.nn.relu, "tanh": jnp.tanh}[net.act]
    lists = jnp.array(course.lists[:steps]) if course.listed else None

    def loss(layers: Any, h: Any, y: Any) -> Any:
        for k, (w, b) in enumerate(layers):
            h = h @ w + b if rows else w @ h + b[:, None]
            h = act(h) if k < len(layers) - 1 else h
        return 0.5 * jnp.mean(jnp.square((h[:, 0] if rows else h[0]) - y))

    def descend(p: Any, g: Any) -> Any:
        return p - lr * g

    def moved(p: Any, m: Any, v: Any, t: Any) -> Any:
        return p - lr * (m / (1.0 - 0.9**t)) / (jnp.sqrt(v / (1.0 - 0.999**t)) + 1e-8)

    def step(state: Any, batch: Any) -> Any:
        p, m, v, t = state
        samples = (x, y) if batch is None else (x[batch] if rows else x[:, batch], y[batch])
        value, g = jax.value_and_grad(loss)(p, *samples)
        if course.rule == "SGD":
            return (tree(descend, p, g), m, v, t), value
        t = t + 1.0
        m = tree(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = tree(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
        return (tree(lambda p, m, v: moved(p, m, v, t), p, m, v), m, v, t), value

    zeros = tree(jnp.zeros_like, layers) if course.rule == "Adam" else ()
    train = jax.jit(lambda state, lists: jax.lax.scan(step, state, lists, length=steps))

    def call() -> Any:
        (layers_after, *_), losses = jax.block_until_ready(train((layers, zeros, zeros, 0.0), lists))
        return layers_after, losses

    return call


def formula_contenders() -> list[Contender]:
    both = jax.jit(jax.value_and_grad(lambda x, y: formula(jnp, x, y), argnums=(0, 1)))
    point = [jnp.array(v) for v in POINT]

    def gradient() -> list[float]:
        value, grads = both(*point)
        return [float(value), *map(float, grads)]

    return [Contender("JAX, jitted", lambda: jax.block_until_ready(both(*point)), gradient=gradient)]


def first_step_seconds(net: Net) -> dict[str, float]:
    """From the function to a step that was taken."""
    layers = start(net)
    begin = seconds()
    jax.block_until_ready(jax.jit(step_of(net))(layers))
    return {"JAX, trace and jit": seconds() - begin}


def tangle_seconds(n: int, ws: list[float]) -> dict[str, tuple[float, float]]:
    begin = seconds()
    function = jax.jit(jax.value_and_grad(lambda w, x: tangle(jnp, n, x, list(w))))
    value, _ = jax.block_until_ready(function([jnp.array(w) for w in ws], jnp.array(0.5)))
    return {"JAX, trace and jit": (seconds() - begin, float(value))}
