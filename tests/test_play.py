"""The formula box: what it answers, whom it answers, and the page in a real browser."""

import http.client
import json
import socket
import threading

import pytest

from tinygrad_bp.cli import main
from tinygrad_bp.play import MOST_BYTES, MOST_PAGES, Server, play


@pytest.fixture
def server():
    with Server("tanh(w*x + b)", {"w": 0.5}) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def ask(server, method, path, body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=30)
    given = {"X-Token": server.token} | {name.replace("_", "-"): text for name, text in headers.items()}
    connection.request(method, path, body if body is None else json.dumps(body), given)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text, answer


def post(server, formula, numbers=None, **headers):
    status, text, _ = ask(
        server, "POST", "/formula", {"formula": formula, "numbers": numbers or {}}, **headers
    )
    return status, json.loads(text)


def test_a_formula_is_answered_with_its_page(server):
    status, answer = post(server, "a*b + a", {"a": "2", "b": "-3"})
    assert status == 200 and answer["said"] == "a*b + a = -4" and answer["numbers"] == {"a": "2", "b": "-3"}
    status, page, _ = ask(server, "GET", answer["page"])
    assert status == 200 and "Backpropagation" in page and "Content-Security-Policy" in page


def test_it_starts_with_the_formula_and_numbers_of_the_command(server):
    assert post(server, "")[1]["numbers"] == {"w": "0.5", "x": "1", "b": "1"}


def test_the_page_is_sealed_and_holds_no_token(server):
    status, text, answer = ask(server, "GET", "/")
    policy = answer.headers["Content-Security-Policy"]
    assert status == 200 and server.token not in text and "default-src 'none'" in policy
    assert "script-src 'sha256-" in policy and "unsafe" not in policy


def test_only_the_last_pages_are_kept(server):
    first = post(server, "x*2")[1]["page"]
    for _ in range(MOST_PAGES):
        post(server, "x*3")
    assert ask(server, "GET", first)[0] == 404 and len(server.pages) == MOST_PAGES


@pytest.mark.parametrize(
    "headers",
    [
        {"X_Token": "wrong"},
        {"X_Token": ""},
        {"Host": "evil.example"},
        {"Host": "evil.example:80"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
    ],
)
def test_a_stranger_is_refused(server, headers):
    status, answer = post(server, "x*2", **headers)
    assert status == 403 and "open the address that the terminal shows" in answer["error"]


def test_a_stranger_may_not_read_the_page_either(server):
    assert ask(server, "GET", "/", Host="evil.example")[0] == 403


@pytest.mark.parametrize(
    "body, message",
    [
        ({"formula": "x.real", "numbers": {}}, "'.' at character 2"),
        ({"formula": "x*2", "numbers": {"x": "two"}}, "x is 'two': type a number, such as 0.5"),
        ({"formula": "x*2", "numbers": {"x": [1]}}, "x is '[1]': type a number"),
        ({"formula": "x*2", "numbers": {"x": "9" * 500}}, "type a number"),
        ({"formula": "x*2", "numbers": [1]}, "numbers is an object, such as {'w': 0.5}"),
        ({"formula": 7, "numbers": {}}, "a formula is text"),
        ({"formula": "2*3", "numbers": {}}, "2*3 has no operation on a name: write one, as in w*2"),
        (
            {"formula": "x" + "+x" * 500, "numbers": {}},
            "the graph has 500 operations; 400 are the limit here",
        ),
        ([], "a question is an object with a formula and numbers, sent to /formula"),
    ],
)
def test_a_bad_question_is_a_sentence(server, body, message):
    status, text, _ = ask(server, "POST", "/formula", body)
    assert status == 400 and message in json.loads(text)["error"]
    assert post(server, "x*2")[0] == 200  # and the next one is answered


def test_a_large_or_broken_question_is_refused(server):
    assert ask(server, "POST", "/formula", "x" * MOST_BYTES)[0] == 413
    assert ask(server, "POST", "/other", {"formula": "x*2", "numbers": {}})[0] == 400
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=30) as connection:
        lines = (
            f"POST /formula HTTP/1.0\r\nHost: 127.0.0.1:{server.server_port}\r\nX-Token: {server.token}\r\n"
        )
        connection.sendall(f"{lines}Content-Length: 5\r\n\r\n[[[[[".encode())
        assert b"400" in connection.recv(1000).splitlines()[0]
    assert ask(server, "GET", "/../cli.py")[0] == 404


def test_a_port_in_use_and_a_missing_browser_are_said(capsys, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["play", "x*2", "--port", str(port)]) == 2
        assert f"port {port} cannot be used" in capsys.readouterr().err
    assert main(["play", "x*2", "--port", "99999999"]) == 2
    assert "choose another with --port" in capsys.readouterr().err
    assert main(["play", "x.real"]) == 2

    def interrupt(self):
        raise KeyboardInterrupt

    monkeypatch.setattr("webbrowser.open", lambda address: False)
    monkeypatch.setattr(Server, "serve_forever", interrupt)
    with pytest.raises(KeyboardInterrupt):
        play("x*2", {})
    out = capsys.readouterr().out
    assert out.startswith("open http://127.0.0.1:") and "no browser could be opened: copy the address" in out


def test_in_a_browser_a_number_is_changed_and_the_page_steps_on(server, browser):
    page = browser.new_page(viewport={"width": 390, "height": 800})
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(server.address)
    page.wait_for_selector("#numbers input")
    page.fill("input[name=w]", "0")
    page.press("input[name=w]", "Enter")
    page.locator("#said", has_text="= 0.761594").wait_for()
    page.fill("#formula", "x.real")
    page.press("#formula", "Enter")
    page.locator("#said", has_text="'.' at character 2").wait_for()
    page.frame_locator("#page").locator("#on").click()
    assert not errors
    page.close()
