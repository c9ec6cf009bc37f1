"""Is this gradient right?  The audit of a backprop that was written by hand (`auditing.py`)."""
