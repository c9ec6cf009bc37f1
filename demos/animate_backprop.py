"""Write a picture of backpropagation that moves, and beside it the page that steps through the same graph.

The picture is one SVG without any script: the values appear from the leaves to the result, then each gradient
travels back along its edge, multiplied by the edge's local partial.  Browsers and READMEs play it for ever;
for readers who ask for reduced motion it stands still, complete.

    python demos/animate_backprop.py --output demos/out/backprop.svg
"""

import os
import re
from collections.abc import Callable
from xml.etree import ElementTree

from shared import DRAWINGS, options

import tinygrad_bp as tg
from tinygrad_bp import Value

SVG = "{http://www.w3.org/2000/svg}"
STEP, PAUSE, HOLD = 0.9, 0.7, 4.0  # seconds: of one operation or edge, between the passes, at the end
GREY = "#7f8c99"
STILL = "@media(prefers-reduced-motion:reduce){*{animation:none!important}.token{display:none}}"
Arrivals = dict[tuple[str, str, int], float]
Appear = Callable[[ElementTree.Element, float], None]


def main() -> None:
    chosen = options(__doc__, "backprop", training=False, kinds=DRAWINGS)
    loss = differentiated()
    chosen.output.parent.mkdir(parents=True, exist_ok=True)
    chosen.output.write_text(picture(loss), encoding="utf-8")
    page = tg.stepper(loss).save(chosen.output.with_suffix(".html"))
    print(f"picture: {os.path.relpath(chosen.output)}   page: {os.path.relpath(page)}")


def differentiated() -> Value:
    """L = (a·b + c)·f, with all its gradients."""
    a, b, c, f = (Value(x, label=name) for x, name in zip((2.0, -3.0, 10.0, -2.0), "abcf"))
    e = a * b
    d = e + c
    loss = d * f
    e.label, d.label, loss.label = "e", "d", "L"
    loss.backward()
    return loss


def picture(loss: Value) -> str:
    return animated(tg.draw(loss, engine="builtin").svg, loss)


def animated(svg: str, loss: Value) -> str:
    """The drawing with everything appearing at its time."""
    ElementTree.register_namespace("", SVG[1:-1])
    root = ElementTree.fromstring(svg)
    order = sorted((v for v in tg.trace(loss)[0] if v.inputs), key=lambda v: v.number)
    labels = {node.get("id"): _label(node) for node in root.iter(f"{SVG}g") if node.get("class") == "node"}
    ids = {label: key for key, label in labels.items()}
    values = {ids[v.label]: STEP * (i + 1) for i, v in enumerate(order)}
    clock = STEP * (len(order) + 1) + PAUSE
    grads = {ids[loss.label]: clock}
    arrivals: Arrivals = {}
    words = [(0.0, clock, "forward: from the leaves to the result")]
    for v in reversed(order):
        for slot, (x, partial) in enumerate(zip(v.inputs, v.op.slopes(v.data, *[x.data for x in v.inputs]))):
            arrivals[ids[x.label], ids[v.label], slot] = clock
            product = f"{v.grad:g} × {partial:g} = {v.grad * partial:g}".replace("-", "−")
            words.append(
                (
                    clock,
                    clock + STEP,
                    f"∂L/∂{x.label} = ∂L/∂{v.label} × ∂{v.label}/∂{x.label} = {product}",
                )
            )
            clock += STEP
            grads[ids[x.label]] = clock
    total = clock + HOLD
    words.append((clock, total, "every gradient, by one pass backward"))
    rules: list[str] = []

    def appear(element: ElementTree.Element, at: float) -> None:
        """Let an element be there from this time on."""
        name, share = f"t{len(rules)}", 100.0 * at / total
        rules.append(f"@keyframes {name}{{0%,{share:.2f}%{{opacity:0}}{share + 1.5:.2f}%,100%{{opacity:1}}}}")
        element.set("style", f"animation:{name} {total:g}s linear infinite")

    for group in list(root.iter(f"{SVG}g")):
        if group.get("class") == "node":
            key = group.get("id", "")
            _animate_node(group, values.get(key, 0.0), grads[key], appear)
        elif group.get("class") == "edge":
            _animate_edge(group, arrivals, total, appear)
    _caption(root, words, total)
    style = ElementTree.Element(f"{SVG}style")
    style.text = (
        "".join(rules)
        + "@media(prefers-reduced-motion:reduce){*{animation:none!important}.token{display:none}}"
    )
    root.insert(0, style)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def _caption(root: ElementTree.Element, words: list[tuple[float, float, str]], total: float) -> None:
    """A line under the drawing that says what happens at each time."""
    width, height = (float(root.get(name, "0")) for name in ("width", "height"))
    root.set("height", f"{height + 26:g}")
    root.set("viewBox", f"0 0 {width:g} {height + 26:g}")
    for begin, end, text in words:
        line = ElementTree.SubElement(
            root,
            f"{SVG}text",
            {"x": "14", "y": f"{height + 10:g}", "class": "token", "fill": GREY, "opacity": "0"},
        )
        line.text = text
        times = f"0;{begin / total:.4f};{min(end / total, 1.0):.4f};1" if begin else f"0;{end / total:.4f};1"
        ElementTree.SubElement(
            line, f"{SVG}animate",
            {"attributeName": "opacity", "dur": f"{total:g}s", "repeatCount": "indefinite",
             "calcMode": "discrete", "values": "0;1;0;0" if begin else "1;0;0", "keyTimes": times},
        )  # fmt: skip


