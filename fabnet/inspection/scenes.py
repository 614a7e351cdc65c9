"""Frames of test identities, and rules that choose which of them are shown: none are picked by eye.

Shape suffixes: N frames, D embedding, S sources.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fabnet import tables
from fabnet.errors import UserError, counted
from fabnet.files import read_json
from fabnet.frames.store import FrameStore
from fabnet.inspection import network as inside
from fabnet.inspection.network import open_fabnet
from fabnet.networks.fabnet import FabNet
from fabnet.probing.embeddings import require_weights
from fabnet.probing.readings import SavedHeads, read_heads

# Enough to choose from, of a data set of any size.
_TRACKS, _FRAMES = 64, 48

# Points of 68 between which a mouth opens (inner lips), and which give the size of a face (between the eyes, chin).
_UPPER_LIP, _LOWER_LIP, _BRIDGE, _CHIN = 62, 66, 27, 8


@dataclass(frozen=True)
class Pool:
    """Frames to choose from, those of a track one after another by time.

    Attributes:
        images_NHWC: uint8.
        track_N: number of the track of each frame.
    """

    images_NHWC: NDArray[np.uint8]
    track_N: NDArray[np.int64]

    def tracks(self) -> list[NDArray[np.int64]]:
        """The numbers of the frames of each track."""
        return [np.flatnonzero(self.track_N == track) for track in np.unique(self.track_N)]


@dataclass(frozen=True)
class PoolReadings:
    """A pool and what a network and its probes read from it.

    Attributes:
        embeddings_ND: of its frames.
        angles_N3: roll, pitch and yaw in degrees that a probe reads from them; None without a probe.
        mouth_N: how far the mouth is open, in heights of the face, by the landmarks that a probe reads; None likewise.
    """

    pool: Pool
    network: FabNet
    embeddings_ND: NDArray[np.float32]
    angles_N3: NDArray[np.float32] | None
    mouth_N: NDArray[np.float32] | None


def gather(store: FrameStore, identities: Sequence[str], least: int, seed: int = 0) -> Pool:
    """The longest track of each identity, if it has `least` frames; at most 64 of them and 48 frames of each.

    Args:
        store: the frames.
        identities: whose tracks are considered.
        least: frames that a track must have.
        seed: chooses among more than 64 identities.

    Raises:
        UserError: there is none, or a frame is damaged.
    """
    tracks = store.select(identities)
    tracks = tracks[np.argsort(-store.tracks.length[tracks], kind="stable")]
    _, first = np.unique(store.tracks.identity[tracks], return_index=True)
    longest = tracks[first]
    longest = longest[store.tracks.length[longest] >= least]
    if not len(longest):
        raise UserError(
            f"{store.directory}: no track of {counted(len(identities), 'test identity', 'test identities')} has "
            f"{least} frames"
        )
    chosen = np.sort(np.random.default_rng(seed).permutation(longest)[:_TRACKS])
    rows = [
        start + np.unique(np.linspace(0, length - 1, min(length, _FRAMES)).round().astype(int))
        for start, length in zip(store.tracks.start[chosen], store.tracks.length[chosen], strict=True)
    ]
    numbers = np.repeat(np.arange(len(rows)), [len(each) for each in rows])
    return Pool(store.decode(np.concatenate(rows)), numbers)


def see(pool: Pool, network: FabNet, heads: SavedHeads | None = None) -> PoolReadings:
    """Embed a pool, and read pose and mouth from the embeddings as far as there are probes for them.

    Args:
        pool: frames as `gather` gives them.
        network: in evaluation mode.
        heads: probes of the network's weights; without them, readings are None.

    Raises:
        UserError: the pool's frames are of another size than the network's.
    """
    if pool.images_NHWC.shape[1] != network.encoder.image_size:
        raise UserError(
            f"frames of {pool.images_NHWC.shape[1]} pixels, but the model sees {network.encoder.image_size}; extract "
            "frames of its size"
        )
    embedded = inside.embeddings(network, pool.images_NHWC)
    by_task = {head.task: head for head in heads.heads} if heads else {}
    angles = by_task["pose"](embedded) if "pose" in by_task else None
    mouth = None
    if "landmarks68" in by_task:
        points = by_task["landmarks68"](embedded).reshape(len(embedded), 68, 2)
        open_by, height = (
            np.linalg.norm(points[:, one] - points[:, other], axis=1)
            for one, other in ((_UPPER_LIP, _LOWER_LIP), (_BRIDGE, _CHIN))
        )
        mouth = open_by / np.maximum(height, 1e-6)
    return PoolReadings(pool, network, embedded, angles, mouth)


def random_pairs(pool: Pool, count: int, seed: int = 0) -> NDArray[np.int64]:
    """Source and target, (2, P): two different frames of each of `count` tracks, all by chance.

    Args:
        pool: its tracks are drawn from.
        count: P; all tracks if there are fewer.
        seed: of the draws.
    """
    random = np.random.default_rng(seed)
    tracks = pool.tracks()
    chosen = random.permutation(len(tracks))[:count]
    return np.array([random.choice(tracks[track], 2, replace=False) for track in chosen]).T


def farthest_ends(seen: PoolReadings, count: int) -> NDArray[np.int64]:
    """Source, a and b, (3, P), of the `count` tracks that move most: a and b lie farthest apart in the embedding.

    The source is the frame nearest to the middle between them.

    Args:
        seen: frames with their embeddings.
        count: P; all tracks if there are fewer.
    """
    found = []
    for frames in seen.pool.tracks():
        embedded = seen.embeddings_ND[frames]
        distances = np.linalg.norm(embedded[:, None] - embedded[None], axis=2)
        a, b = np.unravel_index(int(distances.argmax()), distances.shape)
        from_middle = np.linalg.norm(embedded - (embedded[a] + embedded[b]) / 2, axis=1)
        from_middle[[a, b]] = np.inf
        found.append((float(distances[a, b]), frames[np.array([from_middle.argmin(), a, b], dtype=np.int64)]))
    found.sort(key=lambda each: -each[0])
    return np.array([rows for _, rows in found[:count]]).T


def driving_and_sources(seen: PoolReadings, steps: int, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Frames of the track that moves most, `steps` evenly in time, and a source of each of `count` other tracks.

    The sources are spread over the tracks from the one that moves least; each is its track's frame nearest to the mean.

    Args:
        seen: frames with their embeddings.
        steps: frames of the driving track.
        count: sources; fewer where there are fewer tracks.
    """
    tracks = seen.pool.tracks()
    means = [seen.embeddings_ND[frames].mean(axis=0) for frames in tracks]
    away = [
        np.linalg.norm(seen.embeddings_ND[frames] - mean, axis=1) for frames, mean in zip(tracks, means, strict=True)
    ]
    *others, driver = np.argsort([each.mean() for each in away])
    driving = tracks[driver]
    driving = driving[np.unique(np.linspace(0, len(driving) - 1, steps).round().astype(int))]
    if not others:
        raise UserError("attributes are carried from one person to another, but there is one test identity only")
    spread = np.unique(np.linspace(0, len(others) - 1, count).round().astype(int))
    sources = [tracks[others[place]][int(away[others[place]].argmin())] for place in spread]
    return driving, np.array(sources)


