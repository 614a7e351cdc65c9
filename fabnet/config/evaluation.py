"""Sections about what is measured: labelled sets, embeddings, probes and the report."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from fabnet.config.section import Count, Section, Seed


class SetParams(Section):
    """A labelled set: which reader understands it and where it lies."""

    kind: Literal["synthetic", "aflw2000"]
    path: Path
    seed: Seed = 0


class EmbedParams(Section):
    batch_size: Count = 256


class ProbeParams(Section):
    seeds: Annotated[int, Field(ge=1, le=100)] = 5
    epochs: Count = 200
    batch_size: Annotated[int, Field(ge=2)] = 64
    learning_rate: Annotated[float, Field(gt=0)] = 0.001
    validation_every: Count = 1
    ridge_alphas: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1)]
    logistic_cs: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1)]


class ReportParams(Section):
    seed: Seed = 0
    bootstrap: Annotated[int, Field(ge=100)] = 1000
