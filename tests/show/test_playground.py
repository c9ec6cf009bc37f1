"""The page of a training: what `fit(..., record=k)` keeps for it, and the page in a real browser."""

import gc
import random
import re

import pytest
from support.graphs import HOSTILE, data_of, recorded

import tinygrad_bp as tg
from tinygrad_bp import Value, playground, stepper
from tinygrad_bp.optim import SGD, Adam

# --- what is recorded ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["eager", "compiled"])
def test_a_training_is_recorded_every_so_many_steps_and_at_its_end(engine):
    model, history = recorded(engine=engine)
    kept = history.recording
    assert kept.steps == [0, 3, 6, 7]
    assert list(kept.parameters[-1]) == [p.data for p in model.parameters()]
    fresh, plain = recorded(engine=engine, record=None)
    assert plain.recording is None
    assert plain.losses == pytest.approx(history.losses, rel=1e-12)
    assert fresh.state_dict() == pytest.approx(model.state_dict(), rel=1e-12)


def test_recording_changes_no_bit_of_an_eager_training():
    (one, history), (other, plain) = recorded(engine="eager"), recorded(engine="eager", record=None)
    assert history.losses == plain.losses
    assert one.state_dict() == other.state_dict()


def test_a_recording_holds_numbers_and_no_graph_lives_on():
    _, history = recorded()
    gc.collect()
    before = sum(isinstance(thing, Value) for thing in gc.get_objects())
    keep = [recorded()[1] for _ in range(3)]
    gc.collect()
    assert sum(isinstance(thing, Value) for thing in gc.get_objects()) == before
    assert len(keep) == 3 and history.recording


def test_recording_hides_no_error():
    w = Value(1.0, label="w")

    def trained(loss):
        data = ([[0.01, 1.0], [1.0, 2.0]], [1.0, 2.0])
        return tg.fit(lambda x: w * x[0], data, loss, SGD([w], lr=0.1), 3, record=1)

    with pytest.raises(TypeError, match="fit: the loss of sample 0 is 'none', not a Value"):
        trained(lambda prediction, y: "none")
    with pytest.raises(tg.NonFiniteError, match=r"log of 0\.0"):
        trained(lambda prediction, y: (prediction - prediction).log())


def test_a_recorded_page_keeps_its_losses_few():
    w = Value(0.0, label="w")
    sgd = SGD([w], lr=0.001)
    history = tg.fit(lambda x: w * x[0], ([1.0], [1.0]), tg.losses.mse, sgd, 5000, record=2500)
    losses = data_of(stepper(history))[1]["recorded"]["losses"]
    assert 300 < len(losses) <= 600
    assert all(history.losses[step] == loss for step, loss in losses)


def test_a_hundred_moments_are_less_than_a_megabyte():
    xs, ys = tg.data.moons(20)
    model = tg.MLP(2, [16, 16, 1], act="tanh", rng=random.Random(0))
    history = tg.fit(model, (xs, ys), tg.losses.hinge, SGD(model.parameters(), lr=0.1), 99, record=1)
    assert len(history.recording.steps) == 100
    assert len(stepper(history).html.encode()) < 1_000_000


def test_a_training_that_was_not_recorded_says_how():
    with pytest.raises(
        ValueError, match=r"nothing of this training was recorded: train with fit\(\.\.\., record=10\)"
    ):
        stepper(recorded(record=None)[1])


@pytest.mark.parametrize(
    "options, told",
    [
        ({"record": 0}, "fit: record is a whole number of steps from 1 up, or None, not 0"),
        ({"record": 2.5}, "fit: record is a whole number of steps from 1 up, or None, not 2.5"),
        ({"record": 1, "sample": 8}, "fit: sample is the number of a sample, from 0 to 7, not 8"),
        ({"record": 1, "sample": -1}, "fit: sample is the number of a sample, from 0 to 7, not -1"),
    ],
)
def test_bad_options(options, told):
    with pytest.raises(ValueError, match=re.escape(told)):
        recorded(**options)


# --- in the browser -----------------------------------------------------------------------------------------


def gradients(tab):
    return tab.evaluate(
        "Object.fromEntries(page.graph.nodes.map((node, i) => [playground.data.leaves[i], node.grad])"
        ".filter(([leaf]) => leaf?.[0] === 'p').map(([leaf, grad]) => [leaf[1], grad]))"
    )


