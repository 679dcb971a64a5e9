"""Gate and key broker on two machines: TLS 1.3, each end pinned to the other's certificate; over loopback, for real."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from policy import GrantError, KeyFileError, StateError, open_broker, pin_broker_end, renew_broker_end
from policy.broker import WorkerKey
from policy.broker_folder import broker_end
from policy.broker_service import MAX_REQUEST_BYTES, READ_WITHIN_S, BrokerClient, make_server
from policy.clock import utc_now
from policy.mutual_tls import TlsEnd, create_end, pin_peer
from tests.policy.conftest import GateSimulator


class SplitBroker:
    """A gate and its broker over TLS at `address`; `gate` is the gate's folder of certificates."""

    def __init__(self, folder: Path) -> None:
        self.simulator = GateSimulator(folder, datetime.now(UTC))
        self.simulator.clock.now = datetime.now(UTC)
        self.port = _free_port()
        self.address = f"https://127.0.0.1:{self.port}"
        self.broker, self.gate = folder / "broker", self.simulator.state / "broker-tls"
        self.simulator.authority.split_broker(self.broker, self.address)
        self.simulator.reopen()

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        opened = open_broker(self.broker, utc_now)
        with make_server(opened, self.address, tls=broker_end(self.broker, self.address)) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            try:
                yield
            finally:
                server.shutdown()
                thread.join()
                opened.close()

    def ask(self) -> bytes:
        worker = WorkerKey()
        decision = self.simulator.gate.decide(self.simulator.request(), worker_key=worker.public_bytes)
        return self.simulator.authority.broker.release_key(decision.grant, decision.entry, decision.log_proof)

    def stranger(self, folder: Path, **changes: object) -> TlsEnd:
        """An end that knows the broker, and whose certificate the broker never saw."""
        direction, life = changes.get("direction", "asks"), changes.get("life", timedelta(days=1))
        create_end(folder, name="Vasari gate", direction=direction, now=datetime.now(UTC), life=life)  # type: ignore[arg-type]
        (folder / "peer.pem").write_bytes((self.gate / "peer.pem").read_bytes())
        return TlsEnd.read(folder)


@pytest.fixture
def split(tmp_path: Path) -> Iterator[SplitBroker]:
    made = SplitBroker(tmp_path)
    yield made
    made.simulator.authority.close()


def test_a_key_comes_over_tls_once_for_a_logged_allow_and_neither_end_has_the_others_key(split: SplitBroker) -> None:
    with split.listening():
        assert split.ask()
        decision = split.simulator.decide(split.simulator.request())
        grant = decision.grant, decision.entry, decision.log_proof
        assert split.simulator.authority.broker.release_key(*grant)
        with pytest.raises(GrantError, match="used before"):
            split.simulator.authority.broker.release_key(*grant)
    assert (split.gate / "own.key").read_bytes() != (split.broker / "tls" / "own.key").read_bytes()
    for private in (split.gate / "own.key", split.broker / "tls" / "own.key"):
        assert private.stat().st_mode & 0o777 == 0o600
    assert b"PRIVATE" not in (split.gate / "peer.pem").read_bytes() + (split.broker / "tls" / "peer.pem").read_bytes()


def test_a_certificate_that_is_not_pinned_gets_no_answer(split: SplitBroker, tmp_path: Path) -> None:
    with split.listening():
        with pytest.raises(GrantError, match="can't be asked"):
            BrokerClient(split.address, tls=split.stranger(tmp_path / "stranger")).release_key("", b"", "")
        assert split.ask()  # and the one that is pinned still does


def test_a_certificate_of_the_other_direction_gets_no_answer(split: SplitBroker, tmp_path: Path) -> None:
    """The broker's own, stolen, say, does not make a gate: even where it is pinned."""
    answering = split.stranger(tmp_path / "answering", direction="answers")
    pin_peer(split.broker / "tls", (tmp_path / "answering" / "own.pem").read_text(), now=datetime.now(UTC))
    with split.listening(), pytest.raises(GrantError, match="can't be asked"):
        BrokerClient(split.address, tls=answering).release_key("", b"", "")


def test_an_expired_certificate_gets_no_answer_and_can_not_be_pinned(split: SplitBroker, tmp_path: Path) -> None:
    expired = split.stranger(tmp_path / "expired", life=timedelta(seconds=-1))
    pem = (tmp_path / "expired" / "own.pem").read_text()
    with pytest.raises(StateError, match="good from"):
        pin_peer(split.broker / "tls", pem, now=datetime.now(UTC))
    (split.broker / "tls" / "peer.pem").write_text(pem)  # pinned when it was good
    with split.listening(), pytest.raises(GrantError, match="can't be asked"):
        BrokerClient(split.address, tls=expired).release_key("", b"", "")


