"""A trained model for other programs: all weights as safetensors, the encoder as ONNX. Files are written atomically."""

import json
import warnings
from pathlib import Path
from typing import Any

import torch

from fabnet import __version__
from fabnet.errors import UserError
from fabnet.files import atomic_file, read_json
from fabnet.model import load
from fabnet.networks.build import load_model
from fabnet.networks.exports import CARD, INPUT, OUTPUT

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
