"""The matrix backend: loop nests as array source, the matrix backprop one writes by hand.

`emit_matrix.py` makes the program, of formulas.py (a nest as one formula), lines.py (a formula as a line),
variables.py (what lies where, parameters as matrices) and expressions.py (operations of the array API).
"""
