"""Type checkers see what a user sees: a wheel is built and installed, and programs are checked against it.

They are the README's examples as one file, and `typed_program.py`, which says of each line what its type is.
mypy runs everywhere, strictly; pyright, which brings Node, with the marker `peers`.
"""

import doctest
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PROGRAM = Path(__file__).with_name("typed_program.py")
LINES = enumerate(PROGRAM.read_text(encoding="utf-8").splitlines(), 1)
WRONG = [number for number, line in LINES if "# error:" in line]


def run(*command, cwd):
    done = subprocess.run([*map(str, command)], cwd=cwd, capture_output=True, text=True, timeout=300)
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """The interpreter of an environment that has the package, installed from its wheel, and nothing else."""
    folder = tmp_path_factory.mktemp("installed")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder]
    said = run(*build, REPOSITORY, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    assert "Successfully built" in said
    builder = venv.EnvBuilder()
    builder.create(folder / "venv")
    where = builder.ensure_directories(folder / "venv")
    packages = run(where.env_exe, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder)
    zipfile.ZipFile(wheel).extractall(packages.strip())
    examples = doctest.DocTestParser().get_examples((REPOSITORY / "README.md").read_text(encoding="utf-8"))
    (folder / "readme.py").write_text("".join(x.source for x in examples), encoding="utf-8")
    shutil.copy(PROGRAM, folder)
    return Path(where.env_exe)


def mypy(python, name, *options):
    folder = python.parents[2]
    command = [sys.executable, "-m", "mypy", "--strict", "--python-executable", python, *options, name]
    return run(*command, cwd=folder)


def test_the_readmes_examples_pass_mypy(python):
    """As a file: an example uses a name again for something else, and has functions without annotations."""
    options = ["--allow-redefinition", "--local-partial-types", "--allow-untyped-defs"]
    assert "Success: no issues found" in mypy(python, "readme.py", *options)


def test_a_users_program_passes_mypy_but_for_its_mistakes(python):
    said = mypy(python, PROGRAM.name)
    found = [int(line.split(":")[1]) for line in said.splitlines() if ": error:" in line]
    assert sorted(set(found)) == WRONG, said


@pytest.mark.peers
def test_pyright_agrees(python):
    folder = python.parents[2]
    said = run(sys.executable, "-m", "pyright", "--pythonpath", python, "readme.py", PROGRAM.name, cwd=folder)
    errors = [line for line in said.splitlines() if " - error:" in line]
    found = [int(line.split(":")[1]) for line in errors if PROGRAM.name in line]
    assert sorted(set(found)) == WRONG and len(found) == len(errors), said
