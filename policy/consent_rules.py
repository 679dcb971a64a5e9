"""Rules about the consent: time, status, the depicted person's own act, scope, delegation, uses."""

from __future__ import annotations

import json
from datetime import datetime
from functools import lru_cache

from policy import consent_token
from policy.consent_token import ConsentClaims, SubjectAct
from policy.delegation_token import Chain
from policy.errors import TokenError
from policy.facts import GateIdentity
from policy.media_facts import AudioFacts, PortraitFacts
from policy.proof_of_possession import Proof
from policy.request import RequestFacts
from policy.rule import RuleBook
from policy.site_policy import SitePolicy
from policy.statement import challenge_of, notice_digest, notice_of
from policy.status_list import TokenStatus
from policy.strict_jws import CLOCK_LEEWAY_S, same, utc_text
from policy.time_rules import time_rules
from policy.uses import Standing
from policy.webauthn import RelyingParty, decode_subject_key, verify_assertion

DAY_S = 86_400
KEPT_CONSENTS = 256
RULES = RuleBook()
RULES.extend(time_rules("consent", lambda gate: gate.registry_id))


@RULES.rule("consent.life_too_long", "Ask the registry for a consent of at most 90 days.")
def _consent_life(consent: ConsentClaims) -> str | None:
    days = (consent.exp - consent.nbf) / DAY_S
    if days > consent_token.MAX_LIFE_DAYS:
        return f"The consent is valid for {days:.0f} days, at most {consent_token.MAX_LIFE_DAYS} are taken."
    return None


@RULES.rule("consent.revoked", "The depicted person withdrew; only they can consent anew.")
def _consent_revoked(consent_status: TokenStatus) -> str | None:
    if consent_status in (TokenStatus.INVALID, TokenStatus.UNASSIGNED):
        return "The consent was withdrawn."
    return None


@RULES.rule("consent.suspended", "Wait until the registry has looked into it, or ask the registry.")
def _consent_suspended(consent_status: TokenStatus) -> str | None:
    return "The consent is suspended." if consent_status is TokenStatus.SUSPENDED else None


# The depicted person's own act


@RULES.rule("consent.minor", "Only adults can consent here; nobody can consent for a child.")
def _consent_adult(consent: ConsentClaims) -> str | None:
    return None if consent.subject.adult else "The registry saw no proof that the depicted person is an adult."


@RULES.rule("consent.subject_not_enrolled", "Ask the registry to enrol the depicted person's key at this gate.")
def _consent_subject_key(consent: ConsentClaims, subject_keys: tuple[str, ...]) -> str | None:
    if not any(same(consent.subject.key, key) for key in subject_keys):
        return "The key that signed for the depicted person is none that they enrolled at this gate."
    return None


@RULES.rule("consent.not_signed_by_subject", "Ask the depicted person to sign the consent with their own device.")
def _consent_subject_signature(consent: ConsentClaims, site: SitePolicy) -> str | None:
    party = site.relying_party
    return _assertion_fault(consent.as_json, party.id, tuple(party.origins))


@lru_cache(KEPT_CONSENTS)
def _assertion_fault(consent_json: str, rp_id: str, origins: tuple[str, ...]) -> str | None:
    """What is wrong with the person's signature; the consent's bytes and the site alone decide, so it is kept."""
    members = json.loads(consent_json)
    act = SubjectAct.model_validate(members["subject"])
    party = RelyingParty(id=rp_id, origins=list(origins))
    try:
        verify_assertion(act.assertion, key=decode_subject_key(act.key), challenge=challenge_of(members), party=party)
    except TokenError as error:
        return f"{error.fact[0].upper()}{error.fact[1:]}."
    return None


@lru_cache(KEPT_CONSENTS)
def _notice_digest(consent_json: str) -> str:
    """Digest of the words that these terms have here."""
    return notice_digest(notice_of(ConsentClaims.model_validate_json(consent_json)))


@RULES.rule("consent.other_notice", "Ask for a new consent; the depicted person must be shown this gate's words.")
def _consent_notice(consent: ConsentClaims) -> str | None:
    if not same(consent.subject.notice, _notice_digest(consent.as_json)):
        return "The depicted person was shown another text than the one that these terms have here."
    return None


