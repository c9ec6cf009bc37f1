"""Emit Python: the loop nests as source that runs anywhere, and that one can read.

`S` holds what is the same for all samples: parameters, constants, values computed once.  `R` holds one
sample: inputs, then every stored result.  `G` collects sums over the samples.  Printed, a network's loops are
the matrix backprop one writes by hand.  A small program is written out with one variable a value, which is
faster still. Read spelling.py for how an operation looks, kernel.py for who runs this.
"""

from collections.abc import Callable, Iterator
from math import inf, nan
from operator import mul
from typing import Any

from tinygrad_bp.compiler.backends.python.emit_loops import looped
from tinygrad_bp.compiler.roll import Nest, Rolled, addresses_of, leaf_spaces, points_of
from tinygrad_bp.compiler.schedule import Kind, Space
from tinygrad_bp.compiler.spelling import Names, expression, literal

SMALL = 4000  # operations: up to here a program is written out
LONG_LINE = 80  # summands: more than this are never written out

Runner = Callable[[list[float], list[list[float]]], list[Any]]


def emit_python(rolled: Rolled, written_out: bool | None = None) -> tuple[str, dict[str, Any]]:
    """The source of `run(S, samples)`, and the names it is run with; written out if it is small."""
    names = Names()
    if written_out is None:
        written_out = _is_small(rolled)
    body = _written_out(rolled, names) if written_out else looped(rolled, names)
    source = "\n".join([*names.imports(), "", "", *body, ""])
    return source, {"inf": inf, "nan": nan, "mul": mul, **names.functions}


def load(source: str, names: dict[str, Any]) -> Runner:
    """The function `run` of generated source."""
    space = dict(names)
    exec(compile(source, "<compiled by tinygrad_bp>", "exec"), space)
    run: Runner = space["run"]
    return run


def _is_small(rolled: Rolled) -> bool:
    size = 0
    for nest in rolled.nests:
        longest = nest.length
        size += nest.points * (len(nest.shape) + 2 * longest)
        if size > SMALL or longest > LONG_LINE:
            return False
    return rolled.leaves + rolled.rows <= SMALL


# --- written out: a variable for every value ---------------------------------------------------------------


def _written_out(rolled: Rolled, names: Names) -> list[str]:
    once = [
        x
        for nest in rolled.nests
        if nest.kind in (Kind.ONCE, Kind.COUNT)
        for x in _assignments(nest, rolled, names)
    ]
    each = [
        x
        for nest in rolled.nests
        if nest.kind in (Kind.SAMPLE, Kind.SUM)
        for x in _assignments(nest, rolled, names)
    ]
    scalars = [f"s{i}" for i in range(rolled.leaves)]
    inputs = "".join(f"r{i}, " for i in range(rolled.inputs))
    lines = ["def run(S, samples):", "    n = len(samples)"]
    if scalars:
        lines.append(f"    {', '.join(scalars)}, = S")
    lines += [f"    s{rolled.leaves + i} = {literal(c)}" for i, c in enumerate(rolled.constants)]
    if rolled.summed:
        sums = [f"g{i}" for i in range(len(rolled.outputs))]
        lines.append(f"    {' = '.join(sums)} = 0.0")
        result = f"[{', '.join(sums)}]"
    else:
        lines.append("    out = []")
        each.append(f"out.append(({''.join(f'{_variable(s, i)}, ' for s, i in rolled.outputs)}))")
        result = "out"
    loop = f"    for {inputs} in samples:" if inputs else "    for _ in samples:"
    lines += [f"    {x}" for x in once]
    lines += [loop, *(f"        {x}" for x in each or ["pass"])]
    return [*lines, f"    return {result}"]


def _variable(space: Space, address: int) -> str:
    return f"{space.value.lower()}{address}"


def _assignments(nest: Nest, rolled: Rolled, names: Names) -> Iterator[str]:
    """One line for each point of a nest."""
    spaces = leaf_spaces(nest)
    for point in points_of(nest, rolled.table):
        leaves: list[Any] = []
        for space, run, address in zip(spaces, nest.runs, point[1:]):
            if run is None:
                leaves.append(_variable(space, address))
            else:
                leaves.append(
                    [_variable(space, a) for a in addresses_of(run, address, nest.length, rolled.table)]
                )
        yield _assigned(nest, point[0], expression(nest.shape, leaves, names))


def _assigned(nest: Nest, target: int, text: str) -> str:
    if nest.kind is Kind.SUM:
        return f"g{target} += {text}"
    if nest.kind is Kind.COUNT:
        return f"g{target} = n * {text}"
    return f"{'r' if nest.kind is Kind.SAMPLE else 's'}{target} = {text}"
