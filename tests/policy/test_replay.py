"""A logged decision can be judged again from its record, byte for byte, and a changed record shows."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from policy import PolicyError, SitePolicy, UnknownTokenError, run_cases
from policy.canonical import canonical_json
from policy.decision_record import facts_of, record_of
from policy.rules import evaluate
from tests.policy.conftest import GateSimulator, jti_of, tone_burst_wav
from tests.policy.test_delegation import KEYS, handed_on
from tests.policy.test_rules import CASES, GOOD


def decided(simulator: GateSimulator, **changes: Any) -> tuple[str, bytes]:
    decision = simulator.decide(simulator.request(**changes))
    return decision.decision_id, decision.entry


def test_allows_and_refusals_replay_to_the_same_bytes(simulator: GateSimulator) -> None:
    consent = simulator.consent(delegation_depth=1)
    hop = handed_on(simulator, consent, KEYS[2])
    for changes in (
        {},
        {"purpose": "demonstration", "seed": 3},
        {"consent": "", "accreditation": "x.y.z"},
        {"audio": b"no sound", "portrait": b"no picture"},
        {"consent": consent, "delegations": (hop,)},
        {"consent": consent, "delegations": ("x",)},
    ):
        decision_id, entry = decided(simulator, **changes)
        replayed = simulator.authority.replay(decision_id, entry)
        assert replayed.identical
        assert replayed.same_rules
        assert sorted(json.loads(entry)["rules"]) == sorted(denial.rule_id for denial in replayed.denials)


def test_a_changed_record_or_entry_no_longer_replays(simulator: GateSimulator) -> None:
    decision_id, entry = decided(simulator)
    assert not simulator.authority.replay(decision_id, entry.replace(b"allow", b"Allow")).identical
    connection = simulator.authority.stores.connection
    (detail,) = connection.execute("SELECT detail FROM events WHERE decision = ? AND event = 'decision'",
                                   (decision_id,)).fetchone()  # fmt: skip
    changed = json.loads(detail)
    changed["request"]["seed"] = 9
    connection.execute("UPDATE events SET detail = ? WHERE decision = ?", (canonical_json(changed), decision_id))
    replayed = simulator.authority.replay(decision_id, entry)
    assert not replayed.identical
    assert [denial.rule_id for denial in replayed.denials] == ["proof.other_request"]


def test_an_erased_decision_cannot_be_replayed(simulator: GateSimulator) -> None:
    consent = simulator.consent()
    decision_id, entry = decided(simulator, consent=consent)
    simulator.authority.stores.events.erase(jti_of(consent))
    with pytest.raises(UnknownTokenError, match="erased"):
        simulator.authority.replay(decision_id, entry)


@pytest.mark.parametrize("changes", [changes for _, changes in CASES])
def test_records_read_back_as_the_facts_they_were(changes: dict[str, Any]) -> None:
    facts = replace(GOOD, **changes)
    record = json.loads(canonical_json(record_of(facts)))
    again = facts_of(record)
    assert canonical_json(record_of(again)) == canonical_json(record)
    assert evaluate(again) == evaluate(facts)


def test_a_sites_cases_pass_and_fail_by_name(simulator: GateSimulator) -> None:
    decision_id, entry = decided(simulator, audio=tone_burst_wav(2.25))
    facts = dict(simulator.authority.replay(decision_id, entry).record.detail)
    del facts["denials"]
    case = {"name": "as it was", "facts": facts, "expect": []}
    stricter = {**case, "name": "shorter here", "facts": {**facts, "site": None}, "expect": ["site.audio_too_long"]}
    wrong = {**case, "name": "wrong", "expect": ["consent.expired"]}
    site = SitePolicy.model_validate({"limits": {"max_seconds": 2}})
    results = run_cases(canonical_json({"cases": [case, stricter, wrong]}), site=site)
    assert [one.passed for one in results] == [True, True, False]


@pytest.mark.parametrize(
    "cases",
    [
        b"[]",
        b"{}",
        b'{"cases":[]}',
        b'{"cases":[{"name":"x"}]}',
        b'{"cases":[5]}',
        b'{"cases":[{"name":"x","facts":{},"expect":[]}]}',
        b'{"cases":[{"name":"x","facts":{},"expect":[],"when":1}]}',
    ],
)
def test_cases_that_are_not_as_described_are_an_error_and_no_pass(cases: bytes) -> None:
    with pytest.raises(PolicyError):
        run_cases(cases, site=SitePolicy())
