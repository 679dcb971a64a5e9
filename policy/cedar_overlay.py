"""A site's own Cedar policies, `site.cedar` in the state folder: they can only narrow what the rules allow.

The decision is rules AND overlay. Cedar itself is open in two places, and both are closed here: a policy that fails on
a fact is skipped by Cedar (`forbid` too), so any error is a refusal; and a policy that names what is not in the schema
would never match, so policies are validated against SCHEMA when they are read. Needs the extra `cedar`; a site that has
the file and not the extra allows nothing. Name policies with @id("…"): refusals quote them.

What a policy sees: `principal` (the researcher, by key thumbprint), `action == Action::"generate"`, `resource` (the
depicted person, by pseudonym) and in `context` what SCHEMA lists.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from policy.decision import Denial

if TYPE_CHECKING:
    from policy.facts import Facts

REMEDY = "Ask the operator of this gate: it is the site's own policy, see site.cedar."
SCHEMA = """
entity Researcher;
entity Person;
action "generate" appliesTo {
  principal: Researcher,
  resource: Person,
  context: {
    purpose: String,
    language: String,
    emotion: String,
    seconds: Long,
    width: Long,
    height: Long,
    uses: Long,
    used: Long,
    hops: Long,
    hour_utc: Long,
    weekday: Long,
    recordings_listed: Bool,
  }
};
"""


def check_policies(text: str) -> None:
    """Raise ValueError for policies that are not valid under SCHEMA, or when Cedar is not installed."""
    try:
        _parsed(text)
    except ImportError as error:
        raise ValueError(f"Cedar policies need one more package: pip install 'vasari[cedar]' ({error})") from error


def judge_overlay(text: str, facts: Facts) -> tuple[Denial, ...]:
    """One denial for each policy that forbids, or one that says what went wrong; empty when Cedar allows.

    Facts that are missing are a refusal too.
    """
    try:
        import cedarpy

        policies, schema = _parsed(text)
        answer = cedarpy.is_authorized(_request(facts), policies, "[]", schema)
        errors, reasons = list(answer.diagnostics.errors), list(answer.diagnostics.reasons)
        names = dict(answer.diagnostics.id_annotations_by_reason)
        allowed = answer.decision is cedarpy.Decision.Allow and not errors
    except Exception as error:  # noqa: BLE001  whatever goes wrong here is a refusal
        return (Denial("site.cedar_failed", f"The site's policy could not be asked: {error!r:.300}.", REMEDY),)
    if allowed:
        return ()
    if errors:
        return (Denial("site.cedar_failed", f"The site's policy failed: {'; '.join(map(str, errors))[:500]}.", REMEDY),)
    if not reasons:
        return (Denial("site.cedar", "No policy of the site permits it.", REMEDY),)
    named = sorted(str(names.get(reason) or reason) for reason in reasons)
    return tuple(Denial("site.cedar", f"The site's policy {name!r:.200} forbids it.", REMEDY) for name in named)


def known(facts: Facts) -> bool:
    """Whether all that a policy may look at is there."""
    return None not in (
        facts.now, facts.consent, facts.request, facts.chain, facts.proof, facts.portrait, facts.audio, facts.standing
    )  # fmt: skip


@lru_cache(maxsize=4)
def _parsed(text: str) -> tuple[Any, Any]:
    """Policies and schema, ready for use; ValueError when a policy does not fit the schema."""
    import cedarpy

    schema = cedarpy.Schema.from_str(SCHEMA)
    checked = cedarpy.validate_policies(text, schema)
    if not checked.validation_passed:
        raise ValueError("; ".join(str(error) for error in checked.errors)[:1000])
    return cedarpy.PolicySet.from_str(text), schema


def _request(facts: Facts) -> dict[str, Any]:
    consent, request, chain = facts.consent, facts.request, facts.chain
    if not (consent and request and chain and facts.proof and facts.portrait and facts.audio and facts.standing):
        raise ValueError("a fact is missing")
    if facts.now is None:
        raise ValueError("the time is missing")
    width, height = request.framing.size_px(facts.portrait.width_px, facts.portrait.height_px)
    emotion = request.controls.emotion
    context = {
        "purpose": request.purpose,
        "language": request.language,
        "emotion": emotion if isinstance(emotion, str) else "curve",
        "seconds": -int(-facts.audio.duration_s // 1),
        "width": width,
        "height": height,
        "uses": chain.allows.uses,
        "used": facts.standing.used,
        "hops": len(chain.hops),
        "hour_utc": facts.now.hour,
        "weekday": facts.now.isoweekday(),
        "recordings_listed": chain.allows.audio.mode == "hash-list",
    }
    return {
        "principal": {"type": "Researcher", "id": facts.proof.jkt},
        "action": {"type": "Action", "id": "generate"},
        "resource": {"type": "Person", "id": consent.sub},
        "context": context,
    }
