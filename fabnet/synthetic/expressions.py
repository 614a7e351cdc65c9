"""The eight expressions of AffectNet as combinations of action units."""

from dataclasses import dataclass

import numpy as np

from fabnet.tables import UNITS

#: Units of each expression: (chance that the unit takes part, least intensity at full expression, greatest).
EXPRESSION_UNITS: dict[str, dict[int, tuple[float, float, float]]] = {
    "neutral": {},
    "happy": {6: (0.9, 0.5, 1.0), 12: (1.0, 0.6, 1.0), 25: (0.6, 0.4, 1.0)},
    "sad": {1: (0.9, 0.5, 1.0), 4: (0.6, 0.3, 0.8), 17: (0.8, 0.4, 1.0)},
    "surprise": {1: (0.8, 0.5, 1.0), 2: (1.0, 0.6, 1.0), 5: (0.9, 0.4, 1.0), 25: (0.8, 0.5, 1.0), 26: (0.9, 0.5, 1.0)},
    "fear": {
        1: (0.8, 0.5, 1.0), 2: (0.6, 0.3, 0.7), 4: (0.7, 0.4, 0.8), 5: (0.9, 0.5, 1.0), 20: (0.9, 0.5, 1.0),
        25: (0.7, 0.4, 0.9),
    },
    "disgust": {9: (1.0, 0.6, 1.0), 4: (0.2, 0.3, 0.7), 17: (0.4, 0.3, 0.8), 25: (0.3, 0.3, 0.7)},
    "anger": {4: (1.0, 0.6, 1.0), 5: (0.7, 0.3, 0.8), 9: (0.2, 0.2, 0.5), 17: (0.5, 0.3, 0.7)},
    "contempt": {12: (1.0, 0.5, 1.0)},
}  # fmt: skip


@dataclass(frozen=True)
class Expression:
    name: str
    units: np.ndarray  # (11,) intensities in the order of `tables.UNITS`
    asymmetry: float  # of unit 12


def sample_expression(rng: np.random.Generator, name: str, strength: float = 1.0) -> Expression:
    """Draw the units of an expression; `strength` in 0..1 scales their intensities."""
    units = np.zeros(len(UNITS))
    for number, (chance, low, high) in EXPRESSION_UNITS[name].items():
        takes_part, intensity = rng.random() < chance, rng.uniform(low, high)
        units[UNITS.index(number)] = strength * intensity * takes_part
    lopsided = rng.uniform(0.75, 1.0) if name == "contempt" else 0.25 * rng.random()
    return Expression(name, units, float(rng.choice((-1, 1)) * lopsided))
