"""The command line: what each command prints or writes, its exit code, and one line for each mistake."""

import json
import os
import shlex
import subprocess
import sys

import pytest

import tinygrad_bp as tg
from tinygrad_bp.cli import COMMANDS, EXAMPLES, main


def run(capsys, line, *more):
    code = main([*line.split(), *more] if more else line.split())
    out, err = capsys.readouterr()
    return code, out, err


def test_explain_prints_the_chain_rule_in_three_forms(capsys):
    numbers = ["w=0.5", "x=2", "b=-1", "--wrt", "w"]
    code, text, err = run(capsys, "explain", "tanh(w*x + b)", *numbers)
    assert (code, err) == (0, "")
    assert text.startswith("∂L/∂w = 2, at L = 0 and w = 0.5.") and "sech²(0) · 1 · 2" in text
    assert r"\begin{aligned}" in run(capsys, "explain", "tanh(w*x + b)", *numbers, "--latex")[1]
    assert "$$" in run(capsys, "explain", "tanh(w*x + b)", *numbers, "--markdown")[1]


def test_draw_and_step_write_the_file_they_name(capsys, tmp_path):
    svg, page = tmp_path / "graph.svg", tmp_path / "page.html"
    assert run(capsys, f"draw a*b a=2 b=-3 -o {svg}") == (0, f"drawing: {svg}\n", "")
    assert "<svg" in svg.read_text(encoding="utf-8")
    assert run(capsys, f"step a*b+a a=2 b=-3 -o {page}") == (0, f"page: {page}\n", "")
    assert "<html" in page.read_text(encoding="utf-8")


def test_check_ends_with_1_where_a_gradient_is_wrong(capsys, monkeypatch):
    code, text, _ = run(capsys, "check log(x)*sin(y) x=2 y=3")
    assert code == 0 and "right" in text and "x " in text
    row = tg.sin
    monkeypatch.setattr(row, "slopes", lambda o, x: (2.0,))
    code, text, _ = run(capsys, "check sin(y) y=3")
    assert code == 1 and "WRONG" in text


def test_grad_prints_all_derivatives_up_to_an_order(capsys):
    code, text, _ = run(capsys, "grad", "x**y", "x=2", "y=3", "--order", "2", "--json")
    found = json.loads(text)
    assert code == 0 and found["value"] == 8.0 and found["formula"] == "x**y"
    assert [*found][2:] == ["∂/∂x", "∂/∂y", "∂²/∂x∂x", "∂²/∂x∂y", "∂²/∂y∂y"]
    assert found["∂²/∂x∂x"] == 12.0
    assert run(capsys, "grad", "x**3", "x=2", "--order", "3")[1].splitlines()[-1].split() == [
        "∂³/∂x∂x∂x",
        "6.0",
    ]
    assert json.loads(run(capsys, "grad log(x) x=0 --json")[1])["value"] == "-inf"


def test_a_formula_may_begin_with_a_minus(capsys):
    assert json.loads(run(capsys, "grad -x**2 x=2 --json")[1]) == {
        "formula": "-x**2", "value": -4.0, "∂/∂x": -4.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    "kind, sign", [("python", "def "), ("matrix", "def value_and_grad"), ("llvm", "define ")]
)
def test_compile_prints_code(capsys, kind, sign):
    code, text, err = run(capsys, "compile", "tanh(w*x + b)", "--emit", kind)
    assert (code, err) == (0, "") and sign in text


def test_demo_lists_and_runs_the_demos(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", sys.argv)
    monkeypatch.setattr(sys, "path", [*sys.path])
    names = run(capsys, "demo")[1].split()
    assert {"moons", "fit_quadratic", "draw_neuron"} <= {*names} and "shared" not in names
    path = tmp_path / "neuron.svg"
    code, _, err = run(capsys, f"demo draw_neuron --output {path}")
    assert (code, err) == (0, "") and path.is_file()
    assert run(capsys, "demo chess")[2].startswith("tinygrad-bp: there is no demo 'chess': there are ")


def test_info_names_the_extras_and_the_demos(capsys):
    code, text, _ = run(capsys, "info")
    assert code == 0 and text.startswith(f"tinygrad_bp {tg.__version__} on Python ")
    assert "fast       machine code" in text and "  moons\n" in text


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_names_every_command(capsys, shell):
    text = run(capsys, f"completion {shell}")[1]
    assert all(name in text for name in COMMANDS)


@pytest.mark.parametrize(
    "line, message",
    [
        ("grad w*x w=1", "give a number to x: x=1.0"),
        ("grad w*x w=1 x=2 y=3", "'y' is not in w*x: its names are w, x"),
        ("grad w*x w=one x=2", "'w=one' is not a name and its number: write it as w=0.5"),
        ("grad w*x w x=2", "'w' is not a name and its number: write it as w=0.5"),
        ("grad 2*3", "2*3 has no names: write one for a number that may change, as in w*2"),
        ("check 2*3", "2*3 has no names: there is no gradient to check"),
        ("compile 2*3", "2*3 has no names: there is nothing to compile"),
        ("grad x x=1 --order 0", "--order is a whole number from 1 up, not 0"),
        (
            "grad x*y*z x=1 y=1 z=1 --order 50",
            "order 50 of 3 names has 23,426 derivatives; 1,000 are the limit",
        ),
        ("explain x*2 x=1 --wrt y", "--wrt: 'y' is not in the formula: its names are x"),
        ("grad x.real x=1", "'.' at character 2: a formula has numbers, names"),
        ("draw x*2 x=1 -o missing/folder/graph.svg", "missing/folder"),
        ("draw x*2 x=1 -o graph.doc", "a drawing is saved as svg, dot, png, pdf, not as 'doc'"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(capsys, tmp_path, monkeypatch, line, message):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, line)
    assert (code, out) == (2, "")
    assert err.startswith("tinygrad-bp: ") and message in err and err.count("\n") == 1
    assert not [*tmp_path.iterdir()]


def test_ctrl_c_ends_with_130(capsys, monkeypatch):
    def interrupted(options):
        raise KeyboardInterrupt

    monkeypatch.setitem(COMMANDS, "info", interrupted)
    assert run(capsys, "info") == (130, "", "tinygrad-bp: interrupted\n")


def test_as_a_program():
    """`python -m tinygrad_bp` ends with the command's exit code, also where a pipe closes early."""
    command = [sys.executable, "-m", "tinygrad_bp"]
    for words, code in [(["--help"], 0), (["grad", "x", "x=1"], 0), (["grad", "x"], 2), ([], 2)]:
        ran = subprocess.run([*command, *words], capture_output=True, text=True)
        assert ran.returncode == code and "Traceback" not in ran.stderr
    reader, writer = os.pipe()
    os.close(reader)
    ran = subprocess.run([*command, "compile", "x*y"], stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize(
    "line", [x.strip() for x in EXAMPLES.splitlines()[1:] if x and not {"demo", "play"} & {*x.split()}]
)
def test_the_examples_of_the_help_work(capsys, tmp_path, monkeypatch, line):
    monkeypatch.chdir(tmp_path)
    assert main(shlex.split(line)[1:]) == 0
