"""Frame: what machine code works in, a row of addresses and numbers, and the calls that are made on it.

All memory is owned here, and sizes are checked before any code sees an address.  Parameters are read again
only if some Value was made or set since.  Threads take shares of the batch, which depend on the batch alone.
Read compiled.py next, the public face.
"""

import ctypes
import threading
from array import array
from contextlib import suppress
from functools import cached_property
from typing import Any

from tinygrad_bp.compiler.backends.llvm.blocks import Lanes
from tinygrad_bp.compiler.backends.llvm.calls import FRAME, LINE, rows_size, sums_size
from tinygrad_bp.compiler.bound import Bound, Generated, Training
from tinygrad_bp.compiler.columns import Columns
from tinygrad_bp.compiler.kernel import Kernel
from tinygrad_bp.engine import tick

SHARES = 8  # of a batch at most: as many threads can work at once
BRIEF = 20_000  # operations: a call of fewer does not let other Python threads run meanwhile


def bind(kernel: Kernel, columns: Columns, threads: int = 1) -> "Bound":
    """A kernel with its data, in machine code where that can be made."""
    if columns.widths != kernel.widths:
        raise ValueError(
            f"{kernel.name} was compiled for {kernel.widths} numbers a sample, not {columns.widths}"
        )
    lanes = kernel.prepared(columns.count)
    return Native(kernel, columns, lanes, threads) if lanes else Generated(kernel, columns)


class _Memory:
    """What machine code works in: scalars, the rows of each thread, buffers of sums."""

    def __init__(self, kernel: Kernel, lanes: Lanes, threads: int, buffers: int) -> None:
        rolled = kernel.rolled
        places = rolled.scalars - rolled.leaves - len(rolled.constants) + 1  # never empty
        self.scalars = array("d", [0.0] * rolled.leaves + rolled.constants + [0.0] * places)
        self.rows = (ctypes.c_double * (threads * rows_size(rolled, lanes) + LINE))()
        self.sums = array("d", bytes(8 * buffers * sums_size(rolled)))
        self.velocity = array("d", bytes(8 * (kernel.params + 1)))
        self.meeting = (ctypes.c_int64 * (LINE * (threads + 3)))()
        self.stamp = -1  # of the engine's clock, when the scalars were read; -1: they may be others
        self.threads, self.buffers = threads, buffers


