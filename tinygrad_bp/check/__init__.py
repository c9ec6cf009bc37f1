"""Is this gradient right?  Three answers.

- `gradcheck/`: difference quotients of the whole function and of each operation
- audit, a backprop written by hand, and which mistake is in it: `auditing.py`, and behind it `reading.py`,
  `backprop.py`, `mistakes.py`, `search.py`, `factors.py`, `report.py`
- `strategies.py`: inputs, expressions and networks for hypothesis; it is imported when it is asked for, and
  here if hypothesis was imported before this package, so that `st.from_type(Value)` knows what to draw
"""

import sys

if sys.modules.get(
    "hypothesis"
):  # else hypothesis calls tinygrad_bp_hypothesis.py when it is imported itself
    from tinygrad_bp.check import strategies as strategies
