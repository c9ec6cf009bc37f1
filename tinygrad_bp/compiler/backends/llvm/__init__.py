"""Loop nests as LLVM's intermediate representation, written as text: nothing here imports anything to do it.

`text.py` writes instructions and loops, `functions.py` the operations on vectors, `blocks.py` a loop nest,
`module.py` the whole: packing, tiles, training.  `native.py`, one floor up, makes machine code of it.
"""
