"""A page of docs/ as the site shows it: its code is run, and what a notebook would show is shown.

The Markdown in docs/ is written for readers of the repository: examples have prompts, links lead to files.
Here the examples become code that can be copied, with what they print; where one ends in a stepper or a
drawing, that stands below it. Links to files that are no pages lead to pages with their text.
"""

import contextlib
import io
import re
import sys
from dataclasses import dataclass, field
from doctest import DocTestParser, Example
from pathlib import Path
from posixpath import relpath
from types import CodeType
from typing import Any

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")
BETWEEN_IDEOGRAPHS = re.compile(r"(?<=[\u3000-\u9fff\uff00-\uffef])\n(?=[\u3000-\u9fff\uff00-\uffef])")
LANGUAGES = ("en", "zh")
COLOURED = 40_000  # characters: the colours of a longer file would make its page larger than a page may be
UNSEARCHED = "---\nsearch:\n  exclude: true\n---\n\n"  # of source pages: what explains them is found instead
OPEN = {"en": "Open this page by itself", "zh": "单独打开这一页"}


@dataclass
class Site:
    """Where each file of the repository is on the site, and what the pages need besides their text."""

    pages: dict[Path, str]  # a Markdown file: its page, as "zh/tutorial/01_value.md"
    sources: set[Path] = field(default_factory=set)  # files that pages link to, and that are no pages
    assets: dict[str, bytes] = field(default_factory=dict)  # by their path on the site

    def text_of(self, file: Path) -> str:
        """The Markdown of a page, ready for the site."""
        page = self.pages[file]
        text = file.read_text(encoding="utf-8")
        space: dict[str, Any] = {"__name__": "__main__"}
        pieces, end = [], 0
        for fence in FENCE.finditer(text):
            pieces.append(self.linked(text[end : fence.start()], file))
            pieces.append(fence[0] if ">>> " not in fence[2] else self.run(fence[2], page, space))
            end = fence.end()
        return "".join([*pieces, self.linked(text[end:], file)])

    # --- code -----------------------------------------------------------------------------------------------

    def run(self, examples: str, page: str, space: dict[str, Any]) -> str:
        """Examples with prompts, run, as blocks of code and of what they print or show."""
        blocks: list[str] = []
        code: list[str] = []

        def end_code() -> None:
            if code:
                blocks.append(f"```python\n{''.join(code)}```\n")
                code.clear()

        for example in DocTestParser().parse(examples):
            if not isinstance(example, Example):
                continue
            code.append(example.source)
            shown = self.display(value_of(example, space), page)
            if shown or example.want:
                end_code()
            if shown:
                blocks.append(shown)
            elif example.want:
                blocks.append("```{.text .output}\n" + example.want.replace("<BLANKLINE>", "") + "```\n")
        end_code()
        return "\n".join(blocks)

    def display(self, value: object, page: str) -> str:
        """A stepper or a drawing as HTML, its file among the assets; "" for anything else."""
        kind = type(value).__name__
        if kind not in ("Stepper", "Drawing"):
            return ""
        html = kind == "Stepper"
        text: str = value.html if html else value._repr_mimebundle_()["image/svg+xml"]  # type: ignore[attr-defined]
        stem = page.removesuffix(".md")
        number = 1 + sum(name.startswith(f"{stem}_") for name in self.assets)
        name = f"{stem}_{number}.{'html' if html else 'svg'}"
        self.assets[name] = text.encode()
        local = name.rpartition("/")[2]
        if not html:
            return f'<p class="drawing"><img src="{local}" alt="the graph, drawn"></p>\n'
        words = OPEN[language_of(page)]
        return (
            f'<figure class="stepper"><iframe src="{local}" sandbox="allow-scripts allow-downloads" '
            'allow="clipboard-write" loading="lazy" title="stepper"></iframe>'
            f'<a href="{local}">{words}</a></figure>\n'
        )

    # --- links ----------------------------------------------------------------------------------------------

    def linked(self, text: str, file: Path) -> str:
        """Text whose links to files lead to pages of the site."""
        in_code = [match.span() for match in re.finditer(r"`[^`\n]+`", text)]

        def replaced(match: re.Match[str]) -> str:
            if "://" in match[1] or any(start <= match.start() < end for start, end in in_code):
                return match[0]
            path, _, anchor = match[1].partition("#")
            if not path:
                return match[0]
            target = (file.parent / path).resolve()
            return f"]({self.url(target, self.pages[file])}{'#' * bool(anchor)}{anchor})"

        text = LINK.sub(replaced, text)
        return BETWEEN_IDEOGRAPHS.sub("", text) if language_of(self.pages[file]) == "zh" else text

    def url(self, target: Path, page: str) -> str:
        """How a page links to a file."""
        place = self.place_of(target, language_of(page))
        if place.endswith(".md") and language_of(place) != language_of(page):  # built apart: as it will be
            place = place.removesuffix(".md") + ".html"
        return relpath(place, page.rpartition("/")[0] or ".")

    def place_of(self, target: Path, language: str) -> str:
        if target in self.pages:
            return self.pages[target]
        inside = target.relative_to(ROOT).as_posix()
        if target.suffix in (".svg", ".png", ".html"):
            name = ("zh/" if language == "zh" else "") + inside.removeprefix("docs/")
            self.assets[name] = target.read_bytes()
            return name
        self.sources.add(target)
        return f"source/{inside}.md"


def language_of(page: str) -> str:
    return "zh" if page.startswith("zh/") else "en"


def value_of(example: Example, space: dict[str, Any]) -> object:
    """What the last expression of an example is; what it prints is in the page already, and tested."""
    shown: list[object] = []
    hook, sys.displayhook = sys.displayhook, shown.append
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            exec(compiled(example), space)
    except Exception:
        if example.exc_msg is None:
            raise
    finally:
        sys.displayhook = hook
    return shown[-1] if shown else None


def compiled(example: Example) -> CodeType:
    return compile(example.source, "<page>", "single")


def source_page(file: Path, site: Site) -> str:
    """A file of the repository, or a list of what a folder holds, as a page."""
    inside = file.relative_to(ROOT).as_posix()
    if file.is_dir():
        names = sorted(x.name + "/" * x.is_dir() for x in file.iterdir() if x.name != "__pycache__")
        return f"{UNSEARCHED}# {inside}\n\n" + "".join(f"- `{name}`\n" for name in names)
    text = file.read_text(encoding="utf-8").rstrip("\n")
    if file.suffix == ".md":
        return f"{UNSEARCHED}# {inside}\n\n~~~~markdown\n{text}\n~~~~\n"
    kind = {".py": "python", ".js": "javascript", ".toml": "toml"}.get(file.suffix, "text")
    kind = kind if len(text) < COLOURED else "text"
    return f'{UNSEARCHED}# {inside}\n\n~~~~{{.{kind} linenums="1"}}\n{text}\n~~~~\n'


def repository_pages() -> dict[Path, str]:
    """Every Markdown file that is a page, and its place on the site."""
    docs = ROOT / "docs"
    found = {ROOT / "README.md": "index.md", docs / "README.zh.md": "zh/index.md"}
    for file in sorted(docs.rglob("*.md")):  # docs/zh/ is zh/ on the site
        found.setdefault(file, file.relative_to(docs).as_posix())
    for name in ("CHANGELOG", "CONTRIBUTING"):
        found[ROOT / ".github" / f"{name}.md"] = f"{name.lower()}.md"
    return found
