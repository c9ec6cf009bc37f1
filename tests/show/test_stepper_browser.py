"""The stepper's page in a real browser: Chromium of the system, driven by Playwright, from a file on disk.

The fixture `visit` opens a page: an error in it, a word on its console or a request for anything but the
file fails the test.
"""

import math
import os
import random
import re
from xml.etree import ElementTree

import matplotlib.image
import pytest
from support.forms import seed_of_the_commit
from support.graphs import HOSTILE, data_of, lecture_loss, magnitudes, mlp, recorded, shared
from support.programs import at_other_inputs, random_program, run

import tinygrad_bp as tg
from tinygrad_bp import Value, stepper
from tinygrad_bp.ops import OPS
from tinygrad_bp.show.graph import read
from tinygrad_bp.show.stepper.moments import shape

SEED = int(os.environ.get("SEED", seed_of_the_commit()))
STILL = {"reduced_motion": "reduce"}
TEXT = "document.body.innerHTML"


def test_no_gradient_has_no_colour_and_none_fades_in_from_black(visit):
    """Neither when the page opens nor when a step back takes a gradient away."""
    tab = visit(stepper(lecture_loss()), "#step=0")
    fills = "[...document.querySelectorAll('.strip')].map(one => getComputedStyle(one).fill)"
    assert {*tab.evaluate(fills)} == {"none"}
    opacity = "page.drawing.things.map(({strip}) => strip.getAttribute('fill-opacity'))"
    tab.evaluate("page.drawing.build()")
    assert {*tab.evaluate(opacity)} == {"0"}
    press(tab, "End")
    assert "none" not in tab.evaluate(fills)
    press(tab, "Home")
    assert {*tab.evaluate(fills)} == {"none"}


def press(tab, key, times=1):
    for _ in range(times):
        tab.keyboard.press(key)


def gradients(tab):
    """What the page adds up, by the number of the node."""
    return tab.evaluate("page.graph.nodes.map(({data, grad}) => [String(data), String(grad)])")


