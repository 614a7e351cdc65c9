"""How far the spread of what is measured has moved from a profile that was stored before."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fabnet.errors import UserError
from fabnet.files import read_json
from fabnet.quality.histogram import LEVELS
from fabnet.quality.summary import Summary

_FORMAT = 1


def profile(summary: Summary) -> dict[str, Any]:
    """Quantiles of every measure, as profile.json holds them."""
    quantiles: dict[str, NDArray] = {name: histogram.quantiles() for name, histogram in summary.histograms.items()}
    quantiles["frames_of_track"] = summary.tracks["frames"].quantile(LEVELS).to_numpy()
    quantiles["tracks_of_identity"] = summary.identities["tracks"].quantile(LEVELS).to_numpy()
    rounded = {name: [float(f"{value:.6g}") for value in values] for name, values in quantiles.items()}
    return {"format": _FORMAT, "levels": list(LEVELS), "frames": summary.rows, "quantiles": rounded}


def drift(now: Mapping[str, Any], before: Mapping[str, Any]) -> pd.DataFrame:
    """Columns measure and distance: between two profiles, for the measures that both hold.

    The distance is the mean difference of the quantiles over the earlier interquartile range, which is taken as at
    least 5 % of the median, since a measure that never varied would otherwise drift without end.
    """
    rows = []
    for name in sorted(set(now["quantiles"]) & set(before["quantiles"])):
        new, old = (np.asarray(one["quantiles"][name], dtype=np.float64) for one in (now, before))
        middle = np.interp([0.25, 0.5, 0.75], LEVELS, old)
        scale = max(middle[2] - middle[0], 0.05 * abs(middle[1]), 1e-6)
        rows.append({"measure": name, "distance": float(np.abs(new - old).mean() / scale)})
    return pd.DataFrame(rows, columns=["measure", "distance"]).astype({"measure": str, "distance": float})


def read_profile(path: Path) -> dict[str, Any]:
    """A profile.json.

    Raises:
        UserError: it is absent, of a later format, or no profile.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such profile; correct health.profile, or set it to null")
    try:
        found = read_json(path)
        sound = found["levels"] == list(LEVELS) and all(
            np.isfinite(np.asarray(values, dtype=float)).all() and len(values) == len(LEVELS)
            for values in found["quantiles"].values()
        )
        newer = found["format"] != _FORMAT
    except (ValueError, KeyError, TypeError, AttributeError):
        sound, newer = False, False
    if newer:
        raise UserError(f"{path}: is a profile of format {found['format']}, and this fabnet reads format {_FORMAT}")
    if not sound:
        raise UserError(f"{path}: is no profile; make it again with the stage `validate`")
    return dict(found)
