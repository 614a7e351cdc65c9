"""The section `train`: common values and the variants that override them."""

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from fabnet.config.section import Count, Name, Section, Seed, first_error
from fabnet.errors import ConfigError


class CurriculumParams(Section):
    """Which samples of a batch are learnt from: a window of percentiles of their losses that moves to harder ones."""

    width: int = Field(50, ge=1, le=100, description="width of the window, percent of the batch")
    shift: int = Field(10, ge=1, le=100, description="percent by which the window moves at a time")
    shifts: int = Field(4, ge=0, le=99, description="how often it moves; width + shift * shifts is at most 100")
    patience: Count = Field(5, description="validations without improvement after which it moves")
    longest: Count | None = Field(None, description="samples after which it moves in any case; null: never")

    @model_validator(mode="after")
    def _ends_within_the_batch(self) -> "CurriculumParams":
        last = self.width + self.shift * self.shifts
        if last > 100:
            raise ValueError(f"width + shift * shifts must be at most 100 percent, not {last}")
        return self


class CopyingParams(Section):
    """When a run says that it still copies: that it shows the source unchanged, and has learnt nothing of faces."""

    share: float = Field(ge=0, lt=1, description="fabnet: the least share of the loss of copying to be taken off it")
    at: float = Field(gt=0, le=1, description="share of the budget after which a run that takes off less says so")


