"""The key broker as a process of its own, under another user where the tests may make one; over HTTP too."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from policy import GrantError, PolicyError, StateError, open_broker, serve_broker
from policy.broker import WorkerKey
from policy.broker_folder import believe_gate_key
from policy.broker_service import READ_WITHIN_S, BrokerClient, make_server
from policy.canonical import b64url
from policy.clock import utc_now
from policy.seal import open_sealed
from tests.policy.child_process import PROCESSES
from tests.policy.conftest import GateSimulator

NOBODY = 65534


def run_broker(folder: Path, address: str, users: frozenset[int], become: int | None, now: float) -> None:
    if become is not None:
        os.setgid(become)
        os.setuid(become)
    broker = open_broker(folder, lambda: utc_now().fromtimestamp(now, utc_now().tzinfo))
    serve_broker(broker, address, users=users)


@contextmanager
def broker_process(
    simulator: GateSimulator, folder: Path, address: str, *, users: frozenset[int], become: int | None = None
) -> Iterator[None]:
    simulator.authority.split_broker(folder, address)
    if become is not None:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, become, become)
    arguments = (folder, address, users, become, simulator.clock().timestamp())
    child = PROCESSES.Process(target=run_broker, args=arguments)
    child.start()
    try:
        _wait_until_it_answers(address)
        yield
    finally:
        child.kill()
        child.join()


def _wait_until_it_answers(address: str) -> None:
    for _ in range(600):
        try:
            BrokerClient(address).release_key("", b"", "")
        except GrantError as error:
            if "can't be asked" not in str(error):
                return
        time.sleep(0.1)
    raise AssertionError("the broker does not answer")


def test_broker_of_another_user_opens_the_weights_for_a_logged_allow_once(tmp_path: Path) -> None:
    own = os.geteuid()
    base = Path("/tmp") / f"vasari-broker-{os.getpid()}"  # noqa: S108  another user must reach it
    base.mkdir(mode=0o777)
    base.chmod(0o777)
    simulator = GateSimulator(tmp_path)
    become = NOBODY if own == 0 else None
    try:
        with broker_process(simulator, base / "b", f"unix:{base}/s", users=frozenset({own}), become=become):
            assert not (simulator.state / "keys" / "broker.kek").exists()
            assert not (simulator.state / "content-keys.json").exists()
            simulator.reopen()
            worker = WorkerKey()
            decision = simulator.gate.decide(simulator.request(), worker_key=worker.public_bytes)
            grant = decision.grant, decision.entry, decision.log_proof
            wrapped = simulator.authority.broker.release_key(*grant)
            entries = [json.loads(simulator.authority.log.entry(n)) for n in range(simulator.authority.log.size)]
            assert entries[-1]["event"] == "key.released"
            jti = json.loads((base / "b" / "released.jsonl").read_text())["grant"]
            with worker.unwrap(wrapped, jti) as key:
                assert open_sealed(simulator.authority.weights, key.view).tensors
            with pytest.raises(GrantError, match="used before"):
                simulator.authority.broker.release_key(*grant)
            refused = simulator.decide(simulator.request(purpose="detector-training"))
            with pytest.raises(GrantError, match="not good"):
                simulator.authority.broker.release_key(refused.grant, refused.entry, refused.log_proof)
    finally:
        simulator.authority.close()
        shutil.rmtree(base)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to run a broker under another user")
def test_user_who_is_not_named_gets_nothing(simulator: GateSimulator, tmp_path: Path) -> None:
    base = Path("/tmp") / f"vasari-broker-no-{os.getpid()}"  # noqa: S108
    base.mkdir(mode=0o777)
    base.chmod(0o777)
    try:
        with broker_process(simulator, base / "b", f"unix:{base}/s", users=frozenset(), become=NOBODY):
            decision = simulator.decide(simulator.request())
            with pytest.raises(GrantError, match="user 0 may not ask"):
                BrokerClient(f"unix:{base}/s").release_key(decision.grant, decision.entry, decision.log_proof)
            with socket.socket(socket.AF_UNIX) as idle:  # hung up on, not listened to
                idle.connect(f"{base}/s")
                idle.settimeout(3)
                assert idle.recv(4096).startswith(b"HTTP/1.0 403 ")
    finally:
        shutil.rmtree(base)


def test_broker_over_http_answers_with_sentences(simulator: GateSimulator, tmp_path: Path) -> None:
    address = f"http://127.0.0.1:{_free_port()}"
    with broker_process(simulator, tmp_path / "broker", address, users=frozenset()):
        simulator.reopen()
        decision = simulator.decide(simulator.request())
        tampered = decision.log_proof.replace("index ", "index 1", 1)
        with pytest.raises(GrantError, match="not proven"):
            simulator.authority.broker.release_key(decision.grant, decision.entry, tampered)
        assert simulator.authority.broker.release_key(decision.grant, decision.entry, decision.log_proof)
        for path, body, status in (
            ("/v1/content-key", b"[]", 400),
            ("/v1/content-key", b'{"grant":"a","grant":"b"}', 400),
            ("/v1/content-key", b'{"grant":1,"entry":"","log_proof":""}', 400),
            ("/etc/passwd", b"{}", 404),
            ("/v1/content-key", b" " * (256 * 1024 + 1), 413),
        ):
            assert _post(address, path, body) == status
        assert _post(address, "/v1/content-key", b"{}", length="9" * 5000) == 413


def test_slow_callers_hold_nobody_up_and_are_cut_off(simulator: GateSimulator, tmp_path: Path) -> None:
    port = _free_port()
    address = f"http://127.0.0.1:{port}"
    with (
        broker_process(simulator, tmp_path / "broker", address, users=frozenset()),
        socket.create_connection(("127.0.0.1", port)) as slow,
    ):
        slow.sendall(b"POST /v1/content-key HTTP/1.1\r\nX: ")
        assert _post(address, "/etc/passwd", b"{}") == 404
        begun = time.monotonic()
        slow.settimeout(1)
        with contextlib.suppress(OSError):
            while time.monotonic() - begun < READ_WITHIN_S + 10:  # a byte a second, for ever
                slow.sendall(b"y")
                with contextlib.suppress(TimeoutError):
                    if not slow.recv(4096):
                        break
        assert time.monotonic() - begun < READ_WITHIN_S + 8


def test_broker_listens_on_tls_with_its_certificate_only_and_on_plain_http_within_the_machine_only(
    tmp_path: Path,
) -> None:
    with pytest.raises(PolicyError, match="need a certificate"):
        make_server(None, "https://127.0.0.1:4433")  # type: ignore[arg-type]
    for elsewhere in ("http://0.0.0.0:4433", "http://[::]:4433", "http://192.0.2.1:4433", "http://broker.example:4433"):
        with pytest.raises(PolicyError, match="within this machine only"):
            make_server(None, elsewhere)  # type: ignore[arg-type]
        with pytest.raises(PolicyError, match="within this machine only"):
            BrokerClient(elsewhere)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(PolicyError, match="can't listen there"):
        make_server(None, f"unix:{tmp_path}/file")  # type: ignore[arg-type]


def test_missing_broker_is_an_error_and_the_use_is_not_lost(simulator: GateSimulator, tmp_path: Path) -> None:
    simulator.authority.split_broker(tmp_path / "broker", f"unix:{tmp_path}/nobody-listens")
    simulator.reopen()
    decision = simulator.decide(simulator.request())
    with pytest.raises(GrantError, match="can't be asked"):
        simulator.authority.broker.release_key(decision.grant, decision.entry, decision.log_proof)


def test_broker_is_split_once(simulator: GateSimulator, tmp_path: Path) -> None:
    simulator.authority.split_broker(tmp_path / "broker", f"unix:{tmp_path}/s")
    with pytest.raises(StateError, match="moved out before"):
        simulator.authority.split_broker(tmp_path / "again", f"unix:{tmp_path}/s")


def _post(address: str, path: str, body: bytes, *, length: str | None = None) -> int:
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=10)
    try:
        connection.request("POST", path, body, {} if length is None else {"Content-Length": length})
        return connection.getresponse().status
    except OSError:
        return 413  # it hung up on a body that is too long
    finally:
        connection.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_broker_believes_the_gates_new_key_after_one_command(simulator: GateSimulator, tmp_path: Path) -> None:
    simulator.authority.split_broker(tmp_path / "broker", "unix:/nowhere")
    old = b64url(simulator.authority.gate_public_key.public_bytes_raw())
    simulator.authority.rotate_key("gate")
    simulator.reopen()
    decision = simulator.decide(simulator.request())
    grant = decision.grant, decision.entry, decision.log_proof
    before = open_broker(tmp_path / "broker", simulator.clock)
    with pytest.raises(GrantError, match="key"):
        before.release_key(*grant)
    before.close()
    new = b64url(simulator.authority.gate_public_key.public_bytes_raw())
    assert believe_gate_key(tmp_path / "broker", new) == old
    after = open_broker(tmp_path / "broker", simulator.clock)
    assert after.release_key(*grant)
    after.close()
    for wrong in ("", "no key", new[:-1]):
        with pytest.raises(StateError, match="Ed25519"):
            believe_gate_key(tmp_path / "broker", wrong)
