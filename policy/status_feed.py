"""The gate's end of the push: status lists of a registry elsewhere, kept at hand and renewed as soon as they change.

A thread for each list waits at the registry (`policy.status_service`). What comes is believed only when it is signed by
the registry's key, is the list that was asked for, is not older than the one at hand, and brings nobody back who
withdrew. Everything else is thrown away, and the list at hand runs out within 60 seconds: then the gate refuses.
"""

from __future__ import annotations

import http.client
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Annotated, Self
from urllib.parse import urlencode, urlsplit

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import StringConstraints

from policy.canonical import canonical_json, sha256_hex, strict_json_object
from policy.claims import Strict, parse_claims
from policy.errors import PolicyError, StateError, TokenError
from policy.keys import read_secret, write_secret
from policy.status_list import MAX_TOKEN_BYTES, StatusList, TokenStatus, verify_status_list
from policy.status_service import PATH, WAIT_S

FEED_FILE = "status-feed.json"
CONNECT_TIMEOUT_S = 5.0
PAUSE_S = 1.0
"""After an answer that was not believed, or none."""


class FeedFile(Strict):
    """`status-feed.json` of a state folder."""

    address: Annotated[str, StringConstraints(min_length=1, max_length=400)]


@dataclass(frozen=True)
class TrustedIssuer:
    """Whose lists are believed: the issuer's id, and its public keys by `kid`."""

    issuer: str
    keys: Mapping[str, Ed25519PublicKey]


class StatusFeed:
    """A `StatusSource` that is pushed to. `lists`: URI of each list and who signs it. Close it when done."""

    def __init__(self, address: str, lists: Mapping[str, TrustedIssuer]) -> None:
        self._host, self._port, self._tls = parse_feed_address(address)
        self._address, self._lists = address, lists
        self._kept: dict[str, tuple[str, StatusList]] = {}
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._threads: dict[str, threading.Thread] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening; the threads end with their next answer."""
        self._closing.set()

    def __call__(self, uri: str) -> str:
        """The newest list that is believed; raises PolicyError when none could be had."""
        if uri not in self._lists:
            raise PolicyError(f"this gate knows no status list {uri!r:.80}")
        with self._lock:
            known = self._kept.get(uri)
        if known is None:
            self._ask(uri)
            self._listen(uri)
        with self._lock:
            return self._kept[uri][0]

    def take(self, uri: str, token: str) -> None:
        """Keep a list if it is to be believed; raises TokenError or PolicyError, and keeps the one at hand."""
        trusted = self._lists[uri]
        listed = verify_status_list(token, uri=uri, issuer=trusted.issuer, keys=trusted.keys)
        with self._lock:
            known = self._kept.get(uri)
            if known is not None:
                _require_newer(known[1], listed)
            self._kept[uri] = token, listed

    def _listen(self, uri: str) -> None:
        with self._lock:
            if uri in self._threads:
                return
            thread = threading.Thread(target=self._follow, args=(uri,), name=f"status {uri}", daemon=True)
            self._threads[uri] = thread
        thread.start()

    def _follow(self, uri: str) -> None:
        while not self._closing.is_set():
            with self._lock:
                after = sha256_hex(self._kept[uri][0].encode())
            try:
                self._ask(uri, after)
            except (PolicyError, TokenError):
                self._closing.wait(PAUSE_S)

    def _ask(self, uri: str, after: str = "") -> None:
        query = {"uri": uri, "after": after} if after else {"uri": uri}
        make = http.client.HTTPSConnection if self._tls else http.client.HTTPConnection
        connection = make(self._host, self._port, timeout=WAIT_S + CONNECT_TIMEOUT_S if after else CONNECT_TIMEOUT_S)
        try:
            connection.request("GET", f"{PATH}?{urlencode(query)}")
            answer = connection.getresponse()
            body = answer.read(MAX_TOKEN_BYTES + 1)
        except (OSError, http.client.HTTPException) as error:
            raise PolicyError(f"the registry at {self._address} can't be asked: {error!r:.200}") from error
        finally:
            connection.close()
        if after and answer.status == http.HTTPStatus.NO_CONTENT:
            return
        if answer.status != http.HTTPStatus.OK or len(body) > MAX_TOKEN_BYTES or not body.isascii():
            raise PolicyError(f"the registry at {self._address} answered {answer.status}, no status list")
        self.take(uri, body.decode("ascii"))


def feed_address(folder: Path) -> str | None:
    """Where the gate of a state folder takes its lists from; None for the folder's own registry."""
    path = folder / FEED_FILE
    if not path.exists():
        return None
    try:
        address = parse_claims(FeedFile, strict_json_object(read_secret(path))).address
        parse_feed_address(address)
    except (ValueError, PolicyError) as error:
        raise StateError(f"{path}: not as `vasari registry subscribe` writes it: {error}") from error
    return address


def write_feed_address(folder: Path, address: str | None) -> None:
    """Subscribe, or with None end it; raises PolicyError for what is no address."""
    path = folder / FEED_FILE
    if address is None:
        path.unlink(missing_ok=True)
        return
    parse_feed_address(address)
    write_secret(path, canonical_json({"address": address}), overwrite=True)


def parse_feed_address(address: str) -> tuple[str, int, bool]:
    """Host, port and whether with TLS, of `http://HOST:PORT` or `https://HOST:PORT`; raises PolicyError."""
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or not port or parts.scheme not in ("http", "https") or parts.path.strip("/") or "@" in parts.netloc:
        raise PolicyError(f"{address!r:.200}: expected http://HOST:PORT or https://HOST:PORT")
    return host, port, parts.scheme == "https"


def _require_newer(known: StatusList, came: StatusList) -> None:
    """Raise PolicyError for a list that was rolled back: an older one, or one that undoes a withdrawal."""
    if came.issued_at < known.issued_at:
        raise PolicyError(f"status list {came.uri}: issued at {came.issued_at}, before the one at hand: rolled back")
    if came.entries == known.entries:
        return
    if len(came.entries) < len(known.entries):
        raise PolicyError(f"status list {came.uri}: shorter than the one at hand: rolled back")
    for number, (old, new) in enumerate(zip(known.entries, came.entries, strict=False)):
        if old != new and any(_undone(known, came, 4 * number + place) for place in range(4)):
            raise PolicyError(f"status list {came.uri}: undoes a withdrawal: rolled back")


def _undone(known: StatusList, came: StatusList, index: int) -> bool:
    return known[index] is TokenStatus.INVALID and came[index] is not TokenStatus.INVALID
