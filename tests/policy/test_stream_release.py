"""A live stream leaves in signed segments, each of which names the one before, or it doesn't leave.

Frames come from a moving test picture; everything else on the way is real, as in `test_release`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import av
import pytest
import torch

from media import MediaError, PcmFormat, load_audio, read_audio
from policy import (
    GenerationRequest,
    LiveInput,
    OutputError,
    Refused,
    ReleaseError,
    live_recording,
    stream_release,
)
from policy.live_recording import read_live
from policy.stream_folder import PLAYLIST
from provenance import CredentialsReport, verify_clip
from tests.policy import child_process
from tests.policy.child_process import Task
from tests.policy.conftest import DEMO, GateSimulator, MovingPicture, inspect_once, jti_of, pipeline_of, speech_wav
from tests.policy.test_release import events
from watermark import detect_audio

NOW = datetime.now(UTC)
RATE = 48_000


@pytest.fixture
def simulator(tmp_path: Path) -> GateSimulator:
    made = GateSimulator(tmp_path, NOW)
    made.audio = speech_wav(5.0)
    torch.set_num_threads(1)
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "live"


def reports(simulator: GateSimulator, folder: Path) -> list[CredentialsReport]:
    return [verify_clip(path, simulator.authority.trust_anchors) for path in sorted(folder.glob("*.mp4"))]


def speech_pcm(seconds: float) -> bytes:
    voice = load_audio(DEMO / "voice.flac", sample_rate=RATE, max_s=60)[24_000:]
    return bytes((voice[: round(seconds * RATE)] * 32_000).to(torch.int16).numpy().tobytes())


def wav_header(data_bytes: int) -> bytes:
    """As a recorder writes it that doesn't know yet how long it will be: `data_bytes` 0xFFFFFFFF."""
    fmt = struct.pack("<HHIIHH", 1, 1, RATE, 2 * RATE, 2, 16)
    return b"RIFF\xff\xff\xff\xffWAVEfmt \x10\x00\x00\x00" + fmt + b"data" + struct.pack("<I", data_bytes)


def piped(data: bytes, *, then: threading.Event | None = None) -> BinaryIO:
    """The reading end of a pipe into which `data` is written, and which ends after that, or after `then`."""
    reading, writing = os.pipe()

    def write() -> None:
        with os.fdopen(writing, "wb") as pipe:
            with contextlib.suppress(BrokenPipeError):  # the stream has enough
                pipe.write(data)
                pipe.flush()
            if then is not None:
                then.wait(60)

    threading.Thread(target=write, daemon=True).start()
    return os.fdopen(reading, "rb", buffering=0)


def live_request(simulator: GateSimulator, consent: str, max_s: int = 10) -> GenerationRequest:
    return simulator.request(consent, audio=live_recording(max_s))


def test_segments_are_signed_chained_marked_and_count_as_one_use(simulator: GateSimulator, folder: Path) -> None:
    consent = simulator.consent(uses=1)
    done: list[int] = []
    receipt = simulator.pipeline().stream(
        simulator.request(consent), folder, progress=lambda frames, total: done.append(frames)
    )
    assert (receipt.segments, receipt.frames, done) == (2, 125, [50, 125])
    names = ["segment_000000.mp4", "segment_000001.mp4"]
    assert sorted(path.name for path in folder.iterdir()) == [PLAYLIST, *names]
    first, second = reports(simulator, folder)
    assert {first.state, second.state} == {"verified"}
    assert first.manifest_id == second.manifest_id == receipt.manifest_id
    assert first.stream is not None
    assert second.stream is not None
    assert (first.stream.number, first.stream.previous_sha256, first.stream.last) == (0, "", False)
    sha256 = hashlib.sha256((folder / names[0]).read_bytes()).hexdigest()
    assert (second.stream.number, second.stream.previous_sha256, second.stream.last) == (1, sha256, True)
    assert (second.stream.start_frame, second.stream.frames) == (50, 75)
    assert first.audio_sha256 == hashlib.sha256(simulator.audio).hexdigest()
    assert simulator.used(consent) == 1
    (use,) = simulator.authority.uses(jti_of(consent))
    assert (use.state, use.clip_sha256) == ("consumed", sha256)
    assert events(simulator.authority).count("segment.released") == 2
    assert list((simulator.state / "work").iterdir()) == []
    for name in names:
        blocks = read_audio(folder / name, sample_rate=RATE)
        payload = detect_audio(blocks, [simulator.authority.mark_key], sample_rate=RATE).payload
        assert payload is not None
        assert payload.manifest_id == receipt.manifest_id
    stored = simulator.authority.repository.find(receipt.manifest_id)
    assert stored is not None
    assert stored.clip_sha256 == sha256
    with pytest.raises(Refused):
        simulator.pipeline().stream(simulator.request(consent), folder.with_name("again"))
    assert not folder.with_name("again").exists()


