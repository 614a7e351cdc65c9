"""Is the challenger worse? A paired bootstrap over people, with one error rate for all gates together.

Both models are scored on the same resamples of whole identities, so what makes a person hard cancels. A loss is the
difference of the scores, positive where the challenger is worse. Its bounds come from the resamples' largest deviation
over all gates, each in its own standard error: with probability `confidence` no lower bound lies above its true loss,
however the metrics hang together. So a challenger that is in truth nowhere worse passes with at least that
probability, and it is told from the champion as soon as the test faces can tell them apart.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any
from zlib import crc32

import numpy as np

from fabnet.probing.intervals import bootstrap
from fabnet.tracking.gate.evaluation import CannotCompare, Evaluation, check_comparable
from fabnet.tracking.gate.rules import Gate, Gates

#: A score's value, and its values over resamples (R,).
Drawn = tuple[float, np.ndarray]

#: Probability at which a loss is called visible.
_POWER = 0.9


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
class Verdict:
    """All rows and who was compared. `rule` says how, in words."""

    champion: str | None
    challenger: str
    rows: tuple[Row, ...]
    rule: str

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
        return reasons

    @property
    def passed(self) -> bool:
        return not self.reasons

    @property
    def exit_code(self) -> int:
        return 0 if self.passed else 2


def judge(champion: Evaluation | None, challenger: Evaluation, gates: Gates) -> Verdict:
    """Compare two models on their stored predictions; without a champion, only floors count.

    Raises:
        CannotCompare: they were not scored on the same faces and labels, or a metric has no value.
    """
    check_comparable(challenger if champion is None else champion, challenger, gates)
    ours = _draws(challenger, gates)
    if champion is None:
        return first(challenger.name, {key: value for key, (value, _) in ours.items()}, gates)
    rows = compare(_draws(champion, gates), ours, gates)
    people = min(challenger.sets[name]["identity"].nunique() for name in gates.sets)
    rule = f"paired bootstrap over {people} or more identities, {gates.resamples} resamples"
    return Verdict(champion.name, challenger.name, rows, rule)


def first(challenger: str, values: Mapping[tuple[str, str], float], gates: Gates) -> Verdict:
    """The verdict on a model that has no predecessor."""
    rows = tuple(Row(gate, None, lookup(values, gate, challenger)) for gate in gates.gates)
    return Verdict(None, challenger, rows, "there is no champion yet: floors only")


def compare(
    champion: Mapping[tuple[str, str], Drawn], challenger: Mapping[tuple[str, str], Drawn], gates: Gates
) -> tuple[Row, ...]:
    """Rows from scores on the same resamples, by (set, metric)."""
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
