"""The release pipeline: the only way from a request to a clip.

reserve and decide -> log -> grant -> key -> open weights -> generate, mark, encode (anonymous file) ->
read both marks back -> sign -> verify -> register -> log -> hand out -> consume the use. A refusal or any
failure on the way leaves nothing at the output path and gives the use back by a logged event.
"""

from __future__ import annotations

import hashlib
import math
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, BinaryIO

from torch import Tensor

import generator
from media import MediaError, probe, read_frames, read_portrait
from policy.authority import Authority
from policy.broker import WorkerKey
from policy.canonical import sha256_hex
from policy.consent_token import ConsentClaims, VideoLimits
from policy.decision import Decision, Denial
from policy.errors import PolicyError, Refused, ReleaseError
from policy.grant import GrantClaims, verify_grant
from policy.hand_out import HandOut
from policy.keys import thumbprint
from policy.locked_memory import guard_process
from policy.marked_clip import (
    STRENGTHS,
    Item,
    Mark,
    MarksRead,
    Performance,
    TalkingFace,
    read_marks,
    reads_as,
    write_marked_clip,
)
from policy.media_facts import MAX_PORTRAIT_PX
from policy.media_types import audio_media_type, portrait_media_type
from policy.request import OUTPUT_FPS, Controls, GenerationRequest, RequestFacts
from policy.seal import open_sealed
from policy.stages import OnStage, Stages
from policy.status_list import TokenStatus
from provenance import ClipManifest, ProvenanceError, clip_fingerprint, sign_clip, verify_clip
from watermark import Payload, WatermarkError

RENEW_EVERY = timedelta(minutes=1)
LOOK_EVERY = timedelta(seconds=1)
"""A withdrawal stops a running job within 5 s, whatever step it is at."""
FINGERPRINT_SIDE_PX = 256

Progress = Callable[[int, int], None]
MakeTalker = Callable[[Mapping[str, Tensor], Mapping[str, object]], TalkingFace]

PARTS_THAT_FAIL = (MediaError, WatermarkError, ProvenanceError, generator.GeneratorError, OSError, sqlite3.Error)


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
    ) -> Receipt:
        """Make the clip and put it at `out`.

        `progress(frames done, frames in all)` is called while frames are made, `on_stage(name)` after each
        step. Raises Refused with every reason; OutputError before anything is reserved when `out` can't be
        written; ReleaseError when something broke on the way, and then nothing is left and no use is taken.
        """
        hand_out = HandOut.prepare(out, overwrite=overwrite)
        self._authority.require_weights()
        stages = Stages(on_stage)
        stages.done("prepared")
        worker = WorkerKey()
        decision = self._gate.decide(request, worker_key=worker.public_bytes)
        if not decision.allowed:
            raise Refused(decision)
        job = _Job(self._authority, self._gate.status_of, request, decision, hand_out, stages)
        with job.owned():
            stages.done("decided")
            return job.run(worker, self._make_talker, progress)


