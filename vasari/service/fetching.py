"""Fetching what a caller names by URL without becoming their way into a private network (SSRF).

Only https on port 443, no credentials in the URL, no redirects, no compression; the name is resolved once, every
address must be public, and the connection goes to the address that was checked, so that a second answer of the name
server can't lead elsewhere. Size is limited, and so is the time for the whole, whatever the pace at which bytes come.
"""

import http.client
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import IO
from urllib.parse import urlsplit

MAX_URL_CHARACTERS = 2048
TIMEOUT_S = 10.0
DEADLINE_S = 60.0
_CHUNK_BYTES = 1 << 16
_NAT64, _GLOBAL_UNICAST = ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("2000::/3")
_PROTOCOLS = ipaddress.ip_network("192.0.0.0/24")

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
    secured = context.wrap_socket(raw, server_hostname=host, do_handshake_on_connect=False)
    try:
        secured.do_handshake()  # the time-out is that of the whole handshake
    except BaseException:
        secured.close()
        raise
    connection = http.client.HTTPSConnection(host, timeout=TIMEOUT_S, context=context)
    connection.sock = secured
    return connection


def fetch(
    url: str,
    sink: IO[bytes],
    *,
    limit: int,
    resolve: Resolve = resolve,
    connect: Connect = connect,
    deadline_s: float = DEADLINE_S,
) -> int:
    """Write what `url` holds to `sink`; the number of bytes. Raises FetchError."""
    host, target = _checked(url)
    addresses = list(resolve(host))
    if not addresses or not all(is_public(address) for address in addresses):
        raise FetchError(400, "the host is not on the public network")
    try:
        connection = connect(host, addresses[0])
        try:
            with _at_most(deadline_s, connection.sock):
                total = _read_answer(connection, target, sink, limit)
        finally:
            connection.close()
    except (OSError, http.client.HTTPException) as error:
        raise FetchError(502, "the host can't be reached, or broke off") from error
    sink.flush()
    return total


def _read_answer(connection: http.client.HTTPConnection, target: str, sink: IO[bytes], limit: int) -> int:
    connection.request("GET", target, headers={"Accept-Encoding": "identity", "User-Agent": "vasari"})
    with connection.getresponse() as answer:
        if answer.status != 200:
            raise FetchError(502, f"the host answered {answer.status}; redirects are not followed")
        if answer.getheader("Content-Encoding", "identity").strip().lower() != "identity":
            raise FetchError(502, "the host compresses what was asked for as it is")
        if answer.length is not None and answer.length > limit:
            raise FetchError(400, f"longer than {limit} bytes")
        total = 0
        while chunk := answer.read(_CHUNK_BYTES):
            total += len(chunk)
            if total > limit:
                raise FetchError(400, f"longer than {limit} bytes")
            sink.write(chunk)
        if answer.length:
            raise FetchError(502, f"the host broke off {answer.length} bytes before the end it had stated")
    return total


@contextmanager
def _at_most(seconds: float, connection: socket.socket) -> Iterator[None]:
    """Hang up on the other end after so long, even in the middle of a read; raises FetchError then."""
    late = threading.Event()

    def hang_up() -> None:
        late.set()
        with suppress(OSError):
            socket.socket.shutdown(connection, socket.SHUT_RDWR)  # below TLS, which another thread is using

    timer = threading.Timer(seconds, hang_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    except (OSError, http.client.HTTPException, FetchError) as error:
        if late.is_set():
            raise FetchError(502, "the host is too slow") from error
        raise
    finally:
        timer.cancel()
    if late.is_set():
        raise FetchError(502, "the host is too slow")


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
        if found in _NAT64:
            return is_public(str(ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)))
        if found not in _GLOBAL_UNICAST:  # forms that embed IPv4 (::a.b.c.d), site-local, and what is not assigned
            return False
    elif found in _PROTOCOLS:
        return False
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
