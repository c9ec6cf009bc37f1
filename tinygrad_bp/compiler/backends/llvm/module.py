"""A program over its samples in LLVM: the nests as functions, samples packed into rows, tile by tile.

Samples come in as the user's arrays, one row of numbers a sample, and are turned into rows of samples, a tile
at a time; lanes beyond the last sample repeat it.  Nests are written into functions of limited size, since
LLVM's time grows with the square of a function's.  What calls for a tile is in calls.py.
"""

from collections.abc import Iterator, Sequence

from tinygrad_bp.compiler.backends.llvm.blocks import Lanes, Rows, Sums
from tinygrad_bp.compiler.backends.llvm.calls import calls, field
from tinygrad_bp.compiler.backends.llvm.exponentials import inline_where_few
from tinygrad_bp.compiler.backends.llvm.few import Few
from tinygrad_bp.compiler.backends.llvm.passes import Pass, Weights, layer_of
from tinygrad_bp.compiler.backends.llvm.text import Text
from tinygrad_bp.compiler.kernel import Code
from tinygrad_bp.compiler.roll import Nest, Rolled
from tinygrad_bp.compiler.rule import NORM, Rule, Update
from tinygrad_bp.compiler.schedule import Kind, Space

PART = 256  # operations in one function
MANY = 4096  # parameters: more than the nearest cache holds with their gradients
MEMORY = "ptr noalias %S, ptr noalias %R, ptr noalias %G"


def emit_llvm(code: Code, lanes: Lanes, update: Update | None = None) -> str:
    """The program as text. Raises CompileError for an operation that has no machine code."""
    rolled, columns, params = code.rolled, code.widths, code.params
    declared: dict[str, str] = {}
    listed = bool(update and update.listed)
    moving, layers = _moving(rolled, params, lanes, update)
    parts = _Parts(rolled, lanes, declared, [nest for nest, _, _ in moving], layers)
    functions = [*parts.texts, parts.once(), parts.tile(columns, listed)]
    if update and (moving or layers):
        functions += parts.moves()
        for place, rule in enumerate(update.rules):
            functions += [*parts.passes(place, rule, params), parts.without(columns, listed, place)]
    ranges = [(first, end) for _, first, end in moving]
    passed = [(layer.first, layer.first + layer.rows * layer.apart) for layer in layers]
    functions += calls(rolled, params, lanes, update, ranges, passed, declared)
    inline_where_few(declared, functions)
    table = ", ".join(f"i64 {address}" for address in rolled.table)
    tables = [f"@table = private constant [{len(rolled.table)} x i64] [{table}]"] if rolled.table else []
    tables += _output_table(rolled, lanes)
    attributes = 'attributes #0 = { nounwind "prefer-vector-width"="512" "min-legal-vector-width"="512" }'
    return "\n\n".join([*tables, *functions, *declared.values(), attributes, "!0 = !{}\n"])


