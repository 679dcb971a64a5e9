"""Two bits per token; a list that is stale, of someone else, or hostile is no list."""

from __future__ import annotations

import zlib
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from policy import strict_jws
from policy.canonical import b64url
from policy.errors import TokenError
from policy.keys import thumbprint
from policy.status_list import StatusList, TokenStatus, pack, sign_status_list, verify_status_list

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEYS = {thumbprint(KEY): KEY.public_key()}
NOW = datetime(2026, 11, 22, tzinfo=UTC)
URI, ISSUER = "urn:r/status/1", "urn:r"


def signed(entries: bytes = pack({})) -> str:
    return sign_status_list(entries, uri=URI, issuer=ISSUER, key=KEY, now=NOW)


def read(token: str) -> StatusList:
    return verify_status_list(token, uri=URI, issuer=ISSUER, keys=KEYS)


def with_stream(stream: str) -> str:
    claims = {
        "iss": ISSUER, "sub": URI, "iat": 1, "exp": 9, "ttl": 5,
        "status_list": {"bits": 2, "lst": stream},
    }  # fmt: skip
    return strict_jws.sign(claims, typ="statuslist+jwt", key=KEY)


def test_the_bits_lie_where_the_specification_puts_them() -> None:
    """draft-ietf-oauth-status-list section 4: least significant bits first, here entries 0, 1, 5."""
    packed = pack({0: TokenStatus.INVALID, 1: TokenStatus.SUSPENDED, 5: TokenStatus.INVALID}, entries=8)
    assert packed == bytes([0b1001, 0b0100])


@settings(deadline=None)
@given(st.dictionaries(st.integers(0, 999), st.sampled_from(TokenStatus)))
def test_every_status_reads_back(statuses: dict[int, TokenStatus]) -> None:
    listed = read(signed(pack(statuses, entries=1000)))
    assert all(listed[index] is statuses.get(index, TokenStatus.VALID) for index in range(1000))


def test_an_entry_outside_the_list_is_an_error() -> None:
    listed = read(signed(pack({}, entries=8)))
    for index in (8, -1, 1 << 40):
        with pytest.raises(IndexError):
            listed[index]


def test_a_list_past_its_time_to_live_or_from_the_future_is_not_fresh() -> None:
    listed = read(signed())
    assert listed.is_fresh(NOW)
    assert listed.is_fresh(NOW + timedelta(seconds=59))
    assert not listed.is_fresh(NOW + timedelta(seconds=60))
    assert not listed.is_fresh(NOW - timedelta(minutes=5))


def test_a_list_of_another_issuer_or_place_is_refused() -> None:
    for uri, issuer in ((URI + "2", ISSUER), (URI, "urn:x")):
        with pytest.raises(TokenError, match="other_list"):
            verify_status_list(signed(), uri=uri, issuer=issuer, keys=KEYS)


@pytest.mark.parametrize(
    "stream",
    [
        b64url(zlib.compress(bytes(64 << 20), 9)),
        b64url(zlib.compress(bytes(100))[:-6]),
        b64url(zlib.compress(bytes(100)) + b"more"),
        b64url(b"not zlib"),
        "????",
        "",
    ],
    ids=["bomb", "broken off", "trailing bytes", "not zlib", "not base64", "empty"],
)
def test_a_hostile_stream_is_refused_in_bounded_memory(stream: str) -> None:
    with pytest.raises(TokenError):
        read(with_stream(stream[:7000] if len(stream) > 7000 else stream))


def test_a_small_bomb_is_stopped_at_the_cap() -> None:
    bomb = b64url(zlib.compress(bytes(3 << 20), 9))
    assert len(bomb) < 7000
    with pytest.raises(TokenError, match="longer than"):
        read(with_stream(bomb))
