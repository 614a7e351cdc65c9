"""A study's record: its numbers as JSON, and the page that is made of them."""

from pathlib import Path
from typing import Any

from fabnet.files import atomic_file, write_json


def write_record(path: Path, told: dict[str, Any], page: str) -> None:
    """Write both files, each of them whole or not at all.

    Args:
        path: of both, without suffix, such as docs/results/coverage.
        told: the numbers, by name.
        page: Markdown made of them.
    """
    write_json(path.with_name(f"{path.name}.json"), told)
    with atomic_file(path.with_name(f"{path.name}.md")) as temporary:
        temporary.write_text(page)
