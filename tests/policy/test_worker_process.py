"""A gate that trusts its worker process with nothing: what it promises stays true whatever that process does.

Every worker here is a real process, confined as in operation. Those in `raw_workers` and `marking_workers` were taken
over. The gate's own part, and the process that reads a clip back, are the released ones.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import pytest
import torch

from policy import Authority, OutputError, ProcessError, Refused, ReleaseError, SealError, StateError
from policy.canonical import sha256_hex
from policy.confined_process import MOST_FILE_BYTES, PACKAGES, Account, ConfinedProcess
from policy.errors import PolicyError
from policy.handed_files import handed_in, take_over
from policy.keys import write_secret
from policy.process_messages import Failed, OpenWeights
from policy.split_worker import WORKER_FILE
from provenance import verify_clip
from tests.policy import child_process
from tests.policy.child_process import Task
from tests.policy.conftest import GateSimulator, inspect_once, jti_of, pipeline_of, speech_wav
from tests.policy.test_release import assert_nothing_left, events

NOW = datetime.now(UTC)
ROOT = Path(__file__).resolve().parents[2]
RAW, MARKING = "tests.policy.raw_workers", "tests.policy.marking_workers"


def landlock_version() -> int:
    """What this kernel offers; 0 for none."""
    import ctypes

    from policy.confined_start import LANDLOCK_CREATE_RULESET

    return max(0, int(ctypes.CDLL(None).syscall(LANDLOCK_CREATE_RULESET, None, 0, 1)))


pytestmark = pytest.mark.skipif(landlock_version() == 0, reason="this kernel has no Landlock")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to start a process under another user")


class SplitGate:
    """A gate with a worker process, whose entry a test may choose."""

    def __init__(self, folder: Path) -> None:
        self.simulator = GateSimulator(folder, NOW)
        self.simulator.audio = speech_wav()
        write_secret(self.simulator.state / WORKER_FILE, b'{"user":null}')
        self.simulator.reopen()
        self.folder = folder / "out"
        self.folder.mkdir()
        self.out = self.folder / "clip.mp4"

    def release(self, entry: str, consent: str, **options: object) -> object:
        pipeline = pipeline_of(self.simulator.authority)
        assert pipeline._split is not None
        pipeline._split = replace(pipeline._split, entry=entry)
        return pipeline.release(self.simulator.request(consent), self.out, **options)  # type: ignore[arg-type]

    def refuses(self, entry: str, reason: str, kind: type[PolicyError] = ReleaseError) -> None:
        """Nothing is signed, nothing is left, no use is taken, no process stays."""
        consent, before = self.simulator.consent(), children()
        with pytest.raises(kind, match=reason):
            self.release(entry, consent)
        assert_nothing_left(self.simulator, self.folder, consent)
        assert "clip.released" not in events(self.simulator.authority)
        assert children() <= before


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[SplitGate]:
    torch.set_num_threads(1)
    made = SplitGate(tmp_path)
    yield made
    made.simulator.authority.close()


def children() -> set[str]:
    """Processes of this one."""
    return {
        child
        for task in Path("/proc/self/task").iterdir()
        for child in (task / "children").read_text(encoding="ascii").split()
    }


# As it should be


def test_a_clip_of_a_worker_process_is_marked_signed_logged_and_counted(gate: SplitGate) -> None:
    authority, consent = gate.simulator.authority, gate.simulator.consent(uses=2)
    seen: list[tuple[int, int]] = []
    stages: list[str] = []
    before = children()
    receipt = gate.release(
        f"{MARKING}:picture", consent, progress=lambda *now: seen.append(now), on_stage=stages.append
    )
    assert list(gate.folder.iterdir()) == [gate.out]
    assert receipt.clip_sha256 == sha256_hex(gate.out.read_bytes())  # type: ignore[attr-defined]
    assert seen[-1] == (65, 65)
    assert list(dict.fromkeys(stages)) == [  # a mark that can't be read back is made again, stronger
        "prepared", "decided", "unsealed", "encoded", "generated", "read back",
        "signed", "verified", "registered", "delivering", "handed out", "consumed",
    ]  # fmt: skip
    credentials = verify_clip(gate.out, authority.trust_anchors)
    assert (credentials.state, credentials.manifest_id) == ("verified", receipt.manifest_id)  # type: ignore[attr-defined]
    stored = authority.repository.find(receipt.manifest_id)  # type: ignore[attr-defined]
    assert stored is not None
    assert len(stored.fingerprint) > 8
    assert events(authority)[-3:] == ["decision", "key.released", "clip.released"]
    assert gate.simulator.used(consent) == 1
    assert list(authority.work_folder.iterdir()) == []
    assert children() <= before


def test_a_reader_process_sees_in_an_upload_what_the_gate_itself_would(gate: SplitGate) -> None:
    """With the face finder and every decoder, none of which may fail for want of a file it reads late."""
    split = gate.simulator.authority.split_worker
    assert split is not None
    portrait, audio = gate.simulator.portrait, gate.simulator.audio
    assert split.reader.inspect(portrait, audio) == inspect_once(portrait, audio)
    broken = split.reader.inspect(portrait[:1000], b"RIFF")
    assert {name: denial.rule_id for name, denial in broken.unreadable.items()} == {
        "portrait": "portrait.unreadable", "audio": "audio.unreadable",
    }  # fmt: skip


@as_root
@pytest.mark.skipif(
    not all(place.stat().st_mode & 1 for one in (ROOT, Path(sys.prefix)) for place in (one, *one.parents)),
    reason="other users can't enter the folder of the code",
)
def test_a_clip_can_be_made_under_another_user(gate: SplitGate) -> None:
    gate.simulator.authority.close()
    write_secret(gate.simulator.state / WORKER_FILE, b'{"user":"nobody"}', overwrite=True)
    gate.simulator.reopen()
    gate.release(f"{MARKING}:picture", gate.simulator.consent())
    assert verify_clip(gate.out, gate.simulator.authority.trust_anchors).state == "verified"


# Taken over


@pytest.mark.parametrize(
    ("worker", "reason"),
    [
        ("unmarked", "cannot be read back"),
        ("another_payload", "cannot be read back"),
        ("half_marked", "cannot be read back"),
        ("too_long", "expected 512x512 and 2.60 s"),
        ("second_track", "3 tracks"),
    ],
)
def test_a_clip_that_is_not_as_granted_is_not_signed(
    gate: SplitGate, worker: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("policy.clip_release.STRENGTHS", (1.0,))
    gate.refuses(f"{MARKING}:{worker}", reason)


@pytest.mark.parametrize(
    ("worker", "reason"),
    [
        ("garbage", "the reader: it failed"),
        ("announces_small_frames", "announced frames of 256x256"),
        ("nothing", "has 0 bytes"),
        ("endless", "has 3221225472 bytes"),
        ("dies", r"ended \(SIGABRT\)"),
        ("goes_back", "from 8 to 8"),
        ("counts_on", "made 68 frames, expected 65"),
        ("talks_nonsense", "no good message"),
        ("adds_members", "manifest_id: Extra inputs"),
        ("says_too_much", "more than 60000 bytes"),
        ("answers_another_question", "sent 'begun', expected made or progress"),
        ("hands_descriptors_over", "sent descriptors"),
    ],
)
def test_a_worker_that_does_anything_else_gets_nothing_signed(gate: SplitGate, worker: str, reason: str) -> None:
    gate.refuses(f"{RAW}:{worker}", reason)


def test_a_plot_of_what_is_no_motion_is_not_handed_out(gate: SplitGate) -> None:
    consent = gate.simulator.consent()
    pipeline = pipeline_of(gate.simulator.authority)
    assert pipeline._split is not None
    pipeline._split = replace(pipeline._split, entry=f"{RAW}:no_motion")
    with pytest.raises(ReleaseError, match="61 numbers a frame, not 1001 bytes"):
        pipeline.preview(gate.simulator.request(consent), gate.folder / "motion.png")
    assert_nothing_left(gate.simulator, gate.folder, consent)


@pytest.mark.parametrize(("worker", "reason"), [("names_no_key", "named no key"), ("claims_another_user", "as user")])
def test_a_worker_that_is_not_what_it_should_be_is_asked_for_nothing(gate: SplitGate, worker: str, reason: str) -> None:
    consent = gate.simulator.consent()
    before = gate.simulator.authority.log.size
    with pytest.raises(ProcessError, match=reason):
        gate.release(f"{RAW}:{worker}", consent)
    assert gate.simulator.authority.log.size == before  # not even a decision
    assert list(gate.folder.iterdir()) == []


def test_a_silent_worker_is_not_waited_for_longer_than_its_time(
    gate: SplitGate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("policy.confined_process.STEP_WITHIN_S", 1.0)
    gate.refuses(f"{RAW}:hangs", "said nothing for 1 s")


@pytest.mark.parametrize("word", ["withdraw", "suspend"])
def test_a_withdrawal_stops_a_worker_that_hears_nothing(gate: SplitGate, word: str) -> None:
    """It hangs in the middle of a clip; the gate looks at the consent twice a second, and kills it."""
    consent, before = gate.simulator.consent(), children()

    def act(stage: str) -> None:
        if stage == "encoded":
            getattr(gate.simulator.authority, word)(jti_of(consent))

    with pytest.raises(Refused) as caught:
        gate.release(f"{RAW}:hangs", consent, on_stage=act)
    assert [one.rule_id for one in caught.value.decision.denials] == [
        {"withdraw": "consent.revoked", "suspend": "consent.suspended"}[word]
    ]
    assert events(gate.simulator.authority)[-2:] == ["job.stopped", "use.refunded"]
    assert_nothing_left(gate.simulator, gate.folder, consent)
    assert children() <= before


def test_weights_that_were_changed_are_named_as_such(gate: SplitGate) -> None:
    weights = gate.simulator.authority.weights
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    try:
        gate.refuses(f"{MARKING}:picture", "does not open", SealError)
    finally:
        weights.write_bytes(whole)


# What it can reach


def looked_around(gate: SplitGate, account: Account | None) -> dict[str, str]:
    state = gate.simulator.state
    with (
        ConfinedProcess.start(f"{RAW}:looks_around", what="it", account=account, hidden=state) as process,
        handed_in(b"") as files,
    ):
        process.ready()
        process.tell(OpenWeights(grant=f"{state}|{os.getpid()}", wrapped=""), files)
        said = process._channel.receive(Failed, within_s=60)
    return dict(json.loads(said.message))


@pytest.mark.parametrize("user", ["", pytest.param("nobody", marks=as_root)])
def test_a_worker_reaches_neither_files_nor_network_nor_other_processes(gate: SplitGate, user: str) -> None:
    account = Account.named(user) if user else None
    said = looked_around(gate, account)
    denied = {
        "files", "key", "write", "tmp", "network", "unix", "fork", "program", "memory", "environment_of_gate", "root",
        "mode", "times", "attribute", "shared_memory", "signal", "limit", "priority",
    }  # fmt: skip
    assert {name for name, came in said.items() if came == "PermissionError"} == denied
    assert said["threads"] == "1"
    assert len(said["descriptors"].split()) == 6  # three of nothing, its socket, the weights, and the listing itself
    assert set(said["environment"].split()) <= {
        "ENCYPHER_C2PA_TELEMETRY", "LC_ALL", "LC_CTYPE", "MPLCONFIGDIR", "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS", "PATH",
    }  # fmt: skip
    assert said["folder"] == "/"
    assert (said["core"], said["files_of"], said["dumpable"]) == ("(0, 0)", str(MOST_FILE_BYTES), "0")
    assert said["out_of_memory"] == "1000"
    assert said["status"].split() == ["CapEff:", "0" * 16, "NoNewPrivs:", "1", "Seccomp:", "2"]
    expected = os.geteuid() if account is None else account.user
    assert said["user"] == str((expected,) * 3)


def test_a_worker_ends_with_its_gate(tmp_path: Path) -> None:
    """The gate is killed with no time to say anything."""
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom policy.confined_process import ConfinedProcess\n"
        f"one = ConfinedProcess.start('{RAW}:waits', what='it', account=None, hidden=Path(sys.argv[1]))\n"
        "one.ready()\nprint(one._process.pid, flush=True)\ntime.sleep(600)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}) as it:
        assert it.stdout is not None
        worker = int(it.stdout.readline())
        assert Path(f"/proc/{worker}").exists()
        it.send_signal(signal.SIGKILL)
        it.wait()
    for _ in range(600):
        if not is_running(worker):
            return
        time.sleep(0.1)
    os.kill(worker, signal.SIGKILL)
    raise AssertionError("the worker outlived its gate")


@pytest.mark.parametrize("stage", ["generating", "read back"])
def test_a_gate_that_is_killed_leaves_no_clip_no_lost_use_and_no_process(gate: SplitGate, stage: str) -> None:
    simulator = gate.simulator
    consent = simulator.consent(uses=1)
    request, facts = simulator.request(consent), inspect_once(simulator.portrait, simulator.audio)
    simulator.authority.close()
    task = Task(
        simulator.state, request, facts, gate.out, simulator.clock(), kill_at=stage, worker=f"{MARKING}:picture"
    )
    assert child_process.run(task) == child_process.KILLED
    assert list(gate.folder.iterdir()) == []
    assert list((simulator.state / "work").iterdir()) == []
    for _ in range(600):
        if not orphans():
            break
        time.sleep(0.1)
    assert not orphans()
    simulator.reopen()
    assert simulator.used(consent) == 0
    assert events(simulator.authority)[-1] == "use.refunded"


def orphans() -> set[str]:
    """Confined processes whose gate is gone."""
    plans = {one.name: command_line(one) for one in Path("/proc").iterdir() if one.name.isdigit()}
    confined = {
        name: json.loads(words[-1])
        for name, words in plans.items()
        if any(word.endswith("/confined_start.py") for word in words)
    }
    return {name for name, plan in confined.items() if not is_running(plan["parent"]) and is_running(int(name))}


def command_line(process: Path) -> list[str]:
    try:
        return (process / "cmdline").read_text(encoding="utf-8", errors="replace").rstrip("\0").split("\0")
    except OSError:
        return []


def is_running(process: int) -> bool:
    """False also for one that is dead and not yet collected."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{process}/status").read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        return False


