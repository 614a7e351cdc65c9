"""Every encoder is asked the same questions: who is most like whom, and does that person look the same way?"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fabnet.config import RetrieveParams
from fabnet.errors import UserError
from fabnet.retrieval import scores, summary
from fabnet.retrieval.attributes import IDENTITY, MAP, PRECISION, Attributes
from fabnet.retrieval.exact import Alike, Neighbours, alike, search, unit

KEPT, LEFT_OUT = "kept", "left_out"
CHANCE = "chance"


@dataclass(frozen=True)
class Sample:
    """M faces that are searched, the first Q of which are asked for as well.

    Attributes:
        ids: their names, different ones.
        recordings: names of their images, videos or tracks, any number of such lists (M,): a query and its neighbour
            share none of them.
        weights_RQ: how often each query is drawn in each resample of people.
        expressions: names of the classes that `faces.expression` numbers.
        labelled: whether anything but the identity could be known.
    """

    ids: list[str]
    faces: Attributes
    recordings: list[list[str]]
    weights_RQ: NDArray[np.floating]
    expressions: tuple[str, ...] = ()
    labelled: bool = True

    @property
    def queries(self) -> int:
        return self.weights_RQ.shape[1]

    def settings(self) -> dict[str, list[Alike]]:
        """Pairs that do not count: with faces of the query's identity kept, and with them left out as well."""
        kept = [alike(names[: self.queries], names) for names in (self.ids, *self.recordings)]
        person = Alike(self.faces.identity[: self.queries], self.faces.identity)
        return {KEPT: kept, LEFT_OUT: [*kept, person]}


