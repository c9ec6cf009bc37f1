"""A whole program in LLVM: packing samples into rows, the tiles, one evaluation, and training.

`run` evaluates once; `train` runs k steps of gradient descent without coming back.  Samples come in as the
user's arrays, one row of numbers a sample, and are turned into rows of samples, a tile at a time; lanes
beyond the last sample repeat it.  Nests are written into functions of limited size, since LLVM's time grows
with the square of a function's.  Read native.py next.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tinygrad_bp.compiler.llvm.blocks import Block
from tinygrad_bp.compiler.llvm.text import Index, Text, hexadecimal
from tinygrad_bp.compiler.roll import Nest, Rolled
from tinygrad_bp.compiler.schedule import Kind, Space

PART = 256  # operations in one function
ROOM = 3 << 19  # bytes that the rows of a tile may take
TILE = 240  # samples in a tile, if there is room


@dataclass(frozen=True)
class Lanes:
    """How samples are laid out: `width` a vector, `vectors` of them at a time, `tile` in memory at once."""

    width: int
    vectors: int
    tile: int

    @staticmethod
    def chosen(rolled: Rolled, width: int, samples: int) -> "Lanes":
        """For so many samples: plain numbers for a few, one vector for some, three at a time for many."""
        if samples <= width // 2:
            return Lanes(1, 1, 1)
        vectors = 1 if samples <= width else 3
        block = width * vectors  # a tile is whole blocks, or lanes would run into the next row
        fit = max(1, min(TILE, ROOM // (8 * max(1, rolled.rows))) // block)
        return Lanes(width, vectors, block * fit if vectors > 1 else width)


def emit_llvm(rolled: Rolled, columns: Sequence[int], params: int, lanes: Lanes) -> str:
    """The program as text. `columns` says how many numbers a sample has in each argument.

    Raises CompileError for an operation that has no machine code.
    """
    declared: dict[str, str] = {}
    parts = _Parts(rolled, lanes, declared)
    functions = [
        *parts.texts,
        _run(rolled, columns, lanes, parts, declared),
    ]
    if rolled.summed and len(rolled.outputs) == params + 1:  # a gradient and its loss
        functions.append(_train(rolled, params, declared))
    table = ", ".join(f"i64 {address}" for address in rolled.table)
    tables = [f"@table = private constant [{len(rolled.table)} x i64] [{table}]"] if rolled.table else []
    tables += _output_table(rolled, lanes)
    attributes = 'attributes #0 = { nounwind "prefer-vector-width"="512" "min-legal-vector-width"="512" }'
    return "\n\n".join([*tables, *functions, *declared.values(), attributes, ""])


POINTERS = "ptr noalias %S, ptr noalias %R, ptr noalias %G"


class _Parts:
    """The nests as functions: those that run once a call, and those that run for each tile."""

    def __init__(self, rolled: Rolled, lanes: Lanes, declared: dict[str, str]) -> None:
        self.lanes, self.declared = lanes, declared
        self.texts: list[str] = []
        self.calls: dict[bool, list[str]] = {True: [], False: []}  # once a call; for each tile
        small = sum(len(nest.shape) + nest.length for nest in rolled.nests) <= PART
        self.attribute = "alwaysinline" if small and lanes.width == 1 else "noinline"
        self.small = small
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
        return _once(group[0]) == _once(nest) and _alone(group[0]) == _alone(nest) and size <= PART

    def write(self, group: list[Nest]) -> None:
        once = _once(group[0])
        text = Text(1 if once else self.lanes.width, self.declared)
        vectors = 1 if once else self.lanes.vectors
        blocks = [Block(text, nest, vectors, self.lanes.tile) for nest in group]
        if _alone(group[0]):
            step = text.width
            with text.loop(0, blocks[0].lanes, step) as samples:
                for block in blocks:
                    block.vectors = 1
                    block.block([0], 1, samples)
        else:
            for block in blocks:
                block.write_sums() if block.nest.kind is Kind.SUM else block.write_rows()
        text.do("ret void")
        name = f"part{len(self.texts)}"
        more = "double %count" if once else "i64 %lanes, i64 %live"
        self.calls[once].append(name)
        self.texts.append(
            f"define internal void @{name}({POINTERS}, {more}) {self.attribute} #0 {{\n{text.body()}\n}}"
        )


def _once(nest: Nest) -> bool:
    return nest.kind in (Kind.ONCE, Kind.COUNT)


def _alone(nest: Nest) -> bool:
    """A single statement of each sample without an accumulation: such are written into one loop."""
    return nest.kind is Kind.SAMPLE and nest.points == 1 and not nest.length and not nest.table


def _run(
    rolled: Rolled, columns: Sequence[int], lanes: Lanes, parts: _Parts, declared: dict[str, str]
) -> str:
    """One evaluation over all samples."""
    text = Text(1, declared)
    pointers = "ptr %S, ptr %R, ptr %G"
    sums = len(rolled.outputs) if rolled.summed else 0
    with text.loop(0, sums) as k:
        text.store(hexadecimal(0.0), "%G", k)
    count = text.let("sitofp i64 %n to double")
    for name in parts.calls[True]:
        text.do(f"call void @{name}({pointers}, double {count})")
    declared["llvm.smin.i64"] = "declare i64 @llvm.smin.i64(i64, i64)"
    with text.loop(0, "%n", lanes.tile) as first:
        rest = text.let(f"sub i64 %n, {first}")
        live = text.let(f"call i64 @llvm.smin.i64(i64 {rest}, i64 {lanes.tile})")
        block = lanes.width * lanes.vectors
        up = text.let(f"add i64 {live}, {block - 1}")
        padded = text.let(f"mul i64 {text.let(f'udiv i64 {up}, {block}')}, {block}")
        several = text.let(f"icmp sgt i64 %n, {lanes.tile}")
        with text.only_if(text.let(f"or i1 {several}, %fresh")):
            _pack(text, columns, lanes, str(first), live, padded)
        for name in parts.calls[False]:
            text.do(f"call void @{name}({pointers}, i64 {padded}, i64 {live})")
        if not rolled.summed:
            _unpack(text, rolled, lanes, str(first), live)
    text.do("ret void")
    attribute = "alwaysinline " if parts.small and lanes.width == 1 else ""
    return (
        "define void @run(ptr noalias %S, ptr noalias %columns, i64 %n, ptr noalias %G, ptr noalias %R, "
        f"ptr noalias %out, i1 %fresh) {attribute}#0 {{\n{text.body()}\n}}"
    )


def _pack(text: Text, columns: Sequence[int], lanes: Lanes, first: str, live: str, padded: str) -> None:
    """Samples into rows, one input a row; the lanes that are too many repeat the last sample."""
    last = text.let(f"sub i64 {live}, 1")
    row = 0
    for number, width in enumerate(columns):
        column = text.load("%columns", number, "ptr")
        with text.loop(0, padded) as lane:
            sample = text.let(f"call i64 @llvm.smin.i64(i64 {lane}, i64 {last})")
            start = text.index((width, text.index(first, sample)))
            with text.loop(0, width) as k:
                x = text.load(column, text.index(start, k))
                text.store(x, "%R", text.index((lanes.tile, k), lanes.tile * row, lane))
        row += width


def _unpack(text: Text, rolled: Rolled, lanes: Lanes, first: str, live: str) -> None:
    """The outputs of each sample, from their rows (or from the scalars) into the caller's array."""
    with text.loop(0, len(rolled.outputs)) as k:
        offset = text.load("@outputs", text.index((2, k)), "i64")
        stride = text.load("@outputs", text.index((2, k), 1), "i64")
        base = text.let(f"select i1 {text.let(f'icmp eq i64 {stride}, 0')}, ptr %S, ptr %R")
        with text.loop(0, live) as lane:
            x = text.load(base, text.index(offset, text.let(f"mul i64 {stride}, {lane}")))
            sample = text.index(first, lane)
            text.store(x, "%out", text.index((len(rolled.outputs), sample), k))


