"""compile: a function of scalars, as loops in machine code.

`compile(f, params)` sums f over samples, with gradients, and trains; `compile(f)` is f itself, compiled,
with gradients by its inputs.  A function is traced at the first call, and again for arguments of another
structure. Each pass has a file, in this order: tracing, adjoint, lower, fuse, schedule, roll; then a backend
writes the code.
"""

import gc
import inspect
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tinygrad_bp.compiler.adjoint import derivatives
from tinygrad_bp.compiler.backends import BACKENDS, bind
from tinygrad_bp.compiler.backends.matrix.emit_matrix import run_on
from tinygrad_bp.compiler.backends.page import emit_page
from tinygrad_bp.compiler.bound import Bound, Pacing, Stretch, Use, checked_pace
from tinygrad_bp.compiler.columns import Columns
from tinygrad_bp.compiler.fuse import fuse
from tinygrad_bp.compiler.kernel import CODES, Code, Kernel
from tinygrad_bp.compiler.locks import compiling
from tinygrad_bp.compiler.lower import lower
from tinygrad_bp.compiler.roll import roll
from tinygrad_bp.compiler.rule import Update, descent, descents
from tinygrad_bp.compiler.schedule import schedule
from tinygrad_bp.compiler.store import structure_key
from tinygrad_bp.compiler.tracing import Trace, name_of, trace
from tinygrad_bp.engine import Value
from tinygrad_bp.errors import CompileError, NonFiniteError
from tinygrad_bp.graph_sweep import WeightRow
from tinygrad_bp.rows import Structure, fill, size_of, structure_of, whole_number

SUMMED = ("value", "grads")  # kernels that add up over the samples
KERNELS = 64  # that one compiled function keeps: for rows of so many widths; the oldest is dropped first


def compile(
    f: Callable[..., Any], params: Any = None, example: Sequence[Any] | None = None, threads: int = 1
) -> Any:
    """f as compiled code: a `CompiledSum` by `params` (leaf Values), or without them a `CompiledFunction`.

    It is traced at the first call, or at once on an `example`: a tuple with one sample's arguments. Other
    Values that f uses are read again at each call; plain Python numbers are constants. With several `threads`
    large batches are divided among them, with the same bits. Raises TypeError for parameters that are not
    leaf Values, CompileError for a function whose graph depends on the data.

    >>> w = Value(3.0)
    >>> step = compile(lambda x, y: (w * x - y) ** 2, params=[w])
    >>> step.value_and_grad([1.0, 2.0], [2.0, 2.0])
    (17.0, array('d', [18.0]))
    """
    if not callable(f):
        raise TypeError(f"compile takes a function, not {f!r}")
    threads = whole_number(threads, 1, "compile: threads is a whole number from 1 up")
    made: Any = CompiledFunction if params is None else CompiledSum
    made = made(f, [] if params is None else _checked(params), threads)
    if example is not None:
        if not isinstance(example, (tuple, list)):
            raise TypeError("compile: example is a tuple with one sample's arguments: example=(x, y)")
        made._kernel(made._first, tuple(map(structure_of, example)))
    return made


def _checked(params: Any) -> list[Value]:
    found = [params] if isinstance(params, Value) else list(params)
    for p in found:
        if not isinstance(p, Value) or p.op is not None:
            raise TypeError(f"compile: params are leaf Values, not {p!r}: pass model.parameters()")
    if len(set(found)) < len(found):
        raise ValueError("compile: a parameter is there twice in params; list each once")
    return found


