"""What a registered version answers, and how it refuses what it cannot answer."""

import base64
import json
import re
import shutil
import threading
import time
from http.client import HTTPConnection
from pathlib import Path

import cv2
import mlflow
import numpy as np
import pandas as pd
import pytest
import simplejpeg
import tracked_project
from registered_project import forget_store, make_registered, use

from fabnet.cli.main import main
from fabnet.errors import UserError
from fabnet.networks.build import load_model
from fabnet.networks.encoder import embed_images
from fabnet.probing.readings import read_heads
from fabnet.serving.pyfunc_model import BadRequest
from fabnet.serving.reader import MAX_IMAGES
from fabnet.tracking.registry.versions import fetch

pytestmark = pytest.mark.usefixtures("blank_figures")


@pytest.fixture(autouse=True)
def _environment_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_store(monkeypatch)


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose variant is version 1, challenger. Not to be changed."""
    return make_registered(tmp_path_factory.mktemp("registered"))


def load(root: Path, uri: str, monkeypatch: pytest.MonkeyPatch):
    use(root, monkeypatch)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{root / 'mlflow.db'}")
    return mlflow.pyfunc.load_model(uri)


def image(seed: int = 0, height: int = 40, width: int = 30) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def png(pixels: np.ndarray) -> str:
    return base64.b64encode(cv2.imencode(".png", pixels[..., ::-1])[1].tobytes()).decode()


def jpeg(seed: int = 0, **size: int) -> str:
    return base64.b64encode(simplejpeg.encode_jpeg(image(seed, **size), quality=95)).decode()


def test_answers_are_those_of_the_encoder_and_the_probes(registered: Path, monkeypatch: pytest.MonkeyPatch):
    served = load(registered, "models:/fabnet@challenger", monkeypatch)
    answer = served.predict(pd.DataFrame({"image": [png(image(0, 16, 16)), png(image(1, 16, 16))]}))
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


def test_jpeg_and_png_are_taken(registered: Path, monkeypatch: pytest.MonkeyPatch):
    served = load(registered, "models:/fabnet@challenger", monkeypatch)
    by_png = served.predict(pd.DataFrame({"image": [png(image())], "other": [1]}))
    decoded = simplejpeg.decode_jpeg(base64.b64decode(jpeg()), "RGB")
    by_jpeg = served.predict(pd.DataFrame({"image": [jpeg()]}))
    assert by_jpeg.equals(served.predict(pd.DataFrame({"image": [png(decoded)]})))
    # Landmarks are pixels of the image that was sent: the square in the middle starts at row 5.
    corner = np.array(by_png["landmarks5"][0]).reshape(-1, 2)
    square = served.predict(pd.DataFrame({"image": [png(image()[5:35])]}))
    np.testing.assert_allclose(corner - np.array(square["landmarks5"][0]).reshape(-1, 2), [[0, 5]] * 5, atol=1e-3)


def _bomb() -> str:
    """A PNG of 100 megapixels, by its header."""
    header = b"\x89PNG\r\n\x1a\n" + (13).to_bytes(4) + b"IHDR" + (10_000).to_bytes(4) * 2 + b"\x08\x02\0\0\0"
    return base64.b64encode(header + bytes(200)).decode()


BAD = {
    "null": ({"image": [None]}, "image 0: must be base64 text, not null"),
    "NaN": ({"image": [jpeg(), float("nan")]}, "image 1: must be base64 text, not null"),
    "another column": ({"picture": ["x"]}, "no image: a request has a column image"),
    "pixels": ({"pixels": [image()]}, "no image: a request has a column image"),
    "one of them missing": ({"image": [jpeg(), None]}, "image 1: must be base64 text, not"),
    "no base64": ({"image": ["%%%"]}, "image 0: not base64"),
    "a text file": ({"image": [base64.b64encode(b"hello").decode()]}, "image 0: neither JPEG nor PNG"),
    "nothing": ({"image": [""]}, "image 0: the file is empty"),
    "a truncated JPEG": (
        {"image": [base64.b64encode(base64.b64decode(jpeg())[:-300]).decode()]},
        "image 0: damaged JPEG",
    ),
    "a bomb": ({"image": [_bomb()]}, "image 0: frames of 10000 x 10000, more than"),
    "a JPEG that never ends": (
        {"image": [base64.b64encode(base64.b64decode(jpeg())[:-2] + b"\xff\xda" * 100 + b"\xff\xd9").decode()]},
        "image 0: a JPEG of more than 100 scans",
    ),
    "10,000 images": ({"image": ["x"] * 10_000}, f"10,000 images in one request; at most {MAX_IMAGES:,}"),
    "too many bytes": ({"image": ["A" * 24_000_000]}, "image 0: more than 16,777,216 bytes"),
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


def test_a_version_that_was_registered_under_the_former_name_loads(
    registered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    use(registered, monkeypatch)
    package = tmp_path / "package"
    shutil.copytree(fetch("models:/fabnet/1").directory.parent.parent, package)
    code = package / "served_model.py"
    assert "fabnet.serving.pyfunc_model" in code.read_text()
    code.write_text(
        "from fabnet.inference.served import Served\nfrom mlflow.models import set_model\n\nset_model(Served())\n"
    )
    answer = mlflow.pyfunc.load_model(str(package)).predict(pd.DataFrame({"image": [jpeg()]}))
    assert len(answer["embedding"][0]) == tracked_project.DIMENSION


def test_another_version_of_the_package_is_refused(registered: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("fabnet.serving.reader.__version__", "9.9")
    with pytest.raises(UserError, match=r"registered by fabnet .*, but 9.9 is installed here"):
        load(registered, "models:/fabnet@challenger", monkeypatch)


REFUSED = {
    "another model": ("models:/other@champion", "models:/other@champion: must be models:/fabnet@ALIAS or"),
    "a path": ("models/none", "models/none: must be models:/fabnet@ALIAS or"),
    "no such alias": ("models:/fabnet@nobody", "models:/fabnet@nobody: no version bears this alias"),
    "no such version": ("models:/fabnet/99", "models:/fabnet/99: no such version"),
}


@pytest.mark.parametrize(("uri", "message"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize(
    "command", [["serve"], ["embed", "x.mp4", "--out", "x.parquet", "--model"]], ids=lambda c: c[0]
)
def test_a_wrong_name_of_a_model_is_one_line(
    registered: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: list[str],
    uri: str,
    message: str,
):
    if command[0] == "embed" and not uri.startswith("models:"):
        message = f"{uri}/model.json: no such file"
    use(registered, monkeypatch)
    assert message in failing(monkeypatch, capsys, *command, uri)


def failing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line with which a command gives up."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # which serving sets where it is not set
    monkeypatch.setattr("sys.argv", ["fabnet", *arguments, *(["--port", "0"] if arguments[0] == "serve" else [])])
    capsys.readouterr()  # what was said before
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1
    return said.err


def test_what_cannot_be_served_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    root = make_registered(tmp_path)
    use(root, monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr("fabnet.serving.reader.__version__", "9.9")
        assert "registered by fabnet" in failing(patch, capsys, "serve", "models:/fabnet/1")
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
        assert "http://127.0.0.1:9" in failing(patch, capsys, "serve", "models:/fabnet/1")
    shutil.rmtree(root / ".work/registry")
    (weights,) = (root / "mlartifacts").rglob("artifacts/model/best.pt")
    weights.write_bytes(weights.read_bytes()[:-1])
    assert "artifacts/model/best.pt is damaged" in failing(monkeypatch, capsys, "serve", "models:/fabnet/1")
    weights.unlink()
    assert "artifacts/model/best.pt is missing" in failing(monkeypatch, capsys, "serve", "models:/fabnet/1")


def test_embed_takes_a_registered_model_and_its_probes(
    registered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    served = load(registered, "models:/fabnet@challenger", monkeypatch)
    expected = served.predict(pd.DataFrame({"image": [png(image())]}))
    cv2.imwrite(str(tmp_path / "face.png"), image()[..., ::-1])
    out = tmp_path / "face.parquet"
    command = ["embed", str(tmp_path / "face.png"), "--model", "models:/fabnet@challenger", "--out", str(out)]
    # The recipe of this project's model is made up.
    monkeypatch.setattr("sys.argv", ["fabnet", *command, "--faces", "cropped", "--force", "--workers", "1"])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code in (0, None)
    given = pd.read_parquet(out)
    assert set(expected.columns) <= set(given.columns)
    for name in ("embedding", "landmarks5"):
        np.testing.assert_allclose(given[name][0], expected[name][0], atol=1e-5)
    assert given["expression"][0] == expected["expression"][0]


def test_embedding_with_a_registered_model_gets_its_files(registered: Path, monkeypatch: pytest.MonkeyPatch):
    use(registered, monkeypatch)
    found = fetch("models:/fabnet/1")
    assert found.name == "models:/fabnet/1"
    weights, original = found.directory / "best.pt", registered / "models/fabnet/best.pt"
    assert weights.read_bytes() == original.read_bytes()
    assert found.heads is not None
    assert read_heads(found.heads).meta["encoder"] == "fabnet"
