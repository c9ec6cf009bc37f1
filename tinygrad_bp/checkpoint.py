"""Checkpoints: a model, its optimizer and the losses so far in one text file. Loading it runs no code.

The first line is a header with the version, the number of parameters, and the length and SHA-256 of the rest,
which is JSON.  Floats are written by `float.hex`, so every bit comes back; the losses, of which there may be
millions, are packed.  Loading looks at all of it before it changes anything, and what it reads is bounded by
the size of the model; saving replaces the old file in one moment.
"""

import base64
import hashlib
import json
import os
import re
from array import array
from collections.abc import Callable, Sequence
from stat import S_ISREG
from sys import byteorder
from typing import Any, NamedTuple

from tinygrad_bp.engine import Value
from tinygrad_bp.errors import CheckpointError, printable
from tinygrad_bp.files import file_path, write_whole
from tinygrad_bp.nn import Module, check_state
from tinygrad_bp.optim import Optimizer
from tinygrad_bp.undo import undoing

FORMAT, VERSION = "tinygrad_bp checkpoint", 1
LONGEST_HEADER = 1000
LARGEST = 64_000_000  # bytes, for a model without parameters
EACH = 400  # bytes more for a parameter, with what an optimizer remembers of it
BYTES_A_LOSS = 11


class Saved(NamedTuple):
    """What a checkpoint holds beside the model and the optimizer: the loss of each step, and the seconds."""

    losses: list[float]
    seconds: float


def save(
    path: str | os.PathLike[str],
    model: Module,
    optimizer: Optimizer | None = None,
    losses: Sequence[float] = (),
    seconds: float = 0.0,
) -> None:
    """Write the parameters, all that the optimizer needs to go on, and the losses so far.

    The file is whole or as it was before, also if the process is killed. Raises CheckpointError where it
    cannot be written, would be too large to load again, or the optimizer keeps what it does not save.

    >>> import os, random, tempfile
    >>> from tinygrad_bp import MLP
    >>> path = os.path.join(tempfile.mkdtemp(), "net.json")
    >>> model, other = (MLP(2, [1], rng=random.Random(seed)) for seed in (0, 1))
    >>> save(path, model); load(path, other).losses
    []
    >>> other.state_dict() == model.state_dict()
    True
    """
    target = file_path(path, CheckpointError)
    check_room(path, len(losses))
    content = {
        "model": {name: number.hex() for name, number in model.state_dict().items()},
        "others": _encode([p.data for p in _others(model, optimizer)], "parameters"),
        "optimizer": None if optimizer is None else _encode(_state(optimizer), "optimizer"),
        "losses": _pack(losses),
        "seconds": float(seconds).hex(),
    }
    body = json.dumps(content, indent=0, ensure_ascii=True).encode() + b"\n"
    count = len(content["model"])
    if len(body) + LONGEST_HEADER > largest(model):
        raise CheckpointError(
            f"{_place(path)}: {len(body):,} bytes are more than would be loaded again for {count} parameters"
        )
    write_whole(target, _header(count, body) + body, CheckpointError)


def load(path: str | os.PathLike[str], model: Module, optimizer: Optimizer | None = None) -> Saved:
    """Set the model, and the optimizer if one is given, to what `save` wrote; returns the losses.

    Raises CheckpointError for a file that is damaged, of another kind, or of a model or optimizer of another
    shape: nothing has changed then.
    """
    return restore(path, model, optimizer, lambda saved: None)


def restore(
    path: str | os.PathLike[str],
    model: Module,
    optimizer: Optimizer | None,
    accept: Callable[[Saved], None],
) -> Saved:
    """As `load`; `accept` is called when the optimizer is restored, and may refuse with a CheckpointError."""
    content = _read(path, model)
    try:
        return _apply(content, model, optimizer, accept)
    except CheckpointError as error:
        raise CheckpointError(f"{_place(path)}: {error}") from None
    except Exception as error:  # any error that the content of a file causes
        raise CheckpointError(f"{_place(path)}: this is not what save() writes: {error!r}") from None


def largest(model: Module) -> int:
    """The bytes that a checkpoint of this model may have."""
    return LARGEST + sum(EACH + 6 * len(name) for name, _ in model.named_parameters())


