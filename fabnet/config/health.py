"""The section `health`: what a batch of crops, or a labelled set, must be like before anything learns from it."""

from pathlib import Path

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from fabnet.config.section import Count, Fraction, Name, Section, Seed

#: What each measure is, with its unit, by table. These are all the measures that may have limits.
MEASURES: dict[str, dict[str, str]] = {
    "splits": {
        "identities_off_pct": "a split's share of the identities against params, percentage points",
        "frames_off_pct": "a split's share of the frames against params, percentage points",
    },
    "identities": {
        "tracks": "tracks of an identity",
        "frames": "frames of an identity",
        "clips_crowded": "clips of an identity that show several of its tracks at once, so that it is several people",
    },
    "tracks": {
        "frames": "frames of a track",
        "brightness": "mean brightness of a track's frames, 0 to 255",
        "darkest": "brightness of a track's darkest frame, 0 to 255",
        "brightest": "brightness of a track's brightest frame, 0 to 255",
        "sharpness": "mean sharpness of a track's frames, variance of the Laplacian",
        "side": "mean side of a track's boxes, pixels of the video",
        "face_px": "mean side of a track's faces without margin, pixels of the video",
        "cut_off": "mean share of a track's faces beyond the frame, 0 to 1",
        "presence": "mean probability of FaceMesh that a track's crops show a face, 0 to 1",
        "roll_deg": "mean absolute roll of a track's heads, degrees, as FaceMesh sees it",
        "pitch_deg": "mean absolute pitch of a track's heads, degrees, likewise",
        "yaw_deg": "mean absolute yaw of a track's heads, degrees, likewise",
        "mouth_open": "mean opening of a track's mouth, gap over width, likewise",
        "eyes_open": "mean opening of a track's eyes, gap over width, likewise",
    },
    "rejects": {
        "pct": "clips and tracks rejected for one reason, % of those kept and rejected",
        "total_pct": "clips and tracks rejected for any reason, % of those kept and rejected",
    },
    "sampled": {
        "named": "whether the shard's own header names a sampled frame as the index does, 1 or 0",
        "decodes": "whether a sampled frame decodes, 1 or 0",
        "side_off": "pixels between a sampled frame's sides and crop.json's size",
        "brightness_off": "grey levels between a sampled frame's brightness and the index's",
        "sharpness_ratio": "a sampled frame's sharpness over the index's",
    },
    "duplicates": {
        "exact": "sampled frames whose very bytes lie in both splits",
        "near_pct": "sampled frames of the smaller split that look like one of the other split, %",
    },
    "shared": {
        "tracks": "tracks of the second split that share their name, or a frame's bytes, with one of the first",
    },
    "closest": {
        "distance": "1 - cosine between the two closest sampled frames of two splits",
        "suspects_pct": "sampled frames of the second split that lie closer to one of the first than three in four "
        "sampled frames lie to any other one of their own identity, %",
    },
    "sets": {
        "faces": "faces of a split of a labelled set",
        "identities": "identities of a split of a labelled set",
        "widest_deg": "the greatest angle of a head in a split of a labelled set, degrees",
        "points_wide": "width of a face's landmarks over that of its box, median of a split of a labelled set",
        "narrow_pct": "faces of a split of a labelled set whose box is narrower or lower than 8 pixels, %",
    },
    "labels": {
        "share_pct": "faces of a split that show an expression or unit, %",
    },
    "drift": {
        "distance": "mean difference of a measure's quantiles from the profile's, in its interquartile ranges",
    },
}


class Range(Section):
    """At least `share` of a table's rows must lie from `low` to `high`; null is open."""

    low: float | None = Field(None, description="lowest value, in the unit of the measure; null: no lower limit")
    high: float | None = Field(None, description="highest value, in the unit of the measure; null: no upper limit")
    share: Fraction = Field(1.0, description="share of the rows that must lie from `low` to `high`")

    @model_validator(mode="after")
    def _not_empty(self) -> "Range":
        if self.low is None and self.high is None:
            raise ValueError("needs `low`, `high` or both")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"`low` ({self.low:g}) must not exceed `high` ({self.high:g})")
        return self


class Limits(Section):
    """The limits of one measure, of which each may be absent."""

    critical: Range | None = Field(None, description="a range that stops the pipeline where it is broken")
    warning: Range | None = Field(None, description="a range that is reported where it is broken")


class SampleParams(Section):
    """The frames that are decoded and compared across splits: all of them where there are no more."""

    frames: Count = Field(description="frames that are decoded, at most; evenly spread over the tracks")
    seed: Seed = Field(description="seed of the choice of frames")
    near_bits: int = Field(
        ge=0,
        le=16,
        description="two frames look alike when at most so many bits of their 64-bit perceptual hashes differ",
    )
    near_grey: float = Field(
        ge=0, le=255, description="... and their 16 x 16 thumbnails differ by at most so many grey levels on average"
    )


class AuditParams(Section):
    """The frames that are compared across splits once there is an embedding."""

    frames: int = Field(gt=0, le=50_000, description="frames of each split that are compared, at most")
    pairs: int = Field(gt=0, le=50, description="closest pairs that are shown")
    seed: Seed = Field(description="seed of the choice of frames")
    variant: Name | None = Field(description="the variant whose embedding is compared; null: the first one")


class HealthParams(Section):
    """What validate, validate_set and audit judge. docs/data-quality.md describes the tables and measures."""

    sample: SampleParams = Field(description="frames that are decoded and compared across splits")
    audit: AuditParams = Field(
        description="frames of each split that are compared with those of the others by embedding"
    )
    profile: Path | None = Field(description="a profile.json of earlier data to measure drift against; null: none")
    splits: dict[str, Limits] = Field(description="limits of each split")
    identities: dict[str, Limits] = Field(description="limits of each identity of the videos")
    tracks: dict[str, Limits] = Field(description="limits of each track")
    rejects: dict[str, Limits] = Field(description="limits of each reason for rejection, and of all together")
    sampled: dict[str, Limits] = Field(description="limits of each sampled frame")
    duplicates: dict[str, Limits] = Field(description="limits of each pair of splits, from the sampled frames")
    shared: dict[str, Limits] = Field(description="limits of each pair of splits, from all tracks")
    closest: dict[str, Limits] = Field(description="limits of each pair of splits, by pixels and by embedding")
    sets: dict[str, Limits] = Field(description="limits of each split of a labelled set")
    labels: dict[str, Limits] = Field(
        description="limits of each expression and action unit that a split of a labelled set is labelled with"
    )
    drift: dict[str, Limits] = Field(description="limits of each measure that `profile` holds")

    @model_validator(mode="after")
    def _measures_exist(self) -> "HealthParams":
        for table, measures in MEASURES.items():
            for name in self.limits(table):
                if name not in measures:
                    problem = f"no such measure of {table}; there are {', '.join(measures)}"
                    raise PydanticCustomError("variant", "{problem}", {"key": f"{table}.{name}", "problem": problem})
        return self

    def limits(self, table: str) -> dict[str, Limits]:
        """The limits of the measures of a table, by measure."""
        found: dict[str, Limits] = getattr(self, table)
        return found
