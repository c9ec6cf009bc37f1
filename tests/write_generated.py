"""Writes what is made from the table of operations, and by the compiler: `python tests/write_generated.py`.

`tinygrad_bp/methods.pyi` and `__init__.pyi` tell type checkers and editors, which run nothing, what methods
Value has and what names the package has;
`docs/operations.md` lists the operations for people; `docs/derived_backprop.md` shows derived matrix code
beside the one written by hand; `docs/explanation/compiler.md` gets what each pass
of the compiler prints; `docs/backprop.svg` is the moving
picture of the README, and `docs/backprop.html` the page that steps through its graph.
Tests compare them with what is made here, and say to run this when a row, or a backend, has changed.
"""

import ast
import random
import re
import runpy
import sys
from functools import cache
from math import isfinite
from pathlib import Path
from typing import Any

import tinygrad_bp
from tinygrad_bp.ops import OPS, TABLE, Op
from tinygrad_bp.show.symbols import Symbol, partials

PACKAGE = Path(tinygrad_bp.__file__).parent
STUB = PACKAGE / "methods.pyi"
NAMES = PACKAGE / "__init__.pyi"
PAGE = PACKAGE.parent / "docs" / "operations.md"
DERIVED = PACKAGE.parent / "docs" / "derived_backprop.md"
PASSES = PACKAGE.parent / "docs" / "explanation" / "compiler.md"
PICTURE, STEPPER = (PACKAGE.parent / "docs" / f"backprop.{kind}" for kind in ("svg", "html"))

LETTERS = {"atan2": "yx", "where": "cxy", "nan_if": "od"}  # operands that are not called x, y


BY_HAND_METHODS = """\
    def __pow__(self, y: Operand) -> Value: ...
    def __rpow__(self, x: Operand) -> Value: ...
    def __floordiv__(self, y: Operand) -> Value: ...
    def __rfloordiv__(self, x: Operand) -> Value: ...
    def __round__(self, digits: int | None = None) -> Value: ...
"""  # operators.py has them


def stub() -> str:
    """The text of methods.pyi."""
    lines = [
        '"""Written by tests/write_generated.py from the table in ops.py: do not edit."""\n\n',
        "from tinygrad_bp.engine import Value\nfrom tinygrad_bp.floats import Number\n\n",
        "Operand = Value | Number\n\n",
        "class TableMethods:\n",
    ]
    for row in (OPS[name] for name in sorted(TABLE)):
        if row.operands is None:
            lines.append(f"    def {row.name}(self, *others: Operand) -> Value: ...\n")
            continue
        others = "".join(f", {letter}: Operand" for letter in "yz"[: row.operands - 1])
        constants = "".join(
            f", {name}: float" + ("" if default is None else f" = {default if isfinite(default) else '...'}")
            for name, default in row.constants.items()
        )
        operators = [f"__{row.dunder}__", f"__r{row.dunder}__"][: row.operands] if row.dunder else []
        for method in (row.name, *operators):
            lines.append(f"    def {method}(self{others}{constants}) -> Value: ...\n")
    return "".join([*lines, BY_HAND_METHODS])


def as_ruff_sorts(name: str) -> tuple[bool, bool, str]:
    """Constants, classes, functions; log2 before log10."""
    return not name.isupper(), name.islower(), re.sub(r"\d+", lambda digits: digits[0].zfill(9), name)


def names() -> str:
    """The text of __init__.pyi."""
    operations = " ".join(sorted(TABLE - tinygrad_bp.MODULE_OF.keys()))
    public = {**tinygrad_bp.PUBLIC, "ops": f"{tinygrad_bp.PUBLIC['ops']} {operations}"}
    lines = ['"""Written by tests/write_generated.py from __init__.py and ops.py: do not edit."""\n\n']
    sources = {"tinygrad_bp": " ".join(tinygrad_bp.MODULES)}
    sources |= {f"tinygrad_bp.{module}": public[module] for module in sorted(public)}
    for module, listed in sources.items():
        lines.append(f"from {module} import (\n")
        by_type = sorted(listed.split(), key=as_ruff_sorts)
        lines += [f"    {name} as {name},\n" for name in by_type]
        lines.append(")\n")
    lines.append("\n__version__: str\n__all__ = [\n")
    lines += [f'    "{name}",\n' for name in tinygrad_bp.__all__]
    return "".join([*lines, "]\n"])


def page() -> str:
    """The text of docs/operations.md."""
    lines = [
        "# Operations\n\n",
        "Made from the table in [`ops.py`](../tinygrad_bp/ops.py) by `tests/write_generated.py`.\n",
        "Each is a function, `tg.tanh(x)`, and one with up to three operands also a method, `x.tanh()`.\n",
        "*Partials* are the rules of the table, read on symbols: $o$ is the result, and $[a > b]$ is 1\n",
        "where that is so, else 0. *Slope* says where an operation has none anywhere (—), where it\n",
        "selects a branch (P4 of [semantics](semantics.md)), and where a partial can be infinite or nan at\n",
        "finite operands.\n\n",
        "| call | formula | partials | operator | slope |\n|---|---|---|---|---|\n",
    ]
    for row in (OPS[name] for name in sorted(TABLE)):
        slope = [] if row.partials else ["—"]
        slope += ["selects"] * row.selects + ["can be infinite"] * row.singular
        cells = [f"`{call(row)}`", f"${formula(row)}$", slopes(row), operator(row), ", ".join(slope)]
        lines.append(f"| {' | '.join(cells)} |\n")
    return "".join(lines)