def number(text):
    """A number as the page writes it."""
    text = text.strip().replace("−", "-").replace("∂ ", "").replace("∞", "inf")
    digits, _, power = text.partition("·10")
    return float(digits) * 10.0 ** int(power.translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")) or 0)


def close(text, x):
    return number(text) == pytest.approx(x, rel=6e-4, abs=1e-300, nan_ok=True)


def told(tab, selector):
    """The words of one element, as they are shown; those in the drawing know no lines."""
    one = tab.locator(selector)
    return one.text_content() if one.evaluate("one => one instanceof SVGElement") else one.inner_text()


def equation(tab, which=0):
    """An equation of the panel, without its blanks: the left side and then each of its steps."""
    parts = (
        tab.locator("#panel .equation").nth(which).locator(":scope > span:first-child, :scope > span > span")
    )
    return [re.sub(r"\s", "", text) for text in parts.all_text_contents()]


def until(tab, condition):
    """Wait for a condition. (Playwright's own waiting runs texts inside the page, which forbids that.)"""
    for _ in range(100):
        if tab.evaluate(condition):
            return
        tab.wait_for_timeout(50)
    raise AssertionError(f"five seconds have passed without {condition}")


# --- right --------------------------------------------------------------------------------------------------


def test_gradients_are_the_engines_on_generated_programs(visit, tmp_path):
    tab = visit(stepper(lecture_loss()))
    for seed in range(SEED, SEED + 16):
        program = random_program(seed)
        leaves = [Value(x) for x in program.inputs]
        page = stepper(run(program, leaves, lambda name, xs, constants: OPS[name](*xs, *constants))[-1])
        page.save(tmp_path / "page0.html")
        tab.reload()
        press(tab, "End")
        (moment,) = data_of(page)[1]["moments"]
        assert [float(x) for _, x in gradients(tab)] == moment["grads"], program.source()
        assert tab.locator("#notice").is_hidden()
        shown = tab.locator(".node .grad").all_text_contents()
        assert len(shown) == len(moment["grads"])
        assert all(close(text, x) for text, x in zip(shown, moment["grads"])), program.source()


def test_gradients_are_the_engines_on_a_trained_network(visit):
    xs, ys = tg.data.moons(20)
    model = tg.MLP(2, [4, 1], act="tanh", rng=random.Random(0))
    tg.fit(model, (xs, ys), tg.losses.hinge, tg.optim.SGD(model.parameters(), lr=0.1), 30, reduce="mean")
    loss = tg.losses.hinge(model(xs[0]), ys[0])
    tab = visit(stepper(loss), "#step=100000")
    model.zero_grad()
    loss.backward()
    shown = tab.evaluate("Object.fromEntries(page.graph.nodes.map(node => [node.label, node.grad]))")
    for path, p in model.named_parameters():
        assert shown[path] == p.grad


def test_contributions_add_up_to_the_gradient(visit):
    tab = visit(stepper(shared()), "#step=100000")
    for i in range(tab.locator(".node").count()):
        tab.locator(".node").nth(i).click()
        cells = [
            number(cell)
            for cell in tab.locator("#panel tbody td:last-child").all_text_contents()
            if cell != "–"
        ]
        assert sum(cells) == pytest.approx(number(told(tab, "#panel tfoot td")), rel=2e-3, abs=1e-3)
        assert close(told(tab, "#panel tfoot td"), number(tab.locator(".node .grad").nth(i).text_content()))
    sums = """page.graph.nodes.map(({shares, grad}, i) =>
        [shares.reduce((sum, edge) => sum + edge.contribution, i === page.graph.root.i ? 1 : 0), grad])"""
    assert all(total == grad for total, grad in tab.evaluate(sums))


def test_paths_add_up_to_the_gradient(visit):
    tab = visit(stepper(shared()), "#step=100000&node=a")
    products = [
        number(line.rpartition(" = ")[2]) for line in tab.locator(".paths li span").all_text_contents()
    ]
    assert len(products) == 8
    assert sum(products) == pytest.approx(number(told(tab, "#panel tfoot td")), rel=2e-3, abs=2e-3)


def test_a_file_that_was_changed_is_found_out(visit):
    page = stepper(lecture_loss())
    assert page.html.count('"grads":[6.0,') == 1
    page.html = page.html.replace('"grads":[6.0,', '"grads":[6.5,')
    tab = visit(page)
    assert "The sums on this page are not the engine's: a (here 6, engine 6.5)." in told(tab, "#notice")


def test_nan_infinities_and_cut_edges_are_told(visit):
    x = Value(0.0, label="x")
    y = Value(-1.0, label="y")
    tab = visit(stepper(x.log() + y.relu() + tg.gt(y, 0.0)), "#step=100000")
    assert "−∞" in tab.locator(".node .value").all_text_contents()
    assert "∂ ∞" in tab.locator(".node .grad").all_text_contents()
    assert tab.locator(".line.cut").count() == 3
    said = set()
    for step in range(tab.evaluate("page.last")):
        tab.evaluate(f"page.go({step})")
        said.add(told(tab, "#said"))
    assert "ReLU lets nothing through to y: the path ends here." in said
    assert "> has no slope anywhere: the path ends here." in said


# --- stepping -----------------------------------------------------------------------------------------------


def test_it_says_what_happens_step_by_step(visit):
    tab = visit(stepper(lecture_loss()))
    assert told(tab, "#count") == "0 / 10"
    press(tab, "ArrowRight", 2)
    assert equation(tab) == ["d", "=e+c", "=−6+10", "=4"]
    press(tab, "ArrowRight", 2)
    assert told(tab, "#said") == "Backward begins at L: nudge it, and it moves by just as much, so ∂L/∂L = 1."
    press(tab, "ArrowRight", 5)
    assert told(tab, "#count") == "9 / 10"
    assert told(tab, "#said") == (
        "e hands (−2) × (−3) to a. a.grad: 0 + 6 → 6. "
        "× swaps: each operand gets the gradient times the other one, here b."
    )
    assert tab.locator(".product b").all_text_contents() == ["−2", "−3", "6"]
    assert tab.locator(".product i").all_text_contents() == ["∂L∂e", "∂e∂a", "∂L∂a"]
    assert equation(tab) == ["∂e∂a", "=b"]
    press(tab, "ArrowRight")
    assert told(tab, "#said") == (
        "e hands (−2) × 2 to b. b.grad: 0 + (−4) → −4. "
        "× swaps: each operand gets the gradient times the other one, here a. All gradients are complete."
    )
    assert tab.locator("#on").is_disabled()


def test_contributions_meet_one_by_one(visit):
    a = Value(3.0, label="a")
    tab = visit(stepper(a * a + a), "#step=4", **STILL)
    assert told(tab, "#said") == "L hands 1 × 1 to v1. v1.grad: 0 + 1 → 1. + copies the gradient."
    shown = []
    for _ in range(3):
        press(tab, "ArrowRight")
        shown.append(told(tab, "#panel .sum"))
    assert shown == ["a.grad: 0 + 1 → 1", "a.grad: 1 + 3 → 4", "a.grad: 4 + 3 → 7"]
    assert tab.locator("#panel tbody tr").count() == 3
    assert told(tab, '[data-node="n0"] .grad') == "∂ 7"


def test_a_gradient_is_not_shown_before_it_is_known(visit):
    tab = visit(stepper(lecture_loss()), "#step=3")
    assert set(tab.locator(".node .grad").all_text_contents()) == {"–"}
    press(tab, "Home")
    assert [*map(bool, tab.locator(".node .value").all_text_contents())] == [
        True,
        True,
        False,
        True,
        False,
        True,
        False,
    ]


@pytest.mark.parametrize(
    "make", [lecture_loss, shared, lambda: mlp(16, 16, 1)], ids=["lecture", "shared", "neurons closed"]
)
def test_as_many_steps_back_as_forward_give_the_same_page(visit, make):
    tab = visit(stepper(make()), **STILL)
    seen, most = [], 15
    while not tab.locator("#on").is_disabled() and len(seen) < most:
        seen.append(tab.evaluate(TEXT))
        press(tab, "ArrowRight")
    for text in reversed(seen):
        press(tab, "ArrowLeft")
        assert tab.evaluate(TEXT) == text


def test_all_can_be_done_by_keyboard(visit):
    tab = visit(stepper(lecture_loss()))
    reached = []
    for _ in range(60):
        press(tab, "Tab")
        reached.append(tab.evaluate("document.activeElement.id || document.activeElement.dataset.node || ''"))
    for wanted in ("on", "play", "where", "speed", "hide", "latex", "n0", "n6"):
        assert wanted in reached or wanted == "latex"  # there is nothing to copy before the first step
    tab.locator("body").evaluate("document.activeElement.blur()")
    press(tab, "b")
    assert told(tab, "#count") == "4 / 10"
    press(tab, "f")
    assert told(tab, "#count") == "1 / 10"
    press(tab, "End")
    assert told(tab, "#count") == "10 / 10"
    tab.locator('[data-node="n2"]').focus()
    press(tab, "Enter")
    assert told(tab, "#panel h2") == "e"
    press(tab, "Escape")
    assert tab.locator("#panel h2").count() == 0
    tab.locator('.tag[data-edge="0"]').focus()
    press(tab, "Space")
    assert told(tab, "#panel h2") == "e → a"
    press(tab, "Home")
    assert told(tab, "#count") == "0 / 10"


def test_it_plays_to_the_end_and_stops(visit):
    tab = visit(stepper(lecture_loss()), "#step=7")
    tab.select_option("#speed", "5")
    tab.locator("#graph").focus()
    press(tab, "Space")
    assert tab.get_attribute("#play", "aria-label") == "pause"
    until(tab, "page.step === page.last && !page.timer")
    assert tab.get_attribute("#play", "aria-label") == "play"


def answered(tab, text):
    tab.fill("#guess", text)
    tab.locator("#guess").press("Enter")
    verdict = tab.locator(".question [role=status]")
    return verdict.inner_text() if verdict.count() else ""


def test_numbers_can_be_hidden_and_predicted(visit):
    tab = visit(stepper(lecture_loss()), "#step=1", **STILL)
    press(tab, "h")
    assert tab.get_attribute("#hide", "aria-pressed") == "true"
    for place in ("#said", "#panel", '[data-node="n2"] .value'):
        assert "?" in told(tab, place) and "6" not in told(tab, place)
    assert answered(tab, "6") == "the sign is wrong"
    assert answered(tab, "1") == "not that: put the operands' numbers in"
    assert answered(tab, "six") == "“six” is not a finite number"
    answered(tab, "-6")
    assert told(tab, "#said") == "Right. Forward: e = 2·(−3) = −6."
    assert told(tab, ".question").startswith("0 of 1 right")  # it was not the first answer
    press(tab, "ArrowRight")
    answered(tab, "4")
    assert told(tab, ".question").startswith("1 of 2 right")


def is_near(x, y):
    """As near as the page asks for."""
    return abs(x - y) <= 0.01 * abs(y) + 5e-4


def test_upstream_partial_contribution_and_sum_are_asked_for_by_turns(visit):
    """Each with a hint that names the mistake, and nothing on the page gives the number away."""
    a = Value(3.0, label="a")
    b = a * 4.0
    b.label = "b"
    tab = visit(stepper((a + b) * (b - 2.0)), "#step=0&exercise", **STILL)
    seen, last = set(), tab.evaluate("page.last")
    for step in range(tab.evaluate("page.graph.seed") + 1, last + 1):
        tab.evaluate(f"page.go({step})")
        ask = tab.evaluate("page.moment().ask")
        seen.add(ask)
        mine = tab.evaluate("numbersOf(page.graph, page.moment().current)")
        words = tab.evaluate("WORDS.hints")
        to, ends = tab.evaluate("page.graph.steps[page.step].edge.to.id"), told(tab, "#panel tfoot td")
        shown = dict(zip(("up", "local", "share"), tab.locator(".product b").all_text_contents()))
        for what in {"up": ["up", "share"], "local": ["local", "share"], "share": ["share"], "sum": []}[ask]:
            assert shown[what] == "?", (step, ask)
        assert ends == "?" and "?" in told(tab, "#said")
        assert (told(tab, f'[data-node="{to}"] .grad') == "∂ ?") == (ask == "up")
        assert (tab.locator(".tag.current text").first.text_content() == "×?") == (ask == "local")
        answer = mine.pop(ask)
        for what, x in mine.items():
            others = [name for name, y in mine.items() if is_near(x, y)]
            if not is_near(x, answer) and not is_near(-x, answer):
                assert answered(tab, repr(x)).split(":")[0] in {words[name] for name in others}, (ask, what)
        answered(tab, repr(answer))
        assert told(tab, "#said").startswith("Right. "), (step, ask)
        assert "?" not in told(tab, "#panel .product")
    assert seen == {"up", "local", "share", "sum"}


def test_an_answer_is_typed_without_a_click(visit):
    tab = visit(stepper(lecture_loss()), "#step=1&exercise", **STILL)
    tab.keyboard.type("-6")
    press(tab, "Enter")
    assert told(tab, "#said").startswith("Right. ")
    press(tab, "ArrowRight")
    tab.keyboard.type("4")
    press(tab, "Enter")
    assert told(tab, ".question").startswith("2 of 2 right")


def test_the_exercise_can_be_had_again_with_new_numbers(visit):
    x = Value(2.0, label="x")
    tab = visit(stepper((x.log() * 3.0).sqrt()), "#step=1&exercise", **STILL)
    numbers = []
    for _ in range(6):
        tab.evaluate("page.go(1)")
        tab.click("#again")
        numbers.append(tab.evaluate("page.live.values[0]"))
        assert told(tab, "#count") == "0 / 8"
        assert tab.evaluate(
            "page.graph.nodes.every(node => Number.isFinite(node.data) && Number.isFinite(node.grad))"
        )
        assert tab.evaluate("[page.asked, page.right, page.hidden]") == [0, 0, True]
    assert len({*numbers}) > 2
    press(tab, "r")
    assert tab.evaluate("page.live.values[0]") == 2.0


def test_a_link_leads_to_a_moment(visit):
    tab = visit(stepper(lecture_loss()), "#step=7&node=e")
    assert (told(tab, "#count"), told(tab, "#panel h2")) == ("7 / 10", "e")
    assert tab.evaluate("location.hash") == "#step=7&node=n2"
    tab.evaluate("location.hash = '#step=5&edge=4'")
    until(tab, "page.step === 5")
    assert told(tab, "#panel h2") == "L → d"
    for nonsense in ("#step=-3&node=nobody", "#step=nan&edge=77", "#%%%", "#step=1e99"):
        tab.evaluate(f"location.hash = {nonsense!r}")
    until(tab, "page.step === page.last")


def test_what_is_seen_can_be_copied(visit):
    tab = visit(stepper(lecture_loss()), "#step=100&node=a")
    tab.click("#latex")
    latex = tab.input_value("#copied")
    assert (
        r"\frac{\partial L}{\partial a} &= \frac{\partial L}{\partial e} \cdot \frac{\partial e}{\partial a}"
        in latex
    )
    assert "&= (-2) \\cdot (-3) \\\\\n &= 6" in latex
    assert latex.count("{") == latex.count("}") and latex.count(r"\begin") == latex.count(r"\end") == 1
    tab.click("#markdown")
    assert tab.input_value("#copied").split("\n\n") == [
        "a = 2",
        "∂L/∂a = ∂L/∂e × ∂e/∂a = (−2) × (−3) = 6",
        "| via | upstream | local partial | contribution |\n| --- | ---: | ---: | ---: |\n"
        "| e | −2 | −3 | 6 |\n| Σ |  |  | 6 |",
    ]


# --- the token ----------------------------------------------------------------------------------------------


def test_the_upstream_number_travels_and_is_added(visit):
    """It leaves as what comes from above, arrives as the contribution, and adds to what is there."""
    a = Value(3.0, label="a")
    tab = visit(stepper(a * a + a * 2.0), "#step=8")
    assert told(tab, "#said").startswith("v2 hands 1 × 3 to c₁.")
    tab.evaluate("""() => {
        const seen = window.seen = new Set(), box = document.querySelector('[data-node="n0"] .grad');
        const look = () => {
            const token = document.querySelector(".token");
            const words = token?.classList.contains("absent") ? "" : token?.textContent;
            if (token) seen.add(`${words}|${box.textContent}`);
            requestAnimationFrame(look);
        };
        look();
    }""")
    press(tab, "ArrowRight")
    until(tab, "!page.drawing.flight")
    assert tab.evaluate("[...window.seen]") == ["1|∂ 2", "3|∂ 2", "|∂ 2 + 3"]
    assert told(tab, '[data-node="n0"] .grad') == "∂ 5"
    assert tab.locator(".tag.current text").all_text_contents() == ["×3", "= 3"]
    assert tab.locator(".token").count() == 0


def test_a_product_stays_on_its_edge(visit):
    tab = visit(stepper(lecture_loss()), "#step=10")
    assert tab.locator(".tag text:last-child").all_text_contents() == [
        "= 6",
        "= −4",
        "= −2",
        "= −2",
        "= −2",
        "= 4",
    ]


def test_stepping_on_ends_the_flight(visit):
    tab = visit(stepper(lecture_loss()), "#step=4")
    for _ in range(5):
        press(tab, "ArrowRight")
        assert tab.locator(".token").count() == 1
    press(tab, "ArrowLeft")
    assert tab.locator(".token").count() == 0
    assert told(tab, '[data-node="n3"] .grad') == "∂ −2"


def test_nothing_flies_for_those_who_ask(visit):
    tab = visit(stepper(lecture_loss()), "#step=4", **STILL)
    press(tab, "ArrowRight")
    assert tab.locator(".token").count() == 0
    assert told(tab, '[data-node="n4"] .grad') == "∂ −2"


# --- formulas -----------------------------------------------------------------------------------------------


READ = "tex => mathml(tex).map(one => one.textContent ?? '').join('')"


@pytest.mark.parametrize("place", [0, 1], ids=["values", "partials"])
def test_every_formula_of_the_table_is_mathematics(visit, place):
    """LaTeX becomes MathML without a rest: no command, no brace is left as text."""
    tab = visit(stepper(lecture_loss()))
    for name in tg.ops.TABLE:
        row = OPS[name]
        op = (
            row.at(*(1.5 + i for i in range(len(row.constants))))
            if None in row.constants.values()
            else row.at()
        )
        graph = shape(op(*[Value(0.5 + i / 10, label=f"x_{{{i}}}") for i in range(row.operands or 3)]))
        forms = (
            [graph["nodes"][graph["root"]]["form"]]
            if place == 0
            else [edge["form"] for edge in graph["edges"]]
        )
        for form in forms:
            tex = "".join(x if isinstance(x, str) else f"x_{{{x}}}" for x in graph["forms"][form][1])
            text = tab.evaluate(READ, tex)
            assert not {*text} & {*"\\{}^_"}, (tex, text)
            assert text.count("x") >= tex.count("x_"), (tex, text)


def test_matrices_accents_and_brackets_are_mathematics(visit):
    tab = visit(stepper(lecture_loss()))
    for tex, text in [
        (r"\hat{y}_{1}", "y^1"), (r"\mathrm{a\_b\backslash{}c}", "a_b\\c"), (r"w^{(1)}_{23}'", "w23(1)′"),
        (r"\begin{bmatrix}1 & -2 \\ 3 & 4\end{bmatrix}", "1−234"), (r"\sqrt[3]{x}", "x3"), ("", ""),
        ("{", ""),
        (r"\frac{a}{b", "ab"), ("}", "}"), ("^", "^"), (r"\unknown x", "unknown\u2009x"),
    ]:  # fmt: skip
        assert tab.evaluate(READ, tex) == text
    fences = tab.evaluate("mathml('(-3)')[0].outerHTML")
    assert 'form="prefix"' in fences and 'stretchy="false"' in fences


def test_the_formula_has_its_terms_coloured_as_in_the_graph(visit):
    tab = visit(stepper(lecture_loss()), "#step=0")
    assert re.sub(r"\s", "", told(tab, "#formula")) == "L=(a·b+c)·f" or tab.locator("#formula math").count()
    look = (
        "[...document.querySelectorAll('#formula [data-term]')].map(one => [one.dataset.term, one.className])"
    )
    for step in range(tab.evaluate("page.last") + 1):
        tab.evaluate(f"page.go({step})")
        for term, style in tab.evaluate(look):
            box = tab.locator(f'.node[data-node="n{term}"]').get_attribute("class").split()
            assert {"plus", "minus", "unknown"} & {*style.split()} == {"plus", "minus", "unknown"} & {*box}
    assert {term for term, _ in tab.evaluate(look)} == {*map(str, range(7))}


@pytest.mark.parametrize(
    "make, written",
    [
        (lambda a, b: (a + b) * a + (a + b) / a + a * b, "L=(a+b)·a+a+ba+a·b"),
        (lambda a, b: a - (b - a) - a * b, "L=a−(b−a)−a·b"),
        (lambda a, b: (a / b) ** 2 + (-a) * b, "L=(ab)2+(−a)·b"),
    ],
)
def test_a_formula_has_the_brackets_that_it_needs(visit, make, written):
    tab = visit(stepper(make(Value(0.75, label="a"), Value(2.0, label="b"))))
    assert re.sub(r"\s", "", tab.locator("#formula").text_content()) == written


# --- levels -------------------------------------------------------------------------------------------------


def alike(xs, ys):
    """Numbers in three digits, and the numbers themselves."""
    return all(x == pytest.approx(y, rel=6e-3, abs=1e-9) for x, y in zip(xs, ys, strict=True))


def number_in(tex):
    return re.sub(r" \\cdot 10\^\{(-?\d+)\}", r"e\1", tex)


def matrices(tab):
    """The right sides of the panel's equations, each matrix of them as numbers."""
    lines = tab.evaluate("equations(page.graph, page.moment(), LATEX)")
    found = {}
    for left, steps in lines:
        for i, step in enumerate(steps):
            found[left, i] = [
                [[float(number_in(x)) for x in row.split(" & ")] for row in body.split(r" \\ ")]
                for body in re.findall(r"\\begin\{bmatrix\}(.*?)\\end\{bmatrix\}", step)
            ]  # fmt: skip
    return found


@pytest.mark.parametrize("level, first, boxes", [("layers", 2, 3), ("neurons", 1, 9)])
def test_a_closed_layer_or_neuron_steps_as_a_whole(visit, level, first, boxes):
    """By z = W x + b and by δ = (Wᵀδ) ⊙ σ′(z), with this network's numbers, which the engine's are."""
    model = tg.MLP(3, [4, 4, 1], act="tanh", rng=random.Random(1))
    loss = tg.losses.mse(model([0.5, -1.0, 0.25]), 1.0)
    tab = visit(stepper(loss), f"#step=0&level={level}", **STILL)
    loss.backward()
    assert tab.locator(".lid").count() == boxes
    said, seen = [], 0
    while not tab.locator("#on").is_disabled():
        press(tab, "ArrowRight")
        group = tab.evaluate("page.moment().group")
        if not group:
            continue
        said.append(told(tab, "#said"))
        found, seen = matrices(tab), seen + 1
        (first_left, *_), z = (
            list(found),
            tab.evaluate("page.moment().group.neurons.map(([z, a]) => [z.data, z.grad, a.data, a.grad])"),
        )
        if said[-1].startswith("Forward"):
            weights, inputs, *bias = found[first_left[0], 1]
            sums = [
                sum(w * x for w, (x,) in zip(row, inputs)) + (bias[0][j][0] if bias else 0.0)
                for j, row in enumerate(weights)
            ]
            assert all(abs(x - y[0]) < 0.01 for x, y in zip(sums, z))
            assert alike([x for (x,) in found[first_left[0], 2][0]], [row[0] for row in z])
        else:
            assert alike([x for (x,) in found[first_left[0], 2][0]], [row[1] for row in z])
            (*above,) = found[first_left[0], 1]
            if len(above) == 3:
                weights, delta, slopes = above
                by_hand = [
                    sum(w * d for w, (d,) in zip(row, delta)) * s for row, (s,) in zip(weights, slopes)
                ]
                assert all(x == pytest.approx(row[1], rel=0.03, abs=1e-3) for x, row in zip(by_hand, z))
    assert seen == 2 * boxes
    assert (
        said[0] == f"Forward through {'layer 1' if level == 'layers' else 'a⁽¹⁾₁'}: "
        "weights times inputs, added up, and tanh of the sums."
    )
    assert said[-1].endswith(
        "A weight gets δ times its input, an input δ times its weights. All gradients are complete."
    )


def test_levels_are_changed_by_buttons_keys_and_layers(visit):
    tab = visit(stepper(mlp(4, 4, 1, nin=3)), "#step=30", **STILL)
    assert tab.locator("#level button").all_text_contents() == ["numbers", "neurons", "layers"]
    assert tab.locator("#level [aria-pressed=true]").text_content() == "neurons"
    press(tab, "3")
    assert (tab.locator(".lid").count(), tab.locator(".node").count()) == (3, 3 + 3 + 2 + 3)
    assert "level=layers" in tab.url
    tab.locator(".lid").nth(1).click()  # to its neurons
    assert tab.locator("#level [aria-pressed=true]").text_content() == "neurons"
    assert tab.locator(".lid").count() == 9
    tab.locator("#level button").first.click()
    assert tab.locator(".lid").count() == 0
    assert visit(stepper(lecture_loss())).locator("#level").is_hidden()


def test_layers_show_the_size_of_their_gradient(visit):
    tab = visit(stepper(mlp(4, 4, 1, nin=3)), "#step=1000&level=layers", **STILL)
    for i, text in enumerate(tab.locator(".lid .grad").all_text_contents()):
        grads = tab.evaluate(f"page.graph.groups[{i}].neurons.map(([, a]) => a.grad)")
        norm = math.hypot(*grads) if len(grads) > 1 else grads[0]
        assert close(text.replace("‖∂‖", "∂"), norm)
    assert tab.locator(".lid .value").first.text_content() == "4 values"


def test_the_whole_state_is_in_the_link(visit):
    page = stepper(mlp(4, 4, 1, nin=3))
    tab = visit(page, "#step=0", **STILL)
    press(tab, "p")
    press(tab, "h")
    tab.evaluate("page.change(page.graph.nodes.find(node => node.name === 'x₁'), 0.75)")
    tab.locator(".lid").nth(2).dispatch_event("click")
    tab.evaluate("page.go(40)")
    link = tab.evaluate("location.hash")
    for part in ("step=", "&set=", ":0.75", "&open=2", "&exercise", "&large"):
        assert part in link
    other = visit(page, link, **STILL)
    state = "[page.step, page.hidden, [...page.drawing.open], page.graph.level, [...page.live.values]]"
    assert other.evaluate(state) == tab.evaluate(state)
    picture = "document.getElementById('stage').innerHTML"
    assert other.evaluate(picture) == tab.evaluate(picture)


# --- large graphs -------------------------------------------------------------------------------------------


def test_neurons_start_closed_and_open_on_click(visit):
    tab = visit(stepper(mlp(16, 16, 1)))
    assert tab.locator(".lid").count() == 33
    closed = tab.evaluate("document.getElementById('graph').innerHTML")
    tab.locator(".lid").nth(20).click()
    assert (tab.locator(".lid").count(), tab.locator(".frame").count()) == (32, 1)
    assert told(tab, ".frame .name") == "a⁽²⁾₅"
    assert tab.locator(".node").count() == 32 + 19 + tab.evaluate(
        "page.graph.nodes.filter(n => n.group < 0).length"
    )
    tab.locator(".close").click()
    assert tab.evaluate("document.getElementById('graph').innerHTML") == closed


def test_opened_neurons_lie_on_nothing(visit):
    tab = visit(stepper(mlp(16, 16, 1)))
    for i in (20, 3, 0):
        tab.locator(".lid").nth(i).dispatch_event("click")
    overlaps = """() => {
        const shapes = [...document.querySelectorAll(".lid > .shape, .frame > .shape")];
        const boxes = shapes.map(shape => shape.getBoundingClientRect());
        const meet = (a, b) => a.left < b.right - 1 && b.left < a.right - 1
            && a.top < b.bottom - 1 && b.top < a.bottom - 1;
        return boxes.filter((a, i) => boxes.slice(0, i).some(b => meet(a, b))).length;
    }"""
    assert tab.evaluate(overlaps) == 0


def test_steps_inside_a_closed_neuron_are_one(visit):
    page = stepper(mlp(16, 16, 1))
    tab = visit(page)
    count, steps = 0, tab.evaluate("page.last")
    while not tab.locator("#on").is_disabled():
        press(tab, "ArrowRight")
        count += 1
    assert count < 100 < steps
    assert told(tab, "#count") == f"{steps} / {steps}"


def test_how_long_opening_and_stepping_take(visit, capsys):
    loss = mlp(7, 4, 1, nin=4)
    tab = visit(stepper(loss))
    assert 100 < tab.evaluate("page.graph.nodes.length") <= 150
    times = tab.evaluate("""() => {
        const times = [];
        for (let step = 0; step <= page.last; step++) {
            const start = performance.now();
            page.go(step);
            document.body.getBoundingClientRect();
            times.push(performance.now() - start);
        }
        return times.sort((a, b) => a - b);
    }""")
    opened = tab.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")
    middle, longest = times[len(times) // 2], times[-1]
    with capsys.disabled():
        print(f"\nstepper: opens in {opened:.0f} ms, a step {middle:.1f} ms, at most {longest:.1f} ms")
    assert len(times) == tab.evaluate("page.last") + 1


# --- live leaves --------------------------------------------------------------------------------------------


def set_leaf(tab, node, text):
    tab.evaluate(f"page.node?.id === '{node}' || page.pick({{node: page.graph.nodes[{node[1:]}]}})")
    tab.fill("#leaf", text)
    tab.locator("#leaf").press("Enter")


def test_after_a_change_every_number_is_the_engine_s(visit, tmp_path):
    """On generated programs, at other inputs: values and gradients, and back to the exported run by reset."""
    tab = visit(stepper(lecture_loss()))
    rng, checked = random.Random(SEED), 0
    for seed in range(SEED, SEED + 40):
        program = random_program(seed)
        other = at_other_inputs(program, [x * rng.uniform(0.97, 1.03) for x in program.inputs])
        if other is None:
            continue
        checked += 1
        old, new = (
            run(
                program,
                [Value(x, label=f"x{i}") for i, x in enumerate(inputs)],
                lambda name, xs, constants: OPS[name](*xs, *constants),
            )[-1]
            for inputs in (program.inputs, other.inputs)
        )
        stepper(old).save(tmp_path / "page0.html")
        tab.reload()
        press(tab, "End")
        before = gradients(tab)
        for i, x in enumerate(other.inputs):
            tab.evaluate(
                "([name, x]) => page.graph.nodes.filter(node => node.name === name)"
                ".forEach(node => page.change(node, x))",
                [f"x{i}", x],
            )
        nodes = [node.value for node in read(new, "node").nodes]
        gs = tg.gradients(new, nodes, create_graph=True)
        for kind, engine in (("data", nodes), ("grad", gs)):
            mine = tab.evaluate(f"page.graph.nodes.map(node => node.{kind})")
            for x, v in zip(mine, engine):
                size = magnitudes(v)  # second derivatives of numbers to 1e140 may leave the floats
                assert not math.isfinite(size) or abs(x - v.data) <= 1e-12 * size, seed
        shown = tab.locator(".node .grad").all_text_contents()
        assert all(close(text, x) for text, x in zip(shown, mine)), seed
        press(tab, "r")
        assert gradients(tab) == before
        assert tab.locator("#live").is_hidden()
    assert checked > 10


def test_a_leaf_is_typed_moved_by_keys_and_reset(visit):
    tab = visit(stepper(lecture_loss()), "#step=10")
    set_leaf(tab, "n0", "2.5")
    assert told(tab, '[data-node="n0"] .value') == "2.5"
    assert tab.evaluate("page.graph.root.data") == (2.5 * -3.0 + 10.0) * -2.0
    assert told(tab, "#yours") == (
        "These numbers are yours, no longer those of the exported run: a = 2.5 (was 2)."
    )
    tab.locator("#leaf").press("ArrowUp")
    assert tab.evaluate("page.live.values[0]") == 2.6
    tab.locator("#leaf").press("Shift+ArrowDown")
    assert tab.evaluate("page.live.values[0]") == 2.59
    assert "set=n0:2.59" in tab.url
    tab.click("#reset")
    assert tab.evaluate("page.graph.root.data") == -8.0
    assert tab.locator("#live").is_hidden()
    assert "set=" not in tab.url


def test_a_leaf_is_dragged(visit):
    tab = visit(stepper(lecture_loss()), "#step=10")
    box = tab.locator('[data-node="n0"]').bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    tab.mouse.move(x, y)
    tab.mouse.down()
    tab.mouse.move(x + 40, y, steps=5)
    tab.mouse.up()
    assert tab.evaluate("page.live.values[0]") == 3.0  # ten steps of 0.1
    assert tab.evaluate("page.graph.root.data") == (3.0 * -3.0 + 10.0) * -2.0
    assert close(told(tab, '[data-node="n0"] .grad'), 6.0)
    assert tab.evaluate("page.node") is None  # a drag is no click
    tab.mouse.click(x, y)
    assert told(tab, "#panel h2") == "a"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nan", "“nan” is not a finite number"),
        ("inf", "“inf” is not a finite number"),
        ("", "“” is not a finite number"),
        ("2 + 2", "“2 + 2” is not a finite number"),
        ("alert(1)", "“alert(1)” is not a finite number"),
        ("<img src=x onerror=alert(1)>", "“<img src=x onerror=a…” is not"),
        ("9" * 400, "99999999999999999999… is beyond the floating-point numbers"),
        ("x" * 100_000, "“xxxxxxxxxxxxxxxxxxxx…” is not"),
    ],
)
def test_what_is_no_number_is_refused_and_nothing_is_lost(visit, text, message):
    tab = visit(stepper(lecture_loss()), "#step=10")
    set_leaf(tab, "n0", text)
    assert told(tab, "#yours").startswith(message)
    assert tab.evaluate("page.graph.root.data") == -8.0
    set_leaf(tab, "n0", "−1.5e0")
    assert tab.evaluate("page.live.values[0]") == -1.5


