"""Does a test fail when the code is wrong?  One small fault at a time, in a copy, and the tests run on it.

    python tests/support/mutation.py ops floats engine transforms     # all mutants of these files: hours
    python tests/support/mutation.py ops --sample 60 --seed 1 --jobs 2

A mutant has one operator, constant, comparison, condition, argument order or statement changed; it is killed
if a test fails or hangs.  The quickest tests go first.  What survives is printed, and must either be listed
in `HARMLESS` below, with the reason why no test can or should tell it from the original, or get a test.
Texts are not mutated, nor are annotations.  Read next: `test_programs.py`, which kills most of them.
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parents[2]
GOAL = 0.95
SECONDS = 240  # for one stage; what takes longer hangs

# ---- mutants -----------------------------------------------------------------------------------------------

ARITHMETIC = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Mod: ast.Mult,
              ast.FloorDiv: ast.Mult, ast.Pow: ast.Mult}  # fmt: skip
COMPARISON = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
              ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn,
              ast.NotIn: ast.In}  # fmt: skip
JUNCTION = {ast.And: ast.Or, ast.Or: ast.And}
SYMMETRIC = {"eq", "hypot"}  # to swap their operands changes nothing
UNREAD = {"annotation", "returns", "decorator_list"}  # parts of the syntax that are not run, or only said


@dataclass(frozen=True)
class Mutant:
    """A stretch of a file, and what stands there instead."""

    module: str
    start: int
    end: int
    line: int
    text: str  # of the line
    before: str
    after: str

    @property
    def key(self) -> str:
        return f"{self.module}: {self.text}: {self.before} -> {self.after}"

    def apply(self, source: str) -> str:
        return source[: self.start] + self.after + source[self.end :]


def read_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Every node that is run, in order: no docstring, no annotation, nothing only a type checker reads."""
    yield node
    for field, child in ast.iter_fields(node):
        if field in UNREAD:
            continue
        for part in child if isinstance(child, list) else [child]:
            text = isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant)
            checker = isinstance(part, ast.If) and "TYPE_CHECKING" in ast.unparse(part.test)
            if isinstance(part, ast.AST) and not (text or checker or isinstance(part, ast.JoinedStr)):
                yield from read_nodes(part)


