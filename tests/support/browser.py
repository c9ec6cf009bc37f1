"""Where Chromium, Graphviz's dot, axe-core and Pyodide are, for tests: looked for, never installed.

tests/setup.py gets what is missing. Only the standard library is imported until a browser is opened.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import Any

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
APPLICATIONS = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    r"C:\Program Files\Google\Chrome\Application\chrome.exe",
    r"C:\Program Files (x86)\Microsoft\Edge\Application\msedge.exe",
)
OPTIONS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
OPTIONS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
IN_CI = os.environ.get("CI", "").lower() not in ("", "0", "false")
JAVASCRIPT = Path(__file__).parents[1] / "javascript"
HOW = f"to get it: {'python' if os.name == 'nt' else '.venv/bin/python'} tests/setup.py"


def playwright_folder() -> Path:
    """Where Playwright keeps the browsers that it downloads."""
    if (chosen := os.environ.get("PLAYWRIGHT_BROWSERS_PATH", "0")) != "0":
        return Path(chosen)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "ms-playwright"
    if os.name == "nt":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "ms-playwright"
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "ms-playwright"


def candidates() -> Iterator[str]:
    yield from filter(None, map(shutil.which, CHROMIUM))
    yield from (path for path in APPLICATIONS if Path(path).is_file())
    for pattern in ("chromium-*/*/chrome", "chromium-*/*/chrome.exe", "chromium-*/*/*.app/Contents/MacOS/*"):
        yield from map(str, sorted(playwright_folder().glob(pattern), reverse=True))
    for pattern in ("*headless_shell*/*/*headless*shell", "*headless_shell*/*/*headless*shell.exe"):
        yield from map(str, sorted(playwright_folder().glob(pattern), reverse=True))


def runs(program: str) -> bool:
    """Whether a program starts at all: a snap's stub or a missing library does not."""
    if program.endswith(("chrome.exe", "msedge.exe")):  # they open a window
        return True
    try:
        return subprocess.run([program, "--version"], capture_output=True, timeout=60).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def find_browser() -> str | None:
    """The path of a Chromium that starts: the system's, else Playwright's own; None without one."""
    return next(filter(runs, candidates()), None)


def find_driver() -> str | None:
    """The program by which Playwright drives a browser, or None if it does not start."""
    package = find_spec("playwright")
    if package is None or package.origin is None:
        return None
    node = Path(package.origin).parent / "driver" / ("node.exe" if os.name == "nt" else "node")
    return str(node) if runs(str(node)) else None


def find_dot() -> str | None:
    """The path of Graphviz's dot, or None."""
    return shutil.which("dot")


def find_axe() -> str | None:
    """The path of axe-core's script, which looks for what keeps people from using a page; or None."""
    script = JAVASCRIPT / "node_modules" / "axe-core" / "axe.min.js"
    return str(script) if script.is_file() else None


def find_pyodide() -> str | None:
    """Where Pyodide's package is, which the laboratory is built of; or None."""
    from tinygrad_bp.lab.folder import LabError, fetch_pyodide

    try:
        fetch_pyodide(offline=True)
    except LabError:
        return None
    return "npm's cache"


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a static server of a folder's files, as any would serve them."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def open_browser(program: str) -> Iterator[Any]:
    """Chromium without a window, driven by Playwright."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=OPTIONS)
        yield chromium
        chromium.close()
