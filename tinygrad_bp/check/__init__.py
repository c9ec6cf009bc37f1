"""Is this gradient right?  `differences.py` asks difference quotients, of each operation and of the whole.

`strategies.py` draws inputs, expressions and networks for hypothesis; it is imported when it is asked for,
and here if hypothesis was imported before this package, so that `st.from_type(Value)` knows what to draw.
"""

import sys

if sys.modules.get(
    "hypothesis"
):  # else hypothesis calls tinygrad_bp_hypothesis.py when it is imported itself
    from tinygrad_bp.check import strategies as strategies
