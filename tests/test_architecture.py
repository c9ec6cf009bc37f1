"""The order of the package: which file may import which, and what may be imported from outside.

Imports are read from the source, those inside functions and under TYPE_CHECKING too. They go from a higher
layer to a lower one or stay within a layer, and never in a circle. Each third-party package is imported by
one file. No two modules and no two classes share a name. Operations are named in ops.py alone.
"""

import ast
import subprocess
import sys
from collections import Counter
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from write_generated import NAMES, PAGE, PASSES, PICTURE, STEPPER, STUB, moving, names, page, passes, stub

import tinygrad_bp
from tinygrad_bp.ops import OPS, TABLE

PACKAGE = Path(tinygrad_bp.__file__).parent
REPOSITORY = PACKAGE.parent
FILES = {path.relative_to(PACKAGE).as_posix(): path for path in sorted(PACKAGE.rglob("*.py"))}
DEMOS = sorted((REPOSITORY / "demos").glob("*.py"))

LAYERS = {
    "errors.py": 0, "files.py": 1, "floats.py": 0, "modes.py": 0, "ops.py": 0, "methods.py": 0, "data.py": 0,
    "batches.py": 0, "rows.py": 0, "schedules.py": 0,
    "operators.py": 1, "engine.py": 1,
    "lists.py": 1, "graph_sweep.py": 1,
    "transforms.py": 2, "nn": 2, "losses.py": 2, "optim.py": 2, "diagnosis.py": 2,
    "formula.py": 2, "undo.py": 2, "checkpoint.py": 2,
    "show": 3,
    "check": 3, "compiler": 3,
    "steps.py": 4, "stretches.py": 4, "train.py": 4,
    "cli.py": 5, "play.py": 5, "lab": 5, "__main__.py": 5,
}  # fmt: skip
EXTRAS = {
    "anywidget": "show/widget/__init__.py",
    "graphviz": "show/draw.py",
    "hypothesis": "check/strategies.py",  # hypothesis_plugin.py is loaded by it
    "llvmlite": "compiler/backends/llvm/native.py",
    "matplotlib": "show/plotting.py",
    "tqdm": "train.py",
    "traitlets": "show/widget/__init__.py",  # that anywidget is made of
}


def imported(path):
    """The modules that a file names in imports, wherever they stand in it."""
    for statement in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(statement, ast.Import):
            yield from (alias.name for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom):
            assert statement.level == 0, f"{path}: write imports in full"
            module = statement.module or ""
            for alias in statement.names:  # `from package import module` names the module
                yield f"{module}.{alias.name}" if file_of(f"{module}.{alias.name}") else module
        elif isinstance(statement, ast.Call) and getattr(statement.func, "attr", "") == "import_module":
            yield from (x.value for x in statement.args if isinstance(x, ast.Constant))


def file_of(module):
    """The file of a module of the package, as FILES names it; None for any other module."""
    parts = module.split(".")
    if parts[0] != "tinygrad_bp":
        return None
    for name in ("/".join(parts[1:]) + ".py", "/".join([*parts[1:], "__init__.py"])):
        if name in FILES:
            return name
    return None


def layer(name):
    return LAYERS.get(name, LAYERS.get(name.split("/")[0]))


def test_every_file_has_a_layer():
    missing = [name for name in FILES if name != "__init__.py" and layer(name) is None]
    assert not missing, "add them to LAYERS"


def test_every_entry_is_a_file():
    there = FILES.keys() | {name.split("/")[0] for name in FILES}
    assert not (LAYERS.keys() | {*EXTRAS.values()}) - there, "remove them"


@pytest.mark.parametrize("name", [name for name in FILES if name != "__init__.py"])
def test_imports_go_to_the_same_or_a_lower_layer(name):
    for module in imported(FILES[name]):
        if module.split(".")[0] != "tinygrad_bp":
            continue
        target = file_of(module)
        assert target, f"{name} imports {module}, which is no file of the package"
        number = 5 if target == "__init__.py" else layer(target)  # the package itself imports everything
        assert number <= layer(name), f"{name} (layer {layer(name)}) imports {target} (layer {number})"


@pytest.mark.parametrize("name", [name for name in FILES if not name.startswith("compiler/backends/")])
def test_nothing_outside_a_backend_knows_how_it_is_made(name):
    """Only its module in BACKENDS is known; lanes, for example, are known in backends/llvm alone."""
    modules = {"__init__.py", "python.py", "page.py", "matrix/emit_matrix.py", "llvm/frame.py"}
    known = {f"compiler/backends/{module}" for module in modules}
    for file in {file_of(module) for module in imported(FILES[name])} - {None} - known:
        assert not file.startswith("compiler/backends/"), f"{name} imports {file}"


