"""Neuron, Layer and MLP, and the distributions that their first weights are drawn from.

A neuron is one `dot` node (weights · inputs + bias) and one activation node, so a layer of the graph looks
like the layer one draws on paper. The label of a parameter is its path in the model,
"layers.0.neurons.3.w.1", which error messages name.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from typing import Any, NoReturn

from tinygrad_bp.engine import Value, dot
from tinygrad_bp.errors import misspelled, printable
from tinygrad_bp.nn.base import Module, Torch, generator, sequence_in_torch, whole_size
from tinygrad_bp.ops import OPS, Op
from tinygrad_bp.rows import is_row, read

Activation = Callable[[Value], Value]
Initialiser = Callable[[Any, int, int], float]  # of a random generator, the number of inputs and of outputs


# --- initialisers -------------------------------------------------------------------------------------------


def uniform(low: float = -1.0, high: float = 1.0) -> Initialiser:
    """Even between low and high: micrograd's choice for weights."""
    return lambda rng, nin, nout: rng.uniform(low, high)


def normal(std: float = 1.0) -> Initialiser:
    """Normal around 0 with this standard deviation."""
    return lambda rng, nin, nout: rng.gauss(0.0, std)


def he() -> Initialiser:
    """Normal with variance 2 / nin, for ReLU (He et al. 2015, arXiv:1502.01852)."""
    return lambda rng, nin, nout: rng.gauss(0.0, math.sqrt(2.0 / nin))


def xavier() -> Initialiser:
    """Even between ±√(6 / (nin + nout)), for tanh and sigmoid (Glorot & Bengio 2010)."""

    def draw(rng: Any, nin: int, nout: int) -> float:
        limit = math.sqrt(6.0 / (nin + nout))
        return float(rng.uniform(-limit, limit))

    return draw


def zeros() -> Initialiser:
    """Always 0: micrograd's choice for biases."""
    return lambda rng, nin, nout: 0.0


# --- networks -----------------------------------------------------------------------------------------------


class Neuron(Module):
    """act(w · x + b): `nin` weights, a bias, and an activation.

    `act` is a name from the table or a function of a Value; `nonlin=False` means none, as in micrograd.
    Raises ValueError for an unknown activation and for the wrong number of inputs.

    >>> n = Neuron(2, weights=lambda rng, nin, nout: 0.5); n([1.0, 3.0]).data
    2.0
    """

    def __init__(
        self,
        nin: int,
        nonlin: bool = True,
        *,
        act: str | Activation | None = "relu",
        bias: bool = True,
        weights: Initialiser = uniform(),
        biases: Initialiser = zeros(),
        rng: Any = None,
        nout: int = 1,
        **unknown: NoReturn,
    ) -> None:
        _refuse_unknown(Neuron, unknown)
        rng = generator(rng)
        self.w = [Value(weights(rng, nin, nout)) for _ in range(whole_size(nin, "nin"))]
        self.b = Value(biases(rng, nin, nout)) if bias else None
        self.nonlin = nonlin and act is not None
        self.act = _activation(act) if self.nonlin and act is not None else None
        self.label_parameters()

    def __call__(self, x: Sequence[Any]) -> Value:
        return self._fire(_inputs(self, x, len(self.w)))

    def _fire(self, x: Sequence[Any]) -> Value:
        o = dot(self.w, x, self.b)
        return self.act(o) if self.act else o

    def __repr__(self) -> str:
        return f"{_kind(self)}Neuron({len(self.w)})"

    def describe(self) -> str:
        return ""

    def torch(self) -> Torch:
        return sequence_in_torch(linear_in_torch([self]))


class Layer(Module):
    """`nout` neurons side by side, each seeing all `nin` inputs; one output is a Value, more are a list."""

    def __init__(self, nin: int, nout: int, **kwargs: Any) -> None:
        self.neurons = [Neuron(nin, nout=nout, **kwargs) for _ in range(whole_size(nout, "nout"))]
        self.label_parameters()

    def __call__(self, x: Sequence[Any]) -> Any:
        x = _inputs(self, x, len(self.neurons[0].w))
        x = [xi if isinstance(xi, Value) else Value(xi) for xi in x]  # once for all neurons
        out = [n._fire(x) if type(n) is Neuron else n(x) for n in self.neurons]
        return out[0] if len(out) == 1 else out

    def describe(self) -> str:
        act = _act_name(self.neurons[0].act)
        shape = f"{len(self.neurons[0].w)} → {len(self.neurons)}"
        return f"Layer({shape}, {act})" if act else f"Layer({shape})"

    def torch(self) -> Torch:
        return sequence_in_torch(linear_in_torch(self.neurons))

    def __repr__(self) -> str:
        return f"Layer of [{', '.join(map(repr, self.neurons))}]"