def test_where_a_nan_begins_is_said(visit):
    x = Value(2.0, label="x")
    tab = visit(stepper((x.log() * 3.0 + 1.0) ** 2), "#step=100")
    set_leaf(tab, "n0", "-1")
    assert "v1 = ln(−1) is nan: that is where it begins." in told(tab, "#yours")
    set_leaf(tab, "n0", "1")
    assert "begins" not in told(tab, "#yours")


def test_a_nudge_says_what_the_gradient_means(visit):
    tab = visit(stepper(lecture_loss()), "#step=10&node=n0")
    tab.click("#nudge")
    assert told(tab, "#nudged") == "a + 0.01 moves L by 0.06; 0.01 × ∂L/∂a = 0.06, to all digits."
    x = Value(3.0, label="x")
    tab = visit(stepper(x * x), "#step=100&node=x")
    tab.click("#nudge")
    assert told(tab, "#nudged") == "x + 0.01 moves L by 0.0601; 0.01 × ∂L/∂x = 0.06, which misses by 1·10⁻⁴."
    assert tab.evaluate("page.live.changed.length") == 0


def test_an_operation_that_does_not_travel_keeps_its_numbers(visit):
    own = tg.op("sine_of_the_test", lambda x: math.sin(x), lambda o, x: (math.cos(x),))
    try:
        x, y = Value(1.0, label="x"), Value(2.0, label="y")
        tab = visit(stepper(own(x) * y), "#step=100&node=x")
        assert "sine_of_the_test, above it, is a Python function that the page does not have" in told(
            tab, ".fixed"
        )
        assert tab.evaluate(MARKS) == {"v1": "Python function"}
        set_leaf(tab, "n2", "3")
        root = tab.evaluate("[page.graph.root.data, ...page.graph.nodes.map(node => node.grad)]")
        assert root == pytest.approx([3 * math.sin(1), 3 * math.cos(1), 3, math.sin(1), 1])
    finally:
        del OPS[own.name]


