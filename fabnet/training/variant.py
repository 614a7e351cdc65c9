"""Training of one variant from track shards to weights on disk."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from fabnet.errors import UserError
from fabnet.files import atomic_directory, hash_file, hash_json, locked, write_json
from fabnet.frames.pairs import PairSampler
from fabnet.frames.store import FrameStore
from fabnet.networks.build import build
from fabnet.training.batches import Batches, FrameCache
from fabnet.training.loop import Point, Trainer

if TYPE_CHECKING:
    from fabnet.config import VariantParams

# Part of a checkpoint's key: raise it when a change of the code makes old checkpoints mean something else.
_CHECKPOINT_VERSION = 1

_HISTORY = pa.schema(
    [
        ("step", pa.int64()),
        ("samples", pa.int64()),
        ("split", pa.string()),
        ("loss", pa.float64()),
        ("learning_rate", pa.float64()),
    ]
)


def train_variant(
    name: str,
    params: VariantParams,
    frames: Path,
    splits: Path,
    out: Path,
    work: Path,
    on_point: Callable[[Point], None] = lambda _: None,
) -> dict[str, Any]:
    """Train a variant and write best.pt, last.pt, model.json and history.parquet to `out`.

    Resumable state is kept below `work` under a key made of the parameters and the data, so that a run goes on only
    where nothing it depends on has changed. It is removed once `out` is written.

    Returns:
        The content of model.json.

    Raises:
        UserError: a split without tracks, a run already going on, or a loss that is not finite.
    """
    # Denormal numbers slow a step on the CPU up to ten times after some hundred steps. The threads of torch inherit the
    # mode when they start, so it has to be set before the first parallel operation, drawing the initial weights.
    torch.set_flush_denormal(True)
    store = FrameStore(frames)
    identities = _identities(splits)
    inputs = {"index": hash_file(frames / "index.parquet"), "splits": hash_file(splits), "recipe": store.recipe["hash"]}
    key = hash_json({"params": params.model_dump(), "inputs": inputs, "version": _CHECKPOINT_VERSION})
    directory = work / f"{name}-{key}"
    busy = f"{directory}: another process is training this run; wait for it or stop it"
    with locked(directory / "lock", busy):
        trainer = _trainer(name, params, store, identities, directory / "checkpoint.pt", on_point)
        result = trainer.run()
        card = {
            "variant": name,
            "objective": params.objective,
            "image_size": store.size,
            "base_filters": params.base_filters,
            "embedding_dim": params.embedding_dim,
            "sources": params.sources,
            "params": params.model_dump(),
            "recipe": store.recipe,
            "inputs": inputs,
            "best_step": result.best_step,
            "best_validation_loss": result.best_loss,
        }
        with atomic_directory(out) as temporary:
            torch.save(result.best, temporary / "best.pt")
            torch.save(result.last, temporary / "last.pt")
            rows = [vars(point) for point in result.history]
            pq.write_table(pa.Table.from_pylist(rows, schema=_HISTORY), temporary / "history.parquet")
            card["weights_sha256"] = hash_file(temporary / "best.pt")
            write_json(temporary / "model.json", card)
        shutil.rmtree(directory)
    return card


def _identities(splits: Path) -> dict[str, list[str]]:
    if not splits.is_file():
        raise UserError(f"{splits}: no such table; run the split stage first (dvc repro split)")
    table = pq.read_table(splits, columns=["identity", "split"]).to_pydict()
    members: dict[str, list[str]] = {"train": [], "validation": [], "test": []}
    for identity, split in zip(table["identity"], table["split"], strict=True):
        members[split].append(identity)
    return members


def _trainer(
    name: str,
    params: VariantParams,
    store: FrameStore,
    identities: dict[str, list[str]],
    checkpoint_path: Path,
    on_point: Callable[[Point], None],
) -> Trainer:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(params.seed)
        model = build(params.objective, store.size, params.base_filters, params.embedding_dim)

    def batches(split: str, seed: int, limit: int, **options: Any) -> Batches:
        tracks = store.select(identities[split])
        if len(tracks) == 0:
            raise UserError(f"{name}: no tracks of the {split} identities are in {store.directory}")
        start, length = store.tracks.start[tracks], store.tracks.length[tracks]
        sampler = PairSampler(start, length, store.tracks.identity[tracks], model.views, seed)
        cache = FrameCache(store, start, length, store.size, limit)
        return Batches(cache, sampler, params.batch_size, device, **options)

    limit = params.cache_mb * 2**20
    # Validation frames are read once per validation: an eighth of the memory is theirs.
    train = batches(
        "train",
        2 * params.seed,
        math.ceil(limit * 7 / 8),
        mirror=params.flip,
        jitter_amount=params.jitter,
        workers=params.workers,
    )
    validation = batches("validation", 2 * params.seed + 1, limit // 8)
    return Trainer(model, train, validation, params, device, checkpoint_path, on_point, title=f"train@{name}")
