"""The consent token: what a depicted person allowed, signed by the registry that checked the person.

Compact JWS of type `consent+jwt`. The subject is a pairwise pseudonym; the name stays in the evidence
record, of which the token holds only the hash. Unknown members anywhere, floats and strings in place
of integers are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from policy import strict_jws
from policy.errors import TokenError

CONSENT_TYPE = "consent+jwt"
MAX_LIFE_DAYS = 90

PURPOSES: Mapping[str, str] = {
    "detector-evaluation": "Clips that show my face are used to measure how well fakes are detected.",
    "detector-training": "Clips that show my face are used to train programs that detect fakes.",
    "watermark-research": "Clips that show my face are used to test invisible marks in video.",
    "generation-research": "Clips that show my face are used to study and measure talking-face generation.",
    "demonstration": "A clip that shows my face is shown to people to explain how this technique works.",
}
"""Closed vocabulary: each purpose with the sentence that the depicted person was shown."""

Purpose = Literal[
    "detector-evaluation", "detector-training", "watermark-research", "generation-research", "demonstration"
]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Sha256Uri = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
Thumbprint = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{43}$")]
Identifier = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[!-~]+$")]
Seconds = Annotated[int, Field(ge=0, lt=1 << 40)]


Claims = TypeVar("Claims", bound=BaseModel)


class Strict(BaseModel):
    """Immutable; unknown members and values of a neighbouring type are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class VideoLimits(Strict):
    """Largest clip the consent allows."""

    max_width: Annotated[int, Field(ge=64, le=4096)]
    max_height: Annotated[int, Field(ge=64, le=4096)]
    max_fps: Annotated[int, Field(ge=1, le=120)]
    max_seconds: Annotated[int, Field(ge=1, le=3600)]


class PortraitBinding(Strict):
    """SHA-256 of the portrait file, and of its decoded canonical RGB pixels; `face`: which of several faces in it is
    the person, from the left."""

    sha256: Sha256
    pixels_sha256: Sha256
    face: Annotated[int, Field(ge=1, le=16)] | None = None


class AudioBinding(Strict):
    """`any`, or only the recordings whose file hashes are listed."""

    mode: Literal["any", "hash-list"]
    sha256: Annotated[list[Sha256], Field(max_length=32)]


class LikenessGeneration(Strict):
    """One RFC 9396 authorization detail."""

    type: Literal["likeness_generation"]
    model: Sha256Uri
    purposes: Annotated[list[Purpose], Field(min_length=1, max_length=len(PURPOSES))]
    portrait: PortraitBinding
    audio: AudioBinding
    video: VideoLimits
    total_seconds: Annotated[int, Field(ge=1, le=1_000_000)]
    uses: Annotated[int, Field(ge=1, le=100_000)]


class Confirmation(Strict):
    """RFC 7800 `cnf`: thumbprint of the only key that may use the token."""

    jkt: Thumbprint


class StatusListEntry(Strict):
    """Where the token's status is: entry `idx` of the list at `uri`."""

    idx: Annotated[int, Field(ge=0, lt=1 << 24)]
    uri: Identifier


class Status(Strict):
    """The `status` claim."""

    status_list: StatusListEntry


class Evidence(Strict):
    """Hash of the record of how consent was collected; the record itself never leaves the registry."""

    record: Sha256Uri


class ConsentClaims(Strict):
    """All claims of a consent token; `exp`, `nbf`, `iat` in seconds since 1970."""

    iss: Identifier
    sub: Annotated[str, StringConstraints(pattern=r"^pw:[A-Za-z0-9_-]{43}$")]
    aud: Identifier
    iat: Seconds
    nbf: Seconds
    exp: Seconds
    jti: Identifier
    authorization_details: Annotated[list[LikenessGeneration], Field(min_length=1, max_length=1)]
    cnf: Confirmation
    status: Status
    evidence: Evidence

    @property
    def allows(self) -> LikenessGeneration:
        """The one authorization detail."""
        return self.authorization_details[0]


def sign_consent(claims: ConsentClaims, key: Ed25519PrivateKey) -> str:
    """Sign with the registry's key."""
    return strict_jws.sign(claims.model_dump(mode="json"), typ=CONSENT_TYPE, key=key)


def verify_consent(token: str, keys: Mapping[str, Ed25519PublicKey]) -> ConsentClaims:
    """Check form and signature; raises TokenError. Time, audience and status are the gate's to judge."""
    verified = strict_jws.verify(token, typ=CONSENT_TYPE, keys=keys)
    return parse_claims(ConsentClaims, verified.claims)


def parse_claims(model: type[Claims], claims: Mapping[str, object]) -> Claims:
    """Claims as a typed model; raises TokenError `bad_claims` that names each wrong member."""
    try:
        return model.model_validate(claims)
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(str(step) for step in fault['loc'])[:80]}: {fault['msg'][:80]}"
            for fault in error.errors(include_input=False, include_url=False)[:8]
        )
        raise TokenError("bad_claims", wrong) from None