class Native(Bound):
    """Machine code on its data."""

    def __init__(self, kernel: Kernel, columns: Columns, lanes: Lanes, threads: int) -> None:
        super().__init__(kernel, columns)
        self.machine = kernel.machines[lanes]
        n, width, rolled = columns.count, lanes.width, kernel.rolled
        tiles = -(-n // lanes.tile)
        tile = -(-n // tiles // width) * width  # as even as can be
        each = -(-tiles // SHARES)
        shares = -(-tiles // each)
        self.threads = min(threads, shares) if lanes.tile > width else 1  # a few samples are not divided
        buffers = 1 if self.threads == each == 1 else shares
        self.pool = kernel.memories[lanes]
        self.memory = self._memory(lanes, buffers)
        self.pointers, self.views = columns.addresses()
        self.exposed = False  # whether the memory can be reached from outside
        self.results = array("d", bytes(8 if rolled.summed else 8 * max(1, n * len(rolled.outputs))))
        memory, rows = self.memory, ctypes.addressof(self.memory.rows)
        self.frame = (ctypes.c_int64 * len(FRAME))()
        self.numbers = memoryview(self.frame).cast("B").cast("d")
        self.set(
            scalars=memory.scalars, columns=ctypes.addressof(self.pointers), sums=memory.sums,
            rows=-(-rows // 64) * 64, results=self.results, velocity=memory.velocity,
            meeting=-(-ctypes.addressof(memory.meeting) // 64) * 64, samples=n, tile=tile, per_share=each,
            shares=shares, buffers=buffers, threads=self.threads, scale=1.0,
        )  # fmt: skip

    def _memory(self, lanes: Lanes, buffers: int) -> _Memory:
        with suppress(IndexError):  # an empty pool
            memory: _Memory = self.pool.pop()
            if memory.threads >= self.threads and memory.buffers >= buffers:
                return memory
        return _Memory(self.kernel, lanes, self.threads, buffers)

    def set(self, **fields: Any) -> None:
        """Fields of the frame: addresses (of arrays), whole numbers, floats."""
        for name, x in fields.items():
            if isinstance(x, float):
                self.numbers[FRAME.index(name)] = x
            else:
                self.frame[FRAME.index(name)] = x.buffer_info()[0] if isinstance(x, array) else x

    def release(self) -> None:
        if not self.exposed:
            self.exposed = True
            self.pool.append(self.memory)

    def read(self) -> None:
        """Take them only if some Value was made or set since, or someone else can write to the memory."""
        now = tick()
        if self.exposed or now != self.memory.stamp + 1:
            self.memory.scalars[: len(self.kernel.leaves)] = array("d", self.kernel.numbers())
        self.memory.stamp = now

    def go(self, name: str) -> Any:
        """Call a function of the machine code, on all threads."""
        call, frame = self.machine.calls[name], ctypes.addressof(self.frame)
        if self.threads == 1:
            return call(frame, 0)
        threads: list[threading.Thread] = []
        gate, shut = threading.Lock(), False
        gate.acquire()

        def work(rank: int) -> None:
            with gate:
                pass
            if not shut:  # the memory lives as long as self
                call(ctypes.addressof(self.frame), rank)

        try:
            with suppress(RuntimeError):  # no more threads are to be had: those that there are do the work
                for rank in range(1, self.threads):
                    thread = threading.Thread(target=work, args=(rank,), daemon=True)
                    thread.start()
                    threads.append(thread)
            self.set(threads=len(threads) + 1)
        except BaseException:
            shut = True
            gate.release()
            raise
        try:
            gate.release()
        finally:  # also after Ctrl-C: the others wait for this one
            result = call(frame, 0)
        for thread in threads:
            thread.join()
        return result

    def run(self) -> "array[float]":
        rolled, scalars = self.kernel.rolled, self.memory.scalars
        params = scalars[: self.kernel.params] if self.exposed else None
        self.read()
        self.go("evaluate")
        if params is not None:
            scalars[: self.kernel.params] = params
        count = len(rolled.outputs)
        return self.memory.sums[:count] if rolled.summed else self.results[: self.columns.count * count]

    @property
    def params(self) -> memoryview:
        self.exposed = True
        return memoryview(self.memory.scalars)[: self.kernel.params]

    @property
    def velocity(self) -> memoryview:
        return memoryview(self.memory.velocity)[: self.kernel.params]

    @property
    def grads(self) -> memoryview:
        self.exposed = True
        rolled = self.kernel.rolled
        return memoryview(self.memory.sums if rolled.summed else self.results)[: len(rolled.outputs) - 1]

    @cached_property
    def evaluate(self) -> Any:
        return self._baked("evaluate")

    @cached_property
    def descend(self) -> Any:
        self.need_params("descend")
        return self._baked("descend")

    def _baked(self, name: str) -> Any:
        self.exposed = True
        if self.threads > 1:
            return lambda: self.go(name)
        work = self.columns.count * self.kernel.operations()
        keep = self.frame, self.memory, self.pointers, self.views, self.results
        return self.machine.baked(name, keep, ctypes.addressof(self.frame), brief=work < BRIEF)

    def paced(self) -> None:
        self.set(lr=self._pace[0], momentum=self._pace[1], scale=1.0)

    def train(
        self, steps: int, lr: float, momentum: float, scale: float = 1.0, velocity: Any = None
    ) -> Training:
        self.need_params("train")
        kernel, memory = self.kernel, self.memory
        if momentum:
            self.velocity[:] = self.begun(velocity)
        self.read()
        before, memory.stamp = memory.stamp, -1  # an exception may come from here on
        losses = array("d", bytes(8 * max(1, steps)))
        self.set(losses=losses, steps=steps, lr=lr, momentum=momentum, scale=scale)
        done = self.go("train")
        self.paced()
        if steps:
            now = kernel.write_back(memory.scalars[: kernel.params])
            memory.stamp = now if now == before + 1 else -1  # another thread may have set a Value meanwhile
        if momentum and velocity is not None:
            velocity[:] = self.velocity.tolist()
        return Training(kernel, losses[: done + 1 if done < steps else steps], done)
