"""Print what each pass of the compiler makes of a network of three neurons, from single numbers to loops.

Two ReLU neurons with four inputs, one linear neuron on top, half the squared error: 13 parameters. The page
docs/explanation/compiler.md shows this output, with a word on each pass.

    python demos/compiler_passes.py
"""

from collections.abc import Iterable
from itertools import groupby
from typing import Any

import tinygrad_bp as tg
from tinygrad_bp import Value
from tinygrad_bp.compiler.adjoint import derivatives
from tinygrad_bp.compiler.fuse import fuse
from tinygrad_bp.compiler.lower import lower
from tinygrad_bp.compiler.roll import Nest, Rolled, roll
from tinygrad_bp.compiler.schedule import Apply, Leaf, Literal, Statement, schedule
from tinygrad_bp.compiler.terms import Products, Program, Term, oldest_first
from tinygrad_bp.compiler.tracing import trace
from tinygrad_bp.engine import newest_first

NAMES = ["w11", "w12", "w13", "w14", "b1", "w21", "w22", "w23", "w24", "b2", "v1", "v2", "b3"]
INPUTS = ["x1", "x2", "x3", "x4", "y"]


def main() -> None:
    for title, text in passes().items():
        print(f"{title}\n\n{text}\n")


def passes() -> dict[str, str]:
    """What stands after each pass, as text."""
    params = [Value(0.1 + 0.1 * i, label=name) for i, name in enumerate(NAMES)]
    found = trace(lambda x, y: loss(params, x, y), [(None,) * 4, None], params)
    for x, name in zip(found.inputs, INPUTS):
        x.label = name
    gradient = derivatives(found.outputs[0], params)
    program = lower([*gradient, *found.outputs], found.inputs, params, found.captured, summed=True)
    fused = fuse(program)
    plan = schedule(fused)
    rolled = roll(plan)
    unnamed = [Value(p.data) for p in params]
    step = tg.compile(lambda x, y: loss(unnamed, x, y), unnamed)
    step.value_and_grad([[1.0, 2.0, 3.0, 4.0]], [1.0])
    return {
        "trace": nodes(found.outputs),
        "adjoint": nodes([g for g in gradient if isinstance(g, Value)], found.outputs),
        "lower": terms(program),
        "fuse": terms(fused),
        "schedule": counted(map(statement, plan.statements)),
        "roll": nests(rolled),
        "Python": step.source("python").strip(),
        "matrix": step.source("matrix").strip(),
    }


def loss(params: list[Value], x: Any, y: Any) -> Any:
    """The function that is compiled: products and sums, as one writes them."""
    w11, w12, w13, w14, b1, w21, w22, w23, w24, b2, v1, v2, b3 = params
    a1 = tg.relu(b1 + w11 * x[0] + w12 * x[1] + w13 * x[2] + w14 * x[3])
    a2 = tg.relu(b2 + w21 * x[0] + w22 * x[1] + w23 * x[2] + w24 * x[3])
    return (b3 + v1 * a1 + v2 * a2 - y) ** 2 / 2


# --- one line for each thing --------------------------------------------------------------------------------


def nodes(roots: Iterable[Value], above: Iterable[Value] = ()) -> str:
    """The operations of a graph, oldest first; without those that `above` has."""
    known = {id(v) for v in newest_first(above)}
    order = newest_first([*roots, *above])[::-1]
    names = {id(v): f"n{i}" for i, v in enumerate(order, 1)}

    def name(v: Value) -> str:
        return names.get(id(v)) or v.label or f"{v.data:g}"

    return "\n".join(
        f"{name(v)} = {v.op.name}({', '.join(map(name, v.inputs))})" for v in order if id(v) not in known
    )


def terms(program: Program) -> str:
    """The terms in order, and which of them are outputs."""
    outputs = [x for x in program.outputs for x in ([*x.xs, x.g] if isinstance(x, Products) else [x])]
    order = [term for term in oldest_first(outputs) if term.args]
    names = {term: f"t{i}" for i, term in enumerate(order, 1)}

    def name(term: Term) -> str:
        if term.args:
            return names[term]
        return f"{term.value:g}" if term.rate == 0 else (NAMES if term.rate == 1 else INPUTS)[term.value]

    lines = [f"{names[term]} = {term.op.name}({', '.join(map(name, term.args))})" for term in order]
    outs = [
        f"({', '.join(map(name, x.xs))}) · {name(x.g)}" if isinstance(x, Products) else name(x)
        for x in program.outputs
    ]
    return "\n".join([*lines, f"outputs: {', '.join(outs)}"])


def shape(tokens: Iterable[Any]) -> str:
    """What a statement does, in postfix order: R and S take an operand, a word does something with it."""
    words = []
    for token in tokens:
        if isinstance(token, Leaf):
            words.append(token.space.value)
        elif isinstance(token, Literal):
            words.append(f"{token.number:g}")
        elif isinstance(token, Apply):
            words.append(token.op.name + (f"[{token.length}]" if token.length else ""))
    return " ".join(words)


def counted(lines: Iterable[str]) -> str:
    """Equal lines that follow each other as one, with their number."""
    return "\n".join(f"{len([*same])} × {line}" for line, same in groupby(lines))


def statement(s: Statement) -> str:
    row = f", a row of {s.row}" if s.row else ""
    return f"level {s.level}, {s.kind.value}: {shape(s.shape)}{row}"


def nests(rolled: Rolled) -> str:
    return "\n".join(map(nest, rolled.nests))


def nest(one: Nest) -> str:
    loops = " × ".join(f"{trips} trips" for trips, _ in one.loops) or "once"
    strides = "; ".join(", ".join(map(str, stride)) for _, stride in one.loops)
    start = ", ".join(map(str, one.base))
    return f"{one.kind.value}: {shape(one.shape)}\n    {loops}, addresses from {start}" + (
        f", strides {strides}" if strides else ""
    )


if __name__ == "__main__":
    main()
