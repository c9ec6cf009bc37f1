"""The laboratory: a page in which one types a formula or Python, sees the graph, and steps through it.

folder.py builds it, for any static server.  The package itself runs in the browser: answer.py says what a
formula or code is answered, gallery.py has examples, and page/ the pages.
"""
