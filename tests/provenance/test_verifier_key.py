"""A log's verifier key is read back as it was written, and refused when any part of it was changed."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from provenance import ProofError, format_log_key, parse_log_key
from provenance.signed_note import key_id

ORIGIN = "example.org/log"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32))).public_key()
LINE = format_log_key(ORIGIN, KEY)


def test_name_and_key_come_back() -> None:
    origin, key = parse_log_key(f"{LINE}\n")
    assert (origin, key.public_bytes_raw()) == (ORIGIN, KEY.public_bytes_raw())


def test_the_hash_is_the_key_id_of_signed_notes() -> None:
    assert LINE.split("+")[1] == key_id(ORIGIN, KEY).hex()


@pytest.mark.parametrize(
    ("damaged", "fault"),
    [
        ("", "name\\+hash\\+base64"),
        (LINE.replace("example", "evil"), "does not belong"),
        (LINE.replace(LINE.split("+")[1], "00000000"), "does not belong"),
        (LINE[:-4], "no Ed25519 key"),
        (LINE + "!", "base64"),
        ("+" + LINE.split("+", 1)[1], "key name"),
    ],
    ids=["empty", "other name", "other hash", "short key", "no base64", "no name"],
)
def test_a_changed_line_is_refused_with_its_fault(damaged: str, fault: str) -> None:
    with pytest.raises(ProofError, match=fault):
        parse_log_key(damaged)
