"""The figures of a network, by name, drawn from frames of test identities.

Cases in which sources are of unequal use for a target are found by rule. What a source lacks is known from readings of
pose and mouth: a head turned away, a mouth closed that should be open. The other cases need no readings: sources that
are all alike, and noise in place of a source.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fabnet import tables
from fabnet.errors import UserError
from fabnet.figures.curves import learning_curves
from fabnet.figures.flow import reconstruction_panels
from fabnet.figures.generated import confidence_panels, interpolation_panels, transfer_grid
from fabnet.files import read_json
from fabnet.inspection import network as inside
from fabnet.inspection.scenes import Pool, PoolReadings, driving_and_sources, farthest_ends, random_pairs

# How far apart two heads may be turned, in degrees, where their mouths are compared.
_SAME_POSE = 12.0

_Frames = NDArray[np.int64]


@dataclass(frozen=True)
class Case:
    """A target and what there is to make it from.

    Attributes:
        title: what is the matter with the sources.
        target: number of a frame of the pool.
        sources: likewise, (S,); -1 stands for noise.
        notes: what there is to say of each source.
    """

    title: str
    target: int
    sources: tuple[int, ...]
    notes: tuple[str, ...]


def find_cases(seen: PoolReadings, sources: int, each: int = 2) -> list[Case]:
    """`each` scenes of every kind of case, of different tracks where there are enough.

    Kinds that need readings which there are none of are left out.

    Args:
        seen: the frames to choose from, with their readings.
        sources: frames for each target.
        each: scenes of a kind.

    Raises:
        UserError: no track has a target and so many sources.
    """
    tracks = [frames for frames in seen.pool.tracks() if len(frames) > sources]
    if not tracks:
        raise UserError(f"no track has {1 + sources} frames: a target and {sources} sources")
    kinds: list[Callable[[PoolReadings, _Frames, int], Iterator[tuple[float, Case]]]] = []
    if seen.angles_N3 is not None:
        kinds.append(_turned_away)
        if seen.mouth_N is not None:
            kinds.append(_other_mouth)
    kinds += [_noise, _alike]
    cases, used = [], set[int]()
    for kind in kinds:
        best = []
        for number, frames in enumerate(tracks):
            found = max(kind(seen, frames, sources), key=lambda scored: scored[0], default=None)
            if found is not None:
                # A track that has shown a case comes last, so that cases are of different people where they can be.
                best.append((number in used, -found[0], number, found[1]))
        best.sort(key=lambda entry: entry[:3])
        for _, _, number, case in best[:each]:
            used.add(number)
            cases.append(case)
    return cases


def pictures(pool: Pool, cases: list[Case], seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The sources (S, B, H, W, 3) and the targets (B, H, W, 3) of B cases, noise drawn by `seed`.

    Args:
        pool: the frames that the cases number.
        cases: B of them, each with as many sources.
        seed: of the noise that stands for a source.
    """
    random = np.random.default_rng(seed)
    shape = pool.images_NHWC.shape[1:]
    noise = random.integers(0, 256, (len(cases), *shape), dtype=np.uint8)
    sources = [
        [pool.images_NHWC[frame] if frame >= 0 else noise[number] for frame in case.sources]
        for number, case in enumerate(cases)
    ]
    targets = pool.images_NHWC[[case.target for case in cases]]
    return np.array(sources).swapaxes(0, 1), targets


def _turned_away(seen: PoolReadings, frames: _Frames, sources: int) -> Iterator[tuple[float, Case]]:
    """The last source is turned as far from the target as any frame of the track, the others as near as there are."""
    turned = _apart(seen.angles_N3, frames)
    for place, target in enumerate(frames):
        order = _others(turned[place], place)
        chosen = [*order[: sources - 1], order[-1]]
        near, far = turned[place][chosen[:-1]].max(initial=0), turned[place][chosen[-1]]
        notes = tuple(f"turned by {turned[place][one]:.0f}°" for one in chosen)
        yield far - near, Case("a source turned away", int(target), tuple(map(int, frames[chosen])), notes)


def _other_mouth(seen: PoolReadings, frames: _Frames, sources: int) -> Iterator[tuple[float, Case]]:
    """Of frames turned as the target, the first source has its mouth most like it, the others least."""
    assert seen.mouth_N is not None
    turned, mouth = _apart(seen.angles_N3, frames), seen.mouth_N[frames]
    for place, target in enumerate(frames):
        differs = np.abs(mouth - mouth[place])
        order = [one for one in _others(differs, place) if turned[place][one] <= _SAME_POSE]
        if len(order) < sources:
            continue
        chosen = [order[0], *order[len(order) - sources + 1 :]]
        lacking = mouth[chosen[1:]] - mouth[place]
        if not ((lacking < 0).all() or (lacking > 0).all()) or sources < 2:
            continue
        kind = "closed" if lacking[0] < 0 else "open"
        notes = ("mouth as target's", *[f"mouth more {kind}"] * (sources - 1))
        score = np.abs(lacking).min() - differs[chosen[0]]
        yield float(score), Case(f"mouths more {kind}", int(target), tuple(map(int, frames[chosen])), notes)


def _noise(seen: PoolReadings, frames: _Frames, sources: int) -> Iterator[tuple[float, Case]]:
    """The frames nearest to the target in the embedding, and noise."""
    for scored, case in _alike(seen, frames, sources):
        chosen = (*case.sources[:-1], -1)
        yield scored, Case("a source of noise", case.target, chosen, (*case.notes[:-1], "noise"))


def _alike(seen: PoolReadings, frames: _Frames, sources: int) -> Iterator[tuple[float, Case]]:
    """The frames nearest to the target in the embedding."""
    apart = _apart(seen.embeddings_ND, frames)
    for place, target in enumerate(frames):
        order = _others(apart[place], place)[:sources]
        chosen = tuple(map(int, frames[order]))
        yield -float(apart[place][order].max()), Case("sources much alike", int(target), chosen, ("",) * sources)


def _apart(values: NDArray[np.floating] | None, frames: _Frames) -> NDArray[np.floating]:
    """Distances between the frames of a track, by a row of numbers for each."""
    assert values is not None
    rows = values[frames]
    distances: NDArray[np.floating] = np.linalg.norm(rows[:, None] - rows[None], axis=2)
    return distances


def _others(distances: NDArray[np.floating], place: int) -> list[int]:
    """Places in a track by their distance, without the target's own."""
    return [int(one) for one in np.argsort(distances, kind="stable") if one != place]


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