MARKS = "Object.fromEntries(page.graph.nodes.filter(node => node.mark).map(node => [node.name, node.mark]))"


@pytest.mark.parametrize(
    "lang, dead, saturated, other",
    [
        ("en", "dead ReLU", "saturated", "grad 24: 12 from another pass"),
        ("zh", "ReLU 失活", "饱和", "grad 24：其中 12 来自另一次"),
    ],
)
def test_a_unit_at_rest_and_a_gradient_of_another_pass_are_marked(visit, lang, dead, saturated, other):
    x, y, w = (Value(t, label=name) for t, name in ((-1.0, "x"), (5.0, "y"), (2.0, "w")))
    r, t = x.relu(), y.tanh()
    r.label, t.label = "r", "t"
    loss = r + t + w * w * w
    loss.backward()
    loss.backward()
    tab = visit(stepper(loss, lang=lang), "#step=1000&node=y", **STILL)
    found = tab.evaluate(MARKS)
    assert found.pop("y")  # twice what is small
    assert found == {"r": dead, "t": saturated, "w": other}
    marks = [mark for mark in tab.locator(".node .mark").all_text_contents() if mark]
    assert {dead, saturated, other} < {*marks}
    set_leaf(tab, "n0", "1")
    assert tab.evaluate(MARKS) == {"t": saturated}  # .grad is that of other numbers
    press(tab, "Escape")
    press(tab, "r")
    assert tab.evaluate(MARKS)["w"] == other


