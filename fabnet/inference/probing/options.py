"""The options of `fabnet probe` as the params of a set, of probes and of a report, checked as params.yaml is."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from fabnet.config import ProbeParams, ReportParams, SetParams
from fabnet.config.section import Section, first_error
from fabnet.errors import ConfigError, UserError
from fabnet.files import hash_file
from fabnet.inference.model import open_model
from fabnet.probing.origin import require_weights
from fabnet.probing.outside import Outside

#: The values of `probe` in params.yaml, for people who have none.
PROBE: dict[str, Any] = {
    "seeds": 5,
    "epochs": 200,
    "validation_every": 5,
    "batch_size": 256,
    "learning_rate": 0.01,
    "ridge_alphas": [1, 10, 100, 1000],
    "logistic_cs": [0.001, 0.03, 1],
}

Params = TypeVar("Params", bound=Section)


def probe_params(**options: Any) -> ProbeParams:
    return _valid(ProbeParams, {**PROBE, **options})


def report_params(bootstrap: int, seed: int) -> ReportParams:
    return _valid(ReportParams, {"bootstrap": bootstrap, "seed": seed})


def labels_params(
    labels: Path, columns: Mapping[str, str], images: Path, radians: bool, negate: list[str], seed: int
) -> SetParams:
    """A table of labels as a set of kind `table`."""
    options = {"columns": dict(columns), "images": images, "radians": radians, "negate": negate, "seed": seed}
    return _valid(SetParams, {"kind": "table", "path": labels.parent, "labels": labels.name, **options})


def require_made_by(embeddings: Mapping[str, Outside], model: Path | None, weights: Path | None) -> None:
    """Refuse embeddings that a model, or a file of weights, did not make. Neither: nothing is refused.

    Raises:
        UserError: other weights or another crop recipe; or the model is not whole.
    """
    if model is not None:
        made = open_model(model)
        for each in embeddings.values():
            require_weights(each.origin, made.weights_sha256, made.recipe["hash"], each.path, model)
    if weights is not None:
        if not weights.is_file():
            raise UserError(f"{weights}: no such file")
        sha256 = hash_file(weights)
        for each in embeddings.values():
            require_weights(each.origin, sha256, None, each.path, weights)


def _valid(section: type[Params], values: dict[str, Any]) -> Params:
    try:
        return section.model_validate(values)
    except ValidationError as error:
        key, problem = first_error(error)
        raise ConfigError(f"--{key.replace('_', '-')}: {problem}" if key else problem) from None
