"""The layout that params.yaml names."""

from pathlib import Path

from fabnet.config import ExtractParams
from fabnet.video.sources.boxes import Boxes
from fabnet.video.sources.cropped import Cropped
from fabnet.video.sources.face_tracks import FaceTracks
from fabnet.video.sources.folder import Folder
from fabnet.video.sources.frames import Frames
from fabnet.video.sources.protocol import Source
from fabnet.video.sources.vox_metadata import VoxMetadata
from fabnet.video.sources.voxceleb1_frames import VoxCeleb1Frames
from fabnet.video.sources.voxceleb2 import VoxCeleb2


def open_source(params: ExtractParams, state: Path) -> Source:
    """The source `params.source`. What its `prepare` writes lies below `state`; until then, that need not exist."""
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
