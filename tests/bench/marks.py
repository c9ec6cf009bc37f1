"""Goals and floors: what the ratios are to be, written beside the figures, and whether they are.

A mark belongs to one contender of one work, or to the fastest of those whose names begin with a peer's.
Besides, all others are to be behind in every work but those ALONE.  No verdict is given where other processes
disturbed the rounds.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mark:
    """At least so many times ours; or for seconds of our own, at most."""

    goal: float
    floor: float
    at_most: bool = False

    def told(self, figure: float) -> str:
        def met(mark: float) -> bool:
            return figure <= mark if self.at_most else figure >= mark

        verdict = "goal met" if met(self.goal) else "floor met" if met(self.floor) else "BELOW THE FLOOR"
        if self.at_most and not met(self.floor):
            verdict = "ABOVE THE FLOOR"
        return f"goal {self.goal:g}, floor {self.floor:g}: {verdict}"


HAND, MICROGRAD, OURS = "NumPy by hand", "micrograd", "tinygrad_bp"

MARKS: dict[str, dict[str, Mark]] = {
    "tiny, bound call": {HAND: Mark(100, 60)},
    "tiny": {HAND: Mark(230, 120)},
    "moons": {HAND: Mark(14, 10), MICROGRAD: Mark(100_000, 50_000)},
    "quadratic": {HAND: Mark(2.5, 2.0)},
    "quadratic, 2 threads": {HAND: Mark(2.5, 1.8)},
    "sigmoid": {HAND: Mark(2.2, 1.8)},
    "width 200": {HAND: Mark(1.3, 1.0)},
    "width 300": {HAND: Mark(1.3, 1.0)},
    "width 500": {HAND: Mark(1.3, 1.0)},
    "digits": {HAND: Mark(1.3, 1.0)},
    "adam16 400": {"JAX": Mark(2.0, 1.3)},
    "adam16 32": {"JAX": Mark(3.7, 2.0)},
    "adam16 8": {"JAX": Mark(8.0, 3.0)},
    "adam16 1": {"JAX": Mark(7.5, 3.0)},
    "adam64 32": {"JAX": Mark(1.8, 1.2)},
    "adam64 8": {"JAX": Mark(2.6, 1.5)},
    "adam64 1": {"JAX": Mark(2.8, 1.5)},
    "descent 1": {"JAX": Mark(2.4, 1.5)},
    "descent 2": {"JAX": Mark(3.8, 2.0)},
    "descent 4": {"JAX": Mark(3.2, 1.7)},
    "descent 8": {"JAX": Mark(2.3, 1.4)},
    "descent 16": {"JAX": Mark(1.8, 1.3)},
    "descent 32": {"JAX": Mark(1.5, 1.2)},
    "descent 240": {"JAX": Mark(1.5, 1.3)},
    "descent 1000": {"JAX": Mark(1.5, 1.3)},
    "formula": {
        "CasADi, bound buffers": Mark(1.5, 1.0),
        "CasADi and gcc -O3, bound buffers": Mark(1.001, 1.0),
    },
    "python": {"tinygrad_bp, the engine": Mark(10, 8)},
    "compile 1-100-100-100-1": {OURS: Mark(0.4, 0.6, at_most=True)},
    "compile 784-100-10": {OURS: Mark(2.0, 3.0, at_most=True)},
    "compile 6000 at random": {OURS: Mark(2.0, 4.0, at_most=True)},
    "gpt 1": {
        "the published arithmetic": Mark(2400, 950),
        OURS: Mark(0.02e-3, 0.05e-3, at_most=True),
    },
    "gpt 16": {OURS: Mark(0.006e-3, 0.0126e-3, at_most=True)},
    "gpt, first call": {OURS: Mark(1.0, 2.0, at_most=True)},
    "gpt, losses": {OURS: Mark(1e-12, 1e-9, at_most=True)},
    "gpt, demo": {OURS: Mark(5.0, 10.0, at_most=True)},
    "gpt, unseen names": {OURS: Mark(0.15, 0.15)},
    "steps": {OURS: Mark(0.001, 0.002, at_most=True)},
    "steps, drawn": {OURS: Mark(0.002, 0.004, at_most=True)},
    "laboratory": {OURS: Mark(5.0, 8.0, at_most=True)},
    "formulas": {OURS: Mark(0.2, 0.2, at_most=True)},
    "drag 52": {OURS: Mark(0.008, 0.016, at_most=True)},
    "drag 400": {OURS: Mark(0.04, 0.08, at_most=True)},
}
ALONE = {"eager", "depth", "python"}  # works of the engine, where nobody is asked to be behind
