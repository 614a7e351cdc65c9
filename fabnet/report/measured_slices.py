"""What the faces of a labelled set are like, and how encoders fare by it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from fabnet.attributes.sets import LabelledSet
from fabnet.config import ReportParams
from fabnet.probing.slices import Property, sliced
from fabnet.report.predicted import read_each


def properties_of(labelled: LabelledSet, params: ReportParams, size: int) -> tuple[list[Property], dict[str, Any]]:
    """Yaw, size and brightness of the test faces; and, by name, what the set does not tell.

    Args:
        size: side in pixels of the crops whose brightness is measured.
    """
    table = labelled.table()
    faces = table[table["split"] == "test"].set_index("face_id", drop=False)
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
    """Scores of the torch probes by bin, and of what learnt from the labels: what `report.robustness` shows.

    Args:
        files: of tables.Predictions.
        size: side in pixels of the crops.
    """
    properties, missing = properties_of(labelled, params, size)
    chosen = params.slices
    scores = sliced(
        read_each(files, "torch"),
        properties,
        chosen.min_faces,
        chosen.min_identities,
        params.bootstrap,
        params.seed,
    )
    return {**missing, **scores}
