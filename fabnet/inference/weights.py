"""Files of weights: of others as a model directory of ours, and ours for other programs. Files are written atomically.

Imported: all that the stage `train` writes, and the file's probes as saved probes of ours. The authors' probe is
nn.Sequential(BatchNorm1d(D), Linear(D, k, bias=False)), which is folded into one linear map.
Exported: all weights as safetensors, the encoder as ONNX.
"""

import json
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fabnet import __version__
from fabnet.attributes.tasks import TASKS
from fabnet.config import ExtractParams
from fabnet.errors import UserError
from fabnet.files import atomic_directory, atomic_file, hash_file, read_json, write_json
from fabnet.model import load
from fabnet.networks.build import load_model
from fabnet.networks.exports import CARD, INPUT, OUTPUT, exported_state
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
        out: the directory to write, which must not exist.
        choices: for the authors' files; None takes what they are known to be. An exported file says these itself.
        probes: the authors' probes, each for another task.

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
    # One file of heads holds a probe for each task.
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
        tensors: the state dict of BatchNorm1d(D) followed by Linear(D, k).
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


# Old enough for every runtime in use; a convolutional network needs nothing newer.
_OPSET = 17


def description(directory: Path) -> dict[str, str]:
    """The metadata of an exported file.

    Raises:
        UserError: `directory` is no trained model.
    """
    if not directory.is_dir():
        raise UserError(f"{directory}: no such folder; a model is a folder as `train` writes it, such as models/NAME")
    model = load(directory, device="cpu")
    card = read_json(directory / "model.json")
    return {
        "format": "pt",  # by which safetensors' readers know that the tensors are PyTorch's
        "fabnet.version": __version__,
        "fabnet.input": (
            f"{INPUT}: float32, N x 3 x {model.size} x {model.size}, RGB, value / 127.5 - 1, so from -1 to 1"
        ),
        "fabnet.output": f"{OUTPUT}: float32, N x {model.dimension}",
        "fabnet.image_size": str(model.size),
        "fabnet.embedding_dim": str(model.dimension),
        "fabnet.weights_sha256": model.weights_sha256,
        "fabnet.recipe_hash": str(model.recipe["hash"]),
        CARD: json.dumps(card, sort_keys=True),
    }


def export_safetensors(directory: Path, out: Path) -> dict[str, str]:
    """Write all weights of a model, with the description as metadata, which is returned.

    Args:
        directory: as the stage `train` writes it.
        out: the file to write.

    Raises:
        UserError: `directory` is no trained model.
    """
    from safetensors.torch import save_file

    metadata = description(directory)
    network, _ = load_model(directory)
    tensors = {name: value.contiguous() for name, value in network.state_dict().items()}
    with atomic_file(out) as temporary:
        save_file(tensors, temporary, metadata)
    return metadata


def export_onnx(directory: Path, out: Path) -> dict[str, str]:
    """Write the encoder in evaluation mode, for batches of any size, with the description as properties.

    Args:
        directory: as the stage `train` writes it.
        out: the file to write; its input is float32 (N, 3, H, H), its output (N, D).

    Raises:
        UserError: `directory` is no trained model, or the package onnx is absent.
    """
    try:
        import onnx
    except ModuleNotFoundError:
        raise UserError("--format onnx: wants the package onnx: pip install 'fabnet[export]'") from None
    properties = {key: value for key, value in description(directory).items() if key != "format"}
    network, card = load_model(directory)
    batch = torch.zeros(2, 3, card["image_size"], card["image_size"])
    axes = {INPUT: {0: "N"}, OUTPUT: {0: "N"}}
    with atomic_file(out) as temporary:
        with warnings.catch_warnings():
            # The exporter that traces is called legacy; the new one wants onnxscript for the same operators.
            warnings.simplefilter("ignore", DeprecationWarning)
            torch.onnx.export(
                network.encoder,
                (batch,),
                temporary,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_axes=axes,
                opset_version=_OPSET,
                dynamo=False,
            )
        graph: Any = onnx.load(temporary)
        graph.producer_name, graph.producer_version = "fabnet", __version__
        graph.doc_string = f"Encoder of FAb-Net. {properties['fabnet.input']}; {properties['fabnet.output']}"
        onnx.helper.set_model_props(graph, properties)
        onnx.checker.check_model(graph)
        onnx.save(graph, temporary)
    return properties
