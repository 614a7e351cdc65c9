"""Networks by the name of their objective, their weights on disk, and model.json, which describes them."""

from dataclasses import replace
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from fabnet import __version__
from fabnet.errors import UserError, first_line
from fabnet.files import hash_file, read_json
from fabnet.networks.coordinates import as_trained
from fabnet.networks.encoder import Encoder
from fabnet.networks.fabnet import OURS, Conventions, FabNet
from fabnet.networks.pretext import Autoencoder, Rotation, SplitBrain

Network = FabNet | Autoencoder | Rotation | SplitBrain
#: Those of the baselines, by objective.
_BASELINES: dict[str, type[Autoencoder] | type[Rotation] | type[SplitBrain]] = {
    "autoencoder": Autoencoder,
    "rotation": Rotation,
    "split_brain": SplitBrain,
}


#: The file of the weights that did best on the validation split.
WEIGHTS = "best.pt"

#: What networks are trained by.
OBJECTIVES = ("fabnet", *_BASELINES)


def build(
    objective: str,
    image_size: int,
    base_filters: int,
    embedding_dim: int,
    sources: int = 1,
    conventions: Conventions = OURS,
    flow_stride: int = 1,
    shared_decoder: bool = False,
    histogram_head: bool = False,
) -> Network:
    """The network of an objective; what follows `embedding_dim` is for fabnet (see there), which alone has any.

    Args:
        objective: fabnet, autoencoder, rotation or split_brain.
        image_size: H = W of a frame, in pixels.
        base_filters: width of the network, see Encoder.
        embedding_dim: D.
        sources: number of source frames.
        conventions: see Conventions.
        flow_stride: pixels of a frame per element of the flow, along an axis: 1, 2 or 4.
        shared_decoder: one decoder for flow and confidence.
        histogram_head: embeddings tell how orientation histograms change.

    Raises:
        UserError: an unknown objective, one but fabnet with other conventions than ours, or maps of the flow below
            8 px.
    """
    if objective not in OBJECTIVES:
        raise UserError(f"objective {objective}: is unknown to this version of fabnet; it has {', '.join(OBJECTIVES)}")
    if objective == "fabnet":
        if flow_stride not in (1, 2, 4) or image_size // flow_stride < 8:
            raise UserError(
                f"flow_stride {flow_stride}: must be 1, 2 or 4, and leave the flow of {image_size} px at least 8 px; "
                "frames are of extract.image_size"
            )
        sizes = image_size, base_filters, embedding_dim
        return FabNet(*sizes, sources, conventions, flow_stride, shared_decoder, histogram_head)
    if conventions != OURS:
        raise UserError(f"objective {objective}: only fabnet can have other conventions than ours, not {conventions}")
    return _BASELINES[objective](image_size, base_filters, embedding_dim)


def build_described(card: dict[str, Any], conventions: Conventions) -> Network:
    """The network that a model.json describes, with drawn weights.

    Args:
        card: content of model.json.
        conventions: those that the card names.
    """
    return build(
        card["objective"],
        card["image_size"],
        card["base_filters"],
        card["embedding_dim"],
        # Older cards do not have these keys.
        card.get("sources", 1),
        conventions,
        card.get("flow_stride", 1),
        card.get("shared_decoder", False),
        card.get("histogram_head", False),
    )


def load_model(directory: Path | str, weights: str = WEIGHTS) -> tuple[Network, dict[str, Any]]:
    """The network in `directory` (a `models/<variant>`), in evaluation mode, and its model.json.

    Args:
        directory: a `models/<variant>`.
        weights: file of the state dict in it.

    Raises:
        UserError: a file is absent or the weights do not fit the network that model.json describes.
    """
    directory = Path(directory)
    for name in ("model.json", weights):
        if not (directory / name).is_file():
            raise UserError(f"{directory / name}: no such file; train the variant first (dvc repro train)")
    card = read_json(directory / "model.json")
    model = build_described(card, _conventions(directory, card))
    try:
        model.load_state_dict(torch.load(directory / weights, map_location="cpu", weights_only=True))
    except (RuntimeError, KeyError, UnpicklingError) as error:
        raise UserError(f"{directory / weights}: does not fit the network of model.json: {first_line(error)}") from None
    return model.eval(), card


def conventions_of(directory: Path | str) -> Conventions:
    """The conventions of a trained variant, which a network that starts from it must have; embeddings as trained.

    Raises:
        UserError: there is no such variant, or its conventions are unknown here.
    """
    path = Path(directory) / "model.json"
    if not path.is_file():
        raise UserError(f"{path}: no such file; train the variant first (dvc repro train)")
    return replace(_conventions(Path(directory), read_json(path)), read_back=False)


