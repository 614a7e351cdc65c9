"""YuNet, whose model file the user gives."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fabnet.errors import ConfigError
from fabnet.files import hash_file
from fabnet.video.crop import Box
from fabnet.video.detect import Detection, by_score, scaled, shrunk


class YuNetDetector:
    """YuNet (Wu et al. 2023) from an ONNX file of opencv_zoo, with the thresholds of its demonstration."""

    name = "yunet"
    version = "opencv_zoo/1"
    min_score = 0.9
    probability = True

    _MIN_SCORE = min_score
    _MAX_OVERLAP = 0.3
    _CANDIDATES = 5000

    def __init__(self, longest_side: int, model: Path, sha256: str) -> None:
        """Raises ConfigError: the file is absent, is another one than `sha256` names, or OpenCV cannot load it."""
        self._longest_side = longest_side
        if not model.is_file():
            raise ConfigError(f"extract.detection.model: {model}: no such file")
        actual = hash_file(model)
        if actual != sha256:
            raise ConfigError(
                f"extract.detection.model: {model} has the SHA-256 {actual}, not {sha256} (extract.detection.sha256)"
            )
        try:
            self._net: Any = cv2.FaceDetectorYN.create(
                str(model), "", (longest_side, longest_side), self._MIN_SCORE, self._MAX_OVERLAP, self._CANDIDATES
            )
        except cv2.error as error:
            raise ConfigError(f"extract.detection.model: {model}: not a model of YuNet: {error.err}") from None

    def find(self, image: NDArray[np.uint8], expected: Sequence[Box] = (), thorough: bool = True) -> list[Detection]:
        """As Detector has it.

        Args:
            image: uint8 RGB (H, W, 3), of any size.
            expected, thorough: change nothing: the network has one way to look.
        """
        small, scale = shrunk(image, self._longest_side)
        self._net.setInputSize((small.shape[1], small.shape[0]))
        # Rows of left, top, width, height, five landmarks, score; None where there is no face.
        _, rows = self._net.detect(cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
        return by_score(
            Detection(scaled(Box(left, top, left + width, top + height), 1 / scale), score)
            for left, top, width, height, *_, score in ([] if rows is None else np.asarray(rows, float).tolist())
        )