class _Parts:
    """The nests as functions: those that run once a call, and those that run for each tile."""

    def __init__(
        self,
        rolled: Rolled,
        lanes: Lanes,
        declared: dict[str, str],
        moving: list[Nest],
        layers: list[Weights],
    ) -> None:
        self.rolled, self.lanes, self.declared = rolled, lanes, declared
        self.moving, self.layers = moving, layers  # what can also move its parameters at once
        self.left_out = [*moving, *[nest for layer in layers for nest in (layer.sums, layer.biases) if nest]]
        self.backs = {id(layer.back): place for place, layer in enumerate(layers)}
        self.others: list[str] = []  # the functions for each tile where parameters move at once
        self.texts: list[str] = []
        self.names: dict[bool, list[str]] = {True: [], False: []}  # once a call; for each tile
        small = sum(len(nest.shape) + nest.length for nest in rolled.nests) <= PART
        self.attribute = "alwaysinline" if small and lanes.width == 1 else "noinline"
        group: list[Nest] = []
        for nest in rolled.nests:
            if group and not self.joins(group, nest):
                self.write(group)
                group = []
            group.append(nest)
        if group:
            self.write(group)

    def joins(self, group: list[Nest], nest: Nest) -> bool:
        """Whether a nest belongs into the function of those before."""
        size = sum(len(other.shape) for other in group) + len(nest.shape)
        if any(self.stands_alone(other) for other in (group[0], nest)):
            return False
        return _once(group[0]) == _once(nest) and _alone(group[0]) == _alone(nest) and size <= PART

    def stands_alone(self, nest: Nest) -> bool:
        return id(nest) in self.backs or any(other is nest for other in self.left_out)

    def write(self, group: list[Nest]) -> None:
        once = _once(group[0])
        few = self.lanes.apart > 0
        text = Text(1 if once and not few else self.lanes.width, self.declared)
        if _alone(group[0]):
            rows = [(Few if few else Rows)(text, nest, self.lanes) for nest in group]
            with rows[0].each_vector() as samples:
                for block in rows:
                    block.block([0], 1, [samples])
        else:
            for nest in group:
                kind = Few if few else Sums if nest.kind is Kind.SUM else Rows
                kind(text, nest, self.lanes).write()
        text.do("ret void")
        name = f"part{len(self.texts)}"
        more = "double %count" if once else "i64 %lanes, i64 %live, i1 %first"
        self.names[once].append(name)
        if id(group[0]) in self.backs:
            self.others.append(f"pass{self.backs[id(group[0])]}")
        elif not once and not any(other is group[0] for other in self.left_out):
            self.others.append(name)
        self.texts.append(self.function(name, f"{MEMORY}, {more}", text))

    def function(self, name: str, parameters: str, text: Text) -> str:
        return f"define internal void @{name}({parameters}) {self.attribute} #0 {{\n{text.body()}\n}}"

    def once(self) -> str:
        """What is the same for all samples."""
        text = Text(1, self.declared)
        count = text.let("sitofp i64 %n to double")
        for name in self.names[True]:
            text.do(f"call void @{name}(ptr %S, ptr %R, ptr %G, double {count})")
        text.do("ret void")
        return self.function("once", f"{MEMORY}, i64 %n", text)

    def moves(self) -> Iterator[str]:
        """Sums that move their parameters at once; a number that is not 0 if one is not finite."""
        for place, nest in enumerate(self.moving):
            text = Text(self.lanes.width, self.declared)
            Few(text, nest, self.lanes).write_and_move()
            given = f"{MEMORY}, i64 %live, ptr %frame, ptr %once, ptr %apply"
            yield f"define internal i64 @sums{place}({given}) noinline #0 {{\n{text.body()}\n}}"

    def passes(self, place: int, rule: Rule, params: int) -> Iterator[str]:
        """The layers' passes by a rule; a number that is not 0 if a parameter is not finite."""
        for number, layer in enumerate(self.layers):
            text = Text(self.lanes.width, self.declared)
            Pass(text, layer, self.lanes, rule, params, field).write()
            given = "ptr noalias %R, i64 %live, ptr %frame, ptr %once"
            yield f"define internal i64 @pass{number}.{place}({given}) noinline #0 {{\n{text.body()}\n}}"

    def tile(self, columns: Sequence[int], listed: bool) -> str:
        """One tile: `live` samples from `begin` on; of those that a list names, or of all."""
        text, lanes = self.filled(columns, listed)
        for name in self.names[False]:
            text.do(f"call void @{name}(ptr %S, ptr %R, ptr %G, i64 {lanes}, i64 %live, i1 %first)")
        if not self.rolled.summed:
            _unpack(text, self.rolled)
        text.do("ret void")
        data = (
            "ptr noalias %columns, ptr %list, ptr noalias %out, i64 %begin, i64 %live, i1 %first, i1 %fresh"
        )
        return self.function("tile", f"{MEMORY}, {data}", text)

    def filled(self, columns: Sequence[int], listed: bool) -> tuple[Text, str]:
        """The beginning of a tile, and how many lanes it has."""
        text, width = Text(self.lanes.width, self.declared), self.lanes.width
        lanes = text.let(f"and i64 {text.index('%live', width - 1)}, {-width}")
        with text.only_if("%fresh"):
            (_copy if self.lanes.apart else _pack)(text, columns, self.lanes, lanes, listed)
        return text, lanes

    def without(self, columns: Sequence[int], listed: bool, place: int) -> str:
        """The tile of a step in which parameters move at once, by a rule; not 0 if one is not finite."""
        text, lanes = self.filled(columns, listed)
        wrong = text.variable("i64")
        text.set(wrong, "0", "i64")
        for name in self.others:
            if name.startswith("pass"):
                found = text.let(f"call i64 @{name}.{place}(ptr %R, i64 %live, ptr %frame, ptr %once)")
                text.set(wrong, text.let(f"or i64 {text.get(wrong, 'i64')}, {found}"), "i64")
            else:
                text.do(f"call void @{name}(ptr %S, ptr %R, ptr %G, i64 {lanes}, i64 %live, i1 true)")
        text.do(f"ret i64 {text.get(wrong, 'i64')}")
        data = "ptr %columns, ptr %list, i64 %live, i1 %fresh, ptr %frame, ptr %once"
        body = text.body().replace("%begin", "0")
        return (
            f"define internal i64 @others{place}(ptr %S, ptr %R, ptr %G, {data}) noinline #0 {{\n{body}\n}}"
        )


