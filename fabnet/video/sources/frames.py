"""Folders of crops, IDENTITY/VIDEO/TRACK/*.jpg, as FAb-Net's authors use: `extract.source: frames`."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

from fabnet.config import ExtractParams
from fabnet.errors import UserError
from fabnet.video.clips import Clip
from fabnet.video.faces import FindFaces, Frame
from fabnet.video.sources.cropped import centred
from fabnet.video.sources.identities import Identities
from fabnet.video.sources.image_folders import folder_frames, folders_below

LAYOUT = "expected <identity>/<video>/<track>/*.jpg below it"
SUFFIXES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True)
class Frames:
    """See Source. A clip is the folder of a track; every image is a sample, numbered in their order."""

    params: ExtractParams

    def list_clips(self) -> Iterator[Clip]:
        root = self.params.videos
        if not root.is_dir():
            raise UserError(f"{root}: no such folder (extract.videos); {LAYOUT}")
        identities, empty = Identities(root), True
        for identity in folders_below(root):
            for video in folders_below(root, identity):
                for track in folders_below(root, f"{identity}/{video}"):
                    empty = False
                    name = f"{identity}/{video}/{track}"
                    yield Clip(root / name, name, identities.of(identity), video)
        if empty:
            raise UserError(f"{root}: holds no tracks; {LAYOUT}")

    def prepare(self, state: Path) -> None:
        pass

    def frames(self, clip: Clip) -> Iterator[Frame]:
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
