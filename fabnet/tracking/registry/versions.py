"""Versions and aliases of the registered model, the files of a version, and the profile of its data."""

import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from fabnet.errors import UserError, one_line
from fabnet.files import atomic_directory, atomic_file, locked, read_json
from fabnet.quality.profile import read_profile
from fabnet.tracking.gate.compare import Evaluation, read_evaluation
from fabnet.tracking.registry.package import PROFILE, check_package
from fabnet.tracking.store import project_root, required_store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion


NAME = "fabnet"
CHALLENGER, CHAMPION, PREVIOUS = "challenger", "champion", "previous"


@contextmanager
def open_registry(write: bool = False) -> Iterator[tuple["MlflowClient", str]]:
    """The client and the experiment. Writers of one project take turns.

    Raises:
        UserError: another command is changing the registry, or the store failed.
    """
    if not write:
        with required_store() as opened:
            yield opened
        return
    lock = project_root() / ".work/registry/lock"
    with (
        locked(lock, f"{lock}: another command is changing the registry; wait for it or stop it"),
        required_store() as opened,
    ):
        yield opened


def at_alias(client: "MlflowClient", alias: str) -> "ModelVersion | None":
    """The version that an alias points to.

    Args:
        client: of the registry.
        alias: champion, challenger or previous.
    """
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version_by_alias(NAME, alias)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def find(client: "MlflowClient", uri: str) -> "ModelVersion":
    """The version of `models:/fabnet@ALIAS` or `models:/fabnet/NUMBER`.

    Args:
        client: of the registry.
        uri: models:/NAME@ALIAS or models:/NAME/VERSION.

    Raises:
        UserError: the URI is of another form, or there is no such version.
    """
    from mlflow.exceptions import MlflowException

    rest = uri.removeprefix(f"models:/{NAME}")
    if uri.startswith(f"models:/{NAME}@") and len(rest) > 1:
        found = at_alias(client, rest[1:])
        if found is None:
            raise UserError(f"{uri}: no version bears this alias; `fabnet register` and `fabnet promote` set aliases")
        return found
    if uri.startswith(f"models:/{NAME}/") and rest[1:].isdigit():
        try:
            return client.get_model_version(NAME, rest[1:])
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            raise UserError(f"{uri}: no such version") from None
    raise UserError(f"{uri}: must be models:/{NAME}@ALIAS or models:/{NAME}/NUMBER")


def with_tag(client: "MlflowClient", key: str, value: str) -> list["ModelVersion"]:
    """Versions with a tag, the latest first.

    Args:
        client: of the registry.
        key, value: of the tag.
    """
    versions = client.search_model_versions(f"name = '{NAME}'", max_results=10_000)
    matching = [each for each in versions if each.tags.get(key) == value]
    return sorted(matching, key=lambda each: -int(each.version))


def label(version: "ModelVersion") -> str:
    return f"models:/{NAME}/{version.version}"


@contextmanager
def downloaded(client: "MlflowClient", version: "ModelVersion") -> Iterator[Path]:
    """The files of a version, complete: where they lie on this machine, or a copy for the time of the block.

    Args:
        client: of the registry.
        version: whose files.

    Raises:
        UserError: a file is missing or damaged.
    """
    with TemporaryDirectory() as temporary:
        directory = _get(client, version, temporary)
        check_package(directory, label(version))
        yield directory


def check_complete(client: "MlflowClient", version: "ModelVersion") -> None:
    """Raises UserError if a file of a version is missing or damaged: no alias may point to it.

    Args:
        client: of the registry.
        version: whose files.
    """
    with downloaded(client, version):
        pass


def _get(client: "MlflowClient", version: "ModelVersion", folder: Path | str) -> Path:
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    into = None if version.source.startswith("file:") else str(folder)
    try:
        return Path(download_artifacts(artifact_uri=version.source, dst_path=into, tracking_uri=client.tracking_uri))
    except (MlflowException, OSError) as error:
        reason = one_line(error)
        raise UserError(f"{label(version)}: its files cannot be had: {reason}") from None


def evaluation(directory: Path, version: "ModelVersion") -> Evaluation:
    """The stored predictions of a downloaded version, and how far below copying it is.

    Args:
        directory: of the downloaded files.
        version: names the evaluation.
    """
    files = {path.stem: path for path in sorted((directory / "evaluation").glob("*.parquet"))}
    card = read_json(directory / "artifacts/model/model.json")
    # Versions of before do not say it; nor do those of another objective, which have no such loss.
    below = card.get("below_copying_pct", math.nan if card["objective"] == "fabnet" else None)
    return read_evaluation(label(version), files, version.tags["variant"], below)


@dataclass(frozen=True)
class LocalVersion:
    """A registered model on this machine.

    Attributes:
        directory: as `train` writes it, models/NAME.
        heads: its probes, or None.
    """

    name: str
    directory: Path
    heads: Path | None


def fetch(uri: str) -> LocalVersion:
    """Copy a registered model below .work/registry, for `fabnet embed --model models:/fabnet@champion`.

    Raises:
        UserError: there is none, or it is incomplete.
    """
    with open_registry() as (client, _):
        version = find(client, uri)
        directory = project_root() / ".work/registry" / version.tags["fabnet.identity"]
        try:
            check_package(directory, label(version))
        except UserError:  # not here yet
            with downloaded(client, version) as source, atomic_directory(directory) as copy:
                shutil.copytree(source, copy, dirs_exist_ok=True)
    artifacts = directory / "artifacts"
    return LocalVersion(label(version), artifacts / "model", next(iter(sorted(artifacts.glob("*.npz"))), None))


def fetch_profile(uri: str, out: Path | None = None) -> Path:
    """Copy the profile of a version out of the registry, and return where it lies.

    Args:
        uri: models:/fabnet@ALIAS or models:/fabnet/NUMBER.
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
