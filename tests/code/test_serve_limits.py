"""What stands around the model in `fabnet serve`, taken alone: hosts, limits of time and number, and answers."""

import asyncio
import json
import re
import threading
import time

import numpy as np
import pandas as pd
import pytest

from fabnet.errors import UserError
from fabnet.host_allowlist import HostAllowlist, allowed_hosts, is_allowed, listen
from fabnet.serving import api
from fabnet.serving.reader import InvalidImages

BODY = json.dumps({"inputs": ["x"]}).encode()


async def good(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"done"})


class Model:
    """Answers with the number of images, and notes what it was asked and how often at once."""

    def __init__(self, seconds: float = 0.0, error: Exception | None = None) -> None:
        self.seconds = seconds
        self.error = error
        self.asked: list[list[str]] = []
        self.at_work = self.highest = 0
        self._lock = threading.Lock()

    def read(self, images):
        with self._lock:
            self.asked.append(list(images))
            self.at_work += 1
            self.highest = max(self.highest, self.at_work)
        time.sleep(self.seconds)
        with self._lock:
            self.at_work -= 1
        if self.error is not None:
            raise self.error
        return pd.DataFrame({"embedding": [[1.0]] * len(images)})


DONE = (200, '{"predictions": [{"embedding":[1.0]}]}')


async def call(app, *messages: dict, wait: bool = False, **scope: object) -> tuple[int, str]:
    """Status and body of the answer to a request that comes in these pieces; `wait`: and then nothing more."""
    rest, sent = list(messages), []

    async def receive():
        if not rest and wait:
            await asyncio.Event().wait()
        return rest.pop(0) if rest else {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    headers = [(b"content-type", b"application/json"), (b"host", b"localhost")]
    asked = {"type": "http", "path": "/invocations", "method": "POST", "query_string": b"", "headers": headers, **scope}
    await app(asked, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:]).decode()


def piece(body: bytes, more: bool = False) -> dict:
    return {"type": "http.request", "body": body, "more_body": more}


ALLOWED = allowed_hosts("127.0.0.1", "a.example:80, *.b.example")


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1", "127.0.0.1:9", "[::1]:9", "a.example:80", "x.b.example:7"]
)
def test_our_hosts_are_allowed(host: str):
    assert is_allowed(host, ALLOWED)


@pytest.mark.parametrize(
    "host",
    ["", ":80", "a.example", "a.example:81", "b.example", "evil.example", "localhost.evil.example", "127.0.0.1:x", "*"],
)
def test_other_hosts_are_not(host: str):
    assert not is_allowed(host, ALLOWED)
    assert is_allowed(host, allowed_hosts("127.0.0.1", "*")) == (host not in ("", ":80", "127.0.0.1:x"))


def test_the_address_listened_on_is_a_host():
    assert is_allowed("10.0.0.5:8000", allowed_hosts("10.0.0.5"))
    assert is_allowed("[fe80::1]:8000", allowed_hosts("fe80::1"))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", ""])
def test_who_listens_everywhere_says_under_which_names(host: str):
    with pytest.raises(UserError, match=r"--allowed-hosts gpu1\.example\.org"):
        allowed_hosts(host)
    assert not is_allowed("evil.example", allowed_hosts(host, "gpu1.example.org"))


@pytest.mark.parametrize("entry", ["http://a.example", "a*b", "a:b", ":1"])
def test_an_entry_that_is_no_host_is_refused(entry: str):
    with pytest.raises(UserError, match="must be NAME"):
        allowed_hosts("127.0.0.1", entry)


def test_a_taken_port_and_a_foreign_address_are_one_line():
    with listen("127.0.0.1", 0) as first:
        first.listen()
        with pytest.raises(UserError, match=r"cannot listen on 127.0.0.1:\d+: Address already in use"):
            listen("127.0.0.1", first.getsockname()[1])
    with pytest.raises(UserError, match=r"cannot listen on 192\.0\.2\.1:0"):
        listen("192.0.2.1", 0)
    with pytest.raises(UserError, match="not an address of this machine"):
        listen("no.such.invalid", 0)


@pytest.mark.parametrize("hosts", [[], [b"localhost", b"localhost"]])
def test_a_request_has_one_host(hosts: list[bytes]):
    headers = [(b"host", host) for host in hosts]
    status, text = asyncio.run(call(HostAllowlist(good, ALLOWED), piece(BODY), headers=headers))
    assert (status, json.loads(text)["message"]) == (400, "a request has one Host header")


