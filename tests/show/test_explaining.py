"""explain: the chain rule written out on the user's own graph.

The products along all paths are the engine's gradient, on random programs too; every piece of LaTeX is
typeset; what cannot be explained is refused.
"""

import logging
import math
import os
import random
import re
import subprocess
import sys

import pytest
from hypothesis import given, settings, strategies as st
from support.graphs import leaves, lecture
from support.programs import random_program, run
from support.typeset import MATH, assert_typeset

import tinygrad_bp as tg
from tinygrad_bp import Value
from tinygrad_bp.floats import NO_GRAD
from tinygrad_bp.ops import OPS, TABLE
from tinygrad_bp.show.symbols import Symbol, formula, partials

# --- paths --------------------------------------------------------------------------------------------------


def test_the_lecture_example_is_derived():
    loss, a, *_ = lecture()
    assert tg.explain(loss, a).text == (
        "∂L/∂a = 6, at L = -8 and a = 2.\n\n"
        "    e = a·b = 2·(-3) = -6\n"
        "    d = e + c = -6 + 10 = 4\n"
        "    L = d·f = 4·(-2) = -8\n\n"
        "One path leads from a to L. The local partials along it are multiplied.\n\n"
        "a → e → d → L\n\n"
        "    ∂L/∂d · ∂d/∂e · ∂e/∂a = f · 1 · b\n"
        "                          = (-2) · 1 · (-3)\n"
        "                          = 6\n\n"
        "The engine has ∂L/∂a = 6.0."
    )


def test_paths_are_summed():
    (x,) = leaves(x=3.0)
    found = tg.explain(x * x + x, x)
    assert found.contributions == [3.0, 3.0, 1.0]  # x·x uses x twice
    assert "3 paths lead from x to L." in found.text
    assert "    ∂L/∂x = 3 + 3 + 1\n          = 7\n" in found.text
    assert found.gradient == 7.0


def test_numbers_are_put_in_before_they_are_worked_out():
    (x,) = leaves(x=0.5)
    text = tg.explain(x.tanh() * 3.0, x).text
    assert "= 3 · sech²(x)\n" in text
    assert "= 3 · sech²(0.5)\n" in text
    assert "= 3 · 0.786448\n" in text
    assert "= 2.35934\n" in text


def test_markdown_and_latex_say_the_same():
    loss, a, *_ = lecture()
    found = tg.explain(loss, a)
    line = (
        r"\frac{\partial L}{\partial d} \cdot \frac{\partial d}{\partial e} \cdot "
        r"\frac{\partial e}{\partial a} &= f \cdot 1 \cdot b"
    )
    assert line in found.markdown
    assert line in found.latex
    assert r"$a \to e \to d \to L$" in found.markdown
    assert found.latex.isascii()
    assert "$$\n\\begin{aligned}\n" in found.markdown
    assert "\\[\n\\begin{aligned}\n" in found.latex
    assert_typeset(found)


def test_a_notebook_gets_text_and_markdown():
    loss, a, *_ = lecture()
    found = tg.explain(loss, a)
    assert found._repr_mimebundle_() == {"text/plain": found.text, "text/markdown": found.markdown}
    assert str(found) == repr(found) == found.text


def test_any_node_can_be_asked_for():
    loss, *_ = lecture()
    assert "d → L\n\n    ∂L/∂d = f\n          = -2" in tg.explain(loss, loss.inputs[0]).text
    seed = tg.explain(loss, loss)
    assert seed.text == "∂L/∂L = 1, at L = -8 and L = -8. This is the seed of the sweep."
    assert (seed.gradient, seed.contributions) == (1.0, [1.0])
    (x,) = leaves(x=3.0)
    assert tg.explain(x, x).gradient == 1.0


def test_nodes_without_a_label_are_named():
    w = Value(2.0)
    text = tg.explain((w * 3.0 + 1.0) ** 2, w).text
    assert text.startswith("∂L/∂w = 42, at L = 49 and w = 2.")
    assert "v1 = w·3 = 2·3 = 6\n" in text  # a constant is its number
    assert "L = v2² = 7² = 49" in text
    first, second, w = leaves(v1=2.0, L=3.0, w=4.0)
    text = tg.explain(first * w + second, w).text
    assert "w → v2 → v3" in text  # the names that are taken are left alone


