"""Run a notebook as its reader does, without a kernel: `python tests/support/notebooks.py NOTEBOOK`.

The cells run from top to bottom in one namespace, in the notebook's folder. What stands last in a cell is
shown as Jupyter shows it, so a representation that fails is found, too. A kernel would take seconds to start,
and packages that nothing else needs.
"""

import ast
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def code_cells(path: Path) -> Iterator[str]:
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            yield "".join(cell["source"])


def run(path: Path) -> list[dict[str, Any]]:
    """What each cell shows, as data by its MIME type; {} for a cell that shows nothing."""
    space: dict[str, Any] = {"__name__": "__main__"}
    shown = []
    for i, cell in enumerate(code_cells(path)):
        body = ast.parse(cell).body
        last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
        exec(compile(ast.Module(body, []), f"{path.name}, cell {i}", "exec"), space)
        value = None
        if last is not None:
            value = eval(compile(ast.Expression(last.value), f"{path.name}, cell {i}", "eval"), space)
        shown.append({} if value is None else mime_bundle(value))
    return shown


def mime_bundle(value: object) -> dict[str, Any]:
    if hasattr(value, "_repr_mimebundle_"):
        return dict(value._repr_mimebundle_())
    found = {"text/plain": repr(value)}
    for kind, name in (("text/html", "_repr_html_"), ("image/svg+xml", "_repr_svg_")):
        if hasattr(value, name):
            found[kind] = getattr(value, name)()
    return found


if __name__ == "__main__":
    notebook = Path(sys.argv[1]).resolve()
    os.chdir(notebook.parent)
    sys.path.insert(0, "")
    print(
        " ".join("+".join(sorted(kind.partition("/")[2] for kind in cell)) or "-" for cell in run(notebook))
    )
