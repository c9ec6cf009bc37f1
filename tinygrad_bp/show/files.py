"""Writing a file so that there is never half of one: into a neighbour first, which then takes its name."""

import os
from pathlib import Path

from tinygrad_bp.errors import DrawError


def named(path: str | os.PathLike[str]) -> Path:
    """The path of a file that a user named; raises TypeError for what is none, DrawError for a folder."""
    if not isinstance(path, (str, os.PathLike)):
        kind = type(path).__name__
        raise TypeError(f"the name of a file is due, such as 'graph.svg' or 'backprop.html', not one {kind}")
    if Path(path).is_dir():
        raise DrawError(f"cannot write {str(path)!r}: it is a folder; give the name of a file in it")
    return Path(path)


def write(path: Path, content: bytes) -> Path:
    """Put the content where path is, at once; what was there before stays if anything goes wrong.

    Raises DrawError naming the path.
    """
    target = Path(os.path.realpath(path))  # a link stays a link
    beside = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        try:
            beside.write_bytes(content)
            beside.replace(target)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        mend = "" if target.parent.is_dir() else f": make the folder {path.parent} first"
        raise DrawError(
            f"cannot write {path}: {error.strerror or error}{mend}; nothing was changed"
        ) from error
    return path