class VariantParams(Section):
    """One trained model: `train.common` overlaid with `train.variants.<name>`."""

    objective: Literal["fabnet", "autoencoder", "rotation", "split_brain"] = Field(description="what is learnt")
    sources: int = Field(ge=1, le=16, description="fabnet: source frames per target frame")
    views: Annotated[int, Field(ge=2, le=16)] | None = Field(
        description="fabnet: frames per sample, each of which is made from the others (decision 16); "
        "null: one target and its sources"
    )
    flow_stride: Literal[1, 2, 4] = Field(
        description="fabnet: the decoders' maps are so many times smaller than the frame, and are upsampled"
    )
    shared_decoder: bool = Field(description="fabnet, several sources: flow and confidence are channels of one decoder")
    histograms: float = Field(
        ge=0,
        le=100,
        description="fabnet with `views`: weight of what embeddings have to tell of orientation histograms, beside the "
        "loss of the warp (decision 30); 0: nothing",
    )
    coordinates: Literal["trained", "movement"] = Field(
        description="fabnet: of embeddings; movement: after training, those in which directions count by how much "
        "faces move along them within tracks and how little people differ (decision 31)"
    )
    start_from: Name | None = Field(
        description="of `finetuned`: the variant whose weights are the initial ones; null: none"
    )
    freeze: tuple[Literal["encoder", "flow_decoder"], ...] = Field(
        description="of `finetuned`: parts of the network whose weights do not change"
    )
    seed: Seed = Field(description="seed of the initial weights, the pairs and the random crops")
    base_filters: Count = Field(description="channels of the first convolution (the paper: 32)")
    embedding_dim: Count = Field(description="dimension of an embedding")
    samples: Count = Field(description="the training budget: samples seen, each of one target frame or of `views`")
    batch_size: int = Field(ge=2, description="samples per step, over all processes")
    validation_every: Count = Field(description="samples between validations")
    validation_samples: int = Field(ge=2, description="samples of a validation")
    optimiser: Literal["adam", "sgd", "muon"] = Field(
        description="the optimiser; muon leaves what is no convolution to Adam"
    )
    learning_rate: float = Field(
        gt=0, le=10, description="initial learning rate; muon: of convolutions, a tenth of it of what is left to Adam"
    )
    momentum: float = Field(ge=0, lt=1, description="momentum of sgd")
    warm_up: float = Field(
        ge=0, lt=1, description="fraction of the budget in which the learning rate rises to its value"
    )
    schedule: Literal["linear", "step", "plateau"] = Field(
        description="linear: down to zero; step: divided by 10 at `drop_at`; plateau: divided by 10 when validation "
        "stops improving"
    )
    drop_at: float = Field(gt=0, le=1, description="step: fraction of the budget after which the learning rate drops")
    patience: Count = Field(description="plateau: validations without improvement")
    curriculum: CurriculumParams | None = Field(
        description="learn from a window of a batch's losses that moves to harder samples; `{}`: a window with its "
        "defaults; null: learn from all samples"
    )
    copying: CopyingParams = Field(description="when a run says that it still copies")
    flip: bool = Field(description="mirror all frames of a sample, half of the time")
    jitter: float = Field(
        ge=0, le=0.5, description="random crop: up to this fraction of the side is cut off, differently for each frame"
    )
    turn: float = Field(
        ge=0, le=180, description="random turn: each frame by up to so many degrees to either side, differently"
    )
    precision: Literal["bf16", "fp32"] = Field(
        description="bf16 is faster where the processor or GPU has it, and much slower where not (decision 17)"
    )
    decoder: Literal["direct", "factored"] = Field(
        description="direct: upsampling, then convolution; factored: the same function as matrix products, faster on "
        "CPUs and on the GPU it was measured on"
    )
    checkpoint_every: Count = Field(description="samples between checkpoints, from which an interrupted run resumes")
    workers: int = Field(ge=0, le=64, description="threads that read and decode ahead of the network")
    cache_mb: int = Field(ge=0, description="memory for decoded frames, MiB; others are decoded every time")
    resident_gib: float = Field(
        ge=0,
        description="GPU: memory of the card for all decoded frames, GiB; if they do not fit, they are read ahead as "
        "on a CPU",
    )
    nvjpeg: bool = Field(
        description="GPU: decode there, which needs torchvision; pixels differ from the CPU's by rounding"
    )
    cuda_graph: bool = Field(description="GPU: replay each step as one CUDA graph, with the same losses")
    corrupt_limit: int = Field(ge=0, description="frames that cannot be decoded are replaced, up to so many")
    threads: int = Field(
        ge=0,
        le=1024,
        description="CPU threads per process; 0: all cores, and results that depend on how many there are",
    )
    processes: int = Field(ge=1, le=64, description="data-parallel processes on this machine: one per GPU")
    sync_batch_norm: bool = Field(description="several processes: batch normalisation over all of them")
    compile: bool = Field(description="use torch.compile")
    deterministic: bool = Field(
        description="GPU: the same weights bit for bit in every run on the same card and versions, in slower steps; a "
        "CPU's are the same either way"
    )

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
        if self.coordinates != "trained" and self.objective != "fabnet":
            raise ValueError(f"`coordinates` other than trained are for objective fabnet, not {self.objective}")
        if self.histograms and (self.objective != "fabnet" or self.views is None):
            raise ValueError(
                "`histograms` compares the `views` of a sample, for objective fabnet: set `views`, or `histograms` to 0"
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
    """The variants: `variants` start from random weights, `finetuned` from those of the variant in `start_from`.

    They are two mappings because a stage of the latter depends on another model.
    """

    common: dict[str, Any] = Field(description="values that every variant has unless it overrides them")
    variants: Annotated[dict[Name, dict[str, Any]], Field(min_length=1)] = Field(
        description="variants trained from random weights: any key of `train.common`"
    )
    finetuned: dict[Name, dict[str, Any]] = Field(
        description="variants initialised with the weights of another one, which `start_from` names: any key of "
        "`train.common`"
    )

    @model_validator(mode="after")
    def _every_variant_is_valid(self) -> "TrainParams":
        for name in self._written_names:
            group, overrides = self._written(name)
            try:
                params = VariantParams.model_validate(self.common | overrides)
            except ValidationError as error:
                # Name the place where the user wrote the key, not where the overlay put it.
                key, problem = first_error(error, VariantParams)
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
            raise _invalid(
                f"finetuned.{min(both)}", "is also the name of a variant in train.variants; choose another one"
            )
        self._check_starts()
        return self

    def _check_starts(self) -> None:
        """Every `start_from` names another variant, and following them ends."""
        for name in self.finetuned:
            seen = [name]
            while (start := self.variant(seen[-1]).start_from) is not None:
                problem = ""
                if start not in self._written_names:
                    problem = f"no such variant as {start}; there are {', '.join(self._written_names)}"
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
        if (own.histograms > 0) != (other.histograms > 0):
            raise _invalid(
                f"finetuned.{name}.histograms",
                f"is {own.histograms:g}, but {start}, whose weights it begins with, has {other.histograms:g}: both or "
                "neither must be above 0",
            )

    @property
    def names(self) -> list[str]:
        """Of all variants: those of `variants` in their order, each before the ones that start from it."""
        return [each for name in self.variants for each in self._line(name)]

    def lines(self) -> list[list[str]]:
        """The variants in lines that can train at once: each begins with random weights and goes on with the variants
        that start from it, in an order in which each has what it starts from. The longest comes first."""
        return sorted(map(self._line, self.variants), key=len, reverse=True)

    def _line(self, name: str) -> list[str]:
        followers = [other for other in self.finetuned if self.variant(other).start_from == name]
        return [name, *(each for follower in followers for each in self._line(follower))]

    def variant(self, name: str) -> VariantParams:
        if name not in self._written_names:
            raise ConfigError(f"train.variants.{name}: no such variant; there are {', '.join(self._written_names)}")
        return VariantParams.model_validate(self.common | self._written(name)[1])

    @property
    def _written_names(self) -> list[str]:
        return [*self.variants, *self.finetuned]

    def _written(self, name: str) -> tuple[str, dict[str, Any]]:
        """The section that a variant is written in, and what it says there."""
        return ("variants", self.variants[name]) if name in self.variants else ("finetuned", self.finetuned[name])


def _invalid(key: str, problem: str) -> PydanticCustomError:
    return PydanticCustomError("variant", "{problem}", {"key": key, "problem": problem})
