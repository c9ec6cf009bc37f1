"""Writing: a statement as a line of array source, and sums of products as matrix products.

Every result has two axes, rows and samples.  A sum of products whose lists are the same samples' rows at
every point is a matrix times these rows; lists that are windows of the samples, or the tokens of a sequence,
give a stack of such products; the rest is multiplied entry by entry and summed.
"""

from collections.abc import Iterator, Sequence

from tinygrad_bp import ops
from tinygrad_bp.compiler.backends.matrix import formulas as fm
from tinygrad_bp.compiler.backends.matrix.helpers import ERF, ERFC, SERIES
from tinygrad_bp.compiler.backends.matrix.layout import Block, Layout
from tinygrad_bp.compiler.backends.matrix.leaves import Names
from tinygrad_bp.compiler.backends.matrix.spelling import (
    PRODUCT,
    SIGN,
    Text,
    both,
    compared,
    condition,
    literal,
    spelled,
)
from tinygrad_bp.compiler.backends.matrix.statements import Statement
from tinygrad_bp.compiler.lower import erfc
from tinygrad_bp.compiler.schedule import Kind, Space
from tinygrad_bp.compiler.spelling import COMPARISONS


class Writer:
    """Makes lines of statements; remembers the parts of the gradient and the helpers they call."""

    def __init__(self, layout: Layout, loss: int) -> None:
        self.layout, self.loss = layout, loss
        self.gradient: list[Block] = []
        self.called: set[ops.Op] = set()

    def line(self, s: Statement) -> str:
        """The line of a statement."""
        if s.kind in (Kind.SUM, Kind.COUNT):
            return self._sum(s)
        return f"{s.block.name} = {self._stored(s)}"

    def _stored(self, s: Statement) -> str:
        """Its formula, spread to all its rows and samples where that is simpler than it seemed."""
        found, columns = self.text(s.formula, s.rows), "n" if s.kind is Kind.SAMPLE else "1"
        spread = found.scalar or (s.rows > 1 and not fm.varies(s.formula))
        if spread or (columns == "n" and not fm.differs(s.formula)):
            text = f"{found.within(SIGN)} * one" if found.scalar else found.text
            return f"xp.broadcast_to({text}, ({s.rows}, {columns}))"
        return found.text

    def _sum(self, s: Statement) -> str:
        is_loss = s.block.grid == ((self.loss,),)
        if not is_loss:
            self.gradient.append(s.block)
        if s.factors:
            x, y = (self.layout.rows(factor.space, factor.addresses) for factor in s.factors)
            more = f" + n * {self.layout.matrix(s.more).text}" if s.more else ""
            return f"{s.block.name} = {x} @ {y}.T{more}"
        counted = s.kind is Kind.COUNT or not fm.differs(s.formula)
        if is_loss and isinstance(s.formula, fm.Down) and not counted:
            return f"loss = xp.sum({self.text(s.formula.formula, s.formula.rows).text})"
        found = self.text(s.formula, s.rows)
        alike = found.scalar or (s.rows > 1 and not fm.varies(s.formula))
        if counted:
            found = Text(f"n * {found.within(SIGN)}{' * one' if found.scalar else ''}", PRODUCT)
        if is_loss:
            return f"loss = xp.sum({found.text})"
        if not counted:
            found = Text(f"xp.sum({found.text}, axis=1, keepdims=True)")
        if alike:
            found = Text(f"xp.broadcast_to({found.text}, ({s.rows}, 1))")
        grid = s.block.grid
        if len(grid[0]) > 1:
            found = Text(f"xp.reshape({found.text}, ({len(grid)}, {len(grid[0])}))")
        return f"{s.block.name} = {found.text}"

    def missing(self, params: int, names: Names) -> Iterator[str]:
        """A line of zeros for the parameters that nothing depends on."""
        known = {a for block in self.gradient for row in block.grid for a in row}
        zero = [a for a in range(params) if a not in known]
        if zero:
            block = Block(tuple((a,) for a in zero), names.new("zeros"))
            self.gradient.append(block)
            yield f"{block.name} = xp.zeros_like(xp.reshape(params[:{len(zero)}], (-1, 1)))"

    def outputs(self, outputs: Sequence[tuple[Space, int]]) -> str:
        """Results of each sample as rows."""
        pieces: list[str] = []
        first = 0
        while first < len(outputs):
            space = outputs[first][0]
            end = first
            while end < len(outputs) and outputs[end][0] is space:
                end += 1
            rows = self.layout.rows(space, [address for _, address in outputs[first:end]])
            pieces.append(rows if space is Space.ROWS else f"xp.broadcast_to({rows}, ({end - first}, n))")
            first = end
        if len(pieces) == 1:
            return f"{pieces[0]}.T"
        return f"xp.concat([{', '.join(pieces)}], axis=0).T" if pieces else "xp.zeros((n, 0))"

    def helpers(self) -> list[list[str]]:
        """Functions that the lines call and the standard lacks."""
        found = [SERIES, ERFC] if self.called & {erfc, ops.erf} else []
        return [text.splitlines() for text in found + [ERF] * (ops.erf in self.called)]

    # --- formulas ------------------------------------------------------------------------------------------

    def text(self, f: fm.Formula, rows: int) -> Text:
        """A formula as source: as many rows as there are points, or one."""
        if isinstance(f, fm.Number):
            return literal(f.value)
        if isinstance(f, fm.Operand):
            return self.layout.read(f.space, f.addresses)
        if isinstance(f, fm.Stored):
            return Text(f.block.name)
        if isinstance(f, fm.Total):
            return self._total(f)
        if isinstance(f, fm.Down):
            return Text(f"xp.sum({self.text(f.formula, f.rows).text}, axis=0, keepdims=True)")
        if f.op is ops.mul and (product := self._single_product(f)):
            return product
        self.called.add(f.op)
        operands = [self.text(x, rows) for x in f.operands[f.op is ops.where :]]
        if f.op is ops.where:
            operands.insert(0, self._flag(f.operands[0], rows))
        return spelled(f.op, operands, rows)

    def _flag(self, f: fm.Formula, rows: int) -> Text:
        """A formula as a condition. For a step it is `o > 0`, which is false also for a nan."""
        if isinstance(f, fm.Applied):
            if f.op is ops.step:
                return compared(ops.gt, [self.text(f.operands[0], rows), literal(0.0)])
            if f.op in COMPARISONS:
                return compared(f.op, [self.text(x, rows) for x in f.operands])
            if f.op is ops.mul and all(map(fm.is_flag, f.operands)):
                return both(*[self._flag(x, rows) for x in f.operands])
        return condition(self.text(f, rows))

    def _single_product(self, f: fm.Applied) -> Text | None:
        """A matrix of one column times one row of samples."""
        total = fm.as_total(f)
        if total is None or total.ws is None or len(set(total.xs.lists)) > 1:
            return None
        if (total.ws.space, total.xs.space) != (Space.SCALARS, Space.ROWS):
            return None
        found = self.layout.part_of_a_matrix(total.ws.lists)
        return self._total(total) if found and found[0].layer is not None else None

    def _total(self, f: fm.Total) -> Text:
        f = self._ascending(f)
        points, n = len(f.xs.lists), len(f.xs.lists[0])
        if f.ws is None:
            return self._summed(self._entries(f.xs), points, n)
        matrix, columns = list(dict.fromkeys(f.ws.lists)), list(dict.fromkeys(f.xs.lists))
        if f.ws.space is Space.SCALARS and len(columns) == 1:
            rows = self.layout.rows(f.xs.space, columns[0])
            return Text(f"{self.layout.matrix(f.ws.lists).text} @ {rows}", PRODUCT)
        pairs = list(zip(f.ws.lists, f.xs.lists))
        if f.ws.space is Space.SCALARS and f.xs.space is Space.ROWS:
            stack = f"xp.reshape({self._entries(f.xs, columns)}, ({len(columns)}, {n}, -1))"
            if pairs == [(w, x) for x in columns for w in matrix]:
                return Text(f"xp.reshape({self.layout.matrix(tuple(matrix)).text} @ {stack}, ({points}, -1))")
            if pairs == [(w, x) for w in matrix for x in columns]:
                product = f"{self.layout.matrix(tuple(matrix)).text} @ {stack}"
                return Text(f"xp.reshape(xp.permute_dims({product}, (1, 0, 2)), ({points}, -1))")
        return self._summed(f"{self._entries(f.ws)} * {self._entries(f.xs)}", points, n)

    def _entries(self, x: fm.Listed, lists: Sequence[tuple[int, ...]] | None = None) -> str:
        """All entries of all lists, one below the other."""
        return self.layout.rows(x.space, [a for row in (lists or x.lists) for a in row])

    def _summed(self, entries: str, points: int, n: int) -> Text:
        if points == 1:
            return Text(f"xp.sum({entries}, axis=0, keepdims=True)")
        return Text(f"xp.sum(xp.reshape({entries}, ({points}, {n}, -1)), axis=1)")

    def _ascending(self, f: fm.Total) -> fm.Total:
        """The summands in the order in which the samples' rows lie."""
        first, last = f.xs.lists[0][0], f.xs.lists[0][-1]
        places = [self.layout.place(f.xs.space, a) for a in (first, last)]
        if places[0][0] is not places[1][0] or places[0][1:] <= places[1][1:]:
            return f
        return fm.Total(f.ws and f.ws.reversed(), f.xs.reversed())
