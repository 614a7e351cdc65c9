"""params.yaml as typed, validated values. An unknown or impossible key is an error that names the key."""

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError

from fabnet.errors import ConfigError

Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(gt=0)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Workers = Annotated[int, Field(ge=0, le=1024)]
ImageSize = Annotated[int, Field(ge=16, le=1024)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]*$")]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _power_of_two(size: int) -> int:
    if size & (size - 1):
        raise ValueError(f"must be a power of two (32, 64, 128, 256 ...), not {size}: the encoder halves it to 1 x 1")
    return size


# -- data ---------------------------------------------------------------------------------------------------------


class SyntheticVideos(Section):
    identities: Count = 200
    seconds: Annotated[float, Field(gt=0)] = 24
    fps: Annotated[float, Field(gt=0, le=60)] = 1


class SyntheticFaces(Section):
    """Numbers of identities in each official split, and labelled faces of each."""

    train: Count = 90
    validation: Count = 20
    test: Count = 40
    per_identity: Count = 20


class SynthesizeParams(Section):
    seed: Seed = 2018
    image_size: ImageSize = 96
    workers: Workers = 0
    videos: SyntheticVideos = SyntheticVideos()
    faces: SyntheticFaces = SyntheticFaces()

    @field_validator("image_size")
    @classmethod
    def _even(cls, size: int) -> int:
        if size % 2:
            raise ValueError(f"must be even for H.264 video, not {size}")
        return size


class ExtractParams(Section):
    videos: Path
    source: Literal["cropped", "boxes"] = "cropped"
    boxes: Path | None = None
    margin: Annotated[float, Field(ge=-0.4, le=4)] = 0.0
    fps: Annotated[float, Field(gt=0, le=240)] = 1.0
    size: ImageSize = 64
    jpeg_quality: Annotated[int, Field(ge=1, le=100)] = 95
    min_frames: Annotated[int, Field(ge=2)] = 2
    shard_mb: Count = 256
    workers: Workers = 0

    _size = field_validator("size")(_power_of_two)

    @model_validator(mode="after")
    def _boxes_come_with_their_source(self) -> "ExtractParams":
        if (self.source == "boxes") != (self.boxes is not None):
            raise ValueError("`boxes` names the table of boxes when `source` is boxes, and is null otherwise")
        if self.boxes is not None and not self.boxes.is_relative_to(self.videos):
            # The pipeline depends on `videos` as a whole: a table elsewhere could change unnoticed.
            raise ValueError(f"`boxes` must lie below `videos` ({self.videos}), not at {self.boxes}; move it there")
        return self


class SplitParams(Section):
    seed: Seed = 0
    train: Annotated[int, Field(gt=0, lt=100)] = 75
    validation: Annotated[int, Field(gt=0, lt=100)] = 15
    test: Annotated[int, Field(gt=0, lt=100)] = 10

    @model_validator(mode="after")
    def _sums_to_100(self) -> "SplitParams":
        total = self.train + self.validation + self.test
        if total != 100:
            raise ValueError(f"train + validation + test must be 100 percent, not {total}")
        return self


# -- training -----------------------------------------------------------------------------------------------------


class VariantParams(Section):
    """One trained model: `train.common` overlaid with `train.variants.<name>`."""

    objective: Literal["fabnet", "autoencoder"] = "fabnet"
    sources: Literal[1] = 1
    seed: Seed = 0
    base_filters: Count = 16
    embedding_dim: Count = 256
    samples: Count
    batch_size: Annotated[int, Field(ge=2)]
    validation_every: Count
    validation_samples: Annotated[int, Field(ge=2)]
    optimiser: Literal["adam", "sgd"] = "adam"
    learning_rate: Annotated[float, Field(gt=0, le=10)]
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    schedule: Literal["step", "plateau"] = "step"
    drop_at: Annotated[float, Field(gt=0, le=1)] = 0.7
    patience: Count = 5
    flip: bool = True
    jitter: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    precision: Literal["bf16", "fp32"] = "bf16"
    checkpoint_every: Count
    workers: Annotated[int, Field(ge=0, le=64)] = 1
    cache_mb: Annotated[int, Field(ge=0)] = 2048


class TrainParams(Section):
    common: dict[str, Any]
    variants: Annotated[dict[Name, dict[str, Any]], Field(min_length=1)]

    @model_validator(mode="after")
    def _every_variant_is_valid(self) -> "TrainParams":
        for name, overrides in self.variants.items():
            try:
                VariantParams.model_validate(self.common | overrides)
            except ValidationError as error:
                # Name the place where the user wrote the key, not where the overlay put it.
                key, problem = _first_error(error)
                where = f"variants.{name}" if key in overrides else "common"
                context = {"key": f"{where}.{key}", "problem": problem}
                raise PydanticCustomError("variant", "{problem}", context) from error
        return self

    def variant(self, name: str) -> VariantParams:
        if name not in self.variants:
            raise ConfigError(f"train.variants.{name}: no such variant; there are {', '.join(self.variants)}")
        return VariantParams.model_validate(self.common | self.variants[name])


# -- evaluation ---------------------------------------------------------------------------------------------------


class SetParams(Section):
    """A labelled set: which reader understands it and where it lies."""

    kind: Literal["synthetic", "aflw2000"]
    path: Path
    seed: Seed = 0


class EmbedParams(Section):
    batch_size: Count = 256


class ProbeParams(Section):
    seeds: Annotated[int, Field(ge=1, le=100)] = 5
    epochs: Count = 200
    patience: Count = 40
    batch_size: Annotated[int, Field(ge=2)] = 64
    learning_rate: Annotated[float, Field(gt=0)] = 0.001
    ridge_alphas: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1)]
    logistic_cs: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1)]


class ReportParams(Section):
    seed: Seed = 0
    bootstrap: Annotated[int, Field(ge=100)] = 1000


class Params(Section):
    synthesize: SynthesizeParams
    extract: ExtractParams
    split: SplitParams
    train: TrainParams
    sets: dict[Name, SetParams]
    embed: EmbedParams
    probe: ProbeParams
    report: ReportParams

    def labelled_set(self, name: str) -> SetParams:
        if name not in self.sets:
            raise ConfigError(f"sets.{name}: no such labelled set; there are {', '.join(self.sets)}")
        return self.sets[name]


def load_params(path: Path | str = "params.yaml") -> Params:
    """Read and validate all of params.yaml.

    Raises:
        ConfigError: the file is absent, is no YAML, or holds an unknown or impossible key, which is named.
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; run from the root of the project")
    try:
        values = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: must be a mapping of sections, not {type(values).__name__}")
    return parse_params(values, str(path))


def parse_params(values: dict[str, Any], where: str = "params") -> Params:
    """Validate a mapping as read from params.yaml; `where` begins the error message."""
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        key, problem = _first_error(error)
        raise ConfigError(f"{where}: {key}: {problem}") from error


def _first_error(error: ValidationError) -> tuple[str, str]:
    """The key of the first problem of a pydantic error, what is wrong with it, and how many more problems there are."""
    first = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"] if part != "[key]")  # pydantic's mark of a bad key
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "variant":
        key = f"{key}.{first['ctx']['key']}"
    elif first["type"] == "extra_forbidden":
        message = "unknown key; is it misspelt?"
    elif first["type"] not in ("value_error", "missing"):
        message = f"{message} (it is {first['input']!r})"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return key, message + more
