"""A Markdown extension: formulas between dollars become MathML, which browsers draw without a script.

$...$ stands in a line; $$...$$ is a formula by itself. A dollar after a backslash is a dollar, and what is in
code is left alone.
"""

import re
from typing import Any
from xml.etree.ElementTree import Element

from latex2mathml.converter import convert
from markdown import Markdown
from markdown.extensions import Extension
from markdown.inlinepatterns import InlineProcessor

IN_LINE = r"(?<![\\$])\$(?![\s$])([^$\n]*[^$\s\\])\$(?!\d)"
BY_ITSELF = r"(?<![\\$])\$\$([^$]+)\$\$"
PRIORITY = 185  # after code, which has 190; before escapes, which have 180


class Formula(InlineProcessor):
    """Formulas of one kind; `display` is "inline" or "block"."""

    def __init__(self, pattern: str, md: Markdown, display: str) -> None:
        super().__init__(pattern, md)
        self.display = display

    def handleMatch(self, m: re.Match[str], data: str) -> tuple[str | Element, int, int]:  # type: ignore[override]
        assert self.md is not None
        return self.md.htmlStash.store(typeset(m[1], self.display)), m.start(0), m.end(0)


def typeset(latex: str, display: str = "inline") -> str:
    """MathML of a formula; a function's name, such as arcosh, is set as a name and not as an operator."""
    return re.sub(r"<mo>(\w{2,})</mo>", r"<mi>\1</mi>", convert(latex.replace("\n", " "), display=display))


class Mathematics(Extension):
    def extendMarkdown(self, md: Markdown) -> None:
        md.inlinePatterns.register(Formula(BY_ITSELF, md, "block"), "formula by itself", PRIORITY + 1)
        md.inlinePatterns.register(Formula(IN_LINE, md, "inline"), "formula in a line", PRIORITY)


def makeExtension(**options: Any) -> Mathematics:
    return Mathematics(**options)