def check_room(path: str | os.PathLike[str], losses: int) -> None:
    """Raise CheckpointError where a file with so many losses could not be loaded again."""
    if losses * BYTES_A_LOSS > LARGEST // 2:
        raise CheckpointError(
            f"{_place(path)}: {losses:,} losses are too many for one checkpoint: "
            f"train in parts of {LARGEST // 2 // BYTES_A_LOSS:,} steps, each with a file of its own"
        )


# --- reading ------------------------------------------------------------------------------------------------


def _header(count: int, body: bytes) -> bytes:
    header = {
        "format": FORMAT,
        "version": VERSION,
        "count": count,
        "bytes": len(body),
        "sha256": hashlib.sha256(body).hexdigest(),
    }
    return json.dumps(header).encode() + b"\n"


def _read(path: str | os.PathLike[str], model: Module) -> dict[str, Any]:
    """The content of a file, with its length, hash and form as they should be."""
    place, limit = _place(path), largest(model)
    count = len(model.named_parameters())
    try:
        with open(path, "rb", opener=_open_without_waiting) as file:
            status = os.fstat(file.fileno())
            if not S_ISREG(status.st_mode):
                raise CheckpointError(f"{place} is not a file that can be loaded")
            if status.st_size > limit:
                raise CheckpointError(
                    f"{place} has {status.st_size:,} bytes, and a checkpoint of this model at most {limit:,}"
                )
            text = file.read(limit + 1)
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        raise CheckpointError(f"cannot read {place}: {getattr(error, 'strerror', error)}") from error
    first, newline, body = text.partition(b"\n")
    header = _parse(first, place, 100) if newline and len(first) <= LONGEST_HEADER else None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        what = "is empty" if not text else "does not begin as a checkpoint does"
        raise CheckpointError(f"{place} {what}: give a file that tg.save() or fit(checkpoint=...) wrote")
    version, length = header.get("version"), header.get("bytes")
    if version != VERSION:
        raise CheckpointError(
            f"{place} is of version {printable(str(version))}, and this package reads version {VERSION}"
        )
    if type(length) is not int or type(header.get("count")) is not int:
        raise CheckpointError(f"{place}: the header is damaged")
    if len(body) < length:
        expected = len(first) + 1 + length
        raise CheckpointError(f"{place}: truncated at byte {len(text):,}, expected {expected:,}")
    if len(body) > length or _header(header["count"], body) != first + b"\n":
        raise CheckpointError(f"{place} is damaged: its content is not what its header says")
    content = _parse(body, place, 10_000 + 4 * max(count, 1000))
    if not isinstance(content, dict):
        raise CheckpointError(f"{place}: this is not what save() writes")
    return content


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # a pipe would wait for a writer


def _parse(text: bytes, place: str, most: int) -> Any:
    """JSON, of at most so many entries, without what this format does not have: floats, and names twice."""
    if text.count(b",") + text.count(b"[") + text.count(b"{") > most:
        raise CheckpointError(f"{place} has more entries than this model needs")
    try:
        return json.loads(
            text.decode("ascii"), object_pairs_hook=_unique, parse_float=_refuse, parse_constant=_refuse
        )
    except (ValueError, RecursionError, MemoryError) as error:
        raise CheckpointError(f"{place}: this is not what save() writes: {error}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name is there twice")
    return found


def _refuse(text: str) -> None:
    raise ValueError(f"a number is written as {text[:20]}")


# --- applying -----------------------------------------------------------------------------------------------


def _apply(
    content: dict[str, Any], model: Module, optimizer: Optimizer | None, accept: Callable[[Saved], None]
) -> Saved:
    """Look at all of it, then change the optimizer, which may refuse, and the model, which cannot."""
    numbers = {name: float.fromhex(text) for name, text in content["model"].items()}
    try:
        check_state(model, numbers)
    except CheckpointError as error:
        shapes = [_shape(numbers), _shape(model.state_dict())]
        more = f"; the model has {shapes[1]}, the file {shapes[0]}" if all(shapes) else ""
        raise CheckpointError(f"{error}{more}") from None
    saved = Saved(_unpack(content["losses"]), float.fromhex(content["seconds"]))
    most = len(numbers) + 10_000
    others, values = _decode(content["others"], most), _others(model, optimizer)
    if optimizer is not None:
        if content["optimizer"] is None:
            raise CheckpointError("it was saved without an optimizer: load it without one")
        state = _decode(content["optimizer"], most)
        if len(others) != len(values) or not all(type(x) is float for x in others):
            raise CheckpointError(
                f"it holds {len(others)} parameters beside the model's, and this optimizer {len(values)}"
            )
        undo = undoing(optimizer)
        try:
            optimizer.load_state_dict(state)
            accept(saved)
        except Exception as error:
            undo()
            raise CheckpointError(f"{error}") from None
        for p, number in zip(values, others):
            p.data = number
    model.load_state_dict(numbers)
    return saved


