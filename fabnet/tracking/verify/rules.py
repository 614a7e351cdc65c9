"""verify.yaml: what may differ between two machines that run the same code on the same params, and by how much."""

from collections.abc import Mapping
from pathlib import Path
from statistics import NormalDist
from typing import Annotated

from pydantic import Field, field_validator

from fabnet.tracking.gate.rules import TASK_OF, Strict, read_rules

#: Of the intervals in metrics.json, in standard errors.
_HALF_WIDTH = NormalDist().inv_cdf(0.975)

NotNegative = Annotated[float, Field(ge=0)]


class VerifyRules(Strict):
    """All of verify.yaml.

    Attributes:
        confidence: that a repro which differs by chance alone passes, over all scores together.
        trained: kinds of stage whose sums are rounded as the processor does it. They and what reads their outputs may
            differ; the outputs of all others are promised to the byte.
        params: last parts of keys of params.yaml that no output depends on.
        untrained: encoders that learn nothing from the videos, on which only rounding may show.
        rounding_pct: by which their scores may differ, in percent of the committed one.
        spread: standard deviation of a score over trainings, in the metric's unit.
        unmeasured: the same for metrics that `spread` does not name, in standard errors over identities.
    """

    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.97
    trained: Annotated[tuple[str, ...], Field(min_length=1)]
    params: tuple[str, ...] = ()
    untrained: tuple[str, ...] = ()
    rounding_pct: NotNegative = 0.1
    spread: Mapping[str, Annotated[float, Field(gt=0)]] = {}
    unmeasured: Annotated[float, Field(gt=0)] = 1.5

    @field_validator("spread")
    @classmethod
    def _known(cls, spread: Mapping[str, float]) -> Mapping[str, float]:
        if unknown := sorted(spread.keys() - TASK_OF.keys()):
            raise ValueError(f"no such metric as {unknown[0]}; there are {', '.join(TASK_OF)}")
        return spread

    def reach(self, scores: int) -> float:
        """Standard errors within which each of so many scores lies, all of them together with `confidence`."""
        return NormalDist().inv_cdf(1 - (1 - self.confidence) / (2 * max(scores, 1)))

    def tolerance(self, encoder: str, metric: str, committed: Mapping[str, float], scores: int) -> float:
        """By which a score may differ from the committed one, in the metric's unit.

        Two trainings differ by the root of two of what one varies by. Another training also errs on other faces, so
        that the test people do not cancel altogether: their standard error, by the committed interval, counts once.

        Args:
            committed: `value`, `low` and `high`, a 95 % interval over identities.
            scores: number of scores that are compared.
        """
        if encoder in self.untrained:
            return self.rounding_pct / 100 * abs(committed["value"])
        error = (committed["high"] - committed["low"]) / (2 * _HALF_WIDTH)
        spread = self.spread.get(metric, self.unmeasured * error)
        return float(self.reach(scores) * (2 * spread**2 + error**2) ** 0.5)


def read_verify_rules(path: Path | str = "verify.yaml") -> VerifyRules:
    """Read and validate verify.yaml.

    Raises:
        GatesError: the file is absent, is no YAML, or holds an unknown or impossible key, which is named.
    """
    return read_rules(path, VerifyRules, "it says what may differ between machines (docs/reproducibility.md)")
