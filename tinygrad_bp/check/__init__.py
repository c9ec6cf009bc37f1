"""Is this gradient right?  Several answers.

- `gradcheck/`: difference quotients of the whole function and of each operation
- `audit/`: a backward pass written by hand, where its fault is, and which mistake
- `bounds.py`: intervals that hold the true value and the true gradients
- `exercises.py`: exercises for courses, which the audit marks; `processes.py` runs what is handed in
- `strategies.py`: inputs, expressions and networks for hypothesis; `hypothesis_plugin.py` makes
  `st.from_type(Value)` work wherever both packages are loaded
"""