def _moving(
    rolled: Rolled, params: int, lanes: Lanes, update: Update | None
) -> tuple[list[tuple[Nest, int, int]], list[Weights]]:
    """Nests of gradients that move their parameters (first, end) row by row, in a step of few samples; and
    layers of which each weight is read once for that and for the way back.

    A gradient that is not stored saves as much time as the step takes otherwise, where parameters are many.
    It is stored where its length, or a penalty, is to be known first.
    """
    found: list[tuple[Nest, int, int]] = []
    layers: list[Weights] = []
    if not lanes.apart or params < MANY or not update or not update.rules or update.penalty:
        return found, layers
    if any(NORM in rule.sources for rule in update.rules):
        return found, layers
    taken: list[tuple[int, int]] = []
    for nest in rolled.nests:
        if nest.kind is not Kind.SUM:
            continue
        first, end = Few(Text(lanes.width, {}), nest, lanes).rows_of_parameters()
        if not first < end <= params or any(first < b and a < end for a, b in taken):
            continue
        taken.append((first, end))
        layer = layer_of(nest, rolled.nests, lanes)
        if layer and all(layer.back is not other.back for other in layers):
            layers.append(layer)
        else:
            found.append((nest, first, end))
    return found, layers


def _once(nest: Nest) -> bool:
    return nest.kind in (Kind.ONCE, Kind.COUNT)


def _alone(nest: Nest) -> bool:
    """A single statement of each sample without an accumulation: such are written into one loop."""
    return nest.kind is Kind.SAMPLE and nest.points == 1 and not nest.length and not nest.table


def _copy(text: Text, columns: Sequence[int], lanes: Lanes, _: str, listed: bool) -> None:
    """Few samples one after the other, as they are; the last one again where the tile has more."""
    last = text.let("sub i64 %live, 1")
    row = 0
    for number, width in enumerate(columns):
        column = text.load("%columns", number, "ptr")
        with text.loop(0, lanes.tile) as sample:
            place = text.index("%begin", text.smallest(sample, last))
            start = text.index((width, text.load("%list", place, "i64") if listed else place))
            target = text.index((lanes.apart, sample), row)
            blocks = width // text.width * text.width
            with text.loop(0, blocks, text.width) as k:
                text.store_lanes(
                    text.load_lanes(column, text.index(start, k), 8), "%R", text.index(target, k), 8
                )
            if blocks < width:
                rest = text.load_part(column, text.index(start, blocks), width - blocks, 1, 0.0)
                text.store_part(rest, "%R", text.index(target, blocks), width - blocks, 1)
        row += width


def _pack(text: Text, columns: Sequence[int], lanes: Lanes, end: str, listed: bool) -> None:
    """Samples into rows, one input a row, a vector of samples at a time."""
    last = text.let("sub i64 %live, 1")
    row = 0
    for number, width in enumerate(columns):
        column = text.load("%columns", number, "ptr")
        blocks = width // text.width * text.width if text.width > 1 else 0
        with text.loop(0, end, text.width) as first:
            samples = [text.smallest(text.index(first, lane), last) for lane in range(text.width)]
            numbers = [text.index("%begin", sample) for sample in samples]
            if listed:
                numbers = [text.load("%list", number, "i64") for number in numbers]
            starts = [text.index((width, number)) for number in numbers]
            with text.loop(0, blocks, text.width) as k:
                rows = [text.load_lanes(column, text.index(start, k), 8) for start in starts]
                for ahead, x in enumerate(text.transposed(rows)):
                    text.store_lanes(x, "%R", text.index((lanes.tile, text.index(k, ahead + row)), first))
            with text.loop(blocks, width) as k:
                for lane, start in enumerate(starts):
                    x = text.load(column, text.index(start, k))
                    text.store(x, "%R", text.index((lanes.tile, text.index(k, row)), first, lane))
        row += width


def _unpack(text: Text, rolled: Rolled) -> None:
    """The outputs of each sample, from their rows (or from the scalars) into the caller's array."""
    with text.loop(0, len(rolled.outputs)) as k:
        offset = text.load("@outputs", text.index((2, k)), "i64")
        stride = text.load("@outputs", text.index((2, k), 1), "i64")
        base = text.let(f"select i1 {text.let(f'icmp eq i64 {stride}, 0')}, ptr %S, ptr %R")
        with text.loop(0, "%live") as lane:
            x = text.load(base, text.index(offset, text.let(f"mul i64 {stride}, {lane}")))
            sample = text.index("%begin", lane)
            text.store(x, "%out", text.index((len(rolled.outputs), sample), k))


def _output_table(rolled: Rolled, lanes: Lanes) -> list[str]:
    """For each output where it begins, and how far the next sample's is: 0 for a scalar."""
    if rolled.summed:
        return []
    far, near = (1, lanes.apart) if lanes.apart else (lanes.tile, 1)  # from row to row, from sample to sample
    rows = [(at * far, near) if space is Space.ROWS else (at, 0) for space, at in rolled.outputs]
    entries = ", ".join(f"i64 {x}" for row in rows for x in row)
    return [f"@outputs = private constant [{2 * len(rows)} x i64] [{entries}]"]
