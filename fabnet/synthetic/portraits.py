"""States of the labelled single faces: wider poses, other light and backgrounds than the videos (a domain shift)."""

from dataclasses import dataclass

import numpy as np

from fabnet.synthetic.expressions import sample_expression
from fabnet.synthetic.seeds import normal
from fabnet.synthetic.state import FaceState, Light
from fabnet.tables import EXPRESSIONS, UNITS

#: Standard deviations of yaw, pitch, roll in degrees, and where they are clipped.
POSE_SPREAD = (20.0, 8.0, 6.5)
POSE_LIMITS = (60.0, 30.0, 25.0)

#: Chance of each unit, in the order of `tables.UNITS`, to come on top of the expression's own.
EXTRA_UNITS = (0.02, 0.06, 0.02, 0.03, 0.13, 0.12, 0.05, 0.07, 0.14, 0.06, 0.13)
EXTRA_INTENSITY = (0.5, 1.0)
EXPRESSION_STRENGTH = (0.7, 1.0)

SHIFT_SPREAD = 0.015
SCALE = (1.04, 1.22)
BLINK_CHANCE = 0.05
GAZE_SPREAD = 0.45

BACKGROUNDS = ("gradient", "panels", "window", "foliage")
SATURATION = 0.9


@dataclass(frozen=True)
class Portrait:
    state: FaceState
    expression: str


def sample_portrait(rng: np.random.Generator) -> Portrait:
    yaw, pitch, roll = np.clip(normal(rng, 3) * POSE_SPREAD, -np.asarray(POSE_LIMITS), POSE_LIMITS)
    name = str(rng.choice(EXPRESSIONS))
    expression = sample_expression(rng, name, float(rng.uniform(*EXPRESSION_STRENGTH)))
    extra = (rng.random(len(UNITS)) < EXTRA_UNITS) * rng.uniform(*EXTRA_INTENSITY, len(UNITS))
    units = np.maximum(expression.units, extra)
    gaze = np.clip(GAZE_SPREAD * normal(rng, 2), -1, 1)
    shift = np.clip(SHIFT_SPREAD * normal(rng, 2), -2.5 * SHIFT_SPREAD, 2.5 * SHIFT_SPREAD)
    state = FaceState(
        yaw=float(yaw),
        pitch=float(pitch),
        roll=float(roll),
        units=tuple(float(value) for value in units),
        asymmetry=expression.asymmetry,
        blink=float(rng.random() < BLINK_CHANCE),
        gaze=(float(gaze[0]), float(gaze[1])),
        shift=(float(shift[0]), float(shift[1])),
        scale=float(rng.uniform(*SCALE)),
        light=Light(
            azimuth=float(rng.uniform(-75, 75)),
            elevation=float(rng.uniform(-5, 65)),
            key=float(rng.uniform(0.45, 1.0)),
            ambient=float(rng.uniform(0.28, 0.6)),
            warmth=float(rng.uniform(-0.9, 0.9)),
        ),
    )
    return Portrait(state, name)
