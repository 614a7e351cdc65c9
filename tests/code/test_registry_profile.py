"""What a model learnt from goes into the registry with it, and comes out for `validate` to measure drift against."""

from pathlib import Path

import numpy as np
import pytest
import tracked_project
import yaml
from registered_project import forget_store, make_unregistered
from typer.testing import CliRunner

from fabnet.cli.main import app
from fabnet.errors import UserError
from fabnet.files import read_json, write_json
from fabnet.quality.profile import LEVELS, drift, read_profile
from fabnet.tracking.gate.rules import Gate, Gates
from fabnet.tracking.lineage import output_hash
from fabnet.tracking.registry.lifecycle import promote, register
from fabnet.tracking.registry.versions import fetch_profile

pytestmark = pytest.mark.usefixtures("blank_figures")

RULES = Gates(
    encoder="fabnet",
    resamples=100,
    gates=(Gate(set="synthetic", metric="yaw_mae_deg", direction="lower", allowed_loss="1 %"),),
)
PROFILE = "reports/data/frames.profile.json"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    forget_store(monkeypatch)
    return make_unregistered(tmp_path / "project", monkeypatch)


def validated(root: Path, brightness: float, frames: str | None = None) -> dict:
    """What the stage `validate` leaves behind."""
    quantiles = {"brightness": (brightness + np.arange(len(LEVELS), dtype=float)).tolist()}
    profile = {"format": 1, "levels": list(LEVELS), "frames": 9, "quantiles": quantiles}
    write_json(root / PROFILE, profile)
    lock = yaml.safe_load((root / "dvc.lock").read_text())
    md5 = frames or output_hash(root / "data/frames")
    lock["stages"]["validate"] = {
        "cmd": "python",
        "deps": [{"path": "data/frames", "hash": "md5", "md5": md5}],
        "outs": [
            {"path": "reports/data/frames.html", "hash": "md5", "md5": "0" * 32},  # need not be here
            {"path": PROFILE, "hash": "md5", "md5": output_hash(root / PROFILE)},
        ],
    }
    (root / "dvc.lock").write_text(yaml.safe_dump(lock))
    tracked_project.git(root, "add", "dvc.lock")
    tracked_project.git(root, "commit", "-qm", f"validated, {brightness}")
    return profile


def test_a_versions_profile_comes_back(project: Path):
    profile = validated(project, 100)
    register("fabnet")
    (project / PROFILE).unlink()  # the registry does not need it any more
    path = fetch_profile("models:/fabnet@challenger")
    assert path == Path("health/fabnet-1.profile.json")
    assert read_json(path) == profile
    assert drift(profile, read_profile(path))["distance"].tolist() == [0]
    other = fetch_profile("models:/fabnet/1", Path("elsewhere/then.json"))
    assert read_json(other) == profile


def test_the_champions_profile_is_that_of_the_champion(project: Path):
    validated(project, 100)
    register("fabnet")
    promote(RULES)
    second = validated(project, 120)  # other data, and so another version
    assert register("fabnet").line() == "models:/fabnet/2: registered, challenger"
    assert read_json(fetch_profile("models:/fabnet@challenger")) == second
    assert fetch_profile("models:/fabnet@champion") == Path("health/fabnet-1.profile.json")
    assert read_json("health/fabnet-1.profile.json")["quantiles"]["brightness"][0] == 100


def test_a_command_for_people(project: Path):
    validated(project, 100)
    register("fabnet")
    result = CliRunner().invoke(app, ["track", "profile", "models:/fabnet@challenger"])
    assert result.exit_code == 0
    assert result.output.strip().endswith("fabnet params set health.profile=health/fabnet-1.profile.json")


def test_no_profile_is_one_line_and_no_file(project: Path):
    register("fabnet")
    with pytest.raises(UserError, match=r"^models:/fabnet/1: was registered without a profile of its frames; run"):
        fetch_profile("models:/fabnet@challenger")
    with pytest.raises(UserError, match=r"models:/fabnet@champion: no version bears this alias"):
        fetch_profile("models:/fabnet@champion")
    assert not Path("health").exists()


def test_a_profile_of_other_frames_is_not_registered(project: Path):
    validated(project, 100, frames="f" * 32)
    with pytest.raises(UserError, match=r"tells of other frames than train@fabnet learnt from; run `make repro`"):
        register("fabnet")


def test_a_profile_that_is_not_as_in_the_lock_is_not_registered(project: Path):
    validated(project, 100)
    (project / PROFILE).write_text("{}")
    with pytest.raises(UserError, match=r"frames\.profile\.json: is absent or not as in dvc\.lock"):
        register("fabnet")
