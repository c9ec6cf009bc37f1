"""Where inf or nan came from, in words: the oldest node that has it, and the path from there to the loss.

`fit` asks this when a loss or a gradient is not finite; inside `trap()` the engine stops at the operation
itself.
"""

from collections.abc import Iterable
from math import isfinite

from tinygrad_bp.engine import Value, edges, newest_first, sweep
from tinygrad_bp.errors import describe, describe_result, overflows, printable

LONGEST_PATH = 12  # steps that are printed


def non_finite(root: Value) -> str:
    """What first became inf or nan under root, its value or its gradient; '' if nothing did.

    >>> p = Value(0.0, label="p"); print(non_finite(-p.log()))
    log of 0.0 (label 'p') is -inf: keep its operand above 0, ...
      path to the loss: log -> neg
    """
    order = newest_first([root], may_be_stale=True)
    leaves = {x: None for v in reversed(order) for x in v.inputs if x.op is None} or {root: None}
    for leaf in leaves:
        if not isfinite(leaf.data):
            return f"the leaf {describe(leaf)} is not finite\n  path to the loss: {_path(leaf, root, order)}"
    for v in reversed(order):
        if not isfinite(v.data):
            what = describe_result(v.op, v.inputs, v.data)
            return f"{what}\n  path to the loss: {_path(v, root, order)}"
    for v, text in overflows(sweep({root: 1.0}), edges, {root}):
        return f"{text}\n  path to the loss: {_path(v, root, order)}"
    return ""


def _path(v: Value, root: Value, order: Iterable[Value]) -> str:
    """From v to the root over one consumer each, one that is not finite itself where there is one."""
    consumer: dict[Value, Value] = {}
    for c in order:
        for x in c.inputs:
            if x not in consumer or not isfinite(c.data):
                consumer[x] = c
    steps = [v]
    while steps[-1] is not root:
        steps.append(consumer[steps[-1]])
    names = [printable(step.label) or (step.op.name if step.op else repr(step.data)) for step in steps]
    if len(names) > LONGEST_PATH:
        half = LONGEST_PATH // 2
        names[half:-half] = [f"... {len(names) - 2 * half} more ..."]
    return " -> ".join(names)
