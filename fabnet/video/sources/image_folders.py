"""Folders of images, each image a crop or close to one, as released with VoxCeleb1 and used by FAb-Net's authors.

`extract.source: frames` reads IDENTITY/VIDEO/TRACK/*.jpg; `voxceleb1_frames` reads VoxCeleb1's cropped frames at 1 fps,
NAME/1.6/VIDEO/NNNNNNN.jpg.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

from fabnet.config import ExtractParams
from fabnet.errors import UserError
from fabnet.video.clips import Clip
from fabnet.video.crop import centred_square
from fabnet.video.faces import Face, FindFaces, Frame, Tally, TrackEnd
from fabnet.video.images import image_frames
from fabnet.video.reject import Rejected
from fabnet.video.sources.finders import centred
from fabnet.video.sources.identities import Identities
from fabnet.video.sources.safe_walk import RefusedEntry, files, sub_folders

VISITED = "VISITED"
FRAMES_LAYOUT = "expected <identity>/<video>/<track>/*.jpg below it"
SUFFIXES = (".jpg", ".jpeg", ".png")
VOXCELEB1_LAYOUT = "expected <Name>/1.6/<YouTube id>/<number>.jpg below it"
SCALE = "1.6"  # the folder between person and videos, the same for all
FPS = 25  # of the frames' numbers
STEP = 25  # between frames of a track
_NAME = re.compile(r"[0-9]{7}\.jpg", re.ASCII)


def folders_below(root: Path, below: str = "") -> list[str]:
    """Names of sub-folders, without the marks that a downloader left.

    Args:
        root: folder of the clips.
        below: path below it, with "/"; empty is the folder itself.
    """
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
        root: folder of the clips.
        clip: its folder below that one.
        suffixes: of images.
        placed: gives numbers, times in s and names, in order, of images whose names are given sorted.
        limit_s: seconds for the whole clip.

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


@dataclass(frozen=True)
class Frames:
    """See Source. A clip is the folder of a track; every image is a sample, numbered in their order."""

    params: ExtractParams

    def list_clips(self, others: Counter[str] | None = None) -> Iterator[Clip]:
        root = self.params.videos
        if not root.is_dir():
            raise UserError(f"{root}: no such folder (extract.videos); {FRAMES_LAYOUT}")
        identities, empty = Identities(root), True
        for identity in folders_below(root):
            for video in folders_below(root, identity):
                for track in folders_below(root, f"{identity}/{video}"):
                    empty = False
                    name = f"{identity}/{video}/{track}"
                    yield Clip(root / name, name, identities.of(identity), video)
        if empty:
            raise UserError(f"{root}: holds no tracks; {FRAMES_LAYOUT}")

    def prepare(self, state: Path) -> None:
        pass

    def frames(self, clip: Clip, tally: Tally | None = None) -> Iterator[Frame]:
        return folder_frames(self.params.videos, clip, SUFFIXES, self._placed, self.params.clip_limit_s)

    def find(self, clip: Clip) -> FindFaces:
        return centred(clip)

    def inputs(self) -> Iterator[Path]:
        return iter(Identities(self.params.videos).inputs())

    def _placed(self, names: list[str]) -> list[tuple[int, float, str]]:
        """Images by number where all are numbered, else by name; the names do not tell their rate."""
        if all(PurePath(name).stem.isdecimal() for name in names):
            names = sorted(names, key=lambda name: (int(PurePath(name).stem), name))
        return [(number, number / self.params.fps, name) for number, name in enumerate(names)]


@dataclass(frozen=True)
class VoxCeleb1Frames:
    """See Source. A clip is the folder of a video; every image is a sample with the number of its name."""

    params: ExtractParams

    def list_clips(self, others: Counter[str] | None = None) -> Iterator[Clip]:
        root = self.params.videos
        if not root.is_dir():
            raise UserError(f"{root}: no such folder (extract.videos); {VOXCELEB1_LAYOUT}")
        identities, empty = Identities(root), True
        for person in folders_below(root):
            identity = identities.of_voxceleb1(person, root / person)
            for scale in folders_below(root, person):
                if scale != SCALE:
                    raise UserError(f"{root / person / scale}: no folder of this layout; {VOXCELEB1_LAYOUT}")
                for video in folders_below(root, f"{person}/{scale}"):
                    empty = False
                    name = f"{person}/{scale}/{video}"
                    yield Clip(root / name, name, identity, video)
        if empty:
            raise UserError(f"{root}: holds no videos; {VOXCELEB1_LAYOUT}")

    def prepare(self, state: Path) -> None:
        pass

    def frames(self, clip: Clip, tally: Tally | None = None) -> Iterator[Frame]:
        return folder_frames(self.params.videos, clip, (".jpg",), _placed, self.params.clip_limit_s)

    def find(self, clip: Clip) -> FindFaces:
        def find(frames: Iterator[Frame]) -> Iterator[Face | TrackEnd]:
            tracks, last = 0, None
            for frame in frames:
                (number,) = frame.samples
                if last is not None and number != last + STEP:
                    yield TrackEnd(clip.track(tracks))
                    tracks += 1
                last = number
                height, width = frame.image.shape[:2]
                yield Face(clip.track(tracks), number, frame.time_s, frame.image, centred_square(width, height))

        return find

    def inputs(self) -> Iterator[Path]:
        return iter(Identities(self.params.videos).inputs())


def _placed(names: list[str]) -> list[tuple[int, float, str]]:
    odd = [name for name in names if not _NAME.fullmatch(name)]
    if odd:
        raise Rejected("unreadable", f"{odd[0]} is not named by a frame's number, such as 0001300.jpg")
    return [(int(name[:-4]), int(name[:-4]) / FPS, name) for name in names]
