"""VoxCeleb's layouts in small, and sources as a run uses them, for tests."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from fabnet.config import ExtractParams
from fabnet.video.clips import Clip, ClipList
from fabnet.video.crop import Box
from fabnet.video.faces import Face, Frame, TrackEnd
from fabnet.video.sources.open import Source, open_source
from tests.code.travelling import sent

HEADER = "Identity  : \t{}\nReference : \t{}\nOffset    : \t-2\nFV Conf   : \t18.394{}\nASD Conf  : \t7.649\n\n"
COLUMNS = "FRAME \tX \tY \tW \tH \n"
ONE, OTHER, VIDEO = "id10092", "id10130", "22Lt2SMT6u4"


def track_text(rows, identity=ONE, video=VIDEO, more="") -> str:
    lines = (f"{frame:06d} \t" + " \t".join(map(str, box)) + " \n" for frame, *box in rows)
    return HEADER.format(identity, video, more) + COLUMNS + "".join(lines)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def blank_frames(seconds: float, rate: int, width=64, height=48) -> Iterator[Frame]:
    """Frames that are all samples."""
    for number in range(round(seconds * rate)):
        yield Frame(number / rate, (number,), False, np.zeros((height, width, 3), np.uint8))


def prepared(root: Path, source: str, **params) -> tuple[Source, list[Clip]]:
    """A source that travelled to a worker, and its clips from their file."""
    opened = open_source(ExtractParams.standalone(videos=root, source=source, **params), root.parent / "state")
    clips = ClipList.write(opened.list_clips(), root.parent / "clips.arrow")
    opened.prepare(root.parent / "state")
    return sent(opened), clips.slice(0, len(clips))


def boxes_of(items, track: str) -> dict[int, Box]:
    return {item.number: item.box for item in items if isinstance(item, Face) and item.track.id == track}


def end_of(items, track: str) -> TrackEnd:
    (end,) = (item for item in items if isinstance(item, TrackEnd) and item.track.id == track)
    return end
