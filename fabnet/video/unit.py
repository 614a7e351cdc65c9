"""The unit of work of an extraction: a group of clips becomes a directory of one shard, index and rejects."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import pandas as pd

from fabnet import tables
from fabnet.config import ExtractParams
from fabnet.files import atomic_directory
from fabnet.frames.shards import INDEX, TarWriter, member_name, shard_name
from fabnet.video.boxes import BoxFile
from fabnet.video.clips import Clip
from fabnet.video.crop import crop, encode, quality
from fabnet.video.decode import samples
from fabnet.video.reject import Rejected
from fabnet.video.sources import Faces, boxed, cropped

REJECTS = "rejects.parquet"


@dataclass(frozen=True)
class Unit:
    """Clips number `first`, `first` + 1 ... of the extraction, whose results go into the directory `out`.

    Attributes:
        boxes: directory of a BoxFile of all clips, where the source needs one.
    """

    clips: Sequence[Clip]
    first: int
    out: Path
    params: ExtractParams
    boxes: Path | None


def run_unit(unit: Unit) -> None:
    """Extract the clips of a unit. `unit.out` appears whole or not at all."""
    cv2.setNumThreads(0)
    rows: list[dict[str, Any]] = []
    rejects = []
    with atomic_directory(unit.out) as out:
        with open(out / shard_name(0), "wb") as file:
            tar = TarWriter(file)
            for number, clip in enumerate(unit.clips, start=unit.first):
                begin, kept = tar.position, len(rows)
                try:
                    rows.extend(_track(clip, _faces(unit, number), unit.params, tar))
                except Rejected as reject:
                    tar.roll_back(begin)
                    del rows[kept:]
                    rejects.append({"clip": clip.name, "reason": reject.reason, "detail": reject.detail})
            tar.close()
        tables.write(_frame(rows, tables.Index), out / INDEX, tables.Index)
        tables.write(_frame(rejects, tables.Rejects), out / REJECTS, tables.Rejects)


def _faces(unit: Unit, number: int) -> Faces:
    if unit.boxes is None:
        return cropped
    return boxed(BoxFile(unit.boxes).track(number), unit.params.margin, 1 / unit.params.fps)


def _track(clip: Clip, faces: Faces, params: ExtractParams, tar: TarWriter) -> list[dict[str, Any]]:
    """Write the crops of a clip to `tar` and return their rows; the caller takes back both if the clip is rejected."""
    track_id = clip.track_id(0)
    rows = []
    for sample in samples(clip.path, params.fps):
        height, width = sample.image.shape[:2]
        box = faces(sample.time_s, width, height)
        if box is None:
            continue
        image = crop(sample.image, box, params.size)
        sharpness, brightness = quality(image)
        jpeg = encode(image, params.jpeg_quality)
        rows.append(
            {
                "track_id": track_id,
                "identity": clip.identity,
                "video": clip.video,
                "clip": clip.name,
                "frame_no": sample.number,
                "time_s": sample.time_s,
                "shard": shard_name(0),
                "offset": tar.add(member_name(track_id, sample.number), jpeg),
                "size": len(jpeg),
                "left": float(box.left),
                "top": float(box.top),
                "right": float(box.right),
                "bottom": float(box.bottom),
                "sharpness": sharpness,
                "brightness": brightness,
            }
        )
    if len(rows) < params.min_frames:
        raise Rejected("too_short", f"{len(rows)} frames with a face at {params.fps:g} fps, of {params.min_frames}")
    return rows


def _frame(rows: list[dict[str, Any]], contract: type[tables.Table]) -> pd.DataFrame:
    return pd.DataFrame(rows) if rows else contract.empty_frame()
