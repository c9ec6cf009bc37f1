"""A scalar autograd engine to study backpropagation with.

`Value` holds one number; arithmetic on values builds a graph; `backward` runs through it.  Start reading in
`engine.py`; `ops.py` is the table of operations, `nn.py` puts networks on top, `train.py` trains them.
"""

import builtins
from typing import TYPE_CHECKING

from tinygrad_bp import data, losses, nn, ops, optim, schedules
from tinygrad_bp.ops import *  # type: ignore[assignment]  # the table: tg.exp(x), tg.max(x, y) ...
from tinygrad_bp.check.auditing import Audit, audit
from tinygrad_bp.check.gradcheck import gradcheck
from tinygrad_bp.compiler import compile
from tinygrad_bp.engine import Value, dot, no_grad, trap  # dot takes lists
from tinygrad_bp.errors import (
    CheckpointError,
    CompileError,
    DrawError,
    GraphError,
    MissingExtraError,
    NonFiniteError,
    StaleGraphError,
    TinygradError,
)
from tinygrad_bp.nn import MLP, Layer, Module, Neuron
from tinygrad_bp.show.draw import Drawing, draw, draw_dot, to_dot, trace
from tinygrad_bp.show.explain import explain
from tinygrad_bp.show.stepper import stepper
from tinygrad_bp.train import History, fit
from tinygrad_bp.transforms import grad, gradients, hessian, hvp, jacobian, jvp, value_and_grad, vjp

__version__ = "0.1.0"

if not TYPE_CHECKING:  # `import *` leaves Python's own sum, max and round as they are
    __all__ = [name for name in dir() if name[0] != "_" and name not in {*dir(builtins), "builtins"}]
