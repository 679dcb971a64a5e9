"""A site's file narrows or stops everything; it never fails open."""

from __future__ import annotations

import json

import pytest

from policy import Authority, KeyFileError, SitePolicy, StateError
from policy.keys import write_secret
from policy.site_policy import SITE_FILE
from tests.policy.conftest import GateSimulator


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b'{"limits":{"max_seconds":10,"max_sekonds":10}}',
        b'{"limits":{"max_seconds":"10"}}',
        b'{"limits":{"max_seconds":10},"limits":{}}',
        b'{"allow":["everything"]}',
        b'{"appeal":"two\\nlines"}',
    ],
)
def test_a_site_file_that_is_not_as_described_opens_nothing(simulator: GateSimulator, content: bytes) -> None:
    simulator.authority.close()
    write_secret(simulator.state / SITE_FILE, content, overwrite=True)
    with pytest.raises(StateError, match=r"site\.json"):
        Authority.open(simulator.state)


def test_a_site_file_that_is_missing_or_open_to_others_opens_nothing(simulator: GateSimulator) -> None:
    path = simulator.state / SITE_FILE
    path.chmod(0o644)
    with pytest.raises(KeyFileError, match="chmod 600"):
        Authority.open(simulator.state)
    path.unlink()
    with pytest.raises(StateError, match="missing"):
        Authority.open(simulator.state)


def test_a_sites_limits_refuse_at_the_gate_and_say_where_to_appeal(simulator: GateSimulator) -> None:
    site = {"appeal": "appeals@lab.example", "limits": {"max_seconds": 2, "cooling_off_s": 60}}
    write_secret(simulator.state / SITE_FILE, json.dumps(site).encode(), overwrite=True)
    simulator.reopen()
    decision = simulator.decide(simulator.request())
    assert {denial.rule_id for denial in decision.denials} == {"site.audio_too_long", "site.cooling_off"}
    assert "appeals@lab.example" in decision.explain()
    assert SitePolicy.model_validate(site).sha256() == simulator.authority.site.sha256()
