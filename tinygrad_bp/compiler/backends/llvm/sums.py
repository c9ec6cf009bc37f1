"""Sums over the samples in LLVM: in two ways, which differ in where the lanes are.

In a square block each sum is a vector with samples in its lanes, and the lanes are added up at the end.  For
large products that end is costly: there one side is transposed, a few rows at a time, so that the lanes are
neighbouring results, and the samples come one by one.  The first tile of a buffer stores its sums, the others
add to them.
"""

from tinygrad_bp.compiler.backends.llvm.blocks import Block, cut
from tinygrad_bp.compiler.backends.llvm.text import Index, choose
from tinygrad_bp.compiler.schedule import Space

Kept = dict[tuple[int, int], str]  # sums in registers, by their place in the block


class Sums(Block):
    """A nest of sums over the samples of a tile; lanes beyond the last sample give nothing."""

    def write(self) -> None:
        """All of them: transposed where that is cheaper."""
        if len(self.loops) == 1:
            self.loops = [(1, (0,) * len(self.nest.base)), *self.loops]
        if self.can_be_transposed():
            self.write_transposed()
        else:
            self.write_squares()

    def add(self, target: Index, total: str) -> None:
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
            self.add(self.address(-1, [text.index(i, a), text.index(j, b)]), total)

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
                old = text.get(variable)
                if self.product:  # both are 0 beyond the last sample
                    new = text.intrinsic("fmuladd", [*x, old])
                else:
                    share = self.value(x.__getitem__)
                    if inside:
                        share = choose(text, inside, share, text.constant(0.0))
                    new = text.let(f"fadd {text.type} {old}, {share}")
                text.set(variable, new)

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
                old = text.get(variable)
                new = text.intrinsic("fmuladd", [x, column, old])
                text.set(variable, new)
        before = text.let(f"select i1 %first, {text.mask} zeroinitializer, {text.mask} {inside}")
        for r, variable in enumerate(kept):
            place = text.place("%G", self.address(-1, [text.index(i, r), j]))
            total = text.get(variable)
            total = text.let(f"fadd {text.type} {text.load_masked(place, before)}, {total}")
            text.store_masked(total, place, inside)