@dataclass
class Evaluation:
    """Scores of encoders, as they are asked one after another.

    Attributes:
        gaps: what could not be scored, and why.
        neighbours: by encoder and setting.
    """

    sample: Sample
    k: int
    gaps: dict[str, str] = field(default_factory=dict)
    neighbours: dict[str, dict[str, Neighbours]] = field(default_factory=dict)
    _scores: dict[str, dict[str, scores.Scores]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._settings = self.sample.settings()
        self.faces = self._scorable()
        asked = self.faces.take(slice(self.sample.queries))
        self._scores[CHANCE] = {}
        for name, left_out in self._settings.items():
            found = scores.of_chance(asked, self.faces, left_out)
            if np.isnan(found[IDENTITY]).all():
                other = "recording" if name == KEPT else "identity"
                self.gaps[f"neighbours, same identity {name}"] = f"no query has a face of another {other} to find"
            elif name == KEPT and not found[IDENTITY].any():
                self.gaps["share of the query's identity"] = "each person has one recording, which does not count"
            self._scores[CHANCE][name] = self._counted(name, found)

    def _scorable(self) -> Attributes:
        faces, gaps = self.sample.faces, self.gaps
        if not self.sample.labelled:
            gaps["pose, units and expression"] = "nobody labelled these frames"
            return Attributes(faces.identity)
        for angle in ("yaw", "pitch", "roll"):
            if angle not in faces.angles:
                gaps[f"{angle} difference"] = f"the labels have no {angle}"
        if faces.units is None:
            gaps["agreement of units"] = "the labels have no action units"
        expression = faces.expression
        if expression is None:
            gaps["precision by expression"] = "the labels have no expression"
        elif len(np.unique(expression)) == 1:
            only = self.sample.expressions[expression[0]] if self.sample.expressions else str(expression[0])
            gaps["precision by expression"] = f"all faces of the gallery are {only}: any order of them is right"
            expression = None
        return Attributes(faces.identity, faces.angles, faces.units, expression)

    def add(self, encoder: str, embeddings_MD: NDArray[np.floating]) -> None:
        """Search with the embeddings of an encoder.

        Raises:
            UserError: an embedding is not finite, or the gallery is too small.
        """
        if not np.isfinite(embeddings_MD).all():
            row = int(np.flatnonzero(~np.isfinite(embeddings_MD).all(axis=1))[0])
            raise UserError(f"{encoder}: the embedding of {self.sample.ids[row]} holds a number that is not finite")
        vectors, asked = unit(embeddings_MD), self.faces.take(slice(self.sample.queries))
        queries = vectors[: self.sample.queries]
        found = {name: search(vectors, queries, self.k, left_out) for name, left_out in self._settings.items()}
        self.neighbours[encoder] = found
        mine = {name: scores.of_neighbours(asked, self.faces, each.rows) for name, each in found.items()}
        if self.faces.expression is not None:
            settings = list(self._settings.values())
            ranked = scores.average_precision(asked, self.faces, queries, vectors, settings)
            for name, values in zip(self._settings, ranked, strict=True):
                mine[name][MAP] = values
        self._scores[encoder] = {name: self._counted(name, values) for name, values in mine.items()}

    def _counted(self, setting: str, found: scores.Scores) -> scores.Scores:
        """Without a share of the query's identity that could not be other than it is."""
        decided = setting == LEFT_OUT or "share of the query's identity" in self.gaps
        return {name: values for name, values in found.items() if not (decided and name == IDENTITY)}

    def summary(self, params: RetrieveParams) -> dict[str, Any]:
        """What was asked for, of how many faces, and what could not be scored; after `results`."""
        identity = self.faces.identity
        people = {"gallery": len(np.unique(identity)), "queries": len(np.unique(identity[: self.sample.queries]))}
        faces = {"gallery": len(identity), "queries": self.sample.queries}
        keys = {"seed", "k", "centre", "same_identity", "reference"}
        return {"asked": params.model_dump(include=keys), "faces": faces, "people": people, "gaps": self.gaps}

    def results(self, reference: str | None) -> dict[str, Any]:
        """Means over queries, by setting, encoder and metric, each {"value", "low", "high", "n"}.

        Beside those of an encoder, `times_chance`, its mean over that of chance, and `minus_reference`, the mean
        difference from the reference's scores of the same queries. `classes` has the scores by the query's expression.
        """
        weights = self.sample.weights_RQ.astype(np.float64)
        if reference is not None and reference not in self._scores:
            self.gaps[f"differences from {reference}"] = "there are no embeddings of that name"
        found: dict[str, Any] = {"scores": {}, "classes": {}}
        for name in self._settings:
            table: dict[str, Any] = {}
            for encoder, by_setting in self._scores.items():
                row = {}
                for metric, values in by_setting[name].items():
                    said: dict[str, Any] | None = summary.mean(values, weights)
                    if said is None:
                        continue
                    if encoder != CHANCE:
                        _put(said, "times_chance", summary.ratio(values, self._scores[CHANCE][name][metric], weights))
                    if reference in self._scores and encoder not in (CHANCE, reference):
                        others = self._scores[str(reference)][name][metric]
                        _put(said, "minus_reference", summary.difference(values, others, weights))
                    row[metric] = said
                table[encoder] = row
            found["scores"][name] = table
            found["classes"][name] = self._by_class(name, weights)
        return found

    def _by_class(self, setting: str, weights_RQ: NDArray[np.float64]) -> dict[str, Any]:
        expression = self.faces.expression
        if expression is None:
            return {}
        asked = expression[: self.sample.queries]
        found: dict[str, Any] = {}
        for encoder, by_setting in self._scores.items():
            for number in np.unique(asked):
                row: dict[str, Any] = {}
                for metric in (PRECISION, MAP):
                    values = np.where(asked == number, by_setting[setting][metric], np.nan)
                    _put(row, metric, summary.mean(values, weights_RQ))
                found.setdefault(encoder, {})[self.sample.expressions[number]] = row
        return found


def _put(row: dict[str, Any], name: str, value: Mapping[str, Any] | None) -> None:
    if value is not None:
        row[name] = value
