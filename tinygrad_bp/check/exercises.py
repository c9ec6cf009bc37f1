"""Exercises for courses: data, shapes, a template to fill in, and a mark for what comes back.

`exercise("batch-norm")` is one of EXERCISES: a function made of the layers of `tg.layers`, with numbers drawn
from a seed.  `grade` runs a student's backward pass, whatever it does, and audits what it returns.
"""

import json
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from typing import Any

from tinygrad_bp.check.audit import Audit, Part, audit_function, layers
from tinygrad_bp.check.audit.layers import each, shape_of
from tinygrad_bp.check.audit.reading import plain
from tinygrad_bp.engine import Value
from tinygrad_bp.errors import misspelled

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Assignment:
    """What an exercise is about: its text, the shapes of its inputs, the function, what is asked for."""

    text: str
    shapes: dict[str, Shape]
    f: Callable[..., Any]
    asked: str  # names of inputs, separated by blanks
    ones: str = ""  # names of inputs that are 0 or 1: masks; one-hot rows for y


def _block(
    x: Any, g1: Any, b1: Any, wq: Any, wk: Any, wv: Any, wo: Any, g2: Any, b2: Any, w1: Any, c1: Any, w2: Any,
    c2: Any, dout: Any,
) -> Any:  # fmt: skip
    """A block of a GPT with one head: x + attention(norm(x)), then the same with an MLP."""
    h = layers.layer_norm(x, g1, b1)
    seen = layers.attention(layers.affine(h, wq), layers.affine(h, wk), layers.affine(h, wv), causal=True)
    x = each(lambda a, b: a + b, x, layers.affine(seen, wo))
    h = layers.layer_norm(x, g2, b2)
    y = layers.affine(layers.relu(layers.affine(h, w1, c1)), w2, c2)
    return layers.weighted_sum(each(lambda a, b: a + b, x, y), dout)


N, D = 7, 4
EXERCISES = {
    "affine": Assignment(
        "z = x wᵀ + b", {"x": (N, D), "w": (5, D), "b": (5,), "dout": (N, 5)},
        lambda x, w, b, dout: layers.weighted_sum(layers.affine(x, w, b), dout), "x w b",
    ),
    "relu": Assignment(
        "a = max(0, x)", {"x": (N, D), "dout": (N, D)},
        lambda x, dout: layers.weighted_sum(layers.relu(x), dout), "x",
    ),
    "softmax-cross-entropy": Assignment(
        "the mean over the rows of −Σ y log softmax(z)", {"z": (N, 3), "y": (N, 3)},
        lambda z, y: layers.softmax_cross_entropy(z, y), "z",
    ),
    "mlp-softmax": Assignment(
        "affine, ReLU, affine, ReLU, affine, softmax and cross-entropy, averaged over the rows",
        {"x": (N, 5), "y": (N, 3), "w1": (6, 5), "b1": (6,), "w2": (4, 6), "b2": (4,), "w3": (3, 4), "b3": (3,)},
        lambda x, y, w1, b1, w2, b2, w3, b3: layers.softmax_cross_entropy(
            layers.affine(layers.relu(layers.affine(layers.relu(layers.affine(x, w1, b1)), w2, b2)), w3, b3), y
        ), "w1 b1 w2 b2 w3 b3",
    ),
    "batch-norm": Assignment(
        "gamma (x − mean) / √(variance + 1e-5) + beta, over the rows", {"x": (N, D), "gamma": (D,), "beta": (D,), "dout": (N, D)},
        lambda x, gamma, beta, dout: layers.weighted_sum(layers.batch_norm(x, gamma, beta), dout), "x gamma beta",
    ),
    "layer-norm": Assignment(
        "gamma (x − mean) / √(variance + 1e-5) + beta, over each row", {"x": (N, D), "gamma": (D,), "beta": (D,), "dout": (N, D)},
        lambda x, gamma, beta, dout: layers.weighted_sum(layers.layer_norm(x, gamma, beta), dout), "x gamma beta",
    ),
    "dropout": Assignment(
        "x * mask / 0.5", {"x": (N, D), "mask": (N, D), "dout": (N, D)},
        lambda x, mask, dout: layers.weighted_sum(layers.dropout(x, mask, keep=0.5), dout), "x", ones="mask",
    ),
    "convolution": Assignment(
        "sums of 3 × 3 windows times kernels, one row and column of zeros around: x (n, channels, height, width)",
        {"x": (2, 2, 4, 5), "w": (3, 2, 3, 3), "b": (3,), "dout": (2, 3, 4, 5)},
        lambda x, w, b, dout: layers.weighted_sum(layers.convolution(x, w, b, padding=1), dout), "x w b",
    ),
    "max-pool": Assignment(
        "the largest number of each 2 × 2 window", {"x": (2, 2, 4, 6), "dout": (2, 2, 2, 3)},
        lambda x, dout: layers.weighted_sum(layers.max_pool(x), dout), "x",
    ),
    "rnn": Assignment(
        "hₜ = tanh(wx xₜ + wh hₜ₋₁ + b): x (steps, n, in)",
        {"x": (4, 3, 5), "h0": (3, 4), "wx": (4, 5), "wh": (4, 4), "b": (4,), "dout": (4, 3, 4)},
        lambda x, h0, wx, wh, b, dout: layers.weighted_sum(layers.rnn(x, h0, wx, wh, b), dout), "x h0 wx wh b",
    ),
    "lstm": Assignment(
        "a cell with input, forget, cell and output gate, whose rows stand in this order in wx, wh and b",
        {"x": (3, 2, 3), "h0": (2, 3), "c0": (2, 3), "wx": (12, 3), "wh": (12, 3), "b": (12,), "dout": (3, 2, 3)},
        lambda x, h0, c0, wx, wh, b, dout: layers.weighted_sum(layers.lstm(x, h0, c0, wx, wh, b), dout), "x h0 c0 wx wh b",
    ),
    "attention": Assignment(
        "softmax(q kᵀ / √width) v, each row seeing itself and those before it", {"q": (5, 4), "k": (5, 4), "v": (5, 4), "dout": (5, 4)},
        lambda q, k, v, dout: layers.weighted_sum(layers.attention(q, k, v, causal=True), dout), "q k v",
    ),
    "gpt-block": Assignment(
        "x + attention(layer norm(x)) with weights wq, wk, wv, wo, then x + MLP(layer norm(x)) with w1, c1, ReLU, w2, c2",
        {"x": (6, 8), "g1": (8,), "b1": (8,), "wq": (8, 8), "wk": (8, 8), "wv": (8, 8), "wo": (8, 8), "g2": (8,), "b2": (8,),
         "w1": (16, 8), "c1": (16,), "w2": (8, 16), "c2": (8,), "dout": (6, 8)},
        _block, "x g1 b1 wq wk wv wo g2 b2 w1 c1 w2 c2",
    ),
}  # fmt: skip


