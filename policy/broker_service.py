"""The key broker as a process of its own, under its own user: HTTP over a Unix socket, or TLS from another machine.

    POST /v1/content-key   {"grant", "entry", "log_proof"}  ->  {"wrapped"}

`entry` and `wrapped` are base64url. Nothing in a request or an answer is secret: the content key is HPKE cipher text
for the ephemeral key that the gate signed into the grant. On a Unix socket the kernel names the caller
(SO_PEERCRED) and only the users given are served, told before anything they send is read. Over TLS both ends show
the one certificate that the other has pinned (`policy.mutual_tls`). Plain HTTP goes within one machine only. Requests
are small, a few at a time, each with one deadline until it is read, the handshake included.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import os
import re
import socket
import struct
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any, Protocol
from urllib.parse import urlsplit

from policy.canonical import b64url, b64url_decode, canonical_json, strict_json_object
from policy.errors import GrantError, KeyFileError, PolicyError
from policy.locked_memory import guard_process
from policy.mutual_tls import TlsEnd

PATH = "/v1/content-key"
MAX_REQUEST_BYTES = 256 * 1024
READ_WITHIN_S = 5.0  # a whole request
REFUSED_WITHIN_S = 0.2
AT_ONCE = 32
ANSWER_TIMEOUT_S = 20.0


class ReleasesKeys(Protocol):
    """What the pipeline needs of a broker: in this process, on this machine, or elsewhere."""

    def release_key(self, grant: str, entry: bytes, log_proof: str) -> bytes:
        """The wrapped content key; raises GrantError."""
        ...

    def close(self) -> None:
        """Let go of what is open."""
        ...


class BrokerClient:
    """A broker behind `unix:PATH`, `https://…`, where `tls` is this end, or `http://…` on this machine."""

    def __init__(self, address: str, *, tls: TlsEnd | None = None) -> None:
        self._address, self._tls = address, tls
        _require_fitting(address, tls)

    def release_key(self, grant: str, entry: bytes, log_proof: str) -> bytes:
        """The wrapped content key; raises GrantError with the broker's own reason, or when it can't be reached."""
        body = canonical_json({"grant": grant, "entry": b64url(entry), "log_proof": log_proof})
        connection = _connect(self._address, self._tls)
        try:
            connection.request("POST", PATH, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            members = strict_json_object(answer.read(MAX_REQUEST_BYTES))
            if answer.status != http.HTTPStatus.OK:
                raise GrantError(f"the key broker refuses: {str(members.get('detail'))[:500]}")
            return b64url_decode(str(members["wrapped"]))
        except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
            raise GrantError(f"the key broker at {self._address} can't be asked: {_reason(error)}") from error
        finally:
            connection.close()

    def close(self) -> None:
        """Nothing stays open between two requests."""


def serve_broker(
    broker: ReleasesKeys,
    address: str,
    *,
    users: frozenset[int] = frozenset(),
    tls: TlsEnd | None = None,
    ready: Callable[[], None] = lambda: None,
) -> None:
    """Serve until the process is ended. `users`: ids that may ask over a Unix socket, besides the broker's own.

    `tls`: the broker's end where it listens on `https://`. `ready` is called when it listens. Raises PolicyError where
    it can't listen.
    """
    guard_process()
    with make_server(broker, address, users=users, tls=tls) as server:
        ready()
        server.serve_forever()


def make_server(
    broker: ReleasesKeys, address: str, *, users: frozenset[int] = frozenset(), tls: TlsEnd | None = None
) -> HTTPServer:
    """The listening server; a socket file has mode 0666 and the kernel's word on who asks."""
    kind, place = _require_fitting(address, tls)
    try:
        if kind == "unix":
            return _UnixServer(Path(place), broker, users | {os.geteuid()})
        host, _, port = place.rpartition(":")
        host = host.strip("[]")
        return (_Server6 if ":" in host else _Server)((host, int(port)), broker, None, tls)
    except (OSError, OverflowError) as error:
        raise PolicyError(f"{address}: the broker can't listen there ({error})") from error


