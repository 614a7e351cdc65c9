"""Where a model is that a person named: a directory, or a version of the registered model."""

from pathlib import Path


def find_model(name: str) -> tuple[Path, Path | None]:
    """The directory of a model, as `train` writes it, and the probes that are registered with it, if any.

    Args:
        name: models/NAME, or models:/fabnet@ALIAS or models:/fabnet/NUMBER, whose files are copied below .work.

    Raises:
        UserError: there is no such version, its files are not whole, or the store cannot be reached.
    """
    if not name.startswith("models:"):
        return Path(name), None
    from fabnet.tracking.registry.versions import fetch

    found = fetch(name)
    return found.directory, found.heads
