"""The page's interpreter against the engine: random programs, every operation at special numbers, in node.

The rules that a page carries are run by its own script, machine.js.  Values and partials are the engine's,
to a bound for each primitive: JavaScript promises no accuracy for Math, and what it has here is measured.
"""

import json
import math
import os
import random
import subprocess

import pytest
from support.forms import seed_of_the_commit
from support.graphs import magnitudes
from support.oracle import RULES
from support.programs import CONSTANTS, random_program, run

import tinygrad_bp as tg
from tinygrad_bp import Value
from tinygrad_bp.compiler.backends.page import page_rule
from tinygrad_bp.compiler.spelling import EXPANDED, PRIMITIVES
from tinygrad_bp.compiler.terms import LISTS
from tinygrad_bp.engine import newest_first
from tinygrad_bp.ops import OPS, TABLE
from tinygrad_bp.show.stepper.sealed import PAGE

SUMMED = {name for name, rule in RULES.items() if rule.sums}
PROGRAMS = int(os.environ.get("PAGE_PROGRAMS", "1000"))
SEED = int(os.environ.get("SEED", seed_of_the_commit()))
SPECIALS = (0.0, -0.0, 5e-324, -1e-310, 0.5, -0.5, 1.0, -1.0, 1.5, -2.5, 3.0, 40.0, -40.0, 1e300, -1e300)
SPECIALS += (math.inf, -math.inf, math.nan)
RUNNER = """
const fs = require("fs");
const text = x => Number.isFinite(x) ? x : String(x).replace("Infinity", "inf").toLowerCase();
const number = x => typeof x === "string" ? {nan: NaN, inf: Infinity, "-inf": -Infinity}[x] : x;
%s
const exact = x => Object.is(x, -0) ? "-0" : x === null ? x : text(x);
process.stdout.write(JSON.stringify(JSON.parse(fs.readFileSync(0)).map(({nodes, rules, order, values}) => {
  const machine = new Machine(nodes, rules), data = Float64Array.from(values.map(number));
  const partials = machine.run(data, order);
  return {values: [...data].map(exact), partials: nodes.map((_, i) => (partials[i] || []).map(exact))};
})));
"""


@pytest.fixture(scope="module")
def answers(node):
    """Runs graphs in node, many at a time."""
    script = RUNNER % (PAGE / "machine.js").read_text(encoding="utf-8")

    def ask(graphs):
        ran = subprocess.run(
            [node, "-e", script], input=json.dumps(graphs), capture_output=True, text=True, timeout=300
        )
        assert ran.returncode == 0, ran.stderr
        for answer in json.loads(ran.stdout):
            yield (
                [float(x) for x in answer["values"]],
                [[None if d is None else float(d) for d in ds] for ds in answer["partials"]],
            )

    return ask


def as_data(root):
    """A graph as the interpreter takes it, and its nodes in that order."""
    inner = newest_first([root])[::-1]
    leaves = [*dict.fromkeys(x for v in inner for x in v.inputs if not x.inputs)]
    nodes = [*leaves, *inner]
    index = {v: i for i, v in enumerate(nodes)}
    rules, known, data = [], {}, []
    for v in nodes:
        which = -1
        if v.inputs:
            key = repr(v.op), len(v.inputs)
            if key not in known:
                known[key] = len(rules)
                rules.append(page_rule(v.op, len(v.inputs)))
                assert rules[-1], f"{v.op} has no rule for the page"
            which = known[key]
        data.append({"ins": [index[x] for x in v.inputs], "rule": which})
    values = [v.data if not v.inputs else 0.0 for v in nodes]
    graph = {"nodes": data, "rules": rules, "order": [index[v] for v in inner]}
    return {**graph, "values": [x if math.isfinite(x) else str(x) for x in values]}, nodes


def partials_of(v):
    if v.op is None or v.op.slopes is None:
        return [None] * len(v.inputs)
    ds = v.op.slopes(v.data, *[x.data for x in v.inputs])
    return [None if v.op.selects and d == 0.0 else d for d in ds]


