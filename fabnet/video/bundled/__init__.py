"""Networks that come with the package, and the check that they are what they were."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from fabnet.errors import UserError


@dataclass(frozen=True)
class BundledNetwork:
    """A file of this folder, by its name and SHA-256. NOTICE says where it comes from."""

    file: str
    sha256: str

    def open(self) -> Any:
        """The network, as OpenCV runs it.

        Raises:
            UserError: the file is missing, cut short or another one.
        """
        path = Path(__file__).parent / self.file
        try:
            content = path.read_bytes()
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror}); {_REPAIR}") from None
        actual = hashlib.sha256(content).hexdigest()
        if actual != self.sha256:
            raise UserError(f"{path}: has the SHA-256 {actual}, not {self.sha256}: damaged or replaced; {_REPAIR}")
        return cv2.dnn.readNetFromTFLite(np.frombuffer(content, np.uint8))


_REPAIR = "install fabnet again"

#: BlazeFace, full range: a frame of 192 x 192 to the faces in it.
BLAZEFACE = BundledNetwork(
    "face_detection_full_range.tflite", "99bf9494d84f50acc6617d89873f71bf6635a841ea699c17cb3377f9507cfec3"
)
