"""What users install: the wheel made of the source distribution, in a clean environment, from elsewhere.

Once with nothing else, and once beside all that the extras bring, which is taken from where the tests run.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
from pathlib import Path
from types import SimpleNamespace

import pytest
from support import notebooks

ROOT = Path(__file__).parents[1]


def run(*command, cwd, **variables):
    clean = {name: text for name, text in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(
        [*map(str, command)], cwd=cwd, env=clean | variables, capture_output=True, text=True, encoding="utf-8"
    )


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder with the source distribution and the wheel that is made of it."""
    folder = tmp_path_factory.mktemp("built")
    made = run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    assert made.returncode == 0, made.stdout + made.stderr
    return folder


@pytest.fixture(scope="module", params=["no extras", "all extras"])
def installed(request, built, tmp_path_factory):
    """An environment with the wheel: its programs, a directory to run them in, and if it has the extras."""
    folder = tmp_path_factory.mktemp("environment")
    builder = venv.EnvBuilder()
    builder.create(folder / "venv")
    place = builder.ensure_directories(folder / "venv")
    (wheel,) = built.glob("*.whl")
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        place.env_exe,
        "install",
        "--no-index",
        "--no-deps",
        wheel,
    ]
    done = run(*pip, cwd=folder)
    assert done.returncode == 0, done.stderr
    found = run(place.env_exe, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder)
    packages = Path(found.stdout.strip())
    if request.param == "all extras":
        others = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
        packages.joinpath("extras.pth").write_text("\n".join([sysconfig.get_path("purelib"), *others]))
    command = Path(place.bin_path) / ("tinygrad-bp.exe" if os.name == "nt" else "tinygrad-bp")
    (folder / "elsewhere").mkdir()
    return SimpleNamespace(
        python=place.env_exe,
        command=command,
        cwd=folder / "elsewhere",
        packages=packages,
        has_extras=request.param == "all extras",
    )


def test_the_source_distribution_has_every_file_of_the_repository(built):
    if not (ROOT / ".git").exists():
        files = {path.relative_to(ROOT).as_posix() for path in (ROOT / "tinygrad_bp").rglob("*.py")}
    else:
        files = set(run("git", "ls-files", cwd=ROOT).stdout.splitlines())
    assert len(files) > 50
    with tarfile.open(*built.glob("*.tar.gz")) as archive:
        there = {name.partition("/")[2] for name in archive.getnames()}
    assert sorted(name for name in files - there if (ROOT / name).is_file()) == []


def test_the_wheel_has_the_package_and_the_demos_and_nothing_that_git_ignores(built, tmp_path):
    junk = ROOT / "demos" / "out" / "left_by_a_run.png"
    junk.parent.mkdir(exist_ok=True)
    junk.write_bytes(b"")
    try:
        made = run(
            sys.executable,
            "-m",
            "build",
            "--wheel",
            "--no-isolation",
            "--outdir",
            tmp_path,
            ROOT,
            cwd=tmp_path,
        )
    finally:
        junk.unlink()
    assert made.returncode == 0
    shutil.unpack_archive(*tmp_path.glob("*.whl"), tmp_path / "direct", "zip")
    shutil.unpack_archive(*built.glob("*.whl"), tmp_path / "from_source", "zip")
    direct, from_source = (
        {
            path.relative_to(tmp_path / name).as_posix()
            for path in (tmp_path / name).rglob("*")
            if path.is_file()
        }
        for name in ("direct", "from_source")
    )
    assert direct == from_source
    assert not any("/out/" in name or name.startswith("tests") for name in direct)
    assert {"tinygrad_bp/py.typed", "tinygrad_bp/play.html", "tinygrad_bp/demos/fit_quadratic.py"} <= direct
    assert {
        f"tinygrad_bp/demos/notebooks/{path.name}" for path in (ROOT / "demos").rglob("*.ipynb")
    } <= direct


def test_it_is_imported_from_the_environment_and_works(installed):
    program = (
        "import tinygrad_bp as tg; x = tg.Value(3.0, label='x'); y = x * x + x; y.backward();"
        "print(tg.__file__); print(x.grad); tg.stepper(y, 'page.html'); tg.draw(y).save('graph.svg');"
        "print(len(tg.data.digits()[0]))"
    )
    ran = run(installed.python, "-c", program, cwd=installed.cwd)
    assert (ran.returncode, ran.stderr) == (0, "")
    file, slope, digits = ran.stdout.splitlines()
    assert Path(file).is_relative_to(installed.packages)
    assert slope == "7.0" and int(digits) > 100
    assert {"page.html", "graph.svg"} <= {path.name for path in installed.cwd.iterdir()}


def test_demos_are_reached_from_the_wheel(installed):
    listed = run(installed.command, "demo", cwd=installed.cwd)
    assert listed.stdout.split() == sorted(
        path.stem for path in (ROOT / "demos").glob("*.py") if path.stem != "shared"
    )
    ran = run(installed.command, "demo", "quadratic", "--iterations", 1, cwd=installed.cwd)
    assert ran.returncode == 0, ran.stderr
    if installed.has_extras:
        assert "machine code" in ran.stdout
        assert (installed.cwd / "fit_quadratic.png").stat().st_size > 10_000
    else:
        assert "no picture: " in ran.stdout and "pip install 'tinygrad_bp[plots]'" in ran.stdout
        assert not (installed.cwd / "fit_quadratic.png").exists()


def test_extras_are_found_where_they_are(installed):
    said = run(installed.command, "info", cwd=installed.cwd).stdout
    assert ("not installed" in said) != installed.has_extras


def test_a_notebook_runs_with_the_wheel_beside_it_and_nothing_installed(built, tmp_path):
    """As in Colab and JupyterLite."""
    bare = tmp_path / "venv"
    venv.EnvBuilder().create(bare)
    python = bare / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    folder = tmp_path / "drive"
    folder.mkdir()
    shutil.copy(*built.glob("*.whl"), folder)
    notebook = shutil.copy(ROOT / "demos" / "notebooks" / "first_steps.ipynb", folder)
    ran = run(python, notebooks.__file__, notebook, cwd=tmp_path)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert (folder / "tinygrad_bp" / "engine.py").is_file()
