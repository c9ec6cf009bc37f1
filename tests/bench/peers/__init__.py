"""The others, each in a file: those that are installed build the same works.

A peer has NAME, VERSION, `contenders(net, threads)` and may have `formula_contenders()`, `tangle_seconds(n)`
and `first_step_seconds(net)` for compile times.  They are read by name, so that one that is not installed is
listed and left out.
"""

import importlib
import os
from types import ModuleType

NAMES = {
    "numpy": "peers.by_hand",
    "torch": "peers.pytorch",
    "jax": "peers.xla",
    "autograd": "peers.hips",
    "casadi": "peers.symbolic",
    "micrograd": "peers.scalars",
}
missing: list[str] = []


def installed() -> list[ModuleType]:
    """The peers that can be imported here; `missing` names the rest."""
    found = []
    missing.clear()
    if os.environ.get("BENCH_PEERS") == "none":  # two commits of ours are compared
        return []
    for package, module in NAMES.items():
        try:
            found.append(importlib.import_module(module))
        except ImportError as error:
            if error.name is None or error.name.split(".")[0] != package:
                raise
            missing.append(package)
    return found
