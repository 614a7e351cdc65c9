"""Edits params.yaml: lays profiles over it and sets single values. Only the lines of what changes are touched.

A profile is a YAML mapping laid over params.yaml. Mappings merge key by key; scalars and lists replace. A mapping
tagged `!replace` also replaces: keys that it does not name go. `default` is no file: it is the params.yaml of the last
commit.
"""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from fabnet.config import parse_params
from fabnet.config.edit import REPLACE, Assignment, Loader, compose, construct, edited
from fabnet.config.params import parse_yaml, read_yaml
from fabnet.errors import ConfigError, one_line
from fabnet.files import atomic_file

DEFAULT = "default"


def available(folder: Path | str = "profiles") -> list[str]:
    """Names that `use_profile` takes: `default`, and the files of `folder`."""
    return sorted({DEFAULT, *(path.stem for path in Path(folder).glob("*.yaml"))})


def use_profile(name: str, params: Path | str = "params.yaml", folder: Path | str = "profiles") -> None:
    """Lay profile `name` over the file `params`, which stays as it was if the outcome is not valid.

    Args:
        name: one of `available(folder)`.
        params: the file to change; other lines and comments keep their bytes.
        folder: where profiles lie as NAME.yaml.

    Raises:
        ConfigError: no such profile (the message lists those there are), no commit that `default` could restore, or the
            outcome is not valid.
    """
    names = available(folder)
    if name not in names:
        raise ConfigError(f"no profile {name!r} in {folder}; there are: {', '.join(names)}")
    if name == DEFAULT:
        _save(committed(params), params)
    else:
        profile = Path(folder) / f"{name}.yaml"
        _save(overlaid(_read(params), _read(profile, Loader)), params)


def set_values(assignments: list[str], params: Path | str = "params.yaml") -> None:
    """Set dotted keys, `KEY=VALUE` with VALUE in YAML, in the file `params`: all of them or none.

    Args:
        assignments: such as "extract.fps=2"; of two for one key the later one counts.
        params: the file to change; other lines and comments keep their bytes.

    Raises:
        ConfigError: an assignment is malformed, or the outcome is not valid; the message names the key.
    """
    parsed: list[Assignment] = []
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals or not all(key.split(".")):
            raise ConfigError(f"{assignment!r}: must be KEY=VALUE with a dotted key, such as extract.fps=2")
        try:
            value = compose(text) or compose("null")
            construct(value)  # which finds unknown tags, and dates that are none
        except (yaml.YAMLError, ValueError) as error:
            raise ConfigError(f"{key}: {text!r} is not valid YAML: {one_line(error, None)}") from error
        parsed.append((tuple(key.split(".")), value))
    _save(edited(_read(params), parsed), params)


def show(section: str | None = None, params: Path | str = "params.yaml") -> str:
    """The file `params`, or what lies below the dotted key `section`, as YAML.

    Args:
        section: such as "train.common"; None shows the whole file as it is.
        params: the file to read.

    Raises:
        ConfigError: there is no such section.
    """
    text = read_yaml(params)
    if section is None:
        return text
    value: Any = parse_yaml(text, str(params))
    for depth, part in enumerate(section.split(".")):
        if not isinstance(value, dict) or part not in value:
            there = f"; there are: {', '.join(value)}" if isinstance(value, dict) and value else ""
            raise ConfigError(f"{params}: no key {'.'.join(section.split('.')[: depth + 1])}{there}")
        value = value[part]
    return yaml.safe_dump(value, sort_keys=False).removesuffix("...\n")


def committed(params: Path | str = "params.yaml") -> str:
    """The text of the file `params` in the last commit.

    Raises:
        ConfigError: there is no git, no commit, or no such file in it.
    """
    path = Path(params)
    command = ["git", "-C", str(path.parent), "show", f"HEAD:./{path.name}"]
    try:
        done = subprocess.run(command, capture_output=True, env=os.environ | {"LC_ALL": "C"}, timeout=60)
        if done.returncode == 0:
            return done.stdout.decode()
        problem = " ".join(done.stderr.decode(errors="replace").split())
    except UnicodeDecodeError as error:
        problem = f"not UTF-8: {error}"
    except (OSError, subprocess.SubprocessError) as error:
        problem = f"git does not run: {one_line(error, None)}"
    raise ConfigError(
        f"{path}: `{DEFAULT}` is the {path.name} of the last commit, which cannot be read here: {problem}; make a "
        "clone with git, or unpack the file again"
    )


def overlaid(text: str, profile: str) -> str:
    """The YAML `text` of params with that of a profile laid over it.

    Args:
        text: a whole params.yaml.
        profile: YAML of the keys that differ; a mapping with the tag `!replace` stands for the whole of what is there.
    """
    return edited(text, list(_differences(yaml.safe_load(text), compose(profile))))


def _differences(values: dict[str, Any], over: yaml.MappingNode, path: tuple[str, ...] = ()) -> Iterator[Assignment]:
    """The assignments by which `values` become what the profile `over` asks for."""
    for key, node in over.value:
        here, inner = values.get(key.value), (*path, key.value)
        merges = isinstance(node, yaml.MappingNode) and node.tag != REPLACE
        if merges and isinstance(here, dict) and here:  # an empty one has no layout to keep
            yield from _differences(here, node, inner)
        elif key.value not in values or here != construct(node):
            yield inner, node


def _read(path: Path | str, loader: type[yaml.SafeLoader] = yaml.SafeLoader) -> str:
    """The text of a YAML mapping that is not empty; profiles alone may use the tags of `Loader`."""
    text = read_yaml(path)
    parse_yaml(text, str(path), loader)
    return text


def _save(text: str, path: Path | str) -> None:
    parse_params(parse_yaml(text, str(path)), str(path))
    with atomic_file(path) as temporary:
        temporary.write_bytes(text.encode())
