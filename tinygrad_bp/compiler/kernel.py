"""Kernel: compiled code with its memory, ready to be called.

It reads the parameters again only if some Value was made or set since, keeps memory for as many calls as run
at once, and checks sizes before machine code sees an address.  Where no machine code can be made it says so
once and runs generated Python, with the same results.  Read compiled.py next, the public face.
"""

import ctypes
import warnings
from abc import ABC, abstractmethod
from array import array
from collections.abc import Sequence
from math import isfinite
from typing import Any

from tinygrad_bp.compiler import native
from tinygrad_bp.compiler.columns import Columns
from tinygrad_bp.compiler.emit_python import Runner, emit_python, load
from tinygrad_bp.compiler.llvm.module import Lanes, emit_llvm
from tinygrad_bp.compiler.roll import Rolled
from tinygrad_bp.engine import Value, tick
from tinygrad_bp.errors import CompileError, MissingExtraError, NonFiniteError

LONG, LONGER, LONGEST = 3_000, 20_000, 120_000  # operations in the text of the loops: less effort, then none
TOO_LONG_FOR_PYTHON = 200_000  # its compiler would take many seconds
_warned: set[str] = set()


class Kernel:
    """A rolled program, the Values it reads, and the code made of it."""

    def __init__(
        self, name: str, rolled: Rolled, leaves: Sequence[Value], params: int, widths: Sequence[int]
    ) -> None:
        self.name, self.rolled, self.leaves, self.params = name, rolled, list(leaves), params
        self.widths = tuple(widths)
        self.reason = ""  # why there is no machine code
        self.machines: dict[Lanes, native.Machine] = {}
        self.memories: dict[Lanes, list[_Memory]] = {}
        self.python: Runner | None = None

    # --- calls ---------------------------------------------------------------------------------------------

    def run(self, columns: Columns) -> "array[float]":
        """The sums over the samples; or the outputs of each sample, one sample after the other."""
        return self.bind(columns)()

    def bind(self, columns: Columns) -> "Bound":
        """A call with its data."""
        if columns.widths != self.widths:
            raise ValueError(
                f"{self.name} was compiled for {self.widths} numbers a sample, not {columns.widths}"
            )
        lanes = self.prepared(columns.count)
        return Native(self, columns, lanes) if lanes else Generated(self, columns)

    def prepared(self, samples: int) -> Lanes | None:
        """The layout of the machine code for so many samples, made if need be; None for generated Python."""
        if self.reason:
            return None
        try:
            lanes = Lanes.chosen(self.rolled, native.vector_width(), samples)
            with native.compiling():
                if lanes not in self.machines:
                    size = self.size()
                    self.machines[lanes] = native.make(self.llvm(lanes), 2 - (size > LONG) - (size > LONGER))
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
        return [x._data for x in self.leaves]

    def write_back(self, numbers: Sequence[float]) -> None:
        """Set the parameters: what `p.data = x` does, with one tick of the clock for all."""
        now = tick()
        for p, x in zip(self.leaves[: self.params], numbers):
            p._data = x
            p.number = now


class Bound(ABC):
    """A kernel and its data: calling it computes."""

    def __init__(self, kernel: Kernel, columns: Columns) -> None:
        self.kernel, self.columns = kernel, columns

    @abstractmethod
    def __call__(self) -> "array[float]":
        """The sums over the samples, or the outputs of each."""

    @abstractmethod
    def train(
        self, steps: int, lr: float, momentum: float, scale: float = 1.0, velocity: Any = None
    ) -> "Training":
        """Take steps of gradient descent on `scale` times the sums; stops at a sum that is not finite.

        Momentum begins with `velocity`, a number for each parameter, and leaves there what it ends with.
        """


class Training:
    """What a run of training leaves: the loss before each step, and whether it stopped early."""

    def __init__(self, kernel: Kernel, losses: "array[float]", done: int) -> None:
        self.kernel, self.losses, self.done = kernel, losses[:done], done
        self.stopped = done < len(losses)

    def raise_if_stopped(self) -> None:
        """NonFiniteError, if a loss or a gradient was not finite."""
        if self.stopped:
            raise NonFiniteError(
                f"training {self.kernel.name} stopped in step {self.done}: the loss or a gradient is not "
                "finite; the parameters are as they were before that step: start again with a smaller "
                "learning rate"
            )


