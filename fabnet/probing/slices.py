"""Scores of some of the faces: those that look aside, are small, are dark.

Each bin is scored by itself, with its own interval and number of faces. A bin of few faces is counted and not scored.
Areas of a bin are means over the units or classes that its own faces allow; the others are named.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from fabnet.probing.intervals import absent, score


@dataclass(frozen=True)
class Property:
    """What faces are sorted by.

    Attributes:
        name: key in the results, such as `yaw`.
        title: for people, with the unit.
        values: by face id.
        edges: a bin goes from one edge up to, and without, the next one.
    """

    name: str
    title: str
    values: "pd.Series[float]"
    edges: Sequence[float]


def bins_of(wanted: Property, faces: Sequence[str]) -> list[tuple[float, float, list[str]]]:
    """The faces of every bin, empty ones too: (low, high, face ids). The last bin holds its upper edge, too."""
    values = wanted.values.loc[list(faces)].to_numpy(dtype=np.float64)
    edges = np.asarray(wanted.edges, dtype=np.float64)
    at = np.where(values == edges[-1], len(edges) - 2, np.digitize(values, edges) - 1)
    names = np.asarray(faces, dtype=object)
    return [(a, b, names[at == number].tolist()) for number, (a, b) in enumerate(pairwise(edges.tolist()))]


def outline(
    wanted: Property, faces: pd.DataFrame, min_faces: int, min_identities: int
) -> tuple[dict[str, Any], list[list[str]]]:
    """The bins of a property, not scored yet, and the face ids of each.

    Args:
        faces: the test faces: columns face_id and identity.

    Returns:
        {"title", "one_value", "outside", "bins": [{"low", "high", "faces", "identities", "enough", "absent",
        "scores"}]}, where `one_value` is what all faces have in common, so that there is nothing to compare, or None,
        and `outside` counts the faces that are in no bin.
    """
    people = faces.set_index("face_id")["identity"]
    members = bins_of(wanted, faces["face_id"].tolist())
    bins: list[dict[str, Any]] = []
    for low, high, ids in members:
        identities = int(people.loc[ids].nunique())
        enough = len(ids) >= min_faces and identities >= min_identities
        bins.append(
            {"low": low, "high": high, "faces": len(ids), "identities": identities, "enough": enough}
            | {"absent": {}, "scores": {}}
        )
    values = wanted.values.loc[faces["face_id"].tolist()]
    one = float(values.iloc[0]) if values.nunique() == 1 else None
    outside = len(faces) - sum(each["faces"] for each in bins)
    outlined = {"title": wanted.title, "one_value": one, "outside": outside, "bins": bins}
    return outlined, [ids for *_, ids in members]


def sliced(
    predictions: Mapping[str, pd.DataFrame] | Iterator[tuple[str, pd.DataFrame]],
    properties: Sequence[Property],
    min_faces: int,
    min_identities: int,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Scores by bin of every encoder, as plain values for JSON: {property: what `outline` says, with scores}.

    `scores` of a bin is {encoder: {metric: {"value", "low", "high", "n"}}}, empty where the bin has not enough faces;
    `absent` is {task: [units or classes]} that its areas leave out.

    Args:
        predictions: by encoder, rows of tables.Predictions of one probe; all of the same test faces.
        min_faces, min_identities: what a bin needs to be scored.
        resamples, seed: of the intervals.
    """
    found: dict[str, Any] = {}
    members: dict[str, list[list[str]]] = {}
    pairs = predictions.items() if isinstance(predictions, Mapping) else predictions
    for encoder, rows in pairs:
        if not found:
            faces = rows.drop_duplicates("face_id")
            for wanted in properties:
                found[wanted.name], members[wanted.name] = outline(wanted, faces, min_faces, min_identities)
        for name, each in found.items():
            if each["one_value"] is not None:
                continue  # one bin with all faces: that is the score itself
            for bin_, ids in zip(each["bins"], members[name], strict=True):
                if not bin_["enough"]:
                    continue
                part = rows[rows["face_id"].isin(ids)]
                bin_["scores"][encoder] = score(part, resamples, seed)
                bin_["absent"] = absent(part)
    return found
