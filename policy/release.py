"""The release pipeline: the only way from a request to a clip.

reserve and decide -> log -> grant -> key -> open weights -> generate, mark, encode (anonymous file) ->
read both marks back -> sign -> verify -> register -> log -> hand out -> consume the use. A refusal or any
failure on the way leaves nothing at the output path and gives the use back by a logged event.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

import generator
from media import read_audio, read_portrait
from policy.authority import Authority
from policy.broker import WorkerKey
from policy.canonical import sha256_hex
from policy.consent_token import ConsentClaims
from policy.decision import Decision
from policy.errors import OutputError, Refused, ReleaseError
from policy.grant import GrantClaims, verify_grant
from policy.hand_out import HandOut
from policy.job import Job, file_sha256
from policy.keys import thumbprint
from policy.live_recording import read_live
from policy.locked_memory import guard_process
from policy.marked_clip import (
    MOVES_AHEAD,
    STRENGTHS,
    Ahead,
    Mark,
    MotionRecorder,
    Moved,
    Performance,
    ReadBack,
    TalkingFace,
    audio_blocks,
    performed,
    read_back,
    reads_as,
    write_marked_clip,
)
from policy.media_facts import MAX_PORTRAIT_PX
from policy.motion_preview import PreviewJob, record_plot
from policy.request import OUTPUT_FPS, Controls, GenerationRequest, RequestFacts
from policy.seal import open_sealed
from policy.segment_maker import SEGMENT_S
from policy.stages import OnStage, Stages
from policy.status_list import TokenStatus
from policy.stream_folder import StreamFolder
from policy.stream_release import LiveInput, StreamJob, StreamReceipt
from watermark import Payload

Progress = Callable[[int, int], None]
MakeTalker = Callable[[Mapping[str, Tensor], Mapping[str, object]], TalkingFace]


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


class ReleasePipeline:
    """Makes and hands out clips for one authority.

    A caller can hand in neither a generator of its own, which would be given the opened weights, nor another
    inspection of portrait and recording.
    """

    def __init__(self, authority: Authority, *, device: str = "cpu") -> None:
        self._authority = authority
        self._gate = authority.gate()
        self._make_talker = _generator_on(device)

    def release(
        self,
        request: GenerationRequest,
        out: Path,
        *,
        progress: Progress | None = None,
        on_stage: OnStage | None = None,
        overwrite: bool = False,
        plot: Path | None = None,
    ) -> Receipt:
        """Make the clip and put it at `out`; and a plot of its motion (.png or .svg) at `plot`.

        `progress(frames done, frames in all)` is called while frames are made, `on_stage(name)` after each
        step. Raises Refused with every reason; OutputError before anything is reserved when `out` can't be
        written; ReleaseError when something broke on the way, and then nothing is left and no use is taken.
        """
        if read_live(request.audio) is not None:
            raise ValueError("a live recording is released as a stream, not as a clip")
        hand_out = HandOut.prepare(out, overwrite=overwrite)
        beside = None if plot is None else _prepare_plot(plot, overwrite=overwrite)
        self._authority.require_weights()
        stages = Stages(on_stage)
        stages.done("prepared")
        worker = WorkerKey()
        decision = self._gate.decide(request, worker_key=worker.public_bytes)
        if not decision.allowed:
            raise Refused(decision)
        job = _ClipJob(self._authority, self._gate.status_of, request, decision, hand_out, stages, beside)
        with job.owned():
            stages.done("decided")
            return job.run(worker, self._make_talker, progress)

    def preview(self, request: GenerationRequest, plot: Path, *, overwrite: bool = False) -> Decision:
        """Put a plot of the motion (.png or .svg) at `plot`, without making a frame; the decision that allowed it.

        It takes a use like a clip: motion is made with the weights and under the consent. Raises as `release` does.
        """
        if read_live(request.audio) is not None:
            raise ValueError("the motion of a live recording is not known before it was spoken")
        hand_out = _prepare_plot(plot, overwrite=overwrite)
        self._authority.require_weights()
        stages, worker = Stages(None), WorkerKey()
        decision = self._gate.decide(request, worker_key=worker.public_bytes)
        if not decision.allowed:
            raise Refused(decision)
        job = PreviewJob(
            self._authority, self._gate.status_of, request, decision, hand_out, stages,
            own_failures=(generator.GeneratorError,),
        )  # fmt: skip
        with job.owned():
            _, tensors, config = _unseal(self._authority, request, decision, worker)
            talker = self._make_talker(tensors, config)
            state = talker.start(controls=performed_controls(request.controls), seed=request.seed)
            blocks = []
            for control, _, final in audio_blocks(request.audio):
                if control is not None:
                    block, state = talker.motion(control, state, final=final)
                    blocks.append(block)
                    job.after_block()
            job.deliver(_plotted(blocks, request, hand_out))
        return decision

    def stream(
        self,
        request: GenerationRequest,
        folder: Path,
        *,
        live: LiveInput | None = None,
        progress: Callable[[int, int | None], None] | None = None,
        on_stage: OnStage | None = None,
    ) -> StreamReceipt:
        """Put signed segments and a playlist into `folder`, which is made or empty, while the sound arrives.

        `live` is where the sound of a request for a live recording comes from; it must be given for such a one and
        for no other. `progress(frames handed out, frames in all or None)` is called after each segment. Raises as
        `release` does; once a segment was handed out, an error leaves what is there and the use is taken.
        """
        recording = read_live(request.audio)
        if (recording is None) != (live is None):
            raise ValueError("a source of live sound belongs to a request for a live recording, and to no other")
        target_s = SEGMENT_S if recording else 2 * SEGMENT_S
        prepared = StreamFolder.prepare(folder, target_s=target_s)
        try:
            self._authority.require_weights()
            stages = Stages(on_stage)
            stages.done("prepared")
            worker = WorkerKey()
            decision = self._gate.decide(request, worker_key=worker.public_bytes)
            if not decision.allowed:
                raise Refused(decision)
        except BaseException:
            prepared.retract()
            raise
        job = StreamJob(
            self._authority, self._gate.status_of, request, decision, prepared, stages,
            own_failures=(generator.GeneratorError,), live=recording, live_input=live,
        )  # fmt: skip
        with job.owned():
            stages.done("decided")
            grant, tensors, config = _unseal(self._authority, request, decision, worker)
            stages.done("unsealed")
            talker = self._make_talker(tensors, config)
            portrait = read_portrait(request.portrait, min_px=1, max_px=MAX_PORTRAIT_PX)
            face = talker.encode(portrait, **request.framing.as_members())
            motion = talker.start(controls=performed_controls(request.controls), seed=request.seed)
            stages.done("encoded")
            return job.run(grant, talker, face, motion, progress)


class _ClipJob(Job):
    """One allowed request on its way to a clip."""

    own_failures = (generator.GeneratorError,)

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

    def _retract(self) -> None:
        self._hand_out.retract()

    def _left_behind(self) -> str:
        return (
            f"The clip is at {self._hand_out.out}, the plot is missing." if self._consumed else "Nothing was written."
        )

    def run(self, worker: WorkerKey, make_talker: MakeTalker, progress: Progress | None) -> Receipt:
        """All steps after the decision."""
        grant, tensors, config = _unseal(self._authority, self._request, self._decision, worker)
        self._stages.done("unsealed")
        talker = recorder = MotionRecorder(make_talker(tensors, config))
        with self._moves(talker) as moves, self._anonymous() as plain, self._anonymous() as signed:
            portrait = read_portrait(self._request.portrait, min_px=1, max_px=MAX_PORTRAIT_PX)
            face = talker.encode(portrait, **self._request.framing.as_members())
            self._stages.done("encoded")
            mark, read, frames = self._make_marked(talker, face, moves, plain, progress)
            store = self._sign(grant, plain, signed)
            clip_sha256 = self._register(grant, signed, store, read.fingerprint)
            drawn = b"" if self._plot is None else _plotted(recorder.blocks, self._request, self._plot)
            if drawn:
                record_plot(self._authority, self._decision, drawn)
            self._deliver(signed, clip_sha256)
        if self._plot is not None:
            self._plot.publish(io.BytesIO(drawn))
        return self._receipt(mark, read, frames, talker.frame_size(face), clip_sha256)

    def _moves(self, talker: TalkingFace) -> Ahead[Moved]:
        """The motion of the whole clip, made ahead of its frames."""
        start = talker.start(controls=performed_controls(self._request.controls), seed=self._request.seed)
        return Ahead(performed(talker, start, audio_blocks(self._request.audio)), MOVES_AHEAD)

    def _make_marked(
        self, talker: TalkingFace, face: object, moves: Ahead[Moved], plain: BinaryIO, progress: Progress | None
    ) -> tuple[Mark, ReadBack, int]:
        """Generate, encode, read the marks back; stronger where one can't be read, then no release."""
        assert self._decision.manifest_id is not None
        payload, frames = Payload(self._decision.manifest_id), math.ceil(self._decision.duration_s * OUTPUT_FPS)
        video_step = audio_step = 0
        for attempt in range(len(STRENGTHS)):
            mark = Mark(self._authority.mark_key, payload, STRENGTHS[video_step], STRENGTHS[audio_step])
            plain.seek(0)
            plain.truncate()
            with moves if attempt == 0 else self._moves(talker) as to_draw:
                write_marked_clip(
                    Performance(talker, face, to_draw, frames),
                    mark,
                    plain,
                    on_block=lambda done: self._after_block(done, frames, progress),
                )
            self._stages.done("generated")
            read = read_back(plain, mark.key, watched=self._watched)
            self._renew()
            self._stages.done("read back")
            video_good, audio_good = reads_as(read.video, mark), reads_as(read.audio, mark)
            if video_good and audio_good:
                return mark, read, frames
            video_step = min(video_step + (not video_good), len(STRENGTHS) - 1)
            audio_step = min(audio_step + (not audio_good), len(STRENGTHS) - 1)
        unread = " and ".join(name for name, good in (("video", video_good), ("sound", audio_good)) if not good)
        raise ReleaseError(
            f"the mark in the {unread} cannot be read back even at strength {STRENGTHS[-1]:g}; nothing was "
            "written. Use a longer recording with more speech, or a portrait with more texture."
        )

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

    def _receipt(self, mark: Mark, read: ReadBack, frames: int, size_px: tuple[int, int], clip_sha256: str) -> Receipt:
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
            frames=frames,
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

    def _after_block(self, done: int, frames: int, progress: Progress | None) -> None:
        self._require_consent()
        self._renew()
        if progress:
            progress(done, frames)


