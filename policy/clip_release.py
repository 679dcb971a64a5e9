"""One clip on its way out: made with its mark, read back, signed, registered, handed out, counted."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from policy.authority import Authority
from policy.consent_token import ConsentClaims
from policy.decision import Decision
from policy.errors import ReleaseError
from policy.grant import GrantClaims
from policy.hand_out import HandOut
from policy.job import Job, file_sha256
from policy.marked_clip import STRENGTHS, Mark, ReadBack, reads_as
from policy.motion_preview import record_plot
from policy.performer import Performer, Wishes, plot_kind
from policy.request import OUTPUT_FPS, GenerationRequest
from policy.stages import Stages
from policy.status_list import TokenStatus
from watermark import Payload

Progress = Callable[[int, int], None]
LONGER_BY_S = 0.25
"""Of a clip than its frames: sound is coded in blocks, and begins a little before it is heard."""


@dataclass(frozen=True)
class Receipt:
    """What was handed out. `marks_log10_false_positive`: bound for video and sound as read back."""

    out: Path
    clip_sha256: str
    manifest_id: int
    decision_id: str
    decision_sha256: str
    log_index: int
    consent_id: str
    uses_left: int
    frames: int
    duration_s: float
    fps: int
    width_px: int
    height_px: int
    seed: int
    mark_strengths: tuple[float, float]
    marks_log10_false_positive: tuple[float, float]
    stage_s: Mapping[str, float] = field(default_factory=dict)


class ClipJob(Job):
    """One allowed request on its way to a clip, and to a plot beside it if there shall be one."""

    def __init__(
        self,
        authority: Authority,
        status_of: Callable[[ConsentClaims], TokenStatus],
        request: GenerationRequest,
        decision: Decision,
        hand_out: HandOut,
        stages: Stages,
        plot: HandOut | None,
    ) -> None:
        super().__init__(authority, status_of, request, decision, stages)
        self._hand_out, self._plot = hand_out, plot
        self._frames = math.ceil(decision.duration_s * OUTPUT_FPS)

    def _retract(self) -> None:
        self._hand_out.retract()

    def _left_behind(self) -> str:
        return (
            f"The clip is at {self._hand_out.out}, the plot is missing." if self._consumed else "Nothing was written."
        )

    def run(self, performer: Performer, progress: Progress | None) -> Receipt:
        """All steps after the decision."""
        grant = self._unseal(performer)
        with self._anonymous() as plain, self._anonymous() as signed:
            size_px = performer.begin(Wishes.of(self._request), look=self._look)
            self._stages.done("encoded")
            mark, read = self._make_marked(performer, plain, progress)
            self._require_as_decided(read, size_px)
            store = self._sign(grant, plain, signed, read.measures)
            clip_sha256 = self._register(grant, signed, store, read.fingerprint)
            drawn = b""
            if self._plot is not None:
                drawn = performer.plot(plot_kind(self._plot.out), look=self._look)
                record_plot(self._authority, self._decision, drawn)
            self._deliver(signed, clip_sha256)
        if self._plot is not None:
            self._plot.publish(io.BytesIO(drawn))
        return self._receipt(mark, read, size_px, clip_sha256)

    def _make_marked(self, performer: Performer, plain: BinaryIO, progress: Progress | None) -> tuple[Mark, ReadBack]:
        """Generate, encode, read the marks back; stronger where one can't be read, then no release."""
        assert self._decision.manifest_id is not None
        payload = Payload(self._decision.manifest_id)
        video_step = audio_step = 0
        for _ in STRENGTHS:
            mark = Mark(self._authority.mark_key, payload, STRENGTHS[video_step], STRENGTHS[audio_step])
            performer.make(
                mark, self._frames, plain, look=self._look, on_block=lambda done: self._after_block(done, progress)
            )
            self._stages.done("generated")
            read = self._read_back(plain, mark)
            self._renew()
            self._stages.done("read back")
            video_good, audio_good = reads_as(read.video, mark), reads_as(read.audio, mark)
            if video_good and audio_good:
                return mark, read
            video_step = min(video_step + (not video_good), len(STRENGTHS) - 1)
            audio_step = min(audio_step + (not audio_good), len(STRENGTHS) - 1)
        unread = " and ".join(name for name, good in (("video", video_good), ("sound", audio_good)) if not good)
        raise ReleaseError(
            f"the mark in the {unread} cannot be read back even at strength {STRENGTHS[-1]:g}; nothing was "
            "written. Use a longer recording with more speech, or a portrait with more texture."
        )

    def _require_as_decided(self, read: ReadBack, size_px: tuple[int, int]) -> None:
        """The clip has the frames that were decided on, and nothing beside its picture and its sound."""
        clip, wanted_s = read.measures, self._frames / OUTPUT_FPS
        if (clip.width_px, clip.height_px) != size_px or abs(clip.duration_s - wanted_s) > LONGER_BY_S:
            raise ReleaseError(
                f"the clip is {clip.width_px}x{clip.height_px} and lasts {clip.duration_s:.2f} s, expected "
                f"{size_px[0]}x{size_px[1]} and {wanted_s:.2f} s; nothing was written"
            )
        if clip.tracks != 2:
            raise ReleaseError(f"the clip has {clip.tracks} tracks, expected picture and sound; nothing was written")

    def _register(self, grant: GrantClaims, signed: BinaryIO, store: bytes, fingerprint: bytes) -> str:
        """Make the clip findable by its mark, and log the release; its SHA-256."""
        authority, now = self._authority, self._authority.clock()
        clip_sha256 = file_sha256(signed)
        assert self._decision.manifest_id is not None
        authority.repository.store(
            self._decision.manifest_id, store, clip_sha256=clip_sha256, fingerprint=fingerprint, created_at=now
        )
        authority.stores.events.record(
            "clip.released",
            {"clip_sha256": clip_sha256, "manifest_id": grant.manifest_id, "reservation": grant.reservation},
            now=now,
            decision=self._decision.decision_id,
            subject=self._decision.consent_id,
        )
        self._stages.done("registered")
        return clip_sha256

    def _deliver(self, signed: BinaryIO, clip_sha256: str) -> None:
        ledger, reservation = self._authority.stores.ledger, self._decision.reservation_id
        self._require_consent()
        assert self._decision.log_index is not None
        ledger.deliver(
            reservation,
            output=self._hand_out.out,
            part=self._hand_out.part,
            clip_sha256=clip_sha256,
            log_index=self._decision.log_index,
        )
        self._stages.done("delivering")
        self._hand_out.publish(signed)
        self._stages.done("handed out")
        ledger.consume(reservation, self._authority.clock())
        self._consumed = True
        self._stages.done("consumed")

    def _receipt(self, mark: Mark, read: ReadBack, size_px: tuple[int, int], clip_sha256: str) -> Receipt:
        decision, standing = self._decision, self._authority.stores.ledger.standing(self._decision.consent_id)
        assert decision.log_index is not None
        return Receipt(
            out=self._hand_out.out,
            clip_sha256=clip_sha256,
            manifest_id=mark.payload.manifest_id,
            decision_id=decision.decision_id,
            decision_sha256=decision.sha256,
            log_index=decision.log_index,
            consent_id=decision.consent_id,
            uses_left=self._consent.allows.uses - standing.used,
            frames=self._frames,
            duration_s=self._decision.duration_s,
            fps=OUTPUT_FPS,
            width_px=size_px[0],
            height_px=size_px[1],
            seed=self._request.seed,
            mark_strengths=(mark.video_strength, mark.audio_strength),
            marks_log10_false_positive=(
                read.video.log10_false_positive,
                read.audio.log10_false_positive,
            ),
            stage_s=self._stages.seconds,
        )

    def _after_block(self, done: int, progress: Progress | None) -> None:
        self._look()
        if progress:
            progress(done, self._frames)