def _output_table(rolled: Rolled, lanes: Lanes) -> list[str]:
    """For each output where it begins, and how far the next sample's is: 0 for a scalar."""
    if rolled.summed:
        return []
    rows = [(at * lanes.tile, 1) if space is Space.ROWS else (at, 0) for space, at in rolled.outputs]
    entries = ", ".join(f"i64 {x}" for row in rows for x in row)
    return [f"@outputs = private constant [{2 * len(rows)} x i64] [{entries}]"]


def _train(rolled: Rolled, params: int, declared: dict[str, str]) -> str:
    """Steps of gradient descent; how many were taken before a sum was not finite."""
    text = Text(1, declared)
    sums = len(rolled.outputs)
    wrong = text.variable("i64")
    with text.loop(0, "%steps") as step:
        fresh = text.let(f"icmp eq i64 {step}, 0")
        text.do(f"call void @run(ptr %S, ptr %columns, i64 %n, ptr %G, ptr %R, ptr null, i1 {fresh})")
        text.do(f"store i64 0, ptr {wrong}")
        with text.loop(0, sums) as k:
            scaled = text.let(f"fmul double {text.load('%G', k)}, %scale")
            text.store(scaled, "%G", k)
            difference = text.let(f"fsub double {scaled}, {scaled}")  # 0, or nan for inf and nan
            bits = text.let(f"bitcast double {difference} to i64")
            old = text.let(f"load i64, ptr {wrong}")
            text.do(f"store i64 {text.let(f'or i64 {old}, {bits}')}, ptr {wrong}")
        text.store(text.load("%G", sums - 1), "%losses", step)
        found = text.let(f"load i64, ptr {wrong}")
        stop = text.let(f"icmp ne i64 {found}, 0")
        with text.only_if(stop, leave=f"ret i64 {step}"):
            pass
        with text.only_if("%plain"), text.loop(0, params) as k:
            _move(text, k, text.load("%G", k))
        with text.only_if(text.let("xor i1 %plain, true")), text.loop(0, params) as k:
            kept = text.let(f"fmul double %momentum, {text.load('%velocity', k)}")
            v = text.let(f"fadd double {kept}, {text.load('%G', k)}")
            text.store(v, "%velocity", k)
            _move(text, k, v)
    text.do("ret i64 %steps")
    body = text.body().replace("entry:", "entry:\n  %plain = fcmp oeq double %momentum, 0.0", 1)
    return (
        "define i64 @train(ptr noalias %S, ptr noalias %columns, i64 %n, ptr noalias %G, ptr noalias %R, "
        "ptr noalias %losses, ptr noalias %velocity, double %lr, double %momentum, double %scale, "
        f"i64 %steps) #0 {{\n{body}\n}}"
    )


def _move(text: Text, k: Index, v: str) -> None:
    """A parameter against its velocity."""
    change = text.let(f"fmul double %lr, {v}")
    text.store(text.let(f"fsub double {text.load('%S', k)}, {change}"), "%S", k)