def test_the_link_holds_the_numbers(visit):
    tab = visit(stepper(lecture_loss()), "#step=9&set=n0:2.5,n1:-4")
    assert tab.evaluate("page.graph.root.data") == (2.5 * -4.0 + 10.0) * -2.0
    assert tab.evaluate("page.step") == 9
    assert "a = 2.5 (was 2), b = −4 (was −3)" in told(tab, "#yours")


@pytest.mark.parametrize(
    "link",
    [
        "set=n99:1", "set=n0:nan", "set=n0:<img>", "set=n6:3", "set=n0", "set=:::,,,", "set=n0:1e999",
        "set=n0:nan&level=roofs", "set=n0:nan&open=-1,77,x,constructor", "set=" + "n0:1," * 9000,
        "set=constructor:1", "set=__proto__:1", "step=1e99&set=n0:alert(1)", "edge=constructor",
        "edge=__proto__", "edge=length", "edge=7", "node=nobody", "node=__proto__&open=length",
        "level=constructor",
    ],
)  # fmt: skip
def test_a_hostile_link_is_left_out_with_a_sentence(visit, link):
    tab = visit(stepper(lecture_loss()), f"#step=10&{link}")
    assert tab.evaluate("page.graph.root.data") == -8.0 or link.startswith("set=n0:1,")
    assert tab.evaluate("[page.node, page.edge]") == [None, None]
    assert "Part of the link does not fit this graph: it was left out." in told(tab, "#yours")
    press(tab, "Home")
    assert told(tab, "#count") == "0 / 10"


