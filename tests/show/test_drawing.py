"""Drawings: what they read off a graph, what stands on the nodes, and that no label can do any harm.

The SVG is parsed and compared with the records; DOT is parsed back here and by the program
`dot`.  A stand-in for `dot` hangs, fails and answers nonsense.
"""

import gc
import html
import json
import random
import re
import stat
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings, strategies as st
from matplotlib.mathtext import MathTextParser
from support.browser import find_dot
from support.programs import random_program, run

import tinygrad_bp as tg
from tinygrad_bp import MLP, DrawError, Neuron, Value, draw, draw_dot, to_dot, trace
from tinygrad_bp.engine import newest_first
from tinygrad_bp.ops import OPS
from tinygrad_bp.show import draw as drawing
from tinygrad_bp.show.draw import cards, notices, strength
from tinygrad_bp.show.graph import LEVELS, cells, clipped, named, names, read, shown, visible

SVG = "{http://www.w3.org/2000/svg}"


def network(*nouts, nin=2, act="relu", seed=0, **kwargs):
    return MLP(nin, list(nouts), act=act, rng=random.Random(seed), **kwargs)


def loss_of(model):
    return (1.0 - model([0.5, -1.0])) ** 2


def by_label(picture):
    return {node.label: node for node in picture.nodes if node.label}


# --- what is read off a graph -------------------------------------------------------------------------------


def test_a_node_is_what_the_student_wrote():
    a, b = Value(2.0, label="a"), Value(-3.0, label="b")
    c = (a - b) / (a + a)
    c.label = "c"
    picture = read(c)
    assert [(node.id, node.kind, node.label, node.sign, node.data) for node in picture.nodes] == [
        ("n0", "leaf", "a", "", 2.0),
        ("n1", "leaf", "b", "", -3.0),
        ("n2", "operation", "", "−", 5.0),
        ("n3", "operation", "", "+", 4.0),
        ("n4", "operation", "c", "÷", 1.25),
    ]
    assert [edge[:4] for edge in picture.edges] == [
        ("n0", "n2", 0, 1.0),
        ("n1", "n2", 1, -1.0),
        ("n0", "n3", 0, 1.0),
        ("n0", "n3", 1, 1.0),  # a + a has two edges
        ("n2", "n4", 0, 0.25),
        ("n3", "n4", 1, -0.3125),
    ]
    assert (picture.root, picture.detail, picture.total, picture.stale) == ("n4", "node", 5, [])


def contributions(picture):
    """For every node: the gradients of its users times the partials, newest user first; and magnitudes."""
    gradients = {node.id: node.grad for node in picture.nodes}
    into = defaultdict(list)
    for edge in picture.edges:
        into[edge.target].append(edge)
    total, magnitude = defaultdict(float), defaultdict(float)
    for node in reversed(picture.nodes):
        for edge in into[node.id]:
            if edge.partial:
                total[edge.source] += gradients[edge.target] * edge.partial
                magnitude[edge.source] += abs(gradients[edge.target] * edge.partial)
    return total, magnitude


@given(st.integers(0, 10**6))
def test_partials_and_gradients_are_the_engine_s(seed):
    """Bit for bit as recorded; with dots and sums opened, as near as another order of adding comes."""
    program = random_program(seed)
    root = run(program, map(Value, program.inputs), lambda name, xs, constants: OPS[name](*xs, *constants))[
        -1
    ]
    root.backward()
    for detail in ("node", "scalar"):
        picture = read(root, detail)
        share, magnitude = contributions(picture)
        for node in picture.nodes:
            if node.id != picture.root and node.grad is not None:
                assert abs(share[node.id] - node.grad) <= (detail == "scalar") * 1e-13 * magnitude[node.id]
        assert {id(node.value) for node in picture.nodes} == {id(v) for v in trace(root)[0]}


@pytest.mark.parametrize("detail", LEVELS)
@pytest.mark.parametrize("act", ["relu", "tanh", "silu"])
def test_every_level_hands_back_the_same_gradient(detail, act):
    """At a layer's box the chain is not a product of numbers any more: its edges have no partial."""
    root = loss_of(network(4, 3, 1, act=act))
    root.backward()
    picture = read(root, detail)
    (share, _), nodes = contributions(picture), {node.id: node for node in picture.nodes}
    unknown = {edge.source for edge in picture.edges if edge.partial is None}
    checked = 0
    for node in picture.nodes:
        if node.id != picture.root and node.id not in unknown and node.grad is not None:
            assert share[node.id] == pytest.approx(node.grad, rel=1e-12)
            checked += 1
    assert checked >= (8 if detail in ("scalar", "node", "neuron") else 3)
    assert nodes[picture.root].data == root.data


def test_the_levels_of_a_network():
    root = loss_of(network(16, 16, 1))
    kinds = {level: Counter(node.kind for node in read(root, level).nodes) for level in LEVELS}
    assert kinds["node"] == {"leaf": 337 + 3, "operation": 33 + 32 + 2}
    assert kinds["neuron"] == {"box": 33, "leaf": 3, "operation": 2}
    assert kinds["layer"] == {"box": 3, "leaf": 3, "operation": 2}
    products = 2 * 16 + 16 * 16 + 16
    assert kinds["scalar"] == {"leaf": 337 + 3, "part": 2 * products, "operation": 32 + 2}
    boxes = [node for node in read(root, "layer").nodes if node.kind == "box"]
    assert [(box.label, box.sign, box.size) for box in boxes] == [
        ("layers.0", "16 ReLU", 80),
        ("layers.1", "16 ReLU", 304),
        ("layers.2", "dot", 18),
    ]
    neurons = by_label(read(root, "neuron"))
    assert neurons["layers.0.neurons.3"].group == ("layers.0", "layers.0.neurons.3")
    assert neurons["layers.0.neurons.3"].size == 5
    assert by_label(read(root, "node"))["layers.1.neurons.15.b"].group == ("layers.1", "layers.1.neurons.15")