def test_the_gate_talks_to_no_other_broker(split: SplitBroker, tmp_path: Path) -> None:
    """Someone on the way with a good certificate of their own, and one whose certificate ran out."""
    pem = create_end(split.broker / "tls", name="Vasari key broker", direction="answers", now=datetime.now(UTC))
    with split.listening(), pytest.raises(GrantError, match="can't be asked"):
        split.ask()
    pin_broker_end(split.simulator.state, pem, of_broker=False, now=datetime.now(UTC))
    split.simulator.reopen()
    with split.listening():
        assert split.ask()
    late = datetime.now(UTC) - timedelta(days=2)
    pem = create_end(
        split.broker / "tls", name="Vasari key broker", direction="answers", now=late, life=timedelta(days=1)
    )
    (split.gate / "peer.pem").write_text(pem)
    split.simulator.reopen()
    with split.listening(), pytest.raises(GrantError, match="expired"):
        split.ask()


def test_a_renewed_end_is_taken_once_the_other_has_pinned_it(split: SplitBroker) -> None:
    pem = renew_broker_end(split.simulator.state, of_broker=False, now=datetime.now(UTC))
    split.simulator.reopen()
    with split.listening(), pytest.raises(GrantError, match="can't be asked"):
        split.ask()
    until = pin_broker_end(split.broker, pem, of_broker=True, now=datetime.now(UTC))
    assert until > datetime.now(UTC) + timedelta(days=360)
    with split.listening():
        assert split.ask()


@pytest.mark.parametrize("said", [b"POST /v1/content-key HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", b"\x00" * 4096, b""])
def test_who_speaks_no_tls_is_hung_up_on_unread(split: SplitBroker, said: bytes) -> None:
    with split.listening(), socket.create_connection(("127.0.0.1", split.port), timeout=READ_WITHIN_S + 5) as plain:
        plain.sendall(said)
        plain.shutdown(socket.SHUT_WR)
        answer = _read_all(plain)
        assert b"HTTP" not in answer
        assert split.ask()


def test_older_tls_is_refused(split: SplitBroker) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with (
        split.listening(),
        socket.create_connection(("127.0.0.1", split.port), timeout=10) as raw,
        pytest.raises(ssl.SSLError),
    ):
        context.wrap_socket(raw)


def test_who_dawdles_over_the_handshake_or_the_request_is_cut_off(split: SplitBroker) -> None:
    with split.listening(), contextlib.ExitStack() as stack:
        silent = [stack.enter_context(socket.create_connection(("127.0.0.1", split.port))) for _ in range(4)]
        connection = stack.enter_context(socket.create_connection(("127.0.0.1", split.port)))
        slow = stack.enter_context(TlsEnd.read(split.gate).wrap_asking(connection))
        slow.sendall(b"POST /v1/content-key HTTP/1.1\r\nX: ")
        assert split.ask()
        begun = time.monotonic()
        for one in (*silent, slow):
            one.settimeout(READ_WITHIN_S + 8)
            assert _read_all(one) == b""
        assert time.monotonic() - begun < READ_WITHIN_S + 8


def test_a_request_that_is_too_long_is_not_read(split: SplitBroker) -> None:
    with split.listening():
        with pytest.raises(GrantError):
            BrokerClient(split.address, tls=TlsEnd.read(split.gate)).release_key("a" * MAX_REQUEST_BYTES, b"", "")
        assert split.ask()


def test_an_end_without_its_parts_is_no_end(split: SplitBroker, tmp_path: Path) -> None:
    (split.gate / "own.key").chmod(0o644)
    with pytest.raises(KeyFileError, match="chmod 600"):
        TlsEnd.read(split.gate)
    (split.gate / "own.key").chmod(0o600)
    (split.gate / "peer.pem").write_text("no certificate")
    with pytest.raises(StateError, match="PEM"):
        TlsEnd.read(split.gate)
    (split.gate / "peer.pem").unlink()
    with pytest.raises(StateError, match="missing"):
        TlsEnd.read(split.gate)
    with pytest.raises(StateError, match="broker certificate"):
        pin_broker_end(tmp_path, "", of_broker=True, now=datetime.now(UTC))
    with pytest.raises(StateError, match="no broker's folder"):
        renew_broker_end(tmp_path, of_broker=True, now=datetime.now(UTC))


def test_an_end_says_when_its_peer_is_another(split: SplitBroker, tmp_path: Path) -> None:
    """Both certificates hold for OpenSSL; the comparison byte for byte stands on its own feet."""
    here, there = socket.socketpair()
    answering = TlsEnd.read(split.broker / "tls")
    only = TlsEnd(answering.folder, frozenset({b"another"}))
    with answering.wrap_answering(there) as secured:
        thread = threading.Thread(target=secured.do_handshake)
        thread.start()
        with TlsEnd.read(split.gate).wrap_asking(here):
            thread.join()
            answering.require_peer(secured)
            with pytest.raises(ssl.SSLError, match="not pinned"):
                only.require_peer(secured)


def _read_all(connection: socket.socket) -> bytes:
    read = b""
    with contextlib.suppress(OSError):
        while part := connection.recv(4096):
            read += part
    return read


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
