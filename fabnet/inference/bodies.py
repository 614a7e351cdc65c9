"""How much a request may send, and how many are worked on at once.

A body is counted while it comes in, so one that is too long is never held. Few are worked on at once, because a body
becomes larger when it is read; the others wait.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fabnet.inference.hosts import refuse
from fabnet.inference.request import CHECKS, BadTable

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: Bytes of a request. An image of 16 MiB is 22.4 million letters of base64.
MAX_BODY = 32 * 2**20

#: Bytes of all requests that a worker has in hand.
MAX_HELD = 8 * MAX_BODY

#: Seconds in which a request's body must arrive.
RECEIVE_S = 30.0

PATH = "/invocations"

# Shorter ones are checked at once: a thread costs more.
_SHORT = 2**17
# What is left unread of a refused request is read away for a while: a client that still sends does not see the answer.
_DRAIN_S = 5.0
_TOO_LONG = f"a request of more than {MAX_BODY:,} bytes; send fewer images at once"


class _Refused(Exception):
    """A request that is not worked on: status and one line."""

    def __init__(self, status: int, problem: str) -> None:
        super().__init__(problem)
        self.status = status


@dataclass
class _Body:
    chunks: list[bytes] = field(default_factory=list)
    length: int = 0


class Limits:
    """ASGI middleware around MLflow's server: bodies within limits, and `slots` requests at work at once."""

    def __init__(self, app: "ASGIApp", slots: int) -> None:
        self._app = app
        self._slots = asyncio.Semaphore(slots)
        self._held = 0

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        if scope["type"] != "http" or scope["path"] != PATH or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        body = _Body()
        try:
            check = CHECKS[_kind(scope)]
            await self._read(receive, body)
            async with self._slots:
                whole = b"".join(body.chunks)
                body.chunks.clear()
                if body.length < _SHORT:
                    check(whole)
                else:
                    await asyncio.to_thread(check, whole)
                await self._app(scope, _replayed(whole, receive), send)
        except BadTable as bad:
            await refuse(send, 400, str(bad), close=False)
        except _Refused as refused:
            await _refuse(refused, receive, send)
        finally:
            self._held -= body.length

    async def _read(self, receive: "Receive", body: _Body) -> None:
        more = True
        try:
            async with asyncio.timeout(RECEIVE_S):
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _Refused(400, "the client went away")
                    chunk, more = message.get("body", b""), message.get("more_body", False)
                    if body.length + len(chunk) > MAX_BODY:
                        raise _Refused(413, _TOO_LONG)
                    if self._held + len(chunk) > MAX_HELD:
                        raise _Refused(503, "too many requests at once; try again")
                    body.chunks.append(chunk)
                    body.length += len(chunk)
                    self._held += len(chunk)
        except TimeoutError:
            raise _Refused(408, f"the request did not arrive within {RECEIVE_S:g} s") from None


def _kind(scope: "Scope") -> str:
    """The media type, of a request whose headers promise nothing too long."""
    headers = dict(scope["headers"])
    kind = headers.get(b"content-type", b"").decode("latin-1").partition(";")[0].strip().lower()
    if kind not in CHECKS:
        given = f"content type {kind[:100]!a}" if kind else "no content type"
        raise _Refused(415, f"{given}: send {' or '.join(CHECKS)}")
    if int(headers.get(b"content-length", b"0")) > MAX_BODY:
        raise _Refused(413, _TOO_LONG)
    return kind


def _replayed(body: bytes, receive: "Receive") -> "Receive":
    """A `receive` that gives the body in one piece, and then what else comes."""
    rest = [body]

    async def replay() -> "Message":
        if rest:
            return {"type": "http.request", "body": rest.pop(), "more_body": False}
        return await receive()

    return replay


async def _refuse(refused: _Refused, receive: "Receive", send: "Send") -> None:
    async def drain() -> None:
        message = await receive()
        while message["type"] == "http.request" and message.get("more_body", False):
            message = await receive()

    async def send_then_drain(message: "Message") -> None:
        if message["type"] != "http.response.body":
            await send(message)
            return
        await send({**message, "more_body": True})
        with suppress(TimeoutError):
            await asyncio.wait_for(drain(), _DRAIN_S)
        await send({"type": "http.response.body", "body": b""})

    await refuse(send_then_drain, refused.status, str(refused))