def exercise(name: str, seed: int = 0) -> "Exercise":
    """An exercise by its name, with data from the seed.

    Raises ValueError for a name that is not one of them.

    >>> task = exercise("relu")
    >>> task.shapes
    {'x': (7, 4), 'dout': (7, 4)}
    >>> print(task.template)
    def backward(x, dout):
        '''The gradients by x of the sum of dout * out, where out is: a = max(0, x).
    <BLANKLINE>
        x (7, 4), dout (7, 4)
        '''
        raise NotImplementedError
        return {"x": ...}
    <BLANKLINE>
    >>> report = task.grade(lambda x, dout: {"x": dout})
    >>> report.score, report.explanations[0][0].partition(":")[0]
    (0.0, 'derivative forgotten, in relu 1')
    """
    if name not in EXERCISES:
        raise ValueError(
            f"{misspelled('exercise', str(name), list(EXERCISES))}; there are {', '.join(EXERCISES)}"
        )
    return Exercise(name, EXERCISES[name], seed)


class Exercise:
    """Data, shapes, a template, tests, and `grade`."""

    def __init__(self, name: str, task: Assignment, seed: int) -> None:
        self.name, self.task, self.seed = name, task, seed
        self.shapes, self.asked = task.shapes, task.asked.split()
        rng = random.Random(f"{name} {seed}")
        self.data = {key: _draw(rng, key, shape, task.ones) for key, shape in task.shapes.items()}

    def __repr__(self) -> str:
        return f"<exercise {self.name!r}: the gradients by {', '.join(self.asked)} of {self.task.text}>"

    @property
    def template(self) -> str:
        """Python source for students to fill in."""
        of = (
            f"the sum of dout * out, where out is: {self.task.text}"
            if "dout" in self.shapes
            else self.task.text
        )
        sizes = ", ".join(f"{name} {shape}" for name, shape in self.shapes.items())
        result = ", ".join(f'"{name}": ...' for name in self.asked)
        return (
            f"def backward({', '.join(self.shapes)}):\n"
            f"    '''The gradients by {', '.join(self.asked)} of {of}.\n\n    {sizes}\n    '''\n"
            f"    raise NotImplementedError\n    return {{{result}}}\n"
        )

    @property
    def tests(self) -> str:
        """Python source that marks a function `backward`, for a test cell: it asserts part by part."""
        lines = [f"report = tinygrad_bp.exercise({self.name!r}, seed={self.seed}).grade(backward)"]
        lines += [f"assert report.part({name!r}).right, report" for name in self.asked]
        return "\n".join(["import tinygrad_bp", *lines, ""])

    def grade(
        self,
        backward: Callable[..., Any],
        *,
        wrap: Callable[[Any], Any] | None = None,
        limit: tuple[float, int] | None = None,
        by_hand: bool = True,
        points: Mapping[str, float] | None = None,
        reveal: bool = False,
    ) -> Audit:
        """Run a student's function on the data, and audit what it returns: a dict, or as many in order.

        `wrap` makes its arguments of nested lists, such as `numpy.array`. With `limit`, (seconds, megabytes),
        it runs in a process of its own, which is stopped there: code that loops, exits or changes this package
        then does no harm here (this is no protection against malicious code). With `by_hand`, gradients
        that the engine computed do not count. `points` are those of each part, else 1. What it raises is in
        the report, and so is what it changes. Raises RuntimeError where processes cannot be limited.
        """
        inputs = {name: each(float, tree) for name, tree in self.data.items()}
        arguments = {name: wrap(tree) if wrap else tree for name, tree in inputs.items()}
        if limit is None:
            outcome = attempt(backward, arguments, self.asked)
        else:
            from tinygrad_bp.check.processes import limited

            seconds, megabytes = limit
            outcome = limited(lambda: attempt(backward, arguments, self.asked), seconds, megabytes)
        return self._report(outcome, by_hand, points or {}, reveal)

    def _report(
        self, outcome: dict[str, Any], by_hand: bool, points: Mapping[str, float], reveal: bool
    ) -> Audit:
        mine = {name: tree for name, tree in outcome.get("gradients", {}).items() if name in self.asked}
        reasons = {
            name: outcome.get("error") or "it was not returned" for name in self.asked if name not in mine
        }
        reasons |= {name: text for name, text in outcome.get("unread", {}).items() if name in self.asked}
        if by_hand and outcome.get("engine"):
            reasons = dict.fromkeys(
                self.asked, "the engine was used, where the gradient is asked for by hand"
            )
            mine = {}
        if mine:
            report = audit_function(
                self.task.f, self.data, mine, lr=None, before=None, tolerance=1e-8, reveal=reveal
            )
        else:
            report = Audit([], reveal=reveal, verdict="there is no gradient to look at")
        if report and len(mine) < len(self.asked):
            report.verdict = "the other gradients are right"
        found = {part.name: part for part in report.parts}
        report.parts = [found.get(n) or Part(n, False, reason=reasons[n]) for n in self.asked]
        for part in report.parts:
            part.points = float(points.get(part.name, 1.0))
            part.reason = part.reason or reasons.get(part.name, "")
        for name in outcome.get("changed", ()):
            report.notes.append(f"backward changes its input {name}: work on a copy")
        if outcome.get("printed"):
            report.notes.append(f"backward printed {outcome['printed']} characters, which are left out")
        return report


