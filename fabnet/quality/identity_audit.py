"""Who is in two splits? No track is; and the closest frames across splits are listed, by pixels and by embedding.

Splits are by identity, and an identity is a name: two names for one person, or a video that was uploaded twice, put a
person into two splits. The reference for what is close are the distances between frames of one identity.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fabnet import tables
from fabnet.config import AuditParams, HealthParams
from fabnet.errors import UserError
from fabnet.figures.pictures import save
from fabnet.figures.sheets import closest_pairs
from fabnet.frames.store import FrameStore
from fabnet.networks.build import load_model
from fabnet.networks.encoder import embed_images
from fabnet.quality.duplicates import shared_tracks
from fabnet.quality.health import Verdict
from fabnet.quality.page import PicturePair
from fabnet.quality.profile import Histogram
from fabnet.quality.sample import of_tracks
from fabnet.quality.suites import judge_tables
from fabnet.retrieval.exact import Alike, search, unit

# Vectors that are multiplied with all others of their group at once, and bins of their distances, which are 0 to 2.
_BLOCK = 1024
_BINS = 1 << 16


def nearest(
    queries_ND: NDArray[np.float32], others_MD: NDArray[np.float32], left_out: tuple[Alike, ...] = ()
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The nearest of `others` for every query, all of them of length 1.

    Args:
        queries_ND, others_MD: vectors.
        left_out: pairs that do not count.

    Returns:
        its row, the first of equally near ones, or -1 where there is none; and its distance, 0 to 2, infinite where
        there is none. (N,) each.
    """
    if not len(others_MD):
        return np.full(len(queries_ND), -1, np.int64), np.full(len(queries_ND), np.inf)
    found = search(others_MD, queries_ND, 1, left_out)
    return found.rows[:, 0], _distance(found.similarity[:, 0])


