"""Variables of the array source: what lies at which address, how it is read, and the parameters as matrices.

Every variable is a grid of addresses.  A result for each sample has a row for each address, and the samples
are its columns; what is the same for all samples is a column, parameters may be matrices.  Addresses that are
a whole variable are its name, those in a row a slice, the rest is fetched with `xp.take`, by lists of places
that stand at the head of the source.  A Module labels its parameters "layers.0.neurons.3.w.1": row 3, column
1 of a matrix `W1`.  A label is used only if every part of it is a plain name or number, and a name is taken
only once, so nothing of a label but a harmless name gets into the source.
"""

import builtins
import keyword
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby

from tinygrad_bp.compiler.backends.matrix.expressions import HELPERS, ArrayText, filled, literal
from tinygrad_bp.compiler.schedule import Space

Grid = tuple[tuple[int, ...], ...]
FEW = 4  # pieces are joined as they stand; if there are more, one takes from whole variables


@dataclass(eq=False)
class Variable:
    """A variable: the address of each of its entries, by row and column."""

    grid: Grid
    name: str = ""
    layer: str | None = None  # of a parameter: the number that it shares with its layer's results
    given: bool = False  # named by the user, and not by what becomes of it


Place = tuple[Variable, int, int]  # a variable, a row, a column


@dataclass
class Variables:
    """Both memories, and the lists of places that the text needs."""

    leaves: int  # addresses of scalars up to here are entries of the argument `params`
    constants: dict[int, float]  # scalars that are plain numbers
    places: dict[Space, dict[int, Place]] = field(default_factory=lambda: {space: {} for space in Space})
    lists: dict[str, str] = field(default_factory=dict)  # source of a list, its name

    def __post_init__(self) -> None:
        column = tuple((address,) for address in range(self.leaves))
        self.flat = Variable(column, "P", given=True)  # all parameters as a column
        fixed = tuple((address,) for address in self.constants)
        self.fixed = Variable(fixed, "C", given=True)
        self.settle(Space.SCALARS, self.fixed)

    def settle(self, space: Space, block: Variable) -> None:
        """Let a variable have its addresses."""
        for r, row in enumerate(block.grid):
            for c, address in enumerate(row):
                self.places[space][address] = (block, r, c)

    def place(self, space: Space, address: int) -> Place:
        """Where an address is; a parameter that is in no matrix is in the column of all."""
        return self.places[space].get(address, (self.flat, address, 0))

    def whole(self, space: Space, addresses: Sequence[int]) -> Variable | None:
        """The variable that these addresses are, all of it and in its order."""
        block = self.place(space, addresses[0])[0]
        places = [self.place(space, a) for a in addresses]
        return block if places == [(block, r, 0) for r in range(len(block.grid))] else None

    # --- rows ----------------------------------------------------------------------------------------------

    def read(self, space: Space, addresses: Sequence[int]) -> ArrayText:
        """One operand at every point: as many rows as there are addresses, or one if they are all the
        same."""
        if len(set(addresses)) == 1:
            if addresses[0] in self.constants and space is Space.SCALARS:
                return literal(self.constants[addresses[0]])
            addresses = addresses[:1]
        return ArrayText(self.rows(space, addresses))

    def rows(self, space: Space, addresses: Sequence[int]) -> str:
        """A row for each address."""
        places = [self.place(space, a) for a in addresses]
        if space is Space.SCALARS and any(len(block.grid[0]) > 1 for block, _, _ in places):
            if part := self._part_of_one(tuple((a,) for a in addresses)):
                return part
            places = [p if p[0].grid[0][0] >= self.leaves else (self.flat, a, 0)
                      for p, a in zip(places, addresses)]  # fmt: skip
        return self._rows(places)

    def _rows(self, places: Sequence[Place]) -> str:
        blocks = list(dict.fromkeys(block for block, _, _ in places))
        if len(blocks) == 1:
            return self._taken(blocks[0].name, [r for _, r, _ in places], len(blocks[0].grid))
        pieces = list(_pieces(places))
        if len(pieces) <= FEW:
            texts = [self._taken(block.name, rows, len(block.grid)) for block, rows in pieces]
            return f"xp.concat([{', '.join(texts)}], axis=0)"
        first, total = {}, 0
        for block in blocks:
            first[block] = total
            total += len(block.grid)
        joined = f"xp.concat([{', '.join(block.name for block in blocks)}], axis=0)"
        return self._taken(joined, [first[block] + r for block, r, _ in places], total)

    def _taken(self, name: str, rows: list[int], total: int) -> str:
        n, step = len(rows), rows[1] - rows[0] if len(rows) > 1 else 1
        if rows == [rows[0] + step * i for i in range(n)] and step:
            if step > 0:
                return _part(name, _span(rows[0], n, total, step), ":")
            return f"xp.flip({_part(name, _span(rows[-1], n, total, -step), ':')}, axis=0)"
        return f"xp.take({name}, {self.listed(rows)}, axis=0)"

    def listed(self, numbers: Sequence[int]) -> str:
        """A list of places as an array; the list itself stands at the head of the source."""
        source = _listing(numbers)
        name = self.lists.setdefault(source, f"I{len(self.lists) + 1}")
        return f"xp.asarray({name})"

    def heads(self) -> list[str]:
        """The lines that the lists are made by."""
        lines = []
        for source, name in self.lists.items():
            lines += filled(f"{name} = {source}")
        return lines

    # --- matrices ------------------------------------------------------------------------------------------

    def weights(self, grid: Grid) -> tuple[Variable, bool] | None:
        """The matrix of weights that this grid is all of, and whether it is turned over."""
        block = self.place(Space.SCALARS, grid[0][0])[0]
        turned = grid != block.grid
        same = block.layer is not None and (not turned or grid == tuple(zip(*block.grid)))
        return (block, turned) if same else None

    def matrix(self, grid: Grid) -> str:
        """A grid of scalars as a matrix."""
        column = [a for row in grid for a in row]
        if part := self._part_of_one(grid):
            return part
        text = self.rows(Space.SCALARS, column)
        return f"{text}.T" if len(grid) == 1 else f"xp.reshape({text}, ({len(grid)}, {len(grid[0])}))"

    def _part_of_one(self, grid: Grid) -> str:
        """A grid that lies in one variable as a part of that, perhaps turned over; else ""."""
        m, n = len(grid), len(grid[0])
        block, r, c = self.place(Space.SCALARS, grid[0][0])
        for turned, (down, across) in enumerate(((m, n), (n, m))):
            part = [row[c : c + across] for row in block.grid[r : r + down]]
            if tuple(zip(*part) if turned else part) == grid:
                rows, columns = _span(r, down, len(block.grid)), _span(c, across, len(block.grid[0]))
                return _part(block.name, rows, columns) + ".T" * turned
        return ""

    def constant_lines(self) -> Iterable[str]:
        """The numbers that have places, as a column."""
        texts = ", ".join(f"[{literal(x).text}]" for x in self.constants.values())
        yield from filled(f"C = xp.asarray([{texts}], dtype=one.dtype)")


