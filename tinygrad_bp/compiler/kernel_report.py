"""The report of a kernel: its loop nests, its memory, and the seconds of each pass, as text."""

from collections.abc import Mapping

from tinygrad_bp.compiler.kernel import Kernel

LINES = 40  # nests that are listed


def report(kernel: Kernel, seconds: Mapping[str, float]) -> str:
    """A kernel's loops, one line a nest."""
    rolled = kernel.rolled
    statements = sum(nest.points for nest in rolled.nests)
    how = "machine code" if kernel.machines else "no code made yet"
    if kernel.reason:
        how = f"generated Python: {kernel.reason}"
    lines = [
        f"{kernel.name}: {statements} statements in {len(rolled.nests)} loop nests, {how}",
        f"  {rolled.leaves} parameters and captured values, {rolled.inputs} inputs, "
        f"{len(rolled.outputs)} outputs",
        f"  memory: {rolled.scalars} scalars, {rolled.rows} numbers a sample, "
        f"{len(rolled.table)} addresses in tables",
        f"  seconds: {', '.join(f'{name} {s:.3f}' for name, s in seconds.items())}",
    ]
    for nest in rolled.nests[:LINES]:
        loops = " x ".join(str(trips) for trips, _ in nest.loops) or "1"
        inner = f", each a sum of {nest.length}" if nest.length else ""
        lines.append(f"  {nest.kind.value}: {loops}{inner}{', addresses from a table' if nest.table else ''}")
    if len(rolled.nests) > LINES:
        lines.append(f"  ... and {len(rolled.nests) - LINES} more")
    return "\n".join(lines)
