"""Withdrawals are pushed to gates on other machines; a gate believes signed, newer lists alone, and fails closed."""

from __future__ import annotations

import os
import shutil
import socket
import struct
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import torch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from policy import Authority, GenerationRequest, PolicyError, Refused, StateError, serve_status, thumbprint
from policy.canonical import sha256_hex
from policy.media_facts import MediaFacts
from policy.status_feed import FEED_FILE, StatusFeed, TrustedIssuer
from policy.status_list import TokenStatus, pack, sign_status_list
from policy.status_service import PATH, Board, StatusServer
from tests.policy.child_process import PROCESSES, REFUSED, RELEASED
from tests.policy.conftest import GateSimulator, MovingPicture, inspect_once, jti_of, pipeline_of, speech_wav

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEY, STRANGER = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
URI, ISSUER = "urn:registry/status/1", "urn:registry"
TRUSTED = {URI: TrustedIssuer(ISSUER, {thumbprint(KEY): KEY.public_key()})}
WITHDRAWN, SUSPENDED = {7: TokenStatus.INVALID}, {7: TokenStatus.SUSPENDED}


def signed(statuses: Mapping[int, TokenStatus], *, at_s: int = 0, key: Ed25519PrivateKey = KEY, uri: str = URI) -> str:
    return sign_status_list(pack(statuses), uri=uri, issuer=ISSUER, key=key, now=NOW + timedelta(seconds=at_s))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def board_server(board: Board, *, wait_s: float = 5.0) -> Iterator[str]:
    with StatusServer("127.0.0.1", 0, board, wait_s=wait_s) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def until(holds: object, patience_s: float = 20.0) -> bool:
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        if holds():  # type: ignore[operator]
            return True
        time.sleep(0.02)
    return False


def test_a_change_is_at_the_gate_at_once() -> None:
    board = Board()
    board.post({URI: signed({})})
    with board_server(board) as address, StatusFeed(address, TRUSTED) as feed:
        assert feed(URI) == signed({})
        time.sleep(0.3)  # it waits at the registry now
        began = time.monotonic()
        changed = signed(WITHDRAWN)
        board.post({URI: changed})
        assert until(lambda: feed(URI) == changed)
        assert time.monotonic() - began < 5


def test_a_gate_that_hangs_up_while_it_waits_is_no_error_of_the_registry(capfd: pytest.CaptureFixture[str]) -> None:
    board = Board()
    board.post({URI: signed({})})
    with board_server(board) as address:
        host, _, port = address.removeprefix("http://").partition(":")
        after = sha256_hex(signed({}).encode())
        with socket.create_connection((host, int(port))) as gate:
            gate.sendall(f"GET {PATH}?uri={URI}&after={after} HTTP/1.0\r\n\r\n".encode())
            gate.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # its end is a reset
            time.sleep(0.3)
        before = threading.active_count()
        board.post({URI: signed(WITHDRAWN)})
        until(lambda: threading.active_count() < before, 2)
        with StatusFeed(address, TRUSTED) as feed:
            assert feed(URI) == signed(WITHDRAWN)
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize(
    "came",
    [
        signed({}, key=STRANGER),
        signed({}, uri="urn:registry/status/2"),
        signed({}, at_s=-1),
        signed({}),  # brings back who withdrew
        signed(SUSPENDED),
        signed(WITHDRAWN)[:-4] + "AAAA",
        "",
        "e30.e30.",
    ],
    ids=["stranger", "other list", "older", "undone", "suspended again", "changed", "empty", "unsigned"],
)
def test_a_list_that_is_not_to_be_believed_changes_nothing(came: str) -> None:
    feed = StatusFeed("http://127.0.0.1:9", TRUSTED)
    feed.take(URI, signed(WITHDRAWN))
    with pytest.raises(PolicyError):
        feed.take(URI, came)
    board = Board()
    board.post({URI: signed(WITHDRAWN)})
    with board_server(board) as address, StatusFeed(address, TRUSTED) as pushed:
        assert pushed(URI) == signed(WITHDRAWN)
        board.post({URI: came})
        time.sleep(0.3)
        assert pushed(URI) == signed(WITHDRAWN)


def test_a_newer_list_with_further_withdrawals_is_taken() -> None:
    feed = StatusFeed("http://127.0.0.1:9", TRUSTED)
    feed.take(URI, signed(SUSPENDED))
    feed.take(URI, signed({}, at_s=1))  # reinstated
    feed.take(URI, signed(WITHDRAWN | {9: TokenStatus.INVALID}, at_s=1))
    assert feed(URI) == signed(WITHDRAWN | {9: TokenStatus.INVALID}, at_s=1)