def _conventions(directory: Path, card: dict[str, Any]) -> Conventions:
    try:
        return Conventions.of_card(card)
    except ValueError as error:
        raise UserError(f"{directory / 'model.json'}: {error}") from None


def start_from(model: Network, directory: Path | str) -> None:
    """Give `model` the weights of a trained variant. A confidence decoder that the variant lacks stays as it is.

    Embeddings in other coordinates are as trained again: steps through the map back would be of another size.

    Args:
        model: gets the weights.
        directory: a `models/<variant>`.

    Raises:
        UserError: there is no such variant, or it is another network.
    """
    other, card = load_model(directory)
    if isinstance(other, FabNet):
        other = as_trained(other)
    own, weights = model.state_dict(), other.state_dict()
    # A variant of one source has no confidence decoder; one of several that starts from it begins with a drawn one.
    added = {name for name in own.keys() - weights.keys() if name.startswith("confidence_decoder.")}
    differing = sorted(
        name
        for name in (own.keys() | weights.keys()) - added
        if name not in own or name not in weights or own[name].shape != weights[name].shape
    )
    if differing:
        sources = card.get("sources", 1)
        raise UserError(
            f"{directory}: cannot be started from: {differing[0]} differs; it is {card['objective']} of "
            f"{card['image_size']} px, {card['base_filters']} filters, {card['embedding_dim']} dimensions, "
            f"{sources} source(s), flow_stride {card.get('flow_stride', 1)}, "
            f"shared_decoder {str(card.get('shared_decoder', False)).lower()}, "
            f"histogram_head {str(card.get('histogram_head', False)).lower()}"
        )
    # The same weights are another function under other conventions.
    if isinstance(model, FabNet) and isinstance(other, FabNet) and model.conventions != other.conventions:
        raise UserError(
            f"{directory}: cannot be started from: its network has {other.conventions}, this one {model.conventions}"
        )
    model.load_state_dict({**own, **weights})


def random_encoder(image_size: int, base_filters: int, embedding_dim: int, seed: int) -> Encoder:
    """The encoder with the weights it has before training.

    Args:
        image_size: H = W of a frame.
        base_filters: width, see Encoder.
        embedding_dim: D.
        seed: of the weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Encoder(image_size, base_filters, embedding_dim)


#: Keys of model.json: those that every model has, and those that others may have besides.
_REQUIRED = ("objective", "image_size", "base_filters", "embedding_dim", "recipe", "weights_sha256")
_KNOWN = {
    *_REQUIRED,
    *("variant", "sources", "flow_stride", "shared_decoder", "histogram_head", "conventions"),
    *("params", "inputs", "imported"),
    *("corrupt_frames", "best_step", "best_validation_loss", "copying_loss", "below_copying_pct"),
}


def read_card(directory: Path) -> dict[str, Any]:
    """Read the model.json of a folder as `train` writes it, and make sure that its weights are those described.

    Raises:
        UserError: a file is absent or damaged, the weights are others, or a newer version wrote the description.
    """
    path, weights = directory / "model.json", directory / WEIGHTS
    for file in (path, weights):
        if not file.is_file():
            raise UserError(f"{file}: no such file; a model is a folder as `train` writes it, such as models/NAME")
    try:
        card = read_json(path)
        check_card(card, path)
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: not the description of a model: {error}") from None
    sha256 = hash_file(weights)
    if sha256 != card["weights_sha256"]:
        raise UserError(
            f"{weights}: has SHA-256 {sha256[:12]}..., but model.json describes weights "
            f"{card['weights_sha256'][:12]}...; fetch or train the model again"
        )
    described: dict[str, Any] = card
    return described


def check_card(card: Any, where: Path) -> None:
    """Refuse a model.json that lacks a key, or is of a newer version, whose weights might mean something else.

    Args:
        card: its content.
        where: the file, for the error.

    Raises:
        UserError: names the key.
    """
    if missing := [key for key in _REQUIRED if key not in card]:
        raise UserError(f"{where}: lacks {', '.join(missing)}; train the variant again")
    unknown = sorted(card.keys() - _KNOWN)
    if unknown or card["objective"] not in OBJECTIVES:
        what = f"key {unknown[0]}" if unknown else f"objective {card['objective']}"
        raise UserError(
            f"{where}: {what} is unknown to fabnet {__version__}; if a newer one trained this model, install that"
        )
