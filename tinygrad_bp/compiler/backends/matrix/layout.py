"""Layout: which variable of the array source lies at which address, and how to write what is read there.

Every variable is a grid of addresses.  A result for each sample has a row for each address, and the samples
are its columns; what is the same for all samples is a column, parameters may be matrices.  Addresses that are
a whole variable are its name, those in a row a slice, the rest is fetched with `xp.take`, by lists of places
that stand at the head of the source.  Read leaves.py next.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from tinygrad_bp.compiler.backends.matrix.spelling import Text, filled, literal
from tinygrad_bp.compiler.schedule import Space

Grid = tuple[tuple[int, ...], ...]
FEW = 4  # pieces are joined as they stand; if there are more, one takes from whole variables


@dataclass(eq=False)
class Block:
    """A variable: the address of each of its entries, by row and column."""

    grid: Grid
    name: str = ""
    layer: str | None = None  # of a parameter: the number that it shares with its layer's results
    given: bool = False  # named by the user, and not by what becomes of it
    same: "Block | None" = None  # it is nothing but another variable

    def real(self) -> "Block":
        """The variable itself."""
        return self.same.real() if self.same else self


Place = tuple[Block, int, int]  # a variable, a row, a column


@dataclass
class Layout:
    """Both memories, and the lists of places that the text needs."""

    leaves: int  # addresses of scalars up to here are entries of the argument `params`
    constants: dict[int, float]  # scalars that are plain numbers
    places: dict[Space, dict[int, Place]] = field(default_factory=lambda: {space: {} for space in Space})
    lists: dict[str, str] = field(default_factory=dict)  # source of a list, its name

    def __post_init__(self) -> None:
        column = tuple((address,) for address in range(self.leaves))
        self.flat = Block(column, "P", given=True)  # all parameters as a column
        fixed = tuple((address,) for address in self.constants)
        self.fixed = Block(fixed, "C", given=True)
        self.settle(Space.SCALARS, self.fixed)

    def settle(self, space: Space, block: Block) -> None:
        """Let a variable have its addresses."""
        for r, row in enumerate(block.grid):
            for c, address in enumerate(row):
                self.places[space][address] = (block, r, c)

    def place(self, space: Space, address: int) -> Place:
        """Where an address is; a parameter that is in no matrix is in the column of all."""
        found = self.places[space].get(address)
        if found is None:
            return self.flat, address, 0
        block = found[0].real()
        return block, found[1], found[2]

    def whole(self, space: Space, addresses: Sequence[int]) -> Block | None:
        """The variable that these addresses are, all of it and in its order."""
        block = self.place(space, addresses[0])[0]
        places = [self.place(space, a) for a in addresses]
        return block if places == [(block, r, 0) for r in range(len(block.grid))] else None

    # --- rows ----------------------------------------------------------------------------------------------

    def read(self, space: Space, addresses: Sequence[int]) -> Text:
        """One operand at every point: as many rows as there are addresses, or one if they are all the
        same."""
        if len(set(addresses)) == 1:
            if addresses[0] in self.constants and space is Space.SCALARS:
                return literal(self.constants[addresses[0]])
            addresses = addresses[:1]
        return Text(self.rows(space, addresses))

    def rows(self, space: Space, addresses: Sequence[int]) -> str:
        """A row for each address."""
        places = [self.place(space, a) for a in addresses]
        if space is Space.SCALARS and any(len(block.grid[0]) > 1 for block, _, _ in places):
            line = self._line(places)
            if line:
                return line
            places = [p if p[0].grid[0][0] >= self.leaves else (self.flat, a, 0)
                      for p, a in zip(places, addresses)]  # fmt: skip
        return self._rows(places)

    def _line(self, places: Sequence[Place]) -> str:
        """Entries of a matrix that lie in one column, or in one row, as a column."""
        block, r, c = places[0]
        n = len(places)
        if places == [(block, r + i, c) for i in range(n)]:
            return f"{block.name}[{_span(r, n, len(block.grid))}, {c}:{c + 1}]"
        if places == [(block, r, c + i) for i in range(n)]:
            rows = _span(r, 1, len(block.grid))
            return f"{_part(block.name, rows, _span(c, n, len(block.grid[0])))}.T"
        return ""

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

    def part_of_a_matrix(self, grid: Grid) -> tuple[Block, bool] | None:
        """The variable that this grid is all of, and whether it is turned over."""
        block = self.place(Space.SCALARS, grid[0][0])[0]
        if block is self.flat or not block.grid:
            return None
        if grid == block.grid:
            return block, False
        return (block, True) if grid == tuple(zip(*block.grid)) else None

    def matrix(self, grid: Grid) -> Text:
        """A grid of scalars as a matrix."""
        m, n = len(grid), len(grid[0])
        block, r, c = self.place(Space.SCALARS, grid[0][0])
        for turned, (down, across) in enumerate(((m, n), (n, m))):
            part = [row[c : c + across] for row in block.grid[r : r + down]]
            if tuple(zip(*part) if turned else part) == grid:
                rows, columns = (
                    _span(r, down, len(block.grid)),
                    _span(c, across, len(block.grid[0])),
                )
                return Text(_part(block.name, rows, columns) + ".T" * turned)
        column = self.rows(Space.SCALARS, [a for row in grid for a in row])
        return Text(f"{column}.T") if m == 1 else Text(f"xp.reshape({column}, ({m}, {n}))")

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


def _pieces(places: Sequence[Place]) -> Iterable[tuple[Block, list[int]]]:
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
