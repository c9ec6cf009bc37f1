"""Formulas that somebody typed: what they mean, what is refused, and that no text runs code.

`HOSTILE=100000 pytest -m slow tests/core/test_formula.py` draws that many texts; a failure prints the seed.
"""

import ast
import math
import os
import sys

import pytest
from support.hostile import hostile

import tinygrad_bp as tg
from tinygrad_bp.formula import KNOWN, MOST_CHARACTERS, Formula, FormulaError, parse
from tinygrad_bp.ops import OPS


@pytest.mark.parametrize(
    "text, numbers, expected",
    [
        ("tanh(w*x + b)", (0.5, 2.0, -0.5), math.tanh(0.5)),
        ("-x**2", (3.0,), -9.0),
        ("2**-x", (1.0,), 0.5),
        ("x**y**2", (2.0, 3.0), 512.0),
        ("a - b - c", (1.0, 2.0, 3.0), -4.0),
        ("a / b / c", (8.0, 2.0, 2.0), 2.0),
        ("x % 3", (-1.0,), 2.0),
        ("+x", (1.5,), 1.5),
        ("leaky_relu(x, 0.5)", (-2.0,), -1.0),
        ("leaky_relu(x, slope=0.5)", (-2.0,), -1.0),
        ("sum(x, y, 1)", (1.0, 2.0), 4.0),
        ("where(gt(x, 0), log(x), 0)", (-1.0,), 0.0),
        ("x*0x10 + 1_000", (1.0,), 1016.0),
        (" x ", (7.0,), 7.0),
    ],
)
def test_a_formula_means_what_python_means(text, numbers, expected):
    formula = parse(text)
    assert formula(*numbers).data == expected
    assert formula(**dict(zip(formula.names, numbers))).data == expected


def test_a_constant_exponent_has_no_gradient_of_its_own():
    assert parse("x**2")(3.0).op.name == "powc"
    assert parse("x**y")(3.0, 2.0).op.name == "pow"


def test_numbers_become_floats_before_any_arithmetic():
    assert parse("9**9**9**9").names == ()
    assert parse("9**9**9**9")().data == math.inf
    assert parse("1e308 * 10 - 1e400")().data != 0.0  # nan
    assert math.isnan(parse("0/0")().data)


def test_a_formula_can_be_differentiated_and_checked():
    formula = parse("x*y + sin(x)")
    assert tg.grad(formula)(0.0, 3.0) == (4.0, 0.0)
    assert "x " in repr(tg.gradcheck(formula, 0.5, 2.0))


PLACE = r"a formula has numbers, names, \+ - \* / \*\* %, parentheses, and operations such as exp\(x\)"


@pytest.mark.parametrize(
    "text, message",
    [
        ("", r"the formula is empty: write one such as 'tanh\(w\*x \+ b\)'"),
        ("   ", "the formula is empty"),
        ("x.real", rf"'\.' at character 2: {PLACE}"),
        ("x < y", rf"'<' at character 3: {PLACE}"),
        ("x if y else z", rf"IfExp at character 1: {PLACE}"),
        ("lambda: 1", rf"':' at character 7: {PLACE}"),
        ("'text'", f'"\'" at character 1: {PLACE}'),
        ("[x]", rf"'\[' at character 1: {PLACE}"),
        ("x, y", rf"',' at character 1: {PLACE}"),
        ("True", rf"True at character 1: {PLACE}"),
        ("__import__", rf"'__import__' at character 1: {PLACE}"),
        ("1j", rf"1j at character 1: {PLACE}"),
        ("x\n+ 1", rf"'\\n' at character 2: {PLACE}"),
        ("x\x00", rf"'\\x00' at character 2: {PLACE}"),
        ("2(x)", "a call of that at character 1"),
        ("exp(*x)", rf"'\*' at character 5: {PLACE}"),
        ("clip(x, **y)", rf"\*\* at character 1: {PLACE}"),
        ("9" * 500, "a number beyond 1.8e308 at character 1"),
        ("x +", "this is not a formula"),
        ("x y", "this is not a formula"),
        ("f(x)", r"at character 1: there is no operation 'f': write f\*\( \.\.\. \) for a product"),
        ("1 + tanhh(x)", r"at character 5: there is no operation 'tanhh': did you mean tanh\?"),
        ("exp(x, y)", r"at character 1: exp is written exp\(x\)"),
        ("clip(x)", r"clip needs its constant: clip\(\.\.\., low=0\.1\)"),
        ("leaky_relu(x, 1, 2)", r"leaky_relu is written leaky_relu\(x, slope=\.\.\.\)"),
        ("leaky_relu(x, slope=y)", "at character 21: the constants of leaky_relu are numbers, without names"),
        ("leaky_relu(x, steep=1)", r"leaky_relu\(steep=\.\.\.\) at character 1"),
        ("sum()", "sum takes numbers or names, one or more"),
        ("pow_x(2, 2, 1000000000)", "there is no operation 'pow_x'"),
        ("(" * 51 + "x" + ")" * 51, "at character 51, it is nested deeper than 50, the limit"),
        ("-" * 51 + "x", "at character 51, it is nested deeper than 50, the limit"),
        ("x" + "**x" * 60, "nested deeper than 50, the limit"),
        ("x" * (MOST_CHARACTERS + 1), "the formula has 2,001 characters; 2,000 are the limit"),
        (b"x", r"a formula is text, such as 'tanh\(w\*x \+ b\)', not bytes"),
    ],
)
def test_anything_else_is_refused_with_its_place(text, message):
    with pytest.raises(FormulaError, match=message):
        parse(text)


def test_a_long_sum_is_a_formula():
    text = "x" + " + x" * 499
    assert parse(text)(1.0).data == 500.0


def test_a_missing_or_unknown_name_is_said():
    formula = parse("w*x")
    with pytest.raises(TypeError, match=r"give a number to x: x=1\.0"):
        formula(2.0)
    with pytest.raises(TypeError, match=r"'y' is not in w\*x: its names are w, x"):
        formula(1.0, 2.0, y=1.0)
    with pytest.raises(TypeError, match="has 2 names, got 3 numbers"):
        formula(1.0, 2.0, 3.0)


def test_every_operation_but_those_that_loop_can_be_written():
    assert set(OPS) >= KNOWN
    for name in KNOWN:
        row = OPS[name]
        operands = ["x", "y", "z"][: row.operands or 2]
        text = f"{name}({', '.join([*operands, *['0.5'] * len(row.constants)])})"
        assert isinstance(parse(text)(*[0.25] * len(operands)).data, float), text


# --- hostile texts ------------------------------------------------------------------------------------------


def run_hostile(seeds):
    allowed, refused = set(), 0
    events = []

    def watch(event, _):
        if watching and event not in ("compile", "builtins.id"):
            events.append(event)

    watching = False
    sys.addaudithook(watch)
    for seed in seeds:
        text = hostile(seed)
        watching = True
        try:
            formula = parse(text)
            assert isinstance(formula, Formula)
            formula(*[0.5] * len(formula.names))
            allowed.add(text)
        except FormulaError as error:
            refused += 1
            assert str(error), seed
        finally:
            watching = False
    assert not events, "a formula opened, imported or ran something"
    assert allowed and refused
    for text in allowed:
        assert not any(isinstance(node, ast.Attribute) for node in ast.walk(ast.parse(text.strip()))), text


def test_hostile_texts_are_formulas_or_refused_and_run_nothing():
    run_hostile(range(5_000))


@pytest.mark.slow
def test_many_hostile_texts():
    run_hostile(range(5_000, 5_000 + int(os.environ.get("HOSTILE", "100000"))))
