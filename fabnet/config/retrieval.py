"""Section about nearest neighbours over embeddings."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from fabnet.config.section import Count, Name, Section, Seed


class RowsParams(Section):
    """The picture of queries and their neighbours."""

    #: Rows.
    queries: Annotated[int, Field(ge=1, le=20)] = 6
    #: Neighbours in a row; at most `retrieve.k` are shown.
    neighbours: Annotated[int, Field(ge=1, le=10)] = 5


class MapParams(Section):
    """The picture of all embeddings in two dimensions (t-SNE)."""

    #: Faces on it, at most.
    points: Annotated[int, Field(ge=10, le=5000)] = 1000
    #: About how many neighbours of a face the map tries to keep; fewer where there are few faces.
    perplexity: Annotated[float, Field(ge=2, le=100)] = 30


class RetrieveParams(Section):
    #: Of the sample of faces, of the resamples and of the map.
    seed: Seed = 0
    #: Test faces that are searched, at most.
    gallery: Annotated[int, Field(ge=2)] = 10_000
    #: Those of them that are asked for, at most; None: all.
    queries: Count | None = None
    #: Neighbours that are scored.
    k: Annotated[int, Field(ge=1, le=1000)] = 10
    #: Whether the neighbours that are shown may be faces of the query's own identity. Scores are given both ways.
    same_identity: Literal["kept", "left_out"] = "kept"
    #: Subtract the mean embedding of the training faces first.
    centre: bool = False
    #: The encoder that the others are compared with on the same queries; None: no comparison.
    reference: Name | None = "autoencoder"
    #: Encoders whose neighbours and maps are shown; empty: the first variant and the reference.
    shown: list[Name] = Field(default_factory=list)
    #: Resamples of the queries' identities behind every interval.
    bootstrap: Annotated[int, Field(ge=100)] = 1000
    #: The picture of queries and their neighbours.
    rows: RowsParams = RowsParams()
    #: The picture of all embeddings.
    map: MapParams = MapParams()

    @model_validator(mode="after")
    def _fits(self) -> "RetrieveParams":
        if self.k >= self.gallery:
            raise ValueError(f"k is {self.k}, but `gallery` has {self.gallery} faces, of which one is the query")
        return self
