"""Small datasets for lessons: each is (xs, ys), inputs and targets in two lists of the same length.

They draw from a generator of their own, made from `seed`, so the same call gives the same points everywhere.
"""

import math
import random

Points = list[list[float]]


def quadratic(low: float = -7.0, high: float = 5.0, step: float = 0.05) -> tuple[list[float], list[float]]:
    """y = x² + 2x − 3 at low, low + step, ... below high: 240 points as it stands.

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


def _counted(n: int, name: str) -> int:
    if not isinstance(n, int) or n < 1:
        raise ValueError(f"{name}: a whole number from 1 up, not {n!r}")
    return n


def _spaced(n: int, end: float) -> list[float]:
    return [end * i / max(n - 1, 1) for i in range(n)]
