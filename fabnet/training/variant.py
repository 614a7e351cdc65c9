"""Training of one variant from track shards to weights on disk."""

from __future__ import annotations

import ctypes
import logging
import math
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import torch
from torch import Tensor

from fabnet.errors import UserError, first_line
from fabnet.files import atomic_directory, hash_file, locked, write_json
from fabnet.frames.corrupt import CorruptFrames
from fabnet.frames.pairs import PairSampler
from fabnet.frames.store import FrameStore
from fabnet.networks.build import build, conventions_of, start_from
from fabnet.networks.coordinates import in_coordinates, movement, spreads
from fabnet.networks.fabnet import OURS, Conventions, FabNet
from fabnet.training.batches import Batches
from fabnet.training.checkpoint import claim
from fabnet.training.history import CURRICULUM, HISTORY, Point, below_copying, write_points
from fabnet.training.loop import Result, Trainer
from fabnet.training.memory import Places, place_frames
from fabnet.training.world import World, joined

if TYPE_CHECKING:
    from fabnet.config import VariantParams

logger = logging.getLogger(__name__)

# Of malloc.h: blocks of so many bytes are mapped one by one, and so much free memory at the end goes back at once.
_M_MMAP_THRESHOLD = -3
_M_TRIM_THRESHOLD = -1
_KEPT_BYTES = 2**29
# Samples that tell movement from people: a covariance of 256 numbers wants some thousand frames.
_MOVEMENT_SAMPLES = 2048


def train_variant(
    name: str,
    params: VariantParams,
    frames: Path,
    splits: Path,
    out: Path,
    work: Path,
    on_point: Callable[[Point], None] = lambda _: None,
) -> dict[str, Any] | None:
    """Train a variant and write best.pt, last.pt, model.json, history.parquet and, if it has one, curriculum.parquet.

    All go to `out`. The variant in `params.start_from` lies beside it, in a directory of its name. Resumable state is
    kept in `work / name`, which says what it depends on; it is removed once `out` is written. Under torchrun, all
    processes call this, and the first one writes.

    Args:
        name: of the variant.
        params: its values in params.yaml.
        frames: directory of track shards and their index.
        splits: table of identities and splits.
        out: directory of the trained model; replaced as a whole.
        work: directory of resumable state.
        on_point: called with every point of the learning curve.

    Returns:
        The content of model.json; None in processes but the first.

    Raises:
        UserError: a split without tracks, a run in progress, one started under other params or data, too many
            corrupt frames, or a loss that is not finite.
    """
    # Denormal numbers slow a step on the CPU up to ten times after some hundred steps. The threads of torch inherit the
    # mode when they start, so it has to be set before the first parallel operation, drawing the initial weights.
    torch.set_flush_denormal(True)
    _keep_freed_memory()
    # Sums are rounded in another order by another number of threads, and training makes much of little.
    torch.set_num_threads(params.threads or os.cpu_count() or 1)
    store = FrameStore(frames)
    identities = identities_of(splits)
    inputs = {"index": hash_file(frames / "index.parquet"), "splits": hash_file(splits), "recipe": store.recipe["hash"]}
    start = None if params.start_from is None else out.parent / params.start_from
    conventions = OURS
    if start is not None:
        if not (start / "best.pt").is_file():
            raise UserError(
                f"{start / 'best.pt'}: no such file; train {params.start_from} first: {name} starts from it"
            )
        inputs["start_from"] = hash_file(start / "best.pt")
        conventions = conventions_of(start)
    directory = work / name
    with joined(params.deterministic) as world:
        if world.size != params.processes:
            raise UserError(
                f"{name}: is trained by {world.size} process(es), but its params' processes says {params.processes}; "
                "stages/train.py starts as many as that"
            )
        with _claimed(directory, params, inputs) if world.first else nullcontext():
            trainer = trainer_of(name, params, store, identities, start, conventions, world)
            trainer.checkpoint_path, trainer.on_point = directory / "checkpoint.pt", on_point
            result = trainer.run()
            if not world.first:
                return None
            if params.coordinates == "movement":
                conventions = replace(conventions, read_back=True)
                result.best, result.last = in_movement(trainer, [result.best, result.last])
            share = below_copying(result.best_loss, result.copying)
            card = {
                "variant": name,
                "objective": params.objective,
                "image_size": store.size,
                "base_filters": params.base_filters,
                "embedding_dim": params.embedding_dim,
                "sources": params.sources,
                "flow_stride": params.flow_stride,
                "shared_decoder": params.shared_decoder,
                "histogram_head": params.histograms > 0,
                **conventions.card(),
                "params": params.model_dump(mode="json"),
                "recipe": store.recipe,
                "inputs": inputs,
                "corrupt_frames": [store.member(row) for row in trainer.train.corrupt.rows],
                "best_step": result.best_step,
                "best_validation_loss": result.best_loss,
                "copying_loss": result.copying,
                "below_copying_pct": None if share is None else 100 * share,
            }
            _write(out, card, result)
            _clear(directory)
    return card


