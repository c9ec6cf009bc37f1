"""Data that is not numbers: every refusal says which sample it is and what to write; nothing is lost.

The same kinds go to `fit`, to `compile` as a column and as a row in one, and to `audit`.
"""

import datetime
import random
from array import array
from collections import deque

import numpy as np
import pytest

import tinygrad_bp as tg
from tinygrad_bp import compile, fit
from tinygrad_bp.losses import squared_error
from tinygrad_bp.optim import SGD
from tinygrad_bp.rows import DEEPEST, read, read_samples, whole_number


def nested(depth):
    x = [1.0]
    for _ in range(depth):
        x = [x]
    return x


class Frame:
    """As a pandas DataFrame: iterating it gives the names of its columns."""

    def to_numpy(self):
        return np.zeros((2, 2))

    def __len__(self):
        return 2

    def __iter__(self):
        return iter("ab")


ITSELF: list = []
ITSELF.append(ITSELF)

ROWS = {  # a row of two numbers, or what looks like one
    "complex": (np.array([1.0, 2.0j]), r"holds complex numbers: write x.real, x.imag or abs\(x\)"),
    "complex of Python": ([1.0, 2j], r"\[1\]: .* is complex: take x.real or abs\(x\)"),
    "complex scalar": ([1.0, np.complex128(2j)], r"\[1\] holds complex numbers: write x.real"),
    "dict": ({1.0: 2.0, 3.0: 4.0}, r"is a dict, which would give its keys: write list\(x.values\(\)\)"),
    "masked": (
        np.ma.masked_array([1.0, 2.0], [0, 1]),
        r"is a masked array, .*: write x.filled\(value\)",
    ),
    "bytes": (b"ab", r"is bytes, not numbers: write list\(x\)"),
    "bytearray": (bytearray(b"ab"), r"is bytearray, not numbers: write list\(x\)"),
    "set": ({1.0, 2.0}, r"is a set, which has no order: write sorted\(x\)"),
    "frozenset": (frozenset({1.0, 2.0}), r"is a frozenset, which has no order: write sorted\(x\)"),
    "keys": ({1.0: 2.0, 3.0: 4.0}.keys(), r"is a dict_keys, which has no order: write sorted\(x\)"),
    "generator": ((x for x in [1.0, 2.0]), r"is a generator, which can be read only once: write list\(x\)"),
    "dates": (
        np.array(["2020-01-01", "2020-01-02"], "M8[D]"),
        r"holds dates: write \(x - start\) / np",
    ),
    "durations": (np.array([1, 2], "m8[s]"), r"holds lengths of time: write x / np.timedelta64"),
    "date": ([datetime.date(2020, 1, 1), 1.0], r"\[0\]: .*datetime.date"),
    "texts": (np.array(["1", "2"]), r"holds texts: write x.astype\(float\)"),
    "records": (np.zeros(2, [("a", float)]), "holds records: write one column of numbers for each field"),
    "frame": (Frame(), r"is a Frame, which would give the names of its columns: write x.to_numpy\(\)"),
    "deep": (nested(100_000), f"lists are nested deeper than {DEEPEST}: give numbers, or rows of numbers"),
    "in itself": (ITSELF, f"lists are nested deeper than {DEEPEST}"),
    "text": ("12", r"'12' of type str: convert it, float\(x\)"),
    "nothing": (None, "None of type NoneType"),
    "objects": (np.array([1.0, None], object), r"\[1\]: .*None of type NoneType"),
    "a Value": ([1.0, tg.Value(2.0)], r"\[1\]: .*v.data"),
}
GOOD = {
    "tuple": (1.0, 2.0),
    "deque": deque([1.0, 2.0]),
    "array": array("d", [1.0, 2.0]),
    "floats of 32 bits": np.array([1.0, 2.0], np.float32),
    "whole numbers": np.array([1, 2]),
    "memoryview": memoryview(array("d", [1.0, 2.0])),
    "range": range(1, 3),
    "scalars": [np.float64(1.0), np.int8(2)],
    "arrays of no dimension": [np.array(1.0), np.array(2)],
    "nothing masked": np.ma.masked_array([1.0, 2.0]),
    "objects": np.array([1, 2.0], object),
    "bools": [True, 2],
}


def net():
    return tg.MLP(2, [1], rng=random.Random(0))


def raises(pattern, kinds=(TypeError, ValueError)):
    return pytest.raises(kinds, match=f"(?s){pattern}")


@pytest.mark.parametrize("case", ROWS)
def test_a_row_that_is_not_one(case):
    row, message = ROWS[case]
    model = net()
    with raises(rf"^fit: xs\[1\].*{message}"):
        fit(model, ([[0.0, 1.0], row], [0.0, 1.0]), squared_error, SGD(model.parameters()), 1)
    assert model.state_dict() == net().state_dict()
    if case == "generator":
        row = (x for x in [1.0, 2.0])
    with raises(rf"^audit: xs\[1\].*{message}"):
        tg.audit(model, ([[0.0, 1.0], row], [0.0, 1.0]), squared_error, [1.0] * 3)


@pytest.mark.parametrize("case", ROWS)
@pytest.mark.parametrize("at", [0, 1])
def test_a_row_of_a_column_that_is_not_one(case, at):
    row, message = ROWS[case]
    if case == "generator":
        row = (x for x in [1.0, 2.0])
    model = net()
    step = compile(lambda x: model(x), model.parameters())
    column = [row, [0.0, 1.0]] if at == 0 else [[0.0, 1.0], row]
    with raises("argument 0|takes|returned"):
        step.value(column)
    with raises(f"argument 0.*entry 1.*{message}|entry 1 has a number, and entry 0 has 2 numbers"):
        step.value([[0.0, 1.0], row])


