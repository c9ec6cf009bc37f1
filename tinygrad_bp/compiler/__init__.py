"""The compiler: any scalar graph as loops, in machine code or as Python that one can read.

`compiled.py` is the public face.  Then one file for each pass: tracing, lower, fuse, schedule, roll; what
they make is a `Rolled` program, and each of the backends (python, llvm, matrix) writes it in its own way.
"""

from tinygrad_bp.compiler.compiled import CompiledFunction, CompiledSum, compile

__all__ = ["CompiledFunction", "CompiledSum", "compile"]