def test_a_label_that_two_nodes_share_gets_a_prime():
    a, b = Value(2.0, label="x"), Value(3.0, label="x")
    text = tg.explain(a * b, b).text
    assert "L = x·x′ = 2·3 = 6" in text
    assert "∂L/∂x′ = x" in text


def test_parameters_are_called_as_in_the_equations_of_their_layer():
    model = tg.MLP(1, [2, 1], rng=random.Random(0))
    found = tg.explain(model([1.0]), model.layers[0].neurons[1].w[0])
    assert "w⁽¹⁾₂₁ = 0.515909, which is layers.0.neurons.1.w.0." in found.text
    assert "w^{(1)}_{21}" in found.latex
    assert_typeset(found)


def test_no_grad_is_touched():
    loss, *inputs = lecture()
    for v in inputs:
        tg.explain(loss, v)
    assert all(v.grad is NO_GRAD for v in (loss, *loss.inputs, *inputs))
    loss.backward()
    before = [v.grad for v in inputs]
    tg.explain(loss, inputs[0])
    assert [v.grad for v in inputs] == before


# --- edges that let nothing through -------------------------------------------------------------------------


def test_a_relu_at_rest_is_said_to_be():
    (x,) = leaves(x=-2.0)
    found = tg.explain(x.relu() * 3.0 + x, x)
    assert "relu is at rest at x = -2: this path gives 0." in found.text
    assert found.contributions == [0.0, 1.0]
    alone = tg.explain(tg.relu(x * 2.0), x)
    assert (alone.gradient, alone.contributions) == (0.0, [0.0])
    assert "The engine has ∂L/∂x = 0.0." in alone.text


def test_a_branch_that_is_not_selected():
    x, y = leaves(x=1.0, y=2.0)
    assert "max does not select x: this path gives 0." in tg.explain(tg.max(x, y), x).text
    found = tg.explain(tg.where(tg.gt(x, 0.0), y, tg.log(x - x)), x)  # 0 · inf is cut, and not nan
    assert found.contributions == [0.0, 0.0, 0.0]
    assert found.gradient == 0.0


def test_an_operation_without_a_slope_ends_the_path():
    (x,) = leaves(x=1.5)
    text = tg.explain(tg.floor(x) * x, x).text
    assert "floor has no slope anywhere: this path ends at v1 and gives 0." in text


def test_of_many_paths_those_that_are_cut_are_not_multiplied_out():
    (x,) = leaves(x=-1.0)
    found = tg.explain(tg.sum([tg.relu(x * float(i)) for i in range(1, 7)]) + x, x)
    assert found.contributions == [0.0] * 6 + [1.0]
    assert found.text.count("relu is at rest") == 6
    assert found.text.count("[v2 > 0]") == 0


# --- many paths ---------------------------------------------------------------------------------------------


def doubled(x, times):
    y = x
    for _ in range(times):
        y = y + y * x
    return y


def test_more_than_50_paths_are_a_table():
    (x,) = leaves(x=1.0)
    found = tg.explain(doubled(x, 8), x)  # x (1 + x)^8, by x: 2^8 + 8·2^7
    assert "511 paths lead from x to L. Summed up by the nodes that use x" in found.text
    assert found.gradient == 2.0**8 + 8 * 2.0**7 == sum(found.contributions)
    rows = [line.split() for line in found.text.splitlines() if line.startswith("    v")]
    assert rows[0] == ["via", "upstream", "local", "partial", "contribution"]
    for _, upstream, partial, contribution in rows[1:]:
        assert float(upstream) * float(partial) == float(contribution)
    assert found.text.split("Σ")[1].split()[0] == "1280"
    assert r"| $\Sigma$ |  |  | $1280$ |" in found.markdown
    assert r"\begin{tabular}{lrrr}" in found.latex
    assert_typeset(found)


