"""The full videos that annotations are about: `videos/<YouTube id>.mp4` below the folder of clips."""

from collections.abc import Iterator
from pathlib import Path

from fabnet.config import ExtractParams
from fabnet.errors import UserError
from fabnet.video.boxes import BoxTrack
from fabnet.video.clips import SUFFIXES, Clip, stem
from fabnet.video.decode import frames
from fabnet.video.faces import Frame
from fabnet.video.reject import Rejected
from fabnet.video.sources.annotated import span
from fabnet.video.sources.folders import files, sub_folders

FOLDER = "videos"


def full_clips(root: Path, annotations: dict[str, list[tuple[str, str]]], layout: str) -> Iterator[Clip]:
    """One clip per video that is there or annotated, by the video's id.

    Args:
        annotations: (identity, annotation of it for the source) of each video's tracks.
        layout: what was expected, for the message of an error.

    Raises:
        UserError: not one annotated video is there, or a video is there twice.
    """
    if not annotations:
        raise UserError(f"{root}: holds no annotations; {layout}")
    names: dict[str, str] = {}
    for file in files(root, FOLDER, SUFFIXES) if FOLDER in sub_folders(root) else []:
        other = names.setdefault(stem(file), file)
        if other != file:
            raise UserError(f"{root / FOLDER}: {other} and {file} are the same video; remove one")
    if not names.keys() & annotations.keys():
        raise UserError(
            f"{root / FOLDER}: holds none of the {len(annotations)} annotated videos, such as {min(annotations)}.mp4; "
            f"{layout}"
        )
    for video in sorted(names.keys() | annotations.keys()):
        name = f"{FOLDER}/{names.get(video, video)}"
        tracks = annotations.get(video, [])
        identity = tracks[0][0] if tracks else ""
        yield Clip(root / name, name, identity, video, tuple(annotation for _, annotation in tracks))


def full_frames(clip: Clip, tracks: list[BoxTrack], params: ExtractParams) -> Iterator[Frame]:
    """The frames of a full video from its earliest box to its latest."""
    if not clip.path.is_file():
        raise Rejected("unreadable", f"no video for its annotations; expected {clip.name}.mp4")
    yield from frames(clip.path, params.fps, span=span(tracks), limit_s=params.clip_limit_s)