def test_a_large_graph_is_drawn_by_neurons():
    assert read(loss_of(network(8, 1))).detail == "node"
    assert read(loss_of(network(16, 16, 1))).detail == "neuron"


def test_a_neuron_that_is_called_twice_is_two_boxes_and_a_penalty_is_one():
    model = network(3, 1)
    root = model([1.0, 2.0]) + model([3.0, 4.0]) + tg.sum([p * p for p in model.parameters()])
    boxes = Counter(node.label for node in read(root, "neuron").nodes if node.kind == "box")
    assert boxes == {f"layers.0.neurons.{i}": 3 for i in range(3)} | {"layers.1.neurons.0": 3}
    assert Counter(node.label for node in read(root, "layer").nodes if node.kind == "box") == {
        "layers.0": 3,
        "layers.1": 3,
    }


def test_a_neuron_written_by_hand_is_a_box_too():
    class Own(tg.Module):
        def __init__(self):
            self.units = [Neuron(2, rng=random.Random(1)), Neuron(2, rng=random.Random(2))]
            self.label_parameters()

        def __call__(self, x):
            return [tg.tanh(sum((w * xi for w, xi in zip(u.w, x)), u.b)) for u in self.units]

    out = Own()([Value(1.0, label="x"), Value(2.0, label="y")])
    picture = read(out[0] * out[1], "neuron")
    assert [(n.kind, n.label, n.sign) for n in picture.nodes] == [
        ("leaf", "x", ""),
        ("leaf", "y", ""),
        ("box", "units.0", "tanh"),
        ("box", "units.1", "tanh"),
        ("operation", "", "×"),
    ]


def test_a_parameter_that_is_used_once_more_makes_a_box_of_its_own():
    model = network(2, 1)
    out = model.layers[0].neurons[0]([Value(1.0), Value(2.0)])
    picture = read(out * model.layers[0].neurons[0].w[0], "neuron")
    assert [node.sign for node in picture.nodes if node.kind == "box"] == ["ReLU", "×"]
    assert len(drawn(draw(out, detail="neuron", engine="builtin").svg)["n2"].findall(f"{SVG}rect")) == 2


def test_a_box_that_would_reach_itself_stays_open():
    a, b = Value(2.0, label="cell.0.w.0"), Value(3.0, label="cell.0.w.1")
    first = a * 1.5
    outside = first * first.sin()  # uses what the box gives, and goes back into it
    root = first + b * outside
    picture = read(root, "neuron")
    assert [node.kind for node in picture.nodes].count("box") == 0
    assert len(picture.nodes) == read(root, "node").total


def test_a_dot_opens_into_the_additions_that_the_engine_makes():
    rng = random.Random(4)
    ws, xs = ([Value(rng.gauss(0, 1)) for _ in range(7)] for _ in range(2))
    root = tg.dot(ws, xs, bias=Value(0.1))
    root.backward()
    picture = read(root, "scalar")
    assert Counter(node.sign for node in picture.nodes) == {"": 15, "×": 7, "+": 7}
    assert picture.nodes[-1].data == root.data
    assert {node.grad for node in picture.nodes if node.kind == "part"} == {1.0}
    sums = [node for node in picture.nodes if node.sign == "+"]
    into = defaultdict(list)
    data = {node.id: node.data for node in picture.nodes}
    for edge in picture.edges:
        into[edge.target].append(data[edge.source])
    assert all(node.data == sum(into[node.id]) for node in sums)
    alone = read(tg.dot([Value(2.0)], [Value(3.0)]), "scalar")
    assert [(node.sign, node.data) for node in alone.nodes] == [("", 2.0), ("", 3.0), ("×", 6.0)]
    assert [node.sign for node in read(tg.sum(Value(1.0), 2.0, 3.0), "scalar").nodes] == [
        "",
        "",
        "",
        "+",
        "+",
    ]


def test_a_gradient_is_missing_until_a_backward_pass_sets_it():
    x = Value(3.0, label="x")
    y = x * 0.0
    assert [node.grad for node in read(y).nodes] == [None, None, None]
    assert "0.0000" not in draw(y, engine="builtin").svg
    assert draw(y, engine="builtin").svg.count(">–</text>") == 3
    y.backward()
    assert [node.grad for node in read(y).nodes] == [0.0, 3.0, 1.0]
    assert "–" not in [text.text for text in texts(draw(y, engine="builtin").svg)]
    y.zero_grad()
    assert [node.grad for node in read(y).nodes] == [None, None, None]
    x.grad = None  # how PyTorch clears it
    assert read(y).nodes[0].grad is None


def other_passes(root):
    """What is said above a drawing of gradients from other passes, and the marks of its nodes."""
    picture = read(root)
    return " ".join(notices(picture)), [node.mark for node in picture.nodes]


def test_gradients_that_hold_more_than_this_pass_are_marked():
    w, x = Value(3.0, label="w"), Value(2.0, label="x")
    loss = w * x
    loss.backward()
    assert other_passes(loss) == ("", ["", "", ""])
    loss.backward()  # adds the same again
    text = "gradients of another pass are in w, x: zero_grad() before backward() clears them"
    assert other_passes(loss) == (text, ["2 from another pass", "3 from another pass", ""])
    svg = draw(loss, engine="builtin").svg
    assert text in svg
    assert "2 from another pass" in svg
    assert text in to_dot(loss)
    loss.zero_grad()
    assert other_passes(loss) == ("", ["", "", ""])
    loss.backward(seed=5.0)
    assert other_passes(loss) == ("", ["", "", ""])


def test_a_missing_zero_grad_between_steps_is_marked():
    w = Value(3.0, label="w")
    (w * w).backward()
    w.data = 2.0
    loss = w * w
    assert other_passes(loss)[1] == ["6 from another pass", ""]  # before the second pass, too
    loss.backward()
    assert other_passes(loss)[1] == ["6 from another pass", ""]
    w.zero_grad()
    loss.backward()
    assert other_passes(loss) == ("", ["", ""])


