"""Signed tokens, read strictly: JWS compact form, Ed25519 only, on top of joserfc.

joserfc's algorithm checks the signature, once the token was read here, in this order: size, three
canonical base64url parts, no duplicate JSON members, exactly the header members of the token's type,
exact `typ`, `alg` exactly Ed25519 (RFC 9864), known `kid`, signature, presence and type of the
claims. `time_faults` then names every fault of issuer, audience and time; the clock is an argument.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from joserfc import jws
from joserfc.jwk import OKPKey

from policy.canonical import b64url, b64url_decode, canonical_json, strict_json_object, utf8
from policy.errors import TokenError
from policy.keys import key_from_jwk, public_jwk, thumbprint

MAX_TOKEN_BYTES = 8 * 1024
ALGORITHM = "Ed25519"
_ED25519 = jws.JWSRegistry.algorithms[ALGORITHM]
CLOCK_LEEWAY_S = 30
"""How far clocks of issuer and gate may differ; applied against early use only, never after `exp`."""

LIFETIME_CLAIMS: Mapping[str, type] = {
    "iss": str, "aud": str, "jti": str, "iat": int, "nbf": int, "exp": int,
}  # fmt: skip


@dataclass(frozen=True)
class VerifiedToken:
    """A token whose signature is good. Its time, issuer and audience are still to be judged."""

    claims: Mapping[str, Any]
    key: Ed25519PublicKey
    compact: str


@dataclass(frozen=True)
class TokenFault:
    """One thing wrong with a well-signed token. `code` is stable, e.g. `expired`."""

    code: str
    fact: str


def sign(
    claims: Mapping[str, object], *, typ: str, key: Ed25519PrivateKey, kid: str = "", embed_key: bool = False
) -> str:
    """Sign `claims`. `embed_key` puts the public key into the header (`dpop+jwt` only), else its `kid`."""
    if embed_key:
        header = b64url(canonical_json({"alg": ALGORITHM, "typ": typ, "jwk": public_jwk(key.public_key())}))
    else:
        header = _header(typ, kid or thumbprint(key))
    signed = f"{header}.{b64url(canonical_json(claims))}"
    token = f"{signed}.{b64url(key.sign(signed.encode('ascii')))}"  # by the key itself, wherever it lies
    if len(token) > MAX_TOKEN_BYTES:
        raise TokenError("too_large", f"the token would have {len(token)} bytes, at most {MAX_TOKEN_BYTES} go")
    return token


def verify(
    token: str,
    *,
    typ: str,
    keys: Mapping[str, Ed25519PublicKey],
    required: Mapping[str, type] = LIFETIME_CLAIMS,
    max_bytes: int = MAX_TOKEN_BYTES,
) -> VerifiedToken:
    """Check a token signed by one of `keys` (by `kid`); raises TokenError with the first thing wrong."""
    header, claims, signature = _parse(token, typ=typ, members={"alg", "typ", "kid"}, max_bytes=max_bytes)
    key = keys.get(header["kid"]) if isinstance(header["kid"], str) else None
    if key is None:
        raise TokenError("unknown_key", f"signed by a key that is not trusted here (kid {header['kid']!r:.60})")
    return _verified(token, claims, signature, key, required)


def verify_holder(token: str, *, typ: str, required: Mapping[str, type]) -> VerifiedToken:
    """Check a proof of possession: the one token type that carries its own key, as `jwk` in the header."""
    header, claims, signature = _parse(token, typ=typ, members={"alg", "typ", "jwk"}, max_bytes=MAX_TOKEN_BYTES)
    try:
        key = key_from_jwk(header["jwk"]) if isinstance(header["jwk"], dict) else None
    except ValueError as error:
        raise TokenError("bad_header", str(error)) from error
    if key is None:
        raise TokenError("bad_header", "header member jwk is not an object")
    return _verified(token, claims, signature, key, required)


def time_faults(claims: Mapping[str, Any], *, iss: str, aud: str, now: datetime) -> tuple[TokenFault, ...]:
    """Every fault of issuer, audience and time at once. Call on verified claims only."""
    clock = int(now.timestamp())
    texts = ((code, check(claims, iss, aud, clock)) for code, check in TIME_CHECKS.items())
    return tuple(TokenFault(code, text) for code, text in texts if text is not None)


def _other_issuer(claims: Mapping[str, Any], iss: str, aud: str, clock: int) -> str | None:
    return None if same(claims["iss"], iss) else f"issued by {claims['iss']!r:.80}, expected {iss!r}"


def _other_gate(claims: Mapping[str, Any], iss: str, aud: str, clock: int) -> str | None:
    return None if same(claims["aud"], aud) else f"made for {claims['aud']!r:.80}, this is {aud!r}"


def _expired(claims: Mapping[str, Any], iss: str, aud: str, clock: int) -> str | None:
    return None if clock < claims["exp"] else f"expired at {utc_text(claims['exp'])}, it is {utc_text(clock)}"


def _not_yet_valid(claims: Mapping[str, Any], iss: str, aud: str, clock: int) -> str | None:
    return None if clock >= claims["nbf"] else f"valid from {utc_text(claims['nbf'])}, it is {utc_text(clock)}"


def _issued_in_future(claims: Mapping[str, Any], iss: str, aud: str, clock: int) -> str | None:
    in_time = claims["iat"] <= clock + CLOCK_LEEWAY_S
    return None if in_time else f"issued at {utc_text(claims['iat'])}, it is {utc_text(clock)}"


TimeCheck = Callable[[Mapping[str, Any], str, str, int], str | None]
TIME_CHECKS: Mapping[str, TimeCheck] = {
    "other_issuer": _other_issuer,
    "other_gate": _other_gate,
    "expired": _expired,
    "not_yet_valid": _not_yet_valid,
    "issued_in_future": _issued_in_future,
}
"""Code of each fault -> (claims, issuer, audience, seconds since 1970) -> what is wrong, or None."""


def same(a: str, b: str) -> bool:
    """Constant-time comparison of two short strings."""
    return hmac.compare_digest(utf8(a), utf8(b))


@lru_cache(maxsize=256)
def _header(typ: str, kid: str) -> str:
    return b64url(canonical_json({"alg": ALGORITHM, "typ": typ, "kid": kid}))


@lru_cache(maxsize=256)
def _verifier(public: bytes) -> OKPKey:
    """A public key in joserfc's form; making it takes as long as a verification."""
    return OKPKey.import_key(public_jwk(Ed25519PublicKey.from_public_bytes(public)))


