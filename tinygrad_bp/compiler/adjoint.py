"""Adjoint: from the graph of one number to the graphs of its derivatives, by rows of weights.

The derivative by each weight of a neuron is the neuron's adjoint times the weight's input. A network has as
many of these as weights, so the weights of a neuron are one row here, and in the passes after this one:

    dot([w0, w1, w2], [x0, x1, x2], b), of the adjoint g        a neuron
    (w0 w1 w2, x0 x1 x2, g), and g                              by its weights, and by b
"""

from collections.abc import Iterator, Sequence
from operator import is_

from tinygrad_bp.engine import Value
from tinygrad_bp.graph_sweep import WeightRow, sweep_graph
from tinygrad_bp.modes import entered


def derivatives(output: Value, by: Sequence[Value]) -> list[Value | WeightRow]:
    """The derivatives of `output` in the order of `by`; a row stands for as many as it has weights."""
    rows: list[WeightRow] = []
    with entered(record=True):
        adjoint = sweep_graph({output: Value(1.0)}, rows)
        place = {x: i for i, x in enumerate(by)}
        whole = {}
        for row in rows:
            first, n = place.get(row.weights[0], 0), len(row.weights)
            if first + n <= len(by) and all(map(is_, by[first : first + n], row.weights)):
                whole[first] = row
            else:  # in another order, or partly
                adjoint.update([(w, x * row.g) for w, x in zip(row.weights, row.operands) if w in place])
        return list(_in_order(by, adjoint, whole))


def _in_order(
    by: Sequence[Value], adjoint: dict[Value, Value], whole: dict[int, WeightRow]
) -> Iterator[Value | WeightRow]:
    i = 0
    while i < len(by):
        if i in whole:
            yield whole[i]
            i += len(whole[i].weights)
        else:
            yield adjoint[by[i]] if by[i] in adjoint else Value(0.0)
            i += 1
