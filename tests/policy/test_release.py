"""A clip leaves marked, signed, logged and counted, or nothing leaves at all; whatever happens on the way.

Frames come from a moving test picture; everything else on the way is real: sealed weights, broker, marks,
H.264 and AAC, reading back, C2PA signature and both verifying engines, repository, log.
"""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch

from media import probe, read_audio, read_frames
from policy import (
    Authority,
    Decision,
    Framing,
    GenerationRequest,
    OutputError,
    Refused,
    ReleaseError,
    clip_release,
    marked_clip,
)
from policy.canonical import sha256_hex
from provenance import verify_clip
from tests.policy import child_process
from tests.policy.child_process import Task
from tests.policy.conftest import (
    GateSimulator,
    MovingPicture,
    demo_pixels,
    inspect_once,
    jti_of,
    pipeline_of,
    png,
    speech_wav,
)
from watermark import detect_audio, detect_video

NOW = datetime.now(UTC)  # the C2PA engines judge time stamps by the real clock


@pytest.fixture
def simulator(tmp_path: Path) -> GateSimulator:
    made = GateSimulator(tmp_path, NOW)
    made.audio = speech_wav()
    inspect_once(made.portrait, made.audio)
    torch.set_num_threads(1)
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "out"
    made.mkdir()
    return made


def events(authority: Authority) -> list[str]:
    entries = [json.loads(authority.log.entry(index)) for index in range(authority.log.size)]
    return [entry["event"] for entry in entries]


def test_a_clip_is_marked_signed_logged_and_counted(simulator: GateSimulator, folder: Path) -> None:
    authority, consent, out = simulator.authority, simulator.consent(uses=2), folder / "clip.mp4"
    seen: list[tuple[int, int]] = []
    stages: list[str] = []
    receipt = simulator.pipeline().release(
        simulator.request(consent, seed=7), out, progress=lambda *n: seen.append(n), on_stage=stages.append
    )
    assert list(folder.iterdir()) == [out]
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert receipt.clip_sha256 == sha256_hex(out.read_bytes())
    assert (receipt.frames, receipt.uses_left, receipt.seed) == (65, 1, 7)
    assert seen[-1] == (65, 65)
    assert list(dict.fromkeys(stages)) == [  # a mark that can't be read back is made again, stronger
        "prepared", "decided", "unsealed", "encoded", "generated", "read back",
        "signed", "verified", "registered", "delivering", "handed out", "consumed",
    ]  # fmt: skip

    info = probe(out)
    assert (info.width, info.height, info.fps, info.audio_sample_rate) == (512, 512, 25, 48_000)
    for found in (
        detect_video(read_frames(out), [authority.mark_key]),
        detect_audio(read_audio(out, sample_rate=48_000), [authority.mark_key], sample_rate=48_000),
    ):
        assert found.payload is not None
        assert found.payload.manifest_id == receipt.manifest_id

    credentials = verify_clip(out, authority.trust_anchors)
    assert credentials.state == "verified"
    assert credentials.engines_agree
    assert credentials.manifest_id == receipt.manifest_id
    assert credentials.decision_sha256 == receipt.decision_sha256 == sha256_hex(authority.log.entry(receipt.log_index))
    assert credentials.consent_sha256 == sha256_hex(consent.encode())
    stored = authority.repository.find(receipt.manifest_id)
    assert stored is not None
    assert stored.clip_sha256 == receipt.clip_sha256
    assert events(authority)[-3:] == ["decision", "key.released", "clip.released"]
    (use,) = authority.uses(jti_of(consent))
    assert (use.state, use.clip_sha256) == ("consumed", receipt.clip_sha256)
    assert list(authority.work_folder.iterdir()) == []


def test_a_clip_of_the_whole_portrait_verifies_like_any_other(simulator: GateSimulator, folder: Path) -> None:
    pixels = demo_pixels()
    simulator.portrait = png(pixels[:601, 80:721])
    consent, out = simulator.consent(max_width=640, max_height=600), folder / "clip.mp4"
    receipt = simulator.pipeline().release(simulator.request(consent, framing=Framing(frame="portrait")), out)
    info = probe(out)
    assert (info.width, info.height) == (receipt.width_px, receipt.height_px) == (640, 600)
    assert verify_clip(out, simulator.authority.trust_anchors).state == "verified"
    found = detect_video(read_frames(out), [simulator.authority.mark_key])
    assert found.payload is not None
    assert found.payload.manifest_id == receipt.manifest_id


