"""The figures of a network, by name, drawn from frames of test identities."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from fabnet import tables
from fabnet.errors import UserError
from fabnet.figures.curves import learning_curves
from fabnet.figures.flow import reconstruction_panels
from fabnet.figures.generated import confidence_panels, interpolation_panels, transfer_grid
from fabnet.files import read_json
from fabnet.inspection import network as inside
from fabnet.inspection.cases import find_cases, pictures
from fabnet.inspection.scenes import PoolReadings, driving_and_sources, farthest_ends, random_pairs

_PAIRS, _ENDS, _STEPS, _DRIVING, _SOURCES = 7, 4, 6, 6, 4


@dataclass(frozen=True)
class DrawnFigure:
    """A figure with what it shows, for who cannot see it, and how to read it."""

    figure: Figure
    alt: str
    caption: str


def draw_warped(seen: PoolReadings) -> DrawnFigure:
    """Sources, targets, generated frames and flows of pairs drawn by chance."""
    source, target = random_pairs(seen.pool, _PAIRS)
    flows = inside.flows(seen.network, seen.embeddings_ND[source], seen.embeddings_ND[target])
    sources, targets = seen.pool.images_NHWC[source], seen.pool.images_NHWC[target]
    figure = reconstruction_panels(sources, targets, inside.moved(sources, flows), flows)
    return DrawnFigure(
        figure,
        f"{len(source)} columns, each with a source frame, a target frame, the source warped to look like the target, "
        "and the flow as colours and as arrows",
        "Pairs of frames of test identities, drawn by chance. The target is seen only through its embedding. Arrows "
        "lead from a pixel to where it is fetched in the source, and so do the colours of the wheel: yellow from the "
        "right, blue from the left, light from above, dark from below, grey from the same place.",
    )


def draw_confidence(seen: PoolReadings) -> DrawnFigure:
    """The shares of several sources where they are of unequal use.

    Raises:
        UserError: the network takes one source.
    """
    sources = seen.network.sources
    if sources == 1:
        raise UserError("the model takes one source, which is trusted everywhere; take one trained with several")
    cases = find_cases(seen, sources)
    shown, targets = pictures(seen.pool, cases)
    generated, shares = inside.weighed(seen.network, shown, targets)
    notes = [[case.notes[number] for case in cases] for number in range(sources)]
    figure = confidence_panels(shown, targets, generated, shares, [_wrapped(case.title) for case in cases], notes)
    by_title: dict[str, list[int]] = {}
    for column, case in enumerate(cases):
        by_title.setdefault(case.title, []).append(column)
    means = shares.mean(axis=(2, 3))
    means_of = "; ".join(
        f"{title}: {', '.join(f'{mean:.2f}' for mean in means[:, columns].mean(axis=1))}"
        for title, columns in by_title.items()
    )
    return DrawnFigure(
        figure,
        f"{len(cases)} scenes; below each of {sources} sources a map of its share in every pixel. {means_of}",
        f"Which source is used where, in scenes of test identities chosen by rule. Mean shares of source 1 to "
        f"{sources}: {means_of}. Angles and mouths are what linear probes read from the embedding. The decoder of "
        "confidences ends in a tanh, so that no share can fall to 0.",
    )


def draw_interpolation(seen: PoolReadings) -> DrawnFigure:
    """A source warped with target embeddings on the way from one frame's to another's."""
    source, *ends = farthest_ends(seen, _ENDS)
    shares = np.linspace(0, 1, _STEPS)
    images = seen.pool.images_NHWC
    steps = inside.interpolated(seen.network, images[source], images[np.array(ends)], shares)
    return DrawnFigure(
        interpolation_panels(images[source], images[np.array(ends)], steps, shares.tolist()),
        f"{len(source)} rows: a source frame, and {_STEPS} generated frames that go from the look of frame a to that "
        "of frame b",
        "The decoder given embeddings on the straight line between two frames' of the same person, the two that lie "
        "farthest apart. Pixels are always the source's, and so is what cannot be seen in it.",
    )


def draw_transfer(seen: PoolReadings) -> DrawnFigure:
    """People moved by another person's frames.

    Raises:
        UserError: there is one test identity only.
    """
    driving, sources = driving_and_sources(seen, _DRIVING, _SOURCES)
    images = seen.pool.images_NHWC
    made = inside.transferred(seen.network, images[sources], images[driving])
    return DrawnFigure(
        transfer_grid(images[sources], images[driving], made),
        f"A grid: {len(driving)} frames of a driving person above, {len(sources)} people on the left, each moved as "
        "the driving person",
        "Attribute transfer: the decoder is given one person's embedding and another's, whose track moves most among "
        "test identities. `fabnet animate` does the same with a picture and a video.",
    )


def draw_curves(model: Path) -> Figure:
    """Learning curves of the model in a folder, as `train` writes it.

    Raises:
        UserError: it has no history.
    """
    history, curriculum = model / "history.parquet", model / "curriculum.parquet"
    if not history.is_file():
        raise UserError(f"{history}: no such file; only models that were trained here have curves")
    windows = {model.name: tables.read(curriculum, tables.Curriculum)} if curriculum.is_file() else {}
    objective = read_json(model / "model.json")["objective"]
    return learning_curves({model.name: tables.read(history, tables.History)}, {model.name: objective}, windows)


DRAWINGS: dict[str, Callable[[PoolReadings], DrawnFigure]] = {
    "warped": draw_warped,
    "confidence": draw_confidence,
    "interpolation": draw_interpolation,
    "transfer": draw_transfer,
}


def _wrapped(title: str) -> str:
    """Two words on the first line, the rest on the second."""
    words = title.split()
    return f"{' '.join(words[:2])}\n{' '.join(words[2:])}"
