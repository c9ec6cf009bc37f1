"""Run the tests on every Python of this machine, and the core's tests and the notebooks in Pyodide.

    python tests/pythons.py            all tests on each Python found, then the core's tests in Pyodide
    python tests/pythons.py --core     the core's tests only
    python tests/pythons.py --one      the core's tests, on one Python other than this one
    python tests/pythons.py 3.12 pyodide

Environments are made in the folder .pythons and kept there. Pyodide needs node and npm.
"""

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from tinygrad_bp.lab.folder import PYODIDE

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".pythons"
LOWEST, HIGHEST = (3, 10), (3, 20)
PURE = ["pytest>=8", "hypothesis>=6.80", "mpmath>=1.3", "micrograd==0.1.0"]  # what the core's tests import


def programs() -> Iterator[str]:
    """Every path at which a Python may be: on PATH, of pyenv, of uv."""
    for minor in range(LOWEST[1], HIGHEST[1]):
        yield from filter(None, [shutil.which(f"python3.{minor}")])
    yield from filter(None, map(shutil.which, ("python3", "python")))
    ends = ("bin/python3", "python.exe")
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    for folder in (
        pyenv / "versions",
        pyenv / "pyenv-win" / "versions",
        Path.home() / ".local/share/uv/python",
    ):
        for end in ends:
            yield from map(str, sorted(folder.glob(f"*/{end}"), reverse=True))


def found() -> dict[str, str]:
    """One Python of each version from 3.10 up: version to path."""
    ask = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"
    pythons: dict[str, str] = {}
    for program in programs():
        run = subprocess.run([program, "-c", ask], capture_output=True, text=True)
        version = run.stdout.strip()
        if run.returncode == 0 and tuple(map(int, version.split("."))) >= LOWEST:
            pythons.setdefault(version, program)
    return dict(sorted(pythons.items(), key=lambda pair: int(pair[0].split(".")[1])))


def run(*command: str | Path, **options: str) -> bool:
    """Whether a command succeeds; it is printed first."""
    print("+", *command, flush=True)
    return subprocess.run([*map(str, command)], cwd=ROOT, env={**os.environ, **options}).returncode == 0


def on_python(version: str, program: str, tests: list[str]) -> bool:
    """Whether the tests pass on this Python, in an environment of its own."""
    folder = FOLDER / version
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    return (
        run(program, "-m", "venv", folder)
        and run(python, "-m", "pip", "install", "-q", "-e", ".[dev]")
        and run(python, "-m", "pytest", "-n", "auto", "-p", "no:cacheprovider", *tests)
    )


def in_pyodide() -> bool:
    """Whether the core's tests and the notebooks pass in Pyodide under node."""
    folder, site = FOLDER / "pyodide", FOLDER / "pyodide" / "site"
    pure = [
        "--only-binary=:all:",
        "--platform=any",
        "--python-version=3.14",
        "--implementation=py",
        "--abi=none",
    ]
    npm = shutil.which("npm") or "npm"
    return (
        run(npm, "install", "--silent", "--no-fund", "--no-audit", "--prefix", folder, f"pyodide@{PYODIDE}")
        and run(sys.executable, "-m", "pip", "install", "-q", "--upgrade", "--target", site, *pure, *PURE)
        and run(
            *("node", "tests/support/pyodide.mjs", folder / "node_modules/pyodide/pyodide.mjs", site, ROOT),
            *("-W", "default:compiled code runs as generated Python", "tests/core"),
        )
        and run("node", "tests/support/notebooks.mjs", folder / "node_modules/pyodide/pyodide.mjs", ROOT)
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("only", nargs="*", help="versions, such as 3.12, or pyodide; all without any")
    parser.add_argument("--core", action="store_true", help="the core's tests only")
    parser.add_argument("--one", action="store_true", help="the core's tests, on one Python other than this")
    asked = parser.parse_args()

    here = ".".join(map(str, sys.version_info[:2]))
    pythons = found()
    node = shutil.which("node") and shutil.which("npm")
    print(f"this is Python {here}; found: {', '.join([*pythons, *['pyodide'] * bool(node)])}", flush=True)
    if asked.one:
        others = [version for version in pythons if version != here]
        if not others:
            print("NOT RUN: the core's tests on another Python: none found on PATH, of pyenv or of uv")
            return 0
        chosen = others[0]  # the oldest differs most
        return 0 if on_python(chosen, pythons[chosen], ["tests/core"]) else 1
    if unknown := set(asked.only) - pythons.keys() - {"pyodide"}:
        parser.error(f"not found: {', '.join(sorted(unknown))}")

    results = {
        version: on_python(version, program, ["tests/core"] * asked.core)
        for version, program in pythons.items()
        if version in asked.only or not asked.only
    }
    if "pyodide" in asked.only or not asked.only:
        if node:
            results["pyodide"] = in_pyodide()
        else:
            print("NOT RUN: the core's tests in Pyodide, since node and npm are missing")
    for version, passed in results.items():
        print(f"{version}: {'passed' if passed else 'FAILED'}")
    return 0 if all(results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
