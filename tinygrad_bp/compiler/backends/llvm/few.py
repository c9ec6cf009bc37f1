"""A loop nest in LLVM for few samples: the lanes of a vector run along the nest's own loops.

Where there are no more samples than lanes, a vector holds neighbouring results of one sample, or neighbouring
terms of a long sum: whichever lies together in memory.  All values of a sample lie one after the other.  A
vector here is eight numbers on every processor (narrower ones take several registers), and a sum along its
terms is eight sums, of the terms k, k + 8, k + 16 ..., added pairwise: so the bits are the same everywhere.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from math import nan

from tinygrad_bp.compiler.backends.llvm.blocks import EIGHT, Block, Counters, Kept, Lanes, cut
from tinygrad_bp.compiler.backends.llvm.text import Index, Text
from tinygrad_bp.compiler.roll import Nest, Point
from tinygrad_bp.compiler.schedule import Kind, Leaf, Space
from tinygrad_bp.compiler.spelling import start_of

Loop = tuple[int, Point]
Operand = Callable[[int], str]
NEIGHBOURS = (0, 1, -1)  # strides at which one load fills a vector
LONGEST_ROW = 1024  # of parameters: four rows of gradients stay near
GATHERED = 8  # loads in place of one


class Few(Block):
    """A nest of statements, or of sums over the samples; every result is stored once."""

    def __init__(self, text: Text, nest: Nest, lanes: Lanes) -> None:
        super().__init__(text, nest, lanes)
        self.lists = [k for k, run in enumerate(nest.runs) if run]
        orders = [self.loops] if nest.table else [self.loops, self.loops[::-1]]
        ways = [(self.cost(order, terms), terms, order) for order in orders for terms in (False, True)]
        _, self.terms, self.loops = min(ways, key=lambda way: way[0])
        self.trips = self.loops[-1][0]
        self.count = min(EIGHT, self.trips)  # results in a vector
        self.samples = lanes.tile if nest.kind is Kind.SAMPLE else 1
        self.apply, self.apart, self.near, self.wrong = False, 0, "", ""  # see write_and_move

    def cost(self, loops: Sequence[Loop], terms: bool) -> float:
        """About how many vectors are loaded and stored, with lanes along terms or along results."""
        *around, (trips, strides) = loops
        vectors, length = -(-trips // EIGHT), self.nest.length

        def loads(stride: int | None) -> int:
            return 1 if stride in NEIGHBOURS and not self.nest.table else GATHERED

        singles = sum(loads(strides[k + 1]) for k in range(-1, len(self.spaces)) if k not in self.lists)
        if not terms:
            inside = (1 if self.nest.takes else length) * sum(loads(strides[k + 1]) for k in self.lists)
            cost = vectors * (inside + singles)
        elif length and not self.nest.takes:
            inside = sum(loads(run.stride) for run in self.nest.runs if run)
            cost = trips * (-(-length // EIGHT) * inside + 2) + vectors * singles
        else:
            return float("inf")
        return cost * around[0][0] if around else cost

    # --- memory --------------------------------------------------------------------------------------------

    def base(self, space: Space, sample: Index) -> str:
        if space is Space.SCALARS:
            return "%S"
        return self.text.place("%R", self.text.index((self.layout.apart, sample)))

    def at(
        self, space: Space, first: Index, stride: int, count: int, sample: Index, fill: float = 0.0
    ) -> str:
        """A vector of numbers at a stride, or one number in every lane."""
        text, base = self.text, self.base(space, sample)
        if text.width == 1:
            return text.load(base, first)
        if stride == 0:
            return text.spread(text.load(base, first))
        if stride in NEIGHBOURS:
            return text.load_part(base, first, count, stride, fill)
        return text.gathered(base, [text.index(first, stride * lane) for lane in range(count)], fill)

    def operand(self, counters: Counters, sample: Index, k: int) -> str:
        """Operand k of the results from these counters on."""
        if self.nest.table and self.text.width > 1:
            addresses = [self.address(k, counters, lane) for lane in range(self.count)]
            return self.text.gathered(self.base(self.spaces[k], sample), addresses)
        return self.at(
            self.spaces[k], self.address(k, counters), self.loops[-1][1][k + 1], self.count, sample
        )

    def store(self, x: str, counters: Counters, sample: Index) -> None:
        """Results, in order from these counters on."""
        text, kind = self.text, self.nest.kind
        if kind is Kind.COUNT:
            x = text.let(f"fmul {text.type} {x}, {text.spread('%count')}")
        base = self.base(Space.ROWS, sample) if kind is Kind.SAMPLE else "%S" if kind is Kind.ONCE else "%G"
        stride = self.loops[-1][1][0]
        if text.width == 1:
            text.store(x, base, self.address(-1, counters))
        elif stride in (1, -1) and not self.nest.table:
            text.store_part(x, base, self.address(-1, counters), self.count, stride)
        else:
            for lane in range(self.count):
                one = text.let(f"extractelement {text.type} {x}, i32 {lane}")
                text.store(one, base, self.address(-1, counters, lane))

    # --- loops ---------------------------------------------------------------------------------------------

    @contextmanager
    def each_vector(self, size: int = 1) -> Iterator[Index]:
        """The samples, so many at a time."""
        with self.text.loop(0, self.samples, size) as sample:
            yield sample

    def start_of(self, vector: Index) -> Index:
        """The first result of a vector: the last one begins so that it ends with them, and repeats some."""
        first = self.text.index((EIGHT, vector))
        if self.trips <= EIGHT or not self.trips % EIGHT:
            return first
        return self.text.smallest(first, self.trips - EIGHT)

    @property
    def vectors(self) -> int:
        return -(-self.trips // EIGHT)

    # --- statements ----------------------------------------------------------------------------------------

    def write(self) -> None:
        """All results of all samples."""
        if self.trips == 1 and not self.terms:
            with self.text.as_wide_as(1):
                self.written_with(self.sums if self.nest.kind is Kind.SUM else self.results)
        else:
            self.written_with(
                self.sums if self.nest.kind is Kind.SUM else self.dots if self.terms else self.results
            )

    def written_with(self, body: Callable[[list[Index]], None]) -> None:
        if self.nest.kind is Kind.SUM:
            body([])
        else:
            with self.outer() as counters:
                body(counters)

    def block(self, counters: Counters, size: int, at: Sequence[Index]) -> None:
        """The only result of one sample."""
        with self.text.as_wide_as(1):
            self.store(self.value(partial(self.operand, counters, at[0])), counters, at[0])

    def results(self, counters: list[Index]) -> None:
        """Vectors of results, each with its accumulation, if there is one, in registers."""
        text, group, most = self.text, 1, 1
        if self.nest.length:
            group = min(self.samples, 4 if self.layout.held > 3 else 2)  # divides their number
            most = max(1, self.layout.held // group)
        for first, end, size in cut(self.vectors, most):
            with text.loop(first, end, size) as vector, self.each_vector(group) as sample:
                starts = [[*counters, self.start_of(text.index(vector, a))] for a in range(size)]
                samples = [text.index(sample, b) for b in range(group)]
                cells = [(a, b) for a in range(size) for b in range(group)]
                fetches = {(a, b): partial(self.operand, starts[a], samples[b]) for a, b in cells}
                kept: Kept = {}
                if self.nest.length and not self.nest.takes:
                    for cell in cells:
                        kept[cell] = text.variable(text.type)
                        text.set(kept[cell], self.start(fetches[cell]))
                    self.accumulate(kept, starts, samples)
                for a, b in cells:
                    total = text.get(kept[a, b]) if kept else ""
                    if self.nest.takes:
                        total = self.taken(fetches[a, b], starts[a], samples[b])
                    self.store(self.value(fetches[a, b], total), starts[a], samples[b])

    def taken(self, fetch: Operand, start: list[Index], sample: Index) -> str:
        """The entries of a vector of results: neighbours of one row, where all have the same index."""
        text, (k,), inner = self.text, self.lists, len(self.loops) - 1
        run, stride = self.nest.runs[k], self.loops[-1][1][k + 1]
        assert run
        shape, at = start_of(self.nest.shape)
        leaves = range(at, at + sum(isinstance(token, Leaf) for token in shape))
        if stride in NEIGHBOURS and run.stride is not None and not any(self.moves(x, inner) for x in leaves):
            with text.as_wide_as(1):
                places, inside = self.located(self.start(fetch))
            first = self.entry_address(k, self.address(k, start), places)
            x = self.at(run.space, first, stride, self.count, sample)
            return text.let(f"select i1 {inside}, {text.type} {x}, {text.type} {text.constant(nan)}")
        lanes = self.count if text.width > 1 else 1
        firsts = [self.address(k, start, lane) for lane in range(lanes)]
        base = self.base(run.space, sample)

        def entry(lane: int, place: str) -> str:
            return text.load(base, self.entry_address(k, firsts[lane], place))

        return self.entry(self.start(fetch), entry, lanes)

    def accumulate(self, kept: Kept, starts: list[list[Index]], samples: list[Index]) -> None:
        """Add term after term to vectors of sums; each operand is loaded once for all of them."""
        inner = len(self.loops) - 1
        lanes = self.count if self.nest.table and self.text.width > 1 else 1
        firsts = {
            (k, a): [self.address(k, starts[a], lane) for lane in range(lanes)]
            for k in self.lists
            for a in (range(len(starts)) if self.moves(k, inner) else range(1))
        }
        with self.text.loop(0, self.nest.length) as j:
            loaded: dict[tuple[int, int, int], str] = {}
            for (a, b), variable in kept.items():
                xs = []
                for k in self.lists:
                    run = self.nest.runs[k]
                    assert run
                    key = (k, a if self.moves(k, inner) else 0, b if run.space is Space.ROWS else 0)
                    if key not in loaded:
                        loaded[key] = self.term(k, firsts[key[:2]], j, samples[key[2]])
                    xs.append(loaded[key])
                self.add(variable, xs)

    def term(self, k: int, firsts: list[Index], j: Index, sample: Index) -> str:
        """Term j of a vector of sums: its operand from list k."""
        text, run, stride = self.text, self.nest.runs[k], self.loops[-1][1][k + 1]
        assert run
        if run.stride is not None and len(firsts) == 1:
            return self.at(run.space, text.index(firsts[0], (run.stride, j)), stride, self.count, sample)
        if len(firsts) == 1 and stride and text.width > 1:
            firsts = [text.index(firsts[0], stride * lane) for lane in range(self.count)]
        if run.stride is None:
            addresses: list[Index] = [text.load("@table", text.index(first, j), "i64") for first in firsts]
        else:
            addresses = [text.index(first, (run.stride, j)) for first in firsts]
        if len(addresses) == 1:
            return self.at(run.space, addresses[0], 0, self.count, sample)
        return text.gathered(self.base(run.space, sample), addresses)

    # --- lanes along the terms of a sum --------------------------------------------------------------------

    def dots(self, counters: list[Index]) -> None:
        """A vector of results at a time: eight sums of each, then the totals in the lanes of a vector."""
        text = self.text
        height = 1 << (min(self.count, EIGHT if self.layout.held >= 2 * EIGHT else 4) - 1).bit_length()
        group = max(1, min(self.samples, 2, self.layout.held // height))
        with text.loop(0, self.vectors) as vector, self.each_vector(group) as sample:
            start = [*counters, self.start_of(vector)]
            samples = [text.index(sample, b) for b in range(group)]
            parts: list[list[str]] = [[] for _ in samples]
            for row in range(0, self.count, height):
                rows = [min(row + r, self.count - 1) for r in range(height)]
                kept = {(r, b): text.variable(text.type) for r in dict.fromkeys(rows) for b in range(group)}
                for variable in kept.values():
                    text.set(variable, text.constant(-0.0))  # adding it changes nothing
                firsts = {(k, r): self.address(k, start, r) for k in self.lists for r in dict.fromkeys(rows)}
                whole = self.nest.length // EIGHT * EIGHT
                with text.loop(0, whole, EIGHT) as j:
                    self.products(kept, firsts, j, EIGHT, samples)
                if whole < self.nest.length:
                    self.products(kept, firsts, whole, self.nest.length - whole, samples)
                for b, part in enumerate(parts):
                    part.append(_folded(text, [text.get(kept[r, b]) for r in rows], 1, height))
            for part, one in zip(parts, samples):
                self.finish(_folded(text, part, height, EIGHT), start, one)

    def products(
        self,
        kept: Kept,
        firsts: dict[tuple[int, int], Index],
        j: Index,
        count: int,
        samples: list[Index],
    ) -> None:
        """Add the terms from j on, so many, to the sums in the lanes; lanes beyond them get -0.0."""
        text, inner = self.text, len(self.loops) - 1
        loaded: dict[tuple[int, int, int], str] = {}
        for (r, b), variable in kept.items():
            xs = []
            for k in self.lists:
                run = self.nest.runs[k]
                assert run
                key = (k, r if self.moves(k, inner) else 0, b if run.space is Space.ROWS else 0)
                if key not in loaded:
                    first, fill = firsts[k, r], -0.0 if k == self.lists[-1] else 0.0
                    if run.stride is None:
                        addresses: list[Index] = [
                            text.load("@table", text.index(first, j, lane), "i64") for lane in range(count)
                        ]
                        loaded[key] = text.gathered(self.base(run.space, samples[b]), addresses, fill)
                    else:
                        first = text.index(first, (run.stride, j))
                        x = self.at(run.space, first, run.stride, count, samples[b], fill)
                        if not run.stride and count < text.width:  # it is in every lane
                            lanes = [*range(count), *[text.width] * (text.width - count)]
                            x = text.shuffled(text.type, x, text.constant(fill), lanes)
                        loaded[key] = x
                xs.append(loaded[key])
            self.add(variable, xs)

    def finish(self, totals: str, start: list[Index], sample: Index) -> None:
        """What the sums start from, and what is done with them."""
        text, fetch = self.text, partial(self.operand, start, sample)
        if self.trips > 1:
            total = text.let(f"fadd {text.type} {self.start(fetch)}, {totals}")
            self.store(self.value(fetch, total), start, sample)
        else:
            total = text.let(f"extractelement {text.type} {totals}, i32 0")
            with text.as_wide_as(1):
                total = text.let(f"fadd double {self.start(fetch)}, {total}")
                self.store(self.value(fetch, total), start, sample)

    # --- sums over the samples -----------------------------------------------------------------------------

    def sums(self, _: list[Index]) -> None:
        """Blocks of some turns of the outer loop times some vectors; sample after sample is added."""
        text = self.text
        if len(self.loops) == 1:
            self.loops = [(1, (0,) * len(self.nest.base)), *self.loops]
        high, wide = ((4, 5) if self.layout.held > 20 else (2, 2)) if self.product else (1, 1)
        for top, bottom, height in cut(self.loops[0][0], high):
            with text.loop(top, bottom, height) as i:
                rows = [text.index(i, r) for r in range(height)]
                for left, right, width in cut(self.vectors, wide):
                    with text.loop(left, right, width) as vector:
                        self.sum_block(rows, [self.start_of(text.index(vector, a)) for a in range(width)])
                if self.apply:
                    self.move_rows(rows)

    # --- sums that move their parameters -------------------------------------------------------------------

    def rows_of_parameters(self) -> tuple[int, int]:
        """The parameters (first, end) whose gradients these are, row after row; none where they are not.

        Between two rows there may be a few others, as the biases between the weights of neurons.
        """
        if (
            len(self.loops) == 1
            or not self.product
            or self.nest.table
            or not EIGHT <= self.trips <= LONGEST_ROW
        ):
            return 0, 0
        (rows, down), (_, along) = self.loops
        if along not in ((1, 0, 1), (1, 1, 0)) or not self.trips <= down[0] <= self.trips + EIGHT:
            return 0, 0
        return self.nest.base[0], self.nest.base[0] + rows * down[0]

    def write_and_move(self) -> None:
        """The sums, row by row: each moves its parameters while it is near. Not 0 where one is not finite."""
        text = self.text
        self.apply, self.apart = True, self.loops[0][1][0]
        self.near = text.panel(f"[{4 * self.apart} x double]")
        self.wrong = text.variable("i64")
        text.set(self.wrong, "0", "i64")
        self.sums([])
        text.do(f"ret i64 {text.get(self.wrong, 'i64')}")

    def move_rows(self, rows: list[Index]) -> None:
        """The parameters of some rows that follow one another."""
        text = self.text
        first = self.address(-1, [rows[0], 0])
        with text.as_wide_as(1):
            for r in range(len(rows)):
                for between in range(r * self.apart + self.trips, (r + 1) * self.apart):
                    text.store(text.load("%G", text.index(first, between)), self.near, between)
        given = f"ptr %frame, ptr %once, ptr {self.near}, i64 {first}, i64 {len(rows) * self.apart}"
        found = text.let(f"call i64 %apply({given})")
        text.set(self.wrong, text.let(f"or i64 {text.get(self.wrong, 'i64')}, {found}"), "i64")

    def sum_block(self, rows: list[Index], starts: list[Index]) -> None:
        text = self.text
        kept = {(r, a): text.variable(text.type) for r in range(len(rows)) for a in range(len(starts))}
        for variable in kept.values():
            text.set(variable, text.constant(0.0))
        with text.loop(0, self.live) as sample:
            loaded: dict[tuple[int, int, int], str] = {}

            def fetch(r: int, a: int, k: int) -> str:
                key = (k, r if self.moves(k, 0) else 0, a if self.moves(k, 1) else 0)
                if key not in loaded:
                    loaded[key] = self.operand([rows[key[1]], starts[key[2]]], sample, k)
                return loaded[key]

            for (r, a), variable in kept.items():
                cell = partial(fetch, r, a)
                self.add(variable, [cell(0), cell(1)] if self.product else [self.value(cell)])
        for (r, a), variable in kept.items():
            if self.apply:
                text.store_lanes(text.get(variable), self.near, text.index(r * self.apart, starts[a]), 8)
            else:
                self.store(text.get(variable), [rows[r], starts[a]], 0)


def _folded(text: Text, xs: list[str], size: int, end: int) -> str:
    """Add the lanes of 1, 2, 4 or 8 vectors pairwise, next to next: total i in lane i.

    Groups of `size` lanes have been added before, and groups of `end` will have been afterwards.
    """
    while size < end:
        pairs = zip(xs[::2], xs[1::2]) if len(xs) > 1 else [(xs[0], xs[0])]
        xs = [text.let(f"fadd {text.type} {', '.join(text.exchanged(x, y, size))}") for x, y in pairs]
        size *= 2
    return xs[0]
