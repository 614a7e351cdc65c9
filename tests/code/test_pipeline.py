"""The whole pipeline as a user runs it, on the tiny profile, in a clone of its own."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import warm_process

from fabnet import tables
from fabnet.files import read_json
from fabnet.probing.predictions import PAPER_PREFIX

ROOT = Path(__file__).parents[2]
# Trained encoders and the stages that train them.
VARIANTS = {
    "fabnet": "train@fabnet",
    "fabnet_3src": "train@fabnet_3src",
    "fabnet_next": "train@fabnet_next",
    "autoencoder": "train@autoencoder",
    "fabnet_curriculum": "finetune@fabnet_curriculum",
}
METRICS = {
    *("roll_mae_deg", "pitch_mae_deg", "yaw_mae_deg", "pose_mae_deg"),
    *("landmarks68_nme_pct", "landmarks5_nme_pct", "units_auc", "expression_auc"),
}


class Project:
    """A clone of the working tree, with commands run as the Makefile runs them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True
        )
        for name in listed.stdout.decode().split("\0"):
            # Outputs that git holds would make DVC believe they are there already.
            if name and not name.startswith("reports/") and (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / name, folder / name)
        for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "clone"]):
            identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
            subprocess.run(["git", *identity, *command], cwd=folder, check=True)
        binaries = os.pathsep.join((str(warm_process.folder()), str(Path(sys.executable).parent)))
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("DVC_", "MLFLOW_"))},
            "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }

    def start(self, *command: str) -> subprocess.Popen[str]:
        """On one core, so that stages begin no processes of their own, each of which would import their libraries."""
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}),
        )

    def run(self, *command: str, timeout: float = 900) -> subprocess.CompletedProcess[str]:
        process = self.start(*command)
        out, err = process.communicate(timeout=timeout)
        return subprocess.CompletedProcess(command, process.returncode, out, err)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    project = Project(tmp_path_factory.mktemp("clone"))
    assert project.run("fabnet", "params", "use", "tiny").returncode == 0
    done = project.run("dvc", "repro")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return project


def test_a_second_repro_has_nothing_to_do(project):
    done = project.run("dvc", "repro")
    assert "Data and pipelines are up to date." in done.stdout
    assert "Running stage" not in done.stdout


def test_metrics_cover_every_encoder_and_name(project):
    metrics = read_json(project.folder / "metrics.json")
    assert set(metrics) == {"synthetic"}
    assert set(metrics["synthetic"]) == {*VARIANTS, "constant", "random", "hog", "pca", "vgg11"}
    for encoder, scores in metrics["synthetic"].items():
        # So few faces are scored by folds, each face once; a network trained on their labels on the test split alone.
        supervised = encoder == "vgg11"
        assert set(scores) == (METRICS if supervised else METRICS | {PAPER_PREFIX + name for name in METRICS}), encoder
        for score in scores.values():
            assert set(score) == {"value", "low", "high", "n"}
            assert score["low"] <= score["value"] <= score["high"]
            assert score["n"] == (4 if supervised else 8 + 3 + 4) * 6, encoder


def test_a_constant_ranks_nobody(project):
    constant = read_json(project.folder / "metrics.json")["synthetic"]["constant"]
    assert constant["units_auc"]["value"] == constant["expression_auc"]["value"] == 50


def test_tables_between_stages_are_legal_and_identities_keep_to_their_split(project):
    index = tables.read(project.folder / "data/frames/index.parquet", tables.Index)
    splits = tables.read(project.folder / "data/splits.parquet", tables.Splits)
    tables.read(project.folder / "data/frames/rejects.parquet", tables.Rejects)
    assert set(index["identity"]) == set(splits["identity"])
    assert len(index) == 12 * 6
    for variant, samples in (("fabnet", 256), ("autoencoder", 512), ("fabnet_curriculum", 64)):
        history = tables.read(project.folder / f"models/{variant}/history.parquet", tables.History)
        assert history["samples"].max() == samples


def test_report_and_its_pictures(project):
    report = (project.folder / "reports/results.md").read_text()
    pictures = [line.split("(")[1][:-1] for line in report.splitlines() if line.startswith("![")]
    assert len(pictures) >= 6
    for picture in pictures:
        assert (project.folder / "reports" / picture).read_bytes().startswith(b"\x89PNG"), picture


