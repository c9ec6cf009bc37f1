"""`python -m tinygrad_bp`: which version this is, which extras are found, and where the demos are."""

import platform
from importlib.util import find_spec
from pathlib import Path

import tinygrad_bp

EXTRAS = {  # extra: (the package it brings, what for)
    "graphviz": ("graphviz", "drawings through the dot program"),
    "plots": ("matplotlib", "plots of training"),
    "progress": ("tqdm", "progress bars"),
    "strategies": ("hypothesis", "strategies for property tests"),
    "fast": ("llvmlite", "native code"),
}


def main() -> None:
    print(f"tinygrad_bp {tinygrad_bp.__version__} on Python {platform.python_version()}")
    print("extras:")
    for extra, (package, purpose) in EXTRAS.items():
        found = "found" if find_spec(package) else f"not found: pip install 'tinygrad_bp[{extra}]'"
        print(f"  {extra:<11}{purpose:<34}{found}")
    demos = Path(tinygrad_bp.__file__).parents[1] / "demos"
    if demos.is_dir():
        print(f"demos: {demos}")
        for demo in sorted({*demos.glob("*.py")} - {demos / "shared.py"}):
            print(f"  python {demo}")
    else:
        print("demos: in the source distribution, not in the installed package")


if __name__ == "__main__":
    main()
