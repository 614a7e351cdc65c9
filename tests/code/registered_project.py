"""Projects with and without registered versions, and what the registry says of them."""

from pathlib import Path

import mlflow
import pytest
import tracked_project
from mlflow import MlflowClient

from fabnet.tracking import store as store_module
from fabnet.tracking.registry.lifecycle import register
from fabnet.tracking.registry.versions import NAME, check_complete


def forget_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unset what tells where the store is, and undo after the test what the code sets."""
    for variable in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", *store_module._ENVIRONMENT):
        monkeypatch.setenv(variable, "")
        monkeypatch.delenv(variable)


def make_registered(folder: Path) -> Path:
    """A project whose variant is version 1, challenger."""
    root = tracked_project.make(folder)
    tracked_project.add_store(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_ROOT", str(root))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        assert register("fabnet").line() == "models:/fabnet/1: registered, challenger"
    return root


def make_unregistered(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project, in use, of which nothing is registered."""
    root = tracked_project.make(folder)
    tracked_project.add_store(root)
    use(root, monkeypatch)
    return root


def use(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(root))
    monkeypatch.chdir(root)


def client_of(root: Path) -> MlflowClient:
    return MlflowClient(tracking_uri=f"sqlite:///{root / 'mlflow.db'}")


def aliases(root: Path) -> dict[str, str]:
    """The version of each alias. Every one of them is complete."""
    client = client_of(root)
    try:
        found = client.get_registered_model(NAME).aliases
    except mlflow.exceptions.MlflowException:
        return {}
    for alias in found:
        check_complete(client, client.get_model_version_by_alias(NAME, alias))
    return {alias: str(version) for alias, version in found.items()}
