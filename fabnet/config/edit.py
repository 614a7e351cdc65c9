"""Sets values of a YAML text where they stand: all other bytes, comments and line ends stay.

PyYAML's nodes know their place, so that a value is replaced by slicing. ruamel.yaml would write the whole file again,
move comments and fold lines elsewhere, and it follows another version of YAML than `load_params`.
"""

import json
import re
from collections.abc import Sequence
from typing import Any

import yaml

from fabnet.errors import ConfigError

#: The tag of a mapping that takes the place of another one, with all its keys.
REPLACE = "!replace"

#: The parts of a dotted key, and the YAML node of its new value.
Assignment = tuple[tuple[str, ...], yaml.Node]


class Loader(yaml.SafeLoader):
    """Reads profiles, whose mappings may say `!replace`."""


def _mapping_of(loader: Loader, node: Any) -> Any:
    return loader.construct_mapping(node, deep=True)


Loader.add_constructor(REPLACE, _mapping_of)


def compose(text: str) -> Any:
    """The node of a YAML text, None where it holds nothing.

    Raises:
        YAMLError: it is no YAML.
    """
    return yaml.compose(text, Loader=Loader)


def construct(node: yaml.Node) -> Any:
    """The plain value of a node."""
    return Loader("").construct_document(node)


def edited(text: str, assignments: Sequence[Assignment]) -> str:
    """A YAML mapping with keys set, one after the other; the mappings on the way to a key are made if need be.

    Args:
        text: the mapping, not empty.
        assignments: keys, and nodes whose scalars and styles are taken over; comments are not.

    Raises:
        ConfigError: a key lies below a value, or in a place that cannot be edited so; the message names it.
    """
    wanted = yaml.safe_load(text)
    try:
        for path, node in assignments:
            _place(wanted, path, construct(node))
            text = _set(text, path, node)
        # Compared as text, since NaN is not equal to itself, while 1 is to 1.0 and True.
        done = yaml.safe_dump(yaml.safe_load(text), sort_keys=False) == yaml.safe_dump(wanted, sort_keys=False)
    except yaml.YAMLError:
        done = False
    if not done:
        keys = ", ".join(".".join(path) for path, _ in assignments)
        raise ConfigError(
            f"{keys}: cannot be set in this layout (an anchor, or a key given twice?); edit the file by hand"
        )
    return text


def _place(values: Any, path: Sequence[str], value: Any) -> None:
    for depth, part in enumerate(path[:-1]):
        if values.get(part) is None:
            values[part] = {}
        values = values[part]
        if not isinstance(values, dict):
            raise ConfigError(f"{'.'.join(path)}: {'.'.join(path[: depth + 1])} holds a value, not a section")
    values[path[-1]] = value


def _set(text: str, path: Sequence[str], value: yaml.Node) -> str:
    mapping: yaml.MappingNode = compose(text)
    flow: yaml.Node | None = None  # the outermost braces around the key
    for depth, name in enumerate(path):
        flow = flow or (mapping if mapping.flow_style else None)
        new = value
        for inner in reversed(path[depth + 1 :]):
            new = _mapping(inner, new)
        found = next((entry for entry in reversed(mapping.value) if entry[0].value == name), None)
        if found is None:
            return _insert(text, mapping, name, new, flow)
        key, old = found
        if depth + 1 == len(path) or not isinstance(old, yaml.MappingNode) or not old.value:
            return _replace(text, key, old, new, flow)
        mapping = old
    return text


def _replace(text: str, key: yaml.Node, old: yaml.Node, new: yaml.Node, flow: yaml.Node | None) -> str:
    """`text` with another value of `key`; the comment beside the key stays where it is."""
    colon = text.index(":", key.end_mark.index) + 1
    start, indent, braces = colon, key.start_mark.column + 2, ""
    if _is_block(old):
        indent = old.start_mark.column
        comment, comment_end = colon, len(text[: old.start_mark.index].rstrip())  # which may go on in further lines
        end = _block_end(text, old, key.start_mark.column)
    else:
        start = old.start_mark.index
        comment = _end(text, flow or old)
        braces = text[_end(text, old) : comment]
        end = comment_end = _line_end(text, comment)
    if _is_block(new) and not flow:
        head, lines = text[:colon], _block(new, indent, _newline(text))
    else:
        head, lines = text[:start] + " " * (start == colon) + _flow(new) + braces, ""
    return head + _beside(head, text, comment, comment_end) + lines + text[end:]