def test_websockets_of_foreign_hosts_are_closed():
    sent = []

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        sent.append(message["type"])

    scope = {"type": "websocket", "headers": [(b"host", b"evil.example")]}
    asyncio.run(HostAllowlist(good, ALLOWED)(scope, receive, send))
    assert sent == ["websocket.close"]


def serving(model: Model, slots: int = 1):
    return api.build_api(model, slots)


def test_a_body_in_pieces_arrives_whole():
    model = Model()
    assert asyncio.run(call(serving(model), piece(BODY[:5], True), piece(BODY[5:]))) == DONE
    assert model.asked == [["x"]]


def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(api, "RECEIVE_S", 0.05)
    monkeypatch.setattr(api, "_DRAIN_S", 0.05)
    status, text = asyncio.run(call(serving(Model()), piece(BODY[:5], True), wait=True))
    assert (status, json.loads(text)["message"]) == (408, "the request did not arrive within 0.05 s")


def test_a_client_that_goes_away_is_no_failure(caplog: pytest.LogCaptureFixture):
    model = Model()
    assert asyncio.run(call(serving(model), piece(BODY[:5], True)))[0] == 400
    assert model.asked == []
    assert not caplog.records


def test_in_flight_requests_are_limited_and_forgotten(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(api, "MAX_HELD", 2 * len(BODY))
    model = Model(0.05)

    async def many() -> tuple[list[int], int]:
        app = serving(model)
        first = await asyncio.gather(*(call(app, piece(BODY)) for _ in range(5)))
        return sorted(status for status, _ in first), (await call(app, piece(BODY)))[0]

    assert asyncio.run(many()) == ([200, 200, 503, 503, 503], 200)
    assert model.highest == 1


def test_an_answer_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(api, "ANSWER_S", 0.1)
    model = Model(0.3)

    async def two() -> list[tuple[int, str]]:
        app = serving(model)
        return [await call(app, piece(BODY)) for _ in range(2)]

    for status, text in asyncio.run(two()):
        assert status == 504
        assert json.loads(text)["message"] == "not answered within 0.1 s; send fewer images at once"
    assert model.highest == 1  # the first one still has the only thread


def test_a_bad_request_and_a_failure_are_one_line():
    model = Model(error=InvalidImages("image 0: not base64"))
    status, text = asyncio.run(call(serving(model), piece(BODY)))
    assert (status, json.loads(text)) == (400, {"error_code": "BAD_REQUEST", "message": "image 0: not base64"})

    sent = []

    async def fail() -> None:
        messages = [piece(BODY)]

        async def receive():
            return messages.pop()

        async def send(message):
            sent.append(message)

        headers = [(b"content-type", b"application/json")]
        scope = {"type": "http", "path": "/invocations", "method": "POST", "query_string": b"", "headers": headers}
        await serving(Model(error=MemoryError("secret")))(scope, receive, send)

    with pytest.raises(MemoryError):  # for the log of the server
        asyncio.run(fail())
    assert sent[0]["status"] == 500
    assert json.loads(sent[1]["body"]) == {
        "error_code": "INTERNAL_ERROR",
        "message": "the server failed; its log says more",
    }


def test_predictions_are_the_numbers_of_the_model():
    random = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "embedding": random.normal(size=(3, 4)).astype(np.float32).tolist(),
            "au01": random.random(3).astype(np.float32),
            "expression": ["happy", 'a "b"/\n', "é"],
        }
    )
    model = Model()
    model.read = lambda images: table
    given = json.loads(api.answer(model, BODY))["predictions"]
    assert [row["expression"] for row in given] == table["expression"].tolist()
    for row, embedding, unit in zip(given, table["embedding"], table["au01"], strict=True):
        np.testing.assert_array_equal(np.float32(row["embedding"]), np.float32(embedding))
        assert np.float32(row["au01"]) == np.float32(unit)


def test_a_bomb_of_values_is_refused_before_it_is_parsed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(api.Invocation, "model_validate_json", None)
    for bomb in (b"[" * 65_537, b"{" * 65_537, b"," * 65_537, b":" * 65_537):
        with pytest.raises(InvalidImages, match=re.escape("more than 65,536 values")):
            api.answer(Model(), bomb)
