"""The smallest change that would turn a refusal into an allow, and who would have to make it.

Each failing rule has one mend: a change of the facts and whose hands it is in. The mends of all failing
rules together are applied and the changed facts are judged again, so a promise of "then it would be
allowed" is never a guess. Where several rules ask for the same thing (a shorter recording), the
strictest one is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from policy.consent_token import PURPOSES
from policy.decision import Change, Denial
from policy.facts import Facts
from policy.media_facts import MAX_AUDIO_S, MIN_AUDIO_S
from policy.proof_of_possession import Proof, proof_target
from policy.request import OUTPUT_FPS, Controls, Framing
from policy.rules import RULES, evaluate

RESEARCHER, PERSON, REGISTRY, AUTHORITY, OPERATOR = (
    "researcher", "depicted person", "consent registry", "accreditation authority", "operator",
)  # fmt: skip


@dataclass(frozen=True)
class WayOut:
    """All changes that are needed together. `sufficient`: the gate judged the changed request, and would allow it."""

    changes: tuple[Change, ...]
    sufficient: bool


Mend = tuple[Change, Callable[[Facts], Facts] | None]


def way_out(facts: Facts, denials: Sequence[Denial] | None = None) -> WayOut:
    """The smallest change that would allow; empty when it is allowed already. `denials`: where they are known."""
    denials = evaluate(facts) if denials is None else denials
    mends = [_mend(denial.rule_id, denial.remedy, facts) for denial in denials]
    changed = facts
    for _, apply in mends:
        changed = apply(changed) if apply else changed
    sufficient = all(apply for _, apply in mends) and evaluate(_signed_anew(changed)) == ()
    return WayOut(tuple(dict.fromkeys(change for change, _ in mends)), sufficient)


def _mend(rule_id: str, remedy: str, facts: Facts) -> Mend:
    """The mend of one rule; what has none is told in the rule's own words."""
    if rule_id in SOUND_RULES:
        return _shorter(facts)
    if rule_id in PURPOSE_RULES:
        return _purpose(facts)
    if rule_id == FRAME_RATE_RULE and facts.chain is not None and facts.chain.allows.video.max_fps >= OUTPUT_FPS:
        rule_id = "request.frame_rate"  # what is made here is consented to: that is what to ask for
    if (found := BY_RESEARCHER.get(rule_id)) is not None:
        what, apply = found
        return Change(RESEARCHER, what), apply
    if (others := BY_OTHERS.get(rule_id)) is not None:
        who, what = others
        return Change(who, what), None
    return Change(_owner(rule_id), remedy), None


SOUND_RULES = frozenset(
    {"consent.audio_too_long", "consent.seconds_exhausted", "audio.too_long", "site.audio_too_long"}
)
FRAME_RATE_RULE = "consent.too_many_frames_per_second"
PURPOSE_RULES = frozenset(
    {"consent.other_purpose", "accreditation.other_purpose", "request.unknown_purpose", "site.other_purpose"}
)


def _shorter(facts: Facts) -> Mend:
    """The longest recording that every limit allows."""
    limits = [MAX_AUDIO_S]
    if facts.chain is not None:
        limits.append(facts.chain.allows.video.max_seconds)
    if facts.consent is not None and facts.standing is not None:
        limits.append(facts.consent.allows.total_seconds - facts.standing.used_ms / 1000)
    if facts.site is not None and facts.site.limits.max_seconds is not None:
        limits.append(facts.site.limits.max_seconds)
    most = min(limits)
    if most < MIN_AUDIO_S:
        return Change(PERSON, f"Give a new consent: {max(0.0, most):.2f} s are left, too little for a clip."), None

    def apply(changed: Facts) -> Facts:
        return changed if changed.audio is None else replace(changed, audio=replace(changed.audio, duration_s=most))

    return Change(RESEARCHER, f"Shorten the recording to {most:.2f} s or less."), apply


def _purpose(facts: Facts) -> Mend:
    """A purpose that consent, accreditation and site share."""
    shared = set(PURPOSES)
    if facts.chain is not None:
        shared &= set(facts.chain.allows.purposes)
    if facts.accreditation is not None:
        shared &= set(facts.accreditation.purposes)
    if facts.site is not None and facts.site.limits.purposes is not None:
        shared &= set(facts.site.limits.purposes)
    if not shared:
        return Change(PERSON, "Consent to a purpose that the researcher is accredited for and this site serves."), None
    chosen = next(purpose for purpose in PURPOSES if purpose in shared)
    words = " or ".join(purpose for purpose in PURPOSES if purpose in shared)
    return Change(RESEARCHER, f"Ask for {words}, if that is what it is for."), _request(purpose=chosen)


def _request(**members: Any) -> Callable[[Facts], Facts]:
    def apply(facts: Facts) -> Facts:
        return facts if facts.request is None else replace(facts, request=replace(facts.request, **members))

    return apply


def _proof(**members: Any) -> Callable[[Facts], Facts]:
    def apply(facts: Facts) -> Facts:
        if facts.proof is None:
            return facts
        return replace(facts, proof=Proof(facts.proof.claims.model_copy(update=members), facts.proof.jkt))

    return apply


