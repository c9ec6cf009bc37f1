"""The site: how its pages are made, what its checks find, and the built site itself in a browser.

The tests marked `site` build it, by the extra docs: `pytest -m site`.
"""

import sys
from pathlib import Path

import pytest
from conftest import refuse
from support.browser import find_pyodide, served

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def maker():
    """docs/site/build.py as a module; it imports its neighbours."""
    folder = str(ROOT / "docs" / "site")
    sys.path.insert(0, folder)
    try:
        import build

        yield build
    finally:
        sys.path.remove(folder)


# --- pages --------------------------------------------------------------------------------------------------


@pytest.fixture
def make(maker, tmp_path, monkeypatch):
    """make(text): the page made of a text in docs/, and the site that it is part of."""
    import pages

    monkeypatch.setattr(pages, "ROOT", tmp_path)
    (tmp_path / "docs").mkdir()
    (tmp_path / "code.py").write_text("x = 1\n", encoding="utf-8")
    (tmp_path / "docs" / "picture.svg").write_text("<svg/>", encoding="utf-8")

    def make(text, page="page.md"):
        file, other, chinese = (tmp_path / "docs" / name for name in ("a.md", "b.md", "c.md"))
        file.write_text(text, encoding="utf-8")
        site = maker.Site({file: page, other: "folder/other.md", chinese: "zh/c.md"})
        return site.text_of(file), site

    return make


def test_examples_become_code_and_what_it_prints(make):
    text, site = make("Look:\n\n```python\n>>> x = 1\n>>> if x:\n...     print(x)\n1\n>>> x\n1\n\n```\n")
    assert text == (
        "Look:\n\n```python\nx = 1\nif x:\n    print(x)\n```\n\n```{.text .output}\n1\n```\n"
        "\n```python\nx\n```\n\n```{.text .output}\n1\n```\n\n"
    )
    assert not site.assets


def test_a_stepper_and_a_drawing_are_shown_where_they_are_made(make):
    code = (
        "```python\n>>> import tinygrad_bp as tg\n>>> x = tg.Value(1.0)\n"
        ">>> tg.stepper(x * x)\n<...>\n>>> tg.draw(x)\n<...>\n\n```\n"
    )
    text, site = make(code, "folder/page.md")
    assert list(site.assets) == ["folder/page_1.html", "folder/page_2.svg"]
    assert '<iframe src="page_1.html" sandbox="allow-scripts allow-downloads"' in text
    assert '<img src="page_2.svg"' in text
    assert "&lt;" not in text and "<...>" not in text


def test_code_that_raises_fails_the_build_unless_the_page_shows_it(make):
    example = ">>> 1 / 0\nTraceback (most recent call last):\nZeroDivisionError: division by zero\n"
    shown, _ = make(f"```python\n{example}\n```\n")
    assert "ZeroDivisionError" in shown
    with pytest.raises(NameError, match="nothing"):
        make("```python\n>>> nothing\n1\n\n```\n")


def test_links_lead_to_pages_sources_and_assets(make):
    text, site = make(
        "[a](b.md#c) [b](../code.py) ![c](picture.svg) [d](https://e.org/f) `[e](b.md)` [g](#h) [i](c.md)"
    )
    assert text == (
        "[a](folder/other.md#c) [b](source/code.py.md) ![c](picture.svg) [d](https://e.org/f) `[e](b.md)` "
        "[g](#h) [i](zh/c.html)"
    )
    assert [path.name for path in site.sources] == ["code.py"]
    assert site.assets == {"picture.svg": b"<svg/>"}


def test_lines_of_chinese_are_joined_without_a_blank(make):
    text, _ = make("引擎，\n信赖 a\nb 它。\n\n给出", "zh/page.md")
    assert text == "引擎，信赖 a\nb 它。\n\n给出"


def test_every_module_with_public_names_is_in_the_reference(maker, monkeypatch):
    import reference

    monkeypatch.delitem(reference.API, "compiling")
    with pytest.raises(KeyError, match=r"add compiler to API in .*reference\.py"):
        reference.api_pages(None)


def test_plots_break_where_a_curve_jumps_or_leaves_the_picture(maker):
    import reference

    xs = [-3.0, -2.9, -2.8, -2.7, -2.6]
    assert reference.path(xs, [0.0, 0.1, 2.0, 2.1, float("inf")]).count("M") == 2
    assert reference.path(xs, [0.0, 0.1, 99.0, 0.1, 0.0]).count("M") == 2


# --- checks -------------------------------------------------------------------------------------------------