class MLP(Module):
    """A multi-layer perceptron: `nin` inputs, then layers of the sizes `nouts`.

    `act` is the activation of the hidden layers, `out_act` of the last; both are names from the table,
    functions of a Value, or None.  Numbers are drawn from `rng`, a random.Random, or from the random module
    itself, so that random.seed works. Raises ValueError for sizes below 1, an unknown activation, the wrong
    number of inputs.

    >>> import random
    >>> model = MLP(2, [3, 1], rng=random.Random(0)); len(model.parameters())
    13
    >>> model.named_parameters()[3][0]
    'layers.0.neurons.1.w.0'
    """

    def __init__(
        self,
        nin: int,
        nouts: Sequence[int],
        *,
        act: str | Activation | None = "relu",
        out_act: str | Activation | None = None,
        bias: bool = True,
        weights: Initialiser = uniform(),
        biases: Initialiser = zeros(),
        rng: Any = None,
        **unknown: NoReturn,
    ) -> None:
        _refuse_unknown(MLP, unknown)
        if not isinstance(nouts, Sequence) or not nouts:
            raise ValueError(f"MLP: nouts is the list of layer sizes, such as [16, 16, 1], not {nouts!r}")
        sizes = [nin, *nouts]
        acts = [act] * (len(nouts) - 1) + [out_act]
        self.layers = [
            Layer(i, o, act=a, bias=bias, weights=weights, biases=biases, rng=rng)
            for i, o, a in zip(sizes, sizes[1:], acts)
        ]
        self.label_parameters()

    @classmethod
    def from_weights(
        cls, weights: Sequence[Any], *, act: str | Activation | None = "relu",
        out_act: str | Activation | None = None,
    ) -> "MLP":  # fmt: skip
        """A network with these weights: [W1, b1, W2, b2, ...], or [W1, W2, ...] without biases.

        W is (out, in), b is (out,): nested lists, or arrays of any library. Raises ValueError for shapes that
        do not fit each other, TypeError for what is no number.

        >>> MLP.from_weights([[[1.0, 2.0]], [3.0]])([1.0, 1.0]).data
        6.0
        """
        trees = [read(tree, f"MLP.from_weights: weights[{i}]") for i, tree in enumerate(weights)]
        for i, tree in enumerate(trees):
            for j, row in enumerate(tree if is_row(tree) else ()):
                sizes = [f"{len(x)} numbers" if is_row(x) else "one number" for x in (row, tree[0])]
                if sizes[0] != sizes[1] or (is_row(row) and any(map(is_row, row))):
                    raise ValueError(
                        f"MLP.from_weights: weights[{i}][{j}] has {sizes[0]}, weights[{i}][0] {sizes[1]}: a "
                        "matrix is a list of rows of equally many numbers, biases are a list of numbers"
                    )
        matrices = [tree for tree in trees if tree and hasattr(tree[0], "__len__")]
        biases = [tree for tree in trees if not (tree and hasattr(tree[0], "__len__"))]
        widths = [len(matrices[0][0]), *map(len, matrices)] if matrices else []
        fits = all({*map(len, w)} == {nin} for w, nin in zip(matrices, widths))
        if biases:
            fits = fits and trees[::2] == matrices and [*map(len, biases)] == widths[1:]
        if not matrices or not fits:
            raise ValueError(
                "MLP.from_weights takes [W1, b1, W2, b2, ...] or [W1, W2, ...], W of (out, in), in the out "
                f"of the layer before, b of (out,); not W of {[(len(w), len(w[0])) for w in matrices]}, "
                f"b of {[*map(len, biases)]}"
            )
        model = cls(widths[0], widths[1:], act=act, out_act=out_act, bias=bool(biases), weights=zeros())
        for k, layer in enumerate(model.layers):
            for j, neuron in enumerate(layer.neurons):
                for w, number in zip(neuron.w, matrices[k][j]):
                    w.data = number
                if neuron.b is not None:
                    neuron.b.data = biases[k][j]
        return model

    def __call__(self, x: Sequence[Any]) -> Any:
        for layer in self.layers:
            out = layer(x)
            x = out if isinstance(out, list) else [out]
        return out

    def describe(self) -> str:
        sizes = [len(self.layers[0].neurons[0].w), *(len(layer.neurons) for layer in self.layers)]
        return f"MLP({' → '.join(map(str, sizes))})"

    def torch(self) -> Torch:
        return sequence_in_torch([part for layer in self.layers for part in linear_in_torch(layer.neurons)])

    def __repr__(self) -> str:
        return f"MLP of [{', '.join(map(repr, self.layers))}]"


