"""The reference, made from the package: its docstrings, and a picture of each operation and its slope."""

import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from math import isfinite
from types import ModuleType
from typing import Any

from pages import ROOT, Site

import tinygrad_bp as tg
from tinygrad_bp.ops import Op

API = {  # page: (its title, the modules whose public names it has)
    "values": ("Values and graphs", "engine lists"),
    "derivatives": ("Derivatives of functions", "transforms"),
    "networks": ("Networks and losses", "nn losses"),
    "training": ("Training", "train optim schedules checkpoint data"),
    "showing": (
        "Drawing, explaining, stepping",
        "show.draw show.explain show.stepper show.playground show.widget show.plotting",
    ),
    "checking": (
        "Checking gradients",
        "check.gradcheck check.audit check.bounds check.exercises check.strategies",
    ),
    "compiling": ("Compiling", "compiler"),
    "operations_of_yours": ("Operations of your own", "ops"),
    "errors": ("Errors", "errors"),
}


def api_pages(site: Site) -> dict[str, str]:
    """The pages of the API, by their path. Raises KeyError for a module that is on none of them."""
    placed = {module for _, modules in API.values() for module in modules.split()}
    if missing := sorted({*tg.PUBLIC, *tg.MODULES} - placed):
        raise KeyError(f"add {', '.join(missing)} to API in {__file__}")
    return {f"reference/{name}.md": api_page(name, *entry, site) for name, entry in API.items()}


def api_page(name: str, title: str, modules: str, site: Site) -> str:
    lines = [f"# {title}\n"]
    for module_name in modules.split():
        module = import_module(f"tinygrad_bp.{module_name}")
        for public in public_names(module_name, module):
            lines += entry_of(public, getattr(module, public), module, f"reference/{name}.md", site)
    return "\n".join(lines)


def public_names(name: str, module: ModuleType) -> list[str]:
    """The names that the package or the module lists as public; else what is defined in it and documented."""
    listed = getattr(module, "__all__", None) or tg.PUBLIC.get(name, "").split()
    if name in tg.MODULES and name != "ops":
        listed = [*listed, *(x for x, y in vars(module).items() if x not in listed and is_own(x, y, module))]
    return [*listed] or [x for x, y in vars(module).items() if is_own(x, y, module)]


def is_own(name: str, thing: object, module: ModuleType) -> bool:
    defined = callable(thing) and getattr(thing, "__module__", "") == module.__name__
    return defined and not name.startswith("_") and bool(inspect.getdoc(thing))


def entry_of(
    name: str, thing: Any, module: ModuleType, page: str, site: Site, level: int = 2
) -> Iterator[str]:
    """A heading, the signature, the docstring; of a class, its public methods too."""
    yield f"\n{'#' * level} {name.rpartition('.')[2] if level > 2 else name}\n"
    if callable(thing) and not (inspect.isclass(thing) and issubclass(thing, BaseException)):
        yield f"```python\n{signature(name, thing)}\n```\n"
    yield markdown(inspect.getdoc(thing) or "", page, {**vars(inspect.getmodule(thing) or module)}, site)
    if inspect.isclass(thing):
        for method, defined in vars(thing).items():
            if not method.startswith("_") and inspect.getdoc(getattr(thing, method)):
                own = defined.fget if isinstance(defined, property) else getattr(thing, method)
                if callable(own):
                    yield from entry_of(f"{name}.{method}", own, module, page, site, level + 1)


def signature(name: str, thing: Any) -> str:
    """Name and parameters, each on a line of its own where one line would be too long."""
    try:
        found = inspect.signature(thing)
    except (TypeError, ValueError):
        return name
    if "." in name:
        found = found.replace(parameters=[p for p in found.parameters.values() if p.name != "self"])
    text = plain(str(found))
    if len(name + text) > 96 and found.parameters:
        parts = [plain(str(p)) for p in found.parameters.values()]
        kinds = [p.kind for p in found.parameters.values()]
        if inspect.Parameter.KEYWORD_ONLY in kinds and inspect.Parameter.VAR_POSITIONAL not in kinds:
            parts.insert(kinds.index(inspect.Parameter.KEYWORD_ONLY), "*")
        end = text[text.rindex(") ->") :] if ") ->" in text else ")"
        text = "(\n" + "".join(f"    {part},\n" for part in parts) + end
    return name + text


