"""Formulas as MathML, which browsers draw themselves; written as GitHub reads them: `$x$`, or a block called `math`."""

import html
import re

from latex2mathml.converter import convert

# As the extension pymdownx.arithmatex leaves them.
_INLINE = re.compile(r'<span class="arithmatex">\\\((.*?)\\\)</span>', flags=re.DOTALL)
_BLOCK = re.compile(r'<div class="arithmatex">\s*\\\[(.*?)\\\]\s*</div>', flags=re.DOTALL)


def to_mathml(content: str) -> str:
    """The HTML of a page with its formulas as MathML."""
    content = _INLINE.sub(lambda match: convert(html.unescape(match[1]).strip()), content)
    return _BLOCK.sub(
        lambda match: f'<div class="formula">{convert(html.unescape(match[1]).strip(), display="block")}</div>', content
    )
