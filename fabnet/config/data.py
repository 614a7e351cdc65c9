"""Sections about the data: drawing, extracting and splitting them."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from fabnet.config.section import Count, Fraction, ImageSize, Section, Seed, Workers, power_of_two

#: Layouts of clips, each a file of fabnet/video/sources.
Source = Literal[
    "cropped",
    "boxes",
    "folder",
    "voxceleb2",
    "voxceleb2_txt",
    "voxceleb1",
    "voxceleb1_frames",
    "vox_metadata",
    "frames",
]
FOLDER_SOURCES = ("cropped", "boxes", "folder")


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


class DetectionParams(Section):
    """Finding faces in a frame."""

    detector: Literal["haar", "yunet"] = "haar"
    model: Path | None = None
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    every: Count = 5
    longest_side: Annotated[int, Field(ge=64, le=4096)] = 320

    @model_validator(mode="after")
    def _yunet_comes_with_its_file(self) -> "DetectionParams":
        given = self.model is not None and self.sha256 is not None
        if (self.detector == "yunet") != given or (self.model is None) != (self.sha256 is None):
            raise ValueError("`model` and `sha256` name the file of detector yunet, and are null for haar")
        return self


class TrackingParams(Section):
    """Joining detections to tracks, and what a track has to be to be kept."""

    min_overlap: Fraction = 0.3
    max_gap_s: Annotated[float, Field(gt=0)] = 1.0
    smoothing_s: Annotated[float, Field(ge=0, le=5)] = 0.3
    min_found: Fraction = 0.5
    min_side: Annotated[int, Field(ge=1)] = 32
    min_sharpness: Annotated[float, Field(ge=0)] = 0.0


class ExtractParams(Section):
    videos: Path
    source: Source = "cropped"
    clips: Path | None = None
    boxes: Path | None = None
    reference_height: Count = 360
    detection: DetectionParams = DetectionParams()
    tracking: TrackingParams = TrackingParams()
    margin: Annotated[float, Field(ge=-0.4, le=4)] = 0.0
    recrop: Literal["none", "authors"] = "none"
    fps: Annotated[float, Field(gt=0, le=240)] = 1.0
    image_size: ImageSize = 64
    jpeg_quality: Annotated[int, Field(ge=1, le=100)] = 95
    min_frames: Annotated[int, Field(ge=2)] = 2
    clip_limit_s: Annotated[float, Field(gt=0)] = 600
    shard_mb: Count = 256
    engine: Literal["local", "ray"] = "local"
    workers: Workers = 0

    _image_size = field_validator("image_size")(power_of_two)

    @model_validator(mode="after")
    def _tables_come_with_their_source(self) -> "ExtractParams":
        if (self.source == "boxes") != (self.boxes is not None):
            raise ValueError("`boxes` names the table of boxes when `source` is boxes, and is null otherwise")
        if self.clips is not None and self.source not in FOLDER_SOURCES:
            raise ValueError(f"`clips` lists the clips of a source {', '.join(FOLDER_SOURCES)}, not of {self.source}")
        for key, table in (("boxes", self.boxes), ("clips", self.clips)):
            if table is not None and not table.is_relative_to(self.videos):
                # The pipeline depends on `videos` as a whole: a table elsewhere could change unnoticed.
                raise ValueError(f"`{key}` must lie below `videos` ({self.videos}), not at {table}; move it there")
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
