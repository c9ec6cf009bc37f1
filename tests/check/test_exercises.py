"""Exercises: what is handed in may be wrong in any way, and a report with a mark comes back.

The answers of the tests are the engine's own, read from a report with reveal=True.
"""

import doctest
import json
import os
import re
import runpy
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import tinygrad_bp as tg
from tinygrad_bp.check.exercises import EXERCISES

COURSE = Path(tg.__file__).parent.parent / "demos" / "course"
FORKS = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


def zeros(tree):
    return [zeros(t) for t in tree] if isinstance(tree, list) else 0.0


def answers(task):
    """The right gradients, by name."""
    report = tg.audit(task.task.f, task.data, {n: zeros(task.data[n]) for n in task.asked})
    flat = iter([e.engine for e in report.entries])
    arrays = {n: np.array(task.data[n]) for n in task.asked}
    return {n: np.array([next(flat) for _ in range(a.size)]).reshape(a.shape) for n, a in arrays.items()}


@pytest.mark.parametrize("name", EXERCISES)
def test_every_exercise_has_data_a_template_tests_and_a_mark(name):
    task = tg.exercise(name, seed=3)
    assert {n: np.shape(t) for n, t in task.data.items()} == task.shapes
    assert tg.exercise(name, seed=3).data == task.data != tg.exercise(name, seed=4).data
    right = answers(task)
    space = {}
    exec(task.template, space)
    report = task.grade(space["backward"])
    assert report.score == 0.0 and "NotImplementedError" in report.parts[0].reason
    report = task.grade(lambda **inputs: right)
    assert report and report.score == 1.0
    space["backward"] = lambda **inputs: right if inputs == task.data else None
    exec(task.tests, space)
    first = task.asked[0]
    report = task.grade(lambda **inputs: right | {first: right[first] * 2.0})
    assert (
        not report
        and report.score == pytest.approx(1.0 - 1.0 / len(task.asked))
        and not report.part(first).right
    )
    assert report.explanations


def test_a_block_of_a_gpt_is_audited_in_seconds():
    task = tg.exercise("gpt-block")
    right = answers(task)
    wrong = right | {"wv": right["wv"].T, "w2": -right["w2"]}
    report = task.grade(lambda **inputs: wrong)
    names = {text.partition(":")[0] for text in report.explanations[0]}
    assert names == {"transposed, in affine 3", "negative, in affine 6, w"}


def test_the_forms_of_an_answer():
    task = tg.exercise("affine")
    right = answers(task)
    named = {f"d{n}": g for n, g in right.items()}
    for form in (right, named, tuple(right.values()), {n: g.tolist() for n, g in right.items()}):
        assert task.grade(lambda form=form, **inputs: form).score == 1.0
    assert task.grade(lambda **inputs: right, wrap=np.array).score == 1.0
    assert tg.exercise("relu").grade(lambda x, dout: np.where(np.array(x) > 0, dout, 0.0)).score == 1.0


def raises(**inputs):
    return 1 / 0


def recurses(**inputs):
    return recurses(**inputs)


def leaves(**inputs):
    sys.exit(0)


@pytest.mark.parametrize(
    "backward, text",
    [
        (raises, r"backward raised ZeroDivisionError: .* \(line \d+\)"),
        (recurses, "backward raised RecursionError"),
        (leaves, "backward raised SystemExit"),
        (lambda: None, "backward raised TypeError: .*unexpected keyword"),
        (lambda **inputs: None, "backward returned None, and a dict of the gradients by x, w, b is due"),
        (lambda **inputs: (1.0, 2.0), "backward returned 2 results"),
        (lambda **inputs: {}, "it was not returned"),
    ],
)
@pytest.mark.parametrize("limit", [None, pytest.param((20, 800), marks=FORKS)], ids=["here", "limited"])
def test_a_submission_that_fails_has_a_report(backward, text, limit):
    report = tg.exercise("affine").grade(backward, limit=limit)
    assert not report and report.score == 0.0
    assert re.search(text, report.part("w").reason)
    assert re.search(text, " ".join(str(report).split()))


def test_what_can_be_read_is_graded():
    task = tg.exercise("affine")
    right = answers(task)
    for bad, text in (
        ([[1.0], [2.0, 3.0]], "ragged"),
        (right["w"].T, "has the shape"),
        (right["w"] * np.nan, "nan"),
        (right["w"] * 1j, "j, not a number"),
        (None, "is None"),
        ("abc", "not a number"),
        ({1, 2}, "not a number"),
    ):
        report = task.grade(lambda bad=bad, **inputs: right | {"w": bad})
        assert not report and report.score == pytest.approx(2 / 3), text
        assert text in report.part("w").reason
        assert report.part("b").right and report.verdict == "the other gradients are right"
    report = task.grade(lambda **inputs: {"x": right["x"], "b": right["b"]}, points={"w": 2.0})
    assert report.score == 0.5 and report.part("w").reason == "it was not returned"


def test_what_a_submission_does_besides_is_noted():
    task = tg.exercise("affine")
    right = answers(task)

    def changes(x, w, b, dout):
        print("hello")
        x[0][0] = 5.0
        return right

    report = task.grade(changes)
    assert report.score == 1.0
    assert report.notes == [
        "backward changes its input x: work on a copy",
        "backward printed 6 characters, which are left out",
    ]
    assert tg.exercise("affine").data == task.data


