"""Loop nests as array source, the matrix backprop one writes by hand: what emit_matrix.py is made of.

`spelling.py` has the primitives in the array API, `statements.py` reads nests as formulas, `layout.py` knows
which variable lies where, `leaves.py` makes matrices of the parameters, by their labels.
"""
