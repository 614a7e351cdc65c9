"""A report as GitHub Markdown."""

from collections.abc import Iterator, Sequence
from os.path import relpath
from pathlib import Path

from fabnet.report.blocks import Block, Figure, Gap, Section, Table, Text


def markdown(title: str, sections: Sequence[Section], folder: Path) -> str:
    """The whole page; pictures are named relative to `folder`, where the page will lie."""
    parts = [f"# {title}"]
    for section in sections:
        parts += _section(section, 2, folder)
    return "\n\n".join(parts) + "\n"


def table(block: Table) -> str:
    """A table alone, without its caption."""
    lines = [_line(block.head), "|---" * len(block.head) + "|", *map(_line, block.rows)]
    return "\n".join(lines)


def _section(section: Section, level: int, folder: Path) -> Iterator[str]:
    yield f"{'#' * level} {section.title}"
    for block in section.blocks:
        yield _block(block, folder)
    for below in section.sections:
        yield from _section(below, level + 1, folder)


def _block(block: Block, folder: Path) -> str:
    match block:
        case Text(text):
            return text
        case Table():
            return f"{block.caption}\n\n{table(block)}" if block.caption else table(block)
        case Figure(path, alt, caption):
            picture = f"![{alt}]({Path(relpath(path, folder)).as_posix()})"
            return f"{picture}\n\n{caption}" if caption else picture
        case Gap(what, why):
            return f"> **Not made: {what}.** {why}"


def _line(cells: Sequence[str]) -> str:
    """A row; a bar within a cell would end it."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
