"""The depicted person's own signature: a WebAuthn assertion whose challenge is the hash of what they were shown.

Level 2, section 7.2 (Verifying an Authentication Assertion), for the two algorithms that authenticators
make most: ES256 (P-256, DER) and EdDSA (Ed25519). The key is kept as SubjectPublicKeyInfo, which is what
a browser's `getPublicKey()` returns, so no CBOR is read here. User presence and user verification are
both required; extensions and attested data don't belong in an assertion and are refused. Members of the
client data that are not known are passed over, as section 5.8.1 asks of every verifier.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Literal

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import Field, StringConstraints

from policy.canonical import b64url, b64url_decode, strict_json_object
from policy.claims import Strict
from policy.errors import TokenError
from policy.strict_jws import same

SubjectKey = Ed25519PublicKey | ec.EllipticCurvePublicKey

USER_PRESENT, USER_VERIFIED = 0x01, 0x04
BACKUP_ELIGIBLE, BACKED_UP = 0x08, 0x10
ALLOWED_FLAGS = USER_PRESENT | USER_VERIFIED | BACKUP_ELIGIBLE | BACKED_UP
AUTHENTICATOR_DATA_BYTES = 37
MAX_CLIENT_DATA_BYTES = 1024


class RelyingParty(Strict):
    """Where signatures are asked for: the domain that scopes the credentials, and the pages that may ask."""

    id: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9.-]{0,250}[a-z0-9])?$")]
    origins: Annotated[
        list[Annotated[str, StringConstraints(pattern=r"^https?://[!-~]{1,250}$")]], Field(min_length=1, max_length=8)
    ]


class Assertion(Strict):
    """`navigator.credentials.get()`'s answer, each part in base64url."""

    credential_id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{16,1364}$")]
    authenticator_data: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{50}$")]
    client_data: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,1366}$")]
    signature: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{80,108}$")]


@dataclass(frozen=True)
class CheckedAssertion:
    """An assertion that holds. `sign_count` is the authenticator's counter, 0 where it keeps none."""

    sign_count: int


def encode_subject_key(key: SubjectKey) -> str:
    """base64url of the SubjectPublicKeyInfo."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return b64url(key.public_bytes(serialization.Encoding.DER, form))


@lru_cache(maxsize=256)
def decode_subject_key(text: str) -> SubjectKey:
    """A key in its one DER form; any other algorithm, curve or encoding raises TokenError."""
    try:
        key = serialization.load_der_public_key(b64url_decode(text))
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise TokenError("bad_subject_key", "the depicted person's key is no public key") from error
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        found: SubjectKey = key
    elif isinstance(key, Ed25519PublicKey):
        found = key
    else:
        raise TokenError("bad_subject_key", "the depicted person's key is neither P-256 nor Ed25519")
    if encode_subject_key(found) != text:
        raise TokenError("bad_subject_key", "the depicted person's key is not in its canonical form")
    return found


def verify_assertion(
    assertion: Assertion, *, key: SubjectKey, challenge: bytes, party: RelyingParty
) -> CheckedAssertion:
    """Check an assertion over `challenge`; raises TokenError `bad_assertion` with the first thing wrong."""
    try:
        data, client, signature = (
            b64url_decode(part) for part in (assertion.authenticator_data, assertion.client_data, assertion.signature)
        )
    except ValueError as error:
        raise _wrong(str(error)) from error
    _check_client_data(client, challenge=challenge, origins=party.origins)
    count = _check_authenticator_data(data, rp_id=party.id)
    signed = data + hashlib.sha256(client).digest()
    try:
        if isinstance(key, Ed25519PublicKey):
            key.verify(signature, signed)
        else:
            key.verify(signature, signed, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature as error:
        raise _wrong("its signature does not fit the statement") from error
    return CheckedAssertion(sign_count=count)


def authenticator_data(*, rp_id: str, flags: int, sign_count: int) -> bytes:
    """rpIdHash (32) | flags (1) | signCount (4, big-endian): section 6.1 without extensions."""
    return hashlib.sha256(rp_id.encode("ascii")).digest() + struct.pack(">BI", flags, sign_count)


def _check_client_data(client: bytes, *, challenge: bytes, origins: Sequence[str]) -> None:
    if len(client) > MAX_CLIENT_DATA_BYTES:
        raise _wrong(f"its client data has {len(client)} bytes, at most {MAX_CLIENT_DATA_BYTES} are read")
    try:
        members = strict_json_object(client)
    except ValueError as error:
        raise _wrong(f"its client data is not one JSON object: {error}") from error
    kind: Literal["webauthn.get"] = "webauthn.get"
    if members.get("type") != kind:
        raise _wrong(f"it is of type {members.get('type')!r:.40}, expected {kind!r}")
    given = members.get("challenge")
    if not isinstance(given, str) or not same(given, b64url(challenge)):
        raise _wrong("it was made for another statement")
    if members.get("origin") not in origins:
        raise _wrong(f"it was asked for by {members.get('origin')!r:.80}, expected {', '.join(origins)}")
    if members.get("crossOrigin", False) is not False:
        raise _wrong("it was asked for from inside a page of someone else")


def _check_authenticator_data(data: bytes, *, rp_id: str) -> int:
    if len(data) != AUTHENTICATOR_DATA_BYTES:
        raise _wrong(f"its authenticator data has {len(data)} bytes, expected {AUTHENTICATOR_DATA_BYTES}")
    flags, count = struct.unpack(">BI", data[32:])
    if data[:32] != hashlib.sha256(rp_id.encode("ascii")).digest():
        raise _wrong(f"it was made for another site than {rp_id}")
    if not flags & USER_PRESENT or not flags & USER_VERIFIED:
        raise _wrong("the person was not both present and verified (PIN, finger or face) when it was made")
    if flags & ~ALLOWED_FLAGS:
        raise _wrong("its authenticator data claims extensions or attested data, which don't belong there")
    if flags & BACKED_UP and not flags & BACKUP_ELIGIBLE:
        raise _wrong("its backup flags contradict each other")
    return int(count)


def _wrong(fact: str) -> TokenError:
    return TokenError("bad_assertion", f"the depicted person's signature is not good: {fact}")
