"""A published backprop that is wrong, beside the chain rule: the 2-2-1 sigmoid network, 100 iterations.

The text prints the error and the weights after each step.  Here its rule is written out in plain Python and
reproduces every printed digit; beside it runs the engine, which differentiates the same network by the chain
rule.  The error falls either way, which is why nobody noticed.  The audit names the mistakes by itself.

    python demos/published_trace.py --iterations 100 --output demos/out/published_trace.png
"""

import random
from math import dist, exp
from typing import NamedTuple

from shared import options, save_picture

import tinygrad_bp as tg

INPUTS, TARGET = [0.35, 0.9], 0.5
W0, W1 = [[0.1, 0.8], [0.4, 0.6]], [0.3, 0.9]
PRINTED = 26  # the text shows the last 26 of its 100 iterations

ACCOUNT = """\
Both rules lower the error, and only one of them is the gradient.  The published code computes

    l1_delta = l1_error * nonlin(l1, deriv=True)     a (1, 2) row times a (2, 1) column: a (2, 2) table
    w0 += l0.T.dot(l1_delta)                         inputs contracted with that table: a (1, 2) row

1. The error of the hidden layer is a row, its slopes a column.  NumPy broadcasts them to a (2, 2) table of
   every error times every slope, where each neuron's error times its own slope is due: a (2, 1) column.
2. The gradient of w0 is the outer product of that column and the inputs, one number for each weight.
   Contracting the inputs with the table instead sums them away, and the row that is left is broadcast onto
   both rows of w0: that is why both rows always move alike.

The engine knows no shapes to get wrong.  Every weight is a node of its own, and its gradient is the sum over
the paths from it to the error.  A difference quotient, which knows no rule at all, agrees with it:
"""


class Step(NamedTuple):
    """What the text prints for an iteration: the error before the step, the weights after it."""

    error: float
    w0: list[list[float]]
    w1: list[float]


def main() -> None:
    chosen = options(__doc__, "published_trace", iterations=100, seed=None)
    w0, w1 = initial(chosen.seed)
    published = published_trace(w0, w1, chosen.iterations)
    correct = engine_trace(w0, w1, chosen.iterations)
    print(f"{'':18}{'as published':28}by the chain rule")
    for i in range(max(0, chosen.iterations - PRINTED), chosen.iterations):
        print_block(i + 1, published[i], correct[i])
    print("\n" + ACCOUNT)
    print_first_gradient(w0, w1, published[0])
    save_picture(lambda: picture(published, correct), chosen.output)
    print("\nWhat the text adds to its weights in the first step, audited:\n")
    print(audited(w0, w1, published[0]))


# --- the two rules ------------------------------------------------------------------------------------------


def sigmoid(x: float) -> float:
    return 1 / (1 + exp(-x))


def published_trace(w0: list[list[float]], w1: list[float], iterations: int) -> list[Step]:
    """The text's rule, with NumPy's broadcasting written out."""
    w0, w1 = [row[:] for row in w0], w1[:]
    trace = []
    for _ in range(iterations):
        l1 = [sigmoid(sum(w * x for w, x in zip(row, INPUTS))) for row in w0]
        l2 = sigmoid(sum(w * h for w, h in zip(w1, l1)))
        error = (TARGET - l2) ** 2 / 2
        l2_delta = (TARGET - l2) * l2 * (1 - l2)
        l1_error = [l2_delta * w for w in w1]
        l1_slope = [h * (1 - h) for h in l1]
        l1_delta = [[e * slope for e in l1_error] for slope in l1_slope]  # (2, 2), not (2, 1)
        row = [sum(x * line[j] for x, line in zip(INPUTS, l1_delta)) for j in range(2)]  # no outer product
        w1 = [w + l2_delta * h for w, h in zip(w1, l1)]
        w0 = [[w + r for w, r in zip(weights, row)] for weights in w0]
        trace.append(Step(error, w0, w1))
    return trace


def network(w0: list[list[float]], w1: list[float]) -> tg.MLP:
    """The network of the text as an MLP without biases."""
    model = tg.MLP(2, [2, 1], act="sigmoid", out_act="sigmoid", bias=False)
    for p, number in zip(model.parameters(), [*w0[0], *w0[1], *w1]):
        p.data = number
    return model


