"""The documents: every path and anchor that they name exists, and translations have the same code."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / ".github").glob("*.md")],
    key=lambda page: page.relative_to(ROOT).as_posix(),
)
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def anchors(page):
    """The anchors of a page's headings, as they are made on the web."""
    text = CODE.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(page):
    for link in LINK.findall(re.sub("`[^`\n]*`", "`", CODE.sub("", page.read_text(encoding="utf-8")))):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name} names {link}"
        assert target.is_relative_to(ROOT), f"{page.name} leaves the repository: {link}"
        assert not anchor or anchor in anchors(target), f"{page.name}: no heading for {link}"


def test_every_file_in_the_picture_of_the_architecture_exists():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    (picture,) = (text for _, text in CODE.findall(page) if "▼" in text)
    names = re.findall(r"[\w/]+\.py|\w+/(?=\s|$)", picture)
    there = {path.relative_to(ROOT).as_posix() for path in (ROOT / "tinygrad_bp").rglob("*")}
    assert len(names) > 12
    for name in names:
        assert any(path.endswith("/" + name.rstrip("/")) for path in there), name


def test_what_is_quoted_of_the_engine_stands_in_it():
    page = (ROOT / "docs" / "explanation" / "engine.md").read_text(encoding="utf-8")
    engine = (ROOT / "tinygrad_bp" / "engine.py").read_text(encoding="utf-8")
    quotations = [text for _, text in CODE.findall(page)]
    assert len(quotations) > 6
    assert [text for text in quotations if text not in engine] == []


TRANSLATED = {"README.md": "docs/README.zh.md"} | {
    f"docs/tutorial/{page.name}": f"docs/zh/tutorial/{page.name}"
    for page in sorted((ROOT / "docs" / "tutorial").glob("*.md"))
}


@pytest.mark.parametrize("page", TRANSLATED)
def test_a_translation_has_the_same_code_and_headings_of_the_same_levels(page):
    def parts(path):
        text = path.read_text(encoding="utf-8").replace(', lang="zh")', ")")
        levels = re.findall(r"^(#+) ", CODE.sub("", text), re.MULTILINE)
        return CODE.findall(text), levels, len(re.findall("<details", text))

    assert parts(ROOT / TRANSLATED[page]) == parts(ROOT / page)


def test_two_commands_begin_as_they_are_looked_for():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len([line for line in lines if line.startswith("python3 -m venv")]) == 2
