"""Scores of some of the faces: those that look aside, are small, are dark.

Each bin is scored by itself, with its own interval and number of faces. A bin of few faces is counted and not scored.
ROC AUCs of a bin are means over the units or classes that its own faces allow; the others are named.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from fabnet.attributes.sets import LabelledSet
from fabnet.config import ReportParams
from fabnet.probing.intervals import absent, score
from fabnet.probing.predictions import read_comparable


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
    """The faces of every bin, empty ones too: (low, high, face ids). The last bin holds its upper edge, too.

    Args:
        wanted: the property that the faces are sorted by, and the edges of its bins.
        faces: ids of those that are scored.
    """
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
        wanted: the property that makes the bins.
        faces: the test faces: columns face_id and identity.
        min_faces: below which a bin is not scored.
        min_identities: likewise.

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
    `absent` is {task: [units or classes]} that its AUCs leave out.

    Args:
        predictions: by encoder, rows of tables.Predictions of one probe; all of the same test faces.
        properties: that the faces are sorted by.
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


def properties_of(
    labelled: LabelledSet, ids: Sequence[str], params: ReportParams, size: int
) -> tuple[list[Property], dict[str, Any]]:
    """Yaw, size and brightness of faces; and, by name, properties that the set has no labels of.

    Args:
        labelled: the set.
        ids: of the faces that were scored.
        params: the section `report`.
        size: side in pixels of the crops whose brightness is measured.
    """
    faces = labelled.table().set_index("face_id", drop=False).loc[list(ids)]
    edges = params.slices
    found, missing = [], {}
    if "yaw_deg" in faces:
        found.append(Property("yaw", "|yaw|, degrees", faces["yaw_deg"].abs(), edges.yaw_deg))
    else:
        missing["yaw"] = {"title": "|yaw|", "missing": "The set has no labels of yaw."}
    # Boxes are squares up to rounding; of an oblong one, what its area would be as a square.
    area = (faces["right"] - faces["left"]) * (faces["bottom"] - faces["top"])
    found.append(Property("side", "side of the box, pixels of the image", np.sqrt(area), edges.side_px))
    grey = [cv2.cvtColor(labelled.crop(row, size), cv2.COLOR_RGB2GRAY).mean() for row in faces.itertuples()]
    bright = pd.Series(grey, index=faces.index, dtype=float)
    found.append(Property("brightness", "mean grey of the crop, 0 to 255", bright, edges.brightness))
    return found, missing


def measure_slices(labelled: LabelledSet, files: list[Path], params: ReportParams, size: int) -> Mapping[str, Any]:
    """Scores of the regularised probes by bin, and of what learnt from the labels: what `report.robustness` shows.

    Args:
        labelled: the set.
        files: of tables.Predictions.
        params: the section `report`.
        size: side in pixels of the crops.
    """
    first = next(iter(read_comparable(files)), None)
    ids = first[1]["face_id"].drop_duplicates().tolist() if first else []
    properties, missing = properties_of(labelled, ids, params, size)
    chosen = params.slices
    scores = sliced(
        read_comparable(files),
        properties,
        chosen.min_faces,
        chosen.min_identities,
        params.bootstrap,
        params.seed,
    )
    return {**missing, **scores}
