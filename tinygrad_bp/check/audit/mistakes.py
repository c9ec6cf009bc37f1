"""The mistakes of hand-written backward passes: one table for all kinds of layers.

A row has a name, what it is, how to fix it, the layers and the arguments whose gradient it changes, and a
rule: what the gradient becomes.  Most rules are `of(f)`, the gradient of another function, where people take
that for the derivative of the layer: with the mean held fixed, with the weights transposed.  Others change
the error that comes from above (`upstream`), or take other slopes (`slopes`).  A new mistake is a new row.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

from tinygrad_bp.check.audit.layers import (
    Numbers,
    Stage,
    Tree,
    _dot,
    _sum,
    each,
    filled,
    flat,
    held,
    normalised,
    on_floats,
    one_hot,
    padded,
    pooled,
    scores_of,
    shape_of,
    softmax,
    straight,
    transposed,
)
from tinygrad_bp.engine import Value
from tinygrad_bp.ops import (
    exp as EXP,
    relu as RELU,
    sigmoid as SIGMOID,
    tanh as TANH,
)
from tinygrad_bp.transforms import gradients

Gradients = dict[str, Numbers]
Rule = Callable[["Moment"], Iterator[tuple[str, Gradients]]]

# kinds of layers
SLOPED = (RELU.name, TANH.name, SIGMOID.name, "activation")
LOSSES = ("softmax_cross_entropy", "mean_squared_error", "total_loss")
ALL = "*"  # every argument


@dataclass
class Moment:
    """What a rule may look at: the layer, the error from above, the right gradients, and the whole run."""

    stage: Stage
    upstream: Numbers
    right: Gradients
    options: dict[str, Any]  # lr, if given
    passed: dict[int, Numbers]  # the errors from above of the layers nearer to the loss, by index

    def __getattr__(self, name: str) -> Any:  # m.x, m.w: an argument as numbers
        try:
            return self.stage.numbers[name]
        except KeyError:
            raise AttributeError(name) from None

    @property
    def out(self) -> Any:
        return self.stage.out

    @property
    def rest(self) -> dict[str, Any]:
        return self.stage.rest

    def others(self, kinds: tuple[str, ...] = ()) -> list[Stage]:
        return [s for s in self.stage.tape.stages if s is not self.stage and (not kinds or s.kind in kinds)]


@dataclass(frozen=True)
class Mistake:
    """A row of the table."""

    name: str
    what: str
    fix: str
    kinds: tuple[str, ...]
    changes: tuple[str, ...]  # the arguments whose gradient it changes, or ALL
    rule: Rule
    needs: str = ""  # a keyword of `audit` without which it cannot be tried
    alone: bool = False  # also of one of its arguments alone

    def arguments(self, stage: Stage) -> frozenset[str]:
        """The arguments of that layer that it changes."""
        if ALL in self.changes:
            return frozenset(stage.places)
        return frozenset(self.changes) & frozenset(stage.places)

    def gradients(self, moment: Moment) -> Iterator[tuple[str, Gradients]]:
        """(which variant, the gradients of the arguments that it changes); none where it does not apply."""
        try:
            for note, found in self.rule(moment):
                changed = {n: found[n] for n in self.arguments(moment.stage) if n in found}
                yield note, changed
        except (ValueError, IndexError, ZeroDivisionError, OverflowError):
            return  # shapes that do not fit: the mistake cannot have been made here


# --- kinds of rules -----------------------------------------------------------------------------------------


def of(surrogate: Callable[[Moment], Callable[..., Tree]]) -> Rule:
    """The gradient of another function."""
    return lambda m: iter([("", m.stage.pull(m.upstream, surrogate(m)))])


@dataclass(frozen=True)
class Built:
    """A rule with parts: two rules of one maker can be made together, with the parts of both.

    `maker(moment, **parts)` is another function of the layer's arguments, or the gradients themselves.
    """

    maker: Callable[..., Any]
    parts: tuple[tuple[str, Any], ...]

    def __call__(self, m: Moment) -> Iterator[tuple[str, Gradients]]:
        made = self.maker(m, **dict(self.parts))
        yield "", made if isinstance(made, dict) else m.stage.pull(m.upstream, made)

    def with_(self, other: Any) -> "Built | None":
        """Both together; None where they cannot be."""
        if not isinstance(other, Built) or other.maker is not self.maker:
            return None
        if {name for name, _ in self.parts} & {name for name, _ in other.parts}:
            return None
        return Built(self.maker, self.parts + other.parts)


def built(maker: Callable[..., Any], **parts: Any) -> Built:
    return Built(maker, tuple(parts.items()))


def upstream(change: Callable[[Moment], Numbers]) -> Rule:
    """The layer is right, and gets another error from above."""
    return lambda m: iter([("", m.stage.pull(change(m)))])


def slopes(slope: Callable[[Moment], Numbers]) -> Rule:
    """The error from above times other slopes."""
    return lambda m: iter([("", {"x": times(m.upstream, slope(m))})])


def gradient(of_first: Callable[[Moment], Numbers]) -> Rule:
    """What the gradient of the first argument becomes."""
    return lambda m: iter([("", {m.stage.first: of_first(m)})])


def scaled(factor: Callable[[Moment], Iterator[tuple[str, float]]], invert: bool = False) -> Rule:
    def rule(m: Moment) -> Iterator[tuple[str, Gradients]]:
        for note, c in factor(m):
            c = 1.0 / c if invert else c
            yield note, {name: each(lambda g, c=c: c * g, tree) for name, tree in m.right.items()}

    return rule


def times(a: Numbers, b: Numbers) -> Numbers:
    return each(lambda x, y: x * y, a, b)


def same_shape(*trees: Tree) -> bool:
    return len({shape_of(tree) for tree in trees}) == 1


def need(condition: Any) -> None:
    """The mistake can only be made where this holds."""
    if not condition:
        raise ValueError


def where(condition: Any, f: Callable[[], Any]) -> Any:
    """f(), where the mistake can be made."""
    need(condition)
    return f()


# --- factors ------------------------------------------------------------------------------------------------


def fixed(c: float) -> Rule:
    return scaled(lambda m: iter([("", c)]))


def counts(m: Moment) -> Iterator[tuple[str, float]]:
    """The numbers of samples, of outputs and so on, by which something may be divided."""
    shape = shape_of(m.out) or shape_of(m.stage.numbers[m.stage.first])
    if m.stage.kind in LOSSES:
        yield "the samples", float(shape[0])
        return
    names = {2: ("samples",), 3: ("steps", "samples"), 4: ("samples", "", "rows", "columns")}
    seen = set()
    for name, size in zip(names.get(len(shape), ()), shape):
        if name and size > 1 and size not in seen:
            seen.add(size)
            yield f"the {name}", float(size)
    if len(shape) == 4:
        yield "the places", float(shape[2] * shape[3])


def outputs(m: Moment) -> Iterator[tuple[str, float]]:
    shape = shape_of(m.out) or shape_of(m.stage.numbers[m.stage.first])
    if len(shape) > 1 and shape[-1] > 1:
        yield "", float(shape[-1])


def learning_rate(m: Moment) -> Iterator[tuple[str, float]]:
    yield "", float(m.options["lr"])


# --- activations --------------------------------------------------------------------------------------------


def slope(stage: Stage, at: Numbers) -> Numbers:
    return each(on_floats(stage)[1], at)


def ones(tree: Numbers) -> Numbers:
    return each(lambda _: 1.0, tree)


def by_output(stage: Stage) -> list[Callable[[float], float]]:
    """The derivative of an activation written in its output, where that is usual."""
    value = on_floats(stage)[0]
    table = ((SIGMOID, lambda a: a * (1.0 - a)), (TANH, lambda a: 1.0 - a * a))
    return [f for row, f in table if value is row.value]


def output_formula(m: Moment) -> Numbers:
    return each(by_output(m.stage)[0], m.x)


def others_slopes(m: Moment) -> Iterator[tuple[str, Gradients]]:
    for other in m.others(SLOPED):
        for at, word in ((other.numbers["x"], ""), (other.out, "'s output")):
            if same_shape(at, m.x):
                for who in (m.stage, other):
                    name = f"of {other.place.removeprefix('in ') or other.name}{word}"
                    yield name, {"x": times(m.upstream, slope(who, at))}
                    if word and by_output(who):
                        yield name, {"x": times(m.upstream, each(by_output(who)[0], at))}


def thresholds(m: Moment) -> Iterator[tuple[str, Gradients]]:
    need(on_floats(m.stage)[0] is RELU.value)
    for t in (0.01, 0.05, 0.1, 0.2, 0.25, 0.5, 1.0, 2.0):
        for at in (t, -t):
            mask = each(lambda z, at=at: float(z > at), m.x)
            yield f"such as {at:g}", {"x": times(m.upstream, mask)}


def of_one_row(m: Moment, i: int) -> Numbers:
    return [slope(m.stage, m.x[i])] * len(m.x)


# --- affine -------------------------------------------------------------------------------------------------


def affine_of(x: Tree, w: Tree, b: Tree = None) -> Tree:
    return [[_dot(v, row, None if b is None else b[j]) for j, v in enumerate(w)] for row in x]


def reshaped(rows: Tree, like: Tree) -> Tree:
    """The numbers in their order, in rows of another length."""
    return filled(like, iter(flat(rows)))


def other_inputs(m: Moment) -> Iterator[tuple[str, Gradients]]:
    """Numbers of any layer that have the shape of the inputs, but for those that have rows of their own."""
    near = [s for s in m.others(SLOPED) if m.x == s.out or m.out == s.numbers["x"]]
    known = [m.x, m.out, *(tree for s in near for tree in (s.numbers["x"], s.out))]
    for s in m.stage.tape.stages:
        for word, at in (
            (f"of the result of {s.name}", s.out),
            (f"that go into {s.name}", s.numbers[s.first]),
        ):
            if same_shape(at, m.x) and at not in known:
                yield word, {"w": m.stage.pull(m.upstream, None, x=at)["w"]}


def pre_activations(m: Moment) -> Numbers:
    """What went into the activation that made the inputs."""
    before = [s for s in m.others(SLOPED) if s.out == m.x]
    need(before)
    return before[0].numbers["x"]


def one_sample(m: Moment) -> Iterator[tuple[str, Gradients]]:
    rows = m.upstream
    need(isinstance(rows, list) and len(rows) > 1)
    for i, word in ((-1, "the last"), (0, "the first")):
        i %= len(rows)
        yield word, m.stage.pull([row if k == i else each(lambda g: 0.0, row) for k, row in enumerate(rows)])


def tiled_bias(m: Moment) -> Iterator[tuple[str, Gradients]]:
    sums = [sum(flat(row)) for row in m.upstream]
    units = len(m.stage.numbers["b"])
    yield "", {"b": list(islice(cycle(sums), units))}
    yield "", {"b": [s for s in sums for _ in range(-(-units // len(sums)))][:units]}


def whole_bias(m: Moment) -> Iterator[tuple[str, Gradients]]:
    total = sum(flat(m.upstream))
    yield "", {"b": each(lambda _: total, m.stage.numbers["b"])}


def moved_weights(m: Moment) -> Iterator[tuple[str, Gradients]]:
    lr = m.options["lr"]
    w = each(lambda v, g: v - lr * g, m.w, m.right["w"])
    yield "", {"x": m.stage.pull(m.upstream, None, w=w)["x"]}


def undelta(m: Moment) -> Iterator[tuple[str, Gradients]]:
    """The error of the activation above, without its slope."""
    above = [s for s in m.others(SLOPED) if s.numbers["x"] == m.out and s.index in m.passed]
    need(above)
    yield "", {"x": m.stage.pull(m.passed[above[0].index])["x"]}


def by_sample(m: Moment, crossed: bool = False, contracted: bool = False) -> Gradients:
    """What NumPy makes sample by sample of a delta that is a table, and of inputs that meet it the wrong way.

    crossed: delta is a column of slopes times a row of errors, stretched to a table; contracted: x · delta
    where their outer product is needed, stretched over all weights.
    """
    units, width = len(m.w), len(m.w[0])
    need(units == width)
    tables = [[[d] for d in row] for row in m.upstream]
    if crossed:
        above = [s for s in m.others(SLOPED) if s.numbers["x"] == m.out and s.index in m.passed]
        need(above)
        pairs = zip(m.passed[above[0].index], slope(above[0], m.out))
        tables = [[[d * e for e in errors] for d in ds] for errors, ds in pairs]
    w = each(lambda _: 0.0, m.w)
    for x, table in zip(m.x, tables):
        if contracted:
            part = [[_dot(x, column) for column in zip(*table)]] * units
        else:
            part = [[d * v for d, v in zip(row if crossed else row * width, x)] for row in table]
        part = [row if len(row) == width else row * width for row in part]
        w = each(lambda a, b: a + b, w, part)
    found: Gradients = {"w": w}
    if crossed:
        found["b"] = [sum(sum(table[i]) for table in tables) for i in range(units)]
    return found


# --- losses -------------------------------------------------------------------------------------------------


def probabilities(m: Moment) -> Numbers:
    return [held(softmax(row)) for row in m.z]


def labels(m: Moment) -> Numbers:
    return [one_hot(y, len(row)) for y, row in zip(m.y, m.z)]


def share(m: Moment) -> float:
    """1 over what the sum of the losses is divided by, times the error from above."""
    size = len(m.z) if m.stage.kind == LOSSES[0] else len(flat(m.z))
    return float(flat(m.upstream)[0]) / float(m.rest.get("over") or size)


def loss_gradient(f: Callable[..., float]) -> Rule:
    """f(probability, label) for each logit."""
    return gradient(
        lambda m: [
            [share(m) * f(p, y) for p, y in zip(ps, ys)] for ps, ys in zip(probabilities(m), labels(m))
        ]
    )


def error_of(ps: Numbers, ys: Numbers, c: float) -> Numbers:
    return each(lambda p, y: c * (p - y), ps, ys)


def rolled(m: Moment) -> Iterator[tuple[str, Gradients]]:
    """The labels belong to other rows: all moved by some rows, or in reverse."""
    ys = m.y
    for k in (1, -1, 2, -2)[: len(ys) - 1]:
        yield f"by {k}", m.stage.pull(m.upstream, None, y=ys[-k:] + ys[:-k])
    yield "in reverse", m.stage.pull(m.upstream, None, y=ys[::-1])


def over_columns(m: Moment) -> Numbers:
    ps = transposed([held(softmax(column)) for column in zip(*m.z)])
    return error_of(ps, labels(m), share(m))


def not_normalised(m: Moment) -> Numbers:
    es = [each(lambda z: EXP.value(z), row) for row in m.z]
    return error_of(es, labels(m), share(m))


def squared(f: Callable[[float], float]) -> Rule:
    """2 f(error) for each output."""
    return gradient(lambda m: each(lambda z, y: 2.0 * share(m) * f(z - y), m.z, m.y))


def dropped(m: Moment) -> Iterator[tuple[str, Gradients]]:
    rows = m.right[m.stage.first]
    need(len(rows) > 1)
    for word, i in (("the last", len(rows) - 1), ("the first", 0)):
        zero = [each(lambda g: 0.0, row) if k == i else row for k, row in enumerate(rows)]
        yield word, {m.stage.first: zero}
        c = len(rows) / (len(rows) - 1.0)
        yield f"{word}, the mean is over the others", {m.stage.first: each(lambda g, c=c: c * g, zero)}


def inside_again(m: Moment) -> Iterator[tuple[str, Gradients]]:
    """p (1 − p) of the softmax or sigmoid that a loss of logits has inside."""
    right = m.right[m.stage.first]
    if m.stage.kind == LOSSES[0]:
        yield "", {"z": each(lambda g, p: g * p * (1.0 - p), right, probabilities(m))}
    else:
        need("logits" in getattr(m.rest.get("loss"), "__name__", ""))
        yield "", {"z": each(lambda g, z: g * SIGMOID.value(z) * (1.0 - SIGMOID.value(z)), right, m.z)}


def all_against_all(m: Moment) -> Iterator[tuple[str, Gradients]]:
    """Every prediction against every target, as (n, 1) − (n,) is (n, n)."""
    n = len(m.z)
    need(n > 1 and len(m.z[0]) == 1 and n <= 150)
    targets: Any = m.rest.get("targets", m.y)
    averaged = (m.rest.get("over") or n) >= n
    total = each(lambda _: 0.0, m.z)
    kinds = {repr(t): t for t in targets}
    for key, t in kinds.items():
        count = sum(repr(other) == key for other in targets)
        if m.stage.kind == "total_loss":
            leaves = each(Value, m.z)
            f = m.stage.f(leaves, m.z, **{**m.rest, "targets": [t] * n})
            part = each(lambda v: v, gradients(f, leaves))
        else:
            part = m.stage.pull(m.upstream, None, y=[t] * n)["z"]
        total = each(lambda a, b, c=count: a + c * b, total, part)
    yield "", {"z": each(lambda g: g / n, total) if averaged else total}


# --- normalisation ------------------------------------------------------------------------------------------


def norm_of(m: Moment, **how: Any) -> Callable[..., Tree]:
    """The layer with its mean, its scale or both held fixed, or divided by another count."""
    rows = m.stage.kind == "layer_norm"

    def one(xs: Any, eps: float) -> list[Any]:
        n = len(xs)
        mean = sum(held(list(xs))) / n
        var = sum((v - mean) ** 2 for v in held(list(xs))) / n
        scale = (var + eps) ** -0.5
        parts = {"mean": mean if "mean" in how else None, "scale": None}
        if "scale" in how:
            parts["scale"] = how["scale"](scale)
        elif "power" in how:  # the slope of (variance + eps)^-1/2 with another factor
            centred = [x - (parts["mean"] if parts["mean"] is not None else _sum(xs) / float(n)) for x in xs]
            variance = _sum([c * c for c in centred]) / float(how.get("by", n))
            parts["scale"] = straight(scale, variance * (how["power"] * scale**3))
        if "shift" in how:  # the mean, with a slope of its own
            parts["mean"] = straight(mean, _sum(xs) * how["shift"](n))
        return normalised(xs, eps, parts["mean"], parts["scale"])

    def f(x: Tree, gamma: Tree, beta: Tree, eps: float = 1e-5) -> Tree:
        gamma = how["gamma"](m) if "gamma" in how else gamma
        done = [one(xs, eps) for xs in (x if rows else zip(*x))]
        return [[g * v + b for v, g, b in zip(r, gamma, beta)] for r in (done if rows else zip(*done))]

    return f


def other_axis(m: Moment) -> Iterator[tuple[str, Gradients]]:
    """scale (g − mean g − x̂ mean(g x̂)) with the means over the other axis."""
    rows = m.stage.kind == "layer_norm"
    eps = float(m.rest.get("eps", 1e-5))
    g = [times(row, m.gamma) for row in m.upstream]
    lines, gs = (m.x, g) if rows else (transposed(m.x), transposed(g))
    hats, scales = [], []
    for xs in lines:
        mean = sum(xs) / len(xs)
        scales.append((sum((v - mean) ** 2 for v in xs) / len(xs) + eps) ** -0.5)
        hats.append([(v - mean) * scales[-1] for v in xs])
    across = range(len(lines[0]))
    means = [sum(line[i] for line in gs) / len(lines) for i in across]
    products = [sum(a[i] * h[i] for a, h in zip(gs, hats)) / len(lines) for i in across]
    done = [
        [c * (line[i] - means[i] - hat[i] * products[i]) for i in across]
        for line, hat, c in zip(gs, hats, scales)
    ]
    yield "", {"x": done if rows else transposed(done)}


def gamma_with(numbers: Callable[[Moment], Numbers]) -> Rule:
    """The gradient of gamma with other numbers than the normalised ones."""
    return lambda m: iter([("", {"gamma": [_dot(u, v) for u, v in zip(zip(*m.upstream), zip(*numbers(m)))]})])


def centred(m: Moment) -> Numbers:
    lines = m.x if m.stage.kind == "layer_norm" else transposed(m.x)
    done = [[v - sum(xs) / len(xs) for v in xs] for xs in lines]
    return done if m.stage.kind == "layer_norm" else transposed(done)


# --- dropout ------------------------------------------------------------------------------------------------


def masked(f: Callable[[float, float], float]) -> Rule:
    """f(mask, keep) as the slope."""
    return slopes(lambda m: each(lambda v: f(v, float(m.rest.get("keep", 0.5))), m.mask))


# --- images -------------------------------------------------------------------------------------------------


def turned(w: Tree) -> Tree:
    """Kernels rotated by half a turn."""
    return [[[row[::-1] for row in channel[::-1]] for channel in kernel] for kernel in w]


def convolved(change: Callable[[Tree], Tree]) -> Rule:
    """The gradient of the input with other kernels."""
    return lambda m: iter([("", {"x": m.stage.pull(m.upstream, None, w=change(m.w))["x"]})])


def swapped(w: Tree) -> Tree:
    need(len(w) == len(w[0]))
    return [[w[c][f] for c in range(len(w))] for f in range(len(w))]


def shifted(m: Moment) -> Iterator[tuple[str, Gradients]]:
    """The frame of the padding is cut at the wrong places."""
    p = int(m.rest.get("padding", 0))
    need(p)
    frame = dict(m.rest, padding=0)
    leaves = each(Value, padded(m.x, p))
    result = m.stage.f(leaves, m.w, m.stage.numbers.get("b"), **frame)
    total = _sum([v * g for v, g in zip(flat(result), flat(m.upstream))])
    whole = gradients(total, leaves)
    h, w = len(m.x[0][0]), len(m.x[0][0][0])
    for i in range(2 * p + 1):
        for j in range(2 * p + 1):
            if (i, j) != (p, p):
                part = [[[row[j : j + w] for row in c[i : i + h]] for c in image] for image in whole]
                yield f"{i} from above and {j} from the left", {"x": part}


def assigned(m: Moment) -> Iterator[tuple[str, Gradients]]:
    """Each place of the input keeps what the last kernel entry or window wrote: `=` for `+=`."""
    p, stride = int(m.rest.get("padding", 0)), int(m.rest.get("stride", 1))
    kh, kw = len(m.w[0][0]), len(m.w[0][0][0])
    oh, ow = len(m.upstream[0][0]), len(m.upstream[0][0][0])
    orders = {
        "by kernel entry": [((i, j), (a, b)) for i in range(kh) for j in range(kw) for a in range(oh) for b in range(ow)],
        "by window": [((i, j), (a, b)) for a in range(oh) for b in range(ow) for i in range(kh) for j in range(kw)],
    }  # fmt: skip
    for word, order in orders.items():
        x = []
        for s in range(len(m.x)):
            image = each(lambda _: 0.0, padded([m.x[s]], p)[0])
            for (i, j), (a, b) in order:
                for c in range(len(image)):
                    image[c][a * stride + i][b * stride + j] = sum(
                        m.upstream[s][f][a][b] * m.w[f][c][i][j] for f in range(len(m.w))
                    )
            x.append([[row[p : len(row) - p] for row in c[p : len(c) - p]] for c in image])
        yield word, {"x": x}


def pooling(f: Callable[[list[Any]], Any]) -> Rule:
    """The gradient of another function of each window."""
    return of(lambda m: lambda x, size=2: pooled(x, size, f))


def tiled(m: Moment) -> Iterator[tuple[str, Gradients]]:
    size = int(m.rest.get("size", 2))
    whole = [
        [[row * size for row in channel] * size for channel in image] for image in m.upstream
    ]  # the rows of numbers repeated as wholes
    yield "", {"x": each(lambda g: g / size**2, whole)}


# --- sequences ----------------------------------------------------------------------------------------------


def cell(m: Moment, **how: Any) -> Callable[..., Tree]:
    """rnn with parts that have other derivatives; the numbers stay what they are."""
    outs = m.out

    def f(x: Tree, h0: Tree, wx: Tree, wh: Tree, b: Tree) -> Tree:
        h, out = h0, []
        for t, rows in enumerate(x):
            new = []
            for k, (row, state) in enumerate(zip(rows, h)):
                into = held(state) if "cut" in how and how["cut"](t) else state
                units = []
                for j in range(len(wh)):
                    u = held(wx[j]) if "wx" in how and not how["wx"](t, len(x)) else wx[j]
                    c = held(b[j]) if "b" in how and not how["b"](t, len(x)) else b[j]
                    v = held(wh[j]) if "wh" in how and not how["wh"](t, len(x)) else wh[j]
                    number = outs[t][k][j]
                    z = _dot(u, row, None) + c + _dot(v, into)
                    if "back" in how:  # other weights on the way back, other states in their gradient
                        at = how["states"](outs, t, k, held(state)) if "states" in how else held(state)
                        w = how["back"](held(wh))[j]
                        z = _dot(u, row) + c + _dot(v, at) + _dot(w, into)
                    slope = how.get("slope", lambda a, before: 1.0 - a * a)(number, held(state)[j])
                    units.append(straight(number, z * slope))
                    if "bare" in how:
                        free = c - number_of(c)
                        units[-1] = straight(number, (z - free) * slope + free)
                new.append(units)
            h = new
            out.append(h)
        return out

    return f


def number_of(v: Any) -> float:
    return v.data if isinstance(v, Value) else float(v)


def last_only(m: Moment) -> Numbers:
    *others, last = m.upstream
    return [*(each(lambda g: 0.0, rows) for rows in others), last]


def memory(m: Moment, **how: Any) -> Callable[..., Tree]:
    """lstm with parts that have other derivatives; the numbers stay what they are."""

    def gate(name: str, z: Any) -> Any:
        value = (TANH if name == "g" else SIGMOID)(z)
        a = number_of(value)
        if name in how:
            return straight(a, z * how[name](a))
        return value

    def f(x: Tree, h0: Tree, c0: Tree, wx: Tree, wh: Tree, b: Tree) -> Tree:
        h, c, out = h0, c0, []
        order = how.get("order", (0, 1, 2, 3))
        for t, rows in enumerate(x):
            states = []
            for row, state, cells in zip(rows, h, c):
                into = held(state) if t >= how.get("cut", len(x)) else state
                z = [_dot(u, row, a) + _dot(v, into) for u, v, a in zip(wx, wh, b)]
                k = len(z) // 4
                parts = [z[n * k : n * k + k] for n in range(4)]
                if order != (0, 1, 2, 3):  # the slopes of the gates arrive at one another's rows
                    parts = [
                        [straight(p, q) for p, q in zip(part, parts[n])] for part, n in zip(parts, order)
                    ]
                i, fg, g, o = ([gate(n, v) for v in part] for n, part in zip("ifgo", parts))
                new, hs = [], []
                for n in range(k):
                    old = held(cells[n]) if t >= how.get("lost", len(x)) else cells[n]
                    kept = fg[n] * old
                    value = number_of(kept) + number_of(i[n]) * number_of(g[n])
                    if "forget" in how:  # the cell is passed down without its gate
                        kept = straight(kept, fg[n] * held(old) + old * how["forget"])
                    if "newer" in how:
                        kept = straight(kept, fg[n] * value + held(fg[n]) * old)
                    cell_now = kept + i[n] * g[n]
                    squashed, s = TANH(cell_now), number_of(cell_now)
                    a = number_of(squashed)
                    if "squash" in how:
                        squashed = straight(a, cell_now * how["squash"](a))
                    y = o[n] * squashed
                    if "bare" in how:  # the output gate is left out on the way to the cell
                        y = straight(y, o[n] * a + squashed)
                    if "inner" in how:
                        y = straight(y, o[n] * s + held(o[n]) * squashed)
                    new.append(cell_now)
                    hs.append(y)
                states.append((hs, new))
            h, c = [s for s, _ in states], [s for _, s in states]
            out.append(h)
        return out

    return f


# --- attention ----------------------------------------------------------------------------------------------


def attend(m: Moment, weigh: Callable[..., Any] | None = None, scale: float = 1.0) -> Callable[..., Tree]:
    """attention with another derivative of its softmax, or another scale on the way back."""

    def f(q: Tree, k: Tree, v: Tree, causal: bool = False) -> Tree:
        rows = scores_of(q, k, causal)
        out = []
        for row in rows:
            ps = held(softmax(held(row)))
            scores = [straight(s, s * scale) for s in row]
            weights = weigh(ps, scores) if weigh else softmax(scores)
            weights = [straight(p, w) for p, w in zip(ps, weights)]
            out.append([_dot(weights, column) for column in zip(*v[: len(ps)])])
        return out

    return f


def table_of(m: Moment, scores: bool = False) -> Numbers:
    """The probabilities, or the scores, as a square; 0 where a causal mask hides."""
    rows = scores_of(m.q, m.k, bool(m.rest.get("causal")))
    rows = rows if scores else [held(softmax(row)) for row in rows]
    return [[*row, *[0.0] * (len(m.k) - len(row))] for row in rows]


def product(a: Numbers, b: Numbers) -> Numbers:
    columns = transposed(b)
    return [[_dot(row, column) for column in columns] for row in a]


def delta_of_scores(m: Moment) -> Numbers:
    ps = table_of(m)
    scale = 1.0 / len(m.q[0]) ** 0.5
    dps = product(m.upstream, transposed(m.v))
    return [[scale * p * (d - _dot(row, ds)) for p, d in zip(row, ds)] for row, ds in zip(ps, dps)]


def unmasked(m: Moment) -> Iterator[tuple[str, Gradients]]:
    need(m.rest.get("causal"))
    scale = 1.0 / len(m.q[0]) ** 0.5
    ps = [held(softmax(row)) for row in scores_of(m.q, m.k, False)]
    dps = product(m.upstream, transposed(m.v))
    ds = [[scale * p * (d - _dot(row, line)) for p, d in zip(row, line)] for row, line in zip(ps, dps)]
    yield "", {"q": product(ds, m.k), "k": product(transposed(ds), m.q)}


def column_sums(m: Moment) -> Iterator[tuple[str, Gradients]]:
    ps, scale = table_of(m), 1.0 / len(m.q[0]) ** 0.5
    dps = product(m.upstream, transposed(m.v))
    sums = [_dot(p, d) for p, d in zip(zip(*ps), zip(*dps))]
    ds = [[scale * p * (d - s) for p, d, s in zip(row, line, sums)] for row, line in zip(ps, dps)]
    yield "", {"q": product(ds, m.k), "k": product(transposed(ds), m.q)}


# --- THE TABLE ----------------------------------------------------------------------------------------------

CE, MSE, ANY = ("softmax_cross_entropy",), ("mean_squared_error",), (ALL,)
NORMS, ATT, RNN, LSTM, CONV = (
    ("batch_norm", "layer_norm"),
    ("attention",),
    ("rnn",),
    ("lstm",),
    ("convolution",),
)
AFF, X, W, B, Z = ("affine",), ("x",), ("w",), ("b",), ("z",)

# fmt: off
MISTAKES = (
    # --- any layer: a factor, for all of its gradients, for the error passed down, or for one of the weights
    Mistake("negative", "the sign is wrong: this is what one adds to go downhill, not the gradient",
            "subtract where you add, or change the sign of the error: d(½(ŷ − y)²)/dŷ is ŷ − y", ANY, ANY, fixed(-1.0)),
    Mistake("twice", "doubled, as by the 2 of a square that the loss does not have, or by a backward pass that ran twice",
            "compare the error with the derivative of this loss: of ½(ŷ − y)² it is ŷ − y, of (ŷ − y)² twice that; "
            "clear the gradients before each pass", ANY, ANY, fixed(2.0)),
    Mistake("half", "halved, as where the 2 of a square is lost", "the derivative of (ŷ − y)² is 2(ŷ − y)", ANY, ANY, fixed(0.5)),
    Mistake("not averaged", "a sum where the mean is needed", "divide by their number, once; or audit with reduce='sum'",
            ANY, ANY, scaled(counts)),
    Mistake("averaged once more", "divided by their number once too often",
            "divide once, at the loss or at the gradients; or audit with reduce='mean'", ANY, ANY, scaled(counts, invert=True)),
    Mistake("not averaged over outputs", "the sum over the outputs where the loss takes their mean",
            "divide the error by the number of outputs", LOSSES, ANY, scaled(outputs)),
    Mistake("averaged over outputs", "divided by the number of outputs, where the loss takes the sum",
            "leave the division out", LOSSES, ANY, scaled(outputs, invert=True)),
    Mistake("times the learning rate", "these are the steps, lr times the gradient",
            "hand in the gradient itself: lr belongs into the update alone", LOSSES, ANY, scaled(learning_rate), needs="lr"),
    Mistake("left at zero", "the gradient is zero", "compute it, and add it up over the samples", ANY, ANY, fixed(0.0)),

    # --- losses
    Mistake("sample left out", "one sample does not count", "loop over all samples: range(n), not range(n - 1)", LOSSES, Z, dropped),
    Mistake("every prediction against every target", "a column of predictions minus a row of targets makes a table of each against each",
            "give both one shape before subtracting: y = y.reshape(ŷ.shape)", LOSSES, Z, all_against_all),
    Mistake("labels of other rows", "each prediction is compared with the label of another row",
            "shuffle inputs and labels together", (*CE, *MSE), Z, rolled),
    Mistake("derivative that is in the loss", "the error p − y is multiplied by p (1 − p), the derivative of the sigmoid or softmax "
            "that a loss of logits has inside", "the delta of the logits is p − y: its fraction and that derivative have cancelled",
            LOSSES, Z, inside_again),
    Mistake("softmax forgotten", "−y / p is the derivative by the probabilities; the softmax between them and the logits is left out",
            "the delta of the logits is p − y", CE, Z, loss_gradient(lambda p, y: -y / p)),
    Mistake("diagonal of the softmax only", "each probability depends on all logits, not on its own alone",
            "the Jacobian is diag(p) − p pᵀ; with cross-entropy, the delta is p − y", CE, Z, loss_gradient(lambda p, y: -y * (1 - p))),
    Mistake("label not subtracted", "the delta is p, and the label is missing", "subtract 1 at the right class: p − y",
            CE, Z, loss_gradient(lambda p, y: p)),
    Mistake("probability not subtracted", "the delta is −y, and the probability is missing", "the delta is p − y",
            CE, Z, loss_gradient(lambda p, y: -y)),
    Mistake("one minus the probability", "the delta is 1 − p where p − y is needed", "the delta is p − y", CE, Z, loss_gradient(lambda p, y: 1 - p)),
    Mistake("softmax over the samples", "the exponentials are divided by sums over the samples, not over the classes",
            "sum over the axis of the classes, with keepdims=True", CE, Z, gradient(over_columns)),
    Mistake("softmax not normalised", "the exponentials are not divided by their sum", "p = e / e.sum(over the classes)", CE, Z, gradient(not_normalised)),
    Mistake("logits for probabilities", "the delta is z − y, the softmax is left out", "p = softmax(z), then p − y", CE, Z,
            gradient(lambda m: error_of(m.z, labels(m), share(m)))),
    Mistake("error squared", "the error itself is squared: the loss is, its derivative is not", "the derivative of e² is 2 e", MSE, Z, squared(lambda e: e * e / 2.0)),
    Mistake("sign of the error", "only its sign: that is the derivative of |e|", "the derivative of e² is 2 e", MSE, Z,
            squared(lambda e: ((e > 0) - (e < 0)) / 2.0)),
    Mistake("target left out", "the derivative is taken of ŷ², the target is missing", "the error is ŷ − y", MSE, Z,
            gradient(lambda m: each(lambda z: 2.0 * share(m) * z, m.z))),
    Mistake("sign of the weights", "weight decay by the sign of the weights, the derivative of Σ|w|", "the derivative of ½ λ Σ w² is λ w",
            ("weight_decay",), W, gradient(lambda m: each(lambda w: m.rest.get("strength", 0.01) * ((w > 0) - (w < 0)), m.w))),

    # --- the derivative of the activation
    Mistake("derivative forgotten", "the derivative of the activation is left out", "delta = error * f'(z)", SLOPED, X, slopes(lambda m: ones(m.x))),
    Mistake("derivative at the activation", "f' is taken at the activation a = f(z), not at z",
            "call f' with z; only a formula written for outputs, such as a * (1 - a), takes a", SLOPED, X, slopes(lambda m: slope(m.stage, m.out))),
    Mistake("output formula at the pre-activation", "a derivative written for the output, a * (1 - a) or 1 - a², is given z, the sum before it",
            "call it with a = f(z)", SLOPED, X, slopes(output_formula)),
    Mistake("derivative of another layer", "f' is taken at the numbers of another layer", "delta of a layer takes f' at the sums of the same layer",
            SLOPED, X, others_slopes),
    Mistake("derivative of sigmoid", "a (1 − a) is the derivative of sigmoid, and this is another activation", "of tanh it is 1 − a², of ReLU 1 where z > 0",
            SLOPED, X, slopes(lambda m: each(lambda a: a * (1 - a), m.out))),
    Mistake("derivative of tanh", "1 − a² is the derivative of tanh, and this is another activation", "of sigmoid it is a (1 − a), of ReLU 1 where z > 0",
            SLOPED, X, slopes(lambda m: each(lambda a: 1 - a * a, m.out))),
    Mistake("derivative of ReLU", "1 where z > 0 is the derivative of ReLU, and this is another activation", "of tanh it is 1 − a², of sigmoid a (1 − a)",
            SLOPED, X, slopes(lambda m: each(lambda z: float(z > 0), m.x))),
    Mistake("one minus the activation", "1 − a: of tanh's 1 − a² the square is missing, of sigmoid's a (1 − a) the first factor",
            "of tanh it is 1 − a², of sigmoid a (1 − a)", SLOPED, X, slopes(lambda m: each(lambda a: 1 - a, m.out))),
    Mistake("one plus the activation", "a (1 + a) where a (1 − a) is needed", "of sigmoid it is a (1 − a)", SLOPED, X, slopes(lambda m: each(lambda a: a * (1 + a), m.out))),
    Mistake("one plus the square", "1 + a² where 1 − a² is needed", "of tanh it is 1 − a²", SLOPED, X, slopes(lambda m: each(lambda a: 1 + a * a, m.out))),
    Mistake("times the activation", "the error is multiplied by f(z), not by f'(z)", "delta = error * f'(z)", SLOPED, X, slopes(lambda m: m.out)),
    Mistake("times the pre-activation", "the error is multiplied by z, not by f'(z)", "delta = error * f'(z)", SLOPED, X, slopes(lambda m: m.x)),
    Mistake("derivative twice", "the derivative of the activation is multiplied in twice", "delta = error * f'(z), once",
            SLOPED, X, slopes(lambda m: each(lambda d: d * d, slope(m.stage, m.x)))),
    Mistake("mask of the wrong side", "the mask is the wrong way round: it lets pass where z < 0", "of ReLU the derivative is 1 where z > 0, and 0 elsewhere",
            SLOPED, X, slopes(lambda m: slope(m.stage, each(lambda z: -z, m.x)))),
    Mistake("mask by the error", "the mask looks at the sign of the error, not of z", "of ReLU the derivative is 1 where z > 0",
            SLOPED, X, gradient(lambda m: each(lambda u: u * (u > 0), m.upstream))),
    Mistake("mask at another threshold", "the mask is not taken at 0", "of ReLU the derivative is 1 where z > 0", SLOPED, X, thresholds),
    Mistake("derivative of the first sample", "f' of the first sample stands for that of all", "delta takes f' of each sample: z has a row for each",
            SLOPED, X, slopes(lambda m: of_one_row(m, 0))),
    Mistake("derivative of the last sample", "f' of the last sample stands for that of all", "delta takes f' of each sample: keep z of all of them",
            SLOPED, X, slopes(lambda m: of_one_row(m, -1))),
    Mistake("upstream left out", "the error from above is left out: delta is f'(z) alone",
            "delta = error * f'(z), and the error of a hidden layer is W.T @ delta of the layer above", SLOPED, X,
            gradient(lambda m: slope(m.stage, m.x))),

    # --- affine: the error passed down
    Mistake("derivative left out on the way back", "the error, not the delta, is passed down: f' of this layer is missing in all layers below",
            "pass down W.T @ delta, where delta = error * f'(z)", AFF, X, undelta),
    Mistake("weights left out on the way back", "the weights are left out on the way to the layer below", "pass down W.T @ delta", AFF, X,
            of(lambda m: lambda x, w, b=None: affine_of(x, ones(held(w))))),
    Mistake("weights not transposed", "W where its transpose is needed, on the way to the layer below", "pass down W.T @ delta for W of shape (out, in)",
            AFF, X, of(lambda m: lambda x, w, b=None: where(len(w) == len(w[0]), lambda: affine_of(x, transposed(held(w)))))),
    Mistake("weights reshaped on the way back", "W is reshaped where it should be transposed: the shape fits, the entries are elsewhere",
            "pass down W.T @ delta: .T, not .reshape", AFF, X,
            of(lambda m: lambda x, w, b=None: where(len(w) != len(w[0]), lambda: affine_of(x, reshaped(transposed(held(w)), w))))),
    Mistake("weights of another layer", "the weights of another layer are used on the way back", "pass down W.T @ delta with W of this layer", AFF, X,
            lambda m: (("of " + s.name, m.stage.pull(m.upstream, None, w=s.numbers["w"]))
                       for s in m.others(AFF) if same_shape(s.numbers["w"], m.w))),
    Mistake("weights after their update", "the weights were updated before the error went back through them", "compute the gradients of all layers, then update",
            AFF, X, moved_weights, needs="lr"),
    # --- affine: the gradient of the weights
    Mistake("transposed", "the weight gradient is transposed", "for W of shape (out, in): dW = delta @ a.T; if your code keeps its weights (in, out), yours may "
            "be right, and dW.T is what to audit", AFF, W, lambda m: iter([("", {"w": where(len(m.w) == len(m.w[0]), lambda: transposed(m.right["w"]))})])),
    Mistake("reshaped", "the weight gradient is reshaped where it should be transposed", "dW = delta @ a.T", AFF, W,
            lambda m: iter([("", {"w": where(len(m.w) != len(m.w[0]), lambda: reshaped(transposed(m.right["w"]), m.w))})])),
    Mistake("row against column", "the errors are a row and the slopes a column: NumPy makes a table of every error times every slope, where each "
            "neuron's error times its own slope is needed", "give both one shape: error = W.T @ delta is a column like z, as delta * W is not",
            AFF, ("w", "b"), built(by_sample, crossed=True)),
    Mistake("inputs contracted with delta", "the inputs are contracted with delta, which sums them away, and what is left is stretched over all weights",
            "take the outer product, one number for each weight: dW = delta @ a.T", AFF, W, built(by_sample, contracted=True)),
    Mistake("outputs for inputs", "delta meets the outputs of its own layer, not what went into it", "dW = delta @ a.T with a from the layer below", AFF, W,
            lambda m: iter([("", {"w": m.stage.pull(m.upstream, None, x=next(s.out for s in m.others(SLOPED) if s.numbers["x"] == m.out
                             and same_shape(s.out, m.x)))["w"]})] if any(s.numbers["x"] == m.out and same_shape(s.out, m.x) for s in m.others(SLOPED)) else [])),
    Mistake("pre-activations for inputs", "delta meets the sums z of the layer below, not its a = f(z)", "dW = delta @ a.T with a = f(z)", AFF, W,
            lambda m: iter([("", {"w": m.stage.pull(m.upstream, None, x=pre_activations(m))["w"]})])),
    Mistake("numbers of another layer for inputs", "delta meets numbers of another layer, not what went into its own", "dW = delta @ a.T with a from the layer below",
            AFF, W, other_inputs),
    Mistake("masks for inputs", "delta meets 1 where the input is above 0, not the input", "dW = delta @ a.T with a itself", AFF, W,
            lambda m: iter([("", {"w": m.stage.pull(m.upstream, None, x=each(lambda v: float(v > 0), m.x))["w"]})])),
    Mistake("one sample only", "the gradient is that of one sample: assigned, not added up", "dW += ... over the samples, and db too",
            (*AFF, *CONV, *NORMS), ("w", "b", "gamma", "beta"), one_sample, alone=True),
    # --- affine and convolution: the gradient of the biases
    Mistake("bias summed over the units", "the bias gradient is summed over the units, not over the samples", "sum over the other axis: one number for each unit is left",
            AFF, B, tiled_bias),
    Mistake("bias summed over everything", "the bias gradient is summed over samples and units alike", "name the axis: np.sum(delta, axis=...) over the samples",
            (*AFF, *CONV), B, whole_bias),

    # --- batch norm and layer norm
    Mistake("mean and variance held fixed", "the mean and the variance are taken for constants, and depend on x", "dx has three parts: through x, the mean and the variance",
            NORMS, X, built(norm_of, mean=True, scale=lambda s: s)),
    Mistake("variance held fixed", "the variance is taken for a constant, and depends on x", "add the part that comes through the variance", NORMS, X,
            built(norm_of, scale=lambda s: s)),
    Mistake("mean held fixed", "the mean is taken for a constant, and depends on x", "add the part that comes through the mean", NORMS, X,
            built(norm_of, mean=True)),
    Mistake("gamma left out", "gamma is left out of dx", "dx̂ = gamma * the error from above", NORMS, X, built(norm_of, gamma=lambda m: ones(m.gamma))),
    Mistake("gamma twice", "gamma is multiplied in twice", "dx̂ = gamma * the error from above, once", NORMS, X,
            built(norm_of, gamma=lambda m: times(m.gamma, m.gamma))),
    Mistake("beta for gamma", "beta takes the place of gamma in dx", "dx̂ = gamma * the error from above", NORMS, X, built(norm_of, gamma=lambda m: m.beta)),
    Mistake("half of the power left out", "the ½ of the power −½ is missing: d(v^-½)/dv is −½ v^-1½", "multiply by −½", NORMS, X,
            built(norm_of, power=-1.0)),
    Mistake("variance over one less", "the variance is divided by n − 1 on the way back, by n on the way there", "divide by n both times", NORMS, X,
            of(lambda m: norm_of(m, power=-0.5, by=(len(m.x[0]) if m.stage.kind == "layer_norm" else len(m.x)) - 1.0))),
    Mistake("mean not divided", "the part through the mean is not divided by n", "d mean / dx is 1 / n", NORMS, X, built(norm_of, shift=lambda n: 1.0)),
    Mistake("statistics over the other axis", "the means of the gradient are taken over the other axis", "batch norm: over the samples; layer norm: over the features",
            NORMS, X, other_axis),
    Mistake("divided by the other count", "the parts through the mean and the variance are divided by the other count: samples for features",
            "batch norm divides by the samples, layer norm by the features", NORMS, X,
            of(lambda m: norm_of(m, power=-0.5, by=float(other_count(m)), shift=lambda n: 1.0 / other_count(m)))),
    Mistake("variance for standard deviation", "divided by the variance, not by its root", "x̂ = (x − mean) / √(variance + eps)", NORMS, X,
            lambda m: squared_scale(m)),
    Mistake("gamma with the input", "the gradient of gamma takes x, not the normalised x̂", "dgamma = Σ error * x̂", NORMS, ("gamma",), gamma_with(lambda m: m.x)),
    Mistake("gamma with the centred input", "the gradient of gamma takes x − mean, which is not divided yet", "dgamma = Σ error * x̂", NORMS, ("gamma",), gamma_with(centred)),
    Mistake("gamma with the output", "the gradient of gamma takes the output, after gamma and beta", "dgamma = Σ error * x̂", NORMS, ("gamma",), gamma_with(lambda m: m.out)),
    Mistake("gamma like beta", "the gradient of gamma is Σ error, which is that of beta", "dgamma = Σ error * x̂", NORMS, ("gamma",),
            gamma_with(lambda m: ones(m.x))),

    # --- dropout
    Mistake("mask left out", "the mask is left out: units that were dropped get a gradient", "dx = error * mask / keep, with the mask of the forward pass", ("dropout",), X,
            masked(lambda v, keep: 1.0 / keep)),
    Mistake("mask and scale left out", "dropout is left out on the way back", "dx = error * mask / keep", ("dropout",), X, masked(lambda v, keep: 1.0)),
    Mistake("scale left out", "1 / keep is left out", "dx = error * mask / keep", ("dropout",), X, masked(lambda v, keep: v)),
    Mistake("scale inverted", "multiplied by keep, not divided by it", "dx = error * mask / keep", ("dropout",), X, masked(lambda v, keep: v * keep)),
    Mistake("scale twice", "divided by keep twice", "dx = error * mask / keep, once", ("dropout",), X, masked(lambda v, keep: v / keep**2)),
    Mistake("scale by the chance to drop", "divided by 1 − keep", "dx = error * mask / keep", ("dropout",), X, masked(lambda v, keep: v / (1.0 - keep))),
    Mistake("mask inverted", "the dropped units get the gradient", "dx = error * mask / keep", ("dropout",), X, masked(lambda v, keep: (1.0 - v) / keep)),

    # --- convolution and pooling
    Mistake("kernel rotated", "the kernel is rotated by half a turn on the way back, on top of what the sum does already", "add up error * kernel where the window was",
            CONV, X, convolved(turned)),
    Mistake("kernel gradient rotated", "the gradient of the kernel is rotated by half a turn", "dw[i, j] meets the input at the same shift i, j", CONV, W,
            lambda m: iter([("", {"w": turned(m.right["w"])})])),
    Mistake("filters and channels swapped", "the first two axes of the kernel are swapped on the way back", "sum over the filters; the channels stay", CONV, X, convolved(swapped)),
    Mistake("padding cut at the wrong place", "the frame of the padding is not cut off evenly", "dx = dx_padded[..., p:-p, p:-p]", CONV, X, shifted),
    Mistake("assigned, not added", "windows that overlap overwrite each other's gradient", "use += where windows overlap", CONV, X, assigned),
    Mistake("to all of the window", "every place of the window gets the error", "only the largest gets it: the mask of the forward pass", ("max_pool",), X, pooling(_sum)),
    Mistake("shared by the window", "the error is shared evenly by the window", "only the largest gets it", ("max_pool",), X, pooling(lambda v: _sum(v) / float(len(v)))),
    Mistake("to the first of the window", "the first place of the window gets the error", "the largest gets it: keep where it was", ("max_pool",), X, pooling(lambda v: v[0])),
    Mistake("to the last of the window", "the last place of the window gets the error", "the largest gets it: keep where it was", ("max_pool",), X, pooling(lambda v: v[-1])),
    Mistake("to the smallest of the window", "the smallest gets the error", "the largest gets it", ("max_pool",), X, pooling(lambda v: min(v, key=number_of))),
    Mistake("times the largest", "the error is multiplied by the largest number itself", "its derivative is 1", ("max_pool",), X, pooling(lambda v: max(v, key=number_of) ** 2 / 2.0)),
    Mistake("not divided by the window", "the error is not divided by the size of the window", "divide by size²", ("average_pool",), X, pooling(_sum)),
    Mistake("divided by the side", "divided by the side of the window, not by its size", "divide by size²", ("average_pool",), X, pooling(lambda v: _sum(v) / float(len(v)) ** 0.5)),
    Mistake("tiled for repeated", "the errors are tiled as a whole, where each should be repeated over its window", "np.repeat on both axes, not np.tile", ("average_pool",), X, tiled),

    # --- sequences
    Mistake("nothing flows through time", "the error of a later step does not reach the state before it", "dh of a step is its own error plus what comes from the step after it",
            RNN, ANY, built(cell, cut=lambda t: True)),
    Mistake("error from later overwritten", "the error of the step replaces what comes from later, to which it should be added", "dh = dh + error of the step",
            RNN, ANY, built(cell, cut=lambda t: t > 0)),
    Mistake("slope of tanh forgotten", "the derivative of tanh is left out", "dz = dh * (1 − h²)", RNN, ANY, built(cell, slope=lambda a, before: 1.0)),
    Mistake("slope of the state before", "the derivative of tanh is taken at the state before", "dz = dh * (1 − h²) with the h of this step", RNN, ANY,
            built(cell, slope=lambda a, before: 1.0 - before * before)),
    Mistake("slope without the square", "1 − h where 1 − h² is needed", "dz = dh * (1 − h²)", RNN, ANY, built(cell, slope=lambda a, before: 1.0 - a)),
    Mistake("new state in the gradient of wh", "the gradient of wh takes the state after the step, not the one before", "dwh = dzᵀ h of the step before", RNN, ("wh",),
            built(cell, back=lambda w: w, states=lambda outs, t, k, before: outs[t][k])),
    Mistake("state weights not transposed", "wh where its transpose is needed, on the way to the step before", "dh = dz @ wh for wh of (out, in)", RNN, ANY,
            built(cell, back=transposed)),
    Mistake("first step only", "the gradient is that of the first step: assigned, not added up", "+= over the steps", RNN, ("wx", "wh", "b"),
            lambda m: iter([("", {a: m.stage.pull(m.upstream, cell(m, **{a: lambda t, n: t == 0}))[a]}) for a in ("wx", "wh", "b") if a in m.stage.places])),
    Mistake("last step only", "the gradient is that of the last step", "+= over the steps", RNN, ("wx", "wh", "b"),
            lambda m: iter([("", {a: m.stage.pull(m.upstream, cell(m, **{a: lambda t, n: t == n - 1}))[a]}) for a in ("wx", "wh", "b") if a in m.stage.places])),
    Mistake("error of the last step only", "only the last step's own error counts", "every step has an error from above: add dout[t]", (*RNN, *LSTM), ANY, upstream(last_only)),
    Mistake("bias before the slope", "the bias gradient takes the error before the derivative of tanh", "db = Σ dz with dz = dh * (1 − h²)", RNN, B,
            built(cell, bare=True)),
    Mistake("forget gate left out", "the error of the cell is handed to the step before without its forget gate", "dc of the step before is dc * f", LSTM, ANY,
            built(memory, forget=1.0)),
    Mistake("slope of the cell's tanh forgotten", "the derivative of tanh at the cell is left out", "dc = dc + dh * o * (1 − tanh(c)²)", LSTM, ANY,
            built(memory, squash=lambda a: 1.0)),
    Mistake("cell's error from later lost", "the error of the cell from later steps is replaced, to which it should be added", "dc = dc + dh * o * (1 − tanh(c)²)", LSTM, ANY,
            lambda m: lost_cell(m)),
    Mistake("input and forget gate swapped", "the rows of the input and the forget gate are swapped", "stack the gates in the order of the forward pass", LSTM, ANY,
            built(memory, order=(1, 0, 2, 3))),
    Mistake("gates in another order", "the rows of the gates are in another order", "stack the gates in the order of the forward pass", LSTM, ANY,
            lambda m: ((f"{a} and {b}", m.stage.pull(m.upstream, memory(m, order=o))) for a, b, o in
                       (("forget", "g", (0, 2, 1, 3)), ("g", "output", (0, 1, 3, 2)), ("forget", "output", (0, 3, 2, 1)), ("input", "output", (3, 1, 2, 0)), ("input", "g", (2, 1, 0, 3))))),
    Mistake("slope of a gate forgotten", "the derivative of the sigmoid of a gate is left out", "multiply by a (1 − a)", LSTM, ANY,
            lambda m: ((f"of {n}", m.stage.pull(m.upstream, memory(m, **{n: lambda a: 1.0}))) for n in "ifgo")),
    Mistake("slope of sigmoid for g", "g is a tanh: its derivative is 1 − g²", "dz of g is dg * (1 − g²)", LSTM, ANY, built(memory, g=lambda a: a * (1 - a))),
    Mistake("slope of tanh for a gate", "a gate is a sigmoid: its derivative is a (1 − a)", "multiply by a (1 − a)", LSTM, ANY,
            lambda m: ((f"of {n}", m.stage.pull(m.upstream, memory(m, **{n: lambda a: 1 - a * a}))) for n in "ifo")),
    Mistake("new cell at the forget gate", "the forget gate meets the cell after the step, not the one before", "df = dc * c of the step before", LSTM, ANY,
            built(memory, newer=True)),
    Mistake("cell for its tanh", "the output gate meets the cell, not its tanh", "do = dh * tanh(c)", LSTM, ANY, built(memory, inner=True)),
    Mistake("state's error from later lost", "the error of the state from later steps is lost", "dh of the step before is dz @ wh", LSTM, ANY, built(memory, cut=0)),
    Mistake("output gate left out", "the output gate is left out on the way to the cell", "dc = dc + dh * o * (1 − tanh(c)²)", LSTM, ANY, built(memory, bare=True)),

    # --- attention
    Mistake("scale left out on the way back", "1 / √width is left out", "multiply the delta of the scores by 1 / √width", ATT, ("q", "k"),
            of(lambda m: attend(m, scale=len(m.q[0]) ** 0.5))),
    Mistake("scale twice in attention", "divided by the width, not by its root", "multiply the delta of the scores by 1 / √width", ATT, ("q", "k"),
            of(lambda m: attend(m, scale=len(m.q[0]) ** -0.5))),
    Mistake("softmax left out on the way back", "the error goes through the softmax unchanged", "ds = p * (dp − Σ p dp)", ATT, ("q", "k"),
            built(attend, weigh=lambda ps, scores: scores)),
    Mistake("diagonal of attention's softmax only", "each probability depends on all scores of its row", "ds = p * (dp − Σ p dp)", ATT, ("q", "k"),
            built(attend, weigh=lambda ps, scores: [p * (1 - p) * s for p, s in zip(ps, scores)])),
    Mistake("sum of the softmax left out", "the sum Σ p dp is left out", "ds = p * (dp − Σ p dp)", ATT, ("q", "k"),
            built(attend, weigh=lambda ps, scores: [p * s for p, s in zip(ps, scores)])),
    Mistake("sum of the softmax over the other axis", "the sum Σ p dp runs over the queries, not over the keys", "sum over the axis of the softmax", ATT, ("q", "k"), column_sums),
    Mistake("probabilities not transposed", "p where its transpose is needed", "dv = pᵀ @ error", ATT, ("v",),
            lambda m: iter([("", {"v": product(table_of(m), m.upstream)})])),
    Mistake("scores for probabilities", "the scores before the softmax are used", "dv = pᵀ @ error", ATT, ("v",),
            lambda m: ((n, {"v": product(transposed(t), m.upstream)}) for n, t in (("", table_of(m, True)), ("before the mask", scores_of(m.q, m.k, False))))),
    Mistake("queries and keys swapped", "dq meets the queries and dk the keys", "dq = ds @ k, dk = dsᵀ @ q", ATT, ("q", "k"),
            lambda m: iter([("", {"q": product(delta_of_scores(m), m.q), "k": product(transposed(delta_of_scores(m)), m.k)})])),
    Mistake("delta of the scores not transposed", "ds where its transpose is needed", "dk = dsᵀ @ q", ATT, ("k",),
            lambda m: iter([("", {"k": product(delta_of_scores(m), m.q)})])),
    Mistake("causal mask forgotten on the way back", "the probabilities of the way back see rows that come later", "keep the masked probabilities of the forward pass", ATT, ("q", "k"),
            unmasked),
)
# fmt: on


def other_count(m: Moment) -> int:
    return len(m.x) if m.stage.kind == "layer_norm" else len(m.x[0])


def squared_scale(m: Moment) -> Iterator[tuple[str, Gradients]]:
    """1 / variance for 1 / √variance: everywhere, or once the parts through mean and variance are there."""
    yield "", m.stage.pull(m.upstream, norm_of(m, mean=True, scale=lambda s: s * s))
    yield "", m.stage.pull(m.upstream, norm_of(m, scale=lambda s: s * s))
    fixed_only = m.stage.pull(m.upstream, norm_of(m, mean=True, scale=lambda s: s))["x"]
    squares = m.stage.pull(m.upstream, norm_of(m, mean=True, scale=lambda s: s * s))["x"]
    yield "in the part through x", {"x": each(lambda r, a, b: r - a + b, m.right["x"], fixed_only, squares)}


def lost_cell(m: Moment) -> Iterator[tuple[str, Gradients]]:
    """The cell that is handed to the next step carries no error back, but for the first one's."""
    yield "", m.stage.pull(m.upstream, memory(m, lost=1))
    yield "all", m.stage.pull(m.upstream, memory(m, lost=0))
