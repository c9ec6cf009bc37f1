"""Read handwritten digits with a 64-32-10 network of scalars, trained by AdamW on batches of 32.

It prints the share of digits it reads right among those it has not seen, and saves what the 32 hidden neurons
look for: their weights as pictures, blue where ink speaks for the neuron, orange where it speaks against it.

    python demos/digits.py --iterations 3000 --seed 0 --output demos/out/digits.png
"""

import random

from shared import options, save_picture

import tinygrad_bp as tg

HIDDEN, RATE, DECAY, BATCH = 32, 0.003, 0.3, 32
LINES = 10  # of losses that are printed


def main() -> None:
    chosen = options(__doc__, "digits", iterations=3000, seed=0)
    train, test = tg.data.split(list(zip(*tg.data.digits())))
    xs, ys = map(list, zip(*train))
    model = tg.MLP(64, [HIDDEN, 10], act="tanh", rng=random.Random(chosen.seed))
    parameters = model.parameters()
    print(f"64-{HIDDEN}-10, {len(parameters)} parameters, {len(train)} digits, seed {chosen.seed}")

    adam = tg.optim.AdamW(parameters, RATE, weight_decay=DECAY)
    cross_entropy = tg.losses.cross_entropy
    history = tg.fit(
        model, (xs, ys), cross_entropy, adam, steps=chosen.iterations, batch_size=BATCH, reduce="mean"
    )
    for i in range(0, chosen.iterations, max(1, chosen.iterations // LINES)):
        print(f"step {i:5}   loss {history.losses[i]:9.6f}")
    right = sum(read(model, x) == y for x, y in test)
    print(
        f"{history.seconds:.2f} s in {history.engine}; "
        f"{right} of {len(test)} unseen digits are read right, {100.0 * right / len(test):.1f} %"
    )
    save_picture(lambda: picture(model), chosen.output)


def read(model: tg.MLP, x: list[float]) -> int:
    """The digit whose output is the largest."""
    with tg.no_grad():
        outputs = model(x)
    return max(range(10), key=lambda digit: outputs[digit])


def picture(model: tg.MLP) -> object:
    from tinygrad_bp.show import plotting

    neurons = model.layers[0].neurons
    return plotting.images([neuron.w for neuron in neurons], signed=True)


if __name__ == "__main__":
    main()
