"""Equations of the modules of nn, with their numbers on the user's own graph: forward, then backward.

A module's nodes are those that its calls made.  What comes down to its results is the engine's; what it hands
on is computed from the local partials of these nodes alone, and compared with the engine's.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from math import isclose

from tinygrad_bp.engine import Value, edges
from tinygrad_bp.nn import (
    Attention,
    AveragePool,
    Conv,
    Dropout,
    Embedding,
    LayerNorm,
    MaxPool,
    Module,
    Positions,
    RMSNorm,
    Sum,
)
from tinygrad_bp.show.graph import calls_of, shown
from tinygrad_bp.show.symbols import Block, Equations, Sentence, Symbol, matrix

Adjoint = Mapping[Value, float]
Formula = tuple[str, str, str, str]  # left and right, as text, then as LaTeX


def _by(x: str) -> str:
    """∂L/∂x"""
    return rf"\frac{{\partial L}}{{\partial {x}}}"


# --- what a module computes, and what it hands on -----------------------------------------------------------

NORM = (
    ("r", "1/√(mean(x²) + ε)", "r", r"1 / \sqrt{\operatorname{mean}(x^2) + \varepsilon}"),
    ("y", "w ⊙ r·x", "y", r"w \odot r\,x"),
    ("∂L/∂x", "r·(w ⊙ g) - r³·x·mean(x ⊙ w ⊙ g)", _by("x"),
     r"r\,(w \odot g) - r^3\,x\,\operatorname{mean}(x \odot w \odot g)"),
    ("∂L/∂w", "Σ r·x ⊙ g", _by("w"), r"\sum r\,x \odot g"),
)  # fmt: skip
LAYER_NORM = (
    ("c", "x - mean(x)", "c", r"x - \operatorname{mean}(x)"),
    ("r", "1/√(mean(c²) + ε)", "r", r"1 / \sqrt{\operatorname{mean}(c^2) + \varepsilon}"),
    ("y", "w ⊙ r·c + b", "y", r"w \odot r\,c + b"),
    ("∂L/∂c", "r·(w ⊙ g) - r³·c·mean(c ⊙ w ⊙ g)", _by("c"),
     r"r\,(w \odot g) - r^3\,c\,\operatorname{mean}(c \odot w \odot g)"),
    ("∂L/∂x", "∂L/∂c - mean(∂L/∂c)", _by("x"),
     rf"{_by('c')} - \operatorname{{mean}}\left({_by('c')}\right)"),
    ("∂L/∂w", "Σ r·c ⊙ g", _by("w"), r"\sum r\,c \odot g"),
    ("∂L/∂b", "Σ g", _by("b"), r"\sum g"),
)  # fmt: skip
ATTENTION = (
    ("q, k, v", "Wq x, Wk x, Wv x", "q, k, v", r"W_q x,\; W_k x,\; W_v x"),
    ("p[t]", "softmax over s of q[t]·k[s]/√d", "p_t", r"\operatorname{softmax}_s(q_t \cdot k_s / \sqrt{d})"),
    ("o[t]", "Σ p[t][s]·v[s]", "o_t", r"\sum_s p_{ts}\,v_s"),
    ("y[t]", "Wo o[t]", "y_t", r"W_o\,o_t"),
    ("∂L/∂o", "Woᵀ g", _by("o"), r"W_o^{\top} g"),
    ("∂L/∂v[s]", "Σ p[t][s]·∂L/∂o[t]", _by("v_s"),
     rf"\sum_t p_{{ts}} {_by('o_t')}"),
    ("δ[t][s]", "p[t][s]·(∂L/∂o[t]·v[s] - ∂L/∂o[t]·o[t])", r"\delta_{ts}",
     rf"p_{{ts}} \left({_by('o_t')} \cdot v_s - {_by('o_t')} \cdot o_t\right)"),
    ("∂L/∂q[t]", "Σ δ[t][s]·k[s]/√d", _by("q_t"), r"\sum_s \delta_{ts}\,k_s / \sqrt{d}"),
    ("∂L/∂k[s]", "Σ δ[t][s]·q[t]/√d", _by("k_s"), r"\sum_t \delta_{ts}\,q_t / \sqrt{d}"),
    ("∂L/∂x", "Wqᵀ ∂L/∂q + Wkᵀ ∂L/∂k + Wvᵀ ∂L/∂v", _by("x"),
     rf"W_q^{{\top}} {_by('q')} + W_k^{{\top}} {_by('k')} + W_v^{{\top}} {_by('v')}"),
)  # fmt: skip
BY_X = ("∂L/∂x", _by("x"))
FORMULAS: dict[type[Module], Sequence[Formula]] = {
    RMSNorm: NORM,
    LayerNorm: LAYER_NORM,
    Attention: ATTENTION,
    Embedding: (
        ("y[t]", "W[x[t]]", "y_t", "W_{x_t}"),
        ("∂L/∂W[k]", "Σ g[t] where x[t] = k", _by("W_k"), r"\sum_{t:\,x_t = k} g_t"),
    ),
    Positions: (
        ("y[t]", "x[t] + P[t]", "y_t", "x_t + P_t"),
        ("∂L/∂P[t]", "g[t]", _by("P_t"), "g_t"),
        (BY_X[0], "g", BY_X[1], "g"),
    ),
    Sum: (("y", "x + f(x)", "y", "x + f(x)"), (BY_X[0], "g, to both", BY_X[1], r"g,\ \text{to both}")),
    Dropout: (
        ("y", "m ⊙ x, m = 0 or 1/(1 - rate)", "y", r"m \odot x,\; m \in \{0, 1/(1 - \mathrm{rate})\}"),
        (BY_X[0], "m ⊙ g", BY_X[1], r"m \odot g"),
    ),
    Conv: (
        ("z[i, j]", "W·x[square at i, j] + b", "z_{ij}", r"W \cdot x_{[ij]} + b"),
        ("y", "σ(z)", "y", r"\sigma(z)"),
        ("δ", "g ⊙ σ′(z)", r"\delta", r"g \odot \sigma'(z)"),
        ("∂L/∂W", "Σ δ[i, j]·x[square at i, j]", _by("W"), r"\sum \delta_{ij}\,x_{[ij]}"),
        (BY_X[0], "Σ δ[i, j]·W, at the square of i, j", BY_X[1], r"\sum \delta_{ij}\,W_{[ij]}"),
    ),
    MaxPool: (
        ("y", "max(x in the square)", "y", r"\max(x_{[ij]})"),
        (BY_X[0], "g where x is the largest, else 0", BY_X[1], r"g\,[x = y]"),
    ),
    AveragePool: (
        ("y", "mean(x in the square)", "y", r"\operatorname{mean}(x_{[ij]})"),
        (BY_X[0], "Σ g/size²", BY_X[1], r"\sum g / \mathrm{size}^2"),
    ),
}  # fmt: skip


def module_blocks(module: Module, path: str, inner: Sequence[Value], adjoint: Adjoint) -> list[Block]:
    """The equations of a module and the numbers in them; no blocks if none of its calls is in the graph."""
    used = Counter(x for v in inner for x in {*v.inputs}) + Counter(inner[-1:])
    calls = [_Numbers(module, begin, members, used, adjoint) for _, begin, members in calls_of(inner, module)]
    if not calls:
        return []
    often = "once" if len(calls) == 1 else f"{len(calls)} times (the calls are below each other)"
    blocks: list[Block] = [Sentence([f"{path or 'The module'}: {module!r}, called {often}. g is ∂L/∂y."])]
    formulas = FORMULAS.get(type(module), ())
    lines = [([Symbol(c, a)], [Symbol(d, b)]) for a, b, c, d in formulas]
    width = getattr(module, "width", 0)
    for (text, tex), name in {("x", "x"): "x", ("y", "y"): "y", ("g", "g"): "g", BY_X: "given"}.items():
        rows = [row for call in calls for row in _rows(getattr(call, name), width)]
        if len({*map(len, rows)}) == 1:
            lines.append(([Symbol(tex, text)], [matrix(rows)]))
    return [*blocks, Equations(lines), *_verdict(calls, adjoint)]


def numbers_of_calls(module: Module, inner: Sequence[Value], adjoint: Adjoint) -> "list[_Numbers]":
    """The numbers of each call of the module that made some of these operations, which come oldest first."""
    used = Counter(x for v in inner for x in {*v.inputs}) + Counter(inner[-1:])
    return [_Numbers(module, begin, members, used, adjoint) for _, begin, members in calls_of(inner, module)]


class _Numbers:
    """A call's numbers: what it took and gave, what came down to it, and what it hands on."""

    def __init__(
        self,
        module: Module,
        begin: int,
        members: Sequence[Value],
        used: Mapping[Value, int],
        adjoint: Adjoint,
    ) -> None:
        own, inside = {*module.parameters()}, {*members}
        taken = dict.fromkeys(x for v in members for x in v.inputs if x not in inside)
        inputs = [x for x in taken if x not in own and (x.op or x.number < begin)]
        within = Counter(x for v in members for x in {*v.inputs})
        results = dict.fromkeys(v for v in members if used[v] > within[v])
        through = {v: adjoint.get(v, 0.0) for v in results}  # of a result that is used inside too, all of it
        for v in reversed(members):
            for x, d in edges(v):
                if x not in results:
                    through[x] = through.get(x, 0.0) + d * through.get(v, 0.0)
        self.x, self.y = [x.data for x in inputs], [v.data for v in results]
        self.g, self.given = [through[v] for v in results], [through.get(x, 0.0) for x in inputs]
        self.by = {p: through.get(p, 0.0) for p in taken if p in own}


def _rows(numbers: list[float], width: int) -> list[list[float]]:
    """One row for each vector, where the numbers are of vectors."""
    width = width if width and len(numbers) % width == 0 else len(numbers)
    return [numbers[i : i + width] for i in range(0, len(numbers), width or 1)]


def _verdict(calls: Sequence[_Numbers], adjoint: Adjoint) -> list[Block]:
    """Whether the calls together give its parameters what the engine has."""
    mine: dict[Value, float] = {}
    for call in calls:
        for p, g in call.by.items():
            mine[p] = mine.get(p, 0.0) + g
    if not mine:
        return []
    worst = max(mine, key=lambda p: abs(mine[p] - adjoint.get(p, 0.0)))
    if isclose(mine[worst], adjoint.get(worst, 0.0), rel_tol=1e-9, abs_tol=1e-12):
        return [
            Sentence([f"The engine has the same gradients for its {len(mine)} parameters in this graph."])
        ]
    said = f"{worst.label}: {shown(mine[worst])} from this module, {shown(adjoint.get(worst, 0.0))} in all"
    return [Sentence([f"Its parameters are also used elsewhere: {said}."])]
