"""Writes tinygrad_bp/methods.pyi from the table of operations: `python tests/write_stub.py`.

Type checkers and editors run no loops, so the methods that Value has from the table are written down for them.
`test_architecture.py` compares the file with `stub()`, and says to run this when a row has changed.
"""

from pathlib import Path

import tinygrad_bp
from tinygrad_bp.ops import OPS, TABLE

STUB = Path(tinygrad_bp.__file__).with_name("methods.pyi")


def stub() -> str:
    lines = [
        '"""Written by tests/write_stub.py from the table in ops.py: do not edit."""\n\n',
        "from tinygrad_bp.engine import Value\nfrom tinygrad_bp.floats import Number\n\n",
        "Operand = Value | Number\n\n",
        "class TableMethods:\n",
    ]
    for row in (OPS[name] for name in sorted(TABLE)):
        if row.operands is None:
            continue
        given = "".join(
            f", {c}: float" + (f" = {d}" if d is not None else "") for c, d in row.constants.items()
        )
        others = "".join(f", {letter}: Operand" for letter in "yz"[: row.operands - 1])
        operators = [f"__{row.dunder}__", f"__r{row.dunder}__"][: row.operands] if row.dunder else []
        for method in (row.name, *operators):
            lines.append(f"    def {method}(self{others}{given}) -> Value: ...\n")
    return "".join(lines)


if __name__ == "__main__":
    STUB.write_text(stub(), encoding="utf-8")
    print(f"wrote {STUB}")
