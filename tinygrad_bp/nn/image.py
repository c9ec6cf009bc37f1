"""Modules for images: Conv, MaxPool, AveragePool, Flatten.

An image is a list of channels, a channel a list of rows, a row a list of numbers.  What is done at each place
of an image is done in plain loops over its places.
"""

from collections.abc import Sequence
from functools import reduce
from typing import Any

from tinygrad_bp.lists import mean
from tinygrad_bp.nn.base import Module, Torch, sequence_in_torch, whole_size
from tinygrad_bp.nn.perceptron import Activation, Neuron, act_in_torch, weights_in_torch
from tinygrad_bp.ops import max as MAX

Channel = list[list[Any]]
Image = list[Channel]


class Conv(Module):
    """The same neurons at every place of an image: each sees a square of `size` in all `channels`.

    One neuron gives one channel of the result. The square moves by `stride`; `padding` zeros are put around
    the image. What else Neuron takes, as `act` and `rng`, is passed on. Raises ValueError for an image of
    other channels, with ragged rows, or smaller than the square.

    >>> edge = Conv(1, 1, 2, act=None, weights=lambda rng, nin, nout: 0.25)
    >>> [[x.data for x in row] for row in edge([[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]])[0]]
    [[3.0, 4.0]]
    """

    def __init__(
        self, channels: int, neurons: int, size: int = 3, *, stride: int = 1, padding: int = 0,
        act: str | Activation | None = "relu", **options: Any,
    ) -> None:  # fmt: skip
        nin = whole_size(channels, "Conv: channels") * whole_size(size, "Conv: size") ** 2
        if padding != 0:
            whole_size(padding, "Conv: padding")
        self.channels, self.size, self.padding = channels, size, padding
        self.stride = whole_size(stride, "Conv: stride")
        count = whole_size(neurons, "Conv: neurons")
        self.neurons = [Neuron(nin, act=act, nout=count, **options) for _ in range(count)]
        self.label_parameters()

    def forward(self, image: Image) -> Image:
        _refuse_other("Conv", image, self.channels)
        padded = [_padded(channel, self.padding) for channel in image]
        places = [_windows("Conv", channel, self.size, self.stride) for channel in padded]
        seen = [[[x for square in at for x in square] for at in zip(*rows)] for rows in zip(*places)]
        return [[[neuron(square) for square in row] for row in seen] for neuron in self.neurons]

    def torch(self) -> Torch:
        first, square = self.neurons[0], self.size**2
        weights = weights_in_torch(self.neurons)
        weights["weight"] = [
            [_rows(w[k : k + square], self.size) for k in range(0, len(w), square)] for w in weights["weight"]
        ]
        options = f"stride={self.stride}, padding={self.padding}, bias={first.b is not None}"
        text = f"nn.Conv2d({self.channels}, {len(self.neurons)}, {self.size}, {options})"
        return sequence_in_torch([Torch(text, weights), *act_in_torch(first.act)])

    def __repr__(self) -> str:
        return f"Conv({self.channels}, {len(self.neurons)}, {self.size})"


class _Pool(Module):
    """One number for each square of a channel. `stride` is by how much the square moves, its size if None."""

    def __init__(self, size: int = 2, stride: int | None = None) -> None:
        name = type(self).__name__
        self.size = whole_size(size, f"{name}: size")
        self.stride = self.size if stride is None else whole_size(stride, f"{name}: stride")

    def forward(self, image: Image) -> Image:
        name = type(self).__name__
        _refuse_other(name, image, None)
        windows = [_windows(name, channel, self.size, self.stride) for channel in image]
        return [[[self.of(square) for square in row] for row in channel] for channel in windows]

    def of(self, square: list[Any]) -> Any:
        """The number of a square."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.size})"


class MaxPool(_Pool):
    """The largest number of each square of an image.

    >>> MaxPool(2)([[[1.0, 5.0, 2.0, 0.0], [3.0, 4.0, 1.0, 1.0]]])
    [[[5.0, 2.0]]]
    """

    def of(self, square: list[Any]) -> Any:
        return reduce(MAX, square)

    def torch(self) -> Torch:
        return Torch(f"nn.MaxPool2d({self.size}, {self.stride})")


class AveragePool(_Pool):
    """The mean of each square of an image.

    >>> AveragePool(2)([[[1.0, 5.0, 2.0, 0.0], [3.0, 3.0, 1.0, 1.0]]])
    [[[3.0, 1.0]]]
    """

    def of(self, square: list[Any]) -> Any:
        return mean(square)

    def torch(self) -> Torch:
        return Torch(f"nn.AvgPool2d({self.size}, {self.stride})")


class Flatten(Module):
    """All numbers of an image in one list, for a layer.

    >>> Flatten()([[[1.0, 2.0], [3.0, 4.0]]])
    [1.0, 2.0, 3.0, 4.0]
    """

    def __call__(self, image: Image) -> list[Any]:
        return [x for channel in image for row in channel for x in row]

    def torch(self) -> Torch:
        return Torch("nn.Flatten(-3)")

    def __repr__(self) -> str:
        return "Flatten()"


def _rows(numbers: Sequence[Any], width: int) -> list[list[Any]]:
    return [[*numbers[i : i + width]] for i in range(0, len(numbers), width)]


def _padded(channel: Channel, by: int) -> Channel:
    if not by:
        return channel
    empty = [[0.0] * (len(channel[0]) + 2 * by) for _ in range(by)]
    return [*empty, *([0.0] * by + [*row] + [0.0] * by for row in channel), *empty]


def _windows(name: str, channel: Channel, size: int, stride: int) -> list[list[list[Any]]]:
    """The squares of a channel, by rows: each as a list of its numbers, row by row."""
    high, wide = len(channel), len(channel[0])
    if min(high, wide) < size:
        raise ValueError(f"{name}: an image of {high} × {wide} is smaller than the square of {size}")
    return [
        [
            [x for row in channel[i : i + size] for x in row[j : j + size]]
            for j in range(0, wide - size + 1, stride)
        ]
        for i in range(0, high - size + 1, stride)
    ]


def _refuse_other(name: str, image: Any, channels: int | None) -> None:
    """Raise for what is no image, or has another number of channels."""
    shape: Any = image
    for what in ("the image", "a channel", "a row"):
        if not hasattr(shape, "__len__") or isinstance(shape, str) or not len(shape):
            raise TypeError(f"{name} takes a list of channels of rows of numbers; {what} is {shape!r:.60}")
        shape = shape[0]
    if channels is not None and len(image) != channels:
        raise ValueError(f"{name}: an image has {channels} channels here, not {len(image)}")
    high, wide = len(image[0]), len(image[0][0])
    for c, channel in enumerate(image):
        for i, row in enumerate(channel):
            if len(row) != wide or len(channel) != high:
                raise ValueError(
                    f"{name}: row {i} of channel {c} has {len(row)} numbers and {len(channel)} rows, "
                    f"the first {wide} and {high}; all must have as many"
                )
