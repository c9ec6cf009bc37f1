"""The audit of any graph: are the gradients handed in the engine's, but for a factor, a transposition, or
gradients left over from the step before?

This audit knows nothing of layers; that of an MLP, or of a function made of layers, knows more mistakes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from math import isfinite
from typing import Any

from tinygrad_bp.check.audit.layers import transposed as flip
from tinygrad_bp.check.audit.mistakes import MISTAKES
from tinygrad_bp.check.audit.reading import Matrix, plain, shape
from tinygrad_bp.check.audit.report import Audit, Entry, Part, explained
from tinygrad_bp.check.audit.search import CHANGES
from tinygrad_bp.diagnosis import non_finite
from tinygrad_bp.engine import Value, newest_first
from tinygrad_bp.errors import NonFiniteError
from tinygrad_bp.transforms import gradients

ROWS: dict[str, Any] = {row.name: row for row in (*MISTAKES, *CHANGES)}
SIMPLE = {1.0: "", -1.0: "negative", 2.0: "twice", 0.5: "half"}


@dataclass
class Handed:
    """One parameter, or a list or a table of them: their gradients by the engine and by the user, in rows."""

    name: str
    labels: list[list[str]]
    engine: Matrix
    mine: Matrix
    before: Matrix | None


def audit_graph(loss: Value, mine: Any, before: Any, tolerance: float, reveal: bool) -> Audit:
    """`audit(loss, mine)`, which `audit` documents."""
    blocks = _blocks(loss, mine, before)
    engine = [x for block in blocks for row in block.engine for x in row]
    if not all(map(isfinite, engine)):
        raise NonFiniteError(f"audit: the engine's own gradient is not finite: {non_finite(loss)}")
    largest = max(map(abs, engine))

    def same(given: Matrix, right: Matrix) -> list[bool]:
        room = tolerance * max([1e-6 * largest, *(abs(y) for row in right for y in row)])
        return [abs(x - y) <= room for x, y in _cells(given, right)]

    entries, parts = [], []
    shapes_agree = True
    for block in blocks:
        if not _like(block.mine, block.engine):
            shapes_agree = False
        shown = block.mine if _like(block.mine, block.engine) else flip(block.mine)
        columns = [[x for row in m for x in row] for m in (shown, block.engine)]
        labels = [label for row in block.labels for label in row]
        own = [Entry(*row) for row in zip(labels, *columns, same(shown, block.engine))]
        entries += own
        parts.append(Part(block.name, all(e.agrees for e in own) and _like(block.mine, block.engine)))
    audit = Audit(entries, parts, shapes_agree=shapes_agree, reveal=reveal)
    if audit:
        audit.verdict = f"right: all {len(entries)} entries are the engine's"
        return audit
    found = list(_explanations(blocks, same))
    fewest = min(map(len, found), default=0)
    audit.explanations = [words for words in found if len(words) == fewest]
    if found:
        audit.verdict = explained(audit.explanations, "use other data and other weights")
    else:
        audit.verdict = (
            "not explained by a factor, a transposition or both"
            f"{' or left-over gradients' if before is not None else ' (left-over gradients need before=)'}: "
            "for an MLP, audit(model, data, loss, mine) knows the mistakes of backprop"
        )
    return audit


def _explanations(blocks: list[Handed], same: Any) -> Iterator[list[str]]:
    """Each way to make all blocks the engine's: less what was left over, turned, times one factor."""
    square = [i for i, block in enumerate(blocks) if len(block.labels) == len(block.labels[0]) > 1]
    odd = {i for i, block in enumerate(blocks) if not _like(block.mine, block.engine)}
    turns = {frozenset(odd | {*some}) for some in ([], square, *([i] for i in square))}
    for minus, turned in product((False, True), sorted(turns, key=len)):
        if minus and any(block.before is None for block in blocks):
            continue
        trial = []
        for i, block in enumerate(blocks):
            mine = block.mine
            if minus and block.before:
                mine = [[x - y for x, y in zip(*rows)] for rows in zip(mine, block.before)]
            trial.append(flip(mine) if i in turned else mine)
        pairs = [(x, y) for block, mine in zip(blocks, trial) for x, y in _cells(mine, block.engine)]
        top = max(pairs, key=lambda pair: abs(pair[1]))
        c = top[0] / top[1] if top[1] else 0.0
        c = _rounded(c) if isfinite(c) else 0.0
        if len(pairs) == 1 and c not in SIMPLE:
            c = 0.0  # one number is some number times any other
        if not c or not all(
            all(same(mine, [[c * g for g in row] for row in block.engine]))
            for block, mine in zip(blocks, trial)
        ):
            continue
        words = [_factor(c)] if c != 1.0 else []
        if turned:
            names = ", ".join(blocks[i].name for i in sorted(turned))
            words.append(_row("transposed", names))
        if minus:
            words.append(_row("left-over gradients", "everywhere"))
        yield words


def _row(name: str, where: str) -> str:
    return f"{name}, {where}: {ROWS[name].what}\nto fix it: {ROWS[name].fix}"


