"""Machine code for few samples, with lanes along the loops of nests: right, and the same bits everywhere."""

import random
from collections import OrderedDict
from typing import Any

import pytest
from support.nets import NETS, Net, columns, dense, distance

import tinygrad_bp as tg
from tinygrad_bp import Value
from tinygrad_bp.compiler import compile, kernel
from tinygrad_bp.compiler.backends.llvm import blocks, frame, module, native
from tinygrad_bp.compiler.backends.llvm.blocks import Lanes
from tinygrad_bp.compiler.rule import Update, descents
from tinygrad_bp.errors import NonFiniteError

pytest.importorskip("llvmlite")
PROCESSORS = [(8, 32), (4, 16), (2, 16), (2, 32)]  # doubles in a vector, and vector registers


@pytest.fixture(autouse=True)
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where lanes of samples, or plain numbers, are faster. No code of other tests is used."""
    monkeypatch.setattr(kernel.CODES, "kept", OrderedDict())
    monkeypatch.setattr(blocks, "_loops_pay", lambda *_: True)
    monkeypatch.setattr(blocks, "_worth_lanes", lambda _: True)


def lanes_of(step: Any) -> list[Lanes]:
    return [lanes for lanes, _ in step._last.machines]


@pytest.mark.parametrize("name", NETS)
def test_every_net(name: str) -> None:
    net = NETS[name]()
    step = compile(net.loss, net.params)
    for n in (1, 2, 3, 5, 7, 8) if name != "long sum" else (3,):
        assert distance(net, step, n) < 1e-13, n
    assert all(lanes.apart and lanes.width == 8 for lanes in lanes_of(step))


def test_one_sample_of_a_tiny_net_is_plain_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lanes are for loops of four and more, and vectors of parameters for longer updates."""
    monkeypatch.undo()
    tiny, small = dense(2, 3, 1), dense(2, 4, 1)
    steps = [compile(net.loss, net.params) for net in (tiny, small)]
    for net, step in zip((tiny, small), steps):
        for n in (1, 2):
            assert distance(net, step, n) < 1e-13
    first = lanes_of(steps[0])[0]
    assert (first.width, first.vector) == (1, 1)
    assert lanes_of(steps[1])[0].width == 8
    rolled = steps[0]._last.rolled
    width, most = native.vectors()
    assert Lanes.chosen(rolled, (width, most), 1, blocks.MOVED_ONE_BY_ONE).vector == 1
    assert Lanes.chosen(rolled, (width, most), 1, blocks.MOVED_ONE_BY_ONE + 1).vector == width


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 41])
def test_every_size_of_layer(size: int) -> None:
    """Around the borders of vectors and of the blocks that registers hold."""
    net = dense(size, size, size + 1, 2)
    step = compile(net.loss, net.params)
    for n in (1, 3):
        assert distance(net, step, n) < 1e-13, n


def test_a_sum_of_a_constant_times_an_operand() -> None:
    """It has a multiplication, and one operand."""
    ws = [Value(0.5) for _ in range(12)]
    step = compile(lambda x: 2.0 * tg.dot(ws, x), ws)
    value, grads = step.value_and_grad([[float(i) for i in range(12)]] * 2)
    assert value == 132.0
    assert list(grads) == [4.0 * i for i in range(12)]


