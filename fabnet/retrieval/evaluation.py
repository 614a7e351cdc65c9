"""Every encoder is asked the same questions: who is most like whom, and does that person look the same way?

Shapes: Q queries, M faces of the gallery, k neighbours, D dimensions of an embedding, R resamples. A query without a
neighbour, or whose expression no other face has, has no score: NaN.

Scores of queries become means with 95 % intervals over people. A resample weighs every query by how often its identity
was drawn; the weights, (R, Q), are the same for all encoders, so that two of them are compared on the same people. The
gallery stays as it is. Queries without a score do not count.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fabnet.config import RetrieveParams
from fabnet.errors import UserError
from fabnet.retrieval.exact import Alike, Neighbours, search, unit
from fabnet.retrieval.samples import IDENTITY, KEPT, LEFT_OUT, MAP, PRECISION, Attributes, Sample, compared

CHANCE = "chance"

#: Queries whose comparisons with the gallery are held at a time.
_QUERIES = 256

_COVERAGE = (2.5, 97.5)

#: One value per query, by metric.
Scores = dict[str, NDArray[np.float64]]
#: "value", "low", "high" and "n".
Summary = dict[str, float | int]


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
    _scores: dict[str, dict[str, Scores]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._settings = self.sample.settings()
        self.faces = self._scorable()
        asked = self.faces.take(slice(self.sample.queries))
        self._scores[CHANCE] = {}
        for name, left_out in self._settings.items():
            found = of_chance(asked, self.faces, left_out)
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

        Args:
            encoder: its name in the results.
            embeddings_MD: a row per face of the sample, of any length.

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
        mine = {name: of_neighbours(asked, self.faces, each.rows) for name, each in found.items()}
        if self.faces.expression is not None:
            settings = list(self._settings.values())
            ranked = average_precision(asked, self.faces, queries, vectors, settings)
            for name, values in zip(self._settings, ranked, strict=True):
                mine[name][MAP] = values
        self._scores[encoder] = {name: self._counted(name, values) for name, values in mine.items()}

    def _counted(self, setting: str, found: Scores) -> Scores:
        """Without a share of the query's identity that could not be other than it is."""
        decided = setting == LEFT_OUT or "share of the query's identity" in self.gaps
        return {name: values for name, values in found.items() if not (decided and name == IDENTITY)}

    def summary(self, params: RetrieveParams) -> dict[str, Any]:
        """What was asked for, of how many faces, and what could not be scored; after `results`."""
        identity = self.faces.identity
        people = {"gallery": len(np.unique(identity)), "queries": len(np.unique(identity[: self.sample.queries]))}
        faces = {"gallery": len(identity), "queries": self.sample.queries}
        keys = {"seed", "k", "same_identity", "reference"}
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
                    said: dict[str, Any] | None = mean(values, weights)
                    if said is None:
                        continue
                    if encoder != CHANCE:
                        _put(said, "times_chance", ratio(values, self._scores[CHANCE][name][metric], weights))
                    if reference in self._scores and encoder not in (CHANCE, reference):
                        others = self._scores[str(reference)][name][metric]
                        _put(said, "minus_reference", difference(values, others, weights))
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
                    _put(row, metric, mean(values, weights_RQ))
                found.setdefault(encoder, {})[self.sample.expressions[number]] = row
        return found


def _put(row: dict[str, Any], name: str, value: Mapping[str, Any] | None) -> None:
    if value is not None:
        row[name] = value


def of_neighbours(queries: Attributes, gallery: Attributes, rows_Qk: NDArray[np.int64]) -> Scores:
    """Means over the neighbours of each query; -1 among `rows_Qk` stands for none.

    Args:
        queries: what is known of Q faces.
        gallery: what is known of M faces.
        rows_Qk: of the gallery, the nearest first.
    """
    there = rows_Qk >= 0
    pairs = compared(queries.take(np.arange(len(queries))[:, None]), gallery.take(rows_Qk))
    return {metric: _mean(values, there) for metric, values in pairs.items()}


def of_chance(queries: Attributes, gallery: Attributes, left_out: Sequence[Alike]) -> Scores:
    """What a random order of the gallery would give, exactly: the expectation over all pairs that are not left out.

    That of the average precision with R relevant faces among N: at rank i, a face is relevant with probability R / N,
    and then R - 1 of the other N - 1 are, so that the precision there is (1 + (i - 1) (R - 1) / (N - 1)) / i.
    Over all ranks: (H + (N - H) (R - 1) / (N - 1)) / N, where H = 1 + 1/2 + ... + 1/N.

    Args:
        queries: what is known of Q faces.
        gallery: what is known of M faces.
        left_out: pairs that do not count.
    """
    parts: list[Scores] = []
    harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, len(gallery) + 1))])
    for some in _blocks(len(queries)):
        allowed = allowed_pairs(left_out, some)
        asked = queries.take(some)
        pairs = compared(asked.take(np.arange(len(asked))[:, None]), gallery.take(np.arange(len(gallery))[None]))
        part = {metric: _mean(values, allowed) for metric, values in pairs.items()}
        relevant = _relevant(queries, gallery, some)
        if relevant is not None:
            count, found = allowed.sum(axis=1), (relevant & allowed).sum(axis=1)
            h = harmonic[count]
            with np.errstate(invalid="ignore", divide="ignore"):
                expected = (h + np.where(count > 1, (count - h) * (found - 1) / (count - 1), 0)) / count
            part[MAP] = np.where(found > 0, 100 * expected, np.nan)
        parts.append(part)
    return {metric: np.concatenate([part[metric] for part in parts]) for metric in parts[0]}