class _Compiled:
    """What both kinds share: kernels by structure, and looking inside."""

    _first = "value"  # the kernel that an example makes

    def __init__(self, f: Callable[..., Any], params: list[Value], threads: int = 1) -> None:
        self._f, self._params = f, params
        self._name = name_of(f)
        self._kernels: dict[tuple[str, tuple[Structure, ...]], Kernel] = {}
        self._last: Kernel | None = None
        self._last_use: tuple[str, tuple[Structure, ...]] = ("", ())
        self._threads = threads

    def _kernel(self, want: str, structures: tuple[Structure, ...]) -> Kernel:
        kernel = self._kernels.get((want, structures))
        if kernel is None:
            with compiling, _without_collecting():
                kernel = self._kernels.get((want, structures)) or self._traced(want, structures)
                self._kernels[want, structures] = kernel
                if len(self._kernels) > KERNELS:
                    del self._kernels[next(iter(self._kernels))]
        self._last, self._last_use = kernel, (want, structures)
        return kernel

    def _traced(self, want: str, structures: tuple[Structure, ...], arrays: bool = False) -> Kernel:
        """Trace; the passes are run for a structure that is new. After them the graph is gone."""
        start = time.perf_counter()
        found: Trace = trace(self._f, structures, self._params)
        self._check_result(found, want)
        seconds = {"trace": time.perf_counter() - start}
        leaves = [*dict.fromkeys([*self._params, *found.captured])]
        widths = tuple(map(size_of, structures))
        structure = structure_key(found.outputs, found.inputs, leaves)
        key = want, arrays, widths, found.result, len(self._params), structure
        code = CODES.get(key, lambda: self._code(want, found, widths, arrays))
        names = argument_names(self._f, len(widths))
        return Kernel(self._name, code, leaves, found.result, found.checks, names, seconds)

    def _code(self, want: str, found: Trace, widths: Sequence[int], arrays: bool) -> Code:
        """The passes after tracing."""
        times = [time.perf_counter()]

        def timed(x: Any) -> Any:
            times.append(time.perf_counter())
            return x

        outputs = timed(self._outputs(found, want))
        captured, summed = found.captured, want in SUMMED
        program = timed(lower(outputs, found.inputs, self._params, captured, summed, arrays))
        plan = timed(schedule(timed(fuse(program))))
        rolled = timed(roll(plan))
        program.forget()
        passes = ("adjoint", "lower", "fuse", "schedule", "roll")
        seconds = {name: b - a for name, a, b in zip(passes, times, times[1:])}
        return Code(rolled, widths, len(self._params), seconds)

    def _check_result(self, found: Trace, want: str) -> None:
        """Raise TypeError where f does not return what is to be summed or differentiated."""
        if want == "map":
            return
        if found.result is not None:
            raise TypeError(f"{self._name} returned {len(found.outputs)} numbers, and one is needed: a loss")
        if found.is_plain and want != "inputs":
            number = found.outputs[0].data
            raise TypeError(f"{self._name} returned {number!r}, not a Value: compute it from Values")

    def _outputs(self, found: Trace, want: str) -> list[Value | WeightRow]:
        """What the kernel computes: the results, or one number and its derivatives."""
        if want in ("map", "value"):
            return [*found.outputs]
        by = self._params if want == "grads" else found.inputs
        return [*derivatives(found.outputs[0], by), found.outputs[0]]

    def _data(self, columns: Sequence[Any]) -> Columns:
        return Columns(self._name, columns)

    def _run(self, want: str, data: Columns) -> tuple["array[float]", Structure]:
        """One evaluation, and the structure of f's result; its memory is free for the next."""
        bound = self._bind(want, data)
        result = bound.run()
        bound.release()
        return result, bound.kernel.result

    def _bind(self, want: str, data: Columns) -> Bound:
        return bind(self._kernel_for(want, data), data, Use(self._threads))

    def _kernel_for(self, want: str, data: Columns) -> Kernel:
        """The kernel for this data, which its losses accept."""
        kernel = self._kernel(want, data.structures)
        for check in kernel.checks:
            check.run(data)
        return kernel

    def source(self, kind: str = "python") -> str:
        """The generated code of the last kernel used: "python", "matrix" for array libraries,
        "llvm", or "page", which is data.

        Raises CompileError before the first call, and for "matrix" if an operation has no array function.
        """
        kernel = self._used()
        if kind not in BACKENDS:
            raise ValueError(f"source: kind is {' or '.join(map(repr, BACKENDS))}, not {kind!r}")
        return BACKENDS[kind].source(self._for_arrays(self._last_use[0]) if kind == "matrix" else kernel)

    def _for_arrays(self, want: str) -> Kernel:
        """The kernel for array libraries: f is traced once more, for the arguments seen last, and lowered to
        larger steps."""
        with _without_collecting():
            return self._traced(want, self._last_use[1], arrays=True)

    def for_page(self, *columns: Any) -> tuple[dict[str, Any], list[Value]]:
        """The program as data for a page, and the Values that it reads: parameters first.

        Raises what a call with these columns raises, and CompileError for operations that a page lacks.
        """
        kernel = self._kernel_for(self._first, self._data(columns))
        return emit_page(kernel.rolled), kernel.leaves

    def report(self) -> str:
        """What was made of the last kernel used, as text: loop nests, memory, the seconds of each pass.

        Raises CompileError before the first call.
        """
        return self._used().report()

    @property
    def how(self) -> str:
        """What runs: "machine code" or "generated Python"."""
        return "generated Python" if self._used().reason else "machine code"

    def _used(self) -> Kernel:
        if self._last is None:
            raise CompileError(
                f"{self._name} has not been traced yet: call it, or compile(f, example=(x, y))"
            )
        return self._last


