"""Pictures on disk, and what could not be drawn.

A stage that draws pictures for the report writes them to a folder beside `pictures.json`, which holds their captions.
A picture that fails is listed there as a gap, so that the other pictures and the report are made all the same.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from matplotlib.figure import Figure

from fabnet.errors import UserError, one_line
from fabnet.files import atomic_file, read_json, write_json

logger = logging.getLogger(__name__)

T = TypeVar("T")

_LIST = "pictures.json"


@dataclass(frozen=True)
class Picture:
    """A picture file. `alt` describes it for a screen reader, `caption` says how to read it."""

    path: Path
    alt: str
    caption: str = ""


@dataclass(frozen=True)
class Gap:
    """Placeholder for something that failed, with the reason."""

    what: str
    why: str


def attempt(what: str, make: Callable[[], T]) -> T | Gap:
    """The result of `make` or, if it raises, a gap named `what`.

    An error that is not meant for people is a defect of ours: its traceback goes to stderr.

    Args:
        what: names the gap.
        make: takes nothing and gives what is wanted.
    """
    try:
        return make()
    except Exception as error:
        if isinstance(error, UserError):
            return Gap(what, str(error))
        logger.exception(f"not made: {what}")
        return Gap(what, f"{type(error).__name__}: {one_line(error, 300)}")


def save(figure: Figure, path: Path | str, dpi: int = 100) -> None:
    """Write a PNG, the same bytes for the same figure.

    Args:
        figure: of matplotlib.
        path: of the PNG.
        dpi: dots per inch.
    """
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=dpi, metadata={"Software": None}, facecolor="white")


def picture(path: Path, alt: str, caption: str, draw: Callable[[], Figure], dpi: int) -> Picture | Gap:
    """Draw and save a picture or, if that fails, return a gap.

    Args:
        path: of the PNG.
        alt: what it shows, without a full stop; names the gap.
        caption: how to read it.
        draw: makes the figure.
        dpi: pixels per inch.
    """

    def make() -> Picture:
        save(draw(), path, dpi)
        return Picture(path, alt, caption)

    return attempt(alt, make)


def write_pictures(folder: Path, pictures: Sequence[Picture | Gap]) -> None:
    """Write the list of a folder's pictures, in their order, and warn on stderr of what could not be drawn.

    The stage succeeds: the report shows the gaps and, once it is written, fails.

    Args:
        folder: where the PNG files lie.
        pictures: those that were drawn, and what stands for the others.
    """
    shown = [each for each in pictures if isinstance(each, Picture)]
    gaps = [each for each in pictures if isinstance(each, Gap)]
    listed = {
        "pictures": [{"file": each.path.name, "alt": each.alt, "caption": each.caption} for each in shown],
        "gaps": [{"what": each.what, "why": each.why} for each in gaps],
    }
    write_json(folder / _LIST, listed)
    for each in gaps:
        logger.warning(f"not made: {each.what}: {each.why}")


def read_pictures(folder: Path) -> list[Picture | Gap]:
    """The pictures of a folder, then what could not be drawn.

    Raises:
        UserError: the list is absent. A picture whose file is absent is a gap.
    """
    if not (folder / _LIST).is_file():
        raise UserError(f"{folder / _LIST}: no such file; run `dvc repro` to draw the pictures")
    listed = read_json(folder / _LIST)
    found: list[Picture | Gap] = []
    for each in listed["pictures"]:
        path = folder / each["file"]
        found.append(
            Picture(path, each["alt"], each["caption"]) if path.is_file() else Gap(each["alt"], f"{path}: no such file")
        )
    return found + [Gap(each["what"], each["why"]) for each in listed["gaps"]]
