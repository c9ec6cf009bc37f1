"""Modules for sequences: Embedding, Positions, RMSNorm, LayerNorm, Attention.

A vector is a list of numbers, and a sequence a list of vectors, one for each of its places.  Every formula is
written out for one number, with the operations of the table, as one would on paper.
"""

from collections.abc import Sequence
from math import sqrt
from typing import Any

from tinygrad_bp.engine import Value, dot
from tinygrad_bp.lists import mean, softmax
from tinygrad_bp.modes import apply_check, named
from tinygrad_bp.nn.base import Module, Torch, generator, whole_size
from tinygrad_bp.nn.perceptron import Initialiser, Layer, normal, weights_in_torch, xavier
from tinygrad_bp.ops import eq as EQ

Vector = list[Any]


class Embedding(Module):
    """A learned vector of `width` numbers for each of `count` tokens, the whole numbers from 0 up.

    Called with a list of tokens it answers a list of vectors. Raises ValueError for a token that is no whole
    number below `count`: when the data is bound, if the token is in the data of compiled code.

    >>> embedding = Embedding(3, 2, weights=lambda rng, nin, nout: float(nout))
    >>> [[x.data for x in row] for row in embedding([2, 0])]
    [[2.0, 2.0], [2.0, 2.0]]
    """

    def __init__(
        self, count: int, width: int, *, weights: Initialiser = normal(), rng: Any = None
    ) -> None:  # fmt: skip
        rng = generator(rng)
        whole_size(count, "Embedding: count")
        whole_size(width, "Embedding: width")
        self.rows = [[Value(weights(rng, count, width)) for _ in range(width)] for _ in range(count)]
        self.label_parameters()

    def forward(self, tokens: Any) -> list[Vector]:
        _refuse_no_sequence("Embedding", tokens)
        rows = []
        for place, token in enumerate(tokens):
            with named(f"place {place}"):
                rows.append(self._row(token))
        return rows

    def _row(self, token: Any) -> Vector:
        count = len(self.rows)

        def check(number: Any) -> None:
            if number not in range(count):
                shown = f"{number:g}" if isinstance(number, float) else repr(number)
                raise ValueError(f"Embedding: a token is a whole number from 0 to {count - 1}, not {shown}")

        apply_check(token, check)
        if not isinstance(token, Value):
            return [*self.rows[int(token)]]
        hot = [EQ(token, float(k)) for k in range(count)]
        return [dot(hot, column) for column in zip(*self.rows)]

    def torch(self) -> Torch:
        weights = {"weight": _numbers(self.rows)}
        return Torch(f"nn.Embedding({len(self.rows)}, {len(self.rows[0])})", weights)

    def __repr__(self) -> str:
        return f"Embedding({len(self.rows)}, {len(self.rows[0])})"


class Positions(Module):
    """A learned vector for each place, added to the vector that stands there; for at most `block` places.

    Raises ValueError for a longer sequence.

    >>> [[x.data for x in row] for row in Positions(4, 2, weights=lambda rng, nin, nout: 1.0)([[0.5, 1.5]])]
    [[1.5, 2.5]]
    """

    def __init__(
        self, block: int, width: int, *, weights: Initialiser = normal(), rng: Any = None
    ) -> None:  # fmt: skip
        rng = generator(rng)
        whole_size(block, "Positions: block")
        whole_size(width, "Positions: width")
        self.rows = [[Value(weights(rng, block, width)) for _ in range(width)] for _ in range(block)]
        self.label_parameters()

    def forward(self, xs: Sequence[Vector]) -> list[Vector]:
        _refuse_no_sequence("Positions", xs)
        if len(xs) > len(self.rows):
            raise ValueError(
                f"Positions: a sequence of {len(xs)} is longer than the block, {len(self.rows)}: cut it, or "
                "make the model with a larger block"
            )
        _expect_width("Positions", xs, len(self.rows[0]))
        return [[x + p for x, p in zip(vector, row)] for vector, row in zip(xs, self.rows)]

    def torch(self) -> Torch:
        text = f"Positions({len(self.rows)}, {len(self.rows[0])})"
        return Torch(text, {"weight": _numbers(self.rows)}, (POSITIONS,))

    def __repr__(self) -> str:
        return f"Positions({len(self.rows)}, {len(self.rows[0])})"


