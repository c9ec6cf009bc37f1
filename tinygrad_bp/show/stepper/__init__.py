"""stepper: a page that steps through backpropagation on your own graph, forward and backward.

moments.py makes the data, sealed.py the file; the page itself is in page/.
"""

import os
from typing import Any

from tinygrad_bp.show.stepper.moments import numbers, shape
from tinygrad_bp.show.stepper.sealed import SCRIPTS, STYLES, Stepper, page_of, title_in


def stepper(loss: Any, path: str | os.PathLike[str] | None = None, *, lang: str = "en") -> Stepper:
    """A page to step through the graph that ends in `loss`, written to `path` if one is given.

    For the history of `fit(..., record=...)`, the page plays the training. `lang` is its language, "en"
    or "zh" (Simplified Chinese). Raises TypeError for what is neither a Value nor such a history,
    StaleGraphError if a leaf was set after the graph was built, DrawError for a graph above 5,000 nodes and
    for a file that cannot be written, ValueError for another language.

    >>> from tinygrad_bp import Value
    >>> a, b = Value(2.0, label="a"), Value(-3.0, label="b")
    >>> stepper(a * b + a)
    <stepper page of ... kB: .save('backprop.html') and open it>
    """
    if isinstance(getattr(loss, "losses", None), list):
        from tinygrad_bp.show.playground import recorded_page  # which is made of this page

        page = recorded_page(loss, lang)
    else:
        graph = shape(loss)
        data = {"kind": "graph", "graphs": [graph], "moments": [numbers(loss)]}
        name = graph["nodes"][graph["root"]]["name"] or "a constant"
        page = page_of(data, title_in(lang, "graph").format(name), SCRIPTS, STYLES, lang)
    if path is not None:
        page.save(path)
    return page
