"""Pages as single HTML files: styles and pictures are within, so that a page can be sent, and it fetches nothing.

The templates (Jinja) lie beside this file: `base.html` frames each of them. Values are escaped unless they are Markup.
"""

import base64
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment


def render(template: str, **values: Any) -> str:
    """The page that a template makes of some values; a function of its arguments alone.

    Args:
        template: file name, such as `report.html`.
        values: by their names in the template.

    Raises:
        jinja2.UndefinedError: the template asks for another value.
    """
    return _environment().get_template(template).render(**values)


def data_url(kind: str, data: bytes) -> str:
    """A picture within the page, `kind` being png, jpeg or webp.

    Args:
        kind: png, jpeg or webp.
        data: the content of such a file.
    """
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("fabnet.pages", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals["data_url"] = data_url
    return environment