def _insert(text: str, mapping: yaml.MappingNode, name: str, new: yaml.Node, flow: yaml.Node | None) -> str:
    """`text` with another key behind the last one of `mapping`."""
    if flow:
        last, comment = mapping.value[-1][1].end_mark.index, flow.end_mark.index
        end = _line_end(text, comment)
        head = f"{text[:last]}, {_flow(_mapping(name, new))[1:-1]}{text[last:comment]}"
        return head + _beside(head, text, comment, end) + text[end:]
    indent = mapping.start_mark.column
    end = _block_end(text, mapping, indent)
    return text[:end] + _block(_mapping(name, new), indent, _newline(text)) + text[end:]


def _mapping(name: str, value: yaml.Node) -> yaml.MappingNode:
    """A mapping of one key, in quotes where it would be read as something else than text."""
    plain = re.fullmatch(r"\w[\w-]*", name) and isinstance(yaml.safe_load(name), str)
    key = yaml.ScalarNode("tag:yaml.org,2002:str", name if plain else json.dumps(name, ensure_ascii=False))
    return yaml.MappingNode("tag:yaml.org,2002:map", [(key, value)], flow_style=False)


def _flow(node: Any) -> str:
    """A node in one line, its scalars as they were written."""
    if isinstance(node, yaml.MappingNode):
        return "{" + ", ".join(f"{_flow(key)}: {_flow(value)}" for key, value in node.value) + "}"
    if isinstance(node, yaml.SequenceNode):
        return "[" + ", ".join(map(_flow, node.value)) + "]"
    if node.start_mark is None:  # ours
        return str(node.value)
    written = str(node.start_mark.buffer[node.start_mark.pointer : node.end_mark.pointer])
    if "\n" in written or (node.style is None and re.search(r"[,\[\]{}]", written)):  # what braces would cut off
        return json.dumps(node.value, ensure_ascii=False)
    return written or "null"


def _block(node: yaml.Node, indent: int, newline: str) -> str:
    """What stands behind the colon before a node: lines of keys where it has lines of its own."""
    if not _is_block(node) or not isinstance(node, yaml.MappingNode):
        return f" {_flow(node)}"
    start = newline + " " * indent
    return "".join(f"{start}{_flow(key)}:{_block(value, indent + 2, newline)}" for key, value in node.value)


def _is_block(node: yaml.Node) -> bool:
    return isinstance(node, yaml.CollectionNode) and not node.flow_style and bool(node.value)


def _beside(head: str, text: str, start: int, end: int) -> str:
    """The comment text[start:end], if it is one, behind `head` in the column where it was, if there is room."""
    comment = text[start:end].lstrip(" ")
    if not comment.startswith("#"):
        return text[start:end]
    column = end - len(comment) - _line_start(text, start)
    return " " * max(1, column - (len(head) - _line_start(head, len(head)))) + comment


def _block_end(text: str, node: yaml.Node, indent: int) -> int:
    """Where the last line of a block ends, with comments below it that are further right than its keys."""
    end = _line_end(text, _end(text, node))
    while comment := re.compile(rf"\r?\n {{{indent + 1},}}#[^\r\n]*").match(text, end):
        end = comment.end()
    return end


def _end(text: str, node: yaml.Node) -> int:
    """Where a node ends; PyYAML lets a block end where the next one starts."""
    if _is_block(node):
        last = node.value[-1]
        return _end(text, last[1] if isinstance(last, tuple) else last)
    return max(node.start_mark.index, len(text[: node.end_mark.index].rstrip()))


def _line_start(text: str, index: int) -> int:
    return text.rfind("\n", 0, index) + 1


def _line_end(text: str, index: int) -> int:
    end = text.find("\n", index)
    return len(text) if end < 0 else end - (text[end - 1 : end] == "\r")


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"
