"""Loop nests as Python: the innermost loop is a comprehension over slices, an accumulation a sum over slices.

Slices of `S` do not change from sample to sample, so they are cut once, before the loop over the samples.
Slices of `R` are cut where they are used.  A group without a rule runs over a list of addresses.
Read emit_python.py first.
"""

from collections.abc import Sequence

from tinygrad_bp import ops
from tinygrad_bp.compiler.roll import Nest, Rolled, Run, leaf_spaces
from tinygrad_bp.compiler.schedule import Apply, Kind, Leaf, Space
from tinygrad_bp.compiler.spelling import Names, expression, literal

PART = 500  # lines in one generated function
BLOCK = 64  # samples whose rows are kept, so that sums over them are sums of lists

HELPERS = """\
def span(first, stride, n):  # the places first, first + stride, ...: n of them
    end = first + n * stride
    return slice(first, end if end >= 0 else None, stride)
"""


def looped(rolled: Rolled, names: Names) -> list[str]:
    """The lines of `run(S, samples)`."""
    once, each, few, many = (_Part(name, rolled, names) for name in ("once", "sample", "few", "many"))
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
    lines = [*HELPERS.splitlines(), "", ""]
    lines += [f"T = [{table}]", "", ""] if rolled.table else []
    for part in (once, each, few, many):
        lines += part.functions()
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

    def __init__(self, name: str, rolled: Rolled, names: Names) -> None:
        self.name, self.rolled, self.names = name, rolled, names
        self.per_sample = name == "sample"
        self.bodies: list[list[str]] = [[]]
        self.prepared: list[str] = []
        self.slices = 0

    def add(self, nest: Nest) -> None:
        if len(self.bodies[-1]) >= PART:
            self.bodies.append([])
        self.bodies[-1] += [f"    {line}" for line in _Writer(self, nest).lines()]

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


class _Writer:
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
        return expression(self.nest.shape, leaves, self.part.names)

    def _stored(self, target: str, text: str) -> str:
        if self.nest.kind is Kind.SUM:
            return f"{target} += {text}"
        return f"{target} = " + (f"n * {text}" if self.nest.kind is Kind.COUNT else text)

    def _operand(self, k: int, address: str) -> str:
        """The operand at an address: a single one, or a list."""
        run, memory = self.nest.runs[k], self.spaces[k].value
        return f"{memory}[{address}]" if run is None else listed(memory, run, address, self.nest.length)

    def _address(self, k: int, counter: str) -> str:
        """Of operand k (-1: of the result), at the outer counter and 0."""
        first = self.nest.base[k + 1]
        stride = self.nest.loops[0][1][k + 1] if counter else 0
        if not stride:
            return str(first)
        return f"{first} + {stride} * {counter}" if stride > 0 else f"{first} - {-stride} * {counter}"

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
        target = f"{self.target}[{spanned(self._address(-1, counter), stride, trips)}]"
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
            text = f"{memory}[{spanned(address, stride, trips)}]"
        else:
            text = f"[{self._operand(k, f'{address} + {stride} * j')} for j in range({trips})]"
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


def listed(memory: str, run: Run, first: str, n: int) -> str:
    """A list of operands."""
    if run.stride is None:
        return f"[{memory}[k] for k in T[{spanned(first, 1, n)}]]"
    if not run.stride:
        return f"[{memory}[{first}]] * {n}"
    return f"{memory}[{spanned(first, run.stride, n)}]"


def spanned(first: str, stride: int, n: int) -> str:
    """The subscript of n places from `first` at a stride."""
    if not first.isdigit():
        return f"{first}:{first} + {n}" if stride == 1 else f"span({first}, {stride}, {n})"
    end = int(first) + n * stride
    if stride == 1:
        return f"{first}:{end}"
    return f"{first}:{end}:{stride}" if end >= 0 else f"{first}::{stride}"
