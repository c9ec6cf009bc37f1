"""What happened in my graph?  Drawing, explaining and stepping through it, and plots of training.

graph.py reads a graph into plain records that draw.py, explain.py and stepper/ share; layout.py places them;
symbols.py writes formulas.  plotting.py alone needs a package, and is imported only when it is asked for.
"""
