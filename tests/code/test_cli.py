import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from fabnet import __version__, profiles
from fabnet.cli.main import main
from fabnet.config import load_params
from fabnet.errors import ConfigError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with default params, every profile, and the command running in it."""
    shutil.copytree(ROOT / "profiles", tmp_path / "profiles")
    shutil.copy(ROOT / "params.yaml", tmp_path / "params.yaml")
    monkeypatch.chdir(tmp_path)
    profiles.use_profile("default")  # whatever profile the checkout is set to
    return tmp_path


def fabnet(*arguments: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Exit code of the command, run in this process."""
    monkeypatch.setattr(sys, "argv", ["fabnet", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    return int(caught.value.code or 0)


@pytest.mark.parametrize("name", profiles.available(ROOT / "profiles"))
def test_every_profile_is_valid_and_default_undoes_it(project: Path, name: str):
    before = (project / "params.yaml").read_bytes()
    profiles.use_profile(name)
    load_params()
    assert ((project / "params.yaml").read_bytes() == before) == (name == "default")
    profiles.use_profile("default")
    assert (project / "params.yaml").read_bytes() == before


def test_profiles_hold_what_they_name(project: Path):
    """An overlay sets exactly its own keys."""
    before = yaml.safe_load(Path("params.yaml").read_text())
    overlay = yaml.safe_load(Path("profiles/tiny.yaml").read_text())

    def merged(base, over):
        both = isinstance(base, dict) and isinstance(over, dict)
        return base | {key: merged(base.get(key), value) for key, value in over.items()} if both else over

    profiles.use_profile("tiny")
    assert yaml.safe_load(Path("params.yaml").read_text()) == merged(before, overlay)


def test_paper_profile_has_the_values_of_the_paper(project: Path):
    profiles.use_profile("paper")
    params = load_params()
    variant = params.train.variant("fabnet")
    assert (params.extract.image_size, params.extract.fps) == (256, 1)
    assert (params.split.train, params.split.validation, params.split.test) == (75, 15, 10)
    assert (variant.base_filters, variant.embedding_dim, variant.batch_size) == (32, 256, 8)
    assert (variant.optimiser, variant.learning_rate, variant.momentum) == ("sgd", 0.001, 0.9)
    assert variant.schedule == "plateau"
    assert variant.jitter == pytest.approx(1 - 170 / 190, abs=1e-3)


def test_committed_params_are_the_default_profile():
    """Those of the working tree, or of the commit where the working tree has been set to something else."""
    default = yaml.safe_load((ROOT / "profiles/default.yaml").read_text().replace("--- !replace", "---"))
    here = yaml.safe_load((ROOT / "params.yaml").read_text())
    show = ["git", "-C", str(ROOT), "show", "HEAD:./params.yaml"]
    committed = subprocess.run(show, capture_output=True, text=True)
    assert default in (here, yaml.safe_load(committed.stdout) if committed.returncode == 0 else here)


def test_set_keeps_comments_and_all_else(project: Path):
    before = Path("params.yaml").read_text().splitlines()
    profiles.set_values(["extract.fps=2.5", "train.common.samples=128"])
    after = Path("params.yaml").read_text().splitlines()
    changed = [(old.split(), new.split()) for old, new in zip(before, after, strict=True) if old != new]
    assert [(old[0], new[1]) for old, new in changed] == [("fps:", "2.5"), ("samples:", "128")]
    assert all(old[2:] == new[2:] and len(old) > 2 for old, new in changed)  # the comments


def test_set_reaches_variants_sets_and_null(project: Path):
    profiles.set_values(
        [
            "train.variants.fabnet.samples=77",
            "train.variants.wide={base_filters: 32}",
            "sets.aflw2000={kind: aflw2000, path: elsewhere}",
            "extract.source=boxes",
            "extract.boxes=data/synthetic/videos/boxes.csv",
        ]
    )
    params = load_params()
    assert params.train.variant("fabnet").samples == 77
    assert params.train.variant("fabnet_3src").samples == params.train.common["samples"]
    assert params.train.variant("wide").base_filters == 32
    assert params.sets["aflw2000"].path == Path("elsewhere")
    profiles.set_values(["extract.source=cropped", "extract.boxes=null"])
    assert load_params().extract.boxes is None


def test_set_of_a_mapping_replaces_it(project: Path):
    profiles.set_values(["train.finetuned={}", "train.variants={only: {base_filters: 8}}"])
    assert yaml.safe_load(Path("params.yaml").read_text())["train"]["variants"] == {"only": {"base_filters": 8}}


def test_replace_is_inherited_and_merging_is_not(tmp_path: Path, project: Path):
    """`!replace` drops keys at every depth below it; a plain mapping keeps them."""
    Path("profiles/merge.yaml").write_text("train: {variants: {wide: {base_filters: 32}}}")
    Path("profiles/swap.yaml").write_text("train: {variants: !replace {wide: {batch_size: 8}}, finetuned: !replace {}}")
    profiles.use_profile("merge")
    assert set(load_params().train.variants) == {"fabnet", "fabnet_3src", "autoencoder", "wide"}
    profiles.use_profile("swap")
    assert load_params().train.variants == {"wide": {"batch_size": 8}}
    assert "!replace" not in Path("params.yaml").read_text()


@pytest.mark.parametrize(
    ("assignment", "named"),
    [
        ("extract.fsp=2", "extract.fsp"),
        ("nothing.at.all=2", "nothing"),
        ("extract.image_size=48", "extract.image_size"),
        ("extract.image_size.x=48", "extract.image_size"),
        ("split.train=80", "split"),
        ("train.common.oops=1", "train.common.oops"),
        ("train.variants.fabnet.oops=1", "train.variants.fabnet.oops"),
        ("extract.fps=[1", "extract.fps"),
        ("extract.fps", "extract.fps"),
        (".fps=1", ".fps"),
    ],
)
def test_bad_assignment_is_one_line_that_names_the_key_and_changes_nothing(
    project: Path,
    assignment: str,
    named: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    before = Path("params.yaml").read_bytes()
    assert fabnet("params", "set", "extract.fps=3", assignment, monkeypatch=monkeypatch) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert named in line
    assert Path("params.yaml").read_bytes() == before
    assert sorted(path.name for path in project.iterdir()) == ["params.yaml", "profiles"]  # no temporary file is left


def test_unknown_profile_lists_those_there_are(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    assert fabnet("params", "use", "../tiny", monkeypatch=monkeypatch) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "default, gpu, paper, tables, tiny" in line


def test_outside_a_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.chdir(tmp_path)
    assert fabnet("params", "set", "extract.fps=1", monkeypatch=monkeypatch) == 2
    assert "params.yaml: no such file" in capsys.readouterr().err


def test_show(project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    assert fabnet("params", "show", "split", monkeypatch=monkeypatch) == 0
    assert yaml.safe_load(capsys.readouterr().out) == {"seed": 0, "train": 75, "validation": 15, "test": 10}
    assert profiles.show("split.train") == "75\n"
    assert profiles.show() == Path("params.yaml").read_text()
    with pytest.raises(ConfigError, match=r"no key split\.trian; there are: seed, train"):
        profiles.show("split.trian")


def test_use_and_set_by_the_command(project: Path, monkeypatch: pytest.MonkeyPatch):
    assert fabnet("params", "use", "tiny", monkeypatch=monkeypatch) == 0
    assert fabnet("params", "set", "extract.fps=4", "split.seed=9", monkeypatch=monkeypatch) == 0
    params = load_params()
    assert (params.extract.image_size, params.extract.fps, params.split.seed) == (32, 4, 9)


def test_version_and_help_import_nothing_heavy():
    code = """
import sys
from fabnet.cli.main import main
sys.argv = ["fabnet", "--version"]
try:
    main()
finally:
    print(*sorted({"torch", "mlflow", "pandas", "numpy", "pydantic", "matplotlib"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"fabnet {__version__}\n\n"
