"""What is known about one clip: each kind of evidence with its own state, before anything is concluded from it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from detector import DetectorReport
from provenance import MATCH_DISTANCE, Alignment, CredentialsReport, StoredManifestFacts
from watermark import Detection

LENGTH_TOLERANCE_S = 0.5
"""Re-encoding may add a few frames; more is content that was not released."""

Source = Literal["portrait", "recording"]


@dataclass(frozen=True)
class LogEvidence:
    """Whether the release's decision is in the transparency log."""

    state: Literal["proved", "failed", "absent", "not_checked"]
    explanation: str
    index: int | None = None


@dataclass(frozen=True)
class RepositoryEvidence:
    """What the manifest repository knows about the marked release."""

    manifest_id: int
    registered: bool
    created_at: datetime | None = None
    fingerprint_distance: float | None = None
    """Against the stored fingerprint; None where it could not be compared."""
    alignment: Alignment | None = None
    """Where the clip lies on the release's time line and how different it is there."""
    recovered: StoredManifestFacts | None = None
    """What the stored manifest says, its signature checked; None where it is damaged."""
    recovered_log: LogEvidence | None = None
    """Whether the stored manifest's log proof holds."""
    longer_by_s: float = 0.0
    """How much longer the clip is than the release: so much of it is not that release's, whatever the distance."""

    @property
    def same_content(self) -> bool | None:
        """Whether the clip shows what the release showed; None where nothing could be compared."""
        if self.fingerprint_distance is None:
            return None
        return self.fingerprint_distance <= MATCH_DISTANCE

    @property
    def only_a_part(self) -> bool:
        """Whether the clip holds the release and other content beside it."""
        return self.same_content is True and self.longer_by_s > LENGTH_TOLERANCE_S


@dataclass(frozen=True)
class Evidence:
    """Everything known about one clip; None means that this evidence was not looked for."""

    credentials: CredentialsReport | None = None
    video_mark: Detection | None = None
    audio_mark: Detection | None = None
    repository: RepositoryEvidence | None = None
    log: LogEvidence = LogEvidence("not_checked", "No log proof was checked.")
    detector: DetectorReport | None = None
    given: Mapping[Source, str] = field(default_factory=dict)
    """SHA-256 of the source files that the auditor holds, to compare with what the release names."""
    damage: str = ""
    """Why picture or sound could not be looked at, where the credentials alone could."""

    @property
    def video_id(self) -> int | None:
        """The manifest id that the picture's mark carries."""
        return _marked_id(self.video_mark)

    @property
    def audio_id(self) -> int | None:
        """The manifest id that the sound's mark carries."""
        return _marked_id(self.audio_mark)

    @property
    def named_releases(self) -> set[int]:
        """The releases that release record and soft binding name: one, unless they lie."""
        if self.credentials is None or self.credentials.manifest_id is None:
            return set()
        bound = self.credentials.soft_binding_value
        return {self.credentials.manifest_id} | ({int.from_bytes(bound, "big")} if bound is not None else set())


def _marked_id(mark: Detection | None) -> int | None:
    return mark.payload.manifest_id if mark is not None and mark.found and mark.payload is not None else None