def same_class(a, b):
    if a is None or b is None:
        return a is b
    if math.isnan(a) or math.isnan(b):
        return math.isnan(a) and math.isnan(b)
    return a == b if math.isinf(a) or math.isinf(b) else True


def test_random_programs_are_the_engine_s(answers):
    """Values and gradients to 1e-12 of the sum of magnitudes of all that is added up on the way to them."""
    roots = []
    for seed in range(SEED, SEED + PROGRAMS):
        program = random_program(seed)
        leaves = map(Value, program.inputs)
        roots.append(run(program, leaves, lambda name, xs, constants: OPS[name](*xs, *constants))[-1])
    graphs, held = [as_data(root) for root in roots], []
    for seed, (root, (_, nodes), (values, partials)) in enumerate(
        zip(roots, graphs, answers([graph for graph, _ in graphs])), SEED
    ):
        index = {v: i for i, v in enumerate(nodes)}
        mine = dict.fromkeys(nodes, 0.0) | {root: 1.0}
        for v in newest_first([root]):
            for x, d in zip(v.inputs, partials[index[v]]):
                mine[x] += (d or 0.0) * mine[v]
        for v in nodes:
            assert abs(values[index[v]] - v.data) <= 1e-12 * magnitudes(v), (seed, v.op)
        leaves = [v for v in nodes if not v.inputs]
        for v, g in zip(leaves, tg.gradients(root, leaves, create_graph=True)):
            size = magnitudes(g)
            held.append(math.isfinite(size))  # second derivatives of numbers to 1e140 may leave the floats
            assert not held[-1] or abs(mine[v] - g.data) <= 1e-12 * size, (seed, v)
    assert sum(held) > 0.9 * len(held)


