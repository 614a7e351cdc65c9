"""What stands around MLflow's server, taken alone: hosts, limits of time and number, and answers."""

import asyncio
import json
from io import StringIO

import numpy as np
import pandas as pd
import pytest
from mlflow.pyfunc import scoring_server

from fabnet.errors import UserError
from fabnet.inference import answers, bodies
from fabnet.inference.answers import OneLine, predictions_to_json
from fabnet.inference.bodies import Limits
from fabnet.inference.hosts import AllowedHosts, allowed_hosts, is_allowed, listen

BODY = json.dumps({"inputs": {"image": ["x"]}}).encode()


async def good(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"done"})


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
    await app({"type": "http", "path": "/invocations", "method": "POST", "headers": headers, **scope}, receive, send)
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
    status, text = asyncio.run(call(AllowedHosts(good, ALLOWED), piece(BODY), headers=headers))
    assert (status, json.loads(text)["message"]) == (400, "a request has one Host header")


def test_websockets_of_foreign_hosts_are_closed():
    sent = []

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        sent.append(message["type"])

    scope = {"type": "websocket", "headers": [(b"host", b"evil.example")]}
    asyncio.run(AllowedHosts(good, ALLOWED)(scope, receive, send))
    assert sent == ["websocket.close"]


def test_a_body_in_pieces_arrives_whole():
    seen = []

    async def app(scope, receive, send):
        seen.append((await receive())["body"])
        await good(scope, receive, send)

    assert asyncio.run(call(Limits(app, 1), piece(BODY[:5], True), piece(BODY[5:]))) == (200, "done")
    assert seen == [BODY]


def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bodies, "RECEIVE_S", 0.05)
    monkeypatch.setattr(bodies, "_DRAIN_S", 0.05)
    status, text = asyncio.run(call(Limits(good, 1), piece(BODY[:5], True), wait=True))
    assert (status, json.loads(text)["message"]) == (408, "the request did not arrive within 0.05 s")


def test_requests_in_hand_are_limited_and_forgotten(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bodies, "MAX_HELD", 2 * len(BODY))
    at_work = highest = 0

    async def slow(scope, receive, send):
        nonlocal at_work, highest
        at_work += 1
        highest = max(highest, at_work)
        await asyncio.sleep(0.05)
        at_work -= 1
        await good(scope, receive, send)

    async def many() -> tuple[list[int], int]:
        limits = Limits(slow, 1)
        first = await asyncio.gather(*(call(limits, piece(BODY)) for _ in range(5)))
        return sorted(status for status, _ in first), (await call(limits, piece(BODY)))[0]

    assert asyncio.run(many()) == ([200, 200, 503, 503, 503], 200)
    assert highest == 1


def failing(error: Exception):
    async def app(scope, receive, send):
        raise error

    return app


def test_what_breaks_over_a_request_is_told_in_a_line(caplog: pytest.LogCaptureFixture):
    status, text = asyncio.run(call(OneLine(failing(KeyError("a\nb"))), piece(BODY)))
    assert status == 400
    assert json.loads(text)["message"] == "the request cannot be read: KeyError: 'a\\nb'"
    assert not caplog.records
    status, text = asyncio.run(call(OneLine(failing(MemoryError())), piece(BODY)))
    assert status == 500
    assert json.loads(text) == {"error_code": "INTERNAL_ERROR", "message": "the server failed; its log says more"}
    assert "MemoryError" in caplog.text


def test_mlflows_errors_lose_their_traceback_and_the_request():
    told = {"error_code": "E", "message": "Failed to predict data '[1,\n2]'. \nError: why\nmore", "stack_trace": "T"}

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 400, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps(told).encode()})

    status, text = asyncio.run(call(OneLine(app), piece(BODY)))
    assert (status, json.loads(text)) == (400, {"error_code": "E", "message": "why"})


def test_predictions_are_written_as_mlflow_writes_them():
    random = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "embedding": random.normal(size=(3, 4)).astype(np.float32).tolist(),
            "au01": random.random(3).astype(np.float32),
            "expression": ["happy", 'a "b"/\n', "é"],
        }
    )
    ours, theirs = StringIO(), StringIO()
    predictions_to_json(table, ours)
    answers._mlflow_to_json(table, theirs)
    given, wanted = (json.loads(out.getvalue())["predictions"] for out in (ours, theirs))
    assert [row["expression"] for row in given] == [row["expression"] for row in wanted]
    for row, other in zip(given, wanted, strict=True):
        np.testing.assert_array_equal(np.float32(row["embedding"]), np.float32(other["embedding"]))
        assert np.float32(row["au01"]) == np.float32(other["au01"])
    assert scoring_server.predictions_to_json.__name__ == predictions_to_json.__name__  # what is replaced still exists
