"""Lines: a statement as a line of array source, with the names that its results have in their layer.

Every result has two axes, rows and samples.  A sum of products whose lists are the same samples' rows at
every point is a matrix times these rows; lists that are windows of the samples, or the tokens of a sequence,
give a stack of such products; the rest is multiplied entry by entry and summed.  What a weight matrix `W2`
multiplies is an activation, `A1`; what it makes is `Z2` before an activation and `A2` behind one; what its
gradient is made of is the delta `D2`.  All else is `T1`, `T2`, ...
"""

from collections.abc import Iterator, Sequence

from tinygrad_bp import ops
from tinygrad_bp.compiler.backends.matrix import formulas as fm
from tinygrad_bp.compiler.backends.matrix.expressions import (
    HELPERS,
    PRODUCT,
    SIGN,
    ArrayText,
    both,
    compared,
    condition,
    literal,
    spelled,
)
from tinygrad_bp.compiler.backends.matrix.formulas import ArrayStatement
from tinygrad_bp.compiler.backends.matrix.variables import Variable, VariableNames, Variables
from tinygrad_bp.compiler.schedule import Kind, Space
from tinygrad_bp.compiler.spelling import COMPARISONS


class LineWriter:
    """Makes lines of statements; remembers the parts of the gradient and the helpers they call."""

    def __init__(self, variables: Variables, loss: int) -> None:
        self.variables, self.loss = variables, loss
        self.gradient: list[Variable] = []
        self.called: set[ops.Op] = set()

    def line(self, s: ArrayStatement) -> str:
        """The line of a statement."""
        if s.kind in (Kind.SUM, Kind.COUNT):
            return self._sum(s)
        return f"{s.block.name} = {self._stored(s)}"

    def _stored(self, s: ArrayStatement) -> str:
        """Its formula, spread to all its rows and samples where that is simpler than it seemed."""
        found, columns = self.text(s.formula, s.rows), "n" if s.kind is Kind.SAMPLE else "1"
        spread = found.scalar or (s.rows > 1 and not fm.varies(s.formula))
        if spread or (columns == "n" and not fm.differs(s.formula)):
            text = f"{found.within(SIGN)} * one" if found.scalar else found.text
            return f"xp.broadcast_to({text}, ({s.rows}, {columns}))"
        return found.text

    def _sum(self, s: ArrayStatement) -> str:
        is_loss = s.block.grid == ((self.loss,),)
        if not is_loss:
            self.gradient.append(s.block)
        if s.factors:
            x, y = (self.variables.rows(Space.ROWS, factor) for factor in s.factors)
            more = f" + n * {self.variables.matrix(s.more)}" if s.more else ""
            return f"{s.block.name} = {x} @ {y}.T{more}"
        counted = s.kind is Kind.COUNT or not fm.differs(s.formula)
        if is_loss and isinstance(s.formula, fm.Total) and not counted:
            return f"loss = xp.sum({self._terms(s.formula)})"
        found = self.text(s.formula, s.rows)
        alike = found.scalar or (s.rows > 1 and not fm.varies(s.formula))
        if counted:
            found = ArrayText(f"n * {found.within(SIGN)}{' * one' if found.scalar else ''}", PRODUCT)
        if is_loss:
            return f"loss = xp.sum({found.text})"
        if not counted:
            found = ArrayText(f"xp.sum({found.text}, axis=1, keepdims=True)")
        if alike:
            found = ArrayText(f"xp.broadcast_to({found.text}, ({s.rows}, 1))")
        grid = s.block.grid
        if len(grid[0]) > 1:
            found = ArrayText(f"xp.reshape({found.text}, ({len(grid)}, {len(grid[0])}))")
        return f"{s.block.name} = {found.text}"

    def missing(self, params: int, names: VariableNames) -> Iterator[str]:
        """A line of zeros for the parameters that nothing depends on."""
        known = {a for block in self.gradient for row in block.grid for a in row}
        zero = [a for a in range(params) if a not in known]
        if zero:
            block = Variable(tuple((a,) for a in zero), names.new("zeros"))
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
            rows = self.variables.rows(space, [address for _, address in outputs[first:end]])
            pieces.append(rows if space is Space.ROWS else f"xp.broadcast_to({rows}, ({end - first}, n))")
            first = end
        if len(pieces) == 1:
            return f"{pieces[0]}.T"
        return f"xp.concat([{', '.join(pieces)}], axis=0).T" if pieces else "xp.zeros((n, 0))"

    def helpers(self) -> list[list[str]]:
        """Functions that the lines call and the standard lacks."""
        texts = [text for op, needed in HELPERS.items() if op in self.called for text in needed]
        return [text.splitlines() for text in dict.fromkeys(texts)]

    # --- formulas ------------------------------------------------------------------------------------------

    def text(self, f: fm.Formula, rows: int) -> ArrayText:
        """A formula as source: as many rows as there are points, or one."""
        if isinstance(f, fm.Number):
            return literal(f.value)
        if isinstance(f, fm.Operand):
            return self.variables.read(f.space, f.addresses)
        if isinstance(f, fm.Total):
            return self._total(f)
        self.called.add(f.op)
        operands = [self.text(x, rows) for x in f.operands[f.op is ops.where :]]
        if f.op is ops.where:
            operands.insert(0, self._flag(f.operands[0], rows))
        return spelled(f.op, operands, rows)

    def _flag(self, f: fm.Formula, rows: int) -> ArrayText:
        """A formula as a condition. For a step it is `o > 0`, which is false also for a nan."""
        if isinstance(f, fm.Applied):
            if f.op is ops.step:
                return compared(ops.gt, [self.text(f.operands[0], rows), literal(0.0)])
            if f.op in COMPARISONS:
                return compared(f.op, [self.text(x, rows) for x in f.operands])
            if f.op is ops.mul and all(map(fm.is_flag, f.operands)):
                return both(*[self._flag(x, rows) for x in f.operands])
        return condition(self.text(f, rows))

    def _total(self, f: fm.Total) -> ArrayText:
        points, n = len(f.xs.lists), len(f.xs.lists[0])
        columns = list(dict.fromkeys(f.xs.lists))
        if f.ws and f.ws.space is Space.SCALARS:
            matrix = list(dict.fromkeys(f.ws.lists))
            if n == 1 and not (len(columns) == 1 and self.variables.weights(f.ws.lists)):
                return spelled(ops.mul, [self.text(f.ws, points), self.text(f.xs, points)], points)
            if len(columns) == 1:
                rows = self.variables.rows(f.xs.space, columns[0])
                return ArrayText(f"{self.variables.matrix(f.ws.lists)} @ {rows}", PRODUCT)
            pairs = list(zip(f.ws.lists, f.xs.lists))
            by_column = pairs == [(w, x) for x in columns for w in matrix]
            if by_column or pairs == [(w, x) for w in matrix for x in columns]:
                rows = self.variables.rows(f.xs.space, [a for x in columns for a in x])
                stack = f"xp.reshape({rows}, ({len(columns)}, {n}, -1))"
                product = f"{self.variables.matrix(tuple(matrix))} @ {stack}"
                if not by_column:
                    product = f"xp.permute_dims({product}, (1, 0, 2))"
                return ArrayText(f"xp.reshape({product}, ({points}, -1))")
        return self._summed(self._terms(f), points, n)

    def _terms(self, f: fm.Total) -> str:
        """What is summed, one below the other."""
        return " * ".join([self.variables.rows(x.space, x.addresses) for x in (f.ws, f.xs) if x])

    def _summed(self, entries: str, points: int, n: int) -> ArrayText:
        if points == 1:
            return ArrayText(f"xp.sum({entries}, axis=0, keepdims=True)")
        return ArrayText(f"xp.sum(xp.reshape({entries}, ({points}, {n}, -1)), axis=1)")


