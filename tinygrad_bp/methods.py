"""The methods and operators that Value has from the table of operations: `v.tanh()`, `v + w`, `abs(v)`.

`operators.py` fills this class from the rows of `ops.py`.  Editors and type checkers, which run no loops,
read the same from `methods.pyi`, which `python tests/write_generated.py` writes and a test keeps current.
"""


class TableMethods:
    """Filled from the table: one method a row, and the Python operator that the row stands behind."""

    __slots__ = ()