def faults(node: ast.AST) -> Iterator[str]:
    """What could stand in the place of a node."""
    copy = lambda: ast.parse(ast.unparse(node), mode="eval").body  # noqa: E731
    if isinstance(node, ast.BinOp) and type(node.op) in ARITHMETIC:
        other = copy()
        other.op = ARITHMETIC[type(node.op)]()
        yield f"({ast.unparse(other)})"
    elif isinstance(node, ast.BoolOp):
        other = copy()
        other.op = JUNCTION[type(node.op)]()
        yield f"({ast.unparse(other)})"
    elif isinstance(node, ast.Compare):
        for i, sign in enumerate(node.ops):
            other = copy()
            other.ops[i] = COMPARISON[type(sign)]()
            yield f"({ast.unparse(other)})"
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.Not)):
        yield f"({ast.unparse(node.operand)})"
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield str(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        yield repr(node.value + 1)
        yield f"({node.value - 1!r})"
    elif isinstance(node, ast.IfExp):
        yield f"({ast.unparse(ast.IfExp(node.test, node.orelse, node.body))})"
    elif isinstance(node, ast.Call) and len(node.args) == 2 and not node.keywords:
        first, second = node.args
        plain = not any(isinstance(x, ast.Starred) for x in node.args) and ast.dump(first) != ast.dump(second)
        if plain and ast.unparse(node.func) not in SYMMETRIC:
            yield ast.unparse(ast.Call(node.func, [second, first], []))
    elif isinstance(node, ast.Return) and node.value:
        yield "return None"
    elif isinstance(node, (ast.Assign, ast.AugAssign, ast.Raise, ast.Expr, ast.Continue)) and node.col_offset:
        yield "pass"  # not at the left margin: without one of those no file can be imported


def mutants(module: str, source: str) -> list[Mutant]:
    """All mutants of a file."""
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    lines = source.splitlines()

    def place(line: int, byte: int) -> int:
        return starts[line - 1] + len(lines[line - 1].encode()[:byte].decode())

    found = []
    for node in read_nodes(ast.parse(source)):
        if isinstance(node, (ast.If, ast.While)):
            node = node.test
            instead = [f"(not ({ast.unparse(node)}))"]
        else:
            instead = list(faults(node))
        for after in instead:
            start, end = place(node.lineno, node.col_offset), place(node.end_lineno, node.end_col_offset)
            before = re.sub(r"\s+", " ", source[start:end])
            text = lines[node.lineno - 1].strip()
            found.append(Mutant(module, start, end, node.lineno, text, before, after))
    return found


# ---- the tests ---------------------------------------------------------------------------------------------


def stages(mutant: Mutant, source: str) -> list[list[str]]:
    """Arguments of pytest, quickest first."""
    line = source.splitlines()[mutant.line - 1]
    above = [text for text in source[: mutant.start].splitlines() if re.match(r"\w+ += op\(|def \w+", text)]
    name = re.match(r"(?:def )?(\w+)", above[-1])[1] if above else ""
    row = re.match(r"(\w+) += op\(", line)
    named = row[1] if row else name
    return [
        ["tests/core/test_semantics.py", "tests/core/test_transforms.py", f"tinygrad_bp/{mutant.module}.py"],
        ["tests/core/test_ops.py", "-k", f"[{named}]"],
        [
            "tests/core/test_engine.py",
            "tests/core/test_hazards.py",
            "tests/core/test_specials.py",
            PROGRAMS,
            *NOT_DEEP,
        ],
        ["tests/core/test_ops.py", "-k", QUICK],
        ["tests/core/test_losses.py", "tests/core/test_nn.py", "tests/core/test_dropin.py"],
        ["tests/core/test_ops.py"],
    ]


PROGRAMS = "tests/core/test_programs.py::test_the_engine_is_right_on_random_programs"
NOT_DEEP = ["-k", "not million"]
QUICK = "not test_value and not test_partials and not derivatives_to_order_3 and not kink and not singular"


def survives(mutant: Mutant, sources: dict[str, str]) -> bool:
    """Run the tests on a copy of the package that has this fault."""
    source = sources[mutant.module]
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        for part in ("tinygrad_bp", "tests"):
            shutil.copytree(HERE / part, Path(folder, part), ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(HERE / "pyproject.toml", folder)
        Path(folder, "tinygrad_bp", f"{mutant.module}.py").write_text(mutant.apply(source), encoding="utf-8")
        environment = {**os.environ, "PYTHONPATH": folder, "CI": "1", "PROGRAMS": "400", "SPECIALS": "300"}
        for stage in stages(mutant, source):
            command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
            try:
                run = subprocess.run(
                    [*command, *stage], cwd=folder, env=environment, capture_output=True, timeout=SECONDS
                )
            except subprocess.TimeoutExpired:
                return False
            if run.returncode == 4:
                raise SystemExit(run.stderr.decode())  # a test file that is not there
            if run.returncode not in (0, 5):  # 5: nothing has that name
                return False
    return True


# ---- what may survive --------------------------------------------------------------------------------------

ZERO = "of two equal numbers either is the greater: only the sign of a zero tells, and IEEE leaves that open"
ZIP = "zip ends with the shorter sequence"
ONE = "the same number by one node more"
LAST = "of one element, the first is the last"
SPLIT = "any number about 2**27 splits a float into halves, if not always by the same bits"
HARMLESS = {
    "ops: kink=lambda y, x: where(gt(x, 0.0), 1.0, y), singular=True,: 1.0 -> 2.0": "a sign is what counts",
    "floats: b = y * 134217729.0: 134217729.0 -> 134217730.0": SPLIT,
    "floats: b = y * 134217729.0: 134217729.0 -> (134217728.0)": SPLIT,
    "floats: return x if x >= y or x != x else y: x >= y -> (x > y)": ZERO,
    "floats: return x if x <= y or x != x else y: x <= y -> (x < y)": ZERO,
    "floats: rounded = y % 1.0 != 0 or math.fabs(y) > 2.0**53: "
    "math.fabs(y) > 2.0**53 -> (math.fabs(y) >= 2.0 ** 53)": "there y - 1 is a float: both ways are right",
    "floats: if not math.fabs(power + rest) < 1000.0:  # also where a product overflowed: "
    "power + rest -> (power - rest)": "exp(-1000) is 0 with and without what rounding lost",
    "engine: ws, xs = v.inputs[:n], v.inputs[n : 2 * n]: 2 -> 3": ZIP,
    "engine: return gs[0] if type(ds[0]) is float and ds[0] == 1.0 else ds[0] * gs[0]: 0 -> (-1)": LAST,
    "transforms: tangent[v] = gather([1.0] * len(shares), shares): "
    "gather([1.0] * len(shares), shares) -> gather(shares, [1.0] * len(shares))": ONE,
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Mutation testing: does a test fail when the code is wrong?")
    parser.add_argument("modules", nargs="+", help="files of tinygrad_bp, without .py")
    parser.add_argument("--sample", type=int, help="so many mutants of each file, drawn at random")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    chosen = parser.parse_args()
    sources = {m: (HERE / "tinygrad_bp" / f"{m}.py").read_text(encoding="utf-8") for m in chosen.modules}
    rng = random.Random(chosen.seed)
    drawn = []
    for module, source in sources.items():
        every = mutants(module, source)
        drawn += rng.sample(every, min(chosen.sample or len(every), len(every)))
        print(f"{module}: {len(every)} mutants", flush=True)
    rng.shuffle(drawn)  # so that a run that is broken off says something of every file
    survivors, harmless = [], 0
    with ThreadPoolExecutor(chosen.jobs) as pool:
        for i, (mutant, alive) in enumerate(zip(drawn, pool.map(lambda m: survives(m, sources), drawn))):
            if i % 10 == 0:
                print(f"{i} done", flush=True)
            if alive and mutant.key in HARMLESS:
                harmless += 1
            elif alive:
                survivors.append(mutant)
                print(f"survives: {mutant.key}   (line {mutant.line})", flush=True)
    killed = len(drawn) - harmless - len(survivors)
    print(f"{killed} of {len(drawn)} killed ({killed / len(drawn):.1%}), {harmless} harmless")
    sys.exit(killed < GOAL * (len(drawn) - harmless))


if __name__ == "__main__":
    main()
