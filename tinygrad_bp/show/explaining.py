"""explain: why a gradient is what it is, by the chain rule written out on the user's own graph.

A gradient is a sum over paths, and a path gives the product of its local partials: first in symbols, then
with the numbers put in.  Where there are too many paths for a page, the sum is over the nodes that use the
value.  Nothing is differentiated here: the partials are the rules of ops.py, and the total is set against the
number that the engine's own sweep has.  equations.py explains whole networks; writing.py sets the pages.
"""

from collections.abc import Iterator, Sequence
from math import isclose, isfinite
from typing import Any

from tinygrad_bp.engine import Value, newest_first, sweep
from tinygrad_bp.errors import GraphError, describe
from tinygrad_bp.nn import Module
from tinygrad_bp.show.equations import layer_equations
from tinygrad_bp.show.naming import names
from tinygrad_bp.show.nodes import not_a_value
from tinygrad_bp.show.symbols import Symbol, formula, partials, product, total
from tinygrad_bp.show.writing import Block, Equations, Explanation, Sentence, Table

MOST_PATHS = 50  # that are written out; of more, the table of the nodes that use the value
MOST_EDGES = 2_000  # of all these paths together
MOST_FACTORS = 10  # of a product that are written; of more, the first ones and the last
MOST_LINES = 30  # that say what the nodes on the paths are
MOST_ROWS = 50  # of the table
COUNTED = 10**6  # paths; beyond it there are "more than"

MOST_TERMS = 12  # of the sum
LOST = (
    "pass a Value that it was computed from "
    "(was it detached, or made anew, or is the graph from before an update?)"
)
MANY = 4  # paths; of more, those that are cut are not multiplied out
EQUALS, SIGMA = Symbol("=", "="), Symbol(r"\Sigma", "Σ")
Edge = tuple[Value, int]  # an operation, and which of its operands


def explain(loss: Value, wrt: Value | Module) -> Explanation:
    """Why d loss / d wrt is what it is: every path between them, its local partials, their product, the sum.

    `wrt` is any node that the loss depends on, or a model (an MLP or a Layer): then the equations of its
    layers with its numbers. More than 50 paths are summed up in a table. No `.grad` is touched. Raises
    TypeError for what is no Value, GraphError for a Value that is not in the graph of the loss,
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
    if isinstance(wrt, Module):
        return layer_equations(loss, wrt)
    if not isinstance(wrt, Value):
        raise TypeError(
            f"explain: the gradient by {wrt!r:.60} is asked for, which is no Value and no model: take one "
            "Value, explain(loss, model.parameters()[0]), or the whole model, explain(loss, model)"
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
        if not self.w.inputs and not self.w.label:
            self.names[self.w] = "w" if "w" not in self.names.values() else "w′"
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
        by, label = self.partial(self.loss, self.w), self.names[self.w]
        aside = f", which is {label}." if name.text != label and self.w.label else "."
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
        return Symbol.shown(v.data) if self.is_constant(v) else Symbol.named(self.names[v])

    def is_constant(self, v: Value) -> bool:
        return not v.inputs and not v.label and v is not self.w

    def equal(self, v: Value) -> Symbol:
        return self.symbol(v).equals(_number(v.data))

    def partial(self, v: Value, x: Value) -> Symbol:
        """∂v/∂x"""
        over, under = self.symbol(v), self.symbol(x)
        return Symbol(rf"\frac{{\partial {over.tex}}}{{\partial {under.tex}}}", f"∂{over}/∂{under}")

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
