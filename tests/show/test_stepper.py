"""The stepper's page as a file: its data against the engine, its size, its seal, and what it refuses.

What a browser makes of it is in test_stepper_browser.py.
"""

import html
import os
import random
import re
from base64 import b64encode
from hashlib import sha256

import pytest
from support.graphs import HOSTILE, data_of, lecture_loss, mlp, nodes_under
from support.programs import random_program, run

import tinygrad_bp as tg
from tinygrad_bp import DrawError, StaleGraphError, Value, stepper
from tinygrad_bp.ops import OPS
from tinygrad_bp.show.graph import clipped, visible
from tinygrad_bp.show.stepper.moments import numbers, shape
from tinygrad_bp.show.stepper.sealed import PAGE
from tinygrad_bp.show.stepper.squeeze import squeezed, tokens
from tinygrad_bp.show.symbols import Symbol, formula, partials

# --- the data -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(40))
def test_the_numbers_are_the_engines(seed):
    program = random_program(seed)
    leaves = [Value(x) for x in program.inputs]
    root = run(program, leaves, lambda name, xs, constants: OPS[name](*xs, *constants))[-1]
    graph, moment = shape(root), numbers(root)
    root.backward()
    by_number = {v.number: v for v in nodes_under(root)}
    assert len(graph["nodes"]) == len(by_number)
    data_and_grads = sorted(zip(moment["data"], moment["grads"]))
    assert data_and_grads == sorted((v.data, v.grad) for v in by_number.values())
    adjoint = dict.fromkeys(range(len(graph["nodes"])), 0.0) | {graph["root"]: 1.0}
    reached = {graph["root"]}
    for target in reversed(graph["order"]):  # what the page does
        for edge, d in zip(graph["edges"], moment["partials"]):
            if edge["dst"] == target and target in reached and d is not None:
                adjoint[edge["src"]] += d * adjoint[target]
                reached.add(edge["src"])
    assert [adjoint[i] for i in range(len(graph["nodes"]))] == moment["grads"]


def test_nothing_is_changed_by_making_a_page():
    loss = lecture_loss()
    stepper(loss)
    assert all(v.grad == 0.0 for v in nodes_under(loss))


def test_the_same_graph_gives_the_same_page():
    assert stepper(lecture_loss()).html == stepper(lecture_loss()).html


def test_nan_and_infinities_are_texts():
    x = Value(0.0, label="x")
    _, data = data_of(stepper(x.log() * x - (x - 1.0).log()))
    (moment,) = data["moments"]
    assert {"nan", "-inf"} <= {entry for entry in moment["data"] if isinstance(entry, str)}
    assert "inf" in moment["partials"]


def test_a_cut_edge_has_no_partial_and_a_step_has_no_slope():
    x = Value(-1.0, label="x")
    graph, moment = shape(x.relu() + tg.gt(x, 0.0)), numbers(x.relu() + tg.gt(x, 0.0))
    assert [d for edge, d in zip(graph["edges"], moment["partials"]) if edge["src"] == 0] == [None, None]
    assert [node.get("flat", False) for node in graph["nodes"] if node["op"] in ("ReLU", ">")] == [
        False,
        True,
    ]


def test_names_are_labels_and_else_v1_v2_and_l():
    a = Value(2.0, label="a")
    graph = shape((a * 3.0 + a).tanh())
    assert [node["name"] for node in graph["nodes"]] == ["a", "c₁", "v1", "v2", "L"]


def test_parameters_are_named_briefly_and_as_a_whole():
    nodes = shape(mlp(2, 1))["nodes"]
    told = {node["label"]: (node["name"], node["tex"]) for node in nodes if "label" in node}
    assert told["layers.0.neurons.1.w.0"] == ("w⁽¹⁾₂₁", "w^{(1)}_{21}")
    assert len({name for name, _ in told.values()}) == len(told) == 9


def test_names_that_would_be_the_same_are_told_apart():
    w, v = Value(1.0, label="w.1"), Value(2.0, label="w₁")
    assert [node["name"] for node in shape(w * v)["nodes"]] == ["w₁", "w₁′", "L"]


