"""What a registered model learnt from, for the stage `validate` to measure the drift of new data against."""

import shutil
from pathlib import Path

from fabnet.errors import UserError
from fabnet.files import atomic_file
from fabnet.quality.drift import read_profile
from fabnet.tracking.registry.package import PROFILE
from fabnet.tracking.registry.versions import NAME, downloaded, find, label, open_registry


def fetch_profile(uri: str, out: Path | None = None) -> Path:
    """Copy the profile of a version out of the registry, and return where it lies.

    Args:
        out: health/fabnet-VERSION.profile.json if not given. A version never changes, and DVC looks at the path in
            params.yaml: so a path that names the version makes `validate` run again when the champion is another.

    Raises:
        UserError: there is no such version, it is incomplete, or it was registered without a profile.
    """
    with open_registry() as (client, _):
        version = find(client, uri)
        path = out or Path("health") / f"{NAME}-{version.version}.profile.json"
        with downloaded(client, version) as directory:
            stored = directory / PROFILE
            if not stored.is_file():
                raise UserError(
                    f"{label(version)}: was registered without a profile of its frames; run the stage `validate` and "
                    "register it again"
                )
            read_profile(stored)
            with atomic_file(path) as temporary:
                shutil.copyfile(stored, temporary)
    return path
