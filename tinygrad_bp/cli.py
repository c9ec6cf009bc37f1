"""The command line: what the library does with a formula, without writing a program.

Each command is a function of the parsed options that returns the exit code: 0, or 1 where a check failed.  A
mistake of the user ends in one line and exit code 2, an interrupt in 130.  What one
command needs is imported by that command, so `--help` prints at once.
"""

from __future__ import annotations  # an annotation would load what it names

import argparse
import math
import os
import sys
from collections.abc import Sequence
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING, Any

import tinygrad_bp as tg
from tinygrad_bp.errors import TinygradError

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = "tinygrad-bp"
EXAMPLES = """examples:
  tinygrad-bp explain "tanh(w*x + b)" w=0.5 x=2 b=-1 --wrt w
  tinygrad-bp draw "(a*b + c)**2" a=2 b=-3 c=10 -o graph.svg
  tinygrad-bp step "a*b + a" a=2 b=-3 -o page.html
  tinygrad-bp play "tanh(w*x + b)"
  tinygrad-bp lab site/lab
  tinygrad-bp check "log(x)*sin(y)" x=2 y=3
  tinygrad-bp grad "x**y" x=2 y=3 --order 2 --json
  tinygrad-bp compile "tanh(w*x + b)" --emit matrix
  tinygrad-bp demo moons
"""
EXTRAS = {  # extra: (the package it brings, what for)
    "graphviz": ("graphviz", "drawings through the dot program"),
    "plots": ("matplotlib", "plots of training"),
    "progress": ("tqdm", "progress bars"),
    "strategies": ("hypothesis", "strategies for property tests"),
    "fast": ("llvmlite", "machine code"),
    "widget": ("anywidget", "a page in a notebook, tg.widget"),
}
MOST_DERIVATIVES = 1_000


class UserError(Exception):
    """What the user has to change, in one line."""


# --- the commands -------------------------------------------------------------------------------------------


def explain(options: argparse.Namespace) -> int:
    """Print why a gradient is what it is: every path, its partials, their product, the sum."""
    leaves, result = graph_of(options)
    wrt = options.wrt or next(iter(leaves), None)
    if wrt not in leaves:
        raise UserError(f"--wrt: {wrt!r} is not in the formula: its names are {', '.join(leaves)}")
    explanation = tg.explain(result, leaves[wrt])
    print(explanation.latex if options.latex else explanation.markdown if options.markdown else explanation)
    return 0


def draw(options: argparse.Namespace) -> int:
    """Draw the graph of a formula, with its gradients, to a file."""
    _, result = graph_of(options)
    result.backward()
    path = tg.draw(result, detail=options.detail).save(options.output)
    print(f"drawing: {path}")
    return 0


def step(options: argparse.Namespace) -> int:
    """Write a page that steps through the formula, forward and backward."""
    _, result = graph_of(options)
    tg.stepper(result, options.output, lang=options.lang)
    print(f"page: {options.output}")
    return 0


def play(options: argparse.Namespace) -> int:
    """Open a formula box in the browser, answered by this program."""
    from tinygrad_bp.play import play as serve

    _, numbers = formula_of(options, placeholders=True)
    serve(options.formula, numbers, options.port, not options.no_browser)
    return 0


def lab(options: argparse.Namespace) -> int:
    """Write the laboratory into a folder: pages in which Python itself answers, for any web server."""
    from pathlib import Path

    from tinygrad_bp.lab.folder import build_lab

    files = build_lab(Path(options.folder), Path(options.pyodide).read_bytes() if options.pyodide else None)
    size = sum(path.stat().st_size for path in files) / 1e6
    print(f"laboratory: {len(files)} files, {size:.1f} MB, in {options.folder}")
    print(f"to see it: {Path(sys.executable).name} -m http.server --directory {options.folder}")
    return 0


def check(options: argparse.Namespace) -> int:
    """Compare the gradients with difference quotients; exit code 1 if one is wrong."""
    formula, numbers = formula_of(options)
    if not numbers:
        raise UserError(f"{formula.text} has no names: there is no gradient to check")
    report = tg.gradcheck(formula, *numbers.values())
    print(report)
    return 0 if report else 1


