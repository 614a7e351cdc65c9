"""The verdict of `fabnet verify` as text, Markdown and JSON."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any

from fabnet.files import atomic_file, write_json
from fabnet.tracking.verify.stages import EQUAL
from fabnet.tracking.verify.verify import Verified

_STAGES = ("stage", "outputs equal", "verdict")
_SCORES = ("encoder", "metric", "committed", "here", "difference", "tolerance", "verdict")
_NUMBERS = range(2, 6)  # columns of _SCORES that are set flush right


def report(done: Verified, page: Path | None = None, data: Path | None = None) -> int:
    """Print a verdict, write it to the files `page` as Markdown and `data` as JSON, and return the exit code."""
    print(text(done), end="")
    if page is not None:
        with atomic_file(page) as temporary:
            temporary.write_text(markdown(done))
    if data is not None:
        write_json(data, as_json(done))
    return done.exit_code


def summary(done: Verified) -> str:
    """One line, of as many as matter."""
    if done.reasons:
        more = f" (and {len(done.reasons) - 1} more)" if len(done.reasons) > 1 else ""
        return f"NOT REPRODUCED: {done.reasons[0]}{more}"
    equal = sum(row.verdict == EQUAL for row in done.stages)
    others = ", others differ as training does" if done.rewritten else ""
    scores = f"; {len(done.scores)} scores within tolerance" if done.scores else ""
    return f"REPRODUCED: {equal} of {len(done.stages)} stages equal to the byte{others}{scores}"


def advice(done: Verified) -> str:
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


def text(done: Verified) -> str:
    """Two tables, the summary, and what to do."""
    lines = [f"this machine: {done.processor}", f"compared with: {done.base} ({done.commit[:12]})", ""]
    lines += _columns([_STAGES, *_stage_cells(done)])
    for name, rows in groupby(_score_cells(done), key=lambda cells: cells[0]):
        lines += ["", f"set {name}", *_columns([_SCORES, *_once([cells[1:] for cells in rows])], _NUMBERS)]
    lines += ["", summary(done)]
    if told := advice(done):
        lines += ["", told]
    return "\n".join(lines) + "\n"


def markdown(done: Verified) -> str:
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


def as_json(done: Verified) -> dict[str, Any]:
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


def _stage_cells(done: Verified) -> list[Sequence[str]]:
    return [(row.stage, f"{row.outs - len(row.differing)} of {row.outs}", row.verdict) for row in done.stages]


def _score_cells(done: Verified) -> list[Sequence[str]]:
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