def test_what_is_wrong_with_a_site_is_found(maker, tmp_path):
    good = '<h1 id="top">x</h1><a href="b.html#here">b</a><a href="https://e.org">e</a><img src="data:,x">'
    (tmp_path / "a.html").write_text(good, encoding="utf-8")
    (tmp_path / "b.html").write_text('<p id="here"><a href="a.html">a</a>', encoding="utf-8")
    assert maker.check(tmp_path) == []
    (tmp_path / "big.png").write_bytes(bytes(maker.LARGEST_PAGE))
    bad = (
        '<a href="c.html">c</a><a href="b.html#there">b</a><script src="https://cdn.org/x.js"></script>'
        '<img src="big.png"><img src="none.png"><math><mi>&</mi></math>'
    )
    (tmp_path / "a.html").write_text(bad, encoding="utf-8")
    assert maker.check(tmp_path) == [
        "a.html loads https://cdn.org/x.js from elsewhere",
        "a.html loads none.png, which does not exist",
        "a.html is 500 kB with what it loads; 500 is the limit",
        "a.html links to c.html, which does not exist",
        "a.html links to b.html#there: there is no such heading",
        "a.html has a formula that could not be typeset",
    ]


def test_a_page_that_no_navigation_lists_is_found(maker, monkeypatch):
    assert maker.unlisted() == []
    monkeypatch.setattr(maker, "repository_pages", lambda: {ROOT / "docs" / "new.md": "new.md"})
    assert maker.unlisted() == [f"{Path('docs/new.md')} is not in nav: add it to docs/site/zensical.toml"]


def test_without_pyodide_a_page_says_how_to_have_the_laboratory(maker, monkeypatch, tmp_path, capsys):
    def refuse(offline):
        raise maker.LabError("npm did not get it")

    monkeypatch.setattr(maker, "fetch_pyodide", refuse)
    maker.add_laboratory(tmp_path / "lab")
    (tmp_path / "index.html").write_text('<a href="lab/index.html">laboratory</a>', encoding="utf-8")
    assert maker.check(tmp_path) == []
    assert "tests/setup.py npm" in (tmp_path / "lab" / "zh.html").read_text(encoding="utf-8")
    assert capsys.readouterr().out == "without the laboratory: npm did not get it\n"


# --- the built site -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def site(maker, tmp_path_factory):
    """The address of the built site, on a server of this test's own."""
    out = tmp_path_factory.mktemp("site")
    maker.prepare(out / "out")
    folder = maker.build(out / "out")
    maker.add_laboratory(folder / "lab")
    assert maker.check(folder) == []
    with served(folder) as address:
        yield address


PAGES = [
    "index.html", "tutorial/03_chain_rule.html", "tutorial/09_matrices.html", "operations.html", "guide.html",
    "reference/training.html", "figures.html", "zh/index.html",
]  # fmt: skip


@pytest.mark.site
@pytest.mark.parametrize("width", [390, 1280])
def test_pages_fit_the_window_and_load_nothing_from_elsewhere(site, browser, width):
    context = browser.new_context(viewport={"width": width, "height": 800})
    tab = context.new_page()
    requested, troubles = [], []
    tab.on("request", lambda request: requested.append(request.url))
    tab.on("response", lambda response: troubles.append(response.url) if response.status >= 400 else None)
    tab.on("pageerror", lambda error: troubles.append(str(error)))
    tab.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
    for page in PAGES:
        tab.goto(site + page)
        assert tab.evaluate("document.documentElement.scrollWidth") <= width, page
    context.close()
    assert requested and all(url.startswith((site, "data:", "blob:")) for url in requested)
    assert not troubles


@pytest.mark.site
def test_formulas_are_drawn(site, browser):
    tab = browser.new_page()
    tab.goto(site + "tutorial/09_matrices.html")
    sizes = tab.evaluate("[...document.querySelectorAll('math')].map(x => x.getBoundingClientRect().height)")
    assert len(sizes) > 20
    assert min(sizes) > 5
    assert max(sizes) > 30  # a fraction or a sum is higher than a line
    assert "$" not in tab.locator("article").inner_text()
    tab.close()


@pytest.mark.site
def test_the_stepper_of_a_chapter_steps(site, browser):
    tab = browser.new_page()
    tab.goto(site + "tutorial/05_order.html")
    tab.locator("iframe").scroll_into_view_if_needed()
    frame = tab.frame_locator("iframe")
    frame.get_by_label("last step").click()
    frame.get_by_text("All gradients are complete").wait_for()
    assert tab.locator("iframe").count() == 1
    tab.close()


@pytest.mark.site
def test_the_search_finds(site, browser):
    tab = browser.new_page()
    tab.goto(site + "index.html")
    while not tab.locator("input:focus").count():  # its script may not have begun yet
        tab.keyboard.press("Control+k")
        tab.wait_for_timeout(500)
    tab.keyboard.type("saturated")
    tab.locator("a[href*='06_neuron.html']:has-text('saturated')").wait_for()
    tab.close()


@pytest.mark.site
@pytest.mark.parametrize(
    "page, link", [("tutorial/05_order.html", "Laboratory"), ("zh/index.html", "实验室")]
)
def test_the_laboratory_is_a_click_away(site, browser, page, link):
    if not find_pyodide():
        refuse("no Pyodide from npm")
    tab = browser.new_page()
    tab.set_default_timeout(60_000)
    tab.goto(site + page)
    tab.get_by_role("link", name="实验室" if page.startswith("zh/") else "Laboratory").first.click()
    tab.frame_locator("#stage iframe").locator("svg").first.wait_for()
    tab.close()
