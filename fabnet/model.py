"""The one door to a trained model: load it, find faces, embed them, read what linear probes know of them.

A model is a folder that the stage `train` wrote, a version in the MLflow registry, or a file of `fabnet weights
export`. Every command that uses a model opens it here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from numpy.typing import NDArray

from fabnet.config import ExtractParams
from fabnet.errors import UserError
from fabnet.faces.face_params import Way, check_recipe, params_of
from fabnet.faces.found import FaceCrop, Faces, find_faces
from fabnet.faces.inputs import BadInput, find_input, no_face
from fabnet.files import hash_file
from fabnet.inspection.network import require_flow
from fabnet.networks.build import Network, load_model, read_card
from fabnet.networks.encoder import embed_images
from fabnet.networks.exports import OnnxNetwork, is_export, read_export
from fabnet.networks.fabnet import FabNet
from fabnet.probing import readings
from fabnet.probing.embeddings import require_weights
from fabnet.probing.readings import SavedHeads, read_heads
from fabnet.video.recipe import recipe
from fabnet.video.reject import Rejected

Device = Literal["auto", "cpu", "cuda"]

_BATCH = 64
_EDGES = ("left", "top", "right", "bottom")


@dataclass(frozen=True)
class Model:
    """A trained model with its probes, as `load` opens it.

    It can be pickled and sent to other processes: weights are read where they are first used.

    Attributes:
        path: the folder or file it was read from.
        name: of the trained variant.
        objective: what it was trained by: fabnet, autoencoder, rotation or split_brain.
        size: side of its crops in pixels.
        dimension: D, the length of an embedding.
        recipe: the crop recipe of the frames that it was trained on (crop.json).
        weights_sha256: SHA-256 of its weights, by which embeddings and probes say what made them.
        probes_path: the file of its probes, if there is one.
        probes_sha256: SHA-256 of that file.
        device: where the network runs, `cpu` or `cuda`.
    """

    path: Path
    name: str
    objective: str
    size: int
    dimension: int
    recipe: dict[str, Any] = field(repr=False, hash=False)
    weights_sha256: str = field(repr=False)
    probes_path: Path | None = None
    probes_sha256: str | None = field(default=None, repr=False)
    device: str = "cpu"

    @property
    def network(self) -> Network | OnnxNetwork:
        """The network in evaluation mode; of an ONNX export, its encoder alone."""
        return _network(self.path, self.weights_sha256, self.device)

    @property
    def probes(self) -> SavedHeads | None:
        """The linear probes that `read` uses, if there are any."""
        return None if self.probes_path is None else _probes(self.probes_path, self.probes_sha256)

    def warping_network(self) -> FabNet:
        """The network, if it can warp one frame to another.

        Raises:
            UserError: it was trained by another objective, or is an ONNX export, and has no flow.
        """
        return require_flow(self.network, self.objective, self.path)

    def accept(
        self,
        meta: Mapping[str, Any],
        where: Path | str,
        what: Literal["embeddings", "probes"] = "embeddings",
        crops: bool = True,
    ) -> None:
        """Refuse embeddings or probes that belong to other weights or crops: their numbers would mean nothing.

        Args:
            meta: `weights_sha256` and `recipe_hash` of the embeddings, or the `meta` of saved probes.
            where: what the error calls them, such as their file.
            what: which of the two they are.
            crops: whether the crop recipe has to be the model's as well.

        Raises:
            UserError: says what differs, and what to do.
        """
        require_weights(meta, self.weights_sha256, self.recipe["hash"] if crops else None, where, self.path, what)

    def face_params(
        self, faces: Way | None = None, detector_model: Path | None = None, force: bool = False, **others: Any
    ) -> ExtractParams:
        """How faces are found in new inputs: by default as in the model's training data.

        Args:
            faces: `cropped`, one face in the middle of each frame, or `detect`.
            detector_model: the ONNX file of YuNet, to detect faces with it.
            force: allow crops of another recipe than the model was trained on.
            others: further values of the section `extract` of params.yaml, such as `fps` (frames per second) and
                `margin` (fraction of the side of a box, added on each side); None keeps the model's.

        Raises:
            UserError: the crops would be of another recipe, or a value is invalid.
        """
        params = params_of(self.recipe, self.size, faces, detector_model, **others)
        if not force:
            check_recipe(self.recipe, params)
        return params

    def faces(self, path: Path | str, params: ExtractParams | None = None) -> Faces:
        """Find the faces of a video or image and crop them as the network sees them.

        Args:
            path: a video, or an image (JPEG or PNG).
            params: how faces are found, see `face_params`.

        Returns:
            FaceCrops, one for each face and sampled frame, which know their track, frame, time, box and score.
            Tracks that the detector lost are left out.

        Raises:
            UserError: the file cannot be read, or shows no face.
        """
        each = find_input(path, "name one video or image")
        params = params or self.face_params()
        try:
            return Faces(each.name, find_faces(each, params), params)
        except Rejected as reject:
            raise no_face([BadInput(each.name, f"{reject.reason}: {reject.detail}")]) from None

    def embed(self, crops_NHWC: NDArray[np.uint8], batch_size: int = _BATCH) -> NDArray[np.float32]:
        """Embed crops.

        Args:
            crops_NHWC: uint8 (N, size, size, 3), RGB, as `faces` gives them.
            batch_size: crops that go through the network at once.

        Returns:
            Embeddings, float32 (N, D).

        Raises:
            UserError: the array has another shape or type.
        """
        crops_NHWC = np.asarray(crops_NHWC)
        if crops_NHWC.shape[1:] != (self.size, self.size, 3) or crops_NHWC.dtype != np.uint8:
            raise UserError(
                f"crops must be uint8 (N, {self.size}, {self.size}, 3), not {crops_NHWC.dtype} {crops_NHWC.shape}"
            )
        crops_NHWC = np.ascontiguousarray(crops_NHWC)  # torch takes no mirrored views
        if not len(crops_NHWC):
            return np.empty((0, self.dimension), np.float32)
        batches = (crops_NHWC[start : start + batch_size] for start in range(0, len(crops_NHWC), batch_size))
        return np.concatenate(list(embed_images(self.network.encoder, batches, self.device)))

    def read(
        self, embeddings_ND: NDArray[np.float32], regions_N4: NDArray[np.float64] | None = None
    ) -> dict[str, NDArray[np.float32]]:
        """What the linear probes read from embeddings.

        Args:
            embeddings_ND: float32 (N, D).
            regions_N4: left, top, right and bottom of each crop in its frame; None gives landmarks in pixels of the
                crop.

        Returns:
            By task, as far as there are probes: `pose` (N, 3), roll, pitch and yaw in degrees; `landmarks68` and
            `landmarks5` (N, K, 2), x and y in pixels; `mouth` (N, 1), gap between the inner lips over their width;
            `units` (N, 11), action units from 0 to 1; `expression` (N, 8), probabilities.

        Raises:
            UserError: the model was loaded without probes, or D is another.
        """
        if self.probes is None:
            raise UserError(f"{self.path}: was loaded without probes; give load() the file probes/SET/heads/NAME.npz")
        embeddings_ND = np.asarray(embeddings_ND, np.float32)
        if embeddings_ND.ndim != 2 or embeddings_ND.shape[1] != self.dimension:
            raise UserError(f"embeddings must be (N, {self.dimension}), not {embeddings_ND.shape}")
        if regions_N4 is None:
            regions_N4 = np.tile((0.0, 0.0, self.size, self.size), (len(embeddings_ND), 1))
        return readings.by_task(self.probes, embeddings_ND, regions_N4)

    def predict(self, path: Path | str, params: ExtractParams | None = None) -> pd.DataFrame:
        """Find, embed and read the faces of a video or image.

        Args:
            path: a video, or an image (JPEG or PNG).
            params: how faces are found, see `face_params`.

        Returns:
            A row for each face and sampled frame, with the columns and units of the table that `fabnet embed` writes
            (docs/embed.md).

        Raises:
            UserError: the file cannot be read, or shows no face.
        """
        params = params or self.face_params()
        faces, parts = iter(self.faces(path, params)), []
        while batch := list(islice(faces, _BATCH)):
            parts.append(self.table(batch, recipe(params)["hash"]))
        return pa.concat_tables(parts).to_pandas()

    def columns(self, scored: bool = False) -> pa.Schema:
        """Columns of the table of embeddings, those of probes last.

        A row is a face: `track` counts the faces of an input through its shots, `frame` is the number of the sample,
        at `fps` per second of the video, `time_s` when that frame is shown; the box is the square that the crop was
        cut from, in pixels of the frame; `recipe` the hash of the crop recipe.

        Args:
            scored: with `score`, the probability that the detector gives the face, 0 to 1; for faces that have one.
        """
        return pa.schema(
            [
                ("input", pa.string()),
                ("track", pa.int32()),
                ("frame", pa.int64()),
                ("time_s", pa.float64()),
                *((edge, pa.float64()) for edge in _EDGES),
                *([("score", pa.float32())] if scored else []),
                ("embedding", pa.list_(pa.float32(), self.dimension)),
                ("recipe", pa.string()),
                *(readings.fields(self.probes) if self.probes else []),
            ]
        )

    def table(self, faces: Sequence[FaceCrop], recipe_hash: str) -> pa.Table:
        """The rows of some faces, which go through the network at once.

        Args:
            faces: one or more; all have a score, or none.
            recipe_hash: of the recipe that they were cropped by.
        """
        embeddings = self.embed(np.stack([face.image for face in faces]), len(faces))
        if not np.isfinite(embeddings).all():
            raise ValueError(f"{faces[0].input}: an embedding is not finite")
        # One detector finds all faces of a table: all of them have a score, or none has.
        scored = faces[0].score is not None
        columns = self.columns(scored)
        regions = np.array([[getattr(face.box, edge) for edge in _EDGES] for face in faces], np.float64)
        plain = [[getattr(face, name) for face in faces] for name in ("input", "track", "frame", "time_s")]
        arrays = [pa.array(values, column.type) for values, column in zip(plain, columns, strict=False)]
        arrays += [pa.array(edge) for edge in regions.T]
        arrays += [pa.array([face.score for face in faces], pa.float32())] if scored else []
        arrays.append(pa.FixedSizeListArray.from_arrays(pa.array(embeddings.ravel()), self.dimension))
        arrays.append(pa.array([recipe_hash] * len(faces), pa.string()))
        if self.probes is not None:
            arrays += readings.columns(self.probes, embeddings, regions)
        return pa.Table.from_arrays(arrays, schema=columns)


def load(source: Path | str, probes: Path | str | None = None, device: Device = "auto") -> Model:
    """Open a trained model, and make sure that its weights and probes are whole and belong together.

    Args:
        source: a folder as `train` or `fabnet weights import` writes it (`models/fabnet`), a registered version
            (`models:/fabnet@champion`, `models:/fabnet/3`), or a .safetensors or .onnx file of `fabnet weights export`.
        probes: probes of this model, `probes/SET/heads/NAME.npz`, for `read`. Default: those that are registered with
            it, if it is a registered version.
        device: `cpu`, `cuda`, or `auto`: the GPU where there is one.

    Returns:
        The model.

    Raises:
        UserError: a file is absent, damaged or from a newer version of fabnet, the alias or version does not exist,
            or the probes belong to another model.

    Example:
        >>> import fabnet
        >>> model = fabnet.load("models/fabnet", probes="probes/synthetic/heads/fabnet.npz")
        >>> table = model.predict("talk.mp4")
        >>> table[["track", "time_s", "yaw_deg", "expression"]].columns.tolist()
        ['track', 'time_s', 'yaw_deg', 'expression']
    """
    path, registered = _find(str(source))
    heads = registered if probes is None else Path(probes)
    chosen = choose_device(device)
    card = read_export(path)[1] if is_export(path) else read_card(path)
    model = Model(
        path,
        card.get("variant", path.name),
        card["objective"],
        card["image_size"],
        card["embedding_dim"],
        card["recipe"],
        card["weights_sha256"],
        heads,
        None if heads is None or not heads.is_file() else hash_file(heads),
        chosen,
    )
    _ = model.network  # that the weights fit the network is better known now than in every worker
    if heads is not None:
        _check_probes(read_heads(heads), heads, model)
    return model


def choose_device(name: Device) -> str:
    """Where to run; `auto` is the GPU where there is one.

    Raises:
        UserError: there is no such device, or no GPU to use.
    """
    if name not in get_args(Device):
        raise UserError(f"device {name}: must be one of {', '.join(get_args(Device))}")
    usable = torch.cuda.is_available()
    if name == "cuda" and not usable:
        raise UserError("device cuda: no GPU that torch can use; leave it out")
    return "cuda" if usable and name != "cpu" else "cpu"


def _find(source: str) -> tuple[Path, Path | None]:
    """The folder or file of a model, and the probes that are registered with it, if any."""
    if not source.startswith("models:"):
        return Path(source), None
    from fabnet.tracking.registry.versions import fetch

    found = fetch(source)
    return found.directory, found.heads


def _check_probes(probes: SavedHeads, path: Path, model: Model) -> None:
    model.accept(probes.meta, path, "probes")
    widths = {head.weight.shape[1] for head in probes.heads}
    if widths != {model.dimension}:
        raise UserError(
            f"{path}: its probes read {', '.join(map(str, sorted(widths)))} numbers, but embeddings have "
            f"{model.dimension}; probe again"
        )


# Loaded once in a process. The hash is part of the key, and compared, because the content of a path may change.
@lru_cache(maxsize=8)
def _network(path: Path, weights_sha256: str, device: str) -> Network | OnnxNetwork:
    network, card = read_export(path) if is_export(path) else load_model(path)
    if card["weights_sha256"] != weights_sha256:
        raise UserError(f"{path}: holds other weights than when it was loaded; load it again")
    return network.to(device)


@lru_cache(maxsize=8)
def _probes(path: Path, sha256: str | None) -> SavedHeads:
    if sha256 is not None and hash_file(path) != sha256:
        raise UserError(f"{path}: holds other probes than when it was loaded; load it again")
    return read_heads(path)
