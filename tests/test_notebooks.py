"""The notebooks: each runs from top to bottom, and has what Jupyter, Colab and marimo ask of it."""

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import notebooks

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "demos" / "notebooks").glob("*.ipynb"))
each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def run(path, **options):
    command = [sys.executable, *options.pop("flags", []), notebooks.__file__, str(path)]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", **options)


def test_there_are_notebooks():
    assert len(NOTEBOOKS) >= 5


@each
def test_it_runs_from_top_to_bottom(path, tmp_path):
    copy = Path(shutil.copy(path, tmp_path))
    ran = run(copy)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.splitlines()[-1].count("+") >= (
        path.stem != "exercises"
    )  # something is drawn or stepped
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@each
def test_no_name_is_defined_in_two_cells(path):
    """marimo refuses that; names that begin with an underscore belong to their cell."""
    owner = {}
    for i, cell in enumerate(notebooks.code_cells(path)):
        for name in globals_of(ast.parse(cell)):
            assert owner.setdefault(name, i) == i, f"{name} is defined in cells {owner[name]} and {i}"


def globals_of(tree):
    """The names that a cell defines outside functions and classes."""
    todo, found = [*tree.body], set()
    while todo:
        part = todo.pop()
        if isinstance(part, (ast.FunctionDef, ast.ClassDef)):
            found.add(part.name)
        elif isinstance(part, (ast.Import, ast.ImportFrom)):
            found |= {(name.asname or name.name).partition(".")[0] for name in part.names}
        elif isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
            found.add(part.id)
        elif not isinstance(part, (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.Lambda)):
            todo += ast.iter_child_nodes(part)
    return {name for name in found if not name.startswith("_")}


@each
def test_it_holds_no_outputs_and_each_cell_has_a_name_of_its_own(path):
    book = json.loads(path.read_text(encoding="utf-8"))
    assert (book["nbformat"], book["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in book["cells"]}) == len(book["cells"])
    for cell in book["cells"]:
        assert not cell.get("outputs") and cell.get("execution_count") is None


@each
def test_without_the_package_it_says_what_to_upload(path, tmp_path):
    alone = Path(shutil.copy(path, tmp_path))
    ran = run(alone, flags=["-S", "-E"])  # nothing installed is found
    assert ran.returncode == 1
    assert "FileNotFoundError: no tinygrad_bp-*.whl beside this notebook: upload it" in ran.stderr
