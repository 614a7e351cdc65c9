"""What a model sees in an upload: embeddings of its faces, what probes read from them, one frame warped to another."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from fabnet.config import ExtractParams
from fabnet.errors import UserError
from fabnet.frames.augment import to_float
from fabnet.inference import readings
from fabnet.inference.app.faces import Faces, find_faces
from fabnet.inference.looking import Way, differences, params_of
from fabnet.inference.model import Model, open_model
from fabnet.networks.build import Network, load_model
from fabnet.networks.embed import embed_images
from fabnet.networks.fabnet import FabNet
from fabnet.probing.saved import SavedHeads, read_heads
from fabnet.tables import ANGLE_COLUMNS, EXPRESSIONS, UNIT_COLUMNS
from fabnet.video.detect import open_detector
from fabnet.video.recipe import recipe

_BATCH = 64


@dataclass(frozen=True)
class Reader:
    """A model, loaded, and everything that it is used with.

    Attributes:
        name: for people: models/NAME, or a version of the registry.
        ways: how faces may be found and cropped; the first is the model's own, or the one that was asked for.
    """

    name: str
    model: Model
    network: Network
    heads: SavedHeads | None
    ways: dict[Way, ExtractParams]
    device: str

    @property
    def warps(self) -> bool:
        """Whether the network can move one frame to another."""
        return isinstance(self.network, FabNet)

    def embed(self, crops_NHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embeddings (N, D) of crops, uint8 (N, H, W, 3)."""
        batches = (crops_NHWC[start : start + _BATCH] for start in range(0, len(crops_NHWC), _BATCH))
        return np.concatenate(list(embed_images(self.network.encoder, batches, self.device)))


def open_reader(
    directory: Path,
    heads: Path | None = None,
    name: str | None = None,
    faces: Way | None = None,
    margin: float | None = None,
    detector_model: Path | None = None,
    device: str = "cpu",
) -> Reader:
    """Load a model with its probes.

    Args:
        faces, margin, detector_model: as of `fabnet embed`.

    Raises:
        UserError: the model or the probes are absent or damaged or do not belong together, or new inputs cannot be
            cropped as the model asks.
    """
    model = open_model(directory)
    read = None
    if heads is not None:
        read = read_heads(heads)
        readings.check_heads(read, str(heads), model)
    first = params_of(model.recipe, model.size, faces, detector_model, margin=margin)
    own: Way = "detect" if first.source == "folder" else "cropped"
    ways = {own: first}
    other: Way = "cropped" if own == "detect" else "detect"
    with suppress(UserError):  # the detector's file was not given: then the page offers the model's own way alone
        ways[other] = params_of(model.recipe, model.size, other, detector_model, margin=margin)
    if "detect" in ways:
        open_detector(ways["detect"].detection)  # a damaged file is better known now
    network, _ = load_model(directory)
    return Reader(name or str(directory), model, network.to(device), read, ways, device)


@dataclass(frozen=True)
class Analysis:
    """What there is to show of an upload; see Faces for N and its order.

    Attributes:
        readings: by task, as far as there are probes: landmarks68 and landmarks5 (N, K, 2) in pixels of the crop, pose
            (N, 3) roll, pitch and yaw in degrees, units (N, U) and expression (N, 8) in [0, 1].
        note: what to bear in mind with these numbers; empty if nothing.
    """

    faces: Faces
    embeddings_ND: NDArray[np.float32]
    readings: dict[str, NDArray[np.float32]]
    note: str

    def __len__(self) -> int:
        return len(self.embeddings_ND)

    def tracks(self) -> list[int]:
        """Numbers of the tracks, the one with the most faces first."""
        return list(dict.fromkeys(self.faces.tracks_N.tolist()))

    def of_track(self, track: int) -> NDArray[np.int64]:
        """Numbers of the faces of a track, by time."""
        return np.flatnonzero(self.faces.tracks_N == track)


def analyse(path: Path, reader: Reader, way: Way | None = None) -> Analysis:
    """Find, crop, embed and read the faces of an image or clip.

    Args:
        way: one of `reader.ways`; None is the first.

    Raises:
        UserError: in one line, why nothing can be shown.
    """
    params = reader.ways[next(iter(reader.ways)) if way is None else way]
    faces = find_faces(path, params)
    embeddings = reader.embed(faces.crops_NHWC)
    # What way the faces were found says more than the settings of that way.
    differing = sorted(differences(reader.model.recipe, recipe(params)), key=lambda each: not each.startswith("source"))
    note = f"The model learnt from other crops, so take the numbers with care ({differing[0]})." if differing else ""
    return Analysis(faces, embeddings, read(reader.heads, embeddings, reader.model.size), note)


def read(heads: SavedHeads | None, embeddings_ND: NDArray[np.float32], size: int) -> dict[str, NDArray[np.float32]]:
    """What probes say of embeddings, see Analysis; `size` is the side of the crops."""
    if heads is None:
        return {}
    whole = np.tile((0.0, 0.0, size, size), (len(embeddings_ND), 1))
    names = [field.name for field in readings.fields(heads)]
    columns: dict[str, Any] = dict(zip(names, readings.read(heads, embeddings_ND, whole), strict=True))
    found: dict[str, NDArray[np.float32]] = {}
    for task in (head.task for head in heads.heads):
        if task.startswith("landmarks"):
            flat = columns[task].flatten().to_numpy()
            found[task] = flat.reshape(len(embeddings_ND), -1, 2)
        else:
            found[task] = np.stack([columns[name].to_numpy() for name in _COLUMNS[task]], axis=1)
    return found


_COLUMNS = {
    "pose": ANGLE_COLUMNS,
    "units": UNIT_COLUMNS,
    "expression": tuple(f"expression_{name}" for name in EXPRESSIONS),
}


class Warped(NamedTuple):
    """A source frame made to look like a target frame.

    Attributes:
        generated: uint8 (H, W, 3).
        flow_2HW: offsets at which the source was sampled, in [-1, 1] coordinates of the frame.
    """

    generated: NDArray[np.uint8]
    flow_2HW: NDArray[np.float32]


@torch.inference_mode()
def warp(reader: Reader, source: NDArray[np.uint8], target: NDArray[np.uint8]) -> Warped:
    """Reconstruct the crop `target` from the pixels of the crop `source`, both uint8 (H, W, 3).

    Raises:
        UserError: the model is of a kind that has no flow.
    """
    network = reader.network
    if not isinstance(network, FabNet):
        raise UserError(no_warp(reader))
    views_VBCHW = to_float(torch.from_numpy(np.stack([target, source]))[:, None].to(reader.device))
    made = network.reconstruct(views_VBCHW)
    pixels = ((made.generated[0].float().permute(1, 2, 0) + 1) * 127.5).round().clamp(0, 255)
    return Warped(pixels.byte().cpu().numpy(), made.flow[0, 0].float().cpu().numpy())


def no_warp(reader: Reader) -> str:
    """Why a model cannot warp."""
    return f"{reader.name} is an autoencoder: it draws frames anew and has no flow, so it cannot warp one to another."
