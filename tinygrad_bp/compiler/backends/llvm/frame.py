"""Frame: what machine code works in, a row of addresses and numbers, and the calls that are made on it.

All memory is owned here, and sizes are checked before any code sees an address.  Parameters are read again
only if some Value was made or set since.  Threads take shares of the batch, which depend on the batch alone.
Machine code is made for as many samples as there are, when they are first seen.
"""

import ctypes
import threading
from array import array
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tinygrad_bp.compiler.away import Absence
from tinygrad_bp.compiler.backends.llvm import native
from tinygrad_bp.compiler.backends.llvm.blocks import Lanes
from tinygrad_bp.compiler.backends.llvm.calls import FRAME, LINE, rows_size, sums_size
from tinygrad_bp.compiler.backends.llvm.module import emit_llvm
from tinygrad_bp.compiler.backends.llvm.updates import padded
from tinygrad_bp.compiler.bound import Bound, Stretch, Use
from tinygrad_bp.compiler.columns import Columns
from tinygrad_bp.compiler.kernel import Kernel
from tinygrad_bp.compiler.locks import compiling
from tinygrad_bp.compiler.rule import Rule, Update, descent, descents
from tinygrad_bp.engine import tick
from tinygrad_bp.errors import CompileError
from tinygrad_bp.undo import finish

SHARES = 8  # of a batch at most: as many threads can work at once
SHORT = 100_000  # characters: in so short a text on plain numbers loops are written out
LONG, LONGEST = 20_000, 120_000  # operations in the text of the loops: less effort, then none
BRIEF = 20_000  # operations: a call of fewer does not let other Python threads run meanwhile

Layout = tuple[Lanes, Update | None]  # which machine code


def source(kernel: Kernel) -> str:
    """The text of the machine code that was made first, or else of what a thousand samples would run."""
    layout = next(iter(kernel.machines), (Lanes.chosen(kernel.rolled, (8, 32), 1000), None))
    return _emitted(kernel, layout)


def bind(kernel: Kernel, columns: Columns, use: Use) -> "Native":
    """The kernel with its data. Raises CompileError where no machine code can be made, and where the penalty
    is not machine code; MissingExtraError without llvmlite."""
    penalty, update = use.penalty, use.update
    if penalty is not None and not isinstance(penalty, Native):
        raise CompileError(penalty.kernel.reason)
    rolled, samples = kernel.rolled, use.batch or columns.count
    if update is None and rolled.summed and len(rolled.outputs) == kernel.params + 1:
        update = Update(descents())
    key = samples, update, native.vectors()
    layout = kernel.code.layouts.get(key, lambda: _layout(kernel, samples, update))
    with compiling:
        if layout not in kernel.machines:
            text, size = _emitted(kernel, layout), kernel.code.size()
            effort = 2 if layout[0].width == 1 and len(text) < SHORT else 1 if size < LONG else 0
            kernel.machines[layout] = native.make(text, effort)
    return Native(kernel, columns, layout, use.threads, samples, penalty)


def _layout(kernel: Kernel, samples: int, update: Update | None) -> Layout:
    moving = kernel.params * max([rule.size for rule in update.rules], default=0) if update else 0
    return Lanes.chosen(kernel.rolled, native.vectors(), samples, moving), update


def _emitted(kernel: Kernel, layout: Layout) -> str:
    size = kernel.code.size()
    if size > LONGEST:
        raise CompileError(f"{size} operations that no loop covers are too many for native code")
    return emit_llvm(kernel.code, *layout)