ACT = """\
class Act(nn.Module):
    def __init__(self, name, *constants):
        super().__init__()
        self.name, self.constants = name, constants

    def forward(self, x):
        f = getattr(nn.functional, self.name, None) or getattr(torch, self.name)
        return f(x, *self.constants)"""


def linear_in_torch(neurons: Sequence[Neuron]) -> list[Torch]:
    """Neurons side by side as PyTorch has them: a Linear, and the activation after it."""
    shape = f"{len(neurons[0].w)}, {len(neurons)}, bias={neurons[0].b is not None}"
    return [Torch(f"nn.Linear({shape})", weights_in_torch(neurons)), *act_in_torch(neurons[0].act)]


def weights_in_torch(neurons: Sequence[Neuron]) -> dict[str, Any]:
    """Their weights and biases, by PyTorch's names."""
    weights: dict[str, Any] = {"weight": [[w.data for w in neuron.w] for neuron in neurons]}
    biases = [neuron.b.data for neuron in neurons if neuron.b is not None]
    return {**weights, "bias": biases} if biases else weights


def act_in_torch(act: Activation | None) -> list[Torch]:
    """An activation as PyTorch has it, as a list with one entry, or none."""
    if act is None:
        return []
    name = _act_name(act)
    if name not in OPS:
        raise TypeError(
            f"to_torch knows the activations of the table, and {name!r} is a function of your own"
        )
    constants = "".join(f", {x!r}" for x in getattr(act, "constant_values", ()))
    return [Torch(f"Act({name!r}{constants})", {}, (ACT,))]


def _act_name(act: Activation | None) -> str:
    return str(getattr(act, "name", getattr(act, "__name__", "an activation"))) if act else ""


def _refuse_unknown(module: type, unknown: Mapping[str, Any]) -> None:
    """Say what to write for a keyword that does not exist; NoReturn tells type checkers that none does."""
    for name, value in unknown.items():
        if name in ("seed", "random_state"):
            raise TypeError(f"{module.__name__} has no {name!r}: write rng=random.Random({value!r})")
        known = [p for p in signature(module).parameters if p not in ("self", "unknown")]
        raise TypeError(f"{misspelled(module.__name__, name, known)} (it takes {', '.join(known)})")


def _activation(act: str | Activation) -> Activation:
    row = OPS.get(act) if isinstance(act, str) else act
    if isinstance(row, Op) and None in row.constants.values():
        raise ValueError(f"the activation {row.name!r} needs its constants: pass tg.{row.name}.at(...)")
    if isinstance(row, Op) and row.operands == 1:
        method: Activation = row if row.constant_values else getattr(Value, row.name, row)  # it is quicker
        return method
    if row is None or isinstance(row, Op) or not callable(row):
        rows = [row for row in OPS.values() if row.operands == 1 and row.partials]
        names = ", ".join(sorted(row.name for row in rows if None not in row.constants.values()))
        raise ValueError(f"unknown activation {act!r}; the table has {names}; or any function of a Value")
    return row


def _inputs(module: Module, x: Any, expected: int) -> Any:
    if not hasattr(x, "__len__") or isinstance(x, str):
        raise TypeError(f"{_title(module)} takes a list of {expected} numbers, not {x!r}: write [x]")
    if _is_row(next(iter(x), None)) and all(map(_is_row, x)):
        raise TypeError(
            f"{_title(module)} takes one sample, a list of {expected} numbers, not a list of {len(x)} rows: "
            "write [model(row) for row in rows]"
        )
    if len(x) != expected:
        raise ValueError(f"{_title(module)} takes {expected} inputs, got {len(x)}")
    return x


def _is_row(x: Any) -> bool:
    return hasattr(x, "__len__") and not isinstance(x, str)


def _title(module: Module) -> str:
    first = next(iter(module.named_parameters()), ("", None))[1]
    place = first.label.rpartition(".w.")[0] if first is not None else ""
    if isinstance(module, Layer):
        place = place.rpartition("neurons.")[0].rstrip(".")
    return f"{type(module).__name__} '{printable(place)}'" if place else type(module).__name__


def _kind(neuron: Neuron) -> str:
    """The first part of a neuron's name, as in micrograd: ReLUNeuron, LinearNeuron; else its activation."""
    if neuron.act is None:
        return "Linear"
    if neuron.act is Value.relu:
        return "ReLU"
    return str(getattr(neuron.act, "name", getattr(neuron.act, "__name__", "Custom"))).title()
