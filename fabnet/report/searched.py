"""Test faces of a labelled set, and test frames of videos, as samples whose nearest neighbours are looked for."""

import re

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fabnet.attributes.tasks import TASKS, targets, tasks_of
from fabnet.config import RetrieveParams
from fabnet.errors import UserError
from fabnet.probing.intervals import resample_weights
from fabnet.retrieval.attributes import Attributes
from fabnet.retrieval.evaluation import Sample
from fabnet.retrieval.sampling import sample
from fabnet.tables import EXPRESSIONS

#: How the set `celebv` names a frame of a clip: the clip, and the frame's place in it.
_PLACE = re.compile(r"@[01]\.[0-9]{4}$")


def searched_faces(table: pd.DataFrame, params: RetrieveParams, where: str) -> pd.DataFrame:
    """The test faces that are searched, in random order.

    Raises:
        UserError: there are too few of them; begins with `where`.
    """
    test = table[table["split"] == "test"]
    if len(test) <= params.k:
        problem = "the gallery is empty: no face of the set is a test face"
        if len(test):
            problem = f"{len(test)} test faces are too few for {params.k} neighbours of each; lower retrieve.k"
        raise UserError(f"{where}: {problem}")
    return test.iloc[sample(len(test), params.gallery, params.seed)].reset_index(drop=True)


def sample_of_faces(faces: pd.DataFrame, params: RetrieveParams) -> Sample:
    """What the labels of the faces say. Faces on one image, or of one clip, are no neighbours of each other."""
    tasks = {task.name for task in tasks_of(faces)}
    known = Attributes(
        identity=_numbers(faces["identity"]),
        angles={
            angle: faces[f"{angle}_deg"].to_numpy() for angle in ("yaw", "pitch", "roll") if f"{angle}_deg" in faces
        },
        units=targets(faces, TASKS["units"]) > 0.5 if "units" in tasks else None,
        expression=targets(faces, TASKS["expression"]) if "expression" in tasks else None,
    )
    recordings = [faces["image"].map(lambda name: _PLACE.sub("", name)).tolist()]
    weights = _weights(faces["identity"].to_numpy(), params)
    return Sample(faces["face_id"].tolist(), known, recordings, weights, EXPRESSIONS)


def sample_of_frames(ids: list[str], origins: dict[str, list[str]], params: RetrieveParams) -> Sample:
    """Frames without labels. Those of one track, or of one video, are no neighbours of each other.

    Args:
        origins: what `retrieval.sampling.origins` gives.
    """
    identity = pd.Series(origins["identity"])
    weights = _weights(identity.to_numpy(), params)
    recordings = [origins["video"], origins["track"]]
    return Sample(ids, Attributes(_numbers(identity)), recordings, weights, labelled=False)


def _weights(identities: NDArray[np.object_], params: RetrieveParams) -> NDArray[np.float32]:
    asked = identities[: params.queries]  # all where it is None
    weights: NDArray[np.float32] = resample_weights(asked, params.bootstrap, params.seed)
    return weights


def _numbers(names: pd.Series) -> NDArray[np.int64]:
    numbers: NDArray[np.int64] = np.unique(names.to_numpy().astype(str), return_inverse=True)[1].astype(np.int64)
    return numbers
