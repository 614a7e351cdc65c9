"""A project that was moved or copied keeps artifacts in its own place, and finds those that came along."""

import shutil
import sqlite3
from pathlib import Path

import pytest
import tracked_project
from registered_project import aliases, client_of, forget_store, make_registered, use

from fabnet.tracking.registry.chain import lineage
from fabnet.tracking.registry.lifecycle import register
from fabnet.tracking.store import follow, open_store

pytestmark = pytest.mark.usefixtures("blank_figures")


@pytest.fixture(autouse=True)
def _environment_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_store(monkeypatch)


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose variant is version 1, challenger. Not to be changed."""
    return make_registered(tmp_path_factory.mktemp("registered") / "a project")


@pytest.fixture
def project(registered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy at a place of its own, in use; it is itself a copied project that was mended."""
    root = tmp_path / "one" / "project"
    shutil.copytree(registered, root, symlinks=True)
    use(root, monkeypatch)
    open_store()
    return root


def places(root: Path) -> set[str]:
    """Every text of the store that names a folder mlartifacts, by the folder's parent."""
    found = set()
    with sqlite3.connect(root / "mlflow.db") as database:
        for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for row in database.execute(f"SELECT * FROM {table}"):
                found |= {
                    cell.partition("/mlartifacts")[0] for cell in row if isinstance(cell, str) and "/mlart" in cell
                }
    return found


def retrain(root: Path) -> None:
    """Other weights, which make another version."""
    shutil.rmtree(root / "models")
    tracked_project.make(root, seed=5)


def test_a_copy_has_its_own_place_and_the_original_stays(
    registered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    before = {path: path.read_bytes() for path in registered.rglob("*") if path.is_file()}
    copy = tmp_path / "copy"
    shutil.copytree(registered, copy, symlinks=True)
    use(copy, monkeypatch)
    assert "was registered already" in register("fabnet").line()
    assert places(copy) == {copy.as_uri()}
    retrain(copy)
    assert register("fabnet").line() == "models:/fabnet/2: registered, challenger"
    assert places(copy) == {copy.as_uri()}
    assert aliases(copy) == {"challenger": "2"}
    assert not any(link.broken for link in lineage("models:/fabnet/1") if "files" in link.line())
    assert {path: path.read_bytes() for path in registered.rglob("*") if path.is_file()} == before


def test_a_moved_project_goes_on_where_it_is_now(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    moved = tmp_path / "two" / "pröject mövt"
    moved.parent.mkdir()
    project.rename(moved)
    use(moved, monkeypatch)
    retrain(moved)
    assert register("fabnet").line() == "models:/fabnet/2: registered, challenger"
    assert places(moved) == {moved.as_uri()}
    assert not project.exists()
    client = client_of(moved)
    for version in ("1", "2"):
        client.set_registered_model_alias("fabnet", f"of-{version}", version)
    assert aliases(moved) == {"challenger": "2", "of-1": "1", "of-2": "2"}  # all of them complete


def test_artifacts_that_did_not_come_along_are_still_found(project: Path, tmp_path: Path):
    """A copy of the database alone: what was registered lies where it lay, what is new lies here."""
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copyfile(project / "mlflow.db", alone / "mlflow.db")
    assert follow(alone / "mlflow.db", alone / "mlartifacts", 1) == 1
    client = client_of(alone)
    assert client.get_experiment_by_name("fabnet").artifact_location == (alone / "mlartifacts").as_uri()
    assert client.get_model_version("fabnet", "1").source.startswith((project / "mlartifacts").as_uri())
    assert aliases(alone) == {"challenger": "1"}
    shutil.copytree(project / "mlartifacts", alone / "mlartifacts")
    assert follow(alone / "mlflow.db", alone / "mlartifacts", 1) == 0  # new runs go here already


def test_artifacts_on_a_disk_that_is_not_mounted_are_found_once_it_is(project: Path, tmp_path: Path):
    """A copy of the database alone, while the old place is absent: another one would never be put right."""
    alone = tmp_path / "alone"
    (alone / "mlartifacts").mkdir(parents=True)
    shutil.copyfile(project / "mlflow.db", alone / "mlflow.db")
    unmounted = project.with_name("unmounted")
    project.rename(unmounted)
    client = client_of(alone)
    with sqlite3.connect(alone / "mlflow.db") as database:
        ((run, place),) = database.execute(
            "SELECT run_uuid, artifact_uri FROM runs WHERE artifact_uri IS NOT NULL LIMIT 1"
        )
    (alone / "mlartifacts" / place.partition("/mlartifacts/")[2]).mkdir(parents=True)  # holds nothing
    assert follow(alone / "mlflow.db", alone / "mlartifacts", 1) == 1
    assert client.get_experiment_by_name("fabnet").artifact_location == (alone / "mlartifacts").as_uri()
    assert client.get_run(run).info.artifact_uri == place
    assert client.get_model_version("fabnet", "1").source.startswith((project / "mlartifacts").as_uri())
    unmounted.rename(project)
    assert follow(alone / "mlflow.db", alone / "mlartifacts", 1) == 0
    assert aliases(alone) == {"challenger": "1"}


def test_a_run_without_artifacts_follows(project: Path, tmp_path: Path):
    client = client_of(project)
    run = client.create_run(client.get_experiment_by_name("fabnet").experiment_id).info.run_id
    copy = tmp_path / "copy"
    shutil.copytree(project, copy)
    assert follow(copy / "mlflow.db", copy / "mlartifacts", 1) == 1
    assert client_of(copy).get_run(run).info.artifact_uri.startswith((copy / "mlartifacts").as_uri())


def test_a_place_that_somebody_chose_is_left_alone(project: Path, tmp_path: Path):
    client = client_of(project)
    share = tmp_path / "share" / "mlartifacts"
    share.mkdir(parents=True)
    elsewhere = [
        share.as_uri(),
        (tmp_path / "share" / "runs").as_uri(),
        "s3://bucket/mlartifacts",
        "mlflow-artifacts:/1",
    ]
    for number, place in enumerate(elsewhere):
        client.create_experiment(f"of somebody {number}", artifact_location=place)
    (project / "mlartifacts").rename(project / "kept")  # else it would be the counterpart of the share's
    assert follow(project / "mlflow.db", project / "mlartifacts", 1) == 0
    assert [client.get_experiment_by_name(f"of somebody {n}").artifact_location for n in range(4)] == elsewhere


def test_a_link_to_the_project_is_the_same_place(project: Path, tmp_path: Path):
    (tmp_path / "link").symlink_to(project)
    assert follow(tmp_path / "link/mlflow.db", tmp_path / "link/mlartifacts", 1) == 0


def test_a_database_without_experiments_is_left_to_mlflow(tmp_path: Path):
    sqlite3.connect(tmp_path / "mlflow.db").close()
    assert follow(tmp_path / "mlflow.db", tmp_path / "mlartifacts", 1) == 0


def test_half_a_change_is_none(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    moved = tmp_path / "moved"
    project.rename(moved)
    with sqlite3.connect(moved / "mlflow.db") as database:  # the last table refuses
        database.execute("CREATE TRIGGER no BEFORE UPDATE ON model_versions BEGIN SELECT RAISE(ABORT, 'no'); END")
    with pytest.raises(sqlite3.IntegrityError, match="no"):
        follow(moved / "mlflow.db", moved / "mlartifacts", 1)
    assert places(moved) == {project.as_uri()}
