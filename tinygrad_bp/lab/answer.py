"""What a formula, or lines of Python, are answered: numbers, a page to step through, what was printed.

The formula box of `tinygrad-bp play` asks here, and so does the laboratory, where this runs in the browser.
"""

import ast
import contextlib
import io
import json
import linecache
import traceback
from collections.abc import Iterator
from typing import Any, ClassVar

import tinygrad_bp as tg
from tinygrad_bp.engine import Value, newest_first, tick
from tinygrad_bp.errors import GraphError, TinygradError
from tinygrad_bp.formula import FormulaError, parse
from tinygrad_bp.modes import Mode, mode
from tinygrad_bp.show.stepper import stepper

MOST_NODES = 400  # of a graph that is shown
MOST_PRINTED = 20_000  # characters of what code prints
MOST_CODE = 10_000  # characters of code
DEEPEST = 2_000  # operations in a chain: CPython in WebAssembly dies when one of some 4,000 is freed
MOST_DEPTHS = 200_000  # nodes whose depth is known at one time
NAME = "your code"


def answer_formula(text: str, numbers: dict[str, Any], lang: str = "en") -> dict[str, Any]:
    """The numbers, the result and the page of a formula; a name that has no number gets 1.

    Raises FormulaError for what is not a formula, for what is not a number, and for more than 400 operations.
    """
    if not isinstance(numbers, dict):
        raise FormulaError("numbers is an object, such as {'w': 0.5}")
    formula = parse(text)
    leaves = {name: Value(_number(name, numbers.get(name, 1.0)), label=name) for name in formula.names}
    result = formula(**leaves)
    if not result.inputs:
        raise FormulaError(f"{formula.text} has no operation on a name: write one, as in w*2")
    if (count := len(newest_first([result]))) > MOST_NODES:
        raise FormulaError(f"the graph has {count} operations; {MOST_NODES} are the limit here")
    return {
        "formula": formula.text,
        "numbers": {name: _short(leaf.data) for name, leaf in leaves.items()},
        "said": f"{formula.text} = {result.data:.6g}",
        "html": stepper(result, lang=lang).html,
    }


def run_code(code: str, lang: str = "en") -> dict[str, Any]:
    """What lines of Python print, and what their last expression is: a page, a drawing, or text.

    A Value is shown as the page that steps through its graph.  An error is answered as its own text, with the
    lines of the code that led to it.

    >>> run_code("print(1 + 1)")
    {'printed': '2\\n', 'said': ''}
    """
    if len(code) > MOST_CODE:
        error = f"the code has {len(code):,} characters; {MOST_CODE:,} are the limit"
        return {"printed": "", "error": error}
    linecache.cache[NAME] = (len(code), None, code.splitlines(keepends=True), NAME)
    printed = Printed()
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed), shallow():
            shown = _shown(_last_value(code), lang)
    except BaseException as raised:  # whatever the code raises is the answer, SystemExit too
        return {"printed": printed.getvalue(), "error": _told(raised)}
    return {"printed": printed.getvalue(), **shown}


def answer_json(question: str) -> str:
    """The answer to a question of the laboratory, both as JSON.

    The question is {"formula": …, "numbers": …} or {"code": …}, and may have a "lang".
    """
    asked = json.loads(question)
    lang = asked.get("lang", "en")
    try:
        if "code" in asked:
            return json.dumps(run_code(asked["code"], lang))
        return json.dumps(answer_formula(asked["formula"], asked["numbers"], lang))
    except (TinygradError, ValueError) as error:
        return json.dumps({"error": " ".join(str(error).split())})


class Printed(io.StringIO):
    """Keeps the beginning of what is printed, and says that there was more."""

    def write(self, text: str) -> int:
        room = MOST_PRINTED - self.tell()
        if room > 0:
            super().write(
                text if len(text) <= room else f"{text[:room]}\n… ({MOST_PRINTED:,} characters shown)"
            )
        return len(text)


class ShallowMode(Mode):
    """Refuses a chain of operations that would end Python in the browser when it is freed."""

    depths: ClassVar[dict[int, int]] = {}  # of a node, by its number

    def apply(self, op: Any, inputs: Any, data: float) -> tuple[Any, Any]:
        depths = self.depths
        depth = 1 + max([depths.get(x.number, 0) for x in inputs], default=0)
        if depth > DEEPEST:
            raise GraphError(
                f"a chain of more than {DEEPEST:,} operations, the limit in the browser: "
                "take fewer steps, or run this in Python on your machine"
            )
        if len(depths) >= MOST_DEPTHS:
            for number in list(depths)[: MOST_DEPTHS // 2]:
                del depths[number]
        if self.record:
            depths[tick() + 1] = depth  # the node gets the next number
        return super().apply(op, inputs, data)


@contextlib.contextmanager
def shallow() -> Iterator[None]:
    """Inside, no chain of operations gets longer than 2,000."""
    ShallowMode.depths.clear()
    token = mode.set(ShallowMode(*mode.get()))
    try:
        yield
    finally:
        mode.reset(token)


def _last_value(code: str) -> Any:
    """Run the code; the value of its last statement if that is an expression, else None."""
    space: dict[str, Any] = {"__name__": "__main__", "tg": tg, "Value": tg.Value, "MLP": tg.MLP}
    body = ast.parse(code, NAME).body
    last = body[-1] if body else None
    if not isinstance(last, ast.Expr):
        exec(compile(ast.Module(body, []), NAME, "exec"), space)
        return None
    exec(compile(ast.Module(body[:-1], []), NAME, "exec"), space)
    return eval(compile(ast.Expression(last.value), NAME, "eval"), space)


def _shown(value: Any, lang: str) -> dict[str, str]:
    if isinstance(value, Value) and value.inputs:
        if (count := len(newest_first([value]))) > MOST_NODES:
            return {"said": f"{value!r}: its graph has {count} operations; {MOST_NODES} are drawn at most"}
        return {"said": repr(value), "html": stepper(value, lang=lang).html}
    if hasattr(value, "html"):
        return {"said": "", "html": value.html}
    if hasattr(value, "svg"):
        return {"said": "", "svg": value.svg}
    return {"said": "" if value is None else str(value)[:MOST_PRINTED]}


def _told(error: BaseException) -> str:
    """An error as Python prints it, with the lines of the code alone."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == NAME]
    lines = "".join(traceback.format_list(frames))
    return (lines + "".join(traceback.format_exception_only(error))).strip()[:MOST_PRINTED]


def _short(x: float) -> str:
    """The number in few digits if they are all it has, else in all."""
    return f"{x:g}" if float(f"{x:g}") == x else repr(x)


def _number(name: str, number: Any) -> float:
    try:
        if isinstance(number, bool) or len(str(number)) > 400:
            raise ValueError
        return float(number)
    except (TypeError, ValueError):
        raise FormulaError(f"{name} is {str(number)[:40]!r}: type a number, such as 0.5") from None