def test_50_paths_are_written_and_51_are_not():
    (x,) = leaves(x=1.0)
    assert "(50) x → " in tg.explain(tg.sum([x] * 50), x).text
    table = tg.explain(tg.sum([x] * 51), x)
    assert "51 paths lead from x to L. Summed up" in table.text
    assert re.search(r"1 more +1\n +Σ +51\n", table.text)


def test_paths_beyond_counting():
    (x,) = leaves(x=1.0)
    y = x
    for _ in range(2000):
        y = (y + y) * 0.5
    found = tg.explain(y, x)
    assert "More than 1,000,000 paths lead from x to L." in found.text
    assert found.gradient == 1.0


def test_a_long_chain_is_abridged():
    """Also: nothing recurses."""
    (x,) = leaves(x=1.0)
    y = x
    for _ in range(100_000):
        y = y + 1.0
    text = tg.explain(y, x).text
    assert "x → v1 → v2 → " in text
    assert "… 99,991 more … → L" in text
    assert len(text) < 2000


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("n", range(1, 4))
def test_a_dot_is_written_as_the_engine_adds_it(n, bias):
    """Each weight times its own input, and the bias once."""
    names = [*[f"w.{i}" for i in range(n)], *[f"x.{i}" for i in range(n)], *["b"] * bias]
    values = [Value(1.5 + 2.0**i, label=name) for i, name in enumerate(names)]
    out = tg.dot(values[:n], values[n : 2 * n], values[2 * n :][0] if bias else None)
    (line,) = re.findall(r"L = (.*?) = (.*?) = (.*)", tg.explain(out, values[0]).text)
    assert line[0] == " + ".join([f"w{s}·x{s}" for s in "₀₁₂"[:n]] + ["b"] * bias)
    assert eval(line[1].replace("·", "*")) == float(line[2]) == out.data


def test_a_wide_dot_is_abridged():
    ws = [Value(float(i), label=f"w.{i}") for i in range(1000)]
    text = tg.explain(tg.dot(ws, [1.0] * 1000), ws[7]).text
    assert "L = w₀·1 + w₁·1 + w₂·1 + w₃·1 + … + w₉₉₉·1 = " in text


# --- against the engine -------------------------------------------------------------------------------------


def graph_of(seed):
    program = random_program(seed)
    inputs = [Value(x, label=f"x{i}") for i, x in enumerate(program.inputs)]
    nodes = run(program, inputs, lambda name, operands, constants: OPS[name](*operands, *constants))
    return nodes[-1], inputs


def count_paths(v, x, known):
    """By recursion: the programs are short."""
    if v is x:
        return 1
    if v not in known:
        known[v] = sum(count_paths(y, x, known) for y in v.inputs)
    return known[v]


@given(st.integers(0, 10**6))
@settings(max_examples=40)
def test_the_paths_add_up_to_the_gradient(seed):
    loss, inputs = graph_of(seed)
    loss.backward()
    for x in inputs:
        paths = count_paths(loss, x, {})
        if not paths:
            with pytest.raises(tg.GraphError, match="is not in the graph"):
                tg.explain(loss, x)
            continue
        found = tg.explain(loss, x)
        scale = math.fsum(map(abs, found.contributions))
        assert math.isclose(math.fsum(found.contributions), x.grad, rel_tol=0.0, abs_tol=1e-9 * scale)
        assert found.gradient == x.grad
        assert f"The engine has ∂L/∂{x.label} = {x.grad!r}" in found.text
        if paths <= 50:
            assert len(found.contributions) == paths


@given(st.integers(0, 10**6))
@settings(max_examples=8)
def test_what_is_written_is_typeset(seed):
    loss, _ = graph_of(seed)
    for x in [*(x for v in loss.inputs for x in v.inputs), *loss.inputs]:
        found = tg.explain(loss, x)
        if len(found.contributions) < 5:  # it takes its time
            assert_typeset(found)
            break


def test_where_rounding_differs_it_is_said():
    (x,) = leaves(x=0.1)
    a = x * 0.3
    found = tg.explain((a * 3.0 + a * 0.7 + a * 0.3) * 0.1, x)
    assert sum(found.contributions) != found.gradient
    assert f"and the terms above add up to {sum(found.contributions)!r}: it adds before" in found.text
    assert "and rounds elsewhere." in found.text


