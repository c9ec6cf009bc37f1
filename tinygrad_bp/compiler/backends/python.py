"""The Python backend: loop nests as source that runs anywhere, and that one can read.

In the source, `S` holds what is the same for all samples (parameters, constants, values computed once), `R`
one sample (inputs, then every stored result), and `G` collects sums over the samples.  A nest is a loop: the
innermost one a comprehension over slices, an accumulation a `sum` over slices.  Of a network that reads like
the matrix backprop one writes by hand.  A small program runs faster written out, with a variable for every
value, and that is what runs; what is printed are the loops.

    R[19:35] = [tanh(a0) for a0 in R[3:19]]     # 16 neurons
"""

import math
from array import array
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from math import inf, isfinite, nan
from operator import mul
from typing import Any, NamedTuple

from tinygrad_bp import floats, ops
from tinygrad_bp.compiler.bound import Bound, Stretch, Use
from tinygrad_bp.compiler.columns import Columns
from tinygrad_bp.compiler.fuse import fuse
from tinygrad_bp.compiler.kernel import Kernel
from tinygrad_bp.compiler.roll import Nest, Rolled, Run, addresses_of, leaf_spaces, points_of, roll
from tinygrad_bp.compiler.rule import Rule, descent, descents
from tinygrad_bp.compiler.schedule import LONGEST, Apply, Kind, Leaf, Space, schedule
from tinygrad_bp.compiler.spelling import CALLED, COMPARISONS, PRIMITIVES, fold
from tinygrad_bp.errors import CompileError
from tinygrad_bp.ops import TABLE, Op

SMALL = 4000  # operations: up to here a program is written out
LONG_LINE = 80  # summands: more than this are never written out
PART = 500  # lines in one generated function
TOO_LONG = 200_000  # operations: Python's compiler would take many seconds
BLOCK = 64  # samples whose rows are kept, so that sums over them are sums of lists

HELPERS = """\
def span(first, stride, n):  # the places first, first + stride, ...: n of them
    end = first + n * stride
    return slice(first, end if end >= 0 else None, stride)
"""

Runner = Callable[[list[float], list[list[float]]], list[Any]]


def emit_python(rolled: Rolled, written_out: bool | None = None) -> tuple[str, dict[str, Any]]:
    """The source of `run(S, samples)`, and the names it is run with; written out if that is small."""
    functions = FloatFunctions()
    if written_out is None:
        written_out = _is_small(rolled)
    body = _written_out(rolled, functions) if written_out else _looped(rolled, functions)
    source = "\n".join([*functions.imports(), "", "", *body, ""])
    return source, {"inf": inf, "nan": nan, "mul": mul, **functions.by_name()}


def load(source: str, names: dict[str, Any]) -> Runner:
    """The function `run` of generated source."""
    space = dict(names)
    exec(compile(source, "<compiled by tinygrad_bp>", "exec"), space)
    run: Runner = space["run"]
    return run


def source(kernel: Kernel) -> str:
    """The program as loops."""
    return emit_python(kernel.rolled, written_out=False)[0]


def runner_of(kernel: Kernel) -> Runner:
    """The kernel's `run`. Raises CompileError for more code than Python's compiler can read."""
    code = kernel.code
    if code.runner is None:
        if code.size() > TOO_LONG:
            raise CompileError(
                f"{kernel.name}: {code.size()} operations that no loop covers: use the engine itself"
            )
        code.runner = load(*emit_python(code.rolled))
    runner: Runner = code.runner
    return runner


@lru_cache(64)
def runner_of_rule(rule: Rule) -> Runner:
    """An optimizer's rule, from shared numbers and a row for each parameter."""
    return load(*emit_python(roll(schedule(fuse(rule.program)))))


def _is_small(rolled: Rolled) -> bool:
    size = 0
    for nest in rolled.nests:
        size += nest.points * (len(nest.shape) + 2 * nest.length)
        if size > SMALL or nest.length > LONG_LINE:
            return False
    return rolled.leaves + rolled.rows <= SMALL


