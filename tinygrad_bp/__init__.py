"""A scalar autograd engine to study backpropagation with.

Start reading in `engine.py`; `ops.py` is the table of operations, `nn.py` puts networks on top.
"""

from tinygrad_bp import ops
from tinygrad_bp.engine import Value
from tinygrad_bp.ops import OPS

__version__ = "0.1.0"
