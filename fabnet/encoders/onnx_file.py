"""An encoder in an ONNX file, by anybody. How it wants its images is declared, or stands in the file's metadata."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError

from fabnet.config.encoders import EncoderParams, Layout
from fabnet.config.section import first_error
from fabnet.encoders.encoder import Encoder, Preprocessing
from fabnet.errors import UserError, one_line
from fabnet.files import hash_file
from fabnet.networks.exports import CARD

#: Keys of the file's metadata, as JSON or as text, that a declaration may leave out.
_KEYS = ("size", "mean", "std", "interpolation", "channels", "layout", "saw")
#: Types of pixels by ONNX Runtime's name.
_TYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
}


def open_onnx(name: str, params: EncoderParams) -> Encoder:
    """The encoder in a file.

    Args:
        name: of the encoder.
        params: its source, and how it wants its images where the file does not say so.

    Raises:
        UserError: onnxruntime is not installed; the file is absent, damaged, in several parts, or takes no images; or
            what is declared is not complete, or contradicts the file.
    """
    path = Path(params.what)
    if not path.is_file():
        raise UserError(f"{params.source}: {path}: no such file")
    session, external = _session(path)
    if external:
        raise UserError(f"{path}: keeps weights in another file, {external}; save it as one file")
    image, output = _input(session, path), _output(session, params.output, path)
    said = _described(session.get_modelmeta().custom_metadata_map, params, path)
    prepare = _preprocessing(image, said, path)
    raw = _TYPES[image.type] is np.uint8
    return Encoder(
        name=name,
        source=params.source,
        saw=said.shown_saw,
        weights_sha256=hash_file(path),
        size=prepare.size,
        interpolation=prepare.interpolation,
        told={"kind": "onnx", "output": output, "raw": raw, **prepare.told()},
        forward=_forward(session, image, output, prepare, raw),
    )


def _session(path: Path) -> tuple[Any, str]:
    """ONNX Runtime's session, and a file that holds weights of it beside `path`; empty if there is none."""
    try:
        import onnx
        import onnxruntime
    except ModuleNotFoundError as error:
        raise UserError(
            f"{path}: an ONNX file needs {error.name}, which is not installed: pip install 'fabnet[encoders]'"
        ) from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4  # what fails is an error below
    available = onnxruntime.get_available_providers()
    providers = [each for each in ("CUDAExecutionProvider", "CPUExecutionProvider") if each in available]
    try:
        graph = onnx.load(path, load_external_data=False).graph
        parts = (entry.value for each in graph.initializer for entry in each.external_data if entry.key == "location")
        external = next(parts, "")
        return (None if external else onnxruntime.InferenceSession(str(path), options, providers)), external
    except Exception as error:  # their exceptions have no class in common
        raise UserError(f"{path}: not an ONNX file, or a damaged one: {one_line(error)}") from None


def _input(session: Any, path: Path) -> Any:
    inputs = session.get_inputs()
    if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].type not in _TYPES:
        has = "; ".join(f"{each.name}: {each.type} {_text(each.shape)}" for each in inputs)
        raise UserError(f"{path}: takes {has}; an encoder takes one input, images, N x 3 x S x S or N x S x S x 3")
    return inputs[0]


def _output(session: Any, wanted: str | None, path: Path) -> str:
    names = [each.name for each in session.get_outputs()]
    if wanted is None and len(names) > 1:
        raise UserError(f"{path}: has the outputs {', '.join(names)}; say which by `output`")
    if wanted is not None and wanted not in names:
        raise UserError(f"{path}: has no output {wanted}; there are {', '.join(names)}")
    return wanted or str(names[0])


