"""Stage by stage and score by score: did this machine make what the commit's dvc.lock and metrics.json say?

verify.yaml says what may differ between two machines that run the same code on the same params, and by how much.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Annotated, Any

from pydantic import Field, field_validator

from fabnet.errors import one_line
from fabnet.pipeline import Stage, makers
from fabnet.probing.predictions import PAPER_PREFIX
from fabnet.tracking.gate.compare import CannotCompare
from fabnet.tracking.gate.rules import TASK_OF, Strict, read_rules
from fabnet.tracking.lineage import Entry

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
            encoder, metric: whose score.
            committed: `value`, `low` and `high`, a 95 % interval over identities.
            scores: number of scores that are compared.
        """
        if encoder in self.untrained:
            return self.rounding_pct / 100 * abs(committed["value"])
        error = (committed["high"] - committed["low"]) / (2 * _HALF_WIDTH)
        spread = self.spread.get(metric.removeprefix(PAPER_PREFIX), self.unmeasured * error)
        return float(self.reach(scores) * (2 * spread**2 + error**2) ** 0.5)


def read_verify_rules(path: Path | str = "verify.yaml") -> VerifyRules:
    """Read and validate verify.yaml.

    Raises:
        GatesError: the file is absent, is no YAML, or holds an unknown or impossible key, which is named.
    """
    return read_rules(path, VerifyRules, "it says what may differ between machines (docs/reproducibility.md)")


EQUAL = "equal"
TRAINED = "differs (as training does on another processor)"
BROKEN = "differs: data should not"

#: By set, encoder and metric: `value`, `low`, `high` and `n`.
Scores = Mapping[tuple[str, str, str], Mapping[str, float]]


@dataclass(frozen=True)
class StageRow:
    """What was found of one stage.

    Attributes:
        outs: number of its outputs, here or in the commit.
        differing: those that are not as in the commit's lock.
        verdict: EQUAL, TRAINED or BROKEN.
    """

    stage: str
    outs: int
    differing: tuple[str, ...]
    verdict: str


def promised(stages: Sequence[Stage], rules: VerifyRules) -> set[str]:
    """Names of the stages whose outputs are equal on every machine: no sum of training is in them.

    Args:
        stages: of the pipeline, resolved.
        rules: verify.yaml.
    """
    by_name = {stage.name: stage for stage in stages}
    free = {stage.name for stage in stages if stage.kind in rules.trained}
    reads = {stage.name: {each.name for dep in stage.deps for each in makers(dep, stages)} for stage in stages}
    while more := {name for name in by_name.keys() - free if reads[name] & free}:
        free |= more
    return by_name.keys() - free


def compare_stages(
    stages: Sequence[Stage], there: Mapping[str, Entry], here: Mapping[str, Entry], rules: VerifyRules, base: str
) -> list[StageRow]:
    """A row for each of `stages`, in their order.

    Args:
        stages: of the pipeline, resolved.
        there, here: the entries of the commit's dvc.lock and of the working tree's.
        rules: verify.yaml.
        base: the commit, as messages name it.

    Raises:
        CannotCompare: the two are another experiment: other params, stages, code or inputs. Says which first.
    """
    check_same_experiment(stages, there, here, rules, base)
    safe = promised(stages, rules)
    rows = []
    for stage in stages:
        ours, theirs = here[stage.name].outs, there[stage.name].outs
        outs = sorted(ours.keys() | theirs)
        differing = tuple(path for path in outs if ours.get(path) != theirs.get(path))
        verdict = EQUAL if not differing else BROKEN if stage.name in safe else TRAINED
        rows.append(StageRow(stage.name, len(outs), differing, verdict))
    return rows


def check_same_experiment(
    stages: Sequence[Stage], there: Mapping[str, Entry], here: Mapping[str, Entry], rules: VerifyRules, base: str
) -> None:
    """Make sure that both locks are of the same params, stages, code and inputs.

    Args:
        stages: of the pipeline, resolved.
        there, here: entries of the commit's dvc.lock and of this machine's, by name.
        rules: verify.yaml.
        base: the commit, for the error.

    Raises:
        CannotCompare: they are not.
    """
    lacking = [stage.name for stage in stages if stage.name not in here]
    if lacking:
        raise CannotCompare(f"dvc.lock: has no {lacking[0]}{_more(lacking)}; run `make repro`, which writes it")
    both = [stage for stage in stages if stage.name in there]
    changed: dict[str, tuple[Any, Any]] = {}
    for stage in both:
        ours, theirs = (dict(_leaves(entries[stage.name].params)) for entries in (here, there))
        for key in sorted(ours.keys() | theirs):
            if ours.get(key) != theirs.get(key) and key.rpartition(".")[2] not in rules.params:
                changed.setdefault(key, (ours.get(key), theirs.get(key)))
    # Params come first, since they explain what differs below: another profile has other stages and inputs.
    if changed:
        key, (ours, theirs) = next(iter(changed.items()))
        where = key if ": " in key else f"params.yaml: {key}"
        raise CannotCompare(
            f"{where} is {_shown(ours)} here and {_shown(theirs)} in {base}{_more(changed)}: another experiment; "
            "choose its profile (`fabnet params use`) and run `make repro`, or name another commit by BASE="
        )
    if new := [stage.name for stage in stages if stage.name not in there]:
        raise CannotCompare(
            f"dvc.lock of {base}: has no {new[0]}{_more(new)}: another experiment; name another commit by BASE="
        )
    # Only what no stage makes: a difference in what a stage makes is what this comparison is about.
    inputs = {
        str(dep): stage.name
        for stage in both
        for dep in stage.deps
        if not makers(dep, stages) and here[stage.name].deps.get(str(dep)) != there[stage.name].deps.get(str(dep))
    }
    if inputs:
        path, name = next(iter(inputs.items()))
        raise CannotCompare(
            f"{path}: is not what {name} read in {base}{_more(inputs)}: another experiment; check out that commit's, "
            "or name another commit by BASE="
        )
    if commands := [stage.name for stage in both if here[stage.name].cmd != there[stage.name].cmd]:
        raise CannotCompare(
            f"dvc.yaml: the command of {commands[0]} is not that of {base}{_more(commands)}: another experiment; check "
            "out that commit's, or name another commit by BASE="
        )


def _leaves(values: Mapping[str, Any], key: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        inner = f"{key}.{name}".lstrip(".")
        if isinstance(value, dict) and value:
            yield from _leaves(value, inner)
        else:
            yield inner, value


def _shown(value: Any) -> str:
    return "absent" if value is None else str(value)


def _more(found: Sequence[str] | Mapping[str, Any]) -> str:
    return f" (and {len(found) - 1} more)" if len(found) > 1 else ""


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

    Args:
        text: of metrics.json.
        where: the file, for errors.

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
        raise CannotCompare(f"{where}: not the scores that `report` writes: {one_line(error, None)}") from None


def compare_scores(theirs: Scores, ours: Scores, rules: VerifyRules, base: str) -> list[ScoreRow]:
    """A row for each score, in order of set, encoder and metric.

    Args:
        theirs, ours: by set, encoder and metric, as metrics.json has them.
        rules: verify.yaml.
        base: the commit, for the error.

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