# --- expressions -------------------------------------------------------------------------------------------


class FloatFunctions:
    """The functions on floats that generated code calls, by name."""

    def __init__(self) -> None:
        self.ops: dict[str, Op] = {}

    def name(self, op: Op) -> str:
        """The name of an operation's function, which the code is then given."""
        name = op.name if op.name in TABLE else f"{op.name}_of_yours"
        while self.ops.get(name, op) is not op:
            name += "_"
        self.ops[name] = op
        return name

    def by_name(self) -> dict[str, Any]:
        return {name: op.value for name, op in self.ops.items()}

    def imports(self) -> list[str]:
        """The lines that make these functions known: imports, and look-ups of your own operations."""
        homes: dict[str, list[str]] = {"math": ["inf", "nan"], "operator": ["mul"]}
        yours = []
        for name, op in sorted(self.ops.items()):
            home = next((m for m in (floats, math) if getattr(m, name, None) is op.value), None)
            if home:
                homes.setdefault(home.__name__, []).append(name)
            else:
                constants = ", ".join(map(literal, op.constant_values))
                yours.append(f"{name} = OPS[{op.name!r}]{f'.at({constants})' if constants else ''}.value")
        if yours:
            homes["tinygrad_bp.ops"] = ["OPS"]
        lines = [f"from {home} import {', '.join(sorted(names))}" for home, names in homes.items()]
        return [*lines, *([""] if yours else []), *yours]


def literal(x: float) -> str:
    """A float as Python source, exact."""
    return repr(x) if x - x == 0.0 else "nan" if x != x else "inf" if x > 0 else "(-inf)"


class _Text(NamedTuple):
    """An expression as a number, and as a condition that is true if the number is not 0."""

    number: str
    condition: str


class _Expression(NamedTuple):
    """A statement's right-hand side; an operand is given as text, a list as text or as a list of texts."""

    operands: Sequence[Any]
    functions: FloatFunctions

    def operand(self, k: int) -> _Text:
        return _Text(self.operands[k], self.operands[k])

    def number(self, x: float) -> _Text:
        return _Text(literal(x), literal(x))

    def applied(self, op: Op, operands: Sequence[_Text]) -> _Text:
        numbers = [x.number for x in operands]
        pattern = PRIMITIVES[op].python if op in PRIMITIVES else CALLED
        if op in COMPARISONS:
            condition = pattern.format(*numbers)
            return _Text(f"(1.0 if {condition} else 0.0)", condition)
        if op is ops.where:
            text = pattern.format(operands[0].condition, *numbers[1:])
        elif op is ops.div and _is_other_than_zero(numbers[1]):
            text = f"({numbers[0]} / {numbers[1]})"
        elif pattern == CALLED:
            text = f"{self.functions.name(op)}({', '.join(numbers)})"
        else:
            text = pattern.format(*numbers)
        return _Text(text, text)

    def taken(self, index: _Text, k: int) -> _Text:
        listed = self.operands[k]
        entries = f"*{listed}" if isinstance(listed, str) else ", ".join(listed)
        text = f"{self.functions.name(ops.take)}({index.number}, {entries})"
        return _Text(text, text)

    def accumulated(self, start: _Text, lists: Sequence[int]) -> _Text:
        found = [self.operands[k] for k in lists]
        if isinstance(found[0], str):
            summands = f"map(mul, {found[0]}, {found[1]})" if len(found) == 2 else found[0]
            text = f"sum({summands}, {start.number})"
        else:
            chain = [" * ".join(pair) for pair in zip(*found)]
            if len(chain) > LONGEST:  # Python's parser recurses along a chain, but not along a list
                text = f"sum([{', '.join(chain)}], {start.number})"
            else:
                text = f"({' + '.join([start.number, *chain])})"
        return _Text(text, text)


def _expression(nest: Nest, operands: Sequence[Any], functions: FloatFunctions) -> str:
    return fold(nest.shape, _Expression(operands, functions)).number