def _unseal(
    authority: Authority, request: GenerationRequest, decision: Decision, worker: WorkerKey
) -> tuple[GrantClaims, Mapping[str, Tensor], Mapping[str, object]]:
    """The grant, checked against what was asked, and the weights that it opens."""
    gate_key = authority.gate_public_key
    grant = verify_grant(decision.grant, {thumbprint(gate_key): gate_key})
    given = sha256_hex(request.portrait), sha256_hex(request.audio)
    if given != (grant.portrait_sha256, grant.audio_sha256):
        raise ReleaseError("the grant is for another portrait or recording; nothing was written")
    if RequestFacts.of(request).digest != grant.request:
        raise ReleaseError("the request was changed after the decision; nothing was written")
    guard_process()
    wrapped = authority.broker.release_key(decision.grant, decision.entry, decision.log_proof)
    with worker.unwrap(wrapped, grant.jti) as key:
        opened = open_sealed(authority.weights, key.view)
    return grant, opened.tensors, opened.config


def _prepare_plot(plot: Path, *, overwrite: bool) -> HandOut:
    """Everything a plot needs, before anything is reserved; raises OutputError."""
    if _plot_kind(plot) is None:
        raise OutputError(f"{plot}: a plot's name ends in .png or .svg")
    try:
        generator.require_plotting()
    except generator.GeneratorError as error:
        raise OutputError(str(error)) from error
    return HandOut.prepare(plot, overwrite=overwrite)


