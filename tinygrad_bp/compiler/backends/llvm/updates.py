"""An optimizer's rule in LLVM: all parameters by their gradients, a vector of them at a time.

What is the same for all parameters is computed once a step, on plain numbers.  The last vector is masked.
The rules come from compiler/rule.py; calls.py says when a step is taken.
"""

from collections.abc import Callable, Sequence
from typing import Any

from tinygrad_bp.compiler.backends.llvm.functions import applied
from tinygrad_bp.compiler.backends.llvm.text import Index, Text, choose
from tinygrad_bp.compiler.rule import NORM, RATE, STEP, Rule
from tinygrad_bp.compiler.terms import Term

Field = Callable[[Text, str], str]  # a field of the frame


def padded(n: int) -> int:
    """So many numbers in whole vectors."""
    return -(-n // 8) * 8


class Moves:
    """The code that moves parameters, from `first` to `end`, by one rule."""

    def __init__(self, text: Text, rule: Rule, params: int, field: Field, vector: int) -> None:
        self.text, self.rule, self.params, self.vector = text, rule, params, vector
        self.scalars, self.sums, self.memory = (field(text, name) for name in ("scalars", "sums", "memory"))
        self.rates, self.shared = field(text, "rates"), field(text, "shared")
        self.t = field(text, "t")

        self.scale = ""  # of gradients that are not settled before

    def write(self, first: Index, end: Index, once: dict[Term, str] | None = None) -> str:
        """A register that is not 0 if a parameter is no longer finite."""
        text, vector = self.text, self.vector
        if once is None:
            with text.as_wide_as(1):
                once = self.once()
        with text.as_wide_as(vector):
            self.begin(once)
            if isinstance(first, int) and isinstance(end, int):
                whole: Index = end - (end - first) % vector
            else:
                span = text.let(f"sub i64 {end}, {first}")
                whole = text.index(first, text.let(f"and i64 {span}, {-vector}"))
            with text.loop(first, whole, vector) as k:
                self.vector_at(k)
            if vector > 1 and not (isinstance(whole, int) and whole == end):
                with text.only_if(text.let(f"icmp slt i64 {whole}, {end}")):
                    self.vector_at(whole, text.below(whole, str(end)))
            return self.found()

    def begin(self, once: dict[Term, str]) -> None:
        """Put into every lane what is the same for all parameters."""
        text = self.text
        self.spread = {term: text.spread(x) for term, x in once.items()}
        self.scales = text.spread(self.scale) if self.scale else ""
        self.wrong = text.variable(text.ints)
        text.set(self.wrong, "zeroinitializer" if text.width > 1 else "0", text.ints)

    def found(self) -> str:
        """A register that is not 0 if a parameter is no longer finite."""
        return self.text.any_bit(self.text.get(self.wrong, self.text.ints))

    def apply(self, op: Any, operands: Sequence[str]) -> str:
        return applied(self.text, op, operands)

    def once(self) -> dict[Term, str]:
        """What is the same for all parameters; the rate and the number of the step are those of `%step`."""
        text = self.text
        leaves = []
        for place, source in enumerate(self.rule.sources):
            if source is RATE:
                leaves.append(text.load(self.rates, "%step"))
            elif source is STEP:
                taken = text.let("uitofp i64 %step to double")
                leaves.append(text.let(f"fadd double {self.t}, {taken}"))
            elif source is NORM:
                leaves.append(self.norm())
            else:
                leaves.append(text.load(self.shared, place))
        return self.rule.once(self.apply, text.constant, leaves)

    def norm(self) -> str:
        """The length of the gradient: squares summed in lanes, the lanes at the end."""
        text, vector = self.text, self.vector
        with text.as_wide_as(vector):
            total = text.variable(text.type)
            text.set(total, text.constant(0.0))
            whole = self.params // vector * vector
            with text.loop(0, whole, vector) as k:
                self.add_square(total, text.load_lanes(self.sums, k, 8))
            if whole < self.params:
                mask = text.below(whole, str(self.params))
                self.add_square(total, text.load_masked(text.place(self.sums, whole), mask))
            squares = text.get(total)
            lanes = [text.let(f"extractelement {text.type} {squares}, i32 {i}") for i in range(vector)]
        with text.as_wide_as(1):
            lanes = lanes if vector > 1 else [squares]
            while len(lanes) > 1:
                lanes = [text.let(f"fadd double {x}, {y}") for x, y in zip(lanes[::2], lanes[1::2])]
            return text.intrinsic("sqrt", lanes)

    def add_square(self, total: str, g: str) -> None:
        text = self.text
        text.set(total, text.intrinsic("fmuladd", [g, g, text.get(total)]))

    def parameters(self, k: Index, mask: str = "") -> str:
        """Some of them from k on."""
        return self.load(self.scalars, k, mask)

    def load(self, base: str, k: Index, mask: str) -> str:
        text = self.text
        return text.load_masked(text.place(base, k), mask) if mask else text.load_lanes(base, k, 8)

    def vector_at(self, k: Index, mask: str = "", p: str = "", g: str = "") -> None:
        """Move some parameters from k on; they and their gradients may be in registers already."""
        text, size = self.text, padded(self.params)
        kept = [text.index(k, size * i) for i in range(len(self.rule.memory))]
        inputs = [p or self.parameters(k, mask), g or self.load(self.sums, k, mask)]
        inputs += [self.load(self.memory, place, mask) for place in kept]
        if self.scale:
            inputs[1] = text.let(f"fmul {text.type} {inputs[1]}, {self.scales}")
            self.check(inputs[1], mask)
        outputs = self.rule.each(self.apply, text.constant, inputs, self.spread.__getitem__)
        for base, place, x in zip(
            [self.scalars, *[self.memory] * len(kept)], [k, *kept], [outputs[0], *outputs[1:]]
        ):
            if mask:
                text.store_masked(x, text.place(base, place), mask)
            else:
                text.store_lanes(x, base, place, 8)
        self.check(outputs[0], mask)

    def check(self, x: str, mask: str) -> None:
        text, wrong = self.text, self.wrong
        difference = text.let(f"fsub {text.type} {x}, {x}")  # 0, or nan for inf and nan
        if mask:
            difference = choose(text, mask, difference, text.constant(0.0))
        bits = text.let(f"bitcast {text.type} {difference} to {text.ints}")
        text.set(wrong, text.let(f"or {text.ints} {text.get(wrong, text.ints)}, {bits}"), text.ints)
