"""Cross-validation over identities, repeated, for sets of so few faces that the score of one split says little.

Every face is predicted once per repeat, by a probe that never saw its identity; penalties are chosen within the
remaining folds (nested). Predictions (R, N, K) of R repeats take the place of those of R seeds: a score is the mean
over repeats, and its interval is of the identities.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from sklearn.model_selection import GroupKFold

from fabnet.errors import UserError
from fabnet.probing import linear
from fabnet.probing.design import Design
from fabnet.probing.metrics import AUC_TASKS, absent_columns
from fabnet.probing.probe import Probe
from fabnet.probing.problem import Problem, unseen, without_unseen
from fabnet.probing.regularised import Path, Penalties, score_path

_FEWEST = 3


@dataclass(frozen=True)
class OutOfFold:
    """What cross-validation gives, by problem.

    Attributes:
        predictions: float32 (R, N, K) of every face, by probes that never saw its identity; NaN for units and classes
            that are constant in the training folds of a face.
        probes: for new faces; learnt from all of them, with the penalty that was best over all folds.
        chosen: (R, F), the penalty of every fold.
    """

    predictions: list[np.ndarray]
    probes: list[Probe]
    chosen: list[np.ndarray]


def identity_folds(identities: np.ndarray, folds: int, repeats: int, where: str) -> np.ndarray:
    """The fold of every face in every repeat: int64 (R, N), all faces of an identity in one; seeded by the repeat.

    Args:
        identities: (N,), of the faces.
        folds: as many, or one for each identity if those are fewer.
        repeats: R.
        where: the labelled set, for the error.

    Raises:
        UserError: there are fewer than 3 identities: one to learn from, one to choose on and one to score.
    """
    names, code = np.unique(identities, return_inverse=True)
    if len(names) < _FEWEST:
        raise UserError(f"{where}: has {len(names)} identities; cross-validation needs at least {_FEWEST}")
    found = np.zeros((repeats, len(code)), dtype=np.int64)
    for repeat, of_face in enumerate(found):
        split = GroupKFold(min(folds, len(names)), shuffle=True, random_state=repeat)
        for fold, (_, test) in enumerate(split.split(code, groups=code)):
            of_face[test] = fold
    return found


def regularised_out_of_fold(
    features: np.ndarray, problems: Sequence[Problem], folds_RN: np.ndarray, penalties: Penalties
) -> OutOfFold:
    """Nested cross-validation of the regularised probe.

    For every fold the penalty is chosen on predictions of the other folds, each by a probe that learnt from the
    remaining ones; then a probe with that penalty learns from all but the fold itself, and predicts it.

    Args:
        features: float32 (N, D).
        problems: the tasks, with labels for all N faces.
        folds_RN: as identity_folds gives them.
        penalties: to choose from.
    """
    everyone, repeats = np.arange(folds_RN.shape[1]), len(folds_RN)
    shapes = [(repeats, folds_RN.shape[1], problem.outputs) for problem in problems]
    predictions = [np.zeros(shape, dtype=np.float32) for shape in shapes]
    chosen = [np.zeros((repeats, folds_RN.max() + 1)) for _ in problems]
    whole = [np.zeros(len(penalties.of(problem))) for problem in problems]
    for repeat, folds in enumerate(folds_RN):
        inner = _inner_paths(features, problems, folds, penalties)
        outer = [np.zeros((len(penalties.of(p)), len(folds), p.outputs), dtype=np.float32) for p in problems]
        for fold in np.unique(folds):
            train, test = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
            design = Design.of(features, train)
            for number, problem in enumerate(problems):
                scores = _scores(inner[number][fold][:, train], problem, train)
                path = Path.of(design, problem, penalties)
                probe = path.probe(scores)
                predictions[number][repeat, test] = without_unseen(problem, probe.predict(features, test)[0], train)
                chosen[number][repeat, fold] = probe.selected[0]
                outer[number][:, test] = list(path.predict(features, test))
        for number, problem in enumerate(problems):
            whole[number] += _scores(outer[number], problem, everyone) / repeats
    design = Design.of(features, everyone)
    probes = [Path.of(design, p, penalties).probe(s) for p, s in zip(problems, whole, strict=True)]
    return OutOfFold(predictions, probes, chosen)


def _inner_paths(
    features: np.ndarray, problems: Sequence[Problem], folds: np.ndarray, penalties: Penalties
) -> list[list[np.ndarray]]:
    """By problem and fold f: predictions (P, N, K) of the faces outside f, by probes that saw neither f nor them.

    A probe that learnt from all folds but two serves both: it predicts each for the sake of the other.
    """
    names = np.unique(folds)
    found = [
        [np.zeros((len(penalties.of(p)), len(folds), p.outputs), dtype=np.float32) for _ in names] for p in problems
    ]
    for one, other in combinations(names, 2):
        design = Design.of(features, np.flatnonzero((folds != one) & (folds != other)))
        for of_problem, problem in zip(found, problems, strict=True):
            path = Path.of(design, problem, penalties)
            for left_out, predicted in ((one, other), (other, one)):
                rows = np.flatnonzero(folds == predicted)
                of_problem[left_out][:, rows] = list(path.predict(features, rows))
    return found


def paper_out_of_fold(
    features: np.ndarray,
    problems: Sequence[Problem],
    folds_RN: np.ndarray,
    schedule: linear.Schedule,
    on_epoch: Callable[[int], None] = lambda epochs: None,
) -> tuple[list[np.ndarray], list[list[int]]]:
    """Cross-validation of the paper's probe, one seed per repeat and fold; its epoch is chosen on another fold.

    Of the other folds that is the next one which shows most units and classes both present and absent.

    Args:
        features: float32 (N, D).
        problems: the tasks, with labels for all N faces.
        folds_RN: as identity_folds gives them.
        schedule: of the probe; its number of seeds is not used.
        on_epoch: called after an epoch with 1.

    Returns:
        Predictions as of OutOfFold, and the epochs by problem.
    """
    predictions = [np.zeros((*folds_RN.shape, problem.outputs), dtype=np.float32) for problem in problems]
    epochs: list[list[int]] = [[] for _ in problems]
    for repeat, folds in enumerate(folds_RN):
        count = int(folds.max()) + 1
        for fold in range(count):
            others = [(fold + step) % count for step in range(1, count)]
            judging = max(others, key=lambda other: _varying(problems, np.flatnonzero(folds == other)))
            train = np.flatnonzero((folds != fold) & (folds != judging))
            rows = np.flatnonzero(folds == fold)
            one = replace(schedule, seeds=1)
            probes = linear.fit(features, problems, train, np.flatnonzero(folds == judging), one, on_epoch)
            for problem, probe, predicted, at in zip(problems, probes, predictions, epochs, strict=True):
                predicted[repeat, rows] = without_unseen(problem, probe.predict(features, rows)[0], train)
                at.append(int(probe.selected[0]))
    return predictions, epochs


def constant_out_of_fold(problem: Problem, folds_RN: np.ndarray) -> np.ndarray:
    """The chance-level reference (R, N, K): the mean of the training folds' labels.

    Of units and classes the same number for every face. Frequencies of the training folds would be the lower, the
    more often the fold itself shows something, and so rank faces worse than chance.

    Args:
        problem: one task.
        folds_RN: as identity_folds gives them.
    """
    found = np.zeros((*folds_RN.shape, problem.outputs), dtype=np.float32)
    if problem.task not in AUC_TASKS:
        for repeat, folds in enumerate(folds_RN):
            for fold in np.unique(folds):
                found[repeat, folds == fold] = problem.labels[folds != fold].mean(axis=0, dtype=np.float64)
        return found
    for repeat, folds in enumerate(folds_RN):
        for fold in np.unique(folds):
            rows = np.flatnonzero(folds == fold)
            found[repeat, rows] = without_unseen(problem, found[repeat, rows], np.flatnonzero(folds != fold))
    return found


def _scores(predictions: np.ndarray, problem: Problem, rows: np.ndarray) -> np.ndarray:
    """Scores (P,) by penalty; all alike, so that the strongest is taken, where the faces agree on everything."""
    ignored = unseen(problem, rows)
    return np.zeros(len(predictions)) if ignored.all() else score_path(predictions, problem, rows, ignored)


def _varying(problems: Sequence[Problem], rows: np.ndarray) -> int:
    """How many units and classes some of these faces show and some do not."""
    return sum(int((~absent_columns(p.reference(rows))).sum()) for p in problems if p.task in AUC_TASKS)