POSITIONS = """\
class Positions(nn.Module):
    def __init__(self, block, width):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(block, width))

    def forward(self, x):
        return x + self.weight[: x.shape[-2]]"""


class RMSNorm(Module):
    """w ⊙ x / √(mean(x²) + eps): a vector scaled to about length √width (Zhang, Sennrich 2019).

    `gain=False` leaves out the weights w, which begin at 1.

    >>> [round(x.data, 3) for x in RMSNorm(2)([3.0, 4.0])]
    [0.849, 1.131]
    """

    def __init__(self, width: int, *, gain: bool = True, eps: float = 1e-5) -> None:
        self.width, self.eps = whole_size(width, "RMSNorm: width"), eps
        self.w = [Value(1.0) for _ in range(width)] if gain else None
        self.label_parameters()

    def forward(self, x: Vector) -> Vector:
        x = _vector("RMSNorm", x, self.width)
        scale = (dot(x, x) / len(x) + self.eps) ** -0.5
        return [xi * scale for xi in x] if self.w is None else [xi * scale * w for xi, w in zip(x, self.w)]

    def torch(self) -> Torch:
        options = f"eps={self.eps!r}, elementwise_affine={self.w is not None}"
        return Torch(f"nn.RMSNorm({self.width}, {options})", _numbers_of(weight=self.w))

    def __repr__(self) -> str:
        return f"RMSNorm({self.width})"


class LayerNorm(Module):
    """w ⊙ (x − mean(x)) / √(var(x) + eps) + b: a vector of mean 0 and variance 1 (Ba et al. 2016).

    The variance is over the width, not one less. w begins at 1 and b at 0; `affine=False` leaves both out.

    >>> [round(x.data, 3) for x in LayerNorm(2)([3.0, 5.0])]
    [-1.0, 1.0]
    """

    def __init__(self, width: int, *, affine: bool = True, eps: float = 1e-5) -> None:
        self.width, self.eps = whole_size(width, "LayerNorm: width"), eps
        self.w = [Value(1.0) for _ in range(width)] if affine else None
        self.b = [Value(0.0) for _ in range(width)] if affine else None
        self.label_parameters()

    def forward(self, x: Vector) -> Vector:
        x = _vector("LayerNorm", x, self.width)
        middle = mean(x)
        centred = [xi - middle for xi in x]
        scale = (dot(centred, centred) / len(x) + self.eps) ** -0.5
        out = [c * scale for c in centred]
        if self.w is None or self.b is None:
            return out
        return [o * w + b for o, w, b in zip(out, self.w, self.b)]

    def torch(self) -> Torch:
        options = f"eps={self.eps!r}, elementwise_affine={self.w is not None}"
        return Torch(f"nn.LayerNorm({self.width}, {options})", _numbers_of(weight=self.w, bias=self.b))

    def __repr__(self) -> str:
        return f"LayerNorm({self.width})"


