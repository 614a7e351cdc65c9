"""Sections about what is measured: embeddings and what they are compared with, probes, retrieval and the report."""

from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from fabnet.config.section import Count, Name, Section, Seed, Sha256


class EmbedParams(Section):
    batch_size: Count = Field(description="faces per forward pass")


class VggFaceParams(Section):
    """The VGG-Face descriptor. Its weights are a file of the user's; without one there is no such baseline."""

    weights: Path | None = Field(
        description="vgg_face.mat, or a state dict of VGG-16 as .pth or .safetensors; null: without this baseline"
    )
    sha256: Sha256 | None = Field(
        description="SHA-256 of that file, by which the pipeline sees it change (sha256sum FILE)"
    )

    @model_validator(mode="after")
    def _file_and_hash_come_together(self) -> "VggFaceParams":
        if (self.weights is None) != (self.sha256 is None):
            raise ValueError("`weights` and `sha256` (sha256sum FILE) name one file: give both or neither")
        return self


class BaselinesParams(Section):
    """Features that are not learnt from the videos; random, pca and hog need no params."""

    vgg_face: VggFaceParams = Field(description="the VGG-Face descriptor, see docs/baselines.md")


class FoldsParams(Section):
    """Repeated cross-validation over identities, which replaces the split of sets that are too small for one."""

    below: int = Field(
        ge=0, description="sets of fewer labelled faces are scored by folds, others on their test split; 0: none is"
    )
    count: int = Field(ge=3, le=100, description="folds, each of whole identities; fewer where there are fewer of them")
    repeats: int = Field(ge=1, le=100, description="other folds each time; scores are averaged")


class ProbeParams(Section):
    """Linear probes on frozen embeddings: a regularised one, which scores are headed by, and the paper's."""

    ridge_alphas: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1)] = Field(
        description="penalties of ridge regression, for angles and landmarks; the best on validation is taken"
    )
    logistic_cs: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1)] = Field(
        description="inverse penalties of logistic regression, for action units and expression; likewise"
    )
    folds: FoldsParams = Field(description="cross-validation of small sets, see docs/probing.md")
    seeds: int = Field(
        ge=1, le=100, description="of the paper's probe for each task, and draws of few labels; scores are averaged"
    )
    epochs: Count = Field(description="passes of the paper's probe over the training faces")
    batch_size: int = Field(ge=2, description="faces per step of the paper's probe")
    learning_rate: float = Field(
        gt=0,
        description="first learning rate of the paper's probe, falls to zero; the paper: 0.001, for more faces",
    )
    validation_every: Count = Field(
        description="epochs between validations of the paper's probe; the best one's weights are kept"
    )
    shares: list[Annotated[float, Field(gt=0, lt=1)]] = Field(
        description="fractions of the training faces for the scores with few labels; each seed draws its own sample"
    )

    @field_validator("shares")
    @classmethod
    def _different(cls, shares: list[float]) -> list[float]:
        if len(set(shares)) < len(shares):
            raise ValueError("names a share twice")
        return shares


class SuperviseParams(Section):
    """The VGG-11 trained from scratch on the labels of a set, on all tasks at once."""

    seeds: int = Field(ge=0, le=100, description="networks; their scores are averaged; 0: none is trained")
    image_size: Annotated[int, Field(ge=32, le=1024)] | None = Field(
        description="side of a crop, pixels; null: extract.image_size; VGG-11 halves it five times"
    )
    width: Count = Field(description="filters of the first convolution; 64: configuration A")
    batch_norm: bool = Field(description="batch normalisation after each convolution")
    dropout: float = Field(ge=0, lt=1, description="dropout after each of the two hidden fully connected layers")
    mirror: bool = Field(description="mirror faces and their labels, half of the time")
    epochs: Count = Field(description="passes over the training faces; each task takes the weights of its best epoch")
    batch_size: int = Field(ge=2, description="faces per step")
    learning_rate: float = Field(gt=0, le=10, description="initial learning rate of AdamW, falls linearly to zero")
    weight_decay: float = Field(ge=0, description="weight decay of AdamW, on all weights")
    precision: Literal["bf16", "fp32"] = Field(description="number format of the forward pass")
    cache_mb: int = Field(ge=0, description="memory for decoded crops, MiB; others are decoded in every epoch")
    threads: int = Field(ge=1, le=1024, description="CPU threads; another number gives other weights")


