"""What `fit(..., record=k)` keeps of a training: the parameters at every k-th step, in plain numbers.

All that a page shows of such a moment is computed from them by the programs of program.py, which are made
when the recording begins; no graph stays in memory.
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tinygrad_bp.errors import TinygradError
from tinygrad_bp.show.playground.program import Json, Trained, page_data, parameter_data


@dataclass
class Recording:
    """Moments of a training: after how many steps, and the parameters there."""

    sample: int
    data: Json = field(repr=False)  # what the page computes with, or why it has nothing to
    steps: list[int] = field(default_factory=list)
    parameters: "list[array[float]]" = field(default_factory=list, repr=False)


class TrainingRecorder:
    """Takes the moments while `fit` runs."""

    def __init__(self, trained: Trained, every: int, sample: int) -> None:
        if type(every) is not int or every < 1:
            raise ValueError(f"fit: record is a whole number of steps from 1 up, or None, not {every!r}")
        if type(sample) is not int or not 0 <= sample < len(trained.samples):
            raise ValueError(
                f"fit: sample is the number of a sample, from 0 to {len(trained.samples) - 1}, not {sample!r}"
            )
        self.parameters: Sequence[Any] = trained.parameters
        self.every = every
        try:
            data = page_data(trained)
        except (TinygradError, ArithmeticError, AttributeError, TypeError, ValueError) as error:
            # such a model trains on graphs, and the page has its losses and parameters
            data = {**parameter_data(trained), "missing": " ".join(str(error).split())}
        self.recording = Recording(sample, data)

    def until_next(self, done: int) -> int:
        """How many steps may be taken before the next moment."""
        return self.every - done % self.every

    def take(self, done: int, last: bool = False) -> None:
        """Keep this moment, after so many steps, if its turn has come."""
        if done % self.every and not last:
            return
        self.recording.steps.append(done)
        self.recording.parameters.append(array("d", [p.data for p in self.parameters]))
