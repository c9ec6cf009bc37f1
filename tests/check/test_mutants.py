"""The check is checked: no partial of the table can be wrong without being noticed.

Each partial in turn is multiplied by 1 + 1e-6 or has its sign turned, and each pair of partials is swapped:
in the rule for floats, and in the rule for graphs.  A recorded node with that rule must be reported.  A
mutant that changes nothing, as a swap in a symmetric rule, is found by its numbers; all others are caught.
"""

import random

import pytest

from tinygrad_bp import Value
from tinygrad_bp.check.gradcheck.partials import check_nodes
from tinygrad_bp.check.strategies import allows
from tinygrad_bp.ops import OPS, TABLE

SLOPED = sorted(name for name in TABLE if OPS[name].partials)
CONSTANTS = {1: (1.7,), 2: (0.5, 1.5)}  # of rows that need some, by their number
MANY = 4  # operands of a row that takes any number of them
POINTS = 8


def instance(name):
    row = OPS[name]
    if None in row.constants.values():
        return row.at(*(CONSTANTS[len(row.constants)] if name != "powc_x" else (1.7, 1.0)))
    return row.at()


def points(op):
    """Operands of moderate size, inside the domain and off kinks."""
    rng, found = random.Random(op.name), []
    while len(found) < POINTS:
        xs = [rng.uniform(*span(op, i)) for i in range(op.operands or MANY)]
        if op.name == "take":
            xs[0] = float(rng.randrange(MANY - 1))  # an index
        if allows(op, xs):
            found.append(xs)
    return found


def span(op, i):
    low, high = op.domain[i] if op.domain else (-3.0, 3.0)
    return max(low, -3.0), min(high, 3.0)


def mutants(count):
    """(what is done, a function from partials to partials)."""
    for i in range(count):
        for factor in (1.0 + 1e-6, -1.0):
            yield (
                f"{i} times {factor}",
                lambda ds, i=i, f=factor: [d * f if j == i else d for j, d in enumerate(ds)],
            )
    for i in range(count):
        for k in range(i):
            yield (
                f"{i} and {k} swapped",
                lambda ds, i=i, k=k: [ds[{i: k, k: i}.get(j, j)] for j in range(len(ds))],
            )


def changed(ds, others):
    return any(abs(d - other) > 0.9e-6 * max(abs(d), abs(other)) for d, other in zip(ds, others))


def findings(op, xs):
    return check_nodes([op(*map(Value, xs))], 100, random.Random(0)).wrong


@pytest.mark.parametrize("reader", ["slopes", "partials"])
@pytest.mark.parametrize("name", SLOPED)
def test_every_mutant_is_caught_or_changes_nothing(name, reader, monkeypatch):
    op = instance(name)
    rule, asked = getattr(op, reader), points(op)
    assert not [xs for xs in asked if findings(op, xs)]
    survivors, equivalent, count = [], 0, 0
    for what, mutate in mutants(op.operands or MANY):
        telling = [xs for xs in asked if changed(ds := [*rule(op.value(*xs), *xs)], mutate(ds))]
        monkeypatch.setattr(op, reader, lambda o, *xs, mutate=mutate: mutate([*rule(o, *xs)]))
        caught = [xs for xs in telling if findings(op, xs)]
        count, equivalent = count + 1, equivalent + (not telling)
        if telling and len(caught) < 0.7 * len(
            telling
        ):  # some partials are too small beside the value to tell
            survivors.append(f"{what}: caught at {len(caught)} of {len(telling)} points")
    assert not survivors
    assert equivalent < count


def test_some_mutants_are_equivalent():
    """The swapped partials of a sum, and the one of the condition, which is 0."""
    assert all(
        not changed([1.0, 1.0], mutate([1.0, 1.0])) for what, mutate in mutants(2) if "swapped" in what
    )
    assert [changed([0.0, 1.0], mutate([0.0, 1.0])) for _, mutate in mutants(2)] == [
        False,
        False,
        True,
        True,
        True,
    ]