def test_a_link_without_a_level_leads_to_the_first_one(visit):
    tab = visit(stepper(mlp(4, 4, 1, nin=3)), "#step=9&level=layers", **STILL)
    tab.evaluate("location.hash = '#step=9'")
    until(tab, "page.graph.views[page.graph.level].level === 'neurons'")


# --- taken along, and shown to an audience ------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_is_seen_is_taken_along_as_a_picture(visit, tmp_path, scheme):
    tab = visit(stepper(lecture_loss()), "#step=9", color_scheme=scheme, accept_downloads=True)
    for kind in ("svg", "png"):
        with tab.expect_download() as download:
            tab.click(f"#{kind}")
        assert download.value.suggested_filename == f"backprop.{kind}"
        download.value.save_as(tmp_path / f"a.{kind}")
    root = ElementTree.parse(tmp_path / "a.svg").getroot()
    texts = {text.text for text in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"L", "−8", "×−3", "= 6", "∂ 6"} <= texts
    style = next(root.iter("{http://www.w3.org/2000/svg}style")).text
    paper = tab.evaluate("getComputedStyle(document.body).getPropertyValue('--paper')")
    assert style.rpartition("--paper:")[2].startswith(paper)
    picture = matplotlib.image.imread(tmp_path / "a.png")
    width, height = float(root.get("width")), float(root.get("height"))
    assert picture.shape[:2] == pytest.approx((2 * height, 2 * width), abs=2)
    corner = picture[2, 2, :3] * 255
    assert [round(x) for x in corner] == [int(paper[i : i + 2], 16) for i in (1, 3, 5)]
    assert picture[..., :3].std() > 0.03


def test_a_presentation_is_large_and_has_one_sentence(visit):
    tab = visit(stepper(lecture_loss()), "#step=5", viewport={"width": 1440, "height": 900}, **STILL)
    size = "parseFloat(getComputedStyle(document.getElementById('said')).fontSize)"
    before = tab.evaluate(size), tab.locator("#graph").bounding_box()["width"]
    press(tab, "p")
    assert tab.evaluate(size) >= 1.8 * before[0]
    assert tab.locator("#graph").bounding_box()["width"] == 1440 > before[1]
    letters = "parseFloat(getComputedStyle(document.querySelector('.value')).fontSize) * page.drawing.base"
    assert tab.evaluate(letters) > 30
    for hidden in ("header", "#panel", ".copy", "#legend"):
        assert not any(one.is_visible() for one in tab.locator(f"{hidden} > *").all()), hidden
    press(tab, "PageDown")
    assert told(tab, "#count") == "6 / 10" and tab.locator("#said").is_visible()
    press(tab, "PageUp")
    press(tab, "Escape")
    assert told(tab, "#count") == "5 / 10" and tab.locator("header").is_visible()


def test_it_begins_with_a_button(visit):
    tab = visit(stepper(lecture_loss()), viewport={"width": 390, "height": 844}, has_touch=True)
    assert "→" not in told(tab, "#said")
    assert tab.locator("#purpose").is_visible()
    tab.locator("#begin").tap()
    assert told(tab, "#count") == "1 / 10"
    assert tab.locator("#begin").is_hidden() and tab.locator("#purpose").is_hidden()


# --- geometry -----------------------------------------------------------------------------------------------

SCREENS = [(390, 844), (1280, 800), (1440, 900)]
BOXES = """[...document.querySelectorAll('%s')].map(one => one.getBoundingClientRect())
    .map(box => [box.left, box.top, box.right, box.bottom])"""


def apart(a, b, by=0.0):
    return a[2] + by <= b[0] or b[2] + by <= a[0] or a[3] + by <= b[1] or b[3] + by <= a[1]


def test_parallel_edges_lie_apart(visit):
    a = Value(3.0, label="a")
    for root in (a + a, a * a, tg.sum(a, a, a), (a * 2.0) / (a * 2.0)):
        tab = visit(stepper(root), "#step=1000")
        tags = tab.evaluate(BOXES % ".tag:not(.absent) rect")
        assert len(tags) == len(root.inputs) or len(tags) > 2
        assert all(apart(x, y, 3) for i, x in enumerate(tags) for y in tags[:i]), root.op


def softmax():
    xs = [Value(x, label=f"x{i}") for i, x in enumerate((1.0, 2.0, -0.5))]
    return -tg.softmax(xs)[1].log()


def labelled():
    """Labels that are formulas, long, wide, or of other alphabets, beside long signs."""
    x1, w1, x2, w2 = (Value(x, label=n) for x, n in [(2.0, "x1"), (-3.0, "w1"), (0.5, "x2"), (1.0, "w2")])
    products = x1 * w1, x2 * w2
    products[0].label, products[1].label = "x1w1", "x2w2"
    n = products[0] + products[1]
    n.label = "x1w1+x2w2"
    o = tg.leaky_relu(n) + tg.logaddexp(n, w1)
    o.label = "WWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWW"
    p = o.tanh()
    p.label = "損失の値は大きい" * 4
    return p.softplus() + p**3


GRAPHS = {
    "lecture": lecture_loss, "shared": shared, "softmax": softmax, "labelled": labelled,
    "net": lambda: mlp(3, 2, 1, nin=3), "wide": lambda: mlp(6, 6, 1, nin=3),
}  # fmt: skip


