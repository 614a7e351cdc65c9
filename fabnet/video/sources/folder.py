"""Clips of one's own, in which faces are detected and tracked: `extract.source: folder`."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fabnet.config import ExtractParams
from fabnet.video.clips import Clip
from fabnet.video.decode import frames
from fabnet.video.detected import detected
from fabnet.video.faces import FindFaces, Frame
from fabnet.video.sources.named_clips import named_clips, named_inputs


@dataclass(frozen=True)
class Folder:
    """See Source."""

    params: ExtractParams

    def list_clips(self) -> Iterator[Clip]:
        return named_clips(self.params)

    def prepare(self, state: Path) -> None:
        pass

    def frames(self, clip: Clip) -> Iterator[Frame]:
        every, limit_s = self.params.detection.every, self.params.clip_limit_s
        return frames(clip.path, self.params.fps, every=every, limit_s=limit_s)

    def find(self, clip: Clip) -> FindFaces:
        return detected(clip, self.params)

    def inputs(self) -> Iterator[Path]:
        yield from named_inputs(self.params)
        if self.params.detection.model is not None:
            yield self.params.detection.model