# --- names --------------------------------------------------------------------------------------------------


def matrices_found(
    statements: Sequence[ArrayStatement], variables: Variables, names: VariableNames
) -> Iterator[Variable]:
    """Parameters without labels, as the statements read them: matrices, their biases, other columns."""
    count = 0
    for s in statements:
        layer = ""
        for ws, _ in fm.products(s.formula):
            grid = tuple(dict.fromkeys(ws))
            if len(grid) * len(grid[0]) > 1 and _is_free(grid, variables):
                count += 1
                layer = str(count)
                yield _settled(Variable(grid, names.new(f"W{layer}"), layer, True), variables)
        for x in fm.operands(s.formula):
            if x.space is Space.SCALARS and len(x.lists[0]) == 1 and (layer or len(x.lists) > 1):
                column = tuple(dict.fromkeys(x.lists))
                if _is_free(column, variables):
                    name = names.new(f"b{layer}") if layer else names.counted("p")
                    yield _settled(Variable(column, name, given=True), variables)


def _is_free(grid: tuple[tuple[int, ...], ...], variables: Variables) -> bool:
    addresses = [a for row in grid for a in row]
    free = all(a < variables.leaves and a not in variables.places[Space.SCALARS] for a in addresses)
    return free and len(set(addresses)) == len(addresses)


def _settled(block: Variable, variables: Variables) -> Variable:
    variables.settle(Space.SCALARS, block)
    return block


def give_names(
    statements: Sequence[ArrayStatement],
    variables: Variables,
    names: VariableNames,
    matrices: Sequence[Variable],
    loss: int,
) -> None:
    """Every result its name, and every part of the gradient."""
    wanted: dict[Variable, str] = {}
    for s in statements:
        for ws, xs in fm.products(s.formula):
            block, turned = variables.weights(ws) or (None, True)
            if block and not turned and not fm.varies(xs):
                _name_forward(s, xs, block.layer or "", variables, wanted)
        if s.factors:
            _name_delta(s, variables, wanted)
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
    s: ArrayStatement, xs: fm.Operand, layer: str, variables: Variables, wanted: dict[Variable, str]
) -> None:
    if s.kind is Kind.SAMPLE:
        wanted.setdefault(s.block, f"{'Z' if fm.is_layer(s.formula) else 'A'}{layer}")
    before = variables.whole(xs.space, xs.lists[0])
    if before and not before.given:
        wanted.setdefault(before, f"A{int(layer) - 1 if layer else ''}")


def _name_delta(s: ArrayStatement, variables: Variables, wanted: dict[Variable, str]) -> None:
    assert s.factors
    found = variables.weights(s.block.grid)
    if found is None:
        return
    block, turned = found
    if turned:
        s.factors = (s.factors[1], s.factors[0])
        s.block.grid = block.grid
        s.more = s.more and tuple(zip(*s.more))
    delta = variables.whole(Space.ROWS, s.factors[0])
    if delta and not delta.given and wanted.get(delta, "Z")[0] not in "A":
        wanted[delta] = f"D{block.layer}"
