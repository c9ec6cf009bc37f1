"""Get what the tests need and is missing: Chromium, Playwright's driver of it, Graphviz, axe-core, Pyodide.

    python tests/setup.py        also: setup.py npm, to check the pages' JavaScript

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
from support.browser import IN_CI, JAVASCRIPT, find_axe, find_browser, find_dot, find_driver, find_pyodide

NAMES = ("browser", "driver", "dot", "npm")
# manager: (what to run first, how to install, and what it calls the packages of NAMES)
MANAGERS = {
    "apt-get": (["update"], ["install", "-y", "--no-install-recommends"], "chromium libatomic1 graphviz npm"),
    "dnf": ([], ["install", "-y"], "chromium libatomic graphviz npm"),
    "zypper": ([], ["--non-interactive", "install"], "chromium libatomic1 graphviz npm-default"),
    "pacman": ([], ["-Sy", "--noconfirm"], "chromium gcc-libs graphviz npm"),
    "apk": ([], ["add"], "chromium libatomic graphviz npm"),
    "brew": ([], ["install", "--quiet"], "- - graphviz node"),
    "choco": ([], ["install", "-y", "--no-progress"], "- - graphviz nodejs"),
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


def install(name: str, log: list[str]) -> bool:
    """Whether the system's package manager installed one of NAMES."""
    for manager, (before, options, packages) in MANAGERS.items():
        package = packages.split()[NAMES.index(name)]
        if not shutil.which(manager) or package == "-":
            continue
        prefix = []
        if os.name == "posix" and os.geteuid() != 0 and manager not in ROOTLESS:
            prefix = ["sudo", "-n"]  # no question is asked
        if manager == "apt-get":
            prefix += ["env", "DEBIAN_FRONTEND=noninteractive"]
            options = ["-q", "-o", "DPkg::Lock::Timeout=300", *options]
        first = not before or tried([*prefix, manager, *before], log)
        if first and tried([*prefix, manager, *options, package], log):
            return True
        log.append(f"an administrator can install it: {manager} install {package}")
        return False
    return False


def download_browser(log: list[str]) -> bool:
    """Whether Playwright downloaded its own Chromium, into a folder of the user."""
    return tried([sys.executable, "-m", "playwright", "install", "chromium-headless-shell"], log)


def install_packages(log: list[str]) -> bool:
    """Whether npm, if there is one, installed the packages of tests/javascript: axe-core is one of them."""
    npm = shutil.which("npm")
    if npm is None:
        log.append("it comes by npm, which is missing: tests/setup.py npm gets that first")
        return False
    return tried([npm, "--prefix", str(JAVASCRIPT), "install", "--no-fund", "--no-audit"], log)


def fetch_package(log: list[str]) -> bool:
    """Whether npm got Pyodide's package into its cache."""
    from tinygrad_bp.lab.folder import LabError, fetch_pyodide

    try:
        fetch_pyodide()
    except LabError as error:
        log.append(str(error))
        return False
    return True


def get(name: str, find: Callable[[], str | None], *ways: Callable[[list[str]], bool]) -> bool:
    """Find a program, or try the ways to get it until it is found; say how that went."""
    log: list[str] = []
    found = find()
    how = "is there"
    system = [lambda log: install(name, log)] if name in NAMES else []
    for way in (*system, *ways):
        if found is None and way(log):
            found, how = find(), "was installed"
    if found:
        print(f"{name}: {found} {how}")
        return True
    print(f"{name}: missing, and could not be installed here; what needs it will be reported as not run")
    for line in log:
        print("   ", line)
    return False


def main() -> int:
    complete = [
        get("driver", find_driver),  # downloads a browser, too
        get("browser", find_browser, download_browser),
        get("dot", find_dot),
        *([get("npm", lambda: shutil.which("npm"))] if "npm" in sys.argv[1:] or IN_CI else []),
        get("axe-core", find_axe, install_packages),
        get("pyodide", find_pyodide, fetch_package),
    ]
    return 1 if IN_CI and not all(complete) else 0


if __name__ == "__main__":
    sys.exit(main())
