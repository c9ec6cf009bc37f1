"""From a search to a report: the entries, where the first fault is, and what explains it, in words."""

from collections.abc import Sequence

from tinygrad_bp.check.audit.layers import Stage
from tinygrad_bp.check.audit.mistakes import LOSSES
from tinygrad_bp.check.audit.report import TURNED, Audit, Entry, Part, explained, wrapped
from tinygrad_bp.check.audit.search import Made, Search, close

TWO_AND_THIRTY_BITS = 1e-4  # how well such a gradient agrees, with something to spare


def judged(search: Search, notes: Sequence[str] = (), advice: str = "", reveal: bool = True) -> Audit:
    """The report on what was handed in."""
    entries = [Entry(*row) for q in search.quantities for row in zip(q.labels, q.flat, q.right, q.agrees)]
    parts = [Part(q.name, q.ok and not q.odd) for q in search.quantities]
    audit = Audit(entries, parts, notes=list(notes), reveal=reveal)
    audit.shapes_agree = not any(q.odd for q in search.quantities)
    if audit:
        audit.verdict = f"right: all {len(entries)} entries are the engine's"
        return audit
    suspects = search.suspects()
    audit.suspects = [stage.name for stage in suspects]
    audit.where = located(search, suspects)
    found = search.explanations()
    audit.explanations = [words(made) for made in found]
    if found:
        audit.verdict = explained(audit.explanations, advice or "use other data and other weights")
    else:
        audit.verdict = "not explained by any single mistake or pair tried"
        audit.hints = hints(search)
    untried = "; ".join(search.untried())
    if untried and len(found) != 1:
        audit.verdict += "\n" + wrapped(untried, "not tried: ")
    return audit


def words(made: Sequence[Made]) -> list[str]:
    """Each mistake: its name, the places where it was made, what it is, how to fix it."""
    rows: dict[str, list[Made]] = {}
    for one in made:
        rows.setdefault(one.row.name, []).append(one)
    texts = []
    for name, places in rows.items():
        row = places[0].row
        if row is None or name == TURNED:
            texts.append(TURNED)
            continue
        where = "; ".join(sorted(dict.fromkeys(one.where for one in places)))
        texts.append(f"{name}, {where}: {row.what}\nto fix it: {row.fix}")
    return sorted(texts, key=lambda text: text == TURNED)


def located(search: Search, suspects: Sequence[Stage]) -> str:
    """What is right, from the loss down, what differs first, and in which layers the fault can be."""
    order = search.order
    first = next(q for q in order if not q.ok or q.odd)
    above = [q.name for q in order if q.end < first.end]
    beside = [q for q in order if q.end == first.end]
    wrong = [q.name for q in beside if not q.ok or q.odd]
    right = [q.name for q in beside if q.ok and not q.odd]
    text = f"from the loss down, {listed(above)} {are(above)} right; " if above else "from the loss down, "
    text += f"the first that {'differs is' if len(wrong) == 1 else 'differ are'} {listed(wrong)}"
    if right:
        text += f", and {listed(right)} beside {'it' if len(wrong) == 1 else 'them'} {are(right)} right"
    names = list(
        dict.fromkeys(
            stage.place.removeprefix("in ").replace("from the loss on", "the loss") or stage.name
            for stage in suspects
        )
    )
    if not names:
        return text
    if len(names) == 1:
        return f"{text}: the fault is in {names[0]}"
    if right:
        return f"{text}: the fault is in {names[0]}, or else in {listed(names[1:], 'or')}"
    if suspects[-1].kind in LOSSES or any(q.stage is suspects[-1] for q in order):
        return f"{text}: the fault is in {listed(names, 'or')}"
    return f"{text}: the fault is in {listed(names[:-1], 'or')}, or in what {names[-1]} passes down"


def are(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


def listed(names: Sequence[str], word: str = "and") -> str:
    names = list(names)
    if len(names) > 6:
        names = [*names[:5], f"{len(names) - 5} more"]
    return f" {word} ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)


def hints(search: Search) -> str:
    """What can be said of numbers that nothing explains: zeros, 32 bits, one factor."""
    if all(
        all(close(q.right, q.flat, TWO_AND_THIRTY_BITS, search.floor)) for q in search.quantities
    ) and not any(q.odd for q in search.quantities):
        return wrapped(
            f"but to {TWO_AND_THIRTY_BITS:g} of the largest of its matrix every entry agrees: if your code "
            f"has 32-bit numbers, audit with tolerance={TWO_AND_THIRTY_BITS:g}"
        )
    mine = [x for q in search.quantities for x in q.flat]
    right = [x for q in search.quantities for x in q.right]
    if not any(mine):
        return "every entry handed in is zero: is it what your backward pass filled?"
    c = common_factor([*zip(mine, right)], search.tolerance)
    if c:
        return wrapped(
            f"but every entry is {c:.6g} times the engine's: look for that number in the loss and in your "
            "code, as a learning rate or a number of samples"
        )
    if not any(ok for q in search.quantities for ok, x in zip(q.agrees, q.flat) if x):
        return "and not one of the entries is right: is it the same loss, the same data?"
    for q in search.quantities:
        if not q.ok and (c := common_factor([*zip(q.flat, q.right)], search.tolerance)):
            return wrapped(f"but every entry of {q.name} is {c:.6g} times the engine's")
    return ""


def common_factor(pairs: Sequence[tuple[float, float]], tolerance: float) -> float:
    """c with x = c y for all pairs (x, y); 0.0 if no number is, or there is only one pair."""
    largest, divisor = max(pairs, key=lambda pair: abs(pair[1]))
    c = largest / divisor if divisor and len(pairs) > 1 else 0.0
    return c if all(abs(x - c * y) <= tolerance * abs(largest) for x, y in pairs) else 0.0