def operands(row: Op) -> list[str]:
    return list(LETTERS.get(row.name, "xyz"))[: row.operands] if row.operands else ["x_0", "x_1", r"\dots"]


def call(row: Op) -> str:
    if row.name == "dot":
        return "dot(ws, xs, bias=None)"
    if row.name == "take":
        return "take(rows, index)"
    if row.operands is None:
        return f"{row.name}(xs)"
    given = [name if default is None else f"{name}={default:g}" for name, default in row.constants.items()]
    return f"{row.name}({', '.join(operands(row) + given)})"


def formula(row: Op) -> str:
    names = operands(row)
    constants = [rf"\text{{{name}}}" for name in row.constants]
    return row.tex.format(*names, *constants, xs=", ".join(names)).replace("|", r"\vert ").strip()


def slopes(row: Op) -> str:
    """The partials by each operand; where symbols cannot be the constants of another row, with numbers."""
    if row.partials is None:
        return ""
    names = operands(row) if row.operands else ["x_0", "x_1"] * (1 + (row.name == "dot"))
    names = ["w_0", "w_1", "x_0", "x_1"] if row.name == "dot" else names
    o, xs = Symbol.named("o"), [Symbol.named(name) for name in names]
    said, ds = "", row.constants and partials(row, o, [*xs, *map(Symbol.named, row.constants)])
    if not ds:
        filled = {name: default or 3.0 for name, default in row.constants.items()}
        said = ", ".join(f"{name}={number:g}" for name, number in filled.items()) + ": " * bool(filled)
        ds = partials(row.at(**filled), o, xs)
    return said + ", ".join(f"${d.tex}$" for d in ds)


def operator(row: Op) -> str:
    signs = {"abs": "abs(x)", "floor": "math.floor(x)", "ceil": "math.ceil(x)", "neg": "-x", "pos": "+x"}
    signs |= {"add": "x + y", "sub": "x - y", "mul": "x * y", "truediv": "x / y", "mod": "x % y"}
    more = {"pow": "x ** y", "powc": "x ** 2", "round": "round(x)"}
    text = signs.get(row.dunder, more.get(row.name, ""))
    return f"`{text}`" if text else ""


# --- matrix code, derived and by hand -----------------------------------------------------------------------

BY_HAND = (Path(__file__).parent / "support" / "matrix_backprop.py").read_text(encoding="utf-8")
MATCHES = [  # lines of the derived source, and those by hand that they are one turn of
    (
        ["A1 = xp.maximum(W1 @ X + b1, 0.0)", "A2 = xp.maximum(W2 @ A1 + b2, 0.0)"],
        ["sums.append(w @ outputs[-1] + b)", "outputs.append(ACTIVATIONS[act][0](sums[-1]))"],
    ),
    (["Z4 = W4 @ A3 + b4"], ["sums.append(w @ outputs[-1] + b)"]),
    (["loss = xp.sum(D4**2 / 2)"], ["losses.append(0.5 * ((outputs[-1] - y) ** 2).sum())"]),
    (["D4 = Z4 - Y"], ["gradients(weights, RELUS, outputs, sums, outputs[-1] - y)"]),
    (
        ["D3 = xp.where(A3 > 0, W4.T @ D4, 0.0)", "D2 = xp.where(A2 > 0, W3.T @ D3, 0.0)"],
        ["error = weights[i].T @ delta", "delta = error * ACTIVATIONS[acts[i]][1](sums[i])"],
    ),
    (["dW3 = D3 @ A2.T"], ["dws.insert(0, delta @ outputs[i].T)"]),
    (
        ["db3 = xp.sum(D3, axis=1, keepdims=True)"],
        ["dbs.insert(0, delta.sum(axis=1, keepdims=True))"],
    ),
]


@cache
def quadratic_source() -> str:
    """What is printed for the network that fits a quadratic."""
    model = tinygrad_bp.MLP(1, [100, 100, 100, 1], rng=random.Random(0))
    loss = tinygrad_bp.losses.squared_error
    step = tinygrad_bp.compile(
        lambda x, y: loss(model([x]), y), params=model.parameters(), example=(0.0, 0.0)
    )
    return str(step.source("matrix"))