def plain(text: str) -> str:
    """Annotations without the modules that types come from."""
    text = re.sub(r"<function (\w+) at 0x\w+>|<class '([\w.]+)'>", r"\1\2", text)
    text = re.sub(r"\b(?:\w+\.)+(?=[A-Z]\w*)", "", text)
    return (
        re.sub(r"'([\w\[\], |.]+)'(?=[,)\s=\]]|$)", r"\1", text) if "'" in text and "=" not in text else text
    )


def markdown(doc: str, page: str, space: dict[str, Any], site: Site) -> str:
    """A docstring whose examples are run, as in a page."""
    blocks = []
    for paragraph in re.split(r"\n\s*\n(?=\S)", doc):
        prose, prompt, examples = paragraph.partition(">>> ")
        prose = prose.rstrip()
        if prose:
            blocks.append(re.sub(r"<(?=\w)", "&lt;", prose) if "`" not in prose else prose)
        if prompt:
            blocks.append(site.run(prompt + examples + "\n", page, space))
    return "\n\n".join(blocks) + "\n"


# --- pictures of operations ---------------------------------------------------------------------------------

WIDTH, HEIGHT, POINTS = 150, 100, 240
OTHER = 1.5  # what the other operands are
BLUE, ORANGE, GREY = "#2166ac", "#d6604d", "#bbb"


def operations_page(text: str, site: Site) -> str:
    """The generated table of operations with a picture in each row, and what the pictures show."""
    lines = []
    for line in text.splitlines():
        row = re.match(r"\| `(\w+)\(", line)
        if row and (picture := plot(tg.OPS[row[1]])):
            site.assets[f"plots/{row[1]}.svg"] = picture.encode()
            cell = f"![{row[1]} and its derivative](plots/{row[1]}.svg)"
        else:
            cell = (
                "value and slope" if line.startswith("| call") else "---" if line.startswith("|---") else ""
            )
        lines.append(re.sub(r"^\|[^|]*\|", rf"\g<0> {cell} |", line))
    where = lines.index(next(line for line in lines if line.startswith("| call")))
    lines[where:where] = [
        f"In the plots the value is blue, its derivative by x orange and dashed; other operands\n"
        f"are {OTHER:g}, and the axes go from −3 to 3.\n"
    ]
    return "\n".join(lines) + "\n"


def plot(row: Op) -> str:
    """A small SVG of an operation from −3 to 3, and of its derivative by x; "" where there is no curve."""
    count = row.operands or 2
    constants = [3.0 if default is None else default for default in row.constants.values()]
    xs = [-3.0 + 6.0 * i / POINTS for i in range(POINTS + 1)]
    curves: list[list[float]] = [[], []]
    for x in xs:
        operands = [x, *[OTHER] * (count - 1)]
        if row.name == "where":
            operands = [OTHER, x, OTHER]
        at = row.at(**dict(zip(row.constants, constants))) if constants else row
        o = at.value(*operands)
        slopes = at.slopes(o, *operands) if at.slopes else [0.0]
        curves[0].append(o)
        curves[1].append(slopes[1 if row.name == "where" else 0])
    if not any(isfinite(y) for y in curves[0]):
        return ""
    zero = HEIGHT / 2
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        f'<path d="M0 {zero}H{WIDTH}M{WIDTH / 2} 0V{HEIGHT}" stroke="{GREY}" fill="none"/>',
    ]
    for ys, style in zip(curves, (f'stroke="{BLUE}"', f'stroke="{ORANGE}" stroke-dasharray="4 2"')):
        parts.append(f'<path d="{path(xs, ys)}" {style} stroke-width="1.6" fill="none"/>')
    return "".join([*parts, "</svg>"])


def path(xs: list[float], ys: list[float]) -> str:
    """Points as an SVG path, broken where the curve leaves the picture, has no number, or jumps."""
    words, pen, before = [], "M", 0.0
    for x, y in zip(xs, ys):
        if not isfinite(y) or abs(y) > 3.3:
            pen = "M"
            continue
        pen = "M" if abs(y - before) > 0.9 else pen
        words.append(f"{pen}{(x + 3) / 6 * WIDTH:.1f} {HEIGHT / 2 - y / 6 * HEIGHT:.1f}")
        pen, before = "L", y
    return "".join(words)


def generated(site: Site) -> dict[str, str]:
    """All pages that no file of docs/ holds, or that hold more than their file."""
    operations = ROOT / "docs" / "operations.md"
    table = site.linked(operations.read_text(encoding="utf-8"), operations)
    return {**api_pages(site), "operations.md": operations_page(table, site)}