class CompiledSum(_Compiled):
    """The sum of f over samples, with gradients and training: what `compile(f, params)` returns.

    Each argument of f takes a sequence whose i-th entry is sample i: a number, or a row of numbers. Anything
    with the buffer protocol is accepted. Every method raises ValueError for an empty batch and columns of
    unequal or ragged lengths, TypeError for what is not a number.
    """

    _first = "grads"

    def value(self, *columns: Any) -> float:
        """The sum of f over the samples.

        >>> compile(lambda x: x * x, params=[]).value([1.0, 2.0])
        5.0
        """
        return self._run("value", self._data(columns))[0][0]

    def value_and_grad(self, *columns: Any) -> tuple[float, "array[float]"]:
        """The sum of f over the samples, and its derivatives by the parameters; touches no `.grad`."""
        result, _ = self._run("grads", self._data(columns))
        return result.pop(), result

    def train(self, *columns: Any, lr: float, steps: int, momentum: float = 0.0) -> "array[float]":
        """Gradient descent, v ← momentum·v + grad, p ← p − lr·v, in one call; the loss before each step.

        The parameters are written back after every 0.2 seconds or so, and Ctrl-C takes effect
        then. Raises NonFiniteError if a loss or gradient is not finite: the parameters are then as they were
        before that step.

        >>> w = Value(0.0)
        >>> losses = compile(lambda x, y: (w * x - y) ** 2 / 2, [w]).train([1.0], [2.0], lr=0.5, steps=2)
        >>> w.data, losses
        (1.5, array('d', [2.0, 0.5]))
        """
        steps = whole_number(steps, 0, "train: steps is a whole number from 0 up")
        lr, momentum = checked_pace("train", lr, momentum)
        bound = self._bind("grads", self._data(columns))
        update = Update(descents())
        which, shared = descent(momentum)
        velocity = [[0.0] * len(self._params)] * which
        pacing = Pacing(bound.columns.count * bound.kernel.code.operations)
        losses = array("d")
        while len(losses) < steps:
            rates = array("d", [lr]) * min(pacing.count, steps - len(losses))
            stretch = Stretch(update, rates, shared, velocity, len(losses), which)
            pacing.take(bound, stretch)
            losses += stretch.losses
            if stretch.stopped:
                raise NonFiniteError(
                    f"training {self._name} stopped in step {len(losses)}: the loss, a gradient or a "
                    "parameter is not finite; the parameters are as they were before that step: start "
                    "again with a smaller learning rate"
                )
        bound.release()
        return losses

    def prepare(
        self, data: Columns, update: Update, batch: int | None = None, penalty: Bound | None = None
    ) -> Bound:
        """The kernel with its data, for stretches of steps on batches of up to so many samples."""
        return bind(self._kernel_for("grads", data), data, Use(self._threads, batch, update, penalty))

    def on(self, xp: Any) -> Callable[..., tuple[Any, Any]]:
        """The derived matrix program as a function of an array library: (params, *columns) -> (loss, grad).

        `xp` is what the library calls its functions by: numpy, jax.numpy, array_api_compat.torch,
        array_api_compat.dask.array, or any other namespace of the array API standard. `params` is an array of
        all parameters in the order given to `compile`, a column an array with a row (or a number) for each
        sample; the loss has no axes, the gradient is like `params`. Nothing is changed in place. Other Values
        that f uses are read at each call; a library that compiles the function keeps them.

        The function is made for the arguments seen last: call the step once, or compile(f, params, example).
        Raises CompileError before that and for an operation that has no array function, TypeError for a
        namespace that lacks a function.

            step = compile(lambda x, y: (w * x - y) ** 2, [w], example=(1.0, 1.0))
            loss, grad = step.on(numpy)(numpy.array([3.0]), xs, ys)
        """
        self._used()
        return run_on(self._for_arrays("grads"), xp)

    def bind(self, *columns: Any, lr: float = 0.0, momentum: float = 0.0) -> Bound:
        """The kernel with its data, checked once, for calls with next to no overhead.

        Called, it returns what value_and_grad does; `evaluate()` computes it from `.params` into `.grads`;
        `descend()` takes a step of gradient descent on `.params`. The next call sees what you change in an
        array of doubles; lists are copied. Other Values are read here, at a call, and by `read()`.

        >>> w = Value(1.0)
        >>> bound = compile(lambda x, y: (w * x - y) ** 2 / 2, [w]).bind([1.0], [3.0], lr=0.5)
        >>> bound.descend(), bound.descend(), bound.params[0], bound.write(), w.data
        (2.0, 0.5, 2.5, None, 2.5)
        """
        bound = self._bind("grads", self._data(columns))
        bound.read()
        bound.pace = lr, momentum
        return bound