def truth(model, loss, x, y):
    model.zero_grad()
    loss(model(x), y).backward()
    return [p.grad for p in model.parameters()]


def moons(n=30, steps=0, **options):
    """A page of a small network, its model and its data."""
    xs, ys = tg.data.moons(n)
    model = tg.MLP(2, [5, 1], act="tanh", rng=random.Random(0))
    options = {"reduce": "mean", **options}
    page = playground(model, (xs, ys), tg.losses.hinge, Adam(model.parameters(), lr=0.05), **options)
    return page, model, (xs, ys)


def until(tab, condition):
    """Wait for a condition. (Playwright's own waiting runs texts inside the page, which forbids that.)"""
    for _ in range(100):
        if tab.evaluate(condition):
            return
        tab.wait_for_timeout(50)
    raise AssertionError(f"five seconds have passed without {condition}")


def told(tab, selector):
    return tab.locator(selector).text_content()


def test_the_losses_in_the_page_are_those_of_fit(visit):
    page, model, data = moons(batch_size=8)
    tab = visit(page)
    assert told(tab, "#recorded").startswith("step 0, loss ")
    tab.click("#record-on")
    assert told(tab, "#recorded").startswith("step 1, loss ")
    tab.evaluate("playground.steps(199)")
    adam = Adam(model.parameters(), lr=0.05)
    history = tg.fit(model, data, tg.losses.hinge, adam, 200, batch_size=8, reduce="mean")
    losses = tab.evaluate("playground.training.losses.map(({loss}) => loss)")
    assert losses == pytest.approx(history.losses, rel=1e-9, abs=1e-12)
    last = tab.evaluate("[...playground.training.params]")
    assert last == pytest.approx([p.data for p in model.parameters()], rel=1e-8)


def test_the_graph_of_any_point_has_the_engines_gradient(visit):
    page, model, (xs, ys) = moons()
    tab = visit(page)
    for sample in (3, 17):
        tab.evaluate(f"playground.choose({sample})")
        found, expected = gradients(tab), truth(model, tg.losses.hinge, xs[sample], ys[sample])
        assert [found[str(i)] for i in range(len(expected))] == pytest.approx(expected, rel=1e-12, abs=1e-15)
        assert tab.input_value("#sample") == str(sample + 1)
    assert tab.locator("#notice").is_hidden()


def test_a_recorded_training_is_played(visit):
    model, history = recorded(steps=40, record=5, sample=2)
    rng = random.Random(0)
    xs = [[rng.uniform(-1.0, 1.0) for _ in range(2)] for _ in range(8)]
    tab = visit(stepper(history))
    kept = history.recording
    assert tab.input_value("#sample") == "3"
    for step, numbers in zip(kept.steps, kept.parameters):
        for p, x in zip(model.parameters(), numbers):
            p.data = x
        found = gradients(tab)
        expected = truth(model, tg.losses.squared_error, xs[2], sum(xs[2]))
        assert [found[str(i)] for i in range(len(expected))] == pytest.approx(expected, rel=1e-12, abs=1e-15)
        assert told(tab, "#recorded").startswith(f"step {step},")
        if step < 40:
            shown = tab.evaluate(f"told({history.losses[step]!r})")
            assert told(tab, "#recorded") == f"step {step}, loss {shown}"
        tab.keyboard.press("ArrowRight")
    assert tab.locator("#rate").count() == 0
    tab.keyboard.press("Home")
    assert told(tab, "#recorded").startswith("step 0,")
    tab.click("#record-play")
    until(tab, "document.getElementById('recorded').textContent.startsWith('step 10,')")
    tab.click("#record-play")
    assert tab.locator("#record-play[data-on]").count() == 0


