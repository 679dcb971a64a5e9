"""A refusal says what the smallest change is, and what it promises has been judged."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from policy.counterfactual import BY_OTHERS, BY_RESEARCHER, PURPOSE_RULES, SOUND_RULES, way_out
from policy.media_facts import AudioFacts
from policy.rules import RULES, evaluate
from policy.site_policy import SiteLimits, SitePolicy
from policy.uses import Standing
from tests.policy.test_rules import AUDIO, CASES, GOOD, OTHER_PICTURE, chained, consent, requested


def test_an_allowed_request_needs_no_change() -> None:
    assert way_out(GOOD).changes == ()


def test_every_mend_belongs_to_a_rule() -> None:
    known = {rule.rule_id for rule in RULES}
    assert {*BY_RESEARCHER, *BY_OTHERS, *SOUND_RULES, *PURPOSE_RULES} <= known


@pytest.mark.parametrize(("rule_id", "changes"), CASES, ids=[f"{rule}-{n}" for n, (rule, _) in enumerate(CASES)])
def test_every_refusal_has_a_way_out_in_words(rule_id: str, changes: dict[str, Any]) -> None:
    found = way_out(replace(GOOD, **changes))
    assert found.changes
    assert all(change.who and change.what.endswith(".") for change in found.changes)
    if rule_id in BY_RESEARCHER and rule_id not in ("consent.too_large", "portrait.frame_shape"):
        assert found.sufficient, found


def test_the_strictest_of_several_lengths_is_named_once_and_is_enough() -> None:
    terms = chained(consent(max_seconds=20))
    facts = replace(GOOD, **terms, audio=AudioFacts(601.0, -20.0), standing=Standing(1, 139_000))
    facts = replace(facts, site=SitePolicy(limits=SiteLimits(max_seconds=15)))
    (change,) = way_out(facts).changes
    assert change.what == "Shorten the recording to 11.00 s or less."
    assert way_out(facts).sufficient
    assert evaluate(replace(facts, audio=replace(AUDIO, duration_s=11.0))) == ()
    assert evaluate(replace(facts, audio=replace(AUDIO, duration_s=11.01))) != ()


def test_no_promise_is_made_where_others_must_act() -> None:
    facts = replace(GOOD, **requested(purpose="demonstration"), standing=Standing(5, 0), portrait=OTHER_PICTURE)
    found = way_out(facts)
    assert not found.sufficient
    assert {change.who for change in found.changes} == {"researcher", "depicted person"}


def test_what_is_too_short_to_be_made_is_not_proposed() -> None:
    (change,) = way_out(replace(GOOD, standing=Standing(4, 148_500))).changes
    assert change.who == "depicted person"


def test_more_frames_than_are_made_here_are_mended_by_asking_for_what_the_consent_allows() -> None:
    found = way_out(replace(GOOD, **requested(fps=30)))
    assert found.sufficient
    assert [(change.who, change.what) for change in found.changes] == [("researcher", "Ask for 25 frames per second.")]
    fewer = way_out(replace(GOOD, **chained(consent(max_fps=24))))
    assert not fewer.sufficient
    assert [change.who for change in fewer.changes] == ["consent registry"]
