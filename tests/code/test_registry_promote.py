"""Promoting and rolling back; and what a kill leaves on the way, also of registering."""

import os
import shutil
import signal
from pathlib import Path

import pytest
import tracked_project
import warm_process
from registered_project import aliases, client_of, forget_store, make_unregistered

from fabnet.errors import UserError
from fabnet.tracking.gate.compare import CannotCompare
from fabnet.tracking.gate.rules import Gate, Gates
from fabnet.tracking.registry.lifecycle import promote, register, rollback
from fabnet.tracking.registry.versions import CHALLENGER, CHAMPION, NAME, PREVIOUS

pytestmark = pytest.mark.usefixtures("blank_figures")

RULES = Gates(
    encoder="fabnet",
    resamples=200,
    gates=(
        Gate(set="synthetic", metric="yaw_mae_deg", direction="lower", allowed_loss="1 %", floor=6),
        Gate(set="synthetic", metric="units_auc", direction="higher", allowed_loss=0.5),
    ),
)


@pytest.fixture(autouse=True)
def _environment_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_store(monkeypatch)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of its own, nothing registered."""
    return make_unregistered(tmp_path / "project", monkeypatch)


# -- promote, rollback ----------------------------------------------------------------------------------------------


def test_from_challenger_to_champion_and_back(project: Path):
    with pytest.raises(UserError, match="there is no challenger: `fabnet register` makes one"):
        promote(RULES)
    with pytest.raises(UserError, match="no previous champion"):
        rollback()
    register("fabnet")
    copies = promote(RULES.model_copy(update={"below_copying_pct": 40}))
    assert copies.verdict is not None
    assert copies.verdict.reasons[0].startswith("it still copies: its validation loss is 33.3 % below that of copying")
    first = promote(RULES.model_copy(update={"below_copying_pct": 2}))
    assert (first.exit_code, first.verdict.champion if first.verdict else "") == (0, None)
    assert aliases(project) == {CHAMPION: "1"}
    assert register("fabnet").line() == "models:/fabnet/1: was registered already, champion"
    assert aliases(project) == {CHAMPION: "1"}

    tracked_project.make(project, seed=1, scale=1.3)
    register("fabnet")
    assert aliases(project) == {CHAMPION: "1", CHALLENGER: "2"}
    worse = promote(RULES)
    assert worse.exit_code == 2
    assert aliases(project) == {CHAMPION: "1", CHALLENGER: "2"}
    assert client_of(project).get_model_version(NAME, "2").tags["gate"].startswith("REFUSED: models:/fabnet/2 against")

    tracked_project.make(project, seed=2, scale=0.8)
    register("fabnet")
    assert promote(RULES).exit_code == 0
    assert aliases(project) == {CHAMPION: "3", PREVIOUS: "1"}
    assert rollback() == "models:/fabnet/1"
    assert aliases(project) == {CHAMPION: "1"}
    with pytest.raises(UserError, match="no previous champion"):
        rollback()


def test_another_evaluation_set_needs_a_word(project: Path, monkeypatch: pytest.MonkeyPatch):
    register("fabnet")
    promote(RULES)
    fewer = tracked_project.predictions
    monkeypatch.setattr(tracked_project, "predictions", lambda *args: fewer(*args, people=20))
    tracked_project.make(project, seed=1)
    register("fabnet")
    with pytest.raises(CannotCompare, match="models:/fabnet/1 was scored on 120 faces and models:/fabnet/2 on 80"):
        promote(RULES)
    assert aliases(project) == {CHAMPION: "1", CHALLENGER: "2"}
    assert promote(RULES, uncompared=True).exit_code == 0
    assert aliases(project) == {CHAMPION: "2", PREVIOUS: "1"}


def test_a_damaged_version_is_never_promoted(project: Path):
    register("fabnet")
    (weights,) = (project / "mlartifacts").rglob("best.pt")
    weights.write_bytes(b"0")
    with pytest.raises(UserError, match=r"models:/fabnet/1: incomplete: artifacts/model/best.pt is damaged"):
        promote(RULES)
    weights.unlink()
    with pytest.raises(UserError, match=r"artifacts/model/best.pt is missing"):
        register("fabnet")
    assert client_of(project).get_registered_model(NAME).aliases == {CHALLENGER: 1}


# -- kill -9 --------------------------------------------------------------------------------------------------------


def killed(root: Path, at: str, command: str) -> None:
    """Run `command` in a process that kills itself at the n-th call `NAME:n` of a method of MlflowClient."""
    name, _, count = at.partition(":")
    code = f"""
import os, signal
from mlflow import MlflowClient
from fabnet.tracking.gate.rules import read_gates
from fabnet.tracking.registry.lifecycle import promote, rollback
from fabnet.tracking.registry.lifecycle import register
method, calls = MlflowClient.{name}, []
def dying(*args, **kwargs):
    calls.append(1)
    if len(calls) == {count}:
        os.kill(os.getpid(), signal.SIGKILL)
    return method(*args, **kwargs)
MlflowClient.{name} = dying
{command}
"""
    (root / "gates.yaml").write_text(
        "encoder: fabnet\ngates: [{set: synthetic, metric: yaw_mae_deg, direction: lower, allowed_loss: 1 %}]"
    )
    environment = {**os.environ, "DVC_ROOT": str(root)}
    done = warm_process.run(["-c", code], cwd=root, env=environment)
    assert done.returncode == -signal.SIGKILL, done.stderr


def test_register_killed_while_it_uploads_and_before_the_alias(project: Path):
    killed(project, "create_model_version:1", "register('fabnet')")
    assert aliases(project) == {}
    # An upload of which half arrived.
    for path in list((project / "mlartifacts").rglob("registered/*/artifacts")):
        shutil.rmtree(path)
    killed(project, "set_registered_model_alias:1", "register('fabnet')")
    assert aliases(project) == {}
    assert register("fabnet").line() == "models:/fabnet/1: was registered already, challenger"
    assert aliases(project) == {CHALLENGER: "1"}


def test_promote_and_rollback_killed_between_their_steps(project: Path):
    register("fabnet")
    promote(RULES)
    tracked_project.make(project, seed=2, scale=0.8)
    register("fabnet")
    killed(project, "set_registered_model_alias:2", "promote(read_gates())")
    assert aliases(project) == {CHAMPION: "1", PREVIOUS: "1", CHALLENGER: "2"}
    killed(project, "delete_registered_model_alias:1", "promote(read_gates())")
    assert aliases(project) == {CHAMPION: "2", PREVIOUS: "1", CHALLENGER: "2"}
    assert promote(RULES).exit_code == 0
    assert aliases(project) == {CHAMPION: "2", PREVIOUS: "1"}
    killed(project, "delete_registered_model_alias:1", "rollback()")
    assert aliases(project) == {CHAMPION: "1", PREVIOUS: "1"}
    assert rollback() == "models:/fabnet/1"
    assert aliases(project) == {CHAMPION: "1"}