def numbers(net: Net, n: int, processor: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> list[float]:
    monkeypatch.setattr(native, "vectors", lambda: processor)
    step = compile(net.loss, net.params)
    loss, grads = step.value_and_grad(*columns(net, n))
    return [loss, *grads]


@pytest.mark.parametrize("name", ["dense 5-17-13-7-2", "sparse", "recurrent", "weight decay"])
def test_the_bits_do_not_depend_on_the_processor(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    net = NETS[name]()
    for n in (1, 6):
        first, *others = [numbers(net, n, processor, monkeypatch) for processor in PROCESSORS]
        assert all(other == first for other in others)


def test_a_sum_along_its_terms_is_eight_sums_added_pairwise() -> None:
    """In this order 1e16 swallows some of the ones, and every other order would give another number."""
    numbers = [1e16, 1.0, 1.0, -1e16, 3.0, 1.0, 1e-3, 1.0, 1.0, 1e16, 1.0, 1.0, -1e16, 1.0, 5.0, 1.0, 0.1]
    ws = [Value(x) for x in numbers]
    parts = [0.0] * 8
    for k, x in enumerate(numbers):
        parts[k % 8] += x
    while len(parts) > 1:
        parts = [x + y for x, y in zip(parts[::2], parts[1::2])]
    step = compile(lambda xs: tg.dot(ws, xs), ws)
    assert step.value([[1.0] * len(ws)]) == parts[0]


def test_the_sign_of_zero_is_kept() -> None:
    """Lanes beyond the end of a sum add nothing, not even to -0.0."""
    for length in (4, 8, 11):
        ws = [Value(1.0) for _ in range(length)]
        f = compile(lambda xs: 1.0 / tg.dot(ws, xs, -0.0), ws)  # noqa: B023
        assert f.value([[-0.0] * length]) == float("-inf")


def test_maps_and_functions() -> None:
    """Results of each sample, from 1 to 8 of them."""
    ws = [[Value(i + j / 3) for i in range(9)] for j in range(10)]
    f = compile(lambda xs: ([tg.dot(w, xs) for w in ws], xs[0], 2.0))
    rows = [[float(i * k % 5) for i in range(9)] for k in range(8)]
    for n in range(1, 9):
        for found, row in zip(f.map(rows[:n]), rows):
            expected = [sum(w.data * x for w, x in zip(ws[j], row)) for j in range(10)]
            assert found[0] == pytest.approx(expected, rel=1e-14)
            assert found[1:] == [row[0], 2.0]


def test_training_follows_single_steps() -> None:
    net = dense(3, 20, 20, 1, act="tanh")
    start = [p.data for p in net.params]
    for n in (1, 3, 8):
        found = []
        for parts in ((12,), (5, 7)):
            for p, x in zip(net.params, start):
                p.data = x
            step = compile(net.loss, net.params)
            losses = [x for k in parts for x in step.train(*columns(net, n), lr=0.01, steps=k)]
            found.append((losses, [p.data for p in net.params]))
        assert found[0] == found[1]


def trained(net: Net, n: int, many: int, rate: float, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Losses and parameters of a few steps without momentum and with it; or what stopped them."""
    monkeypatch.setattr(module, "MANY", many)
    kernel.CODES.kept.clear()
    found: list[Any] = []
    before = [p.data for p in net.params]
    for momentum in (0.0, 0.5):
        step = compile(net.loss, net.params)
        try:
            found.append(list(step.train(*columns(net, n), lr=rate, steps=9, momentum=momentum)))
        except NonFiniteError as error:
            found.append(str(error))
        found.append([p.data for p in net.params])
        for p, x in zip(net.params, before):
            p.data = x
    return found


MOVING = ["dense 5-17-13-7-2", "binary 3-24-24-2", "residual", "softmax"]


@pytest.mark.parametrize("name", MOVING)
def test_sums_that_move_their_parameters_at_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same bits as where gradients are stored; and a step that leaves the floats is taken back."""
    net = NETS[name]()
    for n, rate in ((1, 1e-3), (3, 1e-3), (8, 1e-3), (2, 1e200)):
        at_once, stored = (trained(net, n, many, rate, monkeypatch) for many in (1, 10**9))
        assert at_once == stored, (n, rate)
    monkeypatch.setattr(module, "MANY", 1)
    step = compile(net.loss, net.params, example=tuple([0.5] * w if w else 0.5 for w in net.widths))
    lanes = Lanes.chosen(step._last.rolled, (8, 32), 3)
    text = module.emit_llvm(step._last.code, lanes, Update(descents()))
    assert "call i64 @pass0.0(" in text or "call i64 @sums0(" in text
    assert ("call i64 @pass0.1(" in text) == name.startswith(("dense", "binary")), name


@pytest.mark.parametrize("width", [8, 15, 16, 17])
def test_adam_on_batches_moves_parameters_at_once(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches by lists, the last one smaller, against the eager engine; rows with a bias and without."""
    monkeypatch.setattr(module, "MANY", 1)
    xs, ys = columns(dense(3, 1), 11)
    for bias in (True, False):
        found = []
        for engine in ("eager", "compiled"):
            kernel.CODES.kept.clear()
            model = tg.MLP(3, [width, width, 1], act="tanh", bias=bias, rng=random.Random(4))
            adam = tg.optim.Adam(model.parameters(), lr=0.01)
            tg.fit(model, (xs, ys), tg.losses.mse, adam, 12, batch_size=4, engine=engine, progress=False)
            found.append([x for p in model.parameters() for x in (p.data, p.grad)])
        assert found[0] == pytest.approx(found[1], rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("processor", PROCESSORS)
def test_nothing_is_written_beyond_the_memory(
    processor: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows and sums get more memory than they asked for, and leave it as it was."""
    asked = {name: getattr(frame, name) for name in ("rows_size", "sums_size")}
    monkeypatch.setattr(frame, "rows_size", lambda *given: asked["rows_size"](*given) + 4096)
    monkeypatch.setattr(frame, "sums_size", lambda *given: asked["sums_size"](*given) + 4096)
    monkeypatch.setattr(native, "vectors", lambda: processor)
    for name in ("dense 5-17-13-7-2", "sparse", "recurrent", "attention"):
        net = NETS[name]()
        for n in (1, 2, 6):
            kernel.CODES.kept.clear()
            step = compile(net.loss, net.params)
            step.value_and_grad(*columns(net, n))
            rolled, ((layout, pool),) = step._last.rolled, step._last.memories.items()
            sums, rows = asked["sums_size"](rolled), asked["rows_size"](rolled, layout[0]) + 8  # aligned
            assert not any(pool[0].sums[sums:]) and not any(pool[0].rows[rows:])
