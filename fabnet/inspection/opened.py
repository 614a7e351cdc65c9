"""Loading of what the figures need: a model, frames of test identities, and the readings of probes."""

from pathlib import Path

from fabnet import tables
from fabnet.errors import UserError
from fabnet.files import read_json
from fabnet.frames.store import FrameStore
from fabnet.inspection.network import open_fabnet
from fabnet.inspection.scenes import Pool, PoolReadings, gather, see
from fabnet.probing.embeddings import require_weights
from fabnet.probing.readings import read_heads

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


def read_pool(model: Path, pool: Pool, heads: Path | None) -> PoolReadings:
    """A pool through the eyes of the network in the folder `model`.

    Args:
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
    """The probes of a model below `probes`: SET/heads/NAME.npz, of the first set whose probes are of its weights."""
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
