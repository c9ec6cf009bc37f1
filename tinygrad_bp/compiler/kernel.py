"""Kernel: a rolled program, the Values that it reads, and the code made of it.

Code is kept by the structure of the program, for the process: a second function of the same structure has it
at once.  Machine code is made for as many samples as there are, when they are first seen.  Where none can be
made, the kernel says so once, and generated Python runs, with the same results.  Read bound.py next, where it
meets data.
"""

import warnings
from collections.abc import Sequence
from typing import Any

from tinygrad_bp.compiler.backends.llvm import native
from tinygrad_bp.compiler.backends.llvm.blocks import Lanes
from tinygrad_bp.compiler.backends.llvm.module import emit_llvm
from tinygrad_bp.compiler.backends.python import Runner, emit_python, load
from tinygrad_bp.compiler.locks import nudging
from tinygrad_bp.compiler.roll import Rolled
from tinygrad_bp.compiler.rule import Update, descents
from tinygrad_bp.compiler.store import Store
from tinygrad_bp.compiler.tracing import DataCheck
from tinygrad_bp.engine import Value, tick
from tinygrad_bp.errors import CompileError, MissingExtraError
from tinygrad_bp.rows import Structure

BRIEF = 100_000  # characters: so short a text on plain numbers is worth all of LLVM's effort
LONG, LONGEST = 20_000, 120_000  # operations in the text of the loops: less effort, then none
TOO_LONG_FOR_PYTHON = 200_000  # its compiler would take many seconds
_warned: set[str] = set()


Layout = tuple[Lanes, Update | None]  # which machine code


class Code:
    """A rolled program and what is made of it: nothing here belongs to anybody's Values."""

    def __init__(self, rolled: Rolled, widths: Sequence[int], params: int, seconds: dict[str, float]) -> None:
        self.rolled, self.widths, self.params, self.seconds = rolled, tuple(widths), params, seconds
        self.machines: dict[Layout, native.Machine] = {}
        self.python: Runner | None = None

    def llvm(self, lanes: Lanes, update: Update | None = None) -> str:
        """The text that machine code is made of."""
        if self.size() > LONGEST:
            raise CompileError(f"{self.size()} operations that no loop covers are too many for native code")
        return emit_llvm(self.rolled, self.widths, self.params, lanes, update)

    def size(self) -> int:
        """The operations in the text of all loops."""
        return sum(len(nest.shape) for nest in self.rolled.nests)


CODES: Store[Code] = Store(64)


class Kernel:
    """The code of a program and the Values that it reads: parameters first."""

    def __init__(
        self,
        name: str,
        code: Code,
        leaves: Sequence[Value],
        result: Structure = None,
        checks: Sequence[DataCheck] = (),
    ) -> None:
        self.name, self.code, self.leaves, self.result, self.checks = name, code, list(leaves), result, checks
        self.rolled, self.widths, self.params = code.rolled, code.widths, code.params
        self.machines, self.llvm, self.size = code.machines, code.llvm, code.size
        self.reason = ""  # why there is no machine code
        self.memories: dict[Layout, list[Any]] = {}  # that no call uses now

    def prepared(self, samples: int, update: Update | None = None) -> Layout | None:
        """The layout of the machine code for so many samples, made if need be; None for generated Python."""
        if self.reason:
            return None
        if update is None and self.rolled.summed and len(self.rolled.outputs) == self.params + 1:
            update = Update(descents())
        try:
            layout = Lanes.chosen(self.rolled, native.vectors(), samples), update
            with native.compiling():
                if layout not in self.machines:
                    text, size = self.llvm(*layout), self.size()
                    effort = 2 if layout[0].width == 1 and len(text) < BRIEF else 1 if size < LONG else 0
                    self.machines[layout] = native.make(text, effort)
            return layout
        except (CompileError, MissingExtraError) as error:
            self.reason = str(error)
            if self.reason not in _warned:
                _warned.add(self.reason)
                warnings.warn(
                    f"compiled code runs as generated Python: {error}", RuntimeWarning, stacklevel=2
                )
            return None

    def operations(self) -> int:
        """How many of them one evaluation does for a sample, about."""
        return sum(nest.points * (len(nest.shape) + nest.length) for nest in self.rolled.nests)

    def runner(self) -> Runner:
        """Generated Python. Raises CompileError for more code than Python's compiler can read."""
        if self.code.python is None:
            if self.size() > TOO_LONG_FOR_PYTHON:
                raise CompileError(
                    f"{self.name}: {self.size()} operations that no loop covers: use the engine itself"
                )
            self.code.python = load(*emit_python(self.rolled))
        return self.code.python

    def numbers(self) -> list[float]:
        """Parameters and captured Values, as they are now."""
        with nudging:
            return [x._data for x in self.leaves]

    def write_back(self, numbers: Sequence[float]) -> None:
        """Set the parameters: what `p.data = x` does. The clock ticks once for each of them."""
        for p, x in zip(self.leaves[: self.params], numbers):
            p._data = x
            p.number = tick()  # of its own, since `walk` finds a node by its number
