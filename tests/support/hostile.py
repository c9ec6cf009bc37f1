"""Texts that somebody might send as a formula to do harm, or by mistake."""

import random

PIECES = [
    "x", "y", "_", "__class__", "__import__", "os", "exp", "tanh", "max", "sum", "powc", "pow", "dot", "9",
    "1e308", "0x", "1_0", "1j", "99999999999", "(", ")", "(", ")", "+", "-", "*", "**", "**", "/", "//",
    "%", ".", ",", "=", ":=", "==", "<", "[", "]", "{", "}", "'", '"', "f'", "\\", "lambda", "if", "else",
    "for", "in", "not", "await", "yield", "@", "~", "^", "|", "&", "!", "#", ";", "\n", "\t", "\x00",
    "\u202e", "é", "𝐱", "\ud800", "print", "eval", "open('/etc/passwd')", "slope=", "(x)", "((", "))", "--",
    "x**", "9**9**",
]  # fmt: skip

SOUND = "tanh ( w * x + b ) ** 2 - max ( x , y ) / 3"


def hostile(seed: int) -> str:
    """The text of this number: mostly no formula, sometimes one."""
    draw = random.Random(seed)
    if draw.random() < 0.1:
        return draw.choice(PIECES) * draw.randrange(3000)
    if draw.random() < 0.5:  # a formula with one thing wrong
        words = SOUND.split()
        words[draw.randrange(len(words))] = draw.choice(PIECES)
        return " ".join(words)
    return "".join(draw.choice(PIECES) for _ in range(draw.randrange(40)))
