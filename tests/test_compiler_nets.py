"""Compiled nets answer as the engine does: generated Python and machine code, at every number of samples.

The bound is 1e-13 of the largest sum of magnitudes among a net's gradients; tiles, blocks and vectors have
borders, and the numbers of samples here stand around each of them.
"""

import pytest
from compiler_nets import NETS, Net, columns, eager

from tinygrad_bp.compiler import compile
from tinygrad_bp.compiler.compiled import CompiledSum
from tinygrad_bp.compiler.llvm.module import Lanes


def distance(net: Net, step: CompiledSum, n: int) -> float:
    """How far loss and gradients are from the engine's, relative to the largest sum of magnitudes."""
    data = columns(net, n)
    total, sums, sizes = eager(net, data)
    loss, grads = step.value_and_grad(*data)
    assert len(grads) == len(net.params)
    scale = max(*sizes, 1e-3)
    return max(abs(loss - total) / max(abs(total), 1e-3), *(abs(a - b) / scale for a, b in zip(grads, sums)))


def without_native_code(step: CompiledSum, net: Net) -> None:
    """Make it run generated Python."""
    compile(net.loss, net.params)
    structures = tuple((None,) * w if w else None for w in net.widths)
    step._kernel("grads", structures).reason = "a test asks for Python"


@pytest.mark.parametrize("small", [4000, 0])
@pytest.mark.parametrize("name", NETS)
def test_generated_python(name: str, small: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written out, and as loops."""
    monkeypatch.setattr("tinygrad_bp.compiler.emit_python.SMALL", small)
    net = NETS[name]()
    step = compile(net.loss, net.params)
    without_native_code(step, net)
    for n in (1, 9):
        assert distance(net, step, n) < 1e-13
    assert "def run(S, samples):" in step.source()


@pytest.mark.parametrize("name", NETS)
def test_machine_code(name: str) -> None:
    pytest.importorskip("llvmlite")
    net = NETS[name]()
    step = compile(net.loss, net.params)
    for n in (1, 5, 25, 2) if name != "long sum" else (5,):
        assert distance(net, step, n) < 1e-13, n
    assert "machine code" in step.report()


def test_blocks_of_samples_in_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums over few samples, over a block of them, and over several blocks."""
    monkeypatch.setattr("tinygrad_bp.compiler.emit_python.SMALL", 0)
    net = NETS["dense 5-17-13-7-2"]()
    step = compile(net.loss, net.params)
    without_native_code(step, net)
    for n in (7, 8, 63, 64, 65, 130):
        assert distance(net, step, n) < 1e-13
    assert "many0(S, C, G, n, K)" in step.source()


BORDERS = sorted({k * b + d for b in (1, 2, 4, 8, 24, 48) for k in (1, 2, 3) for d in (-1, 0, 1)} - {0, -1})


@pytest.mark.parametrize("width", [1, 2, 4, 8])
def test_every_number_of_samples(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles of 48 samples (or of one block), from one sample to three tiles and one more."""
    pytest.importorskip("llvmlite")
    vectors = 1 if width == 1 else 3
    lanes = Lanes(width, vectors, width * vectors * 2)
    monkeypatch.setattr(Lanes, "chosen", staticmethod(lambda rolled, wide, samples: lanes))
    for name in ("dense 3-7-11-1", "choices"):
        net = NETS[name]()
        step = compile(net.loss, net.params)
        for n in BORDERS:
            assert distance(net, step, n) < 1e-13, (name, n)


@pytest.mark.parametrize("size", [1, 2, 4, 5, 6, 9, 10, 11, 16])
def test_every_size_of_layer(size: int) -> None:
    """Around the borders of the register blocks."""
    pytest.importorskip("llvmlite")
    from compiler_nets import dense

    net = dense(size, size, size, 2)
    assert distance(net, compile(net.loss, net.params), 26) < 1e-13