def derived() -> str:
    """The text of docs/derived_backprop.md."""
    functions = {x.name: x for x in ast.parse(BY_HAND).body if isinstance(x, ast.FunctionDef)}
    by_hand = "\n\n\n".join(
        str(ast.get_source_segment(BY_HAND, functions[name])) for name in ("forward", "gradients")
    )
    rows = [
        f"| {'<br>'.join(f'`{x}`' for x in ours)} | {'<br>'.join(f'`{x}`' for x in theirs)} |"
        for ours, theirs in MATCHES
    ]
    text = DERIVED_PAGE.replace("DERIVED_SOURCE", quadratic_source().strip())
    return text.replace("BY_HAND", by_hand).replace("ROWS", "\n".join(rows))


DERIVED_PAGE = """\
# Backprop in matrices, derived and by hand

Made by `tests/write_generated.py`.  The engine knows scalars only; the compiler finds the matrices again.
For the network 1-100-100-100-1 with ReLU and half the squared error,

```python
model = tg.MLP(1, [100, 100, 100, 1])
step = tg.compile(lambda x, y: tg.losses.squared_error(model([x]), y), params=model.parameters())
step.value_and_grad(xs, ys)
print(step.source("matrix"))
```

prints, of scalar operations and their derivatives, some 40,000 nodes for a sample:

```python
DERIVED_SOURCE
```

Nothing in it is a template: each line is one loop nest of the derivative of the traced function, and another
function prints other lines.  `A` is what a layer gives, `Z` what goes into its activation where that is
stored, `D` the derivative of the loss by `Z`, the delta.

## By hand

The same mathematics as people write it, from `tests/support/matrix_backprop.py`, where the engine is
tested against it; both take samples as columns.

```python
BY_HAND
```

One turn of its loops is a line or two above:

| derived | by hand |
|---|---|
ROWS

By hand, the slope of ReLU is read off the sum that went in, and multiplied; derived, it is read off the
output, which is positive where the sum is, and *chooses*: a delta that is infinite does not become nan where
the neuron is silent.

## Running it

The source imports nothing and changes no array in place.  What it calls is in the
[array API standard](https://data-apis.org/array-api/2023.12/), so it runs on NumPy (2.0 or newer) and JAX as
they are, and on PyTorch, Dask and others by way of
[array-api-compat](https://data-apis.org/array-api-compat/), on one machine or many:

```python
space = {}
exec(step.source("matrix"), space)
params = numpy.array([p.data for p in model.parameters()])
loss, grad = space["value_and_grad"](numpy, params, xs, ys)

import array_api_compat.torch as xp  # or array_api_compat.dask.array, or jax.numpy

loss, grad = space["value_and_grad"](xp, torch.asarray(params), torch.asarray(xs), torch.asarray(ys))
```

- `params` is flat, in the order given to `compile`; after the parameters come the other Values that the
  function uses, in the order they were made.  `unpack` makes matrices of it, `pack` the flat gradient.
- After `step.value(...)` the source defines `value(xp, params, *columns)`; of `compile(f)` it defines
  `run(xp, params, *columns)`, which returns the results as one row a sample.
- The numbers have the type of `params` and the columns; in JAX, doubles must be switched on.
- What is no product of matrices is fetched with `xp.take`, multiplied and summed: right, and as slow as it
  looks.  An operation that is a Python function of your own has no spelling, and raises CompileError.
- Both branches of `where` are computed, and one is chosen: NumPy may warn of numbers that nobody sees
  (`numpy.errstate`).
- The slopes of tanh and sigmoid are read off the output that is there, `1 - A**2` and `A * (1 - A)`, as in
  textbooks and other libraries: right to 16 digits of 1, so that little is left of a slope near 0.  The
  engine and the other compiled forms keep its digits.
- As against the engine, the sign of a zero may differ, sums are added in another order, and the slope of ReLU
  at a nan is 0, so that the loss is nan but not every gradient.
"""


def demo_named(name: str) -> dict[str, Any]:
    """The names of a demo, which is not run."""
    folder = str(PACKAGE.parent / "demos")
    sys.path.insert(0, folder)
    try:
        return runpy.run_path(f"{folder}/{name}.py")
    finally:
        sys.path.remove(folder)


@cache
def passes() -> str:
    """The text of docs/explanation/compiler.md: below each mark, what the demo prints for that pass."""
    printed = demo_named("compiler_passes")["passes"]()
    block = re.compile(r"(?<=<!-- )(\w+)( -->\n```\w+\n).*?(?=^```$)", re.DOTALL | re.MULTILINE)
    text = PASSES.read_text(encoding="utf-8")
    return block.sub(lambda m: f"{m[1]}{m[2]}{printed[m[1]]}\n", text)


@cache
def moving() -> tuple[str, str]:
    """The README's picture and the page beside it, as demos/animate_backprop.py makes them."""
    demo = demo_named("animate_backprop")
    loss = demo["differentiated"]()
    return demo["picture"](loss), tinygrad_bp.stepper(loss).html


if __name__ == "__main__":
    for path, text in (
        (STUB, stub()),
        (NAMES, names()),
        (PAGE, page()),
        (DERIVED, derived()),
        (PASSES, passes()),
        (PICTURE, moving()[0]),
        (STEPPER, moving()[1]),
    ):
        path.write_text(text, encoding="utf-8")
        print(f"wrote {path}")