def attempt(
    backward: Callable[..., Any], arguments: Mapping[str, Any], asked: Sequence[str]
) -> dict[str, Any]:
    """Call a student's function, whatever it does; what came of it, as plain data."""
    copies = {name: _listed(tree) for name, tree in arguments.items()}
    started, printed = Value(0.0).number, StringIO()
    outcome: dict[str, Any] = {}
    try:
        with redirect_stdout(printed):
            result = backward(**arguments)
        outcome |= _named(result, asked)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a submission may exit or recurse, and the rest is still graded
        outcome["error"] = f"backward raised {type(error).__name__}: {str(error)[:200]}{_line(error)}"
    outcome["engine"] = Value(0.0).number > started + 1
    outcome["changed"] = [name for name, tree in arguments.items() if _listed(tree) != copies[name]]
    outcome["printed"] = len(printed.getvalue())
    return outcome


def _named(result: Any, asked: Sequence[str]) -> dict[str, Any]:
    """{"gradients": by name, "unread": what is wrong with the others}."""
    if isinstance(result, Mapping):
        trees = {str(name).removeprefix("d") if name not in asked else name: t for name, t in result.items()}
    elif isinstance(result, (tuple, list)) and len(result) == len(asked) and len(asked) > 1:
        trees = dict(zip(asked, result))
    elif len(asked) == 1 and result is not None:
        trees = {asked[0]: result}
    else:
        what = f"{len(result)} results" if isinstance(result, (tuple, list)) else repr(result)[:80]
        return {
            "error": f"backward returned {what}, and a dict of the gradients by {', '.join(asked)} is due"
        }
    found: dict[str, Any] = {"gradients": {}, "unread": {}}
    for name, tree in trees.items():
        try:
            found["gradients"][name] = plain(tree, name)
            shape_of(found["gradients"][name])
        except (TypeError, ValueError) as error:
            found["gradients"].pop(name, None)
            found["unread"][name] = str(error).removeprefix("audit: ")
    return found


def _line(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f" (line {trace.tb_lineno})" if trace is not None else ""


def _listed(tree: Any) -> Any:
    return json.dumps(tree.tolist() if hasattr(tree, "tolist") else tree, default=str)


def _draw(rng: random.Random, name: str, shape: Shape, ones: str) -> Any:
    if name == "y":
        rows, classes = shape
        return [
            [float(k == c) for k in range(classes)] for c in (rng.randrange(classes) for _ in range(rows))
        ]
    if not shape:
        return float(rng.random() < 0.5) if name in ones.split() else rng.gauss(0.0, 0.8)
    return [_draw_inner(rng, name, shape[1:], ones) for _ in range(shape[0])]


def _draw_inner(rng: random.Random, name: str, shape: Shape, ones: str) -> Any:
    return _draw(rng, "" if name == "y" else name, shape, ones)
