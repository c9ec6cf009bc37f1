"""A loop nest in LLVM: what its statements read, and the blocks of them that registers hold.

Rows of samples lie `tile` doubles apart.  A dot product keeps the sums of several statements times two
vectors of samples in registers, so that each operand loaded serves several; other statements take one vector
of samples at a time.  `Rows` are such nests, `Sums` those that sum over the samples.  Nests for few samples,
with lanes along their loops, are in few.py.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import nan

from tinygrad_bp import ops
from tinygrad_bp.compiler.backends.llvm.functions import applied
from tinygrad_bp.compiler.backends.llvm.text import Index, Text, choose, compare
from tinygrad_bp.compiler.roll import Nest, Rolled, leaf_spaces
from tinygrad_bp.compiler.schedule import Apply, Kind, Space
from tinygrad_bp.compiler.spelling import fold, start_of
from tinygrad_bp.ops import Op

TILE = 120  # samples in a tile
NEAR, ROOM = 1 << 17, 3 << 19  # more if its rows take fewer bytes than that, fewer if they would take more
EIGHT = 8  # samples are few up to here; numbers in a vector then, on every processor
WORTH = 4  # a loop or a sum of fewer gains nothing from lanes of its own
MOVED_ONE_BY_ONE = 100  # operations: with vectors of them, sums wait until they are stored
ALMOST = 1.02  # lanes along loops are better by as much as is not counted
CACHED = 1 << 17  # bytes of weights that stay near while all samples of a tile pass by

Counters = Sequence[Index]
Kept = dict[tuple[int, int], str]  # sums in registers, by their place in the block
Fetch = Callable[[int], str]  # operand k, as a vector


@dataclass(frozen=True)
class Lanes:
    """How samples are laid out: `width` a vector, `tile` in memory at once, on so many vector registers."""

    width: int
    tile: int
    registers: int = 32
    alone: bool = False  # there is one sample: no loop stands around it
    apart: int = 0  # how far the values of one sample lie from those of the next, where lanes are along loops
    vector: int = 8  # doubles in a vector of the processor

    @staticmethod
    def chosen(rolled: Rolled, vectors: tuple[int, int], samples: int, moving: int = 0) -> "Lanes":
        """For so many samples: plain numbers for a few, one vector for some, tiles for many.

        After a step, so many operations move the parameters.
        """
        width, registers = vectors
        if samples == 1 and moving <= MOVED_ONE_BY_ONE and not any(map(_worth_lanes, rolled.nests)):
            return Lanes(1, 1, registers, alone=True, vector=1)
        if samples <= EIGHT and _loops_pay(rolled, width, samples):
            apart = (rolled.rows // EIGHT | 1) * EIGHT + EIGHT  # an odd number of lines of the cache
            tile = 1 << (samples - 1).bit_length()
            return Lanes(EIGHT, tile, registers * width // EIGHT, samples == 1, apart, width)
        if samples <= width // 2:
            return Lanes(1, 1, registers, samples == 1, vector=width)
        if samples <= width:
            return Lanes(width, width, registers, vector=width)
        bytes_a_sample = 8 * max(1, rolled.rows)
        tile = min(max(TILE, NEAR // bytes_a_sample), ROOM // bytes_a_sample)
        return Lanes(width, max(2 * width, tile // width * width), registers, vector=width)

    @property
    def held(self) -> int:
        """Vectors of sums that registers hold, beside operands."""
        return self.registers * 3 // 4

    @property
    def dots(self) -> int:
        """Dot products in a block, times two vectors of samples."""
        return 10 if self.registers > 16 else 6

    @property
    def side(self) -> int:
        """Of a square block of sums over the samples."""
        return 5 if self.registers > 16 else 3

    @property
    def column(self) -> int:
        """Rows of results in a block, one vector wide."""
        return 20 if self.registers > 16 else 12


def _loops_pay(rolled: Rolled, width: int, samples: int) -> bool:
    """Whether lanes along the loops of the nests cost less than lanes of samples, as far as one can count."""
    along = across = 0.0
    for nest in rolled.nests:
        work = nest.points * (len(nest.shape) + nest.length)
        along += samples * work / (EIGHT if _worth_lanes(nest) else 1)
        across += work * (samples if samples <= width // 2 else EIGHT / width)
    return along < ALMOST * across


def _worth_lanes(nest: Nest) -> bool:
    return max(nest.length, *(trips for trips, _ in nest.loops), 0) >= WORTH


def cut(trips: int, most: int) -> list[tuple[int, int, int]]:
    """Blocks of one size, or as even as can be: (first, end, size) of the larger, then of the smaller.

    >>> cut(16, 5), cut(17, 5), cut(3, 5)
    ([(0, 16, 4)], [(0, 5, 5), (5, 17, 4)], [(0, 3, 3)])
    """
    for size in range(min(trips, most), most // 2, -1):
        if trips % size == 0:
            return [(0, trips, size)]
    blocks = -(-trips // most)
    small, larger = divmod(trips, blocks)
    middle = larger * (small + 1)
    return [part for part in ((0, middle, small + 1), (middle, trips, small)) if part[1] > part[0]]


class Block:
    """One nest, to be written into `text`."""

    def __init__(self, text: Text, nest: Nest, lanes: Lanes) -> None:
        self.text, self.nest, self.layout = text, nest, lanes
        self.spaces = leaf_spaces(nest)
        self.lanes: Index = "%lanes" if lanes.tile > 1 else 1  # a tile of one sample needs no loop
        self.live: Index = "%live" if lanes.tile > 1 else 1
        self.loops = nest.loops or [(1, (0,) * len(nest.base))]
        self.trips = self.loops[-1][0]
        last = nest.shape[-1]  # the product of two operands: a sum of it is a fused multiply-add
        self.product = (
            len(nest.shape) == 3 and len(self.spaces) == 2 and isinstance(last, Apply) and last.op is ops.mul
        )

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
        return self.text.load_lanes("%R", self.row(address, samples))

    def row(self, address: Index, samples: Index) -> Index:
        return self.text.index((self.layout.tile, address), samples)

    @contextmanager
    def outer(self) -> Iterator[list[Index]]:
        """The loops around the innermost one; nests are at most two deep."""
        if len(self.loops) == 1:
            yield []
        else:
            with self.text.loop(0, self.loops[0][0]) as i:
                yield [i]

    # --- expressions ---------------------------------------------------------------------------------------

    def value(self, fetch: Fetch, accumulated: str = "") -> str:
        """Write the expression of a statement, around its accumulation if it has one."""
        return fold(self.nest.shape, _Registers(self.text, fetch, accumulated))

    def start(self, fetch: Fetch) -> str:
        """Write what the accumulation starts from, or the index."""
        shape, first = start_of(self.nest.shape)
        return fold(shape, _Registers(self.text, fetch), first)

    def add(self, variable: str, xs: Sequence[str]) -> None:
        """Add a number, or the product of two, to a sum that is kept in registers."""
        text, old = self.text, self.text.get(variable)
        if len(xs) == 2:
            text.set(variable, text.intrinsic("fmuladd", [*xs, old]))
        else:
            text.set(variable, text.let(f"fadd {text.type} {old}, {xs[0]}"))

    # --- an entry of a list --------------------------------------------------------------------------------

    def located(self, index: str) -> tuple[str, str]:
        """The place that an index says, as integers, and a mask of where there is one; 0 elsewhere."""
        text, zero = self.text, self.text.constant(0.0)
        inside = compare(text, "oeq", index, text.intrinsic("floor", [index]))
        for how, limit in (("oge", zero), ("olt", text.constant(float(self.nest.length)))):
            inside = text.let(f"and {text.mask} {inside}, {compare(text, how, index, limit)}")
        return text.let(f"fptosi {text.type} {choose(text, inside, index, zero)} to {text.ints}"), inside

    def entry(self, index: str, fetch: Callable[[int, str], str], lanes: int) -> str:
        """What `fetch` has for each of so many lanes at its place in the list; nan where there is none."""
        text = self.text
        places, inside = self.located(index)
        found = text.constant(0.0)
        for lane in range(lanes):
            if text.width == 1:
                found = fetch(lane, places)
            else:
                x = fetch(lane, text.let(f"extractelement {text.ints} {places}, i32 {lane}"))
                found = text.let(f"insertelement {text.type} {found}, double {x}, i32 {lane}")
        return choose(text, inside, found, text.constant(nan))

    def entry_address(self, k: int, first: Index, place: Index) -> Index:
        """Where the entry at a place of list k is."""
        run = self.nest.runs[k]
        assert run
        if run.stride is None:
            return self.text.load("@table", self.text.index(first, place), "i64")
        return self.text.index(first, (run.stride, place))


@dataclass
class _Registers:
    """A statement's values in registers; what comes of its lists is given."""

    text: Text
    operand: Fetch
    sum: str = ""

    def number(self, x: float) -> str:
        return self.text.constant(x)

    def applied(self, op: Op, operands: Sequence[str]) -> str:
        return applied(self.text, op, operands)

    def taken(self, index: str, k: int) -> str:
        return self.sum

    def accumulated(self, start: str, lists: Sequence[int]) -> str:
        return self.sum