def grad(options: argparse.Namespace) -> int:
    """Print the value of a formula and all its derivatives up to an order."""
    if options.order < 1:
        raise UserError(f"--order is a whole number from 1 up, not {options.order}")
    leaves, result = graph_of(options)
    count = math.comb(len(leaves) + options.order, options.order)
    if count > MOST_DERIVATIVES:
        raise UserError(
            f"order {options.order} of {len(leaves)} names has {count:,} derivatives; "
            f"{MOST_DERIVATIVES:,} are the limit: take a lower --order"
        )
    derivatives = derivatives_of(leaves, result, options.order)
    if options.json:
        import json

        numbers = {name: x if math.isfinite(x) else str(x) for name, x in derivatives.items()}
        print(json.dumps({"formula": options.formula.strip(), **numbers}, ensure_ascii=False))
    else:
        width = max(map(len, derivatives))
        for name, x in derivatives.items():
            print(f"{name:<{width}}  {x!r}")
    return 0


def compile_(options: argparse.Namespace) -> int:
    """Print a formula's program and gradient as generated code."""
    formula, _ = formula_of(options, placeholders=True)
    names = formula.names
    if not names:
        raise UserError(f"{formula.text} has no names: there is nothing to compile")
    parameters = [tg.Value(1.0, label=name) for name in names]
    step = tg.compile(lambda: formula(*parameters), params=parameters, example=())
    print(step.source(options.emit))
    return 0


def demo(options: argparse.Namespace) -> int:
    """Run one of the demos; without a name, list them."""
    import runpy

    folder = demo_folder()
    names = sorted(path.stem for path in folder.glob("*.py") if path.stem != "shared")
    chosen = [name for name in names if name == options.name or name.endswith(f"_{options.name}")]
    if options.name is None:
        print("\n".join(names))
        return 0
    if len(chosen) != 1:
        raise UserError(f"there is no demo {options.name!r}: there are {', '.join(names)}")
    path = folder / f"{chosen[0]}.py"
    sys.argv = [str(path), *options.options]
    sys.path.insert(0, str(folder))
    runpy.run_path(str(path), run_name="__main__")
    return 0


def info(options: argparse.Namespace) -> int:
    """Print the version, which extras are installed, and the demos."""
    import platform
    from importlib.util import find_spec

    print(f"tinygrad_bp {tg.__version__} on Python {platform.python_version()}")
    print("extras:")
    for extra, (package, purpose) in EXTRAS.items():
        found = "installed" if find_spec(package) else f"not installed: pip install 'tinygrad_bp[{extra}]'"
        print(f"  {extra:<11}{purpose:<34}{found}")
    print(f"demos: {PROGRAM} demo NAME, of")
    for path in sorted(demo_folder().glob("*.py")):
        if path.stem != "shared":
            print(f"  {path.stem}")
    return 0


def completion(options: argparse.Namespace) -> int:
    """Print the lines that let a shell complete the commands."""
    commands = " ".join(COMMANDS)
    print(
        {
            "bash": f"complete -W '{commands}' -o default {PROGRAM}",
            "zsh": f'compdef \'_arguments "1:command:({commands})" "*:file:_files"\' {PROGRAM}',
            "fish": f"complete -c {PROGRAM} -n __fish_use_subcommand -a '{commands}'",
        }[options.shell]
    )
    return 0


COMMANDS = {
    "explain": explain, "draw": draw, "step": step, "play": play, "lab": lab, "check": check,
    "grad": grad, "compile": compile_, "demo": demo, "info": info, "completion": completion,
}  # fmt: skip


# --- formulas and numbers -----------------------------------------------------------------------------------


def formula_of(options: argparse.Namespace, placeholders: bool = False) -> tuple[Any, dict[str, float]]:
    """The formula, and the number given to each of its names."""
    from tinygrad_bp.formula import parse

    formula = parse(options.formula)
    given = dict(map(assignment, options.numbers))
    try:
        formula.check_names(given, all_needed=not placeholders)
    except TypeError as error:
        raise UserError(str(error)) from None
    return formula, {name: given[name] for name in formula.names if name in given}


def graph_of(options: argparse.Namespace) -> tuple[dict[str, tg.Value], tg.Value]:
    formula, numbers = formula_of(options)
    if not numbers:
        raise UserError(f"{formula.text} has no names: write one for a number that may change, as in w*2")
    leaves = {name: tg.Value(number, label=name) for name, number in numbers.items()}
    return leaves, formula(**leaves)


def assignment(text: str) -> tuple[str, float]:
    """What `w=0.5` says."""
    name, equals, number = text.partition("=")
    try:
        if not equals or not name.isidentifier():
            raise ValueError
        return name, float(number)
    except ValueError:
        raise UserError(f"{text!r} is not a name and its number: write it as w=0.5") from None


