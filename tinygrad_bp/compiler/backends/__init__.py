"""The backends, behind one interface: a rolled program as Python, as machine code, as matrices, or as data.

A backend is a module with `source(kernel)`: the program as text.  It reads each statement with `fold`, by a
`Speller` of its own, and each primitive's record in `PRIMITIVES` (both in spelling.py).  If its code runs on
data here, the module also has `bind(kernel, columns, use)`.  A new backend gets a line in BACKENDS, and then
`step.source(kind)` prints it.
"""

import warnings
from typing import Protocol

from tinygrad_bp.compiler.backends import page, python
from tinygrad_bp.compiler.backends.llvm import frame
from tinygrad_bp.compiler.backends.matrix import emit_matrix
from tinygrad_bp.compiler.bound import Bound, Use
from tinygrad_bp.compiler.columns import Columns
from tinygrad_bp.compiler.kernel import Kernel
from tinygrad_bp.errors import CompileError, MissingExtraError


class Backend(Protocol):
    """What every backend's module has."""

    def source(self, kernel: Kernel) -> str:
        """The program as text. Raises CompileError for an operation that the backend cannot write."""


class Runner(Backend, Protocol):
    """What the module of a backend has whose code runs here."""

    def bind(self, kernel: Kernel, columns: Columns, use: Use) -> Bound:
        """The kernel with its data. Raises CompileError where its code cannot be made or run."""


BACKENDS: dict[str, Backend] = {"python": python, "matrix": emit_matrix, "llvm": frame, "page": page}
FASTEST: Runner = frame
ANYWHERE: Runner = python
_warned: set[str] = set()


def bind(kernel: Kernel, columns: Columns, use: Use = Use()) -> Bound:
    """A kernel with its data, in machine code if that can be made; else in Python, and a warning says why.

    Raises ValueError for data of another width than the kernel was compiled for.
    """
    if columns.widths != kernel.widths:
        raise ValueError(
            f"{kernel.name} was compiled for {kernel.widths} numbers a sample, not {columns.widths}"
        )
    if not kernel.reason:
        try:
            return FASTEST.bind(kernel, columns, use)
        except (CompileError, MissingExtraError) as error:
            kernel.reason = str(error)
            if kernel.reason not in _warned:
                _warned.add(kernel.reason)
                warnings.warn(
                    f"compiled code runs as generated Python: {error}", RuntimeWarning, stacklevel=2
                )
    return ANYWHERE.bind(kernel, columns, use)
