"""Module: something with parameters, which has paths for them, and can be saved and copied.

A call of a module with a `forward` is noted, with the numbers of the first and the last node it made: that is
how drawings and explanations find its nodes, also where it has no parameters.
"""

import copy
import random
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar
from weakref import ReferenceType, WeakValueDictionary, ref

from tinygrad_bp.engine import Value, tick
from tinygrad_bp.errors import CheckpointError, printable
from tinygrad_bp.floats import NO_GRAD, to_float

M = TypeVar("M", bound="Module")

MODULES: "WeakValueDictionary[int, Module]" = WeakValueDictionary()  # all there are: drawings ask for owners


class ModuleCall(NamedTuple):
    """A module at work: the nodes that it made have numbers between these two."""

    begin: int
    end: int
    module: "ReferenceType[Module]"


class Torch(NamedTuple):
    """A module as PyTorch has it: an expression, its weights by their names there, its classes."""

    text: str
    weights: Mapping[str, Any] = MappingProxyType({})  # nested lists
    classes: tuple[str, ...] = ()


CALLS: "deque[ModuleCall]" = deque(maxlen=20_000)  # the last ones, in the order in which they ended


class Module:
    """Something with parameters: Values, Modules, and lists of them, found among its attributes.

    >>> class Line(Module):
    ...     def __init__(self): self.slope, self.shift = Value(2.0), Value(1.0)
    ...     def __call__(self, x): return self.slope * x + self.shift
    >>> [name for name, _ in Line().named_parameters()]
    ['slope', 'shift']

    A subclass that has `forward(x)` in place of `__call__(x)` is drawn as one box at the level of layers.
    """

    training = True  # train() and eval() set it, in the modules inside too

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        module = super().__new__(cls)
        MODULES[id(module)] = module
        return module

    def __call__(self, x: Any) -> Any:
        begin = tick()
        out = self.forward(x)
        CALLS.append(ModuleCall(begin, tick(), ref(self)))
        return out

    def forward(self, x: Any) -> Any:
        """What the module makes of x."""
        raise TypeError(f"{type(self).__name__} does not say what it computes: write forward(self, x)")

    def modules(self) -> list[tuple[str, "Module"]]:
        """(path, module) of the modules inside, itself first with the path ''; each is named once."""
        return [(path, part) for path, part in _walk(self, "", set()) if isinstance(part, Module)]

    def train(self: M, training: bool = True) -> M:
        """Set `training` here and in all modules inside: a Dropout drops then, and passes on in eval()."""
        for _, module in self.modules():
            module.training = training
        return self

    def eval(self: M) -> M:
        """As the model is used, and not as it is trained: what `train(False)` does."""
        return self.train(False)

    def named_parameters(self) -> list[tuple[str, Value]]:
        """(path, parameter) in the order of the attributes; one that occurs twice is named once."""
        return [(path, part) for path, part in _walk(self, "", set()) if isinstance(part, Value)]

    def parameters(self) -> list[Value]:
        return [p for _, p in _walk(self, "", set()) if isinstance(p, Value)]

    def zero_grad(self) -> None:
        """Set `.grad` of every parameter to 0.0."""
        for p in self.parameters():
            p.grad = NO_GRAD

    def label_parameters(self) -> None:
        """Give each parameter its path as label, if it has none or the end of its path; other labels stay."""
        for path, p in self.named_parameters():
            if not p.label or path.endswith("." + p.label):
                p.label = path

    def state_dict(self) -> dict[str, float]:
        """The numbers of all parameters by path."""
        return {path: p.data for path, p in self.named_parameters()}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Set all parameters from what `state_dict` gave.

        Raises CheckpointError, with nothing changed, if paths are missing or unknown or an entry is not a
        number.
        """
        numbers = check_state(self, state)
        for path, p in self.named_parameters():
            p.data = numbers[path]

    def summary(self) -> str:
        """The modules inside and how many parameters each has, as a table.

        >>> from tinygrad_bp.nn import MLP
        >>> print(MLP(2, [3, 1]).summary())
        module                          parameters
        MLP                                     13
          layers.0  Layer(2 → 3, relu)           9
          layers.1  Layer(3 → 1)                 4
        """
        rows = [("module", "", "parameters")]
        for path, module in self.modules():
            if path and module.describe():
                deep = "  " * sum(path.startswith(f"{outer}.") for outer, _ in self.modules() if outer)
                rows.append((f"  {deep}{path}", module.describe(), f"{len(module.parameters()):,}"))
            elif not path:
                rows.append((type(self).__name__, "", f"{len(self.parameters()):,}"))
        wide = [max(len(row[k]) for row in rows) for k in range(3)]
        return "\n".join(f"{a:{wide[0]}}  {b:{wide[1]}}  {c:>{wide[2]}}" for a, b, c in rows)

    def describe(self) -> str:
        """What a table shows of the module; '' for a part that is not shown."""
        return repr(self) if type(self).__repr__ is not Module.__repr__ else type(self).__name__

    def torch(self) -> Torch:
        """The module as PyTorch has it."""
        raise TypeError(
            f"to_torch knows the modules of nn, and {type(self).__name__} is not one: make the model of "
            "them, as nn.Sequential(...)"
        )

    def to_torch(self) -> tuple[str, dict[str, Any]]:
        """The model in PyTorch: the source of a function `load(weights)`, and the weights as nested lists.

        Nothing is imported here; save both, or run the source where PyTorch is. It computes in double
        precision, and takes tokens as a tensor of whole numbers. Raises TypeError for a module or a function
        of your own.

        >>> from tinygrad_bp.nn import MLP
        >>> source, weights = MLP(2, [1]).to_torch(); weights.keys()
        dict_keys(['0.weight', '0.bias'])
        """
        text, weights, classes = self.torch()
        source = TORCH.format(model=text, classes="".join(f"\n\n{c}\n" for c in dict.fromkeys(classes)))
        return source, dict(weights)

    def copy(self: M) -> M:
        """A model of the same shape with parameters of its own, of the same numbers and labels."""
        return copy.deepcopy(self)


TORCH = """\
import torch
from torch import nn
{classes}

