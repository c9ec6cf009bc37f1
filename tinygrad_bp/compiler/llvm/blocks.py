"""A loop nest in LLVM: register blocks of several statements times several vectors of samples.

Rows of samples lie `stride` doubles apart.  A dot product keeps 5 x 3 sums in registers, so that each operand
loaded serves several; a sum over the samples keeps 5 x 5.  Samples run in the outer loop of the one and in
the inner loop of the other.  Statements that stand alone are written into one loop over the samples. Read
module.py next.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from tinygrad_bp import ops
from tinygrad_bp.compiler.llvm.functions import applied, choose
from tinygrad_bp.compiler.llvm.text import Index, Text
from tinygrad_bp.compiler.roll import Nest, leaf_spaces
from tinygrad_bp.compiler.schedule import Apply, Kind, Leaf, Literal, Space
from tinygrad_bp.compiler.terms import INNER, TOTAL

DOTS = 5  # statements in a block
SIDE = 5  # of a block of sums over the samples

Counters = Sequence[Index]
Fetch = Callable[[int], str]  # operand k, as a vector


class Block:
    """One nest, written into `text`; `vectors` of samples at a time, rows `stride` doubles apart."""

    def __init__(self, text: Text, nest: Nest, vectors: int, stride: int) -> None:
        self.text, self.nest, self.vectors, self.stride = text, nest, vectors, stride
        self.spaces = leaf_spaces(nest)
        self.lanes: Index = "%lanes" if stride > 1 else 1  # a tile of one sample needs no loop
        self.live: Index = "%live" if stride > 1 else 1
        self.loops = nest.loops or [(1, (0,) * len(nest.base))]
        self.trips = self.loops[-1][0]

    # --- addresses and operands ----------------------------------------------------------------------------

    def address(self, k: int, counters: Counters, ahead: int = 0) -> Index:
        """Of operand k (-1: the result) at these counters, `ahead` further in the innermost loop."""
        terms: list[Index | tuple[int, Index]] = [self.nest.base[k + 1]]
        for (_, strides), counter in zip(self.loops, counters):
            terms.append((strides[k + 1], counter))
        index = self.text.index(*terms, self.loops[-1][1][k + 1] * ahead)
        return self.text.load("@table", index, "i64") if self.nest.table else index

    def moves(self, k: int, loop: int) -> bool:
        """Whether operand k is another one at each turn of a loop."""
        return self.nest.table or self.loops[loop][1][k + 1] != 0

    def fetched(self, space: Space, address: Index, samples: Index) -> str:
        if space is Space.SCALARS:
            return self.text.spread(self.text.load("%S", address))
        return self.text.load_lanes("%R", self.text.index((self.stride, address), samples))

    def single(self, counters: Counters, ahead: int, samples: Index) -> Fetch:
        return lambda k: self.fetched(self.spaces[k], self.address(k, counters, ahead), samples)

    # --- expressions ---------------------------------------------------------------------------------------

    def value(self, fetch: Fetch, accumulated: str = "") -> str:
        """Write the expression around its accumulation; if that is to come yet, what it starts from."""
        stack: list[str] = []
        k = 0
        for token in self.nest.shape:
            if isinstance(token, Literal):
                stack.append(self.text.constant(token.number))
            elif isinstance(token, Leaf):
                stack.append(fetch(k))
                k += 1
            elif token.op in (INNER, TOTAL):
                if not accumulated:
                    break
                stack[-1] = accumulated
                k += 1 + (token.op is INNER)
            else:
                operands = stack[len(stack) - token.operands :]
                del stack[len(stack) - token.operands :]
                stack.append(applied(self.text, token.op, operands))
        return stack[-1]

    def lists(self) -> list[int]:
        """The numbers of the operands that are lists."""
        return [k for k, run in enumerate(self.nest.runs) if run]

    # --- one value a sample, or once -----------------------------------------------------------------------

    def write_rows(self) -> None:
        """All samples of a tile; for values of once a call, a single pass over scalars."""
        step = self.vectors * self.text.width
        with (
            self.text.loop(0, self.lanes if self.nest.kind is Kind.SAMPLE else 1, step) as samples,
            self.outer() as counters,
        ):
            size = DOTS if self.nest.length else 1
            whole = self.trips // size * size
            for first, end, block in ((0, whole, size), (whole, self.trips, self.trips - whole)):
                if end > first:
                    with self.text.loop(first, end, block) as i:
                        self.block([*counters, i], block, samples)

    @contextmanager
    def outer(self) -> Iterator[list[Index]]:
        """The loops around the innermost one; nests are at most two deep."""
        if len(self.loops) == 1:
            yield []
        else:
            with self.text.loop(0, self.loops[0][0]) as i:
                yield [i]

    def block(self, counters: Counters, size: int, samples: Index) -> None:
        """`size` statements times `vectors` of samples."""
        text = self.text
        at = [text.index(samples, c * text.width) for c in range(self.vectors)]
        cells = [(r, c) for r in range(size) for c in range(self.vectors)]
        sums: dict[tuple[int, int], str] = {}
        if self.nest.length:
            kept = {cell: text.variable(text.type) for cell in cells}
            for r, c in cells:
                start = self.value(self.single(counters, r, at[c]))
                text.do(f"store {text.type} {start}, ptr {kept[r, c]}")
            self.accumulate(counters, kept, at)
            sums = {cell: text.let(f"load {text.type}, ptr {kept[cell]}") for cell in cells}
        for r, c in cells:
            x = self.value(self.single(counters, r, at[c]), sums.get((r, c), ""))
            target = self.address(-1, counters, r)
            if self.nest.kind is Kind.SAMPLE:
                text.store_lanes(x, "%R", text.index((self.stride, target), at[c]))
            elif self.nest.kind is Kind.ONCE:
                text.store(x, "%S", target)
            else:
                text.store(text.let(f"fmul double {x}, %count"), "%G", target)

    def accumulate(self, counters: Counters, kept: dict[tuple[int, int], str], at: Sequence[Index]) -> None:
        """Add all products (or summands) to the sums, each operand loaded once for the whole block."""
        text = self.text
        inner = len(self.loops) - 1
        firsts = {(k, r): self.address(k, counters, r) for k in self.lists()
                  for r in sorted({r for r, _ in kept}) if not r or self.moves(k, inner)}  # fmt: skip
        with text.loop(0, self.nest.length) as j:
            loaded: dict[tuple[int, int, int], str] = {}
            for (r, c), variable in kept.items():
                operands = []
                for k in self.lists():
                    run = self.nest.runs[k]
                    assert run
                    key = (k, r if self.moves(k, inner) else 0, c if run.space is Space.ROWS else 0)
                    if key not in loaded:
                        first = firsts[key[:2]]
                        if run.stride is None:
                            address: Index = text.load("@table", text.index(first, j), "i64")
                        else:
                            address = text.index(first, (run.stride, j))
                        loaded[key] = self.fetched(run.space, address, at[c])
                    operands.append(loaded[key])
                old = text.let(f"load {text.type}, ptr {variable}")
                if len(operands) == 2:
                    new = text.intrinsic("fmuladd", [*operands, old])
                else:
                    new = text.let(f"fadd {text.type} {old}, {operands[0]}")
                text.do(f"store {text.type} {new}, ptr {variable}")

    # --- sums over the samples -----------------------------------------------------------------------------

    def write_sums(self) -> None:
        """Add what the samples of a tile give; lanes beyond the last sample give nothing."""
        loops = self.loops if len(self.loops) == 2 else [(1, (0,) * len(self.nest.base)), *self.loops]
        self.loops = loops
        heights = self.cut(loops[0][0], SIDE if loops[0][0] > 1 else 1)
        widths = self.cut(loops[1][0], SIDE if loops[0][0] > 1 else 2 * SIDE)
        for first, end, height in heights:
            with self.text.loop(first, end, height) as i:
                for left, right, width in widths:
                    with self.text.loop(left, right, width) as j:
                        self.sums(i, j, height, width)

    @staticmethod
    def cut(trips: int, size: int) -> list[tuple[int, int, int]]:
        """Whole blocks, then what remains: (first, end, size)."""
        whole = trips // size * size
        return [part for part in ((0, whole, size), (whole, trips, trips - whole)) if part[1] > part[0]]

    def sums(self, i: Index, j: Index, height: int, width: int) -> None:
        text = self.text
        cells = [(a, b) for a in range(height) for b in range(width)]
        kept = {cell: text.variable(text.type) for cell in cells}
        for variable in kept.values():
            text.do(f"store {text.type} {text.constant(0.0)}, ptr {variable}")
        if self.live == 1 or text.width == 1:
            self.added(0, self.live, False, i, j, kept)
        else:  # whole vectors, and the rest under a mask
            whole = text.let(f"and i64 %live, {-text.width}")
            self.added(0, whole, False, i, j, kept)
            self.added(whole, self.live, True, i, j, kept)
        totals = self.across([text.let(f"load {text.type}, ptr {variable}") for variable in kept.values()])
        for (a, b), total in zip(kept, totals):
            target = self.address(-1, [text.index(i, a), text.index(j, b)])
            text.store(text.let(f"fadd double {text.load('%G', target)}, {total}"), "%G", target)

    def added(
        self, first: Index, end: Index, masked: bool, i: Index, j: Index, kept: dict[tuple[int, int], str]
    ) -> None:
        """Add the samples from first to end to the sums that are kept in registers."""
        text, last = self.text, self.nest.shape[-1]
        product = len(self.nest.shape) == 3 and isinstance(last, Apply) and last.op is ops.mul
        with text.loop(first, end, text.width) as samples:
            inside = self.inside(samples) if masked else ""
            loaded: dict[tuple[int, int, int], str] = {}
            for (a, b), variable in kept.items():
                x = [
                    self.cell(k, i, j, a, b, samples, inside if product else "", loaded)
                    for k in range(len(self.spaces))
                ]
                old = text.let(f"load {text.type}, ptr {variable}")
                if product and len(x) == 2:  # both are 0 beyond the last sample
                    new = text.intrinsic("fmuladd", [*x, old])
                else:
                    share = self.value(x.__getitem__)
                    if inside:
                        share = choose(text, inside, share, text.constant(0.0))
                    new = text.let(f"fadd {text.type} {old}, {share}")
                text.do(f"store {text.type} {new}, ptr {variable}")

    def cell(
        self,
        k: int,
        i: Index,
        j: Index,
        a: int,
        b: int,
        samples: Index,
        inside: str,
        loaded: dict[tuple[int, int, int], str],
    ) -> str:
        key = (k, a if self.moves(k, 0) else 0, b if self.moves(k, 1) else 0)
        if key not in loaded:
            address = self.address(k, [self.text.index(i, key[1]), self.text.index(j, key[2])])
            x = self.fetched(self.spaces[k], address, samples)
            loaded[key] = choose(self.text, inside, x, self.text.constant(0.0)) if inside else x
        return loaded[key]

    def inside(self, samples: Index) -> str:
        """Which lanes hold a sample."""
        text = self.text
        lanes = "<" + ", ".join(f"i64 {lane}" for lane in range(text.width)) + ">"
        numbers = text.let(f"add {text.ints} {text.spread(str(samples), 'i64')}, {lanes}")
        return text.let(f"icmp slt {text.ints} {numbers}, {text.spread('%live', 'i64')}")

    def across(self, xs: list[str]) -> list[str]:
        """The sum of each vector's lanes: as many vectors as there are lanes are summed together."""
        text, width = self.text, self.text.width
        if width == 1:
            return xs
        totals = []
        whole = len(xs) // width * width
        for first in range(0, whole, width):
            group, size = xs[first : first + width], 1
            while len(group) > 1:
                group = [self.halved(x, y, size) for x, y in zip(group[::2], group[1::2])]
                size *= 2
            lanes = [f"extractelement {text.type} {group[0]}, i32 {lane}" for lane in range(width)]
            totals += [text.let(instruction) for instruction in lanes]
        name = f"llvm.vector.reduce.fadd.v{width}f64"
        text.declared.setdefault(name, f"declare double @{name}(double, {text.type})")
        for x in xs[whole:]:
            totals.append(text.let(f"call reassoc double @{name}(double {-0.0!r}, {text.type} {x})"))
        return totals

    def halved(self, x: str, y: str, size: int) -> str:
        """Neighbouring groups of `size` lanes added, those of x and y in turn."""
        text, width = self.text, self.text.width
        starts = [at for block in range(0, width, 2 * size) for at in (block, width + block)]
        parts = []
        for offset in (0, size):
            lanes = ", ".join(f"i32 {start + offset + k}" for start in starts for k in range(size))
            mask = f"<{width} x i32> <{lanes}>"
            parts.append(text.let(f"shufflevector {text.type} {x}, {text.type} {y}, {mask}"))
        return text.let(f"fadd {text.type} {parts[0]}, {parts[1]}")
