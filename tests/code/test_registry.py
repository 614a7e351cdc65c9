"""Registering: what a version holds, what is refused, and the chain back to the data."""

import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import tracked_project
from registered_project import aliases, client_of, forget_store, make_registered, make_unregistered, use

import fabnet
from fabnet.errors import UserError
from fabnet.files import hash_file, read_json
from fabnet.tracking.registry.chain import lineage
from fabnet.tracking.registry.lifecycle import register
from fabnet.tracking.registry.package import REQUIREMENTS
from fabnet.tracking.registry.versions import CHALLENGER, NAME, fetch

pytestmark = pytest.mark.usefixtures("blank_figures")


@pytest.fixture(autouse=True)
def _environment_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_store(monkeypatch)


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose variant is version 1, challenger. Not to be changed."""
    return make_registered(tmp_path_factory.mktemp("registered"))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of its own, nothing registered."""
    return make_unregistered(tmp_path / "project", monkeypatch)


# -- register -------------------------------------------------------------------------------------------------------


def test_a_version_is_whole_and_says_where_it_comes_from(registered: Path, monkeypatch: pytest.MonkeyPatch):
    use(registered, monkeypatch)
    client = client_of(registered)
    (version,) = client.search_model_versions(f"name = '{NAME}'")
    card = read_json(registered / "models/fabnet/model.json")
    assert version.tags["weights.sha256"] == card["weights_sha256"]
    assert version.tags["recipe.hash"] == card["recipe"]["hash"]
    assert version.tags["fabnet"] == fabnet.__version__
    assert version.tags["below_copying_pct"] == "33.33"
    assert version.tags["git.commit"] == tracked_project.git(registered, "rev-parse", "HEAD")
    assert {"dvc.lock", "dvc.lock.probe.synthetic", "data/frames", "data/splits.parquet"} <= version.tags.keys()
    assert client.get_run(version.run_id).data.tags["weights.sha256"] == card["weights_sha256"]

    directory = Path(version.source.removeprefix("file://"))
    files = [path for path in directory.rglob("*") if path.is_file()]
    assert not [path for path in files if path.suffix in (".pkl", ".pickle", ".pyc") or "__pycache__" in path.parts]
    requirements = (directory / "requirements.txt").read_text().split()
    assert [line.partition("==")[0] for line in requirements] == list(REQUIREMENTS)
    assert all(re.fullmatch(r"[\w-]+==[\w.]+", line) for line in requirements)
    page = (directory / "README.md").read_text()
    for words in (
        "## Intended use",
        "## Limits",
        "## Crop recipe",
        card["weights_sha256"],
        "yaw",
        "data/frames",
        "33.3 % below that of showing the source unchanged",
        "licence",
    ):
        assert words in page
    stored = pd.read_parquet(directory / "evaluation/synthetic.parquet")
    assert set(stored["encoder"]) == {"fabnet"}


def test_registering_again_is_the_same_version(registered: Path, monkeypatch: pytest.MonkeyPatch):
    use(registered, monkeypatch)
    before = sorted(path for path in (registered / "mlartifacts").rglob("*"))
    assert register("fabnet").line() == "models:/fabnet/1: was registered already, challenger"
    assert sorted(path for path in (registered / "mlartifacts").rglob("*")) == before
    assert aliases(registered) == {CHALLENGER: "1"}


def test_every_package_that_serving_imports_is_required():
    code = (
        "import sys, importlib.metadata as m, fabnet.serving.pyfunc_model\n"
        "of = m.packages_distributions()\n"
        "tops = {name.partition('.')[0] for name in sys.modules}\n"
        "print(*{d.lower() for top in tops for d in of.get(top, [])})"
    )
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    own = tracked_project.direct_dependencies() - {"fastapi", "requests"}  # MLflow imports them by itself
    assert loaded & own <= set(REQUIREMENTS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda root: (root / "models/fabnet/best.pt").unlink(), "models/fabnet: is absent or not as in dvc.lock"),
        (lambda root: (root / "probes/synthetic/predictions.parquet").write_bytes(b""), "probes/synthetic: is absent"),
        (lambda root: (root / "dvc.lock").unlink(), "dvc.lock: no such file"),
    ],
)
def test_what_does_not_belong_together_is_not_registered(project: Path, change, message: str):
    change(project)
    with pytest.raises(UserError, match=message):
        register("fabnet")
    assert aliases(project) == {}


def test_unknown_names_are_one_line(registered: Path, monkeypatch: pytest.MonkeyPatch):
    use(registered, monkeypatch)
    with pytest.raises(UserError, match=r"no trained variant of that name in dvc\.lock; there are: fabnet"):
        register("fabnat")
    with pytest.raises(UserError, match="aflw: no saved probes of fabnet on such a set; there are: synthetic"):
        register("fabnet", probes="aflw")
    for uri, message in {
        "models:/fabnet@champion": "no version bears this alias",
        "models:/fabnet/7": "no such version",
        "models:/other/1": "must be models:/fabnet@ALIAS",
    }.items():
        with pytest.raises(UserError, match=message):
            fetch(uri)
        with pytest.raises(UserError, match=message):
            fabnet.load(uri)


def test_a_registered_model_is_opened_with_its_probes(registered: Path, monkeypatch: pytest.MonkeyPatch):
    use(registered, monkeypatch)
    model = fabnet.load(f"models:/{NAME}@{CHALLENGER}")
    assert model.weights_sha256 == hash_file(registered / "models/fabnet/best.pt")
    assert model.probes is not None
    assert model.probes.meta["encoder"] == "fabnet"


# -- lineage --------------------------------------------------------------------------------------------------------


def test_the_chain_holds_and_every_broken_link_is_found(project: Path):
    register("fabnet")
    uri = "models:/fabnet@challenger"
    chain = lineage(uri)
    assert [link.name for link in chain] == ["version", "run", "commit", "lock", "data", "data", "recipe", "params"]
    assert [link.line() for link in chain if link.broken] == []
    assert tracked_project.git(project, "rev-parse", "--short", "HEAD") in chain[2].value

    def broken() -> dict[str, str]:
        return {link.name: link.broken for link in lineage(uri) if link.broken}

    client = client_of(project)
    version = client.get_model_version_by_alias(NAME, CHALLENGER)
    client.set_model_version_tag(NAME, version.version, "recipe.hash", "another")
    assert set(broken()) == {"run", "recipe"}
    client.set_model_version_tag(NAME, version.version, "recipe.hash", tracked_project.RECIPE["hash"])
    client.set_model_version_tag(NAME, version.version, "data/frames", "another")
    assert broken() == {"data": "the version's tag names other data"}
    client.set_model_version_tag(NAME, version.version, "dvc.lock", "another")
    assert {"commit", "lock", "data"} == set(broken())
    client.delete_run(version.run_id)
    (weights,) = (project / "mlartifacts").rglob("best.pt")
    weights.write_bytes(b"0")
    assert "best.pt is damaged" in broken()["version"]


def test_a_lock_that_was_never_committed_is_told(project: Path):
    tracked_project.make(project, seed=3)
    tracked_project.git(project, "reset", "-q", "--soft", "HEAD~1")
    register("fabnet")
    chain = {link.name: link for link in lineage("models:/fabnet@challenger")}
    assert chain["commit"].broken == "commit dvc.lock"
    assert chain["lock"].broken == ""
