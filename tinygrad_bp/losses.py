"""Losses of one sample: `loss(prediction, target)` is a Value.

Predictions are what a model returns, a Value or a list of them; targets are numbers, or lists of as many
numbers. `bce_with_logits` and `cross_entropy` take logits, the numbers before a sigmoid or softmax, and are
written so that no sum cancels and nothing overflows. `fit` in train.py adds them up over a batch, or takes
the mean.
"""

from collections.abc import Callable, Sequence
from typing import Any

from tinygrad_bp.engine import Value, dot
from tinygrad_bp.modes import check_number, named
from tinygrad_bp.ops import (
    abs as ABS,
    eq as EQ,
    gt as GT,
    logsumexp as LOGSUMEXP,
    relu as RELU,
    softplus as SOFTPLUS,
    sum as SUM,
    where as WHERE,
)

Loss = Callable[[Any, Any], Value]


def squared_error(prediction: Any, target: Any) -> Value:
    """½ Σ (ŷ − y)², whose gradient is the plain difference ŷ − y.

    >>> squared_error(Value(3.0), 1.0).data
    2.0
    """
    return _sum([(p - t) ** 2 / 2.0 for p, t in _pairs("squared_error", prediction, target)])


def mse(prediction: Any, target: Any) -> Value:
    """The mean over the outputs of (ŷ − y)².

    >>> mse([Value(3.0), Value(1.0)], [1.0, 1.0]).data
    2.0
    """
    pairs = _pairs("mse", prediction, target)
    return _sum([(p - t) ** 2 for p, t in pairs]) / len(pairs)


def mae(prediction: Any, target: Any) -> Value:
    """The mean over the outputs of |ŷ − y|.

    >>> mae(Value(3.0), 1.0).data
    2.0
    """
    pairs = _pairs("mae", prediction, target)
    return _sum([ABS(p - t) for p, t in pairs]) / len(pairs)


def huber(prediction: Any, target: Any, delta: float = 1.0) -> Value:
    """The mean over the outputs of ½e² where |e| ≤ delta, else delta (|e| − ½ delta), e = ŷ − y (Huber 1964).

    >>> huber(Value(3.0), 1.0).data
    1.5
    """
    if not delta > 0:
        raise ValueError(f"huber: delta is a number above 0, not {delta!r}")
    pairs = _pairs("huber", prediction, target)
    errors = [p - t for p, t in pairs]
    each = [WHERE(GT(ABS(e), delta), delta * (ABS(e) - 0.5 * delta), 0.5 * e**2) for e in errors]
    return _sum(each) / len(pairs)


def hinge(prediction: Any, target: Any) -> Value:
    """The mean over the outputs of max(0, 1 − y ŷ), for targets −1 and 1: micrograd's max-margin loss.

    >>> hinge(Value(0.25), 1).data
    0.75
    """
    pairs = _pairs("hinge", prediction, target)
    for _, t in pairs:
        check_number(
            t, lambda t: t in (-1.0, 1.0), "hinge: a target is -1 or 1, not {}: for 0 and 1 write 2 * y - 1"
        )
    return _sum([RELU(1.0 - t * p) for p, t in pairs]) / len(pairs)


def bce_with_logits(logit: Any, target: Any) -> Value:
    """The mean over the outputs of −y log σ(z) − (1 − y) log(1 − σ(z)), for targets from 0 to 1.

    >>> round(bce_with_logits(Value(0.0), 1).data, 6), bce_with_logits(Value(1000.0), 1).data
    (0.693147, 0.0)
    """
    pairs = _pairs("bce_with_logits", logit, target)
    wrong = "bce_with_logits: a target is from 0 to 1, not {}: for -1 and 1 write (y + 1) / 2"
    for _, t in pairs:
        check_number(t, lambda t: 0.0 <= t <= 1.0, wrong)
    return _sum([t * SOFTPLUS(-z) + (1.0 - t) * SOFTPLUS(z) for z, t in pairs]) / len(pairs)


