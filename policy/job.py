"""One allowed request on its way out: it owns the reserved use, watches the consent, signs and checks.

What a clip and a stream have in common; how frames are made and handed out is theirs.
"""

from __future__ import annotations

import hashlib
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import BinaryIO

from media import MediaError
from policy.authority import Authority
from policy.canonical import sha256_hex
from policy.consent_token import ConsentClaims, VideoLimits
from policy.decision import Decision, Denial
from policy.errors import PolicyError, Refused, ReleaseError
from policy.grant import GrantClaims, verify_grant
from policy.handed_files import read_only
from policy.keys import thumbprint
from policy.locked_memory import guard_process
from policy.marked_clip import ClipMeasures, Item, Mark, ReadBack, read_back
from policy.media_types import audio_media_type, portrait_media_type
from policy.performer import OWN_FAILURES, Performer
from policy.request import OUTPUT_FPS, GenerationRequest, RequestFacts
from policy.stages import Stages
from policy.status_list import TokenStatus
from provenance import ClipManifest, ProvenanceError, StreamPlace, sign_clip, verify_clip
from watermark import WatermarkError

RENEW_EVERY = timedelta(minutes=1)
LOOK_EVERY = timedelta(seconds=1)
"""A withdrawal stops a running job within 5 s, whatever step it is at."""

PARTS_THAT_FAIL = (MediaError, WatermarkError, ProvenanceError, OSError, sqlite3.Error, *OWN_FAILURES)


class Job:
    """One allowed request; owns the reserved use until it is consumed or given back."""

    def __init__(
        self,
        authority: Authority,
        status_of: Callable[[ConsentClaims], TokenStatus],
        request: GenerationRequest,
        decision: Decision,
        stages: Stages,
    ) -> None:
        self._authority = authority
        self._status_of = status_of
        self._request = request
        self._decision = decision
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
                self._retract()
                self._give_back(type(error).__name__)
            if isinstance(error, PARTS_THAT_FAIL):
                raise ReleaseError(f"the clip could not be released: {error} {self._left_behind()}") from error
            raise

    def _retract(self) -> None:
        """Take back what was about to be handed out."""
        raise NotImplementedError

    def _left_behind(self) -> str:
        """What an error message says of the files at the output path."""
        return "Nothing was written."

    def _unseal(self, performer: Performer) -> GrantClaims:
        """Let the weights be opened; the grant, which is for exactly what was asked."""
        authority, request, decision = self._authority, self._request, self._decision
        gate_key = authority.gate_public_key
        grant = verify_grant(decision.grant, {thumbprint(gate_key): gate_key})
        given = sha256_hex(request.portrait), sha256_hex(request.audio)
        if given != (grant.portrait_sha256, grant.audio_sha256):
            raise ReleaseError("the grant is for another portrait or recording; nothing was written")
        if RequestFacts.with_media(request, *given).digest != grant.request:
            raise ReleaseError("the request was changed after the decision; nothing was written")
        guard_process()
        wrapped = authority.broker.release_key(decision.grant, decision.entry, decision.log_proof)
        performer.open(wrapped, grant.jti, look=self._look)
        self._stages.done("unsealed")
        return grant

    def _look(self) -> None:
        """What whoever waits does meanwhile: stop when the consent ended, keep the lease."""
        self._require_consent()
        self._renew()

    def _read_back(self, clip: BinaryIO, mark: Mark) -> ReadBack:
        """Marks, fingerprint and measures of an encoded clip, read where the clip was made or by a process apart."""
        if (split := self._authority.split_worker) is None:
            with read_only(clip) as again:
                return read_back(clip, again, mark.key, watched=self._watched)
        return split.reader.read_back(clip, mark.key, look=self._look)

    def _sign(
        self,
        grant: GrantClaims,
        plain: BinaryIO,
        signed: BinaryIO,
        measures: ClipMeasures,
        *,
        stream: StreamPlace | None = None,
        audio_sha256: str = "",
    ) -> bytes:
        """Countersign what was read back as granted, then check the signature as a stranger would.

        `measures`: of `plain`.
        `stream` and, where the sound came live, `audio_sha256` of what was heard are of a segment.
        """
        authority, decision, request = self._authority, self._decision, self._request
        assert decision.manifest_id is not None
        self._require_consent()
        self._require_within(grant.video, measures)
        manifest = ClipManifest(
            title="Talking clip" if stream is None else f"Talking clip, segment {stream.number}",
            generator_version=f"Vasari {_vasari_version()}, {grant.model[:23]}",
            manifest_id=decision.manifest_id,
            soft_binding_value=decision.manifest_id.to_bytes(8, "big"),
            portrait_sha256=grant.portrait_sha256,
            audio_sha256=audio_sha256 or grant.audio_sha256,
            consent_sha256=grant.consent_sha256,
            decision_sha256=decision.sha256,
            log_proof=decision.log_proof,
            portrait_media_type=portrait_media_type(request.portrait),
            audio_media_type=audio_media_type(request.audio),
            created_at=authority.clock(),
            stream=stream,
        )
        plain.seek(0)
        store = sign_clip(plain, signed, manifest, authority.signing_identity, clock=authority.clock)
        signed.flush()
        self._stages.done("signed")
        report = verify_clip(Path(f"/proc/self/fd/{signed.fileno()}"), authority.trust_anchors)
        if report.state != "verified" or report.manifest_id != decision.manifest_id or report.stream != stream:
            codes = ", ".join(finding.code for finding in report.findings if finding.severity == "failure")
            raise ReleaseError(f"the signed clip reads as {report.state} ({codes}); nothing was written")
        self._stages.done("verified")
        return store

    @staticmethod
    def _require_within(limits: VideoLimits, clip: ClipMeasures) -> None:
        """The encoded clip itself keeps to the granted limits, whoever made it."""
        most_s = limits.max_seconds + 1 / OUTPUT_FPS
        too_large = clip.width_px > limits.max_width or clip.height_px > limits.max_height
        if too_large or clip.fps > limits.max_fps or clip.duration_s > most_s:
            raise ReleaseError(
                f"the clip ({clip.width_px}x{clip.height_px}, {float(clip.fps):g} frames/s, {clip.duration_s:.2f} s) "
                f"is beyond what was granted ({limits.max_width}x{limits.max_height}, {limits.max_fps} frames/s, "
                f"{limits.max_seconds} s); nothing was written"
            )

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


def file_sha256(file: BinaryIO) -> str:
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
