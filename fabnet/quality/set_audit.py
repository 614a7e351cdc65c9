"""Is a labelled set legal, can all of its faces be decoded, whom does it hold, and how is it balanced?"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fabnet import tables
from fabnet.attributes.sets import LabelledSet, open_set
from fabnet.attributes.tasks import UNIT_PRESENT
from fabnet.config import HealthParams, SetParams
from fabnet.errors import TableError, UserError
from fabnet.progress import track
from fabnet.quality.health import Verdict, measures_of
from fabnet.quality.suites import judge_tables
from fabnet.tables import ANGLE_COLUMNS, EXPRESSIONS, SPLITS, UNIT_COLUMNS

#: Crops are made this small where only whether they can be made matters.
_SIDE = 16
#: A box of fewer pixels along x or y shows no face: it is in another unit, or wrong.
_NARROW = 8
_GEOMETRY = ("widest_deg", "points_wide", "narrow_pct")
#: Faces named in an error.
_SHOWN = 10


def validate_set(name: str, chosen: SetParams, splits: Path, params: HealthParams) -> Verdict:
    """Open a labelled set and judge it: whether its labels are legal and healthy, and its faces can be decoded.

    An error of the data is part of the verdict, so that the page shows it.

    Args:
        name: of the set.
        chosen: `sets.NAME`.
        splits: of the videos' identities, none of whom may be in the bundled set. Other sets name their people
            otherwise than the videos do.
        params: the section `health`.
    """
    try:
        labelled = open_set(name, chosen)
        table = labelled.table()
        counts = audit_set(name, table, splits if chosen.kind == "synthetic" else None) | audit_images(labelled)
    except UserError as error:
        return Verdict(f"labelled set {name}", broken=str(error))
    verdict = judge_set(name, table, params)
    verdict = replace(verdict, counts={**counts, "measures": verdict.counts})
    if len(labelled.left_out):
        verdict = replace(verdict, tables={**verdict.tables, "left out": labelled.left_out})
    return verdict


def judge_set(name: str, labels: pd.DataFrame, params: HealthParams) -> Verdict:
    """Judge the table of a labelled set, which is legal.

    Args:
        name: of the set.
        labels: tables.Labels.
        params: the section `health`.
    """
    judged = balance(labels)
    counts = {key: measures_of(table) for key, table in judged.items()}
    shares = judged["labels"].pivot_table("share_pct", "label", "split", sort=False).reset_index()
    shown = {"sets": judged["sets"], "faces with a label, %": shares}
    return Verdict(f"labelled set {name}", None, counts, judge_tables(judged, params), shown)


def audit_set(name: str, labels: pd.DataFrame, disjoint_from: Path | None) -> dict[str, Any]:
    """Check the table of a labelled set and count what it holds.

    Args:
        name: of the set.
        labels: its table.
        disjoint_from: a table of splits whose identities must not appear in the set; None where names mean nothing to
            each other.

    Returns:
        Counts, a function of the tables alone. `absent` names, by split, expressions and units that no face of it
        shows; it is there only where there are some.

    Raises:
        TableError: the first broken contract or rule.
    """
    tables.check(labels, tables.Labels, f"labelled set {name}")
    if disjoint_from is not None:
        known = sorted(set(labels["identity"]) & set(tables.read(disjoint_from, tables.Splits)["identity"]))
        if known:
            raise TableError(f"labelled set {name}: identity {known[0]} also appears in the videos, in {disjoint_from}")
    people = labels.drop_duplicates("identity")
    faces = _counts(labels)
    counts: dict[str, Any] = {"faces": len(labels), "faces_by_split": faces, "identities_by_split": _counts(people)}
    absent = {split: missing for split in faces if (missing := _absent(labels, split))}
    return {**counts, "absent": absent} if absent else counts


def audit_images(labelled: LabelledSet) -> dict[str, Any]:
    """Make every crop of a set once, so that a damaged image is found before hours of embedding.

    Returns:
        `left_out`: {reason: faces} of the faces that the set has and its table has not; nothing where there are none.

    Raises:
        UserError: crops that cannot be made: how many, and the first of them with face and file.
    """
    table = labelled.table()
    broken = []
    for row in track(table.itertuples(), f"{labelled.name}: seeing faces", len(table), "face"):
        try:
            labelled.crop(row, _SIDE)
        except UserError as error:
            broken.append(str(error))
    if broken:
        more = f"; and {len(broken) - _SHOWN} more" if len(broken) > _SHOWN else ""
        raise UserError(
            f"{len(broken)} of {len(table)} faces cannot be seen: {'; '.join(broken[:_SHOWN])}{more}. "
            f"To leave them out, list their images in a file that sets.{labelled.name}.exclude names"
        )
    out = labelled.left_out
    return {"left_out": dict(zip(out["reason"], out["faces"].tolist(), strict=True))} if len(out) else {}


def _counts(labels: pd.DataFrame) -> dict[str, int]:
    return {str(split): int(count) for split, count in sorted(labels["split"].value_counts().items())}


def _absent(labels: pd.DataFrame, split: str) -> list[str]:
    """The expressions and units that no face of a split shows."""
    faces = labels[labels["split"] == split]
    missing = []
    if "expression" in faces:
        shown = set(faces["expression"])
        missing = [name for name in tables.EXPRESSIONS if name not in shown]
    return missing + [unit for unit in tables.UNIT_COLUMNS if unit in faces and faces[unit].max() <= UNIT_PRESENT]


def balance(labels: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Tables about a table of labels (tables.Labels).

    Args:
        labels: legal under tables.Labels.

    Returns:
        `sets`: per split that has faces: split, faces, identities, narrow_pct (of the split's faces, those whose box
            is too narrow or low to show one), widest_deg (the greatest angle) and points_wide
        (median width of the landmarks over that of the box), NaN where a set has no such labels.
        `labels`: per split, and expression or unit that the set is labelled with: split, label, faces, share_pct (of
        the split's faces).
    """
    present = [split for split in SPLITS if (labels["split"] == split).any()]
    sets, shares = [], []
    for split in present:
        faces = labels[labels["split"] == split]
        people = faces["identity"].nunique()
        geometry = {"widest_deg": _widest(faces), "points_wide": _points_wide(faces), "narrow_pct": _narrow(faces)}
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
        "sets": _frame(sets, {"split": str, "faces": int, "identities": int, **dict.fromkeys(_GEOMETRY, float)}),
        "labels": _frame(shares, {"split": str, "label": str, "faces": int, "share_pct": float}),
    }


def _widest(faces: pd.DataFrame) -> float:
    angles = [column for column in ANGLE_COLUMNS if column in faces]
    return float(faces[angles].abs().to_numpy().max()) if angles else float("nan")


def _narrow(faces: pd.DataFrame) -> float:
    sides = faces[["right", "bottom"]].to_numpy() - faces[["left", "top"]].to_numpy()
    return 100 * float((sides.min(axis=1) < _NARROW).mean())


def _points_wide(faces: pd.DataFrame) -> float:
    column = next((name for name in ("landmarks68", "landmarks5") if name in faces), None)
    if column is None:
        return float("nan")
    x = np.stack(faces[column].tolist())[:, ::2]
    return float(np.median((x.max(axis=1) - x.min(axis=1)) / (faces["right"] - faces["left"]).to_numpy()))


def _frame(rows: list[dict[str, Any]], columns: dict[str, type]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(columns)).astype(columns)
