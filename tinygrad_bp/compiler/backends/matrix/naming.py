"""Naming: weights and biases that no label names, and what each result is to its layer.

What a weight matrix `W2` multiplies is an activation, `A1`; what it makes is `Z2` before an activation and
`A2` behind one; what its gradient is made of is the delta `D2`.  All else is `T1`, `T2`, ...  Read
writing.py next.
"""

from collections.abc import Iterator, Sequence

from tinygrad_bp.compiler.backends.matrix import formulas as fm
from tinygrad_bp.compiler.backends.matrix.layout import Block, Layout
from tinygrad_bp.compiler.backends.matrix.leaves import Names
from tinygrad_bp.compiler.backends.matrix.statements import Statement
from tinygrad_bp.compiler.schedule import Kind, Space


def matrices_found(statements: Sequence[Statement], layout: Layout, names: Names) -> Iterator[Block]:
    """Parameters without labels, as the statements read them: matrices, their biases, other columns."""
    count = 0
    for s in statements:
        layer = ""
        for total in fm.products(s.formula):
            assert total.ws
            grid = tuple(dict.fromkeys(total.ws.lists))
            if len(grid) * len(grid[0]) > 1 and _is_free(grid, layout):
                count += 1
                layer = str(count)
                yield _settled(Block(grid, names.new(f"W{layer}"), layer, True), layout)
        for f in fm.parts(s.formula):
            if isinstance(f, fm.Operand) and f.space is Space.SCALARS and (layer or len(f.addresses) > 1):
                column = tuple((a,) for a in dict.fromkeys(f.addresses))
                if _is_free(column, layout):
                    name = names.new(f"b{layer}") if layer else names.counted("p")
                    yield _settled(Block(column, name, given=True), layout)


def _is_free(grid: tuple[tuple[int, ...], ...], layout: Layout) -> bool:
    addresses = [a for row in grid for a in row]
    free = all(a < layout.leaves and a not in layout.places[Space.SCALARS] for a in addresses)
    return free and len(set(addresses)) == len(addresses)


def _settled(block: Block, layout: Layout) -> Block:
    layout.settle(Space.SCALARS, block)
    return block


def give_names(
    statements: Sequence[Statement], layout: Layout, names: Names, matrices: Sequence[Block], loss: int
) -> None:
    """Every result its name, and every part of the gradient."""
    wanted: dict[Block, str] = {}
    for s in statements:
        for total in fm.products(s.formula):
            assert total.ws
            if total.ws.space is Space.SCALARS and len(set(total.xs.lists)) == 1:
                found = layout.part_of_a_matrix(total.ws.lists)
                if found and found[0].layer is not None and not found[1]:
                    _name_forward(s, total, found[0].layer, layout, wanted)
        if s.factors:
            _name_delta(s, layout, wanted)
    matrix = {tuple(a for row in block.grid for a in row): block for block in matrices}
    for s in statements:
        if s.kind not in (Kind.SUM, Kind.COUNT):
            s.block.name = names.free(wanted.get(s.block, "")) or names.counted("T")
            continue
        of = matrix.get(tuple(a for row in s.block.grid for a in row))
        if s.block.grid == ((loss,),):
            s.block.name = "loss"
        elif of:
            s.block.name, s.block.layer, s.block.grid = names.new(f"d{of.name}"), of.layer, of.grid
        else:
            s.block.name = names.counted("G")


def _name_forward(
    s: Statement, total: fm.Total, layer: str, layout: Layout, wanted: dict[Block, str]
) -> None:
    if s.kind is Kind.SAMPLE:
        wanted.setdefault(s.block, f"{'Z' if fm.is_layer(s.formula) else 'A'}{layer}")
    before = layout.whole(total.xs.space, total.xs.lists[0])
    if before and not before.given:
        wanted.setdefault(before, f"A{int(layer) - 1 if layer else ''}")


def _name_delta(s: Statement, layout: Layout, wanted: dict[Block, str]) -> None:
    assert s.factors
    found = layout.part_of_a_matrix(s.block.grid)
    if found is None or found[0].layer is None:
        return
    if found[1]:
        s.factors = (s.factors[1], s.factors[0])
        s.block.grid = found[0].grid
        s.more = s.more and tuple(zip(*s.more))
    delta = layout.whole(Space.ROWS, s.factors[0].addresses)
    if delta and not delta.given and wanted.get(delta, "Z")[0] not in "A":
        wanted[delta] = f"D{found[0].layer}"
