"""The consent token: what a depicted person allowed, signed by them and by the registry that checked them.

Compact JWS of type `consent+jwt`. The subject is a pairwise pseudonym; the name stays in the consent
record, of which the token holds only the hash. The person's own signature is a WebAuthn assertion over
the statement that `policy.statement` makes of these claims, so a stolen registry key is not enough.
Unknown members anywhere, floats and strings in place of integers are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import Field, StringConstraints, model_validator

from policy import strict_jws
from policy.claims import (
    Confirmation,
    Identifier,
    Pseudonym,
    Seconds,
    Sha256,
    Sha256Uri,
    Status,
    Strict,
    Thumbprint,
    parse_claims,
)
from policy.webauthn import Assertion

CONSENT_TYPE = "consent+jwt"
FACE_METHOD: Literal["vasari-face-dct-1"] = "vasari-face-dct-1"
MAX_LIFE_DAYS = 90
MAX_DELEGATION_DEPTH = 4
MAX_CEREMONY_S = 1800
"""Seconds from the statement to the person's signature: a challenge older than that is no live act."""

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
Language = Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}(-[A-Z]{2})?$")]
"""BCP 47, language and at most a region: `en`, `pt-BR`."""


class VideoLimits(Strict):
    """Largest clip the consent allows."""

    max_width: Annotated[int, Field(ge=64, le=4096)]
    max_height: Annotated[int, Field(ge=64, le=4096)]
    max_fps: Annotated[int, Field(ge=1, le=120)]
    max_seconds: Annotated[int, Field(ge=1, le=3600)]


class FaceCommitment(Strict):
    """A salted commitment to the face (`policy.face_commitment`): it opens for that face and says nothing of it."""

    method: Literal["vasari-face-dct-1"]
    salt: Thumbprint
    helper: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{84}$")]
    sha256: Sha256


class PortraitBinding(Strict):
    """SHA-256 of the portrait file and of its decoded canonical RGB pixels, and the face itself; all three must fit.

    `face`: which of several faces in it is the person, from the left. `commitment` is None, and the consent good for
    nothing, where no face was found or several and none was named.
    """

    sha256: Sha256
    pixels_sha256: Sha256
    face: Annotated[int, Field(ge=1, le=16)] | None
    commitment: FaceCommitment | None


class AudioBinding(Strict):
    """`any`, or only the recordings whose file hashes are listed; `voice` says whose voice they hold."""

    mode: Literal["any", "hash-list"]
    sha256: Annotated[list[Sha256], Field(max_length=32)]
    voice: Literal["any", "own-recording", "synthetic"]

    @model_validator(mode="after")
    def _voice_of_listed_recordings(self) -> AudioBinding:
        """Whose voice it is can be told of listed recordings only."""
        if (self.mode == "hash-list") != bool(self.sha256):
            raise ValueError("recordings are listed in mode hash-list, and only there")
        if self.voice != "any" and self.mode == "any":
            raise ValueError("a voice can only be promised for recordings that are listed by hash")
        return self


class ScriptBinding(Strict):
    """`any`, or only the texts whose hashes are listed; `languages` is empty for any language."""

    mode: Literal["any", "hash-list"]
    sha256: Annotated[list[Sha256], Field(max_length=32)]
    languages: Annotated[list[Language], Field(max_length=32)]

    @model_validator(mode="after")
    def _listed(self) -> ScriptBinding:
        if (self.mode == "hash-list") != bool(self.sha256):
            raise ValueError("texts are listed in mode hash-list, and only there")
        return self


class LikenessGeneration(Strict):
    """One RFC 9396 authorization detail."""

    type: Literal["likeness_generation"]
    model: Sha256Uri
    purposes: Annotated[list[Purpose], Field(min_length=1, max_length=len(PURPOSES))]
    portrait: PortraitBinding
    audio: AudioBinding
    script: ScriptBinding
    video: VideoLimits
    total_seconds: Annotated[int, Field(ge=1, le=1_000_000)]
    uses: Annotated[int, Field(ge=1, le=100_000)]

    @model_validator(mode="after")
    def _script_of_listed_recordings(self) -> LikenessGeneration:
        """What is said can be held to a text only where the recordings are listed too."""
        if self.script.mode == "hash-list" and self.audio.mode == "any":
            raise ValueError("texts can only be listed together with the recordings that speak them")
        return self


class Delegation(Strict):
    """How many times the grantee may hand it on, narrowed; 0 for not at all."""

    max_depth: Annotated[int, Field(ge=0, le=MAX_DELEGATION_DEPTH)]


class Evidence(Strict):
    """Hash of the record of how consent was collected; the record itself never leaves the registry."""

    record: Sha256Uri


class SubjectAct(Strict):
    """What the depicted person did themselves.

    `adult`: the registry saw proof of 18 years or more. `language` and `notice`: in which language the text
    was, and its SHA-256. `nonce` and `proposed_at` make the challenge fresh. `key` is the person's public
    key, `assertion` their signature over the statement.
    """

    adult: bool
    language: Language
    notice: Sha256Uri
    nonce: Thumbprint
    proposed_at: Seconds
    key: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{59,122}$")]
    assertion: Assertion


class ConsentClaims(Strict):
    """All claims of a consent token; `exp`, `nbf`, `iat` in seconds since 1970."""

    iss: Identifier
    sub: Pseudonym
    aud: Identifier
    iat: Seconds
    nbf: Seconds
    exp: Seconds
    jti: Identifier
    authorization_details: Annotated[list[LikenessGeneration], Field(min_length=1, max_length=1)]
    cnf: Confirmation
    delegation: Delegation
    status: Status
    evidence: Evidence
    subject: SubjectAct

    @property
    def allows(self) -> LikenessGeneration:
        """The one authorization detail."""
        return self.authorization_details[0]


def sign_consent(claims: ConsentClaims, key: Ed25519PrivateKey) -> str:
    """Sign with the registry's key."""
    return strict_jws.sign(claims.model_dump(mode="json"), typ=CONSENT_TYPE, key=key)


def verify_consent(token: str, keys: Mapping[str, Ed25519PublicKey]) -> ConsentClaims:
    """Check form and registry's signature; raises TokenError.

    Time, audience, status and the person's own signature are the gate's to judge.
    """
    verified = strict_jws.verify(token, typ=CONSENT_TYPE, keys=keys)
    return parse_claims(ConsentClaims, verified.claims)