def _is_other_than_zero(text: str) -> bool:
    try:
        return float(text) != 0.0
    except ValueError:
        return False


# --- written out: a variable for every value ---------------------------------------------------------------


def _written_out(rolled: Rolled, functions: FloatFunctions) -> list[str]:
    once = [
        x
        for nest in rolled.nests
        if nest.kind in (Kind.ONCE, Kind.COUNT)
        for x in _assignments(nest, rolled, functions)
    ]
    each = [
        x
        for nest in rolled.nests
        if nest.kind in (Kind.SAMPLE, Kind.SUM)
        for x in _assignments(nest, rolled, functions)
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


def _assignments(nest: Nest, rolled: Rolled, functions: FloatFunctions) -> Iterator[str]:
    """One line for each point of a nest."""
    spaces = leaf_spaces(nest)
    for point in points_of(nest, rolled.table):
        leaves: list[Any] = []
        for space, run, address in zip(spaces, nest.runs, point[1:]):
            if run is None:
                leaves.append(_variable(space, address))
            else:
                leaves.append([_variable(space, a) for a in addresses_of(run, address, rolled.table)])
        yield _assigned(nest, point[0], _expression(nest, leaves, functions))


def _assigned(nest: Nest, target: int, text: str) -> str:
    if nest.kind is Kind.SUM:
        return f"g{target} += {text}"
    if nest.kind is Kind.COUNT:
        return f"g{target} = n * {text}"
    return f"{'r' if nest.kind is Kind.SAMPLE else 's'}{target} = {text}"


# --- loops -----------------------------------------------------------------------------------------------


def _looped(rolled: Rolled, functions: FloatFunctions) -> list[str]:
    """The lines of `run(S, samples)`."""
    once, each, few, many = (_Part(name, rolled, functions) for name in ("once", "sample", "few", "many"))
    for nest in rolled.nests:
        if nest.kind in (Kind.ONCE, Kind.COUNT):
            once.add(nest)
        elif _is_product(nest):
            few.add(nest)
            many.add(nest)
        else:
            each.add(nest)
    constants = ", ".join(literal(c) for c in rolled.constants)
    table = ", ".join(map(str, rolled.table))
    places = rolled.scalars - rolled.leaves - len(rolled.constants)
    lines = [f"T = [{table}]", "", ""] if rolled.table else []
    for part in (once, each, few, many):
        lines += part.functions()
    if any("span(" in line for line in [*lines, *each.prepared]):
        lines = [*HELPERS.splitlines(), "", "", *lines]
    outputs = "".join(f"{s.value}[{i}], " for s, i in rolled.outputs)
    return [
        *lines,
        "def run(S, samples):",
        "    n = len(samples)",
        f"    S = [*S, {constants + ', ' if constants else ''}*[0.0] * {places}]",
        f"    G = [0.0] * {len(rolled.outputs) if rolled.summed else 0}",
        "    out = []",
        *once.calls("S, None, G, n, None", 1),
        f"    K = [None] * {each.slices}",
        *each.preparation(),
        f"    for first in range(0, n, {BLOCK}):",
        "        rows = []",
        f"        for x in samples[first : first + {BLOCK}]:",
        f"            R = [*x, *[0.0] * {rolled.rows - rolled.inputs}]",
        *each.calls("S, R, G, n, K", 3),
        *([] if rolled.summed else [f"            out.append(({outputs}))"]),
        "            rows.append(R)",
        *_summed(few, many),
        f"    return {'G' if rolled.summed else 'out'}",
    ]


def _is_product(nest: Nest) -> bool:
    """Whether it sums a row, or a row times a row, over the samples: for many samples that is one `sum`."""
    *leaves, last = nest.shape
    rows = [token for token in nest.shape if isinstance(token, Leaf) and token.space is Space.ROWS]
    product = isinstance(last, Apply) and last.op is ops.mul and len(rows) == len(leaves) == 2
    return nest.kind is Kind.SUM and (product or len(rows) == len(nest.shape) == 1)


def _summed(few: "_Part", many: "_Part") -> list[str]:
    if not few.bodies[0]:
        return []
    return [
        "        if len(rows) < 8:",
        "            for R in rows:",
        *few.calls("S, R, G, n, K", 4),
        "        else:",
        "            C = list(zip(*rows))  # of each row, all samples of the block",
        *many.calls("S, C, G, n, K", 3),
    ]


class _Part:
    """The nests that run once, or once a sample, as functions of limited length."""

    def __init__(self, name: str, rolled: Rolled, functions: FloatFunctions) -> None:
        self.name, self.rolled, self.floats = name, rolled, functions
        self.per_sample = name == "sample"
        self.bodies: list[list[str]] = [[]]
        self.prepared: list[str] = []
        self.slices = 0

    def add(self, nest: Nest) -> None:
        if len(self.bodies[-1]) >= PART:
            self.bodies.append([])
        self.bodies[-1] += [f"    {line}" for line in _NestLines(self, nest).lines()]

    def functions(self) -> list[str]:
        lines = []
        for i, body in enumerate(self.bodies):
            lines += [f"def {self.name}{i}(S, R, G, n, K):", *body, "", ""] if body else []
        return lines

    def calls(self, arguments: str, depth: int) -> list[str]:
        calls = [f"{self.name}{i}({arguments})" for i, body in enumerate(self.bodies) if body]
        return ["    " * depth + call for call in calls]

    def preparation(self) -> list[str]:
        return [f"    {line}" for line in self.prepared]

    def kept(self, text: str) -> str:
        """An expression in S alone, computed before the loop over the samples."""
        self.prepared.append(f"K[{self.slices}] = {text}")
        self.slices += 1
        return f"K[{self.slices - 1}]"


class _NestLines:
    """One nest as lines."""

    def __init__(self, part: _Part, nest: Nest) -> None:
        self.part, self.nest, self.spaces = part, nest, leaf_spaces(nest)
        self.target = "R" if nest.kind is Kind.SAMPLE else "S" if nest.kind is Kind.ONCE else "G"

    def lines(self) -> list[str]:
        nest = self.nest
        if nest.table:
            return self._over_a_table()
        if not nest.loops:
            leaves = [self._operand(k, str(a)) for k, a in enumerate(nest.base[1:])]
            return [self._stored(f"{self.target}[{nest.base[0]}]", self._text(leaves))]
        if len(nest.loops) == 1:
            return self._innermost("", 0)
        trips, _ = nest.loops[0]
        return [f"for i in range({trips}):", *(f"    {line}" for line in self._innermost("i", 1))]

    def _text(self, leaves: Sequence[str]) -> str:
        if self.part.name == "many":  # an operand is what a row has for all samples
            return f"sum(map(mul, {leaves[0]}, {leaves[1]}))" if len(leaves) == 2 else f"sum({leaves[0]})"
        return _expression(self.nest, leaves, self.part.floats)

    def _stored(self, target: str, text: str) -> str:
        if self.nest.kind is Kind.SUM:
            return f"{target} += {text}"
        return f"{target} = " + (f"n * {text}" if self.nest.kind is Kind.COUNT else text)

    def _operand(self, k: int, address: str) -> str:
        """The operand at an address: a single one, or a list."""
        run, memory = self.nest.runs[k], self.spaces[k].value
        return f"{memory}[{address}]" if run is None else _listed(memory, run, address)

    def _address(self, k: int, counter: str) -> str:
        """Of operand k (-1: of the result), at the outer counter and 0."""
        first = self.nest.base[k + 1]
        stride = self.nest.loops[0][1][k + 1] if counter else 0
        if not stride:
            return str(first)
        step = counter if abs(stride) == 1 else f"{abs(stride)} * {counter}"
        return f"{first} + {step}" if stride > 0 else f"{first} - {step}"

    def _innermost(self, counter: str, depth: int) -> list[str]:
        """The last loop, as a comprehension: what changes runs along, the rest is fetched before."""
        trips, strides = self.nest.loops[depth]
        lines, leaves, running = [], [], []
        for k in range(len(self.nest.runs)):
            source = self._along(k, counter, trips, strides[k + 1])
            if strides[k + 1]:
                leaves.append(f"a{k}")
                running.append((f"a{k}", source))
            else:
                lines.append(f"b{k} = {source}")
                leaves.append(f"b{k}")
        text = self._text(leaves)
        stride = strides[0]
        if not stride:  # all into one place: only sums can do that
            running.append(("_", f"range({trips})"))
            return [*lines, f"G[{self._address(-1, counter)}] += sum([{text} {_loop(running)}])"]
        target = f"{self.target}[{_span(self._address(-1, counter), stride, trips)}]"
        if self.nest.kind is Kind.SUM:
            running.insert(0, ("g", target))
            text = f"g + {text}"
        elif self.nest.kind is Kind.COUNT:
            text = f"n * {text}"
        if not running:
            running.append(("_", f"range({trips})"))
        return [*lines, f"{target} = [{text} {_loop(running)}]"]

    def _along(self, k: int, counter: str, trips: int, stride: int) -> str:
        """Operand k at the outer counter: one, or as the inner counter runs, all of them."""
        run, memory = self.nest.runs[k], self.spaces[k].value
        address = self._address(k, counter)
        if not stride:
            text = self._operand(k, address)
        elif run is None:
            text = f"{memory}[{_span(address, stride, trips)}]"
        else:
            step = "j" if stride == 1 else f"{stride} * j"
            text = f"[{self._operand(k, f'{address} + {step}')} for j in range({trips})]"
        if self.spaces[k] is not Space.SCALARS or not self.part.per_sample:
            return text
        if counter and self.nest.loops[0][1][k + 1]:  # one for each turn of the outer loop
            return (
                self.part.kept(f"[{text} for {counter} in range({self.nest.loops[0][0]})]") + f"[{counter}]"
            )
        return self.part.kept(text)

    def _over_a_table(self) -> list[str]:
        """A point for each row of the table of addresses."""
        nest = self.nest
        width = len(nest.base)
        count, first = nest.loops[0][0], nest.base[0]
        names = [f"k{i}" for i in range(width)]
        columns = [f"T[{first + i}:{first + count * width}:{width}]" for i in range(width)]
        loop = f"for {', '.join(names)}, in zip({', '.join(columns)}):"
        leaves = [self._operand(k, name) for k, name in enumerate(names[1:])]
        return [loop, "    " + self._stored(f"{self.target}[k0]", self._text(leaves))]


def _loop(running: Sequence[tuple[str, str]]) -> str:
    names, sources = zip(*running)
    if len(names) == 1:
        return f"for {names[0]} in {sources[0]}"
    return f"for {', '.join(names)} in zip({', '.join(sources)})"


def _listed(memory: str, run: Run, first: str) -> str:
    """A list of operands."""
    n = run.length
    if run.stride is None:
        return f"[{memory}[k] for k in T[{_span(first, 1, n)}]]"
    if not run.stride:
        return f"[{memory}[{first}]] * {n}"
    return f"{memory}[{_span(first, run.stride, n)}]"


def _span(first: str, stride: int, n: int) -> str:
    """The subscript of n places from `first` at a stride."""
    if not first.isdigit():
        return f"{first}:{first} + {n}" if stride == 1 else f"span({first}, {stride}, {n})"
    end = int(first) + n * stride
    if stride == 1:
        return f"{first}:{end}"
    return f"{first}:{end}:{stride}" if end >= 0 else f"{first}::{stride}"


# --- with data ---------------------------------------------------------------------------------------------


def bind(kernel: Kernel, columns: Columns, use: Use) -> "Generated":
    """The kernel with its data, on one thread. Raises CompileError for more code than Python can read."""
    return Generated(kernel, columns, use.penalty)


class Generated(Bound):
    """Generated Python on its data."""

    def __init__(self, kernel: Kernel, columns: Columns, penalty: Bound | None = None) -> None:
        super().__init__(kernel, columns, penalty)
        self.runner = runner_of(kernel)
        self.numbers = kernel.numbers()
        self.params = memoryview(array("d", self.numbers[: kernel.params]))
        self.grads = memoryview(array("d", bytes(8 * max(0, len(kernel.rolled.outputs) - 1))))
        self.velocity = array("d", bytes(8 * kernel.params))

    def release(self) -> None:
        """Nothing is kept."""

    def paced(self) -> None:
        """It is looked up at each step."""

    def __call__(self) -> tuple[float, "array[float]"]:
        value, self.grads[:] = super().__call__()
        return value, array("d", self.grads)

    def read(self) -> None:
        self.numbers = self.kernel.numbers()
        self.params[:] = array("d", self.numbers[: self.kernel.params])

    def run(self) -> "array[float]":
        self.numbers = self.kernel.numbers()
        return self._run(self.numbers)

    def _run(self, numbers: list[float]) -> "array[float]":
        results = self.runner(numbers, self.columns.samples())
        return array("d", results if self.kernel.rolled.summed else [x for row in results for x in row])

    def run_one(self, sample: int) -> "array[float]":
        return array("d", self.runner(self.kernel.numbers(), [self.columns.samples()[sample]]))

    def evaluate(self) -> float:
        result = self._run([*self.params, *self.numbers[self.kernel.params :]])
        value = result.pop()
        self.grads[:] = result
        return value

    def descend(self) -> float:
        self.need_params("descend")
        value = self.evaluate()
        if not (isfinite(value) and all(map(isfinite, self.grads))):
            return nan
        lr, momentum = self._pace
        which, shared = descent(momentum)
        rule = descents()[which]
        kept = [self.velocity] if momentum else []
        moved = runner_of_rule(rule)(
            rule.at_step(shared, lr, 1.0, ()), [*map(list, zip(self.params, self.grads, *kept))]
        )
        self.params[:] = array("d", [row[0] for row in moved])
        if momentum:
            self.velocity[:] = array("d", [row[1] for row in moved])
        return value

    def take(self, stretch: Stretch) -> None:
        self.need_params("train")
        kernel, rule, params = self.kernel, stretch.rule, self.kernel.params
        samples, numbers = self.columns.samples(), kernel.numbers()
        kept: list[Any] = [[*column] for column in stretch.memory]
        gradient: list[float] = self.grads.tolist()
        stretch.sizes(self.columns.count)
        if stretch.samples and not 0 <= min(stretch.samples) <= max(stretch.samples) < self.columns.count:
            raise stretch.stranger(self.columns.count)
        lists = stretch.lists()
        try:
            for step, lr in enumerate(stretch.rates):
                batch = samples if lists is None else [samples[i] for i in next(lists)]
                scale = 1.0 / len(batch) if stretch.mean else 1.0
                sums = [scale * x for x in self.runner(numbers, batch)]
                if self.penalty:
                    kernel.write_back(numbers)
                    sums = [x + y for x, y in zip(sums, self.penalty.run())]
                if all(map(isfinite, sums)):
                    rows = [*map(list, zip(numbers[:params], sums, *kept))]
                    shared = rule.at_step(stretch.shared, lr, stretch.taken + step + 1.0, sums[:params])
                    after, *columns = map(list, zip(*runner_of_rule(rule)(shared, rows)))
                    if all(map(isfinite, after)):
                        numbers[:params], kept, gradient = after, columns, sums[:params]
                        stretch.losses.append(sums[-1])
                        continue
                stretch.stopped = True
                break
        finally:
            kernel.write_back(numbers)
            for column, ended in zip(stretch.memory, kept):
                column[:] = ended
            self.read()
            self.grads[:] = array("d", gradient)
