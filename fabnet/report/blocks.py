"""What a report is made of. Sections are built once and rendered as Markdown and as HTML from the same blocks."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from fabnet.errors import UserError
from fabnet.figures.pictures import Gap, Picture, attempt


@dataclass(frozen=True)
class Text:
    """A paragraph or more, in Markdown: emphasis, code, links and lists, no raw HTML."""

    markdown: str


@dataclass(frozen=True)
class Table:
    """Cells are Markdown of one line. The first column names the row."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.head):
                raise ValueError(f"row {row[0]!r} has {len(row)} cells for {len(self.head)} columns")


Block = Text | Table | Picture | Gap


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it. `anchor` names it in links and is unique within a report."""

    title: str
    anchor: str
    blocks: Sequence[Block] = ()
    sections: "Sequence[Section]" = field(default_factory=tuple)


#: What stands in a section, in order; its subsections come after its blocks.
Content = Iterable[Block | Section]


def section(title: str, anchor: str, make: Callable[[], Content], what: str = "") -> Section:
    """The section that `make` fills or, if it raises, its heading over a gap with the reason.

    This is what keeps a part that fails from taking the rest of the report with it.

    Args:
        title: the heading.
        anchor: by which links find it.
        make: gives the content; often a generator.
        what: names the gap; the title if empty.
    """
    content = attempt(what or title, lambda: list(make()))
    parts = [content] if isinstance(content, Gap) else content
    return Section(
        title,
        anchor,
        [part for part in parts if not isinstance(part, Section)],
        [part for part in parts if isinstance(part, Section)],
    )


def gaps_of(sections: Iterable[Section]) -> Iterator[Gap]:
    """All gaps, in the order of the report."""
    for each in sections:
        yield from (block for block in each.blocks if isinstance(block, Gap))
        yield from gaps_of(each.sections)


def require_whole(sections: Iterable[Section], where: str) -> None:
    """Raises UserError naming every gap, if there are any; the report at `where` is written by then.

    Args:
        sections: of the report.
        where: the report's file, for the error.
    """
    gaps = list(gaps_of(sections))
    if gaps:
        named = "; ".join(f"{gap.what}: {gap.why}" for gap in gaps)
        raise UserError(f"{where}: written, but {len(gaps)} part(s) of it could not be made: {named}")


Score = Mapping[str, float | int]
Scores = Mapping[str, Score]

#: Stands where something was not measured.
NOTHING = "–"

#: Column titles of metrics.json's names, in the order of tables.
TITLES = {
    "yaw_mae_deg": "yaw ° ↓",
    "pitch_mae_deg": "pitch ° ↓",
    "roll_mae_deg": "roll ° ↓",
    "pose_mae_deg": "pose ° ↓",
    "landmarks68_nme_pct": "68 landmarks % ↓",
    "landmarks5_nme_pct": "5 landmarks % ↓",
    "mouth_mae_pct": "mouth's opening % ↓",
    "units_auc": "action units AUC ↑",
    "expression_auc": "expression AUC ↑",
}


def score_cell(score: Score, digits: int = 1, bold: bool = True) -> str:
    """Value [low, high].

    Args:
        score: with value, low and high.
        digits: after the point.
        bold: marks the value.
    """
    mark = "**" if bold else ""
    return f"{mark}{score['value']:.{digits}f}{mark} [{score['low']:.{digits}f}, {score['high']:.{digits}f}]"


def number_cell(value: float | None, digits: int) -> str:
    """A number, or NOTHING where there is none.

    Args:
        value: None where it was not measured.
        digits: after the point.
    """
    return NOTHING if value is None else f"{value:.{digits}f}"


def edge(value: float) -> str:
    """An edge of a bin: 15, or 0.5."""
    return f"{value:g}" if value < 1e5 else f"{value:.0f}"


def score_table(scores: Mapping[str, Scores], caption: str = "", saw: Mapping[str, str] | None = None) -> Table:
    """One column per metric that any encoder has: value [low, high].

    Args:
        scores: {encoder: {metric: {"value", "low", "high", "n"}}}; the first encoders come first.
        caption: above the table.
        saw: what encoders learnt from, a column of its own; left out or empty, there is none.
    """
    metrics = [metric for metric in TITLES if any(metric in row for row in scores.values())]
    rows = [
        [
            encoder,
            *([saw.get(encoder, NOTHING)] if saw else []),
            *(score_cell(row[metric]) if metric in row else NOTHING for metric in metrics),
        ]
        for encoder, row in scores.items()
    ]
    return Table(["encoder", *(["learnt from"] if saw else []), *(TITLES[metric] for metric in metrics)], rows, caption)


def area_table(areas: Mapping[str, Mapping[str, Score | None]], caption: str = "") -> Table:
    """One column per unit or class: its area; those without one are said to be absent.

    Args:
        areas: {encoder: {unit or class: score}}; None where all test faces agree.
        caption: above the table.
    """
    columns: Sequence[str] = list(next(iter(areas.values())))
    rows = []
    for encoder, row in areas.items():
        found = [row[column] for column in columns]
        rows.append([encoder, *("absent" if each is None else f"{each['value']:.1f}" for each in found)])
    return Table(["encoder", *columns], rows, caption)
