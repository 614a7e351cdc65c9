"""The crop recipe: everything that decides what the pixels of a crop are. It travels with all that is made of them."""

from typing import Any

from fabnet.config import CROPPED_SOURCES, DETECTED_SOURCES, DetectionParams, ExtractParams
from fabnet.files import hash_json
from fabnet.video.blazeface import BlazeFaceDetector
from fabnet.video.detectors import DETECTORS

#: Raise it when a change of the code changes pixels. 2: pictures as players show them, tracks of one person.
VERSION = 2


def recipe(params: ExtractParams) -> dict[str, Any]:
    """The content of crop.json.

    `hash` covers what changes the pixels of a crop, and so not `fps`, which only changes how many crops there are.
    `source` is the way to the faces and not the layout of the clips, except where the boxes are those of a data set.
    """
    pixels = {
        "source": _way(params),
        "margin": 0.0 if params.source in CROPPED_SOURCES else params.margin,
        "size": params.image_size,
        "jpeg_quality": params.jpeg_quality,
        "jpeg_chroma": "4:4:4",
        "resize": "area",
        "version": VERSION,
    }
    if params.source not in (*CROPPED_SOURCES, *DETECTED_SOURCES):
        pixels["boxes"] = "clamped"
    if params.source == "voxceleb1":
        pixels["reference_height"] = params.reference_height
    if params.source in DETECTED_SOURCES:
        pixels["detection"] = _detection(params.detection)
        tracking = params.tracking
        pixels["tracking"] = {key: getattr(tracking, key) for key in ("min_overlap", "max_gap_s", "smoothing_s")}
    if params.crop == "aligned":
        pixels["crop"], pixels["aligned_by"] = params.crop, f"{BlazeFaceDetector.name} {BlazeFaceDetector.version}"
    if params.recrop != "none":
        pixels["recrop"] = params.recrop
    return {**pixels, "fps": params.fps, "hash": hash_json(pixels)}


def _way(params: ExtractParams) -> str:
    if params.source in CROPPED_SOURCES:
        return "cropped"
    return "detected" if params.source in DETECTED_SOURCES else params.source


def _detection(detection: DetectionParams) -> dict[str, Any]:
    detector = DETECTORS[detection.detector]
    described: dict[str, Any] = {
        "detector": detector.name,
        "version": detector.version,
        "every": detection.every,
        "longest_side": detection.looked_at_side,
    }
    return described if detection.sha256 is None else {**described, "sha256": detection.sha256}