@RULES.rule("consent.signed_out_of_time", "Ask the depicted person to sign a fresh statement.")
def _consent_fresh(consent: ConsentClaims) -> str | None:
    waited_s = consent.iat - consent.subject.proposed_at
    if not -CLOCK_LEEWAY_S <= waited_s <= consent_token.MAX_CEREMONY_S:
        return f"The statement was signed {waited_s} s after it was made, at most {consent_token.MAX_CEREMONY_S} go."
    return None


# Scope


@RULES.rule("consent.other_model", "Ask for a consent that names the generator installed here.")
def _consent_model(consent: ConsentClaims, gate: GateIdentity) -> str | None:
    if not same(consent.allows.model, gate.model_digest):
        return f"The consent is for generator {consent.allows.model[:23]}…, this one is {gate.model_digest[:23]}…."
    return None


@RULES.rule("consent.other_purpose", "Choose a purpose the depicted person agreed to, or ask them.")
def _consent_purpose(chain: Chain, request: RequestFacts) -> str | None:
    if request.purpose not in chain.allows.purposes:
        return f"Asked for {request.purpose!r:.60}, consented to {', '.join(chain.allows.purposes)}."
    return None


@RULES.rule("consent.other_portrait", "Use exactly the portrait file that the depicted person saw.")
def _consent_portrait(consent: ConsentClaims, request: RequestFacts) -> str | None:
    binding = consent.allows.portrait
    if same(binding.sha256, request.portrait_sha256):
        return None
    return f"This portrait ({request.portrait_sha256[:12]}…) is not the consented one ({binding.sha256[:12]}…)."


@RULES.rule(
    "consent.other_pixels", "Use the portrait that the depicted person saw; it must decode to the same picture."
)
def _consent_pixels(consent: ConsentClaims, portrait: PortraitFacts) -> str | None:
    if same(consent.allows.portrait.pixels_sha256, portrait.pixels_sha256):
        return None
    return "This portrait does not show the pixels that the depicted person saw."


@RULES.rule("consent.other_audio", "Use one of the recordings that the depicted person agreed to.")
def _consent_audio(chain: Chain, request: RequestFacts) -> str | None:
    audio = chain.allows.audio
    if audio.mode == "hash-list" and request.audio_sha256 not in audio.sha256:
        return f"This recording ({request.audio_sha256[:12]}…) is none of the {len(audio.sha256)} consented ones."
    return None


@RULES.rule("consent.other_script", "Name one of the texts that the depicted person agreed to.")
def _consent_script(chain: Chain, request: RequestFacts) -> str | None:
    script = chain.allows.script
    if script.mode == "any" or request.script_sha256 in script.sha256:
        return None
    given = f"This text ({request.script_sha256[:12]}…) is" if request.script_sha256 else "No text was named, so it is"
    return f"{given} none of the {len(script.sha256)} consented ones."


@RULES.rule("consent.other_language", "Name the language that is spoken, if it is one of those consented to.")
def _consent_language(chain: Chain, request: RequestFacts) -> str | None:
    languages = chain.allows.script.languages
    if languages and request.language not in languages:
        return f"Spoken in {request.language[:20] or 'an unnamed language'}, consented to {', '.join(languages)}."
    return None


@RULES.rule("consent.audio_too_long", "Shorten the recording, or ask for a consent to longer clips.")
def _consent_seconds(chain: Chain, audio: AudioFacts) -> str | None:
    limit = chain.allows.video.max_seconds
    return f"The recording has {audio.duration_s:.2f} s, {limit} are allowed." if audio.duration_s > limit else None


@RULES.rule("consent.too_many_frames_per_second", "Ask for 25 frames per second, under a consent to that many or more.")
def _consent_fps(chain: Chain, request: RequestFacts) -> str | None:
    limit = chain.allows.video.max_fps
    return f"Asked for {request.fps} frames per second, {limit} are allowed." if request.fps > limit else None


@RULES.rule("consent.too_large", "Ask for a consent to clips of this size, or for square frames of 512x512 pixels.")
def _consent_size(chain: Chain, request: RequestFacts, portrait: PortraitFacts) -> str | None:
    video = chain.allows.video
    width, height = request.framing.size_px(portrait.width_px, portrait.height_px)
    if width > video.max_width or height > video.max_height:
        return f"The clip would have {width}x{height} px, {video.max_width}x{video.max_height} are allowed."
    return None


