"""A map of embeddings in two dimensions, coloured by what the faces show."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.markers import MarkerStyle
from numpy.typing import NDArray

#: Okabe and Ito, safe for all kinds of colour vision; shapes distinguish them without colours.
_COLOURS = ("#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7")
_SHAPES = ("o", "s", "^", "D", "v", "P", "X", "*")
_OTHERS = "#d5d8dc"


def embedding_map(
    places_N2: NDArray[np.floating],
    yaw_N: NDArray[np.floating] | None,
    expression_N: Sequence[str] | None,
    identity_N: Sequence[str],
    title: str = "",
) -> Figure:
    """Three panels of the same points, a face each: by yaw in degrees, by expression and by identity.

    Of identities, the eight with most faces are coloured, the first by name of those with as many; the others are
    grey. A panel whose labels are not there (None) says so. A map's axes have no unit: near on it means alike.

    Args:
        places_N2: of the faces on the map, (N, 2), without unit.
        yaw_N: degrees.
        expression_N: names, as in tables.EXPRESSIONS.
        identity_N: names.
        title: above the panels.
    """
    figure = Figure(figsize=(12, 4.9), dpi=100)
    figure.suptitle(title, fontsize=12)
    # By hand: a bar of colours below one panel would make it smaller than the others.
    panels = figure.subplots(1, 3)
    figure.subplots_adjust(left=0.03, right=0.99, top=0.9, bottom=0.25, wspace=0.04)
    for axes, name in zip(panels, ("yaw", "expression", "identity"), strict=True):
        axes.set(xticks=[], yticks=[], xlabel="t-SNE 1, no unit")
        axes.set_aspect("equal", adjustable="datalim")  # all three alike: they hold the same points
        axes.set_title(f"by {name}", fontsize=11)
        axes.spines[:].set_color("#888888")
    panels[0].set_ylabel("t-SNE 2, no unit")
    _by_yaw(figure, panels[0], places_N2, yaw_N)
    if expression_N is None:
        _absent(panels[1], "the labels have no expression")
    else:
        _by_name(panels[1], places_N2, np.array(expression_N), list(dict.fromkeys(sorted(expression_N))))
    names, counts = np.unique(np.array(identity_N), return_counts=True)
    most = names[np.argsort(-counts, kind="stable")][: len(_COLOURS)]
    _by_name(panels[2], places_N2, np.array(identity_N), most.tolist(), legend=False)
    shown = "all identities" if len(names) <= len(most) else f"{len(most)} of {len(names)} identities; others grey"
    panels[2].set_title(f"by identity ({shown})", fontsize=11)
    return figure


def _by_yaw(figure: Figure, axes: Axes, places: NDArray[np.floating], yaw: NDArray[np.floating] | None) -> None:
    if yaw is None:
        _absent(axes, "the labels have no yaw")
        return
    reach = max(float(np.abs(yaw).max()), 1.0)
    drawn = axes.scatter(places[:, 0], places[:, 1], c=yaw, s=14, cmap="viridis", vmin=-reach, vmax=reach, linewidths=0)
    place = axes.get_position()
    bar = figure.colorbar(
        drawn,
        cax=figure.add_axes((place.x0 + 0.1 * place.width, 0.14, 0.8 * place.width, 0.03)),
        orientation="horizontal",
    )
    bar.set_label("yaw (degrees)")


def _by_name(
    axes: Axes, places: NDArray[np.floating], names: NDArray[np.str_], coloured: Sequence[str], legend: bool = True
) -> None:
    others = ~np.isin(names, coloured)
    axes.scatter(places[others, 0], places[others, 1], s=7, color=_OTHERS, linewidths=0)
    for number, name in enumerate(coloured):
        mine = names == name
        shape = MarkerStyle(_SHAPES[number % len(_SHAPES)])
        colour = _COLOURS[number % len(_COLOURS)]
        size = 14 if legend else 36
        axes.scatter(
            places[mine, 0],
            places[mine, 1],
            s=size,
            marker=shape,
            facecolor=colour,
            edgecolors="#333333",
            linewidths=0.15,
            label=name,
        )
    if legend:
        axes.legend(
            loc="upper center", bbox_to_anchor=(0.5, -0.07), ncols=4, fontsize=8, markerscale=1.6, frameon=False
        )


def _absent(axes: Axes, why: str) -> None:
    axes.text(0.5, 0.5, why, ha="center", va="center", transform=axes.transAxes)
