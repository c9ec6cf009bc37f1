"""The strategies: what they draw is what they say, and it shrinks to the smallest thing that is wrong.

Whether hypothesis knows how to draw a Value is asked in processes of their own, in both orders of importing,
since it depends on the entry point of the installed package.
"""

import importlib.metadata
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings, strategies as st
from hypothesis.errors import NoSuchExample

import tinygrad_bp as tg
from tinygrad_bp import MLP, Value, gradcheck
from tinygrad_bp.check.gradcheck.partials import check_nodes
from tinygrad_bp.check.strategies import (
    Expression,
    Step,
    activations,
    allows,
    datasets,
    expressions,
    gradient_property,
    mlps,
    numbers,
    points,
    rows,
    values,
)
from tinygrad_bp.engine import newest_first
from tinygrad_bp.ops import OPS, TABLE

REPOSITORY = Path(tg.__file__).parents[1]
ENTRY = "tinygrad_bp.check.hypothesis_plugin:register"
FEW = settings(max_examples=30, deadline=None)


QUICK = settings(max_examples=300, deadline=None, database=None, derandomize=True)


def smallest(strategy, condition):
    return find(strategy, condition, settings=settings(QUICK, max_examples=1000))


def first(strategy, condition):
    """Any that fits, as it is drawn: shrinking takes far longer than drawing."""
    return find(strategy, condition, settings=settings(QUICK, max_examples=1000, phases=[Phase.generate]))


def filled(op):
    """A row, with constants where it has none by default."""
    lacking = [name for name, default in op.constants.items() if default is None]
    return op.at(**dict(zip(lacking, (0.5, 2.0)))) if op.constants else op


# --- what is drawn ------------------------------------------------------------------------------------------


@FEW
@given(values(), values(0.5, 2.0), st.from_type(Value))
def test_values_are_leaves_in_their_range(x, y, z):
    assert -4.0 <= x.data <= 4.0 and 0.5 <= y.data <= 2.0 and type(z) is Value
    assert not (x.inputs or y.inputs or z.inputs)


