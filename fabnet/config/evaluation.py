"""Sections about what is measured: labelled sets, embeddings, probes and the report."""

from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from fabnet.config.section import Count, Name, Section, Seed

SetKind = Literal["synthetic", "aflw2000", "mafl", "w300", "aflw", "affectnet", "emotionet", "celebv", "table"]

#: Options of `sets.NAME` that every kind has, and those of single kinds.
_COMMON_OPTIONS = ("kind", "path", "seed", "exclude", "embeddings")
_OPTIONS: dict[str, tuple[str, ...]] = {
    "synthetic": (),
    "aflw2000": (),
    "mafl": ("identities",),
    "w300": ("subset", "boxes"),
    "aflw": ("annotation", "test_list", "landmarks"),
    "affectnet": (),
    "emotionet": ("boxes",),
    "celebv": ("labels", "frames", "side"),
    "table": ("labels", "images", "columns", "radians", "negate"),
}
#: Encoders that every set is probed with, and others that results name beside the trained variants.
BASELINES = {"constant", "random", "pca", "hog", "vgg_face", "supervised"}
_FILES = ("exclude", "identities", "boxes", "test_list", "labels", "images")


class SetParams(Section):
    """A labelled set: which reader understands it, where it lies, and options of that reader (docs/labelled-sets.md).

    Files and folders among the options are named below `path`, so that the pipeline sees them change.
    """

    #: The reader that understands it.
    kind: SetKind
    #: The folder of its files.
    path: Path
    #: Of splits by hash, where there are no official ones.
    seed: Seed = 0
    #: Images to leave out, a name a line.
    exclude: Path | None = None
    #: Embeddings made elsewhere, {name: file or folder}, that are probed beside ours.
    embeddings: dict[Name, Path] = Field(default_factory=dict)
    #: mafl: who is on which image.
    identities: Path | None = None
    #: w300: which images are the test set.
    subset: Literal["full", "common", "challenging"] = "full"
    #: w300, emotionet: CSV image,left,top,right,bottom.
    boxes: Path | None = None
    #: aflw: which of its two annotations.
    annotation: Literal["sqlite", "mat"] = "sqlite"
    #: aflw: names of the test images.
    test_list: Path | None = None
    #: aflw: only faces whose five points are all visible, and with them the task landmarks5.
    landmarks: bool = False
    #: celebv, table: the table of labels.
    labels: Path | None = None
    #: celebv: frames of a clip that are used.
    frames: Count = 1
    #: celebv: side of the centred square that is the crop, over the frame's shorter side.
    side: Annotated[float, Field(gt=0, le=1)] = 1.0
    #: table: the folder of its images.
    images: Path = Path(".")
    #: table: our names of columns to those of the table, where they differ.
    columns: dict[str, str] = Field(default_factory=dict)
    #: table: whether angles are in radians.
    radians: bool = False
    #: table: which angles have the other sign.
    negate: list[Literal["roll_deg", "pitch_deg", "yaw_deg"]] = Field(default_factory=list)

    @classmethod
    def default_of(cls, key: str) -> Any:
        return cls.model_fields[key].get_default(call_default_factory=True)

    @model_validator(mode="after")
    def _options_are_of_the_kind(self) -> "SetParams":
        known = (*_COMMON_OPTIONS, *_OPTIONS[self.kind])
        for key in sorted(self.model_fields_set):
            # What says no more than its default is as good as absent: so writes model_dump.
            if key not in known and getattr(self, key) != self.default_of(key):
                has = ", ".join(_OPTIONS[self.kind]) or "none of its own"
                raise ValueError(f"{key} is no option of kind {self.kind}, which has {has}")
        if self.kind == "synthetic" and self.exclude is not None:
            raise ValueError("exclude is no option of kind synthetic")
        if self.kind == "synthetic" and self.embeddings:
            raise ValueError(
                "embeddings is no option of kind synthetic, whose folder a stage writes; use `fabnet probe`"
            )
        if self.kind == "table" and self.labels is None:
            raise ValueError("a set of kind table needs `labels`, the name of its CSV or Parquet file below `path`")
        files = {key: getattr(self, key) for key in _FILES}
        files |= {f"embeddings.{name}": value for name, value in self.embeddings.items()}
        for key, value in files.items():
            if value is not None and (value.is_absolute() or ".." in value.parts):
                raise ValueError(f"{key} must be named below `path`, not {value}")
        if taken := sorted(self.embeddings.keys() & BASELINES):
            raise ValueError(f"embeddings.{taken[0]} is the name of a baseline; choose another one")
        return self


class EmbedParams(Section):
    batch_size: Count = 256


class ProbeParams(Section):
    seeds: Annotated[int, Field(ge=1, le=100)] = 5
    epochs: Count = 200
    batch_size: Annotated[int, Field(ge=2)] = 64
    learning_rate: Annotated[float, Field(gt=0)] = 0.001
    validation_every: Count = 1
    #: Shares of the training faces that the curves with few labels are made of.
    shares: list[Annotated[float, Field(gt=0, lt=1)]] = Field(default_factory=list)
    ridge_alphas: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1)]
    logistic_cs: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1)]

    @field_validator("shares")
    @classmethod
    def _different(cls, shares: list[float]) -> list[float]:
        if len(set(shares)) < len(shares):
            raise ValueError("names a share twice")
        return shares


class SlicesParams(Section):
    """Bins of faces that are scored by themselves: edges, in ascending order, from one edge up to the next."""

    yaw_deg: Annotated[tuple[float, ...], Field(min_length=2)] = (0, 15, 30, 45, 60, 180)
    side_px: Annotated[tuple[float, ...], Field(min_length=2)] = (1, 32, 64, 128, 256, 512, 100_000)
    brightness: Annotated[tuple[float, ...], Field(min_length=2)] = (0, 64, 96, 128, 160, 192, 256)
    #: A bin with fewer faces, or identities, is not scored.
    min_faces: Count = 20
    min_identities: Annotated[int, Field(ge=2)] = 5

    @field_validator("yaw_deg", "side_px", "brightness")
    @classmethod
    def _ascending(cls, edges: tuple[float, ...]) -> tuple[float, ...]:
        if any(high <= low for low, high in pairwise(edges)):
            raise ValueError("edges must ascend")
        return edges


class ReportParams(Section):
    seed: Seed = 0
    bootstrap: Annotated[int, Field(ge=100)] = 1000
    #: The encoder that all others are compared with on the same faces; None: the first variant.
    reference: Name | None = None
    #: The page of an experiment on an MLflow server, HTTPS://HOST/#/experiments/ID; the report then links its runs.
    runs: Annotated[str, Field(pattern=r"^https?://[^\s()<>?]+#/experiments/\d+$")] | None = None
    slices: SlicesParams = SlicesParams()
