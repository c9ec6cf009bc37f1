"""The set-up of tests: what is missing is installed or named; tests that cannot run are one line."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import setup
from support import browser

ROOT = Path(__file__).parents[1]


@pytest.fixture
def commands(monkeypatch):
    """The commands that the set-up runs, on a machine that has apt-get and nothing else; none succeeds."""
    ran = []

    def tried(command, log):
        ran.append(" ".join(command))
        log.append("it failed")
        return False

    monkeypatch.setattr(setup, "tried", tried)
    monkeypatch.setattr(setup.shutil, "which", lambda name: f"/usr/bin/{name}" if name == "apt-get" else None)
    return ran


def test_a_program_that_is_there_is_used(commands, capsys):
    assert setup.get("dot", lambda: "/usr/bin/dot")
    assert capsys.readouterr().out == "dot: /usr/bin/dot is there\n"
    assert commands == []


def test_the_second_way_is_tried_where_the_first_fails(commands, capsys):
    places = iter([None, "/home/a/chromium"])
    assert setup.get("browser", lambda: next(places), lambda log: True)
    assert "browser: /home/a/chromium was installed\n" in capsys.readouterr().out
    assert commands[0].endswith("apt-get update")


def test_what_cannot_be_installed_is_named_with_what_to_do(commands, capsys):
    assert not setup.get("dot", lambda: None)
    said = capsys.readouterr().out
    assert "dot: missing, and could not be installed here" in said
    assert "an administrator can install it: apt-get install graphviz" in said


@pytest.mark.parametrize(("in_ci", "code"), [(True, 1), (False, 0)])
def test_a_missing_program_is_an_error_in_ci_alone(in_ci, code, commands, monkeypatch):
    monkeypatch.setattr(setup, "IN_CI", in_ci)
    for name in ("find_browser", "find_dot", "find_driver"):
        monkeypatch.setattr(setup, name, lambda: None)
    assert setup.main() == code
    assert any("playwright install" in command for command in commands)


def test_every_manager_names_every_package():
    assert {len(packages.split()) for *_, packages in setup.MANAGERS.values()} == {len(setup.NAMES)}


def test_a_program_that_does_not_start_is_not_found(tmp_path):
    broken = tmp_path / "chromium"
    broken.write_text("#!/bin/sh\nexit 127\n", encoding="utf-8")
    broken.chmod(0o755)
    assert not browser.runs(str(broken))
    assert not browser.runs(str(tmp_path / "nothing"))
    assert browser.runs(sys.executable)


@pytest.mark.skipif(sys.platform != "linux", reason="browsers are looked for in fixed places elsewhere")
@pytest.mark.parametrize("ci", ["", "true"])
def test_browser_tests_that_cannot_run_are_one_line_and_an_error_in_ci(ci, tmp_path):
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "tests/show/test_stepper_browser.py"]
    environment = {**os.environ, "PATH": str(tmp_path), "PLAYWRIGHT_BROWSERS_PATH": str(tmp_path), "CI": ci}
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    lines = [line for line in ran.stdout.splitlines() if line.startswith("NOT RUN")]
    if ci:
        assert (ran.returncode, lines) == (1, [])
        assert "no Chromium found: to get it: .venv/bin/python tests/setup.py" in ran.stdout
    else:
        assert ran.returncode == 0
        assert len(lines) == 1
        assert re.match(r"NOT RUN: \d+ tests in a browser \(no Chromium found\); to get it: ", lines[0])


def test_each_hook_at_a_commit_is_a_line_of_ci():
    hooks = re.findall(r"entry: (.*)", (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert len(hooks) == 4
    assert not set(hooks) - set(ci)
