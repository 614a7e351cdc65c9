"""Names that no key of params.yaml may have, since DVC does not see their values change.

DVC 3.67.1 leaves every key called `size` or `nfiles`, at any depth of a section that a stage depends on, out of its
run cache's key (upstream issue 10296): a stage that once ran with one value is answered with its outputs for any other.
"""

from typing import Any

from fabnet.errors import ConfigError

RESERVED = ("size", "nfiles")

#: Keys that had such a name once.
_RENAMED = {"extract.size": "extract.image_size", "supervise.size": "supervise.image_size"}


def check_reserved(values: Any, where: str, key: str = "") -> None:
    """Refuse a key called `size` or `nfiles` at any depth of `values`, of which `key` is the dotted name so far.

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
