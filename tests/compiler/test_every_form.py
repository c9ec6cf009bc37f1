"""Random programs, compiled: 2,000 through generated Python and 300 through machine code, in a few modules.

Each program is one argument of one function, which returns its value and its gradient. The engine is tested
on the same programs against exact arithmetic in test_programs.py, so agreeing with it is enough here.
"""

from typing import Any

import pytest
from support.programs import random_program, run

import tinygrad_bp as tg
from tinygrad_bp import Value
from tinygrad_bp.compiler import compile
from tinygrad_bp.compiler.tracing import structure_of
from tinygrad_bp.ops import OPS


def compiled_programs(seeds: range, native: bool) -> list[str]:
    """Run these programs as one function, and say which answers are wrong."""
    programs = [random_program(seed) for seed in seeds]
    apply = lambda name, xs, constants: OPS[name](*xs, *constants)  # noqa: E731

    def f(*inputs: Any) -> list[Any]:
        outputs = []
        for program, leaves in zip(programs, inputs):
            o = run(program, leaves, apply)[-1]
            outputs.append([o, *tg.gradients(o, list(leaves), create_graph=True)])
        return outputs

    h = compile(f)
    arguments = [list(program.inputs) for program in programs]
    if not native:
        h._kernel("map", tuple(map(structure_of, arguments))).reason = "a test asks for Python"
    wrong = []
    for program, answer in zip(programs, h(*arguments)):
        leaves = [*map(Value, program.inputs)]
        o = run(program, leaves, apply)[-1]
        for got, truth in zip(answer, [o.data, *tg.gradients(o, leaves)]):
            if abs(got - truth) > 1e-6 * abs(truth) + 1e-300 or (got != got) != (truth != truth):
                wrong.append(f"{got!r} for {truth!r}:\n{program.source()}")
    return wrong


@pytest.mark.parametrize("part", range(20))
def test_random_programs_in_python(part: int) -> None:
    wrong = compiled_programs(range(100 * part, 100 * part + 100), native=False)
    assert not wrong, f"{len(wrong)} wrong, such as\n{wrong[0]}"


@pytest.mark.parametrize("part", range(6))
def test_random_programs_in_machine_code(part: int) -> None:
    pytest.importorskip("llvmlite")
    wrong = compiled_programs(range(50 * part, 50 * part + 50), native=True)
    assert not wrong, f"{len(wrong)} wrong, such as\n{wrong[0]}"