def _fresh_proof(facts: Facts) -> Facts:
    now = facts.now
    return replace(_proof(iat=0 if now is None else int(now.timestamp()))(facts), proof_seen=False)


def _given_portrait(facts: Facts) -> Facts:
    if facts.consent is None:
        return facts
    return _request(portrait_sha256=facts.consent.allows.portrait.sha256)(facts)


def _given_pixels(facts: Facts) -> Facts:
    if facts.consent is None or facts.portrait is None:
        return facts
    pixels = facts.consent.allows.portrait.pixels_sha256
    return replace(facts, portrait=replace(facts.portrait, pixels_sha256=pixels))


def _given_face(facts: Facts) -> Facts:
    if facts.portrait is None or facts.consent is None or facts.consent.allows.portrait.commitment is None:
        return facts
    return replace(facts, portrait=replace(facts.portrait, opens=(True,) * facts.portrait.faces))


def _listed_recording(facts: Facts) -> Facts:
    listed = facts.chain.allows.audio.sha256 if facts.chain else []
    return _request(audio_sha256=listed[0])(facts) if listed else facts


def _listed_text(facts: Facts) -> Facts:
    listed = facts.chain.allows.script.sha256 if facts.chain else []
    return _request(script_sha256=listed[0])(facts) if listed else facts


def _listed_language(facts: Facts) -> Facts:
    listed = facts.chain.allows.script.languages if facts.chain else []
    return _request(language=listed[0])(facts) if listed else facts


def _for_this_gate(facts: Facts) -> Facts:
    return facts if facts.gate is None else _proof(htu=proof_target(facts.gate.gate_id))(facts)


def _unchanged(facts: Facts) -> Facts:
    """The proof is made anew in any case, see `_signed_anew`."""
    return facts


BY_RESEARCHER: dict[str, tuple[str, Callable[[Facts], Facts]]] = {
    "consent.other_portrait": ("Use exactly the portrait file that the depicted person saw.", _given_portrait),
    "consent.other_pixels": ("Use exactly the portrait file that the depicted person saw.", _given_pixels),
    "consent.other_face_shown": ("Use exactly the portrait file that the depicted person saw.", _given_face),
    "consent.other_audio": ("Use one of the consented recordings.", _listed_recording),
    "consent.other_script": ("Name one of the consented texts.", _listed_text),
    "consent.other_language": ("Name the language that is spoken, if it is a consented one.", _listed_language),
    "request.frame_rate": (f"Ask for {OUTPUT_FPS} frames per second.", _request(fps=OUTPUT_FPS)),
    "request.controls": ("Put every control back into its range.", _request(controls=Controls())),
    "request.framing": ("Choose known values for face, frame and shoulders.", _request(framing=Framing())),
    "request.seed": ("Give a seed in its range.", _request(seed=0)),
    "portrait.frame_shape": ("Ask for square frames.", _request(framing=Framing())),
    "consent.too_large": ("Ask for square frames.", _request(framing=Framing())),
    "proof.other_target": ("Sign the request for this gate.", _for_this_gate),
    "proof.other_consent": ("Sign the request together with this consent.", _unchanged),
    "proof.other_request": ("Sign exactly the request that is sent.", _unchanged),
    "proof.out_of_time": ("Sign the request anew, with the right time.", _fresh_proof),
    "proof.replayed": ("Sign the request anew.", _fresh_proof),
}
"""What the researcher can mend alone."""

BY_OTHERS: dict[str, tuple[str, str]] = {
    "consent.revoked": (PERSON, "Consent anew, if they want to; the withdrawn consent stays withdrawn."),
    "consent.suspended": (REGISTRY, "Reinstate the consent when the report is settled."),
    "consent.expired": (PERSON, "Consent anew; nothing is renewed by itself."),
    "consent.uses_exhausted": (PERSON, "Consent to further uses."),
    "consent.other_researcher": (PERSON, "Consent to this researcher's key, or let the one who was named ask."),
    "consent.no_face_bound": (PERSON, "Consent anew, to a portrait in which their face is found."),
    "consent.minor": (PERSON, "Nothing: only adults can consent here."),
    "accreditation.revoked": (AUTHORITY, "Accredit the researcher anew."),
    "accreditation.suspended": (AUTHORITY, "Reinstate the accreditation."),
}
"""What only someone else can change; the gate can't show that it would be enough."""


def _owner(rule_id: str) -> str:
    """Who can do something about a rule without a mend of its own."""
    if rule_id.endswith(".status_unknown"):
        return OPERATOR
    if rule_id not in {rule.rule_id for rule in RULES} and not rule_id.startswith("log."):
        return RESEARCHER  # a token or file that can't be read
    subject = rule_id.partition(".")[0]
    return {"consent": REGISTRY, "accreditation": AUTHORITY, "site": OPERATOR, "log": OPERATOR}.get(subject, RESEARCHER)


def _signed_anew(facts: Facts) -> Facts:
    """A changed request needs a proof that was made for it."""
    request = facts.request
    if request is None:
        return facts
    return _proof(req=request.digest, ath=request.presented_hash)(facts)
