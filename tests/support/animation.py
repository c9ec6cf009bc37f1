"""A drawing in which backpropagation happens: values appear from left to right, then gradients.

The picture of the README. It is the drawing of `tg.draw` with a style sheet: a step for each value, then one
for each gradient. Where animations are switched off, all numbers are there.
"""

import re

SECONDS = 0.9  # a step
PAUSE = 4  # steps, at the end


def animated(svg: str) -> str:
    """The SVG of a drawing made after `backward()`, animated."""
    nodes = re.findall(r'<g class="node" id="(n\d+)"', svg)
    forward = {name: step for step, name in enumerate(sorted(nodes, key=lambda name: int(name[1:])))}
    backward = {name: 2 * len(nodes) - 1 - step for name, step in forward.items()}
    total = 2 * len(nodes) + PAUSE
    rules = []

    def rule(name: str, step: int, hidden: str, shown: str) -> str:
        start = 100.0 * step / total
        rules.append(
            f"@keyframes {name}{{0%,{start:.2f}%{{{hidden}}}{start + 1.5:.2f}%,100%{{{shown}}}}}"
            f".{name}{{animation:{name} {total * SECONDS:.1f}s infinite}}"
        )
        return name

    def node(found: re.Match[str]) -> str:
        text, name = found[0], found[1]
        for kind, step in (("data", forward[name]), ("grad", backward[name])):
            there = rule(f"{kind}-{name}", step, "opacity:0", "opacity:1")
            text = re.sub(rf"(>{kind}</text><text )", rf'\1class="{there}" ', text)
        return text

    def edge(found: re.Match[str]) -> str:
        there = rule(f"edge-{found[1]}-{found[2]}", backward[found[1]], "opacity:.25", "opacity:1")
        return found[0].replace('<g class="edge"', f'<g class="edge {there}"', 1)

    svg = re.sub(r'<g class="node" id="(n\d+)".*?</g>', node, svg, flags=re.DOTALL)
    svg = re.sub(r'<g class="edge"><title>(n\d+) → (n\d+).*?</g>', edge, svg, flags=re.DOTALL)
    style = "\n".join([*rules, "@media (prefers-reduced-motion: reduce){*{animation:none!important}}"])
    background = '<rect width="100%" height="100%" rx="8" fill="#ffffff"/>'
    return svg.replace("<title>", f"<style>\n{style}\n</style>\n{background}\n<title>", 1)
