"""Three kinds of evidence on one file: credentials, watermark, detector; the picture is decoded once for all.

Memory stays bounded whatever the clip's length: blocks of frames stream to the mark's detector, the synthesis
detector, the fingerprint and the thumbnails side by side, and none may lag more than a few blocks behind.
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TypeGuard

from detector import Detector, DetectorReport
from media import FrameBlock, MediaError, MediaInfo, probe, read_audio, read_frames
from provenance import (
    MATCH_DISTANCE,
    Alignment,
    CredentialsReport,
    ManifestRepository,
    ProvenanceError,
    StoredManifestFacts,
    TrustAnchors,
    align_fingerprints,
    align_placed,
    clip_fingerprint,
    fingerprint_duration_s,
    frame_aspect,
    read_stored_manifest,
    verify_clip,
)
from vasari.checks import Check, checks
from vasari.evidence import Evidence, LogEvidence, RepositoryEvidence, Source
from vasari.fan_out import fan_out
from vasari.file_kinds import STILLS
from vasari.picture_place import placements
from vasari.thumbnails import Thumbnail, pick_thumbnails
from vasari.verdict import Verdict, fold
from watermark import Detection, MarkKey, Pose, detect_audio, detect_video

BLOCK_BYTES = 24 * 2**20
"""Largest block of decoded frames, so that 4K clips need no more memory than small ones."""
MARK_SAMPLE_RATE = 48_000


@dataclass(frozen=True)
class ClipAudit:
    """Everything found about one readable clip."""

    path: str
    sha256: str
    size_bytes: int
    info: MediaInfo | None
    """None where the credentials are broken and nothing decodes."""
    evidence: Evidence
    verdict: Verdict
    thumbnails: tuple[Thumbnail, ...]
    audited_at: datetime
    took_s: float

    @property
    def checks(self) -> tuple[Check, ...]:
        """The auditor's questions, answered."""
        return checks(self.evidence)

    @property
    def name(self) -> str:
        """The file's name without its folder."""
        return Path(self.path).name

    @property
    def folder(self) -> str:
        """The folder it lies in."""
        return str(Path(self.path).parent)


@dataclass(frozen=True)
class UnreadableClip:
    """A file that could not be audited, and why."""

    path: str
    error: str


def _plain(error: MediaError, path: Path) -> MediaError:
    """The error, or for a still picture what can be done with one."""
    if path.suffix.lower() not in STILLS:
        return error
    remedy = "vasari mark detect looks for a mark in it."
    return MediaError(str(path), expected="a clip", came="it is a still picture", remedy=remedy)


