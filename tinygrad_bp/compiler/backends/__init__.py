"""The spellings of a program: Python to run and read, machine code, and matrices to leave by."""
