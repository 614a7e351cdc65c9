"""What every section of params.yaml is made of, and how a problem of one is put into a line."""

from collections.abc import Sequence
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fabnet.errors import ConfigError

Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(gt=0)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Workers = Annotated[int, Field(ge=0, le=1024)]
ImageSize = Annotated[int, Field(ge=16, le=1024)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]*$")]

#: Names that no key may have. DVC 3.67.1 leaves every key called `size` or `nfiles`, at any depth of a section that a
#: stage depends on, out of its run cache's key (upstream issue 10296): a stage that once ran with one value is answered
#: with its outputs for any other.
RESERVED = ("size", "nfiles")
#: Keys that had such a name once.
_RENAMED = {"extract.size": "extract.image_size", "supervise.size": "supervise.image_size"}


class Section(BaseModel):
    """A mapping of params.yaml. Every field has a `description`, which the reference of params and errors show.

    A field has no default: params.yaml holds the value, and a key that is missing is an error. Entries that users add
    (a labelled set, a curriculum, the limits of a measure) may leave keys out, and have defaults for them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def power_of_two(size: int) -> int:
    if size & (size - 1):
        raise ValueError(f"must be a power of two (32, 64, 128, 256 ...), not {size}: the encoder halves it to 1 x 1")
    return size


def check_reserved(values: Any, where: str, key: str = "") -> None:
    """Refuse a key called `size` or `nfiles` at any depth of `values`, of which `key` is the dotted name so far.

    Args:
        values: mappings and lists as YAML has them.
        where: begins the error message.
        key: dotted name of `values` within the whole; empty at the top.

    Raises:
        ConfigError: there is one; the message begins with `where`, names the key, and its new name if it has one.
    """
    if isinstance(values, list):
        for number, value in enumerate(values):
            check_reserved(value, where, f"{key}.{number}")
    elif isinstance(values, dict):
        for name, value in values.items():
            inner = f"{key}.{name}".lstrip(".")
            if name in RESERVED:
                advice = f"it is called {_RENAMED[inner]} now" if inner in _RENAMED else "choose another name"
                raise ConfigError(
                    f"{where}: {inner}: {advice}; DVC does not see the value of a key called `{name}` change, and "
                    "would answer with outputs of another value"
                )
            check_reserved(value, where, inner)


def first_error(error: ValidationError, model: type[BaseModel]) -> tuple[str, str]:
    """The key of the first problem that pydantic found in a `model`, and what is wrong, with the number of others.

    A key that is missing comes after all other problems: where another one is misspelt, that is the problem.

    Args:
        error: as pydantic raised it.
        model: that was validated; its fields say which keys there are.
    """
    first, *others = sorted(error.errors(include_url=False), key=lambda each: each["type"] == "missing")
    keys = [part for part in first["loc"] if part != "[key]"]  # pydantic's mark of a bad key
    key = ".".join(map(str, keys))
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "variant":
        key = f"{key}.{first['ctx']['key']}".lstrip(".")
    elif first["type"] == "extra_forbidden":
        message = "unknown key; is it misspelt?"
    elif first["type"] == "missing":
        field = _owner(model, keys).model_json_schema()["properties"][keys[-1]]
        message = f"is missing; add it ({in_words(field)}): {field['description']}"
    elif first["type"] != "value_error":
        message = f"{message} (it is {first['input']!r})"
    return key, f"{message} (and {len(others)} more)" if others else message


def _owner(model: type[BaseModel], keys: Sequence[str | int]) -> type[BaseModel]:
    """The model inside `model` of which the last of `keys` is a field."""
    kind: Any = model
    for key in keys[:-1]:
        kind = get_args(kind)[1] if get_origin(kind) is dict else kind.model_fields[key].annotation
        if get_origin(kind) is not dict:  # a section that may be null is a union
            kind = next((each for each in get_args(kind) if hasattr(each, "model_fields")), kind)
    found: type[BaseModel] = kind
    return found


def in_words(schema: dict[str, Any]) -> str:
    """What a value may be, from its JSON schema."""
    if "anyOf" in schema:
        return " or ".join(in_words(each) for each in schema["anyOf"])
    if "$ref" in schema:
        return "a section"
    if "enum" in schema or "const" in schema:
        return " or ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    if schema["type"] == "array":
        return f"list of: {in_words(schema['items'])}" if "items" in schema else "list"
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
