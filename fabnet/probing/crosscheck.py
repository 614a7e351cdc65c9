"""The same questions asked with scikit-learn: ridge and logistic regression, as a check on the torch probe.

Features are standardised by the training rows. The strength of the penalty is chosen per task on the validation rows.
Ridge solves its normal equations, once per strength for points and angles together. Logistic regression is fitted from
the strongest penalty to the weakest, each beginning where the last ended: by Newton steps, which are few, and by L-BFGS
for features as wide as HOG, where building a Hessian is not worth it.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

from fabnet.probing.metrics import selection_score
from fabnet.probing.problem import REGRESSION, Problem

#: At most this many training faces, an evenly spaced choice, so that memory stays flat: these solvers hold them at
#: once.
MAX_FACES = 50_000

_MAX_ITERATIONS = 50
#: Features from which on a Newton step costs more than it saves.
_WIDE = 512
#: Features with less variance than this share of the largest are left out.
_LEAST_VARIANCE = 1e-8
#: Log-odds of a unit or class that never, or always, occurs among the training faces.
_CERTAIN = 30.0


@dataclass(frozen=True)
class CrossCheck:
    """Predictions for one task and the penalty behind them.

    `prediction` is float32 (n, K), as linear.Probe.predict gives it for one seed; `penalty` is ridge's alpha or the
    logistic regression's C, `validation` its score on the validation rows (see metrics.selection_score).
    """

    task: str
    prediction: np.ndarray
    penalty: float
    validation: float


def crosscheck(
    features: np.ndarray,
    problems: Sequence[Problem],
    train: np.ndarray,
    validation: np.ndarray,
    test: np.ndarray,
    ridge_alphas: Sequence[float],
    logistic_cs: Sequence[float],
) -> list[CrossCheck]:
    """Fit on `train`, choose penalties on `validation`, predict `test`; in the order of `problems`.

    Labels of the test rows are never used.

    Args:
        features: float32 (N, D), a row per face of the set.
        problems: the tasks.
        train, validation, test: rows of each split.
        ridge_alphas: penalties of regressions to choose from.
        logistic_cs: inverse penalties of classifications to choose from.
    """
    if len(train) > MAX_FACES:
        train = train[np.linspace(0, len(train) - 1, MAX_FACES).astype(np.int64)]
    scaler = StandardScaler().fit(features[train])
    # What hardly varies over the training faces would be blown up by standardising, and with it what little it means.
    varies = scaler.var_ > _LEAST_VARIANCE * scaler.var_.max()
    x_train, x_validation, x_test = (scaler.transform(features[rows])[:, varies] for rows in (train, validation, test))
    regressions = [problem for problem in problems if problem.loss == REGRESSION]
    best = {problem.task: CrossCheck(problem.task, np.empty(0), 0.0, np.inf) for problem in problems}

    ignored = {problem.task: problem.unlearnable([train], validation) for problem in problems}

    def offer(problem: Problem, penalty: float, on_validation: np.ndarray, on_test: np.ndarray) -> None:
        if ignored[problem.task].any():
            on_validation = np.where(ignored[problem.task], np.nan, on_validation)
        score = float(selection_score(problem.task, on_validation, problem.reference(validation)))
        if score < best[problem.task].validation:
            best[problem.task] = CrossCheck(problem.task, on_test.astype(np.float32), penalty, score)

    if regressions:
        targets = np.concatenate([problem.labels[train] for problem in regressions], axis=1)
        ends = np.cumsum([problem.outputs for problem in regressions])[:-1]
        for alpha in ridge_alphas:
            model = Ridge(alpha=alpha).fit(x_train, targets)
            on_both = (np.split(model.predict(x), ends, axis=1) for x in (x_validation, x_test))
            for problem, on_validation, on_test in zip(regressions, *on_both, strict=True):
                offer(problem, alpha, on_validation, on_test)
    for problem in problems:
        if problem.loss == "bce":
            columns = [_binary_scores(x_train, y, x_validation, x_test, logistic_cs) for y in problem.labels[train].T]
            for i, c in enumerate(sorted(logistic_cs)):
                on_validation, on_test = (np.stack([column[i][part] for column in columns], axis=1) for part in (0, 1))
                offer(problem, c, on_validation, on_test)
        elif problem.loss == "cross_entropy":
            for c, model in _path(x_train, problem.labels[train], logistic_cs):
                on_validation, on_test = (_class_scores(model, x, problem.outputs) for x in (x_validation, x_test))
                offer(problem, c, on_validation, on_test)
    return [best[problem.task] for problem in problems]


def _path(x: np.ndarray, y: np.ndarray, cs: Sequence[float]) -> "list[tuple[float, LogisticRegression]]":
    """Fitted models from the strongest penalty to the weakest, each started from the one before."""
    solver = "newton-cholesky" if x.shape[1] < _WIDE else "lbfgs"
    models: list[tuple[float, LogisticRegression]] = []
    for c in sorted(cs):
        model = LogisticRegression(
            C=c, class_weight="balanced", max_iter=_MAX_ITERATIONS, warm_start=True, solver=solver
        )
        if models:
            model.coef_, model.intercept_ = models[-1][1].coef_.copy(), models[-1][1].intercept_.copy()
            model.classes_ = models[-1][1].classes_
        with warnings.catch_warnings():
            # With weak penalties on separable data there is no point in converging: validation prefers stronger ones.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(x, y)
        models.append((c, model))
    return models


def _binary_scores(
    x_train: np.ndarray, y: np.ndarray, x_validation: np.ndarray, x_test: np.ndarray, cs: Sequence[float]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Log-odds of one unit on the validation and test rows, for every C in increasing order."""
    if y.min() == y.max():  # nothing to tell apart
        certain = _CERTAIN if y.min() > 0.5 else -_CERTAIN
        return [(np.full(len(x_validation), certain), np.full(len(x_test), certain)) for _ in cs]
    return [
        (model.decision_function(x_validation), model.decision_function(x_test)) for _, model in _path(x_train, y, cs)
    ]


def _class_scores(model: LogisticRegression, x: np.ndarray, outputs: int) -> np.ndarray:
    """Log-probabilities (n, outputs); classes the model never saw are all but impossible."""
    scores = np.full((len(x), outputs), -_CERTAIN)
    scores[:, model.classes_] = model.predict_log_proba(x)
    return scores
