"""The registered model as MLflow loads and serves it: images of faces in, embeddings and readings out.

A request is a table with a column `image` (JPEG or PNG, base64) or a column `pixels` (uint8 (H, W, 3) RGB arrays). The
largest square in the middle of each image is taken for the face's crop and treated as `fabnet embed --faces cropped`
would. The answer has a row for each image: `embedding`, and a column for whatever the probes registered with the model
read from it. Landmarks are pixels of the image that was sent.

What is wrong with a request is one line and costs the request alone. Sizes are limited before anything is decoded.
"""

import base64
import binascii
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, INVALID_PARAMETER_VALUE
from mlflow.pyfunc import PythonModel, PythonModelContext
from numpy.typing import NDArray

from fabnet import __version__
from fabnet.errors import UserError
from fabnet.files import read_json
from fabnet.inference import readings
from fabnet.inference.job import seen
from fabnet.inference.looking import params_of
from fabnet.inference.model import encoder, open_model
from fabnet.inference.request import MAX_IMAGES
from fabnet.networks.embed import embed_images
from fabnet.probing.saved import SavedHeads, read_heads
from fabnet.video.clips import Clip
from fabnet.video.crop import centred_square
from fabnet.video.faces import Face
from fabnet.video.images import decode_image
from fabnet.video.limits import MAX_PIXELS
from fabnet.video.reject import Rejected

MAX_IMAGE_BYTES = 16 * 2**20
MAX_REQUEST_PIXELS = 8 * MAX_PIXELS
COLUMNS = ("image", "pixels")
_BATCH = 64
# A progressive JPEG has about ten. Every scan goes through the whole image, and may take no more than a few bytes.
_MAX_SCANS, _SCAN = 100, b"\xff\xda"


logger = logging.getLogger(__name__)


class _OneLine(MlflowException):
    """What went wrong, in one line. MLflow's server answers with it, and with the status that belongs to its code."""

    code = INTERNAL_ERROR

    def __init__(self, problem: str) -> None:
        self._problem = problem
        super().__init__(problem, error_code=self.code)

    @property
    def message(self) -> str:
        return self._problem

    @message.setter
    def message(self, _: str) -> None:
        """Not taken: the server would put the whole request, images included, in front."""


class BadRequest(_OneLine, ValueError):
    """What is wrong with a request: status 400."""

    code = INVALID_PARAMETER_VALUE


class Failed(_OneLine):
    """The request was good, and yet it failed: status 500. The log of the server says why."""


class Served(PythonModel):
    """A pyfunc. Artifacts: `model`, a directory as `train` writes it; `description`; `heads`, where there are any."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the weights, checked by their hash; nothing is unpickled.

        Raises:
            UserError: another version of fabnet registered the model, or a file of it is damaged.
        """
        registered_by = read_json(context.artifacts["description"])["fabnet"]
        if registered_by != __version__:
            raise UserError(
                f"the model was registered by fabnet {registered_by}, but {__version__} is installed here: install "
                f"{registered_by}, or register the model again"
            )
        self._model = open_model(Path(context.artifacts["model"]))
        self._encoder = encoder(self._model.directory, self._model.weights_sha256)
        self._heads: SavedHeads | None = None
        if path := context.artifacts.get("heads"):
            self._heads = read_heads(path)
            readings.check_heads(self._heads, str(path), self._model)
        self._params = params_of(self._model.recipe, self._model.size, faces="cropped")

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Embeddings and readings of N images, see the top of the file.

        Raises:
            BadRequest: says which image and what is wrong with it.
            Failed: it is not the request's fault.
        """
        try:
            return self._answer(model_input)
        except BadRequest:
            raise
        except Exception as error:
            logger.exception("a request failed")
            raise Failed(f"the model failed: {type(error).__name__}; the server's log says more") from error

    def _answer(self, model_input: pd.DataFrame) -> pd.DataFrame:
        column = _column(model_input)
        crops, regions, pixels = [], [], 0
        for number, value in enumerate(model_input[column]):
            try:
                image = _decoded(value) if column == "image" else _array(value)
                pixels += image.shape[0] * image.shape[1]
                if pixels > MAX_REQUEST_PIXELS:
                    raise BadRequest(
                        f"more than {MAX_REQUEST_PIXELS:,} pixels in one request; send fewer images at once"
                    )
            except (BadRequest, Rejected) as error:
                problem = error.detail if isinstance(error, Rejected) else error.message
                raise BadRequest(f"image {number}: {problem}") from None
            crop, region = self._crop(image)
            crops.append(crop)
            regions.append(region)
        batches = [np.stack(crops[start : start + _BATCH]) for start in range(0, len(crops), _BATCH)]
        embeddings = np.concatenate(list(embed_images(self._encoder, batches)))
        answer: dict[str, Any] = {"embedding": embeddings.tolist()}
        if self._heads is not None:
            arrays = readings.read(self._heads, embeddings, np.array(regions))
            names = [field.name for field in readings.fields(self._heads)]
            answer |= {name: array.to_pylist() for name, array in zip(names, arrays, strict=True)}
        return pd.DataFrame(answer)

    def _crop(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], tuple[float, float, float, float]]:
        """The crop that the encoder sees, and which part of the image it shows."""
        face = Face(_REQUEST.track(0), 0, 0.0, image, centred_square(image.shape[1], image.shape[0]))
        crop, box = seen(face, self._params)
        return crop, (box.left, box.top, box.right, box.bottom)


_REQUEST = Clip(Path("request"), "request", "request", "request")


def _column(table: Any) -> str:
    if not isinstance(table, pd.DataFrame):
        raise BadRequest(f"a request is a table with a column {' or '.join(COLUMNS)}, not {type(table).__name__}")
    given = [name for name in COLUMNS if name in table and table[name].notna().any()]
    if not given:
        raise BadRequest("no image: a request has a column image (JPEG or PNG in base64) or pixels (uint8 arrays)")
    if len(given) > 1:
        raise BadRequest("a request has one of the columns image and pixels, not both")
    if len(table) > MAX_IMAGES:
        raise BadRequest(f"{len(table):,} images in one request; at most {MAX_IMAGES:,} are taken")
    return given[0]


def _decoded(value: Any) -> NDArray[np.uint8]:
    if not isinstance(value, str):
        raise BadRequest(f"must be base64 text, not {type(value).__name__}")
    if len(value) > MAX_IMAGE_BYTES * 4 // 3 + 4:
        raise BadRequest(f"more than {MAX_IMAGE_BYTES:,} bytes")
    try:
        data = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise BadRequest("not base64") from None
    if data.count(_SCAN) > _MAX_SCANS and data.startswith(b"\xff\xd8"):
        raise BadRequest(f"a JPEG of more than {_MAX_SCANS} scans")
    return decode_image(data)


def _array(value: Any) -> NDArray[np.uint8]:
    try:
        array = np.asarray(value)
    except ValueError:
        raise BadRequest("pixels must be an array (H, W, 3), and rows of equal length") from None
    if array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
        raise BadRequest(f"pixels must have the shape (H, W, 3), not {array.shape}")
    if array.shape[0] * array.shape[1] > MAX_PIXELS:
        raise BadRequest(f"{array.shape[1]} x {array.shape[0]} is more than {MAX_PIXELS:,} pixels")
    if array.dtype != np.uint8:
        if array.dtype.kind not in "iu" or array.min() < 0 or array.max() > 255:
            raise BadRequest("pixels must be whole numbers from 0 to 255")
        array = array.astype(np.uint8)
    return np.ascontiguousarray(array)
