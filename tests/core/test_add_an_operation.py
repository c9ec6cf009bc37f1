"""docs/add_an_operation.md is done on a copy of the project: a new row fails one test, then none."""

import doctest
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tinygrad_bp.ops import OPS

REPOSITORY = Path(__file__).parents[2]
PAGE = REPOSITORY / "docs" / "add_an_operation.md"
TEXT = PAGE.read_text(encoding="utf-8")
ROW, RECORD = re.findall(r"```python\n( *\"?swish2.*?)```", TEXT, re.S)
(LINE,) = re.findall(r"```text\n(.*?)```", TEXT, re.S)


def test_the_program_of_the_page_runs():
    try:
        results = doctest.testfile(str(PAGE), module_relative=False)
        assert results.attempted == 5 and not results.failed
    finally:
        OPS.pop("swish", None)


LEFT_OUT = shutil.ignore_patterns("__pycache__", "bench", "node_modules", "out")


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """The project with the row in its table, and what is made from the table made again."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("tinygrad_bp", "tests", "docs", "demos"):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=LEFT_OUT)
    shutil.copy(REPOSITORY / "pyproject.toml", folder)
    insert(folder / "tinygrad_bp" / "ops.py", ROW, before="gelu       = op(")
    python(folder, "tests/write_generated.py")
    return folder


def insert(path, text, before):
    source = path.read_text(encoding="utf-8")
    assert source.count(before) == 1
    path.write_text(source.replace(before, text + before), encoding="utf-8")


def python(folder, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    command = [sys.executable, *arguments]
    run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=500)
    return run.stdout + run.stderr


CORE = [f"tests/core/test_{name}.py" for name in ("ops", "semantics", "specials", "programs")]
OTHERS = ["tests/show", "tests/check/test_strategies.py", "tests/compiler/test_edges.py"]
CHOSEN = (
    "swish2 or has_a_record or made_from_the_table or the_public_names or (every_row and 1-False) "
    "or same_operations or the_reference_has"
)


def failures(folder):
    """Of the tests that loop over the table: those of the new row, and those of all rows together."""
    files = [*CORE, *OTHERS, "tests/test_architecture.py"]
    said = python(folder, "-m", "pytest", "-p", "no:cacheprovider", *files, "-k", CHOSEN)
    assert "[100%]" in said, said
    return re.findall(r"^(?:FAILED|ERROR) (\S+)", said, re.M), said


def test_a_new_row_fails_one_test_until_its_record_is_added(copy):
    failed, said = failures(copy)
    assert failed == ["tests/core/test_ops.py::test_every_row_has_a_record"], said
    assert LINE.strip() in said
    insert(copy / "tests" / "support" / "rows.py", RECORD, before='    "gelu": Row(')
    failed, said = failures(copy)
    assert failed == [], said
