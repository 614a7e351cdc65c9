"""Edits params.yaml in place: overlays of named profiles and single values. Comments and layout stay.

A profile is a YAML mapping laid over params.yaml. Mappings merge key by key; scalars and lists replace. A mapping
tagged `!replace` also removes, at any depth below it, the keys that it does not name.
"""

import io
from pathlib import Path
from typing import Any

import yaml
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError

from fabnet.config import parse_params
from fabnet.errors import ConfigError
from fabnet.files import atomic_file

REPLACE = "!replace"


def available(folder: Path | str = "profiles") -> list[str]:
    """Names of the profiles in `folder`, sorted."""
    return sorted(path.stem for path in Path(folder).glob("*.yaml"))


def use_profile(name: str, params: Path | str = "params.yaml", folder: Path | str = "profiles") -> None:
    """Lay profile `name` over the file `params`, which stays as it was if the outcome is not valid.

    Raises:
        ConfigError: no such profile (the message lists those there are), or the outcome is not valid.
    """
    names = available(folder)
    if name not in names:
        raise ConfigError(f"no profile {name!r} in {folder}; there are: {', '.join(names) or 'none'}")
    document = _load(params)
    overlay(document, _load(Path(folder) / f"{name}.yaml"))
    _save(document, params)


def set_values(assignments: list[str], params: Path | str = "params.yaml") -> None:
    """Set dotted keys, `KEY=VALUE` with VALUE in YAML, in the file `params`: all of them or none.

    Raises:
        ConfigError: an assignment is malformed, or the outcome is not valid; the message names the key.
    """
    document = _load(params)
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals or not all(key.split(".")):
            raise ConfigError(f"{assignment!r}: must be KEY=VALUE with a dotted key, such as extract.fps=2")
        try:
            value = _yaml().load(text)
        except YAMLError as error:
            raise ConfigError(f"{key}: {text!r} is not valid YAML: {_one_line(error)}") from error
        _set(document, key, value)
    _save(document, params)


def show(section: str | None = None, params: Path | str = "params.yaml") -> str:
    """The file `params`, or what lies below the dotted key `section`, as YAML.

    Raises:
        ConfigError: there is no such section.
    """
    value: Any = _load(params)
    if section is None:
        return Path(params).read_text()
    for depth, part in enumerate(section.split(".")):
        if not isinstance(value, dict) or part not in value:
            there = f"; there are: {', '.join(value)}" if isinstance(value, dict) and value else ""
            raise ConfigError(f"{params}: no key {'.'.join(section.split('.')[: depth + 1])}{there}")
        value = value[part]
    return yaml.safe_dump(_plain(value), sort_keys=False).removesuffix("...\n")


def overlay(base: CommentedMap, over: CommentedMap, replace: bool = False) -> None:
    """Lay `over` on `base`, in place. `replace` is inherited from a `!replace` further out."""
    replace = replace or over.tag.value == REPLACE
    if replace:
        for key in [key for key in base if key not in over]:
            del base[key]
    for position, (key, value) in enumerate(over.items()):
        both = key in base and isinstance(base[key], CommentedMap) and isinstance(value, CommentedMap)
        if both and not value and (replace or value.tag.value == REPLACE):
            base[key] = _empty()
        elif both and base[key]:  # into an empty one nothing is merged: it has no layout to keep
            overlay(base[key], value, replace)
        elif key not in base:
            base.insert(position if replace else len(base), key, _untagged(value))
        elif _plain(base[key]) != _plain(value):
            base[key] = _untagged(value)


def _set(document: CommentedMap, dotted: str, value: Any) -> None:
    *parents, last = dotted.split(".")
    section: Any = document
    for depth, part in enumerate(parents):
        if section.get(part) is None:
            section[part] = CommentedMap()
        section = section[part]
        if not isinstance(section, CommentedMap):
            raise ConfigError(f"{dotted}: {'.'.join(parents[: depth + 1])} holds a value, not a section")
    if isinstance(value, CommentedMap) and not value:
        section[last] = _empty()
    elif isinstance(section.get(last), CommentedMap) and isinstance(value, CommentedMap):
        overlay(section[last], value, replace=True)  # not an assignment, which would lose comments
    else:
        section[last] = value


def _empty() -> CommentedMap:
    """An empty mapping written as {}: a block that was emptied would be written below its key, out of place."""
    empty = CommentedMap()
    empty.fa.set_flow_style()
    return empty


def _untagged(value: Any) -> Any:
    """The mapping without `!replace`, which is an instruction and no content."""
    if isinstance(value, CommentedMap):
        plain = CommentedMap((key, _untagged(child)) for key, child in value.items())
        plain.fa.set_flow_style() if value.fa.flow_style() else plain.fa.set_block_style()
        return plain
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(child) for key, child in value.items()}
    if isinstance(value, list):
        return [_plain(child) for child in value]
    for kind in (bool, int, float, str):  # ruamel's scalars, which remember their notation, derive from these
        if isinstance(value, kind):
            return kind(value)
    return value


def _yaml() -> YAML:
    """A reader and writer that keeps comments, quotes and layout."""
    round_trip = YAML()
    round_trip.preserve_quotes = True
    round_trip.width = 4096  # never fold a line
    round_trip.representer.add_representer(type(None), _represent_none)
    return round_trip


def _represent_none(representer: Any, _: None) -> Any:
    return representer.represent_scalar("tag:yaml.org,2002:null", "null")  # ruamel.yaml would leave the value blank


def _load(path: Path | str) -> CommentedMap:
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; run from the root of the project")
    try:
        document = _yaml().load(path)
    except YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {_one_line(error)}") from error
    if not isinstance(document, CommentedMap):
        raise ConfigError(f"{path}: must be a mapping of sections, not {type(document).__name__}")
    return document


def _save(document: CommentedMap, path: Path | str) -> None:
    text = io.StringIO()
    _yaml().dump(document, text)
    # Validated as load_params will read it: ruamel.yaml follows YAML 1.2 and PyYAML 1.1, where 1e-3 and yes differ.
    parse_params(yaml.safe_load(text.getvalue()), str(path))
    with atomic_file(path) as temporary:
        temporary.write_text(text.getvalue())


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
