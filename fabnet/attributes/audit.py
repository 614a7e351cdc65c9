"""Is a labelled set legal, and whom does it hold?"""

from pathlib import Path
from typing import Any

import pandas as pd

from fabnet import tables
from fabnet.errors import TableError


def audit_set(name: str, labels: pd.DataFrame, strangers_to: Path | None) -> dict[str, Any]:
    """Check the table of a labelled set and count what it holds.

    Args:
        strangers_to: a table of splits whose identities must not appear in the set; None where names mean nothing to
            each other.

    Returns:
        Counts, a function of the tables alone.

    Raises:
        TableError: the first broken contract or rule.
    """
    tables.check(labels, tables.Labels, f"labelled set {name}")
    if strangers_to is not None:
        known = sorted(set(labels["identity"]) & set(tables.read(strangers_to, tables.Splits)["identity"]))
        if known:
            raise TableError(f"labelled set {name}: identity {known[0]} also appears in the videos, in {strangers_to}")
    people = labels.drop_duplicates("identity")
    return {"faces": len(labels), "faces_by_split": _counts(labels), "identities_by_split": _counts(people)}


def _counts(labels: pd.DataFrame) -> dict[str, int]:
    return {str(split): int(count) for split, count in sorted(labels["split"].value_counts().items())}