# --- formulas: what the page fills in is what explanations write --------------------------------------------


def filled(form, names, bracket):
    parts = (
        part if isinstance(part, str) else bracket(names[-1 - part]) if part < 0 else names[part]
        for part in form
    )
    return "".join(parts)


@pytest.mark.parametrize(
    "row", [row for row in OPS.values() if row.name in tg.ops.TABLE], ids=lambda row: row.name
)
def test_forms_say_what_explanations_say(row):
    op = row.at(*(1.5 + i for i in range(len(row.constants)))) if None in row.constants.values() else row.at()
    names = ["a", "b", "c", "d", "e"][: row.operands or 5]
    root = op(*[Value(0.5 + i / 10, label=name) for i, name in enumerate(names)])
    root.label = "o"
    graph = shape(root)
    symbols = [Symbol.named(name) for name in names]
    for kind, which in (("text", 0), ("tex", 1)):
        form = graph["forms"][graph["nodes"][graph["root"]]["form"]][which]
        expected = getattr(formula(op, symbols), kind)
        assert filled(form, [*names, "o"], str) == (expected.replace("-", "−") if which == 0 else expected)
        slopes = partials(op, Symbol.named("o"), symbols)
        for edge, slope in zip(graph["edges"], slopes):
            form, expected = graph["forms"][edge["form"]][which], getattr(slope, kind)
            assert filled(form, [*names, "o"], str) == (
                expected.replace("-", "−") if which == 0 else expected
            )


def test_a_negative_operand_gets_brackets_where_it_needs_them():
    a, b = Value(1.0, label="a"), Value(2.0, label="b")

    def written(root):
        graph = shape(root)
        return filled(
            graph["forms"][graph["nodes"][graph["root"]]["form"]][0], ["A", "B"], lambda name: f"({name})"
        )

    assert written(a * b) == "(A)·(B)"
    assert written(a + b) in ("A + (B)", "(A) + (B)")
    assert written(a.tanh()) == "tanh(A)"
    assert written(a**2) == "(A)²"
    assert written(a.silu()) == "(A)·σ(A)"


def test_a_rule_that_symbols_cannot_follow_has_no_formula():
    mine = tg.op("mine_of_floats", lambda x: x * x, lambda o, x: (2.0 * float(getattr(x, "data", x)),))
    try:
        graph = shape(mine(Value(3.0, label="x")))
        assert [edge["form"] for edge in graph["edges"]] == [-1]
    finally:
        del OPS["mine_of_floats"]


# --- large graphs -------------------------------------------------------------------------------------------


def test_levels_have_groups_and_large_graphs_begin_with_neurons():
    graph = shape(mlp(16, 16, 1))
    assert ([view["level"] for view in graph["views"]], graph["first"]) == (["neurons", "layers"], 0)
    for view, count, first, last in zip(graph["views"], (33, 3), ("a⁽¹⁾₁", "layer 1"), ("z⁽³⁾₁", "layer 3")):
        names = [group["name"] for group in view["groups"]]
        assert (len(names), names[0], names[-1]) == (count, first, last)
        sizes = [sum(place["group"] == i for place in view["nodes"]) for i in range(count)]
        neurons = [3 + 2] * 16 + [17 + 2] * 16 + [17 + 1]
        assert sizes == (neurons if count == 33 else [16 * 5, 16 * 19, 18])
        sums = [pair for group in view["groups"] for pair in group["neurons"]]
        assert len(sums) == 33
        assert all(graph["nodes"][z]["op"] == "dot" for z, _ in sums)
        assert all(graph["nodes"][a]["op"] == "tanh" for z, a in sums if a != z)
    small = shape(mlp(4, 1))
    assert ([view["level"] for view in small["views"]], small["first"]) == (
        ["scalars", "neurons", "layers"],
        0,
    )
    assert shape(mlp(4, 4, 1, nin=3))["first"] == 1
    assert [view["level"] for view in shape(lecture_loss())["views"]] == ["scalars"]


