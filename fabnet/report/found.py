"""What a report is made of: everything that was found, as plain values and arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from fabnet.report.blocks import Figure, Gap
from fabnet.report.cells import Score, Scores


@dataclass(frozen=True)
class SetFound:
    """What was found on one labelled set.

    Attributes:
        name: its key in params.yaml.
        kind: whose layout it has; one that the paper measured feeds a column of its tables.
        scores: by encoder, of the torch probe (and of what was trained on the labels themselves).
        columns: {task: {encoder: {unit or class: score, None where it has no area}}}.
        crosscheck: by encoder, of scikit-learn.
        origins: by encoder, the runs that it came from, in Markdown.
        paired: what `probing.paired` gives.
        slices: what `probing.slices` gives; None where nobody looked.
        low_label: a table of the contract LowLabel; None where nobody measured.
        left_out: {reason: faces} that the set has and its table has not.
        absent: {split: [units and classes]} that no face of it shows.
        unscored: {task: [units and classes]} on which all test faces agree.
        pictures: what was drawn, and what could not be.
    """

    name: str
    kind: str
    scores: Mapping[str, Scores]
    columns: Mapping[str, Mapping[str, Mapping[str, Score | None]]] = field(default_factory=dict)
    crosscheck: Mapping[str, Scores] = field(default_factory=dict)
    origins: Mapping[str, str] = field(default_factory=dict)
    reference: str = ""
    paired: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
    slices: Mapping[str, Any] | None = None
    low_label: pd.DataFrame | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)
    absent: Mapping[str, Sequence[str]] = field(default_factory=dict)
    unscored: Mapping[str, Sequence[str]] = field(default_factory=dict)
    pictures: Sequence[Figure | Gap] = ()
