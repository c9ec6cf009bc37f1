"""Writing a file so that there is never half of one: into a neighbour first, which then takes its name."""

import os
from pathlib import Path

from tinygrad_bp.errors import DrawError


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
        raise DrawError(f"cannot write {path}: {error.strerror or error}; nothing was changed") from error
    return path
