"""What every layout of clips can do, and the one that params.yaml names."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from fabnet.config import ExtractParams
from fabnet.video.clips import Clip
from fabnet.video.faces import FindFaces, Frame, Tally
from fabnet.video.sources.clip_folders import Boxes, Cropped, Folder, VoxCeleb2
from fabnet.video.sources.full_videos import FaceTracks, VoxMetadata
from fabnet.video.sources.image_folders import Frames, VoxCeleb1Frames


class Source(Protocol):
    """The clips below extract.videos in one layout, and the way to the faces in them. Can be pickled."""

    def list_clips(self, others: Counter[str] | None = None) -> Iterator[Clip]:
        """All clips, one at a time, in an order that depends on their names alone.

        Args:
            others: counts files that were passed over because of their suffix, by suffix, where any file may lie.

        Raises:
            UserError: the folder does not have this layout, or a file that comes with the clips is wrong. It may come
                as late as after the last clip.
        """
        ...

    def prepare(self, state: Path) -> None:
        """Done once in the parent before `frames` and `find`: check the annotations, and write what workers need of
        them below the directory `state`, which is the one `open_source` was given. Returns at once when it was done.

        Raises:
            UserError: an annotation is wrong; names its file and line.
        """
        ...

    def frames(self, clip: Clip, tally: Tally | None = None) -> Iterator[Frame]:
        """The frames of a clip that `find` needs, by increasing time. Raises Rejected, on iteration only.

        Args:
            clip: of `list_clips`.
            tally: counts what is left out.
        """
        ...

    def find(self, clip: Clip) -> FindFaces:
        """What turns `frames(clip)` into faces. It alone raises Rejected, on iteration only."""
        ...

    def inputs(self) -> Iterator[Path]:
        """The files besides the clips that decide what becomes of them; may be as many as the clips."""
        ...


def open_source(params: ExtractParams, state: Path) -> Source:
    """The source `params.source`. What its `prepare` writes lies below `state`; until then, that need not exist.

    Args:
        params: the section `extract` of params.yaml.
        state: directory of an extraction's state.
    """
    match params.source:
        case "cropped":
            return Cropped(params)
        case "boxes":
            return Boxes(params, state)
        case "folder":
            return Folder(params)
        case "voxceleb2":
            return VoxCeleb2(params)
        case "voxceleb2_txt":
            return FaceTracks(params, "fractions")
        case "voxceleb1":
            return FaceTracks(params, "pixels")
        case "voxceleb1_frames":
            return VoxCeleb1Frames(params)
        case "vox_metadata":
            return VoxMetadata(params)
        case "frames":
            return Frames(params)
