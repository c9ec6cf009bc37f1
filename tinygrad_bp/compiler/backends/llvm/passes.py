"""A layer's weights in one pass, for few samples: each is read once, takes part in what goes back to the
layer's inputs, and is moved by its gradient.

Two nests of the program are done together: the dots along the columns of the weights, and the sums over the
samples that are the gradients of the rows.  A row is the weights of a neuron, and its bias, if it has one, as
the weight of an input that is 1.  Rows come in the order in which the dots add them up and samples in that of
the sums, so the bits are those of the nests apart.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from tinygrad_bp.compiler.backends.llvm.blocks import EIGHT, Lanes, cut
from tinygrad_bp.compiler.backends.llvm.few import Few
from tinygrad_bp.compiler.backends.llvm.text import Index, Text
from tinygrad_bp.compiler.backends.llvm.updates import Field, Moves
from tinygrad_bp.compiler.roll import Nest, Run, leaf_spaces
from tinygrad_bp.compiler.rule import Rule
from tinygrad_bp.compiler.schedule import Kind, Leaf, Space


@dataclass(frozen=True)
class Weights:
    """The nests of a layer that one pass over its rows of parameters does, and where those are."""

    sums: Nest  # the gradients of the weights
    back: Nest  # what goes back to the inputs
    biases: Nest | None  # the gradients of the biases
    inputs: (
        int  # which operand of the sums are the layer's inputs; the other is what came back to its results
    )
    first: int  # parameter
    rows: int
    trips: int  # weights in a row
    apart: int  # parameters in a row
    falls: bool  # the last row comes first

    @property
    def deltas(self) -> int:
        return 1 - self.inputs


def layer_of(sums: Nest, nests: Sequence[Nest], lanes: Lanes) -> Weights | None:
    """The layer whose rows of weights have these gradients; None if its nests cannot be done together."""
    (rows, down), (trips, along) = Few(Text(lanes.width, {}), sums, lanes).loops
    inputs = 0 if along[1] else 1
    deltas, first, apart = 1 - inputs, sums.base[0], down[0]
    delta, hop = sums.base[deltas + 1], down[deltas + 1]
    if down[inputs + 1] or apart not in (trips, trips + 1):
        return None
    loops = [(rows, (apart, hop))]
    biases = next((nest for nest in nests if _adds(nest) and nest.base == (first + trips, delta)
                   and nest.loops == loops), None)  # fmt: skip
    if apart > trips and not biases:
        return None
    for place, back in enumerate(nests):
        for falls in (False, True):
            start, step = (rows - 1, -1) if falls else (0, 1)
            weights = Run(Space.SCALARS, step * apart, rows), first + start * apart, 1
            came = Run(Space.ROWS, step * hop, rows), delta + start * hop, 0
            if _is_of(back, rows, trips, weights, came) and _free(
                sums, nests[place:], first, first + rows * apart
            ):
                return Weights(sums, back, biases, inputs, first, rows, trips, apart, falls)
    return None


def _adds(nest: Nest) -> bool:
    """Whether it adds up numbers of the samples as they are."""
    return (
        nest.kind is Kind.SUM and len(nest.shape) == 1 and isinstance(nest.shape[0], Leaf) and not nest.table
    )


def _is_of(nest: Nest, length: int, trips: int, *lists: tuple[Run, int, int]) -> bool:
    """Whether it has so many results, dots of two lists: how each lies, where, and the next result's."""
    if nest.kind is not Kind.SAMPLE or nest.table or len(nest.loops) != 1 or nest.length != length:
        return False
    count, strides = nest.loops[0]
    found = [(run, nest.base[k + 1], strides[k + 1]) for k, run in enumerate(nest.runs) if run]
    singles = [k for k, run in enumerate(nest.runs) if not run]
    return (
        (count, strides[0]) == (trips, 1)
        and sorted(found, key=str) == sorted(lists, key=str)
        and all(strides[k + 1] in (0, 1) and leaf_spaces(nest)[k] is Space.ROWS for k in singles)
    )


def _free(sums: Nest, nests: Sequence[Nest], first: int, end: int) -> bool:
    """Whether the sums can be done where the first of these nests is: what they read is there by then, and no
    later nest reads the parameters."""
    read = [_reach(sums, 0), _reach(sums, 1)]
    for place, nest in enumerate(nests):
        if nest.kind is Kind.SAMPLE and any(_meet(_reach(nest, -1), one) for one in read):
            return False
        for k, space in enumerate(leaf_spaces(nest)):
            if place and space is Space.SCALARS and _meet(_reach(nest, k), (first, end - 1)):
                return False
    return True


