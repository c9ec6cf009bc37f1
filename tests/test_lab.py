"""The laboratory: what is answered, how the folder is built, and its pages in a browser without network.

The tests in the browser need Pyodide's package: npm fetches it, once for all of them.
"""

import json
import re
import subprocess
from urllib.parse import urlencode

import pytest
from conftest import refuse
from support.browser import served

from tinygrad_bp.cli import main
from tinygrad_bp.lab import folder
from tinygrad_bp.lab.answer import DEEPEST, MOST_CODE, MOST_PRINTED, answer_json, run_code
from tinygrad_bp.lab.folder import PAGES, PYODIDE, LabError, build_lab, fetch_pyodide, package_zip, unpack
from tinygrad_bp.lab.gallery import GALLERY


def answered(**question):
    return json.loads(answer_json(json.dumps(question)))


# --- answers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GALLERY)
def test_every_example_has_a_page(name):
    found = answered(**GALLERY[name])
    assert "error" not in found and "Content-Security-Policy" in found["html"]


def test_the_published_mistake_is_named():
    assert "differ from the engine's" in answered(**GALLERY["trace"])["printed"]


def test_a_formula_keeps_all_digits_of_its_numbers():
    found = answered(formula="a*b", numbers={"a": "6.8813735870195432", "b": "2"})
    assert found["numbers"] == {"a": "6.881373587019543", "b": "2"} and found["said"] == "a*b = 13.7627"
    assert "'.' at character 2" in answered(formula="x.real", numbers={})["error"]


def test_the_page_speaks_the_language_that_is_asked_for():
    assert 'lang="zh-Hans"' in answered(formula="a*2", numbers={}, lang="zh")["html"]


def test_code_prints_shows_and_fails_in_its_own_lines():
    assert run_code("print(3)\n1 + 1") == {"printed": "3\n", "said": "2"}
    assert "<svg" in run_code("tg.draw(Value(1.0) * 2)")["svg"]
    found = run_code("def f():\n    return missing\nf()")["error"]
    assert found.endswith("NameError: name 'missing' is not defined")
    assert re.findall(r'"your code", line (\d)', found) == ["3", "2"] and "answer.py" not in found
    assert "SyntaxError" in run_code("1 +")["error"]
    assert (
        run_code("raise SystemExit(3)")["error"] == "SystemExit: 3"
        or "SystemExit: 3" in run_code("exit(3)")["error"]
    )


def test_what_is_too_much_is_said():
    assert f"{MOST_CODE:,} are the limit" in run_code("#" * (MOST_CODE + 1))["error"]
    printed = run_code(f"print('x' * {2 * MOST_PRINTED})\nprint('y')")["printed"]
    assert printed.endswith(f"({MOST_PRINTED:,} characters shown)") and "y" not in printed
    large = run_code("sum([Value(1.0) * i for i in range(400)])")
    assert "html" not in large and "400 are drawn at most" in large["said"]


def test_a_deep_chain_is_refused_and_a_long_training_is_not():
    code = "x = Value(1.0)\nfor _ in range({}):\n    x = x + 1.0\nprint(x.data)"
    assert run_code(code.format(DEEPEST))["printed"] == f"{DEEPEST + 1.0}\n"
    assert f"a chain of more than {DEEPEST:,} operations" in run_code(code.format(DEEPEST + 1))["error"]
    many = "x = Value(1.0)\nfor _ in range(5000):\n    y = x * x + 1.0\nprint(y.data)"
    assert run_code(many)["printed"] == "2.0\n"
    run_code(code.format(DEEPEST + 1))
    assert run_code("1")["said"] == "1"  # and nothing of it stays


# --- the folder ---------------------------------------------------------------------------------------------


def test_another_package_is_refused(tmp_path, capsys):
    other = tmp_path / "other.tgz"
    other.write_bytes(b"other")
    with pytest.raises(LabError, match=r"not the package pyodide .* nothing was written"):
        unpack(b"other")
    assert main(["lab", str(tmp_path / "lab"), "--pyodide", str(other)]) == 2
    assert "its SHA-512 differs" in capsys.readouterr().err and not (tmp_path / "lab").exists()
    assert main(["lab", str(tmp_path / "lab"), "--pyodide", str(tmp_path / "none.tgz")]) == 2


def test_without_npm_it_says_how(monkeypatch):
    monkeypatch.setattr(folder.shutil, "which", lambda name: None)
    with pytest.raises(LabError, match=r"npm is missing: install Node\.js, .*--pyodide pyodide-"):
        fetch_pyodide()


