"""What a report is made of. Sections are built once and rendered as Markdown and as HTML from the same blocks."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path


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


@dataclass(frozen=True)
class Figure:
    """A picture file. `alt` says what it shows to who cannot see it, `caption` how to read it."""

    path: Path
    alt: str
    caption: str = ""


@dataclass(frozen=True)
class Gap:
    """Something that could not be made: an honest hole, with its reason. A report with gaps is written, and fails."""

    what: str
    why: str


Block = Text | Table | Figure | Gap


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it. `anchor` names it in links and is unique within a report."""

    title: str
    anchor: str
    blocks: Sequence[Block] = ()
    sections: "Sequence[Section]" = field(default_factory=tuple)
