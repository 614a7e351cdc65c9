"""How a labelled set is balanced: faces and people of each split, and how often each label occurs in it."""

from typing import Any

import numpy as np
import pandas as pd

from fabnet.attributes.tasks import UNIT_PRESENT
from fabnet.tables import ANGLE_COLUMNS, EXPRESSIONS, SPLITS, UNIT_COLUMNS


def balance(labels: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Tables about a table of labels (tables.Labels).

    Returns:
        `sets`: per split that has faces: split, faces, identities, widest_deg (the greatest angle) and points_wide
        (median width of the landmarks over that of the box), NaN where a set has no such labels.
        `labels`: per split, and expression or unit that the set is labelled with: split, label, faces, share_pct (of
        the split's faces).
    """
    present = [split for split in SPLITS if (labels["split"] == split).any()]
    sets, shares = [], []
    for split in present:
        faces = labels[labels["split"] == split]
        people = faces["identity"].nunique()
        geometry = {"widest_deg": _widest(faces), "points_wide": _points_wide(faces)}
        sets.append({"split": split, "faces": len(faces), "identities": people, **geometry})
        shows = {}
        if "expression" in labels:
            shows = {name: (faces["expression"] == name) for name in EXPRESSIONS}
        shows |= {unit: faces[unit] > UNIT_PRESENT for unit in UNIT_COLUMNS if unit in labels}
        shares += [
            {"split": split, "label": name, "faces": int(shown.sum()), "share_pct": 100 * float(shown.mean())}
            for name, shown in shows.items()
        ]
    return {
        "sets": _frame(
            sets, {"split": str, "faces": int, "identities": int, "widest_deg": float, "points_wide": float}
        ),
        "labels": _frame(shares, {"split": str, "label": str, "faces": int, "share_pct": float}),
    }


def _widest(faces: pd.DataFrame) -> float:
    angles = [column for column in ANGLE_COLUMNS if column in faces]
    return float(faces[angles].abs().to_numpy().max()) if angles else float("nan")


def _points_wide(faces: pd.DataFrame) -> float:
    column = next((name for name in ("landmarks68", "landmarks5") if name in faces), None)
    if column is None:
        return float("nan")
    x = np.stack(faces[column].tolist())[:, ::2]
    return float(np.median((x.max(axis=1) - x.min(axis=1)) / (faces["right"] - faces["left"]).to_numpy()))


def _frame(rows: list[dict[str, Any]], columns: dict[str, type]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(columns)).astype(columns)
