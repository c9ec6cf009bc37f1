"""The compiler: any scalar graph as loops, in machine code or as Python that one can read.

`compiled.py` has the public functions.  Each pass has a file, in this order: tracing, adjoint, lower, fuse,
schedule, roll.  They make a `Rolled` program, which each of the backends (python, llvm, matrix) writes in its
own language.
"""

from tinygrad_bp.compiler.compiled import CompiledFunction, CompiledSum, compile

__all__ = ["CompiledFunction", "CompiledSum", "compile"]
