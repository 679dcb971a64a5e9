"""Who may do what: OAuth2 client credentials (RFC 6749 section 4.4) and short-lived signed bearer tokens (RFC 9068).

Clients are kept in one JSON file, mode 0600, with salted scrypt hashes of their secrets. Tokens are JWS with Ed25519
and the exact type `at+jwt`; anything else is refused before the signature is looked at.
"""

import base64
import binascii
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from vasari.cli.whole_file import write_bytes

TOKEN_LIFETIME_S = 600
TOKEN_TYPE = "at+jwt"  # noqa: S105
ALGORITHM = "Ed25519"
MAX_TOKEN_BYTES = 4096
MAX_CLIENTS = 10_000
_SCRYPT = {"n": 2**14, "r": 8, "p": 1}
_NOBODY = "00" * 16
_LEEWAY_S = 5


class Scope(StrEnum):
    """What a client may be allowed."""

    FETCH = "fetch:manifests"
    STORE = "store:manifests"
    BIND = "store:bindings"


class AccessError(Exception):
    """A client or token is refused; `error` is the OAuth2 code, `status` the HTTP one."""

    def __init__(self, status: int, error: str, reason: str) -> None:
        super().__init__(reason)
        self.status, self.error = status, error


@dataclass(frozen=True)
class Client:
    """One client, its secret hashed."""

    client_id: str
    salt: str
    secret_hash: str
    scopes: tuple[str, ...]


@dataclass(frozen=True)
class Caller:
    """Who calls, as a verified token says."""

    client_id: str
    scopes: frozenset[str]


class Clients:
    """The file of clients."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, client_id: str, scopes: tuple[Scope, ...]) -> str:
        """A new client; its secret is returned once and kept nowhere. ValueError when the id is taken or malformed."""
        known = self._read()
        if not client_id.isascii() or not client_id.replace("-", "").isalnum() or len(client_id) > 64:
            raise ValueError(f"client id {client_id[:80]!r}: expected up to 64 letters, digits and hyphens")
        if client_id in known or len(known) >= MAX_CLIENTS:
            raise ValueError(f"client {client_id}: is there already, or there are too many")
        secret, salt = secrets.token_urlsafe(32), secrets.token_hex(16)
        made = Client(client_id, salt, _hash(secret, salt), tuple(sorted(scopes)))
        self._write(known | {client_id: made})
        return secret

    def remove(self, client_id: str) -> bool:
        """Forget a client; tokens that it holds run out within minutes. False when there is none."""
        known = self._read()
        found = known.pop(client_id, None)
        self._write(known)
        return found is not None

    def authenticate(self, client_id: str, secret: str) -> Client:
        """The client with this secret; takes as long for an unknown one. Raises AccessError."""
        client = self._read().get(client_id)
        right = hmac.compare_digest(
            _hash(secret[:200], client.salt if client else _NOBODY), client.secret_hash if client else ""
        )
        if client is None or not right:
            raise AccessError(401, "invalid_client", "unknown client or wrong secret")
        return client

    def _read(self) -> dict[str, Client]:
        if not self._path.exists():
            return {}
        entries = json.loads(self._path.read_text(encoding="utf-8"))
        return {entry["client_id"]: Client(**(entry | {"scopes": tuple(entry["scopes"])})) for entry in entries}

    def _write(self, clients: Mapping[str, Client]) -> None:
        text = json.dumps([asdict(client) for client in clients.values()], indent=1)
        write_bytes(self._path, text.encode() + b"\n", mode=0o600)


class Tokens:
    """Issues and checks bearer tokens for one service, named by its URL."""

    def __init__(self, key: Ed25519PrivateKey, *, issuer: str, clock: Callable[[], float] = time.time) -> None:
        self._key, self._issuer, self._clock = OKPKey.import_key(key), issuer, clock

    def issue(self, client: Client, wanted: str | None) -> tuple[str, str]:
        """A token and its scopes: those asked for that the client has, all of them when nothing is asked for."""
        held = set(client.scopes)
        scopes = held if not wanted else held & set(wanted.split(" "))
        if not scopes:
            raise AccessError(400, "invalid_scope", "the client has none of these scopes")
        now = int(self._clock())
        granted = " ".join(sorted(scopes))
        claims = {
            "iss": self._issuer, "aud": self._issuer, "sub": client.client_id, "client_id": client.client_id,
            "iat": now, "exp": now + TOKEN_LIFETIME_S, "jti": secrets.token_urlsafe(12), "scope": granted,
        }  # fmt: skip
        header = {"alg": ALGORITHM, "typ": TOKEN_TYPE}
        token = jws.serialize_compact(header, json.dumps(claims).encode(), self._key, algorithms=[ALGORITHM])
        return str(token), granted

    def check(self, authorization: str | None) -> Caller:
        """Who calls, from an Authorization header; raises AccessError with 401."""
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token or len(token) > MAX_TOKEN_BYTES:
            raise AccessError(401, "invalid_token", "expected a bearer token")
        try:
            if _segment(token) != {"alg": ALGORITHM, "typ": TOKEN_TYPE}:
                raise AccessError(401, "invalid_token", "not a token of this service")
            payload = jws.deserialize_compact(token, self._key, algorithms=[ALGORITHM]).payload
            claims: dict[str, Any] = json.loads(payload)
            now = self._clock()
            ours = claims["iss"] == claims["aud"] == self._issuer and claims["iat"] <= now + 5
            if (
                not ours
                or not claims["iat"] <= claims["exp"] <= claims["iat"] + TOKEN_LIFETIME_S
                or now >= claims["exp"]
            ):
                raise AccessError(401, "invalid_token", "the token has expired or is for another service")
            return Caller(str(claims["sub"]), frozenset(str(claims["scope"]).split(" ")))
        except (JoseError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise AccessError(401, "invalid_token", "the token is malformed or not signed by this service") from error


def basic_credentials(authorization: str | None) -> tuple[str, str] | None:
    """Client id and secret of HTTP Basic authentication; None when there is none."""
    scheme, _, encoded = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, _, secret = base64.b64decode(encoded, validate=True).decode("utf-8").partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return user, secret


def _segment(token: str) -> object:
    head = token.split(".", 1)[0]
    return json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))


def _hash(secret: str, salt: str) -> str:
    return hashlib.scrypt(secret.encode(), salt=bytes.fromhex(salt), dklen=32, **_SCRYPT).hex()  # type: ignore[arg-type]