def test_a_choice_that_is_changed_after_the_decision_stops_the_release(
    simulator: GateSimulator, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    consent, pipeline = simulator.consent(), simulator.pipeline()
    request, decide = simulator.request(consent), pipeline._gate.decide

    def decide_then_change(asked: GenerationRequest, *, worker_key: bytes) -> Decision:
        decision = decide(asked, worker_key=worker_key)
        object.__setattr__(asked, "framing", Framing(face=2))
        return decision

    monkeypatch.setattr(pipeline._gate, "decide", decide_then_change)
    with pytest.raises(ReleaseError, match="changed after the decision"):
        pipeline.release(request, folder / "clip.mp4")
    assert_nothing_left(simulator, folder, consent)


def test_a_mark_that_cannot_be_read_is_made_stronger(
    simulator: GateSimulator, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clip_release, "STRENGTHS", (0.02, 1.5))
    receipt = simulator.pipeline().release(simulator.request(), folder / "clip.mp4")
    assert receipt.mark_strengths[0] == 1.5


def test_a_clip_whose_mark_cannot_be_read_is_not_released(
    simulator: GateSimulator, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clip_release, "STRENGTHS", (0.02,))
    consent = simulator.consent()
    with pytest.raises(ReleaseError, match="cannot be read back"):
        simulator.pipeline().release(simulator.request(consent), folder / "clip.mp4")
    assert_nothing_left(simulator, folder, consent)


def assert_nothing_left(simulator: GateSimulator, folder: Path, consent: str) -> None:
    """No file, no use taken, and the refund is in the log."""
    assert list(folder.iterdir()) == []
    assert simulator.used(consent) == 0
    assert list(simulator.authority.work_folder.iterdir()) == []
    assert events(simulator.authority)[-1] == "use.refunded"
    assert "clip.released" not in events(simulator.authority)


@pytest.mark.parametrize("word", ["withdraw", "suspend"])
def test_a_withdrawal_stops_a_running_job(simulator: GateSimulator, folder: Path, word: str) -> None:
    consent = simulator.consent()
    after: list[int] = []

    def act(done: int, frames: int) -> None:
        after.append(done)
        getattr(simulator.authority, word)(jti_of(consent))

    with pytest.raises(Refused) as caught:
        simulator.pipeline().release(simulator.request(consent), folder / "clip.mp4", progress=act)
    (denial,) = caught.value.decision.denials
    assert denial.rule_id == {"withdraw": "consent.revoked", "suspend": "consent.suspended"}[word]
    assert len(after) == 1
    assert events(simulator.authority)[-2:] == ["job.stopped", "use.refunded"]
    assert_nothing_left(simulator, folder, consent)


def test_a_withdrawal_stops_the_reading_back_and_the_fingerprint_too(
    simulator: GateSimulator, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """These steps see every frame again; on a long clip each takes longer than a withdrawal may."""
    consent = simulator.consent()
    seen: list[str] = []

    def endless(clip: Any, *, max_side_px: int | None = None) -> Iterator[Any]:
        seen.append("marks" if max_side_px is None else "fingerprint")
        (block, *_) = read_frames(clip, max_side_px=max_side_px)
        while True:
            if max_side_px is None:
                simulator.clock.advance(seconds=1)
            yield block

    def act(now: str) -> None:
        if now == "generated":
            simulator.authority.withdraw(jti_of(consent))

    monkeypatch.setattr(marked_clip, "read_frames", endless)
    with pytest.raises(Refused, match="withdrawn while"):
        simulator.pipeline().release(simulator.request(consent), folder / "clip.mp4", on_stage=act)
    assert sorted(seen) == ["fingerprint", "marks"]
    assert simulator.used(consent) == 0
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("error", [RuntimeError("out of memory"), KeyboardInterrupt(), OSError(28, "No space left")])
def test_a_failing_generator_leaves_nothing(simulator: GateSimulator, folder: Path, error: BaseException) -> None:
    class Breaks(MovingPicture):
        def render(self, face: torch.Tensor, block: torch.Tensor) -> torch.Tensor:
            if int(block[0]) > 20:
                raise error
            return super().render(face, block)

    consent = simulator.consent()
    pipeline = pipeline_of(simulator.authority, Breaks())
    with pytest.raises(ReleaseError if isinstance(error, OSError) else type(error)):
        pipeline.release(simulator.request(consent), folder / "clip.mp4")
    assert_nothing_left(simulator, folder, consent)


def test_the_wrong_number_of_frames_is_not_released(simulator: GateSimulator, folder: Path) -> None:
    class Drops(MovingPicture):
        def render(self, face: torch.Tensor, block: torch.Tensor) -> torch.Tensor:
            return super().render(face, block)[:-1]

    consent = simulator.consent()
    pipeline = pipeline_of(simulator.authority, Drops())
    with pytest.raises(ReleaseError, match="frames, expected 65"):
        pipeline.release(simulator.request(consent), folder / "clip.mp4")
    assert_nothing_left(simulator, folder, consent)


def test_weights_that_were_changed_on_the_disk_make_no_clip(simulator: GateSimulator, folder: Path) -> None:
    from policy import SealError

    consent, weights = simulator.consent(), simulator.authority.weights
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    try:
        with pytest.raises(SealError, match="does not open"):
            simulator.pipeline().release(simulator.request(consent), folder / "clip.mp4")
    finally:
        weights.write_bytes(whole)
    assert_nothing_left(simulator, folder, consent)


# The output path


def bad_paths(folder: Path) -> list[Path]:
    (folder / "file").write_bytes(b"x")
    return [
        folder / "missing" / "clip.mp4",
        folder,
        folder / "file" / "clip.mp4",
        Path("/proc/clip.mp4"),
        folder / "file",
    ]


def test_an_impossible_output_path_is_refused_before_anything_happens(simulator: GateSimulator, folder: Path) -> None:
    request, before = simulator.request(), simulator.authority.log.size
    for out in bad_paths(folder):
        with pytest.raises(OutputError):
            simulator.pipeline().release(request, out)
    assert simulator.authority.log.size == before
    assert [path.name for path in folder.iterdir()] == ["file"]
    assert (folder / "file").read_bytes() == b"x"


def test_an_older_clip_is_replaced_only_when_asked_and_only_by_a_whole_one(
    simulator: GateSimulator, folder: Path
) -> None:
    out = folder / "clip.mp4"
    out.write_bytes(b"older")

    def stop(done: int, frames: int) -> NoReturn:
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        simulator.pipeline().release(simulator.request(), out, overwrite=True, progress=stop)
    assert out.read_bytes() == b"older"
    receipt = simulator.pipeline().release(simulator.request(), out, overwrite=True)
    assert sha256_hex(out.read_bytes()) == receipt.clip_sha256
    assert list(folder.iterdir()) == [out]


def test_a_file_that_appears_meanwhile_is_not_replaced(simulator: GateSimulator, folder: Path) -> None:
    consent, out = simulator.consent(), folder / "clip.mp4"

    def intrude(stage: str) -> None:
        if stage == "delivering":
            out.write_bytes(b"someone else's")

    with pytest.raises(OutputError, match="appeared"):
        simulator.pipeline().release(simulator.request(consent), out, on_stage=intrude)
    assert out.read_bytes() == b"someone else's"
    out.unlink()
    assert simulator.used(consent) == 0
    assert events(simulator.authority)[-1] == "use.refunded"


# Killed, and out of space


def run_elsewhere(simulator: GateSimulator, request: GenerationRequest, out: Path, **stages: str) -> int:
    """Release in a process of its own; its exit code."""
    facts = inspect_once(request.portrait, request.audio)
    return child_process.run(Task(simulator.state, request, facts, out, simulator.clock(), **stages))


@pytest.mark.parametrize(
    "stage", ["decided", "unsealed", "generating", "read back", "verified", "delivering", "handed out"]
)
def test_a_kill_at_any_stage_leaves_no_clip_and_no_lost_use(simulator: GateSimulator, folder: Path, stage: str) -> None:
    consent, out = simulator.consent(uses=1), folder / "clip.mp4"
    assert run_elsewhere(simulator, simulator.request(consent), out, kill_at=stage) == child_process.KILLED
    released = stage == "handed out"
    assert list(folder.iterdir()) == ([out] if released else [])
    assert list((simulator.state / "work").iterdir()) == []
    simulator.reopen()
    assert simulator.used(consent) == int(released)
    (use,) = simulator.authority.uses(jti_of(consent))
    assert use.state == ("consumed" if released else "refunded")
    if released:
        assert verify_clip(out, simulator.authority.trust_anchors).state == "verified"
    else:
        assert events(simulator.authority)[-1] == "use.refunded"


def test_a_run_after_a_kill_works(simulator: GateSimulator, folder: Path) -> None:
    consent, out = simulator.consent(uses=1), folder / "clip.mp4"
    assert run_elsewhere(simulator, simulator.request(consent), out, kill_at="unsealed") == child_process.KILLED
    receipt = simulator.pipeline().release(simulator.request(consent), out)
    assert receipt.uses_left == 0
    assert sha256_hex(out.read_bytes()) == receipt.clip_sha256


@pytest.mark.parametrize("stage", ["decided", "read back", "delivering"])
def test_a_full_disk_leaves_nothing(simulator: GateSimulator, folder: Path, stage: str) -> None:
    """No file of the process may grow any more from `stage` on: neither the clip nor a database."""
    consent, out = simulator.consent(), folder / "clip.mp4"
    code = run_elsewhere(simulator, simulator.request(consent), out, disk_full_at=stage)
    assert code == child_process.FAILED
    assert list(folder.iterdir()) == []
    simulator.reopen()
    assert simulator.used(consent) == 0


def test_two_processes_racing_for_the_last_use_make_one_clip_right(simulator: GateSimulator) -> None:
    consent = simulator.consent(uses=1)
    requests = [simulator.request(consent) for _ in range(4)]
    facts = inspect_once(simulator.portrait, simulator.audio)
    start, answered = child_process.PROCESSES.Barrier(4), child_process.PROCESSES.Queue()
    processes = [
        child_process.PROCESSES.Process(
            target=child_process.decide_in_step,
            args=(Task(simulator.state, request, facts, simulator.state, simulator.clock()), start, answered),
        )
        for request in requests
    ]
    for process in processes:
        process.start()
    answers = [answered.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert sorted(answers) == [[], *[["consent.uses_exhausted"]] * 3]
