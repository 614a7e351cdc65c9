"""What every section of params.yaml is made of."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(gt=0)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Workers = Annotated[int, Field(ge=0, le=1024)]
ImageSize = Annotated[int, Field(ge=16, le=1024)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]*$")]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def power_of_two(size: int) -> int:
    if size & (size - 1):
        raise ValueError(f"must be a power of two (32, 64, 128, 256 ...), not {size}: the encoder halves it to 1 x 1")
    return size


def first_error(error: ValidationError) -> tuple[str, str]:
    """The key of the first problem of a pydantic error, what is wrong with it, and how many more problems there are."""
    first = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"] if part != "[key]")  # pydantic's mark of a bad key
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "variant":
        key = f"{key}.{first['ctx']['key']}".lstrip(".")
    elif first["type"] == "extra_forbidden":
        message = "unknown key; is it misspelt?"
    elif first["type"] not in ("value_error", "missing"):
        message = f"{message} (it is {first['input']!r})"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return key, message + more