@dataclass(frozen=True)
class ClipAuditor:
    """What the evidence is compared with: whom to trust, whose marks to look for, where releases are registered."""

    anchors: TrustAnchors | None = None
    mark_keys: Sequence[MarkKey] = ()
    repository: ManifestRepository | None = None
    check_log: Callable[[CredentialsReport], LogEvidence] | None = None
    detector: Detector | None = None

    def audit(
        self,
        path: Path,
        *,
        progress: Callable[[float], None] | None = None,
        at: datetime | None = None,
        given: Mapping[Source, str] = MappingProxyType({}),
    ) -> ClipAudit:
        """The evidence on `path` and its verdict; `progress` gets the seconds of picture read so far.

        `at` (now when None) is when certificates and lists are judged; `given` are the SHA-256 of the portrait and the
        recording that the auditor holds.

        A clip that was damaged after signing still gets its verdict, from the credentials alone. Raises
        `media.MediaError` when any other file can't be decoded or changes meanwhile, OSError when it can't be read.
        """
        began = time.monotonic()
        if path.exists() and not path.is_file():
            raise MediaError(str(path), expected="a clip", came="no regular file", remedy="Give a video file.")
        before = _version(path)
        digest, size_bytes = _sha256(path)
        credentials = verify_clip(path, self.anchors, validation_time=at) if self.anchors is not None else None
        info: MediaInfo | None = None
        thumbnails: tuple[Thumbnail, ...] = ()
        try:
            info = _probe_clip(path)
            evidence, thumbnails = self._look(path, info, credentials, progress)
        except MediaError as error:
            if credentials is None or credentials.state != "broken":
                raise _plain(error, path) from error
            evidence = Evidence(credentials=credentials, damage=str(error))
        if _version(path) != before:  # else the evidence could be another file's than the SHA-256
            raise MediaError(str(path), expected="a file that stays as it is", came="it was changed while it was read",
                             remedy="Copy it to where nobody else writes, then try again.")  # fmt: skip
        evidence = replace(evidence, given=dict(given))
        return ClipAudit(
            path=str(path),
            sha256=digest,
            size_bytes=size_bytes,
            info=info,
            evidence=evidence,
            verdict=fold(evidence),
            thumbnails=thumbnails,
            audited_at=at or datetime.now(UTC),
            took_s=time.monotonic() - began,
        )

    def _look(
        self,
        path: Path,
        info: MediaInfo,
        credentials: CredentialsReport | None,
        progress: Callable[[float], None] | None,
    ) -> tuple[Evidence, tuple[Thumbnail, ...]]:
        """The evidence of picture and sound beside the credentials; raises MediaError where they don't decode."""
        video_mark, report, fingerprint, thumbnails = self._watch(path, info, progress)
        audio_mark = self._listen(path, info)
        evidence = Evidence(
            credentials=credentials,
            video_mark=video_mark,
            audio_mark=audio_mark,
            repository=self._look_up(path, info, video_mark, audio_mark, fingerprint),
            log=self._log_evidence(credentials),
            detector=report,
        )
        return evidence, thumbnails

    def _watch(
        self, path: Path, info: MediaInfo, progress: Callable[[float], None] | None
    ) -> tuple[Detection | None, DetectorReport | None, bytes, tuple[Thumbnail, ...]]:
        """One pass over the picture."""
        block_frames = max(1, min(16, BLOCK_BYTES // (info.width * info.height * 3)))
        blocks = _reporting(read_frames(path, block_frames=block_frames), progress)
        consumers: list[Callable[[Iterator[FrameBlock]], object]] = [
            clip_fingerprint,
            pick_thumbnails,
            lambda stream: detect_video(stream, self.mark_keys) if self.mark_keys else None,
            lambda stream: self.detector.score(stream) if self.detector is not None else None,
        ]
        results = fan_out(blocks, consumers)
        for result in results:
            if isinstance(result, Exception):
                raise result
        fingerprint, thumbnails, mark, report = results
        return mark, report, fingerprint, thumbnails  # type: ignore[return-value]  # in the order of `consumers`

    def _listen(self, path: Path, info: MediaInfo) -> Detection | None:
        """One pass over the sound."""
        if info.audio_codec is None or not self.mark_keys:
            return None
        blocks = read_audio(path, sample_rate=MARK_SAMPLE_RATE)
        return detect_audio(blocks, self.mark_keys, sample_rate=MARK_SAMPLE_RATE)

    def _look_up(
        self,
        path: Path,
        info: MediaInfo,
        video_mark: Detection | None,
        audio_mark: Detection | None,
        fingerprint: bytes,
    ) -> RepositoryEvidence | None:
        marked = [mark for mark in (video_mark, audio_mark) if mark is not None and mark.found]
        if not marked or marked[0].payload is None or self.repository is None:
            return None
        manifest_id = marked[0].payload.manifest_id
        stored = self.repository.find(manifest_id)
        if stored is None:
            return RepositoryEvidence(manifest_id, registered=False)
        recovered = _recover(stored.manifest_store, self.anchors)
        alignment = _align(lambda: align_fingerprints(fingerprint, stored.fingerprint))
        if video_mark is not None and video_mark.pose is not None and (not _fits(alignment) or alignment.changed):
            alignment = _placed(path, info, video_mark.pose, stored.fingerprint) or alignment
        return RepositoryEvidence(
            manifest_id,
            registered=True,
            created_at=stored.created_at,
            fingerprint_distance=alignment.distance if alignment is not None else None,
            alignment=alignment,
            recovered=recovered,
            recovered_log=self._recovered_log(recovered),
            longer_by_s=_longer_by_s(fingerprint, stored.fingerprint),
        )

    def _recovered_log(self, recovered: StoredManifestFacts | None) -> LogEvidence | None:
        """The log proof inside a recovered manifest, checked like that of an embedded one."""
        if recovered is None or self.check_log is None:
            return None
        said = CredentialsReport(
            "verified", (), (), engines_agree=True,
            log_proof=recovered.log_proof, decision_sha256=recovered.decision_sha256,
        )  # fmt: skip
        return self.check_log(said)

    def _log_evidence(self, credentials: CredentialsReport | None) -> LogEvidence:
        if credentials is None or credentials.state != "verified":
            return LogEvidence("not_checked", "not checked: no valid manifest vouches for a log proof")
        if self.check_log is None:
            return LogEvidence("not_checked", "not checked: the log's public key is not known here")
        return self.check_log(credentials)


def _probe_clip(path: Path) -> MediaInfo:
    info = probe(path)
    if info.video_codec is None:
        raise MediaError(str(path), expected="a clip", came="it has sound only", remedy="Give a video file.")
    return info


def _align(compare: Callable[[], Alignment]) -> Alignment | None:
    """None where one of the two is too short to compare, or too little of the picture is shown."""
    try:
        return compare()
    except ProvenanceError:
        return None


def _fits(alignment: Alignment | None) -> TypeGuard[Alignment]:
    return alignment is not None and alignment.distance <= MATCH_DISTANCE


def _placed(path: Path, info: MediaInfo, pose: Pose, release: bytes) -> Alignment | None:
    """Look at the clip once more, laid where its mark says that it lies in the release; None where it isn't that."""
    block_frames = max(1, min(16, BLOCK_BYTES // (info.width * info.height * 3)))
    for placement in placements(pose, info.width, info.height, aspect=frame_aspect(release)):
        blocks = read_frames(path, block_frames=block_frames)
        alignment = _align(partial(align_placed, blocks, release, placement))
        if _fits(alignment):
            return alignment
    return None


def _recover(store: bytes, anchors: TrustAnchors | None) -> StoredManifestFacts | None:
    """What a registered manifest says; None where it does not hold any more."""
    try:
        return read_stored_manifest(store, anchors)
    except ProvenanceError:
        return None


def _longer_by_s(clip: bytes, release: bytes) -> float:
    """Seconds of the clip beyond the release's length; 0 where a fingerprint can't be read."""
    try:
        return max(0.0, fingerprint_duration_s(clip) - fingerprint_duration_s(release))
    except ProvenanceError:
        return 0.0


def _reporting(blocks: Iterator[FrameBlock], progress: Callable[[float], None] | None) -> Iterator[FrameBlock]:
    for block in blocks:
        yield block
        if progress is not None and block.times:
            progress(float(block.times[-1]))


def _version(path: Path) -> tuple[int, ...]:
    """Which file the name means, and when it or its content was last touched, which its owner can't set back."""
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _sha256(path: Path) -> tuple[str, int]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return digest, file.tell()
