"""Plots with matplotlib (the extra `plots`): fits and losses, decision boundaries, what layers are at.

Every function draws into the axes it is given, or makes a figure of its own, and returns the figure.  Figures
are made without pyplot, so nothing needs a display and nothing has to be closed.  Nothing here trains or
changes a model, and no `.grad` is touched.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from math import isfinite, log10
from typing import Any

from tinygrad_bp.engine import Value
from tinygrad_bp.errors import MissingExtraError
from tinygrad_bp.modes import entered
from tinygrad_bp.nn import MLP, Module
from tinygrad_bp.show.graph import grad_of
from tinygrad_bp.transforms import grad

try:
    from matplotlib import colormaps
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import Figure
except ImportError as error:
    raise MissingExtraError("plotting", "matplotlib", "plots") from error

DATA, MODEL, GRID, INK = "#5b7083", "#d1495b", "#e6e9ec", "#22303c"
CLASSES = ["#d05a1e", "#2b7bc9", "#3f9b7a", "#c79a1b", "#7b5ea7", "#16a2a8"]  # as in the pages
SIGNED = LinearSegmentedColormap.from_list("signed", [CLASSES[0], "#f7f7f7", CLASSES[1]])  # + is blue
PALE = LinearSegmentedColormap.from_list("pale", ["#efb997", "#fafafa", "#9dc3e8"])  # the same, behind points
MARKERS = "os^Dv*"  # so that classes are told apart without colour


# --- functions and training ---------------------------------------------------------------------------------


def fit(xs: Sequence[Any], ys: Sequence[float], predictions: Sequence[float], ax: Any = None) -> Figure:
    """The data as points and the predictions as a line over them; xs are numbers, or rows of one number.

    The predictions may be Values, [model(x) for x in xs]. Raises ValueError if the three have not the same
    length.

    >>> figure = fit([0.0, 1.0, 2.0], [0.0, 1.0, 4.0], [0.1, 0.9, 4.2]); len(figure.axes)
    1
    """
    across, data, model = _points("fit", xs, ys, predictions)
    ax = styled(ax or side_by_side(1, width=6.0)[1], "x", "y")
    ax.scatter(across, data, s=14, color=DATA, alpha=0.55, linewidths=0, label="data")
    ax.plot(across, model, color=MODEL, linewidth=2.0, label="prediction")
    ax.legend(frameon=False)
    return _figure(ax)


def residuals(xs: Sequence[Any], ys: Sequence[float], predictions: Sequence[float], ax: Any = None) -> Figure:
    """What the data is above the prediction, y − ŷ, at every x.

    Raises ValueError if the three have not the same length.

    >>> figure = residuals([0.0, 1.0], [0.0, 1.0], [0.5, 0.75]); len(figure.axes[0].collections)
    2
    """
    across, data, model = _points("residuals", xs, ys, predictions)
    errors = [y - p for y, p in zip(data, model)]
    ax = styled(ax or side_by_side(1, width=6.0)[1], "x", "y − ŷ")
    ax.vlines(across, 0.0, errors, color=DATA, alpha=0.35, linewidth=1.0)
    ax.scatter(across, errors, s=10, color=DATA, linewidths=0)
    ax.axhline(0.0, color=MODEL, linewidth=2.0)
    return _figure(ax)


def _points(
    name: str, xs: Sequence[Any], ys: Sequence[float], predictions: Sequence[float]
) -> tuple[Any, Any, Any]:
    """The three columns, in the order of x."""
    if not len(xs) == len(ys) == len(predictions):
        counts = f"{len(xs)} xs, {len(ys)} ys and {len(predictions)} predictions"
        raise ValueError(f"{name}: {counts}; give as many of all")
    if not len(xs):
        raise ValueError(f"{name}: no points to draw")
    x0 = (x[0] if hasattr(x, "__len__") else x for x in xs)
    across, data, model = zip(*sorted(zip(x0, _floats(ys), _floats(predictions))))
    return across, data, model


def _floats(xs: Sequence[Any]) -> list[Any]:
    """The numbers of Values; other numbers as they are."""
    return [x.data if isinstance(x, Value) else x for x in xs]


def loss_curve(losses: Sequence[float], ax: Any = None, label: str = "") -> Figure:
    """The loss against the step, on a logarithmic scale where all losses are above 0.

    Drawn into the same axes again with labels, curves can be compared. Raises ValueError for no losses,
    TypeError for what is not a list of them.

    >>> figure = loss_curve([100.0, 10.0, 1.0]); figure.axes[0].get_yscale()
    'log'
    """
    if not hasattr(losses, "__len__"):
        kind = type(losses).__name__
        raise TypeError(f"loss_curve: a list of losses is due, such as history.losses, not one {kind}")
    if not len(losses):
        raise ValueError("loss_curve: no losses to draw; pass history.losses after at least one step")
    ax = styled(ax or side_by_side(1, width=6.0)[1], "step", "loss")
    color = [MODEL, DATA, "C2", "C4", "C5", "C6"][len(ax.lines) % 6]
    marker = "o" if len(losses) == 1 else None
    ax.plot(range(len(losses)), _floats(losses), color=color, linewidth=1.8, marker=marker, label=label)
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.set_yscale("log" if all(min(line.get_ydata()) > 0 for line in ax.lines) else "linear")
    if label:
        ax.legend(frameon=False)
    return _figure(ax)


# --- classes ------------------------------------------------------------------------------------------------


def decision_boundary(
    model: Callable[[list[float]], Any],
    xs: Sequence[Sequence[float]],
    ys: Sequence[float],
    ax: Any = None,
    grid: int = 80,
) -> Figure:
    """Points of the plane by their class, over what a model makes of every place.

    A model of one output tells two classes apart by its sign; with more outputs, the largest is the class.
    `ys` are the classes: -1 and 1, or 0, 1, 2, ... The model is called grid x grid times. Raises ValueError
    for points that are not in the plane, and for no points.

    >>> figure = decision_boundary(lambda x: x[0] - x[1], [[0.0, 1.0], [1.0, 0.0]], [-1, 1], grid=5)
    """
    if not len(xs) or any(len(x) != 2 for x in xs):
        raise ValueError("decision_boundary: xs are points in the plane, rows of two numbers, at least one")
    if len(xs) != len(ys):
        raise ValueError(f"decision_boundary: {len(xs)} xs and {len(ys)} ys; give as many of both")
    ax = styled(ax or side_by_side(1, width=6.0, height=5.0)[1], "x₀", "x₁")
    across, up = (spread([x[i] for x in xs], grid) for i in (0, 1))
    outputs = field(model, across, up)
    kinds = sorted(set(ys))
    if len(outputs[0][0]) == 1:
        heights = [[output[0] for output in row] for row in outputs]
        far = max((abs(z) for row in heights for z in row if isfinite(z)), default=0.0) or 1.0
        clipped = [[max(-1.0, min(1.0, 2.0 * z / far)) for z in row] for row in heights]
        ax.contourf(across, up, clipped, levels=24, cmap=PALE, vmin=-1.0, vmax=1.0)
        if min(map(min, heights)) < 0.0 < max(map(max, heights)):
            ax.contour(across, up, heights, levels=[0.0], colors=[INK], linewidths=1.6)
    else:
        for k in range(len(outputs[0][0])):  # where output k is above all others
            lead = [[z[k] - max([*z[:k], *z[k + 1 :]]) for z in row] for row in outputs]
            if max(map(max, lead)) > 0.0:
                ax.contourf(across, up, lead, levels=[0.0, float("inf")], colors=[CLASSES[k % 6]], alpha=0.3)
    for k, kind in enumerate(kinds):
        some = [x for x, y in zip(xs, ys) if y == kind]
        look: Any = {"color": CLASSES[k % 6], "marker": MARKERS[k % 6], "edgecolors": "white"}
        ax.scatter(
            *zip(*some), s=34, linewidths=0.7, label=f"class {kind:g}".replace("-", "−"), zorder=3, **look
        )
    ax.grid(False)
    ax.legend(framealpha=0.85, edgecolor="none")
    return _figure(ax)


# --- layers -------------------------------------------------------------------------------------------------


def gradient_histogram(model: Module, ax: Any = None) -> Figure:
    """How large the gradients of each layer's parameters are, on a logarithmic scale; how many are 0.

    A layer whose curve lies far left of the others learns slowly. Raises ValueError if no backward pass has
    set the gradients.

    >>> model = MLP(2, [3, 1]); model([1.0, 2.0]).backward(); figure = gradient_histogram(model)
    """
    layers = gradients_by_layer(model)
    ax = styled(ax or side_by_side(1, width=6.0)[1], "|gradient|", "share of the parameters")
    ax.set_xscale("log")
    sizes = [log10(g) for gs in layers.values() for g in gs if g > 0.0 and isfinite(g)] or [0.0]
    low, high = min(sizes) - 0.1, max(sizes) + 0.1
    bins = [10.0 ** (low + (high - low) * i / 24) for i in range(25)]
    for color, (name, gs) in zip(_ordered(len(layers)), layers.items()):
        zeros = sum(g == 0.0 for g in gs)
        label = f"{name} ({zeros} of {len(gs)} are 0)" if zeros else name
        _curve(ax, [g for g in gs if g > 0.0 and isfinite(g)], bins, color, label, len(gs))
    return _figure(ax)


def activation_histogram(model: MLP, xs: Sequence[Sequence[float]], ax: Any = None) -> Figure:
    """What comes out of each hidden layer over these samples; how many units are 0 on all of them.

    Raises TypeError for a model without layers, ValueError for no samples.

    >>> figure = activation_histogram(MLP(2, [3, 1]), [[1.0, 2.0], [0.5, -1.0]])
    """
    outputs = activations_by_layer(model, xs)
    hidden = outputs[:-1] or outputs
    ax = styled(ax or side_by_side(1, width=6.0)[1], "activation", "share of the activations")
    everything = [a for rows in hidden for row in rows for a in row if isfinite(a)] or [0.0]
    low, high = min(everything), max(everything)
    bins = [low + (high - low or 1.0) * i / 30 for i in range(31)]
    for i, (color, rows) in enumerate(zip(_ordered(len(hidden)), hidden)):
        dead = sum(all(a == 0.0 for a in unit) for unit in zip(*rows))
        label = f"layers.{i} ({dead} of {len(rows[0])} always 0)" if dead else f"layers.{i}"
        _curve(
            ax, [a for row in rows for a in row if isfinite(a)], bins, color, label, len(rows) * len(rows[0])
        )
    return _figure(ax)


def _curve(ax: Any, xs: Sequence[float], bins: Sequence[float], color: Any, label: str, n: int) -> None:
    share = [1.0 / n] * len(xs)
    ax.hist(xs, bins=bins, weights=share, histtype="stepfilled", color=color, alpha=0.15)
    ax.hist(xs, bins=bins, weights=share, histtype="step", color=color, linewidth=1.8, label=label)
    ax.legend(framealpha=0.85, edgecolor="none")


def _ordered(n: int) -> list[Any]:
    """Colours for layers, from the first to the last."""
    return [colormaps["viridis"](0.85 * i / max(n - 1, 1)) for i in range(n)]


def weight_matrices(
    before: Mapping[str, float], after: Mapping[str, float], layer: int = 0, axes: Any = None
) -> Figure:
    """The weights of a layer before training, after it, and the change, from two `model.state_dict()`.

    A row is a neuron, a column an input. Raises ValueError for a layer that the model has not.

    >>> model = MLP(2, [3, 1]); start = model.state_dict(); figure = weight_matrices(start, start)
    """
    first, last = weight_matrix(before, layer), weight_matrix(after, layer)
    change = [[y - x for x, y in zip(*rows)] for rows in zip(first, last)]
    axes = axes if axes is not None else side_by_side(3, width=9.0, height=3.2)[1]
    far = max((abs(w) for row in (*first, *last) for w in row if isfinite(w)), default=0.0) or 1.0
    for ax, name, rows in zip(axes, ("before", "after", "change"), (first, last, change)):
        image = ax.imshow(rows, cmap=SIGNED, vmin=-far, vmax=far, aspect="auto", interpolation="nearest")
        ax.set_title(name)
        ax.set_xlabel("input")
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.yaxis.get_major_locator().set_params(integer=True)
    axes[0].set_ylabel(f"neuron of layers.{layer}")
    figure = _figure(axes[0])
    figure.colorbar(image, ax=list(axes), shrink=0.9)
    return figure


def attention_maps(
    maps: Sequence[Sequence[Sequence[float]]], tokens: Sequence[str], axes: Any = None
) -> Figure:
    """What each head of an attention looks at: a row for each place, dark where it takes most.

    `maps` is what `Attention.maps` gives, `tokens` names the places. Raises ValueError for maps of another
    size.

    >>> figure = attention_maps([[[1.0, 0.0], [0.5, 0.5]]], "ab"); figure.axes[0].get_title()
    'head 1'
    """
    if not len(maps) or any(len(row) != len(tokens) for of_head in maps for row in (of_head, *of_head)):
        raise ValueError(f"attention_maps: a head has a square of {len(tokens)} rows, as there are tokens")
    axes = axes if axes is not None else side_by_side(len(maps), width=3.0 * len(maps), height=3.4)[1]
    axes = list(axes) if hasattr(axes, "__len__") else [axes]
    for number, (ax, of_head) in enumerate(zip(axes, maps), 1):
        ax.imshow([_floats(row) for row in of_head], cmap="Greys", vmin=0.0, vmax=1.0)
        ax.set_title(f"head {number}")
        ax.set_xticks(range(len(tokens)), list(tokens))
        ax.set_yticks(range(len(tokens)), list(tokens))
        ax.set_xlabel("looks at")
    axes[0].set_ylabel("at")
    return _figure(axes[0])


# --- difference quotients -----------------------------------------------------------------------------------


def images(
    rows: Sequence[Sequence[float]], titles: Sequence[str] = (), columns: int = 8, signed: bool = False
) -> Figure:
    """Rows of numbers as small square pictures side by side, each scaled to its own largest magnitude.

    With `signed`, blue is above 0 and orange below; else dark is large. Raises ValueError for rows that are
    not squares, as of 64 numbers, and for no rows.

    >>> figure = images([[0.0, 1.0, 1.0, 0.0]] * 3, titles=["a", "b", "c"]); len(figure.axes)
    3
    """
    side = round(len(rows[0]) ** 0.5) if len(rows) else 0
    if not side or any(len(row) != side * side for row in rows):
        raise ValueError(
            "images: each row holds the pixels of a square, such as 64 numbers; one row at least"
        )
    columns = min(columns, len(rows))
    lines = -(-len(rows) // columns)
    figure = Figure(figsize=(1.1 * columns, (1.35 if titles else 1.1) * lines), layout="constrained")
    for k, row in enumerate(rows):
        ax = figure.add_subplot(lines, columns, k + 1)
        numbers = _floats(row)
        far = max(map(abs, numbers)) or 1.0
        look: Any = {"cmap": SIGNED, "vmin": -far, "vmax": far} if signed else {"cmap": "Greys"}
        ax.imshow([numbers[i : i + side] for i in range(0, side * side, side)], **look)
        ax.set_axis_off()
        if k < len(titles):
            ax.set_title(titles[k], fontsize=9, color=INK)
    return figure


def difference_error(f: Callable[[Any], Any], x: float, ax: Any = None) -> Figure:
    """How far difference quotients of f at x are from the engine's gradient, against their step h.

    A large h errs by the curvature, a small one by rounding: the best of both is far from exact.

    >>> figure = difference_error(lambda x: x.tanh(), 0.7); len(figure.axes[0].lines)
    2
    """
    steps = [10.0 ** (-i / 8.0) for i in range(129)]
    ax = styled(ax or side_by_side(1, width=6.0)[1], "h", "relative error")
    names = "(f(x + h) − f(x)) / h", "(f(x + h) − f(x − h)) / 2h"
    for name, color, errors in zip(names, (DATA, MODEL), zip(*quotient_errors(f, x, steps))):
        ax.loglog(steps, [max(e, 1e-17) for e in errors], color=color, linewidth=1.6, label=name)
    ax.legend(frameon=False)
    return _figure(ax)


# --- figures ------------------------------------------------------------------------------------------------


def side_by_side(columns: int = 2, width: float = 10.0, height: float = 4.2) -> tuple[Figure, Any]:
    """A figure, and its axes in one row, in inches: for several plots in one picture."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(1, columns)