@given(st.integers(0, 10**6))
def test_one_pass_is_never_marked(seed):
    program = random_program(seed)
    make = lambda name, xs, constants: OPS[name](*xs, *constants)  # noqa: E731
    root = run(program, map(Value, program.inputs), make)[-1]
    root.backward()
    assert read(root).other == {}


@pytest.mark.parametrize(
    ("make", "mark"),
    [
        (lambda: Value(-1.0).relu(), "dead ReLU"),
        (lambda: Value(1.0).relu(), ""),
        (lambda: Value(5.0).clip(-1.0, 1.0), "dead clip(-1, 1)"),
        (lambda: Value(9.0).tanh(), "saturated"),
        (lambda: Value(-400.0).tanh(), "saturated"),
        (lambda: Value(0.5).tanh(), ""),
        (lambda: Value(-6.0).sigmoid(), "saturated"),
        (lambda: Value(-8.0).silu(), "saturated"),
        (lambda: Value(1.5707963267948966).sin(), ""),  # flat here, and steep a little further
        (lambda: Value(0.0).cos(), ""),
        (lambda: Value(200.0).atan(), ""),
        (lambda: Value(1e6).log(), ""),
        (lambda: Value(1.0).max(2.0), ""),
        (lambda: Value(0.0) * Value(0.0), ""),
    ],
)
def test_dead_and_saturated_units_are_marked(make, mark):
    assert read(make()).nodes[-1].mark == mark


def test_marks_of_boxes():
    model = network(6, 1)
    neurons = [node for node in read(loss_of(model), "neuron").nodes if node.kind == "box"]
    dead = sum(node.mark == "dead ReLU" for node in neurons)
    assert dead == sum(n([0.5, -1.0]).data == 0 for n in model.layers[0].neurons) > 1
    layer = next(node for node in read(loss_of(model), "layer").nodes if node.kind == "box")
    assert layer.mark == f"dead ReLU in {dead} of 6"


@pytest.mark.parametrize(
    "name", sorted(name for name, row in OPS.items() if row.operands and name in tg.ops.TABLE)
)
def test_every_operation_can_be_drawn_at_every_edge(name):
    row = OPS[name].at(*[1.5 for _ in OPS[name].constants])
    for number in (0.0, -0.0, 1.0, -2.5, 1e300, float("inf"), float("-inf"), float("nan")):
        root = row(*[Value(number) for _ in range(row.operands)])
        root.backward()
        picture = draw(root, engine="builtin")
        assert len(drawn(picture.svg)) == row.operands + 1


# --- limits and errors --------------------------------------------------------------------------------------


def test_a_graph_that_is_too_large_is_refused_with_what_to_pass():
    x = Value(1.0)
    for _ in range(100_000):
        x = x + 1.0
    text = r"^graph has 200,001 nodes, more than 2,000 \(at most 20,000 can be drawn\): draw\(root, dep"
    with pytest.raises(DrawError, match=text):
        draw(x)
    with pytest.raises(DrawError, match=r"to_dot\(root, depth=6\)"):
        to_dot(x, detail="layer")
    with pytest.raises(DrawError, match=r"200,001 nodes, more than the 20,000 that can be drawn: draw\("):
        draw(x, max_nodes=10**6)
    y = Value(1.0)
    for _ in range(1500):
        y = y + 1.0
    with pytest.raises(DrawError, match=r"3,001 nodes, more than 2,000: .*'layer' or max_nodes=3001$"):
        draw(y)
    assert len(read(y, max_nodes=3001).nodes) == 3001
    assert len(read(x, depth=6).nodes) == 13
    assert [node.cut for node in read(x, depth=6).nodes].count(True) == 1
    assert "… +" in draw(x, depth=1, engine="builtin").svg


def test_a_large_network_is_told_its_coarser_levels():
    xs, ys = tg.data.moons(40)
    model = network(16, 16, 1)
    root = tg.sum([(1.0 - y * model(x)).relu() for x, y in zip(xs, ys)])
    with pytest.raises(DrawError, match=r"depth=6\), detail='layer' or max_nodes=\d+$"):
        draw(root)
    with pytest.raises(DrawError, match="detail='neuron' or"):
        draw(root, detail="node")
    with pytest.raises(DrawError, match="nodes with every dot opened"):
        draw(loss_of(network(16, 16, 16, 16, 1)), detail="scalar")
    assert len(read(root, "layer").nodes) < 500
    with pytest.raises(DrawError, match=r"graph has 1,601 boxes and nodes at detail='neuron', more than 100"):
        draw(root, detail="neuron", max_nodes=100)


@pytest.mark.parametrize("function", [draw, draw_dot, to_dot, trace])
def test_what_is_no_value_is_refused(function):
    name = function.__name__
    with pytest.raises(TypeError, match=rf"^{name} takes the Value a graph ends in, not 3.0 of type float"):
        function(3.0)
    with pytest.raises(TypeError, match=rf"^{name} .* of type list: take one of them, or their sum"):
        function([Value(1.0)])
    with pytest.raises(TypeError, match=rf"^{name} .* a model of type MLP: call it, and take model\(x\)"):
        function(tg.MLP(2, [1]))
    with pytest.raises(TypeError, match=rf"^{name} .* None of type NoneType: take a loss"):
        function(None)


