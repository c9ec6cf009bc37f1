"""Plots of training: each draws into the axes it is given, returns the figure, and needs no display.

Without matplotlib the module says what to install.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from tinygrad_bp.show import plotting

ROOT = Path(__file__).parents[1]


def drawn(line):
    return list(zip(*(map(float, part) for part in line.get_data())))


def test_fit_draws_points_and_a_line_in_the_order_of_x():
    figure = plotting.fit([2.0, 0.0, 1.0], [4.0, 0.0, 1.0], [4.2, 0.1, 0.9])
    (ax,) = figure.axes
    assert drawn(ax.lines[0]) == [(0.0, 0.1), (1.0, 0.9), (2.0, 4.2)]
    assert ax.collections[0].get_offsets().tolist() == [[0.0, 0.0], [1.0, 1.0], [2.0, 4.0]]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["data", "prediction"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("x", "y")


def test_fit_takes_rows_of_one_number():
    assert drawn(plotting.fit([[1.0], [0.0]], [1.0, 0.0], [2.0, 3.0]).axes[0].lines[0]) == [
        (0.0, 3.0),
        (1.0, 2.0),
    ]


def test_loss_curve_is_logarithmic_where_it_can_be():
    figure = plotting.loss_curve([100.0, 10.0, 1.0])
    assert drawn(figure.axes[0].lines[0]) == [(0.0, 100.0), (1.0, 10.0), (2.0, 1.0)]
    assert figure.axes[0].get_yscale() == "log"
    assert plotting.loss_curve([1.0, 0.0]).axes[0].get_yscale() == "linear"
    assert plotting.loss_curve([1.0, -2.0]).axes[0].get_yscale() == "linear"


def test_one_loss_is_seen_as_a_dot():
    assert plotting.loss_curve([5.0]).axes[0].lines[0].get_marker() == "o"


def test_curves_are_compared_in_the_same_axes():
    figure, (left, right) = plotting.side_by_side()
    assert plotting.loss_curve([2.0, 1.0], ax=left, label="plain") is figure
    assert plotting.loss_curve([2.0, 0.5], ax=left, label="momentum") is figure
    first, second = left.lines
    assert first.get_color() != second.get_color()
    assert [text.get_text() for text in left.get_legend().get_texts()] == ["plain", "momentum"]
    assert not right.lines


def test_several_curves_have_colors_of_their_own():
    _, ax = plotting.side_by_side(1)
    for i in range(4):
        plotting.loss_curve([2.0, 1.0 + i], ax=ax, label=str(i))
    assert len({line.get_color() for line in ax.lines}) == 4


def test_a_curve_that_reaches_0_beside_one_that_does_not():
    """The second must not put the first's zeros on a logarithmic scale, where they would vanish."""
    _, ax = plotting.side_by_side(1)
    plotting.loss_curve([1.0, 0.0], ax=ax)
    plotting.loss_curve([2.0, 1.0], ax=ax)
    assert ax.get_yscale() == "linear"


def test_given_axes_are_used_and_their_figure_returned():
    mine = Figure()
    ax = mine.subplots()
    assert plotting.fit([0.0, 1.0], [0.0, 1.0], [0.0, 1.0], ax=ax) is mine
    assert len(mine.axes) == 1
    assert len(ax.lines) == 1


def test_a_figure_is_saved_without_a_display(tmp_path):
    """In a process of its own, where no backend was chosen and pyplot is never imported."""
    code = (
        "import sys; from tinygrad_bp.show import plotting;"
        "plotting.loss_curve([2.0, 1.0]).savefig(sys.argv[1]);"
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    hidden = {name: text for name, text in os.environ.items() if name not in ("DISPLAY", "MPLBACKEND")}
    path = tmp_path / "curve.png"
    command = [sys.executable, "-c", code, str(path)]
    subprocess.run(command, env={**hidden, "PYTHONPATH": str(ROOT)}, check=True)
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_without_matplotlib_it_says_what_to_install():
    code = "import sys; sys.modules['matplotlib'] = None; from tinygrad_bp.show import plotting"
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 1
    assert "MissingExtraError: plotting needs matplotlib" in ran.stderr.splitlines()[-1]
    assert "pip install 'tinygrad_bp[plots]'" in ran.stderr


# --- errors -------------------------------------------------------------------------------------------------


def test_unequal_lengths():
    with pytest.raises(ValueError, match="fit: 2 xs, 3 ys and 1 predictions; give as many of all"):
        plotting.fit([1.0, 2.0], [1.0, 2.0, 3.0], [1.0])


def test_nothing_to_draw():
    with pytest.raises(ValueError, match="loss_curve: no losses to draw"):
        plotting.loss_curve([])
    with pytest.raises(ValueError, match="fit: no points to draw"):
        plotting.fit([], [], [])
