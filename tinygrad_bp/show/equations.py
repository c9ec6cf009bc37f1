"""The layer equations of a network with its own numbers: δ = (Wᵀδ) ⊙ σ′(z), the matrix backprop of textbooks.

The graph knows scalars only.  Here its dot nodes are put back into the matrices that one writes by hand: a
row for each neuron, and a column for each time the model was called.  What the equations give is compared
with the engine's gradients, which also hold what reaches the weights by other ways, such as a penalty.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isclose
from typing import Any

from tinygrad_bp.engine import Value, newest_first, sweep
from tinygrad_bp.errors import GraphError
from tinygrad_bp.nn import MLP, Layer, Module, Neuron
from tinygrad_bp.ops import dot as DOT
from tinygrad_bp.show.naming import SUPERSCRIPTS
from tinygrad_bp.show.symbols import Symbol, formula, partials
from tinygrad_bp.show.writing import Block, Equations, Explanation, Sentence, matrix

Matrix = list[list[float]]
TIMES, PLUS, EQUALS, OPEN, CLOSE, ADDED, Z, A, S, D = (
    Symbol(r"\odot", "⊙"),
    Symbol("+", "+"),
    Symbol("=", "="),
    Symbol(r"\left(", "("),
    Symbol(r"\right)", ")"),
    Symbol(r"\sum", "Σ"),
    Symbol("z", "z"),
    Symbol("a", "a"),
    Symbol(r"\sigma", "σ"),
    Symbol(r"\delta", "δ"),
)


@dataclass
class Level:
    """One layer at work: its neurons that the loss depends on, and their sums z, one list for each call."""

    index: int
    neurons: list[Neuron]
    zs: list[list[Value]]

    def matrix(self, of: Callable[[Value], float]) -> Matrix:
        """A number of every z: a row for each neuron, a column for each call."""
        return [[of(call[j]) for call in self.zs] for j in range(len(self.neurons))]

    def inputs(self) -> list[list[Value]]:
        n = len(self.neurons[0].w)
        return [list(call[0].inputs[n : 2 * n]) for call in self.zs]

    @property
    def weights(self) -> Matrix:
        return [[w.data for w in neuron.w] for neuron in self.neurons]

    def named(self, letter: str, transposed: bool = False) -> Symbol:
        """W⁰, or its transpose."""
        tex, text = f"{letter}^{{({self.index})}}", letter + str(self.index).translate(SUPERSCRIPTS)
        tex = {"δ": r"\delta", "a": "a"}.get(letter, letter) + tex[len(letter) :]
        return Symbol(rf"({tex})^{{\top}}", text + "ᵀ") if transposed else Symbol(tex, text)


def layer_equations(loss: Value, model: Module) -> Explanation:
    """What `explain(loss, model)` gives: forward and backward, layer by layer.

    Raises TypeError for a model that is no MLP, Layer or Neuron, GraphError if none of its neurons is in the
    graph of the loss, StaleGraphError if parameters were set after the graph was built.

    >>> line = Neuron(1, act="tanh", weights=lambda rng, nin, nout: 0.5)
    >>> print(layer_equations((line([2.0]) - 1.0) ** 2, line))
    A layer of 1 → 1, called once. The loss is L = 0.0568373.
    ...
        δ⁰ = ∂L/∂a⁰ ⊙ σ′(z⁰)
           = [-0.4768] ⊙ [0.42]
           = [-0.2002]
        ∂L/∂W⁰ = δ⁰ xᵀ = [-0.4005]
        ∂L/∂b⁰ = δ⁰
    ...
    """
    inner = newest_first([loss])[::-1]
    levels = _levels(inner, _neurons(model), type(model).__name__)
    return _Equations(loss, inner, levels).explanation()


def _neurons(model: Module) -> list[list[Neuron]]:
    """The neurons of each layer."""
    if isinstance(model, MLP):
        return [layer.neurons for layer in model.layers]
    if isinstance(model, Layer):
        return [model.neurons]
    if isinstance(model, Neuron):
        return [[model]]
    kind = type(model).__name__
    raise TypeError(
        f"explain knows the equations of an MLP, a Layer or a Neuron, not of a {kind}: pass its parts"
    )


def _levels(inner: Sequence[Value], layers: list[list[Neuron]], kind: str) -> list[Level]:
    """The dot nodes of the graph, by layer, by call and by neuron."""
    owners = {n.w[0]: (i, j, n) for i, layer in enumerate(layers) for j, n in enumerate(layer)}
    calls: list[dict[Any, dict[int, Value]]] = [{} for _ in layers]
    for v in inner:
        if v.op is DOT and v.inputs[0] in owners:
            i, j, neuron = owners[v.inputs[0]]
            n = len(neuron.w)
            if len(v.inputs) // 2 == n and all(x is w for x, w in zip(v.inputs, neuron.w)):
                key: Any = tuple(map(id, v.inputs[n : 2 * n]))
                while j in calls[i].get(key, {}):
                    key = (key, "again")  # called twice on the very same Values
                calls[i].setdefault(key, {})[j] = v
    levels = []
    for i, (layer, found) in enumerate(zip(layers, calls)):
        if found:
            there = sorted(set.intersection(*[set(call) for call in found.values()]))
            levels.append(
                Level(i, [layer[j] for j in there], [[c[j] for j in there] for c in found.values()])
            )
    if len(levels) < len(layers) or not all(level.neurons for level in levels):
        raise GraphError(
            f"the loss was not computed by this {kind}: no neuron of one of its layers is in the graph; "
            "compute the loss from model(x), and explain it before the model is changed"
        )
    return levels


class _Equations:
    """The equations of all levels, and the blocks that tell them."""

    def __init__(self, loss: Value, inner: Sequence[Value], levels: list[Level]) -> None:
        self.loss, self.levels = loss, levels
        self.adjoint = sweep({loss: 1.0})
        self.consumers: dict[Value, list[Value]] = {}
        for v in inner:
            for x in v.inputs:
                self.consumers.setdefault(x, []).append(v)
        self.outputs = [self.after(level) for level in levels]
        self.deltas: list[Matrix] = []  # from the last level down

    def explanation(self) -> Explanation:
        sizes = [len(self.levels[0].neurons[0].w), *(len(level.neurons) for level in self.levels)]
        calls = len(self.levels[-1].zs)
        often = "once" if calls == 1 else f"{calls} times (each call is a column)"
        what = "A network" if len(self.levels) > 1 else "A layer"
        shape = Symbol(r" \to ".join(map(str, sizes)), " → ".join(map(str, sizes)))
        scalar = Symbol("L", "L").equals(Symbol.shown(self.loss.data))
        blocks: list[Block] = [
            Sentence([f"{what} of ", shape, f", called {often}. The loss is ", scalar, "."])
        ]
        blocks.append(
            Sentence(["Forward: ", Z, " are the sums, ", A, " what the activation ", S, " makes of them."])
        )
        for level in self.levels:
            blocks += self.forward(level)
        blocks.append(Sentence(["Backward: ", D.equals(_by(Z)), ", from the last layer down."]))
        for level in reversed(self.levels):
            blocks += self.backward(level)
        return Explanation([*blocks, *self.verdict()])

    def after(self, level: Level) -> list[list[Value]]:
        """The values after the activation: what the next level takes, or z itself without an activation."""
        if level is not self.levels[-1]:
            above = self.levels[self.levels.index(level) + 1]
            inputs = above.inputs()
            if len(inputs) == len(level.zs) and len(inputs[0]) == len(level.neurons):
                return inputs
        return [[self.activated(n, z) for n, z in zip(level.neurons, call)] for call in level.zs]

    def activated(self, neuron: Neuron, z: Value) -> Value:
        row = getattr(neuron.act, "name", getattr(neuron.act, "__name__", ""))
        found = [v for v in self.consumers.get(z, []) if v.inputs == (z,) and v.op.name == row]
        return found[0] if neuron.act and found else z

    def slope(self, z: Value, a: Value) -> float:
        """σ′(z)"""
        if a is z:
            return 1.0
        if len(a.inputs) == 1 and a.inputs[0] is z:
            return a.op.slopes(a.data, z.data)[0] if a.op.slopes else 0.0
        return sweep({a: 1.0}).get(z, 0.0)  # an activation of several operations

    def forward(self, level: Level) -> list[Block]:
        """z = W a + b, and a = σ(z)."""
        i = level.index
        a, x = level.named("a"), Symbol("x", "x") if i == 0 else self.levels[i - 1].named("a")
        w, z, b = level.named("W"), level.named("z"), level.named("b")
        biases = [neuron.b for neuron in level.neurons if neuron.b is not None]
        inputs = [[v.data for v in row] for row in zip(*level.inputs())]
        symbols, numbers = [w, x], [matrix(level.weights), matrix(inputs)]
        if biases:
            symbols, numbers = [*symbols, PLUS, b], [*numbers, PLUS, matrix([[v.data] for v in biases])]
        lines = [([z], symbols), ([], numbers), ([], [matrix(level.matrix(lambda v: v.data))])]
        outputs, sigma = self.outputs[i], self.sigma(level)
        if sigma:
            after = [[v.data for v in row] for row in zip(*outputs)]
            lines.append(([a], [Symbol(rf"\sigma({z.tex})", f"σ({z})"), EQUALS, matrix(after)]))
        shape = Symbol(rf"{len(level.neurons)} \times {len(inputs)}", f"{len(level.neurons)} × {len(inputs)}")
        words = [f"Layer {i}: ", w, " is ", shape, ", ", *(sigma or ["without activation"]), "."]
        return [Sentence(words), Equations(lines)]

    def sigma(self, level: Level) -> list[Any]:
        """σ(z) = tanh(z), σ′(z) = sech²(z); nothing without an activation."""
        z, a = level.zs[0][0], self.outputs[level.index][0][0]
        if a is z:
            return []
        if len(a.inputs) > 1 or a.inputs[0] is not z:
            return [S, " is a function of your own"]
        slope = (partials(a.op, A, [Z]) or [Symbol(r"\sigma'(z)", "σ′(z)")])[0]
        value = Symbol(r"\sigma(z)", "σ(z)").equals(formula(a.op, [Z]))
        return [value, ", ", Symbol(r"\sigma'(z)", "σ′(z)").equals(slope)]

    def backward(self, level: Level) -> list[Block]:
        """δ, and the gradients of weights and biases from it."""
        i, calls = level.index, len(level.zs)
        delta, z, last = level.named("δ"), level.named("z"), level is self.levels[-1]
        pairs = [list(zip(*both)) for both in zip(level.zs, self.outputs[i])]
        slopes = [[self.slope(z, a) for z, a in row] for row in zip(*pairs)]
        slope = Symbol(rf"\sigma'({z.tex})", f"σ′({z})")
        if last:
            upstream = [[self.adjoint.get(v, 0.0) for v in row] for row in zip(*self.outputs[i])]
            symbols, numbers = [_by(level.named("a") if self.sigma(level) else z)], [matrix(upstream)]
        else:
            above = self.levels[i + 1]
            upstream = _product(_transposed(above.weights), self.deltas[-1])
            w, d = above.named("W", transposed=True), above.named("δ")
            symbols = [Symbol(rf"\left({w.tex} {d.tex}\right)", f"({w} {d})")]
            numbers = [OPEN, matrix(_transposed(above.weights)), matrix(self.deltas[-1]), CLOSE]
        if self.sigma(level):
            symbols, numbers = [*symbols, TIMES, slope], [*numbers, TIMES, matrix(slopes)]
        self.deltas.append([[g * d for g, d in zip(*rows)] for rows in zip(upstream, slopes)])
        lines = [([delta], symbols), ([], numbers), ([], [matrix(self.deltas[-1])])]
        if len(numbers) == 1:
            lines.pop()
        x = Symbol("x", "x") if i == 0 else self.levels[i - 1].named("a")
        across = Symbol(rf"({x.tex})^{{\top}}" if i else r"x^{\top}", f"{x}ᵀ")
        lines.append(([_by(level.named("W"))], [delta, across, EQUALS, matrix(self.gradient(level))]))
        if level.neurons[0].b is not None:
            added = [[sum(row)] for row in self.deltas[-1]]
            sides = [delta] if calls == 1 else [ADDED, delta, EQUALS, matrix(added)]
            lines.append(([_by(level.named("b"))], sides))
        return [Sentence([f"Layer {i}:"]), Equations(lines)]

    def gradient(self, level: Level) -> Matrix:
        """∂L/∂W = δ aᵀ, of the level that `backward` is at, or was."""
        delta = self.deltas[len(self.levels) - 1 - level.index]
        return _product(delta, [[v.data for v in call] for call in level.inputs()])

    def verdict(self) -> list[Block]:
        """Whether the engine has the same."""
        blocks: list[Block] = []
        for level in self.levels:
            mine = self.gradient(level)
            engine = [[self.adjoint.get(w, 0.0) for w in neuron.w] for neuron in level.neurons]
            if not all(_close(x, y) for rows in zip(mine, engine) for x, y in zip(*rows)):
                by = _by(level.named("W"))
                where = ": its weights are also used elsewhere, as in a penalty."
                said: list[Any] = ["The engine has more in ", by, where]
                blocks += [Sentence(said), Equations([([by], [matrix(engine)])])]
        return blocks or [Sentence(["The engine has the same gradients for all these weights."])]


def _close(x: float, y: float) -> bool:
    return isclose(x, y, rel_tol=1e-9, abs_tol=1e-12) or (x != x and y != y)


def _by(x: Symbol) -> Symbol:
    return Symbol(rf"\frac{{\partial L}}{{\partial {x.tex}}}", f"∂L/∂{x}")


def _product(a: Matrix, b: Matrix) -> Matrix:
    columns = list(zip(*b))
    return [[sum(x * y for x, y in zip(row, column)) for column in columns] for row in a]


def _transposed(a: Matrix) -> Matrix:
    return [list(row) for row in zip(*a)]
