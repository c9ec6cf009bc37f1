"""A formula box in the browser, answered by Python on this machine: `tinygrad-bp play "tanh(w*x + b)"`.

The server listens on 127.0.0.1 alone and answers only to the page it opened: the page's address carries a
random token behind its #, which a browser sends to nobody, and every question has to bring it.  What comes
in is a formula and numbers; formula.py reads them, and no text is ever run as code.
"""

import hmac
import json
import re
import secrets
import webbrowser
from base64 import b64encode
from collections import OrderedDict
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tinygrad_bp.errors import TinygradError
from tinygrad_bp.formula import FormulaError, parse
from tinygrad_bp.lab.answer import answer_formula

PAGE = Path(__file__).with_name("play.html")
MOST_BYTES = 20_000  # of a question
MOST_PAGES = 8  # that are kept for a browser to fetch
SECONDS = 10  # that a browser has to send its question
START = "tanh(w*x + b)"


class Server(ThreadingHTTPServer):
    """The formula box on a port of this machine; port 0 takes one that is free."""

    daemon_threads = True

    def __init__(self, formula: str = START, numbers: dict[str, float] | None = None, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.token = secrets.token_urlsafe(32)
        self.formula = formula
        self.numbers = numbers or {}
        self.pages: OrderedDict[str, bytes] = OrderedDict()

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def address(self) -> str:
        """What to open: the page, with the token where only its script can read it."""
        return f"{self.origin}/#{self.token}"

    def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        """The page for a formula and its numbers. Raises FormulaError for what is not one."""
        numbers = question.get("numbers")
        given: Any = {**self.numbers, **numbers} if isinstance(numbers, dict) else numbers
        found = answer_formula(question.get("formula") or self.formula, given)
        name = secrets.token_urlsafe(16)
        self.pages[name] = found.pop("html").encode()
        while len(self.pages) > MOST_PAGES:
            self.pages.popitem(last=False)
        return {**found, "page": f"/page/{name}"}


class Handler(BaseHTTPRequestHandler):
    server: Server
    timeout = SECONDS

    def do_GET(self) -> None:
        if not self._is_from_here():
            return
        if self.path == "/":
            text = PAGE.read_text(encoding="utf-8")
            policy = f"default-src 'none'; connect-src 'self'; frame-src 'self'; {_hashes(text)}"
            self._send(200, text.encode(), "text/html", policy)
        elif (page := self.server.pages.get(self.path.removeprefix("/page/"))) is not None:
            self._send(200, page, "text/html")  # it brings its own policy
        else:
            self._refuse(404, "there is no such page: open the address that the terminal shows")

    def do_POST(self) -> None:
        if not self._is_from_here():
            return
        token = self.headers.get("X-Token", "")
        if not hmac.compare_digest(token.encode(), self.server.token.encode()):
            self._refuse(403, "this page was opened by another run: open the address that the terminal shows")
            return
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or len(length) > 9 or int(length) > MOST_BYTES:
            self._refuse(413, f"a question has at most {MOST_BYTES:,} bytes")
            return
        try:
            question = json.loads(self.rfile.read(int(length)))
            if self.path != "/formula" or not isinstance(question, dict):
                raise FormulaError("a question is an object with a formula and numbers, sent to /formula")
            answer = self.server.answer(question)
        except (TinygradError, ValueError, RecursionError) as error:
            self._refuse(400, " ".join(str(error).split()) or "the question is not JSON")
            return
        self._send(200, json.dumps(answer).encode(), "application/json")

    def _is_from_here(self) -> bool:
        """Another site's page can make a browser ask us, but not under our name."""
        here = self.server.origin.removeprefix("http://")
        names = {here, here.replace("127.0.0.1", "localhost")}
        origin = self.headers.get("Origin", "null" if self.path.startswith("/page/") else self.server.origin)
        known = {f"http://{name}" for name in names} | ({"null"} if self.path.startswith("/page/") else set())
        if self.headers.get("Host") in names and origin in known:
            return True
        self._refuse(403, "only the page of this program may ask: open the address that the terminal shows")
        return False

    def _refuse(self, status: int, why: str) -> None:
        self.close_connection = True
        self._send(status, json.dumps({"error": why}).encode(), "application/json")

    def _send(self, status: int, body: bytes, kind: str, policy: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        if policy:
            self.send_header("Content-Security-Policy", f"{policy}; base-uri 'none'; form-action 'none'")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing: the terminal shows the address, and stays as it is."""


def play(formula: str, numbers: dict[str, float], port: int = 0, browser: bool = True) -> None:
    """Serve the formula box until Ctrl-C. Raises FormulaError, or OSError for a port in use."""
    parse(formula)
    try:
        server = Server(formula, numbers, port)
    except (OSError, OverflowError) as error:
        raise OSError(f"port {port} cannot be used ({error}): choose another with --port") from None
    with server:
        print(f"open {server.address}\nCtrl-C ends it", flush=True)
        if browser and not webbrowser.open(server.address):
            print("no browser could be opened: copy the address into one", flush=True)
        server.serve_forever()


def _hashes(text: str) -> str:
    """The policy that lets a page run its own script and style, and no others."""
    parts = [re.search(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL) for tag in ("script", "style")]
    hashes = [b64encode(sha256(part[1].encode()).digest()).decode() for part in parts if part]
    return f"script-src 'sha256-{hashes[0]}'; style-src 'sha256-{hashes[1]}'"