class _Memory:
    """What one call of machine code works in: scalars, rows, sums."""

    def __init__(self, rolled: Rolled, lanes: Lanes) -> None:
        places = rolled.scalars - rolled.leaves - len(rolled.constants)
        self.scalars = array("d", [0.0] * rolled.leaves + rolled.constants + [0.0] * places)
        self.scalars.append(0.0)  # never empty
        self.rows = (ctypes.c_double * (rolled.rows * lanes.tile + 64))()
        self.sums = array("d", bytes(8 * (len(rolled.outputs) + 1)))
        self.velocity = array("d", bytes(8 * max(1, rolled.leaves)))
        self.stamp = -1  # of the engine's clock, when the scalars were read
        self.aligned = (ctypes.addressof(self.rows) + 63) // 64 * 64
        self.at_scalars = self.scalars.buffer_info()[0]
        self.at_sums = self.sums.buffer_info()[0]
        self.at_velocity = self.velocity.buffer_info()[0]


class Native(Bound):
    """Machine code on its data."""

    def __init__(self, kernel: Kernel, columns: Columns, lanes: Lanes) -> None:
        super().__init__(kernel, columns)
        self.lanes, self.machine = lanes, kernel.machines[lanes]
        self.memories = kernel.memories[lanes]
        self.pointers, self.views = columns.addresses()

    def memory(self) -> _Memory:
        """Memory that no other call uses now, with the parameters in it."""
        kernel = self.kernel
        try:
            memory = self.memories.pop()
        except IndexError:
            memory = _Memory(kernel.rolled, self.lanes)
        now = tick()
        if now != memory.stamp + 1:  # something was made or set since
            memory.scalars[: len(kernel.leaves)] = array("d", kernel.numbers())
        memory.stamp = now
        return memory

    def __call__(self) -> "array[float]":
        memory = self.memory()
        n, rolled = self.columns.count, self.kernel.rolled
        if rolled.summed:
            self.machine.run(memory.at_scalars, self.pointers, n, memory.at_sums, memory.aligned, None, True)
            result = memory.sums[:-1]
        else:
            result = array("d", bytes(8 * n * len(rolled.outputs)))
            at = result.buffer_info()[0]
            self.machine.run(memory.at_scalars, self.pointers, n, memory.at_sums, memory.aligned, at, True)
        self.memories.append(memory)
        return result

    def train(
        self, steps: int, lr: float, momentum: float, scale: float = 1.0, velocity: Any = None
    ) -> Training:
        kernel, memory = self.kernel, self.memory()
        losses = array("d", bytes(8 * max(1, steps)))
        if momentum:
            memory.velocity[: kernel.params] = array("d", velocity or bytes(8 * kernel.params))
        done = self.machine.train(
            memory.at_scalars, self.pointers, self.columns.count, memory.at_sums, memory.aligned,
            losses.buffer_info()[0], memory.at_velocity, lr, momentum, scale, steps,
        )  # fmt: skip
        if steps:
            kernel.write_back(memory.scalars)
        if momentum and velocity is not None:
            velocity[:] = memory.velocity[: kernel.params].tolist()
        memory.stamp = tick()
        self.memories.append(memory)
        return Training(kernel, losses[: done + 1 if done < steps else steps], done)


class Generated(Bound):
    """Generated Python on its data."""

    def __init__(self, kernel: Kernel, columns: Columns) -> None:
        super().__init__(kernel, columns)
        self.runner = kernel.runner()

    def __call__(self) -> "array[float]":
        results = self.runner(self.kernel.numbers(), self.columns.samples())
        return array("d", results if self.kernel.rolled.summed else [x for row in results for x in row])

    def train(
        self, steps: int, lr: float, momentum: float, scale: float = 1.0, velocity: Any = None
    ) -> Training:
        kernel, samples = self.kernel, self.columns.samples()
        numbers = kernel.numbers()
        kept = list(velocity or [0.0] * kernel.params)
        losses = array("d")
        for _ in range(steps):
            *gradient, loss = [scale * x for x in self.runner(numbers, samples)]
            losses.append(loss)
            if not (isfinite(loss) and all(map(isfinite, gradient))):
                break
            kept = [momentum * v + g for v, g in zip(kept, gradient)] if momentum else gradient
            numbers[: kernel.params] = [p - lr * v for p, v in zip(numbers, kept)]
        else:
            losses.append(0.0)
        if steps:
            kernel.write_back(numbers)
        if momentum and velocity is not None:
            velocity[:] = kept
        done = len(losses) - 1
        return Training(kernel, losses if done < steps else losses[:steps], done)
