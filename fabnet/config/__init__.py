"""params.yaml as typed, validated values. A missing, unknown or impossible key is an error that names the key."""

from fabnet.config.data import (
    CROPPED_SOURCES,
    DETECTED_SOURCES,
    DetectionParams,
    ExtractParams,
    Source,
    SplitParams,
    SynthesizeParams,
    SyntheticFaces,
    SyntheticVideos,
    TrackingParams,
)
from fabnet.config.encoders import EncoderParams, Saw, read_encoder
from fabnet.config.evaluation import (
    BaselinesParams,
    BootstrapParams,
    EmbedParams,
    FoldsParams,
    ProbeParams,
    ReportParams,
    RetrieveParams,
    SlicesParams,
    SuperviseParams,
    VggFaceParams,
)
from fabnet.config.health import AuditParams, HealthParams, Limits, Range, SampleParams
from fabnet.config.params import Params, load_params, parse_params
from fabnet.config.sets import SetParams
from fabnet.config.training import CopyingParams, CurriculumParams, TrainParams, VariantParams

__all__ = [
    "CROPPED_SOURCES",
    "DETECTED_SOURCES",
    "AuditParams",
    "BaselinesParams",
    "BootstrapParams",
    "CopyingParams",
    "CurriculumParams",
    "DetectionParams",
    "EmbedParams",
    "EncoderParams",
    "ExtractParams",
    "FoldsParams",
    "HealthParams",
    "Limits",
    "Params",
    "ProbeParams",
    "Range",
    "ReportParams",
    "RetrieveParams",
    "SampleParams",
    "Saw",
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
    "read_encoder",
]
