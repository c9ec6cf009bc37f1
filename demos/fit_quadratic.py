"""Fit y = x² + 2x − 3 with a network of five layers: 1-100-100-100-1, ReLU, plain gradient descent.

The published experiment, with its data, its initialisation and its rate, and no matrix in sight: 20,501
parameters, each a Value.  It prints the loss as it falls, and saves one picture: data and prediction, beside
the loss curve.

    python demos/fit_quadratic.py --iterations 20 --seed 0 --output demos/out/fit_quadratic.png
"""

import random

from shared import options, save_picture

import tinygrad_bp as tg

RATE = 1e-5
EAGER_ITERATIONS = 20  # at three seconds or so each; the text has 2,000
LINES = 20  # of losses, printed on the way


def main() -> None:
    chosen = options(__doc__, "fit_quadratic", EAGER_ITERATIONS, seed=0)
    xs, ys = tg.data.quadratic()
    model = tg.MLP(
        1,
        [100, 100, 100, 1],
        weights=tg.nn.normal(0.2),
        biases=tg.nn.normal(1.0),
        rng=random.Random(chosen.seed),
    )
    parameters = model.parameters()
    print(f"1-100-100-100-1, {len(parameters):,} parameters, {len(xs)} points, seed {chosen.seed}")
    print(f"eager engine: every product in these {chosen.iterations} iterations is an edge of a graph")

    sgd = tg.optim.SGD(parameters, lr=RATE)
    losses: list[float] = []
    seconds = 0.0
    while len(losses) < chosen.iterations:
        some = min(max(1, chosen.iterations // LINES), chosen.iterations - len(losses))
        history = tg.fit(model, (xs, ys), tg.losses.squared_error, sgd, steps=some, progress=False)
        print(f"iteration {len(losses):5}   loss {history.losses[0]:14.6f}", flush=True)
        losses += history.losses
        seconds += history.seconds

    with tg.no_grad():
        predictions = [model([x]).data for x in xs]
    losses.append(sum((p - y) ** 2 / 2 for p, y in zip(predictions, ys)))
    print(f"iteration {chosen.iterations:5}   loss {losses[-1]:14.6f}")
    print(f"{seconds / chosen.iterations:.2f} seconds an iteration")
    save_picture(lambda: picture(xs, ys, predictions, losses), chosen.output)


def picture(xs: list[float], ys: list[float], predictions: list[float], losses: list[float]) -> object:
    from tinygrad_bp.show import plotting

    figure, (left, right) = plotting.side_by_side()
    plotting.fit(xs, ys, predictions, ax=left)
    left.set_title(f"y = x² + 2x − 3 after {len(losses) - 1} iterations")
    plotting.loss_curve(losses, ax=right)
    right.set_title("½ Σ (ŷ − y)² over the 240 points")
    return figure


if __name__ == "__main__":
    main()
