"""The rules of release: pure functions from facts to a denial or nothing.

A rule names its facts by its parameters. A fact that is missing is a refusal, so taking a fact away
never turns a refusal into an allow. `evaluate` always judges every rule and returns all that fail.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from policy import accreditation_token, consent_token
from policy.accreditation_token import AccreditationClaims
from policy.consent_token import PURPOSES, ConsentClaims
from policy.decision import Denial
from policy.media_facts import (
    MAX_AUDIO_S,
    MIN_AUDIO_S,
    MIN_FACE_PX,
    MIN_PORTRAIT_PX,
    SILENCE_DBFS,
    AudioFacts,
    PortraitFacts,
)
from policy.proof_of_possession import PROOF_LEEWAY_S, PROOF_LIFE_S, Proof, proof_target, token_hash
from policy.request import OUTPUT_FPS, RequestFacts
from policy.status_list import TokenStatus
from policy.strict_jws import same, time_faults
from policy.uses import Standing
from watermark import LONGEST_ASPECT, SMALLEST_SIDE_PX

DAY_S = 86_400
MAX_SEED = 2**63 - 1


@dataclass(frozen=True)
class GateIdentity:
    """Who this gate is, whom it trusts, and the one model it opens (`sha256:...`)."""

    gate_id: str
    registry_id: str
    accreditation_id: str
    model_digest: str


@dataclass(frozen=True)
class Facts:
    """Everything the rules may look at. None = not known; `unreadable` says why, by fact name."""

    now: datetime | None
    gate: GateIdentity | None
    request: RequestFacts | None
    consent: ConsentClaims | None
    consent_token: str | None = field(repr=False)
    consent_status: TokenStatus | None
    standing: Standing | None
    accreditation: AccreditationClaims | None
    accreditation_status: TokenStatus | None
    proof: Proof | None
    proof_seen: bool | None
    portrait: PortraitFacts | None
    audio: AudioFacts | None
    unreadable: Mapping[str, Denial] = field(default_factory=dict)


@dataclass(frozen=True)
class Rule:
    """`check` gets the facts named in `needs` and returns what is wrong, in words, or None."""

    rule_id: str
    needs: tuple[str, ...]
    remedy: str
    check: Callable[..., str | None]


FOLLOWS: Mapping[str, str] = {
    "consent_token": "consent",
    "consent_status": "consent",
    "standing": "consent",
    "accreditation_status": "accreditation",
    "proof_seen": "proof",
}
"""Facts that cannot be had when the first one is missing; its denial explains them too."""

RULES: list[Rule] = []


def evaluate(facts: Facts) -> tuple[Denial, ...]:
    """All denials, rules in their order, missing facts first; empty means allowed."""
    missing: dict[str, Denial] = dict(facts.unreadable)
    failed: list[Denial] = []
    for rule in RULES:
        values = {name: getattr(facts, name) for name in rule.needs}
        absent = [name for name, value in values.items() if value is None]
        for name in absent:
            if FOLLOWS.get(name) not in missing:
                missing.setdefault(name, _missing(name))
        if not absent and (fact := rule.check(**values)) is not None:
            failed.append(Denial(rule.rule_id, fact, rule.remedy))
    return (*missing.values(), *failed)


def rule_set_sha256() -> str:
    """Digest of this file: which rules a logged decision was made by."""
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()


def _missing(name: str) -> Denial:
    words = name.replace("_", " ")
    return Denial(
        f"{name}.missing", f"The gate does not know the {words}.", "Give it; what is not known is never allowed."
    )


def _rule(rule_id: str, remedy: str) -> Callable[[Callable[..., str | None]], Callable[..., str | None]]:
    """Register a rule; its facts are the names of its parameters."""

    def register(check: Callable[..., str | None]) -> Callable[..., str | None]:
        RULES.append(Rule(rule_id, tuple(inspect.signature(check).parameters), remedy, check))
        return check

    return register


TIME_REMEDIES: Mapping[str, str] = {
    "other_issuer": "Use a token of the issuer that this gate trusts.",
    "other_gate": "Use a token that was issued for this gate.",
    "expired": "Ask its issuer for a new one.",
    "not_yet_valid": "Wait until it begins, or ask its issuer for an earlier beginning.",
    "issued_in_future": "Set the clocks of issuer and gate right.",
}


def _time_rule(token: str, code: str, issuer: Callable[[GateIdentity], str]) -> None:
    def check(**facts: object) -> str | None:
        gate, now, claims = facts["gate"], facts["now"], facts[token]
        assert isinstance(gate, GateIdentity)
        assert isinstance(now, datetime)
        assert isinstance(claims, ConsentClaims | AccreditationClaims)
        times = {name: getattr(claims, name) for name in ("iss", "aud", "iat", "nbf", "exp")}
        faults = time_faults(times, iss=issuer(gate), aud=gate.gate_id, now=now)
        return next((f"The {token} token is {fault.fact}." for fault in faults if fault.code == code), None)

    RULES.append(Rule(f"{token}.{code}", (token, "gate", "now"), TIME_REMEDIES[code], check))


for _code in TIME_REMEDIES:
    _time_rule("consent", _code, lambda gate: gate.registry_id)
for _code in TIME_REMEDIES:
    _time_rule("accreditation", _code, lambda gate: gate.accreditation_id)


# Consent


@_rule("consent.life_too_long", "Ask the registry for a consent of at most 90 days.")
def _consent_life(consent: ConsentClaims) -> str | None:
    days = (consent.exp - consent.nbf) / DAY_S
    if days > consent_token.MAX_LIFE_DAYS:
        return f"The consent is valid for {days:.0f} days, at most {consent_token.MAX_LIFE_DAYS} are taken."
    return None


@_rule("consent.revoked", "The depicted person withdrew; only they can consent anew.")
def _consent_revoked(consent_status: TokenStatus) -> str | None:
    if consent_status in (TokenStatus.INVALID, TokenStatus.UNASSIGNED):
        return "The consent was withdrawn."
    return None


@_rule("consent.suspended", "Wait until the registry has looked into it, or ask the registry.")
def _consent_suspended(consent_status: TokenStatus) -> str | None:
    return "The consent is suspended." if consent_status is TokenStatus.SUSPENDED else None


@_rule("consent.other_model", "Ask for a consent that names the generator installed here.")
def _consent_model(consent: ConsentClaims, gate: GateIdentity) -> str | None:
    if not same(consent.allows.model, gate.model_digest):
        return f"The consent is for generator {consent.allows.model[:23]}…, this one is {gate.model_digest[:23]}…."
    return None


@_rule("consent.other_purpose", "Choose a purpose the depicted person agreed to, or ask them.")
def _consent_purpose(consent: ConsentClaims, request: RequestFacts) -> str | None:
    if request.purpose not in consent.allows.purposes:
        return f"Asked for {request.purpose!r:.60}, consented to {', '.join(consent.allows.purposes)}."
    return None


@_rule("consent.other_portrait", "Use exactly the portrait file that the depicted person saw.")
def _consent_portrait(consent: ConsentClaims, request: RequestFacts, portrait: PortraitFacts) -> str | None:
    binding = consent.allows.portrait
    if same(binding.sha256, request.portrait_sha256) or same(binding.pixels_sha256, portrait.pixels_sha256):
        return None
    return f"This portrait ({request.portrait_sha256[:12]}…) is not the consented one ({binding.sha256[:12]}…)."


@_rule("consent.other_audio", "Use one of the recordings that the depicted person agreed to.")
def _consent_audio(consent: ConsentClaims, request: RequestFacts) -> str | None:
    audio = consent.allows.audio
    if audio.mode == "hash-list" and request.audio_sha256 not in audio.sha256:
        return f"This recording ({request.audio_sha256[:12]}…) is none of the {len(audio.sha256)} consented ones."
    return None


@_rule("consent.audio_too_long", "Shorten the recording, or ask for a consent to longer clips.")
def _consent_seconds(consent: ConsentClaims, audio: AudioFacts) -> str | None:
    limit = consent.allows.video.max_seconds
    return f"The recording has {audio.duration_s:.2f} s, {limit} are allowed." if audio.duration_s > limit else None


@_rule("consent.too_many_frames_per_second", "Ask for a consent to at least 25 frames per second.")
def _consent_fps(consent: ConsentClaims, request: RequestFacts) -> str | None:
    limit = consent.allows.video.max_fps
    return f"Asked for {request.fps} frames per second, {limit} are allowed." if request.fps > limit else None


@_rule("consent.too_large", "Ask for a consent to clips of this size, or for square frames of 512x512 pixels.")
def _consent_size(consent: ConsentClaims, request: RequestFacts, portrait: PortraitFacts) -> str | None:
    video = consent.allows.video
    width, height = request.framing.size_px(portrait.width_px, portrait.height_px)
    if width > video.max_width or height > video.max_height:
        return f"The clip would have {width}x{height} px, {video.max_width}x{video.max_height} are allowed."
    return None


@_rule("consent.other_face", "Ask for a consent that names this face (vasari consent issue --face N).")
def _consent_face(consent: ConsentClaims, request: RequestFacts, portrait: PortraitFacts) -> str | None:
    consented, asked = consent.allows.portrait.face, request.framing.face
    if portrait.faces < 2 or asked is None or consented == asked:
        return None
    named = "none" if consented is None else f"face {consented}"
    return f"Of the {portrait.faces} faces in the portrait the consent names {named}, the request face {asked}."


@_rule("consent.uses_exhausted", "Ask the depicted person for a new consent.")
def _consent_uses(consent: ConsentClaims, standing: Standing) -> str | None:
    if standing.used >= consent.allows.uses:
        return f"All {consent.allows.uses} uses are taken."
    return None


@_rule("consent.seconds_exhausted", "Shorten the recording, or ask the depicted person for a new consent.")
def _consent_total(consent: ConsentClaims, standing: Standing, audio: AudioFacts) -> str | None:
    left_s = consent.allows.total_seconds - standing.used_ms / 1000
    if audio.duration_s > left_s:
        return f"The recording has {audio.duration_s:.2f} s, {left_s:.2f} s of {consent.allows.total_seconds} are left."
    return None


# Researcher


@_rule("consent.other_researcher", "Only the researcher named in the consent can use it, with their own key.")
def _consent_holder(consent: ConsentClaims, proof: Proof) -> str | None:
    return None if same(consent.cnf.jkt, proof.jkt) else "The consent was given to another researcher's key."


@_rule("accreditation.other_researcher", "Use your own accreditation, with the key it was issued for.")
def _accreditation_holder(accreditation: AccreditationClaims, proof: Proof) -> str | None:
    return None if same(accreditation.cnf.jkt, proof.jkt) else "The accreditation is of another researcher's key."


@_rule("accreditation.life_too_long", "Ask the accreditation authority for one of at most a year.")
def _accreditation_life(accreditation: AccreditationClaims) -> str | None:
    days, limit = (accreditation.exp - accreditation.nbf) / DAY_S, accreditation_token.MAX_LIFE_DAYS
    return f"The accreditation is valid for {days:.0f} days, at most {limit} are taken." if days > limit else None


@_rule("accreditation.revoked", "Ask the accreditation authority.")
def _accreditation_revoked(accreditation_status: TokenStatus) -> str | None:
    if accreditation_status in (TokenStatus.INVALID, TokenStatus.UNASSIGNED):
        return "The accreditation was withdrawn."
    return None


@_rule("accreditation.suspended", "Ask the accreditation authority.")
def _accreditation_suspended(accreditation_status: TokenStatus) -> str | None:
    return "The accreditation is suspended." if accreditation_status is TokenStatus.SUSPENDED else None


@_rule("accreditation.other_purpose", "Choose a purpose you are accredited for, or have it added.")
def _accreditation_purpose(accreditation: AccreditationClaims, request: RequestFacts) -> str | None:
    if request.purpose not in accreditation.purposes:
        return f"Asked for {request.purpose!r:.60}, accredited for {', '.join(accreditation.purposes)}."
    return None


# Proof of possession


@_rule("proof.other_target", "Sign the request for this gate.")
def _proof_target(proof: Proof, gate: GateIdentity) -> str | None:
    return None if same(proof.claims.htu, proof_target(gate.gate_id)) else "The proof was made for another gate."


@_rule("proof.other_consent", "Sign the request together with this consent.")
def _proof_consent(proof: Proof, consent_token: str) -> str | None:
    return None if same(proof.claims.ath, token_hash(consent_token)) else "The proof was made for another consent."


@_rule("proof.other_request", "Sign exactly the request that is sent.")
def _proof_request(proof: Proof, request: RequestFacts) -> str | None:
    return None if same(proof.claims.req, request.digest()) else "The proof was made for a different request."


@_rule("proof.out_of_time", "Sign the request right before sending it, with the right time.")
def _proof_time(proof: Proof, now: datetime) -> str | None:
    age = int(now.timestamp()) - proof.claims.iat
    if not -PROOF_LEEWAY_S <= age <= PROOF_LIFE_S:
        return f"The proof was made {age} s ago, {PROOF_LIFE_S} s at most are taken."
    return None


@_rule("proof.replayed", "Sign the request anew; each proof is taken once.")
def _proof_replay(proof_seen: bool) -> str | None:
    return "The proof was used before." if proof_seen else None


# Request


@_rule("request.unknown_purpose", f"Choose one of: {', '.join(PURPOSES)}.")
def _request_purpose(request: RequestFacts) -> str | None:
    return None if request.purpose in PURPOSES else f"There is no purpose {request.purpose!r:.60}."


@_rule("request.frame_rate", f"Ask for {OUTPUT_FPS} frames per second.")
def _request_fps(request: RequestFacts) -> str | None:
    return None if request.fps == OUTPUT_FPS else f"Clips of {request.fps} frames per second are not made here."


@_rule("request.controls", "Keep every control in its range.")
def _request_controls(request: RequestFacts) -> str | None:
    return f"Out of range: {'; '.join(faults)}." if (faults := request.controls.faults()) else None


@_rule("request.framing", "Choose one of the values that are known.")
def _request_framing(request: RequestFacts) -> str | None:
    return f"Not known: {'; '.join(faults)}." if (faults := request.framing.faults()) else None


@_rule("request.seed", f"Give a whole number from 0 to {MAX_SEED}.")
def _request_seed(request: RequestFacts) -> str | None:
    return None if 0 <= request.seed <= MAX_SEED else f"The seed {request.seed} is out of range."


# Portrait and sound


@_rule("portrait.too_small", f"Give a portrait of at least {MIN_PORTRAIT_PX}x{MIN_PORTRAIT_PX} pixels, better 512.")
def _portrait_size(portrait: PortraitFacts) -> str | None:
    if min(portrait.width_px, portrait.height_px) < MIN_PORTRAIT_PX:
        return f"The portrait has {portrait.width_px}x{portrait.height_px} pixels."
    return None


@_rule("portrait.no_face", "Give a picture of one face, seen from the front.")
def _portrait_no_face(portrait: PortraitFacts) -> str | None:
    return "No face was found in the portrait." if portrait.faces == 0 else None


@_rule("portrait.several_faces", "Choose one with --face N, or crop the picture; each face needs its own consent.")
def _portrait_several(portrait: PortraitFacts, request: RequestFacts) -> str | None:
    if portrait.faces < 2 or request.framing.face is not None:
        return None
    listed = "; ".join(f"{number} {place}" for number, place in enumerate(portrait.face_places, 1))
    return f"{portrait.faces} faces were found in the portrait, from left to right: {listed}."


@_rule("portrait.no_such_face", "Give the number of a face in the portrait; they are counted from the left.")
def _portrait_no_such_face(portrait: PortraitFacts, request: RequestFacts) -> str | None:
    face = request.framing.face
    if face is not None and 0 < portrait.faces < face:
        return f"There is no face {face} in the portrait, {portrait.faces} were found."
    return None


@_rule("portrait.face_too_small", f"Crop the picture, or give one where the face is at least {MIN_FACE_PX} px high.")
def _portrait_face_size(portrait: PortraitFacts, request: RequestFacts) -> str | None:
    number = request.framing.face or 1
    if not 1 <= number <= portrait.faces or portrait.face_heights_px[number - 1] >= MIN_FACE_PX:
        return None
    return f"The face in the portrait is {portrait.face_heights_px[number - 1]:.0f} px high from forehead to chin."


@_rule("portrait.frame_shape", "Ask for square frames, or crop the picture.")
def _portrait_frame_shape(portrait: PortraitFacts, request: RequestFacts) -> str | None:
    short, long = sorted(request.framing.size_px(portrait.width_px, portrait.height_px))
    if short < SMALLEST_SIDE_PX or long > LONGEST_ASPECT * short:
        limits = f"at least {SMALLEST_SIDE_PX} px on each side and at most {LONGEST_ASPECT:g} times as long as wide"
        return f"Frames of the whole portrait would have {long}x{short} px; {limits} can be marked."
    return None


@_rule("audio.too_short", f"Give a recording of at least {MIN_AUDIO_S:g} s; shorter clips can't carry the mark.")
def _audio_short(audio: AudioFacts) -> str | None:
    return f"The recording has {audio.duration_s:.2f} s." if audio.duration_s < MIN_AUDIO_S else None


@_rule("audio.too_long", f"Split the recording; at most {MAX_AUDIO_S:g} s are taken at once.")
def _audio_long(audio: AudioFacts) -> str | None:
    return f"The recording has over {MAX_AUDIO_S:g} s." if audio.duration_s > MAX_AUDIO_S else None


@_rule("audio.silent", "Give a recording with audible speech.")
def _audio_silent(audio: AudioFacts) -> str | None:
    if audio.loudest_dbfs < SILENCE_DBFS:
        return f"The recording is silent: nowhere above {SILENCE_DBFS:g} dBFS."
    return None