# A pair of frames and one between them.
_LEAST = 3


def open_pool(frames: Path, splits: Path) -> Pool:
    """Frames of test identities.

    Args:
        frames: a folder of track shards, data/frames.
        splits: the table of the splits of its identities.

    Raises:
        UserError: there are no frames or splits, or no track is long enough.
    """
    store = FrameStore(frames)
    if not splits.is_file():
        raise UserError(f"{splits}: no such file; run the stage `split` first")
    table = tables.read(splits, tables.Splits)
    return gather(store, table["identity"][table["split"] == "test"].tolist(), _LEAST)


def read_pool(model: Path, pool: Pool, heads: Path | None) -> PoolReadings:
    """A pool through the eyes of the network in the folder `model`.

    Args:
        model: folder as `train` writes it.
        pool: frames of the size that the network sees.
        heads: probes of this very network; without them no angles and mouths are read.

    Raises:
        UserError: the network has no flow, sees frames of another size, or the probes are of other weights.
    """
    network = open_fabnet(model)
    if heads is None:
        return see(pool, network)
    probes = read_heads(heads)
    require_weights(probes.meta, _weights(model), None, heads, model, "probes")
    return see(pool, network, probes)


def find_heads(model: Path, probes: Path) -> Path | None:
    """The probes of a model below `probes`: SET/heads/NAME.npz, of the first set whose probes are of its weights.

    Args:
        model: folder as `train` writes it.
        probes: folder that holds a folder per labelled set.
    """
    weights = _weights(model)
    for path in sorted(probes.glob(f"*/heads/{model.resolve().name}.npz")):
        if read_heads(path).meta.get("weights_sha256") == weights:
            return path
    return None


def _weights(model: Path) -> str:
    card = model / "model.json"
    if not card.is_file():
        raise UserError(f"{card}: no such file; train the variant first (dvc repro train)")
    return str(read_json(card).get("weights_sha256"))
