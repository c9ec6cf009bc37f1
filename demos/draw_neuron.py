"""Draw the neuron of micrograd's lecture, tanh(x1 w1 + x2 w2 + b), with the gradients in it, and explain one.

The drawing needs nothing installed: it is laid out in Python, and is an SVG that any browser shows.

    python demos/draw_neuron.py --output demos/out/draw_neuron.svg
"""

import os

from shared import DRAWINGS, options

import tinygrad_bp as tg
from tinygrad_bp import Value

NUMBERS = {"x1": 2.0, "w1": -3.0, "x2": 0.0, "w2": 1.0, "b": 6.8813735870195432}


def main() -> None:
    chosen = options(__doc__, "draw_neuron", training=False, kinds=DRAWINGS)
    out, leaves = neuron()
    out.backward()
    print(f"{out.label} = {out.data:.4f}")
    for leaf in leaves:
        print(f"  {leaf.label:2} = {leaf.data:7.4f}   ∂{out.label}/∂{leaf.label:2} = {leaf.grad:7.4f}")
    print("\nWhy is the gradient of w1 what it is?\n")
    print(tg.explain(out, leaves[1]))

    chosen.output.parent.mkdir(parents=True, exist_ok=True)
    tg.draw(out, engine="builtin").save(chosen.output)
    print(f"\npicture: {os.path.relpath(chosen.output)}")


def neuron() -> tuple[Value, list[Value]]:
    """The output of the neuron, and its leaves."""
    leaves = x1, w1, x2, w2, b = [Value(number, label=name) for name, number in NUMBERS.items()]
    n = x1 * w1 + x2 * w2 + b
    n.label = "n"
    out = n.tanh()
    out.label = "o"
    return out, [*leaves]


if __name__ == "__main__":
    main()
