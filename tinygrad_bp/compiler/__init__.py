"""The compiler: any scalar graph as loops, in machine code or as Python that one can read.

Start with `compiled.py`, the public face; then one file a pass: tracing, lower, fuse, schedule, roll, and the
emitters emit_python (with emit_loops and spelling), emit_matrix (with matrix/) and llvm/.  `native.py` makes
machine code, `frame.py` calls it.
"""

from tinygrad_bp.compiler.compiled import CompiledFunction, CompiledSum, compile

__all__ = ["CompiledFunction", "CompiledSum", "compile"]
