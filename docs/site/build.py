"""Build the site: `python docs/site/build.py` (the extra docs); then open dist/docs/site/index.html.

Zensical makes it, and not MkDocs: one pinned package brings the theme and the search, its strict mode checks
links to pages and to headings, and it takes Python-Markdown's extensions, so formulas become MathML without a
script. MkDocs would need a theme and plugins for the same. The pages of the API are made by reference.py, not
by mkdocstrings, since the docstrings here are plain text with examples, which it would show as quotations.

Four steps: the pages are prepared (pages.py, reference.py); Zensical builds each language, strictly; the
laboratory is added, if npm has Pyodide in its cache (tests/setup.py gets it), since a build needs no network;
the result is checked: no page is above 500 kB with all it loads, every link inside the site leads to a page
and a heading, and nothing is loaded from elsewhere.
"""

import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from time import perf_counter
from urllib.parse import unquote, urlsplit

sys.path.insert(0, str(Path(__file__).parent))

from pages import LANGUAGES, ROOT, Site, language_of, repository_pages, source_page
from reference import generated

from tinygrad_bp.lab.folder import PAGES as LABORATORIES, LabError, build_lab, fetch_pyodide

HERE = Path(__file__).parent
OUT = ROOT / "dist" / "docs"
WITHOUT_LABORATORY = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Laboratory</title>
<p>This site was built without the laboratory, since npm did not have Pyodide in its cache.
Run <code>python tests/setup.py npm</code>, and build it again. <a href="../index.html">Back</a></p>
"""
LARGEST_PAGE = 500_000  # bytes, with the pictures and frames in it


def main() -> int:
    began = perf_counter()
    prepare(OUT)
    prepared = perf_counter()
    site = build(OUT)
    add_laboratory(site / "lab")
    built = perf_counter()
    problems = check(site) + unlisted()
    print("\n".join(problems))
    print(
        f"{len([*site.rglob('*.html')])} pages in {site}: prepared in {prepared - began:.1f} s, "
        f"built in {built - prepared:.1f} s, {len(problems)} problems"
    )
    return 1 if problems else 0


def prepare(out: Path) -> None:
    """Write the pages, their assets and the settings for Zensical, a folder for each language."""
    shutil.rmtree(out, ignore_errors=True)
    site = Site(repository_pages())
    texts = {page: site.text_of(file) for file, page in site.pages.items()} | generated(site)
    written: set[Path] = set()
    while waiting := site.sources - written:  # a source that is a page of text may link to more
        for file in waiting:
            texts[site.place_of(file, "en")] = source_page(file, site)
        written |= waiting
    files = {page: text.encode() for page, text in texts.items()} | site.assets
    for place, content in files.items():
        path = out / language_of(place) / "pages" / place.removeprefix("zh/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    for language in LANGUAGES:
        shutil.copy(settings_of(language), out / language / "zensical.toml")
        shutil.copy(HERE / "style.css", out / language / "pages" / "style.css")


def build(out: Path) -> Path:
    """Let Zensical build each language; the folder of the site. Raises CalledProcessError where it warns."""
    for language in LANGUAGES:
        program = "import sys; sys.path.insert(0, sys.argv.pop(1)); from zensical.main import cli; cli()"
        command = [sys.executable, "-c", program, str(HERE), "build", "--strict", "--clean"]
        subprocess.run(command, cwd=out / language, check=True)
    shutil.copytree(out / "en" / "site", out / "site")
    shutil.copytree(out / "zh" / "site", out / "site" / "zh")
    return out / "site"


def add_laboratory(folder: Path) -> None:
    """Write the laboratory, or in its place a page that says how to have it."""
    try:
        build_lab(folder, fetch_pyodide(offline=True))
    except LabError as error:
        print(f"without the laboratory: {error}")
        folder.mkdir()
        for name in LABORATORIES.values():
            (folder / name).write_text(WITHOUT_LABORATORY, encoding="utf-8")


# --- checks -------------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """What a page loads, what it links to, and its anchors."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.anchors = {"", "__search"}
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attributes}
        self.anchors |= {found.get("id", ""), found.get("name", "")}
        if tag in ("img", "script", "iframe", "source") and found.get("src"):
            self.loads.append(found["src"])
        if tag == "link" and found.get("rel", "") in ("stylesheet", "icon", "preload"):
            self.loads.append(found["href"])
        if tag == "a" and found.get("href"):
            self.links.append(found["href"])


def check(site: Path) -> list[str]:
    """What is wrong with a built site, one line each."""
    pages = {path: Page(path) for path in sorted(site.rglob("*.html"))}
    problems = []
    for path, page in pages.items():
        name = path.relative_to(site).as_posix()
        if name.endswith("404.html"):
            continue  # its links begin at the root of whatever server shows it
        size = path.stat().st_size
        for link in page.loads:
            target = target_of(link, path)
            if target is None:
                problems += [f"{name} loads {link[:80]} from elsewhere"] * (not link.startswith("data:"))
            elif not target.is_file():
                problems.append(f"{name} loads {link}, which does not exist")
            elif site / "assets" not in target.parents and site / "zh" / "assets" not in target.parents:
                size += target.stat().st_size
        if size > LARGEST_PAGE:
            problems.append(
                f"{name} is {size / 1000:.0f} kB with what it loads; {LARGEST_PAGE // 1000} is the limit"
            )
        for link in page.links:
            target = target_of(link, path)
            if target is None:
                continue
            target = target / "index.html" if target.is_dir() else target
            anchor = unquote(urlsplit(link).fragment)
            if not target.is_file():
                problems.append(f"{name} links to {link}, which does not exist")
            elif target in pages and anchor not in pages[target].anchors:
                problems.append(f"{name} links to {link}: there is no such heading")
        if "<mi>&</mi>" in path.read_text(encoding="utf-8"):
            problems.append(f"{name} has a formula that could not be typeset")
    return problems


def unlisted() -> list[str]:
    """Pages that no navigation lists, one line each."""
    settings = {language: settings_of(language).read_text(encoding="utf-8") for language in LANGUAGES}
    return [
        f"{file.relative_to(ROOT)} is not in nav: add it to docs/site/{settings_of(language_of(page)).name}"
        for file, page in repository_pages().items()
        if f'"{page.removeprefix("zh/")}"' not in settings[language_of(page)]
    ]


def settings_of(language: str) -> Path:
    return HERE / ("zensical.toml" if language == "en" else f"zensical.{language}.toml")


def target_of(link: str, path: Path) -> Path | None:
    """The file that a link on a page leads to; None for another site."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return None
    return (path.parent / unquote(parts.path)).resolve() if parts.path else path


if __name__ == "__main__":
    sys.exit(main())
