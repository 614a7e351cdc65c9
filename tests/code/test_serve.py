"""`fabnet serve` as people run it: a process on a port, good and bad requests over HTTP, and its end."""

import base64
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import simplejpeg
from registered_project import make_registered
from served_process import JSON, START_S, Running, start, stop
from tracked_project import DIMENSION

from fabnet.inference.bodies import MAX_BODY
from fabnet.networks.build import load_model
from fabnet.networks.embed import embed_images

SIDE = 16  # of a crop of this model, so that images of this size are not resized
PARQUET = "application/vnd.apache.parquet"


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


def parquet(table: pd.DataFrame | pa.Table, **options: str) -> bytes:
    out = BytesIO()
    pq.write_table(pa.Table.from_pandas(table) if isinstance(table, pd.DataFrame) else table, out, **options)
    return out.getvalue()


def expected(root: Path, *seeds: int) -> np.ndarray:
    """Embeddings of JPEG images as the network gives them; on the way they are JPEG once more, as in extraction."""
    crops = []
    for seed in seeds:
        seen = simplejpeg.decode_jpeg(jpeg(seed), "RGB")
        crops.append(simplejpeg.decode_jpeg(simplejpeg.encode_jpeg(seen, quality=95, colorsubsampling="444"), "RGB"))
    model, _ = load_model(root / "models/fabnet")
    (embeddings,) = embed_images(model.encoder, [np.stack(crops)])
    return embeddings


def test_it_is_mlflows_server(server: Running):
    import mlflow

    assert server.ask(None, method="GET", path="/ping") == (200, "\n")
    assert server.ask(None, method="GET", path="/health") == (200, "\n")
    assert server.ask(None, method="GET", path="/version") == (200, mlflow.__version__)
    assert server.ask(None, method="GET", path="/openapi.json")[0] == 200


