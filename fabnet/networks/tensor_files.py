"""Files of tensors from elsewhere, by PyTorch of any version or safetensors. Code in them never runs."""

import warnings
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fabnet.errors import UserError

#: Where the authors keep a network's state dict: in a released file, which holds a probe too; in a training checkpoint.
_NETWORK_KEYS = ("state_dict_model", "state_dict")
_PROBE_KEYS = ("state_dict",)


@dataclass(frozen=True)
class Content:
    """What a file holds.

    Attributes:
        values: names and tensors, or state dicts and what its writer put beside them.
        metadata: of a safetensors file.
    """

    path: Path
    values: dict[str, Any]
    metadata: dict[str, str]

    def network(self) -> dict[str, Tensor]:
        """The network's state dict."""
        return self._state_dict(_NETWORK_KEYS, "network")

    def probe(self) -> dict[str, Tensor]:
        """The probe's state dict."""
        return self._state_dict(_PROBE_KEYS, "probe")

    @property
    def has_both(self) -> bool:
        """Whether a network lies beside the probe."""
        return set(_NETWORK_KEYS) <= self.values.keys()

    @property
    def views(self) -> int | None:
        """Views of a sample that a training checkpoint says it was made with: the target and its sources."""
        views = getattr(self.values.get("opts"), "num_views", None)
        return views if isinstance(views, int) else None

    def aside(self) -> list[str]:
        """Names of what lies beside the state dicts."""
        return [] if _is_state_dict(self.values) else sorted(set(map(str, self.values)) - set(_NETWORK_KEYS))

    def _state_dict(self, keys: tuple[str, ...], what: str) -> dict[str, Tensor]:
        found = next((self.values[key] for key in keys if key in self.values), self.values)
        if not _is_state_dict(found):
            there = ", ".join(list(map(str, self.values))[:8]) or "nothing"
            raise UserError(
                f"{self.path}: no state dict of a {what}: it may be the file's whole content or lie under "
                f"{' or '.join(keys)}; there is {there}"
            )
        for name, value in found.items():
            if value.layout != torch.strided or value.is_quantized or value.device.type != "cpu":
                raise UserError(f"{self.path}: {name}: is sparse, quantised or without values, not a plain tensor")
        return dict(found)


def read_file(path: Path) -> Content:
    """Read the tensors of a file.

    The authors' training checkpoints hold their options as an argparse.Namespace, which is mere values; no other class
    beyond those of tensors is made.

    Raises:
        UserError: the file is absent, damaged, no file of tensors, or wants to run code.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file of weights")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    try:
        with torch.serialization.safe_globals([Namespace]), warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", UserWarning
            )  # about pickles of other versions: what fails is an error below
            values = torch.load(path, map_location="cpu", weights_only=True, mmap=_is_zip(path))
    except Exception as error:  # a damaged file makes the reader stumble in any way
        raise UserError(
            f"{path}: not a file of weights, or a damaged one, or one with code, which never runs: "
            f"{why_unreadable(error)}"
        ) from None
    if not isinstance(values, Mapping):
        raise UserError(f"{path}: holds a {type(values).__name__} instead of a state dict")
    return Content(path, dict(values), {})


def _read_safetensors(path: Path) -> Content:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            names = file.keys()
            return Content(path, {name: file.get_tensor(name) for name in names}, file.metadata() or {})
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path}: not a safetensors file, or a damaged one: {why_unreadable(error)}") from None


def _is_zip(path: Path) -> bool:
    """Whether PyTorch can map the file into memory: those of before 1.6 are no zip archives."""
    with open(path, "rb") as file:
        return file.read(2) == b"PK"


def _is_state_dict(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and bool(value)
        and all(isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in value.items())
    )


def why_unreadable(error: Exception) -> str:
    """What a reader of weights says, in one line, without torch's advice to trust the file."""
    text = str(error)
    marker = "WeightsUnpickler error:"
    text = text[text.index(marker) + len(marker) :] if marker in text else text
    return " ".join((text.strip().splitlines() or [type(error).__name__])[0].split())[:200]