def test_the_playlist_plays_as_one_stream_without_a_gap(simulator: GateSimulator, folder: Path) -> None:
    """By FFmpeg's HLS reader, which knows nothing of the folder but the playlist."""
    simulator.pipeline().stream(simulator.request(simulator.consent()), folder)
    with av.open(str(folder / PLAYLIST)) as container:
        times = [float(frame.pts * frame.time_base) for frame in container.decode(video=0)]
    assert len(times) == 125
    assert all(b - a == pytest.approx(0.04, abs=1e-4) for a, b in pairwise(times))
    with av.open(str(folder / PLAYLIST)) as container:
        heard = sum(frame.samples for frame in container.decode(audio=0)) / RATE
    assert heard == pytest.approx(5.0, abs=0.05)
    lines = (folder / PLAYLIST).read_text().splitlines()
    assert lines[0] == "#EXTM3U"
    assert {"#EXT-X-PLAYLIST-TYPE:EVENT", "#EXT-X-ENDLIST"} <= set(lines)


@pytest.mark.parametrize("form", ["raw", "wav"])
def test_sound_from_a_pipe_is_filled_up_to_whole_segments(simulator: GateSimulator, folder: Path, form: str) -> None:
    data = (b"" if form == "raw" else wav_header(0xFFFFFFFF)) + speech_pcm(3.1)
    raw = PcmFormat(RATE, 1) if form == "raw" else None
    with piped(data) as pipe:
        receipt = simulator.pipeline().stream(
            live_request(simulator, simulator.consent()), folder, live=LiveInput(pipe, raw)
        )
    assert (receipt.segments, receipt.frames) == (2, 100)
    first, second = reports(simulator, folder)
    assert first.stream is not None
    assert second.stream is not None
    assert (first.stream.last, second.stream.last) == (False, True)
    assert second.audio_sha256 == hashlib.sha256(data).hexdigest()


def test_a_live_recording_ends_at_the_length_that_was_asked_for(simulator: GateSimulator, folder: Path) -> None:
    with piped(speech_pcm(5.0)) as pipe:
        receipt = simulator.pipeline().stream(
            live_request(simulator, simulator.consent(), 2), folder, live=LiveInput(pipe, PcmFormat(RATE, 1))
        )
    assert (receipt.segments, receipt.frames) == (1, 50)


def test_a_consent_to_listed_recordings_or_too_few_seconds_covers_no_live_one(
    simulator: GateSimulator, folder: Path
) -> None:
    consent = simulator.consent(max_seconds=4)
    with piped(b"") as pipe, pytest.raises(Refused) as refused:
        simulator.pipeline().stream(live_request(simulator, consent), folder, live=LiveInput(pipe))
    assert [denial.rule_id for denial in refused.value.decision.denials] == ["consent.audio_too_long"]
    assert not folder.exists()