FORMS: dict[str, Callable[[list[str]], str]] = {
    "dataframe_split": lambda images: split(*images),
    "dataframe_records": lambda images: json.dumps({"dataframe_records": [{"image": each} for each in images]}),
    "instances": lambda images: json.dumps({"instances": [{"image": each} for each in images]}),
    "inputs": lambda images: json.dumps({"inputs": {"image": images}}),
    "inputs, a list": lambda images: json.dumps({"inputs": [{"image": each} for each in images]}),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_all_forms_of_json_give_the_embeddings_of_the_network(server: Running, form: Callable[[list[str]], str]):
    given = server.embeddings(form([text(jpeg(seed)) for seed in (0, 1, 2)]))
    assert given.shape == (3, DIMENSION)
    np.testing.assert_allclose(given, expected(server.root, 0, 1, 2), atol=1e-5)


def test_parquet_and_pixels_are_taken(server: Running):
    table = pd.DataFrame({"image": [text(jpeg(seed)) for seed in (3, 4)]})
    np.testing.assert_allclose(server.embeddings(parquet(table), PARQUET), expected(server.root, 3, 4), atol=1e-5)
    pixels = simplejpeg.decode_jpeg(jpeg(3), "RGB").tolist()
    np.testing.assert_allclose(server.embeddings(split(pixels, column="pixels")), expected(server.root, 3), atol=1e-5)


def test_clients_at_once_get_their_own_answers(server: Running):
    wanted = expected(server.root, *range(8))
    with ThreadPoolExecutor(8) as pool:
        given = list(pool.map(lambda number: server.embeddings(split(text(jpeg(number % 8)))), range(32)))
    for number, one in enumerate(given):
        np.testing.assert_allclose(one[0], wanted[number % 8], atol=1e-5)


def _bomb() -> str:
    """A PNG of 100 megapixels, by its header."""
    header = b"\x89PNG\r\n\x1a\n" + (13).to_bytes(4) + b"IHDR" + (10_000).to_bytes(4) * 2 + b"\x08\x02\0\0\0"
    return text(header + bytes(200))


IMAGE = text(jpeg())
#: Large bodies are made when they are sent: every process of pytest reads this file.
Body = bytes | str | Callable[[], bytes | str]
BAD: dict[str, tuple[Body, str | None, int, str]] = {
    "no body": ("", JSON, 400, "not JSON: Expecting value"),
    "no image": (split(), JSON, 400, "the request holds no image"),
    "an image of nothing": (split(None), JSON, 400, "no image: a request has a column image"),
    "another column": (split(IMAGE, column="picture"), JSON, 400, "no image: a request has a column image"),
    "a text file": (split(IMAGE, text(b"hello")), JSON, 400, "image 1: neither JPEG nor PNG"),
    "not base64": (split("%%%"), JSON, 400, "image 0: not base64"),
    "a truncated JPEG": (split(text(jpeg()[:-300])), JSON, 400, "image 0: damaged JPEG"),
    "a bomb": (split(_bomb()), JSON, 400, "image 0: frames of 10000 x 10000, more than 33,554,432 pixels"),
    "10,000 images": (split(*["x"] * 10_000), JSON, 400, "10,000 images in one request; at most 1,024 are taken"),
    "a number": (split(5), JSON, 400, "image 0: must be base64 text, not int"),
    "a list": (split([1]), JSON, 400, "image 0: must be base64 text, not list"),
    "numbers too big": (split([[[1, 2, 300]]], column="pixels"), JSON, 400, "image 0: pixels must be whole numbers"),
    "ragged": (split([[[1, 2, 3]], [[1, 2]]], column="pixels"), JSON, 400, "image 0: pixels must be an array"),
    "half of JSON": ('{"inputs": ', JSON, 400, "not JSON: Expecting value"),
    "not UTF-8": (b'{"inputs": "\xff"}', JSON, 400, "not JSON: 'utf-8' codec"),
    "JSON of another kind": ("[]", JSON, 400, "a request is a JSON object with one of the keys dataframe_split"),
    "two forms": ('{"inputs": [], "instances": []}', JSON, 400, "a request is a JSON object with one of the keys"),
    "chat": ('{"messages": [{"role": "user", "content": "x"}]}', JSON, 400, "a request is a JSON object with one of"),
    "inputs, a number": ('{"inputs": 3}', JSON, 400, "inputs must be a list of objects"),
    "inputs, a list of text": (json.dumps({"inputs": [IMAGE]}), JSON, 400, "inputs must be a list of objects"),
    "split, a list": ('{"dataframe_split": []}', JSON, 400, "dataframe_split must be an object with the keys"),
    "split, a row too long": (
        json.dumps({"dataframe_split": {"columns": ["image"], "data": [[IMAGE, 1]]}}),
        *(JSON, 400, "data must be a list of rows"),
    ),
    "a column twice": (
        json.dumps({"dataframe_split": {"columns": ["image", "image"], "data": [[IMAGE, IMAGE]]}}),
        *(JSON, 400, "columns must have different names"),
    ),
    "rows of other columns": (
        json.dumps({"instances": [{"image": IMAGE}, {"picture": IMAGE}]}),
        *(JSON, 400, "instances: all rows must have the same columns"),
    ),
    "nested too deep": ("[" * 100_000, JSON, 400, "not JSON: maximum recursion depth"),
    "a number too long": ('{"inputs": ' + "9" * 5000 + "}", JSON, 400, "not JSON: Exceeds the limit"),
    "a million columns": (
        lambda: json.dumps({"dataframe_split": {"columns": [str(n) for n in range(1_000_000)], "data": []}}),
        *(JSON, 400, "1,000,000 columns"),
    ),
    "two million lists": (
        lambda: b'{"inputs": [' + b"[]," * 2_000_000 + b"[]]}",
        *(JSON, 400, "more than 1,048,576 pixels"),
    ),
    "too long": (lambda: b" " * (MAX_BODY + 1), JSON, 413, f"a request of more than {MAX_BODY:,} bytes"),
    "no content type": (split(IMAGE), None, 415, "no content type: send application/json or"),
    "another content type": (split(IMAGE), "text/plain", 415, "content type 'text/plain': send application/json or"),
    "another character set": (split(IMAGE), f"{JSON}; charset=latin-1", 415, "only supports UTF-8"),
    "a Parquet bomb": (
        lambda: parquet(pd.DataFrame({"image": ["A" * 2_000_000] * 1000})),
        *(PARQUET, 400, "more than 33,554,432 bytes"),
    ),
    "two million rows": (
        lambda: parquet(pd.DataFrame({"image": [None] * 2_000_000})),
        *(PARQUET, 400, "2,000,000 images"),
    ),
    "Parquet of lists": (parquet(pd.DataFrame({"pixels": [[1]]})), PARQUET, 400, "no nested columns"),
    "Parquet, packed hard": (
        parquet(pd.DataFrame({"image": [IMAGE]}), compression="zstd"),
        *(PARQUET, 400, "Parquet compressed by ZSTD"),
    ),
    "a million keys": (
        lambda: json.dumps({"dataframe_records": [{str(n): 1 for n in range(1_000_000)}]}),
        *(JSON, 400, "more than 65,600 keys"),
    ),
    "Parquet of text that is none": (
        parquet(pa.table({"image": pa.array([b"\xff"], pa.binary()).view(pa.string())})),
        *(PARQUET, 400, "not Parquet: In column 0: Invalid: Invalid UTF8"),
    ),
    "Parquet of nonsense": (b"PAR1" + bytes(range(256)) + b"PAR1", PARQUET, 400, "not Parquet: "),
}


@pytest.mark.parametrize(("body", "kind", "status", "message"), BAD.values(), ids=BAD)
def test_a_bad_request_is_a_4xx_with_one_line(server: Running, body: Body, kind: str | None, status: int, message: str):
    given, answer = server.ask(body() if callable(body) else body, kind)
    assert given == status, answer
    told = json.loads(answer)
    assert message in told["message"]
    assert "\n" not in told["message"]
    assert len(answer) < 500
    assert told.keys() == {"error_code", "message"}  # MLflow would add stack_trace


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
    np.testing.assert_allclose(server.embeddings(split(IMAGE)), expected(server.root, 0), atol=1e-5)
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
        os.kill(said[0], signal.SIGKILL)
        psutil.Process(said[0]).wait(60)
        for _ in range(4):
            np.testing.assert_allclose(server.embeddings(split(IMAGE)), expected(project, 0), atol=1e-5)
        deadline = time.monotonic() + START_S
        while server.log.read_text().count(" is served at ") < 3:
            assert time.monotonic() < deadline, server.log.read_text()
            time.sleep(0.1)
    finally:
        assert stop(server) == 0
    assert not any(psutil.pid_exists(pid) for pid in said)
