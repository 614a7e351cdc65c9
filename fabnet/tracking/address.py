"""The address of a tracking store: is anything there, and how it is told of without its password."""

import socket
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

CONNECT_S = 3.0
_PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}


def check_reachable(uri: str) -> None:
    """Connect to the server that a URI names, and hang up: MLflow and its database drivers try for minutes.

    A URI without a host, such as that of a sqlite file, and a server behind a proxy are left to MLflow.

    Raises:
        ConnectionError: nothing answers there within three seconds.
        ValueError: the port is no number.
    """
    parts = urlsplit(uri)
    scheme = parts.scheme.partition("+")[0]  # postgresql+psycopg
    port = parts.port or _PORTS.get(scheme)
    if not parts.hostname or port is None:
        return
    if scheme in getproxies() and not proxy_bypass(parts.hostname):
        return
    try:
        socket.create_connection((parts.hostname, port), CONNECT_S).close()
    except OSError as error:
        raise ConnectionError(f"no connection to {parts.hostname}:{port}: {error}") from error


def shown(uri: str) -> str:
    """A URI without the user and password that it may hold."""
    scheme, separator, rest = uri.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}"


def one_line(error: BaseException, uri: str, length: int) -> str:
    """What an error says, in one line of at most `length` characters, without the password in a store's URI."""
    text = " ".join(str(error).split()) or type(error).__name__
    secrets = urlsplit(uri).netloc.rpartition("@")[0]
    if secrets:
        text = text.replace(f"{secrets}@", "")
    return text[:length]
