"""What `fit(..., record=k)` keeps of every k-th step, in plain numbers: never a Value, so no graph stays.

A recording holds the parameters, what the model answers, and one sample's graph with its values and local
partials; `stepper(history)` makes a page that plays it.  moments.py turns a graph into numbers.
"""

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tinygrad_bp.engine import Value
from tinygrad_bp.modes import entered
from tinygrad_bp.show.moments import Json, numbers, shape, structure
from tinygrad_bp.show.nodes import count

MOST_NODES = 1200  # of a sample's graph: with more, a recording goes without it
OPEN = 40  # nodes of it, beside the plots: with more, neurons start closed
GRID = 24  # places on each side of the plane where a model of two inputs is asked
MOST_PLACES = 200  # along the line, for a model of one input
MARGIN = 0.1  # of the range of the data, beyond it


@dataclass
class Recording:
    """Moments of a training: after how many steps, parameters, the model's answers, one sample's graph."""

    sample: int
    points: list[list[float]]  # the inputs, where a model has one or two
    targets: list[float]
    places: list[list[float]]  # where the model is asked
    steps: list[int] = field(default_factory=list)
    parameters: "list[array[float]]" = field(default_factory=list, repr=False)
    answers: list[list[float]] = field(default_factory=list, repr=False)  # at the places
    graphs: list[Json] = field(default_factory=list, repr=False)  # one, if it does not depend on numbers
    moments: list[Json] = field(default_factory=list, repr=False)


class Recorder:
    """Takes the moments while `fit` runs."""

    def __init__(
        self,
        model: Callable[[list[float]], Any],
        samples: Sequence[tuple[list[float], Any]],
        loss: Callable[[Any, Any], Value],
        parameters: Sequence[Value],
        every: int,
        sample: int,
    ) -> None:
        if type(every) is not int or every < 1:
            raise ValueError(f"fit: record is a whole number of steps from 1 up, or None, not {every!r}")
        if type(sample) is not int or not 0 <= sample < len(samples):
            raise ValueError(
                f"fit: sample is the number of a sample, from 0 to {len(samples) - 1}, not {sample!r}"
            )
        self.model, self.samples, self.loss = model, samples, loss
        self.parameters, self.every = parameters, every
        self.known: dict[Any, int] = {}  # of the graphs so far, by their structure
        rows = [x for x, _ in samples]
        drawn = len(rows[0]) in (1, 2) and not any(hasattr(y, "__len__") for _, y in samples)
        places = (_line(rows) if len(rows[0]) == 1 else _plane(rows)) if drawn else []
        targets = [float(y) for _, y in samples] if drawn else []
        self.recording = Recording(sample, rows if drawn else [], targets, places)

    def until_next(self, done: int) -> int:
        """How many steps may be taken before the next moment."""
        return self.every - done % self.every

    def take(self, done: int, last: bool = False) -> None:
        """Keep this moment, after so many steps, if its turn has come."""
        kept = self.recording
        if done % self.every and not last:
            return
        kept.steps.append(done)
        kept.parameters.append(array("d", [p.data for p in self.parameters]))
        with entered(record=False, trap=False):  # beyond the data a model may answer inf
            kept.answers.append([_answer(self.model([*place])) for place in kept.places])
        x, y = self.samples[kept.sample]
        with entered(trap=False):
            root = self.loss(self.model([*x]), y)
        if not isinstance(root, Value) or count(root) > MOST_NODES:
            return
        key = structure(root)
        if key not in self.known:
            self.known[key] = len(kept.graphs)
            kept.graphs.append(shape(root, OPEN))
        kept.moments.append({"graph": self.known[key], **numbers(root)})


def page_data(recording: Recording, losses: Sequence[float]) -> Json:
    """What the page gets; the losses thinned, since a few hundred points draw a curve of many thousand."""
    stride = 1 + len(losses) // 600
    curve = [(i, losses[i]) for i in range(0, len(losses), stride)]
    loss_at = [losses[min(step, len(losses) - 1)] if losses else None for step in recording.steps]
    return {
        "kind": "training", "graphs": recording.graphs, "moments": recording.moments,
        "steps": recording.steps, "losses": curve, "lossAt": loss_at, "sample": recording.sample,
        "points": recording.points, "targets": recording.targets, "places": recording.places,
        "answers": [[float(f"{x:.5g}") for x in row] for row in recording.answers],
    }  # fmt: skip


def _answer(out: Any) -> float:
    """What a model says: its number, or of several outputs the number of the largest."""
    if isinstance(out, (list, tuple)):
        numbers = [float(v.data) for v in out]
        return float(numbers.index(max(numbers)))
    return float(out.data if isinstance(out, Value) else out)


def _range(column: Sequence[float]) -> tuple[float, float]:
    low, high = min(column), max(column)
    margin = MARGIN * (high - low) or 1.0
    return low - margin, high + margin


def _between(low: float, high: float, n: int) -> list[float]:
    return [low + (high - low) * (i + 0.5) / n for i in range(n)]


def _line(rows: Sequence[Sequence[float]]) -> list[list[float]]:
    """Places along the axis: the inputs themselves where they are few."""
    column = sorted({x for (x,) in rows})
    return [[x] for x in (column if len(column) <= MOST_PLACES else _between(*_range(column), MOST_PLACES))]


def _plane(rows: Sequence[Sequence[float]]) -> list[list[float]]:
    """The middles of the cells of a grid over the data, row by row from below."""
    across, up = (_between(*_range(column), GRID) for column in zip(*rows))
    return [[x, y] for y in up for x in across]
