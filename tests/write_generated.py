"""Writes what is made from the table of operations: `python tests/write_generated.py`.

`tinygrad_bp/methods.pyi` tells type checkers and editors, which run no loops, what methods Value has;
`docs/operations.md` lists the operations for people.  `test_architecture.py` compares both with what is made
here, and says to run this when a row has changed.
"""

from pathlib import Path

import tinygrad_bp
from tinygrad_bp.ops import OPS, TABLE, Op
from tinygrad_bp.show.symbols import Symbol, partials

PACKAGE = Path(tinygrad_bp.__file__).parent
STUB = PACKAGE / "methods.pyi"
PAGE = PACKAGE.parent / "docs" / "operations.md"

LETTERS = {"atan2": "yx", "where": "cxy", "nan_if": "od"}  # operands that are not called x, y


def stub() -> str:
    """The text of methods.pyi."""
    lines = [
        '"""Written by tests/write_generated.py from the table in ops.py: do not edit."""\n\n',
        "from tinygrad_bp.engine import Value\nfrom tinygrad_bp.floats import Number\n\n",
        "Operand = Value | Number\n\n",
        "class TableMethods:\n",
    ]
    for row in (OPS[name] for name in sorted(TABLE)):
        if row.operands is None:
            continue
        others = "".join(f", {letter}: Operand" for letter in "yz"[: row.operands - 1])
        constants = "".join(
            f", {name}: float" + ("" if default is None else f" = {default}")
            for name, default in row.constants.items()
        )
        operators = [f"__{row.dunder}__", f"__r{row.dunder}__"][: row.operands] if row.dunder else []
        for method in (row.name, *operators):
            lines.append(f"    def {method}(self{others}{constants}) -> Value: ...\n")
    return "".join(lines)


def page() -> str:
    """The text of docs/operations.md."""
    lines = [
        "# Operations\n\n",
        "Made from the table in [`ops.py`](../tinygrad_bp/ops.py) by `tests/write_generated.py`.\n",
        "Each is a function, `tg.tanh(x)`, and one with up to three operands also a method, `x.tanh()`.\n",
        "*Partials* are the rules of the table, read on symbols: $o$ is the result, and $[a > b]$ is 1\n",
        "where that is so, else 0. *Slope* says where an operation has none anywhere (—), where it\n",
        "selects a branch (P4 of [semantics](semantics.md)), and where a partial can be infinite or nan at\n",
        "finite operands.\n\n",
        "| call | formula | partials | operator | slope |\n|---|---|---|---|---|\n",
    ]
    for row in (OPS[name] for name in sorted(TABLE)):
        slope = [] if row.partials else ["—"]
        slope += ["selects"] * row.selects + ["can be infinite"] * row.singular
        cells = [f"`{call(row)}`", f"${formula(row)}$", slopes(row), operator(row), ", ".join(slope)]
        lines.append(f"| {' | '.join(cells)} |\n")
    return "".join(lines)


def operands(row: Op) -> list[str]:
    return list(LETTERS.get(row.name, "xyz"))[: row.operands] if row.operands else ["x_0", "x_1", r"\dots"]


def call(row: Op) -> str:
    if row.name == "dot":
        return "dot(ws, xs, bias=None)"
    if row.operands is None:
        return f"{row.name}(xs)"
    given = [name if default is None else f"{name}={default:g}" for name, default in row.constants.items()]
    return f"{row.name}({', '.join(operands(row) + given)})"


def formula(row: Op) -> str:
    names = operands(row)
    constants = [rf"\text{{{name}}}" for name in row.constants]
    return row.tex.format(*names, *constants, xs=", ".join(names)).replace("|", r"\vert ")


def slopes(row: Op) -> str:
    """The partials by each operand; where symbols cannot be the constants of another row, with numbers."""
    if row.partials is None:
        return ""
    names = operands(row) if row.operands else ["x_0", "x_1"] * (1 + (row.name == "dot"))
    names = ["w_0", "w_1", "x_0", "x_1"] if row.name == "dot" else names
    o, xs = Symbol.named("o"), [Symbol.named(name) for name in names]
    said, ds = "", row.constants and partials(row, o, [*xs, *map(Symbol.named, row.constants)])
    if not ds:
        filled = {name: default or 3.0 for name, default in row.constants.items()}
        said = ", ".join(f"{name}={number:g}" for name, number in filled.items()) + ": " * bool(filled)
        ds = partials(row.at(**filled), o, xs)
    return said + ", ".join(f"${d.tex}$" for d in ds)


def operator(row: Op) -> str:
    signs = {"abs": "abs(x)", "floor": "math.floor(x)", "ceil": "math.ceil(x)", "neg": "-x", "pos": "+x"}
    signs |= {"add": "x + y", "sub": "x - y", "mul": "x * y", "truediv": "x / y", "mod": "x % y"}
    more = {"pow": "x ** y", "powc": "x ** 2", "round": "round(x)"}
    text = signs.get(row.dunder, more.get(row.name, ""))
    return f"`{text}`" if text else ""


if __name__ == "__main__":
    for path, text in ((STUB, stub()), (PAGE, page())):
        path.write_text(text, encoding="utf-8")
        print(f"wrote {path}")
