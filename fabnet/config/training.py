"""The section `train`: common values and the variants that override them."""

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from fabnet.config.section import Count, Name, Section, Seed, first_error
from fabnet.errors import ConfigError


class CurriculumParams(Section):
    """Which samples of a batch are learnt from: a window of percentiles of their losses that moves to harder ones."""

    #: Of the window, in percent of the batch.
    width: Annotated[int, Field(ge=1, le=100)] = 50
    #: By how many percent the window moves at a time.
    shift: Annotated[int, Field(ge=1, le=100)] = 10
    #: How often it moves; width + shift * shifts is at most 100.
    shifts: Annotated[int, Field(ge=0, le=99)] = 4
    #: Validations without improvement after which it moves.
    patience: Count = 5
    #: Samples after which it moves in any case.
    longest: Count | None = None

    @model_validator(mode="after")
    def _ends_within_the_batch(self) -> "CurriculumParams":
        last = self.width + self.shift * self.shifts
        if last > 100:
            raise ValueError(f"width + shift * shifts must be at most 100 percent, not {last}")
        return self


class VariantParams(Section):
    """One trained model: `train.common` overlaid with `train.variants.<name>`."""

    objective: Literal["fabnet", "autoencoder", "rotation", "split_brain"] = "fabnet"
    sources: Annotated[int, Field(ge=1, le=16)] = 1
    #: Frames of a sample, each of which is made from the others; None: one target and its sources.
    views: Annotated[int, Field(ge=2, le=16)] | None = None
    #: Sides of the frame and of the decoders' maps, as a ratio.
    flow_stride: Literal[1, 2, 4] = 1
    #: Flow and confidence are channels of one decoder.
    shared_decoder: bool = False
    start_from: Name | None = None
    freeze: tuple[Literal["encoder", "flow_decoder"], ...] = ()
    seed: Seed = 0
    base_filters: Count = 16
    embedding_dim: Count = 256
    samples: Count
    batch_size: Annotated[int, Field(ge=2)]
    validation_every: Count
    validation_samples: Annotated[int, Field(ge=2)]
    optimiser: Literal["adam", "sgd", "muon"] = "adam"
    learning_rate: Annotated[float, Field(gt=0, le=10)]
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    #: Share of the budget in which the learning rate rises to its value.
    warm_up: Annotated[float, Field(ge=0, lt=1)] = 0.0
    schedule: Literal["linear", "step", "plateau"] = "linear"
    drop_at: Annotated[float, Field(gt=0, le=1)] = 0.7
    patience: Count = 5
    curriculum: CurriculumParams | None = None
    flip: bool = True
    jitter: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    precision: Literal["bf16", "fp32"] = "fp32"
    decoder: Literal["direct", "factored"] = "direct"
    checkpoint_every: Count
    workers: Annotated[int, Field(ge=0, le=64)] = 1
    cache_mb: Annotated[int, Field(ge=0)] = 2048
    corrupt_limit: Annotated[int, Field(ge=0)] = 10
    threads: Annotated[int, Field(ge=0, le=1024)] = 1
    processes: Annotated[int, Field(ge=1, le=64)] = 1
    sync_batch_norm: bool = False
    compile: bool = False

    @model_validator(mode="after")
    def _keys_agree(self) -> "VariantParams":
        if self.objective != "fabnet" and (self.sources > 1 or self.freeze):
            raise ValueError(f"`sources` and `freeze` are for objective fabnet, not {self.objective}")
        if self.objective == "split_brain" and (self.base_filters % 2 or self.embedding_dim % 2):
            raise ValueError("split_brain halves `base_filters` and `embedding_dim`: both must be even")
        if self.objective != "fabnet" and (self.views or self.flow_stride > 1 or self.shared_decoder):
            raise ValueError(
                f"`views`, `flow_stride` and `shared_decoder` are for objective fabnet, not {self.objective}"
            )
        if self.views is not None and self.sources > 1 and self.views != self.sources + 1:
            raise ValueError(
                f"`views` {self.views}: each is made from all others, so that with {self.sources} sources there are "
                f"{self.sources + 1}, or null for one target"
            )
        if self.views is not None and self.curriculum is not None:
            raise ValueError("`curriculum` ranks samples of one target: with it, `views` must be null")
        if self.shared_decoder and "flow_decoder" in self.freeze:
            raise ValueError("`shared_decoder` makes the confidence, too: `freeze` cannot keep its flow alone")
        if self.objective == "split_brain" and self.optimiser == "muon":
            raise ValueError("the grouped convolutions of split_brain are no matrices for `optimiser` muon; take adam")
        if self.optimiser == "muon" and (self.base_filters < 4 or self.embedding_dim < 8):
            raise ValueError(
                "`optimiser` muon needs `base_filters` >= 4 and `embedding_dim` >= 8 for matrices; take adam"
            )
        if self.freeze and self.start_from is None:
            raise ValueError("`freeze` keeps weights of the variant in `start_from`, which is null")
        if self.batch_size < 2 * self.processes:
            raise ValueError(f"`batch_size` {self.batch_size} is less than two for each of {self.processes} processes")
        return self


