"""Low-label curves: what regularised probes score that learnt from a share of the training faces.

Faces are drawn, not identities: a label is paid for by the face, every draw then has the same size, and one hundredth
of the people would be a handful of them, so that a curve would tell who they happened to be. Each seed draws its own
faces, the same for all encoders; a smaller share is part of a larger one.

Validation and test faces stay what they are: those of the set's split, also where the main result comes from folds.
With a hundredth of the validation faces most AUCs are undefined, and the choice of a penalty would be noise that
differs between the points of a curve.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from fabnet.config import BootstrapParams, ProbeParams
from fabnet.probing import regularised
from fabnet.probing.intervals import bootstrap_task, scores_of
from fabnet.probing.metrics import AUC_TASKS
from fabnet.probing.probe import Probe
from fabnet.probing.problem import Problem, absent_names, constant_prediction, unseen
from fabnet.tables import SPLITS

_FEWEST = 2


def faces_of(share: float, train: np.ndarray) -> int:
    """How many faces a share of the training rows is: at least 2, fewer have no variance.

    Args:
        share: above 0, at most 1.
        train: rows of the training faces.
    """
    return min(len(train), max(_FEWEST, round(share * len(train))))


def draw_faces(problems: Sequence[Problem], train: np.ndarray, count: int, seed: int) -> np.ndarray:
    """`count` of the training rows, in the order drawn.

    They are drawn alike, but for this: of every class, and of every unit's presence and absence, the first face drawn
    comes before all others, so that nothing rare is lacking where `count` has room for it.

    Args:
        problems: the tasks, whose classes and units are looked after.
        train: rows of the training faces.
        count: to draw, at most all of them.
        seed: of the draw.
    """
    order = np.random.default_rng(seed).permutation(train)
    outcomes: list[np.ndarray] = []
    for problem in problems:
        if problem.task in AUC_TASKS:
            present = problem.reference(order) > 0.5
            outcomes += [present] if problem.loss == "cross_entropy" else [present, ~present]
    leading = np.zeros(len(order), dtype=bool)
    for of_task in outcomes:
        leading[of_task.argmax(axis=0)[of_task.any(axis=0)]] = True
    return np.concatenate([order[leading], order[~leading]])[:count]


def draws(problems: Sequence[Problem], train: np.ndarray, share: float, seeds: int) -> np.ndarray:
    """The training rows of every seed (seeds, n).

    Args:
        problems: the tasks.
        train: rows of the training faces.
        share: of them, above 0, at most 1.
        seeds: number of draws: seeds 0, 1, ...
    """
    return np.stack([draw_faces(problems, train, faces_of(share, train), seed) for seed in range(seeds)])


def unseen_in_draws(
    problems: Sequence[Problem], train: np.ndarray, params: ProbeParams
) -> dict[str, dict[str, object]]:
    """By share, the number of faces, and the units and classes that some draws know only one outcome of: how many.

    Args:
        problems: the tasks.
        train: rows of the training faces.
        params: the section `probe`: shares, and seeds of each.
    """
    told: dict[str, dict[str, object]] = {}
    for share in params.shares:
        names = [absent_names(problems, rows) for rows in draws(problems, train, share, params.seeds)]
        counts: dict[str, dict[str, int]] = {}
        for task, missing in ((task, missing) for of_seed in names for task, missing in of_seed.items()):
            for name in missing:
                counts.setdefault(task, {}).setdefault(name, 0)
                counts[task][name] += 1
        told[str(share)] = {"faces": faces_of(share, train), "unseen": counts}
    return told


def curve(
    encoder: str,
    features: np.ndarray,
    probes: Sequence[Probe] | None,
    problems: Sequence[Problem],
    table: pd.DataFrame,
    rows: Mapping[str, np.ndarray],
    params: ProbeParams,
    report: BootstrapParams,
) -> pd.DataFrame:
    """Rows of tables.LowLabel of one encoder, for `params.shares` and for all faces.

    Args:
        encoder: its name in the rows.
        features: (N, D), its rows being those of `table`.
        probes: regularised ones that learnt from all training faces of the split; None fits them.
        problems: the tasks of the set.
        table: tables.Labels.
        rows: of each split.
        params: the section `probe`.
        report: resamples and seed of the intervals.
    """
    train, validation, test = (rows[split] for split in SPLITS)
    penalties = regularised.penalties_of(params)
    probes = probes or regularised.fit(features, problems, train, validation, penalties)
    parts = [_scores(encoder, 1.0, [probe.predict(features, test) for probe in probes], problems, table, rows, report)]
    for share in params.shares:
        drawn = draws(problems, train, share, params.seeds)
        fitted = [regularised.fit(features, problems, own, validation, penalties) for own in drawn]
        outputs = [np.concatenate([each.predict(features, test) for each in of]) for of in zip(*fitted, strict=True)]
        parts.append(_scores(encoder, share, outputs, problems, table, rows, report, drawn))
    return pd.concat(parts, ignore_index=True)


def constant_curve(
    problems: Sequence[Problem],
    table: pd.DataFrame,
    rows: Mapping[str, np.ndarray],
    params: ProbeParams,
    report: BootstrapParams,
) -> pd.DataFrame:
    """`curve` of the encoder `constant`.

    Args:
        problems: the tasks.
        table: of labels.
        rows: of each split.
        params: the section `probe`.
        report: resamples of the intervals and their seed.
    """
    train, count = rows["train"], len(rows["test"])
    all_faces = [constant_prediction(problem, train, count)[None] for problem in problems]
    parts = [_scores("constant", 1.0, all_faces, problems, table, rows, report)]
    for share in params.shares:
        drawn = draws(problems, train, share, params.seeds)
        outputs = [np.stack([constant_prediction(problem, own, count) for own in drawn]) for problem in problems]
        parts.append(_scores("constant", share, outputs, problems, table, rows, report, drawn))
    return pd.concat(parts, ignore_index=True).assign(seeds=params.seeds)


def _scores(
    encoder: str,
    share: float,
    outputs: Sequence[np.ndarray],
    problems: Sequence[Problem],
    table: pd.DataFrame,
    rows: Mapping[str, np.ndarray],
    report: BootstrapParams,
    drawn: np.ndarray | None = None,
) -> pd.DataFrame:
    """Scores of predictions (S, n, K) by problem; `drawn` are the training rows of the seeds where they are not all."""
    train, test = rows["train"], rows["test"]
    identities = table["identity"].to_numpy()[test]
    found: dict[str, dict[str, float | int]] = {}
    for problem, output in zip(problems, outputs, strict=True):
        answer = output.astype(np.float64)
        if problem.task in AUC_TASKS:
            for seed, own in zip(answer, () if drawn is None else drawn, strict=drawn is not None):
                seed[:, unseen(problem, own)] = 0  # its labels are constant, so all faces are tied: chance
            answer[..., unseen(problem, train)] = np.nan  # constant for all: left out of the mean
        resampled = bootstrap_task(
            problem.task, identities, answer, problem.reference(test), report.bootstrap, report.seed
        )
        found |= scores_of(resampled)
    return pd.DataFrame(
        {
            "encoder": encoder,
            "share": float(share),
            "faces": len(train) if drawn is None else drawn.shape[1],
            "metric": list(found),
            **{key: [float(values[key]) for values in found.values()] for key in ("value", "low", "high")},
            "seeds": len(outputs[0]),
        }
    )