def test_gradients_of_the_engine_are_not_by_hand():
    task = tg.exercise("relu")

    def asks(x, dout):
        leaves = [[tg.Value(v) for v in row] for row in x]
        loss = sum(v.relu() * g for vs, gs in zip(leaves, dout) for v, g in zip(vs, gs))
        return tg.gradients(loss, leaves)

    assert task.grade(asks, by_hand=False).score == 1.0
    report = task.grade(asks)
    assert report.score == 0.0 and "the engine was used" in report.part("x").reason


@FORKS
def test_limits_of_time_and_memory():
    task = tg.exercise("relu")

    def loops(**inputs):
        while True:
            pass

    def fills(**inputs):
        return bytearray(2_000_000_000)

    def patches(**inputs):
        tg.gradients = None
        os._exit(3)

    started = time.monotonic()
    assert "stopped after 0.5 s: is there a loop" in task.grade(loops, limit=(0.5, 500)).part("x").reason
    assert time.monotonic() - started < 60
    assert "MemoryError" in task.grade(fills, limit=(20, 300)).part("x").reason
    assert "ended its process" in task.grade(patches, limit=(20, 500)).part("x").reason
    assert callable(tg.gradients)


# --- what is shown ------------------------------------------------------------------------------------------


def test_no_number_of_the_answer_is_shown():
    task = tg.exercise("mlp-softmax")
    right = answers(task)
    wrong = right | {"w2": right["w2"] * 0.3}
    hidden, shown = task.grade(lambda **inputs: wrong), task.grade(lambda **inputs: wrong, reveal=True)
    numbers = [f"{x:.5g}"[:7] for g in (right["w2"],) for x in g.ravel() if x]
    for text in (repr(hidden), hidden.to_json(), hidden._repr_html_()):
        assert not [n for n in numbers if n in text]
        assert "0.3 times" not in text and "w2" in text
    assert any(n in repr(shown) for n in numbers) and any(n in shown.to_json() for n in numbers)
    data = json.loads(hidden.to_json(indent=1))
    assert data["score"] == pytest.approx(5 / 6) and not data["right"]
    assert [part["right"] for part in data["parts"]] == [True, True, False, True, True, True]


def test_text_of_students_is_escaped():
    def evil(**inputs):
        raise ValueError("<script>alert('x')</script>")

    page = tg.exercise("relu").grade(evil)._repr_html_()
    assert "<script" not in page and "&lt;script&gt;" in page


def test_bad_names_of_exercises():
    with pytest.raises(ValueError, match=r"exercise has no 'batchnorm': did you mean 'batch-norm'"):
        tg.exercise("batchnorm")


def test_weights_of_nested_lists_and_arrays():
    rng = np.random.default_rng(0)
    w1, b1, w2, b2 = rng.normal(size=(3, 2)), rng.normal(size=3), rng.normal(size=(1, 3)), rng.normal(size=1)
    x = [0.5, -1.0]
    wanted = w2 @ np.maximum(w1 @ x + b1, 0.0) + b2
    model = tg.MLP.from_weights([w1, b1, w2, b2])
    assert model(x).data == pytest.approx(wanted[0])
    assert model.parameters()[0].label == "layers.0.neurons.0.w.0"
    lists = [w1.tolist(), w2.tolist()]
    assert tg.MLP.from_weights(lists, act="tanh")(x).data == pytest.approx((w2 @ np.tanh(w1 @ x))[0])
    for bad in ([w1, w2.T], [w1, b1, w2], [b1, w1], [], [w1, b2, w2, b2]):
        with pytest.raises(ValueError, match=r"MLP.from_weights takes \[W1, b1, W2, b2, ...\]"):
            tg.MLP.from_weights(bad)
    for bad, error, text in (
        (
            [[[1.0, 2.0], [3.0]], [0.0, 0.0]],
            ValueError,
            r"weights\[0\]\[1\] has 1 numbers, weights\[0\]\[0\] 2",
        ),
        (
            [[[1.0], 2.0]],
            ValueError,
            r"weights\[0\]\[1\] has one number, weights\[0\]\[0\] 1 numbers: a matrix is",
        ),
        ([np.zeros((2, 2, 2)), b2], ValueError, r"weights\[0\]\[0\] has 2 numbers.*a list of rows of"),
        (
            [w1, ["a"]],
            TypeError,
            r"MLP.from_weights: weights\[1\]\[0\]: a Value holds one real number, not 'a'",
        ),
    ):
        with pytest.raises(error, match=text):
            tg.MLP.from_weights(bad)


# --- the forms of courses -----------------------------------------------------------------------------------


@FORKS
def test_gradescope(tmp_path, capsys):
    main = runpy.run_path(str(COURSE / "gradescope.py"))["main"]
    main(results=tmp_path / "out" / "results.json")
    data = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [(t["name"], t["score"], t["max_score"]) for t in data["tests"]][:3] == [
        ("w1", 0.0, 2.0), ("b1", 0.0, 1.0), ("w2", 2.0, 2.0),
    ]  # fmt: skip
    assert "derivative forgotten, in relu 1" in capsys.readouterr().out


@FORKS
def test_nbgrader_and_otter(monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(COURSE))
    space = runpy.run_path(str(COURSE / "nbgrader_cell.py"))
    assert space["report"].score == pytest.approx(4 / 6)
    (suite,) = runpy.run_path(str(COURSE / "otter_test.py"))["test"]["suites"]
    failed = 0
    for case in suite["cases"]:
        test = doctest.DocTestParser().get_doctest(
            case["code"], {"backward": space["backward"]}, "otter", "", 0
        )
        failed += bool(doctest.DocTestRunner(verbose=False).run(test, out=lambda text: None).failed)
    assert (failed, len(suite["cases"])) == (2, 6)
