"""Registering, serving, promoting and rolling back, also when killed on the way."""

import base64
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from http.client import HTTPConnection
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import simplejpeg
import tracked_project
from mlflow import MlflowClient

import fabnet
from fabnet.errors import UserError
from fabnet.files import read_json
from fabnet.inference.served import MAX_IMAGES, BadRequest
from fabnet.networks.build import load_model
from fabnet.networks.embed import embed_images
from fabnet.probing.saved import read_heads
from fabnet.tracking import store as store_module
from fabnet.tracking.gate.evaluation import CannotCompare
from fabnet.tracking.gate.rules import Gate, Gates
from fabnet.tracking.registry.chain import lineage
from fabnet.tracking.registry.package import REQUIREMENTS
from fabnet.tracking.registry.promote import promote, rollback
from fabnet.tracking.registry.register import register
from fabnet.tracking.registry.versions import CHALLENGER, CHAMPION, NAME, PREVIOUS, check_complete, fetch

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
    for variable in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", *store_module._ENVIRONMENT):
        monkeypatch.setenv(variable, "")
        monkeypatch.delenv(variable)


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose variant is version 1, challenger. Not to be changed."""
    root = tracked_project.make(tmp_path_factory.mktemp("registered"))
    tracked_project.add_store(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_ROOT", str(root))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        assert register("fabnet").line() == "models:/fabnet/1: registered, challenger"
    return root


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of its own, nothing registered."""
    root = tracked_project.make(tmp_path / "project")
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


def load(root: Path, uri: str, monkeypatch: pytest.MonkeyPatch):
    use(root, monkeypatch)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{root / 'mlflow.db'}")
    return mlflow.pyfunc.load_model(uri)


def image(seed: int = 0, height: int = 40, width: int = 30) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def jpeg(seed: int = 0, **size: int) -> str:
    return base64.b64encode(simplejpeg.encode_jpeg(image(seed, **size), quality=95)).decode()


# -- register -------------------------------------------------------------------------------------------------------


def test_a_version_is_whole_and_says_where_it_comes_from(registered: Path, monkeypatch: pytest.MonkeyPatch):
    use(registered, monkeypatch)
    client = client_of(registered)
    (version,) = client.search_model_versions(f"name = '{NAME}'")
    card = read_json(registered / "models/fabnet/model.json")
    assert version.tags["weights.sha256"] == card["weights_sha256"]
    assert version.tags["recipe.hash"] == card["recipe"]["hash"]
    assert version.tags["fabnet"] == fabnet.__version__
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
        "import sys, importlib.metadata as m, fabnet.inference.served\n"
        "of = m.packages_distributions()\n"
        "tops = {name.partition('.')[0] for name in sys.modules}\n"
        "print(*{d.lower() for top in tops for d in of.get(top, [])})"
    )
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    own = tracked_project.direct_dependencies()
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


# -- serving --------------------------------------------------------------------------------------------------------


def test_answers_are_those_of_the_encoder_and_the_probes(registered: Path, monkeypatch: pytest.MonkeyPatch):
    served = load(registered, "models:/fabnet@challenger", monkeypatch)
    answer = served.predict(pd.DataFrame({"pixels": [image(0, 16, 16), image(1, 16, 16)]}))
    model, card = load_model(registered / "models/fabnet")
    # Crops are JPEG on their way to the encoder, here as in extraction.
    crops = [
        simplejpeg.decode_jpeg(simplejpeg.encode_jpeg(image(seed, 16, 16), quality=95, colorsubsampling="444"), "RGB")
        for seed in (0, 1)
    ]
    (expected,) = embed_images(model.encoder, [np.stack(crops)])
    assert np.array(answer["embedding"].tolist()).shape == (2, card["embedding_dim"])
    np.testing.assert_allclose(np.array(answer["embedding"].tolist()), expected, atol=1e-5)
    heads = {head.task: head for head in read_heads(registered / "probes/synthetic/heads/fabnet.npz").heads}
    np.testing.assert_allclose(answer[["roll_deg", "pitch_deg", "yaw_deg"]], heads["pose"](expected), atol=1e-4)
    points = (heads["landmarks5"](expected) + 1) * 8
    np.testing.assert_allclose(np.array(answer["landmarks5"].tolist()), points, atol=1e-4)
    log_odds = heads["units"](expected)
    np.testing.assert_allclose(answer[list(heads["units"].names)], 1 / (1 + np.exp(-log_odds)), atol=1e-5)
    named = [heads["expression"].names[best] for best in heads["expression"](expected).argmax(axis=1)]
    assert answer["expression"].tolist() == named
    assert list(answer.columns) == [column.name for column in served.metadata.get_output_schema().inputs]


def test_jpeg_png_and_pixels_are_taken(registered: Path, monkeypatch: pytest.MonkeyPatch):
    import cv2

    served = load(registered, "models:/fabnet@challenger", monkeypatch)
    png = base64.b64encode(cv2.imencode(".png", image()[..., ::-1])[1].tobytes()).decode()
    by_png = served.predict(pd.DataFrame({"image": [png]}))
    by_pixels = served.predict(pd.DataFrame({"pixels": [image().tolist()]}))
    assert by_png.equals(by_pixels)
    by_jpeg = served.predict(pd.DataFrame({"image": [jpeg()]}))
    assert by_jpeg.shape == by_png.shape
    # Landmarks are pixels of the image that was sent: the square in the middle starts at row 5.
    corner = np.array(by_png["landmarks5"][0]).reshape(-1, 2)
    square = served.predict(pd.DataFrame({"pixels": [image()[5:35]]}))
    np.testing.assert_allclose(corner - np.array(square["landmarks5"][0]).reshape(-1, 2), [[0, 5]] * 5, atol=1e-3)