class Attention(Module):
    """Each place of a sequence takes a weighted mean of what all places give (Vaswani et al. 2017).

    From every vector three are made, by layers without activation: a query q, a key k and a value v. Place t
    weighs place s by softmax over s of q[t]·k[s] / √d, and takes the mean of the v[s]; `heads` do so side by
    side, each with d = width / heads numbers of q, k and v; a last layer mixes what they found. If `causal`,
    a place sees itself and those before it.

    Raises ValueError for heads that do not divide the width, and vectors of another width.

    >>> import random
    >>> attention = Attention(4, heads=2, rng=random.Random(0))
    >>> out = attention([[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]]); len(out), len(out[0])
    (2, 4)
    >>> attention.maps([[1.0, 0.0, 0.0, 0.0]])
    [[[1.0]], [[1.0]]]
    """

    def __init__(
        self,
        width: int,
        heads: int = 1,
        *,
        causal: bool = True,
        bias: bool = False,
        weights: Initialiser = xavier(),
        rng: Any = None,
    ) -> None:
        whole_size(width, "Attention: width")
        if width % whole_size(heads, "Attention: heads"):
            raise ValueError(
                f"Attention: {heads} heads do not divide a width of {width}: each has as many numbers of it"
            )
        self.width, self.heads, self.causal = width, heads, causal
        options: dict[str, Any] = {"act": None, "bias": bias, "weights": weights, "rng": rng}
        self.query = Layer(width, width, **options)
        self.key = Layer(width, width, **options)
        self.value = Layer(width, width, **options)
        self.out = Layer(width, width, **options)
        self.label_parameters()

    def forward(self, xs: Sequence[Vector]) -> list[Vector]:
        weights = self._weights(xs)
        values = [_list(self.value(x)) for x in xs]
        size = self.width // self.heads
        out = []
        for t in range(len(xs)):
            found = []
            for h, of_head in enumerate(weights):
                seen = values[: len(of_head[t])]
                found += [dot(of_head[t], [v[h * size + j] for v in seen]) for j in range(size)]
            out.append(_list(self.out(found)))
        return out

    def _weights(self, xs: Sequence[Vector]) -> list[list[list[Any]]]:
        """How much of each place s place t takes, by head: [head][t][s]."""
        _refuse_no_sequence("Attention", xs)
        _expect_width("Attention", xs, self.width)
        queries, keys = ([_list(layer(x)) for x in xs] for layer in (self.query, self.key))
        size = self.width // self.heads
        weights: list[list[list[Any]]] = []
        for h in range(0, self.width, size):
            weights.append([])
            for t, q in enumerate(queries):
                seen = keys[: t + 1] if self.causal else keys
                scores = [dot(q[h : h + size], k[h : h + size]) / sqrt(size) for k in seen]
                weights[-1].append(softmax(scores))
        return weights

    def maps(self, xs: Sequence[Vector]) -> list[list[list[float]]]:
        """The weights as numbers, for pictures: [head][t][s], 0 for a place that is not seen."""
        return [
            [[w.data for w in row] + [0.0] * (len(xs) - len(row)) for row in of_head]
            for of_head in self._weights(xs)
        ]

    def torch(self) -> Torch:
        layers = {"query": self.query, "key": self.key, "value": self.value, "out": self.out}
        weights = {
            f"{path}.{name}": rows
            for path, layer in layers.items()
            for name, rows in weights_in_torch(layer.neurons).items()
        }
        bias = self.out.neurons[0].b is not None
        text = f"Attention({self.width}, {self.heads}, causal={self.causal}, bias={bias})"
        return Torch(text, weights, (ATTENTION,))

    def __repr__(self) -> str:
        return f"Attention({self.width}, heads={self.heads})"


ATTENTION = """\
class Attention(nn.Module):
    def __init__(self, width, heads, causal, bias):
        super().__init__()
        self.heads, self.causal = heads, causal
        self.query, self.key, self.value, self.out = (nn.Linear(width, width, bias=bias) for _ in range(4))

    def forward(self, x):
        q, k, v = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(-2, -3)
            for layer in (self.query, self.key, self.value)
        )
        y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return self.out(y.transpose(-2, -3).flatten(-2))"""


def _numbers(rows: Sequence[Sequence[Value]]) -> list[list[float]]:
    return [[x.data for x in row] for row in rows]


def _numbers_of(**lists: Sequence[Value] | None) -> dict[str, Any]:
    return {name: [x.data for x in values] for name, values in lists.items() if values is not None}


def _list(out: Any) -> Vector:
    """A layer's answer as a list, also where it has one neuron."""
    return out if isinstance(out, list) else [out]


def _vector(name: str, x: Any, width: int) -> Vector:
    _refuse_no_sequence(name, x)
    if len(x) != width:
        raise ValueError(f"{name}: a vector has {width} numbers here, not {len(x)}")
    return [xi if isinstance(xi, Value) else Value(xi) for xi in x]


def _expect_width(name: str, xs: Sequence[Any], width: int) -> None:
    for place, x in enumerate(xs):
        if not hasattr(x, "__len__") or len(x) != width:
            found = f"{len(x)} numbers" if hasattr(x, "__len__") else f"{x!r}"
            raise ValueError(f"{name}: a vector has {width} numbers here, and at place {place} it is {found}")


def _refuse_no_sequence(name: str, xs: Any) -> None:
    if not hasattr(xs, "__len__") or isinstance(xs, str):
        raise TypeError(f"{name} takes a list, not {xs!r}")
    if not len(xs):
        raise ValueError(f"{name}: the sequence is empty; there must be at least one place")
