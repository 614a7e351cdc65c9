"""What docs/dvc.md says of remotes, plots and leftovers, with this project's settings, in small repositories."""

import os
import shutil
import subprocess
import sys
from pathlib import Path, PurePosixPath

import pandas as pd
import pytest
import warm_process
import yaml
from clip_files import write_pictures
from dvc.repo.scm_context import SCMContext

from fabnet.errors import UserError
from fabnet.figures.curves import loss_table
from fabnet.files import read_json
from fabnet.leftovers import find_leftovers, move_aside
from fabnet.pipeline import read_pipeline
from fabnet.profiles import set_values

ROOT = Path(__file__).parents[2]
DVC = shutil.which("dvc", path=str(Path(sys.executable).parent)) or "dvc"


def test_make_passes_over_the_hint_that_dvc_repeats(tmp_path, caplog):
    """The lines are those that DVC itself logs; what a stage says, and how it ends, comes through."""
    context = SCMContext(scm=object())
    context.track_file([".gitignore", "dvc.lock"])
    with caplog.at_level("INFO", "dvc"), context():
        pass
    hint = "\n".join(caplog.messages)
    assert "git add" in hint
    (tmp_path / "out.txt").write_text(f"Running stage 'split':\n{hint}\nUse `dvc push` to send\nadd: git add x\n")
    for end in ("true", "false"):
        rule = f"all:\n\t@{{ cat {tmp_path}/out.txt; {end}; }} | sed -uE '$(HINT)'\n"
        (tmp_path / "rule.mk").write_text(f"include {ROOT}/Makefile\n{rule}")
        done = subprocess.run(
            ["make", "--no-print-directory", "-f", str(tmp_path / "rule.mk"), "all"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert done.stdout.splitlines() == ["Running stage 'split':", "Use `dvc push` to send", "add: git add x"]
        assert (done.returncode == 0) == (end == "true")


class Repository:
    """A repository of git and DVC with this project's .dvc/config."""

    def __init__(self, folder: Path, origin: "Repository | None" = None) -> None:
        self.folder = folder
        if origin is not None:
            subprocess.run(["git", "clone", "-q", origin.folder, folder], check=True)
            return
        (folder / ".dvc").mkdir(parents=True)
        for name in ("config", ".gitignore"):
            shutil.copyfile(ROOT / ".dvc" / name, folder / ".dvc" / name)
        self.git("init", "-q", "-b", "main")

    def git(self, *arguments: str) -> None:
        identity = ["-c", "user.name=n", "-c", "user.email=e@localhost"]
        subprocess.run(["git", *identity, *arguments], cwd=self.folder, check=True, capture_output=True)

    def commit(self) -> None:
        self.git("add", "-A")
        self.git("commit", "-qm", "all")

    def dvc(self, *arguments: str, **environment: str) -> str:
        variables = {key: value for key, value in os.environ.items() if not key.startswith("DVC_")} | environment
        done = warm_process.run([DVC, *arguments], cwd=self.folder, env=variables)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "one/checkout")
    (made.folder / "weights").write_bytes(b"weights")
    made.dvc("add", "-q", "weights")
    made.commit()
    return made


def test_outputs_travel_through_the_default_remote_beside_the_checkout(repository: Repository, tmp_path: Path):
    repository.dvc("push", "-q")
    assert [path for path in (tmp_path / "one/fabnet-remote").rglob("*") if path.is_file()]
    other = Repository(tmp_path / "one/another", repository)
    assert not (other.folder / "weights").exists()
    other.dvc("pull", "-q")
    assert (other.folder / "weights").read_bytes() == b"weights"


def test_another_remote_by_the_settings_of_the_checkout_or_of_the_environment(repository: Repository, tmp_path: Path):
    here, there = tmp_path / "here", tmp_path / "there"
    repository.dvc("remote", "add", "--local", "--default", "disk", str(here))
    repository.dvc("push", "-q")
    assert here.is_dir()
    settings = tmp_path / "settings"
    settings.mkdir()
    (settings / "config").write_text(f"['remote \"team\"']\n    url = {there}\n")
    repository.dvc("push", "-q", "--remote", "team", DVC_GLOBAL_CONFIG_DIR=str(settings))
    assert there.is_dir()
    assert not (tmp_path / "one/fabnet-remote").exists()
    repository.git("diff", "--exit-code")  # nothing of this is for git


def test_an_object_store_is_an_extra():
    import tomllib

    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert [line.partition(">=")[0] for line in extras["s3"]] == ["dvc[s3]"]
    assert "\ndvc-s3==" in (ROOT / "constraints.txt").read_text()


def test_curves_are_plotted_for_a_commit_and_against_it(tmp_path: Path):
    made = Repository(tmp_path / "checkout")
    plots = yaml.safe_load((ROOT / "dvc.yaml").read_text())["plots"]
    (made.folder / "dvc.yaml").write_text(yaml.safe_dump({"plots": plots}))
    ((folder, settings),) = plots[0].items()
    rows = [(step, 10 * step, split, 1 / step, 0.1) for step in (1, 2, 3) for split in ("train", "validation")]
    table = loss_table(pd.DataFrame(rows, columns=["step", "samples", "split", "loss", "learning_rate"]))
    assert {settings["x"], *settings["y"]} <= set(table.columns)
    path = made.folder / folder / "fabnet.csv"
    path.parent.mkdir(parents=True)
    table.to_csv(path, index=False)
    made.commit()
    path.write_text(path.read_text().replace("0.5", "0.75"))

    # Of each loss as many points as there are, from one side and from two.
    for command, points in ((["show"], 3), (["diff", "HEAD"], 6)):
        page = made.dvc("plots", *command, "--out", "page").strip().removeprefix("file://")
        text = Path(page).read_text()
        for loss in settings["y"]:
            assert text.count(f'"field": "{loss}"}}') == points


# -- no stale results -----------------------------------------------------------------------------------------------


def test_another_image_size_runs_the_stage_again(tmp_path: Path):
    """The stage extract of this project, on a clip of its own. Under the key's old name DVC answered from its cache."""
    made = Repository(tmp_path / "checkout")
    pipeline = {"stages": {"extract": yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["extract"]}}
    (made.folder / "dvc.yaml").write_text(yaml.safe_dump(pipeline))
    shutil.copytree(ROOT / "stages", made.folder / "stages")
    for room in ("video", "frames"):
        shutil.copytree(ROOT / "fabnet" / room, made.folder / "fabnet" / room)
    (made.folder / "docs").mkdir()
    for name in ("params.yaml", "docs/schemas.json"):
        shutil.copyfile(ROOT / name, made.folder / name)
    write_pictures(made.folder / "data/clips/ada/talk.mp4", range(0, 75, 5))

    set_values(["extract.videos=data/clips", "extract.workers=1"], made.folder / "params.yaml")
    (made.folder / ".gitignore").write_text("/data/\n__pycache__/\n")
    made.commit()
    path = f"{warm_process.folder()}{os.pathsep}{os.environ['PATH']}"

    def extracted(*command: str) -> tuple[int, bool, bool]:
        said = made.dvc(*command, "extract", PATH=path, PYTHONPATH=str(ROOT))
        size = read_json(made.folder / "data/frames/crop.json")["size"]
        return size, "Running stage 'extract'" in said, "is cached" in said

    set_values(["extract.image_size=32"], made.folder / "params.yaml")
    assert extracted("repro") == (32, True, False)
    set_values(["extract.image_size=16"], made.folder / "params.yaml")
    assert extracted("repro") == (16, True, False)
    assert extracted("exp", "run", "--set-param", "extract.image_size=64") == (64, True, False)
    set_values(["extract.image_size=32"], made.folder / "params.yaml")
    assert extracted("repro") == (32, False, True)  # this one was seen before


#: Every variant a stage and a folder; a stage that reads all of them, as `embed` does, and checks as it does.
_FAN_IN = {
    "train": {
        "foreach": "${variants}",
        "do": {"cmd": "python train.py ${key}", "deps": ["train.py"], "outs": ["models/${key}"]},
    },
    "all": {"cmd": "python all.py", "deps": ["models", "all.py"], "params": ["variants"], "outs": ["all.txt"]},
}
_TRAIN = """\
import sys
from pathlib import Path
out = Path("models", sys.argv[1])
out.mkdir(parents=True)
(out / "weights").write_text(sys.argv[1])
"""
_ALL = """\
import sys
from pathlib import Path
import yaml
from fabnet.errors import UserError
from fabnet.leftovers import check_leftovers
try:
    check_leftovers()
except UserError as error:
    sys.exit(f"error: {error}")
names = yaml.safe_load(Path("params.yaml").read_text())["variants"]
Path("all.txt").write_text("".join(Path("models", name, "weights").read_text() for name in names))
"""


@pytest.fixture
def fan_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """Two variants, reproduced and committed."""
    monkeypatch.setenv("PATH", f"{warm_process.folder()}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    made = Repository(tmp_path / "one/checkout")
    shutil.copyfile(ROOT / ".dvcignore", made.folder / ".dvcignore")
    (made.folder / ".gitignore").write_text("/models/\n/all.txt\n/.work/\n")
    (made.folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": _FAN_IN}))
    (made.folder / "train.py").write_text(_TRAIN)
    (made.folder / "all.py").write_text(_ALL)
    choose(made, "fabnet", "rotation")
    made.dvc("repro")
    made.commit()
    return made


def choose(repository: Repository, *variants: str) -> None:
    (repository.folder / "params.yaml").write_text(yaml.safe_dump({"variants": {name: {} for name in variants}}))


def test_a_removed_variant_is_no_input_on_any_machine(fan_in: Repository, tmp_path: Path):
    choose(fan_in, "fabnet")
    refused = warm_process.run([DVC, "repro"], cwd=fan_in.folder)
    assert refused.returncode != 0
    (line,) = [line for line in refused.stderr.splitlines() if line.startswith("error:")]
    assert line == (
        "error: models/rotation: no stage makes it, but this stage would depend on it; "
        "`fabnet tidy` moves it to .work/aside"
    )
    assert move_aside(fan_in.folder) == [
        (PurePosixPath("models/rotation"), fan_in.folder / ".work/aside/models/rotation")
    ]
    assert (fan_in.folder / ".work/aside/models/rotation/weights").read_text() == "rotation"
    fan_in.dvc("repro")
    fan_in.commit()
    fan_in.dvc("push", "-q")
    other = Repository(tmp_path / "one/another", fan_in)
    other.dvc("pull", "-q")
    assert "up to date" in other.dvc("status", "all")
    assert "Running stage" not in other.dvc("repro")
    other.git("diff", "--exit-code", "--", "dvc.lock")
    assert "Running stage" not in fan_in.dvc("repro")
    fan_in.git("diff", "--exit-code", "--", "dvc.lock")

    # Back to more variants: nothing is trained again.
    choose(fan_in, "fabnet", "rotation")
    said = fan_in.dvc("repro")
    assert "Running stage" not in said
    assert (fan_in.folder / "all.txt").read_text() == "fabnetrotation"
    # And to fewer: the main job runs after tidying, and what was moved aside before is still there.
    choose(fan_in, "fabnet")
    ((_, second),) = move_aside(fan_in.folder)
    assert second == fan_in.folder / ".work/aside/models/rotation.2"
    assert "Running stage" not in fan_in.dvc("repro")


def test_what_somebody_put_beside_models_is_found_and_half_written_files_are_not(fan_in: Repository):
    models = fan_in.folder / "models"
    (models / ".fabnet-ab12cd_9").mkdir()  # as atomic_directory leaves it when it is killed
    (models / ".fabnet-ab12cd_9/weights").write_text("half")
    (models / ".card-ab12cd_9.json").write_text("half")
    assert find_leftovers(fan_in.folder) == []
    assert "up to date" in fan_in.dvc("status")
    (models / "notes.txt").write_text("mine")
    (models / "fabnet/more").write_text("a part of an output, which DVC itself sees change")
    assert find_leftovers(fan_in.folder) == [PurePosixPath("models/notes.txt")]


def test_no_pipeline_has_no_leftovers(tmp_path: Path):
    (tmp_path / "models/strange").mkdir(parents=True)
    assert find_leftovers(tmp_path) == []


def test_folders_that_stages_of_this_project_fill_together(tmp_path: Path):
    """In a copy of dvc.yaml and params.yaml: every fan-in is found, and `reports` as a whole is not one."""
    made = Repository(tmp_path / "checkout")
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copyfile(ROOT / name, made.folder / name)
    strange = [
        *("models/old", "probes/old", "supervised/old", "embeddings/synthetic/old"),
        *("reports/sets/old", "reports/data/sets/old.json", "reports/retrieval/sets/old"),
    ]
    for path in [*strange, "models/fabnet", "embeddings/synthetic/trained/old", "embeddings/old", "reports/mine"]:
        (made.folder / path).mkdir(parents=True)
    assert [str(path) for path in find_leftovers(made.folder)] == sorted(strange)


def test_data_of_ones_own_beside_outputs_are_left_alone(tmp_path: Path):
    """Of a labelled set whose path is a folder that holds outputs, too, or lies in one."""
    made = Repository(tmp_path / "checkout")
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copyfile(ROOT / name, made.folder / name)
    params = yaml.safe_load((made.folder / "params.yaml").read_text())
    (name,) = params["sets"]
    for path in ("data", ".", "reports", "models/mine/faces"):
        params["sets"][f"of_{len(params['sets'])}"] = params["sets"][name] | {"path": path}
    (made.folder / "params.yaml").write_text(yaml.safe_dump(params))
    for path in ("data/clips/ada", "videos", "reports/mine", "reports/data/mine", "models/mine/faces", "models/old"):
        (made.folder / path).mkdir(parents=True)
        (made.folder / path / "file").write_text("of one's own")
    assert move_aside(made.folder) == [(PurePosixPath("models/old"), made.folder / ".work/aside/models/old")]


def test_what_git_tracks_is_left_alone(fan_in: Repository):
    models = fan_in.folder / "models"
    for path in ("notes/ours.txt", "notes/mine.txt", "LICENSE", "mine.txt", "[LM]*"):
        (models / path).parent.mkdir(exist_ok=True)
        (models / path).write_text("text")
    fan_in.git("add", "-f", "models/notes/ours.txt", "models/LICENSE")
    assert find_leftovers(fan_in.folder) == [PurePosixPath("models/[LM]*"), PurePosixPath("models/mine.txt")]
    (fan_in.folder / ".git/index").write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"git cannot say what it tracks, so that nothing is moved: .*index"):
        find_leftovers(fan_in.folder)


def test_every_stage_that_reads_a_shared_folder_refuses_leftovers(tmp_path: Path):
    made = Repository(tmp_path / "checkout")
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copyfile(ROOT / name, made.folder / name)
    stages = read_pipeline(made.folder)
    made_in = {parent for stage in stages for out in stage.outs for parent in out.parents}
    readers = {stage.kind for stage in stages if made_in & set(stage.deps)}
    checking = {path.stem for path in (ROOT / "stages").glob("*.py") if "    check_leftovers()\n" in path.read_text()}
    assert readers == checking == {"embed", "probe", "retrieve", "retrieve_frames", "report"}
