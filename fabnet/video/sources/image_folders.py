"""Folders of images, each image a crop or close to one, as released with VoxCeleb1 and used by FAb-Net's authors."""

from collections.abc import Callable, Iterator
from pathlib import Path

from fabnet.video.clips import Clip
from fabnet.video.faces import Frame
from fabnet.video.images import image_frames
from fabnet.video.reject import Rejected
from fabnet.video.sources.folders import RefusedEntry, files, sub_folders

VISITED = "VISITED"


def folders_below(root: Path, below: str = "") -> list[str]:
    """Names of sub-folders, without the marks that a downloader left."""
    return [name for name in sub_folders(root, below) if name != VISITED]


def folder_frames(
    root: Path,
    clip: Clip,
    suffixes: tuple[str, ...],
    placed: Callable[[list[str]], list[tuple[int, float, str]]],
    limit_s: float,
) -> Iterator[Frame]:
    """The images of a clip's folder as frames.

    Args:
        placed: gives numbers, times in s and names, in order, of images whose names are given sorted.

    Raises:
        Rejected: unreadable, no_frames, or as image_frames.
    """
    try:
        names = files(root, clip.name, suffixes)
    except RefusedEntry as error:
        raise Rejected("unreadable", f"{error.name!r} is {error.problem}") from None
    if not names:
        raise Rejected("no_frames", f"the folder holds no images ({', '.join(suffixes)})")
    yield from image_frames([(number, time_s, clip.path / name) for number, time_s, name in placed(names)], limit_s)