def test_mlflow_holds_a_finished_run_per_train_and_probe_stage(project):
    with sqlite3.connect(project.folder / "mlflow.db") as database:
        runs = pd.read_sql("select run_uuid, name, status from runs", database).set_index("name")
        measured = pd.read_sql("select run_uuid, key, value, step from metrics", database)
        tags = pd.read_sql("select run_uuid, key, value from tags", database)
    assert set(runs.index) == {*VARIANTS.values(), "probe@synthetic", "supervise@synthetic"}
    assert set(runs["status"]) == {"FINISHED"}
    of_training = runs.loc["train@fabnet", "run_uuid"]
    history = tables.read(project.folder / "models/fabnet/history.parquet", tables.History)
    losses = measured[(measured["run_uuid"] == of_training) & (measured["key"] == "validation_loss")]
    assert sorted(losses["value"]) == pytest.approx(sorted(history["loss"][history["split"] == "validation"]))
    (curve,) = (project.folder / "mlartifacts" / of_training).rglob("learning_curve.png")
    assert curve.read_bytes().startswith(b"\x89PNG")
    weights = tags[(tags["run_uuid"] == of_training) & (tags["key"] == "weights.sha256")]["value"].item()
    assert weights == read_json(project.folder / "models/fabnet/model.json")["weights_sha256"]


def test_the_same_seed_gives_the_same_data_byte_for_byte(project, tmp_path):
    """The data, index and split of a second project, made by two processes, equal the first's."""
    other = Project(tmp_path)
    shutil.copyfile(project.folder / "params.yaml", other.folder / "params.yaml")
    assert other.run("fabnet", "params", "set", "synthesize.workers=2", "extract.workers=2").returncode == 0
    done = other.run("dvc", "repro", "split")
    assert done.returncode == 0, done.stderr[-2000:]
    for place in ("data/frames", "data/synthetic"):
        first = {p.relative_to(project.folder): p.read_bytes() for p in (project.folder / place).rglob("*.*")}
        second = {p.relative_to(other.folder): p.read_bytes() for p in (other.folder / place).rglob("*.*")}
        assert first.keys() == second.keys()
        assert [path for path in first if first[path] != second[path]] == []
    splits = "data/splits.parquet"
    assert (project.folder / splits).read_bytes() == (other.folder / splits).read_bytes()


def test_killed_training_resumes_to_the_same_weights(project):
    """Needs what `project` made; trains a variant of its own, longer, and kills it after its first checkpoint."""
    set_variant = "train.variants.killed={samples: 1024, precision: fp32, checkpoint_every: 128}"
    assert project.run("fabnet", "params", "set", set_variant).returncode == 0
    weights = project.folder / "models/killed/last.pt"
    work = project.folder / ".work/train"

    process = project.start("python", "stages/train.py", "killed")
    deadline = time.monotonic() + 120
    while not list(work.glob("killed/checkpoint.pt")):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 143
    process.communicate()
    assert not weights.exists()
    assert list(work.glob("killed/checkpoint.pt"))

    assert project.run("python", "stages/train.py", "killed").returncode == 0
    resumed = weights.read_bytes()
    assert not (work / "killed").exists()
    assert project.run("python", "stages/train.py", "killed").returncode == 0
    assert weights.read_bytes() == resumed


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("extract.fsp: 2", "extract.fsp: unknown key"),
        ("extract.image_size: 60", "extract.image_size: must be a power of two"),
        ("split.train: 80", "split: train + validation + test must be 100 percent, not 105"),
        ("train.common.jitter: 2", "train.common.jitter"),
    ],
)
def test_bad_params_stop_every_stage_with_one_line(project, tmp_path, setting, message):
    import yaml

    values = yaml.safe_load((project.folder / "params.yaml").read_text())
    keys, value = setting.split(": ")
    *path, last = keys.split(".")
    section = values
    for key in path:
        section = section[key]
    section[last] = float(value) if "." in value else int(value)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    for stage in ("extract.py", "split.py"):
        done = warm_process.run([ROOT / "stages" / stage], cwd=tmp_path)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert message in done.stderr