def styled(ax: Any, across: str, up: str) -> Any:
    """The axes with their names, a faint grid and no frame: how all plots here look."""
    ax.set_xlabel(across)
    ax.set_ylabel(up)
    ax.grid(color=GRID)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def _figure(ax: Any) -> Figure:
    figure: Figure = ax.figure
    return figure


# --- what the plots show, as plain numbers ------------------------------------------------------------------

Matrix = list[list[float]]


def gradients_by_layer(model: Module) -> dict[str, list[float]]:
    """|gradient| of the parameters of each layer; what no gradient reached has 0.

    Raises ValueError if no backward pass has set any.

    >>> model = MLP(1, [1], weights=lambda rng, nin, nout: 1.0); model([-3.0]).backward()
    >>> gradients_by_layer(model)
    {'layers.0': [3.0, 1.0]}
    """
    found = [(path, grad_of(p)) for path, p in model.named_parameters()]
    if all(g is None for _, g in found):
        raise ValueError("the parameters have no gradients yet: call loss.backward() first")
    layers: dict[str, list[float]] = {}
    for path, g in found:
        layers.setdefault(re.split(r"\.?neurons", path)[0] or "layer", []).append(abs(g or 0.0))
    return layers


def activations_by_layer(model: MLP, xs: Sequence[Sequence[float]]) -> list[Matrix]:
    """What comes out of each layer: a row for each of the samples.

    Raises TypeError for a model without layers, ValueError for no samples.

    >>> activations_by_layer(MLP(1, [1], weights=lambda rng, nin, nout: 2.0), [[1.0], [3.0]])
    [[[2.0], [6.0]]]
    """
    if not isinstance(model, MLP):
        raise TypeError(f"activations are those of an MLP, not of a {type(model).__name__}: it has layers")
    if not len(xs):
        raise ValueError("activations: no samples; pass rows of numbers, as the model takes them")
    outputs: list[Matrix] = [[] for _ in model.layers]
    with entered(record=False):
        for x in xs:
            row: Any = x
            for layer, rows in zip(model.layers, outputs):
                row = numbers(layer(row))
                rows.append(row)
    return outputs


