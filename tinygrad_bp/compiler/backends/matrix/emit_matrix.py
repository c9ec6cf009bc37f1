"""Emit matrix: the loop nests as the matrix backprop one writes by hand, for any array library.

Samples are columns.  Weights are (out, in) matrices and biases columns, unpacked from the flat vector of
parameters; each layer is a line forward, `A1 = xp.maximum(W1 @ X + b1, 0.0)`, a line backward, and a line for
each gradient, behind what it needs.  The text asks of `xp` only what the array API standard
(2023.12) has, and changes no array in place.  formulas.py makes a nest a formula.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tinygrad_bp import ops
from tinygrad_bp.compiler.backends.matrix import formulas as fm
from tinygrad_bp.compiler.backends.matrix.formulas import ArrayStatement, formula_of, ordered, summed
from tinygrad_bp.compiler.backends.matrix.lines import LineWriter, give_names, matrices_found
from tinygrad_bp.compiler.backends.matrix.variables import (
    Variable,
    VariableNames,
    Variables,
    folded,
    labelled,
    listing,
    pack_lines,
    unpack_lines,
)
from tinygrad_bp.compiler.kernel import Kernel
from tinygrad_bp.compiler.roll import Nest, Rolled, points_of
from tinygrad_bp.compiler.schedule import Kind, Space
from tinygrad_bp.errors import CompileError

MANY = 20_000  # statements: too many lines to read


def source(kernel: Kernel) -> str:
    """The source of `value_and_grad(xp, params, *columns)`, or of `value` or `run` for what has no gradient.

    Labels of the parameters may name matrices. Raises CompileError for an operation that no array function
    computes, and for a program that hardly any loop covers.
    """
    rolled = kernel.rolled
    if len(rolled.nests) > MANY:
        raise CompileError(
            f"{len(rolled.nests)} statements that no array operation covers would be as many lines: read "
            'source("python"), or build the graph from rows of like formulas'
        )
    labels = [x.label for x in kernel.leaves]
    return _ArrayProgram(rolled, kernel.widths, kernel.params, labels, kernel.arguments).text()


def run_on(kernel: Kernel, xp: Any) -> Callable[..., Any]:
    """The program as a function on an array library; Values among its leaves, after the parameters, are read.

    Raises TypeError for a namespace that lacks a function which the source calls.
    """
    text, name, params = source(kernel), kernel.name, kernel.params
    missing = sorted({x for x in re.findall(r"\bxp\.(\w+)", text) if not hasattr(xp, x)})
    if missing:
        raise TypeError(
            f"{name} on {getattr(xp, '__name__', xp)}: it has no {', '.join(missing)}: pass a namespace of "
            "the array API standard, such as numpy, jax.numpy or array_api_compat.torch"
        )
    space: dict[str, Any] = {}
    exec(compile(text, f"<matrix program of {name}>", "exec"), space)
    captured = kernel.leaves[params:]

    def value_and_grad(flat: Any, *columns: Any) -> Any:
        if tuple(flat.shape) != (params,):
            raise ValueError(
                f"{name}: params is an array of {params} numbers, not of shape {tuple(flat.shape)}"
            )
        if captured:
            flat = xp.concat([flat, xp.asarray([x.data for x in captured], dtype=flat.dtype)], axis=0)
        return space["value_and_grad"](xp, flat, *columns)

    return value_and_grad


class _ArrayProgram:
    """A program on its way to text: its variables, then its statements, then their names and lines."""

    def __init__(
        self,
        rolled: Rolled,
        widths: Sequence[int],
        params: int,
        labels: Sequence[str],
        arguments: Sequence[str],
    ) -> None:
        self.rolled, self.params, self.beyond = rolled, params, rolled.rows
        self.names = VariableNames()
        self.has_gradient = rolled.summed and len(rolled.outputs) == params + 1
        self.loss = params if self.has_gradient else 0
        fixed = dict(enumerate(rolled.constants, rolled.leaves))
        self.variables = Variables(rolled.leaves, fixed)
        self.arguments = [self.names.new(name) for name in arguments]
        self.inputs = list(self._inputs(widths))
        self.matrices = labelled(labels, self.names)
        for block in self.matrices:
            self.variables.settle(Space.SCALARS, block)
        self.statements = [s for nest in rolled.nests for s in self._statements(nest)]
        for block in matrices_found(self.statements, self.variables, self.names):
            self.matrices.append(block)
        self.statements = [part for s in self.statements for part in self._split(s)]
        self.statements = ordered(self.statements, self.variables, self.loss)
        give_names(self.statements, self.variables, self.names, self.matrices, self.loss)

    def _inputs(self, widths: Sequence[int]) -> Iterator[Variable]:
        first = 0
        for name, width in zip(self.arguments, widths):
            grid = tuple((address,) for address in range(first, first + width))
            first += width
            if grid:
                block = Variable(grid, self.names.new(name.upper()), given=True)
                self.variables.settle(Space.ROWS, block)
                yield block

    # --- statements ----------------------------------------------------------------------------------------

    def _statements(self, nest: Nest) -> Iterator[ArrayStatement]:
        table = self.rolled.table
        points = list(points_of(nest, table))
        if nest.kind in (Kind.SUM, Kind.COUNT):
            points.sort()
            for part in ([p for p in points if p[0] == self.loss], [p for p in points if p[0] != self.loss]):
                if part:
                    yield self._summed(nest, part)
            return
        formula = formula_of(nest, points, table, self.variables)
        block = Variable(tuple((p[0],) for p in points))
        self.variables.settle(Space.ROWS if nest.kind is Kind.SAMPLE else Space.SCALARS, block)
        yield ArrayStatement(nest.kind, formula, block, len(points))

    def _summed(self, nest: Nest, points: list[tuple[int, ...]]) -> ArrayStatement:
        formula = formula_of(nest, points, self.rolled.table, self.variables)
        targets = [p[0] for p in points]
        if targets == [self.loss]:
            return ArrayStatement(nest.kind, formula, Variable(((self.loss,),)), 1)
        return summed(nest.kind, formula, targets)

    def _split(self, s: ArrayStatement) -> Iterator[ArrayStatement]:
        """An output minus its target: the output gets a line of its own."""
        f = s.formula
        if s.kind is Kind.SAMPLE and isinstance(f, fm.Applied) and f.op is ops.sub:
            x, y = f.operands
            if fm.is_layer(x):
                grid = tuple((self.beyond + row,) for row in range(s.rows))  # where nothing else lies
                self.beyond += s.rows
                block = Variable(grid)
                self.variables.settle(Space.ROWS, block)
                yield ArrayStatement(s.kind, x, block, s.rows)
                s.formula = fm.Applied(ops.sub, (fm.Operand(Space.ROWS, grid), y))
        yield s

    # --- text ----------------------------------------------------------------------------------------------

    def text(self) -> str:
        """All of it: lists of places, helpers, unpack, pack, and the function itself."""
        writer = LineWriter(self.variables, self.loss)
        body = list(self._body(writer))
        head, said = "run", "The results, one row a sample."
        result = ""
        if self.has_gradient:
            head, said = "value_and_grad", "The sum over the samples, and its gradient by the parameters."
            parts = ", ".join(["xp", *(block.name for block in writer.gradient)])
            result = f"loss, {f'pack({parts})' if self.params else 'params[:0]'}"
        elif self.rolled.summed:
            head, said, result = "value", "The sum over the samples.", "loss"
        else:
            result = writer.outputs(self.rolled.outputs)
        lines = listing(f"def {head}(", ["xp", "params", *self.arguments], "):")
        lines.append(f'    """{said}"""')
        captured = self.rolled.leaves - self.params
        if captured:
            due = f"params holds {self.params} parameters and, after them, {captured} captured values"
            lines += [
                f"    if params.shape[0] != {self.rolled.leaves}:",
                f'        raise ValueError("{due}")',
            ]
        lines += [f"    {line}" for line in self._beginning("\n".join([*body, result]))]
        lines += ["", *(f"    {part}" if part else "" for line in body for part in folded(line))]
        lines += [f"    {part}" for part in folded(result, "return ")]
        functions = writer.helpers()
        if self.matrices:
            functions.append(unpack_lines(self.matrices, self.names, self.variables.listed))
        if self.has_gradient and self.params:
            functions.append(pack_lines(writer.gradient, self.variables.listed))
        lists = self.variables.heads()
        return "\n\n\n".join("\n".join(part) for part in (lists, *functions, lines) if part) + "\n"

    def _beginning(self, known: str) -> Iterator[str]:
        """Matrices of the parameters, columns of samples, and what else the body names."""

        def named(name: str) -> bool:
            return re.search(rf"\b{name}\b", known) is not None

        one = ""
        if named("one") or named("C"):
            like = "params[:1]" if self.rolled.leaves else self.inputs and f"{self.inputs[0].name}[:1, :1]"
            one = f"one = xp.ones_like({like})" if like else "one = xp.ones((1,), dtype=xp.float64)"
            known += one
        if self.matrices:
            yield from listing("", [block.name for block in self.matrices], " = unpack(xp, params)")
        for argument, block in zip(self.arguments, self.inputs):
            if named(block.name):
                width = len(block.grid)
                shape = f"xp.reshape({argument}, ({'1, -1' if width == 1 else f'-1, {width}'}))"
                yield f"{block.name} = {shape}{'' if width == 1 else '.T'}"
        if named("P"):
            yield "P = xp.reshape(params, (-1, 1))"
        if named("n"):
            yield f"n = {self.arguments[0]}.shape[0]" if self.arguments else "n = 1"
        if one:
            yield one
        if named("C"):
            yield from self.variables.constant_lines()

    def _body(self, writer: LineWriter) -> Iterator[str]:
        """The lines."""
        if self.rolled.summed and not any(s.block.name == "loss" for s in self.statements):
            yield from ("loss = xp.sum(0 * one)", "")  # nothing is added to it
        for s in self.statements:
            yield writer.line(s)
            if s.block.name == "loss" and self.has_gradient:
                yield ""
        if self.has_gradient:
            yield from writer.missing(self.params, self.names)
            writer.gradient.sort(key=lambda block: block.grid[0][0])
