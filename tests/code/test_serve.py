"""`fabnet serve` as people run it: a process on a port, good and bad requests over HTTP, and its end."""

import base64
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
import simplejpeg
from registered_project import make_registered
from served_process import JSON, START_S, Running, start, stop
from tracked_project import DIMENSION

import fabnet
from fabnet.networks.build import load_model
from fabnet.networks.encoder import embed_images
from fabnet.serving.api import MAX_BODY
from fabnet.serving.server import _HUNG_S

SIDE = 16  # of a crop of this model, so that images of this size are not resized


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        return make_registered(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="module")
def server(project: Path) -> Iterator[Running]:
    running = start(project)
    yield running
    stop(running)


def image(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)


def jpeg(seed: int = 0) -> bytes:
    return simplejpeg.encode_jpeg(image(seed), quality=95)


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def split(*values: object, column: str = "image") -> str:
    return json.dumps({"dataframe_split": {"columns": [column], "data": [[value] for value in values]}})


def inputs(*values: object) -> str:
    return json.dumps({"inputs": values})


def expected(root: Path, *seeds: int) -> np.ndarray:
    """Embeddings of JPEG images as the network gives them; on the way they are JPEG once more, as in extraction."""
    crops = []
    for seed in seeds:
        seen = simplejpeg.decode_jpeg(jpeg(seed), "RGB")
        crops.append(simplejpeg.decode_jpeg(simplejpeg.encode_jpeg(seen, quality=95, colorsubsampling="444"), "RGB"))
    model, _ = load_model(root / "models/fabnet")
    (embeddings,) = embed_images(model.encoder, [np.stack(crops)])
    return embeddings


def test_it_has_the_paths_of_mlflows_server_and_describes_itself(server: Running):
    assert server.ask(None, method="GET", path="/ping") == (200, "\n")
    assert server.ask(None, method="GET", path="/health") == (200, "\n")
    assert server.ask(None, method="GET", path="/version") == (200, fabnet.__version__)
    status, text = server.ask(None, method="GET", path="/openapi.json")
    assert status == 200
    content = json.loads(text)["paths"]["/invocations"]["post"]["requestBody"]["content"]
    assert content.keys() == {JSON}
    assert content[JSON]["schema"]["properties"].keys() == {"inputs", "dataframe_split"}
    for path in ("/docs", "/redoc"):  # they would load scripts from other machines
        assert server.ask(None, method="GET", path=path)[0] == 404


