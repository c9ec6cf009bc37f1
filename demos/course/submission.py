"""What a student handed in for mlp-softmax: nearly right, but the first ReLU has no mask on the way back."""

from math import exp


def product(a, b):
    return [[sum(x * y for x, y in zip(row, column)) for column in zip(*b)] for row in a]


def transposed(a):
    return [list(column) for column in zip(*a)]


def layer(x, w, b):
    return [[z + c for z, c in zip(row, b)] for row in product(x, transposed(w))]


def backward(x, y, w1, b1, w2, b2, w3, b3):
    z1 = layer(x, w1, b1)
    a1 = [[max(0.0, z) for z in row] for row in z1]
    z2 = layer(a1, w2, b2)
    a2 = [[max(0.0, z) for z in row] for row in z2]
    z3 = layer(a2, w3, b3)
    es = [[exp(z) for z in row] for row in z3]
    d3 = [[(e / sum(row) - t) / len(x) for e, t in zip(row, ts)] for row, ts in zip(es, y)]
    d2 = [[e * (z > 0) for e, z in zip(row, zs)] for row, zs in zip(product(d3, w3), z2)]
    d1 = product(d2, w2)  # here the mask is missing
    return {
        "w1": product(transposed(d1), x), "b1": [sum(column) for column in zip(*d1)],
        "w2": product(transposed(d2), a1), "b2": [sum(column) for column in zip(*d2)],
        "w3": product(transposed(d3), a2), "b3": [sum(column) for column in zip(*d3)],
    }  # fmt: skip
