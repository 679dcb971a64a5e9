"""Rules about who asks and what for: accreditation, proof of possession, the request, portrait and sound."""

from __future__ import annotations

from datetime import datetime

from policy import accreditation_token
from policy.accreditation_token import AccreditationClaims
from policy.consent_token import PURPOSES
from policy.facts import GateIdentity
from policy.media_facts import (
    MAX_AUDIO_S,
    MIN_AUDIO_S,
    MIN_FACE_PX,
    MIN_PORTRAIT_PX,
    SILENCE_DBFS,
    AudioFacts,
    PortraitFacts,
)
from policy.proof_of_possession import PROOF_LEEWAY_S, PROOF_LIFE_S, Proof, proof_target
from policy.request import OUTPUT_FPS, RequestFacts
from policy.rule import RuleBook
from policy.status_list import TokenStatus
from policy.strict_jws import same
from policy.time_rules import time_rules
from watermark import LONGEST_ASPECT, SMALLEST_SIDE_PX

DAY_S = 86_400
MAX_SEED = 2**63 - 1
RULES = RuleBook()
RULES.extend(time_rules("accreditation", lambda gate: gate.accreditation_id))

# Researcher


@RULES.rule("accreditation.other_researcher", "Use your own accreditation, with the key it was issued for.")
def _accreditation_holder(accreditation: AccreditationClaims, proof: Proof) -> str | None:
    return None if same(accreditation.cnf.jkt, proof.jkt) else "The accreditation is of another researcher's key."


@RULES.rule("accreditation.life_too_long", "Ask the accreditation authority for one of at most a year.")
def _accreditation_life(accreditation: AccreditationClaims) -> str | None:
    days, limit = (accreditation.exp - accreditation.nbf) / DAY_S, accreditation_token.MAX_LIFE_DAYS
    return f"The accreditation is valid for {days:.0f} days, at most {limit} are taken." if days > limit else None


@RULES.rule("accreditation.revoked", "Ask the accreditation authority.")
def _accreditation_revoked(accreditation_status: TokenStatus) -> str | None:
    if accreditation_status in (TokenStatus.INVALID, TokenStatus.UNASSIGNED):
        return "The accreditation was withdrawn."
    return None


@RULES.rule("accreditation.suspended", "Ask the accreditation authority.")
def _accreditation_suspended(accreditation_status: TokenStatus) -> str | None:
    return "The accreditation is suspended." if accreditation_status is TokenStatus.SUSPENDED else None


@RULES.rule("accreditation.other_purpose", "Choose a purpose you are accredited for, or have it added.")
def _accreditation_purpose(accreditation: AccreditationClaims, request: RequestFacts) -> str | None:
    if request.purpose not in accreditation.purposes:
        return f"Asked for {request.purpose!r:.60}, accredited for {', '.join(accreditation.purposes)}."
    return None


# Proof of possession


@RULES.rule("proof.other_target", "Sign the request for this gate.")
def _proof_target(proof: Proof, gate: GateIdentity) -> str | None:
    return None if same(proof.claims.htu, proof_target(gate.gate_id)) else "The proof was made for another gate."


@RULES.rule("proof.other_consent", "Sign the request together with this consent.")
def _proof_consent(proof: Proof, request: RequestFacts) -> str | None:
    return None if same(proof.claims.ath, request.presented_hash) else "The proof was made for another consent."


@RULES.rule("proof.other_request", "Sign exactly the request that is sent.")
def _proof_request(proof: Proof, request: RequestFacts) -> str | None:
    return None if same(proof.claims.req, request.digest) else "The proof was made for a different request."


@RULES.rule("proof.out_of_time", "Sign the request right before sending it, with the right time.")
def _proof_time(proof: Proof, now: datetime) -> str | None:
    age = int(now.timestamp()) - proof.claims.iat
    if not -PROOF_LEEWAY_S <= age <= PROOF_LIFE_S:
        return f"The proof was made {age} s ago, {PROOF_LIFE_S} s at most are taken."
    return None


@RULES.rule("proof.replayed", "Sign the request anew; each proof is taken once.")
def _proof_replay(proof_seen: bool) -> str | None:
    return "The proof was used before." if proof_seen else None


# Request


@RULES.rule("request.unknown_purpose", f"Choose one of: {', '.join(PURPOSES)}.")
def _request_purpose(request: RequestFacts) -> str | None:
    return None if request.purpose in PURPOSES else f"There is no purpose {request.purpose!r:.60}."