def weight_matrix(state: Mapping[str, float], layer: int) -> Matrix:
    """The weights of a layer from `model.state_dict()`: a row for each neuron.

    >>> weight_matrix({"layers.0.neurons.0.w.0": 1.0, "layers.0.neurons.0.b": 2.0}, 0)
    [[1.0]]
    """
    rows: dict[str, list[float]] = {}
    for path, w in state.items():
        found = re.fullmatch(rf"(?:layers\.{layer}\.)?neurons\.(\d+)\.w\.\d+", path)
        if found:
            rows.setdefault(found[1], []).append(w)
    if not rows:
        raise ValueError(f"no weights of layers.{layer} in the state: pass model.state_dict()")
    return list(rows.values())


def field(model: Callable[[list[float]], Any], across: Sequence[float], up: Sequence[float]) -> list[Matrix]:
    """The outputs of a model of two inputs on a grid: rows of it go up."""
    with entered(record=False):
        return [[numbers(model([a, b])) for a in across] for b in up]


def quotient_errors(f: Callable[[Any], Any], x: float, steps: Sequence[float]) -> list[tuple[float, float]]:
    """The relative errors of the one-sided and the central difference quotient, at each step h."""
    exact = grad(f)(float(x))
    errors = []
    with entered(record=False):
        for h in steps:
            below, here, above = (numbers(f(Value(x + d)))[0] for d in (-h, 0.0, h))
            slopes = (above - here) / h, (above - below) / (2.0 * h)
            one, two = (abs(slope - exact) / (abs(exact) or 1.0) for slope in slopes)
            errors.append((one, two))
    return errors


def numbers(output: Any) -> list[float]:
    """A model's output as floats."""
    outputs = output if isinstance(output, (list, tuple)) else [output]
    return [v.data if isinstance(v, Value) else float(v) for v in outputs]


def spread(xs: Sequence[float], n: int) -> list[float]:
    """n numbers over the range of the xs, and somewhat beyond.

    >>> spread([0.0, 10.0], 3)
    [-1.5, 5.0, 11.5]
    """
    low, high = min(xs), max(xs)
    margin = 0.15 * (high - low) or 1.0
    return [low - margin + (high - low + 2.0 * margin) * i / (n - 1) for i in range(n)]
