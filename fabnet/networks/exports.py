"""The files that `fabnet weights export` writes, read back as networks."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fabnet.errors import UserError, one_line
from fabnet.networks.build import Network, build_described, check_card
from fabnet.networks.fabnet import Conventions
from fabnet.networks.tensor_files import Content, read_file

#: The key of a file's metadata under which model.json lies.
CARD = "fabnet.model"

#: Names of an ONNX graph's input and output.
INPUT, OUTPUT = "frames", "embeddings"

_SUFFIXES = (".safetensors", ".onnx")


class OnnxNetwork(nn.Module):
    """What an ONNX export holds of a network: the encoder, run by ONNX Runtime on the CPU."""

    def __init__(self, session: Any) -> None:
        super().__init__()
        self.encoder = _OnnxEncoder(session)


class _OnnxEncoder(nn.Module):
    def __init__(self, session: Any) -> None:
        super().__init__()
        self._session = session

    def forward(self, frames: Tensor) -> Tensor:
        """Embeddings (N, D) of frames (N, 3, H, W) in [-1, 1]."""
        (embeddings,) = self._session.run([OUTPUT], {INPUT: frames.cpu().contiguous().numpy()})
        return torch.from_numpy(embeddings)


def is_export(path: Path) -> bool:
    """Whether a path is that of an exported file, by its suffix, and not of a folder."""
    return path.suffix in _SUFFIXES and not path.is_dir()


def read_export(path: Path) -> tuple[Network | OnnxNetwork, dict[str, Any]]:
    """The network of an exported file, in evaluation mode, and its model.json.

    Raises:
        UserError: the file is absent, damaged or was not exported by fabnet, or ONNX Runtime is not installed.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    if path.suffix == ".onnx":
        return _read_onnx(path)
    content = read_file(path)
    if CARD not in content.metadata:
        raise UserError(f"{path}: was not exported by fabnet; `fabnet weights import` makes a model of others' weights")
    state, card = exported_state(content)
    network = build_described(card, Conventions.of_card(card))
    network.load_state_dict(state)
    return network.eval(), card


def exported_state(content: Content) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The state dict of an exported safetensors file, in the network's own order, and its model.json.

    Raises:
        UserError: the description is damaged, or the tensors are not those of the network that it describes.
    """
    path = content.path
    card = _card(content.metadata, path)
    try:
        with torch.device("meta"):
            expected = build_described(card, Conventions.of_card(card)).state_dict()
    except (ValueError, LookupError, TypeError, AttributeError, RuntimeError) as error:
        raise _damaged(path, error) from None
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


def _card(metadata: dict[str, str], path: Path) -> dict[str, Any]:
    try:
        card: dict[str, Any] = json.loads(metadata[CARD])
        card["recipe"]["hash"]
    except (ValueError, LookupError, TypeError) as error:
        raise _damaged(path, error) from None
    check_card(card, path)
    return card


def _damaged(path: Path, error: Exception) -> UserError:
    return UserError(f"{path}: its description of the model is damaged: {type(error).__name__}: {error}")


def _read_onnx(path: Path) -> tuple[OnnxNetwork, dict[str, Any]]:
    try:
        import onnxruntime
    except ModuleNotFoundError:
        raise UserError(
            f"{path}: an ONNX export runs by onnxruntime, which is not installed: pip install 'fabnet[export]'"
        ) from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4  # what fails is an error below
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no class in common
        reason = one_line(error)
        raise UserError(f"{path}: not an ONNX file, or a damaged one: {reason}") from None
    metadata = session.get_modelmeta().custom_metadata_map
    if CARD not in metadata:
        raise UserError(f"{path}: was not exported by fabnet")
    return OnnxNetwork(session), _card(metadata, path)
