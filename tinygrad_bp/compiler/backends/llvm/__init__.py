"""Loop nests as LLVM's intermediate representation, written as text; `native.py` makes machine code of it.

`frame.py` is the backend's module.  `text.py` writes instructions and loops, `functions.py` and
`exponentials.py` the operations on vectors.  A nest is written by `blocks.py`, with samples in the lanes, or
by `few.py`, with lanes along its own loops, where samples are few; there `passes.py` reads a layer's weights
once for its way back and its update.  `updates.py` writes an optimizer's rule,
`module.py` the whole for a tile of samples, and `calls.py` what Python calls: evaluations and steps.
"""
