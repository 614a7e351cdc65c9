"""params.yaml as typed, validated values. An unknown or impossible key is an error that names the key."""

from fabnet.config.data import (
    DetectionParams,
    ExtractParams,
    Source,
    SplitParams,
    SynthesizeParams,
    SyntheticFaces,
    SyntheticVideos,
    TrackingParams,
)
from fabnet.config.evaluation import EmbedParams, ProbeParams, ReportParams, SetParams
from fabnet.config.health import AuditParams, HealthParams, Limits, Range, SampleParams
from fabnet.config.params import Params, load_params, parse_params
from fabnet.config.training import CurriculumParams, TrainParams, VariantParams

__all__ = [
    "AuditParams",
    "CurriculumParams",
    "DetectionParams",
    "EmbedParams",
    "ExtractParams",
    "HealthParams",
    "Limits",
    "Params",
    "ProbeParams",
    "Range",
    "ReportParams",
    "SampleParams",
    "SetParams",
    "Source",
    "SplitParams",
    "SynthesizeParams",
    "SyntheticFaces",
    "SyntheticVideos",
    "TrackingParams",
    "TrainParams",
    "VariantParams",
    "load_params",
    "parse_params",
]