@RULES.rule("consent.other_face", "Ask for a consent that names this face (vasari consent issue --face N).")
def _consent_face(consent: ConsentClaims, request: RequestFacts, portrait: PortraitFacts) -> str | None:
    consented, asked = consent.allows.portrait.face, request.framing.face
    if consented is not None and portrait.faces < consented:
        return f"The consent names face {consented} of the portrait, {portrait.faces} were found."
    if portrait.faces < 2 or asked is None or consented == asked:
        return None
    named = "none" if consented is None else f"face {consented}"
    return f"Of the {portrait.faces} faces in the portrait the consent names {named}, the request face {asked}."


@RULES.rule("consent.no_face_bound", "Ask for a new consent; the portrait must show the person, whose face is named.")
def _consent_face_bound(consent: ConsentClaims) -> str | None:
    if consent.allows.portrait.commitment is None:
        return "The consent binds no face: none was found in the portrait, or several and none was named."
    return None


@RULES.rule("consent.other_face_shown", "Use the portrait and the face that the depicted person saw.")
def _consent_face_shown(consent: ConsentClaims, request: RequestFacts, portrait: PortraitFacts) -> str | None:
    number = request.framing.face or 1
    if consent.allows.portrait.commitment is None or not 1 <= number <= portrait.faces:
        return None  # refused by another rule
    if number <= len(portrait.opens) and portrait.opens[number - 1]:
        return None
    return "The face in this portrait is not the one that the depicted person saw."


@RULES.rule("consent.uses_exhausted", "Ask the depicted person for a new consent.")
def _consent_uses(consent: ConsentClaims, standing: Standing) -> str | None:
    if standing.used >= consent.allows.uses:
        return f"All {consent.allows.uses} uses are taken."
    return None


@RULES.rule("consent.seconds_exhausted", "Shorten the recording, or ask the depicted person for a new consent.")
def _consent_total(consent: ConsentClaims, standing: Standing, audio: AudioFacts) -> str | None:
    left_s = consent.allows.total_seconds - standing.used_ms / 1000
    if audio.duration_s > left_s:
        return f"The recording has {audio.duration_s:.2f} s, {left_s:.2f} s of {consent.allows.total_seconds} are left."
    return None


# Handed on


@RULES.rule("delegation.other_holder", "Only whoever the consent was handed on to can use it, with their own key.")
def _delegation_holder(chain: Chain, proof: Proof) -> str | None:
    if chain.hops and not same(chain.holder, proof.jkt):
        return "The consent was handed on to another key."
    return None


@RULES.rule("consent.other_researcher", "Only the researcher named in the consent can use it, with their own key.")
def _consent_holder(chain: Chain, proof: Proof) -> str | None:
    if not chain.hops and not same(chain.holder, proof.jkt):
        return "The consent was given to another researcher's key."
    return None


@RULES.rule("delegation.out_of_time", "Ask whoever handed it on for a hop that is valid now.")
def _delegation_time(chain: Chain, now: datetime) -> str | None:
    clock = int(now.timestamp())
    for number, hop in enumerate(chain.hops, start=1):
        if not hop.nbf <= clock < hop.exp or hop.iat > clock + CLOCK_LEEWAY_S:
            return f"Hop {number} is valid from {utc_text(hop.nbf)} to {utc_text(hop.exp)}, it is {utc_text(clock)}."
    return None


@RULES.rule("delegation.uses_exhausted", "Ask whoever handed it on for more of what they have left.")
def _delegation_uses(chain: Chain, hop_standings: tuple[Standing, ...], audio: AudioFacts) -> str | None:
    if len(hop_standings) != len(chain.hops):
        return f"The uses of {len(hop_standings)} of {len(chain.hops)} hops are known."
    for number, (hop, standing) in enumerate(zip(chain.hops, hop_standings, strict=True), start=1):
        left_s = hop.allows.total_seconds - standing.used_ms / 1000
        if standing.used >= hop.allows.uses or audio.duration_s > left_s:
            return (
                f"Hop {number} has {hop.allows.uses - standing.used} of {hop.allows.uses} uses "
                f"and {left_s:.2f} of {hop.allows.total_seconds} s left."
            )
    return None
