"""Sections about what an embedding is compared with."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from fabnet.config.section import Count, Section


class VggFaceParams(Section):
    """The VGG-Face descriptor. Its weights are a file of the user's; without one there is no such baseline."""

    weights: Path | None = None
    #: Of that file: by it the pipeline knows that the file has changed.
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None

    @model_validator(mode="after")
    def _file_and_hash_come_together(self) -> "VggFaceParams":
        if (self.weights is None) != (self.sha256 is None):
            raise ValueError("`weights` and `sha256` (sha256sum FILE) name one file: give both or neither")
        return self


class BaselinesParams(Section):
    vgg_face: VggFaceParams = VggFaceParams()


class SuperviseParams(Section):
    """The VGG-11 trained from scratch on the labels of a set."""

    #: Networks; 0: none is trained.
    seeds: Annotated[int, Field(ge=0, le=100)] = 1
    #: Pixels of a crop; None: extract.image_size. VGG-11 halves it five times.
    image_size: Annotated[int, Field(ge=32, le=1024)] | None = None
    width: Count
    batch_norm: bool = True
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    mirror: bool = True
    epochs: Count
    batch_size: Annotated[int, Field(ge=2)]
    learning_rate: Annotated[float, Field(gt=0, le=10)]
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    precision: Literal["bf16", "fp32"] = "fp32"
    cache_mb: Annotated[int, Field(ge=0)] = 2048
    threads: Annotated[int, Field(ge=1, le=1024)] = 2