class RowsParams(Section):
    """The figure of queries and their neighbours."""

    queries: int = Field(ge=1, le=20, description="rows of the figure, a query each")
    neighbours: int = Field(ge=1, le=10, description="neighbours in a row; at most `retrieve.k` are shown")


class MapParams(Section):
    """The figure of all embeddings in two dimensions (t-SNE)."""

    points: int = Field(ge=10, le=5000, description="faces in the figure, at most")
    perplexity: float = Field(
        ge=2,
        le=100,
        description="perplexity of t-SNE: about how many neighbours of a face it keeps; fewer of few faces",
    )


class RetrieveParams(Section):
    """Nearest neighbours by cosine, among test faces and among frames of test identities."""

    seed: Seed = Field(description="seed of the sample of faces, of the resamples and of the t-SNE map")
    gallery: int = Field(ge=2, description="faces, or frames, that are searched, at most (the paper: 10,000)")
    queries: Count | None = Field(description="faces of the gallery that are queries, at most; null: all")
    k: int = Field(ge=1, le=1000, description="neighbours that are scored")
    same_identity: Literal["kept", "left_out"] = Field(
        description="whether neighbours that are shown may be of the query's own identity; scores are given both ways"
    )
    reference: Name | None = Field(
        description="the encoder that others are compared with on the same queries; null: no comparison"
    )
    shown: list[Name] = Field(
        description="encoders whose neighbours and maps are shown; empty: the first variant and the reference"
    )
    bootstrap: int = Field(ge=100, description="resamples of the queries' identities behind every interval")
    rows: RowsParams = Field(description="the figure of queries and their neighbours")
    map: MapParams = Field(description="the figure of all embeddings in two dimensions (t-SNE)")

    @model_validator(mode="after")
    def _fits(self) -> "RetrieveParams":
        if self.k >= self.gallery:
            raise ValueError(f"k is {self.k}, but `gallery` has {self.gallery} faces, of which one is the query")
        return self


class SlicesParams(Section):
    """Bins of faces that are scored by themselves: edges, in ascending order, from one edge up to the next."""

    yaw_deg: Annotated[tuple[float, ...], Field(min_length=2)] = Field(description="edges of |yaw|, degrees")
    side_px: Annotated[tuple[float, ...], Field(min_length=2)] = Field(
        description="edges of the side of the face's box in its image, pixels"
    )
    brightness: Annotated[tuple[float, ...], Field(min_length=2)] = Field(
        description="edges of the mean grey level of the crop, 0 to 255"
    )
    min_faces: Count = Field(description="a bin with fewer faces is not scored")
    min_identities: int = Field(ge=2, description="a bin with fewer identities is not scored")

    @field_validator("yaw_deg", "side_px", "brightness")
    @classmethod
    def _ascending(cls, edges: tuple[float, ...]) -> tuple[float, ...]:
        if any(high <= low for low, high in pairwise(edges)):
            raise ValueError("edges must ascend")
        return edges


class BootstrapParams(Section):
    """The resamples behind an interval."""

    seed: Seed = Field(description="seed of the resamples")
    bootstrap: int = Field(ge=100, description="resamples of the test identities behind every interval")


class ReportParams(BootstrapParams):
    """Intervals, comparisons and slices of the report."""

    reference: Name | None = Field(
        description="the encoder that all others are compared with on the same faces; null: the first variant"
    )
    runs: Annotated[str, Field(pattern=r"^https?://[^\s()<>?]+#/experiments/\d+$")] | None = Field(
        description="page of an experiment on an MLflow server, https://HOST/#/experiments/ID, to which the report "
        "links its runs; null: no links"
    )
    slices: SlicesParams = Field(description="bins of test faces that are scored by themselves")