class TrainParams(Section):
    """The variants: `variants` begin with drawn weights, `finetuned` with those of the variant in `start_from`.

    They stand apart since a stage of the latter depends on another model.
    """

    common: dict[str, Any]
    variants: Annotated[dict[Name, dict[str, Any]], Field(min_length=1)]
    finetuned: dict[Name, dict[str, Any]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _every_variant_is_valid(self) -> "TrainParams":
        for name in self.names:
            group, overrides = self._written(name)
            try:
                params = VariantParams.model_validate(self.common | overrides)
            except ValidationError as error:
                # Name the place where the user wrote the key, not where the overlay put it.
                key, problem = first_error(error)
                where = f"{group}.{name}" if not key or key.partition(".")[0] in overrides else "common"
                raise _invalid(f"{where}.{key}".rstrip("."), problem) from error
            if (params.start_from is None) == (group == "finetuned"):
                problem = (
                    "a variant that starts from another one belongs in train.finetuned"
                    if group == "variants"
                    else "must name the variant to begin with; without one, a variant belongs in train.variants"
                )
                raise _invalid(f"{group}.{name}.start_from", problem)
        if both := self.variants.keys() & self.finetuned.keys():
            raise _invalid(f"finetuned.{min(both)}", "is the name of another one in train.variants, too")
        self._check_starts()
        return self

    def _check_starts(self) -> None:
        """Every `start_from` names another variant, and following them ends."""
        for name in self.finetuned:
            seen = [name]
            while (start := self.variant(seen[-1]).start_from) is not None:
                problem = ""
                if start not in self.names:
                    problem = f"no such variant as {start}; there are {', '.join(self.names)}"
                elif start in seen:
                    problem = f"variants start from each other in a circle: {' <- '.join([*seen, start])}"
                if problem:
                    raise _invalid(f"finetuned.{seen[-1]}.start_from", problem)
                self._check_shapes(seen[-1], start)
                seen.append(start)

    def _check_shapes(self, name: str, start: str) -> None:
        """Weights fit a network of the same shape alone; a confidence decoder may be added."""
        own, other = self.variant(name), self.variant(start)
        for key in ("objective", "base_filters", "embedding_dim", "flow_stride", "shared_decoder"):
            if getattr(own, key) != getattr(other, key):
                raise _invalid(
                    f"finetuned.{name}.{key}",
                    f"is {getattr(own, key)}, but {start}, whose weights it begins with, has {getattr(other, key)}",
                )

    @property
    def names(self) -> list[str]:
        """Of all variants, in the order of params.yaml."""
        return [*self.variants, *self.finetuned]

    def rounds(self) -> list[list[str]]:
        """The variants in rounds: those of a round may be trained side by side once the rounds before are done.

        Each is in the last round that lets the others begin, so that rounds which keep others waiting are short.
        """

        def followed_by(name: str) -> int:
            followers = [other for other in self.finetuned if self.variant(other).start_from == name]
            return max((1 + followed_by(other) for other in followers), default=0)

        waiting = {name: followed_by(name) for name in self.names}
        return [[name for name in waiting if waiting[name] == left] for left in range(max(waiting.values()), -1, -1)]

    def variant(self, name: str) -> VariantParams:
        if name not in self.names:
            raise ConfigError(f"train.variants.{name}: no such variant; there are {', '.join(self.names)}")
        return VariantParams.model_validate(self.common | self._written(name)[1])

    def _written(self, name: str) -> tuple[str, dict[str, Any]]:
        """The section that a variant is written in, and what it says there."""
        return ("variants", self.variants[name]) if name in self.variants else ("finetuned", self.finetuned[name])


def _invalid(key: str, problem: str) -> PydanticCustomError:
    return PydanticCustomError("variant", "{problem}", {"key": key, "problem": problem})