def test_unknown_words_are_refused_with_the_known_ones():
    v = Value(1.0) + 2.0
    with pytest.raises(
        ValueError, match="unknown detail 'atoms'; there are 'scalar', 'node', 'neuron', 'layer'"
    ):
        draw(v, detail="atoms")
    with pytest.raises(ValueError, match="unknown rankdir 'up'; there are 'LR', 'RL', 'TB', 'BT'"):
        draw_dot(v, rankdir="up")
    with pytest.raises(ValueError, match="unknown engine 'neato'; there are 'dot', 'builtin'"):
        draw(v, engine="neato")
    with pytest.raises(ValueError, match="a drawing is saved as svg, dot, png, pdf, not as 'gif'"):
        draw_dot(v, format="gif")
    with pytest.raises(ValueError, match="depth is a whole number from 1 up, not 0"):
        draw(v, depth=0)
    with pytest.raises(ValueError, match="max_nodes is a whole number from 1 up, not 'many'"):
        draw(v, max_nodes="many")


# --- how it looks -------------------------------------------------------------------------------------------


def texts(svg):
    return list(ElementTree.fromstring(svg).iter(f"{SVG}text"))


def drawn(svg):
    """The groups of the nodes, by id."""
    groups = ElementTree.fromstring(svg).iter(f"{SVG}g")
    return {group.get("id"): group for group in groups if group.get("class") == "node"}


def test_a_card_shows_label_operation_value_and_gradient():
    a, b = Value(2.0, label="a"), Value(-3.0, label="b")
    c = a * b
    c.label = "c"
    c.backward()
    groups = drawn(draw(c, engine="builtin").svg)
    assert [text.text for text in groups["n2"].iter(f"{SVG}text")] == ["×", "c", "data", "−6", "grad", "1"]
    assert [text.text for text in groups["n1"].iter(f"{SVG}text")] == ["b", "data", "−3", "grad", "2"]
    assert 'label="×  c\\ndata −6\\ngrad 1"' in to_dot(c)


def test_numbers_are_short_and_signs_are_printed():
    numbers = [0.0, -0.5, 123456.7, 1e7, -1.23456e-5, 2.0, float("inf"), float("-inf"), float("nan"), None]
    wanted = ["0", "-0.5", "123457", "1e7", "-1.235e-5", "2", "inf", "-inf", "nan", "–"]
    assert [shown(x) for x in numbers] == wanted


def test_strength_follows_the_magnitude_of_the_gradient():
    x, y = Value(1.0, label="x"), Value(1.0, label="y")
    root = 100.0 * x - y
    root.backward()
    nodes, arrows = cards(read(root))
    width = {card.title: card.width for card in nodes}
    assert width["x"] > width["y"] > 1.0
    assert len({card.color for card in nodes if card.title in ("x", "y")}) == 2
    assert {arrow.width for arrow in arrows} >= {
        max(arrow.width for arrow in arrows),
        min(a.width for a in arrows),
    }
    assert strength(-4.0, 4.0) == strength(4.0, 4.0) == strength(float("nan"), 4.0) == 1.0
    assert strength(None, 4.0) == strength(0.0, 0.0) == 0.0
    before, _ = cards(read(100.0 * Value(1.0)))
    assert {card.width for card in before} == {1.0}


def luminance(color):
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a, b):
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_lines_read_on_white_and_on_black_and_text_on_its_card():
    for t in range(101):
        for line in (drawing.color(1.0, t / 100), drawing.color(-1.0, t / 100)):
            assert contrast(line, "#ffffff") > 2.5
            assert contrast(line, "#111111") > 2.5
    for fill in (*drawing.FILLS.values(), drawing.DEAD_FILL, drawing.STALE_FILL):
        assert contrast(drawing.INK, fill) > 7
        assert contrast(drawing.FAINT_INK, fill) > 3.5


def test_a_dead_unit_is_grey_dashed_and_says_so():
    x = Value(-2.0, label="x")
    y = x.relu() + x
    y.backward()
    picture = draw(y, engine="builtin")
    group = next(
        g for g in drawn(picture.svg).values() if "dead ReLU" in [t.text for t in g.iter(f"{SVG}text")]
    )
    assert group.find(f"{SVG}rect").get("stroke-dasharray")
    dashed = re.findall(r"n\d -> n\d \[.*style=dashed", picture.source)
    assert len(dashed) == 1  # the edge that carries nothing back


def test_a_stale_graph_is_drawn_with_a_line_that_names_the_changed_leaves():
    w, x = Value(3.0, label="w"), Value(2.0, label="x")
    y = (w * x + w).tanh()
    assert notices(read(y)) == []
    w.data = 5.0
    line = "stale: w (now 5) changed after this graph was built; call your function again"
    assert notices(read(y)) == [line]
    assert read(y).stale == [w]
    assert line in draw(y, engine="builtin").svg
    assert line in to_dot(y)
    assert [edge.partial for edge in read(y).edges][:2] == [None, None]
    model = network(16, 16, 1)
    loss = loss_of(model)
    loss.backward()
    tg.optim.SGD(model.parameters(), lr=0.1).step()  # the commonest cell of a notebook: step, then draw
    assert re.fullmatch(
        r"stale: (layers\S+ \(now \S+\)(, )?){4} and 333 more changed after .*", notices(read(loss))[0]
    )
    assert all(edge.partial is None for edge in read(loss).edges if edge.target in boxes(loss))


def boxes(root):
    return {node.id for node in read(root).nodes if node.kind == "box"}


def test_a_caption_stands_there_on_request_only():
    root = loss_of(network(16, 16, 1))
    assert notices(read(root)) == []
    drawing = draw(root, caption="epoch 3 <b>", engine="builtin")
    assert "epoch 3 &lt;b&gt;" in drawing.svg
    assert 'label="epoch 3 <b>"' in drawing.source


def test_a_layer_shows_how_large_its_gradient_is():
    root = loss_of(network(3, 3, 1, act="tanh"))
    layers = [node for node in read(root, "layer").nodes if node.kind == "box"]
    assert [node.norm for node in layers] == [None, None, None]
    root.backward()
    picture = read(root, "layer")
    layers = {node.id: node for node in picture.nodes if node.kind == "box"}
    first, second, _ = layers.values()
    grads = [
        v.grad for v in {x for v in newest_first([root]) for x in v.inputs} if v.op and v.op.name == "tanh"
    ]
    assert first.norm**2 + second.norm**2 == pytest.approx(sum(g * g for g in grads))
    flows = [edge.flow for edge in picture.edges if edge.source == first.id]
    assert flows == [pytest.approx(first.norm)]  # all of it comes through the one edge
    assert "|grad|" in draw(root, detail="layer", engine="builtin").svg