@pytest.mark.parametrize("name", sorted(TABLE))
def test_points_are_in_the_domain_and_off_kinks(name):
    op = filled(OPS[name])

    @settings(max_examples=15, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(points(op))
    def each(xs):
        assert allows(op, xs)
        assert all(low < x < high for x, (low, high) in zip(xs, op.domain))
        assert all(abs(side) >= 0.01 for side in op.kinks(*xs))

    each()


def test_ranges_are_kept():
    assert 1e-9 <= smallest(numbers(1e-9, 2e-9), lambda x: True) <= 2e-9
    with pytest.raises(ValueError, match=r"points: acosh is smooth from 1 to inf, not -4 to 0.5"):
        smallest(points(tg.acosh, high=0.5), lambda xs: True)


def test_points_reach_kinks_and_borders_when_asked():
    assert smallest(points(tg.relu, smooth=False), lambda xs: xs[0] == 0.0) == (0.0,)
    assert smallest(points(tg.sqrt, smooth=False), lambda xs: xs[0] == 0.0) == (0.0,)
    with pytest.raises(NoSuchExample):
        first(points(tg.relu), lambda xs: xs[0] == 0.0)


@settings(max_examples=60, deadline=None)
@given(expressions())
def test_expressions_have_the_gradient_of_their_difference_quotients(expression):
    gradcheck(expression, *expression.inputs, raise_on_fail=True)


@FEW
@given(expressions(max_size=5, inputs=2))
def test_an_expression_unpacks_and_its_formula_is_python(expression):
    f, xs = expression
    assert f is expression and 1 <= len(f.steps) <= 5 and len(xs) <= 2
    names = dict(zip(f.names, xs), tg=tg)
    *lines, result = f.formula.split("; ")
    for line in lines:
        exec(line, names)
    assert eval(result, names) == f(*xs) == f(*map(Value, xs)).data


def test_expressions_are_large_too():
    assert first(expressions(max_size=12), lambda e: len(e.steps) >= 6)


def test_nearly_all_operations_are_drawn():
    drawn = set()

    @settings(max_examples=600, deadline=None, database=None, derandomize=True)
    @given(expressions(smooth=False))
    def collect(expression):
        drawn.update(step.op.name for step in expression.steps)

    collect()
    assert len(drawn) > 0.9 * len(TABLE)


def test_smooth_expressions_have_no_steps_and_no_kinks():
    assert {op.name for op in rows()} == {name for name in TABLE if OPS[name].partials}
    assert (
        smallest(expressions(ops=[tg.relu], smooth=False), lambda e: e.inputs == (0.0,)).formula
        == "tg.relu(x)"
    )
    with pytest.raises(NoSuchExample):
        first(expressions(ops=[tg.relu], max_size=1), lambda e: e.inputs == (0.0,))


def test_shared_nodes_have_names():
    expression = Expression((2.0,), (Step(tg.exp, (0,)), Step(tg.mul, (1, 1)), Step(tg.powc.at(3.0), (2,))))
    assert expression.formula == "a0 = tg.exp(x); tg.powc(tg.mul(a0, a0), 3.0)"
    assert repr(expression) == f"lambda x: {expression.formula} at x = 2.0"
    assert Expression((1.0, 2.0), (Step(tg.exp, (0,)), Step(tg.sin, (1,)))).pruned().inputs == (2.0,)


@FEW
@given(mlps())
def test_networks_are_small_and_have_the_right_gradient(model):
    xs = [0.5] * len(model.layers[0].neurons[0].w)

    def total():
        out = model(xs)
        return sum(out) if isinstance(out, list) else out

    assert isinstance(model, MLP) and len(model.layers) <= 3 and len(model.parameters()) <= 60
    assert gradcheck(total, params=model.parameters(), samples=3, order=1)


def test_activations_are_smooth_unless_asked():
    assert {"tanh", "sigmoid", "gelu"} <= set(activations()) and "relu" not in activations()
    assert "relu" in activations(smooth=False) and "log" not in activations(smooth=False)


@FEW
@given(datasets(), datasets(nin=2, max_samples=3, classes=4))
def test_datasets_are_rows_and_targets(data, classified):
    (xs, ys), (rows_of_two, labels) = data, classified
    assert 1 <= len(xs) == len(ys) <= 8 and len({len(row) for row in xs}) == 1
    assert all(len(row) == 2 for row in rows_of_two) and len(labels) <= 3
    assert all(type(label) is int and 0 <= label < 4 for label in labels)


@pytest.mark.parametrize("wrong", [{"ops": []}, {"max_size": 0}, {"inputs": 0}])
def test_expressions_of_nothing_are_refused(wrong):
    with pytest.raises(
        ValueError, match="expressions: at least one operation in ops, max_size and inputs 1 or"
    ):
        smallest(expressions(**wrong), bool)


@pytest.mark.parametrize(
    "strategy", [points("tanh"), expressions(ops=["tanh"])], ids=["points", "expressions"]
)
def test_the_name_of_an_operation_is_none(strategy):
    with pytest.raises(TypeError, match=r": 'tanh' is no operation of the table, such as tinygrad_bp\.tanh"):
        first(strategy, bool)


# --- shrinking ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sub", "tanh", "log", "dot"])
def test_a_wrong_rule_shrinks_to_itself_on_simple_operands(name, monkeypatch):
    row = OPS[name]
    rule = row.slopes
    monkeypatch.setattr(row, "slopes", lambda o, *xs: [-1.5 * d for d in rule(o, *xs)])

    def is_wrong(expression):
        root = expression(*map(Value, expression.inputs))
        return bool(check_nodes(newest_first([root]), 9, random.Random(0)).wrong)

    found = smallest(expressions(), is_wrong)
    assert [step.op.name for step in found.steps] == [name], found
    assert all(x in (0.0, 0.5, 1.0, 2.0, -1.0) for x in found.inputs), found


# --- the decorator ------------------------------------------------------------------------------------------


@gradient_property
def test_a_property_of_a_function(x, y):
    """Collected by pytest as it stands."""
    return tg.tanh(x * y) + tg.exp(x)


@gradient_property(x=numbers(0.5, 4.0), ws=st.lists(numbers(), min_size=1, max_size=3), order=1)
def test_a_property_with_strategies_of_its_own(x, ws):
    return tg.log(x) * sum(ws)


def test_a_property_that_fails_shows_the_report():
    @gradient_property(low=1.0, order=1, settings=QUICK)
    def half_lost(x, y):
        return x * y.detach()

    with pytest.raises(AssertionError, match="gradcheck of half_lost: WRONG") as caught:
        half_lost()
    assert "x=1.0" in str(caught.value.__notes__) if sys.version_info >= (3, 11) else caught
    assert test_a_property_of_a_function.__name__ == "test_a_property_of_a_function"
    assert test_a_property_of_a_function.__doc__ == "Collected by pytest as it stands."


# --- an operation of your own -------------------------------------------------------------------------------


def test_an_operation_of_your_own_is_one_like_the_others():
    def declared(partials):
        return tg.op("bump_of_yours", lambda x, y: x * x * y + y, partials, composite=True)

    bump = declared(lambda o, x, y: (2.0 * x * y, x * x + 1.0))
    x, y = Value(3.0), Value(2.0)
    assert x.bump_of_yours(y).data == bump(3.0, 2.0) == 20.0

    assert gradcheck(bump, 3.0, 2.0) and gradcheck(lambda x, y: tg.exp(0.1 * x.bump_of_yours(y)), 3.0, 2.0)
    assert first(points(bump), lambda xs: bump(*xs) > 1.0)
    assert (
        "tg.tanh(bump_of_yours("
        in first(
            expressions(max_size=2, ops=[tg.tanh, bump]),
            lambda e: [step.op for step in e.steps] == [bump, tg.tanh],
        ).formula
    )
    area = tg.compile(lambda x, y: bump(x, y) * 2.0)
    assert area(3.0, 2.0) == 40.0 and area.map([1.0, 3.0], [1.0, 2.0]) == [4.0, 40.0]
    w = Value(2.0)
    loss = tg.compile(lambda x: bump(w, x), params=[w])
    value, grads = loss.value_and_grad([1.0, 3.0])
    assert (value, list(grads)) == (20.0, [16.0])

    wrong = declared(lambda o, x, y: (2.0 * x * y, x * x))
    assert "the partial of 'bump_of_yours' by y is 9" in str(gradcheck(wrong, 3.0, 2.0))


# --- hypothesis and this package find each other ------------------------------------------------------------


def python(code):
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY)
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def test_the_entry_point_is_declared_and_installed():
    """The declaration is read from pyproject.toml, and from the package where it is installed."""
    declared = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    assert re.search(
        rf'\[project\.entry-points\.hypothesis\]\ntinygrad_bp = "{re.escape(ENTRY)}"\n', declared
    )
    found = [d for d in importlib.metadata.distributions() if d.metadata["Name"] == "tinygrad_bp"]
    assert all(ENTRY in {e.value for e in d.entry_points if e.group == "hypothesis"} for d in found)