class Rows(Block):
    """A nest of statements with one value a sample, or one a call."""

    def write(self) -> None:
        """All samples of a tile; for values of once a call, a single pass over scalars."""
        if not self.nest.length:
            with (
                self.each_vector() as samples,
                self.outer() as counters,
                self.text.loop(0, self.trips) as i,
            ):
                self.block([*counters, i], 1, [samples])
        elif self.trips * self.nest.length * 8 <= CACHED:
            for at in self.each_block():
                with self.outer() as counters:
                    self.dots(counters, at)
        else:  # so many weights are read once, and the samples again and again
            with self.outer() as counters:
                self.dots(counters, None)

    def dots(self, counters: Counters, samples: list[Index] | None) -> None:
        """Blocks of dot products along the innermost loop."""
        for first, end, size in cut(self.trips, self.layout.dots):
            with self.text.loop(first, end, size) as i:
                for at in self.each_block() if samples is None else [samples]:
                    self.block([*counters, i], size, at)

    @contextmanager
    def each_vector(self) -> Iterator[Index]:
        lanes = self.lanes if self.nest.kind is Kind.SAMPLE else 1
        with self.text.loop(0, lanes, self.text.width) as samples:
            yield samples

    def each_block(self) -> Iterator[list[Index]]:
        """Two vectors of samples at a time, and the last one alone if their number is odd."""
        text, width = self.text, self.text.width
        if self.nest.kind is not Kind.SAMPLE or self.layout.tile <= width:
            yield [0]
            return
        pairs = text.let(f"and i64 %lanes, {-2 * width}")
        with text.loop(0, pairs, 2 * width) as samples:
            yield [samples, text.index(samples, width)]
        with text.only_if(text.let(f"icmp ne i64 {pairs}, %lanes")):
            yield [pairs]

    def block(self, counters: Counters, size: int, at: Sequence[Index]) -> None:
        """`size` statements times the vectors that begin at these samples."""
        text = self.text
        cells = [(r, c) for r in range(size) for c in range(len(at))]
        sums: dict[tuple[int, int], str] = {}
        if self.nest.takes:
            sums = {(r, c): self.taken(counters, r, at[c]) for r, c in cells}
        elif self.nest.length:
            kept = {cell: text.variable(text.type) for cell in cells}
            for r, c in cells:
                start = self.start(self.single(counters, r, at[c]))
                text.set(kept[r, c], start)
            self.accumulate(counters, kept, at)
            sums = {cell: text.get(kept[cell]) for cell in cells}
        for r, c in cells:
            x = self.value(self.single(counters, r, at[c]), sums.get((r, c), ""))
            target = self.address(-1, counters, r)
            if self.nest.kind is Kind.SAMPLE:
                text.store_lanes(x, "%R", self.row(target, at[c]))
            elif self.nest.kind is Kind.ONCE:
                text.store(x, "%S", target)
            else:
                text.store(text.let(f"fmul double {x}, %count"), "%G", target)

    def single(self, counters: Counters, ahead: int, samples: Index) -> Fetch:
        return lambda k: self.fetched(self.spaces[k], self.address(k, counters, ahead), samples)

    def taken(self, counters: Counters, ahead: int, samples: Index) -> str:
        """The entry of the list at the index, which each sample has its own of."""
        text, (k,) = self.text, [k for k, run in enumerate(self.nest.runs) if run]
        first = self.address(k, counters, ahead)

        def fetch(lane: int, place: str) -> str:
            address = self.entry_address(k, first, place)
            if self.spaces[k] is Space.SCALARS:
                return text.load("%S", address)
            return text.load("%R", self.row(address, text.index(samples, lane)))

        return self.entry(self.start(self.single(counters, ahead, samples)), fetch, text.width)

    def accumulate(self, counters: Counters, kept: Kept, at: Sequence[Index]) -> None:
        """Add all products (or summands) to the sums, each operand loaded once for the whole block."""
        text = self.text
        inner = len(self.loops) - 1
        lists = [k for k, run in enumerate(self.nest.runs) if run]
        firsts = {(k, r): self.address(k, counters, r) for k in lists
                  for r in sorted({r for r, _ in kept}) if not r or self.moves(k, inner)}  # fmt: skip
        with text.loop(0, self.nest.length) as j:
            loaded: dict[tuple[int, int, int], str] = {}
            for (r, c), variable in kept.items():
                operands = []
                for k in lists:
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
                self.add(variable, operands)


