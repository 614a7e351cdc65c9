"""The folder of clips: `identity/**/clip.mp4`."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from fabnet.errors import UserError

SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v")
LAYOUT = "expected <identity>/<video>/<clip>.mp4 or <identity>/<clip>.mp4 below it"


@dataclass(frozen=True)
class Clip:
    """A video file of one person.

    Attributes:
        path: where it lies.
        name: its path below the folder of videos, with "/".
        identity: who it shows, the first folder.
        video: the recording it belongs to: the folders between, or the file's stem where there are none.
    """

    path: Path
    name: str
    identity: str
    video: str

    def track_id(self, number: int) -> str:
        """Name of a track of this clip, without white space."""
        parts = self.identity, self.video, PurePosixPath(self.name).stem, str(number)
        return "_".join("/".join(parts).split())


def find_clips(root: Path) -> list[Clip]:
    """All clips below `root` by name. Hidden files and folders, and files without a video's suffix, are passed over.

    Raises:
        UserError: the folder is missing or holds no clips, a clip lies outside a folder of an identity, or two clips
            would give tracks of the same name.
    """
    if not root.is_dir():
        raise UserError(f"{root}: no such folder of videos (extract.videos); {LAYOUT}")
    clips = sorted((_clip(root, name) for name in _files(root)), key=lambda clip: clip.name)
    if not clips:
        raise UserError(f"{root}: holds no clips ({', '.join(SUFFIXES)}); {LAYOUT}")
    named: dict[str, str] = {}
    for clip in clips:
        other = named.setdefault(clip.track_id(0), clip.name)
        if other != clip.name:
            raise UserError(f"{root}: {other} and {clip.name} would share the track {clip.track_id(0)}; rename one")
    return clips


def _files(root: Path) -> Iterator[str]:
    for folder, folders, files in os.walk(root, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for file in files:
            if file.lower().endswith(SUFFIXES) and not file.startswith("."):
                yield (Path(folder) / file).relative_to(root).as_posix()


def _clip(root: Path, name: str) -> Clip:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise UserError(f"{root}: the name of the clip {name!r} is not UTF-8; rename it") from None
    *folders, file = name.split("/")
    if not folders:
        raise UserError(f"{root}: {file} lies in no folder of an identity; {LAYOUT}")
    identity, *between = folders
    return Clip(root / name, name, identity, "/".join(between) or PurePosixPath(file).stem)
