"""The unsigned header of a signature holds nothing but what belongs there."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provenance.claim_signature import check_unsigned_header
from provenance.jumbf import check_store_layout

PROTECTED = b"\x43\xa1\x01\x26"  # {1: -7}
SIGNATURE = b"\x44\x01\x02\x03\x04"
PAD = b"\x63pad"
NOTHING, FALSE, NUMBER = b"\xf6", b"\xf4", b"\x07"


def cose(header: bytes, *, payload: bytes = NOTHING, tag: bytes = b"\xd2", rest: bytes = b"") -> bytes:
    return tag + b"\x84" + PROTECTED + header + payload + SIGNATURE + rest


def test_an_empty_or_zero_padded_header_hides_nothing() -> None:
    assert check_unsigned_header(cose(b"\xa0")) is None
    assert check_unsigned_header(cose(b"\xa1" + PAD + b"\x43\0\0\0")) is None
    assert check_unsigned_header(cose(b"\xa0", payload=b"\x40", rest=bytes(8))) is None


@pytest.mark.parametrize(
    ("signature", "reason"),
    [
        (cose(b"\xa1" + PAD + b"\x43\0\1\0"), "padding"),
        (cose(b"\xa1" + PAD + b"\x63abc"), "padding"),
        (cose(b"\xa1\x66secret\x41\0"), "secret"),
        (cose(b"\xa0", payload=b"\x43abc"), "payload"),
        (cose(b"\xa0", payload=NUMBER), "payload"),
        (cose(b"\xa0", payload=FALSE), "payload"),
        (cose(b"\xa0", rest=b"\1"), "follow"),
        (cose(b"\xa2" + PAD + b"\x40" + PAD + b"\x40"), "twice"),
        (cose(b"\xa0", tag=b"\xd1"), "tag"),
        (cose(b"\x80"), "COSE_Sign1"),
        (b"\xd2\xa0", "COSE_Sign1"),
        (b"", "early"),
        (b"\xd2\x84\x5f", "indefinite"),
        (b"\xd2" + b"\x81" * 40 + b"\0", "deeply"),
        (b"\xd2\x9b" + b"\xff" * 8, "early"),
    ],
)
def test_whatever_else_it_holds_is_named(signature: bytes, reason: str) -> None:
    found = check_unsigned_header(signature)
    assert found is not None
    assert reason in found


@given(st.binary(max_size=80))
def test_arbitrary_bytes_are_a_finding_never_a_crash(content: bytes) -> None:
    assert check_unsigned_header(content) is not None
    assert check_store_layout(content) is not None