@pytest.mark.parametrize("first", ["hypothesis", "tinygrad_bp"])
def test_hypothesis_draws_values_whichever_is_imported_first(first):
    """Where the package is not installed its hook is called by hand, as hypothesis calls the entry."""
    second = "tinygrad_bp" if first == "hypothesis" else "hypothesis"
    code = f"""
import {first}
import {second}
import importlib.metadata
if not [e for e in importlib.metadata.entry_points(group="hypothesis") if e.value == {ENTRY!r}]:
    from tinygrad_bp.check.hypothesis_plugin import register
    register()
from hypothesis import strategies as st
from tinygrad_bp import Value
from tinygrad_bp.check import strategies
print(repr(st.from_type(Value)) == repr(strategies.values()))
"""
    assert python(code) == "True"


@pytest.mark.parametrize("first", ["hypothesis", "tinygrad_bp.engine"])
def test_hypothesis_draws_values_of_the_engine_alone(first):
    second = "tinygrad_bp.engine" if first == "hypothesis" else "hypothesis"
    code = f"""
import {first}
import {second}
import tinygrad_bp.check.hypothesis_plugin as plugin
plugin.register()  # hypothesis does it where the package is installed
from hypothesis import find, strategies as st
from tinygrad_bp.engine import Value
print(find(st.from_type(Value), lambda v: v.data > 1.5))
"""
    assert python(code) == "Value(data=2.0, grad=0.0)"


def test_neither_is_imported_for_the_other():
    """What hypothesis loads of the package for all its users is next to nothing."""
    loaded = "print(sorted(m for m in sys.modules if m.startswith('tinygrad_bp')))"
    plugin = "['tinygrad_bp', 'tinygrad_bp.check', 'tinygrad_bp.check.hypothesis_plugin']"
    code = "import sys, tinygrad_bp.check.hypothesis_plugin as plugin; plugin.register(); "
    assert python(code + loaded) == plugin
    assert python("import sys, hypothesis; " + loaded) in (plugin, "[]")  # [] where it is not installed
    assert python("import sys, tinygrad_bp.engine; print('hypothesis' in sys.modules)") == "False"


def test_without_hypothesis_the_extra_is_named():
    code = """
import sys
sys.modules["hypothesis"] = None
import tinygrad_bp
try:
    import tinygrad_bp.check.strategies
except tinygrad_bp.MissingExtraError as error:
    print(error)
"""
    text = "drawing examples needs hypothesis, not installed here: pip install 'tinygrad_bp[strategies]'"
    assert python(code) == text