@contextmanager
def _claimed(directory: Path, params: VariantParams, inputs: dict[str, Any]) -> Iterator[None]:
    """Hold `directory` against other trainers, and check that what was started there may resume."""
    with locked(directory / "lock", f"{directory}: another process is training this run; wait for it or stop it"):
        claim(directory, params.model_dump(mode="json"), inputs)
        yield


@torch.no_grad()
def in_movement(trainer: Trainer, weights: Sequence[dict[str, Tensor]]) -> list[dict[str, Tensor]]:
    """The same networks with embeddings in the coordinates of movement, see networks/coordinates.py.

    Movement is told from people by the first samples of the training stream, each some frames of one track; mirrored as
    in training, which makes twice as many of them, but neither cropped nor turned, which no face does by itself.

    Args:
        trainer: that has run, of a FabNet; its model takes the weights, one after the other.
        weights: of a network each.

    Returns:
        Weights of networks that read embeddings back.
    """
    network, train, world = trainer.model, trainer.train, trainer.world
    assert isinstance(network, FabNet)
    size = max(1, train.batch_size // world.size)  # this process's share of a batch is what its memory was found for
    common: dict[str, Any] = {"workers": train.workers, "corrupt": train.corrupt, "mirror": trainer.params.flip}
    batches = Batches(train.frames, train.sampler, size, World(device=world.device), **common)
    changed: list[dict[str, Tensor]] = []
    for state in weights:
        network.load_state_dict(state)
        network.eval()
        embedded: list[Tensor] = []
        masks: list[Tensor] = []
        for loaded in batches.iterate(0, math.ceil(_MOVEMENT_SAMPLES / size), _MOVEMENT_SAMPLES):
            batch = batches.finish(loaded)
            embedding_ND = network.encoder(batch.views.flatten(0, 1)).double().cpu()
            embedded.append(embedding_ND.unflatten(0, batch.views.shape[:2]))
            if batch.mask is not None:
                masks.append(batch.mask.cpu())
        batches.check()
        within_DD, between_DD, mean_D = spreads(torch.cat(embedded, 1), torch.cat(masks, 1) if masks else None)
        if within_DD.trace() > 0:
            matrix_DD = movement(within_DD, between_DD)
        else:
            logger.warning(
                f"{trainer.title}: all embeddings of a track are alike, so that nothing tells movement from people; "
                "they stay as trained"
            )
            matrix_DD, mean_D = torch.eye(len(mean_D)), torch.zeros_like(mean_D)
        moved = in_coordinates(network, matrix_DD, mean_D).state_dict()
        changed.append({name: value.contiguous() for name, value in moved.items()})
    return changed


def _write(out: Path, card: dict[str, Any], result: Result) -> None:
    """Add the hash of the weights to `card` and write everything, or nothing."""
    try:
        with atomic_directory(out) as temporary:
            torch.save(result.best, temporary / "best.pt")
            torch.save(result.last, temporary / "last.pt")
            write_points(result.history, temporary / "history.parquet", HISTORY)
            if result.curriculum:
                write_points(result.curriculum, temporary / "curriculum.parquet", CURRICULUM)
            card["weights_sha256"] = hash_file(temporary / "best.pt")
            write_json(temporary / "model.json", card)
    except (OSError, RuntimeError) as error:  # torch turns a full disk into a RuntimeError
        raise UserError(
            f"{out}: the model could not be written ({first_line(error)}); the checkpoint is kept: make room and run "
            "again"
        ) from None


def _clear(directory: Path) -> None:
    """Remove the state of a finished run: first its name, so that half of it is never taken for a run in progress."""
    done = directory.with_name(f".{directory.name}.done")
    shutil.rmtree(done, ignore_errors=True)
    directory.replace(done)
    shutil.rmtree(done)


def _keep_freed_memory() -> None:
    """Let glibc keep the blocks that a step frees: fetching their pages anew costs a seventh of its time."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # not in musl, nor on macOS
    if mallopt is not None:
        for option in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD):  # setting one alone ends what glibc adapts of the other
            mallopt(option, _KEPT_BYTES)


def identities_of(splits: Path) -> dict[str, list[str]]:
    """Names by split, as the table `splits` has them."""
    if not splits.is_file():
        raise UserError(f"{splits}: no such table; run the split stage first (dvc repro split)")
    table = pq.read_table(splits, columns=["identity", "split"]).to_pydict()
    members: dict[str, list[str]] = {"train": [], "validation": [], "test": []}
    for identity, split in zip(table["identity"], table["split"], strict=True):
        members[split].append(identity)
    return members


def trainer_of(
    name: str,
    params: VariantParams,
    store: FrameStore,
    identities: dict[str, list[str]],
    start: Path | None,
    conventions: Conventions,
    world: World,
) -> Trainer:
    """What trains a variant, before its first step and without a place for checkpoints.

    Args:
        name: of the variant.
        params: its values in params.yaml.
        store: of all frames.
        identities: by split, see `identities_of`.
        start: directory of the variant whose weights are the first ones; None for drawn ones.
        conventions: of the network.
        world: the processes that train together.

    Raises:
        UserError: a split without tracks, or weights of another network.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(params.seed)
        sizes = store.size, params.base_filters, params.embedding_dim
        sources, flow_stride, head = params.sources, params.flow_stride, params.histograms > 0
        model = build(params.objective, *sizes, sources, conventions, flow_stride, params.shared_decoder, head)
    if start is not None:
        start_from(model, start)
    title = f"train@{name}"
    corrupt = CorruptFrames(params.corrupt_limit)
    tracks = {split: store.select(identities[split]) for split in ("train", "validation")}
    for split, numbers in tracks.items():
        if len(numbers) == 0:
            raise UserError(f"{name}: no tracks of the {split} identities are in {store.directory}")
    places = [Places(store.tracks.start[numbers], store.tracks.length[numbers]) for numbers in tracks.values()]
    frames = place_frames(store, places, params, world, corrupt, title)
    samplers = [
        PairSampler(*place, store.tracks.identity[numbers], params.views or model.views, 2 * params.seed + which)
        for which, (place, numbers) in enumerate(zip(places, tracks.values(), strict=True))
    ]
    if params.coordinates == "movement" and samplers[0].identities < 2:
        raise UserError(
            f"{name}: has one person to learn from, who cannot tell people from movement; extract clips of others, or "
            f"set coordinates of {name} to trained"
        )
    common: dict[str, Any] = {"world": world, "corrupt": corrupt, "workers": params.workers}
    augmented: dict[str, Any] = {"mirror": params.flip, "jitter": params.jitter, "turn": params.turn}
    train = Batches(frames[0], samplers[0], params.batch_size, **common, **augmented)
    validation = Batches(frames[1], samplers[1], params.batch_size, **common)
    return Trainer(model, train, validation, params, world, title=title)
