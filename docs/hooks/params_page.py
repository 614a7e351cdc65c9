"""The reference of params, made from the pydantic models of fabnet/config and the committed params.yaml."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml

from fabnet.config import EncoderParams, Limits, Params, SetParams, VariantParams
from fabnet.config.health import MEASURES
from fabnet.config.section import Section, in_words
from fabnet.errors import ConfigError
from fabnet.profiles import committed

_HEAD = """# Params

Every key of `params.yaml`: what it may be, its committed value, and what it means. Made from the models in
`fabnet/config` and the committed `params.yaml` when this site is built. A missing, unknown or impossible key stops a
run and is named; only entries that you add (a set, a curriculum, limits) may leave keys out, of which this page shows
the defaults. `fabnet params set KEY=VALUE` changes a value, `fabnet params use NAME` lays a profile over all of them,
`fabnet params show KEY` prints one. NAME in a key is a name of your own.
"""
#: Entries of these are described by another key of the page, or by the models behind them.
_VARIANTS = ("train.variants", "train.finetuned")
#: Entries of mappings under names of one's own.
_BY_NAME: dict[type[Section], str] = {SetParams: "sets by name", EncoderParams: "encoders by name"}


@dataclass(frozen=True)
class Key:
    """A key of params.yaml: its dotted name, what it may be, its value (... for none) and its meaning."""

    name: str
    allowed: str
    value: Any
    meaning: str


def page(root: Path) -> str:
    """Markdown with a section for each section of params.yaml in the repository `root`."""
    lines, section = [_HEAD], ""
    for key in keys(root):
        head, dot, _ = key.name.partition(".")
        if not dot:
            lines += ["", f"## {key.name}", "", f"{key.meaning[0].upper()}{key.meaning[1:]}."]
            continue
        if head != section:
            section = head
            lines += ["", "| key | may be | value | |", "|---|---|---|---|"]
        shown = "" if key.value is ... else f"`{_yaml(key.value)}`"
        cells = (f"`{key.name}`", key.allowed, shown, key.meaning)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join([*lines, ""])


def keys(root: Path) -> list[Key]:
    """Every key that params.yaml may hold, sections before what is in them, in the order of the models."""
    path = root / "params.yaml"
    try:
        text = committed(path)  # another profile may be laid over the file at the moment
    except ConfigError:
        text = path.read_text()
    return list(_keys(Params, "", yaml.safe_load(text)))


def _keys(model: type[Section], prefix: str, values: Any) -> Iterator[Key]:
    """The keys below a model; `values` is what params.yaml has there."""
    schemas = model.model_json_schema()["properties"]
    for name, field in model.model_fields.items():
        dotted, schema = f"{prefix}{name}", schemas[name]
        value = schema.get("default", field.get_default(call_default_factory=True) if field.default_factory else ...)
        if isinstance(values, dict):
            value = values.get(name, value)
        inner = VariantParams if dotted == "train.common" else _section(field.annotation)
        allowed, meaning = in_words(schema), field.description or ""
        if dotted in _VARIANTS:
            yield Key(f"{dotted}.NAME", "mapping", ..., meaning)
        elif inner is Limits and name in MEASURES:
            yield Key(dotted, "limits by measure", ..., meaning)
            for measure, what in MEASURES[name].items():
                yield Key(f"{dotted}.{measure}", "limits", value.get(measure, {}), what)
        elif inner is not None and inner in _BY_NAME:
            yield Key(dotted, _BY_NAME[inner], ..., meaning)
            yield from _keys(inner, f"{dotted}.NAME.", {})
        elif inner:
            yield Key(dotted, allowed, ... if isinstance(value, dict) else value, meaning)
            yield from _keys(inner, f"{dotted}.", value)
        else:
            yield Key(dotted, allowed, value, meaning)
    if prefix == "health.":
        yield from _keys(Limits, "health.TABLE.MEASURE.", {})


def _section(kind: Any) -> type[Section] | None:
    """The model that a value is, may be, or that the values of a mapping are."""
    if isinstance(kind, type) and get_origin(kind) is None:
        return kind if issubclass(kind, Section) else None
    return next((found for each in get_args(kind) if (found := _section(each))), None)


def _yaml(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=4096, sort_keys=False).strip()
    return text.removesuffix("...").strip()
