"""Tell two half moons apart: micrograd's demo, 2-16-16-1 with the max-margin loss and a penalty on weights.

The network, the loss and the number of iterations are those of its notebook; the data has the same shape.  It
prints the loss and the accuracy as they come out, and saves the decision boundary.

    python demos/moons.py --iterations 100 --seed 0 --output demos/out/moons.png
"""

import random

from shared import options, save_picture

import tinygrad_bp as tg

POINTS, RATE, MOMENTUM, PENALTY = 100, 0.1, 0.9, 1e-4
LINES = 10  # of losses that are printed


def main() -> None:
    chosen = options(__doc__, "moons", iterations=100, seed=0)
    xs, ys = tg.data.moons(POINTS)
    model = tg.MLP(2, [16, 16, 1], rng=random.Random(chosen.seed))
    parameters = model.parameters()
    print(f"2-16-16-1, {len(parameters)} parameters, {POINTS} points, seed {chosen.seed}")

    history = tg.fit(
        model,
        (xs, ys),
        tg.losses.hinge,
        tg.optim.SGD(parameters, RATE, MOMENTUM),
        steps=chosen.iterations,
        reduce="mean",
        penalty=lambda: PENALTY * tg.sum([p * p for p in parameters]),
    )
    for i in range(0, chosen.iterations, max(1, chosen.iterations // LINES)):
        print(f"iteration {i:5}   loss {history.losses[i]:9.6f}")
    right = sum((model(x).data > 0.0) == (y > 0.0) for x, y in zip(xs, ys))
    print(f"{history.seconds:.2f} s in {history.engine}; accuracy {100.0 * right / POINTS:g} %")
    save_picture(lambda: picture(model, xs, ys, history.losses, right), chosen.output)


def picture(model: tg.MLP, xs: list[list[float]], ys: list[float], losses: list[float], right: int) -> object:
    from tinygrad_bp.show import plotting

    figure, (left, side) = plotting.side_by_side()
    plotting.decision_boundary(model, xs, ys, ax=left)
    left.set_title(f"{right} of {len(xs)} on their side after {len(losses)} iterations")
    plotting.loss_curve(losses, ax=side)
    side.set_title("max-margin loss and penalty")
    return figure


if __name__ == "__main__":
    main()
