"""params.yaml as typed, validated values. An unknown or impossible key is an error that names the key."""

from fabnet.config.baselines import BaselinesParams, SuperviseParams, VggFaceParams
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
from fabnet.config.evaluation import EmbedParams, ProbeParams, ReportParams, SetParams, SlicesParams
from fabnet.config.health import AuditParams, HealthParams, Limits, Range, SampleParams
from fabnet.config.params import Params, load_params, parse_params
from fabnet.config.retrieval import RetrieveParams
from fabnet.config.training import CurriculumParams, TrainParams, VariantParams

__all__ = [
    "AuditParams",
    "BaselinesParams",
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
    "RetrieveParams",
    "SampleParams",
    "SetParams",
    "SlicesParams",
    "Source",
    "SplitParams",
    "SuperviseParams",
    "SynthesizeParams",
    "SyntheticFaces",
    "SyntheticVideos",
    "TrackingParams",
    "TrainParams",
    "VariantParams",
    "VggFaceParams",
    "load_params",
    "parse_params",
]
