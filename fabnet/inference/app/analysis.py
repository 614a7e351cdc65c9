"""Analysis of an upload: embeddings of its faces, readings of probes, one frame warped to another."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from fabnet.config import ExtractParams
from fabnet.errors import UserError
from fabnet.faces.face_params import Way, differences
from fabnet.frames.augment import to_float
from fabnet.inference.app.faces import UploadFaces, find_faces
from fabnet.model import Model
from fabnet.networks.fabnet import FabNet
from fabnet.video.detectors import open_detector
from fabnet.video.recipe import recipe


@dataclass(frozen=True)
class Reader:
    """A model, and how it is used on the page.

    Attributes:
        name: for people: models/NAME, or a version of the registry.
        ways: how faces may be found and cropped; the first is the model's own, or the one that was asked for.
    """

    name: str
    model: Model
    ways: dict[Way, ExtractParams]

    @property
    def warps(self) -> bool:
        """Whether the network can move one frame to another."""
        return isinstance(self.model.network, FabNet)


def open_reader(
    model: Model,
    name: str | None = None,
    faces: Way | None = None,
    margin: float | None = None,
    detector_model: Path | None = None,
) -> Reader:
    """The ways in which a model can be used on uploads.

    Args:
        model: with its probes, if it has any.
        name: what the page calls it; None takes its path.
        faces: the first way, as of `fabnet embed`.
        margin: fraction of a box's side that is added on each side; None keeps the model's.
        detector_model: ONNX file of YuNet.

    Raises:
        UserError: new inputs cannot be cropped as the model asks, or the detector's file is damaged.
    """
    first = model.face_params(faces, detector_model, force=True, margin=margin)
    own: Way = "detect" if first.source == "folder" else "cropped"
    ways = {own: first}
    other: Way = "cropped" if own == "detect" else "detect"
    with suppress(UserError):  # the detector's file was not given: then the page offers the model's own way alone
        ways[other] = model.face_params(other, detector_model, force=True, margin=margin)
    if "detect" in ways:
        open_detector(ways["detect"].detection)  # a damaged file is better known now
    return Reader(name or str(model.path), model, ways)


@dataclass(frozen=True)
class Analysis:
    """What there is to show of an upload; see UploadFaces for N and its order.

    Attributes:
        readings: by task, see Model.read; landmarks are in pixels of the crop. Empty without probes.
        note: what to bear in mind with these numbers; empty if nothing.
    """

    faces: UploadFaces
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
        path: the upload, a file whose content tells its kind.
        reader: the model, and the ways to find faces.
        way: one of `reader.ways`; None is the first.

    Raises:
        UserError: in one line, why nothing can be shown.
    """
    params = reader.ways[next(iter(reader.ways)) if way is None else way]
    faces = find_faces(path, params)
    model = reader.model
    embeddings = model.embed(faces.crops_NHWC)
    # What way the faces were found says more than the settings of that way.
    differing = sorted(differences(model.recipe, recipe(params)), key=lambda each: not each.startswith("source"))
    note = f"The model learnt from other crops, so take the numbers with care ({differing[0]})." if differing else ""
    return Analysis(faces, embeddings, model.read(embeddings) if model.probes else {}, note)


class WarpedFrame(NamedTuple):
    """A source frame made to look like a target frame.

    Attributes:
        generated: uint8 (H, W, 3).
        flow_2HW: offsets at which the source was sampled, in [-1, 1] coordinates of the frame.
    """

    generated: NDArray[np.uint8]
    flow_2HW: NDArray[np.float32]


@torch.inference_mode()
def warp(reader: Reader, source: NDArray[np.uint8], target: NDArray[np.uint8]) -> WarpedFrame:
    """Reconstruct the crop `target` from the pixels of the crop `source`, both uint8 (H, W, 3).

    Args:
        reader: its model gives embeddings and flow.
        source: the crop whose pixels are moved, uint8 RGB (H, W, 3).
        target: the crop that is imitated, of the same shape.

    Raises:
        UserError: the model is of a kind that has no flow.
    """
    network = reader.model.network
    if not isinstance(network, FabNet):
        raise UserError(no_warp(reader))
    views_VBCHW = to_float(torch.from_numpy(np.stack([target, source]))[:, None].to(reader.model.device))
    made = network.reconstruct(views_VBCHW)
    pixels = ((made.generated[0].float().permute(1, 2, 0) + 1) * 127.5).round().clamp(0, 255)
    return WarpedFrame(pixels.byte().cpu().numpy(), made.flow[0, 0].float().cpu().numpy())


def no_warp(reader: Reader) -> str:
    """Why a model cannot warp."""
    what = {
        "autoencoder": "an autoencoder: it draws frames anew",
        "rotation": "trained to predict how a frame was rotated: it draws none",
        "split_brain": "a split-brain autoencoder: it predicts colours",
        "fabnet": "an ONNX export: it holds the encoder alone",
    }[reader.model.objective]
    return f"{reader.name} is {what} and has no flow, so it cannot warp one frame to another."
