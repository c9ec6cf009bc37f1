"""Leaves: the flat vector of parameters as matrices, and gradients back into one, in the same order.

A Module labels its parameters "layers.0.neurons.3.w.1": layer 0, row 3, column 1 of a matrix `W1`; biases
become columns, `b1`.  A label is used only if every part of it is a plain name or number, and a name is taken
only once, so nothing of a label but a harmless name gets into the source. Read statements.py next.
"""

import builtins
import keyword
import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

from tinygrad_bp.compiler.backends.matrix.layout import Block, Grid
from tinygrad_bp.compiler.backends.matrix.spelling import filled

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,30}", re.ASCII)
NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)
RESERVED = {
    "xp", "params", "one", "n", "loss", "C", "P", "unpack", "pack", "value_and_grad", "value", "run",
    "series", "erf", "erfc", "ERF", "ERFC",
}  # fmt: skip


class Names:
    """Names for variables, each given once; never a word of Python or one that the source needs itself."""

    def __init__(self) -> None:
        self.taken = {*RESERVED, *dir(builtins), *keyword.kwlist, *keyword.softkwlist}
        self.counts: dict[str, int] = {}

    def new(self, wanted: str) -> str:
        """This name, or if it is taken, with a number behind it."""
        if not NAME.fullmatch(wanted) or re.fullmatch(r"I[0-9]+", wanted):
            wanted = "v"
        name, k = wanted, 2
        while name in self.taken or not name.isidentifier():
            name, k = f"{wanted}_{k}", k + 1
        self.taken.add(name)
        return name

    def free(self, wanted: str) -> str:
        """This name if nobody has it, else none."""
        return self.new(wanted) if wanted and wanted not in self.taken else ""

    def counted(self, letter: str) -> str:
        """The next of T1, T2, ..."""
        self.counts[letter] = self.counts.get(letter, 0) + 1
        name = f"{letter}{self.counts[letter]}"
        return self.free(name) or self.counted(letter)


# --- matrices from labels ----------------------------------------------------------------------------------

Key = tuple[tuple[str, ...], str]  # path of a layer, and the name of its parameter


def labelled(labels: Sequence[str], names: Names) -> list[Block]:
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
            blocks.append(Block(grid, names.new(name + layer), layer if is_matrix else None, given=True))
    return blocks


def _parsed(label: object) -> tuple[tuple[str, ...], str, tuple[int, ...]] | None:
    """The container, the name and the numbers behind it; None for a label that is no path."""
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

Group = tuple[list[Block], list[int]]  # variables side by side, and the addresses row by row


def groups(blocks: Iterable[Block]) -> list[Group]:
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


def _is_one_neuron(together: list[Block]) -> bool:
    """A matrix of a single row: it leaves no gap, and yet its bias belongs to it."""
    return len(together) == len(together[0].grid) == 1 and together[0].layer is not None


def _goes_on(rows: Sequence[Sequence[int]], more: Grid) -> bool:
    """Whether each row goes on in the other grid."""
    return len(rows) == len(more) and all(row[-1] + 1 == further[0] for row, further in zip(rows, more))


def unpack_lines(blocks: Sequence[Block], names: Names, listed: Callable[[Sequence[int]], str]) -> list[str]:
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


def _cuts(layer: str, together: list[Block]) -> Iterable[str]:
    first, total = 0, sum(len(block.grid[0]) for block in together)
    for block in together:
        end = first + len(block.grid[0])
        yield f"{layer}[:, {first or ''}:{'' if end == total else end}]"
        first = end


def pack_lines(blocks: Sequence[Block], listed: Callable[[Sequence[int]], str]) -> list[str]:
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