@pytest.mark.parametrize("case", ROWS)
def test_a_column_that_is_not_one(case):
    column, _ = ROWS[case]
    if case == "generator":
        column = (x for x in [1.0, 2.0])
    step = compile(lambda x: x * 2.0)
    with raises("argument 0"):
        step.map(column)
    model = net()
    if case not in ("in itself", "deep"):
        with raises("^fit: "):
            fit(model, (column, [0.0, 1.0]), squared_error, SGD(model.parameters()), 1)


@pytest.mark.parametrize("case", ROWS)
def test_targets_that_are_not_numbers(case):
    row, message = ROWS[case]
    if case == "generator":
        row = (x for x in [1.0, 2.0])
    model = tg.MLP(2, [2], rng=random.Random(0))
    with raises(rf"^fit: ys\[1\].*{message}"):
        fit(model, ([[0.0, 1.0]] * 2, [[0.0, 1.0], row]), squared_error, SGD(model.parameters()), 1)


@pytest.mark.parametrize("case", GOOD)
@pytest.mark.parametrize("engine", ["eager", "compiled"])
def test_rows_of_other_kinds_are_read(case, engine):
    row = GOOD[case]
    assert read(row, "x") == [1.0, 2.0]
    model, same = net(), net()
    fit(model, ([row] * 2, [1.0, 2.0]), squared_error, SGD(model.parameters()), 2, engine=engine)
    fit(same, ([[1.0, 2.0]] * 2, [1.0, 2.0]), squared_error, SGD(same.parameters()), 2, engine=engine)
    assert model.state_dict() == same.state_dict()
    step = compile(lambda x: same(x), same.parameters())
    assert step.value_and_grad([row] * 3) == step.value_and_grad([[1.0, 2.0]] * 3)
    assert compile(lambda x: x * 2.0).map(row) == [2.0, 4.0]


@pytest.mark.filterwarnings("ignore:the matrix subclass")
def test_arrays_of_two_dimensions_and_matrices():
    step = compile(lambda x: x[0] + 2.0 * x[1])
    rows = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
    for kind in (np.array, np.matrix, np.ma.masked_array):
        for dtype in (float, np.float32, int):
            xs = kind(rows, dtype=dtype)
            assert step.map(xs) == [5.0, 11.0, 17.0]
            assert read_samples((xs, [1, 2, 3]), "fit") == list(zip(rows, [1, 2, 3]))
    for wrong in (np.array(rows) * 1j, np.ma.masked_array(rows, [[0, 0], [1, 0], [0, 0]])):
        with raises("argument 0 (holds complex|is a masked)"):
            step.map(wrong)
        with raises("fit: xs (holds complex|is a masked)"):
            read_samples((wrong, [1, 2, 3]), "fit")


def test_a_column_that_is_a_number_in_an_array():
    with raises(r"fit: xs is a list with one entry a sample, not array\(1"):
        read_samples((np.array(1.0), [1.0]), "fit")
    with raises("argument 0 cannot be read"):
        compile(lambda x: x).map(np.array(1.0))


def test_classes_stay_whole():
    samples = read_samples(([[1.0]] * 4, [1, np.int64(2), True, 3.0]), "fit")
    assert [type(y) for _, y in samples] == [int, int, float, float]
    samples = read_samples((np.ones((2, 1)), np.array([0, 1])), "fit")
    assert [type(y) for _, y in samples] == [int, int]


def test_a_result_that_is_nested_too_deep():
    with raises("the result: lists are nested deeper"):
        compile(lambda x: nested(1000))(1.0)


COUNTS = [np.int64(2), np.uint8(2), 2]
NO_COUNTS = [True, False, np.bool_(True), 2.0, "2", None, np.float64(2.0), [2], -1]


def test_counts():
    model = net()
    data, sgd = ([[0.0, 1.0]] * 4, [0.0] * 4), SGD(model.parameters())
    for n in COUNTS:
        assert len(fit(model, data, squared_error, sgd, n, batch_size=n, engine="eager").losses) == 2
        assert len(compile(lambda x: model(x), model.parameters()).train([[1.0, 2.0]], lr=0.0, steps=n)) == 2
    for n in NO_COUNTS:
        with raises(r"^fit: steps is a whole number from 0 up, not ", ValueError):
            fit(model, data, squared_error, sgd, n)
        with raises(r"^train: steps is a whole number from 0 up, not ", ValueError):
            compile(lambda x: model(x), model.parameters()).train([[1.0, 2.0]], lr=0.0, steps=n)
        with raises(r"^fit: threads is a whole number from 1 up", ValueError):
            fit(model, data, squared_error, sgd, 1, threads=n)
        with raises(r"^compile: threads is a whole number from 1 up", ValueError):
            compile(lambda x: x, threads=n)
        if n is not None:
            with raises(r"^fit: batch_size is a whole number from 1 up, or None", ValueError):
                fit(model, data, squared_error, sgd, 1, batch_size=n)
    assert whole_number(np.int64(3), 0, "n") == 3
    assert type(whole_number(np.int64(3), 0, "n")) is int


def test_epochs_are_said_in_steps():
    model = net()
    data, sgd = ([[0.0, 1.0]] * 10, [0.0] * 10), SGD(model.parameters())
    for size, steps in ((None, 1), (3, 4), (5, 2), (100, 1)):
        with raises(rf"one epoch is {steps} steps here, so write steps={steps} \* 7", TypeError):
            fit(model, data, squared_error, sgd, batch_size=size, epochs=7)
    with raises("steps is a whole number from 0 up, not None", ValueError):
        fit(model, data, squared_error, sgd)
