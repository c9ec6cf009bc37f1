"""Networks: modules of neurons, for sequences and for images, and what joins them."""

from tinygrad_bp.nn.base import CALLS, MODULES, Module, ModuleCall, check_state
from tinygrad_bp.nn.image import AveragePool, Conv, Flatten, MaxPool
from tinygrad_bp.nn.parts import Dropout, Each, Residual, Sequential, Sum, draw, drawing_from
from tinygrad_bp.nn.perceptron import (
    MLP,
    Activation,
    Initialiser,
    Layer,
    Neuron,
    he,
    normal,
    uniform,
    xavier,
    zeros,
)
from tinygrad_bp.nn.sequence import Attention, Embedding, LayerNorm, Positions, RMSNorm

__all__ = [
    "CALLS", "MLP", "MODULES", "Activation", "Attention", "AveragePool", "Conv", "Dropout", "Each",
    "Embedding", "Flatten", "Initialiser", "Layer", "LayerNorm", "MaxPool", "Module", "ModuleCall", "Neuron",
    "Positions", "RMSNorm", "Residual", "Sequential", "Sum", "check_state", "draw", "drawing_from", "he",
    "normal", "uniform", "xavier", "zeros",
]  # fmt: skip
