"""The registered model as MLflow loads it (`mlflow.pyfunc.load_model`, `mlflow models serve`): a column of images.

`fabnet serve` does not need this: it loads the files of a version by itself.
"""

import logging
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, INVALID_PARAMETER_VALUE
from mlflow.pyfunc import PythonModel, PythonModelContext

from fabnet.serving.reader import ImageReader, InvalidImages

logger = logging.getLogger(__name__)


class _OneLineError(MlflowException):
    """An error whose message stays one line: MLflow's server would put the whole request, images included, in front."""

    code = INTERNAL_ERROR

    def __init__(self, problem: str) -> None:
        self._problem = problem
        super().__init__(problem, error_code=self.code)

    @property
    def message(self) -> str:
        return self._problem

    @message.setter
    def message(self, _: str) -> None:
        """Ignored: this is how the server would do it."""


class BadRequest(_OneLineError, ValueError):
    """What is wrong with a request: MLflow's server answers 400."""

    code = INVALID_PARAMETER_VALUE


class Failed(_OneLineError):
    """The request was good, and yet it failed: status 500. The log of the server says why."""


class FabnetPyfunc(PythonModel):
    """A pyfunc. Artifacts: `model`, a directory as `train` writes it; `description`; `heads`, where there are any."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the model. Raises UserError as `ImageReader` does."""
        heads = context.artifacts.get("heads")
        self._reader = ImageReader(
            Path(context.artifacts["model"]), Path(context.artifacts["description"]), Path(heads) if heads else None
        )

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Embeddings and readings of N images.

        Args:
            context: not used.
            model_input: N rows with a column `image`, base64 text of a JPEG or PNG each. Other columns are ignored.
            params: not used.

        Raises:
            BadRequest: says which image and what is wrong with it.
            Failed: it is not the request's fault.
        """
        try:
            if "image" not in model_input:
                raise InvalidImages("no image: a request has a column image (JPEG or PNG in base64)")
            return self._reader.read(model_input["image"].tolist())
        except InvalidImages as error:
            raise BadRequest(str(error)) from None
        except Exception as error:
            logger.exception("a request failed")
            raise Failed(f"the model failed: {type(error).__name__}; the server's log says more") from error