class CompiledFunction(_Compiled):
    """f itself, called like f, which returns floats in f's nesting: what `compile(f)` returns.

    >>> h = compile(lambda x, y: [x * y, x + y])
    >>> h(2.0, 3.0), h.map([2.0, 0.0], [3.0, 1.0])
    ([6.0, 5.0], [[6.0, 5.0], [0.0, 1.0]])
    """

    _first = "map"

    def __call__(self, *arguments: Any) -> Any:
        data = Columns.of_one_sample(self._name, arguments)
        numbers, structure = self._run("map", data)
        return fill(structure, iter(numbers))

    def map(self, *columns: Any) -> list[Any]:
        """f of each sample, given as columns: one sequence an argument."""
        data = self._data(columns)
        numbers, structure = self._run("map", data)
        rest = iter(numbers)
        return [fill(structure, rest) for _ in range(data.count)]

    def value_and_grad(self, *arguments: Any) -> tuple[float, Any]:
        """f's value, and its derivatives by all arguments as `tinygrad_bp.value_and_grad` gives them.

        >>> compile(lambda x, y: x * y[0]).value_and_grad(2.0, [3.0])
        (6.0, (3.0, [2.0]))
        """
        if not arguments:
            raise TypeError(f"{self._name} was given no arguments to differentiate by")
        data = Columns.of_one_sample(self._name, arguments)
        (*derivatives, value), _ = self._run("inputs", data)
        numbers = iter(derivatives)
        grads = tuple([fill(structure, numbers) for structure in data.structures])
        return value, grads[0] if len(grads) == 1 else grads

    def bind(self, *arguments: Any) -> Bound:
        """The function at these arguments, for calls with next to no overhead.

        `evaluate()` gives the value at `.inputs`, the arguments one after the other, and leaves the
        derivatives by them in `.grads`.

        >>> bound = compile(lambda x, y: x * y[0]).bind(2.0, [3.0])
        >>> bound.inputs[0] = 5.0
        >>> bound.evaluate(), list(bound.grads)
        (15.0, [3.0, 5.0])
        """
        bound = self._bind("inputs", Columns.of_one_sample(self._name, arguments).together())
        bound.read()
        return bound


def argument_names(f: Any, count: int) -> list[str]:
    """What the function calls its arguments, if it names so many; else x1, x2, ..."""
    try:
        names = [*inspect.signature(f).parameters]
    except (TypeError, ValueError):
        names = []
    return names[:count] if len(names) >= count else [f"x{i + 1}" for i in range(count)]


@contextmanager
def _without_collecting() -> Iterator[None]:
    """The passes make many small objects and no cycles worth a search."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
