"""What the demos have in common: their options, and how a picture is saved.

Each demo runs by itself, as `python demos/NAME.py`; pictures and pages go to demos/out/ unless --output says
otherwise.
"""

import argparse
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import tinygrad_bp as tg

PICTURES, DRAWINGS, PAGES = (".png", ".svg", ".pdf"), (".svg",), (".html",)


def options(
    doc: str | None,
    name: str,
    iterations: int | None = None,
    seed: int | None = None,
    training: bool = True,
    kinds: tuple[str, ...] = PICTURES,
) -> argparse.Namespace:
    """--output, a file of the first of these kinds by default; for a training --iterations and --seed too."""
    parser = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    if training:
        told = f"default: {iterations or 'as many as are quick here'}"
        parser.add_argument("--iterations", type=positive, default=iterations, help=told)
        parser.add_argument(
            "--seed", type=int, default=seed, help="of the first weights; default: %(default)s"
        )
    in_repository = (Path(__file__).parents[1] / "pyproject.toml").is_file()
    path = (Path(__file__).parent / "out" if in_repository else Path()) / f"{name}{kinds[0]}"
    good = partial(writable, kinds=kinds)
    parser.add_argument("--output", type=good, default=path, help=f"default: {shown(path)}")
    return parser.parse_args()


def shown(path: Path) -> str:
    return os.path.relpath(path)


def positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a whole number from 1 up, not {text!r}")
    return int(text)


def writable(text: str, kinds: tuple[str, ...] = PICTURES) -> Path:
    """The path of a picture or a page, found to be good before the training and not after it."""
    path = Path(text)
    if path.suffix.lower() not in kinds:
        what = "page" if kinds == PAGES else "picture"
        raise argparse.ArgumentTypeError(f"a {what}'s name ends in {' or '.join(kinds)}, unlike {text!r}")
    place = next(folder for folder in path.absolute().parents if folder.exists())
    if path.is_dir() or not os.access(place, os.W_OK) or not place.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} cannot be written: choose another file")
    return path


def save_picture(draw: Callable[[], object], path: Path) -> None:
    """Draw a figure and save it, or say which extra is missing."""
    try:
        figure = draw()
    except tg.MissingExtraError as missing:
        print(f"no picture: {missing}")
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)  # type: ignore[attr-defined]
    print(f"picture: {shown(path)}")
