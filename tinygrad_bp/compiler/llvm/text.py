"""Writing LLVM's instructions as text: names, constants, vectors, loops.

A vector holds one number of each of several samples.  Loop counters and accumulators are variables in memory;
LLVM's first pass turns those into registers.  Read functions.py next.
"""

import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

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
        self.names = 0
        self.type = "double" if width == 1 else f"<{width} x double>"
        self.mask = "i1" if width == 1 else f"<{width} x i1>"
        self.ints = "i64" if width == 1 else f"<{width} x i64>"

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

    def body(self) -> str:
        return "\n".join(["entry:", *self.variables, *self.lines])

    # --- numbers -------------------------------------------------------------------------------------------

    def constant(self, x: float) -> str:
        if self.width == 1:
            return hexadecimal(x)
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

    def place(self, base: str, index: Index, kind: str = "double") -> str:
        return self.let(f"getelementptr {kind}, ptr {base}, i64 {index}")

    def load(self, base: str, index: Index, kind: str = "double") -> str:
        return self.let(f"load {kind}, ptr {self.place(base, index, kind)}, align 8")

    def store(self, x: str, base: str, index: Index, kind: str = "double") -> None:
        self.do(f"store {kind} {x}, ptr {self.place(base, index, kind)}, align 8")

    def load_lanes(self, base: str, index: Index) -> str:
        return self.let(f"load {self.type}, ptr {self.place(base, index)}, align {8 * self.width}")

    def store_lanes(self, x: str, base: str, index: Index) -> None:
        self.do(f"store {self.type} {x}, ptr {self.place(base, index)}, align {8 * self.width}")

    # --- loops ---------------------------------------------------------------------------------------------

    @contextmanager
    def loop(self, first: Index, end: Index, step: int = 1) -> Iterator[Index]:
        """Run the body for first, first + step, ... below end; written without a loop for a single turn."""
        if isinstance(first, int) and isinstance(end, int) and end - first <= step:
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
