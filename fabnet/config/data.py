"""Sections about the data: rendering videos, extracting crops and splitting identities."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from fabnet.config.section import Count, Fraction, ImageSize, Section, Seed, Sha256, Workers, power_of_two

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
#: Those whose pictures show one face already, of which the centred square is taken.
CROPPED_SOURCES = ("cropped", "voxceleb2", "voxceleb1_frames", "frames")
#: Those whose faces are looked for; all others come with boxes.
DETECTED_SOURCES = ("folder",)

#: Values of `extract` where there is no params.yaml: those of the committed one, which a test compares.
STANDALONE: dict[str, Any] = {
    "source": "cropped",
    "clips": None,
    "boxes": None,
    "reference_height": 360,
    "detection": {"detector": "blazeface", "model": None, "sha256": None, "every": 5, "longest_side": None},
    "tracking": {
        "min_overlap": 0.3,
        "max_gap_s": 1.0,
        "smoothing_s": 0.3,
        "min_found": 0.5,
        "min_side": 32,
        "min_sharpness": 0.0,
    },
    "margin": 0.0,
    "crop": "upright",
    "recrop": "none",
    "mesh": "auto",
    "fps": 1.0,
    "image_size": 64,
    "jpeg_quality": 95,
    "min_frames": 2,
    "max_damaged": 0.1,
    "clip_limit_s": 600,
    "shard_mb": 256,
    "engine": "local",
    "workers": 0,
}


class SyntheticVideos(Section):
    """The rendered videos that the networks learn from."""

    identities: Count = Field(description="number of people; each has one video")
    seconds: float = Field(gt=0, description="length of a video, seconds")
    fps: float = Field(
        gt=0, le=60, description="frames per second; the rate at which `extract` samples, so that every frame is used"
    )


class SyntheticFaces(Section):
    """The rendered labelled faces; their identities are none of those of the videos."""

    train: Count = Field(description="identities of the training split")
    validation: Count = Field(description="identities of the validation split")
    test: Count = Field(description="identities of the test split")
    per_identity: Count = Field(description="labelled faces of each identity")


class SynthesizeParams(Section):
    seed: Seed = Field(description="seed of all rendered videos and faces")
    image_size: ImageSize = Field(description="side of the rendered, square frames, pixels; even, as H.264 asks for")
    workers: Workers = Field(description="processes; 0: one per core")
    videos: SyntheticVideos = Field(description="the rendered videos")
    faces: SyntheticFaces = Field(description="the rendered labelled faces, by official split")

    @field_validator("image_size")
    @classmethod
    def _even(cls, size: int) -> int:
        if size % 2:
            raise ValueError(f"must be even for H.264 video, not {size}")
        return size


#: Pixels to which a larger frame is shrunk where params do not say.
_LONGEST_SIDES = {"blazeface": 1920, "haar": 320, "yunet": 320}


class DetectionParams(Section):
    """Finding faces in a frame."""

    detector: Literal["blazeface", "haar", "yunet"] = Field(
        description="the face detector: BlazeFace, which comes with fabnet, OpenCV's Haar cascades, or YuNet"
    )
    model: Path | None = Field(description="YuNet's ONNX file; null for the others")
    sha256: Sha256 | None = Field(description="SHA-256 of YuNet's ONNX file; null for the others")
    every: Count = Field(description="detect in every k-th decoded frame; boxes in between are interpolated")
    longest_side: Annotated[int, Field(ge=64, le=4096)] | None = Field(
        description="pixels to which a larger frame is shrunk for detection; null: 1920 for blazeface, which looks at "
        "tiles of it, and 320 for the others"
    )

    @property
    def looked_at_side(self) -> int:
        """The longest side of a frame that is looked at, pixels."""
        return self.longest_side or _LONGEST_SIDES[self.detector]

    @model_validator(mode="after")
    def _yunet_comes_with_its_file(self) -> "DetectionParams":
        given = self.model is not None and self.sha256 is not None
        if (self.detector == "yunet") != given or (self.model is None) != (self.sha256 is None):
            raise ValueError("`model` and `sha256` name the file of detector yunet, and are null for the others")
        return self


class TrackingParams(Section):
    """Joining detections to tracks, and which tracks are kept."""

    min_overlap: Fraction = Field(
        description="lowest intersection over union of a track's last box with the detection that continues it"
    )
    max_gap_s: float = Field(
        gt=0, description="a track ends after so many seconds without a detection; longer gaps are not interpolated"
    )
    smoothing_s: float = Field(
        ge=0, le=5, description="standard deviation, in seconds, of the Gaussian filter over a track's boxes"
    )
    min_found: Fraction = Field(
        description="a track detected in a smaller share of the frames looked at, or never with confidence, is "
        "rejected: `lost`"
    )
    min_side: int = Field(
        ge=1, description="a track whose median box has a shorter side, pixels, is rejected: `too_small`"
    )
    min_sharpness: float = Field(
        ge=0, description="a track whose median variance of the Laplacian is lower is rejected: `too_blurred`"
    )


class ExtractParams(Section):
    videos: Path = Field(description="folder of the clips")
    source: Source = Field(description="layout of `videos`, see docs/data.md")
    clips: Path | None = Field(
        description="cropped, boxes, folder: CSV with columns clip, identity, below `videos`; "
        "null: clips are identity/**/clip.mp4"
    )
    boxes: Path | None = Field(
        description="boxes: CSV or Parquet with columns clip, time_s, left, top, right, bottom (pixels), below "
        "`videos`; null for other sources"
    )
    reference_height: Count = Field(description="voxceleb1: height, pixels, of the frame to which its boxes refer")
    detection: DetectionParams = Field(description="folder: how faces are detected")
    tracking: TrackingParams = Field(description="folder: how detections become tracks")
    margin: float = Field(ge=-0.4, le=4, description="added on each side of a box, as a fraction of its side")
    crop: Literal["upright", "aligned"] = Field(
        description="upright: as the frame; aligned: each crop is turned about its middle so that the eyes lie level"
    )
    recrop: Literal["none", "authors"] = Field(
        description="authors: pad and crop again as FAb-Net's training crops were made, at 256 px"
    )
    mesh: Literal["auto", "on", "off"] = Field(
        description="whether FaceMesh reads presence, pose and openings of every crop into the index; auto: where "
        "faces are detected (`source` folder)"
    )
    fps: float = Field(gt=0, le=240, description="sampled frames per second of video time")
    image_size: ImageSize = Field(description="side of a crop, pixels; a power of two")
    jpeg_quality: int = Field(ge=1, le=100, description="JPEG quality of the crops in the shards")
    min_frames: int = Field(ge=2, description="a track with fewer frames is rejected; a pair needs two")
    max_damaged: Fraction = Field(
        description="frames from a damaged one to the next key frame are left out; a clip of whose time they are a "
        "larger share is rejected: `damaged`"
    )
    clip_limit_s: float = Field(
        gt=0, description="a clip that takes longer to process, seconds, is rejected: `too_slow`"
    )
    shard_mb: Count = Field(description="largest average size of a shard, megabytes")
    engine: Literal["local", "ray"] = Field(
        description="local: processes of this machine; ray: the cluster at RAY_ADDRESS"
    )
    workers: Workers = Field(
        description="processes; 0: one per core; 1: the stage's own process, which a clip that crashes its decoder ends"
    )

    _image_size = field_validator("image_size")(power_of_two)

    @property
    def reads_mesh(self) -> bool:
        """Whether FaceMesh looks at every crop."""
        return self.mesh == "on" or (self.mesh == "auto" and self.source in DETECTED_SOURCES)

    @classmethod
    def standalone(cls, **values: Any) -> "ExtractParams":
        """Params for commands that read no params.yaml, such as `fabnet embed`: `values`, else those of STANDALONE.

        Args:
            values: as in params.yaml, `videos` among them; `detection` and `tracking` may be parts of these sections.

        Raises:
            ValidationError: a value is unknown or impossible.
        """
        merged = dict(STANDALONE)
        for key, value in values.items():
            merged[key] = {**STANDALONE[key], **value} if isinstance(value, dict) and key in STANDALONE else value
        return cls.model_validate(merged)

    @model_validator(mode="after")
    def _authors_do_not_align(self) -> "ExtractParams":
        if self.crop == "aligned" and self.recrop == "authors":
            raise ValueError("`crop` aligned and `recrop` authors exclude each other: the authors turned no crops")
        return self

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
    seed: Seed = Field(description="seed of the order in which identities are dealt to splits")
    train: int = Field(gt=0, lt=100, description="percentage of the identities for training; the three sum to 100")
    validation: int = Field(gt=0, lt=100, description="percentage of the identities for validation")
    test: int = Field(gt=0, lt=100, description="percentage of the identities for testing")

    @model_validator(mode="after")
    def _sums_to_100(self) -> "SplitParams":
        total = self.train + self.validation + self.test
        if total != 100:
            raise ValueError(f"train + validation + test must be 100 percent, not {total}")
        return self
