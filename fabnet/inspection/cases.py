"""Cases in which sources are of unequal use for a target, found in a pool by rule.

What a source lacks is known from readings of pose and mouth: a head turned away, a mouth closed that should be open.
The other cases need no readings: sources that are all alike, and noise in place of a source.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fabnet.errors import UserError
from fabnet.inspection.scenes import Pool, PoolReadings

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
                best.append((number in used, -found[0], number, found[1]))
        best.sort(key=lambda entry: entry[:3])
        for _, _, number, case in best[:each]:
            used.add(number)
            cases.append(case)
    return cases


def pictures(pool: Pool, cases: list[Case], seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The sources (S, B, H, W, 3) and the targets (B, H, W, 3) of B cases, noise drawn by `seed`."""
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