def _described(metadata: Mapping[str, str], params: EncoderParams, path: Path) -> EncoderParams:
    """The declaration, completed by the file's metadata.

    Raises:
        UserError: the file says something impossible, or something else than what is declared.
    """
    if CARD in metadata:  # an export of a model of ours
        said: dict[str, Any] = {"size": json.loads(metadata[CARD])["image_size"], "mean": [0.5] * 3, "std": [0.5] * 3}
        said |= {"channels": "RGB", "layout": "NCHW", "saw": "faces"}
    else:
        said = {key: _value(metadata[key]) for key in _KEYS if key in metadata}
    if "size" in said:
        said["image_size"] = said.pop("size")
    try:
        theirs = EncoderParams.model_validate({"source": params.source, **said})
    except ValidationError as error:
        key, problem = first_error(error, EncoderParams)
        raise UserError(f"{path}: its metadata: {key.replace('image_size', 'size')}: {problem}") from None
    for key in said:
        ours = getattr(params, key)
        if ours not in (None, "unknown", getattr(theirs, key)):
            raise UserError(f"{path}: {key} is declared as {ours}, but the file says {getattr(theirs, key)}")
    return params.model_copy(update={key: getattr(theirs, key) for key in said})


def _value(text: str) -> Any:
    """A number or list that stands in metadata as JSON, or as numbers with commas; a word as it is."""
    for form in (text, f"[{text}]"):
        try:
            return json.loads(form)
        except ValueError:
            continue
    return text.strip()


def _preprocessing(image: Any, said: EncoderParams, path: Path) -> Preprocessing:
    layout = _layout(image.shape, said.layout, path)
    fixed = {side for side in (image.shape[2:] if layout == "NCHW" else image.shape[1:3]) if isinstance(side, int)}
    if len(fixed) > 1:
        raise UserError(f"{path}: takes images of {_text(image.shape)}; faces are square")
    size = said.image_size or next(iter(fixed), None)
    if size is None:
        raise UserError(f"{path}: does not say how large its images are; declare image_size, in pixels")
    if fixed - {size}:
        raise UserError(f"{path}: image_size is {size}, but its input is {_text(image.shape)}")
    mean, std = said.mean, said.std
    if _TYPES[image.type] is np.uint8:
        if mean is not None or std is not None:
            raise UserError(f"{path}: takes pixels as they are (uint8), so that mean and std are not to be declared")
        mean, std = (0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255)
    if mean is None or std is None:
        missing = "mean" if mean is None else "std"
        raise UserError(f"{path}: does not say what colours it expects; declare {missing}, of values from 0 to 1")
    return Preprocessing(size, mean, std, said.interpolation or "bilinear", said.channels or "RGB", layout)


def _layout(shape: list[Any], declared: Layout | None, path: Path) -> Layout:
    channels = {"NCHW": shape[1], "NHWC": shape[3]}
    possible: list[Layout] = [each for each in ("NCHW", "NHWC") if channels[each] == 3]
    if not possible:  # symbolic axes, or another number of channels
        possible = [each for each in ("NCHW", "NHWC") if not isinstance(channels[each], int)]
    if not possible:
        raise UserError(f"{path}: takes {_text(shape)}, which are no images of three colours")
    if declared is None:
        return possible[0]
    if declared not in possible:
        raise UserError(f"{path}: layout is declared as {declared}, but its input is {_text(shape)}")
    return declared


def _text(shape: list[Any]) -> str:
    return " x ".join("N" if each is None else str(each) for each in shape) or "a number"


def _forward(
    session: Any, image: Any, output: str, prepare: Preprocessing, raw: bool
) -> Callable[[NDArray[np.uint8]], NDArray[Any]]:
    batch, kind = image.shape[0], _TYPES[image.type]

    def run(pixels: NDArray[Any]) -> NDArray[Any]:
        (found,) = session.run([output], {image.name: pixels})
        return np.asarray(found)

    def forward(images: NDArray[np.uint8]) -> NDArray[Any]:
        pixels = prepare(images)
        pixels = pixels.round().astype(kind) if raw else pixels.astype(kind, copy=False)
        if not isinstance(batch, int):
            return run(pixels)
        # Exported for batches of one length: the last one is filled up, and what fills it is left out.
        short = -len(pixels) % batch
        padded = np.concatenate([pixels, np.repeat(pixels[-1:], short, axis=0)])
        parts = [run(padded[at : at + batch]) for at in range(0, len(padded), batch)]
        if any(len(part) != batch for part in parts):
            return parts[0]  # whose shape is refused
        return np.concatenate(parts)[: len(pixels)]

    return forward
