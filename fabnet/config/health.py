"""The section `health`: what a batch of crops, or a labelled set, must be like."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from fabnet.config.section import Count, Fraction, Name, Section, Seed


class Range(Section):
    """At least `share` of a table's rows must lie from `low` to `high`; null is open."""

    #: In the unit of the measure.
    low: float | None = None
    #: In the unit of the measure.
    high: float | None = None
    #: Of the rows that must lie between.
    share: Fraction = 1.0

    @model_validator(mode="after")
    def _not_empty(self) -> "Range":
        if self.low is None and self.high is None:
            raise ValueError("needs `low`, `high` or both")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"`low` ({self.low:g}) must not exceed `high` ({self.high:g})")
        return self


class Limits(Section):
    """A failed critical range stops the pipeline, a failed warning is shown."""

    critical: Range | None = None
    warning: Range | None = None


class SampleParams(Section):
    """The frames that are decoded, all of them where there are no more."""

    frames: Count = 20_000
    seed: Seed = 0
    near_bits: Annotated[int, Field(ge=0, le=16)] = 6
    near_grey: Annotated[float, Field(ge=0, le=255)] = 5.0


class AuditParams(Section):
    """The frames that are compared across splits once there is an embedding."""

    frames: Annotated[int, Field(gt=0, le=50_000)] = 2000
    pairs: Annotated[int, Field(gt=0, le=50)] = 8
    seed: Seed = 0
    variant: Name | None = None


class SplitLimits(Section):
    """Of each split."""

    identities_off_pct: Limits = Limits()
    frames_off_pct: Limits = Limits()


class IdentityLimits(Section):
    """Of each identity of the videos."""

    tracks: Limits = Limits()
    frames: Limits = Limits()


class TrackLimits(Section):
    """Of each track."""

    frames: Limits = Limits()
    brightness: Limits = Limits()
    darkest: Limits = Limits()
    brightest: Limits = Limits()
    sharpness: Limits = Limits()
    side: Limits = Limits()


class RejectLimits(Section):
    """Of each reason, and of all together."""

    pct: Limits = Limits()
    total_pct: Limits = Limits()


class SampledLimits(Section):
    """Of each sampled frame."""

    named: Limits = Limits()
    decodes: Limits = Limits()
    side_off: Limits = Limits()
    brightness_off: Limits = Limits()
    sharpness_ratio: Limits = Limits()


class DuplicateLimits(Section):
    """Of each pair of splits."""

    exact: Limits = Limits()
    near_pct: Limits = Limits()


class SharedLimits(Section):
    """Of each pair of splits."""

    tracks: Limits = Limits()


class ClosestLimits(Section):
    """Of each pair of splits, by pixels and by embedding."""

    distance: Limits = Limits()
    suspects_pct: Limits = Limits()


class SetLimits(Section):
    """Of each split of a labelled set."""

    faces: Limits = Limits()
    identities: Limits = Limits()
    widest_deg: Limits = Limits()
    points_wide: Limits = Limits()


class LabelLimits(Section):
    """Of each expression and unit that a split of a labelled set is labelled with."""

    share_pct: Limits = Limits()


class DriftLimits(Section):
    """Of each measure that a profile holds."""

    distance: Limits = Limits()


class HealthParams(Section):
    """What validate, validate_set and audit judge, by table and measure; docs/data-quality.md says what each is."""

    sample: SampleParams = SampleParams()
    audit: AuditParams = AuditParams()
    profile: Path | None = None
    splits: SplitLimits = SplitLimits()
    identities: IdentityLimits = IdentityLimits()
    tracks: TrackLimits = TrackLimits()
    rejects: RejectLimits = RejectLimits()
    sampled: SampledLimits = SampledLimits()
    duplicates: DuplicateLimits = DuplicateLimits()
    shared: SharedLimits = SharedLimits()
    closest: ClosestLimits = ClosestLimits()
    sets: SetLimits = SetLimits()
    labels: LabelLimits = LabelLimits()
    drift: DriftLimits = DriftLimits()