class _Job:
    """One allowed request on its way to a clip; owns the reserved use until it is consumed or given back."""

    def __init__(
        self,
        authority: Authority,
        status_of: Callable[[ConsentClaims], TokenStatus],
        request: GenerationRequest,
        decision: Decision,
        hand_out: HandOut,
        stages: Stages,
    ) -> None:
        self._authority = authority
        self._status_of = status_of
        self._request = request
        self._decision = decision
        self._hand_out = hand_out
        self._stages = stages
        assert decision.consent is not None
        self._consent = decision.consent
        self._renewed_at = authority.clock()
        self._consumed = False

    @contextmanager
    def owned(self) -> Iterator[None]:
        """Give the use back and leave no file, whatever ends the job before the use is consumed."""
        try:
            yield
        except BaseException as error:
            if not self._consumed:
                self._hand_out.retract()
                self._give_back(type(error).__name__)
            if isinstance(error, PARTS_THAT_FAIL):
                raise ReleaseError(f"the clip could not be released: {error} Nothing was written.") from error
            raise

    def run(self, worker: WorkerKey, make_talker: MakeTalker, progress: Progress | None) -> Receipt:
        """All steps after the decision."""
        grant, tensors, config = self._unseal(worker)
        self._stages.done("unsealed")
        talker = make_talker(tensors, config)
        portrait = read_portrait(self._request.portrait, min_px=1, max_px=MAX_PORTRAIT_PX)
        face = talker.encode(portrait, **self._request.framing.as_members())
        self._stages.done("encoded")
        with self._anonymous() as plain, self._anonymous() as signed:
            mark, marks, frames = self._make_marked(talker, face, plain, progress)
            store = self._sign(grant, plain, signed)
            clip_sha256 = self._register(grant, signed, store)
            self._deliver(signed, clip_sha256)
        return self._receipt(mark, marks, frames, talker.frame_size(face), clip_sha256)

    def _unseal(self, worker: WorkerKey) -> tuple[GrantClaims, Mapping[str, Tensor], Mapping[str, object]]:
        authority, decision = self._authority, self._decision
        gate_key = authority.gate_public_key
        grant = verify_grant(decision.grant, {thumbprint(gate_key): gate_key})
        given = sha256_hex(self._request.portrait), sha256_hex(self._request.audio)
        if given != (grant.portrait_sha256, grant.audio_sha256):
            raise ReleaseError("the grant is for another portrait or recording; nothing was written")
        if RequestFacts.of(self._request).digest() != grant.request:
            raise ReleaseError("the request was changed after the decision; nothing was written")
        guard_process()
        wrapped = authority.broker.release_key(decision.grant, decision.entry, decision.log_proof)
        with worker.unwrap(wrapped, grant.jti) as key:
            opened = open_sealed(authority.weights, key.view)
        return grant, opened.tensors, opened.config

    def _make_marked(
        self, talker: TalkingFace, face: object, plain: BinaryIO, progress: Progress | None
    ) -> tuple[Mark, MarksRead, int]:
        """Generate, encode, read the marks back; stronger where one can't be read, then no release."""
        assert self._decision.manifest_id is not None
        payload, frames = Payload(self._decision.manifest_id), math.ceil(self._decision.duration_s * OUTPUT_FPS)
        controls = performed_controls(self._request.controls)
        video_step = audio_step = 0
        for _ in STRENGTHS:
            mark = Mark(self._authority.mark_key, payload, STRENGTHS[video_step], STRENGTHS[audio_step])
            start = talker.start(controls=controls, seed=self._request.seed)
            plain.seek(0)
            plain.truncate()
            write_marked_clip(
                Performance(talker, face, start, self._request.audio, frames),
                mark,
                plain,
                on_block=lambda done: self._after_block(done, frames, progress),
            )
            self._stages.done("generated")
            marks = read_marks(plain, mark.key, watched=self._watched)
            self._renew()
            self._stages.done("read back")
            video_good, audio_good = reads_as(marks.video, mark), reads_as(marks.audio, mark)
            if video_good and audio_good:
                return mark, marks, frames
            video_step = min(video_step + (not video_good), len(STRENGTHS) - 1)
            audio_step = min(audio_step + (not audio_good), len(STRENGTHS) - 1)
        unread = " and ".join(name for name, good in (("video", video_good), ("sound", audio_good)) if not good)
        raise ReleaseError(
            f"the mark in the {unread} cannot be read back even at strength {STRENGTHS[-1]:g}; nothing was "
            "written. Use a longer recording with more speech, or a portrait with more texture."
        )

    def _sign(self, grant: GrantClaims, plain: BinaryIO, signed: BinaryIO) -> bytes:
        """Countersign what was read back as granted, then check the signature as a stranger would."""
        authority, decision, request = self._authority, self._decision, self._request
        assert decision.manifest_id is not None
        self._require_consent()
        self._require_within(grant.video, plain)
        manifest = ClipManifest(
            title="Talking clip",
            generator_version=f"Vasari {_vasari_version()}, {grant.model[:23]}",
            manifest_id=decision.manifest_id,
            soft_binding_value=decision.manifest_id.to_bytes(8, "big"),
            portrait_sha256=grant.portrait_sha256,
            audio_sha256=grant.audio_sha256,
            consent_sha256=grant.consent_sha256,
            decision_sha256=decision.sha256,
            log_proof=decision.log_proof,
            portrait_media_type=portrait_media_type(request.portrait),
            audio_media_type=audio_media_type(request.audio),
            created_at=authority.clock(),
        )
        plain.seek(0)
        store = sign_clip(plain, signed, manifest, authority.signing_identity, clock=authority.clock)
        signed.flush()
        self._stages.done("signed")
        report = verify_clip(Path(f"/proc/self/fd/{signed.fileno()}"), authority.trust_anchors)
        if report.state != "verified" or report.manifest_id != decision.manifest_id:
            codes = ", ".join(finding.code for finding in report.findings if finding.severity == "failure")
            raise ReleaseError(f"the signed clip reads as {report.state} ({codes}); nothing was written")
        self._stages.done("verified")
        return store

    @staticmethod
    def _require_within(limits: VideoLimits, clip: BinaryIO) -> None:
        """The encoded clip itself keeps to the granted limits, whoever made it."""
        clip.seek(0)
        info = probe(clip)
        fps, most_s = info.fps or 0, limits.max_seconds + 1 / OUTPUT_FPS
        too_large = info.width > limits.max_width or info.height > limits.max_height
        if too_large or fps > limits.max_fps or info.duration_s > most_s:
            raise ReleaseError(
                f"the clip ({info.width}x{info.height}, {float(fps):g} frames/s, {info.duration_s:.2f} s) is beyond "
                f"what was granted ({limits.max_width}x{limits.max_height}, {limits.max_fps} frames/s, "
                f"{limits.max_seconds} s); nothing was written"
            )

    def _register(self, grant: GrantClaims, signed: BinaryIO, store: bytes) -> str:
        """Make the clip findable by its mark, and log the release; its SHA-256."""
        authority, now = self._authority, self._authority.clock()
        clip_sha256 = _file_sha256(signed)
        signed.seek(0)
        fingerprint = clip_fingerprint(self._watched(read_frames(signed, max_side_px=FINGERPRINT_SIDE_PX)))
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

    def _receipt(
        self, mark: Mark, marks: MarksRead, frames: int, size_px: tuple[int, int], clip_sha256: str
    ) -> Receipt:
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
                marks.video.log10_false_positive,
                marks.audio.log10_false_positive,
            ),
            stage_s=self._stages.seconds,
        )

    def _after_block(self, done: int, frames: int, progress: Progress | None) -> None:
        self._require_consent()
        self._renew()
        if progress:
            progress(done, frames)

    def _watched(self, items: Iterable[Item]) -> Iterator[Item]:
        """The items, with a look at the consent every second of them: long steps stop as soon as blocks do."""
        looked_at = self._authority.clock()
        for item in items:
            now = self._authority.clock()
            if now - looked_at >= LOOK_EVERY or now < looked_at:
                self._require_consent()
                looked_at = now
            yield item

    def _renew(self) -> None:
        """Keep the lease ahead of the work; the longest step between two calls is reading the marks back."""
        now = self._authority.clock()
        if now - self._renewed_at >= RENEW_EVERY:
            self._authority.stores.ledger.renew(self._decision.reservation_id, now)
            self._renewed_at = now

    def _require_consent(self) -> None:
        """Stop the job as soon as the consent is withdrawn, suspended, or of unknown status."""
        try:
            status = self._status_of(self._consent)
        except PolicyError as error:
            raise self._stopped(
                "consent.status_unknown", f"The status of the consent is not known: {error}."
            ) from error
        if status is TokenStatus.SUSPENDED:
            raise self._stopped("consent.suspended", "The consent was suspended while the clip was made.")
        if status is not TokenStatus.VALID:
            raise self._stopped("consent.revoked", "The consent was withdrawn while the clip was made.")

    def _stopped(self, rule_id: str, fact: str) -> Refused:
        """A refusal of what was allowed before; logged, as every refusal is."""
        denial = Denial(rule_id, fact, "Only the depicted person and the registry can allow it again.")
        self._authority.stores.events.record(
            "job.stopped",
            {"rule": rule_id, "reservation": self._decision.reservation_id},
            now=self._authority.clock(),
            decision=self._decision.decision_id,
            subject=self._decision.consent_id,
        )
        appeal = self._authority.site.appeals_to
        return Refused(replace(self._decision, allowed=False, denials=(denial,), grant="", log_proof="", appeal=appeal))

    def _give_back(self, reason: str) -> None:
        ledger, reservation = self._authority.stores.ledger, self._decision.reservation_id
        try:
            ledger.refund(reservation, reason, self._authority.clock())
        except (PolicyError, sqlite3.Error):
            with suppress(sqlite3.Error):  # the refund follows when the log can be written again
                ledger.abandon(reservation)

    def _anonymous(self) -> BinaryIO:
        """A file without a name in the state's work folder; gone with the process."""
        return tempfile.TemporaryFile("w+b", dir=self._authority.work_folder)


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


def _file_sha256(file: BinaryIO) -> str:
    file.seek(0)
    digest = hashlib.sha256()
    while chunk := file.read(1 << 20):
        digest.update(chunk)
    return digest.hexdigest()


def _vasari_version() -> str:
    try:
        return version("vasari")
    except PackageNotFoundError:
        return "from source"