@pytest.mark.parametrize("address", ["", "ftp://h:1", "http://h", "http://u@h:1", "http://h:1/x", "http://h:99999"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(PolicyError, match="HOST:PORT"):
        StatusFeed(address, TRUSTED)


def test_an_unreachable_registry_and_an_unknown_list_are_refusals() -> None:
    feed = StatusFeed(f"http://127.0.0.1:{free_port()}", TRUSTED)
    with pytest.raises(PolicyError, match="can't be asked"):
        feed(URI)
    with pytest.raises(PolicyError, match="knows no status list"):
        feed("urn:else")


def test_the_registry_answers_nothing_but_its_lists() -> None:
    board = Board()
    board.post({URI: signed({})})
    with board_server(board, wait_s=0.1) as address:
        host, port = address.removeprefix("http://").split(":")
        for request, status in (
            (b"GET /v1/status-lists?uri=urn:else HTTP/1.0", b"404"),
            (b"GET /etc/passwd HTTP/1.0", b"404"),
            (b"GET /v1/status-lists HTTP/1.0", b"400"),
            (b"GET /v1/status-lists?uri=" + b"a" * 2000 + b" HTTP/1.0", b"414"),
            (b"POST /v1/status-lists?uri=urn:else HTTP/1.0", b"501"),
        ):
            with socket.create_connection((host, int(port)), timeout=5) as connection:
                connection.sendall(request + b"\r\n\r\n")
                assert connection.recv(100).split()[1] == status


def test_a_gate_whose_registry_is_silent_refuses_when_its_list_runs_out(simulator: GateSimulator) -> None:
    board = Board()
    board.post(simulator.authority.status_lists())
    with board_server(board, wait_s=0.2) as address:
        simulator.authority.subscribe(address)
        simulator.reopen()
        consent = simulator.consent()
        assert simulator.decide(simulator.request(consent)).allowed
        simulator.clock.advance(seconds=59)
        assert simulator.decide(simulator.request(consent)).allowed
        simulator.clock.advance(seconds=1)
        refused = simulator.decide(simulator.request(consent))
    assert {denial.rule_id for denial in refused.denials} == {"consent.status_unknown", "accreditation.status_unknown"}


@pytest.mark.parametrize("content", ["{}", '{"address":"ftp://x:1"}', '{"address":"http://x:1","more":1}', "no"])
def test_a_damaged_subscription_is_no_registry_of_its_own(simulator: GateSimulator, content: str) -> None:
    path = simulator.state / FEED_FILE
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(StateError, match=FEED_FILE):
        simulator.reopen()


def run_registry(state: Path, port: int) -> None:
    with Authority.open(state) as authority:
        serve_status(authority.status_lists, "127.0.0.1", port)


def run_gate(state: Path, request: GenerationRequest, facts: MediaFacts, out: Path) -> None:
    torch.set_num_threads(1)
    authority = Authority.open(state)
    pipeline = pipeline_of(authority, MovingPicture())
    pipeline._gate = authority.gate(inspect=lambda *media: facts)
    try:
        pipeline.release(request, out)
    except Refused as refused:
        os._exit(REFUSED if [one.rule_id for one in refused.decision.denials] == ["consent.revoked"] else 1)
    os._exit(RELEASED)


def test_a_withdrawal_stops_a_job_of_a_gate_in_another_process_and_folder(tmp_path: Path) -> None:
    simulator = GateSimulator(tmp_path, datetime.now(UTC))
    simulator.clock.now = datetime.now(UTC)
    simulator.audio = speech_wav(4.0)
    consent, port, gate_state = simulator.consent(), free_port(), tmp_path / "gate"
    simulator.authority.close()
    shutil.copytree(simulator.state, gate_state)
    registry = PROCESSES.Process(target=run_registry, args=(simulator.state, port))
    registry.start()
    with Authority.open(gate_state) as gate:
        gate.subscribe(f"http://127.0.0.1:{port}")
        request = simulator.request(consent, now=datetime.now(UTC))
        facts = inspect_once(request.portrait, request.audio)
        assert until(lambda: _listens(port), 60)
        job = PROCESSES.Process(target=run_gate, args=(gate_state, request, facts, tmp_path / "clip.mp4"))
        job.start()
        try:
            assert until(lambda: gate.stores.ledger.standing(jti_of(consent)).used == 1 or not job.is_alive(), 60)
            began = time.monotonic()
            with Authority.open(simulator.state) as owner:
                owner.withdraw(jti_of(consent))
            job.join(60)
            took_s = time.monotonic() - began
        finally:
            job.kill()
            registry.kill()
        assert job.exitcode == REFUSED
        assert gate.stores.ledger.standing(jti_of(consent)).used == 0
    assert not (tmp_path / "clip.mp4").exists()
    assert took_s < 30  # 5 s on an idle machine, see benchmarks/gate_withdrawal.py


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
