"""Kernel: a rolled program, the Values that it reads, and what the backends have made of it.

Code is kept by the structure of the program, for the process: a second function of the same structure has it
at once.  Where no machine code can be made, the kernel keeps the reason, and generated Python runs, with the
same results.
"""

from collections.abc import Hashable, Mapping, Sequence
from functools import cached_property
from typing import Any

from tinygrad_bp.compiler.locks import nudging
from tinygrad_bp.compiler.roll import Rolled
from tinygrad_bp.compiler.store import Store
from tinygrad_bp.compiler.tracing import DataCheck
from tinygrad_bp.engine import Value, tick
from tinygrad_bp.rows import Structure

LINES = 40  # nests that a report lists


class Code:
    """A rolled program and what is made of it: nothing here belongs to anybody's Values."""

    def __init__(
        self, rolled: Rolled, widths: Sequence[int], params: int, seconds: Mapping[str, float]
    ) -> None:
        self.rolled, self.widths, self.params, self.seconds = rolled, tuple(widths), params, seconds
        self.machines: dict[Hashable, Any] = {}  # machine code, by what the backend tells apart
        self.layouts: Store[Any] = Store(64)  # which of them is for so many samples, and an update
        self.runner: Any = None  # generated Python

    @cached_property
    def operations(self) -> int:
        """How many of them one evaluation does for a sample, about."""
        return sum(nest.points * (len(nest.shape) + nest.length) for nest in self.rolled.nests)

    def size(self) -> int:
        """The operations in the text of all loops."""
        return sum(len(nest.shape) for nest in self.rolled.nests)


CODES: Store[Code] = Store(64)


class Kernel:
    """The code of a program and the Values that it reads: parameters first."""

    reason = ""  # why there is no machine code

    def __init__(
        self,
        name: str,
        code: Code,
        leaves: Sequence[Value],
        result: Structure = None,
        checks: Sequence[DataCheck] = (),
        arguments: Sequence[str] = (),
        seconds: Mapping[str, float] | None = None,
    ) -> None:
        self.name, self.code, self.leaves, self.result, self.checks = name, code, list(leaves), result, checks
        self.arguments, self.seconds = list(arguments), {**(seconds or {}), **code.seconds}
        self.rolled, self.widths, self.params = code.rolled, code.widths, code.params
        self.machines = code.machines
        self.memories: dict[Hashable, list[Any]] = {}  # of machine code, that no call uses now

    def numbers(self) -> list[float]:
        """Parameters and captured Values, as they are now."""
        with nudging:
            return [x._data for x in self.leaves]

    def write_back(self, numbers: Sequence[float]) -> None:
        """Set the parameters: what `p.data = x` does. The clock ticks once for each of them."""
        for p, x in zip(self.leaves[: self.params], numbers):
            p._data = x
            p.number = tick()  # of its own, since `walk` finds a node by its number

    def report(self) -> str:
        """Its loop nests, one line each, its memory, and the seconds of each pass."""
        rolled = self.rolled
        statements = sum(nest.points for nest in rolled.nests)
        how = "machine code" if self.machines else "no code made yet"
        if self.reason:
            how = f"generated Python: {self.reason}"
        lines = [
            f"{self.name}: {statements} statements in {len(rolled.nests)} loop nests, {how}",
            f"  {rolled.leaves} parameters and captured values, {rolled.inputs} inputs, "
            f"{len(rolled.outputs)} outputs",
            f"  memory: {rolled.scalars} scalars, {rolled.rows} numbers a sample, "
            f"{len(rolled.table)} addresses in tables",
            f"  seconds: {', '.join(f'{name} {s:.3f}' for name, s in self.seconds.items())}",
        ]
        for nest in rolled.nests[:LINES]:
            loops = " x ".join(str(trips) for trips, _ in nest.loops) or "1"
            inner = f", each a sum of {nest.length}" if nest.length else ""
            table = ", addresses from a table" if nest.table else ""
            lines.append(f"  {nest.kind.value}: {loops}{inner}{table}")
        if len(rolled.nests) > LINES:
            lines.append(f"  ... and {len(rolled.nests) - LINES} more")
        return "\n".join(lines)