def test_there_is_one_bar_and_backprop_begins_at_its_beginning(visit):
    tab = visit(moons()[0])
    bars = "[...document.querySelectorAll('nav.bar')].filter(bar => bar.checkVisibility()).map(bar => bar.id)"
    assert tab.evaluate(bars) == ["train"]
    assert not tab.locator("#side").is_visible() and tab.locator("#figures").is_visible()
    tab.click("#trace")
    assert tab.evaluate(bars) == ["steps"]
    assert tab.evaluate("page.drawing.zoom") == 1
    assert told(tab, "#count").startswith("0 / ")
    tab.keyboard.press("ArrowRight")
    assert not told(tab, "#count").startswith("0 / ")
    assert tab.locator("#side").is_visible() and not tab.locator("#figures").is_visible()
    tab.click("#untrace")
    assert tab.evaluate(bars) == ["train"]
    tab.keyboard.press("ArrowRight")
    assert told(tab, "#recorded").startswith("step 1,")


def test_it_trains_until_it_is_stopped(visit):
    tab = visit(moons()[0])
    tab.keyboard.press("Space")
    until(tab, "playground.training.step > 200")
    assert tab.locator("#record-play[data-on]").count() == 1
    tab.keyboard.press("Space")
    step = tab.evaluate("playground.training.step")
    tab.wait_for_timeout(100)
    assert tab.evaluate("playground.training.step") == step
    assert told(tab, "#recorded").startswith(f"step {step}, loss ")
    tab.keyboard.press("Home")
    assert told(tab, "#recorded").startswith("step 0, loss ")


def test_rate_batch_pace_and_start_can_be_changed(visit):
    tab = visit(moons()[0])
    tab.fill("#rate", "0.01")
    tab.locator("#rate").blur()
    assert tab.evaluate("playground.training.rate(0)") == pytest.approx(0.01)
    for text in ("fast", "-1", "inf"):
        tab.fill("#rate", text)
        tab.locator("#rate").blur()
        assert told(tab, "#notice").startswith(f"“{text}” is not a rate, which is a number from 0 up")
        assert tab.evaluate("playground.training.rate(0)") == pytest.approx(0.01)
    tab.select_option("#batch", "8")
    tab.click("#record-on")
    assert tab.evaluate("playground.training.batches.order.length") == 30
    before = tab.evaluate("playground.params[0]")
    tab.select_option("#start", "2")
    assert told(tab, "#recorded").startswith("step 0,")
    assert tab.evaluate("playground.params[0]") != before
    assert tab.locator("#notice").is_hidden()
    tab.select_option("#pace", "10")
    tab.click("#record-play")
    until(tab, "playground.training.step >= 3")
    tab.click("#record-play")
    assert tab.evaluate("playground.training.step") < 100


def test_a_rate_too_high_stops_with_a_sentence(visit):
    w = Value(1.0, label="w")
    page = playground(lambda x: w * x[0], ([1.0, 2.0], [1.0, 3.0]), tg.losses.mse, SGD([w], lr=1e200))
    tab = visit(page)
    tab.click("#record-play")
    until(tab, "!document.getElementById('notice').hidden")
    assert "no longer finite" in told(tab, "#notice")
    assert tab.evaluate("Number.isFinite(playground.params[0])")


@pytest.mark.parametrize(
    "nin, kind", [(1, "curve"), (2, "map"), (3, "against")], ids=["one input", "two", "three"]
)
def test_what_the_model_answers_is_shown(visit, nin, kind):
    model, history = recorded(nin=nin)
    tab = visit(stepper(history))
    tab.keyboard.press("End")
    assert tab.evaluate("playground.figures.answers.kind") == kind
    answers = tab.evaluate("[...playground.figures.answers.fields[0]]")
    if kind == "against":
        places = zip(*tab.evaluate("playground.training.columns.slice(0, 3).map(column => [...column])"))
    else:
        places = zip(*tab.evaluate("playground.figures.answers.grid.map(column => [...column])"))
    for place, answer in [*zip(places, answers)][::97]:
        assert answer == pytest.approx(model(list(place)).data, rel=1e-12)
    assert len(answers) == {"curve": 160, "map": 48 * 48, "against": 8}[kind]


def test_the_border_of_two_classes_is_where_their_losses_are_equal(visit):
    page, model, _ = moons()
    tab = visit(page)
    first, second = tab.evaluate("playground.figures.answers.fields.map(field => [...field])")
    places = [*zip(*tab.evaluate("playground.figures.answers.grid.map(column => [...column])"))]
    for place, a, b in [*zip(places, first, second)][::101]:
        assert (a < b) == (model(list(place)).data < 0.0)