def test_weights_stand_on_edges_on_request():
    model = network(2, 1)
    root = model([Value(1.0, label="p"), Value(2.0, label="q")])
    edges = read(root, "neuron", weights=True).edges
    numbers = [w.data for layer in model.layers for n in layer.neurons for w in n.w]
    assert sorted(edge.weight for edge in edges) == sorted(numbers)
    drawing = draw(root, detail="neuron", weights=True, engine="builtin")
    for number in numbers:
        assert shown(number).replace("-", "−") in drawing.svg
        assert f'label="{shown(number).replace("-", "−")}"' in drawing.source
    assert all(edge.weight is None for edge in read(root, "neuron").edges)


def test_labels_of_the_user_change_no_structure():
    """Neurons are known by the module that owns their parameters: not by labels, and not if it is gone."""
    shapes = []
    for rename in (False, True):
        model = network(3, 1)
        if rename:
            model.layers[0].neurons[1].w[0].label = "mine"
            model.layers[1].neurons[0].b.label = ""
        root = model([0.5, -1.0])
        root.label = "out" if rename else ""
        for level in ("neuron", "layer"):
            picture = read(root, level)
            shapes.append([(n.kind, n.sign, n.size, n.group) for n in picture.nodes])
    assert shapes[:2] == shapes[2:]
    assert read(root, "neuron").nodes[-1].name == "out"
    left = loss_of(network(2, 1))  # its model is garbage: the labels have the paths
    gc.collect()
    assert [n.name for n in read(left, "neuron").nodes if n.kind == "box"] == ["a⁽¹⁾₁", "a⁽¹⁾₂", "z⁽²⁾₁"]


def test_one_name_for_a_thing_everywhere():
    model = network(2, 1, act="tanh")
    root = loss_of(model)
    root.backward()
    drawn_names = {node.value: node.name for node in read(root, "node").nodes if node.name}
    told = names([*{x: 0 for v in newest_first([root])[::-1] for x in v.inputs}, root], root)
    assert all(told[v].text == name for v, name in drawn_names.items())
    inputs = {"x₁", "x₂"}
    weights = {f"w⁽¹⁾{i}{j}" for i in "₁₂" for j in "₁₂"} | {"w⁽²⁾₁₁", "w⁽²⁾₁₂", "b⁽¹⁾₁", "b⁽¹⁾₂", "b⁽²⁾₁"}
    neurons = {"z⁽¹⁾₁", "a⁽¹⁾₁", "z⁽¹⁾₂", "a⁽¹⁾₂", "z⁽²⁾₁"}
    assert {*drawn_names.values()} == inputs | weights | neurons


def test_a_model_that_is_called_twice_counts_its_calls():
    model = tg.Layer(1, 1, act="tanh")
    root = model([0.5]) + model([2.0])
    found = [node.name for node in read(root, "node").nodes if node.name]
    assert found == ["w₁₁", "x₁[1]", "b₁", "z₁[1]", "a₁[1]", "x₁[2]", "z₁[2]", "a₁[2]"]


@pytest.mark.parametrize(
    ("label", "text", "tex"),
    [
        ("w_{11}", "w₁₁", "w_{11}"),
        (r"\alpha", "α", r"\alpha"),
        (r"\lambda_2", "λ₂", r"\lambda_2"),
        (r"\hat{y}", "ŷ", r"\hat{y}"),
        ("w^{(1)}_{2,3}", "w⁽¹⁾₂,₃", "w^{(1)}_{2,3}"),
        (r"\frac{a", r"\frac{a", r"\mathrm{\backslash{}frac\{a}"),
        (r"\input{x}", r"\input{x}", r"\mathrm{\backslash{}input\{x\}}"),
        ("a}_{1}", "a}_{1}", r"\mathrm{a\}\_\{1\}}"),
        ("x_1", "x_1", "x_{1}"),
        ("x1w1+x2w2", "x1w1+x2w2", r"\mathrm{x1w1+x2w2}"),
    ],
)
def test_latex_in_a_label_stays_latex(label, text, tex):
    assert named(label)[:2] == (text, tex)
    MathTextParser("path").parse(f"${tex}$")


def test_colours_say_the_sign_and_the_strength():
    grey, plus, minus = drawing.color(0.0, 0.0), drawing.color(2.0, 1.0), drawing.color(-2.0, 1.0)
    assert len({grey, plus, minus}) == 3
    assert drawing.color(5.0, 0.0) == drawing.color(-5.0, 0.0) == grey
    a, b = Value(2.0, label="a"), Value(-3.0, label="b")
    loss = a * b
    loss.backward()
    edges, nodes = cards(read(loss))[::-1]
    assert [edge.color for edge in edges] == [drawing.color(-3.0, 1.0), drawing.color(2.0, (2 / 3) ** 0.5)]
    assert nodes[0].color == minus


