"""The registry's end of the push: signed status lists over HTTP, answered when they change.

    GET /v1/status-lists?uri=URI&after=SHA256   ->  the signed list (application/statuslist+jwt), or 204 after a while

`after` is the SHA-256 of the list that the asker has. With it the answer waits until there is another list, so that a
withdrawal is at every waiting gate within a fraction of a second. Nothing here is secret: lists are signed, and places
in them are random. A gate that hears nothing relies on the list it has for at most 60 seconds, as without the push.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from policy.canonical import sha256_hex
from policy.errors import PolicyError

PATH = "/v1/status-lists"
LIST_TYPE = "application/statuslist+jwt"
WAIT_S = 20.0
LOOK_EVERY_S = 0.1
MAX_WAITING = 128
REQUEST_TIMEOUT_S = 5.0
REQUEST_DEADLINE_S = 10.0
MAX_QUERY_CHARACTERS = 1024

SignLists = Callable[[], Mapping[str, str]]
"""The signed list of each URI as it stands now."""


class Board:
    """The lists as they are now; whoever waits for a change is woken by it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._lists: dict[str, str] = {}

    def post(self, lists: Mapping[str, str]) -> None:
        """Put up the lists, and wake who waits when one is another than before."""
        with self._changed:
            if dict(lists) != self._lists:
                self._lists = dict(lists)
                self._changed.notify_all()

    def read(self, uri: str, after: str, wait_s: float) -> str | None:
        """The list at `uri` once it is another than the one hashed in `after`; None when it stays that one.

        Raises KeyError for a list that there is not.
        """
        with self._changed:
            self._changed.wait_for(lambda: sha256_hex(self._lists[uri].encode()) != after, wait_s)
            found = self._lists[uri]
        return None if sha256_hex(found.encode()) == after else found


class StatusServer(ThreadingHTTPServer):
    """Serves a board on `host`:`port`; one thread for each of at most MAX_WAITING askers."""

    daemon_threads = True

    def __init__(self, host: str, port: int, board: Board, *, wait_s: float = WAIT_S) -> None:
        self.board, self.wait_s = board, wait_s
        self.places = threading.BoundedSemaphore(MAX_WAITING)
        super().__init__((host, port), _Handler)

    def process_request(self, request, client_address) -> None:  # type: ignore[no-untyped-def]
        """Turn away who comes when all places are taken, before a thread is made for them."""
        if not self.places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request, client_address) -> None:  # type: ignore[no-untyped-def]
        """Serve, and free the place."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.places.release()


class _Handler(BaseHTTPRequestHandler):
    server: StatusServer
    timeout = REQUEST_TIMEOUT_S
    server_version, sys_version = "vasari-registry", ""

    def setup(self) -> None:
        """Whoever sends their request a letter at a time is cut off, so that they hold no place for long."""
        super().setup()
        self._deadline = threading.Timer(REQUEST_DEADLINE_S, self._cut)
        self._deadline.daemon = True
        self._deadline.start()

    def finish(self) -> None:
        self._deadline.cancel()
        super().finish()

    def _cut(self) -> None:
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def do_GET(self) -> None:
        self._deadline.cancel()
        status, body = self._answer()
        with suppress(OSError):  # a gate that was stopped while it waited has hung up
            self.send_response(status)
            self.send_header("Content-Type", LIST_TYPE if status == 200 else "text/plain; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(body)

    def _answer(self) -> tuple[int, bytes]:
        asked = urlsplit(self.path)
        if asked.path != PATH:
            return 404, f"only {PATH} is served".encode()
        if len(asked.query) > MAX_QUERY_CHARACTERS:
            return 414, b"the query is too long"
        try:
            query = parse_qs(asked.query, strict_parsing=True, max_num_fields=4)
            (uri,) = query["uri"]
            after = query.get("after", [""])[0]
        except (ValueError, KeyError):
            return 400, b"expected one uri, and after"
        try:
            found = self.server.board.read(uri, after, self.server.wait_s)
        except KeyError:
            return 404, b"there is no such status list here"
        return (204, b"") if found is None else (200, found.encode())

    def log_message(self, format: str, *args: object) -> None:
        """Who asks for a public list is nobody's business."""


def serve_status(
    sign_lists: SignLists,
    host: str,
    port: int,
    *,
    stop: threading.Event | None = None,
) -> None:
    """Look at the registry ten times a second and serve what it signs, until `stop` (for ever without one).

    `sign_lists` is called in this thread alone. Lists that can't be signed (the database is locked, say) are not
    renewed: the ones that are out run down, and gates refuse.
    """
    board = Board()
    board.post(sign_lists())
    with StatusServer(host, port, board) as server:
        thread = threading.Thread(target=server.serve_forever, name="status lists", daemon=True)
        thread.start()
        try:
            while stop is None or not stop.is_set():
                time.sleep(LOOK_EVERY_S)
                try:
                    board.post(sign_lists())
                except PolicyError:
                    continue
        finally:
            server.shutdown()
