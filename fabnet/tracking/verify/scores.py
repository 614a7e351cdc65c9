"""Score by score: does this machine find what metrics.json of the commit says?"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from fabnet.tracking.gate.evaluation import CannotCompare
from fabnet.tracking.verify.rules import VerifyRules

#: By set, encoder and metric: `value`, `low`, `high` and `n`.
Scores = Mapping[tuple[str, str, str], Mapping[str, float]]


@dataclass(frozen=True)
class ScoreRow:
    """One number of metrics.json.

    Attributes:
        committed, here: the commit's value and this machine's, in the metric's unit.
        tolerance: by which they may differ.
    """

    set: str
    encoder: str
    metric: str
    committed: float
    here: float
    tolerance: float

    @property
    def difference(self) -> float:
        return self.here - self.committed

    @property
    def within(self) -> bool:
        return abs(self.difference) <= self.tolerance

    @property
    def verdict(self) -> str:
        return "equal" if self.here == self.committed else "within" if self.within else "OUTSIDE"


def parse_scores(text: str, where: str) -> Scores:
    """The scores in the text of metrics.json.

    Raises:
        CannotCompare: it is none that `report` writes.
    """
    try:
        return {
            (name, encoder, metric): {key: float(value[key]) for key in ("value", "low", "high", "n")}
            for name, encoders in json.loads(text).items()
            for encoder, metrics in encoders.items()
            for metric, value in metrics.items()
        }
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise CannotCompare(f"{where}: not the scores that `report` writes: {' '.join(str(error).split())}") from None


def compare_scores(theirs: Scores, ours: Scores, rules: VerifyRules, base: str) -> list[ScoreRow]:
    """A row for each score, in order of set, encoder and metric.

    Raises:
        CannotCompare: the two score other sets, encoders, metrics or faces. Says which first.
    """
    for side, other, name in ((ours, theirs, base), (theirs, ours, "the working tree")):
        if lacking := sorted(side.keys() - other):
            set_name, encoder, metric = lacking[0]
            more = f" (and {len(lacking) - 1} more)" if len(lacking) > 1 else ""
            raise CannotCompare(
                f"metrics.json of {name}: has no {metric} of {encoder} on set {set_name}{more}: another experiment; "
                "run `make repro` under its params, or name another commit by BASE="
            )
    rows = []
    for key in sorted(theirs):
        set_name, encoder, metric = key
        if theirs[key]["n"] != ours[key]["n"]:
            raise CannotCompare(
                f"metrics.json: {metric} of {encoder} on set {set_name} is of {ours[key]['n']:.0f} faces here and of "
                f"{theirs[key]['n']:.0f} in {base}: another evaluation set"
            )
        tolerance = rules.tolerance(encoder, metric, theirs[key], len(theirs))
        rows.append(ScoreRow(*key, theirs[key]["value"], ours[key]["value"], tolerance))
    return rows