def average_precision(
    queries: Attributes,
    gallery: Attributes,
    queries_QD: NDArray[np.float32],
    gallery_MD: NDArray[np.float32],
    settings: Sequence[Sequence[Alike]],
) -> list[NDArray[np.float64]]:
    """Average precision (Q,), in percent, of ranking the gallery by cosine for faces of the query's expression.

    One for each of `settings`, which are pairs left out; faces as near as each other stand in the gallery's order.

    Args:
        queries, gallery: what is known of the faces.
        queries_QD, gallery_MD: of length 1.
        settings: each a list of pairs.
    """
    found: list[list[NDArray[np.float64]]] = [[] for _ in settings]
    for some in _blocks(len(queries)):
        order = np.argsort(-(queries_QD[some] @ gallery_MD.T), axis=1, kind="stable")
        relevant = _relevant(queries, gallery, some)
        if relevant is None:
            raise ValueError("these faces have no expression")
        relevant = np.take_along_axis(relevant, order, axis=1)
        for left_out, parts in zip(settings, found, strict=True):
            allowed = np.take_along_axis(allowed_pairs(left_out, some), order, axis=1)
            hit = relevant & allowed
            with np.errstate(invalid="ignore", divide="ignore"):
                precision = np.cumsum(hit, axis=1) / np.cumsum(allowed, axis=1)
                parts.append(100 * np.where(hit, precision, 0).sum(axis=1) / hit.sum(axis=1))
    return [np.concatenate(parts) for parts in found]


def allowed_pairs(left_out: Sequence[Alike], some: slice) -> NDArray[np.bool_]:
    """Which faces of the gallery, (some of Q, M), may be neighbours of some of the queries.

    Args:
        left_out: pairs that do not count.
        some: of the queries.
    """
    allowed = np.ones((len(left_out[0].queries[some]), len(left_out[0].gallery)), dtype=bool)
    for pairs in left_out:
        mine = pairs.queries[some, None]
        allowed &= (mine != pairs.gallery) | (mine < 0)
    return allowed


def _blocks(count: int) -> Iterator[slice]:
    for first in range(0, count, _QUERIES):
        yield slice(first, min(first + _QUERIES, count))


def _relevant(queries: Attributes, gallery: Attributes, some: slice) -> NDArray[np.bool_] | None:
    if queries.expression is None or gallery.expression is None:
        return None
    same: NDArray[np.bool_] = queries.expression[some, None] == gallery.expression
    return same


def _mean(values: NDArray[np.float64], which: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Over the columns that are meant; NaN where there are none."""
    with np.errstate(invalid="ignore", divide="ignore"):
        found: NDArray[np.float64] = np.where(which, values, 0).sum(axis=1) / which.sum(axis=1)
    return found


def mean(values_Q: NDArray[np.floating], weights_RQ: NDArray[np.floating]) -> Summary | None:
    """{"value", "low", "high", "n"}, n being the queries with a score; None where no query has one.

    Args:
        values_Q: NaN where a query has no score.
        weights_RQ: how often each resample draws the query.
    """
    return ratio(values_Q, np.where(np.isnan(values_Q), np.nan, 1.0), weights_RQ)


def difference(
    values_Q: NDArray[np.floating], others_Q: NDArray[np.floating], weights_RQ: NDArray[np.floating]
) -> Summary | None:
    """Mean of the differences of two scores of the same queries.

    Args:
        values_Q, others_Q: NaN where a query has no score.
        weights_RQ: how often each resample draws the query.
    """
    return mean(values_Q - others_Q, weights_RQ)


def ratio(
    values_Q: NDArray[np.floating], others_Q: NDArray[np.floating], weights_RQ: NDArray[np.floating]
) -> Summary | None:
    """The mean of one score over that of another, of the same queries; None where that is nothing.

    Args:
        values_Q, others_Q: NaN where a query has no score.
        weights_RQ: how often each resample draws the query.
    """
    there = ~np.isnan(values_Q) & ~np.isnan(others_Q)
    if not there.any() or not others_Q[there].any():
        return None
    with np.errstate(invalid="ignore", divide="ignore"):
        drawn = (weights_RQ @ np.where(there, values_Q, 0)) / (weights_RQ @ np.where(there, others_Q, 0))
    value = float(values_Q[there].sum() / others_Q[there].sum())
    drawn = drawn[np.isfinite(drawn)]  # a resample may have none of the people with a score
    low, high = np.percentile(drawn, _COVERAGE) if len(drawn) else (value, value)
    # Where all resamples are alike, as those of a single person, rounding alone sets them off the value.
    return {"value": value, "low": min(float(low), value), "high": max(float(high), value), "n": int(there.sum())}
