"""Files are written whole or not at all: names that no file can have, full disks, killed processes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tinygrad_bp.errors import CheckpointError, DrawError
from tinygrad_bp.files import ABANDONED, file_path, write_whole


def test_a_file_is_replaced_by_the_new_content(tmp_path):
    path = tmp_path / "a.txt"
    for content in (b"", b"first", b"second" * 100_000):
        assert write_whole(path, content, DrawError) == path
        assert path.read_bytes() == content
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.skipif(sys.platform == "emscripten", reason="a file can have any name there")
@pytest.mark.parametrize("name", ["a\0b", "x" * 300, "/".join(["y" * 200] * 30)])
@pytest.mark.parametrize("error", [DrawError, CheckpointError])
def test_a_name_that_no_file_can_have_is_an_error_that_names_it(name, error, tmp_path):
    with pytest.raises(error, match=r"cannot write '.*; choose another file name") as raised:
        file_path(tmp_path / name, error)
    assert len(str(raised.value)) < 200
    assert "\0" not in str(raised.value)


def test_the_longest_name_that_a_file_can_have(tmp_path):
    path = tmp_path / ("z" * 251 + ".svg")
    write_whole(file_path(path, DrawError), b"content", DrawError)
    assert path.read_bytes() == b"content"


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "a.svg"
    path.write_text("before")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DrawError, match=r"cannot write '.*a.svg': No space left on device; nothing was ch"):
        write_whole(path, b"after", DrawError)
    assert path.read_text() == "before"
    assert [file.name for file in tmp_path.iterdir()] == ["a.svg"]


WRITER = """
import sys, os
from pathlib import Path
from tinygrad_bp.errors import DrawError
from tinygrad_bp import files
def stop(descriptor): print("writing", flush=True); sys.stdin.read()
os.fsync = stop
files.write_whole(Path(sys.argv[1]), b"new" * 1000, DrawError)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="a kill -9 is one of POSIX systems")
def test_what_a_killed_process_leaves_is_removed_by_the_next_save(tmp_path):
    path = tmp_path / "[a]*.svg"  # no pattern is made of it
    path.write_text("before")
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert writer.stdout.readline() == b"writing\n"
    writer.kill()
    writer.communicate()
    assert path.read_text() == "before"
    (part,) = [file for file in tmp_path.iterdir() if file.suffix == ".part"]
    write_whole(path, b"at once", DrawError)
    assert part.exists(), "another process may still be writing it"
    os.utime(part, (time.time() - ABANDONED - 1,) * 2)
    write_whole(path, b"later", DrawError)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == b"later"
