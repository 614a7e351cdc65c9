"""VoxCeleb2's own clips, cropped already: `extract.source: voxceleb2`."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fabnet.config import ExtractParams
from fabnet.errors import UserError
from fabnet.video.clips import SUFFIXES, Clip
from fabnet.video.decode import frames
from fabnet.video.faces import FindFaces, Frame
from fabnet.video.sources.cropped import centred
from fabnet.video.sources.folders import files, sub_folders
from fabnet.video.sources.identities import is_id

LAYOUT = "expected dev/mp4/<id>/<video>/<clip>.mp4 and test/mp4/... below it"


@dataclass(frozen=True)
class VoxCeleb2:
    """See Source."""

    params: ExtractParams

    def list_clips(self) -> Iterator[Clip]:
        root = self.params.videos
        if not root.is_dir():
            raise UserError(f"{root}: no such folder of videos (extract.videos); {LAYOUT}")
        empty = True
        for part in (part for part in ("dev", "test") if part in sub_folders(root)):
            if "mp4" not in sub_folders(root, part):
                raise UserError(f"{root / part}: holds no folder mp4; {LAYOUT}")
            for identity in sub_folders(root, f"{part}/mp4"):
                if not is_id(identity):
                    raise UserError(f"{root / part / 'mp4' / identity}: no identity such as id00012; {LAYOUT}")
                for video in sub_folders(root, f"{part}/mp4/{identity}"):
                    below = f"{part}/mp4/{identity}/{video}"
                    for file in files(root, below, SUFFIXES):
                        empty = False
                        yield Clip(root / below / file, f"{below}/{file}", identity, video)
        if empty:
            raise UserError(f"{root}: holds no clips; {LAYOUT}")

    def prepare(self, state: Path) -> None:
        pass

    def frames(self, clip: Clip) -> Iterator[Frame]:
        return frames(clip.path, self.params.fps, limit_s=self.params.clip_limit_s)

    def find(self, clip: Clip) -> FindFaces:
        return centred(clip)

    def inputs(self) -> Iterator[Path]:
        return iter(())