@RULES.rule("request.frame_rate", f"Ask for {OUTPUT_FPS} frames per second.")
def _request_fps(request: RequestFacts) -> str | None:
    return None if request.fps == OUTPUT_FPS else f"Clips of {request.fps} frames per second are not made here."


@RULES.rule("request.controls", "Keep every control in its range.")
def _request_controls(request: RequestFacts) -> str | None:
    return f"Out of range: {'; '.join(faults)}." if (faults := request.controls.faults()) else None


@RULES.rule("request.framing", "Choose one of the values that are known.")
def _request_framing(request: RequestFacts) -> str | None:
    return f"Not known: {'; '.join(faults)}." if (faults := request.framing.faults()) else None


@RULES.rule("request.seed", f"Give a whole number from 0 to {MAX_SEED}.")
def _request_seed(request: RequestFacts) -> str | None:
    return None if 0 <= request.seed <= MAX_SEED else f"The seed {request.seed} is out of range."


# Portrait and sound


@RULES.rule(
    "portrait.too_small", f"Give a portrait of at least {MIN_PORTRAIT_PX}x{MIN_PORTRAIT_PX} pixels, better 512."
)
def _portrait_size(portrait: PortraitFacts) -> str | None:
    if min(portrait.width_px, portrait.height_px) < MIN_PORTRAIT_PX:
        return f"The portrait has {portrait.width_px}x{portrait.height_px} pixels."
    return None


@RULES.rule("portrait.no_face", "Give a picture of one face, seen from the front.")
def _portrait_no_face(portrait: PortraitFacts) -> str | None:
    return "No face was found in the portrait." if portrait.faces == 0 else None


@RULES.rule("portrait.several_faces", "Choose one with --face N, or crop the picture; each face needs its own consent.")
def _portrait_several(portrait: PortraitFacts, request: RequestFacts) -> str | None:
    if portrait.faces < 2 or request.framing.face is not None:
        return None
    listed = "; ".join(f"{number} {place}" for number, place in enumerate(portrait.face_places, 1))
    return f"{portrait.faces} faces were found in the portrait, from left to right: {listed}."


@RULES.rule("portrait.no_such_face", "Give the number of a face in the portrait; they are counted from the left.")
def _portrait_no_such_face(portrait: PortraitFacts, request: RequestFacts) -> str | None:
    face = request.framing.face
    if face is not None and 0 < portrait.faces < face:
        return f"There is no face {face} in the portrait, {portrait.faces} were found."
    return None


@RULES.rule("portrait.face_too_small", f"Crop the picture; the face must be at least {MIN_FACE_PX} px high.")
def _portrait_face_size(portrait: PortraitFacts, request: RequestFacts) -> str | None:
    number = request.framing.face or 1
    if not 1 <= number <= portrait.faces or portrait.face_heights_px[number - 1] >= MIN_FACE_PX:
        return None
    return f"The face in the portrait is {portrait.face_heights_px[number - 1]:.0f} px high from forehead to chin."


@RULES.rule("portrait.frame_shape", "Ask for square frames, or crop the picture.")
def _portrait_frame_shape(portrait: PortraitFacts, request: RequestFacts) -> str | None:
    short, long = sorted(request.framing.size_px(portrait.width_px, portrait.height_px))
    if short < SMALLEST_SIDE_PX or long > LONGEST_ASPECT * short:
        limits = f"at least {SMALLEST_SIDE_PX} px on each side and at most {LONGEST_ASPECT:g} times as long as wide"
        return f"Frames of the whole portrait would have {long}x{short} px; {limits} can be marked."
    return None


@RULES.rule("audio.too_short", f"Give a recording of at least {MIN_AUDIO_S:g} s; shorter clips can't carry the mark.")
def _audio_short(audio: AudioFacts) -> str | None:
    return f"The recording has {audio.duration_s:.2f} s." if audio.duration_s < MIN_AUDIO_S else None


@RULES.rule("audio.too_long", f"Split the recording; at most {MAX_AUDIO_S:g} s are taken at once.")
def _audio_long(audio: AudioFacts) -> str | None:
    return f"The recording has {audio.duration_s:.0f} s or more." if audio.duration_s > MAX_AUDIO_S else None


@RULES.rule("audio.silent", "Give a recording with audible speech.")
def _audio_silent(audio: AudioFacts) -> str | None:
    if not audio.live and audio.loudest_dbfs < SILENCE_DBFS:
        return f"The recording is silent: nowhere above {SILENCE_DBFS:g} dBFS."
    return None
