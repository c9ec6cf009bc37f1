"""The backends: a rolled program as Python, as machine code, or as matrices for any array library.

Each has a function `emit_...` that takes the program and returns text, and reads every statement with `fold`,
by the records of primitives in spelling.py: a backend is a `Speller` and a way to write loops.
"""