def test_where_the_terms_leave_the_floats_it_is_said():
    (x,) = leaves(x=1.0)
    a = x * 1e200
    found = tg.explain(tg.exp((a * 1e200 - a * 1e200) * 0.0), x)
    assert "The engine has ∂L/∂x = nan." in found.text


# --- what is refused ----------------------------------------------------------------------------------------


def test_a_stale_graph():
    loss, a, *_ = lecture()
    a.data = 5.0
    with pytest.raises(tg.StaleGraphError, match=r"the leaf 5.0 \(label 'a'\) was set after 'mul' had used"):
        tg.explain(loss, a)
    model = tg.MLP(1, [1], rng=random.Random(0))
    loss = model([1.0])
    model.layers[0].neurons[0].w[0].data = 3.0
    with pytest.raises(tg.StaleGraphError, match=r"layers.0.neurons.0.w.0"):
        tg.explain(loss, model)


def test_a_value_that_is_not_in_the_graph():
    loss, a, *_ = lecture()
    with pytest.raises(tg.GraphError, match=r"7.0 \(label 'q'\) is not in the graph of -8.0 \(label 'L'\)"):
        tg.explain(loss, Value(7.0, label="q"))
    with pytest.raises(tg.GraphError, match="from before an update"):
        tg.explain(a, Value(7.0))
    with pytest.raises(tg.GraphError, match="it is the other way round; the loss comes first"):
        tg.explain(a, loss)
    with pytest.raises(TypeError, match=r"the loss first: explain\(loss, model\)"):
        tg.explain(tg.MLP(1, [1]), loss)


@pytest.mark.parametrize("wrong", [2.0, "a", None, [1.0]])
def test_what_is_no_value(wrong):
    loss, a, *_ = lecture()
    with pytest.raises(TypeError, match="explain takes the Value a graph ends in, not"):
        tg.explain(wrong, a)
    with pytest.raises(TypeError, match="is asked for, which is neither a Value nor a model: take one Value"):
        tg.explain(loss, wrong)


# --- labels and operations of the user ----------------------------------------------------------------------

HOSTILE = [
    "</script><img onerror=…>",
    r"\frac{a",
    "a_b^c",
    "50 % & $x$ #1",
    "{",
    "x|y",
    "`*~`",
    '"',
    "\n\t",
    "ü",
    "θ",
]


@pytest.mark.parametrize("label", HOSTILE)
def test_labels_stay_letters(label):
    x = Value(2.0, label=label)
    found = tg.explain(x**2, x)
    assert found.gradient == 4.0
    assert_typeset(found)
    math_of_label = found.latex.split(r"\partial L}{\partial ")[1].split("}")[0]
    assert not set(math_of_label) & set('<>|`*"\n\t#&^~')


@given(st.text(max_size=12))
@settings(max_examples=60)
def test_any_label_is_typeset(label):
    """Fonts that have no such letter are told to the log."""
    logging.disable(logging.WARNING)
    x = Value(2.0, label=label)
    try:
        assert_typeset(tg.explain(x * 3.0, x))
    finally:
        logging.disable(logging.NOTSET)


def test_an_operation_of_the_user():
    cube = tg.op("cube_of_the_test", lambda x: x**3, lambda o, x: (3.0 * x * x,))
    opaque = tg.op("opaque_of_the_test", lambda x: math.sin(x), lambda o, x: (math.cos(x),))
    branch = tg.op("branch_of_the_test", abs, lambda o, x: (1.0 if x > 0 else -1.0,))
    try:
        (x,) = leaves(x=2.0)
        found = tg.explain(cube(x), x)
        assert "L = cube_of_the_test(x)" in found.text
        assert "∂L/∂x = 3·x·x\n" in found.text
        assert_typeset(found)
        for op, slope in ((opaque, math.cos(2.0)), (branch, 1.0)):  # rules that only numbers can read
            found = tg.explain(op(x), x)
            assert found.gradient == slope
            assert f"∂L/∂x = {slope:.6g}" in found.text
            assert_typeset(found)
    finally:
        for name in ("cube_of_the_test", "opaque_of_the_test", "branch_of_the_test"):
            OPS.pop(name)


