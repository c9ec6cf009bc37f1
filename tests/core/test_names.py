"""The public names: loaded when they are first used, found in every way in which Python finds a name.

What importing costs is tested by which modules it loads, in processes of their own, never by the clock.
"""

import builtins
import subprocess
import sys
from pathlib import Path

import pytest

import tinygrad_bp as tg
from tinygrad_bp.ops import OPS, TABLE

PACKAGE = Path(tg.__file__).parent
ENGINE = {"engine", "errors", "floats", "methods", "modes", "operators", "ops"}
WINGS = ("show", "check", "compiler")


def loaded(code):
    """The modules of the package, and all others, that a program has loaded at its end."""
    code += "\nimport sys; print(*sorted(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PACKAGE.parent)
    assert run.returncode == 0, run.stderr
    names = run.stdout.split()
    ours = {name.removeprefix("tinygrad_bp.") for name in names if name.startswith("tinygrad_bp.")}
    return ours, {name for name in names if not name.startswith("tinygrad_bp")}


def test_importing_the_package_loads_nothing():
    ours, others = loaded("import tinygrad_bp")
    assert ours == set()
    _, usual = loaded("import importlib")
    assert others <= usual


@pytest.mark.parametrize(
    "code",
    [
        "from tinygrad_bp import Value; Value(1.0) * 2.0",
        "import tinygrad_bp as tg; tg.Value(1.0).tanh().backward()",
        "from tinygrad_bp.engine import Value; (Value(1.0) + 1).backward()",
        "import tinygrad_bp as tg; tg.exp(tg.Value(0.0)); tg.dot([1.0], [2.0])",
    ],
)
def test_a_value_loads_the_engine_alone(code):
    ours, others = loaded(code)
    assert ours == ENGINE
    assert not {"random", "json", "ctypes", "difflib", "subprocess", "html", "hypothesis"} & others


@pytest.mark.parametrize("name", ["nn", "losses", "optim", "data", "transforms", "train", "diagnosis"])
def test_no_module_of_the_core_loads_drawing_checking_or_compiling(name):
    ours, _ = loaded(f"import tinygrad_bp.{name}")
    assert not {module for module in ours if module.split(".")[0] in WINGS}


def test_training_on_graphs_loads_none_of_them_either():
    ours, _ = loaded("""
import tinygrad_bp as tg
model = tg.MLP(1, [1])
tg.fit(model, ([1.0], [2.0]), tg.losses.mse, tg.optim.SGD(model.parameters(), lr=0.1), steps=2)
""")
    assert not {module for module in ours if module.split(".")[0] in WINGS}


def test_every_public_name_is_what_its_module_has():
    for name, module in tg.MODULE_OF.items():
        assert getattr(tg, name) is vars(sys.modules[f"tinygrad_bp.{module}"])[name]
        assert vars(tg)[name] is getattr(tg, name)  # found at once from now on
    for name in TABLE - {"dot", "take", "stop_gradient"}:  # as functions these take lists
        assert getattr(tg, name) is OPS[name]
    assert tg.dot([1.0, 2.0], [3.0, 4.0]) == 11.0
    assert tg.take([1.0, 2.0], 1) == 2.0


def test_modules_are_attributes():
    files = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "__main__"}
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    for name in files | folders:
        assert getattr(tg, name) is sys.modules[f"tinygrad_bp.{name}"]
    assert {*tg.MODULES} <= files | folders


def test_dir_and_star():
    assert dir(tg) == sorted({*tg.MODULE_OF, *tg.MODULES, *TABLE})
    space = {}
    exec("from tinygrad_bp import *", space)
    assert {*space} - {"__builtins__"} == {*dir(tg)} - {*dir(builtins)}
    assert "sum" not in space and space["exp"] is OPS["exp"] and space["losses"] is tg.losses


def test_a_name_that_does_not_exist():
    with pytest.raises(AttributeError, match=r"^tinygrad_bp has no 'tahn': did you mean 'tan' or 'tanh'\?$"):
        tg.tahn  # noqa: B018
    with pytest.raises(AttributeError, match=r"^module 'tinygrad_bp' has no attribute '__wrapped__'$"):
        tg.__wrapped__  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'Vaule'"):
        from tinygrad_bp import Vaule  # noqa: F401
    assert not hasattr(tg, "Adam")


def test_what_a_module_fails_to_import_is_not_hidden(tmp_path, monkeypatch):
    (tmp_path / "broken.py").write_text("import does_not_exist_anywhere\n")
    monkeypatch.setattr(tg, "__path__", [*tg.__path__, str(tmp_path)])
    with pytest.raises(ModuleNotFoundError, match="does_not_exist_anywhere"):
        tg.broken  # noqa: B018
