"""Clips of one's own that show one face, cropped already: `extract.source: cropped`."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fabnet.config import ExtractParams
from fabnet.video.clips import Clip
from fabnet.video.crop import centred_square
from fabnet.video.decode import frames
from fabnet.video.faces import Face, FindFaces, Frame, TrackEnd
from fabnet.video.sources.named_clips import named_clips, named_inputs


@dataclass(frozen=True)
class Cropped:
    """See Source."""

    params: ExtractParams

    def list_clips(self) -> Iterator[Clip]:
        return named_clips(self.params)

    def prepare(self, state: Path) -> None:
        pass

    def frames(self, clip: Clip) -> Iterator[Frame]:
        return frames(clip.path, self.params.fps, limit_s=self.params.clip_limit_s)

    def find(self, clip: Clip) -> FindFaces:
        return centred(clip)

    def inputs(self) -> Iterator[Path]:
        return named_inputs(self.params)


def centred(clip: Clip) -> FindFaces:
    """Takes every sample of a clip as one track: the centred square of each."""

    def find(frames: Iterator[Frame]) -> Iterator[Face | TrackEnd]:
        track = clip.track(0)
        for frame in frames:
            height, width = frame.image.shape[:2]
            for number in frame.samples:
                yield Face(track, number, frame.time_s, frame.image, centred_square(width, height))

    return find