def test_each_operation_of_random_programs_is_the_engine_s(answers):
    """On the engine's own operands: values and partials to 1e-12."""
    singles = []
    for seed in range(SEED, SEED + PROGRAMS // 4):
        program = random_program(seed)
        nodes = run(
            program, map(Value, program.inputs), lambda name, xs, constants: OPS[name](*xs, *constants)
        )
        singles += [v.op(*[Value(x.data) for x in v.inputs]) for v in nodes if v.inputs]
    graphs = [as_data(v)[0] for v in singles]
    for v, (values, partials) in zip(singles, answers(graphs)):
        at = [x.data for x in v.inputs]
        size = max(map(abs, [v.data, *(at if v.op.operands is None or v.op.name in SUMMED else [])]))
        assert abs(values[-1] - v.data) <= 1e-12 * size, (SEED, v.op, at)
        for mine, d in zip(partials[-1], partials_of(v)):
            assert (mine is None) == (d is None), (v.op, at)
            assert mine is None or mine == pytest.approx(d, rel=1e-12, abs=1e-300), (v.op, at)


@pytest.mark.parametrize("name", sorted(TABLE))
def test_every_operation_at_special_numbers(name, answers):
    """Each is of the engine's class (nan, an infinity, a zero), and near it where it is finite."""
    row = OPS[name]
    rng = random.Random(f"{SEED}{name}")
    variants = [row.at(*c) for c in CONSTANTS.get(name, [(1.5, 2.0)[: len(row.constants)]])]
    roots = []
    for op in variants:
        for _ in range(60):
            count = op.operands if op.operands is not None else rng.randint(2, 9)
            xs = [
                Value(rng.choice(SPECIALS) if rng.random() < 0.7 else rng.gauss(0, 2)) for _ in range(count)
            ]
            roots.append(op(*xs))
    graphs = [as_data(root) for root in roots]
    for root, (_, nodes), (values, partials) in zip(roots, graphs, answers([g for g, _ in graphs])):
        at = [x.data for x in root.inputs]
        assert same_class(values[-1], root.data), (root.op, at, values[-1], root.data)
        if math.isfinite(root.data):
            assert values[-1] == pytest.approx(root.data, rel=1e-13, abs=1e-15 * max(map(abs, at))), (
                root.op,
                at,
            )
        for mine, d in zip(partials[len(nodes) - 1], partials_of(root)):
            assert same_class(mine, d), (root.op, at, mine, d)
            if mine is not None and math.isfinite(mine):
                assert mine == pytest.approx(d, rel=1e-12, abs=1e-300), (root.op, at)


# How far Math may be from the C library over 2,000 points, in units of the last place: 4, but for these.
BOUNDS = {"erfc": 12}
DOMAINS = {"acosh": (1.0, 50.0), "asin": (-1.0, 1.0), "acos": (-1.0, 1.0), "atanh": (-0.999, 0.999)}
DOMAINS |= dict.fromkeys(["log", "log2", "log10"], (1e-9, 50.0))
DOMAINS |= {"sqrt": (0.0, 50.0), "log1p": (-0.999, 50.0), "erfc": (-6.0, 26.0)}


SPELLED = [op for op, row in PRIMITIVES.items() if op.name != "copy" and row.python != EXPANDED]


@pytest.mark.parametrize("op", SPELLED, ids=lambda op: op.name)
def test_each_primitive_is_within_its_bound(op, answers):
    rng = random.Random(f"{SEED}{op.name}")
    low, high = DOMAINS.get(op.name, (-20.0, 20.0))
    count = op.operands or 2  # those of any number are spelled in twos
    points = [[rng.uniform(low, high) for _ in range(count)] for _ in range(2000)]
    if op.name == "pow":
        points = [[abs(x), y] for x, y in points]
    places = [*range(count)]
    rule = {"operands": count, "constants": [], "steps": [[op.name, *places]], "split": 1, "value": count + 1}
    rule |= {"partials": None, "selects": False}
    nodes = [{"ins": [], "rule": -1} for _ in places] + [{"ins": places, "rule": 0}]
    graphs = [{"nodes": nodes, "rules": [rule], "order": [count], "values": [*xs, 0.0]} for xs in points]
    worst = 0.0
    for xs, (values, _) in zip(points, answers(graphs)):
        truth = op.value(*xs)
        worst = max(worst, abs(values[-1] - truth) / math.ulp(truth))
    assert worst <= BOUNDS.get(op.name, 4), f"{op.name}: {worst:.1f} units in the last place"


def test_every_primitive_has_its_function():
    script = (PAGE / "machine.js").read_text(encoding="utf-8")
    for op in (*SPELLED, *LISTS):
        assert op.name == "copy" or any(f" {op.name}{end}" in script for end in (":", "(", ",")), op.name


def test_an_operation_of_the_user_travels_if_it_is_written_in_the_table_s(answers):
    cube = tg.op("cube_for_the_page", lambda x: x * x * x, lambda o, x: (3.0 * x * x,))
    soft = tg.op(
        "soft_for_the_page", lambda x, y: tg.max(x, y) + tg.log1p(tg.exp(-tg.abs(x - y))),
        lambda o, x, y: (tg.exp(x - o), tg.exp(y - o)), composite=True,
    )  # fmt: skip
    opaque = tg.op("opaque_for_the_page", lambda x: math.sin(x), lambda o, x: (tg.cos(x),))
    rule = tg.op("rule_for_the_page", lambda x: x * 2.0, lambda o, x: (2.0 if x > 0 else 1.0,))
    try:
        root = soft(cube(Value(1.5)), Value(2.0))
        graph, _ = as_data(root)
        ((values, _),) = answers([graph])
        assert values[-1] == pytest.approx(root.data, rel=1e-15)
        assert page_rule(opaque, 1) is None
        assert page_rule(rule, 1) is None
    finally:
        for own in (cube, soft, opaque, rule):
            del OPS[own.name]


def test_every_row_of_the_table_has_a_rule():
    for name in TABLE:
        row = OPS[name]
        op = row.at(*(c if c is not None else 1.5 for c in row.constants.values()))
        assert page_rule(op, row.operands if row.operands is not None else 3), name
    assert {*RULES} <= TABLE
