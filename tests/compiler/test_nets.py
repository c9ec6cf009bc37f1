"""Compiled nets answer as the engine does around the borders of blocks, vectors and tiles.

The bound is 1e-13 of the largest sum of magnitudes among a net's gradients; tiles, blocks and vectors have
borders, and the numbers of samples here stand around each of them.
"""

from concurrent.futures import ThreadPoolExecutor

import pytest
from support.nets import NETS, Net, columns, dense, distance

import tinygrad_bp as tg
from tinygrad_bp import Value
from tinygrad_bp.compiler import compile
from tinygrad_bp.compiler.backends.llvm.blocks import Lanes
from tinygrad_bp.compiler.compiled import CompiledSum


def without_native_code(step: CompiledSum, net: Net) -> None:
    """Make it run generated Python."""
    compile(net.loss, net.params)
    structures = tuple((None,) * w if w else None for w in net.widths)
    step._kernel("grads", structures).reason = "a test asks for Python"


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("factor", [0.5, -1.0, 0.001, 3.0])
def test_a_constant_times_a_row_summed_over_samples(
    factor: float, native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gradient of factor * dot(w, x) by w is factor times the sum of x, from 1 sample to 130."""
    monkeypatch.setattr("tinygrad_bp.compiler.backends.python.SMALL", 0)
    ws = [Value(1.0 + i) for i in range(100)]
    net = Net(lambda x: factor * tg.dot(ws, x), ws, (100,))
    step = compile(net.loss, net.params)
    if native:
        pytest.importorskip("llvmlite")
    else:
        without_native_code(step, net)
    for n in (1, 7, 8, 9, 64, 65, 130):
        assert distance(net, step, n) < 1e-13, n


BORDERS = sorted({k * b + d for b in (1, 2, 4, 8, 24, 48) for k in (1, 2, 3) for d in (-1, 0, 1)} - {0, -1})


@pytest.mark.parametrize("width", [1, 2, 4, 8])
def test_every_number_of_samples(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles of six vectors (or of one sample), from one sample to twelve tiles and one more."""
    pytest.importorskip("llvmlite")
    lanes = Lanes(width, 6 * width if width > 1 else 1, registers=32 if width == 8 else 16)
    monkeypatch.setattr(Lanes, "chosen", staticmethod(lambda *_: lanes))
    for name in ("dense 3-7-11-1", "choices"):
        net = NETS[name]()
        step = compile(net.loss, net.params)
        for n in BORDERS:
            assert distance(net, step, n) < 1e-13, (name, n)


@pytest.mark.parametrize("size", [1, 2, 4, 5, 6, 9, 10, 11, 16])
def test_every_size_of_layer(size: int) -> None:
    """Around the borders of the register blocks."""
    pytest.importorskip("llvmlite")
    net = dense(size, size, size, 2)
    assert distance(net, compile(net.loss, net.params), 26) < 1e-13


@pytest.mark.parametrize("width", [2, 4, 8])
@pytest.mark.parametrize("cached", [0, 1 << 17])
def test_large_layers(width: int, cached: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums with the results in the lanes, and weights too many to stay near; the borders of both."""
    pytest.importorskip("llvmlite")
    lanes = Lanes(width, 2 * width, registers=32 if width == 8 else 16)
    monkeypatch.setattr(Lanes, "chosen", staticmethod(lambda *_: lanes))
    monkeypatch.setattr("tinygrad_bp.compiler.backends.llvm.blocks.CACHED", cached)
    net = dense(2 * width + 3, 19, 37, 3)
    step = compile(net.loss, net.params)
    for n in (1, width, 2 * width - 1, 2 * width, 5 * width + 1):
        assert distance(net, step, n) < 1e-13, n
    assert f"[{2 * width * width} x double]" in step.source("llvm")  # where one side is transposed


def test_a_function_of_several_large_layers_has_one_panel() -> None:
    """Its frame is on the stack of whatever thread calls it."""
    pytest.importorskip("llvmlite")
    net = dense(40, 40, 40, 40, 40)
    step = compile(net.loss, net.params, example=([0.0] * 40, [0.0] * 40))
    parts = step.source("llvm").split("define ")
    panels = [part.count(" x double], align 64") for part in parts]
    assert max(panels) == 1


def test_the_bits_do_not_depend_on_the_threads() -> None:
    pytest.importorskip("llvmlite")
    net = dense(3, 16, 16, 1, act="tanh")
    numbers = [p.data for p in net.params]
    for n in (2, 4, 7, 200, 1000, 5000):
        data = columns(net, n)
        found = []
        for threads in (1, 2, 3, 16):
            for p, x in zip(net.params, numbers):
                p.data = x
            step = compile(net.loss, net.params, threads=threads)
            loss, grads = step.value_and_grad(*data)
            losses = step.train(*data, lr=1e-4, steps=5, momentum=0.5)
            found.append(([loss, *grads, *losses], [p.data for p in net.params]))
        assert all(result == found[0] for result in found), n


def test_many_threads_call_one_compiled_function() -> None:
    net = dense(3, 8, 1)
    step, data = compile(net.loss, net.params), columns(net, 300)
    expected = step.value_and_grad(*data)
    with ThreadPoolExecutor(8) as pool:
        assert all(found == expected for found in pool.map(lambda _: step.value_and_grad(*data), range(40)))
