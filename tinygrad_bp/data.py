"""Small datasets for lessons: each is (xs, ys), inputs and targets in two lists of the same length.

They draw from a generator of their own, made from `seed`, so the same call gives the same points everywhere.
`names` and `digits` are real data, read from files of the package; datasets/SOURCES.md says whose they are.
"""

import math
import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

Points = list[list[float]]
Sample = TypeVar("Sample")
FILES = Path(__file__).parent / "datasets"


def quadratic(low: float = -7.0, high: float = 5.0, step: float = 0.05) -> tuple[list[float], list[float]]:
    """y = x² + 2x − 3 at low, low + step, ... below high: 240 points by default.

    >>> xs, ys = quadratic(); len(xs), xs[0], ys[0]
    (240, -7.0, 32.0)
    """
    if not step > 0:
        raise ValueError(f"quadratic: step is above 0, not {step!r}")
    xs = [low + i * step for i in range(math.ceil((high - low) / step - 1e-9))]
    return xs, [x * x + 2.0 * x - 3.0 for x in xs]


def moons(n: int = 100, noise: float = 0.1, seed: int = 0) -> tuple[Points, list[float]]:
    """Two interleaved half circles of radius 1 with targets −1 and 1, moved by normal noise.

    >>> xs, ys = moons(4, noise=0.0); ys
    [-1.0, -1.0, 1.0, 1.0]
    """
    rng = random.Random(seed)
    outer = _counted(n, "moons") // 2
    upper = [(math.cos(t), math.sin(t)) for t in _spaced(outer, math.pi)]
    lower = [(1.0 - math.cos(t), 0.5 - math.sin(t)) for t in _spaced(n - outer, math.pi)]
    xs = [[rng.gauss(a, noise), rng.gauss(b, noise)] for a, b in upper + lower]
    return xs, [-1.0] * outer + [1.0] * (n - outer)


def spiral(n: int = 300, classes: int = 3, noise: float = 0.2, seed: int = 0) -> tuple[Points, list[int]]:
    """`classes` spiral arms of radius 0 to 1 (cs231n's case study), their angle moved by normal noise.

    >>> xs, ys = spiral(6); ys
    [0, 0, 1, 1, 2, 2]
    """
    rng = random.Random(seed)
    xs, ys = [], []
    for k in range(_counted(classes, "spiral: classes")):
        arm = _counted(n, "spiral") * (k + 1) // classes - n * k // classes
        for r in _spaced(arm, 1.0):
            t = 4.0 * k + 4.0 * r + rng.gauss(0.0, noise)
            xs.append([r * math.sin(t), r * math.cos(t)])
            ys.append(k)
    return xs, ys


def xor() -> tuple[Points, list[float]]:
    """The four corners of the unit square; the target is 1 where the coordinates differ.

    >>> xor()
    ([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], [0.0, 1.0, 1.0, 0.0])
    """
    return [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], [0.0, 1.0, 1.0, 0.0]


def digits() -> tuple[Points, list[int]]:
    """1,797 images of handwritten digits: 64 pixels from 0 to 1, row by row, and the digit (Alpaydin, 1998).

    >>> xs, ys = digits(); len(xs), len(xs[0]), ys[:10]
    (1797, 64, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    """
    lines = _lines("digits.txt")
    return [[int(c, 17) / 16.0 for c in line[2:]] for line in lines], [int(line[0]) for line in lines]


def names() -> list[str]:
    """5,163 given names in lower case, a to z, in alphabetical order (U.S. census of 1990).

    >>> len(names()), names()[:3]
    (5163, ['aaron', 'abbey', 'abbie'])
    """
    return _lines("names.txt")


def split(samples: Sequence[Sample], part: float = 0.2, seed: int = 0) -> tuple[list[Sample], list[Sample]]:
    """The samples in two lists, in random order: the second holds that part of them, to test with.

    Raises ValueError where one of the lists would be empty.

    >>> train, test = split(range(10)); len(train), len(test), sorted(train + test) == [*range(10)]
    (8, 2, True)
    """
    shuffled = [*samples]
    random.Random(seed).shuffle(shuffled)
    kept = len(shuffled) - round(part * len(shuffled))
    if not 0 < kept < len(shuffled):
        raise ValueError(
            f"split: a part of {part!r} of {len(shuffled)} samples leaves one of two lists empty"
        )
    return shuffled[:kept], shuffled[kept:]


class Characters:
    """Characters as whole numbers from 1 up, in the order of the alphabet; 0 begins and ends each text.

    >>> characters = Characters(["ada", "bob"]); characters.encode("bad"), characters.decode([2, 1, 3])
    ([2, 1, 3], 'bad')
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self.alphabet = sorted({c for text in texts for c in text})
        self.numbers = {c: number for number, c in enumerate(self.alphabet, 1)}

    def __len__(self) -> int:
        return len(self.alphabet) + 1

    def encode(self, text: str) -> list[int]:
        """The number of each character. Raises ValueError for a character that is not in the alphabet."""
        for place, c in enumerate(text):
            if c not in self.numbers:
                known = "".join(self.alphabet[:40])
                raise ValueError(f"{c!r} at place {place} of {text[:40]!r} is not in the alphabet {known!r}")
        return [self.numbers[c] for c in text]

    def decode(self, numbers: Iterable[int]) -> str:
        """The text of these numbers; 0 is left out. Raises ValueError for a number without a character."""
        text = ""
        for place, number in enumerate(numbers):
            if number not in range(len(self)):
                raise ValueError(
                    f"{number!r} at place {place} is no character's number: these are whole numbers "
                    f"from 1 to {len(self.alphabet)}, and 0 for the end"
                )
            text += self.alphabet[int(number) - 1] if number else ""
        return text


def _lines(name: str) -> list[str]:
    return (FILES / name).read_text(encoding="utf-8").splitlines()


def _counted(n: int, name: str) -> int:
    if not isinstance(n, int) or n < 1:
        raise ValueError(f"{name}: a whole number from 1 up, not {n!r}")
    return n


def _spaced(n: int, end: float) -> list[float]:
    return [end * i / max(n - 1, 1) for i in range(n)]