class _Server(ThreadingMixIn, HTTPServer):
    """Up to `AT_ONCE` callers at a time, and as many strangers; more are hung up on."""

    daemon_threads = True

    def __init__(
        self, address: Any, broker: ReleasesKeys, users: frozenset[int] | None, tls: TlsEnd | None = None
    ) -> None:
        self._users, self._tls = users, tls
        self._for_callers, self._for_strangers = (threading.BoundedSemaphore(AT_ONCE) for _ in range(2))
        super().__init__(address, _handler(broker, users))

    def process_request(self, request: Any, client_address: Any) -> None:
        """A thread for the caller, where one is free."""
        if self._places_of(request).acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Frees the thread's place afterwards."""
        places = self._places_of(request)
        try:
            super().process_request_thread(request, client_address)
        finally:
            places.release()

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Whoever can't show the pinned certificate in time is hung up on; nothing of theirs is read."""
        if self._tls is None:
            super().finish_request(request, client_address)
            return
        with contextlib.suppress(OSError), self._tls.wrap_answering(request) as secured:
            deadline = threading.Timer(READ_WITHIN_S, _hang_up, [secured])
            deadline.start()
            try:
                secured.do_handshake()
                self._tls.require_peer(secured)
            finally:
                deadline.cancel()
            super().finish_request(secured, client_address)

    def _places_of(self, request: socket.socket) -> threading.BoundedSemaphore:
        """Strangers take no caller's place."""
        known = self._users is None or _peer_user(request) in self._users
        return self._for_callers if known else self._for_strangers


class _Server6(_Server):
    address_family = socket.AF_INET6


class _UnixServer(_Server):
    """HTTP on a Unix socket; takes the place of a socket that nobody listens on any more."""

    address_family = socket.AF_UNIX

    def __init__(self, path: Path, broker: ReleasesKeys, users: frozenset[int]) -> None:
        if path.is_socket():
            with socket.socket(socket.AF_UNIX) as probe:
                if probe.connect_ex(str(path)) == 0:
                    raise PolicyError(f"{path}: a broker listens there already")
            path.unlink()
        self._path = path
        super().__init__(str(path), broker, users)

    def server_bind(self) -> None:
        """Bind; who may ask is the kernel's word, not the file mode's."""
        self.socket.bind(str(self._path))
        self._path.chmod(0o666)
        self.server_name, self.server_port = "broker", 0

    def server_close(self) -> None:
        """Close, and take the socket file away."""
        super().server_close()
        self._path.unlink(missing_ok=True)


