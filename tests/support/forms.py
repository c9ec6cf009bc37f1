"""Every form that a compiled function can take, run on the same data, so that each is held to the same truth.

A form is generated Python (written out or as loops), machine code, or the matrix program on NumPy.  `SIZES`
are numbers of samples on both sides of the borders: lanes, blocks of eight, tiles.  `answers` gives what a
form computes as one flat list of numbers; the tests in test_every_form.py compare those lists.
"""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_bp.compiler.backends import bind
from tinygrad_bp.compiler.backends.python import emit_python, load
from tinygrad_bp.compiler.columns import Columns

FORMS = ("written out", "loops", "matrices", "machine code")
SIZES = (1, 3, 7, 8, 9, 17, 65)


class Form:
    """The program that a compiled function ran or traced last, in one of its forms."""

    def __init__(self, compiled: Any, form: str) -> None:
        self.form, self.kernel = form, compiled._last
        if form in ("written out", "loops"):
            self.runner = load(*emit_python(self.kernel.rolled, form == "written out"))
        elif form == "matrices":
            self.space: dict[str, Any] = {}
            exec(compiled.source("matrix"), self.space)

    def answers(self, columns: list[Any]) -> list[float]:
        """Gradient and loss, summed over the samples; or the outputs of each sample, one after the other."""
        if self.form == "machine code":
            bound = bind(self.kernel, Columns("a test", columns))
            assert not self.kernel.reason, self.kernel.reason
            return list(bound.run())
        numbers = self.kernel.numbers()
        if self.form == "matrices":
            with np.errstate(all="ignore"):  # of branches that `where` does not take
                arrays = [np.array(column, dtype=float) for column in columns]
                if self.kernel.rolled.summed:
                    loss, grads = self.space["value_and_grad"](np, np.array(numbers), *arrays)
                    return [*grads.tolist(), float(loss)]
                results = self.space["run"](np, np.array(numbers), *arrays)
                return [x for row in results.tolist() for x in row]
        found = self.runner(numbers, Columns("a test", columns).samples())
        return list(found) if self.kernel.rolled.summed else [x for outputs in found for x in outputs]


def seed_of_the_commit() -> int:
    """A number that differs from commit to commit, so that each one is tested on other programs."""
    if not shutil.which("git"):
        return 0
    root = Path(__file__).parent
    found = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True)
    return int(found.stdout[:7] or "0", 16)
