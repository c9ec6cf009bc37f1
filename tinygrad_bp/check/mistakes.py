"""The classic mistakes of hand-written backprop: a table.

A row has the name of the switch in backprop.py that makes the mistake, what it is, how to mend it, and where
it can be made.  `candidates` makes of the table what search.py goes through: every mistake in every layer, in
all hidden layers, in all layers; and pairs of these.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations


@dataclass(frozen=True)
class Mistake:
    """A row of the table."""

    name: str  # also of the switch
    what: str
    mend: str
    where: str = "layer"  # or "above" the first layer only; "loss"; "factor": at the loss or in a layer
    needs: str = ""  # a keyword of `audit` without which it cannot be tried
    several_outputs: bool = False


# fmt: off
MISTAKES = (
    # --- factors
    Mistake("negative", "the sign is wrong: this is what one adds to go downhill, not the gradient",
            "subtract where you add, or turn the sign of the error: d(½(ŷ − y)²)/dŷ is ŷ − y", "factor"),
    Mistake("twice", "everything is doubled, as by the 2 of a square that the loss does not have, or by a "
            "backward pass that ran twice",
            "compare the error with the derivative of this loss: of ½(ŷ − y)² it is ŷ − y, of (ŷ − y)² twice "
            "that; clear the gradients before each pass", "factor"),
    Mistake("half", "everything is halved: the 2 of the square was lost",
            "the derivative of (ŷ − y)² is 2(ŷ − y)", "factor"),
    Mistake("not averaged", "the sum over the samples stands where their mean is due",
            "divide by the number of samples, once; or audit with reduce='sum'", "factor"),
    Mistake("averaged once more", "divided by the number of samples once too often",
            "divide once, at the loss or at the gradients; or audit with reduce='mean'", "factor"),
    Mistake("not averaged over outputs", "the sum over the outputs stands where the loss takes their mean",
            "divide the error by the number of outputs", "factor", several_outputs=True),
    Mistake("averaged over outputs", "divided by the number of outputs, where the loss takes the sum",
            "leave the division out", "factor", several_outputs=True),
    Mistake("times the learning rate", "these are the steps, lr times the gradient",
            "hand in the gradient itself: lr belongs into the update alone", "factor", needs="lr"),
    Mistake("every prediction against every target",
            "a column of predictions minus a row of targets makes a table of each against each",
            "give both one shape before subtracting: y = y.reshape(ŷ.shape)", "loss"),
    Mistake("derivative that is in the loss",
            "the error p − y is multiplied by p (1 − p), the derivative of the sigmoid or softmax that a "
            "loss of logits has inside",
            "the delta of the logits is p − y: its fraction and that derivative have cancelled", "loss"),
    # --- the derivative of the activation
    Mistake("derivative forgotten", "the derivative of the activation is left out",
            "delta = error * f'(z)"),
    Mistake("derivative at the activation", "f' is taken at the activation a = f(z), not at z",
            "call f' with z; only a formula written for outputs, such as a * (1 - a), takes a"),
    Mistake("output formula at the pre-activation",
            "a derivative written for the output, a * (1 - a) or 1 - a², is given z, the sum before it",
            "call it with a = f(z)"),
    Mistake("derivative of the layer above", "f' is taken at the numbers of the layer above",
            "delta of a layer takes f' at the sums of the same layer"),
    Mistake("derivative of the layer below", "f' is taken at the numbers of the layer below",
            "delta of a layer takes f' at the sums of the same layer", "above"),
    Mistake("mask of the wrong side", "the mask is the wrong way round: it lets pass where z < 0",
            "of ReLU the derivative is 1 where z > 0, and 0 elsewhere"),
    # --- the error that comes from above
    Mistake("upstream left out", "the error from above is left out: delta is f'(z) alone",
            "delta = error * f'(z), and the error of a hidden layer is W.T @ delta of the layer above"),
    Mistake("row against column",
            "the errors are a row and the slopes a column: NumPy makes a table of every error times every "
            "slope, where each neuron's error times its own slope is due",
            "give both one shape: error = W.T @ delta is a column like z, as delta * W is not"),
    Mistake("derivative left out on the way back",
            "the error, not the delta, is handed down: f' of this layer is missing in all layers below",
            "hand down W.T @ delta, where delta = error * f'(z)", "above"),
    Mistake("weights left out on the way back", "the weights are left out on the way to the layer below",
            "hand down W.T @ delta", "above"),
    Mistake("weights not transposed", "W stands where its transpose is due, on the way to the layer below",
            "hand down W.T @ delta for W of shape (out, in)", "above"),
    Mistake("weights after their update", "the weights were updated before the error went back through them",
            "compute the gradients of all layers, then update", "above", needs="lr"),
    # --- the gradient of the weights
    Mistake("transposed", "the weight gradient is transposed",
            "for W of shape (out, in): dW = delta @ a.T; if your code keeps its weights (in, out), yours may "
            "be right, and dW.T is what to audit"),
    Mistake("inputs contracted with delta",
            "the inputs are contracted with delta, which sums them away, and what is left is stretched over "
            "all weights",
            "take the outer product, one number for each weight: dW = delta @ a.T"),
    Mistake("outputs for inputs", "delta meets the outputs of its own layer, not what went into it",
            "dW = delta @ a.T with a from the layer below"),
    Mistake("pre-activations for inputs", "delta meets the sums z of the layer below, not its a = f(z)",
            "dW = delta @ a.T with a = f(z)", "above"),
    Mistake("last sample only", "the gradient is that of the last sample alone: assigned, not added up",
            "dW += ... over the samples, and db too"),
    Mistake("left-over gradients", "the gradients of the step before are still in it",
            "set the gradients to zero before each backward pass", needs="before"),
    # --- the gradient of the biases
    Mistake("bias of one sample for each", "the bias gradient is not summed over the batch",
            "db = delta.sum over the axis of the samples"),
    Mistake("bias summed over the units", "the bias gradient is summed over the units, not over the samples",
            "sum over the other axis: one number for each unit is left"),
    Mistake("bias summed over everything", "the bias gradient is summed over samples and units alike",
            "name the axis: np.sum(delta, axis=...) over the samples"),
    Mistake("bias averaged", "the bias gradient is divided by the number of samples, the weights' is not",
            "treat both alike: delta.sum, not delta.mean, where dW = delta @ a.T"),
    Mistake("bias not averaged", "the bias gradient is not divided by the number of samples, the weights' is",
            "treat both alike: divide delta once, before both"),
    Mistake("weights averaged",
            "the weight gradient is divided by the number of samples, the bias gradient is not",
            "treat both alike: divide delta once, before both"),
    Mistake("bias left at zero", "the bias gradient is zero",
            "db = delta.sum over the axis of the samples"),
)
# fmt: on

TURNED = "the sign is turned, which is right if your code adds these numbers to the weights"
NEGATIVE = MISTAKES[0]  # tried together with all others: published code often adds where one subtracts


@dataclass(frozen=True)
class Candidate:
    """Mistakes, each in some layers; what is made at the loss has the level after the last layer."""

    parts: tuple[tuple[Mistake, tuple[int, ...]], ...]
    negated: bool = False

    @cached_property
    def made(self) -> frozenset[tuple[str, int]]:
        return frozenset((mistake.name, level) for mistake, levels in self.parts for level in levels)

    def at(self, level: int) -> frozenset[str]:
        """The names of the mistakes that are made there."""
        return frozenset(mistake.name for mistake, levels in self.parts if level in levels)

    def told(self, layers: int) -> list[str]:
        """Each mistake in words: where, what, how to mend it."""
        alone = ((NEGATIVE, (layers,)),) if self.negated and not self.parts else ()
        told = [
            f"{row.name}, {place(levels, layers)}: {row.what}\nto mend it: {row.mend}"
            for row, levels in self.parts + alone
        ]
        return told + [TURNED] * (self.negated and not alone)


def place(levels: tuple[int, ...], layers: int) -> str:
    if levels == (layers,):
        return "from the loss on"
    if len(levels) == layers > 1:
        return "in all layers"
    return f"in layer {levels[0]}" if len(levels) == 1 else f"in the layers {', '.join(map(str, levels))}"


def candidates(layers: int, outputs: int, known: Collection[str], most: int) -> list[Candidate]:
    """All sets of up to `most` mistakes in all scopes, each also negated; `known`: the keywords given.

    >>> [sorted(candidate.made) for candidate in candidates(1, 1, (), most=1)][-1]
    [('bias left at zero', 0)]
    """
    rows = [row for row in MISTAKES if not row.needs or row.needs in known]
    rows = [row for row in rows if outputs > 1 or not row.several_outputs]
    singles = [(row, levels) for row in rows for levels in scopes(row, layers)]
    distinct: dict[frozenset[tuple[str, int]], Candidate] = {}
    for size in range(most + 1):
        for parts in combinations(singles, size):
            candidate = Candidate(parts)
            distinct.setdefault(candidate.made, candidate)
    return [replace(candidate, negated=sign) for candidate in distinct.values() for sign in (False, True)]


def scopes(row: Mistake, layers: int) -> Iterator[tuple[int, ...]]:
    """Where a mistake can be made: in one layer, in all hidden ones, in all; a factor at the loss."""
    if row.where in ("loss", "factor") and row is not NEGATIVE:
        yield (layers,)
    first = 1 if row.where == "above" else 0
    if row.where != "loss" and (row.where != "factor" or layers > 1):
        yield from ((k,) for k in range(first, layers))
    if row.where in ("layer", "above"):
        everywhere = tuple(range(first, layers))
        yield from (levels for levels in (everywhere[:-1], everywhere) if len(levels) > 1)
