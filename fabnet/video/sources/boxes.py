"""Clips of one's own, and a table of boxes of the face in each: `extract.source: boxes`."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fabnet.config import ExtractParams
from fabnet.errors import TableError
from fabnet.video.box_file import BoxFile
from fabnet.video.boxes import BoxTrack, Reference, split_at_gaps
from fabnet.video.clips import Clip
from fabnet.video.decode import frames
from fabnet.video.faces import FindFaces, Frame
from fabnet.video.reject import Rejected
from fabnet.video.sources.annotated import annotated, span
from fabnet.video.sources.named_clips import named_clips, named_inputs


@dataclass(frozen=True)
class Boxes:
    """See Source. `state` is the directory that `prepare` writes below."""

    params: ExtractParams
    state: Path

    def list_clips(self) -> Iterator[Clip]:
        return named_clips(self.params)

    def prepare(self, state: Path) -> None:
        table = self._table()
        if not (state / "boxes").is_dir():
            BoxFile.write(table, state / "boxes")
        boxes, clip = BoxFile(state / "boxes"), None
        for clip in self.list_clips():
            if clip.name in boxes:
                return
        name = clip.name if clip else "a.mp4"
        raise TableError(f"{table}: column clip: no row names a clip of {self.params.videos}, such as {name}")

    def frames(self, clip: Clip) -> Iterator[Frame]:
        tracks = self._tracks(clip)
        yield from frames(clip.path, self.params.fps, span=span(tracks), limit_s=self.params.clip_limit_s)

    def find(self, clip: Clip) -> FindFaces:
        return annotated(lambda: self._tracks(clip), self.params.margin)

    def inputs(self) -> Iterator[Path]:
        yield from named_inputs(self.params)
        yield self._table()

    def _table(self) -> Path:
        assert self.params.boxes is not None  # ExtractParams sees to it
        return self.params.boxes

    def _tracks(self, clip: Clip) -> list[BoxTrack]:
        rows = BoxFile(self.state / "boxes").rows(clip.name)
        if len(rows) == 0:
            raise Rejected("no_boxes", "the table of boxes has no row for this clip")
        # A face is taken to stay where it is for a sample longer than it was boxed.
        return split_at_gaps(rows, clip.track, self.params.tracking.max_gap_s, 1 / self.params.fps, Reference())