def test_an_activation_of_several_operations_is_no_part_of_a_neuron_s_equations():
    model = tg.MLP(2, [2, 1], act=lambda v: (v * 2.0).sin(), out_act="tanh", rng=random.Random(0))
    view = shape(model([1.0, 2.0]))["views"][-1]
    assert [[a - z for z, a in group["neurons"]] for group in view["groups"]] == [[0, 0], [1]]


def test_no_box_lies_on_another():
    for graph in (shape(mlp(3, 1)), shape(lecture_loss()), shape(mlp(16, 16, 1))):
        for view in graph["views"]:
            for group in range(-1, len(view["groups"])):
                boxes = [node for node in view["nodes"] if node["group"] == group and "x" in node]
                boxes += view["groups"] if group < 0 else []
                for i, a in enumerate(boxes):
                    for b in boxes[:i]:
                        apart = abs(a["x"] - b["x"]) >= (a["w"] + b["w"]) / 2
                        assert apart or abs(a["y"] - b["y"]) >= a["h"], (a, b)


def test_a_graph_too_large_says_what_to_do():
    with pytest.raises(
        DrawError, match=r"6,00\d nodes, and 5,000 are the most .* take the loss of one sample"
    ):
        stepper(sum(Value(1.0) for _ in range(3001)))
    with pytest.raises(
        DrawError, match=r"nodes that belong to no neuron, or neurons, and 2,000 can be shown"
    ):
        stepper(sum(Value(1.0) for _ in range(2001)))


# --- the file -----------------------------------------------------------------------------------------------


def test_the_page_is_small():
    page = stepper(lecture_loss()).html
    data, _ = data_of(stepper(lecture_loss()))
    assert len(page.encode()) - len(data) < 80_000
    ten = (Value(1.0, label="x") + Value(2.0, label="y")).tanh() * Value(3.0) + Value(4.0)
    ten = ten - Value(2.0)
    assert len(nodes_under(ten)) == 10
    assert len(stepper(ten).html.encode()) < 84_000


@pytest.mark.parametrize(
    "script, expected",
    [
        ("a = b\n(c)", "a=b\n(c)"),  # as it stands: no semicolon is added, and none is needed
        ("f(x => {\n  return x;\n})\ng()", "f(x=>{return x;})\ng()"),
        ("a = 1\n/re/.test(b)", "a=1\n/re/.test(b)"),
        ("x = a / b / c", "x=a/b/c"),
        ('y = s.replace(/ "[/] ` /g, "  //  ")  // gone', 'y=s.replace(/ "[/] ` /g,"  //  ")'),
        (
            "z = `a  ${ b ? `, ${ c } and  d` : {e: 1} }  // stays`",
            "z=`a  ${b?`, ${c} and  d`:{e:1}}  // stays`",
        ),
        ("i++\n++j", "i++\n++j"),
        ("a + +b - -c - --d", "a+ +b- -c- --d"),
        ("const {a, b} = c\nlet d", "const{a,b}=c\nlet d"),
        ("/* all\n of it */ a /* and */ in b", "a in b"),
        ("a\n  .b()\n  ?.c", "a.b()?.c"),
    ],
)
def test_a_script_is_squeezed_without_a_change(script, expected):
    assert squeezed(script) == expected
    assert squeezed(expected) == expected


def test_the_page_s_scripts_have_the_tokens_of_their_sources():
    for path in sorted(PAGE.glob("*.js")):
        source = path.read_text(encoding="utf-8")
        assert [token for _, token in tokens(squeezed(source))] == [token for _, token in tokens(source)]
        assert len(squeezed(source)) < len(source)


def test_only_its_own_script_and_style_can_run():
    page = stepper(lecture_loss()).html
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)

    def sealed(text):
        return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"

    (style,) = re.findall(r"<style>(.*?)</style>", page, re.S)
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.S)
    assert policy.split("; ")[:4] == [
        "default-src 'none'",
        f"script-src {sealed(script)}",
        f"style-src {sealed(style)}",
        "img-src blob:",  # a picture that the page itself has drawn
    ]
    assert page.index("Content-Security-Policy") < page.index("<style>")


def test_it_names_no_other_place():
    page = stepper(mlp(2, 1)).html
    assert not re.findall(r"<\w+[^<>]*\s(?:src|href|action)=|@import|url\(|fetch\(|import\(", page)
    assert set(re.findall(r"https?://[\w./]+", page)) == {
        "http://www.w3.org/",
    }


