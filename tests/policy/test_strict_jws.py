"""Tokens are read strictly: one form, one algorithm, nothing unknown, and a second verifier agrees."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import OctKey
from jwt.algorithms import OKPAlgorithm

from policy import strict_jws
from policy.canonical import b64url, canonical_json
from policy.errors import TokenError
from policy.keys import public_jwk, thumbprint

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
KEYS = {thumbprint(KEY): KEY.public_key()}
TYP = "consent+jwt"
NOW = datetime.fromtimestamp(1_000_000, UTC)
CLAIMS: dict[str, Any] = {
    "iss": "urn:r", "aud": "urn:g", "jti": "one", "iat": 999_000, "nbf": 999_000, "exp": 1_000_100,
}  # fmt: skip
TOKEN = strict_jws.sign(CLAIMS, typ=TYP, key=KEY)

second_verifier = jwt.PyJWT()
second_verifier._jws = jwt.PyJWS()  # type: ignore[attr-defined]
second_verifier._jws.register_algorithm("Ed25519", OKPAlgorithm())  # type: ignore[attr-defined]


def accepts(token: str) -> bool:
    try:
        verified = strict_jws.verify(token, typ=TYP, keys=KEYS)
    except TokenError:
        return False
    return not strict_jws.time_faults(verified.claims, iss="urn:r", aud="urn:g", now=NOW)


def second_accepts(token: str) -> bool:
    """PyJWT, told all it has to be told."""
    try:
        header = jwt.get_unverified_header(token)
        if header.get("typ") != TYP or header.get("kid") not in KEYS:
            return False
        second_verifier.decode(
            token,
            KEY.public_key(),
            algorithms=["Ed25519"],
            audience="urn:g",
            issuer="urn:r",
            options={
                "require": ["exp", "nbf", "iat", "jti", "aud", "iss"],
                "verify_exp": False, "verify_nbf": False, "verify_iat": False,
            },
        )  # fmt: skip
    except jwt.InvalidTokenError:
        return False
    return True


def token_of(header: bytes | dict[str, Any], claims: bytes | dict[str, Any], key: Ed25519PrivateKey = KEY) -> str:
    """A token with any header and claims, correctly signed."""
    parts = [part if isinstance(part, bytes) else canonical_json(part) for part in (header, claims)]
    signed = ".".join(b64url(part) for part in parts)
    return f"{signed}.{b64url(key.sign(signed.encode()))}"


HEADER = {"alg": "Ed25519", "typ": TYP, "kid": thumbprint(KEY)}


def test_a_good_token_is_accepted_by_both_verifiers() -> None:
    assert accepts(TOKEN)
    assert second_accepts(TOKEN)


@pytest.mark.parametrize(
    ("token", "code"),
    [
        ("", "missing"),
        ("a.b", "malformed"),
        (TOKEN + ".x", "malformed"),
        (TOKEN.rpartition(".")[0], "malformed"),
        (f"{TOKEN.rpartition('.')[0]}.{b64url(bytes(63))}", "bad_signature"),
        (TOKEN + "=", "malformed"),
        (TOKEN[:-1] + chr(ord(TOKEN[-1]) + 1), "malformed"),
        (TOKEN.replace(".", "\n.", 1), "malformed"),
        (TOKEN + "A" * 9000, "too_large"),
        (TOKEN.rpartition(".")[0] + ".", "bad_signature"),
        (token_of({**HEADER, "alg": "none"}, CLAIMS), "wrong_algorithm"),
        (token_of({**HEADER, "alg": "EdDSA"}, CLAIMS), "wrong_algorithm"),
        (token_of({**HEADER, "alg": "HS256"}, CLAIMS), "wrong_algorithm"),
        (token_of({**HEADER, "alg": ["Ed25519"]}, CLAIMS), "wrong_algorithm"),
        (token_of({**HEADER, "typ": "JWT"}, CLAIMS), "wrong_type"),
        (token_of({**HEADER, "typ": "accreditation+jwt"}, CLAIMS), "wrong_type"),
        (token_of({**HEADER, "typ": "application/consent+jwt"}, CLAIMS), "wrong_type"),
        (token_of({**HEADER, "kid": "who"}, CLAIMS), "unknown_key"),
        (token_of({**HEADER, "kid": None}, CLAIMS), "unknown_key"),
        (token_of({**HEADER, "jwk": public_jwk(OTHER_KEY.public_key())}, CLAIMS, OTHER_KEY), "bad_header"),
        (token_of({**HEADER, "jku": "https://keys.example"}, CLAIMS), "bad_header"),
        (token_of({**HEADER, "x5u": "https://keys.example"}, CLAIMS), "bad_header"),
        (token_of({**HEADER, "x5c": []}, CLAIMS), "bad_header"),
        (token_of({**HEADER, "crit": ["b64"], "b64": False}, CLAIMS), "bad_header"),
        (token_of({**HEADER, "cty": "x"}, CLAIMS), "bad_header"),
        (token_of({"alg": "Ed25519", "kid": thumbprint(KEY)}, CLAIMS), "bad_header"),
        (token_of(canonical_json(HEADER)[:-1] + b',"typ":"consent+jwt"}', CLAIMS), "malformed"),
        (token_of(HEADER, canonical_json(CLAIMS)[:-1] + b',"exp":2000000}'), "malformed"),
        (token_of(HEADER, b'{"exp":NaN}'), "malformed"),
        (token_of(HEADER, b'{"exp":1e999}'), "malformed"),
        (token_of(HEADER, b"[]"), "malformed"),
        (token_of(HEADER, b"\xff"), "malformed"),
        (token_of(HEADER, b"[" * 3000), "malformed"),
        (token_of(HEADER, CLAIMS, OTHER_KEY), "bad_signature"),
        (token_of(HEADER, {**CLAIMS, "exp": 1_000_100.5}), "bad_claims"),
        (token_of(HEADER, {**CLAIMS, "exp": True}), "bad_claims"),
        (token_of(HEADER, {**CLAIMS, "exp": "1000100"}), "bad_claims"),
        (token_of(HEADER, {**CLAIMS, "exp": 1 << 60}), "bad_claims"),
        (token_of(HEADER, {**CLAIMS, "aud": ["urn:g"]}), "bad_claims"),
        *[(token_of(HEADER, {k: v for k, v in CLAIMS.items() if k != name}), "bad_claims") for name in CLAIMS],
    ],
)  # fmt: skip
def test_everything_but_the_one_form_is_refused(token: str, code: str) -> None:
    with pytest.raises(TokenError) as caught:
        strict_jws.verify(token, typ=TYP, keys=KEYS)
    assert caught.value.code == code


def test_a_symmetric_token_signed_with_the_public_key_is_refused() -> None:
    secret = OctKey.import_key(KEY.public_key().public_bytes_raw())
    token = jws.serialize_compact({**HEADER, "alg": "HS256"}, canonical_json(CLAIMS), secret, algorithms=["HS256"])
    with pytest.raises(TokenError, match="wrong_algorithm"):
        strict_jws.verify(token, typ=TYP, keys=KEYS)


@pytest.mark.parametrize(
    ("changed", "codes"),
    [
        ({"exp": 1_000_000}, ["expired"]),
        ({"nbf": 1_000_001}, ["not_yet_valid"]),
        ({"iat": 1_000_031}, ["issued_in_future"]),
        ({"iss": "urn:r2"}, ["other_issuer"]),
        ({"aud": "urn:g2"}, ["other_gate"]),
        ({"exp": 1, "iss": "x", "aud": "y"}, ["other_issuer", "other_gate", "expired"]),
    ],
)
def test_every_fault_of_time_and_place_is_named(changed: dict[str, Any], codes: list[str]) -> None:
    verified = strict_jws.verify(token_of(HEADER, {**CLAIMS, **changed}), typ=TYP, keys=KEYS)
    faults = strict_jws.time_faults(verified.claims, iss="urn:r", aud="urn:g", now=NOW)
    assert [fault.code for fault in faults] == codes


def test_five_thousand_mutated_tokens_never_verify() -> None:
    """Characters replaced, inserted, removed, parts swapped and cut; the second verifier agrees on a sample."""
    chance = random.Random(6)
    for count in range(5000):
        mutated = mutate(TOKEN, chance)
        assert not accepts(mutated), mutated
        if count % 10 == 0:
            assert not second_accepts(mutated), mutated


def mutate(token: str, chance: random.Random) -> str:
    """A different string made of `token`; never one that only adds padding, which PyJWT forgives."""
    while True:
        at, size = chance.randrange(len(token)), chance.randint(1, 3)
        text = "".join(chance.choices("ABCxyz019-_.+/ \n\x00é", k=size))
        mutated = chance.choice(
            (
                token[:at] + text + token[at + size :],
                token[:at] + text + token[at:],
                token[:at] + token[at + size :],
                token[at:] + token[:at],
                token[:at],
            )
        )
        if mutated != token:
            return mutated


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from([*CLAIMS, "x"]),
        st.one_of(
            st.integers(-5, 2_000_000),
            st.text(max_size=8),
            st.booleans(),
            st.none(),
            st.floats(allow_nan=False, allow_infinity=False),
        ),
    ),
    st.sampled_from(["Ed25519", "EdDSA", "none", "HS256"]),
    st.sampled_from([TYP, "JWT", "dpop+jwt"]),
)
def test_what_the_strict_verifier_accepts_the_second_accepts_too(changed: dict[str, Any], alg: str, typ: str) -> None:
    token = token_of({**HEADER, "alg": alg, "typ": typ}, {**CLAIMS, **changed})
    if accepts(token):
        assert second_accepts(token)
    if (alg, typ) != ("Ed25519", TYP):
        assert not accepts(token)


def test_tokens_are_deterministic_json_without_spaces() -> None:
    header, claims, _ = TOKEN.split(".")
    assert json.loads(b64_text(header)) == HEADER
    assert b64_text(claims) == canonical_json(CLAIMS).decode()


def b64_text(part: str) -> str:
    return strict_jws.b64url_decode(part).decode()
