"""The demos, run as a reader runs them: each in a process of its own, in a pipe."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
DEMOS = ROOT / "demos"


def run(arguments, **options):
    """A Python process that finds the package, without a terminal."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        **options,
    )
