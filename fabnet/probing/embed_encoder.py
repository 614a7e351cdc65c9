"""Embeddings of a labelled set by anybody's encoder, made once and kept.

They are kept beside the project's outputs, which DVC removes before a stage runs: an encoder of others takes minutes to
hours on a CPU, and neither another encoder that fails nor a variant that is trained again should cost that twice.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fabnet.attributes.sets import LabelledSet, iterate_crops
from fabnet.config import EncoderParams
from fabnet.encoders.encoder import Encoder, require_sound
from fabnet.encoders.open import open_encoder
from fabnet.errors import UserError
from fabnet.files import hash_json, locked
from fabnet.probing.embeddings import read_embeddings, write_embeddings
from fabnet.progress import track

log = logging.getLogger(__name__)

#: Where embeddings are kept, from the folder that a command runs in. Neither git nor DVC looks there.
KEPT = Path(".work/embeddings")
#: Raise it when the same files become other crops.
_VERSION = 1
#: Faces that an encoder is tried on before it embeds them all.
_TRIED = 4
#: Rows that are copied at a time.
_ROWS = 1 << 14


def origin_of(encoder: Encoder) -> dict[str, Any]:
    """What meta.json says of where embeddings come from, beside the names of encoder and set."""
    return {
        "weights_sha256": encoder.weights_sha256,
        "recipe_hash": None,
        "source": encoder.source,
        "saw": encoder.saw,
        "image_size": encoder.size,
        "interpolation": encoder.interpolation,
        "preprocessing": dict(encoder.told),
    }


def embed_encoder(labelled: LabelledSet, encoder: Encoder, batch: int, kept: Path = KEPT) -> Path:
    """The folder of the embeddings of all faces of a set. They are made unless they are there already.

    Args:
        labelled: the set.
        encoder: that embeds; it is tried on a few faces first.
        batch: crops in a batch.
        kept: folder where embeddings are kept, by all that they depend on.

    Raises:
        UserError: the encoder is not sound (encoders.encoder.require_sound), or fails on a face; or another process is
            making the same embeddings.
    """
    origin = origin_of(encoder)
    identity = {
        "faces": labelled.fingerprint(),
        **{key: value for key, value in origin.items() if key not in ("source", "saw")},
        "version": _VERSION,
    }
    folder = kept / hash_json(identity)
    with locked(kept / f"{folder.name}.lock", f"{folder}: another process embeds the same faces; wait for it"):
        if (folder / "meta.json").is_file():  # it is written as a whole
            log.info(f"{encoder.name}@{labelled.name}: embedded already, {folder}")
            return folder
        batches = iterate_crops(labelled, encoder.size, batch)
        tried = next(iterate_crops(labelled, encoder.size, _TRIED))[1]
        dimension = require_sound(encoder, tried)
        ids = labelled.table()["face_id"].tolist()
        shown = track(batches, f"{encoder.name}@{labelled.name}", -(-len(ids) // batch), "batch")
        meta = {"encoder": encoder.name, "set": labelled.name, **origin}
        embedded = (_embedded(encoder, crops, names, dimension) for names, crops in shown)
        write_embeddings(folder, ids, embedded, dimension, len(ids), meta)
    return folder


def _embedded(encoder: Encoder, crops: np.ndarray, names: list[str], dimension: int) -> np.ndarray:
    found = encoder.embed(crops, [f"face {name}" for name in names])
    if found.shape[1] != dimension:
        raise UserError(f"{encoder.source}: gives embeddings of {dimension} and of {found.shape[1]} numbers")
    return found


def embed_encoders(labelled: LabelledSet, encoders: Mapping[str, EncoderParams], batch: int, out: Path) -> None:
    """Write the embeddings of a set by encoders of others, one after the other.

    Args:
        labelled: the set.
        encoders: by the name under which they stand in tables.
        batch: crops in a batch.
        out: embeddings/SET/trained, or baselines.

    Raises:
        UserError: an encoder cannot be opened, or fails; embeddings of those before it are kept.
    """
    for name, params in encoders.items():
        encoder = open_encoder(params, name)
        ids, array, _ = read_embeddings(embed_encoder(labelled, encoder, batch))
        rows = (np.asarray(array[at : at + _ROWS]) for at in range(0, len(array), _ROWS))
        # Its name, and what it is said to have seen, may have changed since they were made.
        meta = {"encoder": name, "set": labelled.name, **origin_of(encoder)}
        write_embeddings(out / name, ids, rows, array.shape[1], len(ids), meta)
