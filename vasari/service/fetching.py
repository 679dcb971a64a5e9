"""Fetching what a caller names by URL without becoming their way into a private network (SSRF).

Only https on port 443, no credentials in the URL, no redirects, no compression; the name is resolved once, every
address must be public, and the connection goes to the address that was checked, so that a second answer of the name
server can't lead elsewhere. Size and time are limited.
"""

import http.client
import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from typing import IO
from urllib.parse import urlsplit

MAX_URL_CHARACTERS = 2048
TIMEOUT_S = 10.0
DEADLINE_S = 60.0
_CHUNK_BYTES = 1 << 16

Resolve = Callable[[str], Sequence[str]]
Connect = Callable[[str, str], http.client.HTTPConnection]
"""(host name, address) -> a connection to that address."""


class FetchError(Exception):
    """The URL is refused (`status` 400) or could not be fetched (502)."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def resolve(host: str) -> list[str]:
    """Every address of a host name."""
    try:
        return sorted({str(found[4][0]) for found in socket.getaddrinfo(host, 443, type=socket.SOCK_STREAM)})
    except (OSError, UnicodeError) as error:
        raise FetchError(502, "the host name can't be resolved") from error


def connect(host: str, address: str) -> http.client.HTTPConnection:
    """A TLS connection to `address` whose certificate must be `host`'s."""
    context = ssl.create_default_context()
    raw = socket.create_connection((address, 443), timeout=TIMEOUT_S)
    connection = http.client.HTTPSConnection(host, timeout=TIMEOUT_S, context=context)
    connection.sock = context.wrap_socket(raw, server_hostname=host)
    return connection


def fetch(
    url: str,
    sink: IO[bytes],
    *,
    limit: int,
    resolve: Resolve = resolve,
    connect: Connect = connect,
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Write what `url` holds to `sink`; the number of bytes. Raises FetchError."""
    host, target = _checked(url)
    addresses = list(resolve(host))
    if not addresses or not all(is_public(address) for address in addresses):
        raise FetchError(400, "the host is not on the public network")
    deadline = clock() + DEADLINE_S
    try:
        connection = connect(host, addresses[0])
        try:
            connection.request("GET", target, headers={"Accept-Encoding": "identity", "User-Agent": "vasari"})
            answer = connection.getresponse()
            if answer.status != 200:
                raise FetchError(502, f"the host answered {answer.status}; redirects are not followed")
            total = 0
            while chunk := answer.read(_CHUNK_BYTES):
                total += len(chunk)
                if total > limit:
                    raise FetchError(400, f"longer than {limit} bytes")
                if clock() > deadline:
                    raise FetchError(502, "the host is too slow")
                sink.write(chunk)
        finally:
            connection.close()
    except (OSError, http.client.HTTPException) as error:
        raise FetchError(502, "the host can't be reached") from error
    sink.flush()
    return total


def is_public(address: str) -> bool:
    """Whether an address is on the public network, mapped and translated forms of others included."""
    try:
        found = ipaddress.ip_address(address.split("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour or (found.teredo or (None, None))[1]
        if inner is not None:
            return is_public(str(inner))
        if found in ipaddress.ip_network("64:ff9b::/96"):
            return is_public(str(ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)))
    return found.is_global and not found.is_multicast


def _checked(url: str) -> tuple[str, str]:
    """Host name and request target; raises FetchError for anything but a plain https URL."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise FetchError(400, "not a URL") from error
    plain = url.isascii() and url.isprintable() and " " not in url and len(url) <= MAX_URL_CHARACTERS
    if not plain or parts.scheme != "https" or not parts.hostname or port not in (None, 443) or "@" in parts.netloc:
        raise FetchError(400, "expected a plain https URL without port or credentials")
    return parts.hostname, (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