def _reach(nest: Nest, k: int) -> tuple[int, int]:
    """The least and the greatest address of operand k (-1: the result)."""
    run = nest.runs[k] if k >= 0 else None
    if nest.table or (run and run.stride is None):
        return 0, 1 << 62  # who knows
    moves = [(trips - 1) * strides[k + 1] for trips, strides in nest.loops]
    moves += [(nest.length - 1) * run.stride] if run and run.stride else []
    low = nest.base[k + 1] + sum(move for move in moves if move < 0)
    return low, low + sum(map(abs, moves))


def _meet(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return one[0] <= other[1] and other[0] <= one[1]


class Pass:
    """The code of a layer's pass, by one rule: a function of its own."""

    def __init__(
        self, text: Text, layer: Weights, lanes: Lanes, rule: Rule, params: int, field: Field
    ) -> None:
        self.text, self.layer, self.lanes = text, layer, lanes
        self.back = Few(text, layer.back, lanes)
        self.samples = range(lanes.tile)
        self.moves = Moves(text, rule, params, field, EIGHT)
        self.moves.scale = field(text, "scale")
        with text.as_wide_as(1):
            once = {term: text.load("%once", k) for k, term in enumerate(rule.shared_terms)}
        self.moves.begin(once)

    def write(self) -> None:
        """Blocks of vectors of the row whose dots registers hold, each through all rows."""
        text, vectors = self.text, -(-self.layer.apart // EIGHT)
        most = max(1, self.lanes.held * 2 // 3 // self.lanes.tile)
        with text.loop("%live", self.lanes.tile) as sample, text.loop(0, self.layer.rows) as row:
            text.store("0.0", *self.place(sample, row))  # nothing came from a sample that only fills the tile
        for first, end, size in cut(vectors, most):
            whole = end if end < vectors else end - size  # the last vector may not be whole
            with text.loop(first, whole, size) as vector:
                self.block([text.index((EIGHT, vector), EIGHT * a) for a in range(size)], 0)
            if whole < end:
                self.block([EIGHT * (whole + a) for a in range(size)], EIGHT * (vectors - 1))
        text.do(f"ret i64 {self.moves.found()}")

    def block(self, starts: Sequence[Index], last: int) -> None:
        """Vectors of a row that begin there; with `last`, where the last one of the row begins."""
        text, layer, back = self.text, self.layer, self.back
        counts, lanes = [EIGHT] * len(starts), EIGHT  # of weights in each, of parameters in the last
        if last or layer.apart <= EIGHT:
            counts[-1], lanes = min(EIGHT, layer.trips - last), layer.apart - last
        mask = "" if lanes == EIGHT else _first_lanes(lanes)
        cells = [(s, j) for s in self.samples for j in range(len(starts))]
        kept = {cell: text.variable(text.type) for cell in cells}
        inputs = {}
        for s, j in cells:
            text.set(kept[s, j], back.start(self.fetch(starts[j], s)))
            if counts[j] < EIGHT:
                inputs[s, j] = self.input(s, starts[j], counts[j])
        with text.loop(0, layer.rows) as turn:
            row = text.index(layer.rows - 1, (-1, turn)) if layer.falls else turn
            came = [text.spread(text.load(*self.place(s, row))) for s in self.samples]
            for j, start in enumerate(starts):
                masked = mask if j == len(starts) - 1 else ""
                place = text.index(layer.first, (layer.apart, row), start)
                w = self.moves.parameters(place, masked)
                g = text.constant(0.0)
                for s in self.samples:
                    x = inputs.get((s, j)) or self.input(s, start, EIGHT)
                    g = text.intrinsic("fmuladd", [came[s], x, g])
                    text.set(kept[s, j], text.intrinsic("fmuladd", [came[s], w, text.get(kept[s, j])]))
                self.moves.vector_at(place, masked, w, g)
        for s, j in cells:
            if counts[j]:
                back.count = counts[j]
                back.store(back.value(self.fetch(starts[j], s), text.get(kept[s, j])), [starts[j]], s)

    def fetch(self, start: Index, sample: int) -> Callable[[int], str]:
        return partial(self.back.operand, [start], sample)

    def input(self, sample: int, start: Index, count: int) -> str:
        """Inputs of the layer, and 1 for a bias."""
        if not count:
            return self.text.constant(1.0)
        layer = self.layer
        at = self.text.index(layer.sums.base[layer.inputs + 1], start)
        return self.text.load_part(self.back.base(Space.ROWS, sample), at, count, 1, 1.0)

    def place(self, sample: Index, row: Index) -> tuple[str, Index]:
        """Of what came back to a row."""
        layer = self.layer
        hop = layer.sums.loops[0][1][layer.deltas + 1]
        at = self.text.index(layer.sums.base[layer.deltas + 1], (hop, row))
        return self.back.base(Space.ROWS, sample), at


def _first_lanes(count: int) -> str:
    """A mask."""
    return "<" + ", ".join(f"i1 {int(lane < count)}" for lane in range(EIGHT)) + ">"
