"""Status of tokens, two bits each, in a signed list (draft-ietf-oauth-status-list-21).

Entry `idx` is the pair of bits at `2 * (idx & 3)` of byte `idx >> 2`, least significant first:
0 valid, 1 invalid (withdrawn for good), 2 suspended. The list is zlib-compressed and signed by the
issuer of the tokens; a list past its time to live is no list, and the gate refuses.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Annotated, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import Field

from policy import strict_jws
from policy.canonical import b64url, b64url_decode
from policy.claims import Identifier, Seconds, Strict, parse_claims
from policy.errors import TokenError

STATUS_LIST_TYPE = "statuslist+jwt"
LIST_ENTRIES = 1 << 16
MAX_LIST_BYTES = 1 << 20
MAX_TOKEN_BYTES = 1 << 20
TIME_TO_LIVE = timedelta(seconds=60)
"""Longest time a withdrawal may take to reach a gate that is not pushed to."""


class TokenStatus(IntEnum):
    """The two-bit value of an entry; 3 is not assigned and never valid."""

    VALID = 0
    INVALID = 1
    SUSPENDED = 2
    UNASSIGNED = 3


class StatusBits(Strict):
    """The `status_list` claim: bits per entry and the base64url zlib stream."""

    bits: Literal[2]
    lst: str


class StatusListClaims(Strict):
    """All claims of a status list token; `sub` is the URI that tokens refer to, `ttl` in seconds."""

    iss: Identifier
    sub: Identifier
    iat: Seconds
    exp: Seconds
    ttl: Annotated[int, Field(ge=1, le=86_400)]
    status_list: StatusBits


@dataclass(frozen=True)
class StatusList:
    """Unpacked list; `entries` holds four entries per byte."""

    uri: str
    issued_at: int
    expires_at: int
    entries: bytes

    def __getitem__(self, index: int) -> TokenStatus:
        """Status of one entry; raises IndexError outside the list."""
        if not 0 <= index < 4 * len(self.entries):
            raise IndexError(f"status list {self.uri} has no entry {index}")
        return TokenStatus(self.entries[index >> 2] >> 2 * (index & 3) & 3)

    def is_fresh(self, now: datetime) -> bool:
        """False once the list may not be relied on any more, and while it lies in the future."""
        clock = int(now.timestamp())
        return self.issued_at - strict_jws.CLOCK_LEEWAY_S <= clock < self.expires_at


def pack(statuses: Mapping[int, TokenStatus], entries: int = LIST_ENTRIES) -> bytes:
    """Bytes of a list of `entries` entries, all valid but those given."""
    packed = bytearray(-(-entries // 4))
    for index, status in statuses.items():
        packed[index >> 2] |= int(status) << 2 * (index & 3)
    return bytes(packed)


def sign_status_list(
    entries: bytes,
    *,
    uri: str,
    issuer: str,
    key: Ed25519PrivateKey,
    now: datetime,
    time_to_live: timedelta = TIME_TO_LIVE,
) -> str:
    """Sign a packed list; it expires after `time_to_live`."""
    clock, ttl = int(now.timestamp()), int(time_to_live.total_seconds())
    claims = StatusListClaims(
        iss=issuer,
        sub=uri,
        iat=clock,
        exp=clock + ttl,
        ttl=ttl,
        status_list=StatusBits(bits=2, lst=b64url(zlib.compress(entries, 9))),
    )
    return strict_jws.sign(claims.model_dump(), typ=STATUS_LIST_TYPE, key=key)


def verify_status_list(token: str, *, uri: str, issuer: str, keys: Mapping[str, Ed25519PublicKey]) -> StatusList:
    """Check and unpack a list; raises TokenError. Freshness is asked with `is_fresh`."""
    verified = strict_jws.verify(
        token,
        typ=STATUS_LIST_TYPE,
        keys=keys,
        required={"iss": str, "sub": str, "iat": int, "exp": int, "ttl": int},
        max_bytes=MAX_TOKEN_BYTES,
    )
    claims = parse_claims(StatusListClaims, verified.claims)
    if not strict_jws.same(claims.sub, uri) or not strict_jws.same(claims.iss, issuer):
        raise TokenError("other_list", f"this is list {claims.sub!r:.80} of {claims.iss!r:.80}, expected {uri!r}")
    expires_at = min(claims.exp, claims.iat + claims.ttl)
    return StatusList(uri, claims.iat, expires_at, _inflate(claims.status_list.lst))


def _inflate(text: str) -> bytes:
    """Unpack at most MAX_LIST_BYTES; a longer, broken or unfinished stream raises TokenError."""
    stream = zlib.decompressobj()
    try:
        entries = stream.decompress(b64url_decode(text), MAX_LIST_BYTES)
    except (ValueError, zlib.error) as error:
        raise TokenError("malformed", "the status list is not a zlib stream in base64url") from error
    if not stream.eof or stream.unused_data:
        raise TokenError("malformed", f"the status list is longer than {MAX_LIST_BYTES} bytes or broken off")
    return entries