def _handler(broker: ReleasesKeys, users: frozenset[int] | None) -> type[BaseHTTPRequestHandler]:
    one_release = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        timeout = READ_WITHIN_S
        server_version, sys_version = "vasari-broker", ""

        def handle(self) -> None:
            """Strangers are refused unread; everybody else has `READ_WITHIN_S` to say what they want."""
            if users is not None and (asking := _peer_user(self.connection)) not in users:
                _refuse(self.connection, asking)
                return
            self._deadline = threading.Timer(READ_WITHIN_S, _hang_up, [self.connection])
            self._deadline.start()
            try:
                super().handle()
            finally:
                self._deadline.cancel()

        def do_POST(self) -> None:
            status, members = self._answer()
            body = canonical_json(members)
            self.send_response(status)
            self.send_header("Content-Type", "application/json" if status == 200 else "application/problem+json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _answer(self) -> tuple[int, dict[str, Any]]:
            length = self.headers.get("Content-Length", "")
            if self.path != PATH:
                return 404, {"title": "Not found", "detail": f"only {PATH} is served"}
            if not re.fullmatch("[0-9]{1,9}", length) or int(length) > MAX_REQUEST_BYTES:
                return 413, {"title": "Too large", "detail": f"expected a length of at most {MAX_REQUEST_BYTES}"}
            try:
                grant, entry, proof = _read_request(self.rfile.read(int(length)))
                self._deadline.cancel()
                with one_release:
                    return 200, {"wrapped": b64url(broker.release_key(grant, entry, proof))}
            except GrantError as error:
                return 403, {"title": "Refused", "detail": str(error)}
            except KeyFileError as error:
                return 500, {"title": "No key", "detail": str(error)}
            except ValueError as error:
                return 400, {"title": "Not a request", "detail": str(error)[:300]}
            except Exception as error:  # noqa: BLE001  whatever broke: no key leaves, and the caller hears that
                return 500, {"title": "Failed", "detail": f"the broker failed: {type(error).__name__}"}

        def log_message(self, format: str, *args: object) -> None:
            """Requests hold grants; they are counted in the broker's ledger, not written to a log."""

    return Handler


def _read_request(body: bytes) -> tuple[str, bytes, str]:
    members = strict_json_object(body)
    if set(members) != {"grant", "entry", "log_proof"} or not all(isinstance(one, str) for one in members.values()):
        raise ValueError("expected exactly grant, entry and log_proof, each a text")
    return members["grant"], b64url_decode(members["entry"]), members["log_proof"]


def _refuse(connection: socket.socket, user: int) -> None:
    """Say why and go; what comes meanwhile is dropped, since a connection closed over it would lose the answer."""
    body = canonical_json({"title": "Not allowed", "detail": f"user {user} may not ask this broker"})
    head = f"HTTP/1.0 403 Forbidden\r\nContent-Type: application/problem+json\r\nContent-Length: {len(body)}\r\n\r\n"
    until = time.monotonic() + REFUSED_WITHIN_S
    with contextlib.suppress(OSError):
        connection.settimeout(REFUSED_WITHIN_S)
        connection.sendall(head.encode() + body)
        connection.shutdown(socket.SHUT_WR)
        while (left := until - time.monotonic()) > 0:
            connection.settimeout(left)
            if not connection.recv(MAX_REQUEST_BYTES):
                return


def _hang_up(connection: socket.socket) -> None:
    """Wake who waits for more of this connection; of TLS the socket below, so that nothing goes out in the clear."""
    with contextlib.suppress(OSError):
        socket.socket.shutdown(connection, socket.SHUT_RDWR)


def _peer_user(connection: socket.socket) -> int:
    """User id of the process at the other end of a Unix socket, as the kernel knows it."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[1])


def _parse_address(address: str) -> tuple[str, str]:
    kind, _, place = address.partition(":")
    if kind == "unix" and place.startswith("/"):
        return kind, place
    parts = urlsplit(address)
    if kind in ("http", "https") and parts.hostname and parts.port and not parts.path.strip("/"):
        return kind, f"[{parts.hostname}]:{parts.port}"
    raise PolicyError(f"{address!r:.200}: expected unix:/PATH, https://HOST:PORT or http://127.0.0.1:PORT")


def _require_fitting(address: str, tls: TlsEnd | None) -> tuple[str, str]:
    """The address in parts; raises PolicyError for TLS without certificates, and for a network without TLS."""
    kind, place = _parse_address(address)
    if kind == "https" and tls is None:
        raise PolicyError(f"{address}: both ends need a certificate; `vasari broker split` makes them for https://")
    if kind == "http" and not _is_loopback(place.rpartition(":")[0].strip("[]")):
        raise PolicyError(f"{address}: plain HTTP goes within this machine only (127.0.0.1, ::1); take https://")
    return kind, place


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or str(error)[:300] or type(error).__name__)


def _connect(address: str, tls: TlsEnd | None) -> http.client.HTTPConnection:
    kind, place = _parse_address(address)
    if kind == "unix":
        return _UnixConnection(place)
    host, _, port = place.rpartition(":")
    return _NetworkConnection(host.strip("[]"), int(port), tls if kind == "https" else None)


class _NetworkConnection(http.client.HTTPConnection):
    def __init__(self, host: str, port: int, tls: TlsEnd | None) -> None:
        super().__init__(host, port, timeout=ANSWER_TIMEOUT_S)
        self._tls = tls

    def connect(self) -> None:
        super().connect()
        if self._tls is not None:
            self.sock = self._tls.wrap_asking(self.sock)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("broker", timeout=ANSWER_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(ANSWER_TIMEOUT_S)
        self.sock.connect(self._path)
