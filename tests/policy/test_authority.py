"""The state folder: whole or not there, closed to others, and what it issues can be looked up."""

from __future__ import annotations

import hashlib
import json
import stat
from datetime import timedelta
from pathlib import Path

import pytest

from media import MediaError
from policy import Authority, PolicyError, SealError, StateError, TokenStatus, UnknownTokenError, thumbprint
from policy.keys import KeyFileError, read_private_key, write_private_key
from policy.status_list import verify_status_list
from provenance import TrustAnchors, verify_log_proof
from tests.policy.conftest import START, GateSimulator, jti_of, make_weights


def test_only_the_owner_can_read_the_state(simulator: GateSimulator) -> None:
    assert stat.S_IMODE(simulator.state.stat().st_mode) == 0o700
    secret = [
        path for path in simulator.state.rglob("*") if path.suffix in (".pem", ".key", ".kek", ".sqlite", ".json")
    ]
    assert len(secret) > 12
    public = {path for path in secret if path.parent.name == "pki" and path.suffix == ".pem"}
    assert not [path for path in set(secret) - public if stat.S_IMODE(path.stat().st_mode) & 0o077]


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    weights, release_key = make_weights(tmp_path)
    with pytest.raises(StateError, match="not empty"):
        Authority.create(tmp_path, organisation="Lab", now=START, weights=weights, release_key=release_key)


def test_a_failed_creation_leaves_nothing(tmp_path: Path) -> None:
    weights, release_key = make_weights(tmp_path)
    release_key.write_text("00" * 32)
    before = set(tmp_path.iterdir())
    with pytest.raises(SealError, match="does not open"):
        Authority.create(tmp_path / "state", organisation="Lab", now=START, weights=weights, release_key=release_key)
    assert set(tmp_path.iterdir()) == before


def test_a_folder_open_to_others_or_without_state_is_refused(simulator: GateSimulator, tmp_path: Path) -> None:
    simulator.state.chmod(0o755)
    with pytest.raises(StateError, match="chmod 700"):
        Authority.open(simulator.state)
    with pytest.raises(StateError, match="vasari init"):
        Authority.open(tmp_path / "nowhere")


def test_a_key_open_to_others_is_refused(simulator: GateSimulator) -> None:
    (simulator.state / "keys" / "gate.pem").chmod(0o644)
    with pytest.raises(KeyFileError, match="chmod 600"):
        Authority.open(simulator.state)


def test_keys_are_never_overwritten(simulator: GateSimulator, tmp_path: Path) -> None:
    path = tmp_path / "me.pem"
    write_private_key(path, simulator.researcher)
    with pytest.raises(KeyFileError, match="exists"):
        write_private_key(path, simulator.researcher)
    assert thumbprint(read_private_key(path)) == thumbprint(simulator.researcher)


def test_a_thumbprint_is_that_of_rfc_8037() -> None:
    """RFC 8037 appendix A.3."""
    from policy.keys import key_from_jwk

    key = key_from_jwk({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"})
    assert thumbprint(key) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def test_the_name_stays_in_the_evidence_record(simulator: GateSimulator) -> None:
    consent = simulator.consent(evidence="video call, passport seen")
    claims = simulator.authority.consent(jti_of(consent)).claims
    (record,) = (simulator.state / "evidence").iterdir()
    data = record.read_bytes()
    assert json.loads(data)["subject"] == "Synthetic Person"
    assert f"sha256:{hashlib.sha256(data).hexdigest()}" in consent_text(consent)
    assert "Synthetic" not in consent_text(consent)
    assert claims.sub.startswith("pw:")


def consent_text(consent: str) -> str:
    from policy.canonical import b64url_decode

    return b64url_decode(consent.split(".")[1]).decode()


def test_pseudonyms_are_pairwise(simulator: GateSimulator) -> None:
    registry = simulator.authority.registry
    here, again, there, other = (
        registry.pseudonym(*who) for who in (("A", "g1"), ("A", "g1"), ("A", "g2"), ("B", "g1"))
    )
    assert here == again
    assert len({here, there, other}) == 3


@pytest.mark.parametrize(
    "terms",
    [{"uses": 0}, {"purposes": ("anything",)}, {"purposes": ()}, {"max_seconds": 0}, {"researcher_jkt": "me"}],
)
def test_impossible_terms_are_not_issued(simulator: GateSimulator, terms: dict[str, object]) -> None:
    before = simulator.authority.log.size
    with pytest.raises(PolicyError, match="cannot be issued"):
        simulator.consent(**terms)
    assert simulator.authority.consents() == ()
    assert simulator.authority.log.size == before
    assert list((simulator.state / "evidence").iterdir()) == []


def test_a_consent_needs_a_picture(simulator: GateSimulator) -> None:
    with pytest.raises(MediaError):
        simulator.consent(portrait=b"no picture")


def test_withdrawal_is_listed_logged_and_final(simulator: GateSimulator) -> None:
    authority, consent = simulator.authority, simulator.consent()
    jti = jti_of(consent)
    receipt = authority.withdraw(jti)
    entry = authority.log.entry(receipt.log_index)
    origin, key = authority.record.log_origin, authority.log_public_key
    assert verify_log_proof(receipt.log_proof, entry, origin=origin, public_key=key).index == receipt.log_index
    assert json.loads(entry)["event"] == "consent.withdrawn"
    assert authority.consent(jti).status is TokenStatus.INVALID
    with pytest.raises(PolicyError, match="cannot be undone"):
        authority.reinstate(jti)
    status = authority.consent(jti).claims.status.status_list
    registry_key = authority._keys["registry"].public_key()
    listed = verify_status_list(
        authority.registry.status_list(status.uri, simulator.clock()),
        uri=status.uri,
        issuer=authority.identity.registry_id,
        keys={thumbprint(registry_key): registry_key},
    )
    assert listed[status.idx] is TokenStatus.INVALID


def test_unknown_tokens_are_said_to_be_unknown(simulator: GateSimulator) -> None:
    for act in (simulator.authority.withdraw, simulator.authority.consent, simulator.authority.uses):
        with pytest.raises(UnknownTokenError, match="nobody"):
            act("nobody")


def test_everything_is_there_after_reopening(simulator: GateSimulator) -> None:
    consent = simulator.consent(valid_for=timedelta(days=3))
    assert simulator.decide(simulator.request(consent)).allowed
    size, record = simulator.authority.log.size, simulator.authority.record
    simulator.reopen()
    assert simulator.authority.record == record
    assert simulator.authority.log.size == size
    assert simulator.authority.consent(jti_of(consent)).token == consent
    assert simulator.used(consent) == 1
    assert isinstance(simulator.authority.trust_anchors, TrustAnchors)


def test_a_damaged_state_file_is_named(simulator: GateSimulator) -> None:
    (simulator.state / "authority.json").write_bytes(b'{"schema":2,"extra":2}')
    with pytest.raises(StateError, match=r"authority\.json: damaged"):
        Authority.open(simulator.state)
