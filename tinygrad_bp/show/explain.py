"""explain: why a gradient is what it is, by the chain rule written out on the user's own graph.

A gradient is a sum over paths, and each path gives the product of its local partials: first in symbols, then
with the numbers put in.  Where there are too many paths for a page, the sum is over the nodes that use the
value.  For a whole model, the dot nodes are put back into the matrices that one writes by hand.  Nothing is
differentiated here: the partials are the rules of ops.py, and every total is compared with the engine's own.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import isclose, isfinite
from typing import Any

from tinygrad_bp.engine import Value, newest_first, sweep
from tinygrad_bp.errors import GraphError, describe
from tinygrad_bp.nn import MLP, Layer, Module, Neuron
from tinygrad_bp.ops import add as ADD, dot as DOT, mul as MUL
from tinygrad_bp.show.graph import named, names, not_a_value, numbered, place, sign_of
from tinygrad_bp.show.module_equations import module_blocks
from tinygrad_bp.show.symbols import (
    FACTOR,
    Block,
    Equations,
    Explanation,
    Sentence,
    Symbol,
    Table,
    formula,
    matrix,
    partials,
    product,
    total,
    wrapped,
)

MOST_PATHS = 50  # that are written out; of more, the table of the nodes that use the value
MOST_EDGES = 2_000  # of all these paths together
MOST_FACTORS = 10  # of a product that are written; of more, the first ones and the last
MOST_LINES = 30  # that say what the nodes on the paths are
MOST_ROWS = 50  # of the table
MOST_ABOVE = 8  # operations between a network and the loss, for ∂L/∂a as a formula
COUNTED = 10**6  # paths; beyond it there are "more than"

MOST_TERMS = 12  # of the sum
LOST = (
    "pass a Value that it was computed from "
    "(was it detached, or made anew, or is the graph from before an update?)"
)
MANY = 4  # paths; of more, those that are cut are not multiplied out
SIGMA = Symbol(r"\Sigma", "Σ")
Edge = tuple[Value, int]  # an operation, and which of its operands


def explain(loss: Value, wrt: Value | Module) -> Explanation:
    """Why d loss / d wrt is what it is: every path between them, its local partials, their product, the sum.

    `wrt` is any node that the loss depends on, or a module: then the equations of its layers and parts, with
    their numbers. More than 50 paths are summed up in a table. No `.grad` is touched. Raises
    TypeError for what is not a Value, GraphError for a Value that is not in the graph of the loss,
    StaleGraphError if a leaf was set after the graph was built.

    >>> a, b, c, f = (Value(x, label=n) for x, n in [(2.0, "a"), (-3.0, "b"), (10.0, "c"), (-2.0, "f")])
    >>> print(explain((a * b + c) * f, a))
    ∂L/∂a = 6, at L = -8 and a = 2.
    <BLANKLINE>
        v1 = a·b = 2·(-3) = -6
        v2 = v1 + c = -6 + 10 = 4
        L = v2·f = 4·(-2) = -8
    <BLANKLINE>
    One path leads from a to L. The local partials along it are multiplied.
    <BLANKLINE>
    a → v1 → v2 → L
    <BLANKLINE>
        ∂L/∂v2 · ∂v2/∂v1 · ∂v1/∂a = f · 1 · b
                                  = (-2) · 1 · (-3)
                                  = 6
    <BLANKLINE>
    The engine has ∂L/∂a = 6.0.
    """
    if not isinstance(loss, Value):
        if isinstance(loss, Module) and isinstance(wrt, Value):
            raise TypeError("explain takes the loss first: explain(loss, model)")
        raise TypeError(f"explain takes the Value a graph ends in, not {not_a_value(loss)}")
    if isinstance(wrt, (MLP, Layer, Neuron)):
        return layer_equations(loss, wrt)
    if isinstance(wrt, Module):
        return parts_equations(loss, wrt)
    if not isinstance(wrt, Value):
        raise TypeError(
            f"explain: the gradient by {wrt!r:.60} is asked for, which is neither a Value nor a model: take "
            "one Value, explain(loss, model.parameters()[0]), or the whole model, explain(loss, model)"
        )
    return _Derivation(loss, wrt).explanation()


class _Derivation:
    """The part of a graph between a value and the loss, and the names of its nodes."""

    def __init__(self, loss: Value, w: Value) -> None:
        self.loss, self.w = loss, w
        self.inner = newest_first([loss])[::-1]  # the operations, oldest first
        self.slopes: dict[Value, Sequence[float]] = {}
        leaves = {x: None for v in self.inner for x in v.inputs if not x.inputs}
        self.names = names([*leaves, *self.inner] or [self.loss], self.loss)
        if self.w not in self.names:
            swapped = any(self.loss in v.inputs for v in newest_first([self.w]))
            raise GraphError(
                f"{describe(self.w)} is not in the graph of {describe(self.loss)}: "
                + ("it is the other way round; the loss comes first" if swapped else LOST)
            )
        if self.names[self.w].number:
            taken = [name.text for name in self.names.values()]
            self.names[self.w] = named("w′" if "w" in taken else "w")
        self.adjoint = sweep({self.loss: 1.0})
        self.gradient = self.adjoint.get(self.w, 0.0)  # no entry: it is behind cut edges only
        self._count()

    def _count(self) -> None:
        """How many paths lead from w to each node above it, and how long they are together."""
        self.paths, self.lengths = {self.w: 1}, {self.w: 0}
        for v in self.inner:
            below = [x for x in v.inputs if x in self.paths]
            if below and v is not self.w:
                self.paths[v] = min(COUNTED + 1, sum(self.paths[x] for x in below))
                self.lengths[v] = min(COUNTED, sum(self.lengths[x] + self.paths[x] for x in below))

    def explanation(self) -> Explanation:
        count, name = self.paths[self.loss], self.symbol(self.w)
        by, path = self.partial(self.loss, self.w), self.w.label
        aside = f", which is {path}." if place(path) else "."
        here = [", at ", self.equal(self.loss), " and ", self.equal(self.w), aside]
        head: list[Any] = [by.equals(_number(self.gradient)), *here]
        if self.w is self.loss:
            return Explanation([Sentence([*head, " This is the seed of the sweep."])], 1.0, [1.0])
        few = count <= MOST_PATHS and (count == 1 or self.lengths[self.loss] <= MOST_EDGES)
        some = f"More than {COUNTED:,} paths lead" if count > COUNTED else f"{count:,} paths lead"
        some = "One path leads" if count == 1 else some
        opening: list[Any] = [some, " from ", name, " to ", self.symbol(self.loss)]
        blocks, terms = (self.by_paths if few else self.by_consumers)([*opening, ". "])
        return Explanation([Sentence(head), *blocks, self.verdict(terms)], self.gradient, terms)

    # --- every path -----------------------------------------------------------------------------------------

    def by_paths(self, opening: list[Any]) -> tuple[list[Block], list[float]]:
        """Every path: its product in symbols, in numbers, its result; and their sum."""
        paths = list(self.walk())
        along = {v for path in paths for v, _ in path}
        lines = [self.definition(v) for v in self.inner if v in along] if len(along) <= MOST_LINES else []
        one = "it are multiplied." if len(paths) == 1 else "each are multiplied, and the products added."
        blocks: list[Block] = [Equations(lines)] if lines else []
        blocks.append(Sentence([*opening, f"The local partials along {one}"]))
        terms = []
        for i, path in enumerate(paths):
            terms.append(self.product(path))
            why = self.why_cut(path)
            blocks.append(self.route(path, f"({i + 1}) " if len(paths) > 1 else ""))
            blocks += [] if why and len(paths) > MANY else [self.chain(path, terms[-1])]
            blocks += [Sentence(why)] if why else []
        if len(terms) > 1:
            added = [total([_number(term) for term in terms], MOST_TERMS)]
            lines = [([self.partial(self.loss, self.w)], added), ([], [_number(sum(terms))])]
            blocks.append(Equations(lines))
        return blocks, terms

    def walk(self) -> Iterator[list[Edge]]:
        """Every path as its edges, from the loss down to w."""
        todo: list[tuple[Value, Any]] = [(self.loss, None)]
        while todo:
            v, above = todo.pop()
            if v is self.w:
                path = []
                while above:
                    edge, above = above
                    path.append(edge)
                yield path[::-1]
                continue
            slots = [i for i, x in enumerate(v.inputs) if x in self.paths]
            todo += [(v.inputs[i], ((v, i), above)) for i in reversed(slots)]

    def product(self, path: Sequence[Edge]) -> float:
        g = 1.0
        for v, i in path:
            if self.cut(v, i):
                return 0.0
            g = self.local(v)[i] * g
        return g

    def route(self, path: Sequence[Edge], number: str) -> Sentence:
        """w → ... → L, in the order of the computation."""
        nodes = [self.w, *[v for v, _ in reversed(path)]]
        more = len(nodes) - MOST_FACTORS
        symbols = [self.symbol(v) for v in (nodes if more < 2 else [*nodes[: MOST_FACTORS - 1], nodes[-1]])]
        if more > 1:
            symbols.insert(-1, Symbol(r"\cdots", f"… {more:,} more …"))
        arrows = Symbol(r" \to ".join(x.tex for x in symbols), " → ".join(x.text for x in symbols))
        return Sentence([number, arrows])

    def chain(self, path: Sequence[Edge], term: float) -> Equations:
        """The product of local partials, as ∂o/∂x, as formulas, with the numbers put in, and its value."""
        long = len(path) > MOST_FACTORS
        some, most = ([*path[: MOST_FACTORS - 1], path[-1]] if long else path), MOST_FACTORS - long
        right = [
            product([self.rules(v)[i] for v, i in some], most),
            product([self.rules(v, numbers=True)[i] for v, i in some], most),
            product([_number(0.0 if self.cut(v, i) else self.local(v)[i]) for v, i in some], most),
            _number(term),
        ]
        left = product([self.partial(v, v.inputs[i]) for v, i in some], most)
        different = [x for x, before in zip(right, [left, *right]) if x.text != before.text]
        return Equations([([left] if i == 0 else [], [x]) for i, x in enumerate(different)])

    def why_cut(self, path: Sequence[Edge]) -> list[Any]:
        """What to say of the first edge from the loss down that lets nothing through."""
        for v, i in path:
            if not self.cut(v, i):
                continue
            name = v.op.name
            if v.op.slopes is None:
                return [f"{name} has no slope anywhere: this path ends at ", self.symbol(v), " and gives 0."]
            if len(v.inputs) == 1:
                return [f"{name} is at rest at ", self.equal(v.inputs[0]), ": this path gives 0."]
            return [f"{name} does not select ", self.symbol(v.inputs[i]), ": this path gives 0."]
        return []

    # --- or the nodes that use the value --------------------------------------------------------------------

    def by_consumers(self, opening: list[Any]) -> tuple[list[Block], list[float]]:
        """The sum over the edges that leave w: upstream, which holds all paths above, times local partial."""
        edges = [(v, i) for v in reversed(self.inner) for i, x in enumerate(v.inputs) if x is self.w]
        rows: list[list[Any]] = []
        terms = []
        for v, i in edges:
            upstream, d = self.adjoint[v], 0.0 if self.cut(v, i) else self.local(v)[i]
            terms.append(0.0 if self.cut(v, i) else d * upstream)
            if len(rows) < MOST_ROWS:
                rows.append([self.symbol(v), *map(_number, (upstream, d, terms[-1]))])
        if len(edges) > len(rows):
            rows.append([f"{len(edges) - len(rows):,} more", "", "", _number(sum(terms[len(rows) :]))])
        rows.append([SIGMA, "", "", _number(sum(terms))])
        opening += ["Summed up by the nodes that use ", self.symbol(self.w)]
        opening += [": what comes down to each from the loss, times its local partial."]
        head = ["via", "upstream", "local partial", "contribution"]
        return [Sentence(opening), Table(head, rows)], terms

    def verdict(self, terms: Sequence[float]) -> Sentence:
        """What the engine has; where it adds in another order, or cuts, the last digits may differ."""
        added, engine = sum(terms), self.gradient
        said: list[Any] = ["The engine has ", self.partial(self.loss, self.w).equals(_exact(engine))]
        if added == engine or (added != added and engine != engine):
            return Sentence([*said, "."])
        said += [", and the terms above add up to ", _exact(added)]
        if isclose(added, engine, rel_tol=0.0, abs_tol=1e-9 * sum(map(abs, terms))):
            return Sentence([*said, ": it adds before it multiplies on, and rounds elsewhere."])
        return Sentence([*said, ": it adds before it multiplies on, and they leave the floats one by one."])

    # --- formulas -------------------------------------------------------------------------------------------

    def symbol(self, v: Value) -> Symbol:
        return Symbol.shown(v.data) if self.names[v].number else Symbol.named(self.names[v])

    def equal(self, v: Value) -> Symbol:
        return self.symbol(v).equals(_number(v.data))

    def partial(self, v: Value, x: Value) -> Symbol:
        """∂v/∂x"""
        (over, under), (top, below) = (
            [wrapped(self.symbol(one), FACTOR, kind) for one in (v, x)] for kind in ("text", "tex")
        )
        return Symbol(rf"\frac{{\partial {top}}}{{\partial {below}}}", f"∂{over}/∂{under}")

    def definition(self, v: Value) -> tuple[list[Symbol], list[Symbol]]:
        """v = a·b = 2·(-3) = -6"""
        symbols, numbers = self.operands(v), self.operands(v, numbers=True)
        sides = [formula(v.op, symbols), formula(v.op, numbers), _number(v.data)]
        shown = [s for s, before in zip(sides, [None, *sides]) if before is None or s.text != before.text]
        return [self.symbol(v)], [s for side in shown for s in (EQUALS, side)][1:]

    def operands(self, v: Value, numbers: bool = False) -> list[Symbol]:
        return [_number(x.data) if numbers else self.symbol(x) for x in v.inputs]

    def rules(self, v: Value, numbers: bool = False) -> list[Symbol]:
        """The local partials of v, on symbols or with the numbers put in."""
        o = _number(v.data) if numbers else self.symbol(v)
        ds = partials(v.op, o, self.operands(v, numbers))
        if ds is None:  # a rule that only numbers can read
            ds = [_number(d) for d in self.local(v)] if numbers else [self.partial(v, x) for x in v.inputs]
        return ds

    def local(self, v: Value) -> Sequence[float]:
        """The local partials of v, as the engine has them."""
        if v not in self.slopes:
            rule = v.op.slopes
            self.slopes[v] = rule(v.data, *[x.data for x in v.inputs]) if rule else [0.0] * len(v.inputs)
        return self.slopes[v]

    def cut(self, v: Value, i: int) -> bool:
        """Whether nothing goes through this edge: P4, and operations without a slope."""
        return v.op.slopes is None or (v.op.selects and self.local(v)[i] == 0.0)


def _number(x: float) -> Symbol:
    return Symbol.shown(x)


def _exact(x: float) -> Symbol:
    """A number with all its digits."""
    mantissa, power, exponent = repr(x).partition("e")
    if power:
        return Symbol(f"{mantissa} \\times 10^{{{int(exponent)}}}", repr(x))
    return Symbol(repr(x) if isfinite(x) else _number(x).tex, repr(x))


# --- a whole model: the equations of its layers -------------------------------------------------------------

Matrix = list[list[float]]
TIMES, PLUS, EQUALS, OPENING, CLOSING, SUMMED, Z, A, D = (
    Symbol(r"\odot", "⊙"),
    Symbol("+", "+"),
    Symbol("=", "="),
    Symbol(r"\left(", "("),
    Symbol(r"\right)", ")"),
    Symbol(r"\sum", "Σ"),
    Symbol("z", "z"),
    Symbol("a", "a"),
    Symbol(r"\delta", "δ"),
)


@dataclass
class Level:
    """One layer at work: its neurons that the loss depends on, and their sums z, one list for each call."""

    index: int
    several: bool  # it is one of several layers
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
        """W⁽¹⁾, or its transpose."""
        name = numbered(letter, self.index + 1 if self.several else 0)
        tex = name.tex.replace("\\mathrm{δ}", r"\delta").replace("δ", r"\delta")
        return Symbol(rf"({tex})^{{\top}}", name.text + "ᵀ") if transposed else Symbol(tex, name.text)


def layer_equations(loss: Value, model: MLP | Layer | Neuron) -> Explanation:
    """What `explain(loss, model)` gives: forward and backward, layer by layer.

    Raises GraphError if none of its neurons is in the graph of the loss, StaleGraphError if parameters were
    set after the graph was built.

    >>> line = Neuron(1, act="tanh", weights=lambda rng, nin, nout: 0.5)
    >>> print(layer_equations((line([2.0]) - 1.0) ** 2, line))
    A layer of 1 → 1, called once. The loss is L = 0.0568373.
    ...
        ∂L/∂a = 2·(a - 1) = -0.476812
        δ = ∂L/∂a ⊙ tanh′(z)
          = [-0.4768] ⊙ [0.42]
          = [-0.2002]
        ∂L/∂W = δ xᵀ = [-0.4005]
        ∂L/∂b = δ
    ...
    """
    inner = newest_first([loss])[::-1]
    levels = _levels(inner, _neurons(model), type(model).__name__)
    return _Equations(loss, inner, levels).explanation()


def parts_equations(loss: Value, model: Module) -> Explanation:
    """What `explain(loss, module)` gives for any other module: the equations of its parts, one by one.

    Raises GraphError if none of them is in the graph of the loss.
    """
    inner = newest_first([loss])[::-1]
    adjoint = sweep({loss: 1.0})
    blocks: list[Block] = []
    done: list[str] = []
    for path, part in model.modules():
        if any(path.startswith(f"{outer}." if outer else "") for outer in done):
            continue
        found = module_blocks(part, path, inner, adjoint)
        if not found and isinstance(part, (MLP, Layer, Neuron)) and _is_used(part, inner):
            found = [Sentence([f"{path}:"]), *layer_equations(loss, part).blocks]
        if found:
            done.append(path)
            blocks += found
    if not blocks:
        raise GraphError(
            f"the loss was not computed by this {type(model).__name__}: no part of it is in the graph; "
            "compute the loss from model(x), and explain it before the model is changed"
        )
    scalar = Symbol("L", "L").equals(Symbol.shown(loss.data))
    return Explanation([Sentence(["The loss is ", scalar, "."]), *blocks])


def _is_used(part: Module, inner: Sequence[Value]) -> bool:
    own = {*part.parameters()}
    return any(x in own for v in inner for x in v.inputs)


def _neurons(model: MLP | Layer | Neuron) -> list[list[Neuron]]:
    """The neurons of each layer."""
    if isinstance(model, MLP):
        return [layer.neurons for layer in model.layers]
    return [model.neurons] if isinstance(model, Layer) else [[model]]


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
                Level(
                    i,
                    len(layers) > 1,
                    [layer[j] for j in there],
                    [[c[j] for j in there] for c in found.values()],
                )
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
        self.loss, self.inner, self.levels = loss, inner, levels
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
            Sentence(["Forward: ", Z, " are the weighted sums, ", A, " what the activation makes of them."])
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
        act = self.activation(level)
        if act is not None:
            after = [[v.data for v in row] for row in zip(*self.outputs[i])]
            lines.append(([a], [Symbol(f"{act.tex}({z.tex})", f"{act}({z})"), EQUALS, matrix(after)]))
        shape = Symbol(rf"{len(level.neurons)} \times {len(inputs)}", f"{len(level.neurons)} × {len(inputs)}")
        words = [f"Layer {i + 1}: ", w, " is ", shape, ", ", *self.about_activation(level, act), "."]
        return [Sentence(words), Equations(lines)]

    def activation(self, level: Level) -> Symbol | None:
        """The letter or word for the activation of a layer, as in tanh(z); None without one."""
        z, a = level.zs[0][0], self.outputs[level.index][0][0]
        if a is z:
            return None
        if len(a.inputs) > 1 or a.inputs[0] is not z:
            return Symbol("f", "f")
        written = formula(a.op, [Z])
        if re.fullmatch(r"\w+\(z\)", written.text):
            return Symbol(written.tex.removesuffix("(z)"), written.text.removesuffix("(z)"))
        name = sign_of(a) if sign_of(a).isalpha() else a.op.name
        return Symbol(rf"\operatorname{{{name.replace('_', chr(92) + '_')}}}", name)

    def about_activation(self, level: Level, act: Symbol | None) -> list[Any]:
        """ReLU(z) = max(0, z), ReLU′(z) = [a > 0]: as far as the table writes more than a name."""
        a = self.outputs[level.index][0][0]
        if act is None:
            return ["without activation"]
        if act.text == "f":
            return [act, " is a function of your own"]
        value, slope = Symbol(f"{act.tex}(z)", f"{act}(z)"), Symbol(f"{act.tex}'(z)", f"{act}′(z)")
        by_z = partials(a.op, A, [Z])
        sides = [(value, formula(a.op, [Z])), (slope, by_z[0] if by_z else slope)]
        said = [left.equals(right) for left, right in sides if left.text != right.text]
        if not said:
            return ["the activation ", act, f" is {a.op.name}"]
        return [said[0], *[piece for one in said[1:] for piece in (", ", one)]]

    def loss_by_output(self) -> Symbol | None:
        """∂L/∂a of the one output of a network that is called once, as a formula: 2·(a - y)."""
        ((out, *others), *calls) = self.outputs[-1]
        if others or calls:
            return None
        last = self.levels[-1]
        symbols = {out: last.named("z" if self.activation(last) is None else "a")}
        above: list[Value] = []
        for v in self.inner:
            if any(x in symbols for x in v.inputs) and v is not out:
                if len(above) == MOST_ABOVE or any(x.inputs and x not in symbols for x in v.inputs):
                    return None
                above.append(v)
                operands = [symbols.setdefault(x, _leaf(x)) for x in v.inputs]
                symbols[v] = formula(v.op, operands)
        adjoint = {self.loss: Symbol.constant(1.0)}
        for v in reversed(above):
            ds = partials(v.op, symbols[v], [symbols[x] for x in v.inputs])
            if ds is None or v not in adjoint:
                return None
            for x, d in zip(v.inputs, ds):
                share = formula(MUL, [d, adjoint[v]])
                adjoint[x] = formula(ADD, [adjoint[x], share]) if x in adjoint else share
        return adjoint.get(out)

    def backward(self, level: Level) -> list[Block]:
        """δ, and the gradients of weights and biases from it."""
        i, calls = level.index, len(level.zs)
        delta, z, last = level.named("δ"), level.named("z"), level is self.levels[-1]
        pairs = [list(zip(*both)) for both in zip(level.zs, self.outputs[i])]
        slopes = [[self.slope(z, a) for z, a in row] for row in zip(*pairs)]
        act = self.activation(level)
        before: list[tuple[list[Symbol], list[Symbol]]] = []
        if last:
            upstream = [[self.adjoint.get(v, 0.0) for v in row] for row in zip(*self.outputs[i])]
            symbols, numbers = [_by(z if act is None else level.named("a"))], [matrix(upstream)]
            by_output = self.loss_by_output()
            if by_output is not None:
                value = Symbol.shown(upstream[0][0])
                same = by_output.text == value.text
                before.append(([symbols[0]], [value] if same else [by_output, EQUALS, value]))
        else:
            above = self.levels[i + 1]
            upstream = _matrix_product(_transposed(above.weights), self.deltas[-1])
            w, d = above.named("W", transposed=True), above.named("δ")
            symbols = [Symbol(rf"\left({w.tex} {d.tex}\right)", f"({w} {d})")]
            numbers = [OPENING, matrix(_transposed(above.weights)), matrix(self.deltas[-1]), CLOSING]
        if act is not None:
            slope = Symbol(f"{act.tex}'({z.tex})", f"{act}′({z})")
            symbols, numbers = [*symbols, TIMES, slope], [*numbers, TIMES, matrix(slopes)]
        self.deltas.append([[g * d for g, d in zip(*rows)] for rows in zip(upstream, slopes)])
        lines = [*before, ([delta], symbols), ([], numbers), ([], [matrix(self.deltas[-1])])]
        if len(numbers) == 1:
            lines.pop()
        x = Symbol("x", "x") if i == 0 else self.levels[i - 1].named("a")
        across = Symbol(rf"({x.tex})^{{\top}}" if i else r"x^{\top}", f"{x}ᵀ")
        lines.append(([_by(level.named("W"))], [delta, across, EQUALS, matrix(self.gradient(level))]))
        if level.neurons[0].b is not None:
            added = [[sum(row)] for row in self.deltas[-1]]
            sides = [delta] if calls == 1 else [SUMMED, delta, EQUALS, matrix(added)]
            lines.append(([_by(level.named("b"))], sides))
        return [Sentence([f"Layer {i + 1}:"]), Equations(lines)]

    def gradient(self, level: Level) -> Matrix:
        """∂L/∂W = δ aᵀ, of the level that `backward` is at, or was."""
        delta = self.deltas[len(self.levels) - 1 - level.index]
        return _matrix_product(delta, [[v.data for v in call] for call in level.inputs()])

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


def _leaf(x: Value) -> Symbol:
    return Symbol.named(x.label) if x.label else Symbol.shown(x.data)


def _close(x: float, y: float) -> bool:
    return isclose(x, y, rel_tol=1e-9, abs_tol=1e-12) or (x != x and y != y)


def _by(x: Symbol) -> Symbol:
    return Symbol(rf"\frac{{\partial L}}{{\partial {x.tex}}}", f"∂L/∂{x}")


def _matrix_product(a: Matrix, b: Matrix) -> Matrix:
    columns = list(zip(*b))
    return [[sum(x * y for x, y in zip(row, column)) for column in columns] for row in a]


def _transposed(a: Matrix) -> Matrix:
    return [list(row) for row in zip(*a)]
