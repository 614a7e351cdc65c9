"""A file of weights becomes a directory as the stage `train` writes it, which the other commands take."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from fabnet.attributes.tasks import TASKS
from fabnet.config import ExtractParams
from fabnet.errors import UserError
from fabnet.files import atomic_directory, hash_file, write_json
from fabnet.inference.weights.exported import CARD
from fabnet.inference.weights.files import Content, read_file
from fabnet.inference.weights.probe import folded, write_probes
from fabnet.networks.build import build_described
from fabnet.networks.conventions import Conventions
from fabnet.networks.released import from_released
from fabnet.video.recipe import recipe

WEIGHTS, MODEL, HEADS = "best.pt", "model.json", "heads.npz"

# Of a card that was exported: not the description of the network, but of a file or a directory.
_OF_FILE = ("weights_sha256", "imported")


@dataclass(frozen=True)
class Choices:
    """What a released file does not say.

    Attributes:
        align_corners: of bilinear upsampling in the decoders.
        unit_input: whether the network saw pixels in [0, 1], or else in [-1, 1].
        recrop: how the pictures of faces that it learnt from were cut, a value of `extract.recrop`.
        sources: source frames the network is for; None is as the file says, or 3 where it has a mask decoder.
    """

    align_corners: bool = True
    unit_input: bool = True
    recrop: Literal["none", "authors"] = "authors"
    sources: int | None = None


@dataclass(frozen=True)
class ProbeFile:
    """A probe to import: its file, which task it is for, and whether it gives angles in radians."""

    path: Path
    task: str
    radians: bool = False


@dataclass(frozen=True)
class Imported:
    """What was written. `aside`: names in the file that are no part of it."""

    card: dict[str, Any]
    aside: list[str]


def import_weights(path: Path, out: Path, choices: Choices | None = None, probes: Sequence[ProbeFile] = ()) -> Imported:
    """Write best.pt and model.json of a network, and heads.npz if there are probes, to `out`: all or nothing.

    Args:
        path: the authors' state dict, or a file that `fabnet weights export` wrote.
        choices: for the authors' files; None takes what they are known to be. An exported file says these itself.

    Raises:
        UserError: `out` exists, or a file is absent, damaged, of another architecture, or does not fit the others.
    """
    if out.exists():
        raise UserError(f"{out}: exists; choose another --out, or remove it")
    content = read_file(path)
    if CARD in content.metadata:
        if choices is not None:
            raise UserError(f"{path}: was exported by fabnet and says what it is; leave out the options about that")
        state, card = _exported(content)
        aside: list[str] = []
    else:
        state, card, aside = _released(content, choices or Choices())
    card["imported"] = {"file": path.name, "sha256": hash_file(path)}
    card["variant"] = out.name
    maps = [_probe(each, path, state, card) for each in probes]
    if repeated := {probe.task for probe in maps if sum(other.task == probe.task for other in maps) > 1}:
        raise UserError(f"--task {min(repeated)}: is given twice")
    with atomic_directory(out) as temporary:
        torch.save(state, temporary / WEIGHTS)
        card["weights_sha256"] = hash_file(temporary / WEIGHTS)
        write_json(temporary / MODEL, card)
        if maps:
            meta = {"encoder": out.name, "set": "released", "weights_sha256": card["weights_sha256"]}
            write_probes(temporary / HEADS, maps, {**meta, "recipe_hash": card["recipe"]["hash"]})
    return Imported(card, aside)


def _released(content: Content, choices: Choices) -> tuple[dict[str, Tensor], dict[str, Any], list[str]]:
    sources = choices.sources
    if sources is None and content.views is not None:
        sources = max(content.views - 1, 1)
    network = from_released(content.network(), str(content.path), sources)
    params = ExtractParams(videos=Path(), source="cropped", image_size=network.image_size, recrop=choices.recrop)
    card = {
        "objective": "fabnet",
        "image_size": network.image_size,
        "base_filters": network.base_filters,
        "embedding_dim": network.embedding_dim,
        "sources": network.sources,
        **Conventions(choices.align_corners, choices.unit_input).card(),
        "recipe": recipe(params),
    }
    aside = [*content.aside(), *(["mask.*"] if network.left_out else [])]
    return network.state, card, aside


def _exported(content: Content) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The state dict and model.json of a file that `exported.export_safetensors` wrote."""
    path = content.path
    try:
        card = json.loads(content.metadata[CARD])
        card = {key: value for key, value in card.items() if key not in _OF_FILE}
        conventions = Conventions.of_card(card)
        with torch.device("meta"):
            expected = build_described(card, conventions).state_dict()
        card["recipe"]["hash"]
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: its description of the model is damaged: {type(error).__name__}: {error}") from None
    state = content.network()
    if differing := sorted(
        name
        for name in state.keys() | expected.keys()
        if name not in state
        or name not in expected
        or (state[name].shape, state[name].dtype) != (expected[name].shape, expected[name].dtype)
    ):
        raise UserError(f"{path}: {differing[0]}: not as the description of the model in this file has it")
    if bad := [name for name, value in state.items() if not value.isfinite().all()]:
        raise UserError(f"{path}: {min(bad)}: has numbers that are not finite; the file is damaged")
    # In the network's own order, so that the same weights become the same file.
    return {name: state[name] for name in expected}, card


def _probe(each: ProbeFile, network: Path, state: dict[str, Tensor], card: dict[str, Any]) -> Any:
    if each.task not in TASKS:
        raise UserError(f"--task {each.task}: no such task; there are {', '.join(TASKS)}")
    content = read_file(each.path)
    if content.has_both:
        # A released file holds the encoder that its probe reads; another encoder's embeddings mean something else.
        other = from_released(content.network(), str(each.path)).state
        differing = [
            name
            for name, value in state.items()
            if name.startswith("encoder.") and value.is_floating_point() and not torch.equal(value, other[name])
        ]
        if differing:
            raise UserError(
                f"{each.path}: its probe reads another encoder than that of {network}: {differing[0]} differs; import "
                "the two together as a model of their own"
            )
    return folded(content.probe(), str(each.path), each.task, card["embedding_dim"], each.radians)
