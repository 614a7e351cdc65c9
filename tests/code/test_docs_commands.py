"""Every command that README.md and docs/ show is run here, or is listed with the reason and checked as far as possible.

A command that nobody thought of is run, and fails here if it cannot be. Files that commands name are in `project`.
"""

import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest
import tracked_project
from app_files import write_face
from commands import run_fabnet
from committed import committed_params
from documented_commands import ROOT, Shown, mentioned, options_problem, pages, problem, shown
from inference_files import write_talk
from registered_project import forget_store, use

from fabnet.config import ExtractParams
from fabnet.inference import embed as embed_module
from fabnet.processes import run_jobs
from fabnet.tracking.gate.rules import read_gates
from fabnet.tracking.registry.lifecycle import promote, register
from fabnet.video.recipe import recipe

#: Pages whose commands another test runs, all of them.
ELSEWHERE = {
    "docs/embed.md": "test_inference_cli.py",
    "docs/looking-inside.md": "test_looking_inside.py",
    "docs/retrieval.md": "test_retrieval_commands.py",
    "docs/weights.md": "test_weights_cli.py",
}
#: What is not run here, as a pattern of the whole line, and why.
NOT_RUN = {
    r"fabnet (track sync|rollback)": "needs two versions; test_registry_commands.py runs the page's block",
    r"make repro": "minutes; test_pipeline.py runs the stages on tiny data",
    r"make verify": "needs a repro; test_verify_repro.py runs `fabnet verify` after one",
    r"make (test|check|format)": "they run these tests, and rewrite the working tree",
    r"make docs": "test_docs_site.py builds the site",
    r"make contracts BASE=\S+": "needs the other commit; test_workflows.py",
    r"make mlflow-server": "runs until it is ended; test_tracking_server.py",
    r"pytest .*": "a test is running",
    r"pip install .*": "needs the network",
    r"docker compose .*": "needs docker; test_compose.py checks the file",
    r"(.venv/bin/)?fabnet (app|serve) .*": "run until they are ended; test_app_page.py, test_serve.py",
    r"echo .*\| curl .*": "needs the server; test_serve.py asks it the same",
    r"export \w+=\S+": "a setting of the shell",
    r"fabnet track profile .*": "needs measured frames; test_registry_profile.py",
    r"fabnet gate .*": "needs predictions of two commits; test_gate_commits.py",
    r"dvc (push|pull|fetch|plots) ?.*": "needs outputs in DVC's cache; test_dvc.py",
    r"dvc (exp|queue) .*": "minutes: it trains",
    r"python benchmarks/.*": "minutes, and a GPU",
    r"python stages/supervise.py SET": "trains; test_supervised_stage.py",
    r"(.venv/bin/)?fabnet scorecard .*": "needs videos of several people; test_scorecard.py",
    r"fabnet probe --embeddings .*": "needs embeddings with labels; test_probe_command.py",
    r"fabnet probe --encoder .*": "needs published weights; test_probe_encoders.py, test_encoders_hubs.py",
}
RULES = "encoder: fabnet\ngates: [{set: synthetic, metric: yaw_mae_deg, direction: lower, allowed_loss: 1 %, floor: 6}]"
#: The store without and with a champion.
EMPTY, CHAMPION = "empty.db", "champion.db"
TALKS = ("talk.mp4", "path/to/videos/talk.mp4", "path/to/vox2/dev/mp4/id00012/_raOc3-IRsw/00001.mp4")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A small project, stores with and without a champion, and the files that the pages name."""
    with pytest.MonkeyPatch.context() as patch:
        size = tracked_project.SIZE
        patch.setattr(tracked_project, "RECIPE", recipe(ExtractParams.standalone(videos=".", image_size=size)))
        root = tracked_project.make(tmp_path_factory.mktemp("project"))
    tracked_project.add_store(root)
    shutil.copyfile(root / "mlflow.db", root / EMPTY)
    for name in (".env.example", "dvc.yaml", ".dvc/config", ".dvc/.gitignore"):
        (root / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(ROOT / name, root / name)
    shutil.copytree(ROOT / "profiles", root / "profiles")
    (root / "docs").mkdir()
    (root / "FILE").write_bytes(b"weights")
    (root / "photos").mkdir()
    write_face(root / "photos/a.jpg")
    (root / "gates.yaml").write_text(RULES)
    (root / "params.yaml").write_text(committed_params())  # which `fabnet params use default` restores
    tracked_project.git(root, "add", "params.yaml")
    tracked_project.git(root, "commit", "-qm", "Params")
    first, *others = TALKS
    write_talk(root / first)
    for name in others:
        (root / name).parent.mkdir(parents=True)
        shutil.copyfile(root / first, root / name)
    with pytest.MonkeyPatch.context() as patch:
        forget_store(patch)
        use(root, patch)
        register("fabnet")
        promote(read_gates(root / "gates.yaml"))
    shutil.copyfile(root / "mlflow.db", root / CHAMPION)
    return root


def reason(command: Shown) -> str:
    """Why a command is not run here; empty if it is."""
    if command.page in ELSEWHERE:
        return ELSEWHERE[command.page]
    return next((why for pattern, why in NOT_RUN.items() if re.fullmatch(pattern, command.line)), "")


COMMANDS = {page: shown(page) for page in pages()}


@pytest.mark.parametrize("page", [page for page, commands in COMMANDS.items() if not all(map(reason, commands))])
def test_the_commands_of_a_page_run_in_their_order(page, project, monkeypatch, capsys):
    forget_store(monkeypatch)
    use(project, monkeypatch)
    # Jobs run in this process: starting others takes seconds.
    monkeypatch.setattr(embed_module, "open_engine", lambda name: lambda call, jobs, workers: run_jobs(call, jobs, 1))
    shutil.copyfile(ROOT / "params.yaml", "params.yaml")
    commands = [command for command in COMMANDS[page] if not reason(command)]
    registers = any(command.words[:2] == ["fabnet", "register"] for command in commands)
    shutil.copyfile(EMPTY if registers else CHAMPION, "mlflow.db")
    for command in commands:
        code, printed = run(command, monkeypatch, capsys)
        assert code == 0, f"{command.line}: {printed}"
        if "--out" in command.words:
            assert Path(command.words[command.words.index("--out") + 1]).stat().st_size > 0


def run(command: Shown, monkeypatch, capsys) -> tuple[int, str]:
    """Exit code and all that was printed."""
    program, *arguments = command.words
    if program == "fabnet":
        if "$(" in command.line:  # as the shell splits and fills it in
            said = subprocess.run(["bash", "-c", f"printf '%s\\0' {command.line}"], capture_output=True, text=True)
            arguments = said.stdout.split("\0")[1:-1]
        code, out, err = run_fabnet(monkeypatch, capsys, *arguments)
        if ">" in shlex.split(command.line):
            Path(shlex.split(command.line)[-1]).write_text("\n".join(out))
        return code, "\n".join(out + err)
    if command.words[:2] == ["python", "-c"]:
        with redirect_stdout(io.StringIO()) as out:
            exec(arguments[1], {})
        return 0, out.getvalue()
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", command.line], env=environment, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("page", [page for page, commands in COMMANDS.items() if any(map(reason, commands))])
def test_what_is_not_run_would_be_understood(page):
    skipped = dict.fromkeys(command for command in COMMANDS[page] if reason(command))
    assert {command.line: said for command in skipped if (said := problem(command))} == {}


def test_commands_in_sentences_exist():
    found = [command for page in pages() for command in mentioned(page)]
    assert len(found) > 50
    wrong = {
        (command.page, command.line): said
        for command in dict.fromkeys(found)
        if command.words[0] == "fabnet" and (said := options_problem(command.words[1:]))
    }
    assert wrong == {}
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert {command.words[1] for command in found if command.words[0] == "make"} <= targets


def test_every_reason_is_needed_and_names_a_test_that_is_there():
    lines = [command.line for commands in COMMANDS.values() for command in commands]
    assert [pattern for pattern in NOT_RUN if not any(re.fullmatch(pattern, line) for line in lines)] == []
    named = re.findall(r"test_\w+\.py", " ".join([*NOT_RUN.values(), *ELSEWHERE.values()]))
    assert [name for name in named if not (ROOT / "tests/code" / name).is_file()] == []
    for page, name in ELSEWHERE.items():
        assert page in (ROOT / "tests/code" / name).read_text()


# -- what the collector sees ----------------------------------------------------------------------------------------


def lines_of(text: str) -> list[str]:
    return [command.line for command in shown("page", text)]


def test_commands_are_found_in_blocks_of_every_kind():
    assert lines_of("```bash\nfabnet check a  # why\n\n# a comment\nunheard-of --of\n```") == [
        "fabnet check a",
        "unheard-of --of",
    ]
    assert lines_of("```console\n$ fabnet check a\nprinted\n$ make lock\n```") == ["fabnet check a", "make lock"]
    assert lines_of("```\nfabnet check a\nan output\nfabnet   1.0  2.0\n```") == ["fabnet check a"]
    assert lines_of("text\n\n    fabnet check a    # why\n    row 1\n\n    make lock\n") == [
        "fabnet check a",
        "make lock",
    ]
    assert lines_of("```sh\necho a |\n    fabnet b \\\n    c\n```") == ["echo a | fabnet b c"]
    assert lines_of("```python\nmake = 1\n```\n- item\n    make no command of a list\n") == []


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("fabnet embed a --model m", "Missing"),
        ("fabnet embed a --model m --out o --fsp 2", "--fsp"),
        ("fabnet embed a --model m --out o --device tpu", "tpu"),
        ("fabnet nothing", "no command nothing"),
        ("make nothing", "No rule to make target 'nothing'"),
        ("dvc exp rnu", "does not understand"),
        ("dvc repro nothing", "no stage nothing"),
        ("pip install 'fabnet[nothing]'", "nothing"),
        ("python benchmarks/nothing.py", "no file benchmarks/nothing.py"),
        ("python benchmarks/train_step.py --nothing", "--nothing"),
        ("fabnet params set extract.fps=2", ""),
        ("dvc exp run --name a report", ""),
    ],
)
def test_a_command_that_cannot_work_is_noticed(line, expected):
    said = problem(Shown("page", line))
    assert expected in said
    assert bool(said) == bool(expected)


def test_a_param_that_does_not_exist_fails(project, monkeypatch, capsys):
    use(project, monkeypatch)
    shutil.copyfile(ROOT / "params.yaml", "params.yaml")
    assert run(Shown("page", "fabnet params set extract.fsp=2"), monkeypatch, capsys)[0] != 0
