"""The consent token holds exactly what was agreed; anything unknown or of the wrong type is refused."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from policy import strict_jws
from policy.consent_token import PURPOSES, ConsentClaims, sign_consent, verify_consent
from policy.errors import TokenError
from policy.keys import thumbprint
from policy.subject_device import SoftwareAuthenticator
from policy.webauthn import RelyingParty

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEYS = {thumbprint(KEY): KEY.public_key()}
SUBJECT, PARTY = SoftwareAuthenticator.create(), RelyingParty(id="localhost", origins=["http://localhost"])
HASH, JKT = "ab" * 32, "A" * 43
COMMITMENT = {"method": "vasari-face-dct-1", "salt": JKT, "helper": "A" * 84, "sha256": HASH}
CLAIMS: dict[str, Any] = {
    "iss": "urn:r",
    "sub": f"pw:{JKT}",
    "aud": "urn:g",
    "iat": 1,
    "nbf": 1,
    "exp": 2,
    "jti": "one",
    "authorization_details": [
        {
            "type": "likeness_generation",
            "model": f"sha256:{HASH}",
            "purposes": ["detector-evaluation"],
            "portrait": {"sha256": HASH, "pixels_sha256": HASH, "face": None, "commitment": COMMITMENT},
            "audio": {"mode": "any", "sha256": [], "voice": "any"},
            "script": {"mode": "any", "sha256": [], "languages": []},
            "video": {"max_width": 512, "max_height": 512, "max_fps": 25, "max_seconds": 30},
            "total_seconds": 150,
            "uses": 5,
        }
    ],
    "cnf": {"jkt": JKT},
    "status": {"status_list": {"idx": 412, "uri": "urn:r/status/1"}},
    "evidence": {"record": f"sha256:{HASH}"},
    "delegation": {"max_depth": 0},
    "subject": {
        "adult": True,
        "language": "en",
        "notice": f"sha256:{HASH}",
        "nonce": JKT,
        "proposed_at": 1,
        "key": SUBJECT.credential.public_key,
        "assertion": SUBJECT.sign(bytes(32), PARTY).model_dump(),
    },
}


def changed(path: str, value: object) -> dict[str, Any]:
    """A copy of CLAIMS with one member set, or removed when the value is `...`."""
    claims: Any = copy.deepcopy(CLAIMS)
    *steps, last = path.split(".")
    place = claims
    for step in steps:
        place = place[int(step)] if step.isdigit() else place[step]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return dict(claims)


def test_a_signed_consent_reads_back_as_it_was() -> None:
    claims = ConsentClaims.model_validate(CLAIMS)
    token = sign_consent(claims, KEY)
    assert verify_consent(token, KEYS) == claims
    assert len(token) < 4096


VIDEO = "authorization_details.0.video"
DETAIL = "authorization_details.0"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (f"{VIDEO}.max_bitrate", 5),
        (f"{VIDEO}.max_seconds", 30.0),
        (f"{VIDEO}.max_seconds", "30"),
        (f"{VIDEO}.max_seconds", True),
        (f"{VIDEO}.max_seconds", -1),
        (f"{VIDEO}.max_seconds", ...),
        (f"{VIDEO}.max_fps", 1e2),
        (f"{DETAIL}.uses", 0),
        (f"{DETAIL}.uses", 1.5),
        (f"{DETAIL}.uses", ...),
        (f"{DETAIL}.total_seconds", ...),
        (f"{DETAIL}.purposes", []),
        (f"{DETAIL}.purposes", ["anything"]),
        (f"{DETAIL}.unlimited", True),
        (f"{DETAIL}.type", "voice_generation"),
        (f"{DETAIL}.model", HASH),
        (f"{DETAIL}.portrait.sha256", HASH.upper()),
        (f"{DETAIL}.portrait.pixels_sha256", ...),
        (f"{DETAIL}.portrait.commitment", ...),
        (f"{DETAIL}.portrait.commitment.helper", "A" * 83),
        (f"{DETAIL}.audio.mode", "all"),
        (f"{DETAIL}.audio.mode", "hash-list"),
        (f"{DETAIL}.audio.sha256", [HASH]),
        (f"{DETAIL}.audio.voice", "own-recording"),
        (f"{DETAIL}.script", {"mode": "hash-list", "sha256": [HASH], "languages": []}),
        (f"{DETAIL}.script.languages", ["english"]),
        ("delegation.max_depth", 5),
        ("subject.adult", 1),
        ("subject.key", "short"),
        ("subject.assertion.signature", ""),
        ("authorization_details", []),
        ("authorization_details", CLAIMS["authorization_details"] * 2),
        ("sub", "Ada Lovelace"),
        ("cnf", ...),
        ("cnf.jwk", {}),
        ("cnf.jkt", "short"),
        ("status", ...),
        ("status.status_list.idx", -1),
        ("evidence", ...),
        ("admin", True),
        ("jti", ""),
    ],
)
def test_a_well_signed_consent_with_a_wrong_member_is_refused(path: str, value: object) -> None:
    token = strict_jws.sign(changed(path, value), typ="consent+jwt", key=KEY)
    with pytest.raises(TokenError) as caught:
        verify_consent(token, KEYS)
    assert caught.value.code == "bad_claims"


def paths_of(value: Any, prefix: str = "") -> list[str]:
    """The dotted path of every member and list element."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path for name, inner in items for path in (f"{prefix}{name}", *paths_of(inner, f"{prefix}{name}."))]


MEMBERS = [path for path in paths_of(CLAIMS) if not path.rpartition(".")[2].isdigit()]


@pytest.mark.parametrize("path", MEMBERS)
def test_a_consent_without_one_of_its_members_is_refused(path: str) -> None:
    token = strict_jws.sign(changed(path, ...), typ="consent+jwt", key=KEY)
    with pytest.raises(TokenError, match="bad_claims"):
        verify_consent(token, KEYS)


@pytest.mark.parametrize("path", ["", *(path for path in MEMBERS if path.endswith(("video", "portrait", "cnf")))])
def test_a_consent_with_an_unknown_member_anywhere_is_refused(path: str) -> None:
    token = strict_jws.sign(changed(f"{path}.extra".removeprefix("."), 1), typ="consent+jwt", key=KEY)
    with pytest.raises(TokenError, match="bad_claims"):
        verify_consent(token, KEYS)


def test_every_purpose_has_the_sentence_that_was_shown() -> None:
    assert all(text.endswith(".") and "my face" in text for text in PURPOSES.values())


def test_a_changed_copy_of_a_consent_has_its_own_text() -> None:
    """The rules key what they remember of a consent by this text."""
    consent = ConsentClaims.model_validate(CLAIMS)
    assert json.loads(consent.as_json) == consent.model_dump(mode="json")
    changed = consent.model_copy(update={"jti": "another"})
    assert json.loads(changed.as_json)["jti"] == "another"
    assert consent.model_copy() == consent
