"""draw: a picture of the graph behind a Value, for a notebook cell or a file.

`Drawing` is what comes out: DOT text, and an SVG by Graphviz where its program `dot` and the package
`graphviz` (the extra of that name) are installed, else by the layout in layout.py, which needs nothing.
`draw_dot` and `trace` are micrograd's.  nodes.py reads the graph; cards.py says how a node looks.
"""

import os
import shutil
import subprocess
from functools import cached_property
from pathlib import Path
from typing import Any

from tinygrad_bp.engine import Value
from tinygrad_bp.errors import DrawError
from tinygrad_bp.files import file_path, write_whole
from tinygrad_bp.show.dot_text import dot_text
from tinygrad_bp.show.layout import DIRECTIONS
from tinygrad_bp.show.nodes import LARGEST, not_a_value, read
from tinygrad_bp.show.records import Picture
from tinygrad_bp.show.svg_text import svg

ENGINES = ("dot", "builtin")
FORMATS = ("svg", "dot", "png", "pdf")
PATIENCE = 20.0  # seconds that dot may take
INSTALL = (
    "install Graphviz (apt install graphviz, brew install graphviz, or https://graphviz.org/download), "
    "then pip install 'tinygrad_bp[graphviz]'"
)


class Drawing:
    """A drawn graph: `.source` is its DOT text, `.svg` its SVG; a notebook shows it by itself.

    >>> a = Value(2.0, label="a"); drawing = draw(a * a, engine="builtin")
    >>> drawing, drawing.svg.startswith("<svg"), drawing.source.count("->")
    (<Drawing of 2 nodes>, True, 2)
    """

    def __init__(self, picture: Picture, rankdir: str, engine: str | None, format: str = "svg") -> None:
        self.source = dot_text(picture, rankdir)
        self.engine = _engine(engine)
        self._insist = engine is not None
        self._picture, self._rankdir, self._format = picture, rankdir, format

    @cached_property
    def svg(self) -> str:
        """The drawing as SVG text.

        Where `dot` fails, or takes more than 20 seconds, the built-in layout draws; if it was asked for by
        engine="dot", that is a DrawError.
        """
        if self.engine == "dot":
            try:
                return self._svg_by_dot()
            except DrawError:
                if self._insist:
                    raise
                self.engine = "builtin"
        return svg(self._picture, self._rankdir)

    def _svg_by_dot(self) -> str:
        head, tag, rest = _run_dot(self.source, "svg").decode("utf-8", "replace").partition("<svg")
        if not tag:
            raise DrawError(f"dot answered something else than SVG: {head!r:.80}. {OTHERWISE.capitalize()}")
        return tag + rest

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write a file of the format that the name ends in, svg, dot, png or pdf, and return its path.

        A file that is there is replaced at once, or left as it is. png and pdf take the program `dot`.
        Raises ValueError for another format, DrawError if the file cannot be made.
        """
        path = file_path(path, DrawError)
        if not path.suffix:
            path = path.with_name(f"{path.name}.{self._format}")
        form = known_format(path.suffix[1:].lower())
        if form == "dot":
            content = self.source.encode("utf-8")
        elif form == "svg":
            content = self.svg.encode("utf-8")
        else:
            content = _run_dot(self.source, form)
        return write_whole(path, content, DrawError)

    render = save  # as graphviz names it: draw_dot(y).render("gout")

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"image/svg+xml": self.svg, "text/plain": repr(self)}

    def __repr__(self) -> str:
        n = len(self._picture.nodes)
        return f"<Drawing of {n} node{'s' * (n != 1)}>"


def draw(
    root: Value,
    *,
    detail: str | None = None,
    depth: int | None = None,
    max_nodes: int = LARGEST,
    rankdir: str = "LR",
    engine: str | None = None,
) -> Drawing:
    """The graph that ends in root, as a Drawing.

    `detail` is "scalar" (a dot is opened into × and +), "node" (as recorded), "neuron" or "layer" (a box for
    each); above 150 nodes it is "neuron" by default. `depth` shows what is at most so many operations away.
    `rankdir` is "LR", "RL", "TB" or "BT". `engine` is "dot" (Graphviz), "builtin", or None for the first that
    is there. Raises DrawError for a graph above `max_nodes`, and for "dot" where it is not installed.

    >>> a, b = Value(2.0, label="a"), Value(-3.0, label="b")
    >>> draw(a * b + a)  # in a notebook, the picture; in a file by draw(...).save("graph.svg")
    <Drawing of 4 nodes>
    """
    picture = read(root, detail, depth, max_nodes)
    return Drawing(picture, _known("rankdir", rankdir, DIRECTIONS), engine)


def draw_dot(
    root: Value,
    format: str = "svg",
    rankdir: str = "LR",
    *,
    detail: str | None = "node",
    depth: int | None = None,
    max_nodes: int = LARGEST,
) -> Drawing:
    """The graph as micrograd's notebook draws it: every node; `format` is for files saved without a suffix.

    >>> draw_dot(Value(2.0).relu())
    <Drawing of 2 nodes>
    """
    picture = read(root, detail, depth, max_nodes, name="draw_dot")
    return Drawing(picture, _known("rankdir", rankdir, DIRECTIONS), None, known_format(format))


def to_dot(
    root: Value,
    *,
    detail: str | None = None,
    depth: int | None = None,
    max_nodes: int = LARGEST,
    rankdir: str = "LR",
) -> str:
    """The graph that ends in root in DOT, the language of Graphviz; arguments and errors are those of `draw`.

    >>> print(to_dot(Value(2.0, label="a").relu()).splitlines()[0])
    digraph {
    """
    picture = read(root, detail, depth, max_nodes, name="to_dot")
    return dot_text(picture, _known("rankdir", rankdir, DIRECTIONS))


def trace(root: Value) -> tuple[set[Value], set[tuple[Value, Value]]]:
    """All nodes that root depends on, and all pairs (operand, result): what micrograd's drawing starts from.

    >>> a = Value(2.0); nodes, edges = trace(a * a); len(nodes), len(edges)
    (2, 1)
    """
    if not isinstance(root, Value):
        raise TypeError(f"trace takes the Value a graph ends in, not {not_a_value(root)}")
    nodes, edges, todo = {root}, set(), [root]
    while todo:
        v = todo.pop()
        for x in v.inputs:
            edges.add((x, v))
            if x not in nodes:
                nodes.add(x)
                todo.append(x)
    return nodes, edges


# --- what is asked for --------------------------------------------------------------------------------------


def _known(what: str, asked: str, known: tuple[str, ...]) -> str:
    if asked not in known:
        raise ValueError(f"draw: unknown {what} {asked!r}; there are {', '.join(map(repr, known))}")
    return asked


def known_format(form: str) -> str:
    if form not in FORMATS:
        raise ValueError(f"a drawing is saved as {', '.join(FORMATS)}, not as {form!r}")
    return form


def _engine(asked: str | None) -> str:
    if asked is None:
        return "dot" if dot_program() else "builtin"
    if _known("engine", asked, ENGINES) == "dot":
        find_dot("engine='dot'")
    return asked


# --- Graphviz -----------------------------------------------------------------------------------------------


def dot_program() -> str | None:
    """Where the program `dot` is, if it and the package graphviz are installed."""
    try:
        import graphviz
    except ImportError:
        return None
    return shutil.which(str(graphviz.backend.DOT_BINARY))


def find_dot(purpose: str) -> str:
    program = dot_program()
    if program is None:
        raise DrawError(f"{purpose} needs the program dot and the package graphviz, not found: {INSTALL}")
    return program


def _run_dot(source: str, form: str) -> bytes:
    """What dot makes of the source; the package graphviz would wait for it for ever."""
    command = [find_dot(f"a {form}"), f"-T{form}"]
    try:
        run = subprocess.run(command, input=source.encode("utf-8"), capture_output=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        raise DrawError(f"dot gave no drawing within {PATIENCE:g} s: {OTHERWISE}") from None
    except OSError as error:
        raise DrawError(f"dot could not be started ({error}): {OTHERWISE}") from error
    if run.returncode or not run.stdout:
        said = run.stderr.decode("utf-8", "replace").strip() or "nothing"
        raise DrawError(
            f"dot failed with status {run.returncode} and said: {said:.300}. {OTHERWISE.capitalize()}"
        )
    return run.stdout


OTHERWISE = "draw less (depth=, detail='layer'), or draw with engine='builtin', which needs no program"