class Sums(Block):
    """A nest of sums over the samples of a tile; lanes beyond the last sample give nothing.

    In a square block each sum is a vector with samples in its lanes, and the lanes are added up at the end.
    For large products that end is costly: there one side is transposed, a few rows at a time, so that the
    lanes are neighbouring results, and the samples come one by one. The first tile of a buffer stores its
    sums, the others add to them.
    """

    def write(self) -> None:
        """All of them: transposed where that is cheaper."""
        if len(self.loops) == 1:
            self.loops = [(1, (0,) * len(self.nest.base)), *self.loops]
        if self.can_be_transposed():
            self.write_transposed()
        else:
            self.write_squares()

    def add_to_buffer(self, target: Index, total: str) -> None:
        """Into the buffer, or over what is left there from another evaluation."""
        text = self.text
        before = text.let(f"select i1 %first, double {0.0!r}, double {text.load('%G', target)}")
        text.store(text.let(f"fadd double {before}, {total}"), "%G", target)

    # --- samples in the lanes ------------------------------------------------------------------------------

    def write_squares(self) -> None:
        side, tall = self.layout.side, self.loops[0][0] > 1
        for first, end, height in cut(self.loops[0][0], side):
            with self.text.loop(first, end, height) as i:
                for left, right, width in cut(self.loops[1][0], side if tall else 2 * side):
                    with self.text.loop(left, right, width) as j:
                        self.square(i, j, height, width)

    def square(self, i: Index, j: Index, height: int, width: int) -> None:
        text = self.text
        kept = {(a, b): text.variable(text.type) for a in range(height) for b in range(width)}
        for variable in kept.values():
            text.set(variable, text.constant(0.0))
        if text.width > 1 and self.product and self.live != 1:  # whole vectors, and the rest under a mask
            whole = text.let(f"and i64 %live, {-text.width}")
            self.gather(0, whole, False, i, j, kept)
            with text.only_if(text.let(f"icmp ne i64 {whole}, %live")):
                self.gather(whole, text.index(whole, text.width), True, i, j, kept)
        else:
            self.gather(0, self.live, text.width > 1, i, j, kept)
        totals = self.across([text.get(variable) for variable in kept.values()])
        for (a, b), total in zip(kept, totals):
            self.add_to_buffer(self.address(-1, [text.index(i, a), text.index(j, b)]), total)

    def gather(self, first: Index, end: Index, masked: bool, i: Index, j: Index, kept: Kept) -> None:
        """Add the samples from first to end to the sums that are kept in registers."""
        text = self.text
        with text.loop(first, end, text.width) as samples:
            inside = text.below(samples, "%live") if masked else ""
            loaded: dict[tuple[int, int, int], str] = {}
            for (a, b), variable in kept.items():
                x = [
                    self.cell(k, i, j, a, b, samples, inside if self.product else "", loaded)
                    for k in range(len(self.spaces))
                ]
                if not self.product:  # of which both are 0 beyond the last sample
                    x = [self.value(x.__getitem__)]
                    if inside:
                        x = [choose(text, inside, x[0], text.constant(0.0))]
                self.add(variable, x)

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
                group = [
                    text.let(f"fadd {text.type} {', '.join(text.exchanged(x, y, size))}")
                    for x, y in zip(group[::2], group[1::2])
                ]
                size *= 2
            lanes = [f"extractelement {text.type} {group[0]}, i32 {lane}" for lane in range(width)]
            totals += [text.let(instruction) for instruction in lanes]
        name = f"llvm.vector.reduce.fadd.v{width}f64"
        text.declared.setdefault(name, f"declare double @{name}(double, {text.type})")
        for x in xs[whole:]:
            totals.append(text.let(f"call reassoc double @{name}(double {-0.0!r}, {text.type} {x})"))
        return totals

    # --- results in the lanes ------------------------------------------------------------------------------

    def can_be_transposed(self) -> bool:
        """Whether it is an outer product of rows, stored in order, of more rows than transposing costs."""
        if not self.product or self.spaces != [Space.ROWS] * 2 or self.nest.table or self.text.width == 1:
            return False
        (down, along), (_, right) = self.loops[0], self.loops[1]
        vectors = self.layout.tile // self.text.width
        return (
            right[0] == 1  # results are neighbours
            and sorted([(along[1] != 0, right[1] != 0), (along[2] != 0, right[2] != 0)])
            == [(False, True), (True, False)]
            and down > 2 * vectors
            and self.loops[1][0] > self.text.width
        )

    def write_transposed(self) -> None:
        text, width, tile = self.text, self.text.width, self.layout.tile
        (down, along), (across, _) = self.loops
        a, b = (0, 1) if along[1] else (1, 0)  # the operand that moves down, and the one that moves along
        panel = text.panel(f"[{tile * width} x double]")
        with text.loop(0, across, width) as j:
            rows = [
                self.address(b, [0, text.smallest(text.index(j, lane), across - 1)]) for lane in range(width)
            ]
            with text.loop(0, self.lanes, width) as samples:
                columns = text.transposed([text.load_lanes("%R", self.row(row, samples)) for row in rows])
                for lane, column in enumerate(columns):
                    text.store_lanes(column, panel, text.index((width, text.index(samples, lane))))
            inside = text.below(j, str(across))
            for first, end, size in cut(down, self.layout.column):
                with text.loop(first, end, size) as i:
                    self.column(a, i, j, size, panel, inside)

    def column(self, a: int, i: Index, j: Index, size: int, panel: str, inside: str) -> None:
        """`size` rows of results, a vector wide."""
        text = self.text
        kept = [text.variable(text.type) for _ in range(size)]
        for variable in kept:
            text.set(variable, text.constant(0.0))
        rows = [self.row(self.address(a, [text.index(i, r), 0]), 0) for r in range(size)]
        with text.loop(0, self.live) as sample:
            column = text.load_lanes(panel, text.index((text.width, sample)))
            for row, variable in zip(rows, kept):
                x = text.spread(text.load("%R", text.index(row, sample)))
                self.add(variable, [x, column])
        before = text.let(f"select i1 %first, {text.mask} zeroinitializer, {text.mask} {inside}")
        for r, variable in enumerate(kept):
            place = text.place("%G", self.address(-1, [text.index(i, r), j]))
            total = text.get(variable)
            total = text.let(f"fadd {text.type} {text.load_masked(place, before)}, {total}")
            text.store_masked(total, place, inside)
