"""What a visitor may do: limits of an upload, and ASGI middleware in front of Gradio: request limits, only uploaded
files, and a content security policy.

Gradio takes a file that a request names by its path for one of its uploads, which it checks only in servers that it
started itself; and it fetches a file that is named by an address.
"""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fabnet.host_allowlist import error_response
from fabnet.video.reject import MAX_PIXELS

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BYTES = 64 * 2**20
MAX_SECONDS = 20.0
MAX_FACES = 300
#: Frames of a clip in a second, at most.
FPS = 5.0
#: For one upload, from its first byte to the last crop.
LIMIT_S = 60.0

#: In words, for the page; docs/app.md says the same.
MEGAPIXELS = f"{MAX_PIXELS // 10**5 / 10:.1f} megapixels"
MEBIBYTES = f"{MAX_BYTES // 2**20} MiB"
LIMITS = (
    f"JPEG or PNG of at most {MEGAPIXELS}, or a clip of at most {MAX_SECONDS:g} s; files up to {MEBIBYTES}, "
    f"{MAX_FACES} faces"
)

#: Bytes of a request that is no upload: numbers of faces and frames, and where an upload lies.
_MAX_CALL = 2**16
#: Bytes around the file in an upload.
_AROUND = 2**13

#: What the page may load, and from where. Gradio writes styles and scripts into the page itself.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; "
    "worker-src 'self' blob:; frame-ancestors 'none'; form-action 'self'; base-uri 'self'"
)


class OnlyUploads:
    """Refuses requests that are too large, or name a file which was not uploaded here.

    Args:
        uploads: folder that uploads are written to.
    """

    def __init__(self, app: "ASGIApp", uploads: Path) -> None:
        self._app = app
        self._uploads = Path(os.path.abspath(uploads))

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        if scope["type"] == "websocket":  # the page uses none
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        upload = scope["path"].rstrip("/").endswith("/upload")
        limit = MAX_BYTES + _AROUND if upload else _MAX_CALL
        length = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
        if not length.isdigit():
            await error_response(411, "a request has to tell its length", close=True)(scope, receive, send)
        elif int(length) > limit:
            await error_response(413, f"{int(length):,} bytes; at most {limit:,} are taken", close=True)(
                scope, receive, send
            )
        elif upload:
            await self._app(scope, receive, send)
        else:
            await self._call(scope, receive, send)

    async def _call(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                return  # the visitor has gone
            body, more = body + message.get("body", b""), message.get("more_body", False)
        try:
            wanted = json.loads(body) if body else None
        except (ValueError, RecursionError):
            await error_response(400, "not JSON", close=True)(scope, receive, send)
            return
        if not self._is_ours(wanted):
            await error_response(400, "a file has to be dropped on the page", close=True)(scope, receive, send)
            return
        replayed: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> "Message":
            return replayed.pop() if replayed else await receive()

        await self._app(scope, replay, send)

    def _is_ours(self, wanted: Any) -> bool:
        """Does every file that is named lie among the uploads?"""
        todo = [wanted]
        while todo:
            value = todo.pop()
            if isinstance(value, list):
                todo += value
            elif isinstance(value, dict):
                todo += value.values()
                if "path" in value:
                    path = value["path"]
                    if not isinstance(path, str) or "\0" in path:
                        return False
                    if not Path(os.path.abspath(path)).is_relative_to(self._uploads):
                        return False
        return True


class Policy:
    """Tells browsers to load nothing from elsewhere, and to show the page in no other one."""

    _HEADERS = (
        (b"content-security-policy", _POLICY.encode()),
        (b"referrer-policy", b"no-referrer"),
        (b"x-content-type-options", b"nosniff"),
    )

    def __init__(self, app: "ASGIApp") -> None:
        self._app = app

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        async def with_policy(message: "Message") -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *self._HEADERS]
            await send(message)

        await self._app(scope, receive, with_policy)
