"""Keys in a hardware security module, by PKCS #11 URI (RFC 7512); needs the extra `hsm`.

    pkcs11:token=vasari;object=gate?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/etc/vasari/pin

The PIN is read from the file that `pin-source` names, which others may not read; `pin-value` is refused, because it
would stand in settings and logs.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from provenance.errors import KeySourceError
from provenance.private_file import read_private_file
from provenance.remote_key import SigningKey, remote_key

SCHEME = "pkcs11:"
PATH_ATTRIBUTES, QUERY_ATTRIBUTES = {"token", "object", "id"}, {"module-path", "pin-source"}
ED25519_POINT = 32
AES_GCM_NONCE = 12
Made = TypeVar("Made")
_lock = threading.RLock()  # a PKCS #11 session does one thing at a time


@dataclass(frozen=True)
class HsmUri:
    """The parts of a PKCS #11 URI; `text` holds no secret."""

    text: str
    module: Path
    token: str
    object: str | None
    id: bytes | None
    pin_file: Path | None = field(repr=False)

    @classmethod
    def parse(cls, uri: str) -> HsmUri:
        """Read strictly: unknown or doubled attributes, and PINs in the URI, raise KeySourceError."""
        if not uri.startswith(SCHEME):
            raise KeySourceError(f"{uri!r:.80}: expected a URI that begins with {SCHEME}")
        path, _, query = uri.removeprefix(SCHEME).partition("?")
        parts = _attributes(path, ";", PATH_ATTRIBUTES, uri) | _attributes(query, "&", QUERY_ATTRIBUTES, uri)
        if "module-path" not in parts or "token" not in parts or not {"object", "id"} & set(parts):
            raise KeySourceError(f"{uri!r:.200}: expected token, object or id, and module-path")
        source = parts.get("pin-source")
        return cls(
            text=uri,
            module=Path(parts["module-path"]),
            token=parts["token"],
            object=parts.get("object"),
            id=parts["id"].encode("latin-1") if "id" in parts else None,
            pin_file=Path(source.removeprefix("file:")) if source else None,
        )


def open_hsm_key(uri: str) -> SigningKey:
    """The signing key (Ed25519 or P-256) that the URI names; raises KeySourceError with the module's own error."""
    place = HsmUri.parse(uri)
    return _tried(place, lambda: _signing_key(place))


class HsmSecretKey:
    """An AES-256 key in the module: wraps other keys with AES-GCM, never leaves."""

    def __init__(self, uri: str) -> None:
        self._place = HsmUri.parse(uri)

    def encrypt(self, plain: bytes, *, context: bytes) -> bytes:
        """Nonce, then cipher text with tag; `context` is authenticated."""
        nonce = os.urandom(AES_GCM_NONCE)
        return nonce + _tried(self._place, lambda: bytes(self._run("encrypt", plain, nonce, context)))

    def decrypt(self, sealed: bytes, *, context: bytes) -> bytes:
        """Raises KeySourceError when key or context are others."""
        nonce, cipher = sealed[:AES_GCM_NONCE], sealed[AES_GCM_NONCE:]
        return _tried(self._place, lambda: bytes(self._run("decrypt", cipher, nonce, context)))

    def _run(self, operation: str, data: bytes, nonce: bytes, context: bytes) -> bytes:
        import pkcs11

        key = _find(self._place, pkcs11.ObjectClass.SECRET_KEY)
        gcm = pkcs11.GCMParams(nonce=nonce, aad=context)
        done: bytes = getattr(key, operation)(data, mechanism=pkcs11.Mechanism.AES_GCM, mechanism_param=gcm)
        return done


def _signing_key(place: HsmUri) -> SigningKey:
    import pkcs11

    point = bytes(_find(place, pkcs11.ObjectClass.PUBLIC_KEY)[pkcs11.Attribute.EC_POINT])
    private = _find(place, pkcs11.ObjectClass.PRIVATE_KEY)
    if private.key_type is pkcs11.KeyType.EC_EDWARDS:
        edwards = Ed25519PublicKey.from_public_bytes(point[-ED25519_POINT:])
        return remote_key(
            edwards,
            lambda m: _tried(place, lambda: private.sign(m, mechanism=pkcs11.Mechanism.EDDSA)),
            where=place.text,
        )
    curve = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point[-65:])
    return remote_key(
        curve,
        lambda m: _tried(
            place, lambda: private.sign(hashlib.sha256(m).digest(), mechanism=pkcs11.Mechanism.ECDSA)
        ),
        where=place.text,
    )  # fmt: skip


def _find(place: HsmUri, kind: Any) -> Any:
    """The one object of this kind; the session stays open for the life of the process."""
    import pkcs11

    session = _session(place, os.getpid())
    wanted = {pkcs11.Attribute.CLASS: kind}
    if place.object is not None:
        wanted[pkcs11.Attribute.LABEL] = place.object
    if place.id is not None:
        wanted[pkcs11.Attribute.ID] = place.id
    found = list(session.get_objects(wanted))
    if len(found) != 1:
        raise KeySourceError(f"{place.text}: expected one {kind.name.lower().replace('_', ' ')}, found {len(found)}")
    return found[0]


def _session(place: HsmUri, process: int) -> Any:
    return _open_session(str(place.module), place.token, place.pin_file, process)


@cache
def _open_session(module: str, token: str, pin_file: Path | None, process: int) -> Any:
    """One session for each token and process: a second login in one process is an error in PKCS #11."""
    import pkcs11

    pin = read_private_file(pin_file).decode().strip() if pin_file else None
    return pkcs11.lib(module).get_token(token_label=token).open(user_pin=pin)


def _tried(place: HsmUri, act: Callable[[], Made]) -> Made:
    try:
        import pkcs11
    except ImportError as error:
        raise KeySourceError(f"{place.text}: needs one more package: pip install 'vasari[hsm]' ({error})") from error
    try:
        with _lock:
            return act()
    except (pkcs11.PKCS11Error, RuntimeError, ValueError) as error:
        said = f"{type(error).__name__}{f': {error}' if str(error) else ''}"
        raise KeySourceError(f"{place.text}: the module answers {said}") from error


def _attributes(text: str, separator: str, known: set[str], uri: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in filter(None, text.split(separator)):
        name, equals, value = part.partition("=")
        if name == "pin-value":
            raise KeySourceError("a PIN does not belong into a URI; name a file with pin-source=file:PATH")
        if name not in known or not equals or name in found:
            raise KeySourceError(f"{uri!r:.200}: attribute {name!r:.40} is not known, doubled or without a value")
        found[name] = unquote(value, encoding="latin-1" if name == "id" else "utf-8")
    return found
