"""Rules of a gate, and predictions to judge by them."""

import numpy as np
import pandas as pd

from fabnet.probing.predictions import frame
from fabnet.tracking.gate.rules import Gate, Gates


def gates(*rules: dict, **others) -> Gates:
    defaults = {"set": "faces", "direction": "lower", "allowed_loss": "1 %"}
    return Gates(encoder="fabnet", resamples=500, gates=tuple(Gate(**{**defaults, **rule}) for rule in rules), **others)


def predictions(scale: float, seed: int = 0, people: int = 40, faces: int = 4, noise: float = 0.05) -> pd.DataFrame:
    """Pose and units of an encoder whose errors are `scale` times those of another; labels do not depend on it."""
    fixed, own = np.random.default_rng(7), np.random.default_rng(100 + seed)
    count = people * faces
    ids = [f"face{i:04d}" for i in range(count)]
    table = pd.DataFrame({"face_id": ids, "identity": [f"p{i // faces}" for i in range(count)]})
    truth = fixed.normal(0, 20, size=(count, 3)).astype(np.float32)
    error = fixed.normal(0, 4, size=(2, count, 3)) * (1 + noise * own.normal(size=(2, count, 3)))
    units = (fixed.random((count, 11)) < 0.4).astype(np.float32)
    scores = units + fixed.normal(0, 1, size=(2, count, 11)) + noise * own.normal(size=(2, count, 11))
    points = fixed.normal(32, 10, size=(count, 10)) / 32 - 1
    parts = [
        frame("fabnet", "regularised", "pose", table, truth + scale * error, truth, 64),
        frame("fabnet", "regularised", "units", table, scores, units, 64),
        frame("fabnet", "regularised", "landmarks5", table, np.stack([points + 0.1 * scale] * 2), points, 64),
    ]
    return pd.concat(parts, ignore_index=True)


RULES = gates(
    {"metric": "yaw_mae_deg", "floor": 6},
    {"metric": "landmarks5_nme_pct"},
    {"metric": "units_auc", "direction": "higher", "allowed_loss": 0.5},
)
