"""The grant: a decision turned into a right to one key, for one job of one worker, for a few minutes.

Signed by the gate, type `grant+jwt`. It names the logged decision, the hashes of portrait and recording,
the digest of the whole request,
the limits, the manifest id that must be marked into the clip, and the worker's ephemeral X25519 key, to
which alone the key broker wraps the content key.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import Field, StringConstraints

from policy import strict_jws
from policy.claims import Identifier, Seconds, Sha256, Sha256Uri, Strict, Thumbprint, parse_claims
from policy.consent_token import VideoLimits

GRANT_TYPE = "grant+jwt"
GRANT_LIFE = timedelta(minutes=2)

Base64Key = Thumbprint
ManifestId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]


class GrantClaims(Strict):
    """All claims of a grant. `decision` is the SHA-256 of the log entry at `log_index`."""

    iss: Identifier
    aud: Identifier
    iat: Seconds
    nbf: Seconds
    exp: Seconds
    jti: Identifier
    decision: Sha256
    log_index: Annotated[int, Field(ge=0)]
    reservation: Identifier
    consent_sha256: Sha256
    portrait_sha256: Sha256
    audio_sha256: Sha256
    request: Thumbprint
    video: VideoLimits
    model: Sha256Uri
    manifest_id: ManifestId
    worker_key: Base64Key


def sign_grant(claims: GrantClaims, key: Ed25519PrivateKey, *, kid: str = "") -> str:
    """Sign with the gate's key, whose thumbprint is `kid` where the caller knows it."""
    return strict_jws.sign(claims.model_dump(), typ=GRANT_TYPE, key=key, kid=kid)


def verify_grant(token: str, keys: Mapping[str, Ed25519PublicKey]) -> GrantClaims:
    """Check form and signature; raises TokenError. Time and single use are the broker's to judge."""
    return parse_claims(GrantClaims, strict_jws.verify(token, typ=GRANT_TYPE, keys=keys).claims)
