"""All rules of release, and the digest by which a logged decision names them."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from policy import (
    cedar_overlay,
    consent_rules,
    consent_token,
    delegation_token,
    face_commitment,
    proof_of_possession,
    request,
    request_rules,
    rule,
    site_rules,
    statement,
    strict_jws,
    time_rules,
    webauthn,
)
from policy.cedar_overlay import judge_overlay, known
from policy.decision import Denial
from policy.facts import Facts
from policy.rule import Rule, judge

RULES: tuple[Rule, ...] = (*consent_rules.RULES, *request_rules.RULES, *site_rules.RULES)

JUDGING = (
    cedar_overlay, consent_rules, consent_token, delegation_token, face_commitment, proof_of_possession, request,
    request_rules, rule, site_rules, statement, strict_jws, time_rules, webauthn,
)  # fmt: skip
"""The modules whose code decides; a change in any of them is another rule set."""


def evaluate(facts: Facts) -> tuple[Denial, ...]:
    """All denials, missing facts first, then rules in their order; empty means allowed."""
    denials = judge(facts, RULES)
    if facts.site is not None and facts.site.cedar and (not denials or known(facts)):
        denials += judge_overlay(facts.site.cedar, facts)  # it adds refusals, and takes none away
    return denials


@cache
def rule_set_sha256() -> str:
    """Digest of the judging modules: which rules a logged decision was made by."""
    digest = hashlib.sha256()
    for module in JUDGING:
        assert module.__file__
        digest.update(hashlib.sha256(Path(module.__file__).read_bytes()).digest())
    return digest.hexdigest()
