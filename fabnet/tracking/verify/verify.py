"""Whether a commit was reproduced on this machine, and the verdict as text, Markdown and JSON."""

import platform
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from fabnet.errors import UserError, counted, one_line
from fabnet.files import atomic_file, write_json
from fabnet.pipeline import Stage, makers, read_pipeline, upstream
from fabnet.tracking.gate.commits import file_of, require_commit
from fabnet.tracking.gate.compare import CannotCompare
from fabnet.tracking.lineage import parse_added, parse_lock, read_lock
from fabnet.tracking.verify.compare import (
    BROKEN,
    EQUAL,
    ScoreRow,
    StageRow,
    VerifyRules,
    compare_scores,
    compare_stages,
    parse_scores,
    promised,
)

#: Instruction sets by which sums of training, and so trained weights, differ.
_SHOWN = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")

#: The stage that `make repro` asks for.
TARGET = "report"
_STAGES = ("stage", "outputs equal", "verdict")
_SCORES = ("encoder", "metric", "committed", "here", "difference", "tolerance", "verdict")
_NUMBERS = range(2, 6)  # columns of _SCORES that are set flush right


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Its name, and which instruction sets it has of those that matter to training; no more than is known."""
    about: dict[str, str] = {}
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            key, _, value = line.partition(":")
            about.setdefault(key.strip(), value.strip())
    name = about.get("model name") or platform.processor() or platform.machine()
    has = [flag for flag in _SHOWN if flag in about.get("flags", "").split()]
    return f"{name} ({', '.join(has)})" if has else name


@dataclass(frozen=True)
class Verification:
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


def verify(root: Path, base: str, rules: VerifyRules, data_only: bool = False) -> Verification:
    """Compare what this machine made with what the commit `base` says of itself.

    Args:
        root: of the project.
        base: a commit, as git knows it.
        rules: verify.yaml.
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
    # Files that somebody added are compared only where a stage that is compared reads them.
    read = {each.name for stage in stages for dep in stage.deps for each in makers(dep, added)}
    _check_added(root, base, sorted(read))
    rows = compare_stages(stages, there, here, rules, base)
    scores = [] if data_only else _scores(root, base, rules)
    return Verification(base, commit, processor(), rows, scores)


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
        raise UserError(f"DVC cannot say what has run here: {one_line(error, None)}") from None
    pending = {stage.name: found[stage.name] for stage in stages if found.get(stage.name)}
    if pending:
        name, why = next(iter(pending.items()))
        more = f" (and {counted(len(pending) - 1, 'more stage')})" if len(pending) > 1 else ""
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


def report(done: Verification, page: Path | None = None, data: Path | None = None) -> int:
    """Print a verdict, write it to the files `page` as Markdown and `data` as JSON, and return the exit code.

    Args:
        done: the verdict.
        page: Markdown file to write, if any.
        data: JSON file to write, if any.
    """
    print(text(done), end="")
    if page is not None:
        with atomic_file(page) as temporary:
            temporary.write_text(markdown(done))
    if data is not None:
        write_json(data, as_json(done))
    return done.exit_code


def summary(done: Verification) -> str:
    """One line, of as many as matter."""
    if done.reasons:
        more = f" (and {len(done.reasons) - 1} more)" if len(done.reasons) > 1 else ""
        return f"NOT REPRODUCED: {done.reasons[0]}{more}"
    equal = sum(row.verdict == EQUAL for row in done.stages)
    others = ", others differ as training does" if done.rewritten else ""
    scores = f"; {len(done.scores)} scores within tolerance" if done.scores else ""
    return f"REPRODUCED: {equal} of {len(done.stages)} stages equal to the byte{others}{scores}"


def advice(done: Verification) -> str:
    """What to do with what git shows as changed; empty where nothing has changed."""
    if not done.rewritten:
        return ""
    # Not `git restore`: DVC then wants the outputs that dvc.lock names, does not ask its run cache, and trains again.
    return (
        "dvc.lock, metrics.json and reports/ now say what this machine made, so git shows them as changed.\n"
        "Leave them while you work here: under the commit's dvc.lock, DVC would train again.\n"
        "To put them aside, and to have them back before the next repro:\n"
        "  git stash push dvc.lock metrics.json reports\n"
        "  git stash pop\n"
        "To make this machine the reference: commit them."
    )


def text(done: Verification) -> str:
    """Two tables, the summary, and what to do."""
    lines = [f"this machine: {done.processor}", f"compared with: {done.base} ({done.commit[:12]})", ""]
    lines += _columns([_STAGES, *_stage_cells(done)])
    for name, rows in groupby(_score_cells(done), key=lambda cells: cells[0]):
        lines += ["", f"set {name}", *_columns([_SCORES, *_once([cells[1:] for cells in rows])], _NUMBERS)]
    lines += ["", summary(done)]
    if told := advice(done):
        lines += ["", told]
    return "\n".join(lines) + "\n"


def markdown(done: Verification) -> str:
    """The same as a page."""
    lines = [
        "# Verify",
        "",
        f"**{summary(done)}**",
        "",
        f"This machine: {done.processor}. Compared with: `{done.base}`",
    ]
    lines[-1] += f" ({done.commit[:12]})."
    lines += ["", *_table(_STAGES, _stage_cells(done))]
    for name, rows in groupby(_score_cells(done), key=lambda cells: cells[0]):
        lines += ["", f"Set `{name}`:", "", *_table(_SCORES, [cells[1:] for cells in rows])]
    if told := advice(done):
        lines += ["", *(f"{line}  " for line in told.splitlines())]
    return "\n".join(lines) + "\n"


def as_json(done: Verification) -> dict[str, Any]:
    """All of it, in full precision."""
    return {
        "base": done.base,
        "commit": done.commit,
        "processor": done.processor,
        "reproduced": not done.reasons,
        "reasons": done.reasons,
        "stages": [asdict(row) for row in done.stages],
        "scores": [{**asdict(row), "difference": row.difference, "verdict": row.verdict} for row in done.scores],
    }


def _stage_cells(done: Verification) -> list[Sequence[str]]:
    return [(row.stage, f"{row.outs - len(row.differing)} of {row.outs}", row.verdict) for row in done.stages]


def _score_cells(done: Verification) -> list[Sequence[str]]:
    return [
        (
            *(row.set, row.encoder, row.metric),
            *(f"{value:.3f}" for value in (row.committed, row.here)),
            f"{row.difference + 0.0:+.3f}",
            f"{row.tolerance:.3f}",
            row.verdict,
        )
        for row in done.scores
    ]


def _once(rows: Sequence[Sequence[str]]) -> Iterator[Sequence[str]]:
    """The rows with an encoder's name in its first one only."""
    before = ""
    for encoder, *rest in rows:
        yield "" if encoder == before else encoder, *rest
        before = encoder


def _columns(table: Sequence[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    return [
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in table
    ]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows)]
