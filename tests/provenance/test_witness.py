"""A witness cosigns a tree that grew, and nothing else; its answers are those of the public protocol."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from provenance import (
    ProofError,
    TransparencyLog,
    Witness,
    format_log_key,
    format_witness_key,
    format_witness_request,
    parse_log_key,
    parse_witness_key,
    verify_checkpoint,
    verify_cosignatures,
)

ORIGIN, NAME = "log.example.org/vasari", "witness.example.org"
LOG_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[TransparencyLog]:
    with TransparencyLog(tmp_path / "log.sqlite", origin=ORIGIN, signer=LOG_KEY) as log:
        log.append_all([b"1", b"2", b"3"])
        yield log


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[Witness]:
    made = Witness(tmp_path / "memory.sqlite", name=NAME, key=KEY, logs={ORIGIN: LOG_KEY.public_key()})
    yield made
    made.close()


def ask(log: TransparencyLog, old: int) -> str:
    note = log.checkpoint()
    return format_witness_request(old, log.consistency_proof(old, log.size), note)


def test_a_growing_log_is_cosigned_with_the_time(log: TransparencyLog, witness: Witness) -> None:
    for hour, old in enumerate((0, 3, 5)):
        answer = witness.add_checkpoint(ask(log, old), now=NOW + timedelta(hours=hour))
        assert answer.status == 200
        cosigned = log.checkpoint() + answer.body
        assert verify_cosignatures(cosigned, {NAME: KEY.public_key()}) == {NAME: NOW + timedelta(hours=hour)}
        assert verify_checkpoint(cosigned, origin=ORIGIN, public_key=LOG_KEY.public_key()).size == log.size
        log.append_all([b"more", b"and more"])


def test_the_answers_are_those_of_the_protocol(log: TransparencyLog, witness: Witness, tmp_path: Path) -> None:
    first = ask(log, 0)
    assert witness.add_checkpoint(first, now=NOW).status == 200
    stale = witness.add_checkpoint(first, now=NOW)
    assert (stale.status, stale.body, stale.media_type) == (409, "3\n", "text/x.tlog.size")
    assert witness.add_checkpoint(ask(log, 3), now=NOW).status == 200  # the same tree again
    log.append(b"4")
    request = ask(log, 3)
    lines = request.split("\n")
    assert witness.add_checkpoint("\n".join([lines[0], *lines[2:]]), now=NOW).status == 422  # a proof line less
    assert witness.add_checkpoint(request.replace("old 3", "old 9"), now=NOW).status == 400
    assert witness.add_checkpoint("nonsense", now=NOW).status == 400
    with TransparencyLog(tmp_path / "unknown.sqlite", origin="unknown.example.org", signer=LOG_KEY) as unknown:
        unknown.append(b"1")
        assert witness.add_checkpoint(ask(unknown, 0), now=NOW).status == 404
    with TransparencyLog(tmp_path / "forged.sqlite", origin=ORIGIN, signer=KEY) as forged:
        forged.append(b"1")
        assert witness.add_checkpoint(ask(forged, 0), now=NOW).status == 403
    assert witness.add_checkpoint(request, now=NOW).status == 200


def test_a_second_history_is_never_cosigned(log: TransparencyLog, witness: Witness, tmp_path: Path) -> None:
    assert witness.add_checkpoint(ask(log, 0), now=NOW).status == 200
    with TransparencyLog(tmp_path / "split.sqlite", origin=ORIGIN, signer=LOG_KEY) as split:
        split.append_all([b"1", b"2", b"other"])
        assert witness.add_checkpoint(ask(split, 3), now=NOW).status == 409  # same size, another root
        split.append(b"4")
        assert witness.add_checkpoint(ask(split, 3), now=NOW).status == 422
        assert witness.add_checkpoint(ask(split, 0), now=NOW).status == 409


def test_a_new_process_remembers_what_the_old_one_saw(log: TransparencyLog, tmp_path: Path) -> None:
    for old, status in ((0, 200), (0, 409), (3, 200)):
        witness = Witness(tmp_path / "memory.sqlite", name=NAME, key=KEY, logs={ORIGIN: LOG_KEY.public_key()})
        assert witness.add_checkpoint(ask(log, old), now=NOW).status == status
        witness.close()


def test_a_changed_cosignature_does_not_hold(log: TransparencyLog, witness: Witness) -> None:
    answer = witness.add_checkpoint(ask(log, 0), now=NOW)
    line = answer.body
    swapped = "A" if line[40] != "A" else "B"
    with pytest.raises(ProofError):
        verify_cosignatures(log.checkpoint() + line[:60] + swapped + line[61:], {NAME: KEY.public_key()})
    assert verify_cosignatures(log.checkpoint() + line, {"other.example.org": KEY.public_key()}) == {}
    log.append(b"4")
    with pytest.raises(ProofError, match="does not hold"):
        verify_cosignatures(log.checkpoint() + line, {NAME: KEY.public_key()})


def test_a_log_key_never_passes_for_a_witness_key() -> None:
    assert parse_witness_key(format_witness_key(NAME, KEY.public_key())) == (NAME, KEY.public_key())
    with pytest.raises(ProofError, match="type 4"):
        parse_witness_key(format_log_key(NAME, KEY.public_key()))
    with pytest.raises(ProofError, match="Ed25519"):
        parse_log_key(format_witness_key(NAME, KEY.public_key()))


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=300) | st.binary(max_size=80).map(lambda raw: f"old 0\n\n{raw!r}\n\n— a b\n"))
def test_arbitrary_requests_are_answered_and_never_cosigned(text: str, witness: Witness) -> None:
    assert witness.add_checkpoint(text, now=NOW).status in (400, 403, 404, 409, 422)
