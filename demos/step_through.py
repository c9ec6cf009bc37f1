"""Write two pages to step through backprop: one of the lecture's expression, one that plays a small training.

The pages are single files that a browser opens from disk.  The arrow keys walk through every multiplication
of the backward pass; a click on a node says why its gradient is what it is.  The second page has the training
of a network of 2-4-1 neurons on XOR: the loss, the decision boundary, and one sample's graph at each moment.

    python demos/step_through.py --iterations 60 --seed 0 --output demos/out/step_through.html
"""

import os
import random
from pathlib import Path

from shared import PAGES, options

import tinygrad_bp as tg
from tinygrad_bp import Value

MOMENTS = 30  # of the training that are kept
SAMPLE = 1  # whose graph is shown: (0, 1)


def main() -> None:
    chosen = options(__doc__, "step_through", iterations=60, seed=0, kinds=PAGES)
    chosen.output.parent.mkdir(parents=True, exist_ok=True)
    tg.stepper(expression(), chosen.output)
    report(chosen.output, "L = (a·b + c)·f")

    history, right = training(chosen.iterations, chosen.seed)
    path = chosen.output.with_name(f"{chosen.output.stem}_training{chosen.output.suffix}")
    tg.stepper(history, path)
    report(path, f"XOR by a 2-4-1 network, loss {history.losses[-1]:.2g}, {right} of 4 right")


def expression() -> Value:
    """The expression of micrograd's lecture, with its labels."""
    a, b, c, f = (Value(x, label=name) for name, x in (("a", 2.0), ("b", -3.0), ("c", 10.0), ("f", -2.0)))
    e = a * b
    e.label = "e"
    d = e + c
    d.label = "d"
    loss = d * f
    loss.label = "L"
    return loss


def training(iterations: int, seed: int) -> tuple[tg.History, int]:
    """A recorded training, and how many of the four corners it gets right."""
    xs, ys = tg.data.xor()
    signs = [2.0 * y - 1.0 for y in ys]
    model = tg.MLP(2, [4, 1], act="tanh", rng=random.Random(seed))
    sgd = tg.optim.SGD(model.parameters(), lr=0.2, momentum=0.5)
    every = max(1, iterations // MOMENTS)
    history = tg.fit(
        model, (xs, signs), tg.losses.mse, sgd, steps=iterations, reduce="mean", record=every, sample=SAMPLE
    )
    return history, sum((model(x).data > 0.0) == (y > 0.0) for x, y in zip(xs, signs))


def report(path: Path, what: str) -> None:
    print(f"page: {os.path.relpath(path)}   {what}, {path.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