def nearest_of_group(
    vectors_ND: NDArray[np.float32], group_N: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """As `nearest`, for every vector among the others of its group.

    Args:
        vectors_ND: of length 1.
        group_N: the number of each one's group.
    """
    row, distance = np.full(len(group_N), -1, np.int64), np.full(len(group_N), np.inf)
    for members in _groups(group_N):
        own = np.arange(len(members))
        at, distance[members] = nearest(vectors_ND[members], vectors_ND[members], (Alike(own, own),))
        row[members] = np.where(at >= 0, members[at], -1)
    return row, distance


def spread(vectors_ND: NDArray[np.float32], group_N: NDArray[np.int64]) -> Histogram:
    """The distances of all pairs of different vectors of one group, each pair once.

    Args:
        vectors_ND: of length 1.
        group_N: the number of each one's group.
    """
    histogram = Histogram.linear(0, 2, _BINS)
    for members in _groups(group_N):
        for begin in range(0, len(members), _BLOCK):
            mine = members[begin : begin + _BLOCK]
            distances = _distance(vectors_ND[mine] @ vectors_ND[members[begin:]].T)
            histogram.add(distances[np.triu_indices_from(distances, 1)])
    return histogram


def _groups(group_N: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """The rows of each group, ascending."""
    order = np.argsort(group_N, kind="stable")
    yield from np.split(order, np.flatnonzero(np.diff(group_N[order])) + 1) if len(order) else ()


def _distance(cosine: NDArray[np.float32]) -> NDArray[np.float64]:
    """Infinite where the cosine is; rounding takes that of equal vectors a little beyond 1."""
    distance = 1 - cosine.astype(np.float64)
    return np.where(np.isinf(distance), distance, np.clip(distance, 0, 2))


#: A way of looking at frames: RGB (N, H, W, 3) to vectors (N, D).
View = Callable[[NDArray[np.uint8]], NDArray[np.floating]]

_SIDE = 32
_BATCH = 256
_LEVELS = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
_SUSPECT = 0.25
_NAMED = 20


@dataclass(frozen=True)
class Pair:
    """A frame, its nearest one of another split and, as a reference, its nearest one of its own identity.

    Attributes:
        view: by what they are close.
        splits: such as "train, test"; the frame is of the latter.
        frame, nearest, own: rows of the index; own is None where no other frame of the identity was sampled.
        distance, own_distance: 1 - cosine.
    """

    view: str
    splits: str
    frame: int
    nearest: int
    own: int | None
    distance: float
    own_distance: float | None


def pixels(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Grey thumbnails less their mean, (N, 1024): neither brightness nor, once of length 1, contrast count."""
    small = np.empty((len(images), _SIDE, _SIDE), dtype=np.float32)
    for thumbnail, image in zip(small, images, strict=True):
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        thumbnail[:] = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    flat = small.reshape(len(images), -1)
    return flat - flat.mean(axis=1, keepdims=True)


def audit_splits(store: FrameStore, splits: pd.DataFrame, model: Path, params: HealthParams, out: Path) -> Verdict:
    """Compare frames of each two splits by pixels and by embedding; write pairs.json, pairs.html and closest.png.

    Args:
        store: the frames.
        splits: of tables.Splits.
        model: a folder as `train` writes it, whose embeddings are compared.
        params: the section `health`.
        out: folder of the three files.

    Raises:
        UserError: the model is for crops of another size; see `audit_identities`.
    """
    network, card = load_model(model)
    if card["image_size"] != store.size:
        raise UserError(f"{model}: is for crops of {card['image_size']} pixels, {store.directory} has {store.size}")
    views: dict[str, View] = {
        "pixels": pixels,
        f"embedding ({model.name})": lambda images: next(embed_images(network.encoder, [images])),
    }
    split_of = dict(zip(splits["identity"], splits["split"], strict=True))
    verdict, pairs = audit_identities(store, split_of, tables.SPLITS, views, params)
    verdict.write(out, "pairs")
    save(_draw(pairs, store), out / "closest.png", dpi=75)
    return verdict


def audit_identities(
    store: FrameStore,
    split_of: Mapping[str, str],
    splits: tuple[str, ...],
    views: Mapping[str, View],
    params: HealthParams,
) -> tuple[Verdict, list[Pair]]:
    """Compare sampled frames of each two splits, every one with every other.

    Args:
        store: the frames.
        split_of: of every identity.
        splits: names, in their order; each two are compared.
        views: by name, such as pixels.
        params: the section `health`.

    Returns:
        a verdict whose counts are listed in pairs.json, and for each view the closest pairs, the closest first: one for
        each two identities.

    Raises:
        UserError: an identity has no split, or a frame cannot be decoded.
    """
    unknown = [name for name in store.tracks.identities if name not in split_of]
    if unknown:
        raise UserError(f"{store.directory}: identity {unknown[0]} has no split; run the stage `split` again")
    shared, names = shared_tracks(store, split_of, splits)
    rows, split, identity = _sample(store, split_of, splits, params.audit)
    vectors = _look(store, rows, views)
    closest, pairs, told = [], [], {}
    for view, of_view in vectors.items():
        reference = spread(of_view, identity)
        own = nearest_of_group(of_view, identity)
        # A frame that is alone of its identity has no such neighbour; where none has one, nothing is suspect.
        owned = own[1][np.isfinite(own[1])]
        near = float(np.quantile(owned, _SUSPECT)) if len(owned) else 0.0
        across: dict[str, list[float | None]] = {}
        found: list[tuple[float, int, int, str]] = []
        for first, second in combinations(splits, 2):
            a, b = (np.flatnonzero(split == name) for name in (first, second))
            at, distance = nearest(of_view[b], of_view[a])
            name = f"{first}, {second}"
            across[name] = _quantiles(distance)
            # A split without frames has no closest pair, and no row that could pass for a good one.
            if len(a) and len(b):
                row = {"distance": _rounded(distance.min()), "suspects_pct": _rounded(100 * (distance < near).mean())}
                closest.append({"by": view, "splits": name, **row})
                found += zip(distance.tolist(), b.tolist(), a[at].tolist(), [name] * len(b), strict=True)
        chosen = _of_different_identities(sorted(found), identity, params.audit.pairs)
        pairs += [_pair(view, one, rows, own) for one in chosen]
        same = [_rounded(value) for value in reference.quantiles(_LEVELS)]
        told[view] = {"one_identity": same, "nearest_of_one_identity": _quantiles(own[1]), "across": across}
    columns = ["by", "splits", "distance", "suspects_pct"]
    judged = {"shared": shared, "closest": pd.DataFrame(closest, columns=columns)}
    counts = {
        "frames": {name: int((split == name).sum()) for name in splits},
        "shared_tracks": {name: found[:_NAMED] for name, found in names.items()},
        "levels": list(_LEVELS),
        "distances": told,
        "pairs": [_told(pair, store) for pair in pairs],
    }
    pictures = [_picture(pair, store) for pair in pairs]
    return Verdict(
        "identities across splits", None, counts, judge_tables(judged, params), judged, None, pictures
    ), pairs


def name_of(store: FrameStore, row: int) -> tuple[str, str, int]:
    """Identity, track and frame number of a row.

    Args:
        store: the frames.
        row: of the index.
    """
    track = int(np.searchsorted(store.tracks.start, row, side="right")) - 1
    identity = store.tracks.identities[int(store.tracks.identity[track])]
    return identity, store.tracks.names[track].as_py(), int(store.frame_no[row])


def _sample(
    store: FrameStore, split_of: Mapping[str, str], splits: tuple[str, ...], params: AuditParams
) -> tuple[NDArray[np.int64], NDArray[np.object_], NDArray[np.int64]]:
    """Rows of the index, with the split and the number of the identity of each."""
    rows, names = [], []
    for name in splits:
        tracks = store.select(identity for identity in store.tracks.identities if split_of[identity] == name)
        if len(tracks):
            drawn = of_tracks(store.tracks.start[tracks], store.tracks.length[tracks], params.frames, params.seed)
            rows.append(drawn)
            names += [name] * len(drawn)
    every = np.concatenate(rows)
    track = np.searchsorted(store.tracks.start, every, side="right") - 1
    return every, np.array(names, dtype=object), store.tracks.identity[track]


def _look(store: FrameStore, rows: NDArray[np.int64], views: Mapping[str, View]) -> dict[str, NDArray[np.float32]]:
    """Unit vectors of the frames by every view, decoded a batch at a time."""
    parts: dict[str, list[NDArray[np.float32]]] = {name: [] for name in views}
    for begin in range(0, len(rows), _BATCH):
        images = store.decode(rows[begin : begin + _BATCH])
        for name, view in views.items():
            parts[name].append(unit(view(images)))
    return {name: np.concatenate(vectors) for name, vectors in parts.items()}


def _of_different_identities(
    found: list[tuple[float, int, int, str]], identity: NDArray[np.int64], count: int
) -> list[tuple[float, int, int, str]]:
    """The first `count` of sorted pairs, one for each two identities: their other frames would fill the list."""
    first: dict[tuple[int, int], tuple[float, int, int, str]] = {}
    for one in found:
        first.setdefault((int(identity[one[1]]), int(identity[one[2]])), one)
        if len(first) == count:
            break
    return list(first.values())


def _pair(
    view: str,
    found: tuple[float, int, int, str],
    rows: NDArray[np.int64],
    own: tuple[NDArray[np.int64], NDArray[np.float64]],
) -> Pair:
    distance, frame, other, splits = found
    reference, away = int(own[0][frame]), float(own[1][frame])
    has_own = reference >= 0
    return Pair(
        view,
        splits,
        int(rows[frame]),
        int(rows[other]),
        int(rows[reference]) if has_own else None,
        distance,
        away if has_own else None,
    )


def _told(pair: Pair, store: FrameStore) -> dict[str, Any]:
    def place(row: int | None) -> dict[str, Any] | None:
        if row is None:
            return None
        return dict(zip(("identity", "track_id", "frame_no"), name_of(store, row), strict=True))

    distances = {"distance": _rounded(pair.distance), "own_distance": _rounded(pair.own_distance)}
    places = {"frame": place(pair.frame), "nearest": place(pair.nearest), "own": place(pair.own)}
    return {"by": pair.view, "splits": pair.splits, **distances, **places}


def _picture(pair: Pair, store: FrameStore) -> PicturePair:
    first, second = (" ".join(map(str, name_of(store, row)[1:])) for row in (pair.nearest, pair.frame))
    apart = f"{pair.distance:.3g}"
    return PicturePair(
        f"{pair.view}; {pair.splits}", apart, first, store.read(pair.nearest), second, store.read(pair.frame)
    )


def _draw(pairs: list[Pair], store: FrameStore) -> Figure:
    images: dict[str, NDArray[np.uint8]] = {}
    captions: dict[str, list[tuple[str, str, str]]] = {}
    for view in dict.fromkeys(pair.view for pair in pairs):
        mine = [pair for pair in pairs if pair.view == view]
        captions[view] = []
        images[view] = np.zeros((len(mine), 3, store.size, store.size, 3), dtype=np.uint8)
        for row, pair in zip(images[view], mine, strict=True):
            row[:2] = store.decode([pair.frame, pair.nearest])
            other, split = pair.splits.split(", ")
            own = "none was sampled"
            if pair.own is not None:
                row[2:] = store.decode([pair.own])
                own = f"frame {name_of(store, pair.own)[2]}\n{pair.own_distance:.3g} away"
            person, _, number = name_of(store, pair.frame)
            captions[view].append(
                (
                    f"{person} ({split})\nframe {number}",
                    f"{name_of(store, pair.nearest)[0]} ({other})\n{pair.distance:.3g} away",
                    own,
                )
            )
    return closest_pairs(images, captions)


def _quantiles(distances: NDArray[np.float64]) -> list[float | None]:
    finite = distances[np.isfinite(distances)]
    return [_rounded(float(value)) for value in np.quantile(finite, _LEVELS)] if len(finite) else [None] * len(_LEVELS)


def _rounded(value: float | None) -> float | None:
    """Four digits: those beyond depend on the order of a sum."""
    return None if value is None or not np.isfinite(value) else float(f"{value:.4g}")
