"""VoxCeleb's face-track files on the full videos: `extract.source: voxceleb1` and `voxceleb2_txt`."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fabnet.config import ExtractParams
from fabnet.errors import TableError, UserError
from fabnet.progress import Progress
from fabnet.video.boxes import BoxTrack, Place, Reference, split_at_gaps
from fabnet.video.clips import Clip, named_track
from fabnet.video.faces import FindFaces, Frame
from fabnet.video.reject import Rejected
from fabnet.video.sources.annotated import annotated
from fabnet.video.sources.face_track_file import FIRST_ROW, FPS, FaceTrackFile, Unit, read_face_track
from fabnet.video.sources.folders import files, sub_folders
from fabnet.video.sources.full_videos import full_clips, full_frames
from fabnet.video.sources.identities import is_id

LAYOUT = "expected txt/<id>/<YouTube id>/<track>.txt and videos/<YouTube id>.mp4 below it"


@dataclass(frozen=True)
class FaceTracks:
    """See Source. A clip is a full video with all tracks in it, of one or several people; its annotations are the
    folders of their files."""

    params: ExtractParams
    unit: Unit

    def list_clips(self) -> Iterator[Clip]:
        annotations: dict[str, list[tuple[str, str]]] = {}
        for identity, video in self._folders():
            annotations.setdefault(video, []).append((identity, f"txt/{identity}/{video}"))
        yield from full_clips(self.params.videos, annotations, LAYOUT)

    def prepare(self, state: Path) -> None:
        checked = state / "annotations-checked"
        if checked.exists():
            return
        folders = sum(1 for _ in self._folders())
        with Progress("annotations", folders, "video") as progress:
            for identity, video in self._folders():
                for _ in self._files(f"txt/{identity}/{video}"):
                    pass
                progress.advance()
        state.mkdir(parents=True, exist_ok=True)
        checked.touch()

    def frames(self, clip: Clip) -> Iterator[Frame]:
        yield from full_frames(clip, self._tracks(clip), self.params)

    def find(self, clip: Clip) -> FindFaces:
        return annotated(lambda: self._tracks(clip), self.params.margin)

    def inputs(self) -> Iterator[Path]:
        root = self.params.videos
        for identity, video in self._folders():
            for file in files(root, f"txt/{identity}/{video}", (".txt",)):
                yield root / "txt" / identity / video / file

    def _folders(self) -> Iterator[tuple[str, str]]:
        """(identity, video) of the folders of face-track files."""
        root = self.params.videos
        if not root.is_dir() or "txt" not in sub_folders(root):
            raise UserError(f"{root}: holds no folder txt; {LAYOUT}")
        for identity in sub_folders(root, "txt"):
            if not is_id(identity):
                raise UserError(f"{root / 'txt' / identity}: no identity such as id10001; {LAYOUT}")
            for video in sub_folders(root, f"txt/{identity}"):
                yield identity, video

    def _files(self, folder: str) -> Iterator[tuple[str, FaceTrackFile]]:
        """(path below the folder of clips, content) of the files in `folder`."""
        root = self.params.videos
        _, identity, video = folder.split("/")
        for name in files(root, folder, (".txt",)):
            content = read_face_track(root / folder / name, self.unit)
            for line, found, expected in ((1, content.identity, identity), (2, content.video, video)):
                if found != expected:
                    raise TableError(
                        f"{root / folder / name}: line {line}: {found}, but it lies in the folder of {expected}"
                    )
            yield f"{folder}/{name}", content

    def _tracks(self, clip: Clip) -> list[BoxTrack]:
        fractions = self.unit == "fractions"
        reference = Reference(1, 1) if fractions else Reference(height=self.params.reference_height)
        tracks = [
            track
            for folder in clip.annotations
            for name, content in self._files(folder)
            for track in split_at_gaps(
                content.rows,
                partial(named_track, content.identity, content.video, Path(name).stem),
                self.params.tracking.max_gap_s,
                0.5 / FPS,
                reference,
                Place(name, FIRST_ROW),
            )
        ]
        if not tracks:
            raise Rejected("no_boxes", "there are no face-track files for this video")
        return tracks
