"""A page as one sealed file: HTML with its scripts, style and data in it.

It asks no network for anything, and its Content-Security-Policy lets nothing run but its own script.
"""

import json
import os
from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from html import escape
from math import isfinite
from pathlib import Path
from typing import Any

from tinygrad_bp.errors import DrawError
from tinygrad_bp.files import file_path, write_whole
from tinygrad_bp.show.stepper.moments import Json
from tinygrad_bp.show.stepper.squeeze import squeezed, squeezed_style

PAGE = Path(__file__).parent / "page"
SCRIPTS: tuple[str, ...] = ("strings.js", "math.js", "sums.js", "machine.js", "live.js", "graph.js")
SCRIPTS += ("panel.js", "export.js", "stepper.js", "start.js")
STYLES = ("stepper.css",)
TITLES = {
    "en": {
        "graph": "Backpropagation through {}",
        "live": "A training, live",
        "recorded": "A training, step by step",
    },
    "zh": {"graph": "{} 的反向传播", "live": "训练现场", "recorded": "训练过程，逐步播放"},
}


class Stepper:
    """A page as one text of HTML: save it, or let a notebook show it."""

    def __init__(self, html: str) -> None:
        self.html = html

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the page to a file, whole, and return its path; without a suffix it gets .html.

        Raises DrawError, and leaves what is there, if that cannot be.
        """
        path = file_path(path, DrawError)
        path = path if path.suffix else path.with_name(f"{path.name}.html")
        return write_whole(path, self.html.encode(), DrawError)

    def _repr_html_(self) -> str:
        frame = "width: 100%; height: 720px; border: 0"
        return (
            f'<iframe srcdoc="{escape(self.html)}" sandbox="allow-scripts allow-downloads" '
            f'allow="clipboard-write" title="stepper" style="{frame}"></iframe>'
        )

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return {"text/plain": repr(self), "text/html": self._repr_html_()}

    def __repr__(self) -> str:
        return f"<stepper page of {len(self.html.encode()) // 1000} kB: .save('backprop.html') and open it>"


def title_in(lang: str, kind: str) -> str:
    """The title of a kind of page. Raises ValueError for a language that there is not."""
    if lang not in TITLES:
        raise ValueError(f"lang is {' or '.join(map(repr, TITLES))}, not {lang!r}")
    return TITLES[lang][kind]


def page_of(
    data: Json, title: str, scripts: Sequence[str], styles: Sequence[str], lang: str = "en"
) -> Stepper:
    """The page with this data, whose scripts and styles are files of page/, or paths."""
    script = squeezed("\n".join(map(_source, _translated(scripts, lang))))
    style = squeezed_style("\n".join(map(_source, styles)))
    policy = f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; img-src blob:"
    parts = {
        "policy": f"{policy}; base-uri 'none'; form-action 'none'",
        "lang": {"zh": "zh-Hans"}.get(lang, lang),
        "title": escape(title),
        "style": style,
        "data": json.dumps(finite(data), separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"),
        "script": script,
    }
    page = "\n".join(map(str.strip, _source("stepper.html").splitlines()))
    first, *rest = page.split("@")
    return Stepper(first + "".join(parts[word] if i % 2 == 0 else word for i, word in enumerate(rest)))


def _translated(scripts: Sequence[str], lang: str) -> list[str]:
    """The scripts; behind one with strings stands what says them in the other language."""
    found = []
    for name in scripts:
        found.append(name)
        if lang != "en" and name.endswith("strings.js"):
            found.append(name.replace("strings.js", f"strings.{lang}.js"))
    return found


def _source(name: str) -> str:
    return (PAGE / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"


def finite(data: Any) -> Any:
    """JSON has no nan and no infinities: they become texts."""
    if isinstance(data, dict):
        return {key: finite(entry) for key, entry in data.items()}
    if isinstance(data, (list, tuple)):
        return [finite(entry) for entry in data]
    return str(data) if isinstance(data, float) and not isfinite(data) else data
