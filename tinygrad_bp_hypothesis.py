"""What hypothesis calls when it is imported (its entry point in pyproject.toml): Value gets its strategy.

This is a module of its own beside the package, so that other people's tests do not import the package for
nothing.  If it is imported after hypothesis, `tinygrad_bp/check/__init__.py` does the same.
"""

import importlib
import sys


def register() -> None:
    """Let `hypothesis.strategies.from_type(Value)` know what to draw, if Value is there."""
    if "tinygrad_bp" in sys.modules:
        importlib.import_module("tinygrad_bp.check.strategies")
