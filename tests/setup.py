"""Get the programs that the tests need and that are missing: a browser (Chromium) and Graphviz's dot.

    python tests/setup.py

A program that is there is used as it is. Otherwise the system's package manager installs it, if no password
is needed; for a browser there is Playwright's own download, too. What was done is printed. Tests whose
program is missing are reported as not run; with CI set, a missing program is an error.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from support.browser import IN_CI, find_browser, find_dot

# manager: (what to run first, how to install, its names of the browser, and of Graphviz)
MANAGERS = {
    "apt-get": (["update"], ["install", "-y", "--no-install-recommends"], "chromium", "graphviz"),
    "dnf": ([], ["install", "-y"], "chromium", "graphviz"),
    "zypper": ([], ["--non-interactive", "install"], "chromium", "graphviz"),
    "pacman": ([], ["-Sy", "--noconfirm"], "chromium", "graphviz"),
    "apk": ([], ["add"], "chromium", "graphviz"),
    "brew": ([], ["install", "--quiet"], "", "graphviz"),
    "choco": ([], ["install", "-y", "--no-progress"], "", "graphviz"),
}
ROOTLESS = {"brew", "choco"}


def tried(command: list[str], log: list[str]) -> bool:
    """Whether a command succeeds; what it printed goes to the log."""
    print("+", " ".join(command), flush=True)
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        options = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": subprocess.STDOUT}
        try:
            code = subprocess.run(command, **options).returncode
        except OSError as error:
            log.append(str(error))
            return False
        output.seek(0)
        log += output.read().splitlines()[-3:]
    return code == 0


def install(place: int, log: list[str]) -> bool:
    """Whether the system's package manager installed the package at this place of its row."""
    for manager, row in MANAGERS.items():
        if (program := shutil.which(manager)) and row[place]:
            before, options, *_ = row
            prefix = []
            if os.name == "posix" and os.geteuid() != 0 and manager not in ROOTLESS:
                prefix = ["sudo", "-n"]  # no question is asked
            if manager == "apt-get":
                prefix += ["env", "DEBIAN_FRONTEND=noninteractive"]
                program, options = "apt-get", ["-q", "-o", "DPkg::Lock::Timeout=300", *options]
            if before and not tried([*prefix, program, *before], log):
                return False
            return tried([*prefix, program, *options, row[place]], log)
    return False


def download_browser(log: list[str]) -> bool:
    """Whether Playwright downloaded its own Chromium, into a folder of the user."""
    return tried([sys.executable, "-m", "playwright", "install", "chromium-headless-shell"], log)


def get(what: str, find: Callable[[], str | None], *ways: Callable[[list[str]], bool]) -> bool:
    """Find a program, or try the ways to get it until it is found; say how that went."""
    log: list[str] = []
    found = find()
    how = "is there"
    for way in ways:
        if found is None and way(log):
            found, how = find(), "was installed"
    if found:
        print(f"{what}: {found} {how}")
        return True
    print(f"{what}: missing, and could not be installed here; its tests will be reported as not run")
    for line in log:
        print("   ", line)
    return False


def main() -> int:
    complete = [
        get("browser", find_browser, lambda log: install(2, log), download_browser),
        get("dot", find_dot, lambda log: install(3, log)),
    ]
    return 1 if IN_CI and not all(complete) else 0


if __name__ == "__main__":
    sys.exit(main())
