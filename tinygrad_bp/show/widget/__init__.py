"""widget: the stepper's page in a notebook, whose numbers Python and the page share.

The widget owns the numbers: `w.values` is a traitlet that both sides set.  Whoever does, the graph is built
anew by calling the function; no Value's number is ever written.  anywidget shows it in JupyterLab, VS Code,
Colab and marimo.
"""

from collections.abc import Callable
from functools import cache
from math import isfinite
from pathlib import Path
from typing import Any

from tinygrad_bp.engine import Value
from tinygrad_bp.errors import MissingExtraError, TinygradError
from tinygrad_bp.floats import to_float
from tinygrad_bp.show.stepper.moments import Json, numbers, shape
from tinygrad_bp.show.stepper.sealed import SCRIPTS, STYLES, finite, page_of

FOLDER = Path(__file__).parent
HEIGHT = 720  # pixels of the frame


def widget(f: Callable[..., Value], **values: float) -> Any:
    """The graph of f at these numbers as a page to step through and to touch, in a notebook.

    `values` of the result is a dict with a number for each argument of f: setting it draws the graph anew,
    and a leaf that is dragged on the page sets it. Raises MissingExtraError without anywidget, TypeError for
    an f that does not return a Value and for what is no number.

        w = tg.widget(lambda a, b: (a * b + a).tanh(), a=2.0, b=-3.0)
        w                                   # the last line of a cell shows it
        w.values = {"a": 1.0, "b": 0.5}
    """
    if not values:
        raise TypeError("widget takes a number for each argument of f: widget(f, a=2.0, b=-3.0)")
    return _widget_class()(f, {name: _number(name, x) for name, x in values.items()})


def build(f: Callable[..., Value], values: dict[str, float]) -> Value:
    """f of new leaves with these numbers, each labelled by its name."""
    result = f(**{name: Value(x, label=name) for name, x in values.items()})
    if not isinstance(result, Value):
        raise TypeError(f"widget: f returned {result!r}, not a Value: compute it from its arguments")
    return result


def _number(name: str, x: Any) -> float:
    try:
        number = to_float(x)
    except (TypeError, ValueError):
        number = float("nan")
    if not isfinite(number):
        raise TypeError(f"widget: {name} is a finite number, not {x!r}")
    return number


@cache
def _widget_class() -> type:
    try:
        import anywidget
        import traitlets
    except ImportError:
        raise MissingExtraError("a widget", "anywidget", "widget") from None

    class StepperWidget(anywidget.AnyWidget):
        """The page in a frame, and the numbers that both sides see."""

        _esm = (FOLDER / "frame.mjs").read_text(encoding="utf-8")
        _page = traitlets.Unicode().tag(sync=True)
        _height = traitlets.Int(HEIGHT).tag(sync=True)
        _answer = traitlets.Dict().tag(
            sync=True
        )  # what the page draws: a graph if it is another, and numbers
        values = traitlets.Dict().tag(sync=True)
        error = traitlets.Unicode().tag(sync=True)  # what f said to the last numbers

        def __init__(self, f: Callable[..., Value], values: dict[str, float]) -> None:
            root = build(f, values)
            self._f, self._graph = f, shape(root)
            data = {"kind": "graph", "graphs": [self._graph], "moments": [numbers(root)]}
            scripts = (*SCRIPTS[:-1], str(FOLDER / "widget.js"), *SCRIPTS[-1:])
            page = page_of(data, "Backpropagation", scripts, STYLES)
            super().__init__(values=values, _page=page.html)

        @traitlets.validate("values")
        def _check_values(self, proposal: Any) -> dict[str, float]:
            given, known = proposal["value"], self.values or proposal["value"]
            if given.keys() != known.keys():
                raise traitlets.TraitError(f"values has a number for each of {', '.join(known)}")
            try:
                return {name: _number(name, given[name]) for name in known}
            except TypeError as error:
                raise traitlets.TraitError(str(error)) from None

        @traitlets.observe("values")
        def _draw_anew(self, change: Any) -> None:
            if not change["old"]:  # they are the first, and the page has them
                return
            try:
                self._answer, self.error = self._answer_to(change["new"]), ""
            except (TinygradError, ArithmeticError, LookupError, TypeError, ValueError) as error:
                self.error = f"{type(error).__name__}: {' '.join(str(error).split())}"
                self._answer = {"values": change["new"], "error": self.error}

        def _answer_to(self, values: dict[str, float]) -> Json:
            root = build(self._f, values)
            graph = shape(root)
            answer = {"values": values, "moment": finite(numbers(root))}
            if graph != self._graph:  # f takes another way for these numbers
                answer["graph"] = self._graph = graph
            return answer

    return StepperWidget
