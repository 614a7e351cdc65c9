"""`fabnet verify`: gathers what the commit says and what this machine made."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fabnet.errors import UserError
from fabnet.pipeline import Stage, makers, read_pipeline, upstream
from fabnet.tracking.gate.committed import file_of, require_commit
from fabnet.tracking.gate.evaluation import CannotCompare
from fabnet.tracking.lock import parse_added, parse_lock, read_lock
from fabnet.tracking.verify.machine import processor
from fabnet.tracking.verify.rules import VerifyRules
from fabnet.tracking.verify.scores import ScoreRow, compare_scores, parse_scores
from fabnet.tracking.verify.stages import BROKEN, EQUAL, StageRow, compare_stages, promised

#: The stage that `make repro` asks for.
TARGET = "report"


@dataclass(frozen=True)
class Verified:
    """The verdict on a repro.

    Attributes:
        base: the commit as it was asked for.
        commit: its full name.
        processor: of this machine.
        stages: in the order of dvc.yaml.
        scores: none where only data were asked for.
    """

    base: str
    commit: str
    processor: str
    stages: Sequence[StageRow]
    scores: Sequence[ScoreRow]

    @property
    def reasons(self) -> list[str]:
        """Why it is not reproduced; empty if it is."""
        broken = [f"{row.stage}: {row.differing[0]} should not differ" for row in self.stages if row.verdict == BROKEN]
        outside = [
            f"{row.set}: {row.encoder}: {row.metric} is {row.here:.3f}, was {row.committed:.3f}, tolerance "
            f"{row.tolerance:.3f}"
            for row in self.scores
            if not row.within
        ]
        return broken + outside

    @property
    def exit_code(self) -> int:
        return 2 if self.reasons else 0

    @property
    def rewritten(self) -> bool:
        """Whether dvc.lock of this machine differs from the commit's."""
        return any(row.verdict != EQUAL for row in self.stages)


def verify(root: Path, base: str, rules: VerifyRules, data_only: bool = False) -> Verified:
    """Compare what this machine made with what the commit `base` says of itself.

    Args:
        data_only: only the stages whose outputs are promised to the byte, and no scores.

    Raises:
        CannotCompare: something has not run here, or the commit is another experiment. Says what.
        UserError: DVC cannot read the pipeline.
    """
    commit = require_commit(root, base)
    if not (root / "dvc.lock").is_file():
        raise CannotCompare("dvc.lock: no such file; run `make repro`, which writes it")
    needed = upstream(TARGET, read_pipeline(root))
    added = [stage for stage in needed if stage.added]
    stages = [stage for stage in needed if not stage.added]
    if data_only:
        safe = promised(stages, rules)
        stages = [stage for stage in stages if stage.name in safe]
    locked = file_of(root, base, "dvc.lock")
    if locked is None:
        raise CannotCompare(f"{base}: has no dvc.lock to compare with; name another commit by BASE=")
    here, there = read_lock(root), parse_lock(locked, f"dvc.lock of {base}")
    _check_ran(root, stages, data_only)
    read = {each.name for stage in stages for dep in stage.deps for each in makers(dep, added)}
    _check_added(root, base, sorted(read))
    rows = compare_stages(stages, there, here, rules, base)
    scores = [] if data_only else _scores(root, base, rules)
    return Verified(base, commit, processor(), rows, scores)


def _scores(root: Path, base: str, rules: VerifyRules) -> list[ScoreRow]:
    committed = file_of(root, base, "metrics.json")
    if committed is None:
        raise CannotCompare(f"{base}: has no metrics.json to compare with; name another commit by BASE=")
    theirs = parse_scores(committed, f"metrics.json of {base}")
    return compare_scores(theirs, parse_scores((root / "metrics.json").read_text(), "metrics.json"), rules, base)


def _check_ran(root: Path, stages: Sequence[Stage], data_only: bool) -> None:
    """Every stage has run here on the code, params and inputs that lie here, and its outputs lie here as it made them.

    Raises:
        CannotCompare: names the first stage of which that is not so.
        UserError: DVC cannot say.
    """
    from dvc.exceptions import DvcException  # type: ignore[import-untyped]
    from dvc.repo import Repo  # type: ignore[import-untyped]

    wanted = {stage.name for stage in stages}
    try:
        with Repo(str(root)) as repo:
            found = {each.name: _pending(each) for each in repo.index.stages if getattr(each, "name", None) in wanted}
    except DvcException as error:
        raise UserError(f"DVC cannot say what has run here: {' '.join(str(error).split())}") from None
    pending = {stage.name: found[stage.name] for stage in stages if found.get(stage.name)}
    if pending:
        name, why = next(iter(pending.items()))
        more = f" (and {len(pending) - 1} more stages)" if len(pending) > 1 else ""
        advice = "" if data_only else ", or compare data alone with --data"
        raise CannotCompare(f"{name}: {why}{more}; run `make repro`{advice}")


def _check_added(root: Path, base: str, files: Sequence[str]) -> None:
    """The .dvc files of inputs name what those of the commit name.

    Raises:
        CannotCompare: one does not, or the commit has none of that name.
        UserError: one of them is none that DVC writes.
    """
    for name in files:
        theirs = file_of(root, base, name)
        if theirs is None:
            raise CannotCompare(f"{name}: {base} has none: other inputs; name another commit by BASE=")
        if parse_added((root / name).read_text(), name) != parse_added(theirs, f"{name} of {base}"):
            raise CannotCompare(
                f"{name}: does not name the data that it names in {base}: other inputs; check out that commit's (git "
                "checkout, dvc checkout), or name another commit by BASE="
            )


def _pending(stage: Any) -> str:
    """Why a stage of DVC's has to run; empty if it has run on what lies here, be it in DVC's cache or not."""
    absent = [out.def_path for out in stage.outs if not out.exists]
    if absent:
        return f"has not run here: {absent[0]} is absent"
    if stage.cmd_changed:
        return "its command has changed since it ran"
    for dep in stage.deps:
        for path, how in dep.workspace_status().items():
            keys = f" ({', '.join(how)})" if isinstance(how, dict) else ""
            return f"{path if keys else dep.def_path}{keys} has changed since it ran"
    changed = [out.def_path for out in stage.outs if out.workspace_status()]
    return f"{changed[0]} is not what it made" if changed else ""
