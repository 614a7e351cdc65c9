"""All of params.yaml."""

from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from fabnet.config.data import ExtractParams, SplitParams, SynthesizeParams
from fabnet.config.encoders import EncoderParams
from fabnet.config.evaluation import (
    BaselinesParams,
    EmbedParams,
    ProbeParams,
    ReportParams,
    RetrieveParams,
    SuperviseParams,
)
from fabnet.config.health import HealthParams
from fabnet.config.section import Name, Section, check_reserved, first_error
from fabnet.config.sets import RESULT_NAMES, SetParams
from fabnet.config.training import TrainParams
from fabnet.errors import ConfigError, one_line


class Params(Section):
    synthesize: SynthesizeParams = Field(description="the bundled synthetic data: rendered talking faces")
    extract: ExtractParams = Field(description="videos to face crops")
    split: SplitParams = Field(description="identities to training, validation and test")
    health: HealthParams = Field(description="what a batch of crops, or a labelled set, must be like")
    train: TrainParams = Field(description="the networks that are trained")
    sets: dict[Name, SetParams] = Field(description="labelled sets that probes are trained and scored on")
    embed: EmbedParams = Field(description="faces to embeddings")
    baselines: BaselinesParams = Field(description="features that are not learnt from the videos")
    encoders: dict[Name, EncoderParams] = Field(
        description="encoders of others that are probed beside ours, see docs/encoders.md"
    )
    probe: ProbeParams = Field(description="linear probes on frozen embeddings")
    supervise: SuperviseParams = Field(description="a VGG-11 trained from scratch on the labels of a set")
    retrieve: RetrieveParams = Field(description="nearest neighbours by cosine")
    report: ReportParams = Field(description="intervals, comparisons and slices of the report")

    @model_validator(mode="after")
    def _names_of_encoders_differ(self) -> "Params":
        if taken := sorted(RESULT_NAMES & set(self.train.names)):
            group = "variants" if taken[0] in self.train.variants else "finetuned"
            raise _taken(f"train.{group}.{taken[0]}", "a baseline")
        for name, chosen in self.sets.items():
            if taken := sorted(chosen.embeddings.keys() & set(self.train.names)):
                raise _taken(f"sets.{name}.embeddings.{taken[0]}", "a trained variant")
            if taken := sorted(chosen.embeddings.keys() & self.encoders.keys()):
                raise _taken(f"sets.{name}.embeddings.{taken[0]}", "one of `encoders`")
        for owner, names in (("a baseline", RESULT_NAMES), ("a trained variant", set(self.train.names))):
            if taken := sorted(names & self.encoders.keys()):
                raise _taken(f"encoders.{taken[0]}", owner)
        return self

    @model_validator(mode="after")
    def _files_of_encoders_are_seen_to_change(self) -> "Params":
        for name, chosen in self.encoders.items():
            if chosen.file is not None and chosen.sha256 is None:
                raise PydanticCustomError(
                    "variant",
                    "is missing; the pipeline sees {file} change by it (sha256sum FILE; of a model's folder, "
                    "weights_sha256 of model.json)",
                    {"key": f"encoders.{name}.sha256", "file": str(chosen.file)},
                )
        return self

    def labelled_set(self, name: str) -> SetParams:
        if name not in self.sets:
            raise ConfigError(f"sets.{name}: no such labelled set; there are {', '.join(self.sets)}")
        return self.sets[name]


def _taken(key: str, owner: str) -> PydanticCustomError:
    return PydanticCustomError("variant", "is the name of {owner}; choose another one", {"key": key, "owner": owner})


def load_params(path: Path | str = "params.yaml") -> Params:
    """Read and validate all of params.yaml.

    Raises:
        ConfigError: the file is absent, is no YAML, lacks a key, or holds an unknown or impossible one, which is named.
    """
    return parse_params(parse_yaml(read_yaml(path), str(path)), str(path))


def read_yaml(path: Path | str) -> str:
    """The text of a file of the project, with its line ends.

    Raises:
        ConfigError: the file is absent, or is no UTF-8.
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; run from the root of the project")
    try:
        return path.read_bytes().decode()  # not read_text, which would lose the kind of line ends
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8: {error}; save it in this encoding") from None


def parse_yaml(text: str, where: str, loader: type[yaml.SafeLoader] = yaml.SafeLoader) -> dict[str, Any]:
    """The mapping that a YAML text is; `where` begins the error message.

    Args:
        text: of the file.
        where: begins the error message: the file's name.
        loader: PyYAML's, or config.edit.Loader, which knows the tags of profiles.

    Raises:
        ConfigError: it is no YAML, no mapping, or an empty one.
    """
    try:
        values = yaml.load(text, loader)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: 2026-02-30 is no date
        raise ConfigError(f"{where}: not valid YAML: {one_line(error, None)}") from error
    if not isinstance(values, dict) or not values:
        found = "an empty one" if values == {} else type(values).__name__
        raise ConfigError(f"{where}: must be a mapping of sections, not {found}")
    return values


def parse_params(values: dict[str, Any], where: str = "params") -> Params:
    """Validate a mapping as read from params.yaml; `where` begins the error message.

    Args:
        values: sections by name.
        where: begins the error message.

    Raises:
        ConfigError: it lacks a key, or holds an unknown, impossible or reserved one, which is named.
    """
    check_reserved(values, where)
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        key, problem = first_error(error, Params)
        raise ConfigError(f"{where}: {key}: {problem}") from error