FORMS: dict[str, Callable[[list[str]], str]] = {
    "inputs": lambda images: json.dumps({"inputs": images}),
    "MLflow's inputs": lambda images: json.dumps({"inputs": {"image": images}}),
    "MLflow's dataframe_split": lambda images: split(*images),
    "MLflow's dataframe_split, as pandas writes it": lambda images: json.dumps(
        {"dataframe_split": pd.DataFrame({"image": images}).to_dict(orient="split")}
    ),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_all_forms_of_json_give_the_embeddings_of_the_network(server: Running, form: Callable[[list[str]], str]):
    given = server.embeddings(form([text(jpeg(seed)) for seed in (0, 1, 2)]))
    assert given.shape == (3, DIMENSION)
    np.testing.assert_allclose(given, expected(server.root, 0, 1, 2), atol=1e-5)


def test_clients_at_once_get_their_own_answers(server: Running):
    wanted = expected(server.root, *range(8))
    with ThreadPoolExecutor(8) as pool:
        given = list(pool.map(lambda number: server.embeddings(inputs(text(jpeg(number % 8)))), range(32)))
    for number, one in enumerate(given):
        np.testing.assert_allclose(one[0], wanted[number % 8], atol=1e-5)


def _bomb() -> str:
    """A PNG of 100 megapixels, by its header."""
    header = b"\x89PNG\r\n\x1a\n" + (13).to_bytes(4) + b"IHDR" + (10_000).to_bytes(4) * 2 + b"\x08\x02\0\0\0"
    return text(header + bytes(200))


IMAGE = text(jpeg())
#: Large bodies are made when they are sent: every process of pytest reads this file.
Body = bytes | str | Callable[[], bytes | str]
ONE_FORM = 'a request is {"inputs": [BASE64, ...]} or MLflow'
BAD: dict[str, tuple[Body, str | None, int, str]] = {
    "no body": ("", JSON, 400, "Invalid JSON: EOF"),
    "no image": (inputs(), JSON, 400, "the request holds no image"),
    "no image in a table": (split(), JSON, 400, "the request holds no image"),
    "an image of nothing": (inputs(IMAGE, None), JSON, 400, "image 1: must be base64 text, not null"),
    "nothing in a table": (split(None), JSON, 400, "image 0: must be base64 text, not null"),
    "another column": (split(IMAGE, column="picture"), JSON, 400, "dataframe_split.columns.0: Input should be 'image'"),
    "pixels": (split([[[1, 2, 3]]], column="pixels"), JSON, 400, "dataframe_split.columns.0: Input should be 'image'"),
    "ragged pixels": (inputs([[1, 2], [3]]), JSON, 400, "image 0: must be base64 text, not an array"),
    "ragged pixels in a table": ('{"inputs": {"pixels": [[1, 2], [3]]}}', JSON, 400, "inputs.image: Field required; a"),
    "a text file": (inputs(IMAGE, text(b"hello")), JSON, 400, "image 1: neither JPEG nor PNG"),
    "not base64": (inputs("%%%"), JSON, 400, "image 0: not base64"),
    "a truncated JPEG": (inputs(text(jpeg()[:-300])), JSON, 400, "image 0: damaged JPEG"),
    "a bomb": (inputs(_bomb()), JSON, 400, "image 0: frames of 10000 x 10000, more than 33,554,432 pixels"),
    "10,000 images": (inputs(*["x"] * 10_000), JSON, 400, "10,000 images in one request; at most 1,024 are taken"),
    "a number": (inputs(5), JSON, 400, "image 0: must be base64 text, not a number"),
    "a list": (inputs([1]), JSON, 400, "image 0: must be base64 text, not an array"),
    "half of JSON": ('{"inputs": ', JSON, 400, "Invalid JSON: EOF"),
    "not UTF-8": (b'{"inputs": "\xff"}', JSON, 400, "Invalid JSON: invalid unicode"),
    "half of a character": ('{"inputs": ["\\ud800"]}', JSON, 400, "Invalid JSON: "),
    "JSON of another kind": ("[]", JSON, 400, "Input should be an object"),
    "no form": ("{}", JSON, 400, ONE_FORM),
    "two forms": (
        json.dumps({"inputs": [IMAGE], "dataframe_split": {"columns": ["image"], "data": [[IMAGE]]}}),
        *(JSON, 400, ONE_FORM),
    ),
    "a form that is none": ('{"instances": [{"image": "x"}]}', JSON, 400, "instances: Extra inputs are not permitted"),
    "chat": ('{"messages": [{"role": "user"}]}', JSON, 400, "messages: Extra inputs are not permitted"),
    "a key with lines": (json.dumps({"a\nb" * 10_000: 1}), JSON, 400, "a ba ba b"),
    "inputs, a number": ('{"inputs": 3}', JSON, 400, "inputs: Input should be a valid array"),
    "inputs, a list of rows": (inputs({"image": IMAGE}), JSON, 400, "image 0: must be base64 text, not an object"),
    "split, a list": ('{"dataframe_split": []}', JSON, 400, "dataframe_split: Input should be an object"),
    "split, a row too long": (
        json.dumps({"dataframe_split": {"columns": ["image"], "data": [[IMAGE, 1]]}}),
        *(JSON, 400, "dataframe_split.data.0: Tuple should have at most 1 item"),
    ),
    "a column twice": (
        json.dumps({"dataframe_split": {"columns": ["image", "image"], "data": [[IMAGE, IMAGE]]}}),
        *(JSON, 400, "dataframe_split.columns: Tuple should have at most 1 item"),
    ),
    "nested too deep": ("[" * 300 + "]" * 300, JSON, 400, "nested too deep; a request is {"),
    "nested far too deep": ("[" * 100_000, JSON, 400, "more than 65,536 values"),
    "objects nested too deep": ('{"a":' * 20_000, JSON, 400, "nested too deep; a request is {"),
    "a number too long": ('{"inputs": ' + "9" * 5000 + "}", JSON, 400, "Invalid JSON: number out of range"),
    "a million columns": (
        lambda: json.dumps({"dataframe_split": {"columns": [str(n) for n in range(1_000_000)], "data": []}}),
        *(JSON, 400, "more than 65,536 values"),
    ),
    "two million lists": (
        lambda: b'{"inputs": [' + b"[]," * 2_000_000 + b"[]]}",
        *(JSON, 400, "more than 65,536 values"),
    ),
    "a million keys": (
        lambda: json.dumps({"inputs": {str(n): 1 for n in range(1_000_000)}}),
        *(JSON, 400, "more than 65,536 values"),
    ),
    "60,000 wrong values": (inputs(*[1] * 60_000), JSON, 400, "image 0: must be base64 text, not a number"),
    "too long": (lambda: b" " * (MAX_BODY + 1), JSON, 413, f"a request of more than {MAX_BODY:,} bytes"),
    "no content type": (inputs(IMAGE), None, 415, "no content type: send application/json"),
    "another content type": (inputs(IMAGE), "text/plain", 415, "content type 'text/plain': send application/json"),
    "another character set": (inputs(IMAGE), f"{JSON}; charset=latin-1", 415, "'charset=latin-1': JSON is UTF-8"),
    "Parquet": (
        b"PAR1" + bytes(range(256)) + b"PAR1",
        *(
            "application/vnd.apache.parquet",
            415,
            "content type 'application/vnd.apache.parquet': send application/json",
        ),
    ),
    "a long body of another type": (lambda: b" " * MAX_BODY, "text/csv", 415, "content type 'text/csv'"),
}


@pytest.mark.parametrize(("body", "kind", "status", "message"), BAD.values(), ids=BAD)
def test_a_bad_request_is_a_4xx_with_one_line(server: Running, body: Body, kind: str | None, status: int, message: str):
    given, answer = server.ask(body() if callable(body) else body, kind)
    assert given == status, answer
    told = json.loads(answer)
    assert message in told["message"]
    assert "\n" not in told["message"]
    assert len(answer) < 500
    assert told.keys() == {"error_code", "message"}  # MLflow adds stack_trace


def test_other_paths_and_methods_are_one_line(server: Running):
    for method, path, wanted in (("GET", "/", 404), ("POST", "/nothing", 404), ("GET", "/invocations", 405)):
        status, answer = server.ask(None, method=method, path=path)
        assert (status, json.loads(answer).keys()) == (wanted, {"error_code", "message"})


def test_a_body_of_unknown_length_is_counted(server: Running):
    connection = HTTPConnection("127.0.0.1", server.port, timeout=60)
    before = psutil.Process(server.process.pid).memory_info().rss
    pieces = (b" " * 2**20 for _ in range(200))
    connection.request("POST", "/invocations", pieces, {"Content-Type": JSON}, encode_chunked=True)
    answer = connection.getresponse()
    assert answer.status == 413
    assert f"more than {MAX_BODY:,} bytes" in answer.read().decode()
    assert psutil.Process(server.process.pid).memory_info().rss - before < 100 * 2**20


@pytest.mark.parametrize("path", ["/ping", "/invocations", "/docs"])
@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "10.0.0.5:80", ""])
def test_requests_to_foreign_hosts_are_refused(server: Running, host: str, path: str):
    status, answer = server.ask(None, method="GET", path=path, Host=host)
    assert status == 403
    assert json.loads(answer)["message"] == f"host {host} is not one of this server's; --allowed-hosts adds names"