def derivatives_of(leaves: dict[str, tg.Value], result: tg.Value, order: int) -> dict[str, float]:
    """The value and every partial derivative up to an order, by what is written: "∂²/∂x∂y"."""
    names = list(leaves)
    found: dict[tuple[str, ...], Any] = {(): result}
    for n in range(order):
        for by in combinations_with_replacement(names, n):
            later = names[names.index(by[-1]) :] if by else names
            slopes = tg.gradients(found[by], [leaves[name] for name in later], create_graph=n + 1 < order)
            found.update({(*by, name): slope for name, slope in zip(later, slopes)})
    return {derivative_name(by): getattr(x, "data", x) for by, x in found.items()}


def derivative_name(by: Sequence[str]) -> str:
    if not by:
        return "value"
    powers = "".join(str(len(by))) if len(by) > 1 else ""
    power = powers.translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"∂{power}/" + "".join(f"∂{name}" for name in by)


def demo_folder() -> Path:
    """The demos beside the package in a copy of the repository, or inside an installed package."""
    from pathlib import Path

    package = Path(tg.__file__).parent
    for folder in (package / "demos", package.parent / "demos"):
        if (folder / "shared.py").is_file():
            return folder
    raise UserError(
        "the demos are not installed here: reinstall tinygrad_bp, or run them from its repository"
    )


# --- parsing the command line -------------------------------------------------------------------------------


def make_parser() -> argparse.ArgumentParser:
    text = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        PROGRAM, description="Backpropagation on a formula.", epilog=EXAMPLES, formatter_class=text
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {tg.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    made = {}
    for name, command in COMMANDS.items():
        line = (command.__doc__ or "").strip()
        example = next((f"example:\n{line}" for line in EXAMPLES.splitlines() if f" {name} " in line), "")
        made[name] = commands.add_parser(
            name, help=line, description=line, epilog=example, formatter_class=text, allow_abbrev=False
        )
    for name in ("explain", "draw", "step", "play", "check", "grad", "compile"):
        made[name].add_argument("formula", help='such as "tanh(w*x + b)"')
        made[name].add_argument("numbers", nargs="*", metavar="name=number", help="such as w=0.5")
    made["explain"].add_argument(
        "--wrt", metavar="NAME", help="the name to differentiate by; default: the first"
    )
    form = made["explain"].add_mutually_exclusive_group()
    form.add_argument("--latex", action="store_true", help="as LaTeX, for the package amsmath")
    form.add_argument("--markdown", action="store_true", help="as Markdown, with formulas between dollars")
    made["draw"].add_argument("-o", "--output", default="graph.svg", help="default: graph.svg")
    made["draw"].add_argument("--detail", choices=["scalar", "node"], help="scalar opens a dot into × and +")
    made["step"].add_argument("-o", "--output", default="page.html", help="default: page.html")
    made["step"].add_argument("--lang", choices=["en", "zh"], default="en", help="default: en")
    made["play"].add_argument("--port", type=int, default=0, help="default: one that is free")
    made["play"].add_argument("--no-browser", action="store_true", help="only print the address")
    made["lab"].add_argument("folder", help="where to write it; made if it does not exist")
    made["lab"].add_argument(
        "--pyodide", metavar="FILE", help="Pyodide's package, packed; default: npm fetches it"
    )
    made["grad"].add_argument("--order", type=int, default=1, help="of the highest derivatives; default: 1")
    made["grad"].add_argument("--json", action="store_true", help="as one JSON object")
    emit = ["python", "matrix", "llvm"]
    made["compile"].add_argument("--emit", choices=emit, default="python", help="default: python")
    made["demo"].add_argument("name", nargs="?", help="which; without it, they are listed")
    made["demo"].add_argument("options", nargs=argparse.REMAINDER, help="options of the demo")
    made["completion"].add_argument("shell", choices=["bash", "zsh", "fish"])
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code."""
    words = [*(sys.argv[1:] if arguments is None else arguments)]
    if len(words) > 1 and words[0] in COMMANDS and len(words[1]) > 2 and words[1][0] == "-" != words[1][1]:
        words[1] = " " + words[1]  # a formula that begins with minus: with a blank it is no option
    try:
        options = make_parser().parse_args(words)
        code = COMMANDS[options.command](options)
        sys.stdout.flush()
        return code
    except (UserError, TinygradError, OSError, ValueError) as error:
        if isinstance(error, BrokenPipeError):  # `| head` has read enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        print(f"{PROGRAM}: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{PROGRAM}: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
