"""A third party checks a release's log proof with the log's public key alone, and is told why one does not hold."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from provenance import TransparencyLog
from tests.vasari.evidence import credentials
from vasari.log_evidence import check_log_offline, check_log_with

ORIGIN, KEY = "log.example.org", Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
ENTRY = b'{"event":"decision"}'
SHA256 = hashlib.sha256(ENTRY).hexdigest()
OFFLINE = check_log_offline(ORIGIN, KEY.public_key())


@pytest.fixture
def log(tmp_path: Path) -> Iterator[TransparencyLog]:
    with TransparencyLog(tmp_path / "log.sqlite", origin=ORIGIN, signer=KEY) as log:
        log.append_all([b"{}", ENTRY, b"{}", b"x" * 5000])
        yield log


def test_the_proof_is_checked_without_the_log(log: TransparencyLog) -> None:
    said = credentials("verified", log_proof=log.prove(1), decision_sha256=SHA256)
    for check in (OFFLINE, check_log_with(log, KEY.public_key())):
        assert (check(said).state, check(said).index) == ("proved", 1)


def test_a_proof_of_another_entry_key_or_log_fails_with_its_reason(log: TransparencyLog) -> None:
    proof = log.prove(1)
    other_key = check_log_offline(ORIGIN, Ed25519PrivateKey.generate().public_key())
    for check, fields, reason in (
        (OFFLINE, {"log_proof": log.prove(0), "decision_sha256": SHA256}, "not the decision"),
        (OFFLINE, {"log_proof": proof, "decision_sha256": "0" * 64}, "not the decision"),
        (OFFLINE, {"log_proof": proof.replace("index 1", "index 2"), "decision_sha256": SHA256}, "does not hold"),
        (OFFLINE, {"log_proof": log.prove(3), "decision_sha256": SHA256}, "only the keeper"),
        (other_key, {"log_proof": proof, "decision_sha256": SHA256}, "does not hold"),
        (
            check_log_offline("other.example.org", KEY.public_key()),
            {"log_proof": proof, "decision_sha256": SHA256},
            "hold",
        ),
        (OFFLINE, {"log_proof": "nonsense", "decision_sha256": SHA256}, "names no entry"),
    ):
        found = check(credentials("verified", **fields))
        assert (found.state, reason in found.explanation) == ("failed", True), found
    assert OFFLINE(credentials("verified")).state == "absent"