# What the gate keeps to itself


def test_what_came_back_can_not_be_changed_any_more(tmp_path: Path) -> None:
    with (tmp_path / "a").open("w+b") as filled, (tmp_path / "b").open("w+b") as own:
        filled.write(b"as it was checked")
        filled.flush()
        take_over(filled, own, most_bytes=100)
        os.pwrite(filled.fileno(), b"x" * 40, 0)
        assert own.read() == b"as it was checked"


def test_what_is_handed_in_can_not_be_changed() -> None:
    with handed_in(b"portrait") as (descriptor,):
        with pytest.raises(PermissionError):
            os.pwrite(descriptor, b"x", 0)
        with pytest.raises(PermissionError):
            os.truncate(descriptor, 1)


def test_a_stream_is_refused_before_anything_happens(gate: SplitGate) -> None:
    pipeline, request = pipeline_of(gate.simulator.authority), gate.simulator.request()
    before = gate.simulator.authority.log.size
    with pytest.raises(StateError, match="has a worker process, which makes whole clips and no streams"):
        pipeline.stream(request, gate.folder / "live")
    assert gate.simulator.authority.log.size == before
    assert list(gate.folder.iterdir()) == []


def test_an_impossible_output_path_starts_no_process(gate: SplitGate, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(*_: object, **__: object) -> NoReturn:
        raise AssertionError("a process was started")

    monkeypatch.setattr(ConfinedProcess, "start", start)
    with pytest.raises(OutputError):
        pipeline_of(gate.simulator.authority).release(gate.simulator.request(), gate.folder / "missing" / "clip.mp4")


# The setting


def test_split_is_tried_out_logged_and_can_be_ended(tmp_path: Path) -> None:
    simulator = GateSimulator(tmp_path, NOW)
    authority = simulator.authority
    receipt, ready = authority.split_off_worker(None)
    assert receipt.event == "worker.split"
    assert ready.landlock > 0
    assert authority.split_worker is not None
    assert (simulator.state / WORKER_FILE).stat().st_mode & 0o777 == 0o600
    assert authority.end_worker_split().event == "worker.joined"
    assert authority.split_worker is None
    with pytest.raises(StateError, match="no worker process"):
        authority.end_worker_split()
    authority.close()


@pytest.mark.parametrize("user", ["root", "no-such-user"])
def test_a_user_that_protects_nothing_is_refused(tmp_path: Path, user: str) -> None:
    simulator = GateSimulator(tmp_path, NOW)
    with pytest.raises(StateError):
        simulator.authority.split_off_worker(user)
    assert simulator.authority.split_worker is None
    simulator.authority.close()


@as_root
def test_code_that_the_other_user_can_not_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o700)
    monkeypatch.setattr("policy.confined_process.ROOT", locked)
    monkeypatch.setattr(sys, "base_prefix", "/usr")
    monkeypatch.setattr(sys, "prefix", "/usr")
    with pytest.raises(StateError, match="nobody can't enter"):
        Account.named("nobody").require_code()


@pytest.mark.parametrize("content", [b"", b"{}", b'{"user":"no-such-user"}', b'{"user":null,"more":1}', b'{"user":1}'])
def test_a_setting_that_is_not_understood_makes_no_clip_in_the_gate(tmp_path: Path, content: bytes) -> None:
    simulator = GateSimulator(tmp_path, NOW)
    write_secret(simulator.state / WORKER_FILE, content)
    simulator.reopen()
    with pytest.raises(StateError):
        pipeline_of(simulator.authority)
    simulator.authority.close()


def test_a_state_folder_among_the_code_is_refused() -> None:
    with pytest.raises(StateError, match="move it elsewhere"):
        ConfinedProcess.start(f"{RAW}:waits", what="it", account=None, hidden=ROOT / PACKAGES[0] / "state")


def test_a_split_that_can_not_be_started_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    simulator = GateSimulator(tmp_path, NOW)
    monkeypatch.setattr("policy.remote_reader.READER", "policy.no_such_module:read")
    with pytest.raises(ProcessError, match=r"failed \(start\): ModuleNotFoundError"):
        simulator.authority.split_off_worker(None)
    assert simulator.authority.split_worker is None
    assert Authority.open(simulator.state, clock=simulator.clock).split_worker is None
