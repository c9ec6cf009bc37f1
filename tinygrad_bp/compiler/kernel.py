"""Kernel: a rolled program, the Values that it reads, and the code made of it.

Code is made for as many samples as there are, when they are first seen.  Where no machine code can be made,
the kernel says so once, and generated Python runs, with the same results.  Read bound.py next, where it meets
data.
"""

import warnings
from collections.abc import Sequence
from typing import Any

from tinygrad_bp.compiler.backends.llvm import native
from tinygrad_bp.compiler.backends.llvm.blocks import Lanes
from tinygrad_bp.compiler.backends.llvm.module import emit_llvm
from tinygrad_bp.compiler.backends.python import Runner, emit_python, load
from tinygrad_bp.compiler.roll import Rolled
from tinygrad_bp.compiler.tracing import DataCheck, nudging
from tinygrad_bp.engine import Value, tick
from tinygrad_bp.errors import CompileError, MissingExtraError
from tinygrad_bp.rows import Structure

BRIEF = 100_000  # characters: so short a text on plain numbers is worth all of LLVM's effort
LONG, LONGEST = 20_000, 120_000  # operations in the text of the loops: less effort, then none
TOO_LONG_FOR_PYTHON = 200_000  # its compiler would take many seconds
_warned: set[str] = set()


class Kernel:
    """A rolled program, the Values it reads, and the code made of it."""

    def __init__(
        self,
        name: str,
        rolled: Rolled,
        leaves: Sequence[Value],
        params: int,
        widths: Sequence[int],
        result: Structure = None,
        checks: Sequence[DataCheck] = (),
    ) -> None:
        self.name, self.rolled, self.leaves, self.params = name, rolled, list(leaves), params
        self.widths, self.result, self.checks = tuple(widths), result, checks
        self.reason = ""  # why there is no machine code
        self.machines: dict[Lanes, native.Machine] = {}
        self.memories: dict[Lanes, list[Any]] = {}  # that no call uses now
        self.python: Runner | None = None

    def prepared(self, samples: int) -> Lanes | None:
        """The layout of the machine code for so many samples, made if need be; None for generated Python."""
        if self.reason:
            return None
        try:
            lanes = Lanes.chosen(self.rolled, native.vectors(), samples)
            with native.compiling():
                if lanes not in self.machines:
                    text, size = self.llvm(lanes), self.size()
                    effort = 2 if lanes.width == 1 and len(text) < BRIEF else 1 if size < LONG else 0
                    self.machines[lanes] = native.make(text, effort)
                    self.memories[lanes] = []
            return lanes
        except (CompileError, MissingExtraError) as error:
            self.reason = str(error)
            if self.reason not in _warned:
                _warned.add(self.reason)
                warnings.warn(
                    f"compiled code runs as generated Python: {error}", RuntimeWarning, stacklevel=2
                )
            return None

    def llvm(self, lanes: Lanes) -> str:
        """The text that machine code is made of."""
        if self.size() > LONGEST:
            raise CompileError(f"{self.size()} operations that no loop covers are too many for native code")
        return emit_llvm(self.rolled, self.widths, self.params, lanes)

    def size(self) -> int:
        """The operations in the text of all loops."""
        return sum(len(nest.shape) for nest in self.rolled.nests)

    def operations(self) -> int:
        """How many of them one evaluation does for a sample, about."""
        return sum(nest.points * (len(nest.shape) + nest.length) for nest in self.rolled.nests)

    def runner(self) -> Runner:
        """Generated Python. Raises CompileError for more code than Python's compiler can read."""
        if self.python is None:
            if self.size() > TOO_LONG_FOR_PYTHON:
                raise CompileError(
                    f"{self.name}: {self.size()} operations that no loop covers: use the engine itself"
                )
            self.python = load(*emit_python(self.rolled))
        return self.python

    def numbers(self) -> list[float]:
        """Parameters and captured Values, as they are now."""
        with nudging:
            return [x._data for x in self.leaves]

    def write_back(self, numbers: Sequence[float]) -> int:
        """Set the parameters: what `p.data = x` does, with one tick of the clock for all: that tick."""
        now = tick()
        for p, x in zip(self.leaves[: self.params], numbers):
            p._data = x
            p.number = now
        return now
