"""Is this gradient right?  Three answers.

- `gradcheck/`: difference quotients of the whole function and of each operation
- audit, a backprop written by hand, and which mistake is in it: `auditing.py`, and behind it `reading.py`,
  `backprop.py`, `mistakes.py`, `search.py`, `factors.py`, `report.py`
- `strategies.py`: inputs, expressions and networks for hypothesis; `hypothesis_plugin.py` makes
  `st.from_type(Value)` work wherever both packages are loaded
"""