def test_a_silent_stream_is_released_with_the_mark_in_its_picture(simulator: GateSimulator, folder: Path) -> None:
    with piped(bytes(2 * RATE * 4)) as pipe:
        receipt = simulator.pipeline().stream(
            live_request(simulator, simulator.consent()), folder, live=LiveInput(pipe, PcmFormat(RATE, 1))
        )
    assert (receipt.segments, receipt.quiet_segments) == (2, 2)
    assert [report.state for report in reports(simulator, folder)] == ["verified"] * 2


def test_a_quiet_segment_waits_for_the_next_whose_sound_carries_the_mark(
    simulator: GateSimulator, folder: Path
) -> None:
    out: list[int] = []
    with piped(bytes(2 * RATE * 2) + speech_pcm(3.9)) as pipe:
        receipt = simulator.pipeline().stream(
            live_request(simulator, simulator.consent()),
            folder,
            live=LiveInput(pipe, PcmFormat(RATE, 1)),
            progress=lambda frames, total: out.append(frames),
        )
    assert out == [0, 100, 150]
    assert (receipt.segments, receipt.quiet_segments) == (3, 0)


def test_a_mark_that_cannot_be_read_stops_the_stream(
    simulator: GateSimulator, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is handed out before its mark was read back; the segments before stay."""
    asked = iter(range(100))  # picture and sound of a segment at a time
    monkeypatch.setattr(stream_release, "reads_as", lambda detection, mark: next(asked) < 2)
    consent = simulator.consent()
    with pytest.raises(ReleaseError, match=r"video and sound of segment 1 .*strength 2.2"):
        simulator.pipeline().stream(simulator.request(consent, audio=speech_wav(6.0)), folder)
    assert [report.state for report in reports(simulator, folder)] == ["verified"]
    assert len(list(folder.glob("*.mp4"))) == 1


@pytest.mark.parametrize("word", ["withdraw", "suspend"])
def test_a_withdrawal_stops_a_stream_within_five_seconds_even_in_silence_from_the_sender(
    simulator: GateSimulator, folder: Path, word: str
) -> None:
    """The sender falls silent, without ending, after the first segment; the depicted person withdraws."""
    consent, over = simulator.consent(uses=2), threading.Event()
    withdrawn_at: list[float] = []

    def withdraw(frames: int, total: int | None) -> None:
        getattr(simulator.authority, word)(jti_of(consent))
        withdrawn_at.append(time.monotonic())

    try:
        with piped(speech_pcm(3.0), then=over) as pipe, pytest.raises(Refused):
            simulator.pipeline().stream(
                live_request(simulator, consent),
                folder,
                live=LiveInput(pipe, PcmFormat(RATE, 1)),
                progress=withdraw,
            )
    finally:
        over.set()
    assert time.monotonic() - withdrawn_at[0] < 5
    assert sorted(path.name for path in folder.iterdir()) == [PLAYLIST, "segment_000000.mp4"]
    assert (folder / PLAYLIST).read_text().splitlines()[-1] == "#EXT-X-ENDLIST"
    assert [report.state for report in reports(simulator, folder)] == ["verified"]
    assert simulator.used(consent) == 1


def test_a_failure_before_the_first_segment_leaves_nothing_and_costs_nothing(
    simulator: GateSimulator, folder: Path
) -> None:
    consent = simulator.consent()
    with piped(wav_header(0xFFFFFFFF)) as pipe, pytest.raises(ReleaseError, match="no sound"):
        simulator.pipeline().stream(live_request(simulator, consent), folder, live=LiveInput(pipe))
    assert not folder.exists()
    assert simulator.used(consent) == 0


def test_a_failure_later_leaves_signed_segments_only(simulator: GateSimulator, folder: Path) -> None:
    class Tiring(MovingPicture):
        def render(self, face: torch.Tensor, block: torch.Tensor) -> torch.Tensor:
            if len(block) and int(block[-1]) > 70:
                raise MediaError("x", expected="a", came="b", remedy="c")
            return super().render(face, block)

    consent = simulator.consent()
    with pytest.raises(ReleaseError, match="1 signed segments"):
        pipeline_of(simulator.authority, Tiring()).stream(simulator.request(consent, audio=speech_wav(6.0)), folder)
    assert [report.state for report in reports(simulator, folder)] == ["verified"]
    assert simulator.used(consent) == 1


@pytest.mark.parametrize(("stage", "segments"), [("registered", 0), ("handed out", 1)])
def test_a_kill_leaves_signed_segments_only(simulator: GateSimulator, folder: Path, stage: str, segments: int) -> None:
    consent = simulator.consent(uses=1)
    request = simulator.request(consent)
    task = Task(
        simulator.state, request, inspect_once(simulator.portrait, simulator.audio), folder, simulator.clock(),
        kill_at=stage, live=True,
    )  # fmt: skip
    simulator.authority.close()
    assert child_process.run(task) == child_process.KILLED
    simulator.reopen()
    found = sorted(path.name for path in folder.iterdir())
    assert found == ([PLAYLIST, "segment_000000.mp4"] if segments else [])
    assert [report.state for report in reports(simulator, folder)] == ["verified"] * segments
    assert list((simulator.state / "work").iterdir()) == []
    simulator.gate.decide(simulator.request(simulator.consent()), worker_key=bytes(32))
    assert simulator.used(consent) == segments


def test_only_signed_files_ever_appear(simulator: GateSimulator, folder: Path) -> None:
    """Looked at as often as possible while the stream runs: every MP4 verifies, other names are playlists."""
    seen: dict[str, bytes] = {}
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            for path in list(folder.glob("*")) + list(folder.glob(".*")) if folder.exists() else []:
                try:
                    seen.setdefault(path.name, path.read_bytes())
                except FileNotFoundError:
                    continue
            time.sleep(0.001)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        simulator.pipeline().stream(simulator.request(simulator.consent()), folder)
    finally:
        over.set()
        looking.join()
    segments = {name: data for name, data in seen.items() if not name.endswith((".m3u8", ".m3u8.part")) and data}
    segments = {name: data for name, data in segments.items() if PLAYLIST not in name}
    assert set(segments) == {"segment_000000.mp4", "segment_000001.mp4"}
    assert all(data == (folder / name).read_bytes() for name, data in segments.items())


def test_a_folder_that_holds_something_is_refused_before_anything_happens(
    simulator: GateSimulator, folder: Path
) -> None:
    folder.mkdir()
    (folder / "notes.txt").touch()
    before = simulator.authority.log.size
    with pytest.raises(OutputError, match="not an empty folder"):
        simulator.pipeline().stream(simulator.request(), folder)
    with pytest.raises(OutputError, match="cannot be made"):
        simulator.pipeline().stream(simulator.request(), folder / "notes.txt" / "live")
    assert simulator.authority.log.size == before + 2  # the two consents


@pytest.fixture
def endless() -> Iterator[LiveInput]:
    with piped(b"") as pipe:
        yield LiveInput(pipe)


def test_live_sound_and_a_request_for_it_belong_together(
    simulator: GateSimulator, folder: Path, endless: LiveInput
) -> None:
    with pytest.raises(ValueError, match="belongs to a request"):
        simulator.pipeline().stream(simulator.request(), folder, live=endless)
    with pytest.raises(ValueError, match="belongs to a request"):
        simulator.pipeline().stream(live_request(simulator, simulator.consent()), folder)
    with pytest.raises(ValueError, match="as a stream"):
        simulator.pipeline().release(live_request(simulator, simulator.consent()), folder)


def test_a_stand_in_for_live_sound_has_one_form() -> None:
    data = live_recording(60)
    read = read_live(data)
    assert read is not None
    assert read.max_s == 60
    assert live_recording(60) != data
    for other in (data + b" ", data.replace(b"60", b"61"), data.replace(b"60", b"0"), data[:-1], b"{}", speech_wav()):
        assert read_live(other) is None
    for wrong in (0, 3, 2.0, 10**6):
        with pytest.raises(ValueError, match="even number"):
            live_recording(wrong)  # type: ignore[arg-type]