def test_three_classes_of_three_inputs_are_counted(visit):
    rng = random.Random(1)
    xs = [[rng.gauss(k, 0.5) for _ in range(3)] for k in range(3) for _ in range(10)]
    ys = [k for k in range(3) for _ in range(10)]
    model = tg.MLP(3, [4, 3], act="tanh", rng=rng)
    tab = visit(playground(model, (xs, ys), tg.losses.cross_entropy, Adam(model.parameters(), lr=0.05)))
    tab.evaluate("playground.steps(50); playground.show()")
    assert tab.evaluate("playground.figures.answers.kind") == "counts"
    params = tab.evaluate("[...playground.params]")
    for p, x in zip(model.parameters(), params):
        p.data = x
    best = [max(range(3), key=lambda k: outs[k].data) for outs in map(model, xs)]
    assert tab.evaluate("playground.figures.answers.answered") == best


def test_a_click_on_the_map_traces_that_point(visit):
    tab = visit(moons()[0])
    x, y = tab.evaluate("playground.figures.answers.places[11]")
    tab.locator("#answers").click(position={"x": x + 2, "y": y + 1})
    assert tab.input_value("#sample") == "12"
    tab.click("#hardest")
    losses = tab.evaluate("[...playground.training.lossOfEach(playground.params)]")
    assert tab.input_value("#sample") == str(losses.index(max(losses)) + 1)


def test_two_moments_stand_side_by_side(visit):
    tab = visit(moons()[0])
    assert not tab.locator("#kept-answers").is_visible()
    tab.click("#keep")
    tab.evaluate("playground.steps(40); playground.show()")
    assert tab.locator("#kept-answers").is_visible()
    captions = tab.locator("figcaption").all_text_contents()
    assert any(text.startswith("step 0: ") for text in captions)
    assert any(text.startswith("step 40: ") for text in captions)
    tops = [tab.locator(which).bounding_box()["y"] for which in ("#answers", "#kept-answers")]
    assert tops[0] == tops[1]
    tab.click("#keep")
    assert not tab.locator("#kept-answers").is_visible()


def test_the_slice_is_the_loss_along_two_parameters(visit):
    page, model, (xs, ys) = moons()
    tab = visit(page)
    tab.fill("#axis0", "w⁽¹⁾₂₁")
    tab.locator("#axis0").blur()
    tab.fill("#axis1", "b⁽²⁾₁")
    tab.locator("#axis1").blur()
    until(tab, "playground.figures.slice.done")
    names = tab.evaluate("playground.figures.slice.axes.map(i => playground.data.names[i])")
    assert names == ["w⁽¹⁾₂₁", "b⁽²⁾₁"]
    (x, y), values = tab.evaluate(
        "[playground.figures.slice.steps.map(s => [...s]), [...playground.figures.slice.values]]"
    )
    one, other = (
        dict(model.named_parameters())[name] for name in ("layers.0.neurons.1.w.0", "layers.1.neurons.0.b")
    )
    for i, j in [(0, 0), (10, 10), (20, 3)]:
        one.data, other.data = x[i], y[j]
        mean = sum(tg.losses.hinge(model(a), b).data for a, b in zip(xs, ys)) / len(xs)
        assert values[j * 21 + i] == pytest.approx(mean, rel=1e-12)
    tab.fill("#axis0", "nothing")
    tab.locator("#axis0").blur()
    assert "There is no parameter nothing." in told(tab, "#notice")


def test_weights_and_gradients_are_named_where_the_pointer_is(visit):
    tab = visit(moons()[0])
    (left, top, w, h), p = tab.evaluate("playground.figures.weights.cells[4]")
    tab.locator("#weights").hover(position={"x": left + w / 2, "y": top + h / 2})
    name = tab.evaluate(f"playground.data.names[{p}]")
    assert told(tab, "#weights + figcaption").startswith(f"{name} = ")


def test_a_point_with_nothing_left_to_learn_says_so(visit):
    w = Value(3.0, label="w")
    data = ([1.0, -0.1], [1.0, 1.0])
    tab = visit(playground(lambda x: w * x[0], data, tg.losses.hinge, SGD([w], lr=0.1)))
    assert tab.input_value("#sample") == "2"  # the hardest
    tab.evaluate("playground.choose(0)")
    assert "nothing is left to learn from this point" in told(tab, ".about .said")