def test_the_size_of_a_saved_drawing(tmp_path, monkeypatch):
    root = Value(2.0, label="a").tanh()
    for engine in ("builtin", "dot") if find_dot() else ("builtin",):
        path = draw(root, engine=engine).save(tmp_path / "a.svg", width=1920)
        svg = ElementTree.parse(path).getroot()
        *_, w, h = map(float, svg.get("viewBox").split())
        assert (float(svg.get("width")), float(svg.get("height"))) == (
            1920,
            pytest.approx(1920 * h / w, rel=0.03),
        )
    for wrong in (0, -3, "wide", float("nan"), 10**9):
        with pytest.raises(ValueError, match=r"draw: width is a number from 1 to 20,000, not "):
            draw(root).save(tmp_path / "b.svg", width=wrong)
    assert not (tmp_path / "b.svg").exists()
    if find_dot():
        sizes = [len(draw(root).save(tmp_path / "a.png", dpi=dpi).read_bytes()) for dpi in (50, 300)]
        assert sizes[0] < sizes[1]
        assert draw(root).save(tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")


def test_the_same_graph_gives_the_same_file():
    def made():
        root = loss_of(network(5, 4, 1, act="tanh"))
        root.backward()
        return root

    once, again = (draw(made(), engine="builtin") for _ in range(2))
    assert (once.svg, once.source) == (again.svg, again.source)
    root = made()
    ids = [(node.id, node.label) for node in read(root).nodes]
    for leaf in [node.value for node in read(root).nodes if node.kind == "leaf"][::-1]:
        leaf.data = leaf.data + 1.0
    assert [(node.id, node.label) for node in read(root).nodes] == ids


# --- whatever labels say ------------------------------------------------------------------------------------

PIECES = [
    '"', "\\", "\\N", "\\G", "\\l", '\\"', "<b>", "</b>", "{|}", "<", ">", "&", "&lt;", "&#60;", "&amp;",
    "]]>", "<!--", "-->", "\n", "\r", "\t", "\0", "\x07", "\x1b[31m", "\x7f", "\x85", "\u2028", "\ufffe",
    "\uffff", "\ud800", "\udfff", "</script>", "<img src=x onerror=alert(1)>", "</text></svg>",
    "javascript:alert(1)", "'", "`", ";", "]", "}", "n0", "->", "digraph {", "//", "/*", "#", "%n", "{0}",
    "é", "e\u0301", "שלום", "عربى", "\u202e", "\u2066", "日本語", "🎉", "👩\u200d🔬", "\U0010ffff", " ",
    "  ", "\u00a0", "w", "loss", "0",
]  # fmt: skip
ELEMENTS = {"svg", "title", "g", "rect", "text", "path"}
ATTRIBUTES = {
    "width", "height", "viewBox", "role", "font-family", "font-size", "font-weight", "transform", "class",
    "id", "x", "y", "rx", "fill", "stroke", "stroke-width", "stroke-dasharray", "text-anchor", "d",
}  # fmt: skip


def hostile_labels(seed, count):
    rng = random.Random(seed)
    return ["".join(rng.choices(PIECES, k=rng.randrange(1, 7))) for _ in range(count)]


def labelled(labels):
    return tg.sum([Value(1.0, label=label) for label in labels])


def check_svg(svg, labels):
    """Well-formed, made of nothing but shapes and text, and the labels are that text."""
    root = ElementTree.fromstring(svg.encode("utf-8"))
    for element in root.iter():
        assert element.tag.removeprefix(SVG) in ELEMENTS
        names = {name.replace("{http://www.w3.org/XML/1998/namespace}", "xml:") for name in element.attrib}
        assert names <= ATTRIBUTES | {"xml:space"}
        assert re.fullmatch(r"n\d+", element.get("id", "n0"))
        assert not re.search("script|url|http|href", " ".join(element.attrib.values()))
    groups = drawn(svg)
    for i, label in enumerate(labels):
        title, text = groups[f"n{i}"].find(f"{SVG}title"), groups[f"n{i}"].find(f"{SVG}text")
        assert title.text.split("\n")[1] == visible(label)
        assert text.text == clipped(visible(label))


def unescaped(text):
    """What DOT and Graphviz make of the inside of a quoted string."""
    text = re.sub(r"\\(.)", lambda m: {"n": "\n"}.get(m[1], m[1]), text)
    return html.unescape(text)


STRING = r'"((?:[^"\\]|\\.)*)"'


def check_dot(source, labels):
    """Every line is one statement of a known form, and the labels come back from its strings."""
    lines = source.split("\n")
    assert lines[0] == "digraph {" and lines[-2:] == ["}", ""]
    attribute = rf"[a-z]+=(?:{STRING}|[\w.]+)"
    for line in lines[1:-2]:
        assert re.fullmatch(
            rf"  (?:(?:n\d+|n\d+ -> n\d+|node|edge) \[)?{attribute}(?: {attribute})*\]?", line
        ), line
    for i, label in enumerate(labels):
        line = next(line for line in lines if line.startswith(f"  n{i} ["))
        found, tip = (unescaped(re.search(rf"{name}={STRING}", line)[1]) for name in (" \\[label", "tooltip"))
        assert found.split("\n")[0] == clipped(visible(label))
        assert tip.split("\n")[1] == wide(visible(label))


def wide(text):
    """What tooltips in DOT say instead of the signs that Graphviz reads twice."""
    return text.replace("\\", "＼").replace("&", "＆")


def test_ten_thousand_hostile_labels_stay_text():
    for seed in range(100):
        labels = hostile_labels(seed, 100)
        picture = draw(labelled(labels), engine="builtin")
        check_svg(picture.svg, labels)
        check_dot(picture.source, labels)


@given(st.lists(st.text(st.characters(), min_size=1, max_size=60), min_size=1, max_size=5))
@settings(max_examples=200)
def test_any_label_stays_text(labels):
    picture = draw(labelled(labels), engine="builtin")
    check_svg(picture.svg, labels)
    check_dot(picture.source, labels)


def test_graphviz_reads_hostile_labels_as_text(dot):
    for seed in range(6):
        labels = hostile_labels(1000 + seed, 150)
        source = to_dot(labelled(labels))
        check_svg_of_dot(
            subprocess.run([dot, "-Tsvg"], input=source.encode(), capture_output=True, check=True), labels
        )
        parsed = subprocess.run([dot, "-Tjson0"], input=source.encode(), capture_output=True, check=True)
        said = {node["name"]: node["label"] for node in json.loads(parsed.stdout)["objects"]}
        for i, label in enumerate(labels):
            assert unescaped(said[f"n{i}"]).split("\n")[0] == clipped(visible(label))


def check_svg_of_dot(ran, labels):
    assert ran.stderr == b""
    root = ElementTree.fromstring(ran.stdout)
    nodes = {g.find(f"{SVG}title").text: g for g in root.iter(f"{SVG}g") if g.get("class") == "node"}
    link = "{http://www.w3.org/1999/xlink}"
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {
        *ELEMENTS,
        "a",
        "polygon",
        "polyline",
    }
    assert not [element for element in root.iter() if element.get(f"{link}href") or element.get("href")]
    for i, label in enumerate(labels):
        text = next(nodes[f"n{i}"].iter(f"{SVG}text")).text
        assert text.replace("\u00a0", " ").split() == clipped(visible(label)).replace("\u00a0", " ").split()
        tip = next(a.get(f"{link}title") for a in nodes[f"n{i}"].iter(f"{SVG}a"))
        assert (
            tip.split("\n")[1].replace("\u00a0", " ").split()
            == wide(visible(label)).replace("\u00a0", " ").split()
        )


def test_a_label_of_a_million_characters_is_drawn():
    root = Value(2.0, label="x" * 1_000_000) * Value(3.0, label="\x1b[31m\0" * 100_000)
    drawing = draw(root)
    assert drawing.engine == ("dot" if find_dot() else "builtin")
    for text in (drawing.svg, drawing.source, draw(root, engine="builtin").svg):
        assert 500 < len(text) < 12_000
        assert "\x1b" not in text
        assert "\0" not in text


def test_invisible_signs_become_visible():
    assert visible("a\0b\n\u202ec\ud800") == "a\\u0000b\\u000a\\u202ec\\ud800"
    assert visible("e\u0301 👩\u200d🔬 שלום") == "e\u0301 👩\u200d🔬 שלום"
    assert (cells("ab"), cells("日本"), cells("e\u0301")) == (2, 4, 1)
    assert clipped("x" * 40) == "x" * 25 + "…"
    assert clipped("日" * 30) == "日" * 12 + "…"


# --- files and notebooks ------------------------------------------------------------------------------------


@pytest.fixture
def product():
    a = Value(2.0, label="a")
    return a * a


def test_a_drawing_is_saved_in_the_format_that_the_name_ends_in(product, tmp_path):
    picture = draw(product, engine="builtin")
    assert picture.save(tmp_path / "a.svg").read_text(encoding="utf-8") == picture.svg
    assert (
        picture.save(str(tmp_path / "a.DOT")).read_text(encoding="utf-8") == picture.source == to_dot(product)
    )
    assert draw_dot(product, format="dot").render(tmp_path / "gout") == tmp_path / "gout.dot"
    with pytest.raises(ValueError, match="saved as svg, dot, png, pdf, not as 'jpeg'"):
        picture.save(tmp_path / "a.jpeg")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.DOT", "a.svg", "gout.dot"]


def test_a_file_that_cannot_be_made_leaves_everything_as_it_was(product, tmp_path, monkeypatch):
    picture = draw(product, engine="builtin")
    with pytest.raises(
        DrawError,
        match=r"cannot write '.*nowhere/a.svg': No such file or directory: make the folder "
        "'.*nowhere' first; nothing was changed",
    ):
        picture.save(tmp_path / "nowhere" / "a.svg")
    (tmp_path / "b.svg").mkdir()
    with pytest.raises(DrawError, match=r"cannot write .*b.svg': it is a folder; give the name of a file"):
        picture.save(tmp_path / "b.svg")
    with pytest.raises(DrawError, match=r"cannot write '': it is a folder"):
        picture.save("")
    with pytest.raises(TypeError, match=r"a file name is expected, such as 'graph.svg' .*, not one int"):
        picture.save(3)
    with pytest.raises(DrawError, match=r"cannot write 'a\\x00.svg': embedded null byte; choose another"):
        picture.save("a\0.svg")
    assert [path.name for path in tmp_path.iterdir()] == ["b.svg"]


def test_a_link_stays_a_link(product, tmp_path):
    (tmp_path / "real.svg").write_text("before")
    (tmp_path / "link.svg").symlink_to("real.svg")
    draw(product, engine="builtin").save(tmp_path / "link.svg")
    assert (tmp_path / "link.svg").is_symlink()
    assert (tmp_path / "real.svg").read_text().startswith("<svg")


def test_a_drawing_shows_itself_in_a_notebook_and_a_value_does_not(product):
    picture = draw(product, engine="builtin")
    assert picture._repr_mimebundle_() == {"image/svg+xml": picture.svg, "text/plain": "<Drawing of 2 nodes>"}
    assert repr(draw(Value(1.0), engine="builtin")) == "<Drawing of 1 node>"
    assert not [name for name in dir(Value) if name.startswith("_repr_")]


# --- Graphviz, and stand-ins for it -------------------------------------------------------------------------


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """Puts a program named dot, of these lines of shell, where the package graphviz would look for it."""

    def install(script):
        program = tmp_path / "bin" / "dot"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        backend = SimpleNamespace(DOT_BINARY=Path(program))
        monkeypatch.setitem(sys.modules, "graphviz", SimpleNamespace(backend=backend))

    return install


def test_dot_is_used_where_it_is_installed(product, stand_in, tmp_path):
    stand_in('cat > "$0.in"; echo \'<?xml?><svg from="dot"/>\' "$@"')
    picture = draw(product)
    assert picture.svg == '<svg from="dot"/> -Tsvg\n'
    assert (tmp_path / "bin" / "dot.in").read_text(encoding="utf-8") == picture.source
    assert draw(product, engine="builtin").svg != picture.svg
    assert "-Tpng" in picture.save(tmp_path / "a.png").read_text()


def test_without_dot_the_built_in_layout_draws(product, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "graphviz", None)  # what an import of it then finds
    picture = draw(product)
    assert picture.svg == draw(product, engine="builtin").svg
    install = r"needs the program dot and the package graphviz, not found: install Graphviz \(apt .*"
    with pytest.raises(
        DrawError, match=r"engine='dot' " + install + r"then pip install 'tinygrad_bp\[graphviz\]'"
    ):
        draw(product, engine="dot")
    with pytest.raises(DrawError, match="a png " + install):
        picture.save(tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("script", "text"),
    [
        (
            "exec sleep 60",
            r"^dot gave no drawing within 0.2 s: draw less \(depth=, detail='layer'\), or draw with engine=",
        ),
        ("echo no memory >&2; exit 3", r"^dot failed with status 3 and said: no memory. Draw less"),
        ("exit 0", r"^dot failed with status 0 and said: nothing. Draw less"),
        ("echo not a picture", r"^dot answered something else than SVG: 'not a picture"),
    ],
)
def test_a_dot_that_hangs_or_fails_is_an_error_and_leaves_no_file(
    script, text, product, stand_in, tmp_path, monkeypatch
):
    monkeypatch.setattr(drawing, "PATIENCE", 0.2 if "sleep" in script else 20.0)
    stand_in(script)
    with pytest.raises(DrawError, match=text):
        draw(product, engine="dot").save(tmp_path / "a.svg")
    assert not (tmp_path / "a.svg").exists()
    chosen = draw(product)
    assert chosen.svg == draw(product, engine="builtin").svg  # nobody asked for dot
    assert chosen.engine == "builtin"


def test_a_dot_that_does_not_start_is_an_error(product, stand_in, tmp_path):
    stand_in("")
    (tmp_path / "bin" / "dot").write_bytes(b"\x7fELF nonsense")
    with pytest.raises(DrawError, match=r"^dot could not be started \(.*\): draw less"):
        draw(product, engine="dot").save(tmp_path / "a.svg")
    assert draw(product).svg == draw(product, engine="builtin").svg


def test_the_real_dot_draws_every_level(dot, tmp_path, monkeypatch):
    backend = SimpleNamespace(DOT_BINARY=Path(dot))
    monkeypatch.setitem(sys.modules, "graphviz", SimpleNamespace(backend=backend))
    root = loss_of(network(3, 1))
    root.backward()
    for level in LEVELS:
        picture = draw(root, detail=level, engine="dot")
        svg = ElementTree.fromstring(picture.svg)
        assert len([g for g in svg.iter(f"{SVG}g") if g.get("class") == "node"]) == len(
            read(root, level).nodes
        )
        assert picture.save(tmp_path / f"{level}.png").read_bytes().startswith(b"\x89PNG")
    assert len(list(tmp_path.iterdir())) == len(LEVELS)


# --- micrograd's drawing code -------------------------------------------------------------------------------


class Digraph:
    """What micrograd's notebook uses of the package graphviz."""

    def __init__(self, format, graph_attr):
        self.nodes, self.edges, self.format = {}, [], format

    def node(self, name, label, shape="ellipse"):
        self.nodes[name] = label

    def edge(self, tail, head):
        self.edges.append((tail, head))


def notebook_draw_dot(root, format="svg", rankdir="LR"):
    """Micrograd's own way to draw, on our trace."""
    assert rankdir in ["LR", "TB"]
    nodes, edges = trace(root)
    dot = Digraph(format=format, graph_attr={"rankdir": rankdir})
    for n in nodes:
        dot.node(name=str(id(n)), label="{ data %.4f | grad %.4f }" % (n.data, n.grad), shape="record")  # noqa: UP031
        if n._op:
            dot.node(name=str(id(n)) + n._op, label=n._op)
            dot.edge(str(id(n)) + n._op, str(id(n)))
    for n1, n2 in edges:
        dot.edge(str(id(n1)), str(id(n2)) + n2._op)
    return dot


def test_the_notebook_of_micrograd_draws_our_values():
    x = Value(1.0)
    y = (x * 2 + 1).relu()
    y.backward()
    dot = notebook_draw_dot(y)
    assert sorted(dot.nodes.values()) == [
        "*",
        "+",
        "ReLU",
        "{ data 1.0000 | grad 1.0000 }",
        "{ data 1.0000 | grad 2.0000 }",
        "{ data 2.0000 | grad 1.0000 }",
        "{ data 2.0000 | grad 1.0000 }",
        "{ data 3.0000 | grad 1.0000 }",
        "{ data 3.0000 | grad 1.0000 }",
    ]
    assert len(dot.edges) == 8
    assert all(tail in dot.nodes and head in dot.nodes for tail, head in dot.edges)


def test_trace_collects_nodes_and_pairs():
    a, b = Value(2.0), Value(3.0)
    c = a * b
    d = c + a
    nodes, edges = trace(d)
    assert {id(v) for v in nodes} == {id(v) for v in (a, b, c, d)}
    assert {(id(x), id(y)) for x, y in edges} == {
        (id(a), id(c)),
        (id(b), id(c)),
        (id(c), id(d)),
        (id(a), id(d)),
    }
    assert trace(a) == ({a}, set())
    x = Value(1.0)
    for _ in range(20_000):
        x = x + 1.0
    assert len(trace(x)[0]) == 40_001


def test_draw_dot_draws_every_node():
    picture = draw_dot(loss_of(network(8, 8, 1)), rankdir="TB")
    assert repr(picture) == "<Drawing of 143 nodes>"
    assert "rankdir=TB" in picture.source
    model = network(16, 16, 16, 16, 16, 16, 16, 16, 16, 1)
    with pytest.raises(DrawError, match=r"draw_dot\(root, depth=6\), detail='neuron' or max_nodes=\d+$"):
        draw_dot(loss_of(model))
    assert repr(draw_dot(loss_of(model), depth=2)) == "<Drawing of 4 nodes>"