def _span(first: int, n: int, total: int, step: int = 1) -> str:
    """A subscript: n places from `first` on, of so many."""
    if step > 1:
        return f"{first}:{first + (n - 1) * step + 1}:{step}"
    return f"{first or ''}:{'' if first + n == total else first + n}"


def _part(name: str, rows: str, columns: str) -> str:
    if rows == columns == ":":
        return name
    return f"{name}[{rows}, {columns}]"


def _pieces(places: Sequence[Place]) -> Iterable[tuple[Variable, list[int]]]:
    """Rows that follow one another in a variable, in runs."""
    numbered = enumerate(places)
    for (block, _), run in groupby(numbered, key=lambda x: (x[1][0], x[1][1] - x[0])):
        yield block, [r for _, (_, r, _) in run]


def _listing(numbers: Sequence[int]) -> str:
    """The source of a list of whole numbers: a rule if there is one."""
    n = len(numbers)
    first = numbers[0]
    step = numbers[1] - first if n > 1 else 0
    m = next((i for i in range(n) if numbers[i] != first + step * i), n)
    if m == n > 3:
        return f"[{_affine(first, ((step, 'i'),))} for i in range({n})]" if step else f"[{first}] * {n}"
    hop = numbers[m] - first if m < n else 0
    rule = [first + hop * (i // m) + step * (i % m) for i in range(n)]
    if n % m == 0 and rule == list(numbers) and n > 6:
        entry = _affine(first, ((hop, "i"), (step, "k")))
        return f"[{entry} for i in range({n // m}) for k in range({m})]"
    return f"[{', '.join(map(str, numbers))}]"


def _affine(first: int, terms: Iterable[tuple[int, str]]) -> str:
    text = str(first) if first else ""
    for factor, name in terms:
        if factor:
            size = name if abs(factor) == 1 else f"{abs(factor)} * {name}"
            text += f" + {size}" if factor > 0 and text else size if factor > 0 else f" - {size}"
    return text.strip() or "0"


# --- names --------------------------------------------------------------------------------------------------

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,30}", re.ASCII)
NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)
RESERVED = {
    "xp", "params", "one", "n", "loss", "C", "P", "unpack", "pack", "value_and_grad", "value", "run",
    "series", "ERF", "ERFC", *(op.name for op in HELPERS),
}  # fmt: skip