@dataclass(frozen=True)
class Division:
    """How a batch is divided into tiles, and those into shares, each summed into a buffer of its own."""

    samples: int
    tile: int
    per_share: int
    shares: int
    buffers: int

    @staticmethod
    def of(samples: int, lanes: Lanes, threads: int) -> "Division":
        tiles = -(-samples // lanes.tile)
        tile = -(-samples // tiles // lanes.width) * lanes.width  # as even as can be
        each = -(-tiles // SHARES)
        shares = -(-tiles // each)
        return Division(samples, tile, each, shares, 1 if threads == each == 1 else shares)


class _Memory:
    """What machine code works in: scalars, rows of each thread, buffers of sums, an optimizer's memory."""

    def __init__(self, kernel: Kernel, layout: Layout, threads: int, buffers: int) -> None:
        rolled, (lanes, update) = kernel.rolled, layout
        places = rolled.scalars - rolled.leaves - len(rolled.constants) + 1  # never empty
        kept = update.memory * padded(kernel.params) if update else 0
        self.scalars = array("d", [0.0] * rolled.leaves + rolled.constants + [0.0] * places)
        self.rows = (ctypes.c_double * (threads * rows_size(rolled, lanes) + LINE))()
        self.sums = array("d", bytes(8 * buffers * sums_size(rolled)))
        self.optimizer = array("d", bytes(8 * (kept + 1)))
        self.meeting = (ctypes.c_int64 * (LINE * (2 * threads + 3)))()
        self.stamp = -1  # of the engine's clock, when the scalars were read; -1: they may be others
        self.absence = Absence(kernel.leaves[: kernel.params])  # of parameters whose numbers are only here
        self.threads, self.buffers = threads, buffers


class Native(Bound):
    """Machine code on its data."""

    def __init__(
        self,
        kernel: Kernel,
        columns: Columns,
        layout: Layout,
        threads: int,
        batch: int,
        penalty: "Native | None" = None,
    ) -> None:
        super().__init__(kernel, columns, penalty)
        self.machine = kernel.machines[layout]
        self.lanes, self.update = layout
        lanes, rolled = self.lanes, kernel.rolled
        most = Division.of(batch, lanes, threads).shares
        self.threads = min(threads, most) if lanes.tile > lanes.width else 1  # a few samples are not divided
        self.division = Division.of(batch, lanes, self.threads)
        self.pool = kernel.memories.setdefault(layout, [])
        self.memory = memory = self._memory(layout, most)
        self.pointers, self.views = columns.addresses()
        self.exposed = False  # whether the memory can be reached from outside, and numbers in it be changed
        results = 8 if rolled.summed else 8 * max(1, columns.count * len(rolled.outputs))
        self.results, self.rates = array("d", bytes(results)), array("d", [0.0])
        self.shared: array[float] = array("d", [0.0])
        rows = ctypes.addressof(memory.rows)
        self.frame = (ctypes.c_int64 * len(FRAME))()
        self.set(
            scalars=memory.scalars, columns=ctypes.addressof(self.pointers), sums=memory.sums,
            rows=-(-rows // 64) * 64, results=self.results, memory=memory.optimizer,
            meeting=-(-ctypes.addressof(memory.meeting) // 64) * 64, threads=self.threads, scale=1.0,
            **vars(self.division),
        )  # fmt: skip
        if penalty:
            self.set(
                penalty=penalty.machine.address("evaluate"), penalty_frame=ctypes.addressof(penalty.frame),
                penalty_scalars=penalty.memory.scalars, penalty_sums=penalty.memory.sums,
            )  # fmt: skip
        self.paced()

    def _memory(self, layout: Layout, buffers: int) -> _Memory:
        with suppress(IndexError):  # an empty pool
            memory: _Memory = self.pool.pop()
            if memory.threads >= self.threads and memory.buffers >= buffers:
                return memory
        return _Memory(self.kernel, layout, self.threads, buffers)

    def set(self, **fields: Any) -> None:
        """Fields of the frame: addresses (of arrays), whole numbers, floats."""
        fill(self.frame, **fields)

    def release(self) -> None:
        if not self.exposed:
            self.exposed = True
            self.pool.append(self.memory)

    def expose(self) -> None:
        self.memory.absence.end()
        self.exposed = True

    def read(self) -> None:
        """Take them only if some Value was made or set since, or someone else can write to the memory."""
        now = tick()
        if self.exposed or now != self.memory.stamp + 1:
            self.memory.scalars[: len(self.kernel.leaves)] = array("d", self.kernel.numbers())
        self.memory.stamp = now

    def go(self, name: str, frames: Any = None) -> Any:
        """Call a function of the machine code, on all threads."""
        frames = frames or self.frame
        call, address = self.machine.calls[name], ctypes.addressof(frames)
        if self.threads == 1:
            return call(address, 0)
        threads: list[threading.Thread] = []
        gate, shut = threading.Lock(), False
        gate.acquire()

        def work(rank: int) -> None:
            with gate:
                pass
            if not shut:  # the memory lives as long as self
                call(ctypes.addressof(frames), rank)

        try:
            with suppress(RuntimeError):  # no more threads are to be had: those that there are do the work
                for rank in range(1, self.threads):
                    thread = threading.Thread(target=work, args=(rank,), daemon=True)
                    thread.start()
                    threads.append(thread)
            fill(frames, threads=len(threads) + 1)
        except BaseException:
            shut = True
            gate.release()
            raise
        try:
            gate.release()
        finally:  # also after Ctrl-C: the others wait for this one
            result = call(address, 0)
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

    def run_one(self, sample: int) -> "array[float]":
        self.read()
        frames = (ctypes.c_int64 * len(FRAME)).from_buffer_copy(self.frame)
        widths, here = self.columns.widths, self.pointers
        moved = (ctypes.c_void_p * len(here))(*[p + 8 * w * sample for p, w in zip(here, widths)])
        only, nothing = array("q", [0]), array("d", bytes(8 * sums_size(self.kernel.rolled)))
        fill(frames, columns=ctypes.addressof(moved), lists=only, penalty_sums=nothing,
             **vars(Division.of(1, self.lanes, 1)))  # fmt: skip
        self.go("evaluate", frames)
        return self.memory.sums[: len(self.kernel.rolled.outputs)]

    @property
    def params(self) -> memoryview:
        self.expose()
        return memoryview(self.memory.scalars)[: self.kernel.params]

    @property
    def velocity(self) -> memoryview:
        return memoryview(self.memory.optimizer)[: self.kernel.params]

    @property
    def grads(self) -> memoryview:
        self.expose()
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
        self.expose()
        if self.threads > 1:
            return lambda: self.go(name)
        work = self.columns.count * self.kernel.code.operations
        keep = self.frame, self.memory, self.pointers, self.views, self.results
        return self.machine.baked(name, keep, ctypes.addressof(self.frame), brief=work < BRIEF)

    def paced(self) -> None:
        if self.update and len(self.update.rules) > 1:  # plain descent
            lr, momentum = self._pace
            which, shared = descent(momentum)
            self.rates, self.shared = array("d", [lr]), array("d", [*shared, 0.0])
            self.set(rates=self.rates, shared=self.shared, rule=which, t=1.0)

    def take(self, stretch: Stretch) -> None:
        self.need_params("train")
        memory, kept = self.memory, self.columns_of(stretch.rule)
        for column, numbers in zip(kept, stretch.memory):
            column[:] = array("d", numbers)
        self.read()
        before, memory.stamp = memory.stamp, -1  # an exception may come from here on
        starting = memory.scalars[: self.kernel.params], memory.optimizer[:]
        memory.absence.lend(starting[0])
        losses = array("d", bytes(8 * max(1, len(stretch.rates))))
        frames, keep = self.frames(stretch, losses)
        try:
            if self.go("train", frames):
                raise stretch.stranger(self.columns.count)
        finally:
            finish(lambda: self.leave(stretch, frames, starting, kept, losses, before))
        del keep

    def shuffle(self, seeds: "array[int]", n: int) -> "array[int]":
        orders = array("q", bytes(8 * n * len(seeds)))
        self.machine.calls["shuffle"](orders.buffer_info()[0], n, seeds.buffer_info()[0], len(seeds))
        return orders

    def columns_of(self, rule: Rule) -> list[memoryview]:
        """The optimizer's memory by name, as the machine code has it."""
        view, n = memoryview(self.memory.optimizer), self.kernel.params
        return [view[padded(n) * i : padded(n) * i + n] for i in range(len(rule.memory))]

    def frames(self, stretch: Stretch, losses: "array[float]") -> tuple[Any, Any]:
        """A frame for each size of batch, the first for all of the stretch; and what must be kept."""
        sizes = stretch.sizes(self.division.samples) or [self.division.samples]
        steps, size = len(stretch.rates), len(FRAME)
        frames = (ctypes.c_int64 * (size * len(sizes)))()
        for k, samples in enumerate(sizes):
            ctypes.memmove(ctypes.byref(frames, 8 * size * k), self.frame, 8 * size)
            one = (ctypes.c_int64 * size).from_buffer(frames, 8 * size * k)
            division = Division.of(samples, self.lanes, self.threads)
            fill(one, **vars(division), scale=1.0 / samples if stretch.mean else 1.0)
        lists = (stretch.samples or array("q")) + array("q", bytes(8 * LINE))  # whole vectors are read
        lengths, shared = stretch.lengths or array("q", [0]), array("d", [*stretch.shared, 0.0])
        fill(
            frames, losses=losses, steps=steps, t=stretch.taken + 1.0, rates=stretch.rates, shared=shared,
            lists=lists, lengths=lengths, named=len(stretch.samples or ()), there=self.columns.count,
            frames=len(sizes), rule=stretch.which, done=0, spoilt=0,
        )  # fmt: skip
        if self.penalty:
            self.penalty.read()
        return frames, (shared, lists, lengths)

    def leave(
        self, stretch: Stretch, frames: Any, starting: Any, kept: Any, losses: "array[float]", before: int
    ) -> None:
        """Values and memory as after the last whole step. A step that spoilt them is not taken: the others
        are taken again."""
        kernel, memory = self.kernel, self.memory
        if frames[PLACE["spoilt"]]:
            memory.scalars[: kernel.params], memory.optimizer[:] = starting
            fill(frames, steps=frames[PLACE["done"]])
            self.go("train", frames)
            fill(frames, spoilt=0)
        ticks = 1
        if self.exposed or not memory.absence.go(memory.scalars):
            kernel.write_back(memory.scalars[: kernel.params])
            ticks += kernel.params
        now = tick()
        memory.stamp = now if now == before + ticks else -1  # another thread may have set a Value meanwhile
        for column, numbers in zip(kept, stretch.memory):
            numbers[:] = column.tolist()
        done = frames[PLACE["done"]]
        stretch.losses, stretch.stopped = losses[:done], done < len(stretch.rates)


PLACE = {name: place for place, name in enumerate(FRAME)}


def fill(of: Any, /, **fields: Any) -> None:
    """Fields of one frame or several: addresses (of arrays), whole numbers, floats."""
    numbers = memoryview(of).cast("B").cast("d")
    firsts = range(0, len(of), len(FRAME))
    for name, x in fields.items():
        x = x.buffer_info()[0] if type(x) is array else x
        place, into = PLACE[name], numbers if type(x) is float else of
        for first in firsts:
            into[first + place] = x