def engine_trace(w0: list[list[float]], w1: list[float], iterations: int) -> list[Step]:
    """The chain rule: the engine's gradients, and a step of rate 1 against them."""
    model = network(w0, w1)
    sgd = tg.optim.SGD(model.parameters(), lr=1.0)
    trace = []
    for _ in range(iterations):
        history = tg.fit(model, ([INPUTS], [TARGET]), tg.losses.squared_error, sgd, steps=1, progress=False)
        a, b, c, d, e, f = (p.data for p in model.parameters())
        trace.append(Step(history.losses[0], [[a, b], [c, d]], [e, f]))
    return trace


# --- what is shown ------------------------------------------------------------------------------------------


def print_block(iteration: int, published: Step, correct: Step) -> None:
    print(f"\niteration {iteration}")
    print(f"{'  error':16}{published.error:<28.8e}{correct.error:.8e}")
    for name, old, new in (
        ("w0", published.w0[0], correct.w0[0]),
        ("", published.w0[1], correct.w0[1]),
        ("w1", published.w1, correct.w1),
    ):
        left, right = ("".join(f"{number:12.8f}" for number in row) for row in (old, new))
        print(f"  {name:12}{left}    {right}")


def print_first_gradient(w0: list[list[float]], w1: list[float], first: Step) -> None:
    """The first step's gradient of w0: the engine's, a difference quotient's, and what the text moved by."""
    model = network(w0, w1)
    tg.losses.squared_error(model(INPUTS), TARGET).backward()
    print(f"{'':12}{'engine':>16}{'quotient':>16}{'published':>16}")
    for k, p in enumerate(model.parameters()[:4]):
        i, j = divmod(k, 2)
        h, start = 1e-5, p.data
        ends = []
        for p.data in (start + h, start - h):
            ends.append(tg.losses.squared_error(model(INPUTS), TARGET).data)
        p.data = start
        quotient = (ends[0] - ends[1]) / (2 * h)
        print(f"  w0[{i}][{j}]  {p.grad:16.10f}{quotient:16.10f}{w0[i][j] - first.w0[i][j]:16.10f}")


def audited(w0: list[list[float]], w1: list[float], first: Step) -> tg.Audit:
    """The audit of the first step: it is given the network, its sample, its loss, and the weights' moves."""
    moved_w0 = [[new - old for new, old in zip(*rows)] for rows in zip(first.w0, w0)]
    moved_w1 = [[new - old for new, old in zip(first.w1, w1)]]
    return tg.audit(network(w0, w1), ([INPUTS], [TARGET]), tg.losses.squared_error, [moved_w0, moved_w1])


def picture(published: list[Step], correct: list[Step]) -> object:
    from tinygrad_bp.show import plotting

    figure, (left, right) = plotting.side_by_side()
    plotting.loss_curve([step.error for step in published], ax=left, label="as published")
    plotting.loss_curve([step.error for step in correct], ax=left, label="by the chain rule")
    left.set_title("The error falls either way")
    red, grey = (line.get_color() for line in left.get_lines())
    for label, color, style, trace, row in (
        ("both rows, as published", red, "-", published, 0),
        ("row 0, by the chain rule", grey, "-", correct, 0),
        ("row 1, by the chain rule", grey, "-.", correct, 1),
    ):
        moved = [dist(step.w0[row], trace[0].w0[row]) for step in trace]
        right.plot(moved, style, color=color, label=label, linewidth=2)
    plotting.styled(right, "step", "distance from the first weights")
    right.set_title("How far the rows of w0 move: alike, or each its way")
    right.legend(frameon=False)
    return figure


def initial(seed: int | None) -> tuple[list[list[float]], list[float]]:
    """The weights of the text, or others drawn by a seed."""
    if seed is None:
        return W0, W1
    rng = random.Random(seed)
    return [[rng.random(), rng.random()] for _ in range(2)], [rng.random(), rng.random()]


if __name__ == "__main__":
    main()
