"""The section `sets`: the labelled sets that probes are trained and scored on."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

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
    "table": ("labels", "images", "columns", "boxes", "exif", "radians", "negate"),
}
#: Names in the results of every set, which no variant and no embedding may have: baselines and the supervised network.
RESULT_NAMES = {"constant", "random", "pca", "hog", "vgg_face", "vgg11"}
_UNITS = ("pixels", "fraction", "percent")
_FILES = ("exclude", "identities", "boxes", "test_list", "labels", "images")


class SetParams(Section):
    """A labelled set: which reader understands it, where it lies, and options of that reader (docs/labelled-sets.md).

    Files and folders among the options are named below `path`, so that the pipeline sees them change.
    """

    kind: SetKind = Field(description="the reader, a file of fabnet/attributes")
    path: Path = Field(description="folder of the set's files")
    seed: Seed = Field(0, description="seed of the splits by hash, where there are no official ones")
    exclude: Path | None = Field(None, description="file of images to leave out, one name per line")
    embeddings: dict[Name, Path] = Field(
        default_factory=dict,
        description="embeddings made elsewhere that are probed beside ours: `{name: file or folder}`",
    )
    identities: Path | None = Field(None, description="mafl: file that says who is on which image")
    subset: Literal["full", "common", "challenging"] = Field(
        "full", description="w300: the images that are the test set"
    )
    boxes: Path | None = Field(
        None,
        description="w300, emotionet: CSV with columns image, left, top, right, bottom; table: the unit of its boxes, "
        "`pixels`, `fraction` or `percent` of the image. null: of the table, pixels, unless they do not look so",
    )
    exif: Literal["apply", "ignore"] = Field(
        "apply",
        description="table: what boxes and landmarks are about: images as viewers show them, turned as their EXIF "
        "orientation says, or (`ignore`) pixels as they are stored",
    )
    annotation: Literal["sqlite", "mat"] = Field("sqlite", description="aflw: which of its two annotations is read")
    test_list: Path | None = Field(None, description="aflw: file with the names of the test images")
    landmarks: bool = Field(
        False, description="aflw: only faces whose five points are all visible, and the task landmarks5 with them"
    )
    labels: Path | None = Field(None, description="celebv, table: the table of labels")
    frames: Count = Field(1, description="celebv: frames used of each clip; 1: the middle one")
    side: float = Field(
        1.0, gt=0, le=1, description="celebv: side of the centred square crop, over the frame's shorter side"
    )
    images: Path = Field(Path("."), description="table: folder of its images")
    columns: dict[str, str] = Field(
        default_factory=dict, description="table: columns with other names: `{our name: name in the table}`"
    )
    radians: bool = Field(False, description="table: angles are in radians")
    negate: list[Literal["roll_deg", "pitch_deg", "yaw_deg"]] = Field(
        default_factory=list, description="table: angles with the opposite sign"
    )

    @classmethod
    def default_of(cls, key: str) -> Any:
        return cls.model_fields[key].get_default(call_default_factory=True)

    @model_validator(mode="after")
    def _options_are_of_the_kind(self) -> "SetParams":
        known = (*_COMMON_OPTIONS, *_OPTIONS[self.kind])
        for key in sorted(self.model_fields_set):
            # An option that equals its default is as good as absent: model_dump writes all of them.
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
        if self.kind == "table" and self.boxes is not None and str(self.boxes) not in _UNITS:
            raise ValueError(f"boxes of a set of kind table is the unit of its boxes, {', '.join(_UNITS)}")
        files = {key: getattr(self, key) for key in _FILES}
        files |= {f"embeddings.{name}": value for name, value in self.embeddings.items()}
        for key, value in files.items():
            if value is not None and (value.is_absolute() or ".." in value.parts):
                raise ValueError(f"{key} must be named below `path`, not {value}")
        if taken := sorted(self.embeddings.keys() & RESULT_NAMES):
            raise ValueError(f"embeddings.{taken[0]} is the name of a baseline; choose another one")
        return self
