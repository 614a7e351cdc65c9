"""What a report is made of. Sections are built once and rendered as Markdown and as HTML from the same blocks."""

from collections.abc import Callable, Iterable, Iterator, Sequence
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
    """Raises UserError naming every gap, if there are any; the report at `where` is written by then."""
    gaps = list(gaps_of(sections))
    if gaps:
        named = "; ".join(f"{gap.what}: {gap.why}" for gap in gaps)
        raise UserError(f"{where}: written, but {len(gaps)} part(s) of it could not be made: {named}")
