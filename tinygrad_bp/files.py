"""Writing a file whole or not at all: the content goes into a temporary file, which then takes the name.

Drawings, pages and checkpoints are written here.  A process that is killed leaves the old file as it was, and
a temporary file beside it, which the next save to the same name removes.
"""

import os
import secrets
import time
from pathlib import Path
from stat import S_ISDIR

from tinygrad_bp.errors import TinygradError, printable

ABANDONED = 60.0  # seconds without a change: whoever was writing this temporary file is gone
LONGEST_PATH = 120  # characters of a path in a message
MOST_OF_NAME = 40  # characters of a file's name in the name of its temporary file, which may not be too long


def file_path(path: str | os.PathLike[str], error: type[TinygradError]) -> Path:
    """The path of a file that a user named.

    Raises TypeError for what is not a path, `error` for a folder and for a name that no file can have.
    """
    if not isinstance(path, (str, os.PathLike)):
        kind = type(path).__name__
        raise TypeError(f"a file name is expected, such as 'graph.svg' or 'backprop.html', not one {kind}")
    try:
        folder = S_ISDIR(Path(path).stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        folder = False  # nothing is there yet; whether it can be written is seen when it is
    except (OSError, ValueError) as found:
        why = getattr(found, "strerror", None) or str(found)
        raise error(
            f"cannot write '{printable(path, LONGEST_PATH)}': {why.lower()}; choose another file name"
        ) from None
    if folder:
        raise error(
            f"cannot write '{printable(path, LONGEST_PATH)}': it is a folder; give the name of a file in it"
        )
    return Path(path)


def write_whole(path: Path, content: bytes, error: type[TinygradError]) -> Path:
    """Replace the file at path by this content in one moment; if anything goes wrong, it stays as it was.

    Raises `error`, which names the path.
    """
    target = Path(os.path.realpath(path))  # a link stays a link
    temporary = f".{target.name[:MOST_OF_NAME]}."
    part = target.with_name(f"{temporary}{secrets.token_hex(4)}.part")
    try:
        _remove_abandoned(target.parent, temporary)
        try:
            with part.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())  # on the disk before it takes the name, also if the power fails
            part.replace(target)
            _sync_folder(target.parent)
        finally:
            part.unlink(missing_ok=True)
    except OSError as found:
        fix = (
            ""
            if target.parent.is_dir()
            else f": make the folder '{printable(path.parent, LONGEST_PATH)}' first"
        )
        why = found.strerror or found
        raise error(
            f"cannot write '{printable(path, LONGEST_PATH)}': {why}{fix}; nothing was changed"
        ) from found
    return path


def _sync_folder(folder: Path) -> None:
    """Put the new name on the disk, too, where folders can be opened."""
    try:
        number = os.open(folder, os.O_RDONLY)
    except OSError:
        return  # as on Windows
    try:
        os.fsync(number)
    except OSError:
        return  # a file system that has no such thing
    finally:
        os.close(number)


def _remove_abandoned(folder: Path, temporary: str) -> None:
    """Temporary files of this name that a killed process has left."""
    for file in folder.iterdir():
        if file.name.startswith(temporary) and file.name.endswith(".part"):
            try:
                if time.time() - file.stat().st_mtime > ABANDONED:
                    file.unlink()
            except OSError:
                continue  # another process has removed it, or it is not ours to remove
