"""Which faces of a labelled set, or frames of videos, are searched, and how far two of them agree.

A comparison has a value for each pair of a query and a face of the gallery, in degrees or percent.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fabnet.attributes.tasks import TASKS, targets, tasks_of
from fabnet.config import RetrieveParams
from fabnet.errors import UserError
from fabnet.frames.shards import INDEX
from fabnet.frames.store import FrameStore
from fabnet.probing.intervals import resample_weights
from fabnet.retrieval.exact import Alike, alike
from fabnet.tables import EXPRESSIONS

#: In the order of the tables; the last word is the unit.
YAW, PITCH, ROLL = "yaw_difference_deg", "pitch_difference_deg", "roll_difference_deg"
POSE = "pose_difference_deg"
UNITS, JACCARD = "units_agreement_pct", "units_jaccard_pct"
PRECISION, MAP = "expression_precision_pct", "expression_map_pct"
IDENTITY = "identity_share_pct"
METRICS = (YAW, PITCH, ROLL, POSE, UNITS, JACCARD, PRECISION, MAP, IDENTITY)

_ANGLES = {"yaw": YAW, "pitch": PITCH, "roll": ROLL}


@dataclass(frozen=True)
class Attributes:
    """Of N faces; what the labels do not say is None or has no key.

    Attributes:
        identity: a number for each person, (N,).
        angles: degrees (N,) by yaw, pitch and roll.
        units: which action units are present, (N, U).
        expression: a number for each class, (N,).
    """

    identity: NDArray[np.int64]
    angles: Mapping[str, NDArray[np.floating]] = field(default_factory=dict)
    units: NDArray[np.bool_] | None = None
    expression: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.identity)

    def take(self, rows: NDArray[np.integer] | slice) -> "Attributes":
        """Of the faces `rows`, of any shape, which leads the shapes of the arrays."""
        return Attributes(
            self.identity[rows],
            {name: values[rows] for name, values in self.angles.items()},
            None if self.units is None else self.units[rows],
            None if self.expression is None else self.expression[rows],
        )


def compared(queries: Attributes, others: Attributes) -> dict[str, NDArray[np.float64]]:
    """Every comparison, (Q, M), of queries (Q, 1) with faces (1, M) of the gallery, or with M of their own, (Q, M).

    `units_agreement_pct` is the share of the units that are present on both faces or on neither, `units_jaccard_pct`
    those present on both over those present on either, and 100 where none is present on either. Angles differ by the
    shorter way around. The mean of the three is given where all three are known.

    Args:
        queries: what is known of Q faces, with an axis for the gallery.
        others: of the gallery's faces.
    """
    found = {}
    for angle, metric in _ANGLES.items():
        if angle in queries.angles:
            apart = np.abs(queries.angles[angle] - others.angles[angle])
            found[metric] = np.minimum(apart, 360 - apart)
    if len(found) == len(_ANGLES):
        found[POSE] = sum(found.values()) / len(_ANGLES)
    if queries.units is not None and others.units is not None:
        found[UNITS] = 100 * (queries.units == others.units).mean(axis=-1)
        both = (queries.units & others.units).sum(axis=-1)
        either = (queries.units | others.units).sum(axis=-1)
        found[JACCARD] = np.where(either > 0, 100 * both / np.maximum(either, 1), 100.0)
    if queries.expression is not None and others.expression is not None:
        found[PRECISION] = 100.0 * (queries.expression == others.expression)
    found[IDENTITY] = 100.0 * (queries.identity == others.identity)
    return found


#: Whether faces of the query's own identity may be its neighbours.
KEPT, LEFT_OUT = "kept", "left_out"


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


def sample(count: int, wanted: int, seed: int) -> NDArray[np.int64]:
    """`wanted` of the rows 0 ... count - 1, or all of fewer, in random order: its begin is a sample as well.

    Args:
        count: of all rows.
        wanted: of the sample.
        seed: of the order.
    """
    return np.random.default_rng(seed).permutation(count)[:wanted].astype(np.int64)


def frames_of(store: FrameStore, identities: Sequence[str], wanted: int, seed: int) -> NDArray[np.int64]:
    """Rows of frames of these people, at most `wanted`, in random order.

    Args:
        store: the frames.
        identities: whose frames.
        wanted: at most.
        seed: of the order.
    """
    tracks = store.select(identities)
    start, length = store.tracks.start[tracks], store.tracks.length[tracks]
    ends = np.cumsum(length)
    chosen = sample(int(length.sum()), wanted, seed)
    track = np.searchsorted(ends, chosen, side="right")
    rows: NDArray[np.int64] = start[track] + chosen - (ends - length)[track]
    return rows


def origins(store: FrameStore, rows: NDArray[np.int64]) -> dict[str, list[str]]:
    """identity, video and track of frames, as lists of names (N,).

    Videos of different people may have the same name, such as `interview`, and then are different ones.

    Args:
        store: the frames.
        rows: of the index, (N,).
    """
    columns = ["identity", "video", "track_id"]
    order = np.argsort(rows, kind="stable")
    parts, first = [], 0
    for batch in pq.ParquetFile(store.directory / INDEX).iter_batches(columns=columns):
        inside = rows[order][(rows[order] >= first) & (rows[order] < first + len(batch))]
        parts.append(batch.take(pa.array(inside - first)))
        first += len(batch)
    found = pa.Table.from_batches(parts)
    back = pa.array(np.argsort(order))
    identity, video, track = (found[name].take(back).to_pylist() for name in columns)
    return {
        "identity": identity,
        "video": [f"{person}/{name}" for person, name in zip(identity, video, strict=True)],
        "track": track,
    }


def spread(values: NDArray[np.floating], identity: NDArray[np.int64], wanted: int) -> NDArray[np.int64]:
    """Rows of at most `wanted` people, one each, whose values lie evenly from small to great: who is shown, by a rule.

    For each of evenly spread quantiles, the face nearest to it of somebody who is not shown yet; the earlier row of
    two equally near ones.

    Args:
        values: (N,), NaN where unknown.
        identity: (N,), a number for each person.
        wanted: people.
    """
    chosen: list[int] = []
    for place in (np.arange(wanted) + 0.5) / wanted:
        free = np.flatnonzero(~np.isin(identity, identity[chosen])) if chosen else np.arange(len(values))
        if not len(free):
            break
        chosen.append(int(free[np.argmin(np.abs(values[free] - np.quantile(values, place)))]))
    return np.array(chosen, dtype=np.int64)


def one_of_each(kind: NDArray[np.int64], value: NDArray[np.floating], identity: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of each kind the row of the least value whose person is not shown yet; a kind without such a row is left out.

    Args:
        kind: (N,), a number for each kind, in whose order rows come.
        value: (N,), NaN where unknown.
        identity: (N,), a number for each person.
    """
    chosen: list[int] = []
    for each in np.unique(kind):
        free = np.flatnonzero((kind == each) & ~np.isin(identity, identity[chosen]) & ~np.isnan(value))
        if len(free):
            chosen.append(int(free[np.argmin(value[free])]))
    return np.array(chosen, dtype=np.int64)


