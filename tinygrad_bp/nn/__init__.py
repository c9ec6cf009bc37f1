"""Networks: what has parameters, and what is made of neurons."""

from tinygrad_bp.nn.base import MODULES, Module, check_state
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

__all__ = [
    "MLP", "MODULES", "Activation", "Initialiser", "Layer", "Module", "Neuron", "check_state", "he", "normal",
    "uniform", "xavier", "zeros",
]  # fmt: skip
