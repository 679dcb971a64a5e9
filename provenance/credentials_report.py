"""What `verify_clip` answers: one state, every finding behind it, and each engine's own view."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from provenance.manifest import Ingredient
from provenance.status_codes import Topic, clause_of, plain_words, topic_of
from provenance.stream_place import StreamPlace

State = Literal["verified", "untrusted", "broken", "absent", "unreadable"]
EngineState = Literal["verified", "untrusted", "broken", "absent", "unreadable", "not_run"]
Severity = Literal["failure", "warning", "note", "passed"]
SourceState = Literal["validated", "failed", "no credentials"]

WORST_FIRST: tuple[State, ...] = ("broken", "unreadable", "absent", "untrusted", "verified")


@dataclass(frozen=True)
class Finding:
    """One observation. `code` is a C2PA status code, or `vasari.*` for what the engines don't look at.

    `source` names the source file it is about; empty for the file itself.
    """

    code: str
    severity: Severity
    explanation: str
    engine: str
    url: str = ""
    source: str = ""

    @property
    def topic(self) -> Topic:
        """The question that it answers."""
        return "sources" if self.source else topic_of(self.code)

    @property
    def clause(self) -> str:
        """The clause of a specification that it comes from."""
        return clause_of(self.code)

    @property
    def meaning(self) -> str:
        """What it means, in one plain sentence without details."""
        return plain_words(self.code)


@dataclass(frozen=True)
class EngineVerdict:
    """One engine's state, with the reason in words when it did not run or could not read the file."""

    engine: str
    version: str
    state: EngineState
    reason: str = ""


@dataclass(frozen=True)
class UncoveredBytes:
    """Bytes of the file that no signed hash covers: a whole box of kind `kind` at byte `offset`.

    `hidden` tells content from what a file of this kind must have there anyway.
    """

    kind: str
    offset: int
    length: int
    hidden: bool


@dataclass(frozen=True)
class SourceStep:
    """One source in the tree of sources, depth first; `depth` 0 are the sources of the active manifest."""

    depth: int
    title: str
    media_type: str
    relationship: str
    sha256: str | None
    state: SourceState
    failures: tuple[str, ...] = ()


@dataclass(frozen=True)
class CredentialsReport:
    """The folded verdict on one file.

    verified    both engines (or the one that could run) trust the signer under the given anchors, nothing
                failed anywhere, and no byte with content lies outside the signed hash unexplained
    untrusted   nothing was changed, but the signer is not one of ours, or no longer
    broken      something was changed, hidden, or is malformed
    absent      the file carries no credentials
    unreadable  the file can't be read as one of the supported formats

    Everything below `engines` is what the active manifest claims (or, for an update manifest, the one whose hash binds
    the content); it counts only when `state` is "verified". `unhashed_bytes` counts bytes no signed hash covers; None
    when they can't be counted in this format. `uncovered` says where they lie (MP4 family). `stream`: which segment of
    a live stream it is.
    """

    state: State
    findings: tuple[Finding, ...]
    engines: tuple[EngineVerdict, ...]
    engines_agree: bool
    manifest_id: int | None = None
    signer: str | None = None
    signed_at: datetime | None = None
    ingredients: tuple[Ingredient, ...] = ()
    sources: tuple[SourceStep, ...] = ()
    portrait_sha256: str | None = None
    audio_sha256: str | None = None
    consent_sha256: str | None = None
    decision_sha256: str | None = None
    log_proof: str | None = None
    soft_binding_value: bytes | None = None
    unhashed_bytes: int | None = None
    uncovered: tuple[UncoveredBytes, ...] = ()
    stream: StreamPlace | None = None

    @property
    def failures(self) -> tuple[Finding, ...]:
        """The findings that keep the file from being verified."""
        return tuple(finding for finding in self.findings if finding.severity == "failure")

    def about(self, topic: Topic) -> tuple[Finding, ...]:
        """The findings that answer one question."""
        return tuple(finding for finding in self.findings if finding.topic == topic)


def worst(states: tuple[State, ...]) -> State:
    """The state that weighs most."""
    return min(states, key=WORST_FIRST.index)
