"""A report as GitHub Markdown, and as one HTML file."""

from collections.abc import Iterator, Sequence
from os.path import relpath
from pathlib import Path

import cv2
from markdown_it import MarkdownIt
from markupsafe import Markup

from fabnet.pages import data_url, render
from fabnet.report.blocks import Block, Gap, Picture, Section, Table, Text, gaps_of

# Raw HTML in a text is shown as text: names of files and sets are not ours.
_MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table")
# For OpenCV's encoder of WebP, a quality above 100 asks for one without loss.
_LOSSLESS = 101


def markdown(title: str, sections: Sequence[Section], folder: Path) -> str:
    """The whole page; pictures are named relative to `folder`, where the page will lie.

    Args:
        title: of the page.
        sections: in their order.
        folder: of the page.
    """
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
        case Picture(path, alt, caption):
            picture = f"![{alt}]({Path(relpath(path, folder)).as_posix()})"
            return f"{picture}\n\n{caption}" if caption else picture
        case Gap(what, why):
            return f"> **Not made: {what}.** {why}"


def _line(cells: Sequence[str]) -> str:
    """A row; a bar within a cell would end it."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def html(title: str, sections: Sequence[Section]) -> str:
    """The whole page. Links of texts are relative to where it will lie.

    Args:
        title: of the page.
        sections: in their order.

    Raises:
        FileNotFoundError: a figure's picture is not there.
    """
    return render(
        "report.html",
        title=title,
        sections=sections,
        gaps=list(gaps_of(sections)),
        gaps_of=lambda some: list(gaps_of(some)),
        kind_of=lambda block: type(block).__name__,
        inline=lambda text: Markup(_MARKDOWN.renderInline(text)),
        paragraphs=lambda text: Markup(_MARKDOWN.render(text)),
        source=_source,
    )


def _source(path: Path) -> str:
    """The picture as a URL that holds it, without loss and small."""
    kind, data = "png", path.read_bytes()
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is not None:
        done, packed = cv2.imencode(".webp", image, [cv2.IMWRITE_WEBP_QUALITY, _LOSSLESS])
        if done and len(packed) < len(data):
            kind, data = "webp", packed.tobytes()
    return data_url(kind, data)
