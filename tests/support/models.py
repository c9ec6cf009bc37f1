"""Models with each module of `nn` in them: for tests of what a model computes, prints and is in PyTorch."""

import random

import tinygrad_bp as tg
from tinygrad_bp import nn


def shuffled(module, seed=3):
    """The module with parameters that are neither 0 nor 1."""
    rng = random.Random(seed)
    for p in module.parameters():
        p.data = rng.gauss(0.0, 1.0)
    return module


def everything():
    """Each module for sequences: from 5 tokens to vectors of 3."""
    rng = random.Random(4)
    return nn.Sequential(
        nn.Embedding(5, 4, rng=rng), nn.Positions(8, 4, rng=rng), nn.Each(shuffled(nn.RMSNorm(4))),
        nn.Residual(nn.Sequential(nn.Attention(4, 2, bias=True, rng=rng), nn.Dropout(0.25))),
        nn.Residual(nn.Each(nn.MLP(4, [6, 4], act=tg.leaky_relu.at(0.2), rng=rng))),
        nn.Attention(4, 1, causal=False, rng=rng), nn.Each(shuffled(nn.LayerNorm(4))),
        nn.Each(nn.RMSNorm(4, gain=False)), nn.Each(nn.Layer(4, 3, act="gelu", rng=rng)),
    )  # fmt: skip


def convolutional():
    """Each module for images: from 2 channels of 4 × 4 to 2 numbers."""
    rng = random.Random(2)
    return nn.Sequential(
        nn.Conv(2, 3, 2, act="tanh", padding=1, rng=rng), nn.MaxPool(2), nn.Conv(3, 2, 2, act=None, rng=rng),
        nn.AveragePool(1), nn.Flatten(), nn.Layer(2, 2, act=None, rng=rng),
    )  # fmt: skip