def test_imports_form_no_circle():
    graph = {name: {file_of(module) for module in imported(path)} - {None} for name, path in FILES.items()}
    for name in graph:
        graph[name] -= {name, "__init__.py"}
    tuple(TopologicalSorter(graph).static_order())  # raises CycleError, which names the circle


@pytest.mark.parametrize("name", FILES)
def test_a_third_party_package_is_imported_by_one_file(name):
    for module in imported(FILES[name]):
        package = module.split(".")[0]
        if package != "tinygrad_bp" and package not in sys.stdlib_module_names:
            assert EXTRAS.get(package) == name, f"{name} imports {package}"


@pytest.mark.parametrize("path", DEMOS, ids=lambda path: path.name)
def test_demos_need_nothing_but_the_package(path):
    neighbours = {demo.stem for demo in DEMOS}
    packages = {module.split(".")[0] for module in imported(path)}
    peers = {"array_api_compat", "dask", "jax"} if path.stem == "scale_out" else set()  # what it is about
    assert packages - sys.stdlib_module_names - neighbours <= {"tinygrad_bp"} | peers


def test_the_package_is_imported_without_any_other():
    """-S leaves site-packages out, -I whatever else the environment adds."""
    code = f"import sys; sys.path.insert(0, {str(REPOSITORY)!r}); import tinygrad_bp as tg; print(tg.exp(0))"
    run = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True)
    assert (run.stdout.strip(), run.stderr) == ("1.0", "")


def test_the_engine_is_short():
    assert len(FILES["engine.py"].read_text(encoding="utf-8").splitlines()) <= 250


def repeated(names):
    return {name for name, count in Counter(names).items() if count > 1}


def test_no_two_modules_share_a_name():
    paths = [Path(name) for name in FILES if name != "__init__.py"]
    assert not repeated(path.parent.name if path.stem == "__init__" else path.stem for path in paths)


def test_no_two_classes_share_a_name():
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in FILES.values()]
    classes = [node.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    assert not repeated(classes)


TESTS = sorted(path for path in Path(__file__).parent.rglob("*.py") if "node_modules" not in path.parts)
SOURCES = [*FILES.values(), *DEMOS, *(path for path in TESTS if "bench" not in path.parts)]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_a_file_begins_by_saying_what_it_is_for(path):
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert text and len(text.splitlines()) <= 10, "three to eight lines, and blank ones between"


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.name)
def test_no_test_file_imports_another(path):
    """What tests share is in support/: a test file can then be read, moved and run by itself."""
    assert not [module for module in imported(path) if module.split(".")[0].startswith("test_")]


@pytest.mark.parametrize("name", sorted(FILES.keys() - {"ops.py"}))
def test_operations_are_named_in_the_table_alone(name):
    """A list of names elsewhere would have to be kept in step with the table: loop over the table instead."""
    tree = ast.parse(FILES[name].read_text(encoding="utf-8"))
    named = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)} & TABLE
    assert len(named) <= 2, sorted(named)


@pytest.mark.parametrize(
    "path, text",
    [
        (STUB, stub()),
        (NAMES, names()),
        (PAGE, page()),
        (PASSES, passes()),
        *zip((PICTURE, STEPPER), moving()),
    ],
    ids=["stub", "names", "page", "passes", "picture", "stepper"],
)
def test_what_is_made_from_the_table_is_current(path, text):
    assert path.read_text(encoding="utf-8") == text, "run: python tests/write_generated.py"


def test_the_public_names_are_those_of_the_table_and_no_helpers():
    of_lists = {name for name in TABLE if getattr(tinygrad_bp, name) is not OPS[name]}
    assert of_lists == {"dot", "stop_gradient", "take"}
    assert not {"Any", "Callable", "field", "inf", "signature"} & set(dir(tinygrad_bp))


def test_the_group_dev_is_the_extra_dev():
    tomllib = pytest.importorskip("tomllib")  # Python 3.11 and newer
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"]

    def flat(name):
        for package in extras[name]:
            own = package.startswith("tinygrad_bp[")
            yield from (x for extra in package[12:-1].split(",") for x in flat(extra)) if own else [package]

    assert project["dependency-groups"]["dev"] == sorted(flat("dev"))