#: How the set `celebv` names a frame of a clip: the clip, and the frame's place in it.
_PLACE = re.compile(r"@[01]\.[0-9]{4}$")


def searched_faces(table: pd.DataFrame, params: RetrieveParams, where: str) -> pd.DataFrame:
    """The test faces that are searched, in random order.

    Args:
        table: of labels.
        params: the section `retrieve`.
        where: the labelled set, for the error.

    Raises:
        UserError: there are too few of them; begins with `where`.
    """
    test = table[table["split"] == "test"]
    if len(test) <= params.k:
        problem = "the gallery is empty: no face of the set is a test face"
        if len(test):
            problem = f"{len(test)} test faces are too few for {params.k} neighbours of each; lower retrieve.k"
        raise UserError(f"{where}: {problem}")
    return test.iloc[sample(len(test), params.gallery, params.seed)].reset_index(drop=True)


def sample_of_faces(faces: pd.DataFrame, params: RetrieveParams) -> Sample:
    """What the labels of the faces say. Faces on one image, or of one clip, are no neighbours of each other.

    Args:
        faces: rows of a table of labels, as `searched_faces` gives them.
        params: the section `retrieve`.
    """
    tasks = {task.name for task in tasks_of(faces)}
    known = Attributes(
        identity=_numbers(faces["identity"]),
        angles={
            angle: faces[f"{angle}_deg"].to_numpy() for angle in ("yaw", "pitch", "roll") if f"{angle}_deg" in faces
        },
        units=targets(faces, TASKS["units"]) > 0.5 if "units" in tasks else None,
        expression=targets(faces, TASKS["expression"]) if "expression" in tasks else None,
    )
    recordings = [faces["image"].map(lambda name: _PLACE.sub("", name)).tolist()]
    weights = _weights(faces["identity"].to_numpy(), params)
    return Sample(faces["face_id"].tolist(), known, recordings, weights, EXPRESSIONS)


def sample_of_frames(ids: list[str], origins: dict[str, list[str]], params: RetrieveParams) -> Sample:
    """Frames without labels. Those of one track, or of one video, are no neighbours of each other.

    Args:
        ids: TRACK/FRAME_NO of each frame.
        origins: what `origins` gives.
        params: the section `retrieve`.
    """
    identity = pd.Series(origins["identity"])
    weights = _weights(identity.to_numpy(), params)
    recordings = [origins["video"], origins["track"]]
    return Sample(ids, Attributes(_numbers(identity)), recordings, weights, labelled=False)


def _weights(identities: NDArray[np.object_], params: RetrieveParams) -> NDArray[np.float32]:
    asked = identities[: params.queries]  # all where it is None
    weights: NDArray[np.float32] = resample_weights(asked, params.bootstrap, params.seed)
    return weights


def _numbers(names: pd.Series) -> NDArray[np.int64]:
    numbers: NDArray[np.int64] = np.unique(names.to_numpy().astype(str), return_inverse=True)[1].astype(np.int64)
    return numbers
