"""Writing LLVM's instructions as text: names, constants, vectors, loops.

A vector holds one number of each of several samples.  Loop counters and accumulators are variables in memory;
LLVM's first pass turns those into registers.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from math import copysign

Index = int | str  # an i64: known now, or a register


def hexadecimal(x: float) -> str:
    """A double as LLVM reads it, exactly."""
    return f"0x{struct.unpack('<Q', struct.pack('<d', x))[0]:016X}"


class Text:
    """The body of one function, for vectors of `width` doubles (1: plain doubles)."""

    def __init__(self, width: int, declared: dict[str, str]) -> None:
        self.width, self.declared = width, declared
        self.lines: list[str] = []
        self.variables: list[str] = []
        self.panels: dict[str, str] = {}
        self.names = 0

    @property
    def type(self) -> str:
        return "double" if self.width == 1 else f"<{self.width} x double>"

    @property
    def mask(self) -> str:
        return "i1" if self.width == 1 else f"<{self.width} x i1>"

    @property
    def ints(self) -> str:
        return "i64" if self.width == 1 else f"<{self.width} x i64>"

    @contextmanager
    def as_wide_as(self, width: int) -> Iterator[None]:
        """Write vectors of another size for a while."""
        self.width, before = width, self.width
        yield
        self.width = before

    def name(self) -> str:
        self.names += 1
        return f"%v{self.names}"

    def do(self, instruction: str) -> None:
        self.lines.append("  " + instruction)

    def let(self, instruction: str) -> str:
        """Give an instruction's result a name."""
        register = self.name()
        self.do(f"{register} = {instruction}")
        return register

    def variable(self, kind: str) -> str:
        """A place in the function's frame."""
        register = self.name()
        self.variables.append(f"  {register} = alloca {kind}, align 64")
        return register

    def panel(self, kind: str) -> str:
        """A large place in the frame, one for all that need such a one in turn."""
        if kind not in self.panels:
            self.panels[kind] = self.variable(kind)
        return self.panels[kind]

    def get(self, variable: str, kind: str = "") -> str:
        return self.let(f"load {kind or self.type}, ptr {variable}")

    def set(self, variable: str, x: str, kind: str = "") -> None:
        self.do(f"store {kind or self.type} {x}, ptr {variable}")

    def body(self) -> str:
        return "\n".join(["entry:", *self.variables, *self.lines])

    # --- numbers -------------------------------------------------------------------------------------------

    def constant(self, x: float) -> str:
        if self.width == 1:
            return hexadecimal(x)
        if x == 0.0 and copysign(1.0, x) > 0.0:
            return "zeroinitializer"
        return "<" + ", ".join([f"double {hexadecimal(x)}"] * self.width) + ">"

    def integers(self, n: int) -> str:
        return str(n) if self.width == 1 else "<" + ", ".join([f"i64 {n}"] * self.width) + ">"

    def spread(self, x: str, kind: str = "double") -> str:
        """One number in every lane."""
        if self.width == 1:
            return x
        vector = f"<{self.width} x {kind}>"
        lane = self.let(f"insertelement {vector} poison, {kind} {x}, i32 0")
        return self.let(
            f"shufflevector {vector} {lane}, {vector} poison, <{self.width} x i32> zeroinitializer"
        )

    def call(self, function: str, operands: Sequence[str], kind: str = "") -> str:
        """Call a function of numbers (or vectors) and declare it."""
        kind = kind or self.type
        self.declared.setdefault(function, f"declare {kind} @{function}({', '.join([kind] * len(operands))})")
        arguments = ", ".join(f"{kind} {x}" for x in operands)
        return self.let(f"call {kind} @{function}({arguments})")

    def intrinsic(self, name: str, operands: Sequence[str]) -> str:
        suffix = "f64" if self.width == 1 else f"v{self.width}f64"
        return self.call(f"llvm.{name}.{suffix}", operands)

    # --- memory --------------------------------------------------------------------------------------------

    def index(self, *terms: Index | tuple[int, Index]) -> Index:
        """The sum of integers, registers and (factor, register) pairs."""
        known, register = 0, ""
        for term in terms:
            factor, x = term if isinstance(term, tuple) else (1, term)
            if isinstance(x, int):
                known += factor * x
            elif factor:
                if factor != 1:
                    x = self.let(f"mul i64 {x}, {factor}")
                register = self.let(f"add i64 {register}, {x}") if register else x
        if not register:
            return known
        return self.let(f"add i64 {register}, {known}") if known else register

    def smallest(self, x: Index, y: Index) -> Index:
        """The lesser of two integers."""
        if isinstance(x, int) and isinstance(y, int):
            return min(x, y)
        self.declared.setdefault("llvm.smin.i64", "declare i64 @llvm.smin.i64(i64, i64)")
        return self.let(f"call i64 @llvm.smin.i64(i64 {x}, i64 {y})")

    def place(self, base: str, index: Index, kind: str = "double") -> str:
        return self.let(f"getelementptr {kind}, ptr {base}, i64 {index}")

    def load(self, base: str, index: Index, kind: str = "double") -> str:
        return self.let(f"load {kind}, ptr {self.place(base, index, kind)}, align 8")

    def store(self, x: str, base: str, index: Index, kind: str = "double") -> None:
        self.do(f"store {kind} {x}, ptr {self.place(base, index, kind)}, align 8")

    def load_lanes(self, base: str, index: Index, align: int = 0) -> str:
        """A vector; in rows of samples it is aligned to its size."""
        return self.let(f"load {self.type}, ptr {self.place(base, index)}, align {align or 8 * self.width}")

    def store_lanes(self, x: str, base: str, index: Index, align: int = 0) -> None:
        self.do(f"store {self.type} {x}, ptr {self.place(base, index)}, align {align or 8 * self.width}")

    def load_part(self, base: str, index: Index, count: int, step: int, fill: float) -> str:
        """`count` neighbours in the first lanes, upward (1) or downward (-1) from an index; then `fill`."""
        x = self.let(
            f"load <{count} x double>, ptr {self.place(base, self.first_of(index, count, step))}, align 8"
        )
        if count == self.width and step == 1:
            return x
        rest = f"<{', '.join([f'double {hexadecimal(fill)}'] * count)}>"
        lanes = [*range(count)[::step], *[count] * (self.width - count)]
        return self.shuffled(f"<{count} x double>", x, rest, lanes)

    def store_part(self, x: str, base: str, index: Index, count: int, step: int) -> None:
        """The first `count` lanes to neighbours in memory."""
        if count < self.width or step == -1:
            x = self.shuffled(self.type, x, "poison", range(count)[::step])
        place = self.place(base, self.first_of(index, count, step))
        self.do(f"store <{count} x double> {x}, ptr {place}, align 8")

    def first_of(self, index: Index, count: int, step: int) -> Index:
        """Where `count` neighbours begin that run upward or downward from an index."""
        return index if step == 1 else self.index(index, 1 - count)

    def shuffled(self, kind: str, x: str, y: str, lanes: Iterable[int]) -> str:
        chosen = [f"i32 {lane}" for lane in lanes]
        return self.let(f"shufflevector {kind} {x}, {kind} {y}, <{len(chosen)} x i32> <{', '.join(chosen)}>")

    def gathered(self, base: str, addresses: Sequence[Index], fill: float = 0.0) -> str:
        """Numbers from anywhere, one in each of the first lanes; then `fill`."""
        vector = self.constant(fill)
        for lane, address in enumerate(addresses):
            x = self.load(base, address)
            vector = self.let(f"insertelement {self.type} {vector}, double {x}, i32 {lane}")
        return vector

    def load_masked(self, place: str, mask: str) -> str:
        """A vector from unaligned memory; lanes outside the mask are 0, and not read."""
        name = f"llvm.masked.load.v{self.width}f64.p0"
        self.declared.setdefault(name, f"declare {self.type} @{name}(ptr, i32, {self.mask}, {self.type})")
        zeros = self.constant(0.0)
        return self.let(
            f"call {self.type} @{name}(ptr {place}, i32 8, {self.mask} {mask}, {self.type} {zeros})"
        )

    def store_masked(self, x: str, place: str, mask: str) -> None:
        name = f"llvm.masked.store.v{self.width}f64.p0"
        self.declared.setdefault(name, f"declare void @{name}({self.type}, ptr, i32, {self.mask})")
        self.do(f"call void @{name}({self.type} {x}, ptr {place}, i32 8, {self.mask} {mask})")

    # --- lanes ---------------------------------------------------------------------------------------------

    def below(self, first: Index, end: str) -> str:
        """Which of the numbers first, first + 1, ... are below the end: a mask."""
        numbers = ", ".join(f"i64 {lane}" for lane in range(self.width))
        counted = self.let(f"add {self.ints} {self.spread(str(first), 'i64')}, <{numbers}>")
        return self.let(f"icmp slt {self.ints} {counted}, {self.spread(end, 'i64')}")

    def exchanged(self, x: str, y: str, size: int) -> tuple[str, str]:
        """Two vectors with every second group of `size` lanes of the one in exchange for the other's."""
        parts = []
        for offset in (0, size):
            lanes = [(self.width - size) * bool(k & size) + k + offset for k in range(self.width)]
            mask = f"<{self.width} x i32> <{', '.join(f'i32 {lane}' for lane in lanes)}>"
            parts.append(self.let(f"shufflevector {self.type} {x}, {self.type} {y}, {mask}"))
        return parts[0], parts[1]

    def transposed(self, rows: list[str]) -> list[str]:
        """As many vectors as each has lanes, rows for columns."""
        xs = list(rows)
        size = 1
        while size < self.width:
            for i in range(self.width):
                if not i & size:
                    xs[i], xs[i | size] = self.exchanged(xs[i], xs[i | size], size)
            size *= 2
        return xs

    def any_bit(self, x: str) -> str:
        """All lanes of a vector of integers, or-ed."""
        if self.width == 1:
            return x
        name = f"llvm.vector.reduce.or.v{self.width}i64"
        self.declared.setdefault(name, f"declare i64 @{name}({self.ints})")
        return self.let(f"call i64 @{name}({self.ints} {x})")

    # --- loops ---------------------------------------------------------------------------------------------

    @contextmanager
    def loop(self, first: Index, end: Index, step: Index = 1) -> Iterator[Index]:
        """Run the body for first, first + step, ... below end; written without a loop for a single turn."""
        if isinstance(first, int) and isinstance(end, int) and isinstance(step, int) and end - first <= step:
            mark = len(self.lines)
            yield first
            if end <= first:
                del self.lines[mark:]
            return
        counter = self.variable("i64")
        self.names += 1
        head, body, done = f"head{self.names}", f"body{self.names}", f"done{self.names}"
        self.do(f"store i64 {first}, ptr {counter}")
        self.do(f"br label %{head}")
        self.lines.append(f"{head}:")
        i = self.let(f"load i64, ptr {counter}")
        self.do(f"br i1 {self.let(f'icmp slt i64 {i}, {end}')}, label %{body}, label %{done}")
        self.lines.append(f"{body}:")
        yield i
        self.do(f"store i64 {self.let(f'add i64 {i}, {step}')}, ptr {counter}")
        self.do(f"br label %{head}")
        self.lines.append(f"{done}:")

    @contextmanager
    def only_if(self, condition: str, leave: str = "") -> Iterator[None]:
        """Run the body if an i1 is true, and then leave the function, if that is said how."""
        self.names += 1
        yes, done = f"yes{self.names}", f"done{self.names}"
        self.do(f"br i1 {condition}, label %{yes}, label %{done}")
        self.lines.append(f"{yes}:")
        yield
        self.do(leave or f"br label %{done}")
        self.lines.append(f"{done}:")


def choose(text: Text, mask: str, x: str, y: str) -> str:
    """x where the mask is set, y elsewhere."""
    return text.let(f"select {text.mask} {mask}, {text.type} {x}, {text.type} {y}")


def compare(text: Text, how: str, x: str, y: str) -> str:
    """A mask."""
    return text.let(f"fcmp {how} {text.type} {x}, {y}")