# --- every row on symbols -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(TABLE))
def test_every_rule_is_read_on_symbols(name):
    row = OPS[name]
    row = row.at(*[3.0 if c is None else c for c in row.constants.values()])
    for symbols in (
        [Symbol.named(letter) for letter in "xyzw"],
        [Symbol.shown(number) for number in (-2.5, 3.0, 1e-7, -0.1)],
    ):
        xs = symbols[: row.operands or 4]
        slopes = partials(row, Symbol.named("o"), xs)
        assert len(slopes) == len(xs)
        for symbol in (formula(row, xs), *slopes):
            MATH.parse(f"${symbol.tex}$")
            assert "\\" not in symbol.text
            assert symbol.text.count("(") == symbol.text.count(")")


PRINTING = """
import tinygrad_bp as tg
from tinygrad_bp import MLP, Value
import random
a, b = Value(2.0, label="a₁"), Value(-3.0, label="Straße 🙂")
print(tg.explain((a * b).tanh() ** 2, a))
model = MLP(9, [8, 1], act="sigmoid", rng=random.Random(0))
print(tg.explain((model([0.5] * 9) - 1.0) ** 2, model))
print([tg.explain(a * b, b)])
"""


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_it_can_be_printed_on_every_stream(encoding):
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    ran = subprocess.run([sys.executable, "-c", PRINTING], capture_output=True, env=environment)
    assert (ran.returncode, ran.stderr) == (0, b"")
    text = ran.stdout.decode(encoding)
    assert ("∂L/∂a" in text) == (encoding == "utf-8")
    assert ("dL/da_1" in text) == (encoding != "utf-8")
    for lines in re.findall(r"(?:\[.*\]\n *)+\[.*\]", text):  # matrices stay in shape
        widths = {len(row) for row in re.findall(r"\[[^\[\]]*\]", lines)}
        assert len(widths) <= 3, lines


def test_no_control_character_and_no_endless_label_reaches_a_terminal():
    a, b = Value(2.0, label="\x1b[31mred\x07\0"), Value(3.0, label="x" * 1_000_000)
    explanation = tg.explain(a * b, a)
    for text in (explanation.text, explanation.markdown, explanation.latex):
        assert len(text) < 3000
        assert not [c for c in text if ord(c) < 32 and c != "\n"]
    assert r"\u001b[31mred" in explanation.text


def test_how_formulas_are_bracketed():
    x, y = Symbol.named("x"), Symbol.named("y")
    assert str((x + y) * (x - y)) == "(x + y)·(x - y)"
    assert str(x - (y - x)) == "x - (y - x)"
    assert str(-(x + y) / y) == "(-(x + y))/y"
    assert str(tg.powc(x * y, 2.0)) == "(x·y)²"
    assert (tg.powc(tg.tanh(x), -0.5)).tex == r"(\tanh(x))^{-0.5}"
    assert str(tg.exp(-x)) == "e^(-x)"
    assert str(tg.log(x + 0.0) * 1.0) == "ln(x)"
    assert str(2.0 * Symbol.shown(-3.0)) == "2·(-3)"


def test_powers_are_differentiated_as_one_writes_it():
    x, y = Symbol.named("x"), Symbol.named("y")
    slope = tg.powc_x(x, 5.0)
    assert (str(slope), str(tg.powc_x(x, 5.0, 2.0)), str(tg.powc_x(x, 2.0, 2.0))) == ("5·x⁴", "20·x³", "2")
    assert str(partials(OPS["powc_x"].at(5.0, 1.0), slope, [x])[0]) == "20·x³"
    assert str(tg.pow_x(x, y)) == "y·x^(y - 1)"


def test_a_symbol_decides_nothing():
    x = Symbol.named("x")
    for question in (lambda: x > 0, lambda: x == x, lambda: bool(x)):
        with pytest.raises(TypeError, match="a rule may not branch on a symbol"):
            question()