def test_it_listens_on_loopback_alone(server: Running):
    listening = [
        each.laddr.ip for each in psutil.Process(server.process.pid).net_connections() if each.status == "LISTEN"
    ]
    assert listening == ["127.0.0.1"]


def test_in_the_end_it_answers_as_ever_has_unpickled_nothing_and_stops_when_told(server: Running):
    np.testing.assert_allclose(server.embeddings(inputs(IMAGE)), expected(server.root, 0), atol=1e-5)
    assert server.process.poll() is None
    assert "Traceback" not in server.log.read_text()
    assert stop(server) == 0
    assert server.log.read_text().count("\n") == 1  # what it said when it began
    pickles = server.root / "pickles"
    assert not pickles.exists() or pickles.read_text() == ""


def test_workers_share_a_port_and_are_replaced_and_end_together(project: Path):
    server = start(project, workers=2)
    try:
        pids = [child.pid for child in psutil.Process(server.process.pid).children()]
        said = [int(line.rpartition("process ")[2].strip(")")) for line in server.log.read_text().splitlines()]
        assert set(said) <= set(pids)
        assert len(said) == 2
        os.kill(said[0], signal.SIGSTOP)  # its supervisor waits for an answer when it dies
        time.sleep(1)
        killed = time.monotonic()
        os.kill(said[0], signal.SIGKILL)
        psutil.Process(said[0]).wait(_HUNG_S)
        assert time.monotonic() - killed < _HUNG_S / 2
        for _ in range(4):
            np.testing.assert_allclose(server.embeddings(inputs(IMAGE)), expected(project, 0), atol=1e-5)
        deadline = time.monotonic() + START_S
        while server.log.read_text().count(" is served at ") < 3:
            assert time.monotonic() < deadline, server.log.read_text()
            time.sleep(0.1)
    finally:
        assert stop(server) == 0
    assert not any(psutil.pid_exists(pid) for pid in said)
