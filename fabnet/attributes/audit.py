"""Is a labelled set legal, can all of its faces be seen, and whom does it hold?"""

from pathlib import Path
from typing import Any

import pandas as pd

from fabnet import tables
from fabnet.attributes.sets import LabelledSet
from fabnet.attributes.tasks import UNIT_PRESENT
from fabnet.errors import TableError, UserError
from fabnet.progress import track

#: Crops are made this small where only whether they can be made matters.
_SIDE = 16
#: Faces named in an error.
_SHOWN = 10


def audit_set(name: str, labels: pd.DataFrame, strangers_to: Path | None) -> dict[str, Any]:
    """Check the table of a labelled set and count what it holds.

    Args:
        strangers_to: a table of splits whose identities must not appear in the set; None where names mean nothing to
            each other.

    Returns:
        Counts, a function of the tables alone. `absent` names, by split, expressions and units that no face of it
        shows; it is there only where there are some.

    Raises:
        TableError: the first broken contract or rule.
    """
    tables.check(labels, tables.Labels, f"labelled set {name}")
    if strangers_to is not None:
        known = sorted(set(labels["identity"]) & set(tables.read(strangers_to, tables.Splits)["identity"]))
        if known:
            raise TableError(f"labelled set {name}: identity {known[0]} also appears in the videos, in {strangers_to}")
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
