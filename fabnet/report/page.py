"""A report as one HTML file: pictures, styles and all within it, so that it can be sent, and nothing is fetched."""

import base64
from collections.abc import Iterator, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path

import cv2
from markdown_it import MarkdownIt

from fabnet.report.attempt import gaps_of
from fabnet.report.blocks import Block, Figure, Gap, Section, Table, Text

# Raw HTML in a text is shown as text: names of files and sets are not ours.
_MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table")
# For OpenCV's encoder of WebP, a quality above 100 asks for one without loss.
_LOSSLESS = 101
# Sections of this level and below are folded: details, which would make a page of metres on a phone.
_FOLDED = 4


def page(title: str, sections: Sequence[Section]) -> str:
    """The whole page. Links of texts are relative to where it will lie.

    Raises:
        FileNotFoundError: a figure's picture is not there.
    """
    gaps = list(gaps_of(sections))
    missing = "".join(f"<li>{escape(gap.what)}</li>" for gap in gaps)
    warning = f'<aside class="gap"><p>Not made, and why below:</p><ul>{missing}</ul></aside>' if gaps else ""
    style = (files("fabnet.report") / "page.css").read_text()
    body = "".join(_section(section, 2) for section in sections)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<link rel="icon" href="data:,">\n'
        f"<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        f"<header><h1>{escape(title)}</h1></header>\n"
        f"<nav><details open><summary>Contents</summary>{_contents(sections)}</details></nav>\n"
        f"<main>\n{warning}{body}</main>\n</body>\n</html>\n"
    )


def _contents(sections: Sequence[Section]) -> str:
    entries = (
        f'<li><a href="#{escape(section.anchor)}">{_MARKDOWN.renderInline(section.title)}</a>'
        f"{_contents(section.sections) if section.sections else ''}</li>"
        for section in sections
    )
    return f"<ul>{''.join(entries)}</ul>"


def _section(section: Section, level: int) -> str:
    heading = f"<h{level}>{_MARKDOWN.renderInline(section.title)}</h{level}>\n"
    blocks = "".join(_block(block) for block in section.blocks)
    below = "".join(_section(each, min(level + 1, 6)) for each in section.sections)
    if level < _FOLDED:
        return f'<section id="{escape(section.anchor)}">\n{heading}{blocks}{below}</section>\n'
    # The anchor is inside: browsers unfold what a link leads into.
    inside = f'<section id="{escape(section.anchor)}">\n{blocks}{below}</section>'
    unfolded = " open" if any(gaps_of([section])) else ""
    return f"<details{unfolded}><summary>{heading}</summary>\n{inside}</details>\n"


def _block(block: Block) -> str:
    match block:
        case Text(text):
            return str(_MARKDOWN.render(text))
        case Table():
            return "".join(_table(block))
        case Figure(path, alt, caption):
            told = f"<figcaption>{_MARKDOWN.renderInline(caption)}</figcaption>" if caption else ""
            return f'<figure><div><img src="{_picture(path)}" alt="{escape(alt)}"></div>{told}</figure>\n'
        case Gap(what, why):
            return f'<aside class="gap"><p><strong>Not made: {escape(what)}.</strong> {escape(why)}</p></aside>\n'


def _table(table: Table) -> Iterator[str]:
    if table.caption:  # no <caption>, which would be as wide as the table
        yield f'<p class="caption">{_MARKDOWN.renderInline(table.caption)}</p>'
    # Wide tables scroll by themselves, and by the keyboard, so that the page does not.
    yield '<div class="table" tabindex="0"><table><thead><tr>'
    yield from (f'<th scope="col">{_MARKDOWN.renderInline(cell)}</th>' for cell in table.head)
    yield "</tr></thead>\n<tbody>\n"
    for first, *others in table.rows:
        yield f'<tr><th scope="row">{_MARKDOWN.renderInline(first)}</th>'
        yield from (f"<td>{_MARKDOWN.renderInline(cell)}</td>" for cell in others)
        yield "</tr>\n"
    yield "</tbody></table></div>\n"


def _picture(path: Path) -> str:
    """The picture as a URL that holds it, without loss and small."""
    kind, data = "png", path.read_bytes()
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is not None:
        done, packed = cv2.imencode(".webp", image, [cv2.IMWRITE_WEBP_QUALITY, _LOSSLESS])
        if done and len(packed) < len(data):
            kind, data = "webp", packed.tobytes()
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
