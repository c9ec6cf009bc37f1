"""The languages of the pages: every string is there in each, and a page speaks one of them."""

import json
import re
import subprocess

import pytest

import tinygrad_bp as tg
from tinygrad_bp.lab.folder import PAGE as LAB
from tinygrad_bp.show.playground import FOLDER
from tinygrad_bp.show.stepper.sealed import PAGE, TITLES

KINDS = """
const kinds = x => typeof x === "function" ? `of ${x.length}` : typeof x === "string" ? "text"
  : Object.fromEntries(Object.entries(x).map(([name, part]) => [name, kinds(part)]));
console.log(JSON.stringify(kinds(WORDS)));
"""


def expression():
    a, b = tg.Value(2.0, label="a"), tg.Value(-3.0, label="b")
    return (a * b + a).tanh()


def network():
    model = tg.MLP(2, [3, 1], act="tanh")
    return tg.losses.squared_error(model([0.5, -1.0]), 1.0)


def history():
    xs, ys = tg.data.xor()
    model = tg.MLP(2, [3, 1], act="tanh")
    sgd = tg.optim.SGD(model.parameters(), lr=0.1)
    return tg.fit(model, (xs, ys), tg.losses.squared_error, sgd, steps=20, record=10, progress=False)


@pytest.fixture(scope="module")
def strings(node):
    """What kinds of entries the tables have, by language: text, or a function of so many arguments."""
    found = {}
    for lang in TITLES:
        end = "strings.js" if lang == "en" else f"strings.{lang}.js"
        begin = "" if lang == "en" else "const WORDS = {};"
        text = "\n".join((folder / end).read_text(encoding="utf-8") for folder in (PAGE, FOLDER, LAB))
        ran = subprocess.run([node, "-e", begin + text + KINDS], capture_output=True, text=True, check=True)
        found[lang] = json.loads(ran.stdout)
    return found


@pytest.mark.parametrize("lang", sorted(TITLES.keys() - {"en"}))
def test_each_language_has_every_string(strings, lang):
    def compare(english, other, name):
        if isinstance(english, dict):
            for key in english:
                assert key in other, f"{lang} lacks {name}.{key}"
                compare(english[key], other[key], f"{name}.{key}")
        else:
            assert english == other, f"{lang}: {name} is {other} and should be {english}"

    compare(strings["en"], strings[lang], "WORDS")
    assert TITLES[lang].keys() == TITLES["en"].keys()


def test_another_language_is_refused():
    with pytest.raises(ValueError, match="lang is 'en' or 'zh', not 'fr'"):
        tg.stepper(expression(), lang="fr")


@pytest.mark.parametrize("make", [expression, network, history])
def test_a_page_in_chinese_has_no_english_but_names(visit, make):
    tab = visit(tg.stepper(make(), lang="zh"), "#level=layers")
    assert tab.evaluate("document.documentElement.lang") == "zh-Hans"
    for _ in range(3):
        said = tab.evaluate("document.body.innerText + document.title")
        labels = tab.evaluate(
            "[...document.querySelectorAll('[aria-label]')].map(x => x.ariaLabel).join(' ')"
        )
        assert "梯度" in said + labels
        found = set(re.findall(r"[A-Za-z]{4,}", said + labels))
        assert found <= {"tanh", "Home", "LaTeX", "Markdown", "shift", "grad", "JavaScript"}, found
        assert ". " not in tab.locator("#said").text_content()
        tab.keyboard.press("ArrowRight")


def test_a_page_in_english_has_nothing_of_the_other(visit):
    page = tg.stepper(expression())
    assert not re.search(r"[\u4e00-\u9fff]", page.html)
    assert visit(page).evaluate("document.documentElement.lang") == "en"
