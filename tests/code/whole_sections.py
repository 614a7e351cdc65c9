"""Sections of params of which a test states only what it is about; the rest is here, whatever params.yaml says."""

from typing import Any

from fabnet.config import (
    DetectionParams,
    ExtractParams,
    ProbeParams,
    SuperviseParams,
    TrackingParams,
    VariantParams,
)

VARIANT: dict[str, Any] = {
    "objective": "fabnet",
    "sources": 1,
    "views": None,
    "flow_stride": 1,
    "shared_decoder": False,
    "histograms": 0.0,
    "coordinates": "trained",
    "start_from": None,
    "freeze": [],
    "seed": 0,
    "base_filters": 4,
    "embedding_dim": 8,
    "samples": 64,
    "batch_size": 8,
    "validation_every": 32,
    "validation_samples": 8,
    "optimiser": "adam",
    "learning_rate": 0.01,
    "momentum": 0.9,
    "warm_up": 0.0,
    "schedule": "linear",
    "drop_at": 0.7,
    "patience": 5,
    "curriculum": None,
    "copying": {"share": 0.02, "at": 0.5},
    "flip": True,
    "jitter": 0.0,
    "turn": 0.0,
    "precision": "fp32",
    "decoder": "direct",
    "checkpoint_every": 32,
    "workers": 1,
    "cache_mb": 2048,
    "resident_gib": 64.0,
    "nvjpeg": False,
    "cuda_graph": True,
    "corrupt_limit": 10,
    "threads": 1,
    "processes": 1,
    "sync_batch_norm": False,
    "compile": False,
    "deterministic": False,
}
PROBE: dict[str, Any] = {
    "seeds": 2,
    "epochs": 4,
    "batch_size": 16,
    "learning_rate": 0.01,
    "validation_every": 2,
    "shares": [],
    "ridge_alphas": [100],
    "folds": {"below": 0, "count": 5, "repeats": 1},
    "logistic_cs": [0.01],
}
SUPERVISE: dict[str, Any] = {
    "seeds": 1,
    "image_size": None,
    "width": 4,
    "batch_norm": True,
    "dropout": 0.5,
    "mirror": True,
    "epochs": 1,
    "batch_size": 16,
    "learning_rate": 0.001,
    "weight_decay": 0.0,
    "precision": "fp32",
    "cache_mb": 2048,
    "threads": 2,
}


def variant_params(**changes: Any) -> VariantParams:
    return VariantParams.model_validate(VARIANT | changes)


def probe_params(**changes: Any) -> ProbeParams:
    return ProbeParams.model_validate(PROBE | changes)


def supervise_params(**changes: Any) -> SuperviseParams:
    return SuperviseParams.model_validate(SUPERVISE | changes)


def detection_params(**changes: Any) -> DetectionParams:
    return ExtractParams.standalone(videos=".", detection=changes).detection


def tracking_params(**changes: Any) -> TrackingParams:
    return ExtractParams.standalone(videos=".", tracking=changes).tracking
