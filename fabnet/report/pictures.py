"""Pictures that one stage draws and the report shows: files in a folder, and `pictures.json`, which says what they are.

What could not be drawn stands there too, so that the report can say so.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fabnet.errors import UserError
from fabnet.files import read_json, write_json
from fabnet.report.attempt import attempt
from fabnet.report.blocks import Figure, Gap

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawn

_LIST = "pictures.json"


def picture(path: Path, alt: str, caption: str, draw: "Callable[[], Drawn]", dpi: int) -> Figure | Gap:
    """Draw and save a picture or, if that fails, a gap.

    Args:
        path: of the PNG.
        alt: what it shows, without a full stop; a gap is named so.
        caption: how to read it.
    """
    from fabnet.figures.save import save

    def make() -> Figure:
        save(draw(), path, dpi)
        return Figure(path, alt, caption)

    return attempt(alt, make)


def write_pictures(folder: Path, pictures: Sequence[Figure | Gap]) -> None:
    """Write the list of a folder's pictures, in their order."""
    figures = [each for each in pictures if isinstance(each, Figure)]
    shown = [{"file": each.path.name, "alt": each.alt, "caption": each.caption} for each in figures]
    gaps = [{"what": each.what, "why": each.why} for each in pictures if isinstance(each, Gap)]
    write_json(folder / _LIST, {"pictures": shown, "gaps": gaps})


def read_pictures(folder: Path) -> list[Figure | Gap]:
    """The pictures of a folder, then what could not be drawn.

    Raises:
        UserError: there is no list, or a picture of it is not there.
    """
    if not (folder / _LIST).is_file():
        raise UserError(f"{folder / _LIST}: no such file; run `dvc repro` to draw the pictures")
    listed = read_json(folder / _LIST)
    found: list[Figure | Gap] = []
    for each in listed["pictures"]:
        path = folder / each["file"]
        found.append(
            Figure(path, each["alt"], each["caption"]) if path.is_file() else Gap(each["alt"], f"{path}: no such file")
        )
    return found + [Gap(each["what"], each["why"]) for each in listed["gaps"]]
