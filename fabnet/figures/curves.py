"""Learning curves."""

from collections.abc import Mapping

import numpy as np
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


def loss_table(history: pd.DataFrame) -> pd.DataFrame:
    """The curves of a variant for `dvc plots`, which takes an empty field for 0: a full row per validation.

    Args:
        history: of the contract `History`.

    Returns:
        samples; train, the mean loss over the samples since the validation before; validation, the loss there;
        learning_rate. Validations before the first point of the training curve are left out.
    """
    train, validation = (history[history["split"] == split].sort_values("samples") for split in ("train", "validation"))
    weights = train["samples"].diff().fillna(train["samples"]).to_numpy(float)  # a point is a mean over these
    nearest = np.searchsorted(validation["samples"], train["samples"])  # the validation that a point comes before
    count = len(validation)
    sums, shares = (np.bincount(nearest, values, count + 1)[:count] for values in (train["loss"] * weights, weights))
    known = shares > 0
    table = validation.loc[known, ["samples", "loss", "learning_rate"]].rename(columns={"loss": "validation"})
    table.insert(1, "train", sums[known] / shares[known])
    return table.reset_index(drop=True)
