"""The unit of work of an extraction: a group of clips becomes a directory of one shard, index, rejects and ledger."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2

from fabnet.config import ExtractParams
from fabnet.files import atomic_directory
from fabnet.video.clips import Clip, ClipList
from fabnet.video.crop import crop, encode, quality, recrop
from fabnet.video.engines.worker import time_limit
from fabnet.video.faces import Face, Track, TrackEnd
from fabnet.video.part import PartWriter, write_part
from fabnet.video.reject import Rejected
from fabnet.video.sources.open import open_source
from fabnet.video.spool import Crop, TrackSpool

#: The list of clips, in the directory of an extraction's state.
CLIPS = "clips.arrow"

# Beyond the limit of a clip, which is kept between its frames: a process that is still at it hangs within one of them.
_LIMIT_SHARE, _LIMIT_SLACK_S = 1.1, 30


@dataclass(frozen=True)
class Unit:
    """`count` clips from number `first` on, of those that are listed in the directory `state`."""

    params: ExtractParams
    state: Path
    first: int
    count: int

    @property
    def out(self) -> Path:
        """Directory of its results."""
        return self.state / f"unit-{self.first:08d}-{self.count}"

    def clips(self) -> list[Clip]:
        return ClipList(self.state / CLIPS).slice(self.first, self.count)


def run_unit(unit: Unit) -> None:
    """Extract the clips of a unit. `unit.out` appears whole or not at all; where it exists nothing is done."""
    if unit.out.is_dir():
        return
    cv2.setNumThreads(0)
    source = open_source(unit.params, unit.state)
    limit = _LIMIT_SHARE * unit.params.clip_limit_s + _LIMIT_SLACK_S
    with atomic_directory(unit.out) as out, write_part(out) as part:
        for clip in unit.clips():
            begin = part.mark()
            try:
                with time_limit(limit):
                    _extract(clip, source.find(clip)(source.frames(clip)), unit.params, part, out)
            except Rejected as rejected:
                part.roll_back(begin)
                part.add_reject(clip.name, "", rejected)
            except Exception as error:
                error.add_note(f"in clip {clip.name}")
                raise
        part.finish(unit.first, unit.count)


def _extract(
    clip: Clip, faces: Iterator[Face | TrackEnd], params: ExtractParams, part: PartWriter, folder: Path
) -> None:
    """Append the tracks of a clip to `part`; the caller takes them back if the clip is rejected."""
    live: dict[str, TrackSpool] = {}
    ended = set[str]()

    def end(track: Track, rejected: Rejected | None) -> None:
        ended.add(track.id)
        with live.pop(track.id, None) or TrackSpool(track, folder) as spool:
            rejected = rejected or judge(spool, params)
            if rejected is None:
                part.add_track(track, clip.name, spool.crops())
            else:
                part.add_reject(clip.name, track.id, rejected)

    try:
        for item in faces:
            track = item.track
            if track.id in ended:
                raise ValueError(f"track {track.id} goes on after its end")
            if isinstance(item, TrackEnd):
                part.add_clamped(item.clamped)
                end(track, item.rejected)
                continue
            if track.id not in live:
                live[track.id] = TrackSpool(track, folder)
            live[track.id].add(crop_of(item, params), item.box.right - item.box.left)
        for spool in list(live.values()):
            end(spool.track, None)
    finally:
        for spool in live.values():
            spool.close()
    if not ended:
        raise _too_short(0, params)


def crop_of(face: Face, params: ExtractParams) -> Crop:
    """The crop of a face under the recipe of `params`; its box is the part of the frame that it shows."""
    box = face.box
    if params.recrop == "authors":
        image, box = recrop(face.image, box, params.image_size)
    else:
        image = crop(face.image, box, params.image_size)
    sharpness, brightness = quality(image)
    jpeg = encode(image, params.jpeg_quality)
    return Crop(face.number, face.time_s, box, sharpness, brightness, jpeg)


def judge(spool: TrackSpool, params: ExtractParams) -> Rejected | None:
    """Why the track of a spool is of no use, None if it is."""
    if spool.count < params.min_frames:
        return _too_short(spool.count, params)
    side, sharpness = spool.median_side(), spool.median_sharpness()
    if side < params.tracking.min_side:
        return Rejected("too_small", f"the median side of its box is {side:g} pixels, of {params.tracking.min_side}")
    if sharpness < params.tracking.min_sharpness:
        return Rejected("too_blurred", f"its median sharpness is {sharpness:.3g}, of {params.tracking.min_sharpness:g}")
    return None


def _too_short(frames: int, params: ExtractParams) -> Rejected:
    return Rejected("too_short", f"{frames} frames with a face at {params.fps:g} fps, of {params.min_frames}")
