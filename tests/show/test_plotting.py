"""Plots of training: each draws into the axes it is given, returns the figure, and needs no display.

Without matplotlib the module says what to install.
"""

import io
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from matplotlib.figure import Figure

import tinygrad_bp as tg
from tinygrad_bp import Value
from tinygrad_bp.show import plotting
from tinygrad_bp.train import History

ROOT = Path(__file__).parents[2]


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


def test_values_are_drawn_as_their_numbers():
    values = [Value(1.0), Value(4.0)]
    assert list(plotting.fit([1, 2], values, values).axes[0].lines[0].get_ydata()) == [1.0, 4.0]
    assert list(plotting.loss_curve(values).axes[0].lines[0].get_ydata()) == [1.0, 4.0]


def test_a_history_is_not_the_list_of_its_losses():
    with pytest.raises(TypeError, match=r"a list of losses is due, such as history\.losses, not one History"):
        plotting.loss_curve(History([1.0]))


def test_unequal_lengths():
    with pytest.raises(ValueError, match="fit: 2 xs, 3 ys and 1 predictions; give as many of all"):
        plotting.fit([1.0, 2.0], [1.0, 2.0, 3.0], [1.0])


def test_nothing_to_draw():
    with pytest.raises(ValueError, match="loss_curve: no losses to draw"):
        plotting.loss_curve([])
    with pytest.raises(ValueError, match="fit: no points to draw"):
        plotting.fit([], [], [])


# --- classes, layers, difference quotients ------------------------------------------------------------------


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def moons():
    xs, ys = tg.data.moons(20)
    return tg.MLP(2, [4, 3, 1], rng=random.Random(0)), xs, ys


def test_residuals_are_data_less_prediction():
    (ax,) = plotting.residuals([1.0, 0.0], [3.0, 5.0], [2.0, 7.0]).axes
    assert ax.collections[1].get_offsets().tolist() == [[0.0, -2.0], [1.0, 1.0]]
    assert [line.tolist() for line in ax.collections[0].get_segments()] == [
        [[0.0, 0.0], [0.0, -2.0]],
        [[1.0, 0.0], [1.0, 1.0]],
    ]


def test_the_boundary_is_where_the_output_is_zero():
    figure = plotting.decision_boundary(lambda x: x[0] - 0.5, [[0.0, 0.0], [1.0, 1.0]], [-1, 1], grid=9)
    (ax,) = figure.axes
    (line,) = [c for c in ax.collections if list(getattr(c, "levels", [])) == [0.0]]
    (path,) = line.get_paths()
    assert {round(float(x), 12) for x in path.vertices[:, 0]} == {0.5}
    assert legend(ax) == ["class −1", "class 1"]


def test_a_model_sure_of_one_class_has_no_boundary():
    ax = plotting.decision_boundary(lambda x: 1.0, [[0.0, 0.0], [1.0, 1.0]], [0, 1], grid=5).axes[0]
    assert not [c for c in ax.collections if list(getattr(c, "levels", [])) == [0.0]]


def test_with_several_outputs_the_largest_wins():
    figure = plotting.decision_boundary(
        lambda x: [-x[0], x[0], -9.0], [[-1.0, 0.0], [1.0, 1.0]], [0, 1], grid=9
    )
    fields = [c for c in figure.axes[0].collections if hasattr(c, "levels")]
    assert len(fields) == 2  # the third class is nowhere
    right_ends = [max(float(p.vertices[:, 0].max()) for p in field.get_paths()) for field in fields]
    assert right_ends[0] == pytest.approx(0.0)
    assert right_ends[1] > 1.0


def test_a_model_of_values_is_drawn_and_left_as_it_was():
    model, xs, ys = moons()
    before = model.state_dict()
    plotting.decision_boundary(model, xs, ys, grid=5)
    assert model.state_dict() == before
    assert {p.grad for p in model.parameters()} == {0.0}


def test_gradients_by_layer():
    model, xs, ys = moons()
    with pytest.raises(ValueError, match="the parameters have no gradients yet: call loss"):
        plotting.gradient_histogram(model)
    tg.losses.hinge(model(xs[0]), ys[0]).backward()
    ax = plotting.gradient_histogram(model).axes[0]
    assert ax.get_xscale() == "log"
    zeros = sum(p.grad == 0.0 for p in model.layers[1].parameters())
    assert zeros
    assert legend(ax)[1] == f"layers.1 ({zeros} of 15 are 0)"