def test_a_hostile_label_stays_in_its_string():
    loss = Value(2.0, label=HOSTILE) * Value(3.0, label="<!--<script>")
    loss.label = HOSTILE
    page = stepper(loss)
    text, data = data_of(page)
    assert "<" not in text
    assert page.html.count("<img") == 0
    assert page.html.count("<script") == 2
    assert data["graphs"][0]["nodes"][0]["name"] == clipped(visible(HOSTILE), 60)
    assert "</script><img src=x" not in html.unescape(page._repr_html_()).replace("&lt;", "")
    page.html.encode()


def test_a_leaf_that_holds_more_than_this_pass_says_so():
    w, x = Value(3.0, label="w"), Value(2.0, label="x")
    loss = w * x
    loss.backward()
    assert numbers(loss)["others"] == {}
    loss.backward()
    assert numbers(loss)["others"] == {0: (4.0, 2.0), 1: (6.0, 3.0)}


def test_a_label_of_a_million_characters_takes_little_room():
    page = stepper(Value(2.0, label="x" * 1_000_000) * Value(3.0, label="\x1b\0" * 500_000))
    assert len(page.html) < 86_000
    assert not {"\x1b", "\0"} & {*page.html}


def test_it_is_saved_whole_or_not_at_all(tmp_path):
    path = tmp_path / "backprop.html"
    page = stepper(lecture_loss(), path)
    assert path.read_text(encoding="utf-8") == page.html
    assert [file.name for file in tmp_path.iterdir()] == ["backprop.html"]
    missing = tmp_path / "no" / "such.html"
    with pytest.raises(DrawError, match=f"cannot write '{re.escape(str(missing))}'.*nothing was changed"):
        stepper(lecture_loss(), missing)
    with pytest.raises(DrawError, match=r"cannot write .* it is a folder"):
        stepper(lecture_loss(), tmp_path)
    with pytest.raises(TypeError, match=r"a file name is expected, such as .*'backprop.html', not one MLP"):
        stepper(lecture_loss(), tg.MLP(2, [1]))
    assert page.save(tmp_path / "named") == tmp_path / "named.html"
    (tmp_path / "named.html").unlink()
    with pytest.raises(StaleGraphError):
        stepper(stale(), path)
    assert path.read_text(encoding="utf-8") == page.html
    assert [file.name for file in tmp_path.iterdir()] == ["backprop.html"]


def test_a_path_may_be_a_text(tmp_path):
    stepper(lecture_loss(), os.fspath(tmp_path / "page.html"))
    assert (tmp_path / "page.html").stat().st_size > 30_000


def test_in_a_notebook_it_is_a_frame_that_may_run_scripts_and_nothing_else():
    page = stepper(lecture_loss())
    bundle = page._repr_mimebundle_()
    assert bundle["text/html"] == page._repr_html_()
    (source,) = re.findall(r'srcdoc="([^"]*)"', bundle["text/html"])
    assert html.unescape(source) == page.html
    assert re.findall(r'sandbox="([^"]*)"', bundle["text/html"]) == ["allow-scripts allow-downloads"]
    assert re.fullmatch(
        r"<stepper page of \d+ kB: .save\('backprop.html'\) and open it>", bundle["text/plain"]
    )


# --- errors -------------------------------------------------------------------------------------------------


def stale():
    w = Value(3.0, label="w")
    loss = w * w
    w.data = 5.0
    return loss


def test_a_stale_graph_is_refused():
    with pytest.raises(StaleGraphError, match=r"the leaf 5.0 \(label 'w'\) was set after 'mul'"):
        stepper(stale())


@pytest.mark.parametrize("wrong", [3.0, "loss", None, [Value(1.0)]], ids=repr)
def test_what_is_no_value_is_refused(wrong):
    with pytest.raises(TypeError, match="stepper takes the Value a graph ends in"):
        stepper(wrong)


def test_a_leaf_alone_is_a_graph():
    _, data = data_of(stepper(Value(2.0)))
    assert data["graphs"][0]["order"] == []
