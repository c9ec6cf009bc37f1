"""One network, trained on four devices by JAX and on two workers by Dask, with the losses of one machine.

The derived matrix program is a function of an array library: `step.on(xp)`.  Who splits the samples is the
library; the program stays the same, and sums over samples become sums over devices.  Here the devices are
parts of this computer; a mesh of GPUs or the address of a cluster takes their place unchanged.

    pip install 'tinygrad_bp[peers]'
    python demos/scale_out.py --iterations 20 --seed 0
"""

import argparse
import os
import random
from collections.abc import Callable, Sequence
from typing import Any

import tinygrad_bp as tg

DEVICES, WORKERS = 4, 2
POINTS, RATE = 400, 0.05

Columns = tuple[list[list[float]], list[float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--iterations", type=int, default=20, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of the first weights; default: %(default)s")
    chosen = parser.parse_args()

    data = tg.data.moons(POINTS)
    model = tg.MLP(2, [16, 16, 1], act="tanh", rng=random.Random(chosen.seed))
    weights = [p.data for p in model.parameters()]
    step = tg.compile(
        lambda x, y: tg.losses.squared_error(model(x), y), model.parameters(), example=([0.0, 0.0], 0.0)
    )
    print(f"2-16-16-1, {len(weights)} parameters, {POINTS} samples, {chosen.iterations} steps")

    one = list(step.train(*data, lr=RATE / POINTS, steps=chosen.iterations))
    print(f"one machine, {step.how}: loss {one[0]:.6f} to {one[-1]:.6f}")
    for name, losses in (
        (f"JAX, samples on {DEVICES} devices", on_jax(step, weights, data, chosen.iterations)),
        (f"Dask, samples on {WORKERS} workers", on_dask(step, weights, data, chosen.iterations)),
    ):
        apart = max(abs(a - b) / abs(b) for a, b in zip(losses, one, strict=True))
        print(f"{name}: loss {losses[0]:.6f} to {losses[-1]:.6f}; at most {apart:.1e} apart")
        if apart > 1e-12:
            raise SystemExit(f"{name} differs from one machine")


def on_jax(step: Any, weights: Sequence[float], data: Columns, steps: int) -> list[float]:
    """Samples are split over the devices of a mesh; the compiler of JAX adds what makes sums of the parts."""
    os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={DEVICES}"  # before JAX is imported
    import jax
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    jax.config.update("jax_enable_x64", True)
    mesh = Mesh(jax.devices()[:DEVICES], ("samples",))
    columns = [
        jax.device_put(jax.numpy.asarray(column), NamedSharding(mesh, PartitionSpec("samples")))
        for column in data
    ]
    params = jax.device_put(jax.numpy.asarray(weights), NamedSharding(mesh, PartitionSpec()))
    assert len(columns[0].sharding.device_set) == DEVICES
    return descend(jax.jit(step.on(jax.numpy)), params, columns, steps)


def on_dask(step: Any, weights: Sequence[float], data: Columns, steps: int) -> list[float]:
    """Samples are chunks of Dask arrays; `Client("address:port")` is a cluster of other machines."""
    import array_api_compat.dask.array as xp
    from dask import compute
    from dask.distributed import Client

    params = xp.asarray(weights)
    columns = [xp.asarray(column).rechunk({0: POINTS // WORKERS}) for column in data]
    value_and_grad = step.on(xp)

    def run(params: Any, *columns: Any) -> Any:
        loss, grad = compute(*value_and_grad(xp.asarray(params), *columns))
        return loss, xp.asarray(grad)

    with Client(n_workers=WORKERS, threads_per_worker=1, dashboard_address=None):
        return descend(run, params, columns, steps)


def descend(
    value_and_grad: Callable[..., Any], params: Any, columns: Sequence[Any], steps: int
) -> list[float]:
    """Gradient descent in the arrays of a library: the loss before each step."""
    losses = []
    for _ in range(steps):
        loss, grad = value_and_grad(params, *columns)
        losses.append(float(loss))
        params = params - RATE / POINTS * grad
    return losses


if __name__ == "__main__":
    main()
