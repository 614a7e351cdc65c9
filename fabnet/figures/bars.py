"""Numbers between 0 and 1 as bars: action units, and expressions."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

_PLAIN, _STRONG = "#9db7d5", "#1f5fa8"

#: What the facial action coding system calls the units.
UNIT_NAMES = {
    1: "inner brow raiser",
    2: "outer brow raiser",
    4: "brow lowerer",
    5: "upper lid raiser",
    6: "cheek raiser",
    9: "nose wrinkler",
    12: "lip corner puller",
    17: "chin raiser",
    20: "lip stretcher",
    25: "lips part",
    26: "jaw drop",
}


def unit_bars(units: Sequence[int], values: NDArray[np.floating]) -> Figure:
    """Action units by their numbers, each from 0 (absent) to 1; those of 0.5 and more are darker."""
    names = [f"{UNIT_NAMES[unit]}  AU{unit:02d}" if unit in UNIT_NAMES else f"AU{unit:02d}" for unit in units]
    return _bars(names, values, np.asarray(values) >= 0.5, "0: absent … 1: present")


def expression_bars(names: Sequence[str], values: NDArray[np.floating]) -> Figure:
    """Probabilities of expressions, which sum to 1; the most likely one is darker."""
    return _bars(names, values, np.arange(len(values)) == int(np.argmax(values)), "probability")


def _bars(names: Sequence[str], values: NDArray[np.floating], strong: NDArray[np.bool_], label: str) -> Figure:
    """The first name at the top."""
    figure = Figure(figsize=(3.9, 0.75 + 0.29 * len(names)), layout="constrained", dpi=130)
    axes = figure.subplots()
    places = np.arange(len(names))
    axes.barh(places, np.ones(len(names)), color="#eef1f5", height=0.72)
    axes.barh(places, values, color=[_STRONG if each else _PLAIN for each in strong], height=0.72)
    for place, value in zip(places.tolist(), values, strict=True):
        axes.text(1.02, place, f"{value:.2f}", fontsize=9, va="center")
    axes.set_yticks(places, names, fontsize=10)
    axes.set_xticks((0, 0.5, 1), ("0", "0.5", "1"), fontsize=8)
    axes.set_xlabel(label, fontsize=9)
    axes.set(xlim=(0, 1.12), ylim=(len(names) - 0.4, -0.6))
    axes.tick_params(axis="y", length=0)
    axes.spines[:].set_visible(False)
    return figure
