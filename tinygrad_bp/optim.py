"""Optimizers: they move parameters along their gradients.

The rule of an optimizer is arithmetic, written once, for one parameter: `update` takes the parameter, its
gradient, the number of the step, the rate, and what the optimizer remembers of this parameter, and returns
the new parameter and memory.  `step()` applies it to numbers; the compiler traces it, like any function.

`step()` never clears a gradient, so that it can be printed afterwards; `zero_grad()` does.  A parameter that
is left out of the list stays as it is: that is how one freezes it.
"""

from collections.abc import Callable, Iterable, Sequence
from math import inf, isfinite, nan
from typing import TYPE_CHECKING, Any, NoReturn

from tinygrad_bp.batches import Batches
from tinygrad_bp.engine import Value
from tinygrad_bp.errors import misspelled
from tinygrad_bp.floats import NO_GRAD, to_float
from tinygrad_bp.ops import div, max, min, pow, sqrt

Rate = float | Callable[[int], float]  # a number, or a schedule: a function of the steps taken before


class Optimizer:
    """The parameters, the rate, and what is remembered of each parameter; a subclass has the rule.

    `lr` is a number or a schedule (see schedules.py).  `clip_norm` scales all gradients down to that length
    where they are longer together; `clip_value` then holds each within ± that number.  `t` counts the steps.

    To write one, name what you remember (a list of numbers, 0.0 at the start) and say how to update it, in
    the operations of the package and without a branch on the numbers:

    >>> class Heavy(Optimizer):
    ...     memory = ("speed",)
    ...     def update(self, p, g, t, lr, speed):
    ...         speed = 0.5 * speed + g
    ...         return p - lr * speed, speed
    >>> p = Value(1.0); heavy = Heavy([p], lr=0.1); p.grad = 2.0; heavy.step(); p.data, heavy.speed, heavy.t
    (0.8, [2.0], 1)
    """

    memory: Sequence[str] = ()  # names of lists, with a number for each parameter

    def __init__(
        self,
        parameters: Iterable[Value],
        lr: Rate,
        *,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ) -> None:
        name = type(self).__name__
        if not isinstance(parameters, (Value, Iterable)):
            raise TypeError(f"{name} takes a list of Values, not {parameters!r}: pass model.parameters()")
        self.parameters = [parameters] if isinstance(parameters, Value) else list(parameters)
        if not self.parameters:
            raise ValueError(f"{name} was given no parameters: pass model.parameters()")
        if len(set(map(id, self.parameters))) < len(self.parameters):
            raise ValueError(f"{name} was given a parameter twice, and would move it twice: name each once")
        for p in self.parameters:
            if not isinstance(p, Value) or p.op is not None:
                raise TypeError(f"{name} moves leaf Values, and {p!r} is not one: pass model.parameters()")
        self.lr = lr if callable(lr) else self.number("lr", lr)
        self.clip_norm = None if clip_norm is None else self.number("clip_norm", clip_norm)
        self.clip_value = None if clip_value is None else self.number("clip_value", clip_value)
        self.t = 0
        self.batches: Batches | None = None  # that `fit` takes, and goes on with
        for each in self.memory:
            setattr(self, each, self.zeros())

    def update(self, p: Any, g: Any, t: Any, lr: Any, *memory: Any) -> Any:
        """The new parameter and memory, from the old ones, the gradient, the step's number (from 1 up) and
        the rate."""
        raise TypeError(
            f"{type(self).__name__} does not say how to step: use a subclass such as SGD, "
            "or write update(self, p, g, t, lr, *memory)"
        )

    def step(self) -> None:
        """Move every parameter by its gradient: all of them, or none if the rule fails."""
        rate = self.rate()
        gradients = [p.grad or 0.0 for p in self.parameters]  # None is how PyTorch clears it
        norm = sqrt(sum([g * g for g in gradients])) if self.clip_norm is not None else 0.0
        t, kept = float(self.t + 1), self.remembered()
        moved = [
            self.moved(p.data, g, t, rate, norm, *numbers)
            for p, g, *numbers in zip(self.parameters, gradients, *kept)
        ]
        after, *columns = map(list, zip(*moved))
        for p, number in zip(self.parameters, after):
            p.data = number
        for name, column in zip(self.memory, columns):
            setattr(self, name, column)
        self.t += 1

    def moved(self, p: Any, g: Any, t: Any, lr: Any, norm: Any, *memory: Any) -> tuple[Any, ...]:
        """The rule with the gradient clipped; `norm` is the length of all gradients together.

        Raises TypeError where `update` does not return one number for p and one for each name in `memory`.
        """
        if self.clip_norm is not None:
            g = g * min(1.0, div(self.clip_norm, norm + 1e-6))  # as PyTorch does
        if self.clip_value is not None:
            g = min(max(g, -self.clip_value), self.clip_value)
        found = self.update(p, g, t, lr, *memory)
        found = found if isinstance(found, (tuple, list)) else (found,)
        if len(found) != 1 + len(memory):
            names = ", ".join(["the new p", *self.memory])
            raise TypeError(
                f"{type(self).__name__}.update returns {len(found)} numbers, and must return "
                f"{1 + len(memory)}: {names}"
            )
        return tuple(found)

    def zero_grad(self) -> None:
        """Set `.grad` of every parameter to 0.0."""
        for p in self.parameters:
            p.grad = NO_GRAD

    # --- what a step starts from -----------------------------------------------------------------------

    def rate(self, step: int | None = None) -> float:
        """The rate of the next step, or after so many steps.

        Raises TypeError or ValueError for a rate that is not a number from 0 up.

        >>> from tinygrad_bp.schedules import linear
        >>> SGD([Value(1.0)], lr=linear(1.0, steps=4)).rate(step=3)
        0.25
        """
        step = self.t if step is None else step
        if callable(self.lr):
            return self.number(f"lr, which is a schedule, at step {step}", self.lr(step))
        return self.number("lr", self.lr)

    def remembered(self) -> list[list[float]]:
        """The lists that `memory` names. Raises ValueError for one without a number for each parameter."""
        lists = []
        for name in self.memory:
            numbers = getattr(self, name)
            if not isinstance(numbers, list) or len(numbers) != len(self.parameters):
                count = len(numbers) if hasattr(numbers, "__len__") else 1
                raise ValueError(
                    f"{type(self).__name__}: the memory {name!r} holds {count} numbers for "
                    f"{len(self.parameters)} parameters; it is a list with one for each"
                )
            lists.append(numbers)
        return lists

    def zeros(self) -> list[float]:
        """0.0 for each parameter."""
        return [0.0] * len(self.parameters)

    def number(self, name: str, x: Any, below: float = inf) -> float:
        """x as a float from 0 up. Raises TypeError or ValueError with the name of the setting."""
        limit = "" if below == inf else f" to below {below:g}"
        message = f"{type(self).__name__}: {name} is a number from 0 up{limit}, not {x!r}"
        try:
            number = to_float(x)
        except TypeError:
            raise TypeError(message) from None
        except ValueError:  # too large for a float
            number = nan
        if not 0.0 <= number < below:
            raise ValueError(message)
        return number

    # --- saving ----------------------------------------------------------------------------------------

    def settings(self) -> dict[str, Any]:
        """The attributes that are numbers, bools, texts or None: rates, momentum, and the like."""
        kept = {"t", "batches"}  # apart from these
        return {name: x for name, x in vars(self).items() if name not in kept and type(x) in SETTINGS}

    def state_dict(self) -> dict[str, Any]:
        """All that the optimizer will need to go on: settings, memory, steps taken, and where its batches
        are. A schedule is not saved, only the step it is at.

        >>> SGD([Value(1.0)], lr=0.1).state_dict()["settings"]["lr"]
        0.1
        """
        return {
            "name": type(self).__name__,
            "t": self.t,
            "settings": self.settings(),
            "memory": {name: [*numbers] for name, numbers in zip(self.memory, self.remembered())},
            "batches": self.batches.state() if self.batches else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what state_dict() returned.

        Raises ValueError, and changes nothing, where the state is of another optimizer, of other settings,
        or of another number of parameters.

        >>> old, new = SGD([Value(1.0)], lr=0.1, momentum=0.5), SGD([Value(1.0)], lr=0.3)
        >>> new.load_state_dict(old.state_dict()); new.lr, new.momentum
        (0.1, 0.5)
        """
        name = type(self).__name__

        def need(holds: bool, message: str) -> None:
            if not holds:
                raise ValueError(f"{name}.load_state_dict: {message}")

        need(isinstance(state, dict) and state.keys() >= STATE, "this is not what state_dict() returns")
        need(state["name"] == name, f"the state is of {state['name']!r}, not of {name!r}")
        need(type(state["t"]) is int and state["t"] >= 0, f"t is a count of steps, not {state['t']!r}")
        settings, memory, mine = state["settings"], state["memory"], self.settings()
        need(isinstance(settings, dict) and isinstance(memory, dict), "settings and memory are dicts")
        for key in sorted({*mine, *settings} - {"lr"}, key=str):
            need(key in mine and key in settings, f"the setting {key!r} is on one side only")
        for key, x in settings.items():
            need(type(x) in SETTINGS, f"the setting {key!r} is {x!r}")
            need(type(x) is not float or isfinite(x), f"the setting {key!r} is {x}")
        for key, numbers in memory.items():
            whole = isinstance(numbers, list) and all(type(x) is float for x in numbers)
            need(isinstance(getattr(self, str(key), None), list), f"there is no memory {key!r}")
            need(whole, f"the memory {key!r} is not a list of floats")
            count = len(self.parameters)
            need(len(numbers) == count, f"the memory {key!r} is of {len(numbers)} parameters, not of {count}")
        batches = None if state["batches"] is None else Batches.of(state["batches"])
        if callable(self.lr):
            settings = {key: x for key, x in settings.items() if key != "lr"}  # a schedule stays
        vars(self).update(settings)
        vars(self).update({key: [*numbers] for key, numbers in memory.items()})
        self.t, self.batches = state["t"], batches


STATE = {"name", "t", "settings", "memory", "batches"}
SETTINGS = (float, int, bool, str, type(None))


class SGD(Optimizer):
    """Gradient descent: v ← momentum·v + g, p ← p − lr·v, where g includes weight_decay·p.

    With `nesterov` the step is along g + momentum·v instead (Nesterov 1983; Polyak 1964 without).  Without
    momentum nothing is remembered.

    Raises ValueError for a negative rate or decay, a momentum outside [0, 1), and nesterov without momentum.

    >>> p = Value(1.0); sgd = SGD([p], lr=0.1); p.grad = 2.0; sgd.step(); p.data
    0.8
    """

    def __init__(
        self,
        parameters: Iterable[Value],
        lr: Rate = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        *,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ) -> None:
        self.momentum = self.number("momentum", momentum, below=1.0)
        self.nesterov = bool(nesterov)
        self.weight_decay = self.number("weight_decay", weight_decay)
        if nesterov and not momentum:
            raise ValueError("SGD: nesterov needs a momentum above 0: pass momentum=0.9")
        super().__init__(parameters, lr, clip_norm=clip_norm, clip_value=clip_value)
        self.velocity = self.zeros()

    @property
    def memory(self) -> Sequence[str]:  # type: ignore[override]
        return ("velocity",) if self.momentum else ()

    def update(self, p: Any, g: Any, t: Any, lr: Any, *memory: Any) -> Any:
        g = g + self.weight_decay * p
        if not memory:
            return (p - lr * g,)
        velocity = self.momentum * memory[0] + g
        along = g + self.momentum * velocity if self.nesterov else velocity
        return p - lr * along, velocity


class Adam(Optimizer):
    """Adam: steps of about the size of the rate (Kingma, Ba 2015; in the order of operations of section 2).

    m and v are running means of g and g²; divided by 1 − βᵗ they begin without a bias to 0:
    p ← p − lr·m̂ / (√v̂ + eps).  `weight_decay`·p is added to g; see AdamW for the other way.

    Raises ValueError for a negative setting or a beta outside [0, 1).

    >>> p = Value(1.0); adam = Adam([p], lr=0.1); p.grad = 2.0; adam.step(); round(p.data, 6)
    0.9
    """

    memory = ("m", "v")

    def __init__(
        self,
        parameters: Iterable[Value],
        lr: Rate = 0.001,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ) -> None:
        if not isinstance(betas, (tuple, list)) or len(betas) != 2:
            raise TypeError(
                f"{type(self).__name__}: betas are two numbers such as (0.9, 0.999), not {betas!r}"
            )
        self.beta1, self.beta2 = (self.number("a beta", beta, below=1.0) for beta in betas)
        self.eps = self.number("eps", eps)
        self.weight_decay = self.number("weight_decay", weight_decay)
        super().__init__(parameters, lr, clip_norm=clip_norm, clip_value=clip_value)

    def update(self, p: Any, g: Any, t: Any, lr: Any, *memory: Any) -> Any:
        return self.adam(p, g + self.weight_decay * p, t, lr, *memory)

    def adam(self, p: Any, g: Any, t: Any, lr: Any, m: Any, v: Any) -> tuple[Any, Any, Any]:
        """The rule itself. Corrections are of the step and not of the parameter: one division is left."""
        m = self.beta1 * m + (1.0 - self.beta1) * g
        v = self.beta2 * v + (1.0 - self.beta2) * (g * g)
        spread = sqrt(1.0 - pow(self.beta2, t))
        rate = lr * div(spread, 1.0 - pow(self.beta1, t))
        return p - rate * div(m, sqrt(v) + self.eps * spread), m, v


class AdamW(Adam):
    """Adam with the weight decay beside the gradient: p is first made smaller by lr·weight_decay·p
    (Loshchilov, Hutter 2019).

    >>> p = Value(1.0); adamw = AdamW([p], lr=0.1); p.grad = 2.0; adamw.step(); round(p.data, 6)
    0.899
    """

    def __init__(
        self,
        parameters: Iterable[Value],
        lr: Rate = 0.001,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        *,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ) -> None:
        super().__init__(parameters, lr, betas, eps, weight_decay, clip_norm=clip_norm, clip_value=clip_value)

    def update(self, p: Any, g: Any, t: Any, lr: Any, *memory: Any) -> Any:
        return self.adam(p - lr * self.weight_decay * p, g, t, lr, *memory)


class Adagrad(Optimizer):
    """The gradient over the root of the sum of its squares so far (Duchi, Hazan, Singer 2011):
    v ← v + g², p ← p − lr·g / (√v + eps); `weight_decay`·p is added to g.

    Raises ValueError for a negative setting.

    >>> p = Value(1.0); adagrad = Adagrad([p], lr=0.1); p.grad = 2.0; adagrad.step(); round(p.data, 6)
    0.9
    """

    memory = ("v",)

    def __init__(
        self,
        parameters: Iterable[Value],
        lr: Rate = 0.01,
        eps: float = 1e-10,
        weight_decay: float = 0.0,
        *,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ) -> None:
        self.eps = self.number("eps", eps)
        self.weight_decay = self.number("weight_decay", weight_decay)
        super().__init__(parameters, lr, clip_norm=clip_norm, clip_value=clip_value)

    def update(self, p: Any, g: Any, t: Any, lr: Any, *memory: Any) -> Any:
        g = g + self.weight_decay * p
        v = self.with_square(memory[0], g * g)
        return p - lr * div(g, sqrt(v) + self.eps), v

    def with_square(self, v: Any, square: Any) -> Any:
        """The memory of the squares after one more."""
        return v + square


class RMSProp(Adagrad):
    """The gradient over the root of the running mean of its square (Tieleman, Hinton 2012):
    v ← alpha·v + (1 − alpha)·g², p ← p − lr·g / (√v + eps); `weight_decay`·p is added to g.

    Raises ValueError for a negative setting or an alpha outside [0, 1).

    >>> p = Value(1.0); rms = RMSProp([p], lr=0.1); p.grad = 2.0; rms.step(); round(p.data, 6)
    0.0
    """

    def __init__(
        self,
        parameters: Iterable[Value],
        lr: Rate = 0.01,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ) -> None:
        self.alpha = self.number("alpha", alpha, below=1.0)
        super().__init__(parameters, lr, eps, weight_decay, clip_norm=clip_norm, clip_value=clip_value)

    def with_square(self, v: Any, square: Any) -> Any:
        return self.alpha * v + (1.0 - self.alpha) * square


if not TYPE_CHECKING:  # a type checker would take every name then

    def __getattr__(name: str) -> NoReturn:
        raise AttributeError(misspelled("tinygrad_bp.optim", name, [n for n in globals() if n[0].isupper()]))
