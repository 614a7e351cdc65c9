"""What is known of faces, and how far two of them agree.

A comparison has a value for each pair of a query and a face of the gallery, in degrees or percent.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

#: In the order of the tables; the last word is the unit.
YAW, PITCH, ROLL = "yaw_difference_deg", "pitch_difference_deg", "roll_difference_deg"
POSE = "pose_difference_deg"
UNITS, JACCARD = "units_agreement_pct", "units_jaccard_pct"
PRECISION, MAP = "expression_precision_pct", "expression_map_pct"
IDENTITY = "identity_share_pct"
METRICS = (YAW, PITCH, ROLL, POSE, UNITS, JACCARD, PRECISION, MAP, IDENTITY)

_ANGLES = {"yaw": YAW, "pitch": PITCH, "roll": ROLL}


@dataclass(frozen=True)
class Attributes:
    """Of N faces; what the labels do not say is None or has no key.

    Attributes:
        identity: a number for each person, (N,).
        angles: degrees (N,) by yaw, pitch and roll.
        units: which action units are present, (N, U).
        expression: a number for each class, (N,).
    """

    identity: NDArray[np.int64]
    angles: Mapping[str, NDArray[np.floating]] = field(default_factory=dict)
    units: NDArray[np.bool_] | None = None
    expression: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.identity)

    def take(self, rows: NDArray[np.integer] | slice) -> "Attributes":
        """Of the faces `rows`, of any shape, which leads the shapes of the arrays."""
        return Attributes(
            self.identity[rows],
            {name: values[rows] for name, values in self.angles.items()},
            None if self.units is None else self.units[rows],
            None if self.expression is None else self.expression[rows],
        )


def compared(queries: Attributes, others: Attributes) -> dict[str, NDArray[np.float64]]:
    """Every comparison, (Q, M), of queries (Q, 1) with faces (1, M) of the gallery, or with M of their own, (Q, M).

    `units_agreement_pct` is the share of the units that are present on both faces or on neither, `units_jaccard_pct`
    those present on both over those present on either, and 100 where none is present on either. Angles differ by the
    shorter way around. The mean of the three is given where all three are known.
    """
    found = {}
    for angle, metric in _ANGLES.items():
        if angle in queries.angles:
            apart = np.abs(queries.angles[angle] - others.angles[angle])
            found[metric] = np.minimum(apart, 360 - apart)
    if len(found) == len(_ANGLES):
        found[POSE] = sum(found.values()) / len(_ANGLES)
    if queries.units is not None and others.units is not None:
        found[UNITS] = 100 * (queries.units == others.units).mean(axis=-1)
        both = (queries.units & others.units).sum(axis=-1)
        either = (queries.units | others.units).sum(axis=-1)
        found[JACCARD] = np.where(either > 0, 100 * both / np.maximum(either, 1), 100.0)
    if queries.expression is not None and others.expression is not None:
        found[PRECISION] = 100.0 * (queries.expression == others.expression)
    found[IDENTITY] = 100.0 * (queries.identity == others.identity)
    return found