def _bomb() -> str:
    """A PNG of 100 megapixels, by its header."""
    header = b"\x89PNG\r\n\x1a\n" + (13).to_bytes(4) + b"IHDR" + (10_000).to_bytes(4) * 2 + b"\x08\x02\0\0\0"
    return base64.b64encode(header + bytes(200)).decode()


BAD = {
    "no image": ({"image": [None]}, "a request has one column"),
    "another column": ({"picture": ["x"]}, "a request has one column"),
    "both columns": ({"image": [jpeg()], "pixels": [image()]}, "a request has one column"),
    "one of them missing": ({"image": [jpeg(), None]}, "image 1: must be base64 text, not"),
    "no base64": ({"image": ["%%%"]}, "image 0: not base64"),
    "a text file": ({"image": [base64.b64encode(b"hello").decode()]}, "image 0: neither JPEG nor PNG"),
    "nothing": ({"image": [""]}, "image 0: the file is empty"),
    "a truncated JPEG": (
        {"image": [base64.b64encode(base64.b64decode(jpeg())[:-300]).decode()]},
        "image 0: damaged JPEG",
    ),
    "a bomb": ({"image": [_bomb()]}, "image 0: frames of 10000 x 10000, more than"),
    "10,000 images": ({"image": ["x"] * 10_000}, f"10,000 images in one request; at most {MAX_IMAGES:,}"),
    "too many bytes": ({"image": ["A" * 24_000_000]}, "image 0: more than 16,777,216 bytes"),
    "a number": ({"pixels": [3]}, "image 0: pixels must have the shape (H, W, 3)"),
    "ragged rows": ({"pixels": [[[1, 2], [3]]]}, "image 0: pixels must be"),
    "fractions": ({"pixels": [np.full((4, 4, 3), 0.5)]}, "whole numbers from 0 to 255"),
    "too bright": ({"pixels": [np.full((4, 4, 3), 256)]}, "whole numbers from 0 to 255"),
}


@pytest.mark.parametrize(("request_", "message"), BAD.values(), ids=BAD)
def test_a_bad_request_is_one_line(registered: Path, monkeypatch: pytest.MonkeyPatch, request_: dict, message: str):
    served = load(registered, "models:/fabnet@challenger", monkeypatch)
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        served.predict(pd.DataFrame(request_))
    assert isinstance(caught.value, BadRequest)
    assert "\n" not in str(caught.value)


def test_the_server_answers_400_with_one_line_and_lives_on(registered: Path, monkeypatch: pytest.MonkeyPatch):
    import uvicorn
    from mlflow.pyfunc import scoring_server

    model = load(registered, "models:/fabnet@challenger", monkeypatch)
    server = uvicorn.Server(uvicorn.Config(scoring_server.init(model), port=0, log_level="critical"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    address = server.servers[0].sockets[0].getsockname()

    def post(body: str) -> tuple[int, str]:
        connection = HTTPConnection(*address, timeout=20)
        connection.request("POST", "/invocations", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()

    def ask(*images: str) -> tuple[int, str]:
        return post(json.dumps({"dataframe_split": {"columns": ["image"], "data": [[each] for each in images]}}))

    status, text = ask(jpeg(), base64.b64encode(b"hello").decode())
    assert status == 400
    assert json.loads(text)["message"] == "image 1: neither JPEG nor PNG"
    for body in ("{", "[]", '{"inputs": 3}', '{"dataframe_split": {"columns": ["image"], "data": [[5]]}}'):
        status, text = post(body)
        assert 400 <= status < 500, body
        assert "Traceback" not in text, body
    status, text = ask(jpeg(), jpeg(1))
    assert status == 200
    predictions = json.loads(text)["predictions"]
    assert [len(each["embedding"]) for each in predictions] == [tracked_project.DIMENSION] * 2
    server.should_exit = True
    thread.join(10)


def test_another_version_of_the_package_is_refused(registered: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("fabnet.inference.served.__version__", "9.9")
    with pytest.raises(UserError, match=r"registered by fabnet .*, but 9.9 is installed here"):
        load(registered, "models:/fabnet@challenger", monkeypatch)


def test_embedding_with_a_registered_model_gets_its_files(registered: Path, monkeypatch: pytest.MonkeyPatch):
    use(registered, monkeypatch)
    found = fetch("models:/fabnet/1")
    assert found.name == "models:/fabnet/1"
    weights, original = found.directory / "best.pt", registered / "models/fabnet/best.pt"
    assert weights.read_bytes() == original.read_bytes()
    assert found.heads is not None
    assert read_heads(found.heads).meta["encoder"] == "fabnet"


# -- promote, rollback ----------------------------------------------------------------------------------------------


def test_from_challenger_to_champion_and_back(project: Path):
    with pytest.raises(UserError, match="there is no challenger: `fabnet register` makes one"):
        promote(RULES)
    with pytest.raises(UserError, match="no previous champion"):
        rollback()
    register("fabnet")
    first = promote(RULES)
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
from fabnet.tracking.registry.promote import promote, rollback
from fabnet.tracking.registry.register import register
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
    done = subprocess.run([sys.executable, "-c", code], cwd=root, env=environment, capture_output=True, text=True)
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
