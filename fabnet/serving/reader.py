"""Images of faces in, embeddings and what the probes read out: what `fabnet serve` and the MLflow pyfunc share.

An image is a JPEG or PNG in base64. The largest square in its middle is taken for the face's crop and treated as
`fabnet embed --faces cropped` would. Sizes are limited before anything is decoded, and nothing is unpickled.
"""

import base64
import binascii
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fabnet import __version__
from fabnet.errors import UserError
from fabnet.faces.found import network_crop
from fabnet.files import read_json
from fabnet.model import load
from fabnet.probing import readings
from fabnet.video.clips import Clip
from fabnet.video.crop import centred_square
from fabnet.video.faces import Face
from fabnet.video.images import decode_upright
from fabnet.video.reject import MAX_PIXELS, Rejected

#: Images of a request.
MAX_IMAGES = 1024
MAX_IMAGE_BYTES = 16 * 2**20
MAX_REQUEST_PIXELS = 8 * MAX_PIXELS

# A progressive JPEG has about ten. Every scan goes through the whole image, and may take no more than a few bytes.
_MAX_SCANS, _SCAN = 100, b"\xff\xda"
_REQUEST = Clip(Path("request"), "request", "request", "request")


class InvalidImages(ValueError):
    """What is wrong with a request, in one line that names the image."""


class ImageReader:
    """A registered model and its probes, loaded.

    Args:
        model: directory with model.json and best.pt; the weights are checked by their hash.
        description: JSON file that says which fabnet registered the model.
        heads: file of the probes, or None.

    Raises:
        UserError: another version of fabnet registered the model, or a file of it is damaged.
    """

    def __init__(self, model: Path, description: Path, heads: Path | None) -> None:
        registered_by = read_json(description)["fabnet"]
        if registered_by != __version__:
            raise UserError(
                f"the model was registered by fabnet {registered_by}, but {__version__} is installed here: install "
                f"{registered_by}, or register the model again"
            )
        self.model = load(model, heads, device="cpu")
        self._params = self.model.face_params("cropped", force=True)

    def read(self, images: Sequence[object]) -> pd.DataFrame:
        """Embeddings and readings of N images.

        Args:
            images: base64 text of a JPEG or PNG each; whatever else it holds is refused by its type.

        Returns:
            N rows in the order of the images: `embedding`, and a column for whatever the probes read. Landmarks are
            pixels of the image that was sent.

        Raises:
            InvalidImages: an image is not one, or beyond a limit.
        """
        if not len(images):
            raise InvalidImages("the request holds no image")
        if len(images) > MAX_IMAGES:
            raise InvalidImages(f"{len(images):,} images in one request; at most {MAX_IMAGES:,} are taken")
        crops, regions, pixels = [], [], 0
        for number, text in enumerate(images):
            try:
                image = _decoded(text)
            except (InvalidImages, Rejected) as error:
                problem = error.detail if isinstance(error, Rejected) else error
                raise InvalidImages(f"image {number}: {problem}") from None
            pixels += image.shape[0] * image.shape[1]
            # Counted over the request: many small files can hold more pixels than one that is too large.
            if pixels > MAX_REQUEST_PIXELS:
                raise InvalidImages(
                    f"image {number}: more than {MAX_REQUEST_PIXELS:,} pixels in one request; send fewer images at once"
                )
            crop, region = self._crop(image)
            crops.append(crop)
            regions.append(region)
        embeddings = self.model.embed(np.stack(crops))
        columns: dict[str, Any] = {"embedding": embeddings.tolist()}
        if (probes := self.model.probes) is not None:
            arrays = readings.columns(probes, embeddings, np.array(regions))
            names = [field.name for field in readings.fields(probes)]
            columns |= {name: array.to_pylist() for name, array in zip(names, arrays, strict=True)}
        return pd.DataFrame(columns)

    def _crop(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], tuple[float, float, float, float]]:
        """The crop that the encoder sees, and which part of the image it shows: left, top, right, bottom."""
        face = Face(_REQUEST.track(0), 0, 0.0, image, centred_square(image.shape[1], image.shape[0]))
        crop, box = network_crop(face, self._params)
        return crop, (box.left, box.top, box.right, box.bottom)


def _decoded(text: object) -> NDArray[np.uint8]:
    """The pixels of base64 text, uint8 (H, W, 3) RGB."""
    if text is None or (isinstance(text, float) and np.isnan(text)):  # pandas makes either of a null
        raise InvalidImages("must be base64 text, not null")
    if not isinstance(text, str):
        raise InvalidImages(f"must be base64 text, not {type(text).__name__}")
    if len(text) > MAX_IMAGE_BYTES * 4 // 3 + 4:
        raise InvalidImages(f"more than {MAX_IMAGE_BYTES:,} bytes")
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidImages("not base64") from None
    if data.count(_SCAN) > _MAX_SCANS and data.startswith(b"\xff\xd8"):
        raise InvalidImages(f"a JPEG of more than {_MAX_SCANS} scans")
    return decode_upright(data)