def load(weights):
    model = {model}
    model = model.double()
    model.load_state_dict({{name: torch.tensor(rows, dtype=torch.float64) for name, rows in weights.items()}})
    return model
"""


def sequence_in_torch(parts: Sequence[Torch]) -> Torch:
    """Parts one after the other."""
    weights = {f"{i}.{name}": rows for i, part in enumerate(parts) for name, rows in part.weights.items()}
    classes = tuple([text for part in parts for text in part.classes])
    return Torch(f"nn.Sequential({', '.join(part.text for part in parts)})", weights, classes)


def check_state(module: Module, state: Mapping[str, float]) -> dict[str, float]:
    """The numbers of all parameters by path. Raises CheckpointError for a state of another model."""
    if not isinstance(state, Mapping):
        raise TypeError(f"load_state_dict takes the dict that state_dict() gave, not {state!r}")
    own = dict(module.named_parameters())
    wrong = [f"{path} is missing" for path in own if path not in state]
    wrong += [f"{printable(path)} is unknown to the model" for path in state if path not in own]
    numbers = {}
    for path in own:
        try:
            numbers[path] = to_float(state.get(path, 0.0))
        except (TypeError, ValueError) as error:
            wrong.append(f"{path}: {error}")
    if wrong:
        more = f"; and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise CheckpointError(
            f"the state does not fit {type(module).__name__}: {'; '.join(wrong[:5])}{more} "
            "(build the model with the shape it was saved from)"
        )
    return numbers


def _walk(part: Any, path: str, seen: set[int]) -> Iterator[tuple[str, "Value | Module"]]:
    """The parameters and modules in this part, with their paths, in the order of the attributes."""
    if isinstance(part, Module):
        branches: Any = vars(part).items()
    elif isinstance(part, dict):
        branches = part.items()
    elif isinstance(part, (list, tuple)):
        branches = enumerate(part)
    else:
        return
    if id(part) in seen:  # a module that knows its parent
        return
    seen.add(id(part))
    if isinstance(part, Module):
        yield path, part
    for name, branch in branches:
        place = f"{path}.{name}" if path else str(name)
        if not isinstance(branch, Value):
            yield from _walk(branch, place, seen)
        elif branch.op is None and id(branch) not in seen:  # not one that is tied to an earlier one
            seen.add(id(branch))
            yield place, branch


# --- what modules check when they are made ------------------------------------------------------------------


def whole_size(n: Any, name: str) -> int:
    """n, a size. Raises ValueError for what is no whole number from 1 up."""
    if not isinstance(n, int) or isinstance(n, bool) or n < 1:
        raise ValueError(f"{name} is a whole number from 1 up, not {n!r}")
    return n


def generator(rng: Any) -> Any:
    """A generator to draw from: rng, or the random module. Raises TypeError for what draws nothing."""
    rng = random if rng is None else rng
    if not hasattr(rng, "gauss"):
        raise TypeError(f"rng is a generator such as random.Random(0), not {rng!r}")
    return rng
