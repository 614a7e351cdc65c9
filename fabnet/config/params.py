"""All of params.yaml."""

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError, model_validator
from pydantic_core import PydanticCustomError

from fabnet.config.baselines import BaselinesParams, SuperviseParams
from fabnet.config.data import ExtractParams, SplitParams, SynthesizeParams
from fabnet.config.evaluation import EmbedParams, ProbeParams, ReportParams, SetParams
from fabnet.config.health import HealthParams
from fabnet.config.reserved import check_reserved
from fabnet.config.retrieval import RetrieveParams
from fabnet.config.section import Name, Section, first_error
from fabnet.config.training import TrainParams
from fabnet.errors import ConfigError


class Params(Section):
    synthesize: SynthesizeParams
    extract: ExtractParams
    split: SplitParams
    health: HealthParams
    train: TrainParams
    sets: dict[Name, SetParams]
    embed: EmbedParams
    baselines: BaselinesParams
    probe: ProbeParams
    supervise: SuperviseParams
    retrieve: RetrieveParams
    report: ReportParams

    @model_validator(mode="after")
    def _names_of_encoders_differ(self) -> "Params":
        for name, chosen in self.sets.items():
            if taken := sorted(chosen.embeddings.keys() & set(self.train.names)):
                problem = "is the name of a trained variant; choose another one"
                key = f"sets.{name}.embeddings.{taken[0]}"
                raise PydanticCustomError("variant", "{problem}", {"key": key, "problem": problem})
        return self

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
    """Validate a mapping as read from params.yaml; `where` begins the error message.

    Raises:
        ConfigError: it holds an unknown, impossible or reserved key, which is named.
    """
    check_reserved(values, where)
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        key, problem = first_error(error)
        raise ConfigError(f"{where}: {key}: {problem}") from error