def views(tab):
    """Each level of the graph in turn, and at the level of neurons two of them opened."""
    for level in range(tab.evaluate("page.graph.views.length")):
        tab.evaluate(f"page.level({level})")
        yield level
        if tab.evaluate("page.graph.groups.some(group => group.inside)"):
            tab.evaluate(
                "page.drawing.toggle(page.graph.groups[1]), page.drawing.toggle(page.graph.groups[3])"
            )
            yield level


@pytest.mark.parametrize("make", GRAPHS.values(), ids=GRAPHS)
def test_no_label_lies_over_a_sign(visit, make):
    tab = visit(stepper(make()), "#step=100000", **STILL)
    for _ in views(tab):
        names, signs, boxes = (tab.evaluate(BOXES % f".node {part}") for part in (".name", ".op", ".shape"))
        for name, sign, box in zip(names, signs, boxes, strict=True):
            assert sign[2] == sign[0] or name[2] <= sign[0] - 1
            assert box[0] <= name[0] and max(name[2], sign[2]) <= box[2]


@pytest.mark.parametrize("make", GRAPHS.values(), ids=GRAPHS)
def test_no_wire_goes_through_a_box_that_it_does_not_feed(visit, make):
    tab = visit(stepper(make()), "#step=100000", **STILL)
    for _ in views(tab):
        crossed = tab.evaluate("""() => {
            const {graph, drawing} = page, found = [];
            const things = [...graph.nodes.filter(node => !drawing.closed(node)),
                ...graph.groups.filter(group => !drawing.open.has(group.i))];
            for (const edge of graph.edges) if (edge.line) {
                const home = end => drawing.closed(end) ? graph.groups[end.group] : end;
                const ends = [edge.from, edge.to].map(home);
                const length = edge.line.getTotalLength();
                for (let at = 0; at <= length; at += 4) {
                    const {x, y} = edge.line.getPointAtLength(at);
                    const hit = things.find(({left, top, width, height}) => x > left + 2
                        && x < left + width - 2 && y > top + 2 && y < top + height - 2);
                    if (!hit || ends.includes(hit)) continue;
                    found.push([edge.from.name, edge.to.name, hit.name]);
                    break;
                }
            }
            return found;
        }""")
        assert crossed == []


@pytest.mark.parametrize("make", GRAPHS.values(), ids=GRAPHS)
def test_tags_lie_apart_and_on_no_box(visit, make):
    tab = visit(stepper(make()), "#step=100000", **STILL)
    for _ in views(tab):
        boxes = tab.evaluate(BOXES % ".node .shape")
        tags = tab.evaluate(BOXES % ".tag:not(.absent, .current) rect")
        tags = [tag for tag in tags if tag[2] > tag[0]]
        for i, tag in enumerate(tags):
            assert all(apart(tag, other) for other in (*tags[:i], *boxes))


def test_a_small_graph_has_its_tags(visit):
    for make, missing in ((lecture_loss, 0), (softmax, 6), (shared, 2)):
        tab = visit(stepper(make()), "#step=100000", **STILL)
        assert tab.locator(".covers").count() <= missing
        assert tab.locator(".crowded").count() == 0


def test_the_product_is_one_row_and_nothing_hangs_over(visit):
    for width in (1280, 1440):
        tab = visit(stepper(softmax()), "#step=100000", viewport={"width": width, "height": 800}, **STILL)
        for step in range(tab.evaluate("page.graph.seed + 1"), tab.evaluate("page.last + 1")):
            tab.evaluate(f"page.go({step})")
            if not tab.locator(".product").count():
                continue
            middles = [(box[1] + box[3]) / 2 for box in tab.evaluate(BOXES % ".product > div")]
            assert max(middles) - min(middles) < 3, step
            assert tab.evaluate("(({scrollWidth: all, clientWidth: seen}) => all - seen)($('side'))") == 0


@pytest.mark.parametrize("level", ["neurons", "layers"])
def test_matrices_are_broken_into_lines(visit, level):
    tab = visit(stepper(mlp(16, 16, 1)), f"#step=0&level={level}", **STILL)
    while not tab.locator("#on").is_disabled():
        press(tab, "ArrowRight")
        assert tab.evaluate("(({scrollWidth: all, clientWidth: seen}) => all - seen)($('side'))") == 0


def test_the_words_of_a_tag_are_inside_of_it(visit):
    for make in (lecture_loss, softmax, shared, lambda: mlp(4, 4, 1, nin=3)):
        tab = visit(stepper(make()), "#step=100000", **STILL)
        pills = tab.evaluate(BOXES % ".tag:not(.absent) rect")
        for part in (2, 3):
            words = tab.evaluate(BOXES % f".tag:not(.absent) :nth-child({part})")
            for pill, text in zip(pills, words, strict=True):
                assert (pill[0] < text[0] and text[2] < pill[2]) or text[2] == text[0]


@pytest.mark.parametrize("width, height", SCREENS)
def test_no_button_lies_on_the_graph(visit, width, height):
    tab = visit(stepper(mlp(4, 4, 1, nin=3)), viewport={"width": width, "height": height}, **STILL)
    graph, *buttons = tab.evaluate(BOXES % "#graph, .zoom button")
    assert len(buttons) == 6
    assert all(apart(graph, button) for button in buttons)


def test_the_halo_goes_where_the_reader_is(visit):
    """When another node is picked, neither a halo nor the sentence stays at the step's."""
    tab = visit(stepper(lecture_loss()), "#step=7", **STILL)
    assert tab.locator(".node.current").count() == 2
    tab.locator('[data-node="n5"]').click()
    assert tab.locator(".current").count() == 0
    assert tab.locator("#said").is_hidden()
    assert tab.locator(".picked").get_attribute("data-node") == "n5"
    press(tab, "Escape")
    assert tab.locator(".node.current").count() == 2 and tab.locator("#said").is_visible()


@pytest.mark.parametrize("width, height", SCREENS)
def test_the_halo_is_not_clipped(visit, width, height):
    tab = visit(stepper(lecture_loss()), viewport={"width": width, "height": height}, **STILL)
    for step in range(tab.evaluate("page.last + 1")):
        tab.evaluate(f"page.go({step})")
        view = tab.locator("#graph").bounding_box()
        for box in tab.evaluate(BOXES % ".node.current .shape"):
            assert box[0] - view["x"] >= 7 and view["x"] + view["width"] - box[2] >= 7
            assert box[1] - view["y"] >= 7 and view["y"] + view["height"] - box[3] >= 7


def test_a_click_leaves_no_square_ring(visit):
    tab = visit(stepper(lecture_loss()), "#step=5")
    tab.locator('[data-node="n2"]').click()
    outline = "getComputedStyle(document.querySelector('[data-node=n2]')).outlineStyle"
    assert tab.evaluate(outline) == "none"


