"""Modules made of others: Sequential, Each, Residual; and Dropout, which leaves numbers out at random."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from tinygrad_bp.floats import to_float
from tinygrad_bp.nn.base import Module, Torch, generator, sequence_in_torch
from tinygrad_bp.ops import ge as GE

Part = Callable[[Any], Any]  # a module, or a function


class Sequential(Module):
    """One part after the other: each takes what the one before it gives.

    >>> from tinygrad_bp.nn import MLP
    >>> Sequential(MLP(1, [1], weights=lambda rng, nin, nout: 2.0), lambda x: x + 1.0)([3.0]).data
    7.0
    """

    def __init__(self, *parts: Part) -> None:
        _refuse_no_function("Sequential", parts)
        self.parts = list(parts)
        self.label_parameters()

    def __call__(self, x: Any) -> Any:
        for part in self.parts:
            x = part(x)
        return x

    def describe(self) -> str:
        return "Sequential"

    def torch(self) -> Torch:
        return sequence_in_torch([_in_torch(part) for part in self.parts])

    def __repr__(self) -> str:
        return f"Sequential({', '.join(map(_named, self.parts))})"


class Each(Module):
    """The same part at every place of a sequence.

    >>> Each(lambda vector: sum(vector))([[1.0, 2.0], [3.0, 4.0]])
    [3.0, 7.0]
    """

    def __init__(self, part: Part) -> None:
        _refuse_no_function("Each", [part])
        self.part = part
        self.label_parameters()

    def __call__(self, xs: Iterable[Any]) -> list[Any]:
        return [self.part(x) for x in xs]

    def describe(self) -> str:
        return "Each"

    def torch(self) -> Torch:
        return _in_torch(self.part)

    def __repr__(self) -> str:
        return f"Each({_named(self.part)})"


class Residual(Module):
    """x + part(x), for a vector or a sequence of them (He et al. 2015, arXiv:1512.03385).

    >>> Residual(lambda x: [2.0 * xi for xi in x])([1.0, 2.0])
    [3.0, 6.0]
    """

    def __init__(self, part: Part) -> None:
        _refuse_no_function("Residual", [part])
        self.part, self.sum = part, Sum()
        self.label_parameters()

    def __call__(self, x: Any) -> Any:
        return self.sum((x, self.part(x)))

    def describe(self) -> str:
        return "Residual"

    def torch(self) -> Torch:
        text, weights, classes = _in_torch(self.part)
        inside = {f"part.{name}": rows for name, rows in weights.items()}
        return Torch(f"Residual({text})", inside, (*classes, RESIDUAL))

    def __repr__(self) -> str:
        return f"Residual({_named(self.part)})"


RESIDUAL = """\
class Residual(nn.Module):
    def __init__(self, part):
        super().__init__()
        self.part = part

    def forward(self, x):
        return x + self.part(x)"""


class Sum(Module):
    """x + y of a pair (x, y), number by number. Raises ValueError for two that have not the same shape."""

    def forward(self, x: Any) -> Any:
        return _added(*x)

    def describe(self) -> str:
        return ""

    def __repr__(self) -> str:
        return "Sum()"


def _added(x: Any, y: Any) -> Any:
    if not hasattr(x, "__len__") and not hasattr(y, "__len__"):
        return x + y
    if not hasattr(x, "__len__") or not hasattr(y, "__len__") or len(x) != len(y):
        shapes = [len(z) if hasattr(z, "__len__") else "a number" for z in (x, y)]
        raise ValueError(
            f"Residual: its part gives another shape than it takes ({shapes[1]}, not {shapes[0]}), and the "
            "two are to be added: give it as many outputs as inputs"
        )
    return [_added(xi, yi) for xi, yi in zip(x, y)]


class Dropout(Module):
    """While training, each number is 0 with the probability `rate`, and otherwise divided by 1 − rate.

    So the mean stays as it is (Srivastava et al. 2014). It takes a vector, a sequence or an image. After
    `eval()` all pass as they are. `fit` draws anew in each step and for each sample, on graphs and in
    compiled code alike; a call of your own draws from `rng`, or the random module. Raises ValueError for a
    rate outside [0, 1).

    >>> import random
    >>> dropout = Dropout(0.5, rng=random.Random(2)); dropout([1.0, 2.0, 3.0]), dropout.eval()([1.0, 2.0])
    ([2.0, 4.0, 0.0], [1.0, 2.0])
    """

    def __init__(self, rate: float, *, rng: Any = None) -> None:
        if not hasattr(rate, "__float__") or not 0.0 <= rate < 1.0:
            raise ValueError(f"Dropout: the rate is from 0 to below 1, not {rate!r}")
        self.rate = to_float(rate)
        self.rng = rng
        generator(rng)

    def forward(self, x: Any) -> Any:
        if not self.training or not self.rate:
            return x
        if hasattr(x[0], "__len__"):  # a sequence, or an image
            return [self.forward(part) for part in x]
        numbers = draw(len(x), self.rng)
        return [xi * (GE(u, self.rate) / (1.0 - self.rate)) for xi, u in zip(x, numbers)]

    def torch(self) -> Torch:
        return Torch(f"nn.Dropout({self.rate!r})")

    def __repr__(self) -> str:
        return f"Dropout({self.rate:g})"


# --- chance -------------------------------------------------------------------------------------------------

_given: ContextVar[Iterator[Any] | None] = ContextVar("_given", default=None)


def draw(count: int, rng: Any = None) -> list[Any]:
    """So many numbers, even between 0 and 1: from `rng`, or as `drawing_from` gives them."""
    given = _given.get()
    if given is not None:
        return [next(given) for _ in range(count)]
    random = generator(rng).random
    return [random() for _ in range(count)]


@contextmanager
def drawing_from(numbers: Iterable[Any] | None = None) -> Iterator[None]:
    """Inside, `draw` takes these numbers, one after the other; without any it draws."""
    token = _given.set(None if numbers is None else iter(numbers))
    try:
        yield
    finally:
        _given.reset(token)


def _refuse_no_function(name: str, parts: Iterable[Any]) -> None:
    for part in parts:
        if not callable(part):
            raise TypeError(f"{name} takes modules or functions, not {part!r}")


def _in_torch(part: Any) -> Torch:
    if not isinstance(part, Module):
        raise TypeError(f"to_torch knows the modules of nn, and {_named(part)!r} is a function of your own")
    return part.torch()


def _named(part: Any) -> str:
    return repr(part) if isinstance(part, Module) else getattr(part, "__name__", repr(part))
