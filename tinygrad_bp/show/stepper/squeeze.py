"""What a page leaves out of its scripts and style: comments, indentation, spaces that separate nothing.

A script is read as tokens, so that texts, templates (which hold expressions again) and regular expressions
stay as they are.  A line ends where a statement may end: a new line is left out only behind what cannot end
one, or before what cannot begin one.
"""

import re
from collections.abc import Iterator

TOKEN = re.compile(
    r"""(?P<space>\s+|//[^\n]*|/\*.*?\*/)
    |(?P<text>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')
    |(?P<word>[\w$]+)
    |(?P<sign>=>|\+\+|--|&&|\|\||\?\?|\?\.|\.\.\.|.)""",
    re.VERBOSE | re.DOTALL,
)
REGEX = re.compile(r"/(?:\\.|\[(?:\\.|[^\]\\])*\]|[^/\\\n\[])+/\w*")
BEFORE_REGEX = {"return", "typeof", "case", *"(,=:[!&|?{};+-*%<>~^", "=>", "&&", "||", "??", "..."}
NO_END = {*"([{,;:?=+-*/%&|<>!.^~", "=>", "&&", "||", "??", "?.", "..."}
NO_BEGINNING = {*")]},;:?=*%&|<>.", "=>", "&&", "||", "??", "?."}


def tokens(script: str) -> Iterator[tuple[str, str]]:
    r"""The tokens of a script, each with what is between it and the one before: "", " " or a new line.

    >>> list(tokens("let a = 1  // one\nlet b = `${ a }`"))[4:]
    [('\n', 'let'), (' ', 'b'), (' ', '='), (' ', '`${a}`')]
    """
    at, gap, last = 0, "", ";"
    while at < len(script):
        found = TOKEN.match(script, at)
        assert found
        if found["space"]:
            gap = "\n" if "\n" in found[0] or gap == "\n" else " "
            at = found.end()
            continue
        token = found[0]
        if token == "`":
            token, at = _template(script, at)
        elif token == "/" and last in BEFORE_REGEX and (regex := REGEX.match(script, at)):
            token, at = regex[0], regex.end()
        else:
            at = found.end()
        yield gap, token
        gap, last = "", token


def _template(script: str, start: int) -> tuple[str, int]:
    """The template that begins here, with its expressions squeezed, and where it ends."""
    at, parts = start + 1, ["`"]
    while script[at] != "`":
        if script.startswith("${", at):
            end = _closing(script, at + 2)
            parts.append("${" + squeezed(script[at + 2 : end]) + "}")
            at = end + 1
        else:
            step = 2 if script[at] == "\\" else 1
            parts.append(script[at : at + step])
            at += step
    return "".join([*parts, "`"]), at + 1


def _closing(script: str, at: int) -> int:
    """Where the brace closes that was opened before this place."""
    depth = 1
    while True:
        found = TOKEN.match(script, at)
        assert found
        if found[0] == "`":
            at = _template(script, at)[1]
            continue
        depth += (found[0] == "{") - (found[0] == "}")
        if not depth:
            return at
        at = found.end()


def squeezed(script: str) -> str:
    r"""A script without what only its readers need.

    >>> squeezed("const f = x => {\n  // half of it\n  return x / 2 + +x;\n};\nf(1)\n")
    'const f=x=>{return x/2+ +x;};f(1)'
    """
    out: list[str] = []
    for gap, token in tokens(script):
        last = out[-1] if out else "{"
        if gap == "\n" and last not in NO_END and token not in NO_BEGINNING:
            out.append("\n")
        elif gap and _runs_together(last[-1], token[0]):
            out.append(" ")
        out.append(token)
    return "".join(out)


def _runs_together(a: str, b: str) -> bool:
    both_words = all(c.isalnum() or c in "_$" for c in (a, b))
    return both_words or (a == b and a in "+-/")


def squeezed_style(style: str) -> str:
    """A style without comments, indentation and needless spaces; it has no quoted text.

    >>> squeezed_style("/* red */ a, b { color: red; }")
    'a,b{color:red}'
    """
    style = " ".join(re.sub(r"/\*.*?\*/", "", style, flags=re.DOTALL).split())
    return re.sub(r"(?<=[;:,{}]) | (?=[{}])|; ?(?=})", "", style)
