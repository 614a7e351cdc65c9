"""The detectors by their names."""

from functools import cache

from fabnet.config import DetectionParams, ExtractParams
from fabnet.errors import ConfigError
from fabnet.video.blazeface import BlazeFaceDetector
from fabnet.video.detect import Detector
from fabnet.video.haar import HaarDetector
from fabnet.video.yunet import YuNetDetector

#: By their names in params.yaml.
DETECTORS: dict[str, type[Detector]] = {
    "blazeface": BlazeFaceDetector,
    "haar": HaarDetector,
    "yunet": YuNetDetector,
}


@cache
def open_detector(params: DetectionParams) -> Detector:
    """The detector that params name; one for each in a process.

    Raises:
        UserError: the detector's file is absent, another one than its SHA-256 says, or no model.
    """
    longest_side = params.looked_at_side
    if params.detector == "blazeface":
        return BlazeFaceDetector(longest_side)
    if params.detector == "haar":
        return HaarDetector(longest_side)
    if params.model is None or params.sha256 is None:
        raise ConfigError("extract.detection: detector yunet needs `model` and `sha256`")
    return YuNetDetector(longest_side, params.model, params.sha256)


def are_scored(params: ExtractParams) -> bool:
    """Whether each face that is found under these params has a score: it is detected, and its score a probability."""
    return params.source == "folder" and DETECTORS[params.detection.detector].probability