def _factor(c: float) -> str:
    if c in SIMPLE and c != 1.0:
        return _row(SIMPLE[c], "everywhere")
    sign = "negative, and " if c < 0 else ""
    size = Fraction(abs(c)).limit_denominator(10**6)
    cause = "look for that number in the loss and in your code"
    if size.denominator == 1:
        cause = f"{size} samples summed where their mean is due, or {size} backward passes added up"
    elif size.numerator == 1:
        cause = f"divided by {size.denominator}, which may be the number of samples, once too often"
    return f"every entry is {sign}{abs(c):.6g} times the engine's: {cause}"


def _rounded(c: float) -> float:
    """A factor that is a simple fraction but for rounding is that fraction."""
    near = float(Fraction(c).limit_denominator(1000))
    return near if abs(near - c) <= 1e-9 * abs(c) else c


# --- reading ------------------------------------------------------------------------------------------------


def _blocks(loss: Value, mine: Any, before: Any) -> list[Handed]:
    if isinstance(mine, Mapping):
        pairs = [(_named(loss, key), tree, f"mine[{key!r}]", str(key)) for key, tree in mine.items()]
        same_form = isinstance(before, Mapping) and before.keys() == mine.keys()
        earlier = [before[key] for key in mine] if same_form else []
    elif isinstance(mine, (list, tuple)) and all(isinstance(p, (list, tuple)) and len(p) == 2 for p in mine):
        pairs = [(*pair, f"mine[{i}]", f"parameter {i}") for i, pair in enumerate(mine)]
        same_form = isinstance(before, (list, tuple)) and all(isinstance(p, (list, tuple)) for p in before)
        earlier = [pair[-1] for pair in before if pair] if same_form else []
    else:
        raise TypeError(
            "audit(loss, mine): mine is a dict of gradients by the labels of leaves, or a list of pairs "
            f"(Values, gradients), not {mine!r}"
        )
    if not pairs:
        raise ValueError("audit: mine is empty; there must be at least one gradient")
    if before is not None and len(earlier) != len(pairs):
        raise ValueError("audit: before has the form of mine, with the same parameters")
    blocks = []
    for i, (values, tree, place, name) in enumerate(pairs):
        size = shape(_as_lists(values), place)
        own = _matching(plain(tree, place), size, place)
        left = _matching(plain(earlier[i], "before"), size, "before") if earlier else None
        leaves = _leaves(values, place)
        labels = _rows([v.label or place for v in leaves], size)
        name = values.label or name if isinstance(values, Value) else name
        blocks.append(Handed(name, labels, _rows(gradients(loss, leaves), size), own, left))
    return blocks


def _named(loss: Value, key: Any) -> Any:
    """The leaf of that label; or those labelled key.0, key.1 ..., key.0.0 ..., as nested lists."""
    if isinstance(key, Value):
        return key
    leaves = {x for v in newest_first([loss]) for x in v.inputs if x.op is None}
    own = [x for x in leaves if x.label == key]
    if len(own) == 1:
        return own[0]
    below = {x.label[len(str(key)) + 1 :]: x for x in leaves if x.label.startswith(f"{key}.")}
    paths = [path.split(".") for path in below]
    numbered = all(part.isdigit() for path in paths for part in path) and len({*map(len, paths)}) == 1
    if len(own) > 1 or not numbered:
        labels = ", ".join(sorted(repr(x.label) for x in leaves if x.label)[:8]) or "none"
        count = f"{len(own)} leaves of the loss have" if own else "no leaf of the loss has"
        raise ValueError(f"audit: {count} the label {key!r}; there are {labels}")
    tree: Any = {}
    for path in sorted(below, key=lambda path: [int(part) for part in path.split(".")]):
        branch = tree
        *way, last = path.split(".")
        for part in way:
            branch = branch.setdefault(part, {})
        branch[last] = below[path]
    return _listed(tree)


def _listed(tree: Any) -> Any:
    return [_listed(branch) for branch in tree.values()] if isinstance(tree, dict) else tree


def _as_lists(tree: Any) -> Any:
    return [_as_lists(branch) for branch in tree] if isinstance(tree, (list, tuple)) else tree


def _leaves(tree: Any, place: str) -> list[Value]:
    if isinstance(tree, (list, tuple)):
        return [v for branch in tree for v in _leaves(branch, place)]
    if not isinstance(tree, Value):
        raise TypeError(
            f"audit: {place} is a pair (Values, gradients), and {tree!r} among the Values is not one"
        )
    return [tree]


def _matching(tree: Any, size: tuple[int, ...], place: str) -> Matrix:
    """The rows of a gradient that has the shape of its parameters, or is a table turned over."""
    found = shape(tree, place)
    if found != size and not (len(size) == 2 and found == size[::-1]):
        raise ValueError(f"audit: {place} has the shape {found}, and its parameters {size}")
    return _rows(_cells_of(tree), found)


def _cells_of(tree: Any) -> list[Any]:
    return [x for branch in tree for x in _cells_of(branch)] if isinstance(tree, list) else [tree]


def _rows(cells: list[Any], size: tuple[int, ...]) -> list[list[Any]]:
    width = size[-1] if size else 1
    return [cells[i : i + width] for i in range(0, len(cells), width)]


def _like(a: Matrix, b: Matrix) -> bool:
    return (len(a), len(a[0])) == (len(b), len(b[0]))


def _cells(a: Matrix, b: Matrix) -> list[tuple[float, float]]:
    return [pair for rows in zip(a, b) for pair in zip(*rows)]