def test_activations_by_layer():
    model, xs, _ = moons()
    for w in model.layers[0].neurons[1].w:
        w.data = 0.0
    ax = plotting.activation_histogram(model, xs).axes[0]
    assert "of 4 always 0)" in legend(ax)[0]
    assert len(legend(ax)) == 2  # of the hidden layers
    assert legend(plotting.activation_histogram(tg.MLP(2, [3]), xs).axes[0]) == ["layers.0"]


def test_weights_before_and_after():
    model, *_ = moons()
    before = model.state_dict()
    model.layers[1].neurons[2].w[3].data += 1.0
    figure = plotting.weight_matrices(before, model.state_dict(), layer=1)
    names = [ax.get_title() for ax in figure.axes[:3]]
    first, last, change = (ax.images[0].get_array() for ax in figure.axes[:3])
    assert names == ["before", "after", "change"]
    assert change.shape == (3, 4)
    assert change[2, 3] == pytest.approx(1.0)
    assert abs(last - first - change).max() < 1e-15
    assert abs(change).sum() == pytest.approx(1.0)


def test_difference_quotients_miss_the_gradient():
    ax = plotting.difference_error(lambda x: tg.exp(x), 1.0).axes[0]
    one, two = (list(map(float, line.get_ydata())) for line in ax.lines)
    assert 1e-9 < min(one) < 1e-6  # the best h gives half the digits
    assert 1e-13 < min(two) < 1e-9
    assert one[-1] > 0.1  # h below the last digit of x


def test_axes_that_are_given_are_used():
    model, xs, ys = moons()
    model(xs[0]).backward()
    figure, axes = plotting.side_by_side(7)
    assert plotting.residuals([0.0], [1.0], [2.0], ax=axes[0]) is figure
    assert plotting.decision_boundary(model, xs, ys, ax=axes[1], grid=4) is figure
    assert plotting.gradient_histogram(model, ax=axes[2]) is figure
    assert plotting.activation_histogram(model, xs, ax=axes[3]) is figure
    state = model.state_dict()
    assert plotting.weight_matrices(state, state, axes=axes[4:]) is figure


def test_what_cannot_be_drawn():
    model, xs, ys = moons()
    with pytest.raises(ValueError, match="rows of two numbers, at least one"):
        plotting.decision_boundary(model, [[1.0]], [1])
    with pytest.raises(ValueError, match="rows of two numbers, at least one"):
        plotting.decision_boundary(model, [], [])
    with pytest.raises(ValueError, match="decision_boundary: 20 xs and 19 ys; give as many of both"):
        plotting.decision_boundary(model, xs, ys[1:])
    with pytest.raises(ValueError, match="residuals: 1 xs, 2 ys and 1 predictions"):
        plotting.residuals([1.0], [1.0, 2.0], [1.0])
    with pytest.raises(TypeError, match="activations are those of an MLP, not of a Neuron"):
        plotting.activation_histogram(tg.Neuron(2), xs)
    with pytest.raises(ValueError, match="activations: no samples"):
        plotting.activation_histogram(model, [])
    with pytest.raises(ValueError, match=r"no weights of layers\.7 in the state: pass model\.state_dict"):
        plotting.weight_matrices(model.state_dict(), model.state_dict(), layer=7)


def test_what_is_not_finite_is_left_out():
    model, xs, ys = moons()
    for p in model.parameters():
        p.grad = float("nan")
    plotting.gradient_histogram(model).savefig(io.BytesIO())
    model.layers[0].neurons[0].b.data = float("inf")
    plotting.activation_histogram(model, xs).savefig(io.BytesIO())
    plotting.decision_boundary(model, xs, ys, grid=5).savefig(io.BytesIO())


def test_images_are_scaled_to_their_own_largest_number():
    figure = plotting.images([[0.0, -2.0, 1.0, 2.0], [Value(0.5), 0.0, 0.0, 0.0]], titles=["a"], signed=True)
    first, second = (ax.images[0] for ax in figure.axes)
    assert first.get_array().tolist() == [[0.0, -2.0], [1.0, 2.0]]
    assert (first.get_clim(), second.get_clim()) == ((-2.0, 2.0), (-0.5, 0.5))
    assert figure.axes[0].get_title() == "a"
    for rows in ([], [[1.0, 2.0]], [[1.0], [1.0, 2.0, 3.0, 4.0]], [[]]):
        with pytest.raises(ValueError, match="each row holds the pixels of a square, such as 64 numbers"):
            plotting.images(rows)
