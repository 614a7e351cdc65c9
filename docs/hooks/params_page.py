"""The reference of params, made from the pydantic models of fabnet/config and the comments of params.yaml."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from fabnet.config import Params, SetParams
from fabnet.config.training import VariantParams
from fabnet.quality.measures import MEANING

_HEAD = """# Params

Every key of `params.yaml`: what it may be, its committed value, and what it means. Made from the models in
`fabnet/config` and the comments of `params.yaml` when this site is built. An unknown or impossible key stops a run and
is named. `fabnet params set KEY=VALUE` changes one, `fabnet params use NAME` lays a profile over all, `fabnet params
show KEY` prints.
NAME in a key is a name of your own.
"""
#: Models of entries that params.yaml holds as mappings, by the key of one of them.
_OVERLAID = {"train.common": VariantParams}
#: Keys whose entries are described elsewhere on the page.
_ENTRIES = {
    "train.variants": "trained from drawn weights: any key of `train.common`",
    "train.finetuned": "begun with the weights of another variant, which `start_from` names: any key of `train.common`",
}
#: What a limit of `health` is made of, once for all of them.
_LIMIT = "health.TABLE.MEASURE"


@dataclass(frozen=True)
class Key:
    """A key of params.yaml: its dotted name, the JSON schema of its value, its default and its meaning."""

    name: str
    schema: dict[str, Any]
    default: Any
    meaning: str


class _Profile(yaml.SafeLoader):
    """Reads profiles, whose mappings may say `!replace`."""


def _mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    return loader.construct_mapping(node, deep=True)


_Profile.add_constructor("!replace", _mapping)


def page(root: Path) -> str:
    """Markdown with a section for each section of params.yaml in the repository `root`."""
    lines, section = [_HEAD], ""
    for key in keys(root):
        if (head := key.name.partition(".")[0]) != section:
            section = head
            lines += ["", f"## {section}", "", "| key | may be | default | |", "|---|---|---|---|"]
        shown = "" if key.default is ... else f"`{_yaml(key.default)}`"
        cells = (f"`{key.name}`", _allowed(key.schema), shown, key.meaning)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join([*lines, ""])


def keys(root: Path) -> list[Key]:
    """Every key that params.yaml may hold, in the order of the models."""
    # Not the values of params.yaml, which may have another profile laid over it at the moment.
    values = yaml.load((root / "profiles/default.yaml").read_text(), _Profile)
    said, remarked = comments((root / "params.yaml").read_text()), remarks(root / "fabnet/config")
    found = []
    for name, model, schema, default in _walk(Params.model_json_schema(), "", values):
        places = (
            said.get(name),
            MEANING.get(name.removeprefix("health.")),
            remarked.get((model, name.rpartition(".")[2])),
            _ENTRIES.get(name.removesuffix(".NAME")),
        )
        found.append(Key(name, schema, default, next(filter(None, places), "")))
    return found


def comments(text: str) -> dict[str, str]:
    """The comment behind each key of a YAML file, by dotted key; lines of comment that follow belong to it."""
    found: dict[str, str] = {}
    open_keys: list[tuple[int, str]] = []
    current = ""
    for line in text.splitlines():
        if not line.strip():
            current = ""
        elif (only := re.match(r"\s{8,}# (.*)$", line)) and current in found:
            found[current] += f" {only[1].strip()}"
        elif match := re.match(r"( *)([a-z0-9_]+):(?: (?:[^#]*))?(?:# (.*))?$", line):
            depth = len(match[1])
            open_keys = [*(each for each in open_keys if each[0] < depth), (depth, match[2])]
            current = ".".join(name for _, name in open_keys)
            if match[3]:
                found[current] = match[3].strip()
    return found


def _walk(schema: dict[str, Any], prefix: str, values: Any) -> Iterator[tuple[str, str, dict[str, Any], Any]]:
    """Dotted name, model, schema and default of every key below a model; `values` is what params.yaml has there."""
    shared, model = schema.get("$defs", {}), schema["title"]
    for name, field in schema["properties"].items():
        dotted = f"{prefix}{name}"
        given = values[name] if isinstance(values, dict) and name in values else field.get("default", ...)
        reference = _reference(field)
        if reference == "Limits":
            yield dotted, model, {"type": "limits"}, given
        elif dotted in _OVERLAID:
            yield from _walk(_OVERLAID[dotted].model_json_schema(), f"{dotted}.", given)
        elif dotted in _ENTRIES:
            yield f"{dotted}.NAME", model, {"type": "object"}, ...
        elif dotted == "sets":
            yield from _walk(SetParams.model_json_schema(), "sets.NAME.", {})
        elif reference:
            if "anyOf" in field:  # a section that may be null
                yield dotted, model, {"type": "section"}, given
            yield from _walk({**shared[reference], "$defs": shared}, f"{dotted}.", given)
        else:
            yield dotted, model, field, given
    if prefix == "health.":
        for level in ("critical", "warning"):
            for name, field in shared["Range"]["properties"].items():
                yield f"{_LIMIT}.{level}.{name}", "Range", field, field.get("default", ...)


def _reference(field: dict[str, Any]) -> str | None:
    """The name of the model that a field is, or may be."""
    for each in (field, *field.get("anyOf", [])):
        if "$ref" in each:
            return str(each["$ref"]).rpartition("/")[2]
    return None


def remarks(config: Path) -> dict[tuple[str, str], str]:
    """The comments `#:` above fields of models in the modules of a folder, by names of model and field."""
    found: dict[tuple[str, str], str] = {}
    model, above = "", []
    for line in (line for path in sorted(config.glob("*.py")) for line in path.read_text().splitlines()):
        if match := re.match(r"class (\w+)", line):
            model = match[1]
        elif match := re.match(r"    #: (.*)", line):
            above.append(match[1])
            continue
        elif above and (match := re.match(r"    (\w+): ", line)):
            found[model, match[1]] = " ".join(above)
        above = []
    return found


def _allowed(schema: dict[str, Any]) -> str:
    """What a value may be, in words, from its JSON schema."""
    if "anyOf" in schema:
        return " or ".join(_allowed(each) for each in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        return " or ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    if schema["type"] == "array":
        return f"list of: {_allowed(schema['items'])}"
    words = {"integer": "whole number", "string": "text", "boolean": "`true` or `false`", "object": "mapping"}
    kind = "path" if schema.get("format") == "path" else words.get(schema["type"], schema["type"])
    bounds = {
        "exclusiveMinimum": "above {}",
        "minimum": "at least {}",
        "exclusiveMaximum": "below {}",
        "maximum": "at most {}",
        "pattern": "like `{}`",
    }
    return ", ".join([kind, *(text.format(_bound(schema[key])) for key, text in bounds.items() if key in schema)])


def _bound(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else str(value)


def _yaml(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=4096, sort_keys=False).strip()
    return text.removesuffix("...").strip()
