import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from committed import committed_params
from typer.testing import CliRunner

from fabnet import __version__, profiles
from fabnet.cli.main import app, main
from fabnet.config import load_params
from fabnet.config.edit import edited
from fabnet.errors import ConfigError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with the committed params, every profile, and the command running in it."""
    shutil.copytree(ROOT / "profiles", tmp_path / "profiles")
    (tmp_path / "params.yaml").write_text(committed_params())
    monkeypatch.chdir(tmp_path)
    git("init", "--quiet")
    git("add", "params.yaml")
    git("-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "--quiet", "--message", "Params")
    return tmp_path


def git(*arguments: str) -> None:
    subprocess.run(["git", *arguments], check=True)


def fabnet(*arguments: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Exit code of the command, run in this process."""
    monkeypatch.setattr(sys, "argv", ["fabnet", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    return int(caught.value.code or 0)


@pytest.mark.parametrize("module", ["fabnet", "fabnet.cli.main"])
def test_the_command_runs_as_a_module_too(module: str):
    done = subprocess.run([sys.executable, "-m", module, "--version"], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"fabnet {__version__}\n", "")


@pytest.mark.parametrize("name", profiles.available(ROOT / "profiles"))
def test_every_profile_is_valid_and_default_undoes_it(project: Path, name: str):
    before = (project / "params.yaml").read_bytes()
    profiles.use_profile(name)
    load_params()
    assert ((project / "params.yaml").read_bytes() == before) == (name == "default")
    profiles.use_profile("default")
    assert (project / "params.yaml").read_bytes() == before


def test_profiles_hold_what_they_name(project: Path):
    """An overlay sets exactly its own keys; a mapping marked `!replace` drops those that were there."""

    class Replacing(dict):
        pass

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_constructor("!replace", lambda loader, node: Replacing(loader.construct_mapping(node, deep=True)))
    before = yaml.safe_load(Path("params.yaml").read_text())
    overlay = yaml.load(Path("profiles/tiny.yaml").read_text(), Loader)

    def merged(base, over):
        both = isinstance(base, dict) and isinstance(over, dict) and not isinstance(over, Replacing)
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


def test_default_is_the_last_commit_also_if_that_has_values_of_ones_own(project: Path):
    profiles.set_values(["extract.fps=2", "sets.mine={kind: aflw2000, path: mine}"])
    git("-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "--quiet", "--all", "--message", "Mine")
    mine = Path("params.yaml").read_bytes()
    profiles.use_profile("tiny")
    git("add", "params.yaml")  # what is staged is no commit
    profiles.use_profile("default")
    assert Path("params.yaml").read_bytes() == mine


def test_default_without_git_is_one_clear_line(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    shutil.rmtree(".git")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(project.parent))
    before = Path("params.yaml").read_bytes()
    assert fabnet("params", "use", "default", monkeypatch=monkeypatch) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: params.yaml: `default` is the params.yaml of the last commit")
    assert "not a git repository" in line
    monkeypatch.setenv("PATH", "")
    assert fabnet("params", "use", "default", monkeypatch=monkeypatch) == 2
    assert "git does not run" in capsys.readouterr().err
    assert Path("params.yaml").read_bytes() == before


@pytest.mark.parametrize("text", ["a: [1", "- 1\n", "", "split: {}\n"])
def test_a_commit_that_holds_no_params_is_refused(project: Path, text: str):
    before = Path("params.yaml").read_bytes()
    Path("params.yaml").write_text(text)
    git("-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "--quiet", "--all", "--message", "Bad")
    Path("params.yaml").write_bytes(before)
    with pytest.raises(ConfigError, match=r"^params\.yaml: "):
        profiles.use_profile("default")
    assert Path("params.yaml").read_bytes() == before


def test_set_changes_its_lines_alone(project: Path):
    before = Path("params.yaml").read_text().splitlines()
    profiles.set_values(["extract.fps=2.5", "train.common.samples=128", "retrieve.rows.queries=12"])
    after = Path("params.yaml").read_text().splitlines()
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert changed == [
        (
            "  fps: 1.0                # frames per second of video time",
            "  fps: 2.5                # frames per second of video time",
        ),
        (
            "    samples: 19200        # the budget, never seconds: samples seen, of one target frame or of `views`",
            "    samples: 128          # the budget, never seconds: samples seen, of one target frame or of `views`",
        ),
        (
            "  rows: {queries: 6, neighbours: 5}      # of the figure of neighbours",
            "  rows: {queries: 12, neighbours: 5}     # of the figure of neighbours",
        ),
    ]


def test_every_scalar_of_params_can_be_set_on_its_own_line(project: Path):
    """Each value is replaced by a longer one; nothing but its line changes, and the comment stays in it."""
    text = Path("params.yaml").read_text()
    values = yaml.safe_load(text)

    def scalars(value, path):
        for key, inner in value.items():
            if isinstance(inner, dict) and inner:
                yield from scalars(inner, (*path, key))
            else:
                yield (*path, key)

    paths = list(scalars(values, ()))
    assert len(paths) > 200
    node = yaml.compose("[a much longer value, 1.50]")
    lines = text.splitlines(keepends=True)
    for path in paths[::7]:
        new = edited(text, [(path, node)]).splitlines(keepends=True)
        changed = [(old, line) for old, line in zip(lines, new, strict=True) if old != line]
        assert len(changed) == 1, path
        (old, line) = changed[0]
        assert "[a much longer value, 1.50]" in line
        assert old.partition("#")[2] == line.partition("#")[2]


def test_a_variant_and_a_set_add_their_lines_alone(project: Path):
    before = Path("params.yaml").read_text()
    profiles.set_values(["train.variants.wide={base_filters: 32}", "sets.mine={kind: aflw2000, path: mine}"])
    expected = before.replace(
        "checkpoint_every: 8000}\n", "checkpoint_every: 8000}\n    wide: {base_filters: 32}\n"
    ).replace("path: data/synthetic/faces}\n", "path: data/synthetic/faces}\n  mine: {kind: aflw2000, path: mine}\n")
    assert Path("params.yaml").read_text() == expected != before


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


def test_replace_drops_keys_and_merging_does_not(project: Path):
    """`!replace` drops the keys that it does not name; a plain mapping keeps them."""
    Path("profiles/merge.yaml").write_text("train: {variants: {wide: {base_filters: 32}}}")
    Path("profiles/swap.yaml").write_text("train: {variants: !replace {wide: {batch_size: 8}}, finetuned: !replace {}}")
    profiles.use_profile("merge")
    assert set(load_params().train.variants) == {"fabnet", "fabnet_3src", "fabnet_next", "autoencoder", "wide"}
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
    assert sorted(path.name for path in project.iterdir()) == [".git", "params.yaml", "profiles"]  # no temporary file


def test_unknown_profile_lists_those_there_are(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    assert fabnet("params", "use", "../tiny", monkeypatch=monkeypatch) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "default, gpu, paper, tables, tiny" in line


def test_a_file_in_another_encoding_is_refused_and_stays(project: Path):
    before = Path("params.yaml").read_bytes().replace(b"# frames per second of video time", "# für".encode("latin-1"))
    Path("params.yaml").write_bytes(before)
    for edit in (lambda: profiles.set_values(["extract.fps=2"]), lambda: profiles.use_profile("tiny"), load_params):
        with pytest.raises(ConfigError, match=r"^params\.yaml: not UTF-8: "):
            edit()
    assert Path("params.yaml").read_bytes() == before


def test_line_ends_stay(project: Path):
    before = Path("params.yaml").read_bytes().replace(b"\n", b"\r\n")
    Path("params.yaml").write_bytes(before)
    profiles.set_values(["split.seed=7", "train.variants.wide={base_filters: 32}"])
    after = Path("params.yaml").read_bytes()
    assert after.count(b"\n") == after.count(b"\r\n") == before.count(b"\n") + 1


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


@pytest.mark.parametrize("group", [[], ["index"], ["params"], ["track"], ["weights"]])
def test_no_help_is_cut_in_80_columns(group: list[str]):
    runner = CliRunner()
    width = 78  # what the command writes into a terminal of 80 columns; a runner by itself has 80
    shown = runner.invoke(app, [*group, "--help"], terminal_width=width).output
    commands = re.findall(r"^  ([a-z]+)  +[A-Z]", shown.partition("Commands:")[2], re.MULTILINE)
    assert commands
    calls = ([*group, command, "--help"] for command in commands)
    pages = [shown, *(runner.invoke(app, call, terminal_width=width).output for call in calls)]
    for page in pages:
        assert not re.search(r"…|[a-z,;:]\.\.\.$", page.replace("[ARGS]...", ""), re.MULTILINE), page
        assert max(map(len, page.splitlines())) <= 80


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