def cross_entropy(logits: Any, target: Any) -> Value:
    """−log softmax(logits)[target] for a class number; for a list of probabilities, the sum weighted by it.

    Raises ValueError if the class number is not one of the logits', or there are not as many probabilities.

    >>> round(cross_entropy([Value(0.0), Value(0.0)], 1).data, 6)
    0.693147
    """
    if isinstance(logits, Value):
        raise TypeError("cross_entropy: takes a list of logits, one a class; for one use bce_with_logits")
    if hasattr(target, "__len__"):
        pairs = _pairs("cross_entropy", logits, target)
        return _sum([t * _surprise(logits, i) for i, (_, t) in enumerate(pairs)])
    wrong = f"cross_entropy: the target is a class from 0 to {len(logits) - 1}, not {{}}"
    check_number(target, lambda t: t in range(len(logits)), wrong)
    if isinstance(target, Value):  # while a compiler traces: the class is in the data
        return _surprise_of_any(logits, target)
    return _surprise(logits, int(target))


class SequenceLoss:
    """The mean over the places of a sequence of a loss of each place: `loss(predictions[t], targets[t])`.

    With it `fit` takes sequences of different lengths. Raises ValueError if there are not as many predictions
    as targets.

    >>> SequenceLoss(mse)([Value(3.0), Value(1.0)], [1.0, 1.0]).data
    2.0
    """

    def __init__(self, loss: Loss) -> None:
        if not callable(loss):
            raise TypeError(f"SequenceLoss takes the loss of one place, such as cross_entropy, not {loss!r}")
        self.loss = loss

    def __call__(self, predictions: Any, targets: Any) -> Value:
        return _sum(self.of_places(predictions, targets)) / len(targets)

    def weighted(self, predictions: Any, targets: Any, weights: Sequence[Any]) -> Value:
        """The sum over the places of their losses, each times its weight."""
        return dot(weights, self.of_places(predictions, targets))

    def of_places(self, predictions: Any, targets: Any) -> list[Value]:
        """The loss of each place."""
        if not isinstance(predictions, Sequence) or not hasattr(targets, "__len__"):
            wrong = predictions if hasattr(targets, "__len__") else targets
            raise TypeError(
                f"SequenceLoss: predictions and targets are lists, an entry for each place, not {wrong!r:.60}"
            )
        if len(predictions) != len(targets) or not predictions:
            raise ValueError(
                f"SequenceLoss: {len(predictions)} predictions for {len(targets)} targets; give one for each "
                "place of the sequence"
            )
        losses = []
        for place, (p, t) in enumerate(zip(predictions, targets)):
            with named(f"place {place}"):
                losses.append(self.loss(p, t))
        return losses

    def __repr__(self) -> str:
        return f"SequenceLoss({getattr(self.loss, '__name__', self.loss)})"


def _surprise(logits: Sequence[Any], k: int) -> Value:
    """−log softmax(logits)[k], from the differences to logit k: a confident answer loses no digits."""
    differences = [z - logits[k] if i != k else Value(0.0) for i, z in enumerate(logits)]
    out: Value = LOGSUMEXP(*differences)
    return out


def _surprise_of_any(logits: Sequence[Any], target: Value) -> Value:
    """The same for a class that is a node of the graph; nan if it is not one of the logits'."""
    hits = [EQ(target, float(k)) for k in range(len(logits))]
    own = SUM(*[WHERE(hit, z, 0.0) for hit, z in zip(hits, logits)]) / SUM(*hits)
    out: Value = LOGSUMEXP(*[z - own for z in logits])
    return out


def _pairs(name: str, prediction: Any, target: Any) -> list[tuple[Any, Any]]:
    ps = list(prediction) if isinstance(prediction, Sequence) else [prediction]
    ts = list(target) if hasattr(target, "__len__") else [target]
    if len(ps) != len(ts) or not ps:
        raise ValueError(f"{name}: {len(ps)} predictions for {len(ts)} targets; give as many of both")
    return list(zip(ps, ts))


def _sum(xs: list[Value]) -> Value:
    return xs[0] if len(xs) == 1 else SUM(*xs)
