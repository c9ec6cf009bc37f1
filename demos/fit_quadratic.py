"""Fit y = x² + 2x − 3 with a network of five layers: 1-100-100-100-1, ReLU, plain gradient descent.

The published experiment, with its data, its initialisation and its rate, and no matrix in sight: 20,501
parameters, each a Value.  The graph of one sample's loss is traced and compiled to loops: to machine code
where llvmlite is installed, else to Python.  It prints the loss as it falls, and saves one picture.

    python demos/fit_quadratic.py --iterations 2000 --seed 0 --output demos/out/fit_quadratic.png
"""

import random
import time

from shared import options, save_picture

import tinygrad_bp as tg

RATE = 1e-5
ITERATIONS = {"machine code": 2000, "generated Python": 200}
LINES = 20  # of losses, printed on the way


def main() -> None:
    chosen = options(__doc__, "fit_quadratic", iterations=None, seed=0)
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

    start = time.perf_counter()
    step = tg.compile(lambda x, y: tg.losses.squared_error(model([x]), y), parameters)
    step.value_and_grad(xs, ys)
    iterations = chosen.iterations or ITERATIONS[step.how]
    print(f"{step.how}, compiled in {time.perf_counter() - start:.2f} s; {iterations} iterations")

    losses: list[float] = []
    start = time.perf_counter()
    while len(losses) < iterations:
        some = min(max(1, iterations // LINES), iterations - len(losses))
        run = step.train(xs, ys, lr=RATE, steps=some)
        print(f"iteration {len(losses):5}   loss {run[0]:14.6f}", flush=True)
        losses += run
    seconds = time.perf_counter() - start
    losses.append(step.value(xs, ys))
    print(f"iteration {iterations:5}   loss {losses[-1]:14.6f}")
    print(f"{seconds:.2f} s, {seconds / iterations * 1e3:.3f} ms an iteration")

    with tg.no_grad():
        predictions = [model([x]).data for x in xs]
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
