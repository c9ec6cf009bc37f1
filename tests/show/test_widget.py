"""The widget: numbers that Python and the page share, in Python alone and in the notebooks that people use.

CI runs marimo; `-m slow` runs JupyterLab too, where it is installed.
"""

import json
import math
import socket
import subprocess
import sys
import time
import urllib.request
from importlib.util import find_spec

import pytest
from conftest import refuse

import tinygrad_bp as tg
from tinygrad_bp.errors import MissingExtraError
from tinygrad_bp.show import widget as module


def expression(a, b):
    return (a * b + a).tanh()


@pytest.fixture
def traits():
    if not find_spec("anywidget"):
        refuse("no anywidget found")
    import traitlets

    return traitlets


@pytest.mark.usefixtures("traits")
def test_numbers_that_python_sets_draw_the_graph_anew():
    w = tg.widget(expression, a=2.0, b=-3.0)
    assert w.values == {"a": 2.0, "b": -3.0}
    w.values = {"a": 1.0, "b": 0.5}
    a, b = tg.Value(1.0), tg.Value(0.5)
    expression(a, b).backward()
    assert w._answer["moment"]["data"][-1] == math.tanh(1.5)
    assert w._answer["moment"]["grads"][:2] == [a.grad, b.grad]
    assert "graph" not in w._answer  # the drawing stays


@pytest.mark.usefixtures("traits")
def test_the_function_is_called_anew_and_no_value_is_written():
    seen = []

    def f(a):
        seen.append(a)
        return a * 2.0

    w = tg.widget(f, a=1.0)
    w.values = {"a": 3.0}
    assert [v.data for v in seen] == [1.0, 3.0]


@pytest.mark.usefixtures("traits")
def test_another_way_through_the_function_is_another_graph():
    w = tg.widget(lambda a: a * 2.0 if a.data > 0.0 else a.exp() + 1.0, a=1.0)
    w.values = {"a": -1.0}
    assert [node["op"] for node in w._answer["graph"]["nodes"]].count("+") == 1


@pytest.mark.usefixtures("traits")
def test_what_the_function_says_is_shown():
    def f(a):
        if a.data > 5.0:
            raise ValueError("a is at most 5")
        return a * 2.0

    w = tg.widget(f, a=1.0)
    w.values = {"a": 6.0}
    assert w.error == "ValueError: a is at most 5" == w._answer["error"]
    w.values = {"a": 2.0}
    assert w.error == ""


@pytest.mark.parametrize(
    "values, told",
    [
        ({"a": 1.0}, "values has a number for each of a, b"),
        ({"a": 1.0, "b": 1.0, "c": 1.0}, "values has a number for each of a, b"),
        ({"a": 1.0, "b": math.nan}, "widget: b is a finite number, not nan"),
        ({"a": "x", "b": 1.0}, "widget: a is a finite number, not 'x'"),
    ],
)
def test_values_that_are_none_are_refused(traits, values, told):
    w = tg.widget(expression, a=2.0, b=-3.0)
    with pytest.raises(traits.TraitError, match=told):
        w.values = values
    assert w.values == {"a": 2.0, "b": -3.0}


@pytest.mark.usefixtures("traits")
def test_what_is_no_function_of_values_is_refused():
    with pytest.raises(TypeError, match="widget: f returned 3, not a Value: compute it from its arguments"):
        tg.widget(lambda a: 3, a=1.0)
    with pytest.raises(TypeError, match="widget: a is a finite number, not 'x'"):
        tg.widget(lambda a: a, a="x")
    with pytest.raises(TypeError, match=r"widget takes a number for each argument of f: widget\(f, a=2.0"):
        tg.widget(lambda: tg.Value(1.0))


def test_without_anywidget_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "anywidget", None)
    monkeypatch.setattr(module, "_widget_class", module._widget_class.__wrapped__)
    with pytest.raises(
        MissingExtraError, match=r"a widget needs anywidget, .*pip install 'tinygrad_bp\[widget\]'"
    ):
        tg.widget(expression, a=1.0, b=1.0)