def _parse(token: str, *, typ: str, members: set[str], max_bytes: int) -> tuple[dict[str, Any], dict[str, Any], bytes]:
    """Header, claims and signature; of the signature only the form is checked."""
    if not isinstance(token, str) or not token:
        raise TokenError("missing", "no token was given")
    if len(token) > max_bytes:
        raise TokenError("too_large", f"{len(token)} bytes, at most {max_bytes} are read")
    parts = token.split(".")
    if len(parts) != 3:
        raise TokenError("malformed", f"expected three parts separated by dots, got {len(parts)}")
    try:
        header, claims, signature = (b64url_decode(part) for part in parts)
        header_members, claim_members = strict_json_object(header), strict_json_object(claims)
    except ValueError as error:
        raise TokenError("malformed", str(error)) from error
    if set(header_members) != members:
        unexpected = sorted(set(header_members) ^ members)
        raise TokenError(
            "bad_header", f"header must have exactly {sorted(members)}; not so: {', '.join(unexpected)[:120]}"
        )
    if header_members["typ"] != typ:
        raise TokenError("wrong_type", f"expected typ {typ!r}, got {header_members['typ']!r:.60}")
    if header_members["alg"] != ALGORITHM:
        raise TokenError("wrong_algorithm", f"expected alg {ALGORITHM!r}, got {header_members['alg']!r:.60}")
    return header_members, claim_members, signature


def _verified(
    token: str, claims: dict[str, Any], signature: bytes, key: Ed25519PublicKey, required: Mapping[str, type]
) -> VerifiedToken:
    signed = token[: token.rindex(".")].encode("ascii")
    if not _ED25519.verify(signed, signature, _verifier(key.public_bytes_raw())):
        raise TokenError("bad_signature", "the signature does not fit the token; it was changed")
    for name, kind in required.items():
        value = claims.get(name)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise TokenError("bad_claims", f"claim {name} must be there as {kind.__name__}")
        if isinstance(value, int) and not 0 <= value < 1 << 40:
            raise TokenError("bad_claims", f"claim {name} is not a time in seconds")
    return VerifiedToken(claims=claims, key=key, compact=token)


def utc_text(seconds: int) -> str:
    """A time of a token for people; times beyond the calendar stay seconds."""
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError, OSError):
        return f"{seconds} s"
