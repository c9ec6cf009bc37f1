"""playground: a page in which your own model trains, live, in one file.

The model's loss, its gradient and the optimizer's rule travel as data; one fixed interpreter in the page
runs them.  A run that was recorded with `fit(..., record=k)` plays in the same page.  program.py makes the
data, and page/ has the scripts.
"""

import os
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tinygrad_bp.engine import Value
from tinygrad_bp.errors import CompileError, DrawError
from tinygrad_bp.losses import Loss
from tinygrad_bp.optim import Optimizer
from tinygrad_bp.rows import read_samples, whole_number
from tinygrad_bp.show.playground.program import (
    Json,
    Trained,
    packed,
    packed_generator,
    page_data,
    rule_data,
    starting_points,
)
from tinygrad_bp.show.playground.recording import Recording
from tinygrad_bp.show.stepper.sealed import SCRIPTS, STYLES, Stepper, page_of, title_in

FOLDER = Path(__file__).parent / "page"
OWN_SCRIPTS = tuple(
    str(FOLDER / name) for name in ("strings.js", "program.js", "training.js", "figures.js", "playground.js")
)
OWN_STYLES = (str(FOLDER / "playground.css"),)
MOST_PARAMETERS, MOST_SAMPLES = 20_000, 2_000
SIZES = (1, 8, 32, 128)  # of batches that can be chosen in the page
MOST_LOSSES = 600  # of a recorded run: as many draw a curve


def playground(
    model: Callable[[list[float]], Any],
    data: tuple[Sequence[Any], Sequence[Any]],
    loss: Loss,
    optimizer: Optimizer,
    path: str | os.PathLike[str] | None = None,
    *,
    batch_size: int | None = None,
    reduce: str = "sum",
    penalty: Callable[[], Value] | None = None,
    seed: int = 0,
    starts: int = 4,
    lang: str = "en",
) -> Stepper:
    """A page in which `model` trains on data = (xs, ys), written to `path` if one is given.

    Everything but the path is as in `fit`, and so are the losses in the page; the model stays as it is.  The
    page begins with the model's parameters and has `starts` - 1 other starting points, drawn by `seed`.
    A model of two inputs is shown as a map, one of one input as a curve, any other as predicted against true.
    `lang` is the page's language, "en" or "zh".

    Raises DrawError for more than 20,000 parameters or 2,000 samples, CompileError for a loss that depends on
    the numbers, an operation that a page lacks, or an optimizer with a `step()` of its own, ValueError and
    TypeError for data that `fit` refuses.

    >>> import random
    >>> from tinygrad_bp import MLP, data, losses, optim
    >>> model = MLP(2, [4, 1], act="tanh", rng=random.Random(0))
    >>> sgd = optim.SGD(model.parameters(), lr=0.1)
    >>> playground(model, data.moons(20), losses.hinge, sgd, reduce="mean")
    <stepper page of ... kB: .save('backprop.html') and open it>
    """
    samples = read_samples(data, "playground")
    if not callable(loss) or not isinstance(optimizer, Optimizer):
        wrong = optimizer if callable(loss) else loss
        raise TypeError(
            f"playground takes a loss such as losses.mse and an optimizer such as optim.SGD, not {wrong!r}"
        )
    if reduce not in ("sum", "mean"):
        raise ValueError(f"playground: reduce is 'sum' or 'mean', not {reduce!r}")
    size = len(samples)
    if batch_size is not None:
        size = whole_number(
            batch_size, 1, "playground: batch_size is a whole number from 1 up, or None for all"
        )
    if size > len(samples):
        raise ValueError(
            f"playground: a batch_size of {size} for {len(samples)} samples: at most {len(samples)}"
        )
    starts = whole_number(starts, 1, "playground: starts is a whole number from 1 up")
    _refuse_too_much(len(optimizer.parameters), len(samples))
    if type(optimizer).step is not Optimizer.step:
        raise CompileError(
            f"playground: {type(optimizer).__name__} has a step() of its own, which no page can run: write "
            "update(self, p, g, t, lr, *memory) instead, in the operations of the package"
        )
    trained = Trained(model, samples, loss, optimizer.parameters, reduce, penalty)
    try:
        made = {**page_data(trained), "rule": rule_data(optimizer)}
    except CompileError as error:
        raise CompileError(f"playground: this training cannot run in a page: {error}") from error
    made |= {
        "batch": size,
        "sizes": sorted({size, len(samples), *(n for n in SIZES if n < len(samples))}),
        "generator": packed_generator(random.Random(seed)) if len(samples) > 1 else None,
        "starts": starting_points(trained, starts, seed),
    }
    page = _page(made, "live", lang)
    if path is not None:
        page.save(path)
    return page


def recorded_page(history: Any, lang: str = "en") -> Stepper:
    """The page of what `fit` returned: any object with `losses` and a `recording`."""
    recording = getattr(history, "recording", None)
    if not isinstance(recording, Recording):
        raise ValueError("stepper: nothing of this training was recorded: train with fit(..., record=10)")
    losses = history.losses
    run = {
        "steps": recording.steps,
        "parameters": [packed(numbers) for numbers in recording.parameters],
        "losses": [(i, losses[i]) for i in range(0, len(losses), 1 + len(losses) // MOST_LOSSES)],
    }
    return _page({**recording.data, "recorded": run, "sample": recording.sample}, "recorded", lang)


def _page(data: Json, title: str, lang: str) -> Stepper:
    scripts, styles = SCRIPTS[:-1] + OWN_SCRIPTS + SCRIPTS[-1:], STYLES + OWN_STYLES
    return page_of({"kind": "training", **data}, title_in(lang, title), scripts, styles, lang)


def _refuse_too_much(parameters: int, samples: int) -> None:
    if parameters > MOST_PARAMETERS:
        raise DrawError(
            f"playground: {parameters:,} parameters, and {MOST_PARAMETERS:,} are the most that a page trains:"
            " make the layers narrower, or give the optimizer fewer of them"
        )
    if samples > MOST_SAMPLES:
        raise DrawError(
            f"playground: {samples:,} samples, and {MOST_SAMPLES:,} are the most that a page holds:"
            f" take some, as in playground(model, (xs[:{MOST_SAMPLES}], ys[:{MOST_SAMPLES}]), ...)"
        )
