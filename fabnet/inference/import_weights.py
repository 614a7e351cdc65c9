"""A file of weights becomes a directory as the stage `train` writes it, and its probes become saved probes of ours.

The authors' probe is nn.Sequential(BatchNorm1d(D), Linear(D, k, bias=False)), which is folded into one linear map.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fabnet.attributes.tasks import TASKS
from fabnet.config import ExtractParams
from fabnet.errors import UserError
from fabnet.files import atomic_directory, hash_file, write_json
from fabnet.networks.exports import CARD, exported_state
from fabnet.networks.fabnet import Conventions
from fabnet.networks.released import from_released
from fabnet.networks.tensor_files import Content, read_file
from fabnet.probing.probe import Probe
from fabnet.probing.problem import Problem
from fabnet.probing.readings import write_heads
from fabnet.video.recipe import recipe

WEIGHTS, MODEL, HEADS = "best.pt", "model.json", "heads.npz"

_EPSILON = 1e-5  # of torch.nn.BatchNorm1d
_VECTORS = ("0.weight", "0.bias", "0.running_mean", "0.running_var")
_MATRIX = "1.weight"
_COUNT = "0.num_batches_tracked"

# Of a card that was exported: not the description of the network, but of a file or a directory.
_OF_FILE = ("weights_sha256", "imported")


@dataclass(frozen=True)
class Choices:
    """What a released file does not say.

    Attributes:
        align_corners: of bilinear upsampling in the decoders.
        unit_input: whether the network saw pixels in [0, 1], or else in [-1, 1].
        recrop: how the face images that it was trained on were cropped, a value of `extract.recrop`.
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
class ImportSummary:
    """The model.json that was written, and names in the file that are no part of the model."""

    card: dict[str, Any]
    aside: list[str]


def import_weights(
    path: Path, out: Path, choices: Choices | None = None, probes: Sequence[ProbeFile] = ()
) -> ImportSummary:
    """Write best.pt and model.json of a network, and heads.npz if there are probes, to `out`, atomically.

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
        state, card = exported_state(content)
        card = {key: value for key, value in card.items() if key not in _OF_FILE}
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
            _write_probes(temporary / HEADS, maps, {**meta, "recipe_hash": card["recipe"]["hash"]})
    return ImportSummary(card, aside)


def _released(content: Content, choices: Choices) -> tuple[dict[str, Tensor], dict[str, Any], list[str]]:
    sources = choices.sources
    if sources is None and content.views is not None:
        sources = max(content.views - 1, 1)
    network = from_released(content.network(), str(content.path), sources)
    params = ExtractParams.standalone(
        videos=Path(), source="cropped", image_size=network.image_size, recrop=choices.recrop
    )
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


def folded(tensors: Mapping[str, Tensor], where: str, task: str, dimension: int, radians: bool) -> Probe:
    """What batch norm and layer come to in evaluation mode: one linear map.

    Args:
        where: the file, for errors.
        task: which labels the outputs are; their number must be that of the task.
        dimension: D of the embeddings.
        radians: the outputs are radians, and the map's are degrees. For angles alone.

    Raises:
        UserError: a key is unknown or missing, or does not fit D or the task; names it.
    """
    if tensors and all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): value for name, value in tensors.items()}
    unknown = sorted(tensors.keys() - {*_VECTORS, _MATRIX, _COUNT})
    if unknown:
        raise UserError(
            f"{where}: {unknown[0]}: no probe has it: that is BatchNorm1d (0.*) and Linear without bias (1.weight)"
        )
    values = {name: _array(tensors, name, where) for name in (*_VECTORS, _MATRIX)}
    outputs = TASKS[task].outputs
    shapes = {**dict.fromkeys(_VECTORS, (dimension,)), _MATRIX: (outputs, dimension)}
    for name, shape in shapes.items():
        if values[name].shape != shape:
            raise UserError(
                f"{where}: {name}: is {_text(values[name].shape)}, but a probe of task {task}, which has {outputs} "
                f"outputs, on embeddings of {dimension} has {_text(shape)} there"
            )
    gamma, beta, mean, variance = (values[name] for name in _VECTORS)
    if (variance < 0).any():
        raise UserError(f"{where}: 0.running_var: has variances below zero; the file is damaged")
    slope = gamma / np.sqrt(variance + _EPSILON)
    scale = 180 / math.pi if radians else 1.0
    weight = values[_MATRIX] * slope * scale
    bias = values[_MATRIX] @ (beta - mean * slope) * scale
    once = np.zeros(1)
    return Probe(task, weight[None].astype(np.float32), bias[None].astype(np.float32), once, once)


def _write_probes(path: Path, probes: list[Probe], meta: dict[str, Any]) -> None:
    """Save probes as the stage `probe` does."""
    problems = []
    for probe in probes:
        task = TASKS[probe.task]
        problems.append(Problem(task.name, task.loss, np.empty((0, task.outputs), np.float32), task.outputs))
    write_heads(path, probes, problems, meta)


def _array(tensors: Mapping[str, Tensor], name: str, where: str) -> NDArray[np.float64]:
    if name not in tensors:
        raise UserError(f"{where}: lacks {name}; a probe has {', '.join((*_VECTORS, _MATRIX))}")
    values: NDArray[np.float64] = tensors[name].to(torch.float64).numpy()
    if not np.isfinite(values).all():
        raise UserError(f"{where}: {name}: has numbers that are not finite; the file is damaged")
    return values


def _text(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "a number"
