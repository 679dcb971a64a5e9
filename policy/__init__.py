"""Who may make a clip, of whom, and how it leaves: tokens, rules, gate, sealed weights, release."""

from media import PcmFormat
from policy.authority import Authority
from policy.broker_folder import broker_end, open_broker, pin_broker_end, renew_broker_end
from policy.broker_service import serve_broker
from policy.canonical import sha256_hex
from policy.clip_release import Receipt
from policy.consent_ceremony import ConsentProposal
from policy.consent_record import ConsentTerms
from policy.consent_token import PURPOSES, ConsentClaims
from policy.decision import Decision, Denial
from policy.delegation_token import hand_on
from policy.errors import (
    GrantError,
    KeyFileError,
    OutputError,
    PolicyError,
    ProcessError,
    Refused,
    ReleaseError,
    SealError,
    StateError,
    TokenError,
    UnknownTokenError,
)
from policy.event_receipt import EventReceipt, check_consent_receipt
from policy.gate import Gate
from policy.key_ring import KeyRing, Role
from policy.keys import public_jwk, read_private_key, thumbprint, write_private_key
from policy.live_recording import live_recording
from policy.mark_keys import StoredMarkKey
from policy.media_facts import MAX_AUDIO_BYTES, MAX_PORTRAIT_BYTES
from policy.registry import IssuedToken
from policy.registry_split import split_registry
from policy.release import ReleasePipeline
from policy.replay import CaseResult, Replay, read_cases, run_cases
from policy.request import CONTROL_RANGES, EMOTIONS, Controls, Framing, GenerationRequest, script_digest, sign_request
from policy.seal import read_sealed_header, seal_weights
from policy.site_policy import SiteLimits, SitePolicy
from policy.state_folder import AuthorityRecord
from policy.status_list import TokenStatus
from policy.status_service import serve_status
from policy.stream_release import LiveInput, StreamReceipt
from policy.subject_device import Credential, SoftwareAuthenticator, SubjectDevice
from policy.uses import ConsentUse
from policy.webauthn import Assertion, RelyingParty

__all__ = [
    "CONTROL_RANGES",
    "EMOTIONS",
    "MAX_AUDIO_BYTES",
    "MAX_PORTRAIT_BYTES",
    "PURPOSES",
    "Assertion",
    "Authority",
    "AuthorityRecord",
    "CaseResult",
    "ConsentClaims",
    "ConsentProposal",
    "ConsentTerms",
    "ConsentUse",
    "Controls",
    "Credential",
    "Decision",
    "Denial",
    "EventReceipt",
    "Framing",
    "Gate",
    "GenerationRequest",
    "GrantError",
    "IssuedToken",
    "KeyFileError",
    "KeyRing",
    "LiveInput",
    "OutputError",
    "PcmFormat",
    "PolicyError",
    "ProcessError",
    "Receipt",
    "Refused",
    "ReleaseError",
    "ReleasePipeline",
    "RelyingParty",
    "Replay",
    "Role",
    "SealError",
    "SiteLimits",
    "SitePolicy",
    "SoftwareAuthenticator",
    "StateError",
    "StoredMarkKey",
    "StreamReceipt",
    "SubjectDevice",
    "TokenError",
    "TokenStatus",
    "UnknownTokenError",
    "broker_end",
    "check_consent_receipt",
    "hand_on",
    "live_recording",
    "open_broker",
    "pin_broker_end",
    "public_jwk",
    "read_cases",
    "read_private_key",
    "read_sealed_header",
    "renew_broker_end",
    "run_cases",
    "script_digest",
    "seal_weights",
    "serve_broker",
    "serve_status",
    "sha256_hex",
    "sign_request",
    "split_registry",
    "thumbprint",
    "write_private_key",
]
