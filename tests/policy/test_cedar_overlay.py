"""A site's Cedar policies narrow and never widen; whatever goes wrong with them is a logged refusal."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import pytest

from policy import Authority, StateError
from policy.cedar_overlay import judge_overlay
from policy.decision_record import facts_of
from policy.facts import Facts
from tests.policy.conftest import GateSimulator

pytest.importorskip("cedarpy", reason="cedarpy is not installed")
PERMIT = "permit(principal, action, resource);"


def with_policy(simulator: GateSimulator, text: str) -> None:
    path = simulator.state / "site.cedar"
    path.write_text(text)
    path.chmod(0o600)
    simulator.reopen()


def rules(simulator: GateSimulator, **changes: object) -> set[str]:
    return {denial.rule_id for denial in simulator.decide(simulator.request(**changes)).denials}


def test_permitted_request_is_allowed(simulator: GateSimulator) -> None:
    with_policy(simulator, PERMIT)
    assert rules(simulator) == set()


def test_forbidden_request_is_refused_by_the_policys_name_and_logged(simulator: GateSimulator) -> None:
    with_policy(
        simulator, PERMIT + '@id("short clips only") forbid(principal, action, resource) when {context.seconds > 1};'
    )
    decision = simulator.decide(simulator.request())
    assert [denial.rule_id for denial in decision.denials] == ["site.cedar"]
    assert "short clips only" in decision.denials[0].fact
    assert decision.log_index is not None
    assert simulator.authority.replay(decision.decision_id, decision.entry).identical


def test_permit_never_allows_what_a_rule_refuses(simulator: GateSimulator) -> None:
    with_policy(simulator, PERMIT)
    assert rules(simulator, purpose="detector-training") == {"consent.other_purpose"}


def test_no_policy_that_permits_is_a_refusal(simulator: GateSimulator) -> None:
    with_policy(simulator, 'permit(principal, action, resource) when {context.purpose == "demonstration"};')
    assert rules(simulator) == {"site.cedar"}


def test_policy_that_fails_on_a_fact_is_a_refusal(simulator: GateSimulator) -> None:
    overflow = "forbid(principal, action, resource) when {context.seconds * 9223372036854775807 * 2 > 0};"
    with_policy(simulator, PERMIT + overflow)  # Cedar alone skips it and says Allow
    assert rules(simulator) == {"site.cedar_failed"}


@pytest.mark.parametrize(
    "text", ["permit(principal", PERMIT + "forbid(principal, action, resource) when {context.nobody == 1};"]
)
def test_policies_that_do_not_fit_the_schema_open_nothing(simulator: GateSimulator, text: str) -> None:
    (simulator.state / "site.cedar").write_text(text)
    (simulator.state / "site.cedar").chmod(0o600)
    simulator.authority.close()
    with pytest.raises(StateError, match=r"site\.cedar"):
        Authority.open(simulator.state, clock=simulator.clock)


def test_file_without_policies_permits_nothing(simulator: GateSimulator) -> None:
    with_policy(simulator, "// nothing here")
    assert rules(simulator) == {"site.cedar"}


def test_missing_package_opens_nothing(simulator: GateSimulator, monkeypatch: pytest.MonkeyPatch) -> None:
    (simulator.state / "site.cedar").write_text(PERMIT + "// without the package")
    (simulator.state / "site.cedar").chmod(0o600)
    monkeypatch.setitem(sys.modules, "cedarpy", None)
    simulator.authority.close()
    with pytest.raises(StateError, match=r"vasari\[cedar\]"):
        Authority.open(simulator.state, clock=simulator.clock)


def test_missing_fact_is_a_refusal(simulator: GateSimulator) -> None:
    with_policy(simulator, PERMIT)
    decision = simulator.decide(simulator.request())
    record = simulator.authority.stores.events.find_decision(decision.decision_id)
    assert record is not None
    facts = facts_of(json.loads(json.dumps(dict(record.detail))))
    assert judge_overlay(PERMIT, facts) == ()
    for name in ("now", "consent", "request", "chain", "proof", "portrait", "audio", "standing"):
        without: Facts = replace(facts, **{name: None})
        assert [denial.rule_id for denial in judge_overlay(PERMIT, without)] == ["site.cedar_failed"]