def _state(optimizer: Optimizer) -> dict[str, Any]:
    """The state of an optimizer. Raises CheckpointError for one that keeps more than its state says."""
    if type(optimizer).state_dict is Optimizer.state_dict:
        known = {"parameters", "t", "batches", "velocity", *optimizer.memory, *optimizer.settings()}
        for name, x in vars(optimizer).items():
            if name not in known and not callable(x):
                raise CheckpointError(
                    f"{type(optimizer).__name__} keeps {name!r}, a {type(x).__name__}, and its state_dict() "
                    "does not have it: name it in `memory`, or write state_dict() and load_state_dict()"
                )
    return optimizer.state_dict()


def _others(model: Module, optimizer: Optimizer | None) -> list[Value]:
    """The parameters of the optimizer that are not the model's."""
    own = set(map(id, model.parameters()))
    return [] if optimizer is None else [p for p in optimizer.parameters if id(p) not in own]


def _shape(names: Any) -> str:
    """The sizes of an MLP from the names of its parameters, as 3→16→1; '' for another model."""
    found = re.findall(r"layers\.(\d+)\.neurons\.(\d+)\.w\.(\d+)\n", "\n".join([*names, ""]))
    sizes: dict[int, int] = {}
    for layer, neuron, weight in found:
        if layer == "0":
            sizes[0] = max(sizes.get(0, 0), int(weight) + 1)
        sizes[int(layer) + 1] = max(sizes.get(int(layer) + 1, 0), int(neuron) + 1)
    return "→".join(str(sizes[i]) for i in sorted(sizes)) if len(sizes) > 1 else ""


# --- values as JSON -----------------------------------------------------------------------------------------


def _encode(x: Any, place: str) -> Any:
    """Numbers, texts, lists and dicts as JSON without its floats: a list begins with what it is."""
    if x is None or type(x) in (bool, int, str):
        return x
    if type(x) is float:
        return ["float", x.hex()]
    if isinstance(x, (list, tuple)) and x and {*map(type, x)} == {float}:
        return ["floats", " ".join([number.hex() for number in x])]
    if isinstance(x, (list, tuple)) and x and {*map(type, x)} == {int}:
        return ["ints", " ".join(map(str, x))]
    if isinstance(x, (list, tuple)):
        return ["list", *[_encode(entry, f"{place}[{i}]") for i, entry in enumerate(x)]]
    if isinstance(x, dict) and all(type(name) is str for name in x):
        return {name: _encode(entry, f"{place}[{name!r}]") for name, entry in x.items()}
    raise CheckpointError(
        f"{place} is a {type(x).__name__}, which a checkpoint cannot hold: "
        "keep floats, whole numbers, texts, and lists and dicts of them"
    )


def _decode(x: Any, most: int) -> Any:
    """What `_encode` was given. Raises ValueError for anything else."""
    if isinstance(x, dict):
        return {name: _decode(entry, most) for name, entry in x.items()}
    if not isinstance(x, list):
        return x
    kind, *rest = x
    if kind == "list":
        return [_decode(entry, most) for entry in rest]
    [text] = rest
    if kind == "float":
        return float.fromhex(text)
    if kind == "floats" and text.count(" ") < most:
        return [float.fromhex(number) for number in text.split(" ")]
    if kind == "ints":
        return [int(number) for number in text.split(" ")]
    raise ValueError(f"a list begins with {str(kind)[:20]!r}")


def _pack(losses: Sequence[float]) -> str:
    """Doubles, the lowest byte first, in base 64."""
    numbers = array("d", losses)
    if byteorder == "big":
        numbers.byteswap()
    return base64.b64encode(numbers.tobytes()).decode()


def _unpack(text: str) -> list[float]:
    numbers = array("d")
    numbers.frombytes(base64.b64decode(text, validate=True))
    if byteorder == "big":
        numbers.byteswap()
    return numbers.tolist()


def _place(path: str | os.PathLike[str]) -> str:
    return f"the file {printable(str(os.fspath(path)))!r}"
