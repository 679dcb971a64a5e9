"""Who may make a clip, of whom, and how it leaves: tokens, rules, gate, sealed weights, release."""

from policy.authority import Authority, AuthorityRecord, EventReceipt
from policy.canonical import sha256_hex
from policy.consent_token import PURPOSES, ConsentClaims
from policy.decision import Decision, Denial
from policy.errors import (
    GrantError,
    KeyFileError,
    OutputError,
    PolicyError,
    Refused,
    ReleaseError,
    SealError,
    StateError,
    TokenError,
    UnknownTokenError,
)
from policy.gate import Gate
from policy.keys import public_jwk, read_private_key, thumbprint, write_private_key
from policy.media_facts import MAX_AUDIO_BYTES, MAX_PORTRAIT_BYTES
from policy.registry import ConsentTerms, IssuedToken
from policy.release import Receipt, ReleasePipeline
from policy.request import CONTROL_RANGES, EMOTIONS, Controls, Framing, GenerationRequest, sign_request
from policy.seal import read_sealed_header, seal_weights
from policy.status_list import TokenStatus
from policy.uses import ConsentUse

__all__ = [
    "CONTROL_RANGES",
    "EMOTIONS",
    "MAX_AUDIO_BYTES",
    "MAX_PORTRAIT_BYTES",
    "PURPOSES",
    "Authority",
    "AuthorityRecord",
    "ConsentClaims",
    "ConsentTerms",
    "ConsentUse",
    "Controls",
    "Decision",
    "Denial",
    "EventReceipt",
    "Framing",
    "Gate",
    "GenerationRequest",
    "GrantError",
    "IssuedToken",
    "KeyFileError",
    "OutputError",
    "PolicyError",
    "Receipt",
    "Refused",
    "ReleaseError",
    "ReleasePipeline",
    "SealError",
    "StateError",
    "TokenError",
    "TokenStatus",
    "UnknownTokenError",
    "public_jwk",
    "read_private_key",
    "read_sealed_header",
    "seal_weights",
    "sha256_hex",
    "sign_request",
    "thumbprint",
    "write_private_key",
]
