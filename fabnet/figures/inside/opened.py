"""From files to what the figures need: a model, frames that it has not learnt from, and what probes read of them."""

from pathlib import Path

from fabnet import tables
from fabnet.errors import UserError
from fabnet.figures.inside.network import open_fabnet
from fabnet.figures.inside.scenes import Pool, Seen, gather, see
from fabnet.files import read_json
from fabnet.frames.store import FrameStore
from fabnet.probing.saved import SavedHeads, read_heads

# A pair of frames and one between them.
_LEAST = 3


def open_pool(frames: Path, splits: Path) -> Pool:
    """Frames of test identities.

    Raises:
        UserError: there are no frames or splits, or no track is long enough.
    """
    store = FrameStore(frames)
    if not splits.is_file():
        raise UserError(f"{splits}: no such file; run the stage `split` first")
    table = tables.read(splits, tables.Splits)
    return gather(store, table["identity"][table["split"] == "test"].tolist(), _LEAST)


def open_seen(model: Path, pool: Pool, heads: Path | None) -> Seen:
    """A pool through the eyes of the network in the folder `model`.

    Args:
        heads: probes of this very network; without them no angles and mouths are read.

    Raises:
        UserError: the network has no flow, sees frames of another size, or the probes are of other weights.
    """
    network = open_fabnet(model)
    return see(pool, network, None if heads is None else _read_heads(heads, model))


def find_heads(model: Path, probes: Path) -> Path | None:
    """The probes of a model below `probes`: SET/heads/NAME.npz, of the first set whose probes are of its weights."""
    weights = _weights(model)
    for path in sorted(probes.glob(f"*/heads/{model.resolve().name}.npz")):
        if read_heads(path).meta.get("weights_sha256") == weights:
            return path
    return None


def _read_heads(path: Path, model: Path) -> SavedHeads:
    heads = read_heads(path)
    theirs, ours = heads.meta.get("weights_sha256"), _weights(model)
    if theirs != ours:
        raise UserError(
            f"{path}: its probes read embeddings of weights {str(theirs)[:12]}..., but {model} has {ours[:12]}...; "
            "take this model's probes, or probe again"
        )
    return heads


def _weights(model: Path) -> str:
    card = model / "model.json"
    if not card.is_file():
        raise UserError(f"{card}: no such file; train the variant first (dvc repro train)")
    return str(read_json(card).get("weights_sha256"))
