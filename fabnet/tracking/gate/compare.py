"""Is the challenger worse? A paired bootstrap over people, with one error rate for all gates together.

Both models are scored on the same resamples of whole identities, so what makes a person hard cancels. A loss is the
difference of the scores, positive where the challenger is worse. Its bounds come from the resamples' largest deviation
over all gates, each in its own standard error: with probability `confidence` no lower bound lies above its true loss,
however the metrics hang together. So a challenger that is in truth nowhere worse passes with at least that
probability, and it is told from the champion as soon as the test faces can tell them apart.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any
from zlib import crc32

import numpy as np
import pandas as pd

from fabnet.errors import UserError
from fabnet.files import atomic_file
from fabnet.probing.intervals import arrays, bootstrap
from fabnet.probing.predictions import HEADLINE, read_predictions
from fabnet.tracking.gate.rules import Gate, Gates

#: Labels that differ by less are the same: crops are float32 pixels, normalised below.
_TOLERANCE = 1e-3

#: A score's value, and its values over resamples (R,).
Drawn = tuple[float, np.ndarray]

#: Probability at which a loss is called visible.
_POWER = 0.9
_HEADER = ("set", "metric", "champion", "challenger", "loss", "bounds of the loss", "allowed", "floor", "verdict")


class CannotCompare(UserError):
    """The two sides were not scored on the same thing, or one of them was not scored. The message says which."""

    exit_code = 3


@dataclass(frozen=True)
class Evaluation:
    """Predictions of one encoder by the regularised probe.

    Attributes:
        name: of the model, for people.
        sets: tables.Predictions of a single encoder, by labelled set.
        below_copying: how far its validation loss is below that of copying, percent; None where its objective has no
            such loss, not a number where nothing says how far.
    """

    name: str
    sets: Mapping[str, pd.DataFrame]
    below_copying: float | None = None


def read_evaluation(
    name: str, files: Mapping[str, Path], encoder: str, below_copying: float | None = None
) -> Evaluation:
    """The predictions of `encoder` in files by labelled set; sets without any are left out.

    Args:
        name: of the model, in the verdict.
        files: predictions.parquet, by labelled set.
        encoder: whose predictions.
        below_copying: see Evaluation.
    """
    sets = {set_name: read_predictions(path, encoder, HEADLINE) for set_name, path in files.items()}
    return Evaluation(name, {set_name: part for set_name, part in sets.items() if len(part)}, below_copying)


def check_comparable(champion: Evaluation, challenger: Evaluation, gates: Gates) -> None:
    """Make sure that both answered the same faces of the same people, with the same labels.

    Args:
        champion, challenger: predictions by set.
        gates: the rules, which say what is compared.

    Raises:
        CannotCompare: names the set, the task and what differs.
    """
    for set_name in gates.sets:
        for side in (champion, challenger):
            if set_name not in side.sets:
                raise CannotCompare(
                    f"set {set_name}: {side.name} has no predictions on it; probe it on this set, or take the set out "
                    "of gates.yaml"
                )
        for task in gates.tasks(set_name):
            _check_task(champion, challenger, set_name, task)


def _check_task(champion: Evaluation, challenger: Evaluation, set_name: str, task: str) -> None:
    parts = []
    for side in (champion, challenger):
        part = side.sets[set_name]
        part = part[(part["task"] == task)]
        if part.empty:
            raise CannotCompare(f"set {set_name}: {side.name} has no predictions of task {task}")
        # Labels and people are the same for all seeds: one is enough to compare them.
        parts.append(part[part["seed"] == part["seed"].min()].sort_values("face_id"))
    theirs, ours = parts
    only_theirs, only_ours = (set(a["face_id"]) - set(b["face_id"]) for a, b in ((theirs, ours), (ours, theirs)))
    where = f"set {set_name}, task {task}"
    if only_theirs or only_ours:
        side, faces = (champion, only_theirs) if only_theirs else (challenger, only_ours)
        raise CannotCompare(
            f"{where}: another evaluation set: {champion.name} was scored on {len(theirs)} faces and {challenger.name} "
            f"on {len(ours)}; {len(faces)} are of {side.name} alone (first: {min(faces)})"
        )
    if (theirs["identity"].to_numpy() != ours["identity"].to_numpy()).any():
        raise CannotCompare(f"{where}: another evaluation set: the same faces belong to other identities")
    differ = _differ(task, theirs, ours)
    if differ.any():
        raise CannotCompare(
            f"{where}: another evaluation set: the labels of {differ.sum()} of {len(ours)} faces differ (first: "
            f"{ours['face_id'].to_numpy()[differ][0]})"
        )


def _differ(task: str, theirs: pd.DataFrame, ours: pd.DataFrame) -> np.ndarray:
    """Which faces (n,) have other labels."""
    (_, _, a), (_, _, b) = arrays(theirs, task), arrays(ours, task)
    if a.shape != b.shape:
        return np.ones(len(a), dtype=bool)
    if task.startswith("landmarks"):
        a, b = _shape(a), _shape(b)
    return np.abs(a - b).max(axis=1) > _TOLERANCE


def _shape(points: np.ndarray) -> np.ndarray:
    """Points (n, 2 P) without place and size: they are in pixels of crops, which two recipes cut differently."""
    centred = points.astype(np.float64).reshape(len(points), -1, 2)
    centred = centred - centred.mean(axis=1, keepdims=True)
    return (centred / np.linalg.norm(centred, axis=(1, 2), keepdims=True)).reshape(len(points), -1)


@dataclass(frozen=True)
class Row:
    """What was found on one gate.

    Attributes:
        champion: its score; None where there is no champion.
        loss: challenger against champion in the metric's unit, positive where the challenger is worse.
        low, high: simultaneous bounds of the loss.
        allowed: loss in the metric's unit.
        visible: the true loss that would be found with probability 0.9.
    """

    gate: Gate
    champion: float | None
    challenger: float
    loss: float = 0.0
    low: float = 0.0
    high: float = 0.0
    allowed: float = 0.0
    visible: float = 0.0

    @property
    def below_floor(self) -> bool:
        return self.gate.floor is not None and self.gate.sign * (self.challenger - self.gate.floor) > 0

    @property
    def worse(self) -> bool:
        return self.champion is not None and self.low > self.allowed

    @property
    def better(self) -> bool:
        return self.champion is not None and self.high < 0

    @property
    def could_be_better(self) -> bool:
        return self.champion is None or self.low <= 0


@dataclass(frozen=True)
class Copying:
    """How far below the loss of copying a challenger is, and how far it has to be, in percent of that loss."""

    below: float
    least: float

    @property
    def holds(self) -> bool:
        return self.below >= self.least

    def __str__(self) -> str:
        where = f"{abs(self.below):.1f} % {'below' if self.below >= 0 else 'above'}"
        return f"its validation loss is {where} that of copying, and must be {self.least:g} % below"


def copying_of(challenger: str, below: float | None, gates: Gates) -> Copying | None:
    """What the rule on copying says of a challenger; None where there is no rule, or its objective knows no copying.

    Args:
        challenger: its name.
        below: see Evaluation.
        gates: the rules.

    Raises:
        CannotCompare: nothing says how far below copying it is.
    """
    if gates.below_copying_pct is None or below is None:
        return None
    if math.isnan(below):
        raise CannotCompare(
            f"{challenger}: nothing says how far its validation loss is below that of copying; train and report it "
            "again, or take below_copying_pct out of gates.yaml"
        )
    return Copying(below, gates.below_copying_pct)


@dataclass(frozen=True)
class Verdict:
    """All rows and who was compared. `rule` says how, in words; `copying` is None where that rule does not apply."""

    champion: str | None
    challenger: str
    rows: tuple[Row, ...]
    rule: str
    copying: Copying | None = None

    @property
    def reasons(self) -> list[str]:
        """Why the challenger is refused; empty where it passes."""
        reasons = [f"{_name(row.gate)} is worse by more than {row.gate.allowed_loss}" for row in self.rows if row.worse]
        reasons += [
            f"{_name(row.gate)} is {row.challenger:.2f} and must be {row.gate.floor:g} or {row.gate.direction}"
            for row in self.rows
            if row.below_floor
        ]
        if not any(row.could_be_better for row in self.rows):
            reasons.append("it is worse on every gate, and better on none")
        if self.copying is not None and not self.copying.holds:
            reasons.append(f"it still copies: {self.copying}")
        return reasons

    @property
    def passed(self) -> bool:
        return not self.reasons

    @property
    def exit_code(self) -> int:
        return 0 if self.passed else 2


def judge(champion: Evaluation | None, challenger: Evaluation, gates: Gates) -> Verdict:
    """Compare two models on their stored predictions; without a champion, only floors count.

    Args:
        champion: the model in service.
        challenger: the one that may replace it.
        gates: gates.yaml.

    Raises:
        CannotCompare: they were not scored on the same faces and labels, or a metric has no value.
    """
    check_comparable(challenger if champion is None else champion, challenger, gates)
    copying = copying_of(challenger.name, challenger.below_copying, gates)
    ours = _draws(challenger, gates)
    if champion is None:
        return first(challenger.name, {key: value for key, (value, _) in ours.items()}, gates, copying)
    rows = compare(_draws(champion, gates), ours, gates)
    people = min(challenger.sets[name]["identity"].nunique() for name in gates.sets)
    rule = f"paired bootstrap over {people} or more identities, {gates.resamples} resamples"
    return Verdict(champion.name, challenger.name, rows, rule, copying)


def first(
    challenger: str, values: Mapping[tuple[str, str], float], gates: Gates, copying: Copying | None = None
) -> Verdict:
    """The verdict on a model that has no predecessor.

    Args:
        challenger: its name.
        values: its scores, by set and metric.
        gates: the rules, of which only the floors count.
        copying: what the rule on copying says of it.
    """
    rows = tuple(Row(gate, None, lookup(values, gate, challenger)) for gate in gates.gates)
    return Verdict(None, challenger, rows, "there is no champion yet: floors only", copying)


def compare(
    champion: Mapping[tuple[str, str], Drawn], challenger: Mapping[tuple[str, str], Drawn], gates: Gates
) -> tuple[Row, ...]:
    """Rows from scores on the same resamples, by (set, metric).

    Args:
        champion, challenger: value, and values over the resamples.
        gates: the rules.
    """
    pairs = [(lookup(champion, g, "the champion"), lookup(challenger, g, "the challenger")) for g in gates.gates]
    losses = np.array([g.sign * (b[0] - a[0]) for g, (a, b) in zip(gates.gates, pairs, strict=True)])
    drawn = np.array([g.sign * (b[1] - a[1]) for g, (a, b) in zip(gates.gates, pairs, strict=True)])
    errors = np.nanstd(drawn, axis=1)
    # Scores that agree on every resample leave rounding alone, which is not to be divided by.
    moves = errors > 1e-9 * np.abs([a[0] for a, _ in pairs])
    deviations = (drawn[moves] - losses[moves, None]) / errors[moves, None]

    def reach(sign: int) -> float:
        if not moves.any():
            return 0.0
        return float(np.nanquantile(np.nanmax(sign * deviations, axis=0), gates.confidence))

    errors = np.where(moves, errors, 0)
    below, above = reach(1) * errors, reach(-1) * errors
    return tuple(
        _row(gate, a[0], b[0], loss, low, high, error * NormalDist().inv_cdf(_POWER))
        for gate, (a, b), loss, low, high, error in zip(gates.gates, pairs, losses, below, above, errors, strict=True)
    )


def compare_intervals(
    champion: Mapping[tuple[str, str], Mapping[str, float]],
    challenger: Mapping[tuple[str, str], Mapping[str, float]],
    gates: Gates,
) -> tuple[Row, ...]:
    """Rows from scores with 95 % intervals alone, as metrics.json has them: a weaker rule.

    The two scores count as independent, though both are of the same people, and each gate bears its share of the error
    rate. Bounds are therefore too wide, as long as what is hard for one model is hard for the other: some losses pass
    here that the paired rule refuses.

    Args:
        champion, challenger: value, low, high and n.
        gates: the rules.
    """
    reach = NormalDist().inv_cdf(1 - (1 - gates.confidence) / len(gates.gates))
    width = 2 * NormalDist().inv_cdf(0.975)
    rows = []
    for gate in gates.gates:
        a, b = lookup(champion, gate, "the champion"), lookup(challenger, gate, "the challenger")
        # Equal scores with equal intervals are the same predictions, scored twice.
        same = dict(a) == dict(b)
        error = 0.0 if same else float(np.hypot(a["high"] - a["low"], b["high"] - b["low"]) / width)
        loss = gate.sign * (b["value"] - a["value"])
        slack = error * NormalDist().inv_cdf(_POWER)
        rows.append(_row(gate, a["value"], b["value"], loss, reach * error, reach * error, slack))
    return tuple(rows)


def lookup(values: Mapping[tuple[str, str], Any], gate: Gate, whose: str) -> Any:
    """The value of a gate's metric.

    Args:
        values: by set and metric.
        gate: the rule.
        whose: model, for the error.

    Raises:
        CannotCompare: there is none.
    """
    if (gate.set, gate.metric) not in values:
        raise CannotCompare(
            f"set {gate.set}: {whose} has no {gate.metric}; score it, or take its gate out of gates.yaml"
        )
    return values[gate.set, gate.metric]


def _row(gate: Gate, a: float, b: float, loss: float, below: float, above: float, slack: float) -> Row:
    allowed = gate.allowed_loss.in_units(a)
    loss += 0.0  # no -0
    return Row(gate, a, b, float(loss), float(loss - below), float(loss + above), allowed, allowed + below + slack)


def _draws(side: Evaluation, gates: Gates) -> dict[tuple[str, str], Drawn]:
    found: dict[tuple[str, str], Drawn] = {}
    for name in gates.sets:
        part = side.sets[name]
        part = part[part["task"].isin(gates.tasks(name))]
        # Sets have different people, so they need different resamples: equal ones would make them agree by chance.
        scores = bootstrap(part, gates.resamples, crc32(f"{gates.seed}/{name}".encode()))
        found |= {(name, metric): (value, drawn) for metric, (value, drawn, _) in scores.items()}
    return found


def _name(gate: Gate) -> str:
    return f"{gate.set}: {gate.metric}"


def report(verdict: Verdict, page: Path | None = None) -> int:
    """Print a verdict, write it to the file `page` as Markdown if one is given, and return the exit code.

    Args:
        verdict: to be shown.
        page: Markdown file to write, if any.
    """
    print(text(verdict), end="")
    if page is not None:
        with atomic_file(page) as temporary:
            temporary.write_text(markdown(verdict))
    return verdict.exit_code


def summary(verdict: Verdict) -> str:
    """One line."""
    against = f"against {verdict.champion}" if verdict.champion else "as the first champion"
    if not verdict.passed:
        return f"REFUSED: {verdict.challenger} {against}: {'; '.join(verdict.reasons)}"
    better = [f"{row.gate.set}: {row.gate.metric}" for row in verdict.rows if row.better]
    if better:
        return f"PASSED: {verdict.challenger} {against}: worse on none, better on {', '.join(better)}"
    told = ": worse on none; better on none beyond chance" if verdict.champion else ": above every floor"
    return f"PASSED: {verdict.challenger} {against}{told}"


def text(verdict: Verdict) -> str:
    """The table in columns, what it means, and the summary."""
    table = [_HEADER, *(_cells(row) for row in verdict.rows)]
    widths = [max(len(line[column]) for line in table) for column in range(len(_HEADER))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in table]
    return "\n".join([*lines, "", _legend(verdict), summary(verdict)]) + "\n"


def markdown(verdict: Verdict) -> str:
    """The same as a page, for a report or the summary of a CI job."""
    lines = [f"| {' | '.join(_HEADER)} |", "|---" * len(_HEADER) + "|"]
    lines += [f"| {' | '.join(_cells(row, bold=True))} |" for row in verdict.rows]
    return "\n".join(["# Gate", "", f"**{summary(verdict)}**", "", *lines, "", _legend(verdict)]) + "\n"


def _legend(verdict: Verdict) -> str:
    copying = f" {str(verdict.copying).capitalize()}." if verdict.copying is not None else ""
    if verdict.champion is None:
        return f"Compared by: {verdict.rule}.{copying}"
    blind = [row.gate.metric for row in verdict.rows if row.champion and row.visible > 0.1 * row.champion]
    legend = f"Losses are positive where the challenger is worse. Compared by: {verdict.rule}."
    if blind:
        legend += f" These test faces are too few to see a loss of 10 % on {', '.join(dict.fromkeys(blind))}."
    return legend + copying


def _cells(row: Row, bold: bool = False) -> Sequence[str]:
    gate = row.gate
    state = "worse" if row.worse else "below the floor" if row.below_floor else "better" if row.better else "not worse"
    if row.champion is None and not row.below_floor:
        state = "above the floor" if gate.floor is not None else "no floor"
    if bold and (row.worse or row.below_floor):
        state = f"**{state}**"
    floor = "–" if gate.floor is None else f"{gate.floor:g}"
    if row.champion is None:
        return gate.set, gate.metric, "–", f"{row.challenger:.2f}", "–", "–", "–", floor, state
    bounds = f"[{row.low:+.2f}, {row.high:+.2f}]"
    loss = f"{row.loss:+.2f} ({100 * row.loss / row.champion:+.1f} %)" if row.champion else f"{row.loss:+.2f}"
    champion, challenger = f"{row.champion:.2f}", f"{row.challenger:.2f}"
    return gate.set, gate.metric, champion, challenger, loss, bounds, str(gate.allowed_loss), floor, state
