"""Learning curves."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure


def learning_curves(histories: Mapping[str, pd.DataFrame]) -> Figure:
    """Training and validation loss against samples seen, one panel per variant.

    Args:
        histories: tables of the contract `History` by variant. Losses of different objectives do not compare, hence
            the panels.
    """
    figure = Figure(figsize=(4.2 * len(histories), 3.2), layout="constrained")
    axes = figure.subplots(1, len(histories), squeeze=False)[0]
    for axis, (variant, history) in zip(axes, histories.items(), strict=True):
        for split, style in (("train", {"lw": 0.8, "alpha": 0.7}), ("validation", {"lw": 1.8, "marker": "o", "ms": 3})):
            points = history[history["split"] == split]
            axis.plot(points["samples"] / 1000, points["loss"], label=split, **style)
        train = history[history["split"] == "train"]
        for drop in train["samples"][train["learning_rate"].diff() < 0]:
            axis.axvline(drop / 1000, color="grey", lw=0.8, ls=":", label="learning rate / 10")
        # The first points are far above the rest and would flatten what matters.
        axis.set_ylim(0.9 * history["loss"].min(), history["loss"].quantile(0.97))
        axis.set(title=variant, xlabel="thousand samples", ylabel="L1 loss")
        axis.legend(frameon=False, fontsize=8)
    return figure
