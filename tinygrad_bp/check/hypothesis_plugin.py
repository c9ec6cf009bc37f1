"""What hypothesis loads when it is imported (its entry point in pyproject.toml): Value gets its strategy.

Everyone who uses hypothesis loads this file, so it imports nothing of the package: what is drawn is looked up
when it is drawn.  If Value is loaded after hypothesis, `operators.py` calls `register`.
"""

import sys
from importlib import import_module


def register(value_type: type | None = None) -> None:
    """Let `hypothesis.strategies.from_type(Value)` know what to draw, if Value is loaded."""
    value_type = value_type or getattr(sys.modules.get("tinygrad_bp.engine"), "Value", None)
    if value_type:
        strategies = import_module("hypothesis.strategies")
        strategies.register_type_strategy(value_type, _values)


def _values(value_type: type) -> object:
    return import_module("tinygrad_bp.check.strategies").values()