def test_units_that_die_and_wake_are_shown_as_they_are(visit):
    w, b = Value(-1.0, label="w"), Value(0.5, label="b")
    sgd, data = SGD([w, b], lr=0.3), ([1.0, 0.0], [1.0, 3.0])
    history = tg.fit(lambda x: (w * x[0] + b).relu(), data, tg.losses.squared_error, sgd, 3, record=1)
    tab = visit(stepper(history))
    seen = []
    for _ in history.recording.steps:
        seen.append(
            (tab.locator(".line.cut").count(), tab.locator(".node .mark:not(:empty)").all_text_contents())
        )
        tab.keyboard.press("ArrowRight")
    assert seen == [(1, ["dead ReLU"]), (0, []), (0, []), (0, [])]


def test_a_model_that_depends_on_its_numbers_shows_its_losses_and_weights(visit):
    w = Value(0.0, label="w")

    def model(x):
        return w * x[0] if w.data < 0.25 else w * x[0] + w * 0.0

    history = tg.fit(
        model, ([1.0], [1.0]), tg.losses.squared_error, SGD([w], lr=0.05), 10, record=1, engine="eager"
    )
    tab = visit(stepper(history))
    assert "Only losses and weights are shown here, since the model cannot run in a page: " in told(
        tab, "#figures"
    )
    tab.keyboard.press("End")
    assert told(tab, "#recorded").startswith("step 10, loss ")
    assert tab.locator("figure:visible").count() == 2


def test_a_training_of_no_steps_is_shown(visit):
    assert told(visit(stepper(recorded(steps=0)[1])), "#recorded").startswith("step 0, loss ")


def test_a_training_whose_graph_is_too_large_shows_the_rest(visit):
    model = tg.MLP(2, [32, 32, 1], rng=random.Random(0))
    data = ([[1.0, 2.0], [2.0, 0.0]], [1.0, -1.0])
    tab = visit(playground(model, data, tg.losses.mse, SGD(model.parameters(), lr=0.01)))
    assert "too large to be drawn" in told(tab, "#stage")
    tab.keyboard.press("ArrowRight")
    assert told(tab, "#recorded").startswith("step 1,")


def test_in_the_frame_of_a_notebook_it_waits_for_the_frames_size(visit):
    tab = visit.watched()  # a word on the console fails
    tab.set_content(moons()[0]._repr_html_())
    frame = tab.frame_locator("iframe")
    frame.locator("#record-on").click()
    assert frame.locator("#recorded").text_content().startswith("step 1, loss ")
    shown, place = frame.locator("#graph svg").bounding_box(), frame.locator("#graph").bounding_box()
    assert 200 < shown["width"] <= place["width"] and 100 < shown["height"] <= place["height"]


def test_a_hostile_label_stays_text(visit):
    w = Value(0.5, label=HOSTILE)
    page = playground(lambda x: w * x[0], ([1.0, 2.0], [1.0, 2.0]), tg.losses.mse, SGD([w], lr=0.1))
    tab = visit(page)
    assert tab.evaluate("playground.data.names[0]") == HOSTILE
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page.html)[1]
    assert re.fullmatch(
        r"default-src 'none'; script-src 'sha256-\S+'; style-src 'sha256-\S+'; img-src blob:; "
        r"base-uri 'none'; form-action 'none'",
        policy,
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280, 1440])
def test_nothing_is_wider_than_the_window(visit, width, scheme):
    tab = visit(moons()[0], viewport={"width": width, "height": 800}, color_scheme=scheme)
    tab.click("#keep")
    for mode in ("train", "trace"):
        tab.evaluate(f"playground.turn({mode!r})")
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
    paper = tab.evaluate("colours().card")
    assert (sum(paper) > 600) == (scheme == "light")


def test_all_can_be_done_by_keyboard(visit):
    tab = visit(moons()[0])
    reached = set()
    for _ in range(40):
        tab.keyboard.press("Tab")
        reached.add(tab.evaluate("document.activeElement.id"))
    wanted = {
        "record-play",
        "record-on",
        "when",
        "rate",
        "batch",
        "pace",
        "start",
        "keep",
        "sample",
        "hardest",
    }
    assert wanted | {"trace", "axis0", "axis1"} <= reached
