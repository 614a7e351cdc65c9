"""A verdict as a table that a person can read, on the terminal and in Markdown."""

from collections.abc import Sequence
from pathlib import Path

from fabnet.files import atomic_file
from fabnet.tracking.gate.compare import Row, Verdict

_HEADER = ("set", "metric", "champion", "challenger", "loss", "bounds of the loss", "allowed", "floor", "verdict")


def report(verdict: Verdict, page: Path | None = None) -> int:
    """Print a verdict, write it to the file `page` as Markdown if one is given, and return the exit code."""
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
    if verdict.champion is None:
        return f"Compared by: {verdict.rule}."
    blind = [row.gate.metric for row in verdict.rows if row.champion and row.visible > 0.1 * row.champion]
    legend = f"Losses are positive where the challenger is worse. Compared by: {verdict.rule}."
    if blind:
        legend += f" These test faces are too few to see a loss of 10 % on {', '.join(dict.fromkeys(blind))}."
    return legend


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
