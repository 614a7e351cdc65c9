"""What mkdocs calls while it builds the site (mkdocs.yml): pages that are made, and links and formulas of all pages."""

import re
from pathlib import Path
from typing import Any

import commands_page
import formulas
import params_page
from mkdocs.structure.files import File, Files
from outward_links import Repository, address, origin, outside_code

ROOT = Path(__file__).parents[2]


def on_config(config: Any) -> Any:
    """An entry `FOLDER/*` of `nav` becomes the pages of that folder, `*` those of docs/ that no other entry names."""
    config.extra["repository"] = Repository(ROOT)
    named = set(_pages(config.nav))
    config.nav = _expanded(config.nav, Path(config.docs_dir), named)
    return config


def _pages(entry: Any) -> list[str]:
    if isinstance(entry, str):
        return [entry]
    return [page for each in (entry.values() if isinstance(entry, dict) else entry) for page in _pages(each)]


def _expanded(entries: list[Any], docs: Path, named: set[str]) -> list[Any]:
    found: list[Any] = []
    for entry in entries:
        if isinstance(entry, dict):
            found.append({key: _expanded(e, docs, named) if isinstance(e, list) else e for key, e in entry.items()})
        elif entry.endswith("*"):
            paths = (path.relative_to(docs).as_posix() for path in sorted(docs.glob(f"{entry}.md")))
            found += [path for path in paths if path not in named]
        else:
            found.append(entry)
    return found


def on_files(files: Files, config: Any) -> Files:
    """Add the references, and what pages link to outside docs/."""
    commands = commands_page.page(ROOT / "Makefile")
    files.append(File.generated(config, "commands.md", content=commands))
    files.append(File.generated(config, "params.md", content=params_page.page(ROOT)))
    pages = [f"docs/{file.src_uri}" for file in files.documentation_pages() if file.generated_by is None]
    for path in config.extra["repository"].carried(pages):
        files.append(File.generated(config, address(path), abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    if page.file.src_uri in ("commands.md", "params.md"):
        return markdown
    path = origin(page.file.src_uri, ROOT)
    return _spaced(config.extra["repository"].rewrite(path, markdown))


def _spaced(markdown: str) -> str:
    """Markdown with an empty line before each list: GitHub reads one without, Python-Markdown does not."""
    item = re.compile(r"(?:[-*]|\d+\.) ")
    before = ""

    def space(line: str) -> str:
        nonlocal before
        opens = item.match(line) and before.strip() and not item.match(before) and not before.startswith(" ")
        before = line
        return f"\n{line}" if opens else line

    return outside_code(markdown, space)


def on_page_content(content: str, page: Any, config: Any, files: Files) -> str:
    return formulas.to_mathml(content)
