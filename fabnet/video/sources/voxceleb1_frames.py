"""VoxCeleb1's cropped frames at 1 fps, NAME/1.6/VIDEO/NNNNNNN.jpg: `extract.source: voxceleb1_frames`."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fabnet.config import ExtractParams
from fabnet.errors import UserError
from fabnet.video.clips import Clip
from fabnet.video.crop import centred_square
from fabnet.video.faces import Face, FindFaces, Frame, TrackEnd
from fabnet.video.reject import Rejected
from fabnet.video.sources.identities import Identities
from fabnet.video.sources.image_folders import folder_frames, folders_below

LAYOUT = "expected <Name>/1.6/<YouTube id>/<number>.jpg below it"
SCALE = "1.6"  # the folder between person and videos, the same for all
FPS = 25  # of the frames' numbers
STEP = 25  # between frames of a track

_NAME = re.compile(r"[0-9]{7}\.jpg", re.ASCII)


@dataclass(frozen=True)
class VoxCeleb1Frames:
    """See Source. A clip is the folder of a video; every image is a sample with the number of its name."""

    params: ExtractParams

    def list_clips(self) -> Iterator[Clip]:
        root = self.params.videos
        if not root.is_dir():
            raise UserError(f"{root}: no such folder (extract.videos); {LAYOUT}")
        identities, empty = Identities(root), True
        for person in folders_below(root):
            identity = identities.of_voxceleb1(person, root / person)
            for scale in folders_below(root, person):
                if scale != SCALE:
                    raise UserError(f"{root / person / scale}: no folder of this layout; {LAYOUT}")
                for video in folders_below(root, f"{person}/{scale}"):
                    empty = False
                    name = f"{person}/{scale}/{video}"
                    yield Clip(root / name, name, identity, video)
        if empty:
            raise UserError(f"{root}: holds no videos; {LAYOUT}")

    def prepare(self, state: Path) -> None:
        pass

    def frames(self, clip: Clip) -> Iterator[Frame]:
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
