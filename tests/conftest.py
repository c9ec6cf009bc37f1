"""What all tests share: profiles of hypothesis, a real browser, and Graphviz.

With CI set, hypothesis tries the same examples on every run, and a missing program is an error. Elsewhere its
examples are new each time, and tests whose program is missing are skipped: one line at the end counts them.
"""

import itertools
import shutil
from pathlib import Path

import pytest
from hypothesis import settings
from support.browser import HOW, IN_CI, find_axe, find_browser, find_dot, find_driver, open_browser

settings.register_profile("here", deadline=None)  # machines that run tests are not alike
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if IN_CI else "here")

NOT_FOUND = {
    "no Chromium found": "in a browser",
    "Playwright does not start": "in a browser",
    "no dot found": "of Graphviz",
    "no node found": "of the page's script",
    "no anywidget found": "of the widget",
    "no marimo found": "in a notebook",
    "no axe-core found": "of accessibility",
    "no Pyodide from npm": "of the laboratory",
}


def refuse(reason):
    """Skip a test whose program is missing; in CI, fail."""
    if IN_CI:
        pytest.fail(f"{reason}: {HOW}", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def browser():
    """Chromium: the system's, or Playwright's own."""
    program = find_browser()
    if program is None:
        refuse("no Chromium found")
    if find_driver() is None:
        refuse("Playwright does not start")
    with open_browser(program) as chromium:
        yield chromium


@pytest.fixture(scope="session")
def dot():
    """The path of Graphviz's program."""
    return find_dot() or refuse("no dot found")


@pytest.fixture(scope="session")
def axe():
    """The text of axe-core's script."""
    script = find_axe() or refuse("no axe-core found")
    return Path(script).read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def node():
    """The path of node: the system's, or the one that Playwright brings along."""
    return shutil.which("node") or find_driver() or refuse("no node found")


@pytest.fixture
def visit(browser, tmp_path):
    """visit(page, hash, options of the window): the page in a window of its own.

    An error in the page, a word on its console, a dialog, or a request for anything but the file fails.
    """
    contexts, troubles, count = [], [], itertools.count()

    def watched(**options):
        contexts.append(
            browser.new_context(**{"viewport": {"width": 1280, "height": 800}, "offline": True, **options})
        )
        tab = contexts[-1].new_page()
        tab.set_default_timeout(20_000)
        tab.on("pageerror", lambda error: troubles.append(f"error: {error}"))
        tab.on("console", lambda message: troubles.append(f"console: {message.text}"))
        tab.on("dialog", lambda dialog: (troubles.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        tab.requests = []
        tab.on("request", lambda request: tab.requests.append(request.url.partition("#")[0]))
        return tab

    def visit(page, at="", **options):
        file = tmp_path / f"page{next(count)}.html"
        page.save(file)
        tab = watched(**options)
        tab.goto(file.as_uri() + at)
        assert tab.requests == [file.as_uri()]
        return tab

    visit.watched = watched
    yield visit
    for context in contexts:
        asked = {url for tab in context.pages for url in tab.requests}
        assert len([url for url in asked if not url.startswith("blob:")]) <= 1  # that is a picture it made
        context.close()
    assert not troubles


def pytest_terminal_summary(terminalreporter):
    """One line for all tests that were not run for want of a program."""
    reasons = [str(report.longrepr) for report in terminalreporter.stats.get("skipped", [])]
    counts = {reason: sum(reason in text for text in reasons) for reason in NOT_FOUND}
    parts = [f"{n} tests {NOT_FOUND[reason]} ({reason})" for reason, n in counts.items() if n]
    if parts:
        terminalreporter.write_line(f"NOT RUN: {' and '.join(parts)}; {HOW}", yellow=True)
