"""Predicted against true head pose."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

ANGLES = ("roll", "pitch", "yaw")


def pose_scatter(true_N3: NDArray[np.floating], predicted: Mapping[str, NDArray[np.floating]]) -> Figure:
    """One row per encoder, one column per angle, in degrees (roll, pitch, yaw); the diagonal is perfect.

    Args:
        true_N3: true angles.
        predicted: angles (N, 3) by encoder.
    """
    figure = Figure(figsize=(8.4, 2.7 * len(predicted)), layout="constrained")
    axes = figure.subplots(len(predicted), 3, squeeze=False)
    for line, (encoder, angles_N3) in zip(axes, predicted.items(), strict=True):
        for number, (axis, angle) in enumerate(zip(line, ANGLES, strict=True)):
            reach = 1.05 * float(np.abs(true_N3[:, number]).max())
            axis.plot((-reach, reach), (-reach, reach), color="grey", lw=0.8)
            axis.plot(true_N3[:, number], angles_N3[:, number], ".", ms=3, alpha=0.5, mew=0)
            error = np.abs(true_N3[:, number] - angles_N3[:, number]).mean()
            axis.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
            axis.set_title(f"{angle}, MAE {error:.1f}°", fontsize=9)
        line[0].set_ylabel(f"{encoder}\npredicted (degrees)", fontsize=9)
    for axis in axes[-1]:
        axis.set_xlabel("true (degrees)")
    return figure
