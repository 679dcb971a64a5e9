"""Rules that `site.json` switches on. Each can only refuse; none can allow what another rule refuses."""

from __future__ import annotations

from datetime import datetime

from policy.consent_token import ConsentClaims
from policy.delegation_token import Chain
from policy.media_facts import AudioFacts
from policy.request import RequestFacts
from policy.rule import RuleBook
from policy.site_policy import SitePolicy
from policy.uses import Standing

RULES = RuleBook()


@RULES.rule("site.other_purpose", "Choose a purpose that this site serves.")
def _site_purpose(site: SitePolicy, request: RequestFacts) -> str | None:
    purposes = site.limits.purposes
    if purposes is not None and request.purpose not in purposes:
        return f"Asked for {request.purpose!r:.60}, this site serves {', '.join(purposes)}."
    return None


@RULES.rule("site.audio_too_long", "Shorten the recording.")
def _site_seconds(site: SitePolicy, audio: AudioFacts) -> str | None:
    limit = site.limits.max_seconds
    if limit is not None and audio.duration_s > limit:
        return f"The recording has {audio.duration_s:.2f} s, this site makes {limit} s at most."
    return None


@RULES.rule("site.uses_exhausted", "Ask the depicted person for a new consent.")
def _site_uses(site: SitePolicy, standing: Standing) -> str | None:
    limit = site.limits.max_uses
    if limit is not None and standing.used >= limit:
        return f"{standing.used} uses are taken, this site allows {limit} per consent."
    return None


@RULES.rule("site.cooling_off", "Wait until the cooling-off time is over; the depicted person may think again.")
def _site_cooling_off(site: SitePolicy, consent: ConsentClaims, now: datetime) -> str | None:
    wait_s = site.limits.cooling_off_s
    age_s = int(now.timestamp()) - max(consent.iat, consent.subject.proposed_at)  # the person signed the second
    if wait_s is not None and age_s < wait_s:
        return f"The consent is {age_s} s old, this site waits {wait_s} s."
    return None


@RULES.rule("site.recordings_not_listed", "Ask the depicted person for a consent that lists the recordings.")
def _site_recordings(site: SitePolicy, chain: Chain) -> str | None:
    if site.limits.recordings_listed and chain.allows.audio.mode != "hash-list":
        return "The consent allows any recording, this site takes listed ones only."
    return None


@RULES.rule("site.too_deep", "Ask whoever is nearer to the depicted person to make the request.")
def _site_depth(site: SitePolicy, chain: Chain) -> str | None:
    limit = site.limits.max_delegation_depth
    if limit is not None and len(chain.hops) > limit:
        return f"The consent was handed on {len(chain.hops)} times, this site takes {limit}."
    return None
