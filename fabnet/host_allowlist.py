"""Host-header allow-list of a local server, the socket that it listens on, and the form of its errors.

A web page can have its own name resolve to 127.0.0.1 and then read what a server there answers (DNS rebinding). Such a
request bears the page's name in its Host header, which is how it is known. Starlette's TrustedHostMiddleware compares
names without ports, and answers in plain text.
"""

import socket
from collections.abc import Sequence
from ipaddress import ip_address
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse

from fabnet.errors import UserError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


def allowed_hosts(host: str, more: str | None = None) -> tuple[str, ...]:
    """Names under which a server that listens on `host` may be asked: those of loopback, `host` itself, and `more`.

    Args:
        host: an address or name of this machine; 0.0.0.0 and :: are all of them.
        more: separated by commas: NAME, NAME:PORT, *.DOMAIN, or * for any name at all.

    Raises:
        UserError: an entry is none of these, or the server listens on all addresses and `more` is empty.
    """
    entries = [each.strip().lower() for each in (more or "").split(",") if each.strip()]
    for entry in entries:
        name, port = _split(entry.removeprefix("*."))
        if entry != "*" and (not name or "*" in name or "/" in name or not (port is None or port.isdigit())):
            raise UserError(f"--allowed-hosts {entry}: must be NAME, NAME:PORT, [IPv6], *.DOMAIN or *")
    # An address of its own is the name under which it is asked; all addresses together have none.
    if not _is_wildcard(host):
        return (*LOOPBACK, _bracketed(host.lower()), *entries)
    if not entries:
        raise UserError(
            f"--host {host} listens on all addresses of this machine: name those under which it may be asked, as in "
            "--allowed-hosts gpu1.example.org,10.0.0.5"
        )
    return (*LOOPBACK, *entries)


def is_allowed(given: str, allowed: Sequence[str]) -> bool:
    """Whether a Host header is one of `allowed`, whose entries without a port stand for all ports.

    Args:
        given: a Host header, `name` or `name:port`, in any case.
        allowed: names in lower case, with a port for that port alone; `*.name` stands for all names below it, `*` for
            any host.
    """
    name, port = _split(given.lower())
    if not name or (port is not None and not port.isdigit()):
        return False
    for entry in allowed:
        if entry == "*":
            return True
        allowed_name, only_port = _split(entry)
        same = name.endswith(allowed_name[1:]) if allowed_name.startswith("*.") else name == allowed_name
        if same and only_port in (None, port):
            return True
    return False


class HostAllowlist:
    """ASGI middleware: a request for a host that is not on the list is refused before anything of it is read."""

    def __init__(self, app: "ASGIApp", allowed: Sequence[str]) -> None:
        self._app = app
        self._allowed = allowed

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        given = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        if len(given) == 1 and is_allowed(given[0], self._allowed):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        elif len(given) != 1:
            await error_response(400, "a request has one Host header", close=True)(scope, receive, send)
        else:
            shown = given[0][:100].encode("ascii", "backslashreplace").decode()
            problem = f"host {shown} is not one of this server's; --allowed-hosts adds names"
            await error_response(403, problem, close=True)(scope, receive, send)


def error_response(status: int, problem: str, close: bool = False) -> JSONResponse:
    """An error in one line, in the form of MLflow's; `close` where some of the request is unread.

    Args:
        status: HTTP status code, 400 or more.
        problem: what is wrong, in one line for people.
        close: end the connection after it, for a request whose body is unread.
    """
    code = "BAD_REQUEST" if status < 500 else "INTERNAL_ERROR" if status == 500 else "TEMPORARILY_UNAVAILABLE"
    headers = {"connection": "close"} if close else None
    return JSONResponse({"error_code": code, "message": problem}, status, headers)


def listen(host: str, port: int) -> socket.socket:
    """A socket bound to an address of this machine; port 0 is any free one.

    Args:
        host: a name or IPv4 or IPv6 address of this machine.
        port: TCP port; 0 is any free one.

    Raises:
        UserError: the address is not ours, or the port is taken or not allowed.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)
    except OSError as error:
        raise UserError(f"--host {host}: not an address of this machine: {error.strerror}") from None
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        bound.close()
        raise UserError(
            f"cannot listen on {_bracketed(host)}:{port}: {error.strerror}; choose another --port (0: any free one) or "
            "--host"
        ) from None
    return bound


def url_of(bound: socket.socket) -> str:
    """http://HOST:PORT of a listening socket."""
    host, port = bound.getsockname()[:2]
    return f"http://{_bracketed(host)}:{port}"


def _split(entry: str) -> tuple[str, str | None]:
    """Host and port of HOST, HOST:PORT, [IPv6] or [IPv6]:PORT."""
    host, colon, port = entry.rpartition(":")
    if not colon or entry.endswith("]"):
        return entry, None
    return host, port


def _is_wildcard(host: str) -> bool:
    try:
        return ip_address(host).is_unspecified
    except ValueError:
        return not host


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