def _label(node: ElementTree.Element) -> str:
    """The label of a node's card: in the first line, after the sign if there is one."""
    first = [text.text or "" for text in node.iter(f"{SVG}text") if text.get("y") == "15"]
    return first[-1]


def _animate_node(group: ElementTree.Element, value_at: float, grad_at: float, appear: Appear) -> None:
    """Its value appears in the forward pass, its gradient and the colour of its border in the backward."""
    (rect,) = group.findall(f"{SVG}rect")
    coloured = ElementTree.fromstring(ElementTree.tostring(rect))
    rect.set("stroke", GREY)
    rect.set("stroke-width", "1")
    coloured.set("fill", "none")
    group.insert(list(group).index(rect) + 1, coloured)
    appear(coloured, grad_at)
    numbers = [text for text in group.findall(f"{SVG}text") if text.get("text-anchor") == "end"]
    for text, at in zip(numbers, (value_at, grad_at)):
        if at:
            appear(text, at)


def _animate_edge(group: ElementTree.Element, arrivals: Arrivals, total: float, appear: Appear) -> None:
    """A grey line, over which the coloured one appears when the gradient has come down it, as a dot."""
    title = group.findtext(f"{SVG}title") or ""
    found = re.match(r"(n\d+) → (n\d+), operand (\d+)", title)
    start = arrivals[found[1], found[2], int(found[3]) - 1]
    line, head = group.findall(f"{SVG}path")
    for part in (line, head):
        coloured = ElementTree.fromstring(ElementTree.tostring(part))
        part.set("stroke" if part is line else "fill", GREY)
        group.append(coloured)
        appear(coloured, start + STEP)
    line.set("stroke-width", "1")
    token = ElementTree.SubElement(group, f"{SVG}circle", {"r": "5", "class": "token", "fill": "#5b3fd6"})
    begin, end = start / total, (start + STEP) / total
    times = f"0;{begin:.4f};{end:.4f};1"
    ElementTree.SubElement(
        token, f"{SVG}animateMotion",
        {"dur": f"{total:g}s", "repeatCount": "indefinite", "path": line.get("d", ""), "calcMode": "linear",
         "keyPoints": "1;1;0;0", "keyTimes": times},
    )  # fmt: skip
    ElementTree.SubElement(
        token, f"{SVG}animate",
        {"attributeName": "opacity", "dur": f"{total:g}s", "repeatCount": "indefinite",
         "calcMode": "discrete", "values": "0;1;0;0", "keyTimes": times},
    )  # fmt: skip


if __name__ == "__main__":
    main()