def test_without_network_it_says_how(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(folder.shutil, "which", lambda name: name)
    failed = subprocess.CompletedProcess([], 1, "", "npm error code EAI_AGAIN\nnpm error request failed")
    monkeypatch.setattr(folder.subprocess, "run", lambda *_, **__: failed)
    assert main(["lab", str(tmp_path / "lab")]) == 2
    said = capsys.readouterr().err
    assert f"npm did not get pyodide {PYODIDE} (EAI_AGAIN): on a machine with network: npm pack" in said
    assert said.count("\n") == 1 and not (tmp_path / "lab").exists()


def test_a_folder_that_is_a_file_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(folder, "fetch_pyodide", lambda: b"")
    monkeypatch.setattr(folder, "unpack", lambda packed: {})
    (tmp_path / "file").write_text("mine")
    assert main(["lab", str(tmp_path / "file")]) == 2
    assert "Traceback" not in capsys.readouterr().err and (tmp_path / "file").read_text() == "mine"


def test_the_package_is_zipped_to_the_same_bytes():
    assert package_zip() == package_zip()


@pytest.mark.parametrize("lang", PAGES)
def test_the_pages_let_nothing_run_but_their_own(lang):
    page, runner = folder.lab_page(lang, {"a": 1}), folder.runner_page()
    policy, inner = (re.search(r'Policy" content="([^"]+)"', text)[1] for text in (page, runner))
    assert "unsafe" not in policy and "default-src 'none'" in policy and "connect-src 'self'" in policy
    assert "connect-src 'none'" in inner and "unsafe-inline" not in inner and "'unsafe-eval'" not in inner


# --- in a browser -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The address of a laboratory on a server of this test's own."""
    out = tmp_path_factory.mktemp("lab")
    try:
        build_lab(out)
    except LabError as error:
        refuse(f"no Pyodide from npm ({error})")
    with served(out) as address:
        yield address


@pytest.fixture
def lab(address, browser):
    """lab(hash, page): the laboratory in a window; whatever it asks of another host fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    strangers = []

    def watch(route):
        url = route.request.url
        if not url.startswith(address):
            strangers.append(url)
            return route.abort()
        return route.continue_()

    context.route(re.compile("^(http|ws)"), watch)

    def visit(at="", page="index.html"):
        tab = context.new_page()
        tab.set_default_timeout(60_000)
        tab.on("pageerror", lambda error: strangers.append(str(error)))
        tab.goto(address + page + at)
        return tab

    yield visit
    context.close()
    assert not strangers


def drawn(tab):
    """Wait for the graph: the icons of buttons are there before the page's script has begun."""
    tab.frame_locator("#stage iframe").locator("#graph svg *").first.wait_for(state="attached")


def said(tab, text):
    tab.locator("#said", has_text=text).wait_for()


def test_a_formula_in_a_link_runs_and_is_stepped_through(lab):
    tab = lab("#" + urlencode({"formula": "a*b + a", "at": "a:2 b:-3"}))
    said(tab, "a*b + a = -4")
    drawn(tab)
    tab.frame_locator("#stage iframe").get_by_label("last step").click()
    tab.frame_locator("#stage iframe").get_by_text("All gradients are complete").wait_for()
    tab.fill("input[name=a]", "5")
    tab.press("input[name=a]", "Enter")
    said(tab, "a*b + a = -10")
    assert "a%3A5" in tab.url
    tab.fill("#formula", "a.real")
    tab.press("#formula", "Enter")
    said(tab, "'.' at character 2")


ESCAPE = """
import js
def request(address):
    asked = js.XMLHttpRequest.new()
    asked.open("GET", address, False)
    asked.send()
for name, call in {
    "home": lambda: request("ADDRESS"),
    "abroad": lambda: request("http://abroad.invalid/"),  # the fixture sees it, if the page lets it pass
    "script": lambda: js.eval("1 + 1"),
}.items():
    try:
        call()
        print(name, "worked")
    except Exception as error:
        print(name, "refused")
"""


def test_python_in_a_link_waits_has_no_network_and_can_be_stopped(lab, address):
    tab = lab("#" + urlencode({"code": ESCAPE.replace("ADDRESS", address + "NOTICE.txt")}))
    said(tab, "it runs when you press Run")
    tab.fill("#formula", "a*2")
    tab.press("#formula", "Enter")
    said(tab, "a*2 = 2")  # Python answers, and has not been asked before
    assert tab.is_hidden("#printed") and tab.is_disabled("#stop")
    tab.click("#run")
    tab.locator("#printed", has_text="script refused").wait_for()
    assert tab.inner_text("#printed").split() == ["home", "refused", "abroad", "refused", "script", "refused"]
    tab.fill("#code", "while True: pass")
    tab.click("#run")
    tab.locator("#progress", has_text="Computing").wait_for()
    tab.click("#stop")
    said(tab, "Stopped")
    tab.fill("#code", "x = []\nfor _ in range(100_000): x = [x]\ndel x")
    tab.click("#run")
    said(tab, "Python ended, and starts again")
    tab.fill("#code", "print(tg.tanh(1.0))")
    tab.click("#run")
    tab.locator("#printed", has_text="0.76159").wait_for()


def test_a_link_that_is_copied_brings_all_of_it(lab):
    code = "print('a+b & 100% #é 中 \\\\ <b>')\n\n1 + 1"
    tab = lab("#example=lecture")
    drawn(tab)
    tab.click("#link")
    formula = tab.url.partition("#")[2]
    assert "formula=" in formula and "f%3A-2" in formula
    tab.locator("summary").click()
    tab.fill("#code", code)
    tab.click("#link")
    other = lab("#" + tab.url.partition("#")[2])
    assert other.input_value("#code") == code
    other.evaluate(f"location.hash = {formula!r}")
    said(other, "(a*b + c) * f = -8")
    other.evaluate("location.hash = 'code=1%2F0'")  # a link that is clicked does not run code, either
    said(other, "it runs when you press Run")
    assert other.input_value("#code") == "1/0"


def test_a_training_plays_in_it_and_input_has_an_end(lab):
    tab = lab("#example=network")
    drawn(tab)
    words = []
    tab.on("console", lambda message: words.append(message.text))
    code = tab.input_value("#code").rpartition("tg.losses")[0]
    tab.fill("#code", code + "tg.playground(model, (xs, ys), tg.losses.hinge, optimizer)")
    tab.click("#run")
    frame = tab.frame_locator("#stage iframe")
    frame.locator("#record-on").click()
    frame.locator("#recorded", has_text="step 1, loss").wait_for()
    while frame.locator("#graph svg").bounding_box()["width"] < 200:  # it is drawn in the next frame
        tab.wait_for_timeout(50)
    tab.fill("#code", "input()")
    tab.click("#run")
    said(tab, "EOFError: EOF when reading a line")
    assert words == []


def test_the_shown_page_can_be_saved(lab):
    tab = lab("#example=twice")
    drawn(tab)
    with tab.expect_download() as waiting:
        tab.frame_locator("#stage iframe").locator("#svg").click()
    assert waiting.value.suggested_filename == "backprop.svg"


@pytest.mark.parametrize("page", PAGES.values())
def test_nothing_keeps_people_from_using_it(lab, axe, page):
    tab = lab("#example=lecture", page)
    drawn(tab)
    tab.locator("summary").click()
    violations = tab.evaluate(axe + "; axe.run({iframes: false})")["violations"]
    assert [(one["id"], one["nodes"][0]["failureSummary"]) for one in violations] == []


@pytest.mark.parametrize(
    "at",
    ["#nonsense", "#formula=a&code=b", "#formula=%E0%A4%A", "#formula=a*b&at=a:x:y", "#example=none",
     "#example=constructor", "#code=" + "x" * 30_000],
)  # fmt: skip
def test_a_link_that_cannot_be_read_leads_to_the_gallery(lab, at):
    tab = lab(at)
    said(tab, "The link could not be read, or it is too long.")
    assert tab.locator("#gallery button").count() == len(GALLERY)


def test_files_that_do_not_arrive_or_are_none_are_said(lab, address):
    tab = lab()
    tab.route("**/pyodide.asm.wasm.gz", lambda route: route.fulfill(status=404))
    tab.reload()
    said(tab, "did not arrive (pyodide.asm.wasm.gz: 404). It needs a web server")
    assert tab.inner_text("#progress") == ""
    tab.unroute("**/pyodide.asm.wasm.gz")
    tab.route("**/pyodide.asm.wasm.gz", lambda route: route.fulfill(body=b"none"))
    tab.reload()
    said(tab, "did not arrive (pyodide.asm.wasm.gz: another file came)")
    tab.unroute("**/pyodide.asm.wasm.gz")
    tab.route("**/*.gz", lambda route: route.fulfill(response=(came := route.fetch()), headers={
        **came.headers, "Content-Encoding": "gzip"}))  # as some servers do  # fmt: skip
    tab.reload()
    drawn(tab)


def test_an_example_is_opened_in_chinese(lab):
    tab = lab("#example=twice", "zh.html")
    said(tab, "a + a = 6")
    drawn(tab)
    assert tab.get_attribute("html", "lang") == "zh-Hans" and tab.title() == "反向传播实验室"
    tab.click("nav button[name=network]")
    tab.locator("#printed", has_text="loss").wait_for()
    assert tab.get_attribute("#other", "href").startswith("index.html#code=")


@pytest.mark.parametrize("page", PAGES.values())
def test_pages_fit_a_phone(lab, page):
    tab = lab(page=page)
    tab.set_viewport_size({"width": 390, "height": 800})
    drawn(tab)
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
