"""The formulas of an explanation, typeset by matplotlib: what is no valid LaTeX raises."""

import re

from matplotlib.mathtext import MathTextParser

MATH = MathTextParser("path")


def pieces(explanation):
    """Every formula of the LaTeX and of the Markdown, as mathtext takes it: matrices by their cells."""
    latex, markdown = explanation.latex, explanation.markdown
    lines = []
    for page in (latex, markdown):
        for block in re.findall(r"\\begin\{aligned\}\n(.*?)\n\\end\{aligned\}", page, re.DOTALL):
            lines += [line.replace("&=", "=") for line in block.split(" \\\\\n")]
        words = re.sub(r"\\begin\{aligned\}.*?\\end\{aligned\}", "", page, flags=re.DOTALL).replace("$$", "")
        lines += re.findall(r"(?<!\\)\$(.+?)(?<!\\)\$", words, re.DOTALL)
    for line in lines:
        for cells in re.findall(r"\\begin\{bmatrix\}(.*?)\\end\{bmatrix\}", line):
            yield from re.split(r" & | \\\\ ", cells)
        yield re.sub(r"\\begin\{bmatrix\}.*?\\end\{bmatrix\}", "M", line)


def assert_typeset(explanation):
    found = set(pieces(explanation))
    assert found
    for piece in found:
        MATH.parse(f"${piece}$")  # raises ValueError for what it does not know
