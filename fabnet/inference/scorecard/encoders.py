"""The encoders of a scorecard and their embeddings, which are kept: a later run makes only those that are missing."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from fabnet.config.sets import RESULT_NAMES
from fabnet.encoders.open import open_encoder, require_sound
from fabnet.errors import UserError
from fabnet.faces.face_params import differences
from fabnet.files import atomic_directory, read_json, write_json
from fabnet.inference.scorecard.face_set import TOLD, FaceSet
from fabnet.model import Device, Model, load
from fabnet.probing.embed_set import SetEmbedder, embed_features

#: Encoders that a probe of an embedding has to beat, in the order of tables.
BASELINES = ("random", "pca", "hog")
#: The paper's encoder, before training.
_RANDOM = {"base_filters": 32, "embedding_dim": 256, "seed": 0}
_BATCH = 64
_Batch = TypeVar("_Batch")
#: Crops that an encoder of others is tried on.
_TRIED = 4


@dataclass(frozen=True)
class CropEncoder:
    """A function from crops to embeddings.

    Attributes:
        name: in tables; becomes the name of a folder.
        source: where it comes from, in words.
        size: side of the crops that it is given, in pixels.
        saw: what it was trained on, in words.
        weights_sha256: of its weights.
        embed: uint8 RGB (N, size, size, 3) to float32 (N, D).
        require_sound: tries it on a few crops before all are embedded; None where it need not be.
    """

    name: str
    source: str
    size: int
    saw: str
    weights_sha256: str
    embed: Callable[[NDArray[np.uint8]], NDArray[np.float32]]
    require_sound: Callable[[NDArray[np.uint8]], object] | None = None


def open_models(sources: Sequence[tuple[str | None, str]], device: Device) -> list[tuple[str, Model]]:
    """The models of a scorecard by their names in it: the one given, or that of the variant.

    Args:
        sources: names, where they are given, and models as `fabnet.load` takes them.
        device: where they run.

    Raises:
        UserError: a model cannot be opened, or two have one name.
    """
    found: dict[str, tuple[str, Model]] = {}
    for given, source in sources:
        model = load(source, device=device)
        name = given or model.name
        if name in RESULT_NAMES:
            raise UserError(f"{source}: {name} is the name of a baseline; say --model NAME={source}")
        if name in found:
            raise UserError(f"{source}: is called {name}, as is {found[name][0]}; say --model NAME={source}")
        found[name] = source, model
    return [(name, model) for name, (_, model) in found.items()]


def of_model(name: str, model: Model) -> CropEncoder:
    """A trained model as an encoder of crops.

    Args:
        name: in the scorecard.
        model: that was loaded.
    """
    return CropEncoder(name, str(model.path), model.size, "faces", model.weights_sha256, model.embed)


def open_others(sources: Sequence[str], taken: Sequence[str]) -> list[CropEncoder]:
    """Encoders that anybody made.

    Args:
        sources: as `fabnet.encoders.open.open_encoder` takes them.
        taken: names of the encoders before them.

    Raises:
        UserError: an encoder cannot be opened, or two have one name.
    """
    found: list[CropEncoder] = []
    for source in sources:
        other = open_encoder(source)
        if other.name in {*RESULT_NAMES, *taken, *(each.name for each in found)}:
            raise UserError(f"{source}: the name {other.name} is taken; say --encoder NAME={other.source}")
        told = other.name, other.source, other.size, other.saw, other.weights_sha256
        found.append(CropEncoder(*told, other.embed, partial(require_sound, other)))
    return found


def crop_notes(name: str, model: Model, recipe: dict[str, Any]) -> str:
    """In what the crops differ from those that a model learnt from, in a line; empty where in nothing but their size.

    Args:
        name: in the scorecard.
        model: that embeds them.
        recipe: of the scorecard's crops.
    """
    told = differences(model.recipe, recipe)
    # What only one way of finding faces has goes without saying where the ways differ.
    told = [each for each in told if not each.startswith("size:") and "absent" not in each] or told[:1]
    return f"{name} learnt from other crops ({'; '.join(told)})" if told else ""


def embed_all(faces: FaceSet, encoders: Sequence[CropEncoder], out: Path) -> dict[str, Path]:
    """Embed all faces with each encoder and with the baselines; what is there already is kept.

    Args:
        faces: the labelled set.
        encoders: those that are compared; the baselines see crops as large as the first one's.
        out: folder of the embeddings, as a stage of the pipeline leaves them: KIND/NAME.

    Returns:
        Folders of the embeddings by encoder, the baselines last.

    Raises:
        UserError: what an encoder of others makes of crops is no embedding; those of the encoders before it are kept.
    """
    labelled, key = faces.labelled, read_json(faces.folder / TOLD)["key"]
    found = {}
    for encoder in encoders:
        directory = out / "models" / encoder.name
        meta = {
            "weights_sha256": encoder.weights_sha256,
            "recipe_hash": faces.recipe_hash,
            "faces": key,
            "image_size": encoder.size,
        }
        if not _holds(directory / "meta.json", meta):
            embedder = SetEmbedder(labelled, out / "models", encoder.size, _BATCH)
            crops, shown = _peek(embedder.crops())
            if encoder.require_sound is not None:
                encoder.require_sound(crops[:_TRIED])
            first, batches = _peek(map(encoder.embed, shown))
            embedder.write(encoder.name, batches, first.shape[1], meta)
        found[encoder.name] = directory
    made = {"faces": key, "image_size": encoders[0].size, **_RANDOM}
    if not _holds(out / "baselines" / "made.json", made):
        with atomic_directory(out / "baselines") as folder:
            embed_features(SetEmbedder(labelled, folder, encoders[0].size, _BATCH), _RANDOM)
            write_json(folder / "made.json", made)
    _remove_stale(out / "models", key)
    return found | {name: out / "baselines" / name for name in BASELINES}


def _holds(path: Path, wanted: dict[str, Any]) -> bool:
    return path.is_file() and wanted.items() <= read_json(path).items()


def _peek(batches: Iterator[_Batch]) -> tuple[_Batch, Iterator[_Batch]]:
    first = next(batches)
    return first, chain([first], batches)


def _remove_stale(folder: Path, faces: str) -> None:
    """Remove embeddings of other faces, which an earlier run left."""
    for directory in folder.iterdir():
        if not _holds(directory / "meta.json", {"faces": faces}):
            shutil.rmtree(directory)