class VariableNames:
    """Names for variables, each given once; never a word of Python or one that the source needs itself."""

    def __init__(self) -> None:
        self.taken = {*RESERVED, *dir(builtins), *keyword.kwlist, *keyword.softkwlist}
        self.counts: dict[str, int] = {}

    def new(self, wanted: str) -> str:
        """This name, or if it is taken, this name with a number."""
        if not NAME.fullmatch(wanted) or re.fullmatch(r"I[0-9]+", wanted):
            wanted = "v"
        name, k = wanted, 2
        while name in self.taken or not name.isidentifier():
            name, k = f"{wanted}_{k}", k + 1
        self.taken.add(name)
        return name

    def free(self, wanted: str) -> str:
        """This name if it is not taken, else ""."""
        return self.new(wanted) if wanted and wanted not in self.taken else ""

    def counted(self, letter: str) -> str:
        """The next of T1, T2, ..."""
        self.counts[letter] = self.counts.get(letter, 0) + 1
        name = f"{letter}{self.counts[letter]}"
        return self.free(name) or self.counted(letter)


# --- matrices from labels ----------------------------------------------------------------------------------

Key = tuple[tuple[str, ...], str]  # path of a layer, and the name of its parameter


def labelled(labels: Sequence[str], names: VariableNames) -> list[Variable]:
    """A variable for each set of labels that fills a matrix, a column or a single place."""
    parsed = {address: found for address, label in enumerate(labels) if (found := _parsed(label))}
    deepest: dict[tuple[str, ...], int] = {}  # numbers behind the name, in containers that are alike
    for container, _, numbers in parsed.values():
        kind = _kind(container)
        deepest[kind] = max(deepest.get(kind, 0), len(numbers))
    groups: dict[Key, dict[tuple[int, ...], int]] = {}
    twice: set[Key] = set()
    for address, (container, name, numbers) in parsed.items():
        path, index = container, numbers
        if container and container[-1].isdigit() and deepest[_kind(container)] < 2:  # one of many neurons
            path, index = container[:-2], (int(container[-1]), *numbers)
        entries = groups.setdefault((path, name), {})
        if index in entries:
            twice.add((path, name))
        entries[index] = address
    layers = list(dict.fromkeys(path for path, _ in groups))
    numbered = len(layers) > 1 or any(part.isdigit() for path in layers for part in path)
    blocks = []
    for (path, name), entries in groups.items():
        grid = _grid(entries)
        if grid and (path, name) not in twice:
            layer = str(layers.index(path) + 1) if numbered else ""
            is_matrix = len(next(iter(entries))) == 2
            if len(name) == 1:
                name = name.upper() if is_matrix else name.lower()
            blocks.append(Variable(grid, names.new(name + layer), layer if is_matrix else None, given=True))
    return blocks


def _parsed(label: object) -> tuple[tuple[str, ...], str, tuple[int, ...]] | None:
    """The container, the name and the numbers after it; None for a label that is not a path."""
    if not isinstance(label, str) or not label or len(label) > 200:
        return None
    parts = label.split(".")
    if not all(map(_is_plain, parts)):
        return None
    last = len(parts) - 1
    while last >= 0 and parts[last].isdigit():
        last -= 1
    if last < 0 or len(parts) - last > 3:
        return None
    return tuple(parts[:last]), parts[last], tuple(map(int, parts[last + 1 :]))


@lru_cache(10_000)
def _is_plain(part: str) -> bool:
    return bool(NAME.fullmatch(part) or NUMBER.fullmatch(part))


def _kind(container: tuple[str, ...]) -> tuple[str, ...]:
    return (*container[:-1], "#") if container and container[-1].isdigit() else container


def _grid(entries: dict[tuple[int, ...], int]) -> Grid | None:
    """Addresses by row and column, if they fill it."""
    depths = {len(index) for index in entries}
    if len(depths) != 1 or max(depths) > 2:
        return None
    full = {(*index, 0, 0)[:2]: address for index, address in entries.items()}
    rows, columns = sorted({r for r, _ in full}), sorted({c for _, c in full})
    if len(full) != len(rows) * len(columns):
        return None
    return tuple(tuple(full[r, c] for c in columns) for r in rows)


# --- to and from the flat vector ---------------------------------------------------------------------------

Group = tuple[list[Variable], list[int]]  # variables side by side, and the addresses row by row


def groups(blocks: Iterable[Variable]) -> list[Group]:
    """Variables in order; those that lie interleaved, the weights and the bias of each neuron, together."""
    found: list[Group] = []
    rest = sorted(blocks, key=lambda block: block.grid[0][0])
    while rest:
        together = [rest[0]]
        rows = [list(row) for row in rest[0].grid]
        while _has_gaps(rows) or _is_one_neuron(together):
            following = next((b for b in rest if b not in together and _goes_on(rows, b.grid)), None)
            if following is None:
                break
            together.append(following)
            rows = [[*row, *more] for row, more in zip(rows, following.grid)]
        if _has_gaps(rows):
            together, rows = [rest[0]], [list(row) for row in rest[0].grid]
        found.append((together, [a for row in rows for a in row]))
        rest = [b for b in rest if b not in together]
    return found


