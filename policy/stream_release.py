"""A live stream: an allowed request released in signed segments of two seconds, as the sound arrives.

For each segment: generate, mark, encode (anonymous file) -> read both marks back -> sign, naming the segment before
by its hash -> verify -> register -> log -> hand out -> list. The use is consumed when the first segment is handed out,
once for the whole stream; before that a failure leaves nothing and gives it back. A withdrawal stops the stream; what
was handed out stays, signed.

The mark in the picture is read back out of each segment alone. So is the one in the sound, except where a segment is
too quiet to carry it: then it is held back until the mark can be read out of it joined with those after it. A run of
`MOST_HELD` segments in which there is not a second of audible sound holds nothing that a mark could be hidden in, and
is released with the mark in its picture.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import BinaryIO

import torch
from torch import Tensor

from media import LiveSound, PcmFormat, read_audio
from policy.authority import Authority
from policy.consent_token import ConsentClaims
from policy.decision import Decision
from policy.errors import ReleaseError
from policy.grant import GrantClaims
from policy.job import Job, file_sha256
from policy.live_recording import LiveRecording
from policy.marked_clip import (
    CONTROL_RATE,
    SOUND_RATE,
    STRENGTHS,
    ClipMeasures,
    Mark,
    Performance,
    SoundBlock,
    audio_blocks,
    performed,
    reads_as,
    rendered,
    threads_side_by_side,
)
from policy.performer import LocalPerformer, Wishes
from policy.request import OUTPUT_FPS, GenerationRequest
from policy.segment_maker import SAMPLES_PER_FRAME, SEGMENT_FRAMES, SEGMENT_S, Segment, SegmentMaker
from policy.stages import Stages
from policy.status_list import TokenStatus
from policy.stream_folder import StreamFolder
from provenance import StreamPlace
from watermark import Payload, detect_audio

AUDIBLE_S = 1.0
"""With less audible sound than this no mark can be read, nor heard."""
MOST_HELD = 4
LOOK_S = 1.0


@dataclass(frozen=True)
class LiveInput:
    """Where live sound comes from: a file object with a descriptor, and its format when it is raw PCM."""

    source: BinaryIO
    raw: PcmFormat | None = None


@dataclass(frozen=True)
class StreamReceipt:
    """What was handed out. `quiet_segments` had too little sound for a mark in it; all are marked in their picture."""

    folder: str
    playlist: str
    segments: int
    quiet_segments: int
    frames: int
    duration_s: float
    manifest_id: int
    decision_id: str
    log_index: int
    consent_id: str
    last_sha256: str


@dataclass
class _Held:
    """A segment that was made and marked, waiting to be signed."""

    file: BinaryIO
    place: tuple[int, int, int, bool]  # number, start frame, frames, last
    audible_s: float
    audio_sha256: str
    fingerprint: bytes
    measures: ClipMeasures
    sound: list[Tensor] = field(default_factory=list)


class StreamJob(Job):
    """One allowed request on its way out in segments."""

    def __init__(
        self,
        authority: Authority,
        status_of: Callable[[ConsentClaims], TokenStatus],
        request: GenerationRequest,
        decision: Decision,
        folder: StreamFolder,
        stages: Stages,
        *,
        live: LiveRecording | None,
        live_input: LiveInput | None,
    ) -> None:
        super().__init__(authority, status_of, request, decision, stages)
        self._folder, self._live, self._input = folder, live, live_input
        self._sound: LiveSound | None = None
        self._total: int | None = None if live else -(-round(decision.duration_s * CONTROL_RATE) // 640)
        self._held: list[_Held] = []
        self._held_good = False
        self._files = ExitStack()
        self._previous_sha256 = ""
        self._frames_out = self._quiet = 0

    def _retract(self) -> None:
        self._folder.retract()

    def _left_behind(self) -> str:
        if not self._consumed:
            return "Nothing was written."
        return f"The {self._folder.segments} signed segments that were handed out stay in {self._folder.folder}."

    def _renew(self) -> None:
        if not self._consumed:
            super()._renew()

    def run(self, performer: LocalPerformer, progress: Callable[[int, int | None], None] | None) -> StreamReceipt:
        """All steps after the decision."""
        grant = self._unseal(performer)
        motion = performer.begin_stream(Wishes.of(self._request))
        talker, face = performer.talker, performer.face
        self._stages.done("encoded")
        assert self._decision.manifest_id is not None
        mark = Mark(self._authority.mark_key, Payload(self._decision.manifest_id), STRENGTHS[0], STRENGTHS[0])
        maker = SegmentMaker(mark, talker.frame_size(face), self._anonymous, lambda: self._total)
        try:
            with threads_side_by_side(), closing(maker), self._files:
                blocks = self._live_blocks() if self._live else audio_blocks(self._request.audio)
                performance = Performance(talker, face, performed(talker, motion, blocks), self._total or 0)
                for frames in rendered(performance, hear=maker.hear):
                    self._look()
                    maker.push(frames)
                    self._release_all(grant, maker.cut(), progress)
                self._release_all(grant, maker.cut(ended=True), progress)
                if self._held or self._frames_out != self._total:
                    raise ReleaseError(f"the stream ended after {self._frames_out} of {self._total} frames")
        finally:
            if self._consumed:
                self._folder.end()
        return self._receipt()

    def _release_all(
        self, grant: GrantClaims, segments: Iterator[Segment], progress: Callable[[int, int | None], None] | None
    ) -> None:
        for segment in segments:
            self._hold(segment)
            self._release_ready(grant, last=segment.last)
            if progress:
                progress(self._frames_out, self._total)

    # Reading back

    def _hold(self, segment: Segment) -> None:
        """Hold the segment with both marks read, or stronger marked until they are; else ReleaseError."""
        while True:
            mark = segment.mark
            read = self._read_back(segment.file, mark)
            video_good, audio_good = reads_as(read.video, mark), reads_as(read.audio, mark)
            audible_s = read.audio.seconds_used
            if video_good and (audio_good or audible_s < AUDIBLE_S):
                break
            stronger = (
                _stronger(mark.video_strength, enough=video_good),
                _stronger(mark.audio_strength, enough=audio_good),
            )
            if stronger == (mark.video_strength, mark.audio_strength):
                unread = " and ".join(name for name, good in (("video", video_good), ("sound", audio_good)) if not good)
                raise ReleaseError(
                    f"the mark in the {unread} of segment {segment.number} cannot be read back even at strength "
                    f"{STRENGTHS[-1]:g}; the segment was not handed out."
                )
            segment.mark_again(video_strength=stronger[0], audio_strength=stronger[1])
        self._stages.done("read back")
        file = self._files.enter_context(segment.file)
        heard = self._sound.sha256 if self._sound else ""
        place = (segment.number, segment.start_frame, segment.frames, segment.last)
        held = _Held(file, place, audible_s, heard, read.fingerprint, read.measures)
        if not audio_good or self._held:
            file.seek(0)
            held.sound = list(self._watched(read_audio(file, sample_rate=SOUND_RATE)))
        self._held.append(held)
        self._held_good = audio_good

    def _release_ready(self, grant: GrantClaims, *, last: bool) -> None:
        """Hand out what is held as soon as the mark of its sound was read, or there is none to be had."""
        held, readable = self._held, self._held_good
        if not readable and len(held) > 1:
            blocks = [block for one in held for block in one.sound]
            found = detect_audio(self._watched(blocks), [self._authority.mark_key], sample_rate=SOUND_RATE)
            readable = found.payload is not None and found.payload.manifest_id == self._decision.manifest_id
        quiet = sum(one.audible_s for one in held) < AUDIBLE_S
        if not readable and not last and len(held) < MOST_HELD:
            return
        if not readable and not quiet:
            raise ReleaseError(
                f"the mark in the sound of segments {held[0].place[0]} to {held[-1].place[0]} cannot be read back; "
                "they were not handed out."
            )
        self._quiet += 0 if readable else len(held)
        for one in held:
            self._release(grant, one)
        held.clear()

    # Handing out

    def _release(self, grant: GrantClaims, held: _Held) -> None:
        number, start_frame, frames, last = held.place
        place = StreamPlace(number, self._previous_sha256, start_frame, frames, last)
        with held.file, self._anonymous() as signed:
            store = self._sign(grant, held.file, signed, held.measures, stream=place, audio_sha256=held.audio_sha256)
            sha256 = self._register(grant, signed, store, held)
            self._require_consent()
            hand_out = self._folder.next_segment()
            if number == 0:
                assert self._decision.log_index is not None
                self._authority.stores.ledger.deliver(
                    self._decision.reservation_id,
                    output=hand_out.out,
                    part=hand_out.part,
                    clip_sha256=sha256,
                    log_index=self._decision.log_index,
                )
            self._folder.publish(signed, frames / OUTPUT_FPS)
        if number == 0:
            self._authority.stores.ledger.consume(self._decision.reservation_id, self._authority.clock())
            self._consumed = True
        self._previous_sha256 = sha256
        self._frames_out += frames
        self._stages.done("handed out")

    def _register(self, grant: GrantClaims, signed: BinaryIO, store: bytes, held: _Held) -> str:
        """Make the segment findable by its mark, and log it; its SHA-256."""
        authority, now = self._authority, self._authority.clock()
        sha256 = file_sha256(signed)
        number, _, _, last = held.place
        assert self._decision.manifest_id is not None
        if number == 0:
            authority.repository.store(
                self._decision.manifest_id, store, clip_sha256=sha256, fingerprint=held.fingerprint, created_at=now
            )
        else:
            authority.repository.store_segment(
                self._decision.manifest_id,
                number,
                store,
                clip_sha256=sha256,
                fingerprint=held.fingerprint,
                created_at=now,
            )
        authority.stores.events.record(
            "segment.released",
            {
                "clip_sha256": sha256,
                "manifest_id": grant.manifest_id,
                "reservation": grant.reservation,
                "segment": number,
                "last": last,
            },
            now=now,
            decision=self._decision.decision_id,
            subject=self._decision.consent_id,
        )
        self._stages.done("registered")
        return sha256

    def _receipt(self) -> StreamReceipt:
        decision = self._decision
        assert decision.manifest_id is not None
        assert decision.log_index is not None
        return StreamReceipt(
            folder=str(self._folder.folder),
            playlist=str(self._folder.playlist),
            segments=self._folder.segments,
            quiet_segments=self._quiet,
            frames=self._frames_out,
            duration_s=self._frames_out / OUTPUT_FPS,
            manifest_id=decision.manifest_id,
            decision_id=decision.decision_id,
            log_index=decision.log_index,
            consent_id=decision.consent_id,
            last_sha256=self._previous_sha256,
        )

    # Live sound

    def _live_blocks(self) -> Iterator[SoundBlock]:
        """The sound as it comes; at its end, silence fills the last segment, in which the mouth closes."""
        assert self._live is not None
        assert self._input is not None
        self._sound = LiveSound(self._reading(self._input.source), self._input.raw)
        heard = [0, 0]
        for low, high in self._sound.blocks((CONTROL_RATE, SOUND_RATE), most_s=self._live.max_s):
            heard = [heard[0] + len(low), heard[1] + len(high)]
            yield low, high, False
        segments = max(1, -(-heard[0] // (CONTROL_RATE * SEGMENT_S)))
        self._total = segments * SEGMENT_FRAMES
        rest = segments * CONTROL_RATE * SEGMENT_S - heard[0], self._total * SAMPLES_PER_FRAME - heard[1]
        yield torch.zeros(max(0, rest[0])), torch.zeros(max(0, rest[1])), True

    def _reading(self, source: BinaryIO) -> Callable[[int], bytes]:
        """Waits for sound, with a look at the consent every second of waiting."""
        descriptor = source.fileno()

        def read(most: int) -> bytes:
            while not select.select([descriptor], [], [], LOOK_S)[0]:
                self._look()
            return os.read(descriptor, most)

        return read


def _stronger(strength: float, *, enough: bool) -> float:
    """The next step, or the same where it is enough or the last."""
    step = STRENGTHS.index(strength) + (not enough)
    return STRENGTHS[min(step, len(STRENGTHS) - 1)]
