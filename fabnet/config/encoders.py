"""Encoders of anybody: where one comes from, what it learnt from, and how it wants its images."""

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from fabnet.config.section import Section, Sha256, first_error
from fabnet.errors import ConfigError, one_line

#: What an encoder saw while it learnt.
Saw = Literal["faces with labels", "faces", "images", "unknown"]
Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"]
Channels = Literal["RGB", "BGR"]
Layout = Literal["NCHW", "NHWC"]

#: Options of each kind of source, beside those of all.
_OPTIONS: dict[str, tuple[str, ...]] = {
    "timm": ("weights",),
    "hf": ("output",),
    "onnx": ("image_size", "mean", "std", "interpolation", "channels", "layout", "output"),
    "module": ("weights", "image_size", "interpolation"),
    "fabnet": (),
    "vgg_face": (),
}
KINDS = tuple(_OPTIONS)
_COMMON = ("source", "saw", "sha256")
#: What is known without being told.
_KNOWN_SAW: dict[str, Saw] = {"fabnet": "faces", "vgg_face": "faces with labels"}

_Triple = tuple[float, float, float]
_Positive = Annotated[float, Field(gt=0)]


class EncoderParams(Section):
    """An encoder that turns images of faces into embeddings, whoever made it (docs/encoders.md).

    Colours are numbers from 0 to 1 from which `mean` is subtracted, then divided by `std`, in the order `channels`.
    """

    source: Annotated[str, Field(pattern=rf"^({'|'.join(KINDS)}):\S(.*\S)?$")] = Field(
        description="`timm:NAME`, `hf:NAME` or `hf:FOLDER`, `onnx:FILE`, `module:PACKAGE.MODULE:FUNCTION`, "
        "`fabnet:MODEL` (a folder of the stage train, or an exported file) or `vgg_face:FILE`"
    )
    saw: Saw = Field("unknown", description="what it learnt from, which reports print beside its scores")
    sha256: Sha256 | None = Field(
        None, description="SHA-256 of its weights, by which the pipeline sees them change; a file's: sha256sum FILE"
    )
    weights: Path | None = Field(
        None,
        description="timm: state dict as .safetensors or .pth, in place of the published one; module: the file that "
        "the function reads its weights from",
    )
    image_size: Annotated[int, Field(ge=8, le=1024)] | None = Field(
        None, description="onnx, module: side of an image in pixels; null: as the file says; of a module: 224"
    )
    mean: _Triple | None = Field(None, description="onnx: subtracted from values of 0 to 1; null: as the file says")
    std: tuple[_Positive, _Positive, _Positive] | None = Field(None, description="onnx: what they are divided by then")
    interpolation: Interpolation | None = Field(
        None, description="onnx, module: how images of another side are resized; null: bilinear"
    )
    channels: Channels | None = Field(None, description="onnx: order of colours; null: as the file says, or RGB")
    layout: Layout | None = Field(None, description="onnx: order of axes; null: as the file's input shows it")
    output: str | None = Field(
        None,
        description="onnx: name of the output, where there are several; hf: `pooler`, `cls` or `mean`; null: the "
        "pooled output, or the class token of a model without one",
    )

    @property
    def kind(self) -> str:
        return self.source.partition(":")[0]

    @property
    def what(self) -> str:
        """What follows the kind: a name, or a file."""
        return self.source.partition(":")[2]

    @property
    def shown_saw(self) -> Saw:
        """`saw`, or what is known of sources of this kind."""
        return _KNOWN_SAW.get(self.kind, self.saw)

    @property
    def file(self) -> Path | None:
        """The file, or folder, whose content decides what the encoder does; None of a name on a hub."""
        if self.weights is not None:
            return self.weights
        return Path(self.what) if self.kind in ("onnx", "fabnet", "vgg_face") else None

    @model_validator(mode="after")
    def _options_are_of_the_kind(self) -> "EncoderParams":
        known = (*_COMMON, *_OPTIONS[self.kind])
        for key in sorted(self.model_fields_set):
            if key not in known and getattr(self, key) is not None:
                has = ", ".join(_OPTIONS[self.kind]) or "none of its own"
                raise ValueError(f"{key} is no option of {self.kind}:, which has {has}")
        if self.kind in _KNOWN_SAW and self.saw not in ("unknown", _KNOWN_SAW[self.kind]):
            raise ValueError(f"saw is `{_KNOWN_SAW[self.kind]}` of {self.kind}:, not `{self.saw}`")
        if self.kind == "hf" and self.output not in (None, "pooler", "cls", "mean"):
            raise ValueError(f"output of hf: is pooler, cls or mean, not {self.output}")
        if self.kind == "module" and not all(part.strip() for part in self.what.partition(":")[::2]):
            raise ValueError(f"source is module:PACKAGE.MODULE:FUNCTION, not {self.source}")
        return self


def read_encoder(text: str) -> tuple[str | None, EncoderParams]:
    """What `--encoder` names: SOURCE, NAME=SOURCE, or NAME={source: ..., saw: ...} with the keys of EncoderParams.

    Returns:
        The name, None where none is given, and the encoder.

    Raises:
        ConfigError: it is none of these, or a key or value is unknown or impossible; one line.
    """
    name, equals, rest = text.partition("=")
    if not equals or ":" in name or "{" in name:
        name, rest = "", text
    values: Any = {"source": rest}
    if rest.startswith("{"):
        try:
            values = yaml.safe_load(rest)
        except yaml.YAMLError as error:
            raise ConfigError(f"--encoder {text}: not valid YAML: {one_line(error)}") from None
    source = values.get("source")
    if isinstance(source, str) and source.partition(":")[0] not in KINDS:
        kinds = ", ".join(f"{kind}:" for kind in KINDS)
        raise ConfigError(f"--encoder {text}: the source begins with none of {kinds}")
    try:
        return name or None, EncoderParams.model_validate(values)
    except ValidationError as error:
        key, problem = first_error(error, EncoderParams)
        raise ConfigError(f"--encoder {text}: {f'{key}: ' if key else ''}{problem}") from None