def _has_gaps(rows: Sequence[Sequence[int]]) -> bool:
    addresses = [a for row in rows for a in row]
    return addresses != list(range(addresses[0], addresses[0] + len(addresses)))


def _is_one_neuron(together: list[Variable]) -> bool:
    """A matrix of a single row: it leaves no gap, and yet its bias belongs to it."""
    return len(together) == len(together[0].grid) == 1 and together[0].layer is not None


def _goes_on(rows: Sequence[Sequence[int]], more: Grid) -> bool:
    """Whether each row goes on in the other grid."""
    return len(rows) == len(more) and all(row[-1] + 1 == further[0] for row, further in zip(rows, more))


def unpack_lines(
    blocks: Sequence[Variable], names: VariableNames, listed: Callable[[Sequence[int]], str]
) -> list[str]:
    """The function that makes matrices of the parameters."""
    lines = ["def unpack(xp, params):", '    """The flat parameters as matrices and columns."""']
    for together, addresses in groups(blocks):
        rows = len(together[0].grid)
        shape = f"({rows}, {len(addresses) // rows})"
        if len(together) > 1:
            layer = names.new(f"L{together[0].layer or ''}")
            lines.append(f"    {layer} = xp.reshape({_entries(addresses, listed)}, {shape})")
            lines.append(f"    {', '.join(b.name for b in together)} = {', '.join(_cuts(layer, together))}")
        else:
            lines.append(f"    {together[0].name} = xp.reshape({_entries(addresses, listed)}, {shape})")
    return [*lines, *listing("    return ", [block.name for block in blocks])]


def _entries(addresses: list[int], listed: Callable[[Sequence[int]], str]) -> str:
    """These entries of the flat vector."""
    first, last = addresses[0], addresses[-1]
    step = addresses[1] - first if len(addresses) > 1 else 1
    if step > 0 and addresses == list(range(first, last + 1, step)):
        return f"params[{first}:{last + 1}{f':{step}' if step > 1 else ''}]"
    return f"xp.take(params, {listed(addresses)}, axis=0)"


def _cuts(layer: str, together: list[Variable]) -> Iterable[str]:
    first, total = 0, sum(len(block.grid[0]) for block in together)
    for block in together:
        end = first + len(block.grid[0])
        yield f"{layer}[:, {first or ''}:{'' if end == total else end}]"
        first = end


def pack_lines(blocks: Sequence[Variable], listed: Callable[[Sequence[int]], str]) -> list[str]:
    """The function that makes the flat gradient of its parts, which have an address for each parameter."""
    lines = listing("def pack(", ["xp", *(block.name for block in blocks)], "):")
    lines.append('    """The gradient as a flat vector, in the order of the parameters."""')
    parts, order = [], []
    for together, addresses in groups(blocks):
        names = ", ".join(block.name for block in together)
        joined = names if len(together) == 1 else f"xp.concat([{names}], axis=1)"
        parts.append(f"xp.reshape({joined}, (-1,))")
        order += addresses
    if len(parts) > 1:
        lines += ["    parts = [", *(f"        {part}," for part in parts), "    ]"]
    flat = "xp.concat(parts, axis=0)" if len(parts) > 1 else parts[0]
    if order != sorted(order):
        where = {address: i for i, address in enumerate(order)}
        flat = f"xp.take({flat}, {listed([where[a] for a in sorted(order)])}, axis=0)"
    return [*lines, f"    return {flat}"]


def listing(before: str, items: Sequence[str], after: str = "") -> list[str]:
    """Names with commas; on lines of their own, in parentheses, if they are many."""
    line = f"{before}{', '.join(items)}{after}"
    if len(line) <= 100:
        return [line]
    indent = " " * (len(before) - len(before.lstrip()))
    opened = "" if before.endswith("(") else "("
    closed = after if before.endswith("(") else ")" + after
    inner = filled(", ".join(items) + ",", indent + "    ", indent + "    ")
    return [before + opened, *inner, indent + closed]


def folded(line: str, before: str = "") -> list[str]:
    """A line; if it is too long, its right side on lines of their own, in parentheses."""
    if not before and " = " in line:
        left, line = line.split(" = ", 1)
        before = f"{left} = "
    if len(before + line) <= 100:
        return [before + line]
    whole = re.sub(r", (?=-?[0-9]|axis=|keepdims=)", ",~", line)  # shapes and axes stay in one piece
    return [f"{before}(", *(part.replace("~", " ") for part in filled(whole, "    ")), ")"]
