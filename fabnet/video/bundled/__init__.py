"""Networks and a shape that come with the package, and the check that they are what they were."""

import hashlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fabnet.errors import UserError


@dataclass(frozen=True)
class BundledFile:
    """A file of this folder, by its name and SHA-256. NOTICE says where it comes from."""

    file: str
    sha256: str

    def read(self) -> bytes:
        """Its content.

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
        return content


class BundledNetwork(BundledFile):
    """A network as TensorFlow Lite stores it."""

    def open(self) -> Any:
        """The network, as OpenCV runs it. Raises as `read` does."""
        return cv2.dnn.readNetFromTFLite(np.frombuffer(self.read(), np.uint8))


class BundledArray(BundledFile):
    """An array as NumPy stores it."""

    def load(self) -> NDArray[Any]:
        """The array. Raises as `read` does."""
        loaded: NDArray[Any] = np.load(BytesIO(self.read()), allow_pickle=False)
        return loaded


_REPAIR = "install fabnet again"

#: BlazeFace, full range: a frame of 192 x 192 to the faces in it.
BLAZEFACE = BundledNetwork(
    "face_detection_full_range.tflite", "99bf9494d84f50acc6617d89873f71bf6635a841ea699c17cb3377f9507cfec3"
)
#: FaceMesh: a face of 192 x 192 to 468 points of it, and whether it is one.
FACE_MESH = BundledNetwork("face_landmark.tflite", "c603fa6149219a3e9487dc9abd7a0c24474c77263273d24868378cdf40aa26d1")
#: The points of a frontal face at rest, (468, 3), centimetres: x to the right of the image, y up, z towards the camera.
CANONICAL_FACE = BundledArray("canonical_face.npy", "950c7a131b14aade2fc241c24ce9c5ef3f9d8b2a7d9f47a621bace5f104acfc7")
