"""The layers as functions: of numbers and of Values; their quick derivatives are those of the graph."""

import random

import pytest

import tinygrad_bp as tg
from tinygrad_bp import Value, layers
from tinygrad_bp.check.audit.layers import QUICK, each, flat, record, shape_of, transposed


def drawn(rng, *shape):
    return [drawn(rng, *shape[1:]) for _ in range(shape[0])] if shape else rng.gauss(0.0, 1.0)


CALLS = {
    "affine": lambda x, w, b: layers.affine(x, w, b),
    "relu": lambda x, w, b: layers.relu(x),
    "tanh": lambda x, w, b: layers.tanh(x),
    "sigmoid": lambda x, w, b: layers.sigmoid(x),
    "activation": lambda x, w, b: layers.activation(x, act=lambda v: v * v.tanh()),
}


@pytest.mark.parametrize("inputs", [True, False], ids=["of the inputs", "of weights alone"])
@pytest.mark.parametrize("name", CALLS)
def test_quick_derivatives_are_those_of_the_graph(name, inputs):
    assert set(CALLS) == set(QUICK)
    rng = random.Random(name)
    x, w, b = drawn(rng, 5, 4), drawn(rng, 3, 4), drawn(rng, 3)
    x = each(Value, x) if inputs or name != "affine" else x
    with record() as tape:
        out = CALLS[name](x, each(Value, w), each(Value, b))
    (stage,) = tape.stages
    upstream = drawn(rng, *shape_of(out))
    quick, graph = stage.pull(upstream), stage.pull(upstream, stage.f)
    assert quick.keys() == graph.keys() == stage.places.keys()
    for argument in quick:
        assert flat(quick[argument]) == pytest.approx(flat(graph[argument]), rel=1e-12, abs=1e-15)
    assert stage.out == each(lambda v: v.data, stage._graph()[1])


def test_layers_take_numbers_and_values():
    x, w = [[1.0, 2.0]], [[3.0, 4.0]]
    assert layers.affine(x, w, [5.0]) == [[16.0]] and layers.relu([[-1.0, 2.0]]) == [[0.0, 2.0]]
    leaves = each(Value, w)
    loss = layers.weighted_sum(layers.affine(x, leaves), [[2.0]])
    assert tg.gradients(loss, leaves) == [[2.0, 4.0]]
    assert layers.max_pool([[[[1.0, 5.0], [2.0, 3.0]]]]) == [[[[5.0]]]]
    assert layers.average_pool([[[[1.0, 5.0], [2.0, 4.0]]]]) == [[[[3.0]]]]


def test_trees():
    assert shape_of([[1, 2, 3], [4, 5, 6]]) == (2, 3) and shape_of(1.0) == ()
    assert transposed([[1, 2], [3, 4]]) == [[1, 3], [2, 4]] and flat([[[1], [2]], [[3], [4]]]) == [1, 2, 3, 4]
    with pytest.raises(ValueError, match="ragged: rows of the shapes"):
        shape_of([[1.0], [1.0, 2.0]])
