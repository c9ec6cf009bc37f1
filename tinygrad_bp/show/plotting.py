"""Plots of training, with matplotlib (the extra `plots`): the fit of a function, and loss curves.

Every function draws into the axes it is given, or makes a figure of its own, and returns the figure.  Figures
are made without pyplot, so nothing needs a display and nothing has to be closed.
"""

from collections.abc import Sequence
from typing import Any

from tinygrad_bp.errors import MissingExtraError

try:
    from matplotlib.figure import Figure
except ImportError as error:
    raise MissingExtraError("plotting", "matplotlib", "plots") from error

DATA, MODEL, GRID = "#5b7083", "#d1495b", "#e6e9ec"


def fit(xs: Sequence[Any], ys: Sequence[float], predictions: Sequence[float], ax: Any = None) -> Figure:
    """The data as points and the predictions as a line over them; xs are numbers, or rows of one number.

    Raises ValueError if the three have not the same length.

    >>> figure = fit([0.0, 1.0, 2.0], [0.0, 1.0, 4.0], [0.1, 0.9, 4.2]); len(figure.axes)
    1
    """
    if not len(xs) == len(ys) == len(predictions):
        counts = f"{len(xs)} xs, {len(ys)} ys and {len(predictions)} predictions"
        raise ValueError(f"fit: {counts}; give as many of all")
    if not len(xs):
        raise ValueError("fit: no points to draw")
    ax = styled(ax or side_by_side(1, width=6.0)[1], "x", "y")
    points = sorted(zip((x[0] if hasattr(x, "__len__") else x for x in xs), ys, predictions))
    across, data, model = zip(*points)
    ax.scatter(across, data, s=14, color=DATA, alpha=0.55, linewidths=0, label="data")
    ax.plot(across, model, color=MODEL, linewidth=2.0, label="prediction")
    ax.legend(frameon=False)
    figure: Figure = ax.figure
    return figure


def loss_curve(losses: Sequence[float], ax: Any = None, label: str = "") -> Figure:
    """The loss against the step, on a logarithmic scale where all losses are above 0.

    Drawn into the same axes again with labels, curves can be compared. Raises ValueError for no losses.

    >>> figure = loss_curve([100.0, 10.0, 1.0]); figure.axes[0].get_yscale()
    'log'
    """
    if not len(losses):
        raise ValueError("loss_curve: no losses to draw; pass history.losses after at least one step")
    ax = styled(ax or side_by_side(1, width=6.0)[1], "step", "loss")
    color = [MODEL, DATA, "C2", "C4", "C5", "C6"][len(ax.lines) % 6]
    marker = "o" if len(losses) == 1 else None
    ax.plot(range(len(losses)), losses, color=color, linewidth=1.8, marker=marker, label=label)
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.set_yscale("log" if all(min(line.get_ydata()) > 0 for line in ax.lines) else "linear")
    if label:
        ax.legend(frameon=False)
    figure: Figure = ax.figure
    return figure


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