def _plot_kind(plot: Path) -> generator.PlotKind | None:
    kinds: dict[str, generator.PlotKind] = {".png": "png", ".svg": "svg"}
    return kinds.get(plot.suffix.lower())


def _plotted(blocks: list[Any], request: GenerationRequest, plot: HandOut) -> bytes:
    """The motion over the waveform, as a picture."""
    sound = torch.cat(list(read_audio(io.BytesIO(request.audio), sample_rate=generator.AUDIO_RATE)))
    controls, kind = performed_controls(request.controls), _plot_kind(plot.out)
    assert kind is not None
    return generator.plot_motion(generator.MotionBlock.join(blocks), controls, sound, kind=kind)


def _generator_on(device: str) -> MakeTalker:
    def make(tensors: Mapping[str, Tensor], config: Mapping[str, object]) -> TalkingFace:
        talker: TalkingFace = generator.Generator.from_tensors(tensors, config, device=device)
        return talker

    return make


def performed_controls(controls: Controls) -> generator.Controls:
    """The controls of the request as the generator takes them."""
    wanted: dict[str, Any] = {}
    for name, value in vars(controls).items():
        curve = generator.EmotionCurve if name == "emotion" else generator.Curve
        wanted[name] = curve(value) if isinstance(value, tuple) else value
    return generator.Controls(**wanted)
