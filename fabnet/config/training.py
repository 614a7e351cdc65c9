"""The section `train`: common values and the variants that override them."""

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from fabnet.config.section import Count, Name, Section, Seed, first_error
from fabnet.errors import ConfigError


class CurriculumParams(Section):
    """Which samples of a batch are learnt from: a window of percentiles of their losses that moves to harder ones."""

    width: Annotated[int, Field(ge=1, le=100)] = 50
    shift: Annotated[int, Field(ge=1, le=100)] = 10
    shifts: Annotated[int, Field(ge=0, le=99)] = 4
    patience: Count = 5
    longest: Count | None = None

    @model_validator(mode="after")
    def _ends_within_the_batch(self) -> "CurriculumParams":
        last = self.width + self.shift * self.shifts
        if last > 100:
            raise ValueError(f"width + shift * shifts must be at most 100 percent, not {last}")
        return self


class VariantParams(Section):
    """One trained model: `train.common` overlaid with `train.variants.<name>`."""

    objective: Literal["fabnet", "autoencoder"] = "fabnet"
    sources: Annotated[int, Field(ge=1, le=16)] = 1
    start_from: Name | None = None
    freeze: tuple[Literal["encoder", "flow_decoder"], ...] = ()
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
    schedule: Literal["linear", "step", "plateau"] = "linear"
    drop_at: Annotated[float, Field(gt=0, le=1)] = 0.7
    patience: Count = 5
    curriculum: CurriculumParams | None = None
    flip: bool = True
    jitter: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    precision: Literal["bf16", "fp32"] = "bf16"
    decoder: Literal["direct", "factored"] = "direct"
    checkpoint_every: Count
    workers: Annotated[int, Field(ge=0, le=64)] = 1
    cache_mb: Annotated[int, Field(ge=0)] = 2048
    corrupt_limit: Annotated[int, Field(ge=0)] = 10
    processes: Annotated[int, Field(ge=1, le=64)] = 1
    sync_batch_norm: bool = False
    compile: bool = False

    @model_validator(mode="after")
    def _keys_agree(self) -> "VariantParams":
        if self.objective != "fabnet" and (self.sources > 1 or self.freeze):
            raise ValueError(f"`sources` and `freeze` are for objective fabnet, not {self.objective}")
        if self.freeze and self.start_from is None:
            raise ValueError("`freeze` keeps weights of the variant in `start_from`, which is null")
        if self.batch_size < 2 * self.processes:
            raise ValueError(f"`batch_size` {self.batch_size} is less than two for each of {self.processes} processes")
        return self


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
                key, problem = first_error(error)
                where = f"variants.{name}" if not key or key.partition(".")[0] in overrides else "common"
                context = {"key": f"{where}.{key}".rstrip("."), "problem": problem}
                raise PydanticCustomError("variant", "{problem}", context) from error
        self._check_starts()
        return self

    def _check_starts(self) -> None:
        """Every `start_from` names another variant, and following them ends."""
        for name in self.variants:
            seen = [name]
            while (start := self.variant(seen[-1]).start_from) is not None:
                problem = ""
                if start not in self.variants:
                    problem = f"no such variant as {start}; there are {', '.join(self.variants)}"
                elif start in seen:
                    problem = f"variants start from each other in a circle: {' <- '.join([*seen, start])}"
                if problem:
                    context = {"key": f"variants.{seen[-1]}.start_from", "problem": problem}
                    raise PydanticCustomError("variant", "{problem}", context)
                seen.append(start)

    def variant(self, name: str) -> VariantParams:
        if name not in self.variants:
            raise ConfigError(f"train.variants.{name}: no such variant; there are {', '.join(self.variants)}")
        return VariantParams.model_validate(self.common | self.variants[name])
