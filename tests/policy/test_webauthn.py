"""The depicted person's signature: what a browser signs is taken, and everything else is named and refused."""

from __future__ import annotations

import hashlib
import json
import stat
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from policy.canonical import b64url, b64url_decode
from policy.errors import KeyFileError, TokenError
from policy.subject_device import SoftwareAuthenticator, assertion_of
from policy.webauthn import (
    Assertion,
    RelyingParty,
    authenticator_data,
    decode_subject_key,
    encode_subject_key,
    verify_assertion,
)

KEY = ec.generate_private_key(ec.SECP256R1())
PARTY = RelyingParty(id="registry.example", origins=["https://registry.example"])
CHALLENGE = bytes(range(32))
CLIENT: dict[str, Any] = {
    "type": "webauthn.get", "challenge": b64url(CHALLENGE), "origin": "https://registry.example", "crossOrigin": False,
}  # fmt: skip


def made(*, flags: int = 0x05, rp_id: str = PARTY.id, extra: bytes = b"", **client: Any) -> Assertion:
    """An assertion with changed client data; a member is left out when its value is `...`."""
    members = {name: value for name, value in {**CLIENT, **client}.items() if value is not ...}
    data = authenticator_data(rp_id=rp_id, flags=flags, sign_count=7) + extra
    return assertion_of(KEY, credential_id="A" * 22, client=members, data=data) if not extra else long(data, members)


def long(data: bytes, members: dict[str, Any]) -> Assertion:
    """An assertion whose authenticator data has another length than the form allows."""
    return Assertion.model_construct(
        credential_id="A" * 22, authenticator_data=b64url(data), client_data=b64url(json.dumps(members).encode()),
        signature="A" * 90,
    )  # fmt: skip


def check(assertion: Assertion, **changes: Any) -> int:
    arguments = {"key": KEY.public_key(), "challenge": CHALLENGE, "party": PARTY, **changes}
    return verify_assertion(assertion, **arguments).sign_count


def test_what_an_authenticator_signs_is_taken() -> None:
    assert check(made()) == 7
    assert check(made(crossOrigin=...)) == 7
    assert check(made(other_keys_can_be_added_here="do not compare against a template")) == 7
    assert check(made(flags=0x1D)) == 7


def test_an_ed25519_authenticator_is_taken() -> None:
    key = Ed25519PrivateKey.generate()
    data, client = authenticator_data(rp_id=PARTY.id, flags=5, sign_count=0), json.dumps(CLIENT).encode()
    signature = key.sign(data + hashlib.sha256(client).digest())
    assertion = Assertion(
        credential_id="A" * 22, authenticator_data=b64url(data), client_data=b64url(client), signature=b64url(signature)
    )
    assert check(assertion, key=decode_subject_key(encode_subject_key(key.public_key()))) == 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"type": "webauthn.create"}, "of type"),
        ({"type": ...}, "of type"),
        ({"challenge": b64url(bytes(32))}, "another statement"),
        ({"challenge": ...}, "another statement"),
        ({"challenge": 5}, "another statement"),
        ({"origin": "https://registry.example.evil"}, "asked for by"),
        ({"origin": "http://registry.example"}, "asked for by"),
        ({"origin": ...}, "asked for by"),
        ({"crossOrigin": True}, "someone else"),
        ({"crossOrigin": 0}, "someone else"),
        ({"rp_id": "evil.example"}, "another site"),
        ({"flags": 0x01}, "present and verified"),
        ({"flags": 0x04}, "present and verified"),
        ({"flags": 0x45}, "extensions or attested"),
        ({"flags": 0x85}, "extensions or attested"),
        ({"flags": 0x15}, "backup flags"),
        ({"extra": b"\xa0"}, "38 bytes"),
    ],
)
def test_anything_else_is_refused_by_name(changes: dict[str, Any], words: str) -> None:
    if changes.get("crossOrigin") == 0:  # JSON 0 is not false
        changes = {"crossOrigin": 0}
    with pytest.raises(TokenError, match=words):
        check(made(**changes))


def test_every_flipped_bit_is_refused() -> None:
    good = made()
    for name in ("authenticator_data", "client_data", "signature"):
        raw = b64url_decode(getattr(good, name))
        for bit in range(0, 8 * len(raw), 7):
            changed = bytearray(raw)
            changed[bit // 8] ^= 1 << bit % 8
            with pytest.raises(TokenError):
                check(Assertion.model_construct(**{**good.model_dump(), name: b64url(bytes(changed))}))


def test_another_key_and_an_ambiguous_member_are_refused() -> None:
    with pytest.raises(TokenError, match="does not fit"):
        check(made(), key=ec.generate_private_key(ec.SECP256R1()).public_key())
    good = made()
    doubled = b64url_decode(good.client_data)[:-1] + b',"type":"webauthn.get"}'
    with pytest.raises(TokenError, match="given twice"):
        check(Assertion.model_construct(**{**good.model_dump(), "client_data": b64url(doubled)}))


@pytest.mark.parametrize(
    "key", [ec.generate_private_key(ec.SECP384R1()).public_key(), ec.generate_private_key(ec.SECP256K1()).public_key()]
)
def test_keys_of_other_curves_are_refused(key: ec.EllipticCurvePublicKey) -> None:
    with pytest.raises(TokenError, match="neither P-256 nor Ed25519"):
        decode_subject_key(encode_subject_key(key))


@pytest.mark.parametrize("text", ["", "AAAA", "!!", encode_subject_key(KEY.public_key()) + "AA"])
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(TokenError):
        decode_subject_key(text)


def test_a_software_authenticator_keeps_its_key_and_its_counter(tmp_path: Path) -> None:
    path = tmp_path / "subject.json"
    device = SoftwareAuthenticator.create(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert check(device.sign(CHALLENGE, PARTY), key=decode_subject_key(device.credential.public_key)) == 1
    again = SoftwareAuthenticator.open(path)
    assert again.credential == device.credential
    assert check(again.sign(CHALLENGE, PARTY), key=decode_subject_key(device.credential.public_key)) == 2
    with pytest.raises(KeyFileError, match="exists"):
        SoftwareAuthenticator.create(path)
    path.write_bytes(b'{"kind":"other"}')
    with pytest.raises(KeyFileError, match="software authenticator"):
        SoftwareAuthenticator.open(path)
