"""What happened in my graph?  Drawing, explaining and stepping through it, and plots of training.

nodes.py reads a graph into inert records (records.py) that drawing.py, explaining.py and stepping.py share;
layout.py places them.  plotting.py alone needs a package, and is imported only when it is asked for.
"""
