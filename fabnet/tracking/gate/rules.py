"""gates.yaml: on which metrics a challenger must not be worse than the champion, and by how much it may be."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from fabnet.errors import ConfigError, one_line
from fabnet.probing.metrics import AUC_TASKS, METRICS

#: Task that each metric of metrics.json scores.
TASK_OF = {metric: task for task, metrics in METRICS.items() for metric in metrics}


class GatesError(ConfigError):
    """gates.yaml or verify.yaml asks for something unknown or impossible. The message names the key."""

    exit_code = 1  # 2 is a regression


@dataclass(frozen=True)
class Loss:
    """What a challenger is forgiven: `amount` in the metric's unit or, where `relative`, in percent of the champion."""

    amount: float
    relative: bool

    def in_units(self, champion: float) -> float:
        return self.amount * champion / 100 if self.relative else self.amount

    def __str__(self) -> str:
        return f"{self.amount:g} %" if self.relative else f"{self.amount:g}"


def _loss(value: Any) -> Any:
    """`1 %` or `0.2`, not negative."""
    text = str(value).strip()
    number = text.removesuffix("%").strip()
    try:
        amount = float(number)
    except ValueError:
        amount = float("nan")
    if isinstance(value, bool) or not 0 <= amount < float("inf"):
        raise ValueError("must be a number that is not negative, in the metric's unit, or in percent such as `1 %`")
    return Loss(amount, relative=text.endswith("%"))


class Strict(BaseModel):
    """What rules are made of: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True, allow_inf_nan=False)


Rules = TypeVar("Rules", bound=Strict)


class Gate(Strict):
    """One metric on one labelled set.

    Attributes:
        direction: which way is better.
        allowed_loss: a challenger is worse only beyond it.
        floor: what a challenger must reach whatever the champion does; None for nothing.
    """

    set: Annotated[str, Field(min_length=1)]
    metric: str
    direction: Literal["lower", "higher"]
    allowed_loss: Annotated[Loss, BeforeValidator(_loss)]
    floor: float | None = None

    @property
    def sign(self) -> int:
        """1 where more means worse, -1 where less does."""
        return 1 if self.direction == "lower" else -1

    @model_validator(mode="after")
    def _known(self) -> "Gate":
        if self.metric not in TASK_OF:
            raise ValueError(f"metric: no such metric as {self.metric}; there are {', '.join(TASK_OF)}")
        better = "higher" if TASK_OF[self.metric] in AUC_TASKS else "lower"
        if self.direction != better:
            raise ValueError(f"direction: {self.direction} {self.metric} is not better; write {better}")
        return self


class Gates(Strict):
    """All of gates.yaml.

    Attributes:
        encoder: of metrics.json whose scores are compared between commits.
        confidence: that a challenger which equals the champion passes, over all gates together.
        below_copying_pct: how far below the loss of copying the validation loss of a challenger must be, in percent of
            it; None for no such rule. Models whose objective knows no copying are not held to it.
    """

    encoder: Annotated[str, Field(min_length=1)]
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.97
    resamples: Annotated[int, Field(ge=100)] = 1000
    seed: Annotated[int, Field(ge=0)] = 0
    below_copying_pct: Annotated[float, Field(ge=0, lt=100)] | None = None
    gates: Annotated[tuple[Gate, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _each_once(self) -> "Gates":
        seen = set()
        for gate in self.gates:
            if (gate.set, gate.metric) in seen:
                raise ValueError(f"{gate.metric} of set {gate.set} has two gates")
            seen.add((gate.set, gate.metric))
        return self

    @property
    def sets(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(gate.set for gate in self.gates))

    def tasks(self, set_name: str) -> tuple[str, ...]:
        """The tasks of a set that any gate asks for."""
        return tuple(dict.fromkeys(TASK_OF[gate.metric] for gate in self.gates if gate.set == set_name))


def read_gates(path: Path | str = "gates.yaml") -> Gates:
    """Read and validate gates.yaml.

    Raises:
        GatesError: the file is absent, is no YAML, or holds an unknown or impossible key, which is named.
    """
    return read_rules(path, Gates, "it says on which metrics a model must not get worse (docs/gate.md)")


def read_rules(path: Path | str, kind: type[Rules], purpose: str) -> Rules:
    """Read and validate a file of rules; `purpose` is what is told where it is absent.

    Args:
        path: of the YAML file.
        kind: the rules that it holds.
        purpose: what the file is for, said where it is absent.

    Raises:
        GatesError: the file is absent, is no YAML, or holds an unknown or impossible key, which is named.
    """
    path = Path(path)
    if not path.is_file():
        raise GatesError(f"{path}: no such file; {purpose}")
    try:
        values = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise GatesError(f"{path}: not valid YAML: {one_line(error, None)}") from None
    if not isinstance(values, dict):
        keys = " and ".join(name for name, field in kind.model_fields.items() if field.is_required())
        raise GatesError(f"{path}: must be a mapping with {keys}, not {type(values).__name__}")
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"] if part != "[key]")
        message = first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            message = "unknown key; is it misspelt?"
        elif first["type"] not in ("value_error", "missing"):
            message += f" (it is {first['input']!r})"
        raise GatesError(f"{path}: {key + ': ' if key else ''}{message}") from None