@pytest.mark.parametrize("width, height", SCREENS)
@pytest.mark.parametrize(
    "make", [lecture_loss, shared, lambda: mlp(4, 4, 1, nin=3), lambda: mlp(6, 6, 1, nin=4)]
)
def test_the_current_edge_is_in_view(visit, width, height, make):
    tab = visit(stepper(make()), viewport={"width": width, "height": height}, reduced_motion="reduce")
    steps = tab.evaluate("page.last + 1")
    for step in range(0, steps, 1 + steps // 60):
        tab.evaluate(f"page.go({step})")
        outside = tab.evaluate("""() => {
            const view = document.getElementById("graph").getBoundingClientRect();
            const {edge, node} = page.graph.steps[page.step];
            const ends = edge ? [edge.from, edge.to] : [node].filter(Boolean);
            return ends.map(node => page.drawing.boxOf(node)).filter(box =>
                box.left < view.left - 1 || box.right > view.right + 1 ||
                box.top < view.top - 1 || box.bottom > view.bottom + 1).length;
        }""")
        assert outside == 0, (step, steps)


# --- for everybody ------------------------------------------------------------------------------------------


STATES = {
    "start": "#step=0", "forward": "#step=2", "backward": "#step=30", "end": "#step=100000",
    "leaf": "#step=9&node=n0", "picked": "#step=100000&node=n8", "edge": "#step=100000&edge=1",
    "exercise": "#step=30&exercise", "presentation": "#step=7&large", "layers": "#step=30&level=layers",
    "changed": "#step=5&set=n0:-1",
}  # fmt: skip


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    "make", [lecture_loss, softmax, lambda: mlp(3, 2, 1)], ids=["lecture", "softmax", "net"]
)
def test_axe_finds_nothing_serious(visit, axe, make, scheme):
    for width, at in [(1280, at) for at in STATES.values()] + [(390, "#step=0"), (390, "#step=9&exercise")]:
        tab = visit(
            stepper(make()), at, viewport={"width": width, "height": 800}, color_scheme=scheme, **STILL
        )
        tab.evaluate(axe)
        found = tab.evaluate("axe.run()")["violations"]
        serious = [(one["id"], one["nodes"][0]["html"], one["nodes"][0]["failureSummary"]) for one in found
                   if one["impact"] in ("serious", "critical")]  # fmt: skip
        assert serious == [], at
        tab.close()


@pytest.mark.parametrize("width, height", SCREENS)
def test_letters_have_eleven_pixels(visit, width, height):
    tab = visit(stepper(mlp(4, 4, 1, nin=3)), "#step=0", viewport={"width": width, "height": height})
    sizes = tab.evaluate("""[...document.querySelectorAll("#graph text, #side *")].map(one =>
        parseFloat(getComputedStyle(one).fontSize) * (one.ownerSVGElement ? page.drawing.base : 1))""")
    assert min(sizes) >= 11


def test_the_paper_is_zoomed_and_fitted(visit):
    tab = visit(stepper(mlp(7, 4, 1, nin=4)), "#step=0")
    width = "document.querySelector('#graph svg').getBoundingClientRect().width"
    before = tab.evaluate(width)
    tab.click("#larger")
    assert tab.evaluate(width) == pytest.approx(1.25 * before, abs=2)
    press(tab, "-")
    assert tab.evaluate(width) == pytest.approx(before, abs=2)
    press(tab, "0")
    fits = """() => { const svg = document.querySelector("#graph svg").getBoundingClientRect(),
        view = document.getElementById("graph").getBoundingClientRect();
        return svg.width <= view.width && svg.height <= view.height; }"""
    assert tab.evaluate(fits)


def test_a_picked_node_lights_its_paths(visit):
    tab = visit(stepper(shared()), "#step=1000")
    assert tab.locator(".faded").count() == 0
    tab.evaluate("page.pick({node: page.graph.nodes.find(node => node.name === 'a')})")
    lit = tab.evaluate("""page.graph.edges.map(edge => [edge.line.classList.value.match(/path./)?.[0] || "",
        page.graph.paths(page.node, 50).found.filter(path => path.includes(edge)).length])""")
    for style, paths in lit:
        assert (style == "") == (paths == 0)
        assert (style == "paths") == (paths > 1)
    press(tab, "Escape")
    assert tab.locator(".faded").count() == 0


# --- hostile, small, dark, still, on paper ------------------------------------------------------------------


def test_a_hostile_label_stays_text(visit):
    loss = Value(2.0, label=HOSTILE) * Value(3.0, label="<b>b</b>")
    tab = visit(stepper(loss), "#step=100")
    tab.click("#markdown")
    assert tab.locator("img, b b, #graph b").count() == 0
    assert tab.title() == "Backpropagation through L"
    assert "<b>b</b>" in tab.locator(".node .name").all_text_contents()
    assert tab.locator(".node .name").first.text_content().startswith("</script><img src=x onerr")


def test_a_script_that_is_not_its_own_does_not_run(browser, tmp_path):
    file = tmp_path / "page.html"
    foreign = "<script>window.bad = 1</script><img src=data:, onerror='window.bad = 1'></header>"
    file.write_text(stepper(lecture_loss()).html.replace("</header>", foreign), encoding="utf-8")
    context = browser.new_context(offline=True)
    tab, messages = context.new_page(), []
    tab.on("console", lambda message: messages.append(message.text))
    tab.goto(file.as_uri())
    assert tab.evaluate("window.bad") is None
    assert sum("Content Security Policy" in message for message in messages) >= 2
    press(tab, "End")
    assert told(tab, "#count") == "10 / 10"
    context.close()


def contrast(a, b):
    def luminance(color):
        parts = [int(x) / 255 for x in re.findall(r"\d+", color)[:3]]
        return sum(
            w * (x / 12.92 if x <= 0.03928 else ((x + 0.055) / 1.055) ** 2.4)
            for w, x in zip((0.2126, 0.7152, 0.0722), parts)
        )

    high, low = sorted([luminance(a), luminance(b)], reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_dark_and_light_can_be_read(visit):
    papers = []
    for scheme in ("light", "dark"):
        tab = visit(stepper(shared()), "#step=100&node=a", color_scheme=scheme)
        color = "([selector, name]) => getComputedStyle(document.querySelector(selector))[name]"
        papers.append(tab.evaluate(color, ["body", "backgroundColor"]))
        for text, paper in (
            ("body", papers[-1]),
            ("#said", "#side"),
            ("thead th", "#side"),
            (".tag text", ".tag rect"),
        ):
            name = "fill" if text.startswith(".tag") else "color"
            behind = "fill" if paper == ".tag rect" else "backgroundColor"
            under = paper if paper.startswith("rgb") else tab.evaluate(color, [paper, behind])
            assert contrast(tab.evaluate(color, [text, name]), under) > 4.5, (scheme, text)
    assert len(set(papers)) == 2


def test_nothing_moves_for_those_who_ask(visit):
    animation = "getComputedStyle(document.querySelector('.line.current')).animationName"
    assert visit(stepper(lecture_loss()), "#step=6").evaluate(animation) == "flow"
    assert visit(stepper(lecture_loss()), "#step=6", reduced_motion="reduce").evaluate(animation) == "none"


@pytest.mark.parametrize(
    "make", [lambda: stepper(shared()), lambda: stepper(mlp(16, 16, 1)), lambda: stepper(recorded()[1])]
)
def test_it_fits_a_phone(visit, make):
    tab = visit(make(), "#step=8", viewport={"width": 390, "height": 844}, has_touch=True)
    tab.locator(".node").first.dispatch_event("click")
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    for name in ("first", "back", "play", "on", "last", "where", "speed", "hide"):
        box = tab.locator(f"#{name}").bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 390, name
        assert box["y"] >= 0 and box["y"] + box["height"] <= 844, name
        assert box["height"] >= 28, name
    tab.locator("#on").tap()
    assert told(tab, "#count").startswith(("9", "1", "2", "3", "4", "5", "6", "7"))


def test_on_paper_there_are_no_controls(visit):
    tab = visit(stepper(lecture_loss()), "#step=6")
    tab.emulate_media(media="print")
    assert (
        tab.locator("#steps").is_hidden()
        and tab.locator("#graph svg").is_visible()
        and tab.locator("#said").is_visible()
    )


def test_it_works_in_the_frame_of_a_notebook(visit):
    tab = visit.watched()
    tab.set_content(stepper(lecture_loss())._repr_html_())
    frame = tab.frame_locator("iframe")
    for _ in range(4):
        frame.locator("#on").click()
    assert frame.locator("#count").inner_text() == "4 / 10"
    frame.locator('[data-node="n6"]').click()
    assert frame.locator("#panel h2").inner_text() == "L"
    with tab.expect_download() as waiting:
        frame.locator("#svg").click()
    assert waiting.value.suggested_filename == "backprop.svg"