# --- in notebooks -------------------------------------------------------------------------------------------

CELLS = [
    "import tinygrad_bp as tg\nw = tg.widget(lambda a, b: (a * b + a).tanh(), a=0.5, b=-3.0)",
    "w",
    "from pathlib import Path\n"
    'w.observe(lambda change: Path("values.txt").write_text(str(change["new"])), "values")',
]


def serve_marimo(folder, port):
    cells = CELLS.copy()
    cells[0] = cells[0].replace("import tinygrad_bp", "import marimo as mo\nimport tinygrad_bp")
    bodies = [
        "def _():\n    " + cells[0].replace("\n", "\n    ") + "\n    return mo, tg, w",
        "def _(mo, w):\n    mo.ui.anywidget(w)\n    return",
        "def _(w):\n    " + cells[2].replace("\n", "\n    ") + "\n    return",
    ]
    text = "import marimo\napp = marimo.App()\n" + "".join(f"\n@app.cell\n{body}\n" for body in bodies)
    (folder / "page.py").write_text(text + '\nif __name__ == "__main__":\n    app.run()\n')
    command = ["marimo", "run", "page.py", "--headless", "--port", str(port), "--no-token"]
    return command, f"http://127.0.0.1:{port}/"


def serve_jupyterlab(folder, port):
    cells = [
        {
            "cell_type": "code",
            "id": f"c{i}",
            "metadata": {},
            "outputs": [],
            "execution_count": None,
            "source": text,
        }
        for i, text in enumerate(CELLS)
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    notebook = {"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
    (folder / "page.ipynb").write_text(json.dumps(notebook))
    command = ["jupyterlab", "--no-browser", f"--port={port}", "--ServerApp.port_retries=0", "--allow-root"]
    command += ["--IdentityProvider.token=", f"--notebook-dir={folder}"]
    return command, f"http://127.0.0.1:{port}/lab/tree/page.ipynb"


@pytest.mark.parametrize(
    "package, serve",
    [
        ("marimo", serve_marimo),
        pytest.param("jupyterlab", serve_jupyterlab, marks=pytest.mark.slow),
    ],
)
def test_a_notebook_shares_its_numbers_with_the_page(browser, traits, tmp_path, package, serve):
    if not find_spec(package):
        refuse(f"no {package} found")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command, address = serve(tmp_path, port)
    with (tmp_path / "log.txt").open("w") as log:
        server = subprocess.Popen([sys.executable, "-m", *command], cwd=tmp_path, stdout=log, stderr=log)
    try:
        until(lambda: answers(address), 90)
        tab = browser.new_page()
        tab.goto(address)
        if package == "jupyterlab":
            tab.get_by_text("| Idle").wait_for(timeout=60_000)  # the kernel is there
            tab.locator(".lm-MenuBar-itemLabel:text-is('Run')").click()
            tab.locator(".lm-Menu-itemLabel:text-is('Run All Cells')").click()
        frame = tab.frame_locator("iframe[title=stepper]")
        frame.locator("#on").wait_for(timeout=90_000)
        frame.locator('.node:has(.name:text-is("a"))').click()
        frame.locator("#leaf").fill("0.25")
        frame.locator("#leaf").press("Enter")
        seen = tmp_path / "values.txt"
        until(lambda: seen.is_file() and "'a': 0.25" in seen.read_text(), 60)
        assert "'b': -3" in seen.read_text()
        until(lambda: not frame.locator("#live").is_visible(), 30)  # Python's numbers are there
        frame.locator("#last").click()
        assert frame.locator(".node .value").last.text_content() == "−0.4621"
        tab.close()
    finally:
        server.terminate()
        server.wait(30)


def answers(address):
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def until(condition, seconds):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{seconds} seconds have passed"
        time.sleep(0.2)
